//! The state of one client session. Predictions come from the statement's text, the truth from
//! the server's replies.

use super::outcome::Outcome;
use super::pins::Pins;
use super::settings::{Names, Settings};
use super::statements::{Home, Statements};
use crate::sql::sql_mode::has_ansi_quotes;
use crate::sql::{ClientCharset, Dialect};
use crate::wire::Flavour;
use crate::wire::capabilities::Status;

/// What a statement changes in the session's settings if it succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// SET NAMES: what stands behind SET.
    Names(String),
    /// A session variable, lower-case, and a value that reads the same under every `sql_mode`.
    Variable { name: String, value: String },
    /// The variable has its default again.
    Default { name: String },
}

/// What a reply has told about the session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// Status flags of the last OK or EOF, if there was one.
    pub status: Option<Status>,
    /// The default database that the server says is now in use; empty for none.
    pub database: Option<Box<[u8]>>,
    /// It ended in an error.
    pub failed: bool,
}

#[derive(Debug)]
pub struct State {
    settings: Settings,
    /// Rises with every change of `settings`; a connection remembers which version it has.
    version: u64,
    status: Status,
    pins: Pins,
    /// Statements prepared by COM_STMT_PREPARE that are open.
    statements: Statements,
    login_names: Names,
    /// What may be asked about the statement before.
    pub outcome: Outcome,
}

impl State {
    /// A session that has just logged in. `status` are the flags of the server's final OK: they
    /// tell the server's default for autocommit.
    pub fn new(settings: Settings, status: Status) -> Self {
        State {
            login_names: settings.names.clone(),
            settings,
            version: 1,
            status,
            pins: Pins::empty(),
            statements: Statements::default(),
            outcome: Outcome::default(),
        }
    }

