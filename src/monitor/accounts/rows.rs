//! What the grant tables say. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::SessionDefaults;
use super::grants::Grants;
use crate::backend::sql_client::Rows;
use crate::session::accounts::AccountRow;
use crate::wire::{Flavour, ServerVersion};

/// The tables that tell who may do what; not every version has all.
pub fn tables(version: &ServerVersion) -> &'static [&'static str] {
    match version.flavour {
        Flavour::MySql if !version.at_least(8, 0) => {
            &["user", "db", "tables_priv", "columns_priv", "procs_priv", "proxies_priv"]
        }
        Flavour::MySql => &[
            "user",
            "db",
            "tables_priv",
            "columns_priv",
            "procs_priv",
            "proxies_priv",
            "global_grants",
            "role_edges",
            "default_roles",
        ],
        Flavour::MariaDb => &[
            "global_priv",
            "db",
            "tables_priv",
            "columns_priv",
            "procs_priv",
            "proxies_priv",
            "roles_mapping",
        ],
    }
}

/// The table with one row an account.
pub fn account_table(version: &ServerVersion) -> &'static str {
    tables(version)[0]
}

/// Every collation with its number.
pub fn collations(version: &ServerVersion) -> &'static str {
    // Since MariaDB 10.10 a collation may serve several character sets, with a number for each.
    if version.flavour == Flavour::MariaDb && version.at_least(10, 10) {
        "SELECT ID AS id, CHARACTER_SET_NAME AS charset, FULL_COLLATION_NAME AS collation \
         FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
    } else {
        "SELECT ID AS id, CHARACTER_SET_NAME AS charset, COLLATION_NAME AS collation \
         FROM information_schema.COLLATIONS"
    }
}

pub fn read_collations(rows: &Rows) -> Vec<(u16, Box<str>, Box<str>)> {
    let mut collations: Vec<(u16, Box<str>, Box<str>)> = (0..rows.len())
        .filter_map(|row| {
            let id = rows.u64(row, "id")?.try_into().ok()?;
            Some((id, rows.str(row, "charset")?.into(), rows.str(row, "collation")?.into()))
        })
        .collect();
    collations.sort_unstable();
    collations
}

/// What new sessions begin with, as far as it changes how their statements are read.
pub const DEFAULTS: &str = "SELECT @@global.sql_mode AS sql_mode, \
     @@global.character_set_client AS character_set";

pub fn read_defaults(rows: &Rows) -> SessionDefaults {
    let text = |column: &str| rows.str(0, column).unwrap_or_default().into();
    SessionDefaults { sql_mode: text("sql_mode"), character_set: text("character_set") }
}

/// The accounts that the tables (by name, with all their columns) describe.
pub fn accounts(tables: &BTreeMap<&str, Rows>, flavour: Flavour) -> Vec<(Vec<u8>, AccountRow)> {
    let grants = Grants::new(tables);
    match flavour {
        Flavour::MySql => tables.get("user").map(|users| mysql(users, &grants)),
        Flavour::MariaDb => tables.get("global_priv").map(|users| mariadb(users, &grants)),
    }
    .unwrap_or_default()
}

fn mysql(users: &Rows, grants: &Grants) -> Vec<(Vec<u8>, AccountRow)> {
    let mut accounts = Vec::new();
    for row in 0..users.len() {
        let bytes = |column| users.get(row, column).unwrap_or_default().to_vec();
        let (user, host) = (bytes("User"), bytes("Host"));
        let account = AccountRow {
            plugin: bytes("plugin"),
            authentication: bytes("authentication_string"),
            locked: users.get(row, "account_locked") == Some(b"Y"),
            password_expired: users.get(row, "password_expired") == Some(b"Y"),
            requires_tls: users.get(row, "ssl_type").is_some_and(|kind| !kind.is_empty()),
            rights: grants.of(&user, &host),
            host,
        };
        // ALTER USER … RETAIN CURRENT PASSWORD: the former password still logs in.
        let attributes: Option<Value> =
            users.get(row, "User_attributes").and_then(|json| serde_json::from_slice(json).ok());
        if let Some(second) = attributes
            .as_ref()
            .and_then(|attributes| attributes.get("additional_password"))
            .and_then(Value::as_str)
        {
            let second = AccountRow { authentication: second.into(), ..account.clone() };
            accounts.push((user.clone(), second));
        }
        accounts.push((user, account));
    }
    accounts
}

