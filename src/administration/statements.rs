//! What servers are told when the roles change, in the words of their flavour and version.

use crate::wire::{Flavour, ServerVersion};

/// A statement, and how it is shown: without passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub sql: String,
    pub shown: String,
}

impl From<&str> for Statement {
    fn from(sql: &str) -> Self {
        Statement { sql: sql.to_owned(), shown: sql.to_owned() }
    }
}

impl From<String> for Statement {
    fn from(sql: String) -> Self {
        Statement { shown: sql.clone(), sql }
    }
}

/// Where a replica finds its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub host: String,
    pub port: u16,
}

/// The account that a replica uses, and how it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
    pub tls: bool,
    /// MySQL: the source's public key is asked for, for passwords without TLS.
    pub asks_public_key: bool,
}

/// MySQL renamed its statements in 8.0.22 and 8.0.23; the old ones went with 8.4.
fn says_replica(version: &ServerVersion) -> bool {
    version.flavour == Flavour::MySql && (version.major, version.minor, version.patch) >= (8, 0, 23)
}

/// `STOP REPLICA` and its like.
pub fn replica(verb: &str, rest: &str, version: &ServerVersion) -> Statement {
    let noun = if says_replica(version) { "REPLICA" } else { "SLAVE" };
    match rest {
        "" => format!("{verb} {noun}").into(),
        _ => format!("{verb} {noun} {rest}").into(),
    }
}

/// Sets a global variable, beyond a restart where the server can.
pub fn set(name: &str, value: &str, version: &ServerVersion) -> Statement {
    let persists = version.flavour == Flavour::MySql && version.at_least(8, 0);
    let scope = if persists { "PERSIST" } else { "GLOBAL" };
    format!("SET {scope} {name} = {value}").into()
}

/// Installs the plugin of MySQL that has this variable, `rpl_semi_sync_source_enabled` or its like.
pub fn install(variable: &str) -> Statement {
    let plugin = variable.trim_end_matches("_enabled");
    let library = plugin.replace("rpl_semi_sync_", "semisync_");
    format!("INSTALL PLUGIN {plugin} SONAME '{library}.so'").into()
}

/// Closes a server to writers, or opens it.
pub fn read_only(on: bool, version: &ServerVersion) -> Vec<Statement> {
    match (version.flavour, on) {
        // It sets read_only along.
        (Flavour::MySql, true) => vec![set("super_read_only", "ON", version)],
        (Flavour::MySql, false) => {
            vec![set("super_read_only", "OFF", version), set("read_only", "OFF", version)]
        }
        (Flavour::MariaDb, true) => vec![set("read_only", "ON", version)],
        (Flavour::MariaDb, false) => vec![set("read_only", "OFF", version)],
    }
}

/// How a replica is told of its source: the statement, and what its options begin with.
fn change_words(version: &ServerVersion) -> (&'static str, &'static str) {
    match says_replica(version) {
        true => ("CHANGE REPLICATION SOURCE TO", "SOURCE"),
        false => ("CHANGE MASTER TO", "MASTER"),
    }
}

/// Changes options of a replica, named without their `SOURCE_` or `MASTER_`. It must not replicate
/// meanwhile.
pub fn change(options: &[(&str, &str)], version: &ServerVersion) -> Statement {
    let (change, prefix) = change_words(version);
    let options: Vec<String> =
        options.iter().map(|(name, value)| format!("{prefix}_{name} = {value}")).collect();
    format!("{change} {}", options.join(", ")).into()
}

/// Has a replica fetch by GTID, no longer by file and offset.
pub fn by_gtid(version: &ServerVersion) -> Statement {
    match version.flavour {
        Flavour::MySql => change(&[("AUTO_POSITION", "1")], version),
        Flavour::MariaDb => change(&[("USE_GTID", "slave_pos")], version),
    }
}

/// MySQL: has a replica ask for its source's public key, for passwords without TLS.
pub fn ask_public_key(version: &ServerVersion) -> Statement {
    let (change, prefix) = change_words(version);
    format!("{change} GET_{prefix}_PUBLIC_KEY = 1").into()
}

