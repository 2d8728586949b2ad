//! The state that can be brought from one connection to another, and the difference between what
//! a session wants and what a connection has.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::user_variables::UserVariables;
use crate::sql::variables::ACCESS_MODE;

/// Character set and collation of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Names {
    /// As the login asked: the collation's number in the handshake.
    Collation(u16),
    /// By statement: what stands behind SET, verbatim (`NAMES utf8mb4 COLLATE utf8mb4_bin`,
    /// `CHARACTER SET latin1`).
    /// Never translated: servers differ in what a name means.
    Statement(Box<str>),
    /// The server's global settings, as MySQL leaves them after COM_RESET_CONNECTION.
    Global,
}

/// State that a statement replays: what a session wants, or what a connection has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The default database, in the bytes of the character set of the connection.
    pub database: Option<Box<[u8]>>,
    pub autocommit: bool,
    pub names: Names,
    /// The active roles: what stood behind SET ROLE. `None`: those of the login. Nothing brings a
    /// connection back to these, so that it is a part of the pool's identity.
    pub role: Option<Arc<str>>,
    /// Session variables that were set, by lower-case name: the value as SQL text. The text is
    /// one that reads the same under every `sql_mode`.
    pub variables: BTreeMap<Box<str>, Box<str>>,
    pub user_variables: UserVariables,
}

/// What must be done to a connection before it may serve a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    Nothing,
    /// Commands, to be answered in this order without an error.
    Commands(Vec<Restore>),
    /// No command can do it: a connection cannot lose its default database.
    Impossible,
}

/// One private command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restore {
    /// COM_INIT_DB with this name.
    Database(Box<[u8]>),
    /// COM_QUERY with this text.
    Statement(String),
}

/// Variables that SET NAMES overwrites.
const NAMES_VARIABLES: [&str; 4] = [
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
];

/// Whether SET NAMES overwrites this variable.
pub fn is_of_names(name: &str) -> bool {
    NAMES_VARIABLES.contains(&name)
}

/// Two faces of one variable: setting the one changes the other with it.
const FACES: [[&str; 2]; 2] = [
    ["character_set_connection", "collation_connection"],
    ["character_set_server", "collation_server"],
];

/// Setting it also sets [`SQL_BIG_SELECTS`]: to 1 if it is unlimited, else to 0.
const MAX_JOIN_SIZE: &str = "max_join_size";
const SQL_BIG_SELECTS: &str = "sql_big_selects";

/// False for variables whose session value `DEFAULT` does not bring back to what a new session
/// has: MySQL 9.7 takes it for OFF.
pub fn has_true_default(name: &str) -> bool {
    !matches!(name, "foreign_key_checks" | "unique_checks")
}

impl Settings {
    /// The settings of a session that has just logged in.
    pub fn at_login(database: Option<Box<[u8]>>, collation: u16, autocommit: bool) -> Self {
        Settings {
            database,
            autocommit,
            names: Names::Collation(collation),
            role: None,
            variables: BTreeMap::new(),
            user_variables: UserVariables::default(),
        }
    }

    /// Notes a successful SET NAMES or SET CHARACTER SET.
    pub fn set_names(&mut self, statement: &str) {
        self.names = Names::Statement(statement.into());
        for name in NAMES_VARIABLES {
            self.variables.remove(name);
        }
    }

