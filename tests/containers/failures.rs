//! What clients notice when a replica fails under load: nothing. Reads go elsewhere at once, by
//! the servers' own general logs, and come back.

mod traffic;

use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::sync::MutexGuard;
use tokio::time::sleep;

use crate::support::chaos::{docker, docker_event};
use crate::support::tag::{Place, Tags, now, sent_at};
use crate::support::{Cluster, Flavour, Proxy, eventually};
use traffic::Traffic;

crate::on_both_flavours!(a_stopped_replica);
crate::on_both_flavours!(a_paused_replica);
crate::on_both_flavours!(a_killed_replica);
crate::on_both_flavours!(a_replica_that_does_not_apply);
crate::on_both_flavours!(a_replica_that_does_not_receive);
crate::on_both_flavours!(a_replica_that_lags);

/// From the daemon's event to the last read that may be sent to the container.
const AFTER_EVENT: Duration = Duration::from_millis(100);
/// The default of `routing.max_lag`.
const MAX_LAG: Duration = Duration::from_secs(2);
/// From `max_lag` to the last read that may be sent to a replica.
const AFTER_LAG: Duration = Duration::from_secs(1);
/// How long a replica stays paused.
const PAUSED: Duration = Duration::from_secs(8);
/// Longer than any read may take that was running, or about to, on a server that goes away, on a
/// machine however busy; shorter than [`PAUSED`], or one that waits for its server's return would
/// not be noticed.
const SLOWEST: Duration = Duration::from_secs(6);
/// Patience for a replica to take reads again: its server's start, the catching up, the samples.
const RETURN: Duration = Duration::from_secs(40);

async fn a_stopped_replica(flavour: Flavour) {
    let mut scene = Scene::set(flavour).await;
    let died = docker_event(&["stop", "--time", "10"], &scene.container, "die").await;
    sleep(Duration::from_secs(1)).await;
    let started = scene.start_again().await;
    scene.returns(started).await;
    scene.took_no_reads(died + AFTER_EVENT, started).await;
    scene.end().await;
}

async fn a_paused_replica(flavour: Flavour) {
    let scene = Scene::set(flavour).await;
    let paused = docker_event(&["pause"], &scene.container, "pause").await;
    sleep(PAUSED).await;
    let resumed = now();
    docker(&["unpause", &scene.container]).await;
    scene.returns(resumed).await;
    scene.took_no_reads(paused + AFTER_EVENT, resumed).await;
    scene.end().await;
}

async fn a_killed_replica(flavour: Flavour) {
    let mut scene = Scene::set(flavour).await;
    let died = docker_event(&["kill"], &scene.container, "die").await;
    sleep(Duration::from_secs(1)).await;
    let started = scene.start_again().await;
    scene.returns(started).await;
    scene.took_no_reads(died + AFTER_EVENT, started).await;
    scene.end().await;
}

async fn a_replica_that_does_not_apply(flavour: Flavour) {
    a_stopped_thread(flavour, "SQL_THREAD").await;
}

async fn a_replica_that_does_not_receive(flavour: Flavour) {
    a_stopped_thread(flavour, "IO_THREAD").await;
}

async fn a_stopped_thread(flavour: Flavour, thread: &str) {
    let word = match flavour {
        Flavour::MySql => "REPLICA",
        Flavour::MariaDb => "SLAVE",
    };
    let scene = Scene::set(flavour).await;
    let running: Vec<_> =
        (0..4).map(|_| scene.traffic.long_read(MAX_LAG + AFTER_LAG * 2)).collect();
    sleep(Duration::from_millis(500)).await;
    scene.cluster.run_on(FAILING, &format!("STOP {word} {thread}")).await;
    let stopped = now();
    for read in running {
        read.await.expect("a client does not panic").expect("what is running finishes");
    }
    sleep(AFTER_LAG).await;
    let started = now();
    scene.cluster.run_on(FAILING, &format!("START {word} {thread}")).await;
    scene.returns(started).await;
    scene.took_no_reads(stopped + MAX_LAG + AFTER_LAG, started).await;
    scene.end().await;
}

