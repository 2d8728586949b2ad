//! Statements prepared by the binary protocol are split like text: each execution goes where its
//! text would go, and means the same on every connection.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use crate::support::cluster::connect;
use crate::support::{Cluster, Flavour, Proxy, marker};

crate::on_both_flavours!(executions_are_split_like_text);
crate::on_both_flavours!(a_statement_means_what_it_meant_when_it_was_prepared);
crate::on_both_flavours!(what_a_statement_leaves_behind_is_its_sessions);
crate::on_both_flavours!(many_statements_are_none_too_many);
crate::on_both_flavours!(what_preparing_warns_of_is_told);

async fn executions_are_split_like_text(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    cluster.log_statements().await;
    let (read, write) = (marker("read"), marker("write"));
    let proxy = Proxy::start(cluster, "[routing]\nslow_start = \"0s\"\nconsistency = \"eventual\"");
    let mut conn = proxy.app().await;
    conn.query_drop("CREATE TABLE IF NOT EXISTS prepared (id INT PRIMARY KEY, v INT)")
        .await
        .unwrap();
    conn.query_drop("DELETE FROM prepared").await.unwrap();
    let insert = format!("INSERT INTO prepared VALUES (?, ?) /* {write} */");
    for id in 0..10 {
        conn.exec_drop(&insert, (id, id * 2)).await.unwrap();
    }
    cluster.settle().await;
    let select = format!("SELECT v FROM prepared WHERE id = ? /* {read} */");
    for round in 0..100 {
        let id = round % 10;
        let v: Option<i32> = conn.exec_first(&select, (id,)).await.unwrap();
        assert_eq!(v, Some(id * 2));
    }
    // In a transaction they stay with it; afterwards they are split again.
    conn.query_drop("BEGIN").await.unwrap();
    conn.exec_drop(&insert, (10, 20)).await.unwrap();
    let v: Option<i32> = conn.exec_first(&select, (10,)).await.unwrap();
    assert_eq!(v, Some(20), "its own row");
    conn.query_drop("ROLLBACK").await.unwrap();
    let _: Option<i32> = conn.exec_first(&select, (1,)).await.unwrap();
    conn.query_drop("DROP TABLE prepared").await.unwrap();

    let executed = async |server, marker| cluster.count_logged(server, marker).await;
    assert_eq!(executed("primary", &write).await, 11);
    assert_eq!(executed("primary", &read).await, 1);
    let mut reads = 0;
    for replica in ["replica1", "replica2"] {
        assert_eq!(executed(replica, &write).await, 0);
        let count = executed(replica, &read).await;
        assert!((45..=56).contains(&count), "{replica}: {count}");
        reads += count;
    }
    assert_eq!(reads, 101);
}

/// The default database and `sql_mode` of its preparation count, whatever is set since.
async fn a_statement_means_what_it_meant_when_it_was_prepared(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    for database in ["prepared_one", "prepared_two"] {
        let statements = format!(
            "CREATE DATABASE IF NOT EXISTS {database}; GRANT ALL ON {database}.* TO app; \
             CREATE TABLE IF NOT EXISTS {database}.t (name VARCHAR(20)); \
             REPLACE INTO {database}.t VALUES ('{database}')"
        );
        cluster.run_on("primary", &statements).await;
    }
    cluster.settle().await;
    let primary = cluster.primary();
    let direct = connect(&primary.ip, primary.port, "app", "app", Some("app")).await;
    let expected = moved(direct).await;
    assert_eq!(expected[0].0, "prepared_one");
    assert_eq!(moved(proxy.app().await).await, expected);
    for database in ["prepared_one", "prepared_two"] {
        cluster.run_on("primary", &format!("DROP DATABASE {database}")).await;
    }
}

type Seen = (String, String, String);

/// Executes a statement after the session has gone elsewhere.
async fn moved(mut conn: Conn) -> Vec<Seen> {
    conn.query_drop("USE prepared_one").await.unwrap();
    let statement = conn.prep("SELECT name, DATABASE(), \"x\" FROM t LIMIT 1").await.unwrap();
    conn.query_drop("USE prepared_two").await.unwrap();
    conn.query_drop("SET sql_mode = 'ANSI_QUOTES'").await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.extend(conn.exec_first(&statement, ()).await.unwrap());
    }
    seen.extend(conn.query_first("SELECT name, DATABASE(), @@sql_mode FROM t").await.unwrap());
    seen
}

/// With two connections for four sessions, nobody finds what another's execution has left.
async fn what_a_statement_leaves_behind_is_its_sessions(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "[pool]\nmax_per_backend = 3");
    let mut owner = proxy.app().await;
    let lock = marker("lock");
    owner.exec_drop("SET @secret = ?", (42,)).await.unwrap();
    let got: Option<i32> = owner.exec_first("SELECT GET_LOCK(?, 0)", (&lock,)).await.unwrap();
    assert_eq!(got, Some(1));
    for _ in 0..4 {
        let mut other = proxy.app().await;
        let seen: Option<Option<i32>> = other.query_first("SELECT @secret").await.unwrap();
        assert_eq!(seen, Some(None));
        let sql = format!("SELECT IS_USED_LOCK('{lock}') = CONNECTION_ID()");
        let held: Option<i32> = other.query_first(sql).await.unwrap();
        assert_eq!(held, Some(0));
        other.disconnect().await.unwrap();
    }
    let seen: Option<i32> = owner.exec_first("SELECT @secret", ()).await.unwrap();
    assert_eq!(seen, Some(42));
}

async fn many_statements_are_none_too_many(flavour: Flavour) {
    const STATEMENTS: i32 = 600;
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "[pool]\nmax_per_backend = 50");
    let options = OptsBuilder::from_opts(proxy.app_options()).stmt_cache_size(STATEMENTS as usize);
    let mut conn = Conn::new(options).await.unwrap();
    for _ in 0..2 {
        for number in 0..STATEMENTS {
            let sql = format!("SELECT {number} + ?");
            let sum: Option<i32> = conn.exec_first(sql, (1,)).await.unwrap();
            assert_eq!(sum, Some(number + 1));
        }
    }
    for server in &cluster.servers {
        let mut root = cluster.root(&server.server).await;
        let open: Option<(String, u64)> =
            root.query_first("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'").await.unwrap();
        let (_, open) = open.unwrap();
        // Other tests' connections have theirs.
        assert!(open < STATEMENTS as u64, "{}: {open} statements are open", server.server);
    }
}

/// A server warns of a text when it is prepared, too.
async fn what_preparing_warns_of_is_told(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let server = cluster.primary();
    let mut direct = connect(&server.ip, server.port, "app", "app", Some("app")).await;
    let mut proxied = proxy.app().await;
    let text = "SELECT a, 2 * a AS a FROM (SELECT 1 AS a) d GROUP BY a";
    for _ in 0..2 {
        let mut told = Vec::new();
        for conn in [&mut direct, &mut proxied] {
            conn.query_drop("SELECT 1").await.unwrap();
            let statement = conn.prep(text).await.unwrap();
            let warned: Vec<(String, u16, String)> = conn.query("SHOW WARNINGS").await.unwrap();
            conn.close(statement).await.unwrap();
            told.push(warned);
        }
        assert!(!told[0].is_empty(), "the server does not warn");
        assert_eq!(told[1], told[0]);
    }
}
