//! Kinds, effects, hints and digests; destinations are tested in `tests/classification.rs`.

use super::*;
use crate::sql::Lock;

fn of(sql: &str) -> Statement {
    classify(sql.as_bytes(), Dialect { version: 90_704, ..Dialect::default() })
}

#[test]
fn doubt_outweighs_reasons_that_only_make_answers_differ() {
    let whole = of("SHOW STATUS LIKE 'a'");
    assert!(whole.replica_would_do(), "{whole:?}");
    let cut = of("SHOW STATUS LIKE 'a; DELETE FROM t");
    assert_eq!(cut.reason, Reason::Unterminated);
    assert!(!cut.replica_would_do());
}

#[test]
fn heads_and_kinds() {
    let begin = |read_only, consistent_snapshot| Kind::Begin { read_only, consistent_snapshot };
    let table = [
        ("", Kind::Empty),
        (" ; ;", Kind::Empty),
        ("/* nothing */", Kind::Empty),
        ("SELECT 1", Kind::Select),
        ("(select 1)", Kind::Select),
        ("((select 1) union (select 2)) limit 1", Kind::Select),
        ("WITH c AS (SELECT 1) SELECT * FROM c", Kind::Select),
        ("WITH c AS (SELECT 1) DELETE FROM t", Kind::Dml),
        ("TABLE t", Kind::Select),
        ("VALUES ROW(1, 2)", Kind::Select),
        ("SHOW TABLES", Kind::Show),
        ("EXPLAIN SELECT 1", Kind::Explain),
        ("DESC t", Kind::Explain),
        ("ANALYZE FORMAT=JSON SELECT 1", Kind::Explain),
        ("ANALYZE TABLE t", Kind::Other),
        ("INSERT INTO t VALUES (1)", Kind::Dml),
        ("LOAD DATA INFILE 'x' INTO TABLE t", Kind::Dml),
        ("CREATE TABLE t (a INT)", Kind::Ddl),
        ("CREATE USER u", Kind::Account),
        ("GRANT ALL ON *.* TO u", Kind::Account),
        ("SET PASSWORD = 'x'", Kind::Account),
        ("BEGIN", begin(None, false)),
        ("START TRANSACTION READ ONLY", begin(Some(true), false)),
        ("START TRANSACTION WITH CONSISTENT SNAPSHOT", begin(None, true)),
        ("START REPLICA", Kind::Other),
        ("COMMIT", Kind::Commit),
        ("ROLLBACK", Kind::Rollback),
        ("ROLLBACK TO SAVEPOINT s", Kind::Savepoint),
        ("SAVEPOINT s", Kind::Savepoint),
        ("RELEASE SAVEPOINT s", Kind::Savepoint),
        ("SET a = 1", Kind::Set),
        ("USE db", Kind::Use),
        ("KILL 1", Kind::Kill),
        ("CALL p()", Kind::Call),
        ("PREPARE s FROM 'SELECT 1'", Kind::Prepare),
        ("EXECUTE s", Kind::Execute),
        ("DEALLOCATE PREPARE s", Kind::Deallocate),
        ("DROP PREPARE s", Kind::Deallocate),
        ("LOCK TABLES t READ", Kind::Lock),
        ("UNLOCK TABLES", Kind::Unlock(Lock::Tables)),
        ("unlock table", Kind::Unlock(Lock::Tables)),
        ("UNLOCK INSTANCE", Kind::Unlock(Lock::Instance)),
        ("UNLOCK BINLOG", Kind::Other),
        ("BACKUP LOCK t", Kind::Lock),
        ("BACKUP UNLOCK", Kind::Unlock(Lock::Backup)),
        ("BACKUP STAGE START", Kind::Lock),
        ("BACKUP STAGE END", Kind::Unlock(Lock::BackupStage)),
        ("HANDLER t OPEN", Kind::Handler),
        ("XA START 'x'", Kind::Xa),
        ("SELECT 1; SELECT 2", Kind::Multi),
        ("SELECT 1;", Kind::Select),
        ("CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END", Kind::Ddl),
        ("CREATE PROCEDURE p() BEGIN SELECT 1; END; SELECT 2", Kind::Multi),
        ("CREATE FUNCTION f() RETURNS INT RETURN 1; SELECT 1 -- end", Kind::Multi),
        ("DROP PROCEDURE IF EXISTS p; CREATE PROCEDURE p() BEGIN SELECT 1; END", Kind::Multi),
        ("ALTER EVENT e DO BEGIN SELECT 1; SELECT 2; END", Kind::Ddl),
        ("SET STATEMENT a=1 FOR INSERT INTO t VALUES (1)", Kind::Dml),
        ("FROBNICATE", Kind::Other),
    ];
    for (sql, kind) in table {
        assert_eq!(of(sql).kind, kind, "{sql}");
    }
}

