//! Networks that break between the proxy and the primary, or between the primary and its replicas,
//! without a word to anybody. The servers are well meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::consistency::trouble::replicate_asynchronously;
use crate::lag::{Beat, Watched};
use crate::support::partition::Partition;
use crate::support::proxy::readers;
use crate::support::writers::{self, Writers};
use crate::support::{Cluster, Flavour, Proxy, eventually, marker};

crate::on_both_flavours!(the_primary_is_lost_to_the_proxy_alone);
crate::on_both_flavours!(the_primary_is_lost_to_its_replicas_alone);
crate::on_both_flavours!(a_single_connection_is_lost);

/// Longer than the networks here are broken.
const PATIENT: &str = "[routing]\nwrite_hold = \"30s\"";
/// So long that whoever sends again what was not acknowledged waits for seconds before he does it
/// once more.
const CUT: Duration = Duration::from_secs(8);
/// Patience for what the network itself takes to notice that it is well again.
const RETURN: Duration = Duration::from_secs(30);

/// Clients that read all the time, and may not notice anything.
struct Readers {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: JoinSet<()>,
}

impl Readers {
    fn start(proxy: &Proxy) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let (stop, done, options) = (stop.clone(), done.clone(), proxy.app_options());
            clients.spawn(async move {
                let mut conn = Conn::new(options).await.expect("a client");
                while !stop.load(Ordering::Relaxed) {
                    let read = conn.query_drop("SELECT v FROM app.cell WHERE id = 1");
                    timeout(RETURN, read).await.expect("an answer").expect("a read");
                    done.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(5)).await;
                }
            });
        }
        Readers { stop, done, clients }
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a reader has noticed nothing");
        }
    }
}

fn is_stopped(status: &Value) -> bool {
    status["writes"]["stopped"].is_string()
}

fn is_written(status: &Value) -> bool {
    status["writes"]["to"].is_string()
}

async fn value(conn: &mut Conn, id: u32) -> Option<i64> {
    conn.query_first(format!("SELECT v FROM app.cell WHERE id = {id}")).await.expect("a read")
}

/// The code of a server's error.
fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> u16 {
    match result.expect_err("an error") {
        Error::Server(error) => error.code,
        error => panic!("not the server's word: {error}"),
    }
}

async fn make_cells(cluster: &Cluster) {
    let table = "CREATE TABLE app.cell (id INT PRIMARY KEY, v BIGINT NOT NULL)";
    cluster.run_on("primary", table).await;
    cluster.run_on("primary", "INSERT INTO app.cell VALUES (1, 0), (2, 0), (3, 0)").await;
}