    /// Notes a successful SET of a session variable. `value` must read the same under every
    /// `sql_mode`.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.forget_other_face(name);
        self.variables.insert(name.into(), value.into());
        if name == MAX_JOIN_SIZE {
            // The server sets it along.
            let unlimited = value.parse::<u64>() == Ok(u64::MAX);
            let value = if unlimited { "1" } else { "0" };
            self.variables.insert(SQL_BIG_SELECTS.into(), value.into());
        }
    }

    fn forget_other_face(&mut self, name: &str) {
        for [one, other] in FACES {
            if name == one {
                self.variables.remove(other);
            } else if name == other {
                self.variables.remove(one);
            }
        }
    }

    /// Notes a successful SET of a session variable to DEFAULT. What SET NAMES covers keeps the
    /// text: its default is not what a login gives.
    pub fn set_default(&mut self, name: &str) {
        if NAMES_VARIABLES.contains(&name) {
            self.set_variable(name, "DEFAULT");
        } else {
            self.forget_other_face(name);
            self.variables.remove(name);
            if name == MAX_JOIN_SIZE {
                self.variables.remove(SQL_BIG_SELECTS);
            }
        }
    }

    /// What brings a connection that has `present` to `self`. `set_names` gives the statement for
    /// a login collation by its number, as the server lists it; `None` when it is not known.
    /// `read_only`: the connection is one to a replica and keeps its own access mode.
    pub fn difference(
        &self,
        present: &Settings,
        set_names: impl Fn(u16) -> Option<String>,
        read_only: bool,
    ) -> Difference {
        let mut commands = Vec::new();
        let names_differ = self.names != present.names
            || NAMES_VARIABLES.iter().any(|name| {
                present.variables.contains_key(*name) && !self.variables.contains_key(*name)
            });
        if names_differ {
            let Some(statement) = self.names_statement(set_names) else {
                return Difference::Impossible;
            };
            commands.push(Restore::Statement(statement));
        }
        if self.role != present.role {
            let Some(role) = &self.role else { return Difference::Impossible };
            commands.push(Restore::Statement(format!("SET ROLE {role}")));
        }
        // The database name is in the session's character set, so names come first.
        match (&self.database, &present.database) {
            (None, Some(_)) => return Difference::Impossible,
            (Some(wanted), present) if Some(wanted) != present.as_ref() => {
                commands.push(Restore::Database(wanted.clone()));
            }
            _ => {}
        }
        if let Some(statement) = self.variables_statement(present, names_differ, read_only) {
            commands.push(Restore::Statement(statement));
        }
        // Strings take the character set and collation that are in force by now.
        let recoded = self.names != present.names
            || NAMES_VARIABLES
                .iter()
                .any(|name| self.variables.get(*name) != present.variables.get(*name));
        if let Some(statement) = self.user_variables.statement(&present.user_variables, recoded) {
            commands.push(Restore::Statement(statement));
        }
        match commands.is_empty() {
            true => Difference::Nothing,
            false => Difference::Commands(commands),
        }
    }

    fn names_statement(&self, set_names: impl Fn(u16) -> Option<String>) -> Option<String> {
        match &self.names {
            Names::Collation(id) => set_names(*id),
            Names::Statement(text) => Some(format!("SET {text}")),
            Names::Global => Some(
                "SET @@session.character_set_client=DEFAULT, \
                 @@session.character_set_results=DEFAULT, \
                 @@session.collation_connection=DEFAULT"
                    .to_owned(),
            ),
        }
    }

    /// One SET for every variable that differs; what the connection has and the session does not
    /// want goes back to its default, which is what a new session would find.
    fn variables_statement(
        &self,
        present: &Settings,
        names_were_set: bool,
        read_only: bool,
    ) -> Option<String> {
        let mut text = String::new();
        let mut assign = |name: &str, value: &str| {
            if read_only && ACCESS_MODE.contains(&name) {
                return;
            }
            text.push_str(if text.is_empty() { "SET " } else { ", " });
            text.push_str("@@session.");
            text.push_str(name);
            text.push('=');
            text.push_str(value);
        };
        if self.autocommit != present.autocommit {
            assign("autocommit", if self.autocommit { "1" } else { "0" });
        }
        // Defaults first: what is set along with another variable is set anew behind it.
        for name in present.variables.keys() {
            let covered = names_were_set && NAMES_VARIABLES.contains(&&**name);
            if !covered && !self.variables.contains_key(name) {
                match has_true_default(name) {
                    true => assign(name, "DEFAULT"),
                    false => assign(name, &format!("@@global.{name}")),
                }
            }
        }
        let size_is_set = self.variables.get(MAX_JOIN_SIZE) != present.variables.get(MAX_JOIN_SIZE);
        for (name, value) in &self.variables {
            let overwritten = (names_were_set && NAMES_VARIABLES.contains(&&**name))
                || (size_is_set && **name == *SQL_BIG_SELECTS);
            if overwritten || present.variables.get(name) != Some(value) {
                assign(name, value);
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::user_variables::{Assigned, Unknown};

    fn fresh() -> Settings {
        Settings::at_login(Some((*b"app").into()), 255, true)
    }

    fn names(id: u16) -> Option<String> {
        (id == 255).then(|| "SET NAMES utf8mb4 COLLATE utf8mb4_0900_ai_ci".to_owned())
    }

    fn statement(text: &str) -> Restore {
        Restore::Statement(text.to_owned())
    }

    #[test]
    fn equal_settings_need_nothing() {
        assert_eq!(fresh().difference(&fresh(), names, false), Difference::Nothing);
    }

    #[test]
    fn differences_are_replayed_in_order() {
        let mut wanted = fresh();
        wanted.database = Some((*b"other").into());
        wanted.autocommit = false;
        wanted.set_names("NAMES latin1");
        wanted.set_variable("sql_mode", "'ANSI'");
        assert_eq!(
            wanted.difference(&fresh(), names, false),
            Difference::Commands(vec![
                statement("SET NAMES latin1"),
                Restore::Database((*b"other").into()),
                statement("SET @@session.autocommit=0, @@session.sql_mode='ANSI'"),
            ])
        );
        // And back: what the next session does not want returns to its default.
        assert_eq!(
            fresh().difference(&wanted, names, false),
            Difference::Commands(vec![
                statement("SET NAMES utf8mb4 COLLATE utf8mb4_0900_ai_ci"),
                Restore::Database((*b"app").into()),
                statement("SET @@session.autocommit=1, @@session.sql_mode=DEFAULT"),
            ])
        );
    }

    #[test]
    fn roles_are_set_and_never_taken_back() {
        let mut wanted = fresh();
        wanted.role = Some("reader".into());
        wanted.database = Some((*b"other").into());
        let commands = vec![statement("SET ROLE reader"), Restore::Database((*b"other").into())];
        assert_eq!(wanted.difference(&fresh(), names, false), Difference::Commands(commands));
        assert_eq!(fresh().difference(&wanted, names, false), Difference::Impossible);
        let mut none = wanted.clone();
        none.role = Some("NONE".into());
        let commands = vec![statement("SET ROLE NONE")];
        assert_eq!(none.difference(&wanted, names, false), Difference::Commands(commands));
    }

    /// SET CHARACTER SET takes the collation from the default database of its moment, which is
    /// asked for and set behind it.
    #[test]
    fn a_character_set_brings_its_collation_along() {
        let mut wanted = fresh();
        wanted.set_names("CHARACTER SET latin1");
        wanted.set_variable("collation_connection", "'utf8mb4_bin'");
        assert_eq!(
            wanted.difference(&fresh(), names, false),
            Difference::Commands(vec![
                statement("SET CHARACTER SET latin1"),
                statement("SET @@session.collation_connection='utf8mb4_bin'"),
            ])
        );
    }

    #[test]
    fn user_variables_come_last_and_strings_under_their_names() {
        let with = |names: &str| {
            let mut settings = fresh();
            settings.set_names(names);
            let mut unknown = Unknown::default();
            for (name, literal) in [("a", "5"), ("b", "'x'")] {
                let value = Assigned::Literal(literal.to_owned());
                unknown.assign(&mut settings.user_variables, name, &value);
            }
            settings
        };
        let (latin1, utf8) = (with("NAMES latin1"), with("NAMES utf8mb4"));
        assert_eq!(latin1.difference(&latin1, names, false), Difference::Nothing);
        let commands = vec![statement("SET NAMES latin1"), statement("SET @`b`='x'")];
        assert_eq!(latin1.difference(&utf8, names, false), Difference::Commands(commands));
        let mut bin = utf8.clone();
        bin.set_variable("collation_connection", "'utf8mb4_bin'");
        let commands = vec![
            statement("SET @@session.collation_connection='utf8mb4_bin'"),
            statement("SET @`b`='x'"),
        ];
        assert_eq!(bin.difference(&utf8, names, false), Difference::Commands(commands));
        let mut none = utf8.clone();
        none.user_variables = UserVariables::default();
        let commands = vec![statement("SET @`a`=0x00, @`a`=NULL, @`b`=0x00, @`b`=NULL")];
        assert_eq!(none.difference(&utf8, names, false), Difference::Commands(commands));
    }

    #[test]
    fn what_has_no_true_default_gets_the_global_value() {
        let mut present = fresh();
        present.set_variable("foreign_key_checks", "0");
        let text = "SET @@session.foreign_key_checks=@@global.foreign_key_checks";
        let expected = Difference::Commands(vec![statement(text)]);
        assert_eq!(fresh().difference(&present, names, false), expected);
    }

    #[test]
    fn set_names_and_single_character_set_variables_interact() {
        let mut wanted = fresh();
        wanted.set_names("NAMES utf8mb4");
        wanted.set_variable("character_set_results", "NULL");
        let mut present = fresh();
        present.set_names("NAMES utf8mb4");
        assert_eq!(
            wanted.difference(&present, names, false),
            Difference::Commands(vec![statement("SET @@session.character_set_results=NULL")])
        );
        assert_eq!(
            present.difference(&wanted, names, false),
            Difference::Commands(vec![statement("SET NAMES utf8mb4")])
        );
        present.set_names("NAMES latin1");
        present.set_variable("character_set_results", "NULL");
        assert_eq!(
            wanted.difference(&present, names, false),
            Difference::Commands(vec![
                statement("SET NAMES utf8mb4"),
                statement("SET @@session.character_set_results=NULL"),
            ])
        );
    }

    /// `SET collation_connection = utf8mb4_bin, character_set_connection = latin1` leaves both
    /// servers with latin1_swedish_ci.
    #[test]
    fn of_the_two_faces_of_one_variable_the_last_that_was_set_counts() {
        let mut wanted = fresh();
        wanted.set_variable("collation_connection", "'utf8mb4_bin'");
        wanted.set_variable("character_set_connection", "'latin1'");
        let latin1 = statement("SET @@session.character_set_connection='latin1'");
        assert_eq!(
            wanted.difference(&fresh(), names, false),
            Difference::Commands(vec![latin1.clone()])
        );
        let mut present = wanted.clone();
        present.set_variable("collation_connection", "'latin1_bin'");
        assert_eq!(
            wanted.difference(&present, names, false),
            Difference::Commands(vec![
                statement("SET NAMES utf8mb4 COLLATE utf8mb4_0900_ai_ci"),
                latin1,
            ])
        );
    }

    #[test]
    fn of_the_faces_of_the_servers_collation_the_last_that_was_set_counts() {
        let mut wanted = fresh();
        wanted.set_variable("collation_server", "'latin1_bin'");
        wanted.set_variable("character_set_server", "'utf8mb4'");
        let mut present = fresh();
        present.set_variable("collation_server", "'latin1_bin'");
        assert_eq!(
            wanted.difference(&present, names, false),
            Difference::Commands(vec![statement(
                "SET @@session.collation_server=DEFAULT, @@session.character_set_server='utf8mb4'"
            )])
        );
        wanted.set_default("collation_server");
        assert_eq!(wanted.difference(&fresh(), names, false), Difference::Nothing);
    }

    /// `SET max_join_size` also sets `sql_big_selects`, on both servers.
    #[test]
    fn max_join_size_and_sql_big_selects() {
        let difference = |wanted: &[(&str, &str)], present: &[(&str, &str)]| {
            let settings = |variables: &[(&str, &str)]| {
                let mut settings = fresh();
                for (name, value) in variables {
                    settings.set_variable(name, value);
                }
                settings
            };
            match settings(wanted).difference(&settings(present), names, false) {
                Difference::Nothing => String::new(),
                Difference::Commands(commands) => match &commands[..] {
                    [Restore::Statement(text)] => text.replace("@@session.", ""),
                    other => panic!("{other:?}"),
                },
                Difference::Impossible => panic!(),
            }
        };
        let (limit, none) = (("max_join_size", "1000"), ("max_join_size", "18446744073709551615"));
        let (big, small) = (("sql_big_selects", "1"), ("sql_big_selects", "0"));
        let table = [
            (&[big, limit][..], &[][..], "SET max_join_size=1000, sql_big_selects=0"),
            (&[limit, big], &[], "SET max_join_size=1000, sql_big_selects=1"),
            (&[none], &[], "SET max_join_size=18446744073709551615, sql_big_selects=1"),
            (&[limit], &[big], "SET max_join_size=1000, sql_big_selects=0"),
            (&[], &[limit], "SET max_join_size=DEFAULT, sql_big_selects=DEFAULT"),
            (&[small], &[limit], "SET max_join_size=DEFAULT, sql_big_selects=0"),
            (&[limit, big], &[limit], "SET sql_big_selects=1"),
        ];
        for (wanted, present, expected) in table {
            assert_eq!(difference(wanted, present), expected, "{wanted:?} {present:?}");
        }
    }

    #[test]
    fn connections_to_replicas_keep_their_access_mode() {
        for name in ACCESS_MODE {
            let mut wanted = fresh();
            wanted.set_variable(name, "0");
            let set = statement(&format!("SET @@session.{name}=0"));
            let reset = statement(&format!("SET @@session.{name}=DEFAULT"));
            let commands = |command| Difference::Commands(vec![command]);
            assert_eq!(wanted.difference(&fresh(), names, false), commands(set));
            assert_eq!(fresh().difference(&wanted, names, false), commands(reset));
            assert_eq!(wanted.difference(&fresh(), names, true), Difference::Nothing);
            assert_eq!(fresh().difference(&wanted, names, true), Difference::Nothing);
            wanted.set_variable("sql_mode", "''");
            let rest = statement("SET @@session.sql_mode=''");
            assert_eq!(wanted.difference(&fresh(), names, true), commands(rest));
        }
    }

    #[test]
    fn a_connection_cannot_lose_its_database_nor_learn_an_unknown_collation() {
        let mut wanted = fresh();
        wanted.database = None;
        assert_eq!(wanted.difference(&fresh(), names, false), Difference::Impossible);
        let mut wanted = fresh();
        wanted.names = Names::Collation(9999);
        assert_eq!(wanted.difference(&fresh(), names, false), Difference::Impossible);
        let mut present = fresh();
        present.names = Names::Global;
        assert_ne!(fresh().difference(&present, names, false), Difference::Nothing);
    }
}
