//! READ ONLY transactions run on one replica from start to end, where their session's writes are;
//! what must not run there runs on the primary or is refused. The general logs judge.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use rwproxy::wire::Capabilities;

use crate::support::chaos::docker;
use crate::support::cluster::connect;
use crate::support::raw::{OLD, Raw, error_code};
use crate::support::{Cluster, Flavour, Proxy, eventually, marker};

crate::on_both_flavours!(one_replica_serves_all_of_it);
crate::on_both_flavours!(what_it_has_not_begun_to_read_may_move_to_the_primary);
crate::on_both_flavours!(what_has_read_stays_and_refuses_the_rest);
crate::on_both_flavours!(what_ends_it_by_itself_runs_on_the_primary);
crate::on_both_flavours!(cursors_end_with_it);
crate::on_both_flavours!(a_statement_of_its_own_is_the_next_transaction);
crate::on_both_flavours!(a_replica_that_lags_lets_it_finish_and_one_that_dies_loses_it);

/// A replica that stands still is not left out for its lag, and every choice is even.
const PATIENT: &str = "[routing]\nmax_lag = \"1h\"\nslow_start = \"0s\"";
const SOON: Duration = Duration::from_secs(20);

/// A statement as a server has logged it.
#[derive(Debug)]
struct Logged {
    server: String,
    thread: u64,
}

/// All statements with this marker, in the order of each server.
async fn logged(cluster: &Cluster, marker: &str) -> Vec<Logged> {
    let mut all = Vec::new();
    for server in ["primary", "replica1", "replica2"] {
        let mut conn = cluster.root(server).await;
        let rows: Vec<u64> = conn
            .exec(
                "SELECT thread_id FROM mysql.general_log \
                 WHERE command_type IN ('Query', 'Execute') AND user_host LIKE 'app[%' \
                 AND CONVERT(argument USING utf8mb4) LIKE ?",
                (format!("%{marker}%"),),
            )
            .await
            .expect("the general log");
        let _ = conn.disconnect().await;
        let server = || server.to_owned();
        all.extend(rows.into_iter().map(|thread| Logged { server: server(), thread }));
    }
    all
}

/// What ran on this connection of a server.
async fn on_thread(cluster: &Cluster, server: &str, thread: u64) -> Vec<String> {
    let mut conn = cluster.root(server).await;
    let rows = conn
        .exec(
            "SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log \
             WHERE thread_id = ? AND command_type IN ('Query', 'Execute')",
            (thread,),
        )
        .await
        .expect("the general log");
    let _ = conn.disconnect().await;
    rows
}

/// The one place where all statements with this marker ran; so many of them.
async fn place(cluster: &Cluster, marker: &str, count: usize) -> (String, u64) {
    let all = logged(cluster, marker).await;
    assert_eq!(all.len(), count, "{all:?}");
    let (server, thread) = (all[0].server.clone(), all[0].thread);
    let together = all.iter().all(|it| it.server == server && it.thread == thread);
    assert!(together, "{all:?}");
    (server, thread)
}

