//! Reads see what their session has written, and do not go back in time, whatever the replicas'
//! threads do meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use rwproxy::wire::Capabilities;
use tokio::task::JoinSet;

use crate::support::raw::{Raw, value};
use crate::support::{Cluster, Flavour, Proxy, eventually, marker};

/// So that a replica whose SQL thread stands still is not left out for its lag.
const PATIENT: &str = "[routing]\nmax_lag = \"1h\"\nslow_start = \"0s\"";

const SOON: Duration = Duration::from_secs(10);

fn sql_thread(flavour: Flavour, verb: &str) -> String {
    match flavour {
        Flavour::MySql => format!("{verb} REPLICA SQL_THREAD"),
        Flavour::MariaDb => format!("{verb} SLAVE SQL_THREAD"),
    }
}

/// Has the replicas apply what the primary writes so many seconds later; their threads run on.
async fn delay(cluster: &Cluster, seconds: u32) {
    let change = match cluster.flavour {
        Flavour::MySql => format!("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {seconds}"),
        Flavour::MariaDb => format!("CHANGE MASTER TO MASTER_DELAY = {seconds}"),
    };
    let all = |verb: &str| match cluster.flavour {
        Flavour::MySql => format!("{verb} REPLICA"),
        Flavour::MariaDb => format!("{verb} SLAVE"),
    };
    for replica in ["replica1", "replica2"] {
        cluster.run_all(replica, &[all("STOP"), change.clone(), all("START")]).await;
    }
}

/// All replicas take reads.
async fn take_reads(proxy: &Proxy) {
    proxy.wait_until("reads on both replicas", |status| {
        let backends = status["backends"].as_array().expect("a list");
        backends.iter().filter(|backend| backend["takes_reads"] == 1).count() >= 2
    });
}

crate::on_both_flavours!(a_session_reads_its_own_writes);

/// With delayed replicas nothing but the primary has what is written.
async fn a_session_reads_its_own_writes(flavour: Flavour) {
    let mut cluster = Cluster::breakable(flavour).await;
    cluster.repair().await;
    for statement in [
        "CREATE TABLE IF NOT EXISTS app.own (id INT PRIMARY KEY, v INT)",
        "DELETE FROM app.own",
        "INSERT INTO app.own VALUES (1, 0), (2, 0)",
        "DROP PROCEDURE IF EXISTS app.raise",
        "CREATE PROCEDURE app.raise() UPDATE app.own SET v = v + 1 WHERE id = 1",
        "DROP TABLE IF EXISTS app.own_new",
    ] {
        cluster.run_on("primary", statement).await;
    }
    cluster.settle().await;
    cluster.log_statements().await;
    delay(&cluster, 3600).await;
    let proxy = Proxy::start(&cluster, PATIENT).ready();
    take_reads(&proxy).await;

    let read = "SELECT v FROM own WHERE id = 1";
    let mut conn = proxy.app().await;
    let mut expected = 0;
    for write in [
        "UPDATE own SET v = v + 1 WHERE id = 1",
        "BEGIN; UPDATE own SET v = v + 1 WHERE id = 1; COMMIT",
        "DELETE FROM own WHERE id = 9; UPDATE own SET v = v + 1 WHERE id = 1; SELECT 1",
        "INSERT INTO own VALUES (1, 0) ON DUPLICATE KEY UPDATE v = v + 1",
        "ALTER TABLE own ADD COLUMN IF_NEW INT; UPDATE own SET v = v + 1 WHERE id = 1",
    ] {
        conn.query_drop(write).await.unwrap_or_else(|error| panic!("{write}: {error}"));
        expected += 1;
        let seen: Option<i64> = conn.query_first(read).await.expect("a read");
        assert_eq!(seen, Some(expected), "after {write}");
        let seen: Option<i64> = conn.exec_first(read, ()).await.expect("a prepared read");
        assert_eq!(seen, Some(expected), "prepared, after {write}");
    }
    conn.exec_drop("UPDATE own SET v = v + ? WHERE id = 1", (1,)).await.expect("a prepared write");
    let seen: Option<i64> = conn.query_first(read).await.expect("a read");
    assert_eq!(seen, Some(expected + 1), "after a prepared write");
    // CALL pins; the session that comes back from it must still see its write.
    conn.query_drop("CALL raise()").await.expect("a call");
    conn.reset().await.expect("COM_RESET_CONNECTION");
    let seen: Option<i64> = conn.query_first(read).await.expect("a read");
    assert_eq!(seen, Some(expected + 2), "after a call and a reset");
    // A new table is a write, too: without that a replica would be asked first, to no avail.
    conn.query_drop("CREATE TABLE own_new SELECT 7 AS v").await.expect("a table");
    let seen: Option<i64> = conn.query_first("SELECT v FROM own_new").await.expect("a read");
    assert_eq!(seen, Some(7));

    // A client without DEPRECATE_EOF, whose result sets have no room for GTIDs.
    let mut old = Raw::app(proxy.address, Capabilities::PROTOCOL_41).await;
    old.query("UPDATE own SET v = 100 WHERE id = 2").await;
    let plain = old.query("SELECT v FROM own WHERE id = 2").await;
    assert_eq!(value(&plain, Capabilities::PROTOCOL_41), "100");
    if flavour == Flavour::MariaDb {
        // What this answers with is a result set: the GTID is lost.
        old.query("INSERT INTO own (id, v) VALUES (3, 5) RETURNING id").await;
        let plain = old.query("SELECT v FROM own WHERE id = 3").await;
        assert_eq!(value(&plain, Capabilities::PROTOCOL_41), "5");
    }

    // Others read what the replicas have.
    let other = marker("other");
    let mut conn = proxy.app().await;
    // The first that the `mysql` client asks, of every server; it fails.
    conn.query_drop("select $$").await.expect_err("no such column");
    let seen: Option<i64> =
        conn.query_first(format!("{read} /* {other} */")).await.expect("a read");
    assert_eq!(seen, Some(0));
    assert_eq!(cluster.count_logged("primary", &other).await, 0);

    // And once the replicas have it, the session reads there again.
    delay(&cluster, 0).await;
    cluster.settle().await;
    let mut conn = proxy.app().await;
    let mut value = 1000;
    eventually("reads of what was just written on a replica", SOON, async || {
        value += 1;
        let again = marker("again");
        let write = format!("UPDATE own SET v = {value} WHERE id = 1");
        conn.query_drop(write).await.expect("a write");
        let read = format!("{read} /* {again} */");
        let seen: Option<i64> = conn.query_first(read).await.expect("a read");
        assert_eq!(seen, Some(value));
        (cluster.count_logged("primary", &again).await == 0).then_some(())
    })
    .await;
}

