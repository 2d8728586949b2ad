//! `rwproxy setup`: from bare containers to replication that a proxy serves, from a filled primary under
//! load, cut off again and again, and what it refuses.

mod encrypted;
mod fleet;
mod killed;
mod large;
mod returning;
mod room;
mod state;
mod vanishing;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::support::cluster::connect;
use crate::support::docker::docker;
use crate::support::proxy::readers;
use crate::support::{Flavour, Proxy, eventually};
use fleet::{Ended, Fleet};
use state::assert_same;

crate::on_both_flavours!(from_bare_containers);
crate::on_both_flavours!(a_filled_primary_under_load);

const NAMES: [&str; 3] = ["primary", "replica1", "replica2"];

async fn from_bare_containers(flavour: Flavour) {
    let mut fleet = Fleet::new(flavour, "bare");
    fleet.start("primary", "primary", &[]).await;
    fleet.start("replica1", "primary", &[]).await;
    fleet.start("replica2", "replica", &[]).await;
    let before = fleet.states().await;
    let refused = fleet.setup(&["--yes"]).await;
    assert!(refused.failed_with("are all labelled rwproxy.role=primary"), "{refused:?}");
    assert_same(&before, &fleet.states().await, "two are labelled primary");
    fleet
        .start(
            "replica1",
            "replica",
            if flavour == Flavour::MySql { &["--skip-log-bin"] } else { &[] },
        )
        .await;

    // What is missing is printed, and what is printed suffices.
    let before = fleet.states().await;
    let refused = fleet.setup(&["--yes"]).await;
    assert!(refused.failed_with("it has no binary log"), "{refused:?}");
    assert_same(&before, &fleet.states().await, "one has no binary log");
    let options = refused.options();
    for server in NAMES {
        let container = fleet.container(server);
        let Some((_, options)) = options.iter().find(|(name, _)| *name == container) else {
            continue;
        };
        let role = if server == "primary" { "primary" } else { "replica" };
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        fleet.start(server, role, &options).await;
    }
    let before = fleet.states().await;
    let shown = fleet.setup(&["--dry-run"]).await;
    assert!(shown.code == 0 && shown.text.contains("CHANGE "), "{shown:?}");
    let unasked = fleet.setup(&[]).await;
    assert!(unasked.failed_with("--yes agrees"), "{unasked:?}");
    fleet.wrong_accounts_are_refused().await;
    assert!(!fleet.secret("replication").exists(), "nothing is made");
    assert!(!fleet.secret("monitor").exists(), "nothing is made");
    assert_same(&before, &fleet.states().await, "nothing was agreed to, or it was refused");

    let done = fleet.setup(&["--yes"]).await;
    assert!(done.code == 0 && done.text.contains("Done: all of this is so."), "{done:?}");
    is_private(&fleet.secret("replication"));
    is_private(&fleet.secret("monitor"));
    let before = fleet.states().await;
    let again = fleet.setup(&["--yes"]).await;
    assert!(again.code == 0 && again.text.contains("There is nothing to change."), "{again:?}");
    assert_same(&before, &fleet.states().await, "nothing was to be changed");

    serves(&fleet).await;
    fleet.alike(&NAMES, "app.served").await;
    if flavour == Flavour::MySql {
        encrypted::over_tls(&fleet, &NAMES[1..]).await;
    }
}

/// An application through a proxy with the same configuration.
async fn serves(fleet: &Fleet) {
    let mut root = fleet.root("primary").await;
    for statement in [
        "CREATE DATABASE app",
        "CREATE USER app@'%' IDENTIFIED BY 'app'",
        "GRANT ALL ON app.* TO app@'%'",
    ] {
        root.query_drop(statement).await.expect("an application's account");
    }
    let proxy = Proxy::start_with(&fleet.configuration()).ready();
    proxy.wait_until("the replicas serve", |status| readers(status) == 2);
    let mut app = proxy.app().await;
    app.query_drop("CREATE TABLE served (id INT PRIMARY KEY)").await.expect("it writes");
    for id in 0..50 {
        app.query_drop(format!("INSERT INTO served VALUES ({id})")).await.expect("it writes");
        let read: Option<u32> = app
            .query_first(format!("SELECT COUNT(*) FROM served WHERE id = {id}"))
            .await
            .expect("it reads");
        assert_eq!(read, Some(1), "it reads what it has written");
    }
    assert!(proxy.reads_on_replicas() > 0);
}

