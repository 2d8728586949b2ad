//! Accounts, roles and grants. Passwords are copied as the hashes that servers keep; no error shows
//! them.

use std::collections::HashSet;

use super::quoting::{find, name};
use super::session::{CopyError, Session, text};
use crate::administration::statements::quoted;
use crate::wire::Flavour;

/// Made by the server itself, each for itself.
const SYSTEM: [&str; 4] = ["mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys"];
/// Made by MariaDB's image in each container, with a password that is kept in that container.
const HEALTHCHECK: &str = "healthcheck";

/// Why a grant cannot be given, that is no use on the source either, or cannot be given by anybody
/// but its holder: its table, column or routine is gone (1146, 1054, 1147, 1305), the component
/// that knows of it is not installed (3619, 1410), PROXY of others (1698, 1045).
const UNGRANTABLE: [u16; 8] = [1146, 1054, 1147, 1305, 3619, 1410, 1698, 1045];

#[derive(Debug, PartialEq, Eq)]
pub struct Accounts {
    accounts: Vec<Account>,
}

#[derive(Debug, PartialEq, Eq)]
struct Account {
    /// As statements name it.
    name: String,
    kind: Kind,
    /// GRANT and REVOKE.
    grants: Vec<Vec<u8>>,
    /// What makes a role, or several, its default.
    defaults: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// What follows CREATE USER.
    User { rest: Vec<u8> },
    /// MariaDB's. (MySQL's are accounts.)
    Role,
    /// MariaDB's role that everybody has.
    Public,
}

impl Accounts {
    pub async fn read(session: &mut Session) -> Result<Self, CopyError> {
        let flavour = session.version.flavour;
        let list = match flavour {
            Flavour::MySql => "SELECT User AS user, Host AS host FROM mysql.user",
            Flavour::MariaDb => {
                "SELECT User AS user, Host AS host, is_role AS role, \
                 default_role AS standard FROM mysql.user"
            }
        };
        let rows = session.run("accounts", &format!("{list} ORDER BY user, host")).await?;
        let mut accounts = Vec::new();
        for row in 0..rows.len() {
            let (user, host) = (text(rows.get(row, "user")), text(rows.get(row, "host")));
            if SYSTEM.contains(&user.as_str()) || user == HEALTHCHECK {
                continue;
            }
            let is_role = rows.get(row, "role") == Some(b"Y");
            let standard = text(rows.get(row, "standard"));
            let mut account = match is_role {
                true => Account::role(&user),
                false => Account::user(session, &user, &host).await?,
            };
            if !standard.is_empty() {
                let sql = format!("SET DEFAULT ROLE {} FOR {}", name(&standard), account.name);
                account.defaults = Some(sql);
            }
            account.read_grants(session).await?;
            accounts.push(account);
        }
        if flavour == Flavour::MySql {
            read_default_roles(session, &mut accounts).await?;
        }
        Ok(Accounts { accounts })
    }
}

/// MySQL's, since 8.0.
async fn read_default_roles(
    session: &mut Session,
    accounts: &mut [Account],
) -> Result<(), CopyError> {
    if !session.version.at_least(8, 0) {
        return Ok(());
    }
    let sql = "SELECT USER AS user, HOST AS host, DEFAULT_ROLE_USER AS role, \
               DEFAULT_ROLE_HOST AS role_host FROM mysql.default_roles ORDER BY 1, 2, 3, 4";
    let rows = session.run("default roles", sql).await?;
    for account in accounts {
        let roles: Vec<String> = (0..rows.len())
            .filter(|&row| account_name(&rows, row, ["user", "host"]) == account.name)
            .map(|row| account_name(&rows, row, ["role", "role_host"]))
            .collect();
        if !roles.is_empty() {
            let roles = roles.join(", ");
            account.defaults = Some(format!("SET DEFAULT ROLE {roles} TO {}", account.name));
        }
    }
    Ok(())
}

fn account_name(rows: &crate::backend::sql_client::Rows, row: usize, columns: [&str; 2]) -> String {
    let [user, host] = columns.map(|column| quoted(&text(rows.get(row, column))));
    format!("{user}@{host}")
}

impl Account {
    fn role(role: &str) -> Self {
        let kind = if role == "PUBLIC" { Kind::Public } else { Kind::Role };
        let name = if kind == Kind::Public { role.to_owned() } else { name(role) };
        Account { name, kind, grants: Vec::new(), defaults: None }
    }

    async fn user(session: &mut Session, user: &str, host: &str) -> Result<Self, CopyError> {
        let name = format!("{}@{}", quoted(user), quoted(host));
        let rows = session.run(&name, &format!("SHOW CREATE USER {name}")).await?;
        let statement = rows.rows.first().and_then(|row| row.first()?.as_deref());
        let Some(rest) = statement.and_then(|text| text.strip_prefix(b"CREATE USER ")) else {
            return Err(session.unfit(format!("it does not say how {name} was made")));
        };
        let kind = Kind::User { rest: without_default_role(rest) };
        Ok(Account { name, kind, grants: Vec::new(), defaults: None })
    }

    async fn read_grants(&mut self, session: &mut Session) -> Result<(), CopyError> {
        let rows = session.run(&self.name, &format!("SHOW GRANTS FOR {}", self.name)).await?;
        let statements = rows.rows.into_iter().filter_map(|row| row.into_iter().next().flatten());
        self.grants = statements
            .filter(|statement| {
                statement.starts_with(b"GRANT ") || statement.starts_with(b"REVOKE ")
            })
            .collect();
        Ok(())
    }
}

