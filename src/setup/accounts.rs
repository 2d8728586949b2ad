//! The accounts that setup makes, with the privileges that they need and no others. Pure.

use super::options::Credentials;
use crate::administration::statements::{Statement, quoted};
use crate::facts::privileges::Needs;
use crate::facts::{Account, State};
use crate::wire::ServerVersion;

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
    let has = |privilege: &str| is.is_some_and(|account| account.may(privilege, version));
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
    use crate::facts::privileges::{of_monitor, of_replication};

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
