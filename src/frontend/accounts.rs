//! Who may log in, and with what: the users that the configuration lists, and the secrets of those
//! whom the primary has let in. Secrets live in memory alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, watch};
use tokio::time;

use crate::backend::Credential;
use crate::session::accounts::{Directory, Fingerprint};
use crate::wire::auth::{NATIVE_PASSWORD, Plugin, Secret};
use crate::wire::capabilities::Status;

/// Most accounts that are remembered. Names that no row of the servers bounds (an anonymous
/// account lets everybody in) must not fill the memory.
const MOST_REMEMBERED: usize = 10_000;
/// Most databases that are remembered of one account.
const MOST_DATABASES: usize = 16;
/// How long a database that the primary accepted for an account counts as accepted. When it is
/// dropped meanwhile, the session's first statement says so instead of its login.
const DATABASE_LIFE: Duration = Duration::from_secs(10);

/// Plugins of servers that sign with the password itself, which their clients never send: only the
/// configuration can tell it.
const NEEDS_LISTING: [&[u8]; 2] = [b"ed25519", b"parsec"];

/// Plugins of servers that no password satisfies: they ask for a key, a ticket or a socket.
const OUT_OF_REACH: [&[u8]; 14] = [
    b"auth_socket",
    b"authentication_fido",
    b"authentication_kerberos",
    b"authentication_ldap_sasl",
    b"authentication_oci",
    b"authentication_openid_connect",
    b"authentication_webauthn",
    b"authentication_windows",
    b"gssapi",
    b"mysql_no_login",
    b"mysql_old_password",
    b"named_pipe",
    b"no_login",
    b"unix_socket",
];

/// An account that clients have logged in with, shared by their sessions.
#[derive(Debug)]
pub struct Account {
    pub user: Arc<[u8]>,
    credential: ArcSwapOption<Credential>,
}

impl Account {
    fn new(user: Arc<[u8]>, secret: Secret, generation: u64) -> Arc<Self> {
        let credential = Credential { user: user.clone(), secret, generation };
        Arc::new(Account { user, credential: ArcSwapOption::from_pointee(credential) })
    }

    /// What opens connections in this account's name now. `None` after a server has refused it:
    /// it must not be tried again (accounts lock after failed logins), and a client that knows
    /// the new password brings it with its next login.
    pub fn credential(&self) -> Option<Arc<Credential>> {
        self.credential.load_full()
    }
}

/// Which exchange proves a client, and whether that can lead anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    Native,
    CachingSha2,
    /// The password must stand in the configuration.
    NeedsListing {
        plugin: String,
    },
    /// Every way to log in as the account asks for what we cannot have.
    OutOfReach {
        plugin: String,
    },
}

/// What is known of an account at a login.
#[derive(Debug, Clone)]
pub struct Known {
    pub account: Arc<Account>,
    /// With the secret that the client has to prove.
    pub credential: Arc<Credential>,
    /// The status flags with which the primary welcomed it, if it did already.
    pub status: Option<Status>,
}

/// The proxy's knowledge of accounts.
#[derive(Debug)]
pub struct Accounts {
    /// From `[[auth.users]]`.
    listed: ArcSwap<HashMap<Vec<u8>, Listed>>,
    /// `[auth] mode = "static"`: nobody else may log in.
    only_listed: bool,
    directory: watch::Receiver<Arc<Directory>>,
    /// Wakes the watcher that fills the directory.
    refresh: Arc<Notify>,
    remembered: Mutex<HashMap<Arc<[u8]>, Remembered>>,
    generations: AtomicU64,
}

/// A user of the configuration. Its account's credential may be rejected by a server and renewed
/// later; who the user is, the configured secret decides.
#[derive(Debug, Clone)]
struct Listed {
    account: Arc<Account>,
    credential: Arc<Credential>,
}

#[derive(Debug)]
struct Remembered {
    account: Arc<Account>,
    /// Of the account's rows when the primary last let it in.
    fingerprint: Fingerprint,
    /// Its secret may be taken as proof; false once anything that logs in has changed.
    trusted: bool,
    status: Status,
    databases: Vec<(Vec<u8>, Instant)>,
}

