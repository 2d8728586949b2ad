//! Who may log in, and what accounts may do, by digests: hashes of passwords are not kept.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use super::read::ask;
use crate::administration::Server;
use crate::administration::statements::quoted;
use crate::monitor::accounts::rows;

/// An account of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub plugin: String,
    /// Of all that logs in: plugins, hashes, TLS, and whether it is locked.
    pub login: u64,
    /// Of all that it may do, its roles' rights included.
    pub rights: u64,
    pub locked: bool,
    /// There may be another hash of the same password.
    pub is_salted: bool,
}

/// By user and host pattern.
pub type Entries = BTreeMap<(String, String), Entry>;

/// `'USER'@'HOST'`, as statements have it.
pub fn in_words((user, host): &(String, String)) -> String {
    format!("{}@{}", quoted(user), quoted(host))
}

/// All accounts, as far as this account may read them.
pub async fn entries(server: &mut Server) -> Result<Entries, String> {
    let version = server.version.clone();
    let mut contents = BTreeMap::new();
    for &table in rows::tables(&version) {
        match ask(server, &format!("SELECT * FROM mysql.{table}")).await {
            Ok(rows) => {
                contents.insert(table, rows);
            }
            // Not every version has every table.
            Err(problem) if problem.contains("ERROR 1146") => {}
            Err(problem) => return Err(problem),
        }
    }
    let hasher = foldhash::quality::FixedState::default();
    let mut entries = Entries::new();
    for (user, row) in rows::accounts(&contents, version.flavour) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let login = hasher.hash_one((
            (&row.plugin, &row.authentication),
            (row.locked, row.password_expired, row.requires_tls),
        ));
        let plugin = text(&row.plugin);
        let is_salted = matches!(&*plugin, "caching_sha2_password" | "sha256_password" | "parsec");
        let one = Entry { plugin, login, rights: row.rights, locked: row.locked, is_salted };
        // Several passwords of one account are several rows.
        entries
            .entry((text(&user), text(&row.host)))
            .and_modify(|all| all.login = all.login.wrapping_add(one.login))
            .or_insert(one);
    }
    Ok(entries)
}

/// The host from which this server sees who asks.
pub async fn seen_from(server: &mut Server) -> Result<Option<String>, String> {
    let user = server.value("SELECT USER()").await?;
    Ok(user.and_then(|user| Some(user.rsplit_once('@')?.1.to_owned())))
}
