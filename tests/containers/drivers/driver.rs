//! The drivers, and how their programs are built and run.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::tap::Tap;
use crate::support::Cluster;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/containers/drivers");
/// For all logins of one driver.
const PATIENCE: Duration = Duration::from_secs(60);
const JAVA_DRIVER: &str = "/usr/share/java/mariadb-java-client.jar";
const GO_PATH: &str = "/usr/share/gocode";

pub struct Driver {
    pub name: &'static str,
    pub program: Program,
    /// When it asks a server for the public key that encrypts a password without TLS.
    pub key: KeyRetrieval,
    /// Whether it wants to know the server's certificate unless the password proves it.
    pub verifies: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRetrieval {
    Always,
    WhenTold,
    Never,
}

#[derive(Debug, Clone, Copy)]
pub enum Program {
    /// `mysql` or `mariadb` of an image, which `build-images.sh` makes by the name `build`.
    ClientOf {
        image: &'static str,
        build: &'static str,
        client: &'static str,
    },
    /// `mariadb` of this machine.
    Client,
    Python(&'static str),
    Java,
    Go,
    MysqlAsync,
}

pub const DRIVERS: [Driver; 9] = [
    Driver {
        name: "mysql",
        program: Program::ClientOf {
            image: "rwproxy-test/mysql:9.7",
            build: "mysql",
            client: "mysql",
        },
        key: KeyRetrieval::WhenTold,
        verifies: false,
    },
    driver("mariadb", Program::Client, KeyRetrieval::Always),
    Driver {
        name: "mariadb118",
        program: Program::ClientOf {
            image: "rwproxy-test/mariadb:11.8",
            build: "mariadb-11.8",
            client: "mariadb",
        },
        key: KeyRetrieval::Always,
        verifies: true,
    },
    driver("pymysql", Program::Python("with_pymysql.py"), KeyRetrieval::Always),
    driver("connector", Program::Python("with_connector.py"), KeyRetrieval::Never),
    driver("mysqlclient", Program::Python("with_mysqlclient.py"), KeyRetrieval::Always),
    driver("connectorj", Program::Java, KeyRetrieval::WhenTold),
    driver("go", Program::Go, KeyRetrieval::Always),
    driver("mysql_async", Program::MysqlAsync, KeyRetrieval::Always),
];

const fn driver(name: &'static str, program: Program, key: KeyRetrieval) -> Driver {
    Driver { name, program, key, verifies: false }
}

/// What a driver is to log in with.
#[derive(Debug, Clone)]
pub struct Login {
    pub address: SocketAddr,
    pub user: String,
    pub password: &'static str,
    pub database: &'static str,
    pub tls: bool,
    pub key_retrieval: bool,
}

impl Login {
    fn arguments(&self) -> [String; 7] {
        let switch = |name, on| format!("{name}={}", if on { "yes" } else { "no" });
        [
            self.address.ip().to_string(),
            self.address.port().to_string(),
            self.user.clone(),
            self.password.to_owned(),
            self.database.to_owned(),
            switch("tls", self.tls),
            switch("key-retrieval", self.key_retrieval),
        ]
    }
}

/// What a program reports of one login.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Line {
    pub ok: bool,
    version: String,
    rows: String,
    /// 0 when the error is the driver's own.
    pub code: i64,
    message: String,
}

impl Line {
    /// The report without what differs from login to login: names, numbers, addresses.
    pub fn told(&self, user: &str) -> String {
        if self.ok {
            return format!("served by {}: {}", self.version, self.rows);
        }
        let message = self.message.replace(user, "USER");
        let mut text = String::new();
        for part in message.split(|c: char| c.is_ascii_digit() || c == '.') {
            // Between the digits of one number or address there is nothing.
            if !part.is_empty() {
                text.push_str(part);
                text.push('#');
            }
        }
        format!("refused with {}: {text}", self.code)
    }
}

/// The programs, ready to run for clients of one cluster.
pub struct Programs {
    /// The address of this machine on the cluster's network: no loopback one, reached by
    /// containers, too.
    gateway: IpAddr,
    network: String,
    cluster: String,
    build: PathBuf,
    python: PathBuf,
}

impl Programs {
    /// Builds what needs building.
    ///
    /// # Panics
    /// When something is not installed; the message names it.
    pub async fn prepare(cluster: &Cluster) -> Self {
        // target/debug/rwproxy
        let target = Path::new(env!("CARGO_BIN_EXE_rwproxy")).ancestors().nth(2).expect("target");
        let python = std::env::var_os("RWPROXY_TEST_PYTHON")
            .map_or_else(|| target.join("venv/bin/python"), PathBuf::from);
        let build = target.join("drivers");
        need(&python, "Python's drivers", "tests/containers/prepare.sh test");
        static COMPILED: OnceCell<()> = OnceCell::const_new();
        COMPILED.get_or_init(|| compile(&build)).await;
        let network = format!("rwproxy-{}", cluster.name);
        let mut inspect = Command::new("docker");
        inspect.args(["network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}"]);
        let gateway =
            text(finish("docker", inspect.arg(&network), "apt-get install docker.io").await);
        Programs {
            gateway: gateway.trim().parse().expect("a gateway"),
            network,
            cluster: cluster.name.clone(),
            build,
            python,
        }
    }

