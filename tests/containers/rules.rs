//! `[[rules]]`: where an operator's word sends statements.

use std::process::Command;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::support::{Cluster, Flavour, Proxy, eventually, marker};

crate::on_both_flavours!(rules_choose_for_reads_and_for_nothing_else);
crate::on_both_flavours!(a_rule_keeps_reads_from_replicas_that_lag);

/// Runs the statement ten times, and tells how many of these each server had: primary, replica1,
/// replica2.
async fn spread(cluster: &Cluster, conn: &mut Conn, sql: &str) -> [u64; 3] {
    let mark = marker("rule");
    for _ in 0..10 {
        conn.query_drop(format!("{sql} /* {mark} */")).await.unwrap();
    }
    logged(cluster, &mark).await
}

async fn logged(cluster: &Cluster, mark: &str) -> [u64; 3] {
    let mut counts = [0; 3];
    for (count, server) in counts.iter_mut().zip(["primary", "replica1", "replica2"]) {
        *count = cluster.count_logged(server, mark).await;
    }
    counts
}

/// The digest of a statement, as users learn it.
fn digest(sql: &str) -> String {
    let mut explain = Command::new(env!("CARGO_BIN_EXE_rwproxy"));
    // Elsewhere than beside a proxy.toml.
    let output = explain.args(["explain", sql]).current_dir("/").output().expect("explain runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("digest")).expect("a digest");
    line.trim().to_owned()
}

fn counted(proxy: &Proxy, rule: &str) -> u64 {
    let metrics = proxy.get("/metrics");
    let start = format!("rwproxy_rule_statements_total{{rule=\"{rule}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&start));
    count.unwrap_or_else(|| panic!("{rule} is not in\n{metrics}")).parse().expect("a number")
}

async fn rules_choose_for_reads_and_for_nothing_else(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    cluster.log_statements().await;
    let shape = digest("SELECT n FROM ruled WHERE n = 5");
    let proxy = Proxy::start(
        cluster,
        &format!(
            r#"
            [routing]
            slow_start = "0s"
            consistency = "eventual"
            [log]
            slow = "900ms"
            [[rules]]
            name = "nobody"
            user = "nobody"
            target = "primary"
            [[rules]]
            name = "elsewhere"
            database = "mysql"
            target = "primary"
            [[rules]]
            name = "by-shape"
            digest = "{shape}"
            target = "primary"
            [[rules]]
            name = "by-text"
            match = '^select @@hostname|for update|^delete|sleep'
            user = "app"
            database = "app"
            target = "replica"
            [[rules]]
            name = "counts"
            match = 'count\(\*\)'
            target = "primary"
            "#
        ),
    );
    let mut conn = proxy.app().await;
    conn.query_drop("CREATE TABLE IF NOT EXISTS ruled (n INT PRIMARY KEY)").await.unwrap();
    cluster.settle().await;
    let hinted = format!(
        "SELECT COUNT(*) /* rwproxy: backend={} */ FROM ruled",
        cluster.server("replica2").container
    );
    let table = [
        ("SELECT MAX(n) FROM ruled", [0, 5, 5]),
        ("SELECT n FROM ruled WHERE n = 77", [10, 0, 0]),
        ("SELECT @@hostname", [0, 5, 5]),
        ("SELECT COUNT(*) FROM ruled", [10, 0, 0]),
        (&hinted, [0, 0, 10]),
        ("SELECT @@server_id", [10, 0, 0]),
        // What the rule for replicas matches and no replica may run.
        ("SELECT n FROM ruled WHERE n > 1 FOR UPDATE", [10, 0, 0]),
        ("DELETE FROM ruled WHERE n = 1", [10, 0, 0]),
    ];
    for (sql, expected) in table {
        assert_eq!(spread(cluster, &mut conn, sql).await, expected, "{sql}");
    }
    assert_eq!(counted(&proxy, "by-shape"), 10);
    assert_eq!(counted(&proxy, "by-text"), 10);
    assert_eq!(counted(&proxy, "counts"), 10);
    assert_eq!(counted(&proxy, "nobody"), 0);
    assert_eq!(counted(&proxy, "elsewhere"), 0);
    // Prepared, each execution follows the rule.
    let mark = marker("rule");
    let sql = format!("SELECT COUNT(*) + ? FROM ruled /* {mark} */");
    let statement = conn.prep(&sql).await.unwrap();
    for n in 0..4 {
        conn.exec_drop(&statement, (n,)).await.unwrap();
    }
    let [primary, replica1, replica2] = logged(cluster, &mark).await;
    assert!(primary >= 4 && replica1 + replica2 == 0, "{primary} {replica1} {replica2}");
    // A read that a rule sends to the primary is no write: the next may go to a replica at once.
    let mut reading = proxy.app().await;
    reading.query_drop("SELECT COUNT(*) FROM ruled").await.unwrap();
    let mark = marker("rule");
    reading.query_drop(format!("SELECT MAX(n) FROM ruled /* {mark} */")).await.unwrap();
    assert_eq!(logged(cluster, &mark).await[0], 0);
    // The log of slow statements names the rule.
    conn.query_drop("SELECT SLEEP(1)").await.unwrap();
    proxy.wait_for_log("a slow statement by a rule", |line| {
        line.contains("\"slow\"") && line.contains("\"rule\":\"by-text\"")
    });
    // The console does, too. It has no user and no database.
    let mut console = crate::support::cluster::connect(
        &proxy.admin.ip().to_string(),
        proxy.admin.port(),
        "admin",
        "",
        None,
    )
    .await;
    let route: Option<mysql_async::Row> =
        console.query_first("EXPLAIN ROUTE SELECT COUNT(*) FROM ruled").await.unwrap();
    let route = route.expect("a row");
    let column = |name: &str| route.get::<Option<String>, _>(name).flatten();
    assert_eq!(column("destination").as_deref(), Some("primary"));
    assert_eq!(column("reason").as_deref(), Some("rule"));
    assert_eq!(column("rule").as_deref(), Some("counts"));
    assert_eq!(column("digest"), Some(digest("SELECT COUNT(*) FROM ruled")));
}

async fn a_rule_keeps_reads_from_replicas_that_lag(flavour: Flavour) {
    let mut cluster = Cluster::breakable(flavour).await;
    cluster.repair().await;
    cluster.log_statements().await;
    let proxy = Proxy::start(
        &cluster,
        r#"
        [routing]
        slow_start = "0s"
        max_lag = "1h"
        consistency = "eventual"
        [[rules]]
        name = "fresh"
        match = "^SELECT 7"
        target = "replica"
        max_lag = "500ms"
        "#,
    );
    let mut conn = proxy.app().await;
    conn.query_drop("CREATE TABLE IF NOT EXISTS ruled (n INT PRIMARY KEY)").await.unwrap();
    cluster.settle().await;
    // The applier waits for the lock; its threads run, and the lag grows.
    let mut lock = cluster.root("replica1").await;
    lock.query_drop("LOCK TABLES app.ruled READ").await.unwrap();
    conn.query_drop("REPLACE INTO ruled VALUES (1)").await.unwrap();
    let behind = cluster.server("replica1").container.clone();
    eventually("the replica is behind", Duration::from_secs(20), async || {
        let status = proxy.status();
        let backends = status["backends"].as_array().expect("a list");
        let lag = backends.iter().find(|it| it["name"] == behind.as_str())?["lag_ms"].as_u64();
        lag.filter(|lag| *lag > 500)
    })
    .await;
    assert_eq!(spread(&cluster, &mut conn, "SELECT 7").await, [0, 0, 10]);
    assert_eq!(spread(&cluster, &mut conn, "SELECT 8").await, [0, 5, 5]);
    lock.query_drop("UNLOCK TABLES").await.unwrap();
    cluster.settle().await;
}
