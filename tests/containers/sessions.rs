//! A session through the proxy is a session: the same statements give the same answers directly
//! and through the proxy, whatever servers they ran on.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use crate::support::cluster::connect;
use crate::support::{Cluster, Flavour, Proxy};

/// Scripts that begin on a fresh connection to a fresh database each.
const SCRIPTS: &[(&str, &[&str])] = &[
    (
        "insert ids",
        &[
            "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)",
            "SELECT LAST_INSERT_ID()",
            "INSERT INTO t (v) VALUES (1)",
            "SELECT COUNT(*) FROM t",
            "SELECT LAST_INSERT_ID()",
            "INSERT INTO t (id, v) VALUES (100, 2)",
            "SELECT LAST_INSERT_ID()",
            "SELECT 1",
            "SELECT LAST_INSERT_ID(77)",
            "SELECT 1",
            "SELECT @@last_insert_id",
            "INSERT INTO t (v) VALUES (LAST_INSERT_ID()), (5)",
            "SELECT LAST_INSERT_ID()",
            "SELECT v FROM t ORDER BY id",
        ],
    ),
    (
        "insert ids in transactions and routines",
        &[
            "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT UNIQUE)",
            "CREATE PROCEDURE p(n INT) INSERT INTO t (v) VALUES (n)",
            "CREATE FUNCTION f(n INT) RETURNS INT DETERMINISTIC BEGIN INSERT INTO t (v) VALUES (n); RETURN n; END",
            "BEGIN",
            "INSERT INTO t (v) VALUES (1)",
            "INSERT INTO t (id, v) VALUES (50, 2)",
            "SELECT LAST_INSERT_ID()",
            "COMMIT",
            "SELECT 1",
            "SELECT LAST_INSERT_ID()",
            "SELECT 1",
            "INSERT INTO t (v) VALUES (1)",
            "SELECT LAST_INSERT_ID()",
            "SELECT 1",
            "INSERT INTO t (id, v) VALUES (60, 6)",
            "SELECT LAST_INSERT_ID()",
            "UPDATE t SET v = 7 WHERE id = 60",
            "SELECT ROW_COUNT(), LAST_INSERT_ID()",
            "SET @@last_insert_id = 9",
            "SELECT LAST_INSERT_ID()",
            "CALL p(10)",
            "SELECT LAST_INSERT_ID()",
            "SELECT f(11)",
            "SELECT LAST_INSERT_ID()",
        ],
    ),
    (
        "warnings and errors",
        &[
            "SELECT 1/0",
            "SHOW WARNINGS",
            "SELECT CAST('x' AS SIGNED)",
            "SELECT @@warning_count",
            "SELECT * FROM missing",
            "SHOW ERRORS",
            "SELECT 1",
            "SHOW WARNINGS",
            "DROP TABLE IF EXISTS missing",
            "SHOW COUNT(*) WARNINGS",
        ],
    ),
    (
        "diagnostics of a replica's",
        &[
            "CREATE TABLE t (id INT)",
            "INSERT INTO t VALUES (1), (2)",
            "SELECT CAST('x' AS SIGNED), CAST('y' AS SIGNED) FROM t",
            "GET DIAGNOSTICS @n = NUMBER, @r = ROW_COUNT",
            "GET DIAGNOSTICS CONDITION 1 @e = MYSQL_ERRNO, @s = RETURNED_SQLSTATE, @m = MESSAGE_TEXT",
            "GET DIAGNOSTICS CONDITION @n @l = MESSAGE_TEXT",
            "SHOW WARNINGS",
            "SELECT @n, @r, @e, @s, @m, @l, CHARSET(@m), COLLATION(@s)",
            "SELECT id FROM t WHERE id = @n",
            "SELECT * FROM missing",
            "GET CURRENT DIAGNOSTICS CONDITION 1 @e = MYSQL_ERRNO, @m = MESSAGE_TEXT",
            "SELECT @e, @m, @n",
            "SELECT CAST('x' AS SIGNED) FROM t",
            "GET DIAGNOSTICS @n = NUMBER",
            "SET @n = 7",
            "SELECT @n",
            "SELECT CAST('x' AS SIGNED) FROM t",
            "GET DIAGNOSTICS CONDITION 99 @e = MYSQL_ERRNO",
            "SHOW WARNINGS",
            "SELECT @e",
        ],
    ),
    (
        "warnings of a replica's behind a routine",
        &[
            "CREATE TABLE t (id INT)",
            "INSERT INTO t VALUES (1), (2)",
            "CREATE PROCEDURE p() SET @a = 1",
            "SELECT CAST('x' AS SIGNED) FROM t",
            "CALL p()",
            "SHOW WARNINGS",
            "SHOW COUNT(*) WARNINGS",
        ],
    ),
    (
        "warnings of a replica's behind a routine that uses a table",
        &[
            "CREATE TABLE t (id INT)",
            "INSERT INTO t VALUES (1), (2)",
            "CREATE PROCEDURE p() SELECT COUNT(*) INTO @a FROM t",
            "SELECT CAST('x' AS SIGNED) FROM t",
            "CALL p()",
            "SHOW WARNINGS",
            "SELECT FOUND_ROWS()",
        ],
    ),
    (
        "warnings of a replica's behind a routine with its own",
        &[
            "CREATE TABLE t (id INT)",
            "INSERT INTO t VALUES (1), (2)",
            "CREATE PROCEDURE p() SET @a = CAST('y' AS SIGNED)",
            "SELECT CAST('x' AS SIGNED) FROM t",
            "CALL p()",
            "SHOW WARNINGS",
        ],
    ),
    (
        "warnings of a replica's behind a text that is prepared",
        &[
            "CREATE TABLE t (id INT)",
            "INSERT INTO t VALUES (1), (2)",
            "SELECT CAST('x' AS SIGNED) FROM t",
            "PREPARE s FROM 'SELECT 1'",
            "SHOW WARNINGS",
            "PREPARE s FROM 'SELECT * FROM t'",
            "SHOW WARNINGS",
            "EXECUTE s",
            "SHOW WARNINGS",
        ],
    ),
    (
        "row counts",
        &[
            "CREATE TABLE t (id INT PRIMARY KEY)",
            "INSERT INTO t VALUES (1), (2), (3)",
            "SELECT ROW_COUNT()",
            "UPDATE t SET id = id + 10",
            "SELECT ROW_COUNT()",
            "SELECT SQL_CALC_FOUND_ROWS id FROM t ORDER BY id LIMIT 1",
            "SELECT FOUND_ROWS()",
            "DELETE FROM t",
            "SELECT ROW_COUNT()",
        ],
    ),
    (
        "transactions",
        &[
            "CREATE TABLE t (id INT PRIMARY KEY)",
            "BEGIN",
            "INSERT INTO t VALUES (1)",
            "SELECT * FROM t",
            "ROLLBACK",
            "SELECT * FROM t",
            "SET autocommit = 0",
            "INSERT INTO t VALUES (2)",
            "SELECT * FROM t",
            "ROLLBACK",
            "SELECT * FROM t",
            "INSERT INTO t VALUES (3)",
            "COMMIT",
            "SET autocommit = 1",
            "SELECT * FROM t",
            "START TRANSACTION READ ONLY",
            "SELECT * FROM t",
            "INSERT INTO t VALUES (4)",
            "COMMIT",
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SELECT * FROM t",
            "SET TRANSACTION READ ONLY",
            "BEGIN",
            "INSERT INTO t VALUES (5)",
            "COMMIT",
            "INSERT INTO t VALUES (6)",
            "SELECT * FROM t",
        ],
    ),
    (
        "session variables",
        &[
            "SET NAMES latin1",
            "SELECT @@character_set_client, @@character_set_results, @@collation_connection",
            "SELECT 'ä', LENGTH('ä')",
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
            "SELECT 'a' = 'A', LENGTH('ä')",
            "SET sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES'",
            "SELECT @@sql_mode",
            "SELECT \"abc\"",
            "SELECT 'x' AS \"abc\"",
            "SET sql_mode = DEFAULT",
            "SELECT \"abc\"",
            "SET time_zone = '+05:00'",
            "SELECT @@time_zone, FROM_UNIXTIME(0)",
            "SET SESSION group_concat_max_len = 5",
            "SELECT GROUP_CONCAT(n) FROM (SELECT 1 n UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) d",
            "SET sql_select_limit = 2",
            "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3",
            "SET sql_select_limit = DEFAULT",
            "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3",
            "SET nonsense = 5",
            "SELECT 1",
            "SET NAMES nonsense",
            "SELECT @@character_set_client",
        ],
    ),
    (
        "user variables",
        &[
            "SET @a = 5, @b := 'x'",
            "SELECT @a, @b, @c",
            "SELECT @a := @a + 1",
            "SELECT @a",
            "SELECT 7 INTO @d",
            "SELECT @d + 0",
        ],
    ),
    (
        "temporary tables",
        &[
            "CREATE TABLE t (id INT)",
            "INSERT INTO t VALUES (1)",
            "CREATE TEMPORARY TABLE t (id INT, other INT)",
            "INSERT INTO t VALUES (2, 3)",
            "SELECT * FROM t",
            "DROP TEMPORARY TABLE t",
            "SELECT * FROM t",
        ],
    ),
    (
        "databases",
        &[
            "CREATE DATABASE IF NOT EXISTS rwproxy_other",
            "CREATE TABLE IF NOT EXISTS rwproxy_other.u (id INT)",
            "USE rwproxy_other",
            "SELECT DATABASE()",
            "SELECT COUNT(*) FROM u",
            "SHOW TABLES",
            "USE missing_database",
            "SELECT DATABASE()",
            "DROP DATABASE rwproxy_other",
            "SELECT DATABASE()",
            "SELECT 1",
        ],
    ),
    (
        "locks and prepared text",
        &[
            "CREATE TABLE t (id INT PRIMARY KEY)",
            "SELECT GET_LOCK('rwproxy-test', 1)",
            "SELECT IS_USED_LOCK('rwproxy-test') = CONNECTION_ID()",
            "SELECT RELEASE_LOCK('rwproxy-test')",
            "LOCK TABLES t WRITE",
            "INSERT INTO t VALUES (1)",
            "SELECT * FROM t",
            "UNLOCK TABLES",
            "PREPARE s FROM 'SELECT id + ? FROM t'",
            "SET @x = 4",
            "EXECUTE s USING @x",
            "DEALLOCATE PREPARE s",
            "EXECUTE s USING @x",
            "HANDLER t OPEN",
            "HANDLER t READ FIRST",
            "HANDLER t CLOSE",
        ],
    ),
    (
        "procedures and several results",
        &[
            "CREATE TABLE t (id INT PRIMARY KEY)",
            "CREATE PROCEDURE p() BEGIN INSERT INTO t VALUES (1); SELECT * FROM t; SELECT 2; END",
            "CALL p()",
            "SELECT * FROM t",
            "CALL p()",
            "SELECT 1; SELECT * FROM t; UPDATE t SET id = 9; SELECT * FROM t",
            "SELECT 1; SELECT * FROM missing; SELECT 3",
            "SELECT 4",
            "CREATE FUNCTION f() RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO t VALUES (70); RETURN 7; END",
            "SELECT f()",
            "SELECT * FROM t ORDER BY id",
        ],
    ),
    (
        "statements that are no statements",
        &[
            "",
            ";",
            "SELEC 1",
            "/* nothing */",
            "SELECT 'unterminated",
            "SELECT 1 -- comment",
            "SELECT 2",
        ],
    ),
    (
        "locking reads and executable comments",
        &[
            "CREATE TABLE t (id INT PRIMARY KEY)",
            "INSERT INTO t VALUES (1)",
            "SELECT * FROM t FOR UPDATE",
            "SELECT * FROM t LOCK IN SHARE MODE",
            "SELECT /*!40001 SQL_NO_CACHE */ * FROM t",
            "SELECT * FROM t /*! FOR UPDATE */",
            "WITH c AS (SELECT id FROM t) SELECT * FROM c",
            "WITH c(n) AS (SELECT id FROM t) SELECT n FROM c",
            "(SELECT * FROM t) UNION ALL (SELECT * FROM t)",
            "EXPLAIN SELECT * FROM t",
            "SHOW CREATE TABLE t",
            "DESCRIBE t",
        ],
    ),
];

