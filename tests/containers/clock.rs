//! The proxy's own clock is set ahead and back, and nothing follows from it.

use std::time::{Duration, SystemTime};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::support::proxy::readers;
use crate::support::{Cluster, Flavour, Proxy, clock, eventually};

/// An hour, of which no busy machine makes a lag by itself.
const AHEAD: u32 = 3600;
const SETTINGS: &str = "[routing]\nmax_lag = \"30m\"\n[limits]\nidle_timeout = \"30m\"\n\
                        [log]\nslow = \"10ms\"";
const SOON: Duration = Duration::from_secs(20);

crate::on_both_flavours!(a_jump_changes_nothing);

async fn a_jump_changes_nothing(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let directory = tempfile::tempdir().expect("a directory");
    let library = clock::library(directory.path(), AHEAD);
    let wrong = directory.path().join("wrong");
    let environment = [("LD_PRELOAD", library.as_path()), (clock::WRONG, wrong.as_path())];
    let settings = Proxy::settings(cluster, SETTINGS);
    let proxy = Proxy::start_under(&settings, &environment).ready();
    proxy.await_readers(cluster);
    let replicas = cluster.replicas().count();
    let mut conn = proxy.app().await;

    for is_wrong in [true, false, true, false] {
        match is_wrong {
            true => std::fs::write(&wrong, "").expect("a file"),
            false => std::fs::remove_file(&wrong).expect("the file"),
        }
        eventually("the proxy sees another time", SOON, async || {
            (is_ahead(&proxy, &mut conn).await == is_wrong).then_some(())
        })
        .await;
        // Some rounds of probes, and of all that looks after sessions.
        for _ in 0..15 {
            let status = proxy.status();
            assert_eq!(readers(&status), replicas, "{status:#}");
            let one: Option<u64> = conn.query_first("SELECT 1").await.expect("a read");
            assert_eq!(one, Some(1));
            conn.query_drop("DO 1").await.expect("a statement on the primary");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// By the time at which the proxy logs a slow statement.
async fn is_ahead(proxy: &Proxy, conn: &mut Conn) -> bool {
    let slow = |log: &str| log.lines().filter(|line| line.contains("\"slow\"")).count();
    let before = slow(&proxy.log());
    conn.query_drop("DO SLEEP(0.02)").await.expect("a statement");
    let line = eventually("it is logged", SOON, async || {
        let log = proxy.log();
        let mut lines = log.lines().filter(|line| line.contains("\"slow\""));
        lines.nth(before).map(str::to_owned)
    })
    .await;
    let line: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
    let time = humantime::parse_rfc3339(line["timestamp"].as_str().expect("a text"));
    time.expect("a time") > SystemTime::now() + Duration::from_secs(u64::from(AHEAD) / 2)
}