/// An account whose rows have changed: its pooled connections of other generations are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub user: Arc<[u8]>,
    pub generation: u64,
}

impl Accounts {
    /// `directory` is filled by the watcher that `refresh` wakes.
    pub fn new(
        users: impl IntoIterator<Item = (Vec<u8>, Secret)>,
        only_listed: bool,
        directory: watch::Receiver<Arc<Directory>>,
        refresh: Arc<Notify>,
    ) -> Self {
        let accounts = Accounts {
            listed: ArcSwap::default(),
            only_listed,
            directory,
            refresh,
            remembered: Mutex::default(),
            generations: AtomicU64::new(1),
        };
        accounts.list(users);
        accounts
    }

    /// Replaces the listed users, as the configuration has them now.
    pub fn list(&self, users: impl IntoIterator<Item = (Vec<u8>, Secret)>) {
        let before = self.listed.load();
        let entry = |(user, secret): (Vec<u8>, Secret)| {
            let same = before.get(&user).filter(|listed| listed.credential.secret == secret);
            let listed = same.cloned().unwrap_or_else(|| {
                let generation = self.next_generation();
                let account = Account::new(user.as_slice().into(), secret.clone(), generation);
                let user = account.user.clone();
                Listed { account, credential: Arc::new(Credential { user, secret, generation }) }
            });
            (user, listed)
        };
        let listed: HashMap<_, _> = users.into_iter().map(entry).collect();
        // Who is listed now, or was until now, is remembered by nothing else.
        self.lock()
            .retain(|user, _| !listed.contains_key(&user[..]) && !before.contains_key(&user[..]));
        self.listed.store(Arc::new(listed));
    }

    /// Whether the configuration alone decides on this user: it lists the user, or nobody else
    /// may log in.
    pub fn decides(&self, user: &[u8]) -> bool {
        self.only_listed || self.listed.load().contains_key(user)
    }

    pub fn directory(&self) -> Arc<Directory> {
        self.directory.borrow().clone()
    }

    /// Waits for a reading of the accounts that is newer than `seen`, until `deadline`.
    pub async fn newer_directory(
        &self,
        seen: &Directory,
        deadline: time::Instant,
    ) -> Option<Arc<Directory>> {
        self.refresh.notify_one();
        let mut directory = self.directory.clone();
        let newer = directory.wait_for(|directory| directory.reading() > seen.reading());
        let found = time::timeout_at(deadline, newer).await.ok()?.ok()?;
        Some(found.clone())
    }

    /// What is known of a user that may be taken as proof.
    pub fn known(&self, user: &[u8]) -> Option<Known> {
        let listed = self.listed.load().get(user).cloned();
        let remembered = self.lock();
        let entry = remembered.get(user);
        if let Some(Listed { account, credential }) = listed {
            return Some(Known { account, credential, status: entry.map(|entry| entry.status) });
        }
        if self.only_listed {
            return None;
        }
        let entry = entry.filter(|entry| entry.trusted)?;
        let credential = entry.account.credential()?;
        Some(Known { account: entry.account.clone(), credential, status: Some(entry.status) })
    }

    /// Which exchange to begin with a client of this name. `default` is the greeting's.
    pub fn exchange(&self, user: &[u8], default: Plugin) -> Exchange {
        if self.decides(user) {
            return default_exchange(default);
        }
        exchange(&self.directory(), user, default)
    }

