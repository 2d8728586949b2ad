//! Servers that nobody has set up, in containers, and the command that does.

use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, Stdio};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::support::cluster::{connect, options, run};
use crate::support::docker::{IMAGE, Network, docker};
use crate::support::{Flavour, eventually};

/// Small and quick; nothing of it has to do with replication.
const SMALL: [&str; 6] = [
    "--innodb-buffer-pool-size=64M",
    "--innodb-use-native-aio=OFF",
    "--innodb-flush-method=nosync",
    "--innodb-flush-log-at-trx-commit=2",
    "--sync-binlog=0",
    "--innodb-log-buffer-size=4M",
];

/// A run of the command.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub text: String,
}

impl Ended {
    pub fn failed_with(&self, part: &str) -> bool {
        self.code == 1 && self.text.contains(part)
    }

    /// The options that were printed, by service.
    pub fn options(&self) -> Vec<(String, Vec<String>)> {
        let mut all: Vec<(String, Vec<String>)> = Vec::new();
        let lines = self.text.lines().skip_while(|line| *line != "services:").skip(1);
        for line in lines.take_while(|line| line.starts_with("  ")) {
            if let Some(option) = line.strip_prefix("      - ") {
                all.last_mut().expect("a service").1.push(option.to_owned());
            } else if !line.starts_with("    ") {
                all.push((line.trim().trim_end_matches(':').to_owned(), Vec::new()));
            }
        }
        all
    }
}

pub struct Fleet {
    flavour: Flavour,
    name: String,
    network: Network,
    containers: Vec<String>,
    directory: tempfile::TempDir,
}

impl Fleet {
    pub fn new(flavour: Flavour, name: &str) -> Self {
        let name = format!("{}-setup-{name}-{}", run(), flavour.name());
        let network = Network::create(&format!("setup-{name}"));
        let directory = tempfile::tempdir().expect("a directory");
        let fleet = Fleet { flavour, name, network, containers: Vec::new(), directory };
        fleet.configure("proxy.toml", "root", "root");
        fleet
    }

    /// Starts a server with these options, in place of one of the same name, and waits for it.
    pub async fn start(&mut self, server: &str, role: &str, options: &[&str]) {
        let container = self.container(server);
        remove(&container);
        let image = match self.flavour {
            Flavour::MySql => "rwproxy-test/mysql:9.7",
            Flavour::MariaDb => IMAGE,
        };
        let labels = [
            format!("rwproxy-test={}", self.name),
            format!("rwproxy.cluster={}", self.name),
            format!("rwproxy.role={role}"),
        ];
        let mut arguments = vec!["run", "--detach", "--name", &container, "--hostname", server];
        arguments.extend(["--network", &self.network.name, "--network-alias", server]);
        arguments.extend(["--restart", "unless-stopped", "--volume", "/var/lib/mysql"]);
        arguments.extend(["--env", "MYSQL_ROOT_PASSWORD=root", "--label", "rwproxy.enable=true"]);
        for label in &labels {
            arguments.extend(["--label", label]);
        }
        arguments.push(image);
        arguments.extend(SMALL);
        if self.flavour == Flavour::MySql {
            arguments.extend(["--mysqlx=OFF", "--innodb-redo-log-capacity=32M"]);
        }
        arguments.extend(options);
        docker(&arguments);
        if !self.containers.contains(&container) {
            self.containers.push(container);
        }
        self.await_server(server).await;
    }

    pub async fn await_server(&self, server: &str) {
        eventually(&format!("{server} answers"), Duration::from_secs(90), async || {
            let ip = self.ip(server);
            Conn::new(options(&ip, 3306, "root", "root", None)).await.ok()
        })
        .await;
    }

    pub fn container(&self, server: &str) -> String {
        format!("rwproxy-{}-{server}", self.name)
    }

    pub fn ip(&self, server: &str) -> String {
        let network = &self.network.name;
        let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        docker(&["inspect", "--format", &format, &self.container(server)])
    }

    pub async fn root(&self, server: &str) -> Conn {
        connect(&self.ip(server), 3306, "root", "root", None).await
    }

    /// Where the password of an account is kept.
    pub fn secret(&self, account: &str) -> PathBuf {
        self.directory.path().join(format!("{account}.secret"))
    }

    /// `proxy.toml`, with places that do not depend on where it stands.
    pub fn configuration(&self) -> String {
        self.written("root", "root")
    }

    fn written(&self, user: &str, password: &str) -> String {
        format!(
            "[docker]\ncluster = \"{}\"\n\
             [administrator]\nuser = \"{user}\"\npassword = \"{password}\"\n\
             [replication]\nuser = \"replication\"\npassword_file = \"{}\"\n\
             [monitor]\npassword_file = \"{}\"\n",
            self.name,
            self.secret("replication").display(),
            self.secret("monitor").display()
        )
    }

