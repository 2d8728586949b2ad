//! Plans of statements: pins, changes, and what success means.

use std::sync::{Arc, LazyLock};

use super::*;
use crate::session::statements::Texts;
use crate::session::{Observation, Settings, State};
use crate::sql::cache::{Verdicts, Worker};
use crate::wire::capabilities::Status;

static TEXTS: LazyLock<Texts> = LazyLock::new(Texts::default);
static OPINIONS: LazyLock<Worker> =
    LazyLock::new(|| Worker::start(Arc::new(Verdicts::new(100, 1)), 16).expect("a thread"));

const MYSQL: Dialect = Dialect {
    flavour: Flavour::MySql,
    version: 90_704,
    no_backslash_escapes: false,
    ansi_quotes: false,
    charset: crate::sql::ClientCharset::Utf8,
};
const MARIADB: Dialect = Dialect { flavour: Flavour::MariaDb, version: 101_119, ..MYSQL };

static SESSION: LazyLock<SessionId> = LazyLock::new(|| SessionId::numbered(7));

fn fresh() -> State {
    State::new(Settings::at_login(None, 255, true), Status::AUTOCOMMIT)
}

struct Case {
    state: State,
    dialect: Dialect,
    capabilities: Capabilities,
    whole: bool,
}

impl Case {
    fn new(dialect: Dialect) -> Self {
        Case { state: fresh(), dialect, capabilities: Capabilities::empty(), whole: true }
    }