async fn the_primary_is_lost_to_the_proxy_alone(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &[]);
    cluster.run_on("primary", writers::TABLE).await;
    make_cells(&cluster).await;
    cluster.settle().await;
    cluster.log_statements().await;
    let proxy = Proxy::start(&cluster, PATIENT);
    // Where nobody else takes a session's last connection.
    let quiet = Proxy::start(&cluster, PATIENT);
    let hasty = Proxy::start(&cluster, "[routing]\nwrite_hold = \"1s\"");
    let (mut idle, mut early, mut open) = (proxy.app().await, quiet.app().await, proxy.app().await);
    let mut refused = hasty.app().await;
    let readers = Readers::start(&proxy);
    let writers = Writers::start(&proxy, false);
    writers.go_on().await;
    open.query_drop("BEGIN").await.expect("a transaction");
    open.query_drop("UPDATE app.cell SET v = 1 WHERE id = 2").await.expect("it locks a row");
    early.query_drop("UPDATE app.cell SET v = 1 WHERE id = 1").await.expect("a write");

    let began = Instant::now();
    let partition = Partition::between(&cluster.primary().container, &[&cluster.gateway()]);
    // On the wire, which does not carry it.
    let lost = code(early.query_drop("UPDATE app.cell SET v = 2 WHERE id = 1").await);
    assert_eq!(lost, 1317, "whether it was done nobody knows");
    for proxy in [&proxy, &quiet, &hasty] {
        proxy.wait_until("writes are stopped", is_stopped);
    }
    let noticed = began.elapsed();
    let error = refused.query_drop("UPDATE app.cell SET v = 9 WHERE id = 3").await;
    assert_eq!(code(error), 1290, "it has waited for write_hold");
    let read = readers.done();
    let held = [
        tokio::spawn(async move {
            idle.query_drop("UPDATE app.cell SET v = v + 1 WHERE id = 3").await.expect("a write");
        }),
        tokio::spawn(async move {
            early.query_drop("UPDATE app.cell SET v = 3 WHERE id = 1").await.expect("a write");
        }),
    ];
    sleep(CUT.saturating_sub(began.elapsed())).await;
    assert!(held.iter().all(|write| !write.is_finished()), "writes wait");
    assert!(readers.done() > read + 100, "reads go on: {}", readers.done() - read);
    partition.heal();
    let healed = Instant::now();
    proxy.wait_until("writes go on", is_written);
    for write in held {
        timeout(RETURN, write).await.expect("it waits no more").expect("a write");
    }
    eprintln!(
        "{flavour:?}: noticed after {} ms, written {} ms after the network was whole",
        noticed.as_millis(),
        healed.elapsed().as_millis()
    );
    writers.go_on().await;
    assert_eq!(code(open.query_drop("COMMIT").await), 1213, "it was rolled back");
    // What it has locked is free.
    let mut other = proxy.app().await;
    let write = other.query_drop("UPDATE app.cell SET v = 5 WHERE id = 2");
    timeout(RETURN, write).await.expect("the row is free").expect("a write");
    let outcome = writers.end().await;
    outcome.assert_unknown_at_most();
    assert!(outcome.most_unknown <= 1, "{} unknown outcomes in one session", outcome.most_unknown);
    readers.end().await;

    // Long enough for whatever is still on its way.
    sleep((CUT * 2).saturating_sub(healed.elapsed())).await;
    cluster.settle().await;
    let mut primary = cluster.root("primary").await;
    for (id, last, why) in [
        (1, 3, "what was given up came behind what its session wrote later"),
        (2, 5, "a transaction that was lost was committed"),
        (3, 1, "a write that was held was done twice, or one that was refused"),
    ] {
        assert_eq!(value(&mut primary, id).await, Some(last), "{why}");
    }
    for server in &cluster.servers {
        outcome.assert_on(&cluster, &server.server).await;
    }
    let left: Option<u64> = primary
        .query_first(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app' AND \
             COMMAND <> 'Sleep'",
        )
        .await
        .expect("a list");
    assert_eq!(left, Some(0), "statements go on for nobody");
}

/// Nothing is refused anywhere, and the replicas' threads say that they run.
async fn the_primary_is_lost_to_its_replicas_alone(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &[]);
    cluster.run_on("primary", writers::TABLE).await;
    make_cells(&cluster).await;
    Beat::prepare(&cluster).await;
    let timeout = match flavour {
        Flavour::MySql => "rpl_semi_sync_source_timeout",
        Flavour::MariaDb => "rpl_semi_sync_master_timeout",
    };
    cluster.run_on("primary", &format!("SET GLOBAL {timeout} = 500")).await;
    cluster.settle().await;
    cluster.log_statements().await;
    let proxy = Proxy::start(&cluster, "[routing]\nslow_start = \"0s\"");
    let readers = Readers::start(&proxy);
    let writers = Writers::start(&proxy, true);
    let beat = Beat::start(&cluster).await;
    let mut watched = Watched::start(&cluster, &proxy, "replica1").await;
    writers.go_on().await;

    let replicas: Vec<&str> = cluster.replicas().map(|replica| &*replica.ip).collect();
    let cut = || Partition::between(&cluster.primary().container, &replicas);
    // Commits wait for acknowledgements, and after a while no more.
    let partition = cut();
    writers.go_on().await;
    partition.heal();
    both_take_reads(&proxy).await;

    // What is written is seen at once, and so is missing on the replicas.
    replicate_asynchronously(&cluster).await;
    drop(beat);
    let _beat = Beat::start(&cluster).await;
    let began = Instant::now();
    let partition = cut();
    eventually("the replicas get nothing", RETURN, async || {
        (watched.truth().await > 1000.0).then_some(())
    })
    .await;
    watched.compare_growth(&format!("{flavour:?}, cut off from the primary")).await;
    proxy.wait_until("stale replicas take no reads", |status| {
        let mut backends = status["backends"].as_array().expect("a list").iter();
        backends.all(|it| {
            it["role"] == "primary"
                || (it["takes_reads"] == 0 && it["why_not"].to_string().contains("max_lag"))
        })
    });
    let marker = marker("stale");
    let mut session = proxy.app().await;
    for _ in 0..20 {
        session.query_drop(format!("SELECT '{marker}' FROM app.cell")).await.expect("a read");
    }
    assert_eq!(cluster.count_logged("primary", &marker).await, 20);
    for replica in ["replica1", "replica2"] {
        assert_eq!(cluster.count_logged(replica, &marker).await, 0, "{replica} is stale");
    }
    writers.go_on().await;
    sleep(CUT.saturating_sub(began.elapsed())).await;
    partition.heal();
    both_take_reads(&proxy).await;
    writers.go_on().await;
    readers.end().await;
    let outcome = writers.end().await;
    outcome.assert_no_errors();
    cluster.settle().await;
    for server in &cluster.servers {
        outcome.assert_on(&cluster, &server.server).await;
    }
}

