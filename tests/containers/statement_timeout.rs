//! `limits.statement_timeout`: what runs too long ends on its server, and nothing else does.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};

use crate::support::{Cluster, Flavour, Proxy, marker};

crate::on_both_flavours!(a_statement_that_runs_too_long_is_killed);

/// The code of the error that a statement ends in.
async fn refused(conn: &mut Conn, sql: &str) -> u16 {
    match conn.query_drop(sql).await {
        Err(Error::Server(error)) => error.code,
        other => panic!("{sql}: {other:?}"),
    }
}

/// How many statements with this marker run on any server.
async fn running(cluster: &Cluster, mark: &str) -> u64 {
    let mut running = 0;
    for server in &cluster.servers {
        let mut root = cluster.root(&server.server).await;
        let sql = "SELECT COUNT(*) FROM information_schema.processlist \
                   WHERE info LIKE ? AND id <> CONNECTION_ID()";
        let count: Option<u64> = root.exec_first(sql, (format!("%{mark}%"),)).await.unwrap();
        running += count.unwrap_or(0);
    }
    running
}

async fn a_statement_that_runs_too_long_is_killed(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    cluster.log_statements().await;
    let proxy = Proxy::start(
        cluster,
        "[limits]\nstatement_timeout = \"1s\"\n[routing]\nslow_start = \"0s\"",
    );
    let mut conn = proxy.app().await;
    conn.query_drop("CREATE TABLE IF NOT EXISTS timed (n INT PRIMARY KEY)").await.unwrap();
    conn.query_drop("DELETE FROM timed").await.unwrap();
    let id: Option<u32> = conn.query_first("SELECT CONNECTION_ID()").await.unwrap();
    let mark = marker("timed");
    // A sleep alone does not fail on MySQL.
    let endless = |lock: &str| {
        format!("SELECT n FROM (SELECT 1 AS n) AS d WHERE SLEEP(300) = n {lock} /* {mark} */")
    };
    // On a replica, on the primary, and prepared.
    assert_eq!(refused(&mut conn, &endless("")).await, 1317);
    assert_eq!(refused(&mut conn, &endless("FOR UPDATE")).await, 1317);
    let on_replicas = cluster.count_logged("replica1", &mark).await
        + cluster.count_logged("replica2", &mark).await;
    assert_eq!((cluster.count_logged("primary", &mark).await, on_replicas), (1, 1));
    let statement = conn.prep(endless("")).await.unwrap();
    let Err(Error::Server(error)) = conn.exec_drop(&statement, ()).await else { panic!("it ends") };
    assert_eq!(error.code, 1317);
    // A transaction goes on without it, on its connection.
    conn.query_drop("BEGIN").await.unwrap();
    conn.query_drop("INSERT INTO timed VALUES (1)").await.unwrap();
    assert_eq!(refused(&mut conn, &endless("")).await, 1317);
    conn.query_drop("INSERT INTO timed VALUES (2)").await.unwrap();
    conn.query_drop("COMMIT").await.unwrap();
    let numbers: Vec<u32> = conn.query("SELECT n FROM timed ORDER BY n").await.unwrap();
    assert_eq!(numbers, [1, 2]);
    // One sleep behind another: each kill ends one on MySQL.
    let twice = format!("SELECT SLEEP(300), SLEEP(299) /* {mark} */");
    let _ = conn.query_drop(&twice).await;
    assert_eq!(running(cluster, &mark).await, 0);
    // The session is the one that it was, and what is quick is let finish.
    let same: Option<u32> = conn.query_first("SELECT CONNECTION_ID()").await.unwrap();
    assert_eq!(same, id);
    for _ in 0..20 {
        conn.query_drop("SELECT SLEEP(0.1)").await.unwrap();
    }
}