    fn plan(&self, sql: &str) -> Plan {
        let situation = Situation {
            session: *SESSION,
            state: &self.state,
            dialect: self.dialect,
            previous: None,
            has_primary: true,
            capabilities: self.capabilities,
            texts: &TEXTS,
            prepared_at: None,
            opinions: &OPINIONS,
        };
        match plan(sql.as_bytes(), self.whole, situation) {
            Action::Run(plan) => plan,
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// Runs the statement with success.
    fn run(&mut self, sql: &str) -> Pins {
        let plan = self.plan(sql);
        self.state.apply(&plan.changes);
        self.state.observe(&Observation::default());
        plan.pins
    }

    fn variables(&self) -> Vec<String> {
        let variables = &self.state.settings().variables;
        variables.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

#[test]
fn what_nobody_has_looked_at_pins() {
    let table = [
        ("SELECT LENGTH('x", false, Pins::UNKNOWN_EFFECTS),
        ("INSERT INTO t VALUES ('x", false, Pins::empty()),
        ("INSERT INTO t VALUES ('x", true, Pins::UNKNOWN_EFFECTS),
        ("SET @a = 'x", true, Pins::UNKNOWN_EFFECTS | Pins::USER_VARIABLE | Pins::SESSION_VARIABLE),
    ];
    for (sql, several, pins) in table {
        let mut case = Case::new(MYSQL);
        case.capabilities.set(Capabilities::MULTI_STATEMENTS, several);
        case.whole = false;
        assert_eq!(case.plan(sql).pins, pins, "{sql}");
    }
}

#[test]
fn each_unlock_ends_its_own_locks() {
    let table = [
        ("LOCK TABLES t WRITE", "UNLOCK TABLES"),
        ("FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES"),
        ("LOCK INSTANCE FOR BACKUP", "UNLOCK INSTANCE"),
        ("BACKUP LOCK t", "BACKUP UNLOCK"),
        ("BACKUP STAGE START", "BACKUP STAGE END"),
    ];
    let case = Case::new(MARIADB);
    for (lock, own) in table {
        let pins = case.plan(lock).pins;
        assert!(!pins.is_empty(), "{lock}");
        for (_, unlock) in table {
            let Then::Unlocked(ended) = case.plan(unlock).then else { panic!("{unlock}") };
            assert_eq!(ended.contains(pins), unlock == own, "{lock}, {unlock}");
        }
    }
    assert_eq!(case.plan("UNLOCK BINLOG").then, Then::Nothing);
}

#[test]
fn transaction_characteristics_without_a_scope_are_the_next_transactions() {
    let (next, none) = (Pins::NEXT_TRANSACTION, Pins::empty());
    let table = [
        (MYSQL, "SET @@transaction_isolation = 'READ-COMMITTED'", next, ""),
        (MARIADB, "SET @@tx_isolation = 'READ-COMMITTED'", next, ""),
        (MYSQL, "SET @@transaction_read_only = 1", next, ""),
        (MYSQL, "SET TRANSACTION READ ONLY", next, ""),
        (
            MYSQL,
            "SET transaction_isolation = 'READ-COMMITTED'",
            none,
            "transaction_isolation='READ-COMMITTED'",
        ),
        (
            MARIADB,
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            none,
            "tx_isolation='READ-COMMITTED'",
        ),
    ];
    for (dialect, sql, pins, variables) in table {
        let mut case = Case::new(dialect);
        assert_eq!(case.run(sql), pins, "{sql}");
        assert_eq!(case.variables().join(" "), variables, "{sql}");
    }
}

#[test]
fn optimizer_switches_add_up() {
    let mut case = Case::new(MYSQL);
    assert_eq!(case.run("SET optimizer_switch = 'mrr=off'"), Pins::empty());
    // Servers look at both values before they assign the first: mrr stays off, bka is untouched.
    case.run("SET optimizer_switch = 'bka=on', optimizer_switch = 'icp=off'");
    assert_eq!(case.variables(), ["optimizer_switch='default,icp=off,mrr=off'"]);
    case.run("SET optimizer_switch = DEFAULT");
    assert!(case.variables().is_empty());
    case.run("SET optimizer_switch = 7");
    assert_eq!(case.variables(), ["optimizer_switch=7"]);
    assert_eq!(case.run("SET optimizer_switch = 'mrr=off'"), Pins::SESSION_VARIABLE);
}

#[test]
fn the_access_mode_is_a_setting() {
    let table = [
        (MYSQL, "SET SESSION TRANSACTION READ ONLY", "transaction_read_only=1"),
        (MYSQL, "SET SESSION TRANSACTION READ WRITE", "transaction_read_only=0"),
        (MYSQL, "SET SESSION transaction_read_only = ON", "transaction_read_only=1"),
        (MARIADB, "SET SESSION TRANSACTION READ ONLY", "tx_read_only=1"),
        (MARIADB, "SET transaction_read_only = 'OFF'", "tx_read_only=0"),
        (MARIADB, "SET @@session.tx_read_only = 1", "tx_read_only=1"),
        (MARIADB, "SET transaction_isolation = 'SERIALIZABLE'", "tx_isolation='SERIALIZABLE'"),
        (
            MYSQL,
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
            "transaction_isolation='READ-COMMITTED' transaction_read_only=1",
        ),
        (MYSQL, "SET GLOBAL TRANSACTION READ ONLY", ""),
    ];
    for (dialect, sql, variables) in table {
        let mut case = Case::new(dialect);
        assert_eq!(case.run(sql), Pins::empty(), "{sql}");
        assert_eq!(case.variables().join(" "), variables, "{sql}");
    }
    let mut case = Case::new(MYSQL);
    case.run("SET SESSION TRANSACTION READ ONLY");
    case.run("SET SESSION transaction_read_only = DEFAULT");
    assert!(case.variables().is_empty());
    assert_eq!(case.run("SET transaction_read_only = @a + 1"), {
        Pins::SESSION_VARIABLE | Pins::USER_VARIABLE
    });
}

#[test]
fn variables_that_tie_a_session() {
    let table = [
        ("SET sql_auto_is_null = 1", Pins::SESSION_VARIABLE),
        ("SET sql_auto_is_null = ON", Pins::SESSION_VARIABLE),
        ("SET sql_auto_is_null = DEFAULT", Pins::SESSION_VARIABLE),
        ("SET sql_auto_is_null = 0", Pins::empty()),
        ("SET sql_safe_updates = 1", Pins::empty()),
        ("SET rand_seed1 = 1", Pins::SESSION_VARIABLE),
    ];
    for (sql, pins) in table {
        assert_eq!(Case::new(MYSQL).run(sql), pins, "{sql}");
    }
}

fn captured(count: u8) -> Diagnostics {
    let column = [0x3F, 0, 21, 0, 0, 0, 8, 0x81, 0, 0, 0, 0];
    let mut reply = vec![1, 0, 0, 1, 1, 12, 0, 0, 2];
    reply.extend_from_slice(&column);
    reply.extend_from_slice(&[2, 0, 0, 3, 1, count]);
    let reply: Box<[u8]> = reply.into();
    let replies = [reply.clone(), reply.clone(), reply.clone(), reply];
    Diagnostics::Captured(Arc::new(Captured { replies, deprecate_eof: true }))
}

#[test]
fn what_the_session_knows_itself_any_server_may_be_asked() {
    let mut case = Case::new(MYSQL);
    case.state.outcome.row_count = Some(3);
    case.state.outcome.found_rows = FoundRows::Known(5);
    let none = Amendment::Rows { offset: 0, count: 0 };
    let number = Amendment::Number;
    for (sql, expected) in [
        ("SELECT CONNECTION_ID()", number(i64::from(SESSION.get()))),
        ("SELECT ROW_COUNT()", number(3)),
        ("SELECT FOUND_ROWS() AS n", number(5)),
        ("SELECT @@warning_count", number(0)),
        ("SHOW COUNT(*) ERRORS", number(0)),
        ("SHOW WARNINGS", none.clone()),
        ("SHOW ERRORS LIMIT 1", none),
    ] {
        let plan = case.plan(sql);
        let expected = (Some(expected), Request::Previous(None), true);
        assert_eq!((plan.amendment, plan.request, plan.repeatable), expected, "{sql}");
    }
    for sql in ["SELECT ROW_COUNT() + 1", "SELECT FOUND_ROWS(), 1", "SHOW WARNINGS LIMIT x"] {
        let plan = case.plan(sql);
        assert_eq!((plan.amendment, plan.request), (None, Request::Previous(None)), "{sql}");
    }
}

#[test]
fn what_a_connection_knows_is_asked_of_it() {
    let mut case = Case::new(MYSQL);
    case.state.outcome.row_count = None;
    case.state.outcome.diagnostics = Diagnostics::OnConnection;
    case.state.outcome.found_rows = FoundRows::OnConnection;
    for sql in
        ["SELECT ROW_COUNT()", "SELECT FOUND_ROWS()", "SHOW WARNINGS", "SHOW COUNT(*) ERRORS"]
    {
        let plan = case.plan(sql);
        assert_eq!((plan.amendment, plan.request), (None, Request::Previous(None)), "{sql}");
    }
    case.state.outcome.diagnostics = captured(b'4');
    assert_eq!(case.plan("SELECT @@error_count").amendment, Some(Amendment::Number(4)));
    // A routine may have left some unseen.
    case.state.outcome.diagnostics = Diagnostics::None;
    case.state.pin(Pins::UNKNOWN_EFFECTS);
    assert_eq!(case.plan("SHOW WARNINGS").amendment, None);
}

#[test]
fn what_a_statement_leaves_to_be_asked() {
    use FoundRowsAfter::*;
    let table = [
        ("SELECT a FROM t LIMIT 3", Sent, true, true),
        ("SELECT 1", Sent, true, false),
        ("SELECT a FROM t LIMIT 3, 2", Unknown, true, true),
        ("SELECT a FROM t LIMIT ? OFFSET ?", Unknown, true, true),
        ("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1", Counted, true, true),
        ("SELECT f(a) FROM t", Unknown, true, true),
        ("BEGIN", Kept, true, false),
        ("UPDATE t SET a = 1", Unknown, true, true),
        ("SET sql_mode = ''", Unknown, true, false),
        ("SHOW WARNINGS", Unknown, false, false),
        ("SHOW TABLES", Unknown, true, true),
        ("SHOW FULL PROCESSLIST", Unknown, true, false),
        ("SHOW CREATE TABLE t", Unknown, true, true),
        ("SHOW CREATE PROCEDURE p", Unknown, true, false),
        ("SHOW PROCEDURE STATUS", Unknown, true, true),
        ("CREATE OR REPLACE TABLE t (a INT)", Unknown, true, true),
        ("DROP DATABASE d", Unknown, true, false),
        ("SELECT @@warning_count", Sent, true, false),
    ];
    for (sql, found_rows, mysql_clears, mariadb_clears) in table {
        for (dialect, clears_diagnostics) in [(MYSQL, mysql_clears), (MARIADB, mariadb_clears)] {
            let after = Case::new(dialect).plan(sql).after;
            let expected = After { found_rows, clears_diagnostics };
            assert_eq!(after, expected, "{sql}");
        }
    }
}
