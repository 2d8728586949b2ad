//! A digest of everything that an account may do, for noticing that it has changed. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hash, Hasher};

use serde_json::Value;

use crate::backend::sql_client::Rows;

/// Whose rights: user and host. MariaDB's roles have an empty host.
type Holder = (Vec<u8>, Vec<u8>);

/// Columns of the account's own row that say how it logs in, not what it may do.
const LOGIN_COLUMNS: [&str; 5] =
    ["plugin", "authentication_string", "account_locked", "password_expired", "ssl_type"];
/// The same in the JSON of MariaDB's `global_priv`, with what changes without changing any right.
const LOGIN_KEYS: [&str; 7] = [
    "plugin",
    "authentication_string",
    "auth_or",
    "account_locked",
    "password_last_changed",
    "ssl_type",
    "version_id",
];
/// Columns that change without changing any right.
const IDLE_COLUMNS: [&str; 3] = ["password_last_changed", "Timestamp", "Grantor"];

/// Rights by holder, and which roles a holder has.
#[derive(Debug, Default)]
pub struct Grants {
    own: BTreeMap<Holder, u64>,
    roles: BTreeMap<Holder, BTreeSet<Holder>>,
}

impl Grants {
    /// Reads the grant tables, by name and with all their columns.
    pub fn new(tables: &BTreeMap<&str, Rows>) -> Self {
        let mut grants = Grants::default();
        for (&name, rows) in tables {
            for row in 0..rows.len() {
                grants.add(name, rows, row);
            }
        }
        grants
    }

    fn add(&mut self, table: &str, rows: &Rows, row: usize) {
        let bytes = |column| rows.get(row, column).unwrap_or_default().to_vec();
        let holder = match table {
            // MySQL: the role (or account) FROM is granted TO the account.
            "role_edges" => {
                let holder = (bytes("TO_USER"), bytes("TO_HOST"));
                let role = (bytes("FROM_USER"), bytes("FROM_HOST"));
                self.roles.entry(holder.clone()).or_default().insert(role);
                holder
            }
            "roles_mapping" => {
                let holder = (bytes("User"), bytes("Host"));
                self.roles.entry(holder.clone()).or_default().insert((bytes("Role"), Vec::new()));
                holder
            }
            _ => (bytes("User"), bytes("Host")),
        };
        let mut hasher = foldhash::quality::FixedState::default().build_hasher();
        table.hash(&mut hasher);
        for (name, value) in rows.columns.iter().zip(&rows.rows[row]) {
            let is_login = table == "user" && LOGIN_COLUMNS.contains(&name.as_str());
            if is_login || IDLE_COLUMNS.contains(&name.as_str()) {
                continue;
            }
            let rights = (table == "global_priv" && name == "Priv").then(|| rights(value.as_ref()));
            match rights.flatten() {
                Some(rights) => (name, rights).hash(&mut hasher),
                None => (name, value).hash(&mut hasher),
            }
        }
        let digest = self.own.entry(holder).or_default();
        *digest = digest.wrapping_add(hasher.finish());
    }

    /// Equal for two readings exactly when nothing about the account's rights has changed, its
    /// roles' included (but for collisions of 64 bits).
    pub fn of(&self, user: &[u8], host: &[u8]) -> u64 {
        let account = (user.to_vec(), host.to_vec());
        // MariaDB's PUBLIC is everybody's role.
        let public = (b"PUBLIC".to_vec(), Vec::new());
        let mut seen = BTreeSet::from([account.clone(), public.clone()]);
        let mut open = vec![account, public];
        let mut digest = 0u64;
        while let Some(holder) = open.pop() {
            digest = digest.wrapping_add(self.own.get(&holder).copied().unwrap_or(0));
            for role in self.roles.get(&holder).into_iter().flatten() {
                if seen.insert(role.clone()) {
                    open.push(role.clone());
                }
            }
        }
        digest
    }
}