    /// Notes that the primary has let this account in.
    pub fn remember(
        &self,
        user: &[u8],
        secret: Secret,
        status: Status,
        database: Option<&[u8]>,
        now: Instant,
    ) -> Arc<Account> {
        let fingerprint = self.directory().fingerprint(user);
        let listed = self.listed.load().get(user).map(|listed| listed.account.clone());
        let mut remembered = self.lock();
        if remembered.len() >= MOST_REMEMBERED && !remembered.contains_key(user) {
            let some = remembered.keys().next().cloned();
            some.map(|some| remembered.remove(&some));
        }
        let account = listed
            .or_else(|| remembered.get(user).map(|entry| entry.account.clone()))
            .unwrap_or_else(|| Account::new(user.into(), secret.clone(), self.next_generation()));
        let entry = remembered.entry(account.user.clone()).or_insert_with(|| Remembered {
            account: account.clone(),
            fingerprint,
            trusted: true,
            status,
            databases: Vec::new(),
        });
        let same = account
            .credential()
            .is_some_and(|current| current.secret == secret && entry.fingerprint == fingerprint);
        if !same {
            account.credential.store(Some(Arc::new(Credential {
                user: account.user.clone(),
                secret,
                generation: self.next_generation(),
            })));
            entry.databases.clear();
        }
        entry.account = account.clone();
        entry.fingerprint = fingerprint;
        entry.trusted = true;
        entry.status = status;
        if let Some(database) = database {
            entry.accept(database, now);
        }
        account
    }

    /// Whether the primary has lately accepted this database for the account.
    pub fn accepts(&self, user: &[u8], database: &[u8], now: Instant) -> bool {
        self.lock().get(user).is_some_and(|entry| {
            entry.databases.iter().any(|(name, since)| {
                name == database && now.saturating_duration_since(*since) < DATABASE_LIFE
            })
        })
    }

    /// Notes that a server has refused this credential (1045): nobody tries it again.
    pub fn reject(&self, account: &Account, credential: &Arc<Credential>) {
        // Under the lock no login can put a newer one in its place meanwhile.
        let _remembered = self.lock();
        let current = account.credential();
        if current.is_some_and(|current| current.generation == credential.generation) {
            account.credential.store(None);
        }
    }

    /// Follows the directory for ever: when something about an account changes, its secret is no
    /// proof any more or its connections are of a new generation, and `retire` is told. Ends when
    /// the watcher has ended. Cancel safe.
    pub async fn follow(&self, retire: impl Fn(&Changed)) {
        let mut directory = self.directory.clone();
        while directory.changed().await.is_ok() {
            let current = directory.borrow_and_update().clone();
            for changed in self.compare(&current) {
                retire(&changed);
            }
        }
    }

    /// Compares what is remembered with a new reading.
    fn compare(&self, directory: &Directory) -> Vec<Changed> {
        let mut changes = Vec::new();
        for (user, entry) in self.lock().iter_mut() {
            let fingerprint = directory.fingerprint(user);
            let before = std::mem::replace(&mut entry.fingerprint, fingerprint);
            if before == fingerprint || before == Directory::unread().fingerprint(user) {
                continue;
            }
            entry.trusted &= before.login == fingerprint.login;
            entry.databases.clear();
            let generation = self.next_generation();
            let listed = self.listed.load().get(&user[..]).map(|listed| listed.credential.clone());
            // A listed secret that a server has refused may be right now.
            if let Some(current) = listed.or_else(|| entry.account.credential()) {
                let renewed = Credential { generation, ..Credential::clone(&current) };
                entry.account.credential.store(Some(Arc::new(renewed)));
            }
            changes.push(Changed { user: user.clone(), generation });
        }
        changes
    }

    fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<[u8]>, Remembered>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn accept(&mut self, database: &[u8], now: Instant) {
        self.databases.retain(|(name, _)| name != database);
        if self.databases.len() == MOST_DATABASES {
            self.databases.remove(0);
        }
        self.databases.push((database.to_vec(), now));
    }
}

fn default_exchange(default: Plugin) -> Exchange {
    match default {
        Plugin::NativePassword => Exchange::Native,
        _ => Exchange::CachingSha2,
    }
}