/// Points a replica at a source, by GTID. Without a login it keeps the one that it has.
pub fn follow(place: &Place, login: Option<&Login>, version: &ServerVersion) -> Statement {
    let (change, prefix) = change_words(version);
    let host = quoted(&place.host);
    let mut sql = format!("{change} {prefix}_HOST = {host}, {prefix}_PORT = {}", place.port);
    let mut shown = String::new();
    if let Some(login) = login {
        sql += &format!(", {prefix}_USER = {}", quoted(&login.user));
        shown.clone_from(&sql);
        shown += &format!(", {prefix}_PASSWORD = '***'");
        sql += &format!(", {prefix}_PASSWORD = {}", quoted(&login.password));
    } else {
        shown.clone_from(&sql);
    }
    let mut rest = String::new();
    if let Some(login) = login {
        rest += &format!(", {prefix}_SSL = {}", u8::from(login.tls));
        if login.asks_public_key && version.flavour == Flavour::MySql && version.at_least(8, 0) {
            rest += &format!(", GET_{prefix}_PUBLIC_KEY = 1");
        }
    }
    rest += match version.flavour {
        Flavour::MySql if says_replica(version) => ", SOURCE_AUTO_POSITION = 1",
        Flavour::MySql => ", MASTER_AUTO_POSITION = 1",
        Flavour::MariaDb => ", MASTER_USE_GTID = slave_pos",
    };
    Statement { sql: sql + &rest, shown: shown + &rest }
}

/// A string literal, under a `sql_mode` without `NO_BACKSLASH_ESCAPES`.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ServerVersion {
        ServerVersion::parse(text)
    }

    #[test]
    fn statements_by_version() {
        let table = [
            ("5.7.44", "STOP SLAVE", "SET GLOBAL super_read_only = ON"),
            ("8.0.22", "STOP SLAVE", "SET PERSIST super_read_only = ON"),
            ("8.4.0", "STOP REPLICA", "SET PERSIST super_read_only = ON"),
            ("10.11.6-MariaDB", "STOP SLAVE", "SET GLOBAL read_only = ON"),
        ];
        for (text, stop, close) in table {
            let version = version(text);
            assert_eq!(replica("STOP", "", &version).sql, stop, "{text}");
            assert_eq!(read_only(true, &version), [Statement::from(close)], "{text}");
        }
        assert_eq!(
            install("rpl_semi_sync_master_enabled").sql,
            "INSTALL PLUGIN rpl_semi_sync_master SONAME 'semisync_master.so'"
        );
        assert_eq!(replica("RESET", "ALL", &version("9.1.0")).sql, "RESET REPLICA ALL");
    }

    #[test]
    fn a_replica_is_told_otherwise() {
        let told = |version_text: &str| {
            let version = version(version_text);
            [change(&[("DELAY", "0")], &version), by_gtid(&version), ask_public_key(&version)]
                .map(|statement| statement.sql)
        };
        assert_eq!(
            told("8.4.0"),
            [
                "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 0",
                "CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 1",
                "CHANGE REPLICATION SOURCE TO GET_SOURCE_PUBLIC_KEY = 1",
            ]
        );
        assert_eq!(told("5.7.44")[2], "CHANGE MASTER TO GET_MASTER_PUBLIC_KEY = 1");
        assert_eq!(told("11.8.1-MariaDB")[1], "CHANGE MASTER TO MASTER_USE_GTID = slave_pos");
    }

    #[test]
    fn a_replica_is_pointed_at_its_source() {
        let place = Place { host: "db'2".to_owned(), port: 3306 };
        let login = Login {
            user: "repl".to_owned(),
            password: r"ge\heim".to_owned(),
            tls: false,
            asks_public_key: true,
        };
        let said = follow(&place, Some(&login), &version("9.7.0"));
        assert_eq!(
            said.sql,
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'db''2', SOURCE_PORT = 3306, \
             SOURCE_USER = 'repl', SOURCE_PASSWORD = 'ge\\\\heim', SOURCE_SSL = 0, \
             GET_SOURCE_PUBLIC_KEY = 1, SOURCE_AUTO_POSITION = 1"
        );
        assert!(
            !said.shown.contains("heim") && said.shown.contains("SOURCE_SSL"),
            "{}",
            said.shown
        );
        assert_eq!(
            follow(&place, None, &version("10.11.6-MariaDB")).sql,
            "CHANGE MASTER TO MASTER_HOST = 'db''2', MASTER_PORT = 3306, \
             MASTER_USE_GTID = slave_pos"
        );
    }
}