/// What MariaDB's JSON of an account says beside how it logs in.
fn rights(json: Option<&Vec<u8>>) -> Option<String> {
    let mut account: Value = serde_json::from_slice(json?).ok()?;
    let keys = account.as_object_mut()?;
    for key in LOGIN_KEYS {
        keys.remove(key);
    }
    Some(account.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::table;
    use super::*;

    const USER: [&str; 5] =
        ["Host", "User", "Select_priv", "authentication_string", "password_last_changed"];

    fn tables() -> BTreeMap<&'static str, Rows> {
        BTreeMap::from([
            (
                "user",
                table(
                    &USER,
                    &[
                        &["%", "app", "N", "x", "1"],
                        &["%", "other", "N", "y", "1"],
                        &["%", "reader", "N", "", "1"],
                        &["%", "base", "N", "", "1"],
                    ],
                ),
            ),
            ("db", table(&["Host", "Db", "User", "Select_priv"], &[&["%", "shop", "base", "Y"]])),
            (
                "role_edges",
                table(
                    &["FROM_HOST", "FROM_USER", "TO_HOST", "TO_USER"],
                    // app has reader, reader has base, and base has reader: a circle.
                    &[
                        &["%", "reader", "%", "app"],
                        &["%", "base", "%", "reader"],
                        &["%", "reader", "%", "base"],
                    ],
                ),
            ),
        ])
    }

    fn rights(tables: &BTreeMap<&str, Rows>, user: &str) -> u64 {
        Grants::new(tables).of(user.as_bytes(), b"%")
    }

    #[test]
    fn rights_follow_roles() {
        let before = tables();
        let mut after = tables();
        after.get_mut("db").expect("it is there").rows[0][3] = Some(b"N".to_vec());
        assert_ne!(rights(&before, "app"), rights(&after, "app"));
        assert_eq!(rights(&before, "other"), rights(&after, "other"));

        let mut after = tables();
        after.get_mut("role_edges").expect("it is there").rows.remove(0);
        assert_ne!(rights(&before, "app"), rights(&after, "app"));
        assert_eq!(rights(&before, "reader"), rights(&after, "reader"));
    }

    #[test]
    fn a_new_password_is_no_change_of_rights() {
        let before = tables();
        let mut after = tables();
        let row = &mut after.get_mut("user").expect("it is there").rows[0];
        row[3] = Some(b"new".to_vec());
        row[4] = Some(b"2".to_vec());
        assert_eq!(rights(&before, "app"), rights(&after, "app"));
        after.get_mut("user").expect("it is there").rows[0][2] = Some(b"Y".to_vec());
        assert_ne!(rights(&before, "app"), rights(&after, "app"));
    }

    #[test]
    fn who_has_granted_it_is_no_right() {
        let granted = |by: &str, table_privileges: &str| {
            BTreeMap::from([(
                "tables_priv",
                table(
                    &["Host", "User", "Table_name", "Grantor", "Table_priv"],
                    &[&["%", "app", "orders", by, table_privileges]],
                ),
            )])
        };
        let before = rights(&granted("root@localhost", "Select"), "app");
        assert_eq!(before, rights(&granted("", "Select"), "app"));
        assert_ne!(before, rights(&granted("root@localhost", "Select,Insert"), "app"));
    }

    #[test]
    fn mariadb_roles() {
        let with = |privilege: &str| {
            BTreeMap::from([
                (
                    "global_priv",
                    table(
                        &["Host", "User", "Priv"],
                        &[&["%", "app", "{}"], &["", "reader", privilege], &["", "PUBLIC", "{}"]],
                    ),
                ),
                (
                    "roles_mapping",
                    table(
                        &["Host", "User", "Role", "Admin_option"],
                        &[&["%", "app", "reader", "N"]],
                    ),
                ),
            ])
        };
        assert_ne!(
            rights(&with(r#"{"access":0}"#), "app"),
            rights(&with(r#"{"access":1}"#), "app")
        );
        assert_eq!(
            rights(&with(r#"{"access":1,"authentication_string":"x","ssl_type":0}"#), "app"),
            rights(&with(r#"{"access":1,"authentication_string":"y","version_id":5}"#), "app")
        );
    }
}
