//! Clients that write increasing values and read them back, and what they find.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use tokio::task::JoinSet;

use crate::support::{Cluster, Proxy};

/// Clients that read back what they have written, and clients that watch what another one writes.
const WRITERS: u32 = 8;
const WATCHERS: u32 = 16;
/// Clients that read nothing for this long have stopped.
const STALLED: Duration = Duration::from_secs(60);

/// What a read has to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    /// What its session has written.
    Own,
    /// What anybody has written.
    Everything,
}

/// What all clients share.
struct Shared {
    options: Opts,
    sees: Sees,
    /// The last value that was acknowledged of the row that all watch.
    acknowledged: AtomicU64,
    reads: AtomicU64,
    /// Reads were older than what had to be seen.
    stale: AtomicU64,
    /// Reads were older than the one before.
    backward: AtomicU64,
    stop: AtomicBool,
}

/// Clients at work.
pub struct Check<'a> {
    proxy: &'a Proxy,
    shared: Arc<Shared>,
    clients: JoinSet<()>,
    /// When the number of reads was last seen to have grown, and to how many.
    progress: (Instant, u64),
    on_replicas_before: u64,
}

/// What they have found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub reads: u64,
    pub on_replicas: u64,
    pub stale: u64,
    pub backward: u64,
}

/// The rows that the clients use.
pub async fn make_tables(cluster: &Cluster) {
    let table = "CREATE TABLE app.checker (id INT PRIMARY KEY, v BIGINT)";
    cluster.run_on("primary", table).await;
    for id in 0..=WRITERS {
        cluster.run_on("primary", &format!("INSERT INTO app.checker VALUES ({id}, 0)")).await;
    }
    cluster.settle().await;
}

impl<'a> Check<'a> {
    /// What reads see under these settings.
    pub fn sees(settings: &str) -> Sees {
        match settings.contains("\"global\"") {
            true => Sees::Everything,
            false => Sees::Own,
        }
    }

    pub async fn start(cluster: &Cluster, proxy: &'a Proxy, sees: Sees) -> Self {
        cluster.run_on("primary", "UPDATE app.checker SET v = 0").await;
        cluster.settle().await;
        let shared = Arc::new(Shared {
            options: proxy.app_options(),
            sees,
            acknowledged: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            backward: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let on_replicas_before = proxy.reads_on_replicas();
        let mut clients = JoinSet::new();
        for id in 1..=WRITERS {
            clients.spawn(write_and_read(shared.clone(), id));
        }
        for _ in 0..WATCHERS {
            clients.spawn(watch(shared.clone()));
        }
        clients.spawn(count(shared.clone()));
        Check { proxy, shared, clients, progress: (Instant::now(), 0), on_replicas_before }
    }

    pub fn reads(&self) -> u64 {
        self.shared.reads.load(Ordering::Relaxed)
    }

    /// Fails if nothing is read any more.
    pub fn expect_progress(&mut self) {
        let reads = self.reads();
        if reads > self.progress.1 {
            self.progress = (Instant::now(), reads);
        }
        assert!(self.progress.0.elapsed() < STALLED, "no read after {reads}");
    }

    /// Waits until there are so many reads.
    pub async fn until(&mut self, reads: u64) {
        while self.reads() < reads {
            self.expect_progress();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the clients; what they have found.
    pub async fn stop(mut self) -> Found {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(done) = self.clients.join_next().await {
            done.expect("a client does not fail");
        }
        Found {
            reads: self.reads(),
            on_replicas: self.proxy.reads_on_replicas() - self.on_replicas_before,
            stale: self.shared.stale.load(Ordering::Relaxed),
            backward: self.shared.backward.load(Ordering::Relaxed),
        }
    }
}

impl Found {
    /// The part of the reads that replicas have served.
    pub fn share(&self) -> f64 {
        self.on_replicas as f64 / self.reads as f64
    }

    pub fn expect_none(&self) {
        assert_eq!((self.stale, self.backward), (0, 0), "{self}");
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = self.share() * 100.0;
        let Found { reads, stale, backward, .. } = self;
        write!(f, "{reads} reads, {share:.1} % on replicas, {stale} stale, {backward} backward")
    }
}

/// Raises a row of its own and reads it back.
async fn write_and_read(shared: Arc<Shared>, id: u32) {
    let mut conn = Conn::new(shared.options.clone()).await.expect("a connection");
    let mut value = 0u64;
    while !shared.stop.load(Ordering::Relaxed) {
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
        let mut last = 0;
        for _ in 0..3 {
            let read = "SELECT v FROM checker WHERE id = ?";
            let seen: Option<u64> = conn.exec_first(read, (id,)).await.expect("a read");
            let seen = seen.expect("a row");
            shared.reads.fetch_add(1, Ordering::Relaxed);
            if seen != value {
                shared.stale.fetch_add(1, Ordering::Relaxed);
            }
            if seen < last {
                shared.backward.fetch_add(1, Ordering::Relaxed);
            }
            last = seen;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Counts up the row that all watch.
async fn count(shared: Arc<Shared>) {
    let mut conn = Conn::new(shared.options.clone()).await.expect("a connection");
    for value in 1u64.. {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let write = format!("UPDATE checker SET v = {value} WHERE id = 0");
        conn.query_drop(write).await.expect("a write");
        shared.acknowledged.store(value, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Reads one row again and again: it never goes back, and where everything is to be seen it is
/// never older than what was acknowledged before the read.
async fn watch(shared: Arc<Shared>) {
    let mut conn = Conn::new(shared.options.clone()).await.expect("a connection");
    let mut last = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let acknowledged = shared.acknowledged.load(Ordering::SeqCst);
        let read = "SELECT v FROM checker WHERE id = 0";
        let seen: Option<u64> = conn.query_first(read).await.expect("a read");
        let seen = seen.expect("a row");
        shared.reads.fetch_add(1, Ordering::Relaxed);
        if seen < last {
            shared.backward.fetch_add(1, Ordering::Relaxed);
        }
        if shared.sees == Sees::Everything && seen < acknowledged {
            shared.stale.fetch_add(1, Ordering::Relaxed);
        }
        last = seen;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