crate::on_both_flavours!(the_same_answers_as_directly);

async fn the_same_answers_as_directly(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let (host, port) = (proxy.address.ip().to_string(), proxy.address.port());
    let primary = cluster.primary();
    let mut differences = Vec::new();
    for (index, (name, script)) in SCRIPTS.iter().enumerate() {
        let database = format!("session{index}");
        let mut answers = Vec::new();
        for (host, port) in [(primary.ip.as_str(), primary.port), (host.as_str(), port)] {
            let setup = format!("DROP DATABASE IF EXISTS {database}; CREATE DATABASE {database}");
            cluster.run_on("primary", &setup).await;
            let mut conn = connect(host, port, "root", "root", Some(&database)).await;
            wait_for_replicas(cluster).await;
            answers.push(run(&mut conn, script, cluster).await);
            let _ = conn.disconnect().await;
        }
        for (step, statement) in script.iter().enumerate() {
            let (direct, through) = (&answers[0][step], &answers[1][step]);
            if direct != through {
                differences.push(format!(
                    "{name}, {statement:?}:\n  directly: {direct}\n  proxied:  {through}"
                ));
                break;
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

async fn run(conn: &mut Conn, script: &[&str], cluster: &Cluster) -> Vec<String> {
    let mut answers = Vec::new();
    for statement in script {
        answers.push(answer(conn, statement).await);
        // Reads of replicas are compared with reads of the primary: let them have everything.
        wait_for_replicas(cluster).await;
    }
    answers
}

/// Everything that a client learns from the answer to a statement.
pub async fn answer(conn: &mut Conn, statement: &str) -> String {
    let mut text = String::new();
    match conn.query_iter(statement).await {
        Err(error) => return describe(&error),
        Ok(mut result) => loop {
            let columns: Vec<String> = result
                .columns_ref()
                .iter()
                .map(|column| {
                    format!(
                        "{}:{:?}:{}:{}:{:?}",
                        column.name_str(),
                        column.column_type(),
                        column.column_length(),
                        column.character_set(),
                        column.flags()
                    )
                })
                .collect();
            let rows: Vec<Row> = match result.collect().await {
                Ok(rows) => rows,
                Err(error) => return text + &describe(&error),
            };
            let rows: Vec<Vec<Value>> = rows.into_iter().map(Row::unwrap).collect();
            text += &format!("{columns:?} {rows:?} ");
            if result.is_empty() {
                break;
            }
        },
    }
    let (affected, id, warnings, info) =
        (conn.affected_rows(), conn.last_insert_id(), conn.get_warnings(), conn.info());
    text + &format!("affected {affected}, id {id:?}, warnings {warnings}, info {info:?}")
}

pub fn describe(error: &mysql_async::Error) -> String {
    match error {
        mysql_async::Error::Server(error) => {
            format!("error {} {} {}", error.code, error.state, error.message)
        }
        other => format!("failed: {other}"),
    }
}

/// Waits until every replica has applied what the primary has written.
async fn wait_for_replicas(cluster: &Cluster) {
    let mut primary = cluster.root("primary").await;
    let (position, wait) = match cluster.flavour {
        Flavour::MySql => {
            let gtids: String =
                primary.query_first("SELECT @@GLOBAL.gtid_executed").await.unwrap().unwrap();
            (gtids.replace('\n', ""), "SELECT WAIT_FOR_EXECUTED_GTID_SET")
        }
        Flavour::MariaDb => {
            let gtids: String =
                primary.query_first("SELECT @@GLOBAL.gtid_binlog_pos").await.unwrap().unwrap();
            (gtids, "SELECT MASTER_GTID_WAIT")
        }
    };
    let _ = primary.disconnect().await;
    for replica in cluster.replicas() {
        let mut conn = cluster.root(&replica.server).await;
        conn.query_drop(format!("{wait}('{position}', 5)")).await.unwrap();
        let _ = conn.disconnect().await;
    }
}
