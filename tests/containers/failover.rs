//! The primary is gone, or there are two: what others decide, the proxy follows, and nothing that was
//! acknowledged is lost, done twice, or written to two servers.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use tokio::time::sleep;

use crate::support::chaos::docker;
use crate::support::writers::{self, Writers};
use crate::support::{Cluster, Flavour, Proxy, eventually};

crate::on_both_flavours!(a_killed_primary);
crate::on_both_flavours!(two_primaries);

/// How long those who promote a replica take to notice.
const NOTICE: Duration = Duration::from_secs(3);

async fn a_killed_primary(flavour: Flavour) {
    let mut cluster = Cluster::start(flavour, &[]);
    cluster.run_on("primary", writers::TABLE).await;
    cluster.settle().await;
    let proxy = Proxy::start(&cluster, "");
    let writers = Writers::start(&proxy, false);
    writers.go_on().await;

    docker(&["kill", "--signal", "KILL", &cluster.primary().container.clone()]).await;
    sleep(NOTICE).await;
    let promoted = promote_the_furthest(&cluster).await;
    writers.go_on().await;

    // The former primary returns, writable, perhaps with what nobody was told of.
    docker(&["start", &cluster.primary().container.clone()]).await;
    cluster.refresh();
    cluster.await_server("primary").await;
    cluster.log_statements().await;
    // With a transaction that nobody has got it is as good a primary as the other one, and writes
    // wait until somebody decides.
    for statement in close(flavour) {
        cluster.run_on("primary", statement).await;
    }
    let name = cluster.primary().container.clone();
    proxy.wait_until("the former primary is seen, and takes nothing", |status| {
        let backends = status["backends"].as_array().expect("a list");
        let former = backends.iter().find(|it| it["name"] == name.as_str()).expect("listed");
        former["state"] == "up" && former["role"] != "primary" && former["takes_reads"] == 0
    });
    writers.go_on().await;
    assert_eq!(cluster.count_logged("primary", "app.written").await, 0);

    let outcome = writers.end().await;
    outcome.assert_unknown_at_most();
    assert!(outcome.most_unknown <= 1, "{} unknown outcomes in one session", outcome.most_unknown);
    outcome.assert_on(&cluster, &promoted).await;
}

/// Somebody promotes a replica, and forgets the primary.
async fn two_primaries(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &[]);
    cluster.run_on("primary", writers::TABLE).await;
    cluster.settle().await;
    let proxy = Proxy::start(&cluster, "");
    let writers = Writers::start(&proxy, false);

    for statement in stop_replicating(flavour) {
        cluster.run_on("replica1", statement).await;
    }
    cluster.run_on("replica1", "CREATE TABLE app.of_its_own (id INT)").await;
    cluster.log_statements().await;
    // Now each has what the other has not.
    writers.go_on().await;
    for statement in open(flavour) {
        cluster.run_on("replica1", statement).await;
    }
    let container = cluster.server("replica1").container.clone();
    proxy.wait_until("writes are stopped", |status| {
        let writes = status["writes"].to_string();
        writes.contains("all writable") && writes.contains(&container)
    });
    ended(&cluster, "primary").await;
    let written: u64 = count(&cluster, "primary").await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(count(&cluster, "primary").await, written, "writes have not stopped");
    assert_eq!(cluster.count_logged("replica1", "INSERT INTO app.written").await, 0);

    // The operator sees it, and closes the second.
    for statement in close(flavour) {
        cluster.run_on("replica1", statement).await;
    }
    writers.go_on().await;
    let outcome = writers.end().await;
    outcome.assert_no_errors();
    outcome.assert_on(&cluster, "primary").await;
    assert_eq!(cluster.count_logged("replica1", "INSERT INTO app.written").await, 0);
}

/// Waits for what was sent to a server before writes were stopped.
async fn ended(cluster: &Cluster, server: &str) {
    const RUNNING: &str = "SELECT COUNT(*) FROM information_schema.processlist
                           WHERE user = 'app' AND command <> 'Sleep'";
    let mut conn = cluster.root(server).await;
    eventually("what runs has ended", Duration::from_secs(20), async || {
        let running: Option<u64> = conn.query_first(RUNNING).await.expect("a list");
        (running == Some(0)).then_some(())
    })
    .await;
}