fn is_private(path: &Path) {
    let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().expect("a password file"));
    assert_eq!(mode & 0o777, 0o600, "{}", path.display());
}

async fn a_filled_primary_under_load(flavour: Flavour) {
    let mut fleet = Fleet::new(flavour, "filled");
    let options = |id: &'static str, replica: bool| -> Vec<&'static str> {
        match (flavour, replica) {
            // GTIDs are switched on online.
            (Flavour::MySql, _) => vec!["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"],
            (Flavour::MariaDb, true) => {
                vec!["--log-bin=binlog", "--log-slave-updates=ON", id, "--read-only=ON"]
            }
            (Flavour::MariaDb, false) => vec!["--log-bin=binlog", "--log-slave-updates=ON", id],
        }
    };
    // Nobody is labelled: who has data is the primary.
    fleet.start("primary", "auto", &options("--server-id=1", false)).await;
    fleet.start("replica1", "auto", &options("--server-id=2", true)).await;
    fill(&fleet).await;
    // InnoDB counts anew in the background, after some seconds.
    eventually(
        "the plan tells the size of what was filled in",
        Duration::from_secs(60),
        async || {
            let shown = fleet.setup(&["--dry-run"]).await;
            assert_eq!(shown.code, 0, "{shown:?}");
            let (_, size) = shown.text.split_once("it gets the primary's data, ").expect("a copy");
            size.lines().next()?.ends_with(" MB").then_some(())
        },
    )
    .await;
    let load = Load::start(&fleet);

    for attempt in 0..10 {
        let step = attempt % 4 + 1;
        let ended = fleet.killed_setup(|number, _| number == step, Duration::from_millis(60)).await;
        eprintln!("{flavour:?}: cut off: {}", ended.unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let done = fleet.setup_until_it_can_begin(&["--yes", "--semi-sync-timeout", "5s"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    let again = fleet.setup(&["--yes"]).await;
    assert!(again.code == 0 && again.text.contains("There is nothing to change."), "{again:?}");

    // A replica is added, which has something of its own.
    fleet.start("replica2", "replica", &options("--server-id=3", true)).await;
    let mut root = fleet.root("replica2").await;
    for statement in ["CREATE DATABASE own", "CREATE TABLE own.kept (id INT PRIMARY KEY)"] {
        root.query_drop(statement).await.expect("data of its own");
    }
    let container = fleet.container("replica2");
    let refused = fleet.setup(&["--yes"]).await;
    assert!(refused.failed_with(&format!("--overwrite {container}")), "{refused:?}");
    root.query_drop("SELECT * FROM own.kept").await.expect("nothing is touched");
    let _ = root.disconnect().await;

    // It disappears in the middle, and comes back.
    let overwrite = ["--yes", "--overwrite", &container, "--wait", "1s"];
    let lost = fleet.setup_while(&overwrite, || {
        docker(&["kill", &container]);
    });
    let lost = lost.await;
    assert!(lost.code == 1 && lost.text.contains("run this again"), "{lost:?}");
    docker(&["start", &container]);
    fleet.await_server("replica2").await;
    let done = fleet.setup_until_it_can_begin(&overwrite).await;
    assert_eq!(done.code, 0, "{done:?}");

    let written = load.end().await;
    assert!(written > 100, "{written} writes");
    fleet.alike(&NAMES, "app.filled").await;
    fleet.alike(&NAMES, "app.written").await;
}

/// Some 20 MB.
async fn fill(fleet: &Fleet) {
    let mut root = fleet.root("primary").await;
    for statement in [
        "CREATE DATABASE app",
        "CREATE TABLE app.filled (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(300))",
        "CREATE TABLE app.written (id INT PRIMARY KEY, t VARCHAR(100))",
        "INSERT INTO app.filled (t) VALUES (REPEAT('x', 200))",
        // MySQL remembers for a day what it has told.
        "SELECT DATA_LENGTH FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'app'",
    ] {
        root.query_drop(statement).await.expect("data");
    }
    for _ in 0..16 {
        root.query_drop("INSERT INTO app.filled (t) SELECT CONCAT(RAND(), t) FROM (SELECT LEFT(t, 200) AS t FROM app.filled) AS old").await.expect("data");
    }
}

/// Writes on the primary itself, all the time.
struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(fleet: &Fleet) -> Self {
        Self::of(fleet, |id| {
            vec![
                format!("INSERT INTO written VALUES ({id}, 'row {id}')"),
                format!("UPDATE filled SET t = 'changed {id}' WHERE id = {}", id * 7),
            ]
        })
    }

    /// These statements, turn by turn; turns count from 1.
    fn of(fleet: &Fleet, turn: fn(u64) -> Vec<String>) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let host = fleet.ip("primary");
        let (stopped, count) = (stop.clone(), written.clone());
        let task = tokio::spawn(async move {
            let mut conn = connect(&host, 3306, "root", "root", Some("app")).await;
            let mut id = 0;
            while !stopped.load(Ordering::Relaxed) {
                id += 1;
                for statement in turn(id) {
                    conn.query_drop(statement)
                        .await
                        .expect("the primary takes writes all the time");
                }
                count.store(id, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        Load { stop, written, task }
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no write has failed");
        self.written.load(Ordering::Relaxed)
    }
}

impl Fleet {
    /// Before anything is set up: whom the servers do not let in, and who may too little.
    async fn wrong_accounts_are_refused(&self) {
        let wrong = self.setup_as("root", "wrong", &["--yes"]).await;
        assert!(wrong.failed_with("[administrator] in proxy.toml must name"), "{wrong:?}");
        // On one server alone.
        let change = |password: &str| format!("ALTER USER root@'%' IDENTIFIED BY '{password}'");
        let mut root = self.unlogged_root("replica2").await;
        root.query_drop(change("other")).await.expect("another password");
        let wrong = self.setup(&["--yes"]).await;
        root.query_drop(change("root")).await.expect("the password");
        assert!(wrong.failed_with("[administrator] in proxy.toml must name"), "{wrong:?}");
        for server in NAMES {
            let is_named = wrong.text.contains(&self.container(server));
            assert_eq!(is_named, server == "replica2", "{wrong:?}");
        }
        for server in NAMES {
            let mut root = self.unlogged_root(server).await;
            root.query_drop("CREATE USER weak@'%' IDENTIFIED BY 'weak'").await.expect("an account");
            root.query_drop("GRANT SELECT ON *.* TO weak@'%'").await.expect("an account");
        }
        let weak = self.setup_as("weak", "weak", &["--yes"]).await;
        for server in NAMES {
            let mut root = self.unlogged_root(server).await;
            root.query_drop("DROP USER weak@'%'").await.expect("an account");
        }
        assert!(weak.failed_with("the administrator's account weak lacks privileges"), "{weak:?}");
        assert!(weak.text.contains("GRANT "), "{weak:?}");
    }

    async fn unlogged_root(&self, server: &str) -> Conn {
        let mut root = self.root(server).await;
        root.query_drop("SET SESSION sql_log_bin = 0").await.expect("root may");
        root
    }

    /// A server that was started a moment ago may not answer yet.
    pub async fn setup_until_it_can_begin(&self, arguments: &[&str]) -> Ended {
        eventually("setup begins", Duration::from_secs(120), async || {
            let ended = self.setup(arguments).await;
            let could_not = ended.code != 0 && ended.text.contains("Nothing was changed");
            if could_not {
                eprintln!("{}", ended.text);
            }
            (!could_not).then_some(ended)
        })
        .await
    }
}
