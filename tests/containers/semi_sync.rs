//! Semi-synchronous replication as it is watched, and as writes may be made to depend on it.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use serde_json::Value;

use crate::events::{event, events, last};
use crate::support::{Cluster, Flavour, Proxy, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster whose primary waits half a second for its replicas, and a proxy that asks for them.
struct Watched {
    cluster: Cluster,
    proxy: Proxy,
}

impl Watched {
    async fn start(flavour: Flavour) -> Self {
        let cluster = Cluster::start(flavour, &[]);
        cluster.run_on("primary", "CREATE TABLE app.kept (id INT PRIMARY KEY)").await;
        cluster.settle().await;
        let watched = Watched {
            proxy: Proxy::start(
                &cluster,
                "[routing]\nrequire_semi_sync = true\nwrite_hold = \"1s\"\nslow_start = \"0s\"",
            ),
            cluster,
        };
        watched.set("primary", "timeout", "500").await;
        if flavour == Flavour::MariaDb {
            watched.set("primary", "wait_no_slave", "ON").await;
        }
        watched
    }

    /// Sets a variable of the side that the server has by its role.
    async fn set(&self, server: &str, name: &str, value: &str) {
        let side = match (self.cluster.flavour, server) {
            (Flavour::MySql, "primary") => "source",
            (Flavour::MySql, _) => "replica",
            (Flavour::MariaDb, "primary") => "master",
            (Flavour::MariaDb, _) => "slave",
        };
        let statement = format!("SET GLOBAL rpl_semi_sync_{side}_{name} = {value}");
        self.cluster.run_on(server, &statement).await;
    }

    async fn receivers(&self, action: &str, servers: &[&str]) {
        for server in servers {
            self.cluster.run_on(server, &format!("{action} REPLICA IO_THREAD")).await;
        }
    }

    /// A commit on the primary itself.
    async fn commit(&self, id: u32) {
        let statement = format!("INSERT INTO app.kept VALUES ({id})");
        self.cluster.run_on("primary", &statement).await;
    }

    /// What the primary has executed, by its own word.
    async fn position(&self) -> String {
        let mut primary = self.cluster.root("primary").await;
        let sql = match self.cluster.flavour {
            Flavour::MySql => "SELECT @@GLOBAL.gtid_executed",
            Flavour::MariaDb => "SELECT @@GLOBAL.gtid_binlog_pos",
        };
        let position: Option<String> = primary.query_first(sql).await.expect("a position");
        let _ = primary.disconnect().await;
        position.expect("a position")
    }

    async fn is_on_primary(&self, id: u32) -> bool {
        let mut primary = self.cluster.root("primary").await;
        let sql = format!("SELECT COUNT(*) FROM app.kept WHERE id = {id}");
        let count: Option<u64> = primary.query_first(sql).await.expect("a count");
        let _ = primary.disconnect().await;
        count == Some(1)
    }

    /// The primary's row of a table in `/status`.
    fn primary(&self, table: &str) -> Value {
        let status = self.proxy.status();
        let rows = status[table].as_array().expect("a table");
        rows.iter().find(|row| row["role"] == "primary").expect("the primary").clone()
    }

    async fn state(&self, state: &str, clients: u64) {
        eventually(&format!("{state}, {clients} replicas"), PATIENCE, async || {
            let row = self.primary("semi_sync");
            (row["as_source"] == state && row["clients"] == clients).then_some(())
        })
        .await;
    }
}

async fn insert(conn: &mut Conn, id: u32) -> Result<(), (u16, String)> {
    match conn.query_drop(format!("INSERT INTO kept VALUES ({id})")).await {
        Ok(()) => Ok(()),
        Err(Error::Server(error)) => Err((error.code, error.message)),
        Err(error) => panic!("{error}"),
    }
}

/// Writes are refused for this reason, and none reaches the primary; reads are served, by it, too.
async fn refused(watched: &Watched, id: u32, part: &str) {
    let mut app = watched.proxy.app().await;
    let (code, message) = insert(&mut app, id).await.expect_err("a write without replicas");
    assert_eq!(code, 1290, "{message}");
    assert!(message.contains("routing.require_semi_sync") && message.contains(part), "{message}");
    assert!(!watched.is_on_primary(id).await);
    let has_read: Option<u64> =
        app.query_first("SELECT COUNT(*) FROM kept").await.expect("reads go on");
    assert!(has_read.is_some());
    let _ = app.disconnect().await;
}

async fn accepted(watched: &Watched, id: u32) {
    let mut app = watched.proxy.app().await;
    assert_eq!(insert(&mut app, id).await, Ok(()));
    assert!(watched.is_on_primary(id).await);
    let _ = app.disconnect().await;
}

crate::on_both_flavours!(writes_depend_on_acknowledgements);

async fn writes_depend_on_acknowledgements(flavour: Flavour) {
    let watched = Watched::start(flavour).await;
    watched.state("on", 2).await;
    eventually("the settings", PATIENCE, async || {
        let row = watched.primary("semi_sync");
        (row["wait_for"] == 1 && row["timeout_ms"] == 500).then_some(())
    })
    .await;
    accepted(&watched, 1).await;
    eventually("an acknowledgement is counted", PATIENCE, async || {
        (watched.primary("semi_sync")["acknowledged"].as_u64() >= Some(1)).then_some(())
    })
    .await;
    let replicas = watched.proxy.status();
    let replicas = replicas["backends"].as_array().expect("a table").iter();
    assert_eq!(replicas.filter(|row| row["semi_sync"] == "on").count(), 3, "all three work");

    falls_back_and_returns(&watched).await;
    returns_only_by_hand(&watched).await;
    lapses(&watched).await;
    if flavour == Flavour::MariaDb {
        commits_without_waiting(&watched).await;
    }
}

/// What a commit has waited for in vain is acknowledged when a replica is back: no new commit is
/// needed.
async fn falls_back_and_returns(watched: &Watched) {
    let before = last(&watched.proxy).await;
    let mut open = watched.proxy.app().await;
    open.query_drop("BEGIN").await.expect("writes are possible");
    assert_eq!(insert(&mut open, 100).await, Ok(()));
    watched.receivers("STOP", &["replica1", "replica2"]).await;
    watched.commit(2).await;
    let lost = event(&watched.proxy, before, "semi_sync_lost", "has fallen back").await;
    assert_eq!(lost.severity, "warning");
    assert!(lost.text.contains("1 commit(s) not acknowledged"), "{}", lost.text);
    event(&watched.proxy, before, "writes_stopped", "routing.require_semi_sync").await;
    let row = watched.primary("semi_sync");
    assert_eq!((&row["as_source"], &row["fallbacks"]), (&"fallen back".into(), &1.into()));
    let row = watched.primary("backends");
    assert_eq!(row["semi_sync"], "fallen back");
    let reason = row["role_reason"].as_str().expect("a reason");
    assert!(reason.contains("not to be written: routing.require_semi_sync"), "{reason}");
    let metrics = watched.proxy.get("/metrics");
    let active = metrics.lines().find(|line| line.starts_with("rwproxy_backend_semi_sync_active"));
    assert!(active.is_some_and(|line| line.ends_with(" 0.0")), "{active:?}");
    refused(watched, 3, "has fallen back to asynchronous replication").await;
    // A transaction that was begun before goes on, and is not committed.
    assert_eq!(insert(&mut open, 101).await, Ok(()));
    let Err(Error::Server(error)) = open.query_drop("COMMIT").await else { panic!("committed") };
    assert_eq!(error.code, 1290, "{}", error.message);
    assert!(!watched.is_on_primary(100).await);

    let position = watched.position().await;
    watched.receivers("START", &["replica1"]).await;
    let back = event(&watched.proxy, lost.number, "semi_sync_back", "semi-synchronous again").await;
    assert!(back.text.contains("commit(s) were not acknowledged meanwhile"), "{}", back.text);
    event(&watched.proxy, lost.number, "writes_possible", "").await;
    assert_eq!(watched.position().await, position, "nothing was committed for it");
    accepted(watched, 3).await;
    open.query_drop("COMMIT").await.expect("it can be committed now");
    assert!(watched.is_on_primary(100).await && watched.is_on_primary(101).await);
    let _ = open.disconnect().await;
}

/// A replica that has caught up by asynchronous replication has nothing to acknowledge: the server
/// stays asynchronous until a commit or an operator changes that.
async fn returns_only_by_hand(watched: &Watched) {
    watched.receivers("STOP", &["replica1"]).await;
    watched.commit(4).await;
    watched.state("fallen back", 0).await;
    watched.set("replica1", "enabled", "OFF").await;
    watched.receivers("START", &["replica1"]).await;
    let mut replica = watched.cluster.root("replica1").await;
    eventually("replica1 catches up", PATIENCE, async || {
        let sql = "SELECT COUNT(*) FROM app.kept WHERE id = 4";
        let count: Option<u64> = replica.query_first(sql).await.expect("a count");
        (count == Some(1)).then_some(())
    })
    .await;
    let _ = replica.disconnect().await;
    watched.receivers("STOP", &["replica1"]).await;
    watched.set("replica1", "enabled", "ON").await;
    watched.receivers("START", &["replica1"]).await;
    watched.state("fallen back", 1).await;
    refused(watched, 5, "SET GLOBAL").await;
    watched.state("fallen back", 1).await;

    let before = last(&watched.proxy).await;
    watched.set("primary", "enabled", "OFF").await;
    watched.set("primary", "enabled", "ON").await;
    event(&watched.proxy, before, "writes_possible", "").await;
    accepted(watched, 5).await;
}

/// Off and on again between two probes: the counter tells.
async fn lapses(watched: &Watched) {
    watched.state("on", 1).await;
    let before = last(&watched.proxy).await;
    let mut primary = watched.cluster.root("primary").await;
    let side = match watched.cluster.flavour {
        Flavour::MySql => "source",
        Flavour::MariaDb => "master",
    };
    eventually("a lapse is told", PATIENCE, async || {
        for value in ["OFF", "ON"] {
            let statement = format!("SET GLOBAL rpl_semi_sync_{side}_enabled = {value}");
            primary.query_drop(statement).await.expect("a privileged account");
        }
        tokio::time::sleep(Duration::from_millis(350)).await;
        let told = events(&watched.proxy, "LIKE 'semi_sync_lapsed'").await;
        told.into_iter().find(|event| {
            event.number > before && event.text.contains("between two probes: 1 fallback(s)")
        })
    })
    .await;
    let _ = primary.disconnect().await;
    watched.state("on", 1).await;
}

/// MariaDB that does not wait for want of replicas says that it is semi-synchronous all the same.
async fn commits_without_waiting(watched: &Watched) {
    watched.set("primary", "wait_no_slave", "OFF").await;
    let before = last(&watched.proxy).await;
    watched.receivers("STOP", &["replica1"]).await;
    watched.state("too few replicas", 0).await;
    event(&watched.proxy, before, "semi_sync_lost", "too few replicas").await;
    refused(watched, 6, "0 of 1 acknowledging replicas are connected").await;
    watched.receivers("START", &["replica1"]).await;
    watched.state("on", 1).await;
    event(&watched.proxy, before, "writes_possible", "").await;
    accepted(watched, 6).await;
}