crate::on_both_flavours!(everybody_reads_everybodys_writes);

/// `consistency = "global"`, and scopes between that and `"session"`.
async fn everybody_reads_everybodys_writes(flavour: Flavour) {
    let mut cluster = Cluster::breakable(flavour).await;
    cluster.repair().await;
    for statement in [
        "CREATE TABLE IF NOT EXISTS app.shared (id INT PRIMARY KEY, v INT)",
        "REPLACE INTO app.shared VALUES (1, 0)",
    ] {
        cluster.run_on("primary", statement).await;
    }
    cluster.settle().await;
    for (extra, sees) in [
        ("consistency = \"global\"", true),
        ("token_scope = \"user\"", true),
        ("token_scope = \"database\"", true),
        ("token_scope = \"application\"", true),
        ("token_scope = \"session\"", false),
    ] {
        cluster.run_on("primary", "UPDATE app.shared SET v = 0").await;
        cluster.settle().await;
        let proxy = Proxy::start(&cluster, &format!("{PATIENT}\n{extra}")).ready();
        let mut reader = proxy.app().await;
        reader.query_drop("SELECT v FROM shared").await.expect("a read");
        delay(&cluster, 3600).await;
        take_reads(&proxy).await;
        let mut writer = proxy.app().await;
        writer.query_drop("UPDATE shared SET v = 1").await.expect("a write");
        let seen: Option<i64> = reader.query_first("SELECT v FROM shared").await.expect("a read");
        assert_eq!(seen, Some(i64::from(sees)), "{extra}");
        delay(&cluster, 0).await;
    }
}

/// What all clients of a run share.
struct Run {
    options: Opts,
    end: Instant,
    /// The last value that was acknowledged of the row that all read.
    acknowledged: AtomicU64,
    reads: AtomicU64,
    /// Reads were older than what had to be seen.
    stale: AtomicU64,
    /// Reads were older than the one before.
    backward: AtomicU64,
    stop: AtomicBool,
}

crate::on_both_flavours!(nothing_is_stale_while_replicas_stumble);