/// The replica's threads run; it waits for a lock, as behind a long transaction.
async fn a_replica_that_lags(flavour: Flavour) {
    let scene = Scene::set(flavour).await;
    let mut conn = scene.cluster.root(FAILING).await;
    conn.query_drop("BEGIN").await.unwrap();
    conn.query_drop("SELECT v FROM app.failures WHERE id = 0 LOCK IN SHARE MODE").await.unwrap();
    let locked = now();
    sleep(MAX_LAG + AFTER_LAG * 4).await;
    let released = now();
    conn.query_drop("ROLLBACK").await.unwrap();
    scene.returns(released).await;
    assert!(
        scene.reads(locked, locked + MAX_LAG / 2).await > 0,
        "a little lag is no reason to leave a replica out"
    );
    scene.took_no_reads(locked + MAX_LAG + AFTER_LAG, released).await;
    scene.end().await;
}

/// The server that fails.
const FAILING: &str = "replica1";

/// A sound cluster with a proxy and traffic, which reaches both replicas.
struct Scene {
    cluster: MutexGuard<'static, Cluster>,
    /// Of the server that fails.
    container: String,
    tags: Tags,
    traffic: Traffic,
    proxy: Proxy,
}

impl Scene {
    async fn set(flavour: Flavour) -> Self {
        let mut cluster = Cluster::breakable(flavour).await;
        cluster.repair().await;
        let mut conn = cluster.root("primary").await;
        let rows: Vec<_> = (0..traffic::ROWS).map(|id| format!("({id}, 0)")).collect();
        for statement in [
            "CREATE TABLE IF NOT EXISTS app.failures (id INT PRIMARY KEY, v INT)".to_owned(),
            format!("REPLACE INTO app.failures VALUES {}", rows.join(", ")),
        ] {
            conn.query_drop(statement).await.expect("the table is made");
        }
        cluster.settle().await;
        cluster.log_statements().await;
        // One is another runtime than several.
        let threads = match flavour {
            Flavour::MySql => "[listen]\nthreads = 2",
            Flavour::MariaDb => "[listen]\nthreads = 1",
        };
        let proxy = Proxy::start(&cluster, threads);
        let tags = Tags::new();
        let traffic = Traffic::start(proxy.app_options(), tags.clone());
        let container = cluster.server(FAILING).container.clone();
        let scene = Scene { cluster, container, tags, traffic, proxy };
        scene.returns(Duration::ZERO).await;
        // Long enough for the slow start of a replica that has just been found.
        sleep(Duration::from_secs(1)).await;
        scene
    }

    /// How many reads sent in this span, since 1970, have reached the failing server.
    async fn reads(&self, from: Duration, to: Duration) -> usize {
        let logged = self.tags.logged(&self.cluster, FAILING).await;
        logged
            .iter()
            .filter(|logged| logged.place == Place::Replica)
            .filter(|logged| (from..to).contains(&sent_at(logged)))
            .count()
    }

    async fn took_no_reads(&self, from: Duration, to: Duration) {
        assert!(from < to, "the failure lasted too short a time to tell");
        let strays = self.reads(from, to).await;
        assert_eq!(strays, 0, "reads sent to {FAILING} when it should have had none");
    }

    /// Waits until the failing server gets reads that were sent after `since`.
    async fn returns(&self, since: Duration) {
        eventually("reads on the replica", RETURN, async || {
            sleep(Duration::from_millis(200)).await;
            (self.reads(since, now()).await > 0).then_some(())
        })
        .await;
    }

    /// Starts the failing server's container; when that was, since 1970.
    async fn start_again(&mut self) -> Duration {
        let started = now();
        docker(&["start", &self.container]).await;
        self.cluster.refresh();
        self.cluster.await_server(FAILING).await;
        self.cluster.log_statements().await;
        started
    }

    /// Nobody has noticed anything.
    async fn end(self) {
        let report = self.traffic.end().await;
        assert!(report.failures.is_empty(), "{:#?}", report.failures);
        assert!(report.answered > 0 && report.slowest < SLOWEST, "{report:?}");
        drop(self.proxy);
    }
}