/// MySQL: roles that an account has by default are granted to it first.
fn without_default_role(rest: &[u8]) -> Vec<u8> {
    const CLAUSE: &[u8] = b" DEFAULT ROLE ";
    const NEXT: &[u8] = b" REQUIRE ";
    let range = find(rest, CLAUSE).zip(find(rest, NEXT));
    match range {
        Some((start, end)) if start < end => [&rest[..start], &rest[end..]].concat(),
        _ => rest.to_vec(),
    }
}

/// Makes accounts and roles, so that what is made in their names finds them. One that is there has
/// the source's password from then on; what it has been granted beyond is taken away, unless it is
/// the one that we use. Others that are there stay.
pub async fn create(accounts: &Accounts, target: &mut Session) -> Result<(), CopyError> {
    let there = existing(target).await?;
    let own = target.value("our account", "SELECT CURRENT_USER()").await?;
    for account in &accounts.accounts {
        let (known, name) = (there.contains(&account.name), &account.name);
        match &account.kind {
            Kind::Public => {}
            // Whoever makes a role may grant it, which nobody else may.
            Kind::Role => drop(target.run(name, &format!("CREATE OR REPLACE ROLE {name}")).await?),
            Kind::User { rest } => {
                let verb: &str = if known { "ALTER USER " } else { "CREATE USER " };
                let statement = [verb.as_bytes(), rest].concat();
                target.run_shown(name, &statement, &format!("{verb}{name} …")).await?;
                if known && !is_account(name, &own) {
                    revoke_all(name, target).await?;
                }
            }
        }
    }
    Ok(())
}

async fn revoke_all(name: &str, target: &mut Session) -> Result<(), CopyError> {
    target.run(name, &format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {name}")).await?;
    Ok(())
}

/// Whether the name of an account is what CURRENT_USER() tells, `user@host`.
fn is_account(name: &str, told: &str) -> bool {
    let Some((user, host)) = told.rsplit_once('@') else { return false };
    name == format!("{}@{}", quoted(user), quoted(host))
}

/// The accounts of the target, by the names that statements have.
async fn existing(target: &mut Session) -> Result<HashSet<String>, CopyError> {
    let roles = match target.version.flavour {
        Flavour::MySql => "'N'",
        Flavour::MariaDb => "is_role",
    };
    let sql = format!("SELECT User AS user, Host AS host, {roles} AS role FROM mysql.user");
    let rows = target.run("accounts", &sql).await?;
    Ok((0..rows.len())
        .map(|row| match rows.get(row, "role") {
            Some(b"Y") => name(&text(rows.get(row, "user"))),
            _ => account_name(&rows, row, ["user", "host"]),
        })
        .collect())
}

/// Gives the grants, after everything is there that they may name.
pub async fn grant(
    accounts: &Accounts,
    target: &mut Session,
    notes: &mut Vec<String>,
) -> Result<(), CopyError> {
    for account in &accounts.accounts {
        let name = &account.name;
        let has = match target.run(name, &format!("SHOW GRANTS FOR {name}")).await {
            Ok(rows) => rows.rows.into_iter().filter_map(|mut row| row.swap_remove(0)).collect(),
            Err(_) => HashSet::<Vec<u8>>::new(),
        };
        for statement in account.grants.iter().filter(|grant| !has.contains(*grant)) {
            let shown = shown(statement);
            match target.run_shown(name, statement, &shown).await {
                Ok(_) => {}
                Err(error) if error.code().is_some_and(|code| UNGRANTABLE.contains(&code)) => {
                    notes.push(format!("not granted: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
    }
    for account in &accounts.accounts {
        if let Some(statement) = &account.defaults {
            target.run(&account.name, statement).await?;
        }
    }
    give_roles_back(accounts, target).await
}

/// We have the roles that we have made; on the source we may not.
async fn give_roles_back(accounts: &Accounts, target: &mut Session) -> Result<(), CopyError> {
    let own = target.value("our account", "SELECT CURRENT_USER()").await?;
    let ours = accounts.accounts.iter().find(|account| is_account(&account.name, &own));
    for role in accounts.accounts.iter().filter(|account| account.kind == Kind::Role) {
        let granted = format!("GRANT {} TO ", role.name);
        let keeps = ours.is_some_and(|account| {
            account.grants.iter().any(|grant| grant.starts_with(granted.as_bytes()))
        });
        if !keeps {
            let sql = format!("REVOKE {} FROM CURRENT_USER", role.name);
            target.run(&role.name, &sql).await?;
        }
    }
    Ok(())
}

/// MariaDB's grants tell how the account proves itself.
fn shown(statement: &[u8]) -> String {
    let text = text(Some(statement));
    match text.find(" IDENTIFIED ") {
        Some(at) => format!("{} …", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_roles_come_later() {
        let table = [
            (
                "`a`@`%` IDENTIFIED WITH 'p' AS 'x DEFAULT ROLE ' DEFAULT ROLE `r`@`%` REQUIRE NONE \
                 PASSWORD REQUIRE CURRENT DEFAULT",
                "`a`@`%` IDENTIFIED WITH 'p' AS 'x DEFAULT ROLE ' REQUIRE NONE PASSWORD REQUIRE \
                 CURRENT DEFAULT",
            ),
            ("`a`@`%` IDENTIFIED BY PASSWORD '*1'", "`a`@`%` IDENTIFIED BY PASSWORD '*1'"),
            ("`a`@`%` REQUIRE NONE ACCOUNT LOCK", "`a`@`%` REQUIRE NONE ACCOUNT LOCK"),
        ];
        for (printed, rest) in table {
            assert_eq!(without_default_role(printed.as_bytes()), rest.as_bytes());
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let grant = b"GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*81F5'";
        assert_eq!(shown(grant), "GRANT USAGE ON *.* TO `a`@`%` …");
        assert!(is_account("'o''k'@'%'", "o'k@%") && !is_account("'a'@'%'", "a@localhost"));
    }
}
