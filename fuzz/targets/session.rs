//! Two sessions share one connection. A model of a server runs what the sessions set and what is
//! restored between them: each session must always find the settings that it would have on a
//! connection of its own.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rwproxy::session::settings::Restore;
use rwproxy::session::statements::Home;
use rwproxy::session::{Change, Difference, Observation, Pins, Settings, State, Told};
use rwproxy::wire::Flavour;
use rwproxy::wire::capabilities::Status;

/// Pins that follow from what is prepared.
const OF_STATEMENTS: Pins = Pins::PREPARED_STATEMENT.union(Pins::CURSOR).union(Pins::LONG_DATA);

#[derive(Debug, Arbitrary)]
struct Input {
    mariadb: bool,
    logins: [Login; 2],
    operations: Vec<(bool, Operation)>,
}

#[derive(Debug, Arbitrary)]
struct Login {
    database: Option<u8>,
    collation: u8,
}

#[derive(Debug, Arbitrary)]
enum Operation {
    SetNames(u8),
    SetVariable {
        name: u8,
        value: u8,
    },
    SetDefault {
        name: u8,
    },
    Use(u8),
    Autocommit(bool),
    Begin,
    End,
    /// An error: it has no status flags.
    Fail,
    Pin(u32),
    Unpin(u32),
    Prepare(u8),
    Close(u8),
    Reset,
}

const NAMES: [&str; 4] = [
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
];
const OTHERS: [&str; 3] = ["sql_mode", "time_zone", "sql_select_limit"];

/// What a server holds for a connection. A variable that is not there has its default.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    database: Option<Vec<u8>>,
    autocommit: bool,
    variables: BTreeMap<&'static str, String>,
}

impl Server {
    fn at_login(login: &Login) -> Self {
        let database = login.database.map(database);
        let mut server = Server { database, autocommit: true, variables: BTreeMap::new() };
        server.set_names(&collation_text(login.collation.into()));
        server
    }

    fn set_names(&mut self, text: &str) {
        for name in ["client", "connection", "results"] {
            self.variables.insert(name, text.into());
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        if name == "autocommit" {
            self.autocommit = value == "1";
            return;
        }
        // character_set_connection and collation_connection are two faces of one variable: setting
        // the one gives the other the value that belongs to it.
        let (variable, value) = match name {
            "character_set_client" => ("client", value.to_owned()),
            "character_set_results" => ("results", value.to_owned()),
            "character_set_connection" if value != "DEFAULT" => {
                ("connection", format!("default collation of {value}"))
            }
            "character_set_connection" | "collation_connection" => ("connection", value.to_owned()),
            name => {
                let known = OTHERS.iter().find(|known| **known == name);
                (*known.expect("a variable that was set"), value.to_owned())
            }
        };
        match value.as_str() {
            "DEFAULT" => drop(self.variables.remove(variable)),
            _ => drop(self.variables.insert(variable, value)),
        }
    }

    /// Runs a private command.
    fn run(&mut self, command: &Restore) {
        match command {
            Restore::Database(name) => self.database = Some(name.to_vec()),
            Restore::Statement(text) => {
                let text = text.strip_prefix("SET ").expect("a SET");
                match text.strip_prefix("NAMES ") {
                    Some(names) => self.set_names(names),
                    None => text.split(", ").for_each(|assignment| self.assign(assignment)),
                }
            }
        }
    }

    fn assign(&mut self, assignment: &str) {
        let assignment = assignment.strip_prefix("@@session.").expect("a session variable");
        let (name, value) = assignment.split_once('=').expect("an assignment");
        self.set(name, value);
    }
}

fn variable_name(number: u8) -> &'static str {
    let mut names = NAMES.iter().chain(&OTHERS);
    names.nth(usize::from(number % 7)).expect("one of seven")
}

fn database(number: u8) -> Vec<u8> {
    vec![b'a' + number % 3]
}

fn collation_text(number: u16) -> String {
    format!("utf8mb4 COLLATE number_{number}")
}

fn set_names(number: u16) -> Option<String> {
    Some(format!("SET NAMES {}", collation_text(number)))
}

/// A session, and the server that it would have alone.
struct Session {
    state: State,
    alone: Server,
    in_transaction: bool,
    /// The last OK has told of a transaction.
    begun: bool,
    statements: Vec<u8>,
    pins: Pins,
}

impl Session {
    fn new(login: &Login) -> Self {
        let database = login.database.map(|number| database(number).into());
        let settings = Settings::at_login(database, login.collation.into(), true);
        Session {
            state: State::new(settings, Status::AUTOCOMMIT),
            alone: Server::at_login(login),
            in_transaction: false,
            begun: false,
            statements: Vec::new(),
            pins: Pins::empty(),
        }
    }

    /// The flags of an OK.
    fn status(&self) -> Status {
        let mut status = Status::empty();
        status.set(Status::AUTOCOMMIT, self.alone.autocommit);
        status.set(Status::IN_TRANSACTION, self.in_transaction);
        status
    }

    fn observe(&mut self, database: Option<Vec<u8>>) {
        let database = database.map(Into::into);
        if self.status().intersects(Status::AUTOCOMMIT | Status::IN_TRANSACTION) {
            self.pins -= Pins::SAVEPOINT;
        }
        if self.begun && !self.in_transaction {
            self.pins -= Pins::NEXT_TRANSACTION;
        }
        self.begun = self.in_transaction;
        self.state.observe(&Observation { status: Some(self.status()), database, failed: false });
    }

