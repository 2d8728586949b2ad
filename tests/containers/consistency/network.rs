//! Networks between the primary and its replicas that take their time. They lie in this process: not
//! every kernel can delay packets (`tc qdisc add … netem delay` needs sch_netem).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::trouble::REPLICAS;
use crate::support::{Cluster, Flavour};

/// Pieces that may be on their way at once; the sender waits when there are more.
const PIECES: usize = 10_000;

/// The way of one replica to its source.
pub struct Network {
    address: SocketAddr,
    /// How long what the source sends is on its way, milliseconds.
    delay: Arc<AtomicU64>,
    task: AbortHandle,
}

/// One for each replica.
pub struct Networks([Network; 2]);

impl Networks {
    /// Has the replicas replicate over networks of their own, which are quick at first.
    pub async fn lay(cluster: &Cluster) -> Self {
        let (first, second) = (Network::start(cluster).await, Network::start(cluster).await);
        for (replica, network) in REPLICAS.into_iter().zip([&first, &second]) {
            let (host, port) = (network.address.ip(), network.address.port());
            let change = match cluster.flavour {
                Flavour::MySql => [
                    "STOP REPLICA".to_owned(),
                    format!(
                        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{host}', SOURCE_PORT = {port}"
                    ),
                    "START REPLICA".to_owned(),
                ],
                Flavour::MariaDb => [
                    "STOP SLAVE".to_owned(),
                    format!(
                        "CHANGE MASTER TO MASTER_HOST = '{host}', MASTER_PORT = {port}, \
                         MASTER_USE_GTID = slave_pos"
                    ),
                    "START SLAVE".to_owned(),
                ],
            };
            cluster.run_all(replica, &change).await;
        }
        cluster.settle().await;
        Networks([first, second])
    }

    /// To all replicas.
    pub fn delay(&self, delay: Duration) {
        self.0.iter().for_each(|network| network.delay(delay));
    }

    pub fn of(&self, replica: &str) -> &Network {
        let index = REPLICAS.iter().position(|name| *name == replica);
        &self.0[index.expect("the name of a replica")]
    }
}

impl Network {
    async fn start(cluster: &Cluster) -> Self {
        let listener = TcpListener::bind((cluster.gateway(), 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let delay = Arc::new(AtomicU64::new(0));
        let (source, shared) = (cluster.primary_address(), delay.clone());
        let task = tokio::spawn(async move {
            while let Ok((replica, _)) = listener.accept().await {
                tokio::spawn(connect(replica, source, shared.clone()));
            }
        });
        Network { address, delay, task: task.abort_handle() }
    }

    /// Whole milliseconds.
    pub fn delay(&self, delay: Duration) {
        self.delay.store(delay.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries bytes both ways until one side ends.
async fn connect(replica: TcpStream, source: SocketAddr, delay: Arc<AtomicU64>) -> io::Result<()> {
    let server = TcpStream::connect(source).await?;
    for stream in [&replica, &server] {
        stream.set_nodelay(true)?;
    }
    let (mut from_replica, mut to_replica) = replica.into_split();
    let (mut from_source, mut to_source) = server.into_split();
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let departs = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from_source.read(&mut buffer).await?;
            let due = Instant::now() + Duration::from_millis(delay.load(Ordering::Relaxed));
            if count == 0 || sender.send((due, buffer[..count].to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    let arrives = async {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            to_replica.write_all(&piece).await?;
        }
        Ok(())
    };
    let back = async { copy(&mut from_replica, &mut to_source).await.map(drop) };
    tokio::select! {
        ended = departs => ended,
        ended = arrives => ended,
        ended = back => ended,
    }
}

/// How long it takes from before the primary writes something until a replica has it: at least, and
/// in the median.
pub async fn measure(cluster: &Cluster) -> (Duration, Duration) {
    let mut primary = cluster.root("primary").await;
    let mut replica = cluster.root(REPLICAS[0]).await;
    let mut times = Vec::new();
    for value in 1..=21u64 {
        let write = format!("UPDATE app.checker SET v = 1000000 + {value} WHERE id = 0");
        // From before: what has been written may depart before the primary says so.
        let began = Instant::now();
        primary.query_drop(write).await.expect("a write");
        loop {
            let read = "SELECT v FROM app.checker WHERE id = 0";
            let seen: Option<u64> = replica.query_first(read).await.expect("a read");
            if seen == Some(1_000_000 + value) {
                break;
            }
        }
        times.push(began.elapsed());
    }
    let _ = (primary.disconnect().await, replica.disconnect().await);
    times.sort();
    (times[0], times[times.len() / 2])
}
