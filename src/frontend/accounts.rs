//! Who may log in, and with what: the users that the configuration lists, and the secrets of those
//! whom the primary has let in. Secrets live in memory alone.

mod exchange;
mod remembered;
mod revisions;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;
use tokio::time;

use self::exchange::{default_exchange, exchange};
use self::remembered::Remembered;
use crate::backend::Credential;
use crate::monitor::accounts::requests::Requests;
use crate::session::accounts::Directory;
use crate::wire::auth::{Plugin, Secret};
use crate::wire::capabilities::Status;

pub use self::exchange::Exchange;
pub use self::revisions::{Change, Revisions};

/// Most accounts that are remembered. Names that no row of the servers bounds (an anonymous
/// account lets everybody in) must not fill the memory.
const MOST_REMEMBERED: usize = 10_000;

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

/// Whom a login is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who<'a> {
    pub user: &'a [u8],
    /// Where the client is, if the servers are told: they may have an account for each host, and
    /// what lets one in need not let in another. `None`: they see the proxy.
    pub from: Option<IpAddr>,
}

impl Who<'_> {
    fn key(self) -> Key {
        (self.user.into(), self.from)
    }
}

/// What an account is remembered by.
type Key = (Arc<[u8]>, Option<IpAddr>);

/// What is known of an account at a login.
#[derive(Debug, Clone)]
pub struct Known {
    pub account: Arc<Account>,
    /// With the secret that the client has to prove.
    pub credential: Arc<Credential>,
    /// The status flags with which the primary welcomed it, if it did already.
    pub status: Option<Status>,
    /// That with which the login began that the primary let in.
    pub revision: u64,
}

/// How the primary has let an account in.
#[derive(Debug, Clone, Copy)]
pub struct Welcome<'a> {
    pub status: Status,
    pub database: Option<&'a [u8]>,
    /// That with which the login began.
    pub revision: u64,
    pub now: Instant,
}

/// The proxy's knowledge of accounts.
#[derive(Debug)]
pub struct Accounts {
    /// From `[[auth.users]]`.
    listed: ArcSwap<HashMap<Vec<u8>, Listed>>,
    /// `[auth] mode = "static"`: nobody else may log in.
    only_listed: bool,
    directory: watch::Receiver<Arc<Directory>>,
    /// Asks the watcher that fills the directory for another.
    requests: Arc<Requests>,
    /// The last request whose answer is [followed](Self::follow).
    followed: watch::Sender<u64>,
    pub revisions: Arc<Revisions>,
    remembered: Mutex<HashMap<Key, Remembered>>,
    generations: AtomicU64,
}

/// A user of the configuration. Its account's credential may be rejected by a server and renewed
/// later; who the user is, the configured secret decides.
#[derive(Debug, Clone)]
struct Listed {
    account: Arc<Account>,
    credential: Arc<Credential>,
}

/// An account whose rows have changed: its pooled connections of other generations are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub user: Arc<[u8]>,
    pub generation: u64,
}

