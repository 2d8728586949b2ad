//! Hints in comments: which server a read asks for.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};

use crate::support::{Cluster, Flavour, Proxy, marker};

crate::on_both_flavours!(a_read_runs_on_the_server_that_it_names);
crate::on_both_flavours!(a_read_runs_where_the_lag_is_as_low_as_it_asks);

/// Runs the statement ten times with the hint, and tells how many of these each server had:
/// primary, replica1, replica2.
async fn spread(cluster: &Cluster, conn: &mut Conn, hint: &str, sql: &str) -> [u64; 3] {
    let mark = marker("hint");
    for _ in 0..10 {
        conn.query_drop(format!("/* rwproxy: {hint} */ {sql} /* {mark} */")).await.unwrap();
    }
    let mut counts = [0; 3];
    for (count, server) in counts.iter_mut().zip(["primary", "replica1", "replica2"]) {
        *count = cluster.count_logged(server, &mark).await;
    }
    counts
}

async fn a_read_runs_on_the_server_that_it_names(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    cluster.log_statements().await;
    let proxy = Proxy::start(cluster, "[routing]\nslow_start = \"0s\"\nconsistency = \"eventual\"");
    let mut conn = proxy.app().await;
    conn.query_drop("CREATE TABLE IF NOT EXISTS hinted (n INT)").await.unwrap();
    cluster.settle().await;
    let name = |server: &str| format!("backend={}", cluster.server(server).container);
    let (read, write) = ("SELECT COUNT(*) FROM hinted", "INSERT INTO hinted VALUES (1)");
    let table = [
        (name("replica1"), read, [0, 10, 0]),
        (name("replica2"), "SELECT @@hostname", [0, 0, 10]),
        (name("primary"), read, [10, 0, 0]),
        (name("replica1"), write, [10, 0, 0]),
        ("max_lag=1m".into(), read, [0, 5, 5]),
        ("primray".into(), read, [10, 0, 0]),
        ("after=0-1-1".into(), read, [10, 0, 0]),
    ];
    for (hint, sql, expected) in table {
        assert_eq!(spread(cluster, &mut conn, &hint, sql).await, expected, "{hint}: {sql}");
    }
    // Prepared, the same hint holds at each execution.
    let hint = name("replica2");
    let mark = marker("hint");
    let sql = format!("SELECT n + ? FROM hinted /* rwproxy: {hint} */ /* {mark} */");
    let statement = conn.prep(&sql).await.unwrap();
    for n in 0..4 {
        conn.exec_drop(&statement, (n,)).await.unwrap();
    }
    assert_eq!(cluster.count_logged("replica1", &mark).await, 0);
    assert_eq!(cluster.count_logged("primary", &mark).await, 0);
    // A name that is not known is an error, and the session goes on.
    let wrong = conn.query_drop("SELECT 1 /* rwproxy: backend=nobody */").await;
    let Err(Error::Server(error)) = wrong else { panic!("{wrong:?}") };
    assert_eq!(error.code, 1105);
    assert!(error.message.contains("nobody"), "{error}");
    let one: Option<u32> = conn.query_first("SELECT 1").await.unwrap();
    assert_eq!(one, Some(1));
}

async fn a_read_runs_where_the_lag_is_as_low_as_it_asks(flavour: Flavour) {
    let mut cluster = Cluster::breakable(flavour).await;
    cluster.repair().await;
    cluster.log_statements().await;
    let proxy = Proxy::start(
        &cluster,
        "[routing]\nslow_start = \"0s\"\nmax_lag = \"1h\"\nconsistency = \"eventual\"",
    );
    let mut conn = proxy.app().await;
    conn.query_drop("CREATE TABLE IF NOT EXISTS hinted (n INT)").await.unwrap();
    cluster.settle().await;
    // The applier waits for the lock; its threads run, and the lag grows.
    let mut lock = cluster.root("replica1").await;
    lock.query_drop("LOCK TABLES app.hinted READ").await.unwrap();
    conn.query_drop("INSERT INTO hinted VALUES (1)").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let read = "SELECT 7";
    assert_eq!(spread(&cluster, &mut conn, "max_lag=500ms", read).await, [0, 0, 10]);
    assert_eq!(spread(&cluster, &mut conn, "max_lag=1h", read).await, [0, 5, 5]);
    let both = format!("max_lag=500ms, backend={}", cluster.server("replica1").container);
    assert_eq!(spread(&cluster, &mut conn, &both, read).await, [10, 0, 0]);
    lock.query_drop("UNLOCK TABLES").await.unwrap();
    cluster.settle().await;
}
