//! One primary and its replicas in containers, made by `cluster.sh`.

use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use serde::Deserialize;
use tokio::sync::{Mutex, MutexGuard};

use super::chaos::docker;
use super::eventually;

/// The longest statement of those that are only to be run.
const STATEMENT: Duration = Duration::from_secs(180);
/// The longest login at a server that answers.
const LOGIN: Duration = Duration::from_secs(20);
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/containers/cluster.sh");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    MySql,
    MariaDb,
}

impl Flavour {
    pub fn name(self) -> &'static str {
        match self {
            Flavour::MySql => "mysql",
            Flavour::MariaDb => "mariadb",
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    pub server: String,
    pub role: String,
    pub container: String,
    pub ip: String,
    pub port: u16,
}

#[derive(Debug, Clone, Deserialize)]
struct Status {
    servers: Vec<Server>,
}

/// A running cluster. One of a test's own is removed when dropped; shared ones are removed by
/// whoever runs the tests (`tests/run.sh`), by their names.
#[derive(Debug)]
pub struct Cluster {
    pub name: String,
    pub flavour: Flavour,
    pub servers: Vec<Server>,
    owned: bool,
}

impl Cluster {
    /// A cluster of this test's own, that it may break.
    pub fn start(flavour: Flavour, settings: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}{number}", run(), flavour.name());
        Self::up(name, flavour, settings, true)
    }