#[test]
fn effects_on_the_session() {
    let table = [
        ("SELECT 1", Effects::empty()),
        ("SELECT a FROM t", Effects::READS_TABLES),
        ("CREATE TEMPORARY TABLE t (a INT)", Effects::TEMPORARY_TABLE),
        ("CREATE OR REPLACE TEMPORARY TABLE t (a INT)", Effects::TEMPORARY_TABLE),
        ("CREATE /*!50000 TEMPORARY */ TABLE t (a INT)", Effects::TEMPORARY_TABLE),
        ("SET @a = 1", Effects::SETS_VARIABLE | Effects::SETS_USER_VARIABLE),
        (
            "SET @a = @b",
            Effects::SETS_VARIABLE | Effects::SETS_USER_VARIABLE | Effects::READS_USER_VARIABLE,
        ),
        ("SELECT @a := 1", Effects::SETS_USER_VARIABLE | Effects::READS_USER_VARIABLE),
        ("SELECT 1 INTO @a", Effects::SETS_USER_VARIABLE | Effects::READS_USER_VARIABLE),
        ("SELECT @a", Effects::READS_USER_VARIABLE),
        ("SELECT GET_LOCK('a', 1)", Effects::NAMED_LOCK),
        ("UPDATE t SET a = GET_LOCK('a', 1)", Effects::NAMED_LOCK),
        ("SELECT RELEASE_LOCK('a')", Effects::RELEASES_LOCK),
        ("LOCK TABLES t READ", Effects::TABLE_LOCK | Effects::IMPLICIT_COMMIT),
        ("FLUSH TABLES WITH READ LOCK", Effects::GLOBAL_LOCK | Effects::IMPLICIT_COMMIT),
        ("LOCK INSTANCE FOR BACKUP", Effects::INSTANCE_LOCK),
        ("BACKUP LOCK t", Effects::BACKUP_LOCK),
        ("BACKUP STAGE FLUSH", Effects::BACKUP_STAGE),
        ("BACKUP STAGE END", Effects::empty()),
        ("HANDLER t OPEN AS h", Effects::HANDLER),
        ("HANDLER h READ FIRST", Effects::empty()),
        ("PREPARE s FROM @q", Effects::TEXT_PREPARE | Effects::READS_USER_VARIABLE),
        ("XA BEGIN 'x'", Effects::XA),
        ("SET ROLE r", Effects::SETS_ROLE),
        ("SET SESSION TRANSACTION READ ONLY", Effects::SETS_TRANSACTION),
        ("SELECT LAST_INSERT_ID()", Effects::READS_LAST_INSERT_ID),
        ("SELECT @@identity", Effects::READS_LAST_INSERT_ID),
        ("SELECT FOUND_ROWS()", Effects::READS_DIAGNOSTICS),
        ("SELECT SQL_CALC_FOUND_ROWS 1", Effects::FOUND_ROWS),
        ("UPDATE t SET a = f(1)", Effects::CALLS_ROUTINE),
        ("UPDATE t JOIN u ON t.a = f(u.b) SET t.c = 1", Effects::CALLS_ROUTINE),
        ("DELETE FROM t WHERE a = f(1)", Effects::CALLS_ROUTINE),
        ("SELECT f(1)", Effects::CALLS_ROUTINE),
        ("SELECT db.f(1)", Effects::CALLS_ROUTINE),
        ("SELECT `abs`(1)", Effects::CALLS_ROUTINE),
        ("SELECT a QUALIFY f(1)", Effects::CALLS_ROUTINE),
        ("SELECT (1) d (a)", Effects::empty()),
        ("DO f(1)", Effects::CALLS_ROUTINE),
        ("CREATE TABLE t AS SELECT f(1)", Effects::CALLS_ROUTINE | Effects::IMPLICIT_COMMIT),
        (
            "CREATE TABLE t (a INT, KEY k (a)) SELECT f(1) AS a",
            Effects::CALLS_ROUTINE | Effects::IMPLICIT_COMMIT,
        ),
        ("CREATE TABLE t VALUES ROW(f(1))", Effects::CALLS_ROUTINE | Effects::IMPLICIT_COMMIT),
        (
            "CREATE TABLE t (a INT, KEY k (a)) PARTITION BY LIST (a) \
             (PARTITION p VALUES IN (1), PARTITION q VALUES LESS THAN (2))",
            Effects::IMPLICIT_COMMIT,
        ),
        ("CREATE VIEW v AS SELECT f(1)", Effects::IMPLICIT_COMMIT),
        ("ALTER ALGORITHM=MERGE VIEW v AS SELECT f(1)", Effects::IMPLICIT_COMMIT),
        ("ALTER TABLE t ADD KEY k (a)", Effects::IMPLICIT_COMMIT),
        ("ANALYZE UPDATE t SET a = f(1)", Effects::CALLS_ROUTINE),
        ("ANALYZE FORMAT=JSON UPDATE t SET a = f(1)", Effects::CALLS_ROUTINE),
        ("ANALYZE INSERT INTO t (a) VALUES (1)", Effects::empty()),
        ("REPLACE t (a) VALUES (1)", Effects::empty()),
        ("INSERT INTO t (a) VALUES (1) AS n (b) ON DUPLICATE KEY UPDATE a = b", Effects::empty()),
        ("LOAD DATA INFILE 'x' INTO TABLE t LINES TERMINATED BY 'y' (a)", Effects::empty()),
        ("INSERT INTO t (a) VALUES (1)", Effects::empty()),
        ("INSERT INTO d.t(a) SELECT d.f(1)", Effects::CALLS_ROUTINE),
        ("CREATE USER u@localhost", Effects::ACCOUNTS | Effects::IMPLICIT_COMMIT),
        ("CREATE DEFINER=u@h VIEW v AS SELECT 1", Effects::IMPLICIT_COMMIT),
        ("CREATE DEFINER='u'@'h' PROCEDURE p() SET @a = 1", Effects::IMPLICIT_COMMIT),
        ("TRUNCATE TABLE t", Effects::IMPLICIT_COMMIT),
        (
            "LOAD DATA INFILE 'x' INTO TABLE t (a, @b)",
            Effects::SETS_USER_VARIABLE | Effects::READS_USER_VARIABLE,
        ),
        (
            "CREATE FUNCTION f() RETURNS INT RETURN 1; SELECT GET_LOCK('a', 1) -- end",
            Effects::IMPLICIT_COMMIT | Effects::NAMED_LOCK,
        ),
        (
            "DROP PROCEDURE IF EXISTS p; CREATE TEMPORARY TABLE t (a INT); \
             CREATE PROCEDURE p() BEGIN SELECT 1; END",
            Effects::IMPLICIT_COMMIT | Effects::TEMPORARY_TABLE | Effects::UNKNOWN,
        ),
        (
            "CREATE PROCEDURE p() SELECT 1 AS begin; SELECT GET_LOCK('a', 1) AS end",
            Effects::IMPLICIT_COMMIT | Effects::UNKNOWN,
        ),
        ("CREATE PROCEDURE p() SET @a = 1", Effects::IMPLICIT_COMMIT),
        (
            "SET autocommit = 0; CREATE TEMPORARY TABLE t (a INT)",
            Effects::SETS_VARIABLE | Effects::TEMPORARY_TABLE,
        ),
        (
            "SET STATEMENT a=1 FOR CREATE TEMPORARY TABLE t (a INT)",
            Effects::TEMPORARY_TABLE | Effects::OWN_SETTINGS,
        ),
        ("SELECT @@session_track_schema", Effects::SHOWS_TRACKING),
        ("SHOW VARIABLES", Effects::SHOWS_TRACKING),
    ];
    for (sql, effects) in table {
        assert_eq!(of(sql).effects, effects, "{sql}");
    }
}