async fn both_take_reads(proxy: &Proxy) {
    eventually("both replicas take reads", RETURN * 2, async || {
        (readers(&proxy.status()) == 2).then_some(())
    })
    .await;
}

/// As when a firewall has forgotten it: its packets vanish, those of all others pass. The servers are
/// up, so that nobody but the connection itself can tell.
async fn a_single_connection_is_lost(flavour: Flavour) {
    /// From the first packet that vanishes to the answer.
    const NOTICED: Duration = Duration::from_secs(60);
    let cluster = Cluster::start(flavour, &["REPLICAS=1"]);
    make_cells(&cluster).await;
    cluster.settle().await;
    let proxy = Proxy::start(&cluster, "");
    let (mut session, mut open) = (proxy.app().await, proxy.app().await);
    session.query_drop("UPDATE app.cell SET v = 1 WHERE id = 1").await.expect("a write");
    eventually("it reads on the replica", RETURN, async || {
        value(&mut session, 1).await;
        (proxy.reads_on_replicas() > 0).then_some(())
    })
    .await;
    open.query_drop("BEGIN").await.expect("a transaction");
    open.query_drop("UPDATE app.cell SET v = 1 WHERE id = 2").await.expect("it locks a row");

    let gateway = cluster.gateway();
    let cut = async |server: &str| {
        let ports = ports(&cluster, server).await;
        assert!(!ports.is_empty(), "{server} has clients");
        Partition::of_connections(&cluster.server(server).container, &gateway, &ports)
    };
    let partitions = [cut("primary").await, cut("replica1").await];
    let began = Instant::now();
    let (read, lost) = tokio::join!(
        timeout(NOTICED, value(&mut session, 1)),
        timeout(NOTICED, open.query_drop("UPDATE app.cell SET v = 2 WHERE id = 2")),
    );
    assert_eq!(read.expect("a read is answered"), Some(1), "it was done elsewhere");
    assert_eq!(code(lost.expect("a statement is answered")), 1213, "the transaction is gone");
    eprintln!("{flavour:?}: noticed after {} s", began.elapsed().as_secs());
    // The server has not been told by the lost connection, and lets go of the row all the same.
    let mut other = proxy.app().await;
    let write = other.query_drop("UPDATE app.cell SET v = 5 WHERE id = 2");
    timeout(NOTICED, write).await.expect("the row is free").expect("a write");
    // Both go on, over other connections.
    open.query_drop("UPDATE app.cell SET v = v + 1 WHERE id = 2").await.expect("a write");
    assert_eq!(value(&mut session, 1).await, Some(1));
    assert_eq!(value(&mut open, 2).await, Some(6));
    drop(partitions);
}

/// The ports of the proxy's connections for its clients to a server.
async fn ports(cluster: &Cluster, server: &str) -> Vec<u16> {
    let hosts: Vec<String> = cluster
        .root(server)
        .await
        .query("SELECT HOST FROM information_schema.PROCESSLIST WHERE USER = 'app'")
        .await
        .expect("a list");
    let port = |host: String| host.rsplit(':').next().and_then(|port| port.parse().ok());
    hosts.into_iter().map(|host| port(host).expect("an address with a port")).collect()
}
