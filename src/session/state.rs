//! The state of one client session. Predictions come from the statement's text, the truth from
//! the server's replies.

mod change;
mod transaction;

pub use self::change::Change;
use super::characteristics::Characteristics;
use super::outcome::Outcome;
use super::pins::Pins;
use super::read_only::OnReplica;
use super::settings::{Names, Settings, is_of_names};
use super::statements::{Home, Statements};
use super::text_kills::TextKills;
use super::told::{self, Told};
use super::tracking::Tracking;
use super::user_variables::{Assigned, Unknown, Unread, UserVariables};
use crate::sql::sql_mode::has_ansi_quotes;
use crate::sql::variables::{SessionVariable, session_variable};
use crate::sql::{ClientCharset, Dialect};
use crate::wire::Flavour;
use crate::wire::capabilities::Status;

/// The greatest time-out that servers take, in seconds: a year.
const LONGEST_WAIT: i64 = 31_536_000;

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
    /// A reply has told that a transaction is open, and none since that it is not.
    begun: bool,
    /// The open transaction is a READ ONLY one on a replica.
    on_replica: Option<OnReplica>,
    pins: Pins,
    /// What is said of the next transaction while [`Pins::NEXT_TRANSACTION`] stands, if that is
    /// known.
    next: Option<Characteristics>,
    /// Statements prepared by COM_STMT_PREPARE that are open.
    statements: Statements,
    login_names: Names,
    /// What may be asked about the statement before.
    pub outcome: Outcome,
    tracking: Tracking,
    /// User variables whose value nobody knows; with any of them the session is pinned.
    unknown: Unknown,
    text_kills: TextKills,
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
            begun: false,
            on_replica: None,
            pins: Pins::empty(),
            next: None,
            statements: Statements::default(),
            outcome: Outcome::default(),
            tracking: Tracking::default(),
            unknown: Unknown::default(),
            text_kills: TextKills::default(),
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
                let name =
                    text.strip_prefix("NAMES ").or_else(|| text.strip_prefix("CHARACTER SET "));
                name.and_then(|text| text.split(' ').next()).map_or(server, named)
            }
        }
    }

    pub fn pin(&mut self, pins: Pins) {
        if pins.contains(Pins::USER_VARIABLE) {
            self.unknown.add_others();
        }
        if pins.contains(Pins::NEXT_TRANSACTION) {
            // Success tells what.
            self.next = None;
        }
        self.pins |= pins;
    }

    /// User variables whose values only the connection knows that is kept for it.
    pub fn unread_variables(&self) -> &[(Box<str>, Unread)] {
        self.unknown.unread()
    }

    /// Takes over what that connection has answered.
    pub fn variables_read(&mut self, answers: &[(Box<str>, Assigned)]) {
        for (name, value) in answers {
            self.unknown.read(&mut self.settings.user_variables, name, value);
        }
        if !answers.is_empty() {
            self.pins.set(Pins::USER_VARIABLE, !self.unknown.is_empty());
            self.version += 1;
        }
    }

    /// That connection is gone.
    pub fn unread_are_lost(&mut self) {
        self.unknown.forget_unread();
    }

    pub fn unpin(&mut self, pins: Pins) {
        self.pins.remove(pins);
        if pins.contains(Pins::USER_VARIABLE) {
            self.unknown.remove_others();
            self.pins.set(Pins::USER_VARIABLE, !self.unknown.is_empty());
        }
    }

    /// Takes over what a successful statement has changed, and what its reply has told of that.
    pub fn apply(&mut self, changes: &[Change], told: &Told) {
        for change in changes {
            match change {
                Change::Names(statement) => self.settings.set_names(statement),
                Change::UserVariable { name, value } => {
                    self.unknown.assign(&mut self.settings.user_variables, name, value);
                }
                Change::NextTransaction(said) => self.next = Some(*said),
                Change::Text { name, kill } => self.text_kills.note(name, kill.clone()),
                Change::Role(text) => self.settings.role = Some(text.as_str().into()),
                Change::Variable { name, value } => self.settings.set_variable(name, value),
                Change::Default { name } => self.settings.set_default(name),
                Change::Told { name } => {
                    let value = told.last(name);
                    self.follow(session_variable(name.as_bytes()).zip(value));
                }
            }
        }
        if changes.iter().any(Change::recodes) {
            self.unknown.recode(&self.settings.user_variables);
        }
        if !changes.is_empty() {
            self.pins.set(Pins::USER_VARIABLE, !self.unknown.is_empty());
            self.version += 1;
        }
    }

    /// Takes over what a statement has changed unseen: by a trigger or a function.
    pub fn fold(&mut self, changes: &[Change], told: &Told) {
        for (name, value) in told.iter() {
            let Some(variable) = session_variable(name) else { continue };
            // The status flags tell it.
            let known = variable.name == "autocommit";
            if known || changes.iter().any(|change| change.covers(variable)) {
                continue;
            }
            let before = self.settings.variables.get(variable.name);
            if before.map(|text| &**text) == told::text(variable, value).as_deref()
                && before.is_some()
            {
                continue;
            }
            // Of a SET NAMES in there only a part is told.
            self.follow((!is_of_names(variable.name)).then_some((variable, value)));
            self.version += 1;
        }
    }

    /// The server has told this value of a variable, or should have.
    fn follow(&mut self, told: Option<(&'static SessionVariable, &[u8])>) {
        let text =
            told.and_then(|(variable, value)| Some((variable, told::text(variable, value)?)));
        match text {
            Some((variable, text))
                if !variable.ties_when_on() || matches!(&*text, "'OFF'" | "0") =>
            {
                self.settings.set_variable(variable.name, &text);
            }
            _ => self.pins |= Pins::SESSION_VARIABLE,
        }
    }

    /// How long the client may say nothing, in seconds, if the session has set that for itself.
    pub fn wait_timeout(&self) -> Option<u64> {
        self.own_timeout("wait_timeout")
    }

    /// How long it may keep back the rest of a command, or of a file.
    pub fn net_read_timeout(&self) -> Option<u64> {
        self.own_timeout("net_read_timeout")
    }

    /// How long it may take nothing of an answer.
    pub fn net_write_timeout(&self) -> Option<u64> {
        self.own_timeout("net_write_timeout")
    }

    fn own_timeout(&self, variable: &str) -> Option<u64> {
        let value = self.settings.variables.get(variable)?;
        // Servers take a smaller value for the smallest. DEFAULT is none of the session's own.
        let seconds: i64 = value.trim_matches('\'').parse().ok()?;
        Some(seconds.clamp(1, LONGEST_WAIT) as u64)
    }

    /// Which of the texts that PREPARE has prepared are KILLs.
    pub fn text_kills(&self) -> &TextKills {
        &self.text_kills
    }

    /// What the client wants to hear of its session's changes.
    pub fn tracking(&self) -> &Tracking {
        &self.tracking
    }

    pub fn set_tracking(&mut self, tracking: Tracking) {
        self.tracking = tracking;
    }

    /// Takes over what the server has said.
    pub fn observe(&mut self, seen: &Observation) {
        if seen.failed && !self.settings.autocommit {
            // An error carries no flags. With autocommit off even a statement that fails may have
            // begun a transaction; the next reply with flags tells.
            self.status.insert(Status::IN_TRANSACTION);
        }
        if let Some(status) = seen.status {
            let open = status.contains(Status::IN_TRANSACTION);
            if self.begun && !open {
                let began_autocommit =
                    status.contains(Status::AUTOCOMMIT) && !self.settings.autocommit;
                if !began_autocommit {
                    // What SET TRANSACTION has said of the next transaction was said of this one.
                    self.pins.remove(Pins::NEXT_TRANSACTION);
                } else if self.status.contains(Status::IN_READ_ONLY_TRANSACTION) {
                    // Servers commit, and hold the next statement to the access mode of the
                    // transaction that is over.
                    self.pin(Pins::NEXT_TRANSACTION);
                }
            }
            self.begun = open;
            self.status = status;
            if status.intersects(Status::IN_TRANSACTION | Status::AUTOCOMMIT) {
                self.pins.remove(Pins::SAVEPOINT);
            }
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
        self.begun = false;
        self.on_replica = None;
    }

    /// COM_RESET_CONNECTION has succeeded: variables are the server's defaults again, the default
    /// database and the roles stay. MySQL then has the server's global character set, MariaDB the login's.
    pub fn reset(&mut self, flavour: Flavour, default_autocommit: bool) {
        self.settings.variables.clear();
        self.settings.autocommit = default_autocommit;
        self.settings.names = match flavour {
            Flavour::MySql => Names::Global,
            Flavour::MariaDb => self.login_names.clone(),
        };
        self.status.set(Status::AUTOCOMMIT, default_autocommit);
        self.status.remove(Status::IN_TRANSACTION | Status::IN_READ_ONLY_TRANSACTION);
        self.begun = false;
        self.on_replica = None;
        // The servers keep what COM_SET_OPTION has set.
        self.pins &= Pins::CONNECTION_OPTION;
        self.statements.clear();
        self.tracking = Tracking::default();
        self.settings.user_variables = UserVariables::default();
        self.unknown = Unknown::default();
        self.text_kills = TextKills::default();
        self.outcome = Outcome::default();
        self.version += 1;
    }

    /// MariaDB has refused COM_CHANGE_USER: the account, its roles and the default database stay,
    /// everything else is as `status` and the server's global variables have it, the character set
    /// included. To be called without a connection.
    pub fn change_was_refused(&mut self, status: Status) {
        self.reset(Flavour::MariaDb, status.contains(Status::AUTOCOMMIT));
        self.settings.names = Names::Global;
        self.pins = Pins::empty();
        self.status = status;
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
    fn the_next_transaction_ends_when_a_reply_has_told_of_it() {
        let mut state = fresh();
        let mut tell = |flags: Status| {
            state.pin(Pins::NEXT_TRANSACTION);
            state.observe(&Observation { status: Some(flags), ..Observation::default() });
            state.pins().contains(Pins::NEXT_TRANSACTION)
        };
        let open = Status::IN_TRANSACTION | Status::AUTOCOMMIT;
        assert!(tell(Status::AUTOCOMMIT), "none has begun");
        assert!(tell(open));
        assert!(tell(open), "chained");
        assert!(!tell(Status::AUTOCOMMIT));
        // With autocommit off a statement that fails may have begun one, and may not.
        assert!(tell(Status::empty()));
        state.observe(&Observation { failed: true, ..Observation::default() });
        assert!(state.in_transaction());
        state.observe(&Observation { status: Some(Status::empty()), ..Observation::default() });
        assert_eq!(state.pins(), Pins::NEXT_TRANSACTION);
    }

    #[test]
    fn a_statement_of_its_own_may_be_the_next_transaction() {
        let mut state = fresh();
        let read_only = Characteristics { isolation: None, read_only: Some(true) };
        state.pin(Pins::NEXT_TRANSACTION);
        state.apply(&[Change::NextTransaction(read_only)], &Told::default());
        assert_eq!(state.begins_on_replica(None), Some(read_only));
        state.may_have_used_a_table();
        assert_eq!((state.next_transaction(), state.begins_on_replica(None)), (None, None));
        assert_eq!(state.pins(), Pins::NEXT_TRANSACTION, "the connection knows");
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
    fn a_savepoint_that_no_flag_tells_of_keeps_the_connection() {
        let mut state = fresh();
        let told = |state: &mut State, status| {
            state.observe(&Observation { status: Some(status), ..Observation::default() });
        };
        told(&mut state, Status::empty());
        assert!(state.is_between_transactions());
        state.pin(Pins::SAVEPOINT);
        told(&mut state, Status::empty());
        assert!(state.keeps_connection());
        told(&mut state, Status::IN_TRANSACTION);
        told(&mut state, Status::empty());
        assert!(!state.keeps_connection(), "it ended with the transaction");
        state.pin(Pins::SAVEPOINT);
        told(&mut state, Status::AUTOCOMMIT);
        assert!(!state.keeps_connection() && !state.is_between_transactions());
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
        state.apply(
            &[
                Change::Names("NAMES gbk COLLATE gbk_bin".into()),
                Change::Variable { name: "sql_mode".into(), value: "'ANSI'".into() },
            ],
            &Told::default(),
        );
        let dialect = state.dialect(server);
        assert!(dialect.no_backslash_escapes && dialect.ansi_quotes);
        assert_eq!(dialect.charset, ClientCharset::Multibyte);
        state.apply(
            &[Change::Names("NAMES DEFAULT".into()), Change::Default { name: "sql_mode".into() }],
            &Told::default(),
        );
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
            state.apply(&[Change::Variable { name: name.to_owned(), value }], &Told::default());
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
        state.apply(&[Change::Names("NAMES DEFAULT".into())], &Told::default());
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
            state.apply(
                &[
                    Change::Names("NAMES latin1".into()),
                    Change::Variable { name: "sql_mode".into(), value: "'ANSI'".into() },
                ],
                &Told::default(),
            );
            state.pin(Pins::TEMPORARY_TABLE);
            state.reset(flavour, true);
            assert_eq!(state.settings().names, names);
            assert!(state.settings().variables.is_empty() && !state.keeps_connection());
        }
    }

    #[test]
    fn a_wait_timeout_of_its_own() {
        let mut state = fresh();
        assert_eq!(state.wait_timeout(), None);
        let set =
            |value: &str| [Change::Variable { name: "wait_timeout".into(), value: value.into() }];
        for (value, seconds) in [("5", 5), ("0", 1), ("-3", 1), ("99999999", 31_536_000)] {
            state.apply(&set(value), &Told::default());
            assert_eq!(state.wait_timeout(), Some(seconds), "{value}");
        }
        state.apply(&[Change::Default { name: "wait_timeout".into() }], &Told::default());
        assert_eq!(state.wait_timeout(), None);
        assert_eq!((state.net_read_timeout(), state.net_write_timeout()), (None, None));
        let name = "net_write_timeout".into();
        state.apply(&[Change::Variable { name, value: "600".into() }], &Told::default());
        assert_eq!((state.net_read_timeout(), state.net_write_timeout()), (None, Some(600)));
    }
}
