//! What the monitor makes of real servers: roles, lag, reasons, accounts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use rwproxy::config::{Config, Environment, Secret};
use rwproxy::metrics::Metrics;
use rwproxy::monitor::{self, Handles};
use rwproxy::routing::topology::{Backend, Lag, Role, State, Topology, Writes};
use rwproxy::wire::Flavour as Family;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::support::docker::docker;
use crate::support::{Cluster, Flavour, eventually};

/// What needs a server to be started.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the monitor must notice by its probes alone.
const SOON: Duration = Duration::from_secs(1);

/// A monitor of a cluster, in this process.
struct Watch {
    handles: Handles,
    _config: watch::Sender<Arc<Config>>,
}

impl Watch {
    fn start(cluster: &Cluster, user: &str, password: &str) -> Self {
        let text = format!(
            "[docker]\ncluster = \"{}\"\n[monitor]\nuser = \"{user}\"\n[routing]\nslow_start = \"0s\"",
            cluster.name
        );
        let mut config =
            Config::parse(&text, "test", &Environment::of_process()).expect("a good config");
        config.monitor.password = Some(Secret::new(password.to_owned()));
        let (config, changes) = watch::channel(Arc::new(config));
        let metrics = Arc::new(Metrics::new(&[]));
        let handles = monitor::start(&Handle::current(), changes, Default::default(), metrics);
        Watch { handles, _config: config }
    }

    fn topology(&self) -> Arc<Topology> {
        self.handles.topology.load_full()
    }

    /// The backend of `primary`, `replica1` …
    fn backend(&self, server: &str) -> Option<Backend> {
        let ending = format!("-{server}");
        self.topology().backends.iter().find(|backend| backend.name.ends_with(&ending)).cloned()
    }

    async fn until(&self, what: &str, patience: Duration, fits: impl Fn(&Topology) -> bool) {
        let started = Instant::now();
        while !fits(&self.topology()) {
            assert!(started.elapsed() < patience, "not {what}: {:#?}", self.topology());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn reads(&self, server: &str, patience: Duration) {
        self.until(&format!("reads on {server}"), patience, |_| {
            self.backend(server).is_some_and(|backend| backend.reads.is_ok())
        })
        .await;
    }

    async fn no_reads(&self, server: &str, reason: &str, patience: Duration) {
        self.until(&format!("{server} without reads: {reason}"), patience, |_| {
            self.backend(server)
                .and_then(|backend| backend.reads.err())
                .is_some_and(|found| found.contains(reason))
        })
        .await;
    }

    async fn writes_to(&self, server: &str, patience: Duration) {
        self.until(&format!("writes to {server}"), patience, |topology| {
            topology.primary().is_some_and(|primary| primary.name.ends_with(&format!("-{server}")))
        })
        .await;
    }

    async fn writes_stopped(&self, reason: &str, patience: Duration) {
        self.until(
            &format!("writes stopped: {reason}"),
            patience,
            |topology| matches!(&topology.writes, Writes::Stopped(found) if found.contains(reason)),
        )
        .await;
    }
}

fn delay(flavour: Flavour, seconds: u32) -> String {
    match flavour {
        Flavour::MySql => format!("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {seconds}"),
        Flavour::MariaDb => format!("CHANGE MASTER TO MASTER_DELAY = {seconds}"),
    }
}

async fn run(cluster: &Cluster, server: &str, statements: &[&str]) {
    let mut conn = cluster.root(server).await;
    for statement in statements {
        conn.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let _ = conn.disconnect().await;
}

/// The statements that make a server writable, and read-only again.
fn writable(flavour: Flavour) -> &'static [&'static str] {
    match flavour {
        Flavour::MySql => &["SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF"],
        Flavour::MariaDb => &["SET GLOBAL read_only = OFF"],
    }
}

fn read_only(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => "SET GLOBAL super_read_only = ON",
        Flavour::MariaDb => "SET GLOBAL read_only = ON",
    }
}

crate::on_both_flavours!(replicas_are_judged_by_the_truth);

async fn replicas_are_judged_by_the_truth(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &[]);
    let watch = Watch::start(&cluster, "rwproxy", "rwproxy");
    watch.writes_to("primary", PATIENCE).await;
    watch.reads("replica1", SOON).await;
    watch.reads("replica2", SOON).await;
    let family = match flavour {
        Flavour::MySql => Family::MySql,
        Flavour::MariaDb => Family::MariaDb,
    };
    let primary = watch.backend("primary").expect("it is listed");
    assert_eq!(primary.role, Role::Primary);
    assert_eq!(primary.version.expect("it has answered").flavour, family);
    assert_eq!(primary.max_connections, Some(500));
    let replica = watch.backend("replica1").expect("it is listed");
    assert_eq!(replica.replication[0].source, primary.name);

    threads(&cluster, &watch).await;
    lag(&cluster, &watch).await;
    containers(&cluster, &watch).await;
    primaries(&cluster, &watch).await;
}

