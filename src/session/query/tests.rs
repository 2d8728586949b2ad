//! Plans of statements: pins, changes, and what success means.

mod read_only;

use std::sync::{Arc, LazyLock};

use super::*;
use crate::routing::{BackendId, Rules};
use crate::session::outcome::{
    After, Diagnostics, DiagnosticsAfter, FoundRows, FoundRowsAfter, Report,
};
use crate::session::plan::plan as plan_command;
use crate::session::settings::Names;
use crate::session::statements::Texts;
use crate::session::{Change, Observation, Settings, State, Told};
use crate::sql::cache::{Verdicts, Worker};
use crate::wire::amend::{Amendment, diagnostic};
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
    rules: Rules,
    shares_writes: bool,
    previous: Option<BackendId>,
}

impl Case {
    fn new(dialect: Dialect) -> Self {
        let (capabilities, rules) = (Capabilities::empty(), Rules::default());
        let state = fresh();
        let (whole, shares_writes, previous) = (true, false, None);
        Case { state, dialect, capabilities, whole, rules, shares_writes, previous }
    }

    fn situation(&self) -> Situation<'_> {
        Situation {
            session: *SESSION,
            user: b"app",
            state: &self.state,
            dialect: self.dialect,
            rules: &self.rules,
            hints: None,
            previous: self.previous,
            has_primary: true,
            capabilities: self.capabilities,
            texts: &TEXTS,
            prepared_at: None,
            shares_writes: self.shares_writes,
            opinions: &OPINIONS,
        }
    }

    fn plan(&self, sql: &str) -> Plan {
        let situation = self.situation();
        match plan(sql.as_bytes(), self.whole, situation) {
            Action::Run(plan) => plan,
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// Runs the statement with success.
    fn run(&mut self, sql: &str) -> Pins {
        let plan = self.plan(sql);
        self.state.apply(&plan.changes, &Told::default());
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
fn mariadb_looks_for_a_table_that_is_described_before_anything_else() {
    let table = [
        ("SHOW COLUMNS FROM t", true),
        ("show full fields in t", true),
        ("SHOW /* of t */ KEYS FROM t", true),
        ("DESC t", true),
        ("EXPLAIN t", true),
        ("EXPLAIN SELECT 1 FROM t", false),
        ("EXPLAIN (SELECT 1 FROM t)", false),
        ("EXPLAIN FORMAT=JSON SELECT 1 FROM t", false),
        ("SHOW TABLES", false),
        ("SHOW CREATE TABLE t", false),
        ("SELECT 1 FROM t", false),
    ];
    for (sql, expected) in table {
        let stays = |dialect| Case::new(dialect).plan(sql).after.row_count_outlives_no_table;
        assert_eq!([MYSQL, MARIADB].map(stays), [false, expected], "{sql}");
    }
}

#[test]
fn what_the_parser_refuses_has_done_nothing() {
    let table = [
        ("SELEC", [true, true]),
        ("SET nonsense = 1", [true, true]),
        ("SELECT GET_LOCK('a', 1) FRM t", [true, true]),
        ("CREATE TEMPORARY TABEL a (b INT)", [true, true]),
        ("BEGIN NOT ATOMIC SET @a = 1; EXECUTE IMMEDIATE 'nonsense'; END", [false, false]),
        ("EXECUTE IMMEDIATE 'nonsense'", [false, false]),
        ("SELECT 1; SELEC", [false, false]),
        ("CALL f()", [false, false]),
        ("SET @a = f(), nonsense = 1", [false, false]),
        ("INSERT INTO t VALUES (GET_LOCK('a', 1))", [false, false]),
    ];
    for (sql, expected) in table {
        let at_once = |dialect| Case::new(dialect).plan(sql).parsed_at_once;
        assert_eq!([MYSQL, MARIADB].map(at_once), expected, "{sql}");
    }
    let oracle = Dialect { ansi_quotes: true, ..MARIADB };
    assert!(!Case::new(oracle).plan("may_be_a_procedure").parsed_at_once);
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
    // What the number meant is not known: the reply is to tell.
    let told = Change::Told { name: "optimizer_switch" };
    assert_eq!(case.plan("SET optimizer_switch = 'mrr=off'").changes, [told]);
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
    assert_eq!(case.run("SET transaction_read_only = @a + 1"), Pins::SESSION_VARIABLE);
}

#[test]
fn variables_that_tie_a_session() {
    let table = [
        ("SET sql_auto_is_null = 1", Pins::SESSION_VARIABLE),
        ("SET sql_auto_is_null = ON", Pins::SESSION_VARIABLE),
        ("SET sql_auto_is_null = 1 - 1", Pins::empty()),
        ("SET sql_auto_is_null = 0", Pins::empty()),
        ("SET sql_safe_updates = 1", Pins::empty()),
        ("SET rand_seed1 = 1", Pins::SESSION_VARIABLE),
    ];
    for (sql, pins) in table {
        assert_eq!(Case::new(MYSQL).run(sql), pins, "{sql}");
    }
}

/// What Rails and Connector/J say first.
#[test]
fn values_of_expressions_are_taken_from_the_reply() {
    let mut case = Case::new(MYSQL);
    let sql = "SET @@SESSION.sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), \
               @@SESSION.sql_auto_is_null = 0, @@SESSION.wait_timeout = 2147483";
    let plan = case.plan(sql);
    assert_eq!(plan.pins, Pins::empty());
    let mut told = Told::default();
    told.note(b"sql_auto_is_null", b"OFF");
    told.note(b"sql_mode", b"STRICT_TRANS_TABLES,STRICT_ALL_TABLES");
    told.note(b"wait_timeout", b"2147483");
    case.state.apply(&plan.changes, &told);
    case.state.fold(&plan.changes, &told);
    let expected = [
        "sql_auto_is_null=0",
        "sql_mode='STRICT_TRANS_TABLES,STRICT_ALL_TABLES'",
        "wait_timeout=2147483",
    ];
    assert_eq!(case.variables(), expected);
    assert!(!case.state.keeps_connection());

    for sql in [
        "SET time_zone = @@global.time_zone",
        "SET @@sql_mode = 1 + 1",
        "SET sql_mode = ?",
        "SET foreign_key_checks = DEFAULT",
        "SET default_storage_engine = 'it''s'",
        "SET SESSION transaction_isolation = CONCAT('READ-', 'COMMITTED')",
    ] {
        let plan = case.plan(sql);
        assert_eq!(plan.pins, Pins::empty(), "{sql}");
        assert!(matches!(plan.changes[..], [Change::Told { .. }]), "{sql}");
        let mut untold = Case::new(MYSQL);
        untold.state.apply(&plan.changes, &Told::default());
        assert_eq!(untold.state.pins(), Pins::SESSION_VARIABLE, "{sql}");
    }
}

#[test]
fn what_a_statement_changes_unseen_is_taken_over() {
    let mut case = Case::new(MYSQL);
    let mut told = Told::default();
    told.note(b"autocommit", b"OFF");
    told.note(b"statement_id", b"7");
    told.note(b"sql_safe_updates", b"ON");
    let version = case.state.version();
    case.state.fold(&[], &told);
    assert_eq!(case.variables(), ["sql_safe_updates='ON'"]);
    assert_eq!(case.state.version(), version + 1);
    case.state.fold(&[], &told);
    assert_eq!(case.state.version(), version + 1, "it is known by now");
    assert!(!case.state.keeps_connection());
    // A part of a SET NAMES, or a variable that makes statements depend on those before them.
    for (name, value) in [("character_set_client", "latin1"), ("sql_auto_is_null", "ON")] {
        let mut case = Case::new(MYSQL);
        let mut told = Told::default();
        told.note(name.as_bytes(), value.as_bytes());
        case.state.fold(&[], &told);
        assert_eq!(case.state.pins(), Pins::SESSION_VARIABLE, "{name}");
        case.state.reset(Flavour::MySql, true);
        let names =
            [Change::Names("NAMES latin1".into()), Change::Told { name: "sql_auto_is_null" }];
        case.state.fold(&names, &told);
        assert_eq!(case.state.pins(), Pins::empty(), "{name}");
    }
    assert!(Case::new(MYSQL).plan("INSERT INTO t VALUES (1)").folds);
    for sql in [
        "SET STATEMENT sort_buffer_size = 65536 FOR DELETE FROM t",
        "SET STATEMENT sql_mode = '' FOR DELETE FROM t",
    ] {
        assert!(!Case::new(MARIADB).plan(sql).folds, "{sql}");
    }
}

#[test]
fn what_session_tracking_is_set_to_is_the_clients_own() {
    let table = [
        ("SELECT @@session_track_schema", TrackingUse::Shows),
        ("INSERT INTO t SELECT @@session.session_track_system_variables", TrackingUse::Shows),
        ("SELECT @@session_track_gtids, @@sql_mode", TrackingUse::Shows),
        ("SHOW VARIABLES", TrackingUse::Shows),
        ("SHOW SESSION VARIABLES LIKE 'session_track%'", TrackingUse::Shows),
        ("SHOW VARIABLES LIKE '%track%'", TrackingUse::Shows),
        ("SHOW VARIABLES WHERE Variable_name = 'x'", TrackingUse::Shows),
        ("SHOW VARIABLES LIKE 'character_set%'", TrackingUse::None),
        ("SHOW GLOBAL VARIABLES", TrackingUse::None),
        ("SHOW STATUS", TrackingUse::None),
        ("SELECT * FROM performance_schema.session_variables", TrackingUse::Shows),
        ("SELECT * FROM `information_schema`.`SYSTEM_VARIABLES`", TrackingUse::Shows),
        ("SELECT * FROM information_schema.tables", TrackingUse::None),
        ("SET session_track_schema = 0", TrackingUse::Sets),
        ("SET @@session_track_system_variables = '*', sql_mode = ''", TrackingUse::Sets),
        ("SET GLOBAL session_track_schema = 0", TrackingUse::None),
        ("SET session_track_state_change = 1", TrackingUse::None),
        ("SET @a = @@session_track_schema", TrackingUse::Shows),
        ("SELECT 1; SET session_track_schema = 0", TrackingUse::Sets),
        ("SET @a = 1; SET SESSION SESSION_TRACK_SCHEMA = 0", TrackingUse::Sets),
        ("SET @a = 1; SELECT 1", TrackingUse::None),
    ];
    for (sql, usage) in table {
        assert_eq!(Case::new(MYSQL).plan(sql).tracking, usage, "{sql}");
    }
    let case = Case::new(MYSQL);
    assert_eq!(case.plan("SET session_track_schema = 0").pins, Pins::empty());
    let database = Settings::at_login(Some((*b"performance_schema").into()), 255, true);
    let case = Case { state: State::new(database, Status::AUTOCOMMIT), ..case };
    assert_eq!(case.plan("SELECT * FROM session_variables").tracking, TrackingUse::Shows);
}

#[test]
fn the_end_of_a_transaction_ends_what_was_said_of_the_next() {
    let case = Case::new(MYSQL);
    let ended = Then::Unlocked(Pins::NEXT_TRANSACTION | Pins::SAVEPOINT);
    for sql in ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK WORK"] {
        assert_eq!(case.plan(sql).then, ended, "{sql}");
    }
    assert_eq!(case.plan("BEGIN").then, Then::Unlocked(Pins::SAVEPOINT));
    for sql in ["ROLLBACK TO a", "SAVEPOINT a", "SELECT 1; COMMIT"] {
        assert_eq!(case.plan(sql).then, Then::Nothing, "{sql}");
    }
}

#[test]
fn roles_and_character_sets_are_settings() {
    let table = [
        ("SET ROLE reader, 'writer'@'%'", Some("reader, 'writer'@'%'")),
        ("SET ROLE NONE", Some("NONE")),
        ("SET ROLE ALL EXCEPT `a b`;", Some("ALL EXCEPT `a b`")),
        ("SET ROLE \"quoted\"", None),
        ("SET ROLE 'it\\'s'", None),
        ("SET ROLE /*! reader */", Some("reader")),
    ];
    for (sql, role) in table {
        let mut case = Case::new(MYSQL);
        assert_eq!(case.run(sql), if role.is_some() { Pins::empty() } else { Pins::ROLE }, "{sql}");
        assert_eq!(case.state.settings().role.as_deref(), role, "{sql}");
        // COM_RESET_CONNECTION leaves the roles, on both servers.
        case.state.reset(Flavour::MySql, true);
        assert_eq!(case.state.settings().role.as_deref(), role, "{sql}");
    }
    let mut case = Case::new(MARIADB);
    let plan = case.plan("SET CHARACTER SET 'latin1'");
    assert_eq!(plan.pins, Pins::empty());
    let mut told = Told::default();
    told.note(b"collation_connection", b"utf8mb4_bin");
    case.state.apply(&plan.changes, &told);
    assert_eq!(case.variables(), ["collation_connection='utf8mb4_bin'"]);
    assert_eq!(case.state.settings().names, Names::Statement("CHARACTER SET 'latin1'".into()));
    assert_eq!(case.state.dialect(MARIADB).charset, crate::sql::ClientCharset::SingleByte);
}

#[test]
fn user_variables_that_are_set_to_literals_do_not_pin() {
    let read = |case: &Case| case.plan("SELECT @a, c FROM t").request == Request::Read;
    let table = [
        ("SET @a = 5", true),
        ("SET @a = 5, @b := 'x', @c = NULL, @d = 1.5, @e = 0x41, @f = TRUE, @g = -1e3", true),
        ("SET @'a' = \"x\", @`b` = 'a b'", true),
        ("SET @a = 5, sql_mode = '', @b = 'x'", true),
        ("SET @a = 5 + 1", false),
        ("SET @a = b'1'", false),
        ("SET @a = _latin1'x'", false),
        ("SET @a = 'it''s'", false),
        ("SET @a = 'ä'", false),
        ("SET @`a b` = 5", false),
        ("SET @a = (@b := 5)", false),
        ("SET @a = NOW()", false),
        ("SET @a = CURRENT_DATE", false),
        ("SET @a = ON", false),
        ("SELECT @a := 5", false),
        ("SELECT 1 INTO @a", false),
        ("CALL p(@a)", false),
        ("SET @a = 5; SELECT 1", false),
    ];
    for (sql, known) in table {
        let mut case = Case::new(MYSQL);
        let plan = case.plan(sql);
        case.state.pin(plan.pins);
        case.state.apply(&plan.changes, &Told::default());
        assert_eq!(!case.state.keeps_connection(), known, "{sql}");
        assert_eq!(read(&case), known, "{sql}");
    }
    assert!(read(&Case::new(MYSQL)), "it is known not to be set");
}

#[test]
fn unknown_user_variables_pin_until_they_are_set_to_literals() {
    let mut case = Case::new(MYSQL);
    let mut run = |sql: &str| {
        let plan = case.plan(sql);
        case.state.pin(plan.pins);
        case.state.apply(&plan.changes, &Told::default());
        case.state.pins()
    };
    assert_eq!(run("SET @a = 5, @b = @a + 1, @c = 1 + 1"), Pins::USER_VARIABLE);
    assert_eq!(run("SET @c = 'x'"), Pins::USER_VARIABLE);
    assert_eq!(run("SET @b = NULL"), Pins::USER_VARIABLE, "its type is not known");
    assert_eq!(run("SET @b = 7"), Pins::empty());
    assert_eq!(run("SET NAMES latin1"), Pins::empty(), "@c is asked for its own");
    assert_eq!(run("SET @c = 'y'"), Pins::empty());
    assert_eq!(run("SET sql_mode = 'ANSI'"), Pins::empty());
    assert_eq!(run("SET collation_connection = latin1_bin"), Pins::empty());
    assert_eq!(run("SELECT @a := 1"), Pins::USER_VARIABLE);
    assert_eq!(run("SET @a = 1"), Pins::USER_VARIABLE, "nobody looks for its name there");
    case.state.reset(Flavour::MySql, true);
    assert_eq!(case.state.pins(), Pins::empty());
    assert_eq!(case.state.settings().user_variables, Default::default());
}

#[test]
fn a_text_with_user_variables_is_prepared_on_the_primary() {
    let case = Case::new(MYSQL);
    let situation = case.situation();
    for (sql, pins, request) in [
        ("SELECT @a, ?", Pins::USER_VARIABLE, Request::Primary),
        ("SELECT c FROM t WHERE id = ?", Pins::empty(), Request::Read),
    ] {
        let action = plan_command(Command::StmtPrepare, sql.as_bytes(), true, situation);
        let Action::Run(plan) = action else { panic!("{sql}") };
        assert_eq!((plan.pins, plan.request), (pins, request), "{sql}");
    }
}

fn reported() -> Diagnostics {
    let row = |level| diagnostic(level, 1, b"message");
    Diagnostics::Known(Arc::new(Report {
        warnings: [row("Note"), row("Error")].into(),
        errors: [row("Error")].into(),
        warning_count: 9,
        error_count: 4,
    }))
}

#[test]
fn what_the_session_knows_itself_any_server_may_be_asked() {
    let mut case = Case::new(MYSQL);
    case.state.outcome.row_count = Some(3);
    case.state.outcome.found_rows = FoundRows::Known(5);
    let none = Amendment::Rows([].into());
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
    case.state.outcome.diagnostics = reported();
    let note = [diagnostic("Note", 1, b"message")];
    let limited = case.plan("SHOW WARNINGS LIMIT 1").amendment;
    assert_eq!(limited, Some(Amendment::Rows(note.into())));
    assert_eq!(case.plan("SELECT @@error_count").amendment, Some(Amendment::Number(4)));
    // A routine may have left some unseen.
    case.state.outcome.diagnostics = Diagnostics::None;
    case.state.pin(Pins::UNKNOWN_EFFECTS);
    assert_eq!(case.plan("SHOW WARNINGS").amendment, None);
}

#[test]
fn what_a_statement_leaves_to_be_asked() {
    use DiagnosticsAfter::{Kept as Left, Replaced, Unknown as Unseen};
    use FoundRowsAfter::{Counted, Kept, Sent, Unknown};
    let table = [
        ("SELECT a FROM t LIMIT 3", Sent, Replaced, Replaced),
        ("SELECT 1", Sent, Replaced, Left),
        ("SELECT a FROM t LIMIT 3, 2", Unknown, Replaced, Replaced),
        ("SELECT a FROM t LIMIT ? OFFSET ?", Unknown, Replaced, Replaced),
        ("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1", Counted, Replaced, Replaced),
        ("SELECT f(a) FROM t", Unknown, Replaced, Replaced),
        ("BEGIN", Kept, Replaced, Left),
        ("UPDATE t SET a = 1", Unknown, Replaced, Replaced),
        ("SET sql_mode = ''", Unknown, Replaced, Left),
        ("SHOW WARNINGS", Unknown, Left, Left),
        ("SHOW TABLES", Unknown, Replaced, Replaced),
        ("SHOW FULL PROCESSLIST", Unknown, Replaced, Left),
        ("SHOW CREATE TABLE t", Unknown, Replaced, Replaced),
        ("SHOW CREATE PROCEDURE p", Unknown, Replaced, Left),
        ("SHOW PROCEDURE STATUS", Unknown, Replaced, Replaced),
        ("CREATE OR REPLACE TABLE t (a INT)", Unknown, Replaced, Replaced),
        ("DROP DATABASE d", Unknown, Replaced, Left),
        ("SELECT @@warning_count", Sent, Replaced, Left),
        ("CALL p()", Unknown, Replaced, Unseen),
        ("SELECT f(1)", Unknown, Replaced, Unseen),
        ("PREPARE a FROM 'SELECT 1'", Unknown, Replaced, Unseen),
        ("EXECUTE a", Unknown, Replaced, Unseen),
        ("HANDLER t OPEN", Unknown, Replaced, Unseen),
    ];
    for (sql, found_rows, on_mysql, on_mariadb) in table {
        for (dialect, diagnostics) in [(MYSQL, on_mysql), (MARIADB, on_mariadb)] {
            let after = Case::new(dialect).plan(sql).after;
            let expected = After { is_statement: true, found_rows, diagnostics, ..After::UNKNOWN };
            assert_eq!(after, expected, "{sql}");
        }
    }
}

#[test]
fn diagnostics_are_read_where_they_are() {
    const GET: &str = "GET DIAGNOSTICS @n = NUMBER";
    let mut case = Case::new(MYSQL);
    let pinned = Pins::USER_VARIABLE;
    assert_eq!((case.plan(GET).request, case.plan(GET).pins), (Request::Primary, pinned));
    case.state.outcome.diagnostics = Diagnostics::OnConnection;
    assert_eq!(case.plan(GET).pins, pinned, "its connection is gone");
    case.previous = Some(BackendId(2));
    let plan = case.plan(GET);
    assert!(plan.request == Request::Previous(case.previous) && plan.pins.is_empty());
    assert!(!plan.may_write && plan.changes.len() == 1);
    // Nobody knows what else is set.
    assert_eq!(case.plan("GET DIAGNOSTICS CONDITION 1 @ä = MYSQL_ERRNO").pins, pinned);
    case.state.pin(Pins::TEMPORARY_TABLE);
    assert_eq!(case.plan(GET).pins, pinned);
}

#[test]
fn a_savepoint_before_the_first_statement_pins_up_to_the_end_of_the_transaction() {
    let mut case = Case::new(MYSQL);
    assert_eq!(case.plan("SAVEPOINT a").pins, Pins::empty());
    let status = Some(Status::empty());
    case.state.observe(&Observation { status, ..Observation::default() });
    assert_eq!(case.plan("SAVEPOINT a").pins, Pins::SAVEPOINT);
    let together = case.plan("SET NAMES latin1; SAVEPOINT a").pins;
    assert!(together.contains(Pins::SAVEPOINT | Pins::SESSION_VARIABLE));
    assert_eq!(case.plan("CREATE TABLE t (a INT)").then, Then::Unlocked(Pins::SAVEPOINT));
}

#[test]
fn what_matters_to_the_next_login() {
    let case = Case::new(Dialect::default());
    for sql in [
        "GRANT SELECT ON a.* TO b",
        "SET PASSWORD FOR b = 'x'",
        "SET DEFAULT ROLE r TO b",
        "FLUSH PRIVILEGES",
        "SET GLOBAL sql_mode = ''",
        "SET @@global.sql_mode = '', @a = 5",
        "SET PERSIST sql_mode = ''",
        "SET GLOBAL TRANSACTION READ ONLY",
        "SELECT 1; SET GLOBAL sql_mode = ''",
        "SELECT 1; DROP USER b",
    ] {
        assert!(case.plan(sql).concerns_logins, "{sql}");
    }
    for sql in [
        "SET @a = @@global.sql_mode",
        "SET PERSIST_ONLY sql_mode = ''",
        "SET SESSION sql_mode = 'global'",
        "FLUSH TABLES",
        "CREATE TABLE users (n INT)",
    ] {
        assert!(!case.plan(sql).concerns_logins, "{sql}");
    }
}

#[test]
fn rules_choose_where_nothing_binds_the_session() {
    use crate::routing::rules::tests::rules;
    let mut case = Case::new(MYSQL);
    case.rules = rules(
        "[[rules]]\nname = 'mine'\nuser = 'app'\nmatch = 'facts|server_id'\ntarget = 'replica'
         [[rules]]\nname = 'rest'\ntarget = 'primary'",
    );
    let (read, rule) = (Request::Read, Why::Text(Reason::Rule));
    let table = [
        ("SELECT * FROM facts", read, rule, Some("mine")),
        ("SELECT @@server_id", read, rule, Some("mine")),
        ("SELECT 1", Request::Primary, rule, Some("rest")),
        ("SELECT @@server_id, @a", read, rule, Some("mine")),
        ("SHOW WARNINGS", Request::Previous(None), Why::Text(Reason::Diagnostics), None),
        ("INSERT INTO facts VALUES (1)", Request::Primary, Why::Text(Reason::Write), None),
    ];
    case.run("SET @a = 1");
    for (sql, request, why, rule) in table {
        let plan = case.plan(sql);
        let name = plan.rule.as_ref().map(|rule| &*rule.name);
        assert_eq!((plan.request, plan.why, name), (request, why, rule), "{sql}");
        assert_eq!(plan.may_write, sql.starts_with("INSERT"), "{sql}");
    }
    case.state.pin(Pins::TEMPORARY_TABLE);
    let bound = case.plan("SELECT * FROM facts");
    assert_eq!((bound.request, bound.why), (Request::Primary, Why::Pinned));
    assert!(bound.rule.is_none());
}

#[test]
fn what_a_kill_names_the_server_may_have_to_find_out() {
    use KillScope::{Connection, Statement};
    let ours = u64::from(SESSION.get());
    let ours = |sql: &str| sql.replace("{ours}", &ours.to_string());
    let run = |scope| (scope, None);
    let table = [
        ("KILL {ours}", Some((Connection, Some(*SESSION)))),
        ("KILL QUERY {ours}", Some((Statement, Some(*SESSION)))),
        ("KILL 17", Some(run(Connection))),
        ("KILL @id", Some(run(Connection))),
        ("KILL QUERY ?", Some(run(Statement))),
        ("KILL CONNECTION {ours} + 0", Some(run(Connection))),
        ("KILL USER app", None),
        ("KILL QUERY ID 5", None),
        ("SELECT {ours}", None),
        ("SELECT 1; KILL @id", None),
    ];
    for (sql, expected) in table {
        let sql = ours(sql);
        let case = Case::new(MARIADB);
        let found = match plan(sql.as_bytes(), true, case.situation()) {
            Action::Kill { session, scope } => Some((scope, Some(session))),
            Action::Run(plan) => plan.kills.map(run),
            other => panic!("{sql}: {other:?}"),
        };
        assert_eq!(found, expected, "{sql}");
    }
}
