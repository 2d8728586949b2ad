//! What makes replicas late.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::time::{Instant, sleep};

use super::network::Networks;
use crate::support::{Cluster, Flavour};

pub const REPLICAS: [&str; 2] = ["replica1", "replica2"];
/// Between two troubles, for the replicas to serve reads again.
const RELIEF: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// For a moment, which the monitor may miss, and for longer.
    SqlThreadStopped {
        milliseconds: u64,
    },
    IoThreadStopped {
        milliseconds: u64,
    },
    /// The SQL thread runs and waits for a lock.
    Locked {
        milliseconds: u64,
    },
    /// It applies everything so much later.
    Delayed {
        seconds: u32,
    },
    /// What arrives from the primary is late, and comes in order.
    SlowNetwork {
        milliseconds: u64,
    },
    /// The primary writes large transactions.
    Loaded,
}

impl Trouble {
    pub const ALL: [Trouble; 8] = [
        Trouble::SqlThreadStopped { milliseconds: 20 },
        Trouble::Locked { milliseconds: 150 },
        Trouble::IoThreadStopped { milliseconds: 300 },
        Trouble::SlowNetwork { milliseconds: 30 },
        Trouble::SqlThreadStopped { milliseconds: 300 },
        Trouble::Delayed { seconds: 1 },
        Trouble::SlowNetwork { milliseconds: 400 },
        Trouble::Loaded,
    ];

    /// Has it begin and end on a replica; of the whole cluster's it has once.
    pub async fn bring(self, cluster: &Cluster, networks: &Networks, replica: &str) {
        let pause = |milliseconds| sleep(Duration::from_millis(milliseconds));
        match self {
            Trouble::SqlThreadStopped { milliseconds } => {
                cluster.run_on(replica, &thread(cluster.flavour, "STOP", "SQL_THREAD")).await;
                pause(milliseconds).await;
                cluster.run_on(replica, &thread(cluster.flavour, "START", "SQL_THREAD")).await;
            }
            Trouble::IoThreadStopped { milliseconds } => {
                cluster.run_on(replica, &thread(cluster.flavour, "STOP", "IO_THREAD")).await;
                pause(milliseconds).await;
                cluster.run_on(replica, &thread(cluster.flavour, "START", "IO_THREAD")).await;
            }
            Trouble::Locked { milliseconds } => {
                let mut lock = cluster.root(replica).await;
                lock.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("a lock");
                pause(milliseconds).await;
                let _ = lock.disconnect().await;
            }
            Trouble::Delayed { seconds } => {
                delay(cluster, replica, seconds).await;
                sleep(Duration::from_secs(u64::from(seconds)) + RELIEF).await;
                delay(cluster, replica, 0).await;
            }
            Trouble::SlowNetwork { milliseconds } => {
                let network = networks.of(replica);
                network.delay(Duration::from_millis(milliseconds));
                pause(milliseconds).await;
                sleep(RELIEF).await;
                network.delay(Duration::ZERO);
            }
            Trouble::Loaded if replica == REPLICAS[0] => load(cluster).await,
            Trouble::Loaded => {}
        }
        sleep(RELIEF).await;
    }
}

fn thread(flavour: Flavour, verb: &str, thread: &str) -> String {
    match flavour {
        Flavour::MySql => format!("{verb} REPLICA {thread}"),
        Flavour::MariaDb => format!("{verb} SLAVE {thread}"),
    }
}

/// Has a replica apply what the primary writes so many seconds later; its threads run on.
pub async fn delay(cluster: &Cluster, replica: &str, seconds: u32) {
    let [stop, change, start] = match cluster.flavour {
        Flavour::MySql => {
            ["STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_DELAY", "START REPLICA"]
        }
        Flavour::MariaDb => ["STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY", "START SLAVE"],
    };
    let statements = [stop.to_owned(), format!("{change} = {seconds}"), start.to_owned()];
    cluster.run_all(replica, &statements).await;
}

pub async fn make_tables(cluster: &Cluster) {
    let table = "CREATE TABLE app.ballast (id INT PRIMARY KEY AUTO_INCREMENT, filler CHAR(200))";
    cluster.run_on("primary", table).await;
    cluster.settle().await;
}

/// Large transactions on the primary for a second.
async fn load(cluster: &Cluster) {
    let mut primary = cluster.root("primary").await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        let rows = "INSERT INTO app.ballast (filler) \
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) \
            SELECT REPEAT('x', 200) FROM n, (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS m";
        primary.query_drop(rows).await.expect("rows");
        primary.query_drop("DELETE FROM app.ballast").await.expect("no rows");
    }
    let _ = primary.disconnect().await;
}

/// Commits on the primary wait for no replica.
pub async fn replicate_asynchronously(cluster: &Cluster) {
    let off = match cluster.flavour {
        Flavour::MySql => "SET GLOBAL rpl_semi_sync_source_enabled = OFF",
        Flavour::MariaDb => "SET GLOBAL rpl_semi_sync_master_enabled = OFF",
    };
    cluster.run_on("primary", off).await;
}