/// Writers read back what they have written, readers watch one row; meanwhile the SQL threads stop
/// and start, and wait for locks. `SOAK_SECONDS` of it, ten by default.
async fn nothing_is_stale_while_replicas_stumble(flavour: Flavour) {
    let mut cluster = Cluster::breakable(flavour).await;
    cluster.repair().await;
    for statement in [
        "CREATE TABLE IF NOT EXISTS app.checker (id INT PRIMARY KEY, v BIGINT)",
        "DELETE FROM app.checker",
    ] {
        cluster.run_on("primary", statement).await;
    }
    for id in 0..=8 {
        cluster.run_on("primary", &format!("INSERT INTO app.checker VALUES ({id}, 0)")).await;
    }
    cluster.settle().await;
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let duration = Duration::from_secs(seconds.unwrap_or(10));
    for (extra, stumbles, global) in [
        ("consistency = \"eventual\"", true, false),
        // How long replicas take here is this machine's affair: reads wait for them.
        ("wait = \"1s\"", false, false),
        ("", true, false),
        ("consistency = \"global\"", true, true),
    ] {
        let proxy = Proxy::start(&cluster, &format!("{PATIENT}\n{extra}")).ready();
        let run = Arc::new(Run {
            options: proxy.app_options(),
            end: Instant::now() + duration,
            acknowledged: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            backward: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        cluster.run_on("primary", "UPDATE app.checker SET v = 0").await;
        cluster.settle().await;
        let mut clients = JoinSet::new();
        for id in 1..=8 {
            clients.spawn(write_and_read(run.clone(), id));
            clients.spawn(watch(run.clone(), global));
        }
        clients.spawn(count(run.clone()));
        while Instant::now() < run.end {
            if !stumbles {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            for (replica, still) in [("replica1", 20), ("replica2", 300), ("replica1", 150)] {
                // The monitor sees this one ...
                cluster.run_on(replica, &sql_thread(flavour, "STOP")).await;
                tokio::time::sleep(Duration::from_millis(still)).await;
                cluster.run_on(replica, &sql_thread(flavour, "START")).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                // ... and not this: the thread waits.
                let mut lock = cluster.root(replica).await;
                lock.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("a lock");
                tokio::time::sleep(Duration::from_millis(still)).await;
                let _ = lock.disconnect().await;
            }
        }
        run.stop.store(true, Ordering::Relaxed);
        while let Some(done) = clients.join_next().await {
            done.expect("a client does not fail");
        }
        let reads = run.reads.load(Ordering::Relaxed);
        let (stale, backward) =
            (run.stale.load(Ordering::Relaxed), run.backward.load(Ordering::Relaxed));
        let served = proxy.reads_on_replicas();
        println!(
            "{flavour:?} {extra:?} stumbling {stumbles}: {reads} reads, {served} on replicas, \
             {stale} stale, {backward} backward"
        );
        assert!(reads > 100, "only {reads} reads");
        if extra.contains("eventual") {
            // What is looked for is there to be found.
            assert!(stale > 0 && backward > 0, "{stale} stale, {backward} backward");
            continue;
        }
        assert_eq!((stale, backward), (0, 0), "{extra} of {reads} reads");
        if !stumbles {
            assert!(served * 10 >= reads * 8, "{served} of {reads} reads on replicas");
        }
    }
}

/// Raises a row of its own and reads it back.
async fn write_and_read(run: Arc<Run>, id: u32) {
    let mut conn = Conn::new(run.options.clone()).await.expect("a connection");
    let mut value = 0u64;
    while !run.stop.load(Ordering::Relaxed) {
        value += 1;
        let write = format!("UPDATE checker SET v = {value} WHERE id = {id}");
        match value % 3 {
            0 => {
                conn.query_drop("BEGIN").await.expect("BEGIN");
                conn.query_drop(&write).await.expect("a write");
                conn.query_drop("COMMIT").await.expect("COMMIT");
            }
            1 => conn.query_drop(&write).await.expect("a write"),
            _ => {
                let write = "UPDATE checker SET v = ? WHERE id = ?";
                conn.exec_drop(write, (value, id)).await.expect("a write");
            }
        }
        for _ in 0..3 {
            let read = "SELECT v FROM checker WHERE id = ?";
            let seen: Option<u64> = conn.exec_first(read, (id,)).await.expect("a read");
            run.reads.fetch_add(1, Ordering::Relaxed);
            if seen != Some(value) {
                run.stale.fetch_add(1, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Counts up the row that all watch.
async fn count(run: Arc<Run>) {
    let mut conn = Conn::new(run.options.clone()).await.expect("a connection");
    for value in 1u64.. {
        if run.stop.load(Ordering::Relaxed) {
            return;
        }
        let write = format!("UPDATE checker SET v = {value} WHERE id = 0");
        conn.query_drop(write).await.expect("a write");
        run.acknowledged.store(value, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Reads one row again and again: it never goes back, and in `global` is never older than what
/// was acknowledged before the read.
async fn watch(run: Arc<Run>, global: bool) {
    let mut conn = Conn::new(run.options.clone()).await.expect("a connection");
    let mut last = 0;
    while !run.stop.load(Ordering::Relaxed) {
        let acknowledged = run.acknowledged.load(Ordering::SeqCst);
        let read = "SELECT v FROM checker WHERE id = 0";
        let seen: Option<u64> = conn.query_first(read).await.expect("a read");
        let seen = seen.expect("a row");
        run.reads.fetch_add(1, Ordering::Relaxed);
        if seen < last {
            run.backward.fetch_add(1, Ordering::Relaxed);
        }
        if global && seen < acknowledged {
            run.stale.fetch_add(1, Ordering::Relaxed);
        }
        last = seen;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
