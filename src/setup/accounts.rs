//! The accounts that setup makes, with the privileges that they need and no others. Pure.

use super::options::Credentials;
use super::state::{Account, State};
use crate::administration::statements::{Statement, quoted};
use crate::wire::{Flavour, ServerVersion};

/// What an account needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    pub global: &'static [&'static str],
    /// SELECT on these tables of the schema `mysql`.
    pub tables: &'static [&'static str],
}

/// For fetching the binary log.
pub fn of_replication() -> Needs {
    Needs { global: &["REPLICATION SLAVE"], tables: &[] }
}

/// For the monitor's probes, for noticing changed accounts, and for getting in when a server is full.
pub fn of_monitor(version: &ServerVersion) -> Needs {
    match version.flavour {
        Flavour::MariaDb if version.at_least(10, 5) => Needs {
            global: &["BINLOG MONITOR", "SLAVE MONITOR", "CONNECTION ADMIN"],
            tables: MARIADB_TABLES,
        },
        Flavour::MariaDb => Needs { global: &["REPLICATION CLIENT"], tables: MARIADB_TABLES },
        Flavour::MySql if version.at_least(8, 0) => {
            Needs { global: &["REPLICATION CLIENT", "CONNECTION_ADMIN"], tables: MYSQL_TABLES }
        }
        Flavour::MySql => Needs { global: &["REPLICATION CLIENT"], tables: OLD_TABLES },
    }
}

const MYSQL_TABLES: &[&str] = &[
    "user",
    "db",
    "tables_priv",
    "columns_priv",
    "procs_priv",
    "proxies_priv",
    "global_grants",
    "role_edges",
    "default_roles",
];
const OLD_TABLES: &[&str] =
    &["user", "db", "tables_priv", "columns_priv", "procs_priv", "proxies_priv"];
const MARIADB_TABLES: &[&str] = &[
    "global_priv",
    "db",
    "tables_priv",
    "columns_priv",
    "procs_priv",
    "proxies_priv",
    "roles_mapping",
];

/// `'NAME'@'%'`, as statements have it.
pub fn at_any_host(user: &str) -> String {
    format!("{}@'%'", quoted(user))
}

/// Makes the account, or gives it what it lacks; nothing if it is as it should be.
pub fn statements(
    credentials: &Credentials,
    needs: &Needs,
    is: Option<&Account>,
    version: &ServerVersion,
) -> Vec<Statement> {
    let account = at_any_host(&credentials.user);
    let mut statements = Vec::new();
    if is.is_none() {
        let create = |password: &str| {
            format!("CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {password}")
        };
        statements.push(Statement {
            sql: create(&quoted(credentials.password.expose())),
            shown: create("'***'"),
        });
    }
    let has = |privilege: &str| is.is_some_and(|account| has(account, privilege, version));
    let lacking: Vec<&str> =
        needs.global.iter().copied().filter(|privilege| !has(privilege)).collect();
    if !lacking.is_empty() {
        statements.push(format!("GRANT {} ON *.* TO {account}", lacking.join(", ")).into());
    }
    let reads = |table: &str| {
        is.is_some_and(|account| {
            account.global.contains("SELECT") || account.tables.contains(table)
        })
    };
    for table in needs.tables.iter().filter(|table| !reads(table)) {
        statements.push(format!("GRANT SELECT ON mysql.{table} TO {account}").into());
    }
    statements
}

/// Privileges have other names, too, and SUPER has some of them in it.
fn has(account: &Account, privilege: &str, version: &ServerVersion) -> bool {
    let other = match privilege {
        "SLAVE MONITOR" => "REPLICA MONITOR",
        "BINLOG MONITOR" => "REPLICATION CLIENT",
        "CONNECTION_ADMIN" if version.flavour == Flavour::MySql => "SUPER",
        _ => privilege,
    };
    account.global.contains(privilege) || account.global.contains(other)
}