    /// A relay to a server that this cluster's programs can reach.
    pub async fn tap(&self, server: SocketAddr) -> Tap {
        Tap::new(self.gateway, server).await
    }

    /// Runs a driver's program for all these logins.
    pub async fn run(&self, driver: &Driver, logins: &[Login]) -> Result<Vec<Line>, String> {
        if matches!(driver.program, Program::MysqlAsync) {
            let mut lines = Vec::new();
            for login in logins {
                lines.push(with_mysql_async(login).await);
            }
            return Ok(lines);
        }
        let (mut command, input) = self.command(driver);
        command.args(logins.iter().flat_map(Login::arguments));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.kill_on_drop(true).spawn().map_err(|error| error.to_string())?;
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(&input).await.map_err(|error| error.to_string())?;
        drop(stdin);
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
            .await
            .map_err(|_| format!("not done within {PATIENCE:?}"))?
            .map_err(|error| error.to_string())?;
        let told = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<Line> =
            told.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
        if lines.len() != logins.len() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{} of {} logins: {told}{errors}", lines.len(), logins.len()));
        }
        Ok(lines)
    }

    fn java(&self, class: &str) -> Command {
        let mut java = Command::new("java");
        let path = format!("{}:{JAVA_DRIVER}", self.build.display());
        // A short run: what the second compiler costs never comes back.
        java.args(["-XX:TieredStopAtLevel=1", "-cp", &path, class]);
        java
    }

    /// What a statement ends with that Connector/J cancels.
    pub async fn cancel(&self, server: SocketAddr) -> String {
        let (host, port) = (server.ip().to_string(), server.port().to_string());
        let mut java = self.java("CancelWithConnectorJ");
        java.args([&host, &port, "app", "app", "app"]);
        text(finish("java", &mut java, "apt-get install default-jdk-headless").await)
    }

    /// The command, and what it reads.
    fn command(&self, driver: &Driver) -> (Command, Vec<u8>) {
        match driver.program {
            Program::ClientOf { image, client, .. } => {
                let mut docker = Command::new("docker");
                docker.args(["run", "--rm", "--interactive", "--network", &self.network]);
                // Removed with the cluster, should the test be killed.
                docker.args(["--label", &format!("rwproxy-test={}", self.cluster)]);
                docker.args(["--env", &format!("CLIENT={client}"), image]);
                docker.args(["bash", "-s", "--"]);
                (docker, std::fs::read(source("with_client.sh")).expect("the script"))
            }
            Program::Client => {
                let mut bash = Command::new("bash");
                bash.env("CLIENT", "mariadb").arg(source("with_client.sh"));
                (bash, Vec::new())
            }
            Program::Python(name) => {
                let mut python = Command::new(&self.python);
                python.arg("-B").arg(source(name));
                (python, Vec::new())
            }
            Program::Java => (self.java("WithConnectorJ"), Vec::new()),
            Program::Go => (Command::new(self.build.join("with_go")), Vec::new()),
            Program::MysqlAsync => unreachable!("it has no program"),
        }
    }
}