async fn threads(cluster: &Cluster, watch: &Watch) {
    run(cluster, "replica1", &["STOP REPLICA SQL_THREAD"]).await;
    watch.no_reads("replica1", "SQL thread is stopped", SOON).await;
    watch.reads("replica2", SOON).await;
    run(cluster, "replica1", &["START REPLICA SQL_THREAD", "STOP REPLICA IO_THREAD"]).await;
    watch.no_reads("replica1", "IO thread is stopped", SOON).await;
    run(cluster, "replica1", &["START REPLICA IO_THREAD"]).await;
    watch.reads("replica1", 3 * SOON).await;
}

/// One replica is told to stay four seconds behind; what it has is compared with what was written.
async fn lag(cluster: &Cluster, watch: &Watch) {
    let set = delay(cluster.flavour, 4);
    run(cluster, "replica2", &["STOP REPLICA", &set, "START REPLICA"]).await;
    watch.reads("replica2", 5 * SOON).await;
    let table = "CREATE TABLE IF NOT EXISTS app.ticks (id INT PRIMARY KEY, n INT)";
    run(cluster, "primary", &[table, "REPLACE INTO app.ticks VALUES (1, 0)"]).await;
    let (mut primary, mut replica) =
        (cluster.root("primary").await, cluster.root("replica2").await);
    let mut written = vec![Instant::now()];
    let (mut left, mut series) = (None, Vec::new());
    while written.len() <= 70 {
        let statement = format!("REPLACE INTO app.ticks VALUES (1, {})", written.len());
        primary.query_drop(statement).await.expect("a write");
        written.push(Instant::now());
        tokio::time::sleep(Duration::from_millis(100)).await;
        let backend = watch.backend("replica2").expect("it is listed");
        let has: Option<usize> =
            replica.query_first("SELECT n FROM app.ticks WHERE id = 1").await.unwrap_or_default();
        let missing = has.map_or(0, |last| last + 1);
        let truth = written.get(missing).map_or(0.0, |time| time.elapsed().as_secs_f64());
        let Lag::Measured { behind, .. } = backend.lag else { panic!("{backend:?}") };
        series.push((truth, behind.as_secs_f64()));
        if backend.reads.is_err() && left.is_none() {
            left = Some((truth, backend.reads.clone()));
        }
        assert_eq!(watch.backend("replica1").expect("it is listed").reads, Ok(()));
    }
    let greatest = series.iter().map(|(truth, _)| *truth).fold(0.0, f64::max);
    // A delayed replica applies a second's worth at once, and a probe is some 100 ms old: what was
    // measured must have been true shortly before or after.
    let error = |window: &[(f64, f64)]| {
        let truths = || window.iter().map(|(truth, _)| *truth);
        let (least, most) = (truths().fold(f64::MAX, f64::min), truths().fold(0.0, f64::max));
        let measured = window[2].1;
        (least - measured).max(measured - most)
    };
    let worst = series.windows(4).map(error).fold(0.0, f64::max);
    println!("{:?}: lag up to {greatest:.2} s, measured to {worst:.3} s", cluster.flavour);
    assert!(greatest > 3.0, "it was told to lag, and lagged {greatest} s");
    assert!(worst < 0.4, "measured with an error of {worst} s");
    let (truth, reason) = left.expect("it lagged too far");
    assert!(reason.expect_err("a reason").contains("it lags more than max_lag (2s)"));
    assert!((1.5..3.0).contains(&truth), "left at {truth} s");
    let reset = delay(cluster.flavour, 0);
    run(cluster, "replica2", &["STOP REPLICA", &reset, "START REPLICA"]).await;
    watch.reads("replica2", 5 * SOON).await;
}

async fn containers(cluster: &Cluster, watch: &Watch) {
    let replica = &cluster.server("replica2").container;
    let before = watch.backend("replica2").expect("it is listed");
    docker(&["pause", replica]);
    watch.no_reads("replica2", "paused", SOON).await;
    docker(&["unpause", replica]);
    watch.reads("replica2", 3 * SOON).await;
    assert_eq!(watch.backend("replica2").expect("it is listed").id, before.id);

    docker(&["kill", replica]);
    watch.no_reads("replica2", "stopped", SOON).await;
    docker(&["start", replica]);
    watch.reads("replica2", PATIENCE).await;
    assert_ne!(watch.backend("replica2").expect("it is listed").id, before.id);

    // The primary falls silent: writes stop at once, reads go on.
    let epoch = watch.topology().epoch;
    docker(&["pause", &cluster.server("primary").container]);
    watch.writes_stopped("paused", SOON).await;
    tokio::time::sleep(3 * SOON).await;
    for replica in ["replica1", "replica2"] {
        let backend = watch.backend(replica).expect("it is listed");
        assert_eq!(backend.reads, Ok(()), "{replica}");
        assert!(matches!(backend.lag, Lag::Measured { stale: true, .. }), "{:?}", backend.lag);
    }
    docker(&["unpause", &cluster.server("primary").container]);
    watch.writes_to("primary", 3 * SOON).await;
    assert!(watch.topology().epoch > epoch);
}