async fn run(conn: &mut Conn, statements: &[&str]) {
    for sql in statements {
        conn.query_drop(*sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// Code and words of the error that a statement ends in.
async fn refused(conn: &mut Conn, sql: &str) -> (u16, String) {
    match conn.query_drop(sql).await {
        Err(Error::Server(error)) => (error.code, error.message),
        other => panic!("{sql}: {other:?}"),
    }
}

/// A client of the primary itself.
async fn direct(cluster: &Cluster) -> Conn {
    let address = cluster.primary_address();
    connect(&address.ip().to_string(), address.port(), "app", "app", Some("app")).await
}

async fn table(cluster: &Cluster, name: &str) {
    for sql in [
        format!("CREATE TABLE IF NOT EXISTS app.{name} (id INT PRIMARY KEY, v INT)"),
        format!("REPLACE INTO app.{name} VALUES (1, 0)"),
    ] {
        cluster.run_on("primary", &sql).await;
    }
    cluster.settle().await;
    cluster.log_statements().await;
}

async fn one_replica_serves_all_of_it(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    table(cluster, "seen").await;
    let proxy = Proxy::start(cluster, PATIENT).ready();
    let mut servers = Vec::new();
    // What comes before, what begins it, whether a session's own write comes before that.
    let snapshot = match flavour {
        Flavour::MySql => "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        // It runs on the primary there, see below.
        Flavour::MariaDb => "START TRANSACTION READ ONLY",
    };
    let openings: [(&[&str], &str); 6] = [
        (&[], "START TRANSACTION READ ONLY"),
        (&[], snapshot),
        (&["SET SESSION TRANSACTION READ ONLY"], "BEGIN"),
        (&["SET TRANSACTION READ ONLY"], "START TRANSACTION"),
        (&["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"], "START TRANSACTION READ ONLY"),
        (&["SET SESSION TRANSACTION READ ONLY", "SET autocommit = 0"], "SELECT 1"),
    ];
    let mut value = 0;
    for (before, begin) in openings.iter().cycle().take(12) {
        value += 1;
        let mark = marker("whole");
        let mut conn = proxy.app().await;
        let write = format!("UPDATE seen SET v = {value} WHERE id = 1");
        run(&mut conn, &[&write]).await;
        run(&mut conn, before).await;
        for _ in 0..value % 2 {
            // Reads take turns; each round must not be a whole number of them.
            run(&mut proxy.app().await, &["SELECT 1"]).await;
        }
        let count = match *begin {
            // Autocommit that is off needs no statement to begin it.
            "SELECT 1" => 4,
            begin => {
                run(&mut conn, &[&format!("{begin} /* {mark} */")]).await;
                5
            }
        };
        let read = format!("SELECT v FROM seen WHERE id = 1 /* {mark} */");
        let first: Option<i64> = conn.query_first(&read).await.expect("a read");
        assert_eq!(first, Some(value), "its session's write is there: {begin}");
        cluster.run_on("primary", "UPDATE app.seen SET v = -1 WHERE id = 1").await;
        cluster.settle().await;
        let again: Option<i64> = conn.query_first(&read).await.expect("a read");
        assert_eq!(again, first, "one snapshot: {before:?} {begin}");
        let again: Option<i64> = conn.exec_first(&read, ()).await.expect("a prepared read");
        assert_eq!(again, first, "and for a prepared statement");
        run(&mut conn, &["SET @known = 5"]).await;
        let known: Option<i64> = conn.query_first("SELECT @known").await.expect("a read");
        assert_eq!(known, Some(5));
        run(&mut conn, &[&format!("COMMIT /* {mark} */")]).await;
        let after: Option<i64> = conn.query_first("SELECT v FROM seen").await.expect("a read");
        assert_eq!(after, Some(-1), "it is over");
        let (server, _) = place(cluster, &mark, count).await;
        assert_ne!(server, "primary", "{before:?} {begin}");
        servers.push(server);
        run(&mut conn, &["SET autocommit = 1", "SET SESSION TRANSACTION READ WRITE", &write]).await;
    }
    servers.sort();
    servers.dedup();
    assert_eq!(servers, ["replica1", "replica2"], "both replicas take such transactions");

    // Where they ask for it, or must, they run on the primary.
    for before in [
        &["/* rwproxy: primary */ DO 1"][..],
        &["CREATE TEMPORARY TABLE mine (a INT)"],
        &["SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"],
    ] {
        let mark = marker("primary");
        let mut conn = proxy.app().await;
        run(&mut conn, before).await;
        let hint = if before[0].starts_with("/*") { "/* rwproxy: primary */" } else { "" };
        run(
            &mut conn,
            &[
                &format!("{hint} START TRANSACTION READ ONLY /* {mark} */"),
                &format!("SELECT v FROM seen /* {mark} */"),
                &format!("COMMIT /* {mark} */"),
            ],
        )
        .await;
        assert_eq!(place(cluster, &mark, 3).await.0, "primary", "{before:?}");
    }
    // MariaDB's replicas would refuse its COMMIT.
    let mark = marker("snapshot");
    let begin = format!("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY /* {mark} */");
    let commit = format!("COMMIT /* {mark} */");
    run(&mut proxy.app().await, &[&begin, "SAVEPOINT a", "SELECT v FROM seen", &commit]).await;
    let (server, _) = place(cluster, &mark, 2).await;
    assert_eq!(server == "primary", flavour == Flavour::MariaDb, "{server}");
    let metrics = proxy.get("/metrics");
    for reason in ["begins_read_only", "read_only_transaction"] {
        assert!(metrics.contains(&format!("reason=\"{reason}\"")), "{reason} is counted");
    }
}

async fn what_it_has_not_begun_to_read_may_move_to_the_primary(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    table(cluster, "moves").await;
    for sql in [
        "DROP PROCEDURE IF EXISTS app.moves_call",
        "CREATE PROCEDURE app.moves_call() SELECT v FROM moves",
    ] {
        cluster.run_on("primary", sql).await;
    }
    cluster.settle().await;
    let proxy = Proxy::start(cluster, PATIENT).ready();
    for needs in ["CALL moves_call()", "SELECT v INTO @v FROM moves", "DO RELEASE_LOCK('moves')"] {
        let mark = marker("moves");
        let mut conn = proxy.app().await;
        run(
            &mut conn,
            &[
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                "START TRANSACTION READ ONLY",
                "SELECT 1",
                &format!("{needs} /* {mark} */"),
                &format!("SELECT v FROM moves /* {mark} */"),
            ],
        )
        .await;
        let write = refused(&mut conn, &format!("DELETE FROM moves /* {mark} */")).await;
        assert_eq!(write.0, 1792, "it is READ ONLY there, too: {write:?}");
        run(&mut conn, &[&format!("COMMIT /* {mark} */")]).await;
        let (server, thread) = place(cluster, &mark, 4).await;
        assert_eq!(server, "primary", "{needs}");
        let all = on_thread(cluster, "primary", thread).await;
        let call = all.iter().position(|sql| sql.contains(&mark)).expect("it is there");
        let before =
            ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION READ ONLY"];
        assert_eq!(all[call - 2..call], before, "{all:?}");
    }

    // A table that replicas do not have yet is read on the primary.
    let mark = marker("unknown");
    cluster.run_on("primary", "CREATE DATABASE IF NOT EXISTS moves_new").await;
    cluster.settle().await;
    let mut conn = proxy.app().await;
    run(&mut conn, &["START TRANSACTION READ ONLY"]).await;
    let sql = format!("SELECT * FROM missing /* {mark} */");
    assert_eq!(refused(&mut conn, &sql).await.0, 1146);
    run(&mut conn, &["COMMIT"]).await;
    let all = logged(cluster, &mark).await;
    assert!(all.iter().any(|it| it.server == "primary"), "{all:?}");
}

async fn what_has_read_stays_and_refuses_the_rest(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    table(cluster, "stays").await;
    for sql in [
        "DROP PROCEDURE IF EXISTS app.stays_call",
        "CREATE PROCEDURE app.stays_call() SELECT v FROM stays",
    ] {
        cluster.run_on("primary", sql).await;
    }
    cluster.settle().await;
    let proxy = Proxy::start(cluster, PATIENT).ready();
    let primary = cluster.primary_address();
    let mut direct = crate::support::cluster::connect(
        &primary.ip().to_string(),
        3306,
        "app",
        "app",
        Some("app"),
    )
    .await;
    let mark = marker("stays");
    let read = format!("SELECT v FROM stays /* {mark} */");
    let mut conn = proxy.app().await;
    run(&mut conn, &["START TRANSACTION READ ONLY", &read]).await;
    run(&mut direct, &["START TRANSACTION READ ONLY", "SELECT v FROM stays"]).await;
    // What every server refuses is refused in its words.
    for sql in [
        "INSERT INTO stays VALUES (2, 2)",
        "UPDATE stays SET v = 1",
        "DELETE FROM stays",
        "REPLACE INTO stays VALUES (1, 1)",
        "CREATE TEMPORARY TABLE mine (a INT)",
        "SET TRANSACTION READ WRITE",
    ] {
        let here = refused(&mut conn, sql).await;
        assert_eq!(here, refused(&mut direct, sql).await, "{sql}");
        let shown: Vec<(String, u16, String)> = conn.query("SHOW WARNINGS").await.expect("a list");
        assert_eq!(shown, [("Error".to_owned(), here.0, here.1)], "{sql}");
        run(&mut conn, &[&read]).await;
    }
    // What the primary alone may run is refused with the way to run it.
    for sql in ["CALL stays_call()", "SELECT v FROM stays FOR UPDATE", "SELECT GET_LOCK('s', 1)"] {
        let (code, words) = refused(&mut conn, sql).await;
        assert_eq!(code, 1792, "{sql}");
        assert!(words.contains("/* rwproxy: primary */ START TRANSACTION READ ONLY"), "{words}");
        run(&mut conn, &[&read]).await;
    }
    // Savepoints and what the session carries along are at home there.
    run(
        &mut conn,
        &[
            "SAVEPOINT one",
            "SET NAMES utf8mb4, @a = 3",
            "SET SESSION group_concat_max_len = 4711",
            "USE app",
            "ROLLBACK TO one",
            &read,
        ],
    )
    .await;
    let carried: Option<(i64, u64)> =
        conn.query_first("SELECT @a, @@group_concat_max_len").await.expect("a read");
    assert_eq!(carried, Some((3, 4711)));
    run(&mut conn, &["ROLLBACK"]).await;
    let (server, _) = place(cluster, &mark, 11).await;
    assert_ne!(server, "primary");
    let carried: Option<(i64, u64)> =
        conn.query_first("SELECT @a, @@group_concat_max_len").await.expect("a read");
    assert_eq!(carried, Some((3, 4711)), "it is carried on");
    let hinted = "/* rwproxy: primary */ START TRANSACTION READ ONLY";
    run(&mut conn, &[hinted, &read, "CALL stays_call()", "COMMIT"]).await;
}

async fn what_ends_it_by_itself_runs_on_the_primary(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    table(cluster, "ends").await;
    let proxy = Proxy::start(cluster, PATIENT).ready();
    let read = "SELECT v FROM ends WHERE id = 1";
    for (number, ends) in
        ["CREATE TABLE ends_new (a INT)", "DROP TABLE ends_new", "LOCK TABLES ends WRITE"]
            .into_iter()
            .enumerate()
    {
        let mark = marker("ends");
        let mut conn = proxy.app().await;
        let write = format!("UPDATE ends SET v = {number} + 100 WHERE id = 1 /* {mark} */");
        let ends = format!("{ends} /* {mark} */");
        run(&mut conn, &["START TRANSACTION READ ONLY", read, &ends, &write]).await;
        run(&mut conn, &["COMMIT", "UNLOCK TABLES"]).await;
        let on = logged(cluster, &mark).await;
        assert!(on.len() == 2 && on.iter().all(|it| it.server == "primary"), "{on:?}");
        let seen: Option<usize> = conn.query_first(read).await.expect("a read");
        assert_eq!(seen, Some(number + 100));
    }

    // MySQL holds what a plain START TRANSACTION begins in it to READ ONLY, too; MariaDB does not.
    let mut direct = direct(cluster).await;
    let mut conn = proxy.app().await;
    let mut outcomes = Vec::new();
    for conn in [&mut direct, &mut conn] {
        let begin = ["START TRANSACTION READ ONLY", read, "START TRANSACTION"];
        run(conn, &begin).await;
        let write = conn.query_drop("UPDATE ends SET v = 5 WHERE id = 1").await;
        outcomes.push(write.map_err(|error| error.to_string()));
        run(conn, &["ROLLBACK"]).await;
    }
    assert_eq!(outcomes[1], outcomes[0]);

    // Another one sees what the session has written in between, and what comes after a chain, too.
    let mut conn = proxy.app().await;
    let mut expected = 1000;
    for next in ["START TRANSACTION READ ONLY", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN"] {
        expected += 1;
        run(&mut conn, &["START TRANSACTION READ ONLY", read]).await;
        let write = format!("UPDATE ends SET v = {expected} WHERE id = 1");
        run(&mut proxy.app().await, &[&write]).await;
        cluster.settle().await;
        run(&mut conn, &[next]).await;
        let seen: Option<i64> = conn.query_first(read).await.expect("a read");
        assert_eq!(seen, Some(expected), "{next}");
        assert_eq!(refused(&mut conn, &write).await.0, 1792, "{next}");
        run(&mut conn, &["COMMIT", &write]).await;
    }

    // Autocommit that is set on ends it; servers hold the next statement to its access mode.
    let mark = marker("on");
    let mut conn = proxy.app().await;
    let write = format!("UPDATE ends SET v = 7 WHERE id = 1 /* {mark} */");
    run(&mut conn, &["SET SESSION TRANSACTION READ ONLY", "SET autocommit = 0", read]).await;
    run(&mut conn, &["SET autocommit = 1", "SELECT 1", "SET SESSION TRANSACTION READ WRITE"]).await;
    run(&mut conn, &["COMMIT", &write]).await;
    assert_eq!(place(cluster, &mark, 1).await.0, "primary");

    // So does COM_RESET_CONNECTION.
    run(&mut conn, &["START TRANSACTION READ ONLY", read]).await;
    conn.reset().await.expect("COM_RESET_CONNECTION");
    run(&mut conn, &["UPDATE ends SET v = 8 WHERE id = 1"]).await;
    run(&mut conn, &["START TRANSACTION READ ONLY", read]).await;
    conn.change_user(mysql_async::ChangeUserOpts::default()).await.expect("COM_CHANGE_USER");
    run(&mut conn, &["UPDATE ends SET v = 9 WHERE id = 1"]).await;
}

/// A cursor on a replica does not outlive its transaction: the session must be free to write.
async fn cursors_end_with_it(flavour: Flavour) {
    const COM_STMT_PREPARE: u8 = 0x16;
    const COM_STMT_EXECUTE: u8 = 0x17;
    const COM_STMT_FETCH: u8 = 0x1C;
    let cluster = Cluster::shared(flavour);
    table(cluster, "cursors").await;
    run_on_primary(cluster, "REPLACE INTO app.cursors VALUES (1, 1), (2, 2), (3, 3)").await;
    let proxy = Proxy::start(cluster, PATIENT).ready();
    let mark = marker("cursor");
    let mut client = Raw::app(proxy.address, OLD | Capabilities::PROTOCOL_41).await;
    let select = format!("SELECT id FROM cursors ORDER BY id /* {mark} */");
    for read_first in [true, false] {
        client.query("START TRANSACTION READ ONLY").await;
        if read_first {
            client.query("SELECT v FROM cursors").await;
        }
        let reply = client.ask(&[&[COM_STMT_PREPARE], select.as_bytes()].concat()).await;
        let id = reply[0].payload[1..5].to_vec();
        let execute = [&[COM_STMT_EXECUTE], &id[..], &[1, 1, 0, 0, 0]].concat();
        let reply = client.ask(&execute).await;
        assert_eq!(error_code(&reply), None, "{reply:?}");
        let fetch = [&[COM_STMT_FETCH], &id[..], &[1, 0, 0, 0]].concat();
        for _ in 0..2 {
            let reply = client.ask(&fetch).await;
            assert_eq!((error_code(&reply), reply.len()), (None, 2), "{reply:?}");
        }
        let write = client.query("DELETE FROM cursors").await;
        assert_eq!(error_code(&write), Some(1792));
        client.query("COMMIT").await;
        let reply = client.ask(&fetch).await;
        match read_first {
            true => assert_eq!(error_code(&reply), Some(1421), "{reply:?}"),
            // It was opened on the primary, where it stays.
            false => assert_eq!(error_code(&reply), None, "{reply:?}"),
        }
        let write = client.query("UPDATE cursors SET v = v + 1 WHERE id = 3").await;
        assert_eq!(error_code(&write), None, "{write:?}");
        client.ask(&[&[0x19], &id[..]].concat()).await;
    }
    let servers: Vec<_> = logged(cluster, &mark).await.into_iter().map(|it| it.server).collect();
    assert_eq!(servers.len(), 2, "{servers:?}");
    assert!(servers[0] == "primary" && servers[1] != "primary", "{servers:?}");
}

async fn run_on_primary(cluster: &Cluster, sql: &str) {
    cluster.run_on("primary", sql).await;
    cluster.settle().await;
}

async fn a_replica_that_lags_lets_it_finish_and_one_that_dies_loses_it(flavour: Flavour) {
    let mut cluster = Cluster::breakable(flavour).await;
    cluster.repair().await;
    table(&cluster, "lost").await;
    let proxy =
        Proxy::start(&cluster, "[routing]\nmax_lag = \"500ms\"\nslow_start = \"0s\"").ready();
    let mark = marker("lags");
    let read = format!("SELECT v FROM lost WHERE id = 1 /* {mark} */");
    let mut conn = proxy.app().await;
    run(&mut conn, &["START TRANSACTION READ ONLY", &read]).await;
    let (server, thread) = place(&cluster, &mark, 1).await;
    assert_ne!(server, "primary");
    let threads = match flavour {
        Flavour::MySql => "STOP REPLICA",
        Flavour::MariaDb => "STOP SLAVE",
    };
    cluster.run_on(&server, threads).await;
    proxy.wait_until("it takes no reads", |status| takes_reads(status, &server) == Some(false));
    run(&mut conn, &[&read, &format!("COMMIT /* {mark} */")]).await;
    assert_eq!(place(&cluster, &mark, 3).await, (server.clone(), thread), "it ran to its end");
    // The next one goes elsewhere: to the other replica once that is as far as was read here.
    eventually("the other replica serves the next", SOON, async || {
        let next = marker("next");
        let read = format!("SELECT v FROM lost WHERE id = 1 /* {next} */");
        run(&mut conn, &["START TRANSACTION READ ONLY", &read, "COMMIT"]).await;
        let (second, _) = place(&cluster, &next, 1).await;
        assert_ne!(second, server);
        (second != "primary").then_some(())
    })
    .await;
    cluster.repair().await;
    proxy.wait_until("it takes reads", |status| takes_reads(status, &server) == Some(true));

    for ends in [false, true] {
        let mark = marker("dies");
        let read = format!("SELECT v FROM lost WHERE id = 1 /* {mark} */");
        run(&mut conn, &["START TRANSACTION READ ONLY", &read]).await;
        let (server, _) = place(&cluster, &mark, 1).await;
        docker(&["kill", &cluster.server(&server).container]).await;
        let next = if ends { "COMMIT" } else { &read };
        let (code, words) = refused(&mut conn, next).await;
        assert_eq!(code, 1213, "what drivers take for \"try again\": {words}");
        // The session goes on, and the transaction can be tried again.
        eventually("the other replica serves it", SOON, async || {
            let again = marker("again");
            let read = format!("SELECT v FROM lost WHERE id = 1 /* {again} */");
            run(&mut conn, &["START TRANSACTION READ ONLY", &read, "COMMIT"]).await;
            run(&mut conn, &["UPDATE lost SET v = v + 1 WHERE id = 1"]).await;
            let on = logged_on_running(&cluster, &server, &again).await;
            (on.len() == 1 && on[0] != "primary").then_some(())
        })
        .await;
        cluster.repair().await;
        cluster.log_statements().await;
        proxy.wait_until("it takes reads", |status| takes_reads(status, &server) == Some(true));
    }
}

/// Where statements with this marker ran, apart from the server that is dead.
async fn logged_on_running(cluster: &Cluster, dead: &str, marker: &str) -> Vec<&'static str> {
    let mut servers = Vec::new();
    for server in ["primary", "replica1", "replica2"] {
        if server != dead && cluster.count_logged(server, marker).await > 0 {
            servers.push(server);
        }
    }
    servers
}

fn takes_reads(status: &serde_json::Value, server: &str) -> Option<bool> {
    let backends = status["backends"].as_array()?;
    let named =
        |it: &&serde_json::Value| it["name"].as_str().is_some_and(|it| it.ends_with(server));
    backends.iter().find(named).map(|it| it["takes_reads"] == 1)
}

/// What SET TRANSACTION has said holds for one transaction: that of an autocommit statement, too.
async fn a_statement_of_its_own_is_the_next_transaction(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    table(cluster, "readonly_next").await;
    let proxy = Proxy::start(cluster, "");
    for mut conn in [direct(cluster).await, proxy.app().await] {
        run(&mut conn, &["SET TRANSACTION READ ONLY", "SELECT v FROM readonly_next", "BEGIN"])
            .await;
        run(&mut conn, &["UPDATE readonly_next SET v = v + 1", "COMMIT"]).await;
        // But not of one that uses no table.
        run(&mut conn, &["SET TRANSACTION READ ONLY", "SELECT 1", "BEGIN"]).await;
        let (code, _) = refused(&mut conn, "UPDATE readonly_next SET v = v + 1").await;
        assert_eq!(code, 1792);
        run(&mut conn, &["ROLLBACK"]).await;
    }
}
