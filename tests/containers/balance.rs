//! `routing.balance`: which replica takes a read.

use std::time::Duration;

use mysql_async::prelude::Queryable;

use crate::support::{Cluster, Flavour, Proxy, eventually, marker};

crate::on_both_flavours!(reads_go_to_the_least_busy_replica);

async fn reads_go_to_the_least_busy_replica(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    cluster.log_statements().await;
    let proxy = Proxy::start(
        cluster,
        "[routing]\nbalance = \"least_busy\"\nslow_start = \"0s\"\nconsistency = \"eventual\"",
    );
    let mut conn = proxy.app().await;
    let spread = async |conn: &mut mysql_async::Conn| {
        let mark = marker("balance");
        for _ in 0..10 {
            conn.query_drop(format!("SELECT 1 /* {mark} */")).await.unwrap();
        }
        let mut counts = [0; 3];
        for (count, server) in counts.iter_mut().zip(["primary", "replica1", "replica2"]) {
            *count = cluster.count_logged(server, &mark).await;
        }
        counts
    };
    // Nobody is busy: in turn.
    assert_eq!(spread(&mut conn).await, [0, 5, 5]);
    // Two reads keep the first replica busy, until they are killed there.
    let mark = marker("busy");
    let hint = format!("/* rwproxy: backend={} */", cluster.server("replica1").container);
    let mut busy = Vec::new();
    for _ in 0..2 {
        let (mut reader, hint, mark) = (proxy.app().await, hint.clone(), mark.clone());
        busy.push(tokio::spawn(async move {
            let _ = reader.query_drop(format!("{hint} SELECT SLEEP(300) /* {mark} */")).await;
        }));
    }
    let mut root = cluster.root("replica1").await;
    let running = "SELECT id FROM information_schema.processlist \
                   WHERE info LIKE ? AND id <> CONNECTION_ID()";
    let ids: Vec<u64> = eventually("both reads run", Duration::from_secs(20), async || {
        let ids: Vec<u64> = root.exec(running, (format!("%{mark}%"),)).await.unwrap();
        (ids.len() == 2).then_some(ids)
    })
    .await;
    assert_eq!(spread(&mut conn).await, [0, 0, 10]);
    for id in ids {
        root.query_drop(format!("KILL QUERY {id}")).await.unwrap();
    }
    for reader in busy {
        reader.abort();
        let _ = reader.await;
    }
    // Ended, they no longer count; nor does a transaction that is open on the primary.
    conn.query_drop("BEGIN").await.unwrap();
    let mut other = proxy.app().await;
    eventually("reads go to both again", Duration::from_secs(20), async || {
        (spread(&mut other).await == [0, 5, 5]).then_some(())
    })
    .await;
    conn.query_drop("ROLLBACK").await.unwrap();
}