#[test]
fn a_verdict_says_whether_a_routine_is_called() {
    let open = of("SELECT * FROM t u (a)");
    assert!(open.open && open.effects.contains(Effects::CALLS_ROUTINE), "{open:?}");
    let read = open.settled(Destination::Replica, Reason::Read);
    assert!(!read.open && !read.effects.contains(Effects::CALLS_ROUTINE));
    let open = of("SELECT * FROM (SELECT 1) d (a)");
    assert!(open.open && !open.effects.contains(Effects::CALLS_ROUTINE));
    let call = open.settled(Destination::Primary, Reason::UnknownFunction);
    assert!(call.effects.contains(Effects::CALLS_ROUTINE));
}

#[test]
fn hints_are_found_in_every_kind_of_comment() {
    for sql in [
        "/* rwproxy: replica */ SELECT @@hostname",
        "SELECT @@hostname /*rwproxy:replica*/",
        "SELECT @@hostname -- rwproxy: replica",
        "SELECT @@hostname # RWPROXY: REPLICA\n",
        "/* rwproxy: backend=db1 */ SELECT @@hostname",
    ] {
        let statement = of(sql);
        assert_eq!(statement.destination, Destination::Replica, "{sql}");
        assert_eq!(statement.reason, Reason::Hint, "{sql}");
    }
    let primary = of("/* rwproxy: primary */ SELECT 1");
    assert_eq!((primary.destination, primary.reason), (Destination::Primary, Reason::Hint));
    for sql in ["SELECT 1 /* rwproxy: primray */", "/* rwproxy: replica, x */ SELECT @@hostname"] {
        let statement = of(sql);
        let expected = (Destination::Primary, Reason::UnknownHint);
        assert_eq!((statement.destination, statement.reason), expected, "{sql}");
    }
    // Nothing that writes, locks or is unknown obeys.
    for sql in ["DELETE FROM t", "SELECT f()", "SELECT 1 FOR UPDATE", "SELECT 1 INTO @a"] {
        let hinted = format!("/* rwproxy: replica */ {sql}");
        assert_eq!(of(&hinted).destination, Destination::Primary, "{sql}");
    }
    let sql = "/* rwproxy: backend=db1, max_lag=2s */ SELECT 1";
    let Some(HintTarget::Backend(name)) = of(sql).hints.target else { panic!("no backend") };
    assert_eq!(name.of(sql.as_bytes()), b"db1");
}