async fn compile(build: &Path) {
    need(JAVA_DRIVER.as_ref(), "Connector/J", "apt-get install libmariadb-java");
    let go_driver = Path::new(GO_PATH).join("src/github.com/go-sql-driver/mysql");
    need(&go_driver, "go-sql-driver", "apt-get install golang-github-go-sql-driver-mysql-dev");
    std::fs::create_dir_all(build).expect("a directory for programs");
    let mut javac = Command::new("javac");
    javac.arg("-d").arg(build);
    javac.args(["WithConnectorJ.java", "CancelWithConnectorJ.java"].map(source));
    let mut go = Command::new("go");
    go.env("GO111MODULE", "off").env("GOPATH", GO_PATH).args(["build", "-o"]);
    go.arg(build.join("with_go")).arg(source("with_go.go"));
    tokio::join!(
        finish("javac", &mut javac, "apt-get install default-jdk-headless"),
        finish("go", &mut go, "apt-get install golang-go"),
        build_images()
    );
}

/// Those that clients are taken from, unless they are there.
async fn build_images() {
    let names = DRIVERS.iter().filter_map(|driver| match driver.program {
        Program::ClientOf { build, .. } => Some(build),
        _ => None,
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/containers/build-images.sh");
    finish(script, Command::new(script).args(names), "the repository is not whole").await;
}

fn source(name: &str) -> PathBuf {
    Path::new(SOURCES).join(name)
}

fn need(path: &Path, what: &str, remedy: &str) {
    assert!(path.exists(), "{what}: no {}; {remedy}", path.display());
}

async fn finish(program: &str, command: &mut Command, remedy: &str) -> Output {
    let output = command.output().await;
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; {remedy}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    output
}

fn text(output: Output) -> String {
    String::from_utf8(output.stdout).expect("text")
}

// -- mysql_async, which needs no program -----------------------------------------------------------

/// As the programs do: logs in, writes, reads.
async fn with_mysql_async(login: &Login) -> Line {
    let served = tokio::time::timeout(PATIENCE, write_and_read(login)).await;
    match served {
        Ok(Ok((version, rows))) => Line { ok: true, version, rows, ..Line::default() },
        Ok(Err(error)) => {
            let code = match &error {
                mysql_async::Error::Server(error) => error.code.into(),
                _ => 0,
            };
            Line { code, message: error.to_string(), ..Line::default() }
        }
        Err(_) => Line { message: "not in time".to_owned(), ..Line::default() },
    }
}

async fn write_and_read(login: &Login) -> mysql_async::Result<(String, String)> {
    let tls = SslOpts::default()
        .with_danger_accept_invalid_certs(true)
        .with_danger_skip_domain_validation(true);
    let options = OptsBuilder::default()
        .ip_or_hostname(login.address.ip().to_string())
        .tcp_port(login.address.port())
        .user(Some(&login.user))
        .pass(Some(login.password))
        .db_name(Some(login.database))
        .prefer_socket(false)
        .ssl_opts(login.tls.then_some(tls));
    let mut conn = Conn::new(options).await?;
    let version: Option<String> = conn.query_first("SELECT VERSION()").await?;
    let table = format!("written_by_{}", login.user);
    conn.query_drop(format!(
        "CREATE TABLE IF NOT EXISTS {table} (id INT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(20))"
    ))
    .await?;
    conn.exec_drop(format!("INSERT INTO {table} (word) VALUES (?)"), ("it's",)).await?;
    let rows: Vec<(i32, String)> = conn.query("SELECT id, word FROM seeds ORDER BY id").await?;
    conn.disconnect().await?;
    let rows: Vec<_> = rows.iter().map(|(id, word)| format!("{id}:{word}")).collect();
    Ok((version.unwrap_or_default(), rows.join(",")))
}