async fn count(cluster: &Cluster, server: &str) -> u64 {
    let mut conn = cluster.root(server).await;
    conn.query_first("SELECT COUNT(*) FROM app.written").await.expect("the table").expect("a count")
}

fn stop_replicating(flavour: Flavour) -> &'static [&'static str] {
    match flavour {
        Flavour::MySql => {
            &["STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only = OFF"]
        }
        Flavour::MariaDb => &["STOP SLAVE", "RESET SLAVE ALL"],
    }
}

fn open(flavour: Flavour) -> &'static [&'static str] {
    match flavour {
        Flavour::MySql => &["SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF"],
        Flavour::MariaDb => &["SET GLOBAL read_only = OFF"],
    }
}

fn close(flavour: Flavour) -> &'static [&'static str] {
    match flavour {
        Flavour::MySql => &["SET GLOBAL super_read_only = ON"],
        Flavour::MariaDb => &["SET GLOBAL read_only = ON"],
    }
}

/// What a script for failover does: all replicas apply what they have received, the one that has
/// got the furthest becomes the primary, the other one follows it.
async fn promote_the_furthest(cluster: &Cluster) -> String {
    let mut replicas = Vec::new();
    for server in ["replica1", "replica2"] {
        let mut conn = cluster.root(server).await;
        let applied = apply_received(&mut conn, cluster.flavour).await;
        replicas.push((server, applied));
    }
    let (first, second) = (&replicas[0], &replicas[1]);
    let (next, other) = match reaches(cluster, &first.1, &second.1).await {
        true => (first.0, second.0),
        false => (second.0, first.0),
    };
    for statement in [stop_replicating(cluster.flavour), open(cluster.flavour)].concat() {
        cluster.run_on(next, statement).await;
    }
    let change = match cluster.flavour {
        Flavour::MySql => "CHANGE REPLICATION SOURCE TO SOURCE_HOST",
        Flavour::MariaDb => "CHANGE MASTER TO MASTER_HOST",
    };
    let word = if cluster.flavour == Flavour::MySql { "REPLICA" } else { "SLAVE" };
    cluster
        .run_all(
            other,
            &[format!("STOP {word}"), format!("{change} = '{next}'"), format!("START {word}")],
        )
        .await;
    next.to_owned()
}

/// Applies all that is in the relay log; where the replica stands then.
async fn apply_received(conn: &mut Conn, flavour: Flavour) -> String {
    let (stop, status, received, wait, applied) = match flavour {
        Flavour::MySql => (
            "STOP REPLICA IO_THREAD",
            "SHOW REPLICA STATUS",
            "Retrieved_Gtid_Set",
            "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, 30)",
            "SELECT @@GLOBAL.gtid_executed",
        ),
        Flavour::MariaDb => (
            "STOP SLAVE IO_THREAD",
            "SHOW SLAVE STATUS",
            "Gtid_IO_Pos",
            "SELECT MASTER_GTID_WAIT(?, 30)",
            "SELECT @@GLOBAL.gtid_slave_pos",
        ),
    };
    conn.query_drop(stop).await.expect("the receiver stops");
    let row: Row = conn.query_first(status).await.expect("a status").expect("a row");
    let received: String = row.get(received).expect("a position");
    let waited: Option<i64> = conn.exec_first(wait, (received,)).await.expect("a wait");
    assert_eq!(waited, Some(0));
    conn.query_first(applied).await.expect("a position").expect("a position")
}

/// Whether the first position holds the second.
async fn reaches(cluster: &Cluster, first: &str, second: &str) -> bool {
    match cluster.flavour {
        Flavour::MySql => {
            let holds: Option<bool> = cluster
                .root("replica1")
                .await
                .exec_first("SELECT GTID_SUBSET(?, ?)", (second, first))
                .await
                .expect("a comparison");
            holds == Some(true)
        }
        Flavour::MariaDb => {
            let number = |position: &str| -> u64 {
                position.rsplit('-').next().and_then(|it| it.parse().ok()).unwrap_or(0)
            };
            number(first) >= number(second)
        }
    }
}