async fn primaries(cluster: &Cluster, watch: &Watch) {
    // Nobody is writable.
    run(cluster, "primary", &[read_only(cluster.flavour)]).await;
    watch.writes_stopped("primary is read-only", SOON).await;
    run(cluster, "primary", writable(cluster.flavour)).await;
    watch.writes_to("primary", SOON).await;

    // A replica that is merely writable is no second primary.
    run(cluster, "replica1", writable(cluster.flavour)).await;
    watch
        .until("warned", SOON, |_| {
            watch.backend("replica1").is_some_and(|backend| {
                backend.warnings.iter().any(|warning| warning.contains("writable"))
            })
        })
        .await;
    watch.writes_to("primary", SOON).await;

    // Cut off and written to, it is one: neither has all that the other has.
    let wild = ["STOP REPLICA", "RESET REPLICA ALL", "CREATE TABLE app.wild (id INT)"];
    run(cluster, "replica1", &wild).await;
    run(cluster, "primary", &["REPLACE INTO app.ticks VALUES (2, 2)"]).await;
    watch.writes_stopped("are all writable, and none of them holds all", SOON).await;
    watch.no_reads("replica1", "it is writable", SOON).await;
    watch.reads("replica2", SOON).await;
    run(cluster, "replica1", &[read_only(cluster.flavour)]).await;
    watch.writes_to("primary", SOON).await;
    watch.no_reads("replica1", "replicates from nobody", SOON).await;
}

crate::on_both_flavours!(an_account_without_privileges_is_told_the_grant);

async fn an_account_without_privileges_is_told_the_grant(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let watch = Watch::start(cluster, "rwproxy", "wrong");
    watch.writes_stopped("1045", PATIENCE).await;
    watch.no_reads("primary", "RWPROXY_MONITOR_PASSWORD", SOON).await;
    let primary = watch.backend("primary").expect("it is listed");
    assert!(matches!(primary.state, State::NoAccess(_)), "{:?}", primary.state);

    // Connects, and may nothing.
    let create = ["CREATE USER IF NOT EXISTS unprivileged@'%' IDENTIFIED BY 'x'"];
    run(cluster, "primary", &create).await;
    let watch = Watch::start(cluster, "unprivileged", "x");
    let grant = match flavour {
        Flavour::MySql => "GRANT REPLICATION CLIENT ON *.* TO 'unprivileged'@'%'",
        Flavour::MariaDb => "SLAVE MONITOR ON *.* TO 'unprivileged'@'%'",
    };
    watch.no_reads("primary", grant, PATIENCE).await;
    run(cluster, "primary", &["DROP USER unprivileged@'%'"]).await;
}

crate::on_both_flavours!(accounts_and_greeting_are_followed);

async fn accounts_and_greeting_are_followed(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let watch = Watch::start(cluster, "rwproxy", "rwproxy");
    let mut profile = watch.handles.profile.clone();
    let profile = profile.wait_for(Option::is_some).await.expect("it runs").clone();
    let profile = profile.expect("it was waited for");
    let name = |id: u16| {
        let found = profile.collations.iter().find(|(known, ..)| *known == id);
        found.map(|(_, _, name)| name.to_string())
    };
    assert_eq!(name(45).as_deref(), Some("utf8mb4_general_ci"));
    assert_eq!(name(63).as_deref(), Some("binary"));
    assert!(watch.handles.greeting.load().is_some());

    let directory = watch.handles.directory.clone();
    let user = format!("watched_{}", std::process::id());
    let of = |statement: &str| statement.replace('?', &format!("{user}@'%'"));
    let fingerprint = || directory.borrow().fingerprint(user.as_bytes());
    let rows = || directory.borrow().rows(user.as_bytes()).count();
    assert_eq!(rows(), 0);
    run(cluster, "primary", &[&of("CREATE USER ? IDENTIFIED BY 'one'")]).await;
    let patience = 3 * SOON;
    eventually("the account", patience, async || (rows() == 1).then_some(())).await;

    let mut before = fingerprint();
    let steps: [(&str, bool, bool); 5] = [
        ("ALTER USER ? IDENTIFIED BY 'two'", true, false),
        ("GRANT SELECT ON app.* TO ?", false, true),
        ("REVOKE SELECT ON app.* FROM ?", false, true),
        ("ALTER USER ? ACCOUNT LOCK", true, false),
        ("ALTER USER ? REQUIRE SSL", true, false),
    ];
    for (statement, login, rights) in steps {
        run(cluster, "primary", &[&of(statement)]).await;
        let changed =
            eventually(statement, patience, async || Some(fingerprint()).filter(|f| *f != before))
                .await;
        assert!(!login || changed.login != before.login, "{statement}");
        assert!(!rights || changed.rights != before.rights, "{statement}");
        before = changed;
    }
    run(cluster, "primary", &[&of("DROP USER ?")]).await;
    // Asked for at once, a reading comes before its time.
    let request = watch.handles.requests.ask();
    eventually("a reading", SOON, async || (directory.borrow().request() >= request).then_some(()))
        .await;
    eventually("no account", patience, async || (rows() == 0).then_some(())).await;
}