/// Privileges without which the administrator's account cannot do what setup does.
pub fn of_administrator(version: &ServerVersion) -> &'static [&'static str] {
    match version.flavour {
        Flavour::MySql if version.at_least(8, 0) => &[
            "SELECT",
            "INSERT",
            "RELOAD",
            "PROCESS",
            "CREATE USER",
            "REPLICATION SLAVE",
            "REPLICATION CLIENT",
            "SYSTEM_VARIABLES_ADMIN",
            "REPLICATION_SLAVE_ADMIN",
            "CONNECTION_ADMIN",
            "BACKUP_ADMIN",
            "CLONE_ADMIN",
        ],
        Flavour::MariaDb if version.at_least(10, 5) => &[
            "SELECT",
            "INSERT",
            "CREATE",
            "DROP",
            "RELOAD",
            "CREATE USER",
            "SUPER",
            "REPLICATION SLAVE",
            "BINLOG MONITOR",
            "SLAVE MONITOR",
            "BINLOG ADMIN",
            "CONNECTION ADMIN",
            "READ_ONLY ADMIN",
            "REPLICATION SLAVE ADMIN",
            "REPLICATION MASTER ADMIN",
        ],
        _ => &["SELECT", "INSERT", "CREATE", "DROP", "RELOAD", "CREATE USER", "SUPER"],
    }
}

/// The statement that gives the administrator what it lacks.
pub fn grant_administrator(state: &State, user: &str) -> Option<String> {
    let lacking = &state.lacking;
    (!lacking.is_empty()).then(|| {
        let account = at_any_host(user);
        format!("GRANT {} ON *.* TO {account} WITH GRANT OPTION", lacking.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Secret;

    fn credentials() -> Credentials {
        Credentials {
            user: "o'brien".to_owned(),
            password: Secret::new(r"se'cr\et".to_owned()),
            kept: "a file".to_owned(),
        }
    }

    fn shown(is: Option<&Account>, needs: &Needs, version: &str) -> Vec<String> {
        let version = ServerVersion::parse(version);
        let told = statements(&credentials(), needs, is, &version);
        assert!(told.iter().all(|statement| !statement.shown.contains("cr")));
        told.into_iter().map(|statement| statement.shown).collect()
    }

    #[test]
    fn an_account_gets_what_it_lacks() {
        let needs = of_replication();
        let made = shown(None, &needs, "8.4.0");
        assert_eq!(
            made,
            [
                "CREATE USER IF NOT EXISTS 'o''brien'@'%' IDENTIFIED BY '***'",
                "GRANT REPLICATION SLAVE ON *.* TO 'o''brien'@'%'"
            ]
        );
        let told = statements(&credentials(), &needs, None, &ServerVersion::parse("8.4.0"));
        assert!(told[0].sql.ends_with(r"IDENTIFIED BY 'se''cr\\et'"), "{}", told[0].sql);
        let all = Account {
            global: BTreeSet::from(["REPLICATION SLAVE".to_owned()]),
            ..Account::default()
        };
        assert_eq!(shown(Some(&all), &needs, "8.4.0"), [""; 0]);
        assert_eq!(
            shown(Some(&Account::default()), &needs, "8.4.0"),
            ["GRANT REPLICATION SLAVE ON *.* TO 'o''brien'@'%'"]
        );
    }

    #[test]
    fn the_monitor_by_flavour() {
        let table = [
            ("9.7.4", "GRANT REPLICATION CLIENT, CONNECTION_ADMIN ON *.*", "mysql.role_edges"),
            ("5.7.44", "GRANT REPLICATION CLIENT ON *.*", "mysql.proxies_priv"),
            (
                "10.11.6-MariaDB",
                "GRANT BINLOG MONITOR, SLAVE MONITOR, CONNECTION ADMIN ON *.*",
                "mysql.global_priv",
            ),
        ];
        for (version, global, table) in table {
            let needs = of_monitor(&ServerVersion::parse(version));
            let said = shown(Some(&Account::default()), &needs, version);
            assert!(said[0].starts_with(global), "{said:?}");
            assert!(said.iter().any(|it| it.contains(table)), "{said:?}");
            assert_eq!(said.len(), 1 + needs.tables.len());
            let reader = Account {
                global: needs.global.iter().map(|it| (*it).to_owned()).collect(),
                tables: needs.tables.iter().map(|it| (*it).to_owned()).collect(),
                ..Account::default()
            };
            assert_eq!(shown(Some(&reader), &needs, version), [""; 0]);
        }
    }
}
