//! The accounts of the servers, as a reading of the primary's grant tables found them.
//!
//! Nobody keeps a user list for the proxy: what is read here only tells which exchange to begin
//! with a client, and when something about an account has changed. Who may log in is decided by
//! the primary itself.

use std::collections::HashMap;
use std::hash::BuildHasher;

/// One way to log in as one account: a row of `mysql.user` (MySQL), or one alternative of a row
/// of `mysql.global_priv` (MariaDB's `IDENTIFIED VIA … OR …`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountRow {
    /// The host pattern. Servers match the proxy's address with it, not the client's.
    pub host: Vec<u8>,
    /// As the server has it; empty means mysql_native_password.
    pub plugin: Vec<u8>,
    /// The stored hash; empty for an account without password.
    pub authentication: Vec<u8>,
    pub locked: bool,
    pub password_expired: bool,
    /// `REQUIRE SSL`, `X509`, or a certain cipher, issuer or subject.
    pub requires_tls: bool,
    /// A digest of everything else that the account may and has: privileges on every level, roles,
    /// default roles, limits.
    pub rights: u64,
}

/// All accounts at one moment. Roles are not accounts.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    reading: u64,
    request: u64,
    users: HashMap<Vec<u8>, Vec<AccountRow>>,
}

/// What an account's rows come to, for noticing that they changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Over what logs in: hosts, plugins, hashes, locks, expiry, TLS.
    pub login: u64,
    /// Over what the account may do.
    pub rights: u64,
}

impl Directory {
    /// A directory of nothing: the accounts have not been read, or may not be.
    pub fn unread() -> Self {
        Directory::default()
    }

    /// The result of one reading. `reading` counts from 1; `rows` are user names and rows.
    pub fn new(reading: u64, rows: impl IntoIterator<Item = (Vec<u8>, AccountRow)>) -> Self {
        let mut users: HashMap<Vec<u8>, Vec<AccountRow>> = HashMap::new();
        for (user, row) in rows {
            users.entry(user).or_default().push(row);
        }
        Directory { reading, request: 0, users }
    }

    /// As it was read in answer to the requests up to this one.
    #[must_use]
    pub fn answering(self, request: u64) -> Self {
        Directory { request, ..self }
    }

    /// The number of the last request for a reading that came before this one began: it shows
    /// whatever was done before that request.
    pub fn request(&self) -> u64 {
        self.request
    }

    pub fn is_read(&self) -> bool {
        self.reading > 0
    }

    /// The number of the reading, 0 before the first.
    pub fn reading(&self) -> u64 {
        self.reading
    }

    /// The name's own rows.
    pub fn own_rows(&self, user: &[u8]) -> &[AccountRow] {
        self.users.get(user).map(Vec::as_slice).unwrap_or_default()
    }

    /// The rows that a login under this name may match: the name's own, then those of the
    /// anonymous account, which serves names that have none, and hosts that the name's rows do
    /// not fit.
    pub fn rows(&self, user: &[u8]) -> impl Iterator<Item = &AccountRow> {
        let anonymous = if user.is_empty() { &[] } else { self.own_rows(b"") };
        self.own_rows(user).iter().chain(anonymous)
    }

    /// Equal for two readings exactly when nothing about the account has changed, whatever order
    /// its rows were read in (but for collisions of 64 bits).
    pub fn fingerprint(&self, user: &[u8]) -> Fingerprint {
        let mut fingerprint = Fingerprint { login: 0, rights: 0 };
        for row in self.rows(user) {
            let login = (
                (&row.host, &row.plugin, &row.authentication),
                (row.locked, row.password_expired, row.requires_tls),
            );
            fingerprint.login = fingerprint.login.wrapping_add(digest(&login));
            fingerprint.rights =
                fingerprint.rights.wrapping_add(digest(&(&row.host, &row.plugin, row.rights)));
        }
        fingerprint
    }
}

/// A digest that is the same throughout the process.
fn digest(value: &impl std::hash::Hash) -> u64 {
    foldhash::quality::FixedState::default().hash_one(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(host: &str) -> AccountRow {
        AccountRow {
            host: host.into(),
            plugin: b"caching_sha2_password".to_vec(),
            authentication: b"$A$005$salt".to_vec(),
            locked: false,
            password_expired: false,
            requires_tls: false,
            rights: 7,
        }
    }

    fn directory(rows: &[(&str, AccountRow)]) -> Directory {
        Directory::new(1, rows.iter().map(|(user, row)| (user.as_bytes().to_vec(), row.clone())))
    }

    #[test]
    fn the_anonymous_account_stands_behind_every_name() {
        let directory = directory(&[("", row("localhost")), ("app", row("%"))]);
        let hosts = |user: &str| -> Vec<_> {
            directory.rows(user.as_bytes()).map(|row| row.host.clone()).collect()
        };
        assert_eq!(hosts("app"), [b"%".to_vec(), b"localhost".to_vec()]);
        assert_eq!(hosts("other"), [b"localhost".to_vec()]);
        assert_eq!(hosts(""), [b"localhost".to_vec()]);
        assert_eq!(Directory::unread().rows(b"app").count(), 0);
    }

    #[test]
    fn a_fingerprint_shows_every_change_and_nothing_else() {
        let before = directory(&[("app", row("%")), ("app", row("10.%")), ("other", row("%"))]);
        let same = directory(&[("app", row("10.%")), ("app", row("%"))]);
        assert_eq!(before.fingerprint(b"app"), same.fingerprint(b"app"));

        let changes: [fn(&mut AccountRow); 6] = [
            |row| row.host = b"11.%".to_vec(),
            |row| row.plugin.clear(),
            |row| row.authentication.clear(),
            |row| row.locked = true,
            |row| row.password_expired = true,
            |row| row.requires_tls = true,
        ];
        for change in changes {
            let mut changed = row("10.%");
            change(&mut changed);
            let after = directory(&[("app", row("%")), ("app", changed)]);
            assert_ne!(before.fingerprint(b"app").login, after.fingerprint(b"app").login);
        }
        let granted = AccountRow { rights: 8, ..row("10.%") };
        let after = directory(&[("app", row("%")), ("app", granted)]);
        assert_eq!(before.fingerprint(b"app").login, after.fingerprint(b"app").login);
        assert_ne!(before.fingerprint(b"app").rights, after.fingerprint(b"app").rights);
        let dropped = directory(&[("app", row("%"))]);
        assert_ne!(before.fingerprint(b"app").login, dropped.fingerprint(b"app").login);
    }
}
