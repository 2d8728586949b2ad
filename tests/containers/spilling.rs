//! `routing.spill_limit`: how many reads run on the primary at once for want of replicas.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};

use crate::support::proxy::readers;
use crate::support::{Cluster, Flavour, Proxy, eventually, marker};

crate::on_both_flavours!(reads_that_spill_over_take_turns);

/// How many statements with this marker run on the primary.
async fn running(root: &mut Conn, mark: &str) -> u64 {
    let sql = "SELECT COUNT(*) FROM information_schema.processlist \
               WHERE info LIKE ? AND id <> CONNECTION_ID()";
    root.exec_first(sql, (format!("%{mark}%"),)).await.unwrap().unwrap_or(0)
}

/// A client of its own that runs this statement.
async fn spawn(proxy: &Proxy, sql: String) -> tokio::task::JoinHandle<Result<(), Error>> {
    let mut conn = proxy.app().await;
    tokio::spawn(async move { conn.query_drop(sql).await })
}

async fn reads_that_spill_over_take_turns(flavour: Flavour) {
    let mut cluster = Cluster::breakable(flavour).await;
    cluster.repair().await;
    cluster.log_statements().await;
    let proxy = Proxy::start(
        &cluster,
        "[routing]\nspill_limit = 2\nslow_start = \"0s\"\nconsistency = \"eventual\"\n\
         [pool]\nlease_timeout = \"6s\"",
    );
    let mut conn = proxy.app().await;
    conn.query_drop("CREATE TABLE IF NOT EXISTS spilled (n INT)").await.unwrap();
    cluster.settle().await;
    let (stop, start) = match flavour {
        Flavour::MySql => ("STOP REPLICA SQL_THREAD", "START REPLICA"),
        Flavour::MariaDb => ("STOP SLAVE SQL_THREAD", "START SLAVE"),
    };
    let take_reads = |count: usize| {
        proxy.wait_until("replicas take reads or not", |status| readers(status) == count);
    };
    for replica in ["replica1", "replica2"] {
        cluster.run_on(replica, stop).await;
    }
    take_reads(0);
    let mark = marker("spilled");
    let mut root = cluster.root("primary").await;
    let mut readers = Vec::new();
    for _ in 0..2 {
        readers.push(spawn(&proxy, format!("SELECT SLEEP(300) /* {mark} */")).await);
    }
    eventually("two reads run", Duration::from_secs(20), async || {
        (running(&mut root, &mark).await == 2).then_some(())
    })
    .await;
    // One more gets the error of a full pool; what is no spilled read runs all the same.
    let Err(Error::Server(error)) = conn.query_drop("SELECT 3").await else { panic!("it waits") };
    assert_eq!(error.code, 1040, "{error}");
    assert!(error.message.contains("spill_limit"), "{error}");
    conn.query_drop("INSERT INTO spilled VALUES (1)").await.unwrap();
    conn.query_drop("SELECT 4 /* rwproxy: primary */").await.unwrap();
    conn.query_drop("BEGIN").await.unwrap();
    conn.query_drop("SELECT 5").await.unwrap();
    conn.query_drop("COMMIT").await.unwrap();
    // One that waits runs when another ends.
    let third = marker("third");
    let waiting = spawn(&proxy, format!("SELECT 6 /* {third} */")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    assert_eq!(cluster.count_logged("primary", &third).await, 0);
    let victim: Option<u64> = root
        .exec_first(
            "SELECT MIN(id) FROM information_schema.processlist \
             WHERE info LIKE ? AND id <> CONNECTION_ID()",
            (format!("%{mark}%"),),
        )
        .await
        .unwrap();
    root.query_drop(format!("KILL QUERY {}", victim.expect("it runs"))).await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(cluster.count_logged("primary", &third).await, 1);
    // One that waits goes to a replica when one returns.
    readers.push(spawn(&proxy, format!("SELECT SLEEP(299) /* {mark} */")).await);
    eventually("two reads run again", Duration::from_secs(20), async || {
        (running(&mut root, &mark).await == 2).then_some(())
    })
    .await;
    let fourth = marker("fourth");
    let waiting = spawn(&proxy, format!("SELECT 7 /* {fourth} */")).await;
    for replica in ["replica1", "replica2"] {
        cluster.run_on(replica, start).await;
    }
    waiting.await.unwrap().unwrap();
    take_reads(2);
    assert_eq!(cluster.count_logged("primary", &fourth).await, 0);
    for reader in readers {
        reader.abort();
        let _ = reader.await;
    }
}
