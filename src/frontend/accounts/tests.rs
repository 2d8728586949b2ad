use super::remembered::DATABASE_LIFE;
use super::*;
use crate::session::accounts::AccountRow;

pub(super) fn row(plugin: &str) -> AccountRow {
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

pub(super) fn directory(reading: u64, rows: &[(&str, AccountRow)]) -> Directory {
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

fn welcome(database: Option<&[u8]>, now: Instant) -> Welcome<'_> {
    Welcome { status: Status::AUTOCOMMIT, database, revision: 0, now }
}

fn anywhere(user: &[u8]) -> Who<'_> {
    Who { user, from: None }
}

fn generation(account: &Account) -> u64 {
    account.credential().unwrap().generation
}

#[test]
fn a_secret_is_remembered_and_replaced() {
    let accounts = accounts(&[], false);
    let now = Instant::now();
    assert!(accounts.known(anywhere(b"app")).is_none());
    let secret = Secret::from_password("one");
    let account = accounts.remember(anywhere(b"app"), secret.clone(), welcome(None, now));
    let first = generation(&account);
    let known = accounts.known(anywhere(b"app")).unwrap();
    assert_eq!(
        (known.credential.secret.clone(), known.status),
        (secret.clone(), Some(Status::AUTOCOMMIT))
    );
    // The same again is the same generation, another secret another.
    let again = accounts.remember(anywhere(b"app"), secret, welcome(None, now));
    assert!(Arc::ptr_eq(&account, &again));
    assert_eq!(generation(&again), first);
    let other = Secret::from_password("two");
    accounts.remember(anywhere(b"app"), other.clone(), welcome(None, now));
    assert!(generation(&account) > first);
    assert_eq!(account.credential().unwrap().secret, other);
    // What a server refuses is gone for everybody; what came after it is not.
    let stale =
        Arc::new(Credential { generation: first, ..(*account.credential().unwrap()).clone() });
    accounts.reject(&account, &stale);
    assert!(account.credential().is_some());
    accounts.reject(&account, &account.credential().unwrap());
    assert!(account.credential().is_none() && accounts.known(anywhere(b"app")).is_none());
}

#[test]
fn databases_are_accepted_for_a_while() {
    let accounts = accounts(&[], false);
    let now = Instant::now();
    for number in 0..20 {
        let database = format!("db{number}");
        accounts.remember(anywhere(b"app"), Secret::Empty, welcome(Some(database.as_bytes()), now));
    }
    assert!(accounts.accepts(anywhere(b"app"), b"db19", now));
    assert!(!accounts.accepts(anywhere(b"app"), b"db0", now), "too many");
    assert!(!accounts.accepts(anywhere(b"app"), b"db19", now + DATABASE_LIFE));
    assert!(!accounts.accepts(anywhere(b"other"), b"db19", now));
}

#[test]
fn what_changes_at_the_servers_is_noticed() {
    let accounts = accounts(&[("listed", "secret")], false);
    let now = Instant::now();
    let account = accounts.remember(anywhere(b"app"), Secret::Empty, welcome(Some(b"db"), now));
    let first = generation(&account);
    let rows = |hash: &str, rights| {
        let row = AccountRow { authentication: hash.into(), rights, ..row("") };
        directory(1, &[("app", row.clone()), ("listed", row)])
    };
    // The first reading tells nothing new.
    assert_eq!(accounts.compare(&rows("one", 0)), []);
    assert_eq!(accounts.compare(&rows("one", 0)), []);
    let changed = accounts.compare(&rows("one", 1));
    assert_eq!(changed, [Changed { user: account.user.clone(), generation: generation(&account) }]);
    assert!(generation(&account) > first && accounts.known(anywhere(b"app")).is_some());
    assert!(!accounts.accepts(anywhere(b"app"), b"db", now));
    assert_eq!(accounts.compare(&rows("two", 1)).len(), 1);
    assert!(accounts.known(anywhere(b"app")).is_none() && account.credential().is_some());
    assert_eq!(accounts.compare(&directory(2, &[])).len(), 1);
}

#[test]
fn a_listed_user_is_decided_by_the_configuration() {
    let accounts = accounts(&[("app", "secret")], true);
    assert!(accounts.decides(b"app") && accounts.decides(b"other"));
    assert!(accounts.known(anywhere(b"other")).is_none());
    let known = accounts.known(anywhere(b"app")).unwrap();
    assert_eq!(known.status, None);
    let now = Instant::now();
    accounts.remember(anywhere(b"app"), Secret::from_password("secret"), welcome(None, now));
    accounts.compare(&directory(1, &[("app", row(""))]));
    // Refused by a server, it is tried again only after the account has changed there.
    accounts.reject(&known.account, &known.account.credential().unwrap());
    assert!(known.account.credential().is_none() && accounts.known(anywhere(b"app")).is_some());
    accounts.compare(&directory(2, &[("app", row("caching_sha2_password"))]));
    assert_eq!(known.account.credential().unwrap().secret, Secret::from_password("secret"));
    // A reload keeps what is the same.
    accounts.list(secrets(&[("app", "secret"), ("new", "x")]));
    assert!(Arc::ptr_eq(&accounts.known(anywhere(b"app")).unwrap().account, &known.account));
    accounts.list(secrets(&[("app", "other")]));
    assert!(!Arc::ptr_eq(&accounts.known(anywhere(b"app")).unwrap().account, &known.account));
}

#[test]
fn where_servers_are_told_hosts_each_has_an_account() {
    let accounts = accounts(&[("listed", "secret")], false);
    let now = Instant::now();
    let [here, there, elsewhere] =
        [1, 2, 3].map(|last| Who { user: b"app", from: Some([10, 0, 0, last].into()) });
    let one = accounts.remember(here, Secret::from_password("one"), welcome(Some(b"db"), now));
    // The same secret may do from elsewhere, and only the primary can say.
    let known = accounts.known(there).unwrap();
    assert_eq!(
        (known.credential.secret.clone(), known.status),
        (Secret::from_password("one"), None)
    );
    assert!(!Arc::ptr_eq(&known.account, &one));
    assert!(accounts.accepts(here, b"db", now) && !accounts.accepts(there, b"db", now));
    accounts.reject(&known.account, &known.account.credential().unwrap());
    assert!(one.credential().is_some() && accounts.known(here).is_some());
    // Or another one does there, and changes nothing here.
    let two = accounts.remember(there, Secret::from_password("two"), welcome(None, now));
    assert!(!Arc::ptr_eq(&one, &two));
    assert_eq!(one.credential().unwrap().secret, Secret::from_password("one"));
    assert_eq!(accounts.known(there).unwrap().credential.secret, Secret::from_password("two"));
    accounts.reject(&two, &two.credential().unwrap());
    assert_eq!(accounts.known(there).unwrap().credential.secret, Secret::from_password("one"));
    assert!(accounts.known(elsewhere).is_some());
    accounts.reject(&one, &one.credential().unwrap());
    assert!(accounts.known(elsewhere).is_none());
    // A listed user is refused by host, too.
    let listed = |last| Who { user: b"listed", from: Some([10, 0, 0, last].into()) };
    let known = accounts.known(listed(1)).unwrap();
    accounts.reject(&known.account, &known.account.credential().unwrap());
    assert!(accounts.known(listed(2)).unwrap().account.credential().is_some());
    let let_in = accounts.remember(listed(2), Secret::from_password("secret"), welcome(None, now));
    assert!(Arc::ptr_eq(&accounts.known(listed(2)).unwrap().account, &let_in));
}