/// The exchange that fits what the directory says of a user.
fn exchange(directory: &Directory, user: &[u8], default: Plugin) -> Exchange {
    if !directory.is_read() {
        // Whatever the account's plugin is, the password itself is enough for it.
        return Exchange::CachingSha2;
    }
    let rows = match directory.own_rows(user) {
        [] => directory.own_rows(b""),
        own => own,
    };
    let Some(first) = rows.first() else {
        return default_exchange(default);
    };
    let reach = |plugin: &[u8]| match plugin {
        b"" | NATIVE_PASSWORD => Exchange::Native,
        plugin if NEEDS_LISTING.contains(&plugin) => {
            Exchange::NeedsListing { plugin: String::from_utf8_lossy(plugin).into_owned() }
        }
        plugin if OUT_OF_REACH.contains(&plugin) => {
            Exchange::OutOfReach { plugin: String::from_utf8_lossy(plugin).into_owned() }
        }
        _ => Exchange::CachingSha2,
    };
    // The password itself serves rows of every kind, a hash only its own.
    let exchanges = || rows.iter().map(|row| reach(&row.plugin));
    if exchanges().any(|exchange| exchange == Exchange::CachingSha2) {
        Exchange::CachingSha2
    } else if exchanges().any(|exchange| exchange == Exchange::Native) {
        Exchange::Native
    } else {
        exchanges()
            .find(|exchange| matches!(exchange, Exchange::NeedsListing { .. }))
            .unwrap_or_else(|| reach(&first.plugin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::accounts::AccountRow;

    fn row(plugin: &str) -> AccountRow {
        AccountRow {
            host: b"%".to_vec(),
            plugin: plugin.into(),
            authentication: b"hash".to_vec(),
            locked: false,
            password_expired: false,
            requires_tls: false,
            rights: 0,
        }
    }

    fn directory(reading: u64, rows: &[(&str, AccountRow)]) -> Directory {
        let rows = rows.iter().map(|(user, row)| (user.as_bytes().to_vec(), row.clone()));
        Directory::new(reading, rows)
    }

    fn accounts(users: &[(&str, &str)], only_listed: bool) -> Accounts {
        let (_, readings) = watch::channel(Arc::new(Directory::unread()));
        Accounts::new(secrets(users), only_listed, readings, Arc::default())
    }

    fn secrets(users: &[(&str, &str)]) -> Vec<(Vec<u8>, Secret)> {
        let secret = |(user, password): &(&str, &str)| {
            (user.as_bytes().to_vec(), Secret::from_password(*password))
        };
        users.iter().map(secret).collect()
    }

    fn generation(account: &Account) -> u64 {
        account.credential().unwrap().generation
    }

    #[test]
    fn the_exchange_follows_the_rows() {
        let listing = || Exchange::NeedsListing { plugin: "ed25519".into() };
        let out = || Exchange::OutOfReach { plugin: "unix_socket".into() };
        let table: [(&[&str], Exchange); 9] = [
            (&[], Exchange::Native),
            (&["mysql_native_password"], Exchange::Native),
            (&["", "unix_socket"], Exchange::Native),
            (&["unix_socket", "mysql_native_password"], Exchange::Native),
            (&["mysql_native_password", "caching_sha2_password"], Exchange::CachingSha2),
            (&["sha256_password"], Exchange::CachingSha2),
            (&["pam"], Exchange::CachingSha2),
            (&["unix_socket", "ed25519"], listing()),
            (&["unix_socket"], out()),
        ];
        for (plugins, expected) in table {
            let rows: Vec<_> = plugins.iter().map(|plugin| ("app", row(plugin))).collect();
            let found = exchange(&directory(1, &rows), b"app", Plugin::NativePassword);
            assert_eq!(found, expected, "{plugins:?}");
        }
        // The anonymous account stands in for names that have none.
        let anonymous = directory(1, &[("", row("caching_sha2_password"))]);
        assert_eq!(exchange(&anonymous, b"x", Plugin::NativePassword), Exchange::CachingSha2);
        let unread = Directory::unread();
        assert_eq!(exchange(&unread, b"app", Plugin::NativePassword), Exchange::CachingSha2);
    }

    #[test]
    fn a_secret_is_remembered_and_replaced() {
        let accounts = accounts(&[], false);
        let now = Instant::now();
        assert!(accounts.known(b"app").is_none());
        let secret = Secret::from_password("one");
        let account = accounts.remember(b"app", secret.clone(), Status::AUTOCOMMIT, None, now);
        let first = generation(&account);
        let known = accounts.known(b"app").unwrap();
        assert_eq!(
            (known.credential.secret.clone(), known.status),
            (secret.clone(), Some(Status::AUTOCOMMIT))
        );
        // The same again is the same generation, another secret another.
        let again = accounts.remember(b"app", secret, Status::AUTOCOMMIT, None, now);
        assert!(Arc::ptr_eq(&account, &again));
        assert_eq!(generation(&again), first);
        let other = Secret::from_password("two");
        accounts.remember(b"app", other.clone(), Status::AUTOCOMMIT, None, now);
        assert!(generation(&account) > first);
        assert_eq!(account.credential().unwrap().secret, other);
        // What a server refuses is gone for everybody; what came after it is not.
        let stale =
            Arc::new(Credential { generation: first, ..(*account.credential().unwrap()).clone() });
        accounts.reject(&account, &stale);
        assert!(account.credential().is_some());
        accounts.reject(&account, &account.credential().unwrap());
        assert!(account.credential().is_none() && accounts.known(b"app").is_none());
    }

    #[test]
    fn databases_are_accepted_for_a_while() {
        let accounts = accounts(&[], false);
        let now = Instant::now();
        for number in 0..20 {
            let database = format!("db{number}");
            accounts.remember(
                b"app",
                Secret::Empty,
                Status::AUTOCOMMIT,
                Some(database.as_bytes()),
                now,
            );
        }
        assert!(accounts.accepts(b"app", b"db19", now));
        assert!(!accounts.accepts(b"app", b"db0", now), "too many");
        assert!(!accounts.accepts(b"app", b"db19", now + DATABASE_LIFE));
        assert!(!accounts.accepts(b"other", b"db19", now));
    }

    #[test]
    fn what_changes_at_the_servers_is_noticed() {
        let accounts = accounts(&[("listed", "secret")], false);
        let now = Instant::now();
        let account =
            accounts.remember(b"app", Secret::Empty, Status::AUTOCOMMIT, Some(b"db"), now);
        let first = generation(&account);
        let rows = |hash: &str, rights| {
            let row = AccountRow { authentication: hash.into(), rights, ..row("") };
            directory(1, &[("app", row.clone()), ("listed", row)])
        };
        // The first reading tells nothing new.
        assert_eq!(accounts.compare(&rows("one", 0)), []);
        assert_eq!(accounts.compare(&rows("one", 0)), []);
        let changed = accounts.compare(&rows("one", 1));
        assert_eq!(
            changed,
            [Changed { user: account.user.clone(), generation: generation(&account) }]
        );
        assert!(generation(&account) > first && accounts.known(b"app").is_some());
        assert!(!accounts.accepts(b"app", b"db", now));
        assert_eq!(accounts.compare(&rows("two", 1)).len(), 1);
        assert!(accounts.known(b"app").is_none() && account.credential().is_some());
        assert_eq!(accounts.compare(&directory(2, &[])).len(), 1);
    }

    #[test]
    fn a_listed_user_is_decided_by_the_configuration() {
        let accounts = accounts(&[("app", "secret")], true);
        assert!(accounts.decides(b"app") && accounts.decides(b"other"));
        assert!(accounts.known(b"other").is_none());
        let known = accounts.known(b"app").unwrap();
        assert_eq!(known.status, None);
        let now = Instant::now();
        accounts.remember(b"app", Secret::from_password("secret"), Status::AUTOCOMMIT, None, now);
        accounts.compare(&directory(1, &[("app", row(""))]));
        // Refused by a server, it is tried again only after the account has changed there.
        accounts.reject(&known.account, &known.account.credential().unwrap());
        assert!(known.account.credential().is_none() && accounts.known(b"app").is_some());
        accounts.compare(&directory(2, &[("app", row("caching_sha2_password"))]));
        assert_eq!(known.account.credential().unwrap().secret, Secret::from_password("secret"));
        // A reload keeps what is the same.
        accounts.list(secrets(&[("app", "secret"), ("new", "x")]));
        assert!(Arc::ptr_eq(&accounts.known(b"app").unwrap().account, &known.account));
        accounts.list(secrets(&[("app", "other")]));
        assert!(!Arc::ptr_eq(&accounts.known(b"app").unwrap().account, &known.account));
    }
}
