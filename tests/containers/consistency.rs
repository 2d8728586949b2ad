//! Reads see what their session has written, and do not go back in time, whatever the replicas'
//! threads do meanwhile.
//!
//! The checker reads some thousand times; with `CONSISTENCY_READS` so often at consistency `session`
//! and so often at `global` (1,000,000 in `make soak`).

mod checker;
mod network;
pub mod trouble;

use std::time::Duration;

use mysql_async::prelude::Queryable;
use rwproxy::wire::Capabilities;

use crate::support::proxy::readers;
use crate::support::raw::{Raw, value};
use crate::support::{Cluster, Flavour, Proxy, eventually, marker};
use checker::{Check, Found};
use network::Networks;
use trouble::Trouble;

/// So that a replica whose SQL thread stands still is not left out for its lag.
const PATIENT: &str = "[routing]\nmax_lag = \"1h\"\nslow_start = \"0s\"";

const SOON: Duration = Duration::from_secs(10);

/// Has the replicas apply what the primary writes so many seconds later; their threads run on.
async fn delay(cluster: &Cluster, seconds: u32) {
    for replica in trouble::REPLICAS {
        trouble::delay(cluster, replica, seconds).await;
    }
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
    proxy.await_readers(&cluster);

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
        proxy.await_readers(&cluster);
        let mut writer = proxy.app().await;
        writer.query_drop("UPDATE shared SET v = 1").await.expect("a write");
        let seen: Option<i64> = reader.query_first("SELECT v FROM shared").await.expect("a read");
        assert_eq!(seen, Some(i64::from(sees)), "{extra}");
        delay(&cluster, 0).await;
    }
}

/// With semi-synchronous replication a replica shows a transaction before the primary does, which waits
/// for more acknowledgements. (On MySQL alone: a MariaDB cannot be asked what it is committing.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_has_shown_the_primary_does_not_take_back() {
    crate::support::in_time(async {
        let cluster = Cluster::start(Flavour::MySql, &[]);
        let stop_receiver =
            |replica: &'static str| cluster.run_on(replica, "STOP REPLICA IO_THREAD");
        for statement in [
            "CREATE TABLE app.shown (v INT)",
            "INSERT INTO app.shown VALUES (0)",
            "SET GLOBAL rpl_semi_sync_source_wait_for_replica_count = 2",
            "SET GLOBAL rpl_semi_sync_source_timeout = 600000",
        ] {
            cluster.run_on("primary", statement).await;
        }
        cluster.settle().await;
        let proxy = Proxy::start(&cluster, PATIENT).ready();
        stop_receiver("replica2").await;
        let primary = cluster.root("primary").await;
        let writing = tokio::spawn(async move {
            let mut primary = primary;
            primary.query_drop("UPDATE app.shown SET v = 1").await.expect("it is acknowledged");
        });
        let read = "SELECT v FROM shown";
        let mut conn = proxy.app().await;
        eventually("a replica shows it", SOON, async || {
            let seen: Option<i64> = conn.query_first(read).await.expect("a read");
            (seen == Some(1)).then_some(())
        })
        .await;
        stop_receiver("replica1").await;
        proxy.wait_until("no replica takes reads", |status| readers(status) == 0);
        assert!(!writing.is_finished());
        let reading = tokio::spawn(async move {
            let seen: Option<i64> = conn.query_first(read).await.expect("a read");
            seen
        });
        let mut primary = cluster.root("primary").await;
        eventually("the primary is asked for what it commits", SOON, async || {
            let asked = "SELECT COUNT(*) FROM performance_schema.threads \
                 WHERE processlist_info LIKE 'SELECT WAIT\\_FOR\\_EXECUTED%'";
            let asked: Option<u64> = primary.query_first(asked).await.expect("a number");
            (asked == Some(1)).then_some(())
        })
        .await;
        cluster.run_on("primary", "SET GLOBAL rpl_semi_sync_source_enabled = OFF").await;
        assert_eq!(reading.await.expect("a read"), Some(1));
        writing.await.expect("a write");
    })
    .await;
}

crate::on_both_flavours!(nothing_is_stale_while_replicas_stumble);

/// Reads at each consistency unless `CONSISTENCY_READS` says another number.
const READS: u64 = 10_000;
/// How long the network takes to a replica where the share of its reads is counted.
const ON_THE_WAY: Duration = Duration::from_millis(10);

/// Writers read back what they have written, readers watch one row; meanwhile the replicas stumble.
async fn nothing_is_stale_while_replicas_stumble(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &[]);
    checker::make_tables(&cluster).await;
    trouble::make_tables(&cluster).await;
    // A commit that waits for replicas would hide how late they are.
    trouble::replicate_asynchronously(&cluster).await;
    let networks = Networks::lay(&cluster).await;
    let wanted = std::env::var("CONSISTENCY_READS").ok();
    let wanted: Option<u64> = wanted.map(|text| text.parse().expect("a number of reads"));
    let reads = wanted.unwrap_or(READS);

    // What is looked for is there to be found.
    let found = check(&cluster, &networks, "consistency = \"eventual\"", READS / 2).await;
    assert!(found.stale > 0 && found.backward > 0, "{found}");

    check(&cluster, &networks, "", reads).await.expect_none();
    check(&cluster, &networks, "consistency = \"global\"", reads).await.expect_none();
    let own = "[pool]\nmode = \"session\"";
    check(&cluster, &networks, own, reads / 10).await.expect_none();

    networks.delay(ON_THE_WAY);
    let (least, median) = network::measure(&cluster).await;
    assert!(least >= ON_THE_WAY, "what is written arrives after {least:?}");
    // How long replicas take in a short test is this machine's affair: reads wait for them.
    let patience = if wanted.is_some() { "" } else { "wait = \"1s\"" };
    let proxy = Proxy::start(&cluster, &format!("{PATIENT}\n{patience}")).ready();
    let mut running = Check::start(&cluster, &proxy, Check::sees(patience)).await;
    running.until(reads / 10).await;
    let found = running.stop().await;
    println!("{flavour:?} {patience:?}, {median:?} behind: {found}");
    found.expect_none();
    assert!(found.share() >= 0.8, "too few reads on replicas: {found}");
}

/// Checks at least so many reads, under all troubles at least once.
async fn check(cluster: &Cluster, networks: &Networks, extra: &str, reads: u64) -> Found {
    let proxy = Proxy::start(cluster, &format!("{PATIENT}\n{extra}")).ready();
    let mut running = Check::start(cluster, &proxy, Check::sees(extra)).await;
    let mut troubles = 0;
    while running.reads() < reads || troubles == 0 {
        for trouble in Trouble::ALL {
            for replica in trouble::REPLICAS {
                trouble.bring(cluster, networks, replica).await;
            }
            troubles += 1;
        }
        running.expect_progress();
    }
    let found = running.stop().await;
    println!("{:?} {extra:?}, {troubles} troubles: {found}", cluster.flavour);
    found
}