    /// The same as the successor of another state of the same session (COM_CHANGE_USER): what a
    /// connection knows of the other's versions is never taken for this one's.
    #[must_use]
    pub fn succeeding(self, other: &State) -> Self {
        State { version: other.version + 1, ..self }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn pins(&self) -> Pins {
        self.pins
    }

    /// The status flags that an answer of the proxy's own carries: no result, no cursor.
    pub fn status(&self) -> Status {
        const LASTING: Status = Status::IN_TRANSACTION
            .union(Status::AUTOCOMMIT)
            .union(Status::NO_BACKSLASH_ESCAPES)
            .union(Status::IN_READ_ONLY_TRANSACTION)
            .union(Status::ANSI_QUOTES);
        self.status & LASTING
    }

    pub fn in_transaction(&self) -> bool {
        self.status.contains(Status::IN_TRANSACTION)
    }

    /// True while reads may leave the primary: each statement is a transaction of its own.
    pub fn is_autocommit(&self) -> bool {
        self.status.contains(Status::AUTOCOMMIT) && !self.in_transaction()
    }

    /// True when the session must keep the connection it has.
    pub fn keeps_connection(&self) -> bool {
        self.in_transaction() || !self.pins.is_empty()
    }

    /// True under isolation level SERIALIZABLE: reads lock, and belong on the primary.
    pub fn is_serializable(&self) -> bool {
        ["transaction_isolation", "tx_isolation"].iter().any(|name| {
            let value = self.settings.variables.get(*name);
            value.is_some_and(|value| value.to_ascii_uppercase().contains("SERIALIZABLE"))
        })
    }

    /// How the session's statements are to be read. `server` is what a new session on the server
    /// has.
    pub fn dialect(&self, server: Dialect) -> Dialect {
        let ansi_quotes = match (server.flavour, self.settings.variables.get("sql_mode")) {
            (Flavour::MariaDb, _) => self.status.contains(Status::ANSI_QUOTES),
            // MySQL has no flag for it.
            (Flavour::MySql, Some(mode)) => has_ansi_quotes(mode.trim_matches('\'')),
            (Flavour::MySql, None) => server.ansi_quotes,
        };
        Dialect {
            no_backslash_escapes: self.status.contains(Status::NO_BACKSLASH_ESCAPES),
            ansi_quotes,
            charset: self.charset(server.charset),
            ..server
        }
    }

    fn charset(&self, server: ClientCharset) -> ClientCharset {
        let named = |name: &str| ClientCharset::of_setting(name).unwrap_or(server);
        if let Some(name) = self.settings.variables.get("character_set_client") {
            return named(name);
        }
        match &self.settings.names {
            Names::Collation(id) => ClientCharset::of_collation(*id),
            Names::Global => server,
            Names::Statement(text) => {
                let name = text.strip_prefix("NAMES ");
                name.and_then(|text| text.split(' ').next()).map_or(server, named)
            }
        }
    }

    pub fn pin(&mut self, pins: Pins) {
        self.pins |= pins;
    }

    pub fn unpin(&mut self, pins: Pins) {
        self.pins.remove(pins);
    }

    /// Takes over what a successful statement has changed.
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Names(statement) => self.settings.set_names(statement),
                Change::Variable { name, value } => self.settings.set_variable(name, value),
                Change::Default { name } => self.settings.set_default(name),
            }
        }
        if !changes.is_empty() {
            self.version += 1;
        }
    }

    /// Takes over what the server has said.
    pub fn observe(&mut self, seen: &Observation) {
        if seen.failed && !self.settings.autocommit {
            // An error carries no flags. With autocommit off even a statement that fails may have
            // begun a transaction; the next reply with flags tells.
            self.status.insert(Status::IN_TRANSACTION);
        }
        if let Some(status) = seen.status {
            self.status = status;
            let autocommit = status.contains(Status::AUTOCOMMIT);
            if autocommit != self.settings.autocommit {
                self.settings.autocommit = autocommit;
                self.version += 1;
            }
        }
        if let Some(name) = &seen.database {
            let database = (!name.is_empty()).then(|| name.clone());
            if database != self.settings.database {
                self.settings.database = database;
                self.version += 1;
            }
        }
    }

    pub fn statements(&self) -> &Statements {
        &self.statements
    }

    /// Changes something about the statements; the pins that hang on them follow.
    pub fn with_statements<T>(&mut self, change: impl FnOnce(&mut Statements) -> T) -> T {
        let result = change(&mut self.statements);
        let statements = &self.statements;
        let here = statements.any(|prepared| matches!(prepared.home, Home::Here(_)));
        self.pins.set(Pins::PREPARED_STATEMENT, here);
        self.pins.set(Pins::CURSOR, statements.any(|prepared| prepared.cursor));
        self.pins.set(Pins::LONG_DATA, statements.any(|prepared| prepared.long_data));
        result
    }

    /// The transaction is gone with its connection.
    pub fn transaction_lost(&mut self) {
        self.status.remove(Status::IN_TRANSACTION | Status::IN_READ_ONLY_TRANSACTION);
    }

    /// COM_RESET_CONNECTION has succeeded: variables are the server's defaults again, the default
    /// database stays. MySQL then has the server's global character set, MariaDB the login's.
    pub fn reset(&mut self, flavour: Flavour, default_autocommit: bool) {
        self.settings.variables.clear();
        self.settings.autocommit = default_autocommit;
        self.settings.names = match flavour {
            Flavour::MySql => Names::Global,
            Flavour::MariaDb => self.login_names.clone(),
        };
        self.status.set(Status::AUTOCOMMIT, default_autocommit);
        self.status.remove(Status::IN_TRANSACTION | Status::IN_READ_ONLY_TRANSACTION);
        // The servers keep what COM_SET_OPTION has set.
        self.pins &= Pins::CONNECTION_OPTION;
        self.statements.clear();
        self.outcome = Outcome::default();
        self.version += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> State {
        State::new(Settings::at_login(None, 255, true), Status::AUTOCOMMIT)
    }

    #[test]
    fn transactions_are_believed_from_status_flags() {
        let mut state = fresh();
        assert!(state.is_autocommit() && !state.keeps_connection());
        let begun = Status::IN_TRANSACTION | Status::AUTOCOMMIT;
        state.observe(&Observation { status: Some(begun), ..Observation::default() });
        assert!(!state.is_autocommit() && state.keeps_connection());
        // An error has no flags: nothing is known to have ended.
        state.observe(&Observation::default());
        assert!(state.in_transaction());
        state.observe(&Observation { status: Some(Status::AUTOCOMMIT), ..Observation::default() });
        assert!(state.is_autocommit() && !state.keeps_connection());
    }

    #[test]
    fn autocommit_and_database_are_settings() {
        let mut state = fresh();
        let version = state.version();
        state.observe(&Observation {
            status: Some(Status::empty()),
            database: Some((*b"app").into()),
            ..Observation::default()
        });
        assert!(!state.settings().autocommit && !state.is_autocommit());
        assert_eq!(state.settings().database.as_deref(), Some(&b"app"[..]));
        assert!(state.version() > version);
        assert!(!state.keeps_connection(), "no transaction is open yet");
    }

    #[test]
    fn the_dialect_follows_modes_and_character_sets() {
        let server = Dialect { version: 90704, ..Dialect::default() };
        let mut state = fresh();
        assert_eq!(state.dialect(server), server);
        state.observe(&Observation {
            status: Some(Status::AUTOCOMMIT | Status::NO_BACKSLASH_ESCAPES),
            database: None,
            ..Observation::default()
        });
        state.apply(&[
            Change::Names("NAMES gbk COLLATE gbk_bin".into()),
            Change::Variable { name: "sql_mode".into(), value: "'ANSI'".into() },
        ]);
        let dialect = state.dialect(server);
        assert!(dialect.no_backslash_escapes && dialect.ansi_quotes);
        assert_eq!(dialect.charset, ClientCharset::Multibyte);
        state.apply(&[
            Change::Names("NAMES DEFAULT".into()),
            Change::Default { name: "sql_mode".into() },
        ]);
        let dialect = state.dialect(server);
        assert!(!dialect.ansi_quotes && dialect.charset == ClientCharset::Utf8);
    }

    #[test]
    fn the_dialect_of_each_way_to_say_it() {
        let gbk = ClientCharset::Multibyte;
        let server = Dialect { ansi_quotes: true, charset: gbk, ..Dialect::default() };
        let dialect = |name: &str, value: &str| {
            let mut state = fresh();
            let value = value.to_owned();
            state.apply(&[Change::Variable { name: name.to_owned(), value }]);
            state.dialect(server)
        };
        assert!(fresh().dialect(server).ansi_quotes, "the server's own mode");
        let modes = [("4", true), ("'ORACLE'", true), ("ANSI", true), ("''", false), ("0", false)];
        for (mode, expected) in modes {
            assert_eq!(dialect("sql_mode", mode).ansi_quotes, expected, "{mode}");
        }
        let charsets = [
            ("utf8mb4", ClientCharset::Utf8),
            ("'sjis'", gbk),
            ("28", gbk),
            ("8", ClientCharset::SingleByte),
            ("DEFAULT", gbk),
        ];
        for (charset, expected) in charsets {
            assert_eq!(dialect("character_set_client", charset).charset, expected, "{charset}");
        }
        let mut state = fresh();
        state.apply(&[Change::Names("NAMES DEFAULT".into())]);
        assert_eq!(state.dialect(server).charset, gbk);
        state.reset(Flavour::MySql, true);
        assert_eq!(state.dialect(server).charset, gbk);
    }

    #[test]
    fn mariadb_tells_its_quotes_by_a_flag() {
        let server = Dialect { flavour: Flavour::MariaDb, ansi_quotes: true, ..Dialect::default() };
        let mut state = fresh();
        assert!(!state.dialect(server).ansi_quotes);
        let status = Some(Status::AUTOCOMMIT | Status::ANSI_QUOTES);
        state.observe(&Observation { status, ..Observation::default() });
        assert!(state.dialect(server).ansi_quotes);
    }

    #[test]
    fn a_session_is_pinned_while_a_statement_is_open_that_cannot_move() {
        let mut state = fresh();
        state.with_statements(|statements| statements.add(1, Home::Here(7), 0));
        state.with_statements(|statements| statements.add(2, Home::Here(8), 0));
        state.with_statements(|statements| statements.remove(1));
        assert!(state.keeps_connection());
        state.with_statements(|statements| statements.remove(2));
        assert!(!state.keeps_connection());
    }

    #[test]
    fn reset_gives_each_flavours_character_set() {
        for (flavour, names) in
            [(Flavour::MySql, Names::Global), (Flavour::MariaDb, Names::Collation(255))]
        {
            let mut state = fresh();
            state.apply(&[
                Change::Names("NAMES latin1".into()),
                Change::Variable { name: "sql_mode".into(), value: "'ANSI'".into() },
            ]);
            state.pin(Pins::TEMPORARY_TABLE);
            state.reset(flavour, true);
            assert_eq!(state.settings().names, names);
            assert!(state.settings().variables.is_empty() && !state.keeps_connection());
        }
    }
}