    /// Runs on the shared connection what the client asks for, and on the session's own model.
    fn run(&mut self, operation: &Operation, flavour: Flavour, login: &Login, shared: &mut Server) {
        match *operation {
            Operation::SetNames(number) => {
                let names = collation_text(u16::from(number));
                for server in [&mut self.alone, shared] {
                    server.set_names(&names);
                }
                self.state.apply(&[Change::Names(format!("NAMES {names}"))], &Told::default());
                self.observe(None);
            }
            Operation::SetVariable { name, value } => {
                let (name, value) = (variable_name(name), format!("'{value}'"));
                for server in [&mut self.alone, shared] {
                    server.set(name, &value);
                }
                self.state
                    .apply(&[Change::Variable { name: name.into(), value }], &Told::default());
                self.observe(None);
            }
            Operation::SetDefault { name } => {
                let name = variable_name(name);
                for server in [&mut self.alone, shared] {
                    server.set(name, "DEFAULT");
                }
                self.state.apply(&[Change::Default { name: name.into() }], &Told::default());
                self.observe(None);
            }
            Operation::Use(number) => {
                for server in [&mut self.alone, shared] {
                    server.database = Some(database(number));
                }
                self.observe(Some(database(number)));
            }
            Operation::Autocommit(on) => {
                for server in [&mut self.alone, shared] {
                    server.autocommit = on;
                }
                self.in_transaction &= !on;
                self.observe(None);
            }
            Operation::Begin => {
                self.in_transaction = true;
                self.observe(None);
            }
            Operation::End => {
                self.in_transaction = false;
                self.observe(None);
            }
            Operation::Fail => self.state.observe(&Observation::default()),
            Operation::Pin(bits) => {
                let pins = Pins::from_bits_truncate(bits) - OF_STATEMENTS;
                self.pins |= pins;
                self.state.pin(pins);
            }
            Operation::Unpin(bits) => {
                let pins = Pins::from_bits_truncate(bits) - OF_STATEMENTS;
                self.pins -= pins;
                self.state.unpin(pins);
            }
            Operation::Prepare(id) => {
                self.statements.push(id);
                let home = Home::Here(id.into());
                self.state.with_statements(|open| open.add(id.into(), home, 0));
            }
            Operation::Close(id) => {
                self.statements.retain(|open| *open != id);
                self.state.with_statements(|open| open.remove(id.into()));
            }
            Operation::Reset => {
                for server in [&mut self.alone, shared] {
                    server.variables.clear();
                    server.autocommit = true;
                    if flavour == Flavour::MariaDb {
                        server.set_names(&collation_text(login.collation.into()));
                    }
                }
                self.in_transaction = false;
                self.begun = false;
                self.statements.clear();
                self.pins &= Pins::CONNECTION_OPTION;
                self.state.reset(flavour, true);
            }
        }
    }

    /// What holds at any time.
    fn check(&self) {
        let mut pins = self.pins;
        pins.set(Pins::PREPARED_STATEMENT, !self.statements.is_empty());
        assert_eq!(self.state.pins(), pins);
        assert_eq!(self.state.in_transaction(), self.in_transaction);
        assert_eq!(self.state.keeps_connection(), self.in_transaction || !pins.is_empty());
        assert_eq!(self.state.is_autocommit(), self.alone.autocommit && !self.in_transaction);
        assert_eq!(self.state.settings().autocommit, self.alone.autocommit);
        assert_eq!(self.state.settings().database.as_deref(), self.alone.database.as_deref());
        assert_eq!(self.state.status(), self.status());
    }
}

fuzz_target!(|input: Input| {
    let flavour = if input.mariadb { Flavour::MariaDb } else { Flavour::MySql };
    let mut sessions = input.logins.each_ref().map(Session::new);
    // The connection was made for the first session and has what that one had at its login.
    let mut shared = sessions[0].alone.clone();
    let mut present = sessions[0].state.settings().clone();
    let mut last = 0;
    for (which, operation) in &input.operations {
        let which = usize::from(*which);
        if which != last && sessions[last].state.keeps_connection() {
            continue;
        }
        let session = &mut sessions[which];
        let version = session.state.version();
        match session.state.settings().difference(&present, set_names, false) {
            Difference::Nothing => {}
            Difference::Commands(commands) => {
                assert!(!commands.is_empty());
                commands.iter().for_each(|command| shared.run(command));
            }
            Difference::Impossible => {
                let lost = present.database.is_some() && session.alone.database.is_none();
                assert!(lost, "only a default database cannot be taken away");
                // A new connection.
                let login = &input.logins[which];
                shared = Server::at_login(login);
                let fresh = Settings::at_login(None, login.collation.into(), true);
                shared.database = None;
                match session.state.settings().difference(&fresh, set_names, false) {
                    Difference::Nothing => {}
                    Difference::Commands(commands) => {
                        commands.iter().for_each(|command| shared.run(command));
                    }
                    Difference::Impossible => panic!("a new connection can be brought anywhere"),
                }
            }
        }
        assert_eq!(shared, session.alone, "not what the session would have alone");
        let before = session.state.settings().clone();
        session.run(operation, flavour, &input.logins[which], &mut shared);
        session.check();
        assert_eq!(shared, session.alone);
        let changed = *session.state.settings() != before;
        assert!(!changed || session.state.version() > version, "a change without a new version");
        present = session.state.settings().clone();
        last = which;
    }
});