    /// The cluster of this flavour that tests share which leave it as they found it.
    pub fn shared(flavour: Flavour) -> &'static Cluster {
        static CLUSTERS: [OnceLock<Cluster>; 2] = [const { OnceLock::new() }; 2];
        Self::one_of(&CLUSTERS, flavour, "shared")
    }

    /// Another one, for tests that send so much that nobody could search the general log afterwards.
    pub fn unlogged(flavour: Flavour) -> &'static Cluster {
        static CLUSTERS: [OnceLock<Cluster>; 2] = [const { OnceLock::new() }; 2];
        Self::one_of(&CLUSTERS, flavour, "unlogged")
    }

    fn one_of(
        clusters: &'static [OnceLock<Cluster>; 2],
        flavour: Flavour,
        kind: &str,
    ) -> &'static Cluster {
        clusters[flavour as usize].get_or_init(|| {
            let name = format!("{}-{kind}-{}", run(), flavour.name());
            // An earlier run under the same name may have left it, for the next to be quick.
            match try_script(&["status", &name, "--json"]) {
                Ok(printed) => Self::read(name, flavour, &printed, false),
                Err(_) => Self::up(name, flavour, &[], false),
            }
        })
    }

    /// The cluster of this flavour whose servers tests stop, pause and kill, one test at a time.
    /// Whoever has it begins with [`repair`](Self::repair).
    pub async fn breakable(flavour: Flavour) -> MutexGuard<'static, Cluster> {
        static MYSQL: OnceLock<Mutex<Cluster>> = OnceLock::new();
        static MARIADB: OnceLock<Mutex<Cluster>> = OnceLock::new();
        let cell = match flavour {
            Flavour::MySql => &MYSQL,
            Flavour::MariaDb => &MARIADB,
        };
        let start = || {
            let name = format!("{}-breakable-{}", run(), flavour.name());
            Mutex::new(Self::up(name, flavour, &[], false))
        };
        cell.get_or_init(start).lock().await
    }

    fn up(name: String, flavour: Flavour, settings: &[&str], owned: bool) -> Self {
        let kind = format!("FLAVOUR={}", flavour.name());
        let mut arguments = vec!["up", &name, &kind, "--json"];
        arguments.extend(settings);
        let printed = script(&arguments);
        Self::read(name, flavour, &printed, owned)
    }

    fn read(name: String, flavour: Flavour, printed: &str, owned: bool) -> Self {
        let status: Status = serde_json::from_str(printed).expect("cluster.sh prints JSON");
        Cluster { name, flavour, servers: status.servers, owned }
    }

    /// Reads addresses and states anew, after containers were stopped or started.
    pub fn refresh(&mut self) {
        let printed = script(&["status", &self.name, "--json"]);
        let status: Status = serde_json::from_str(&printed).expect("cluster.sh prints JSON");
        self.servers = status.servers;
    }

    /// `primary`, `replica1`, `replica2`.
    pub fn server(&self, name: &str) -> &Server {
        self.servers.iter().find(|server| server.server == name).expect("a server of this name")
    }

    pub fn primary(&self) -> &Server {
        self.server("primary")
    }

    /// Where clients connect to the primary itself.
    pub fn primary_address(&self) -> std::net::SocketAddr {
        let primary = self.primary();
        std::net::SocketAddr::new(primary.ip.parse().expect("an address"), primary.port)
    }

    pub fn replicas(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.role == "replica")
    }

    /// A connection to a server itself, as root.
    pub async fn root(&self, server: &str) -> Conn {
        let server = self.server(server);
        connect(&server.ip, server.port, "root", "root", None).await
    }

    /// The address of this machine in the cluster's network.
    pub fn gateway(&self) -> String {
        let network = format!("rwproxy-{}", self.name);
        super::docker::docker(&[
            "network",
            "inspect",
            "--format",
            "{{(index .IPAM.Config 0).Gateway}}",
            &network,
        ])
    }

    /// One more server that replicates from nobody and that no proxy is told of, ready for root.
    /// It goes with the cluster.
    pub async fn bare(&self, server: &str) -> Server {
        let printed = script(&["bare", &self.name, server]);
        let field = |name: &str| {
            let value = printed.split_whitespace().find_map(|pair| pair.strip_prefix(name));
            value.expect("cluster.sh prints fields").to_owned()
        };
        let server = Server {
            server: server.to_owned(),
            role: "none".to_owned(),
            container: field("container="),
            ip: field("ip="),
            port: field("port=").parse().expect("a port"),
        };
        let options = options(&server.ip, server.port, "root", "root", None);
        eventually("the bare server answers", Duration::from_secs(60), async || {
            try_connect(options.clone()).await.ok()
        })
        .await;
        server
    }

    /// Runs a statement on a server itself, as root.
    pub async fn run_on(&self, server: &str, statement: &str) {
        self.run_all(server, &[statement]).await;
    }

    /// Runs statements on a server itself in one connection, as root.
    pub async fn run_all(&self, server: &str, statements: &[impl AsRef<str>]) {
        tell(self.root(server).await, server, statements).await;
    }

    /// Runs containers and replication again, whatever a failed test has left.
    pub async fn repair(&mut self) {
        for server in &self.servers {
            let container = &server.container;
            match docker(&["inspect", "--format", "{{.State.Status}}", container]).await.trim() {
                "running" => {}
                "paused" => drop(docker(&["unpause", container]).await),
                _ => drop(docker(&["start", container]).await),
            }
        }
        self.refresh();
        let start = match self.flavour {
            Flavour::MySql => "START REPLICA",
            Flavour::MariaDb => "START SLAVE",
        };
        for server in &self.servers {
            self.await_server(&server.server).await;
            if server.role == "replica" {
                self.run_on(&server.server, start).await;
            }
        }
        self.settle().await;
    }

    /// Waits until a server that was started lets root in.
    pub async fn await_server(&self, server: &str) {
        let server = self.server(server);
        let options = options(&server.ip, server.port, "root", "root", None);
        eventually(&format!("{} answers", server.server), Duration::from_secs(60), async || {
            try_connect(options.clone()).await.ok()
        })
        .await;
    }

    /// Waits until the replicas have applied everything that the primary has written so far.
    pub async fn settle(&self) {
        let mut primary = self.root("primary").await;
        let (position, wait) = match self.flavour {
            Flavour::MySql => ("SELECT @@GLOBAL.gtid_executed", "WAIT_FOR_EXECUTED_GTID_SET"),
            Flavour::MariaDb => ("SELECT @@GLOBAL.gtid_binlog_pos", "MASTER_GTID_WAIT"),
        };
        let position: Option<String> = primary.query_first(position).await.expect("a position");
        let _ = primary.disconnect().await;
        for replica in self.replicas() {
            let mut conn = self.root(&replica.server).await;
            let applied: Option<i64> = conn
                .exec_first(format!("SELECT {wait}(?, 30)"), (&position,))
                .await
                .expect("a wait for a position");
            assert_eq!(applied, Some(0), "{} does not catch up", replica.server);
            let _ = conn.disconnect().await;
        }
    }

    /// Switches every server's general log on.
    pub async fn log_statements(&self) {
        for server in &self.servers {
            let mut conn = self.root(&server.server).await;
            let mut logging = conn.query_drop("SET GLOBAL general_log = ON").await;
            if let Err(mysql_async::Error::Server(error)) = &logging
                && error.code == CRASHED_ON_USAGE
            {
                repair_log(&mut conn).await;
                logging = conn.query_drop("SET GLOBAL general_log = ON").await;
            }
            logging.unwrap_or_else(|error| panic!("{}: {error}", server.server));
            let _ = conn.disconnect().await;
        }
    }

    /// How many statements with this marker a server's general log holds that clients have sent.
    pub async fn count_logged(&self, server: &str, marker: &str) -> u64 {
        let mut conn = self.root(server).await;
        // The search itself must not be found by the next one.
        let count = conn
            .exec_first(
                "SELECT COUNT(*) FROM mysql.general_log WHERE command_type IN ('Query', 'Execute') \
                 AND CONVERT(argument USING utf8mb4) LIKE ? \
                 AND CONVERT(argument USING utf8mb4) NOT LIKE '%mysql.general_log%'",
                (format!("%{marker}%"),),
            )
            .await
            .expect("the general log")
            .expect("a count");
        let _ = conn.disconnect().await;
        count
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.owned {
            script(&["down", &self.name]);
        }
    }
}

