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

use crate::support::partition::Partition;
use crate::support::writers::{self, Writers};
use crate::support::{Cluster, Flavour, Proxy};

crate::on_both_flavours!(the_primary_is_lost_to_the_proxy_alone);

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

async fn the_primary_is_lost_to_the_proxy_alone(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &[]);
    cluster.run_on("primary", writers::TABLE).await;
    let table = "CREATE TABLE app.cell (id INT PRIMARY KEY, v BIGINT NOT NULL)";
    cluster.run_on("primary", table).await;
    cluster.run_on("primary", "INSERT INTO app.cell VALUES (1, 0), (2, 0), (3, 0)").await;
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