impl Accounts {
    /// `directory` is filled by the watcher that `requests` wakes.
    pub fn new(
        users: impl IntoIterator<Item = (Vec<u8>, Secret)>,
        only_listed: bool,
        directory: watch::Receiver<Arc<Directory>>,
        requests: Arc<Requests>,
    ) -> Self {
        let accounts = Accounts {
            listed: ArcSwap::default(),
            only_listed,
            directory,
            revisions: Arc::new(Revisions::new(requests.clone())),
            requests,
            followed: watch::Sender::new(0),
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
        self.lock().retain(|(user, _), _| {
            !listed.contains_key(&user[..]) && !before.contains_key(&user[..])
        });
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

    /// Waits until `deadline` for a reading of the accounts that begins now or later. Cancel safe.
    pub async fn read_anew(&self, deadline: time::Instant) -> Option<Arc<Directory>> {
        let request = self.requests.ask();
        let mut directory = self.directory.clone();
        let answer = directory.wait_for(|directory| directory.request() >= request);
        let found = time::timeout_at(deadline, answer).await.ok()?.ok()?;
        Some(found.clone())
    }

    /// Waits until `deadline` for what this revision has changed to be known here. Without it the
    /// primary is asked all the same; only its defaults, and the plugin of the account, may be
    /// those from before. Cancel safe.
    pub async fn settle(&self, revision: u64, deadline: time::Instant) {
        if *self.followed.borrow() >= revision || !self.directory.borrow().is_read() {
            return;
        }
        let mut followed = self.followed.subscribe();
        let settled = followed.wait_for(|followed| *followed >= revision);
        let _ = time::timeout_at(deadline, settled).await;
    }

    /// What is known of a user that may be taken as proof.
    pub fn known(&self, who: Who<'_>) -> Option<Known> {
        let listed = self.listed.load().get(who.user).cloned();
        let remembered = self.lock();
        let entry = remembered.get(&who.key());
        if let Some(Listed { account, credential }) = listed {
            let account = match (entry, who.from) {
                (_, None) => account,
                (Some(entry), _) => entry.account.clone(),
                (None, _) => self.unproven(&credential),
            };
            let status = entry.map(|entry| entry.status);
            let revision = entry.map_or(0, |entry| entry.revision);
            return Some(Known { account, credential, status, revision });
        }
        if self.only_listed {
            return None;
        }
        let trusted = |entry: &&Remembered| entry.trusted && entry.account.credential().is_some();
        let Some(entry) = entry.filter(trusted) else {
            // From elsewhere the same secret may do: the primary has the last word.
            who.from?;
            let of_user = remembered.iter().filter(|((user, _), _)| **user == *who.user);
            let credential = of_user.map(|(_, entry)| entry).find(trusted)?.account.credential()?;
            let account = self.unproven(&credential);
            return Some(Known { account, credential, status: None, revision: 0 });
        };
        let credential = entry.account.credential()?;
        Some(Known {
            account: entry.account.clone(),
            credential,
            status: Some(entry.status),
            revision: entry.revision,
        })
    }

    /// The account from where nobody has been let in yet.
    fn unproven(&self, credential: &Credential) -> Arc<Account> {
        Account::new(credential.user.clone(), credential.secret.clone(), self.next_generation())
    }

    /// Which exchange to begin with a client of this name. `default` is the greeting's.
    pub fn exchange(&self, user: &[u8], default: Plugin) -> Exchange {
        if self.decides(user) {
            return default_exchange(default);
        }
        exchange(&self.directory(), user, default)
    }

    /// Notes that the primary has let this account in.
    pub fn remember(&self, who: Who<'_>, secret: Secret, welcome: Welcome<'_>) -> Arc<Account> {
        let Welcome { status, database, revision, now } = welcome;
        let fingerprint = self.directory().fingerprint(who.user);
        let listed = self.listed.load().get(who.user).map(|listed| listed.account.clone());
        let mut remembered = self.lock();
        let key = who.key();
        if remembered.len() >= MOST_REMEMBERED && !remembered.contains_key(&key) {
            let some = remembered.keys().next().cloned();
            some.map(|some| remembered.remove(&some));
        }
        let account = listed
            .filter(|_| who.from.is_none())
            .or_else(|| remembered.get(&key).map(|entry| entry.account.clone()))
            .unwrap_or_else(|| Account::new(key.0.clone(), secret.clone(), self.next_generation()));
        let entry = remembered.entry(key).or_insert_with(|| Remembered {
            account: account.clone(),
            fingerprint,
            trusted: true,
            status,
            revision,
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
        entry.revision = entry.revision.max(revision);
        if let Some(database) = database {
            entry.accept(database, now);
        }
        account
    }

    /// Whether the primary has lately accepted this database for the account.
    pub fn accepts(&self, who: Who<'_>, database: &[u8], now: Instant) -> bool {
        self.lock().get(&who.key()).is_some_and(|entry| entry.accepts(database, now))
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

    /// Takes over a reading: of an account of which something has changed, the secret is no proof
    /// any more or the connections are of a new generation, and `retire` is told. Logins that wait
    /// for this reading go on.
    pub fn follow(&self, directory: &Directory, retire: impl Fn(&Changed)) {
        for changed in self.compare(directory) {
            retire(&changed);
        }
        self.followed.send_replace(directory.request());
    }

    /// Compares what is remembered with a new reading.
    fn compare(&self, directory: &Directory) -> Vec<Changed> {
        let mut changes = Vec::new();
        for ((user, _), entry) in self.lock().iter_mut() {
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

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Remembered>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