/// ER_CRASHED_ON_USAGE.
const CRASHED_ON_USAGE: u16 = 1194;

/// MySQL finds the log's table crashed after a kill, and a super-read-only server does not mend it.
async fn repair_log(conn: &mut Conn) {
    for statement in [
        "SET GLOBAL super_read_only = OFF",
        "REPAIR NO_WRITE_TO_BINLOG TABLE mysql.general_log",
        "SET GLOBAL super_read_only = ON",
    ] {
        conn.query_drop(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// A connection by address.
pub async fn connect(
    host: &str,
    port: u16,
    user: &str,
    password: &str,
    database: Option<&str>,
) -> Conn {
    let options = options(host, port, user, password, database);
    try_connect(options).await.unwrap_or_else(|error| panic!("{user}@{host}:{port}: {error}"))
}

/// Runs statements, each of which must succeed in time, and ends the connection. `server` is for what is said of
/// one that does not.
pub async fn tell(mut conn: Conn, server: &str, statements: &[impl AsRef<str>]) {
    for statement in statements.iter().map(AsRef::as_ref) {
        let done = tokio::time::timeout(STATEMENT, conn.query_drop(statement)).await;
        let done = done.unwrap_or_else(|_| panic!("{server}: {statement}: no end"));
        done.unwrap_or_else(|error| panic!("{server}: {statement}: {error}"));
    }
    let _ = conn.disconnect().await;
}

/// A login in time: of a server that is just ending nothing may come any more.
pub async fn try_connect(options: Opts) -> Result<Conn, String> {
    let conn = tokio::time::timeout(LOGIN, Conn::new(options)).await;
    conn.map_err(|_| format!("no login within {LOGIN:?}"))?.map_err(|error| error.to_string())
}

pub fn options(host: &str, port: u16, user: &str, password: &str, database: Option<&str>) -> Opts {
    OptsBuilder::default()
        .ip_or_hostname(host)
        .tcp_port(port)
        .user(Some(user))
        .pass(Some(password))
        .db_name(database)
        .prefer_socket(false)
        .into()
}

/// The name of this run of tests: what is left over can be found by it.
pub fn run() -> String {
    std::env::var("RWPROXY_TEST_RUN").unwrap_or_else(|_| format!("run{}", std::process::id()))
}

fn script(arguments: &[&str]) -> String {
    try_script(arguments).unwrap_or_else(|error| panic!("cluster.sh {arguments:?}: {error}"))
}

fn try_script(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("timeout")
        .args(["600", SCRIPT])
        .args(arguments)
        .output()
        .expect("cluster.sh starts");
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).expect("cluster.sh prints text")),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
