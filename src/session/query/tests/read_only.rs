//! READ ONLY transactions that may run on a replica.

use super::*;
use crate::session::Characteristics;
use crate::session::read_only::Fit;
use crate::wire::reply::ServerError;

const OPEN: Status = Status::IN_TRANSACTION.union(Status::IN_READ_ONLY_TRANSACTION);

impl Case {
    fn tell(&mut self, status: Status) {
        self.state.observe(&Observation { status: Some(status), ..Observation::default() });
    }

    /// A READ ONLY transaction is open on a replica, where it has read or has not.
    fn on_replica(dialect: Dialect, anchored: bool) -> Self {
        let mut case = Case::new(dialect);
        case.tell(OPEN | Status::AUTOCOMMIT);
        case.state.ran(true, false, anchored, None);
        case
    }

    fn action(&self, sql: &str) -> Action {
        plan_command(Command::Query, sql.as_bytes(), true, self.situation())
    }

    fn request(&self, sql: &str) -> Request {
        match self.action(sql) {
            Action::Run(plan) => plan.request,
            other => panic!("{sql}: {other:?}"),
        }
    }

    fn refusal(&self, sql: &str) -> Option<ServerError> {
        match self.action(sql) {
            Action::Refuse { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[test]
fn what_begins_on_a_replica() {
    let table: [(&[&str], &str, bool); 16] = [
        (&[], "START TRANSACTION READ ONLY", true),
        (&[], "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", true),
        (&[], "START TRANSACTION", false),
        (&[], "BEGIN", false),
        (&[], "/* rwproxy: primary */ START TRANSACTION READ ONLY", false),
        (&[], "START TRANSACTION READ ONLY; SELECT 1", false),
        (&["SET SESSION TRANSACTION READ ONLY"], "BEGIN", true),
        (&["SET SESSION TRANSACTION READ ONLY"], "/* rwproxy: primary */ BEGIN", false),
        (&["SET SESSION TRANSACTION READ ONLY"], "START TRANSACTION READ WRITE", false),
        (&["SET TRANSACTION READ ONLY"], "START TRANSACTION", true),
        (&["SET TRANSACTION ISOLATION LEVEL READ COMMITTED"], "START TRANSACTION READ ONLY", true),
        (&["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"], "START TRANSACTION READ ONLY", false),
        (
            &["SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"],
            "START TRANSACTION READ ONLY",
            false,
        ),
        (&["SET @@transaction_isolation = 'SERIALIZABLE'"], "START TRANSACTION READ ONLY", false),
        (&["SET TRANSACTION READ ONLY; SELECT 1"], "START TRANSACTION READ ONLY", false),
        (&["CREATE TEMPORARY TABLE t (a INT)"], "START TRANSACTION READ ONLY", false),
    ];
    for (before, sql, expected) in table {
        let mut case = Case::new(MYSQL);
        for sql in before {
            let plan = case.plan(sql);
            case.state.pin(plan.pins);
            case.state.apply(&plan.changes, &Told::default());
        }
        let begins = case.request(sql) == Request::Read;
        assert_eq!(begins, expected, "{before:?}, {sql}");
    }
    let mut case = Case::new(MYSQL);
    case.tell(Status::IN_TRANSACTION | Status::AUTOCOMMIT);
    let request = case.request("START TRANSACTION READ ONLY");
    assert_eq!(request, Request::Primary, "one that may write is open");
}

#[test]
fn what_was_said_of_the_next_transaction_is_said_again() {
    let mut case = Case::new(MYSQL);
    let mut say = |sql: &str| {
        let plan = case.plan(sql);
        case.state.pin(plan.pins);
        case.state.apply(&plan.changes, &Told::default());
        let begin = case.plan("START TRANSACTION READ ONLY");
        begin.characteristics.and_then(Characteristics::statement)
    };
    assert_eq!(say("SELECT 1"), None);
    let level = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED";
    assert_eq!(say(level).as_deref(), Some(level));
    let both = format!("{level}, READ ONLY");
    assert_eq!(say("SET TRANSACTION READ ONLY"), Some(both));
    // Nobody knows what this one has set, for its reply is an error.
    case.state.pin(Pins::NEXT_TRANSACTION);
    assert_eq!(case.request("START TRANSACTION READ ONLY"), Request::Primary);
}

#[test]
fn with_autocommit_off_reads_begin_one_where_the_session_only_reads() {
    let mut case = Case::new(MARIADB);
    case.tell(Status::empty());
    assert_eq!(case.request("SELECT a FROM t"), Request::Primary);
    case.run("SET SESSION TRANSACTION READ ONLY");
    case.tell(Status::empty());
    assert_eq!(case.request("SELECT a FROM t"), Request::Read);
    assert_eq!(case.request("INSERT INTO t VALUES (1)"), Request::Primary);
    case.run("SET SESSION TRANSACTION READ WRITE");
    case.tell(Status::empty());
    assert_eq!(case.request("SELECT a FROM t"), Request::Primary);
}

/// What becomes of a statement before and after the transaction has read on the replica.
#[test]
fn what_runs_in_a_transaction_on_a_replica() {
    #[derive(Debug, PartialEq)]
    enum Fate {
        Here,
        Primary,
        Anew,
        Refused(u16),
    }
    use Fate::{Anew, Here, Primary, Refused};
    let table = [
        ("SELECT a FROM t", Here, Here),
        ("SELECT @@hostname", Here, Here),
        ("SHOW WARNINGS", Here, Here),
        ("EXPLAIN SELECT a FROM t", Here, Here),
        ("SET @a = 1", Here, Here),
        ("SET NAMES utf8mb4", Here, Here),
        ("SET sql_mode = ''", Here, Here),
        ("SET autocommit = 0", Here, Here),
        ("SET SESSION TRANSACTION READ ONLY", Here, Here),
        ("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", Here, Here),
        ("USE app", Here, Here),
        ("SAVEPOINT a", Here, Here),
        ("ROLLBACK TO a", Here, Here),
        ("COMMIT", Here, Here),
        ("ROLLBACK", Here, Here),
        ("UNLOCK TABLES", Here, Here),
        ("", Here, Here),
        ("START TRANSACTION READ ONLY", Anew, Anew),
        ("COMMIT AND CHAIN", Here, Here),
        ("BEGIN", Primary, Primary),
        ("CREATE TABLE t (a INT)", Primary, Primary),
        ("LOCK TABLES t WRITE", Primary, Primary),
        ("GRANT ALL ON *.* TO u", Primary, Primary),
        ("INSERT INTO t VALUES (1)", Primary, Refused(1792)),
        ("CREATE TEMPORARY TABLE t (a INT)", Primary, Refused(1792)),
        ("SET TRANSACTION READ WRITE", Primary, Refused(1568)),
        ("SET SESSION TRANSACTION READ WRITE", Primary, Refused(1792)),
        ("SET GLOBAL sort_buffer_size = 100000", Primary, Refused(1792)),
        ("SET time_zone = @@global.time_zone", Primary, Refused(1792)),
        ("SELECT a FROM t FOR UPDATE", Primary, Refused(1792)),
        ("SELECT f(1)", Primary, Refused(1792)),
        ("SELECT GET_LOCK('a', 1)", Primary, Refused(1792)),
        ("SELECT a INTO @b FROM t", Primary, Refused(1792)),
        ("SELECT LAST_INSERT_ID()", Primary, Refused(1792)),
        ("CALL p()", Primary, Refused(1792)),
        ("DO 1", Primary, Refused(1792)),
        ("SELECT 1; SELECT 2", Primary, Refused(1792)),
        ("FROBNICATE", Primary, Refused(1792)),
        ("/* rwproxy: primary */ SELECT a FROM t", Primary, Refused(1792)),
    ];
    for dialect in [MYSQL, MARIADB] {
        for (sql, before, after) in &table {
            for (anchored, expected) in [(false, before), (true, after)] {
                let case = Case::on_replica(dialect, anchored);
                let fate = match case.action(sql) {
                    Action::Run(plan) => match plan.request {
                        Request::Previous(_) => Here,
                        Request::Read => Anew,
                        Request::Primary => Primary,
                        Request::ReadAt(_) => panic!("{sql}"),
                    },
                    Action::Refuse { error, .. } => Refused(error.code),
                    other => panic!("{sql}: {other:?}"),
                };
                assert_eq!(fate, *expected, "{sql}, anchored: {anchored}");
            }
        }
    }
}

#[test]
fn refusals_are_the_servers_own_where_they_would_refuse_too() {
    let said = |dialect, sql| {
        let refusal = Case::on_replica(dialect, true).refusal(sql).expect(sql);
        String::from_utf8(refusal.message.to_vec()).expect("ASCII")
    };
    let write = "DELETE FROM t";
    assert_eq!(said(MYSQL, write), "Cannot execute statement in a READ ONLY transaction.");
    assert_eq!(said(MARIADB, write), "Cannot execute statement in a READ ONLY transaction");
    assert!(said(MYSQL, "CALL p()").contains("/* rwproxy: primary */ START TRANSACTION READ ONLY"));
}

#[test]
fn autocommit_that_is_set_on_ends_a_transaction_and_otherwise_does_not() {
    let mut case = Case::on_replica(MYSQL, true);
    assert_eq!(case.plan("SET autocommit = 1").fit, Fit::Serves);
    case.tell(OPEN);
    assert_eq!(case.plan("SET autocommit = 1").fit, Fit::Ends);
    assert_eq!(case.plan("SET autocommit = 0").fit, Fit::Serves);
}

#[test]
fn a_chain_stays_where_it_sees_all_that_it_must() {
    let mut case = Case::on_replica(MYSQL, true);
    for (shares, expected) in [(false, Fit::Serves), (true, Fit::Ends)] {
        case.shares_writes = shares;
        assert_eq!(case.plan("ROLLBACK AND CHAIN").fit, expected);
        assert_eq!(case.plan("ROLLBACK AND NO CHAIN").fit, Fit::Serves);
    }
}

#[test]
fn a_transaction_is_anchored_until_its_end() {
    let mut case = Case::on_replica(MYSQL, false);
    let anchored = |case: &Case| case.state.on_replica().map(|it| it.anchored);
    assert_eq!(anchored(&case), Some(false));
    case.tell(OPEN | Status::AUTOCOMMIT);
    case.state.ran(true, false, true, None);
    assert_eq!(anchored(&case), Some(true));
    case.state.ran(true, false, false, None);
    assert_eq!(anchored(&case), Some(true));
    case.tell(Status::AUTOCOMMIT);
    case.state.ran(true, false, false, None);
    assert_eq!(anchored(&case), None);
    case.tell(OPEN | Status::AUTOCOMMIT);
    case.state.ran(true, false, true, None);
    case.state.ran(true, true, false, None);
    assert_eq!(anchored(&case), Some(false), "chained");
    let said = Characteristics { read_only: Some(true), ..Characteristics::default() };
    case.state.ran(true, false, false, Some(said));
    case.state.ran(true, true, false, None);
    let kept = case.state.on_replica().map(|it| it.characteristics);
    assert_eq!(kept, Some(said), "what is chained is like the one before");
    // On the primary none is.
    case.tell(OPEN | Status::AUTOCOMMIT);
    case.state.ran(false, false, true, None);
    assert_eq!(anchored(&case), None);
    for (sql, expected) in [
        ("SELECT 1", false),
        ("SELECT a FROM t", true),
        ("SAVEPOINT a", true),
        ("START TRANSACTION READ ONLY", false),
        ("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", true),
    ] {
        assert_eq!(case.plan(sql).anchors, expected, "{sql}");
    }
}
