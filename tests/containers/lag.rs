//! The lag that the console shows against the truth: a time written to the primary every 20 ms, as
//! the replica has it. The servers share one clock.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use tokio::task::JoinHandle;

use crate::consistency::trouble::replicate_asynchronously;
use crate::support::{Cluster, Flavour, Proxy, eventually};

const PATIENCE: Duration = Duration::from_secs(30);
/// Half of the samples must be as near as this. Single ones need not be: the machine may be busy.
const NEAR: f64 = 250.0;
/// Samples of each kind of lag, 50 ms apart.
const SAMPLES: usize = 60;

/// Writes the time every 20 ms until it is dropped.
pub struct Beat(JoinHandle<()>);

impl Beat {
    /// Has the table made and the first time written.
    pub async fn prepare(cluster: &Cluster) {
        let table = "CREATE TABLE app.beat (id INT PRIMARY KEY, written TIMESTAMP(6) NOT NULL)";
        cluster.run_on("primary", table).await;
        cluster.run_on("primary", "REPLACE INTO app.beat VALUES (1, NOW(6))").await;
    }

    pub async fn start(cluster: &Cluster) -> Self {
        let mut primary = cluster.root("primary").await;
        Beat(tokio::spawn(async move {
            loop {
                let write = primary.query_drop("REPLACE INTO app.beat VALUES (1, NOW(6))").await;
                write.expect("a write");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }))
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A replica and what is said of it.
pub struct Watched {
    replica: Conn,
    console: Conn,
    server: &'static str,
}

impl Watched {
    pub async fn start(cluster: &Cluster, proxy: &Proxy, server: &'static str) -> Self {
        Watched { replica: cluster.root(server).await, console: proxy.console().await, server }
    }

    /// How old what the replica has is, milliseconds.
    pub async fn truth(&mut self) -> f64 {
        let sql = "SELECT TIMESTAMPDIFF(MICROSECOND, written, NOW(6)) FROM app.beat";
        let micros: Option<i64> = self.replica.query_first(sql).await.expect("an age");
        micros.expect("a row") as f64 / 1e3
    }

    /// What the console shows, milliseconds.
    async fn shown(&mut self) -> f64 {
        let rows: Vec<Row> = self.console.query("SHOW BACKENDS").await.expect("a table");
        let ending = format!("-{}", self.server);
        let is_it =
            |row: &&Row| row.get::<String, _>("name").is_some_and(|it| it.ends_with(&ending));
        let row = rows.iter().find(is_it).expect("the replica");
        row.get::<Option<u64>, _>("lag_ms").flatten().expect("a lag") as f64
    }

    /// `(truth, shown)`, the truth being that of right before and right after.
    async fn samples(&mut self) -> Vec<(f64, f64)> {
        let mut samples = Vec::new();
        while samples.len() < SAMPLES {
            let before = self.truth().await;
            let shown = self.shown().await;
            samples.push(((before + self.truth().await) / 2.0, shown));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        samples
    }

    /// Takes samples, and compares half of them or more.
    async fn compare(&mut self, what: &str) -> Vec<(f64, f64)> {
        let samples = self.samples().await;
        let error = median(samples.iter().map(|(truth, shown)| (shown - truth).abs()));
        let bias = median(samples.iter().map(|(truth, shown)| shown - truth));
        let truth = median(samples.iter().map(|(truth, _)| *truth));
        println!("{what}: lag {truth:.0} ms, shown with an error of {error:.0} ms ({bias:+.0} ms)");
        assert!(error < NEAR, "{what}: an error of {error} ms: {samples:.0?}");
        samples
    }

    /// Takes samples of a lag that grows, and compares how it does. By how much it falls short of the
    /// age of what the replica has is decided when the lag begins, by how long the primary then had
    /// nobody look at it; where that moment itself is a busy one this says nothing of the proxy.
    pub async fn compare_growth(&mut self, what: &str) {
        let samples = self.samples().await;
        // Of what the replica had got before, it may have had some to apply yet.
        let least = samples.iter().map(|(truth, _)| *truth).fold(f64::INFINITY, f64::min);
        let begins = samples.iter().position(|(truth, _)| *truth == least).expect("a sample");
        let samples = &samples[begins..];
        assert!(samples.len() > SAMPLES / 2, "{what}: the replica goes on applying: {begins}");
        let bias = median(samples.iter().map(|(truth, shown)| shown - truth));
        let off = |(truth, shown): &(f64, f64)| (shown - truth - bias).abs();
        let error = median(samples.iter().map(off));
        let (first, last) = (samples[0], samples[samples.len() - 1]);
        let grown = ((last.1 - first.1) - (last.0 - first.0)).abs();
        println!(
            "{what}: {bias:+.0} ms, grows with an error of {error:.0} ms, {grown:.0} ms at last"
        );
        assert!(bias < NEAR, "{what}: overstated: {samples:.0?}");
        assert!(error < NEAR && grown < 2.0 * NEAR, "{what}: it does not grow: {samples:.0?}");
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

crate::on_both_flavours!(lag_is_shown_as_it_is);

async fn lag_is_shown_as_it_is(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &["REPLICAS=2"]);
    Beat::prepare(&cluster).await;
    cluster.settle().await;
    let proxy = Proxy::start(&cluster, "");
    let beat = Beat::start(&cluster).await;

    let mut first = Watched::start(&cluster, &proxy, "replica1").await;
    let mut second = Watched::start(&cluster, &proxy, "replica2").await;
    first.compare(&format!("{flavour:?}, no delay")).await;
    for seconds in [1, 5] {
        delay(&cluster, "replica2", seconds).await;
        // Servers count delays in whole seconds, from the second in which something was written:
        // what a replica has is up to a second older or newer than it was told.
        let least = f64::from(seconds) * 800.0;
        eventually("the delay has begun", PATIENCE, async || {
            (second.truth().await >= least).then_some(())
        })
        .await;
        let samples = second.compare(&format!("{flavour:?}, told to lag {seconds} s")).await;
        let greatest = samples.iter().map(|(truth, _)| *truth).fold(0.0, f64::max);
        assert!(greatest >= least, "it lagged {greatest} ms at most");
    }

    cluster.run_on("replica1", "STOP REPLICA IO_THREAD").await;
    let samples = first.compare(&format!("{flavour:?}, IO thread stopped on a busy primary")).await;
    let shown = |at: usize| samples[at].1;
    assert!(shown(SAMPLES - 1) > shown(0), "it does not grow: {samples:.0?}");
    cluster.run_on("replica1", "START REPLICA IO_THREAD").await;
    first_caught_up(&mut first).await;

    // Nothing is written any more: a replica that has everything lags by nothing, however long ago
    // the last write was, and whether it receives or not.
    drop(beat);
    cluster.settle().await;
    cluster.run_on("replica1", "STOP REPLICA IO_THREAD").await;
    first_caught_up(&mut first).await;
    let samples = first.samples().await;
    assert!(samples.iter().all(|(_, shown)| *shown == 0.0), "nothing is missing: {samples:.0?}");
    // What it then misses counts from when it was written.
    let mut primary = cluster.root("primary").await;
    primary.query_drop("REPLACE INTO app.beat VALUES (1, NOW(6))").await.expect("a write");
    let mut errors = Vec::new();
    while errors.len() < SAMPLES {
        let sql = "SELECT TIMESTAMPDIFF(MICROSECOND, written, NOW(6)) FROM app.beat";
        let age: Option<f64> = primary.query_first(sql).await.expect("an age");
        errors.push((first.shown().await - age.expect("a row") / 1e3).abs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = median(errors.iter().copied());
    println!("{flavour:?}, one write missing: shown with an error of {error:.0} ms");
    assert!(error < NEAR, "one write is missing: {errors:.0?}");
}

/// Half a minute late, for longer than the samples of the primary's position are kept as they came.
mod half_a_minute_is_shown_as_it_is {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "two minutes: make cluster"]
    async fn mysql() {
        half_a_minute_is_shown_as_it_is(Flavour::MySql).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "two minutes: make cluster"]
    async fn mariadb() {
        half_a_minute_is_shown_as_it_is(Flavour::MariaDb).await;
    }
}

async fn half_a_minute_is_shown_as_it_is(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &["REPLICAS=2"]);
    // A write that waits for a replica is seen by nobody, and so is missing nowhere.
    replicate_asynchronously(&cluster).await;
    Beat::prepare(&cluster).await;
    cluster.settle().await;
    let proxy = Proxy::start(&cluster, "");
    let _beat = Beat::start(&cluster).await;
    let mut delayed = Watched::start(&cluster, &proxy, "replica1").await;
    let mut stopped = Watched::start(&cluster, &proxy, "replica2").await;
    delay(&cluster, "replica1", 30).await;
    cluster.run_on("replica2", "STOP REPLICA IO_THREAD").await;
    eventually("both are half a minute late", PATIENCE * 4, async || {
        let late = delayed.truth().await >= 29_000.0 && stopped.truth().await >= 29_000.0;
        late.then_some(())
    })
    .await;
    delayed.compare(&format!("{flavour:?}, told to lag 30 s")).await;
    stopped.compare(&format!("{flavour:?}, IO thread stopped for half a minute")).await;
}

async fn first_caught_up(first: &mut Watched) {
    eventually("replica1 has caught up", PATIENCE, async || {
        (first.shown().await == 0.0).then_some(())
    })
    .await;
}

async fn delay(cluster: &Cluster, server: &str, seconds: u32) {
    let set = match cluster.flavour {
        Flavour::MySql => format!("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {seconds}"),
        Flavour::MariaDb => format!("CHANGE MASTER TO MASTER_DELAY = {seconds}"),
    };
    cluster.run_all(server, &["STOP REPLICA".to_owned(), set, "START REPLICA".to_owned()]).await;
}