    fn configure(&self, file: &str, user: &str, password: &str) -> PathBuf {
        let path = self.directory.path().join(file);
        std::fs::write(&path, self.written(user, password)).expect("the configuration");
        path
    }

    fn command(&self, config: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rwproxy"));
        command.arg("setup").args(arguments).arg("--config").arg(config);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    pub async fn setup(&self, arguments: &[&str]) -> Ended {
        ended(self.command(&self.directory.path().join("proxy.toml"), arguments)).await
    }

    pub async fn setup_as(&self, user: &str, password: &str, arguments: &[&str]) -> Ended {
        let config = self.configure("other.toml", user, password);
        ended(self.command(&config, arguments)).await
    }

    /// Kills the command a moment after its step number `step` has begun; what that was. It may have
    /// ended before.
    pub async fn killed_setup(&self, step: usize) -> Option<String> {
        let config = self.directory.path().join("proxy.toml");
        let mut child = self.command(&config, &["--yes", "--wait", "1s"]).spawn().expect("it runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let begins = format!("{step:>2}/");
        let mut found = None;
        while let Ok(Some(line)) = lines.next_line().await {
            if line.starts_with(&begins) {
                found = Some(line);
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
        let _ = child.kill().await;
        found
    }

    /// Runs the command, and does something a moment after it has begun with a step of this kind.
    pub async fn setup_while(&self, arguments: &[&str], step: &str, act: impl FnOnce()) -> Ended {
        let config = self.directory.path().join("proxy.toml");
        let mut child = self.command(&config, arguments).spawn().expect("it runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut text = String::new();
        let mut act = Some(act);
        while let Ok(Some(line)) = lines.next_line().await {
            let begins = line
                .trim_start()
                .split_once('/')
                .is_some_and(|(number, _)| number.chars().all(|c| c.is_ascii_digit()));
            let is_it = line.contains("CLONE INSTANCE")
                || line.contains("are dropped")
                || line.contains(step);
            if begins
                && is_it
                && let Some(act) = act.take()
            {
                tokio::time::sleep(Duration::from_millis(150)).await;
                act();
            }
            text += &line;
            text.push('\n');
        }
        assert!(act.is_none(), "no such step: {text}");
        let mut errors = String::new();
        let mut stderr = child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut errors).await.expect("text");
        let status = child.wait().await.expect("it ends");
        Ended { code: status.code().unwrap_or(-1), text: text + &errors }
    }

    /// What setup may have changed, by server.
    pub async fn settings(&self) -> Vec<(String, Vec<(String, String)>)> {
        let mut all = Vec::new();
        for container in &self.containers {
            let server = container.rsplit('-').next().expect("a name");
            let mut root = self.root(server).await;
            let variables: Vec<(String, String)> = root
                .query(
                    "SHOW GLOBAL VARIABLES WHERE Variable_name LIKE 'rpl_semi%' \
                     OR Variable_name LIKE 'gtid%' OR Variable_name IN ('read_only', 'server_id')",
                )
                .await
                .expect("variables");
            all.push((server.to_owned(), variables));
        }
        all
    }

    /// The table is the same on all of these, once the replicas have applied everything: by count and
    /// by the server's checksum.
    pub async fn alike(&self, servers: &[&str], table: &str) {
        let mut root = self.root(servers[0]).await;
        let expected = contents(&mut root, table).await;
        for server in &servers[1..] {
            let what = format!("{table} is the same on {server}: {expected:?}");
            let mut root = self.root(server).await;
            eventually(&what, Duration::from_secs(60), async || {
                (contents(&mut root, table).await == expected).then_some(())
            })
            .await;
        }
        assert!(expected.0 > 0, "{table} is empty");
    }
}

async fn contents(conn: &mut Conn, table: &str) -> (u64, Option<u64>) {
    let count = conn.query_first(format!("SELECT COUNT(*) FROM {table}")).await;
    let sum: Result<Option<(String, Option<u64>)>, _> =
        conn.query_first(format!("CHECKSUM TABLE {table} EXTENDED")).await;
    (count.ok().flatten().unwrap_or(0), sum.ok().flatten().and_then(|(_, sum)| sum))
}

async fn ended(mut command: Command) -> Ended {
    let output = command.output().await.expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    Ended {
        code: output.status.code().unwrap_or(-1),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

fn remove(container: &str) {
    let _ = Blocking::new("docker").args(["rm", "--force", "--volumes", container]).output();
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for container in &self.containers {
            if std::thread::panicking() {
                let log = Blocking::new("docker").args(["logs", "--tail", "5", container]).output();
                let log = log.map(|it| [it.stdout, it.stderr].concat()).unwrap_or_default();
                eprintln!("-- {container}\n{}", String::from_utf8_lossy(&log));
            }
            remove(container);
        }
    }
}