fn mariadb(users: &Rows, grants: &Grants) -> Vec<(Vec<u8>, AccountRow)> {
    let mut accounts = Vec::new();
    for row in 0..users.len() {
        let bytes = |column| users.get(row, column).unwrap_or_default().to_vec();
        let (user, host) = (bytes("User"), bytes("Host"));
        let Ok(priv_) = serde_json::from_slice::<Value>(&bytes("Priv")) else { continue };
        if priv_.get("is_role") == Some(&Value::Bool(true)) {
            continue;
        }
        let number = |key: &str| priv_.get(key).and_then(Value::as_i64);
        let text = |of: &Value, key: &str| -> Vec<u8> {
            of.get(key).and_then(Value::as_str).unwrap_or_default().into()
        };
        let account = AccountRow {
            plugin: text(&priv_, "plugin"),
            authentication: text(&priv_, "authentication_string"),
            locked: priv_.get("account_locked") == Some(&Value::Bool(true)),
            // PASSWORD EXPIRE sets the time of the last change to 0.
            password_expired: number("password_last_changed") == Some(0),
            // 0 none, 1 any, 2 X509, 3 with certain properties.
            requires_tls: number("ssl_type").is_some_and(|kind| kind > 0),
            rights: grants.of(&user, &host),
            host,
        };
        // IDENTIFIED VIA a OR b: an empty alternative stands for the fields of the row itself.
        let alternatives = priv_.get("auth_or").and_then(Value::as_array);
        for alternative in alternatives.map_or(&[][..], |list| list) {
            if alternative.as_object().is_some_and(serde_json::Map::is_empty) {
                continue;
            }
            let other = AccountRow {
                plugin: text(alternative, "plugin"),
                authentication: text(alternative, "authentication_string"),
                ..account.clone()
            };
            accounts.push((user.clone(), other));
        }
        let stands_for_itself = alternatives.is_none_or(|list| {
            list.iter().any(|entry| entry.as_object().is_some_and(serde_json::Map::is_empty))
        });
        if stands_for_itself {
            accounts.push((user, account));
        }
    }
    accounts
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn table(columns: &[&str], rows: &[&[&str]]) -> Rows {
        Rows {
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            rows: rows
                .iter()
                .map(|row| {
                    row.iter()
                        .map(|value| (*value != "NULL").then(|| value.as_bytes().to_vec()))
                        .collect()
                })
                .collect(),
            affected_rows: 0,
        }
    }

    #[test]
    fn accounts_of_mysql() {
        let columns = [
            "Host",
            "User",
            "plugin",
            "authentication_string",
            "account_locked",
            "password_expired",
            "ssl_type",
            "User_attributes",
        ];
        let users = table(
            &columns,
            &[
                &["%", "app", "caching_sha2_password", "$A$005$x", "N", "N", "", "NULL"],
                &["10.%", "old", "mysql_native_password", "*AB", "Y", "Y", "X509", "NULL"],
                &[
                    "%",
                    "two",
                    "caching_sha2_password",
                    "new",
                    "N",
                    "N",
                    "ANY",
                    r#"{"additional_password": "former"}"#,
                ],
            ],
        );
        let found = accounts(&BTreeMap::from([("user", users)]), Flavour::MySql);
        assert_eq!(found.len(), 4);
        let (name, app) = &found[0];
        assert_eq!((&name[..], &app.host[..]), (&b"app"[..], &b"%"[..]));
        assert_eq!(app.authentication, b"$A$005$x");
        assert!(!app.locked && !app.password_expired && !app.requires_tls);
        let (_, old) = &found[1];
        assert!(old.locked && old.password_expired && old.requires_tls);
        let secrets: Vec<_> = found[2..].iter().map(|(_, row)| &row.authentication[..]).collect();
        assert_eq!(secrets, [&b"former"[..], b"new"]);
    }

    #[test]
    fn accounts_of_mariadb() {
        let users = table(
            &["Host", "User", "Priv"],
            &[
                &[
                    "%",
                    "app",
                    r#"{"access":0,"plugin":"mysql_native_password",
                    "authentication_string":"*5BCB","password_last_changed":1795459036}"#,
                ],
                &[
                    "localhost",
                    "root",
                    r#"{"plugin":"mysql_native_password",
                    "authentication_string":"invalid","auth_or":[{},{"plugin":"unix_socket"}]}"#,
                ],
                &[
                    "%",
                    "key",
                    r#"{"plugin":"","auth_or":[{"plugin":"ed25519",
                    "authentication_string":"k"}]}"#,
                ],
                &["%", "off", r#"{"account_locked":true,"password_last_changed":0,"ssl_type":2}"#],
                &["", "reader", r#"{"access":0,"is_role":true}"#],
                &["%", "bad", "not JSON"],
            ],
        );
        let found = accounts(&BTreeMap::from([("global_priv", users)]), Flavour::MariaDb);
        let plugins: Vec<_> = found
            .iter()
            .map(|(user, row)| {
                (String::from_utf8_lossy(user).into_owned(), String::from_utf8_lossy(&row.plugin))
            })
            .collect();
        let expected = [
            ("app", "mysql_native_password"),
            ("root", "unix_socket"),
            ("root", "mysql_native_password"),
            ("key", "ed25519"),
            ("off", ""),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(user, plugin)| ((*user).to_owned(), (*plugin).into())).collect();
        assert_eq!(plugins, expected);
        let (_, off) = &found[4];
        assert!(off.locked && off.password_expired && off.requires_tls);
        assert!(!found[0].1.password_expired);
    }

    #[test]
    fn collations_in_order() {
        let rows = table(
            &["id", "charset", "collation"],
            &[
                &["45", "utf8mb4", "utf8mb4_general_ci"],
                &["8", "latin1", "latin1_swedish_ci"],
                &["NULL", "NULL", "uca1400_ai_ci"],
            ],
        );
        let found = read_collations(&rows);
        assert_eq!(found.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), [8, 45]);
    }

    #[test]
    fn defaults_of_sessions() {
        let rows = table(&["sql_mode", "character_set"], &[&["ANSI_QUOTES", "gbk"]]);
        let expected =
            SessionDefaults { sql_mode: "ANSI_QUOTES".into(), character_set: "gbk".into() };
        assert_eq!(read_defaults(&rows), expected);
    }
}