#[test]
fn default_databases_of_the_system() {
    let read = of("SELECT * FROM user");
    assert_eq!(read.within(b"shop").destination, Destination::Replica);
    assert_eq!(read.within(b"MySQL").destination, Destination::Primary);
    for sql in ["SELECT 1 UNION TABLE user", "SELECT (TABLE db LIMIT 1)", "EXPLAIN TABLE user"] {
        assert_eq!(of(sql).within(b"mysql").destination, Destination::Primary, "{sql}");
    }
    assert_eq!(of("SELECT 1").within(b"mysql").destination, Destination::Replica);
    assert_eq!(of("SHOW TABLES FROM x").within(b"sys").destination, Destination::Replica);
}

#[test]
fn digests_ignore_literals_and_layout() {
    let digest = |sql: &str| of(sql).digest;
    let same = [
        ("SELECT a FROM t WHERE b = 1", "select  a\nfrom `t` where b='x' -- end"),
        ("SELECT 1;", "SELECT 1"),
        ("SELECT a IN (1, 2)", "SELECT a IN (1, -2, 'c', NULL)"),
        ("INSERT INTO t VALUES (1, 2), (3, 4)", "INSERT INTO t VALUES (1, 2), (3, 4), (5, NULL)"),
        ("SELECT /* a */ 1", "SELECT /* b */ 2"),
    ];
    for (left, right) in same {
        assert_eq!(digest(left), digest(right), "{left} / {right}");
    }
    let different = [
        ("SELECT a", "SELECT b"),
        ("SELECT a FROM t", "SELECT a, t"),
        ("SELECT a IN (1)", "SELECT a IN (1, 2)"),
        ("SELECT 1", "SELECT 1; SELECT 1"),
        ("SELECT (1), (a)", "SELECT (1), a"),
    ];
    for (left, right) in different {
        assert_ne!(digest(left), digest(right), "{left} / {right}");
    }
}
