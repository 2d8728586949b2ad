//! Servers that nobody has set up, in containers, and the command that does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::state::{self, State};
use crate::support::cluster::{connect, options, run, try_connect};
use crate::support::docker::{self, IMAGE, Network, docker};
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

/// What holds a server's data goes with its container.
pub const VOLUME: &[&str] = &["--volume", "/var/lib/mysql"];

/// One run of the command on servers that are small.
const LONGEST: Duration = Duration::from_secs(300);

/// A run of the command.
pub struct Ended {
    pub code: i32,
    pub text: String,
}

/// As it stood on the screen.
impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}:\n{}", self.code, self.text)
    }
}

impl Ended {
    pub fn failed_with(&self, part: &str) -> bool {
        self.code == 1 && self.text.contains(part)
    }

    /// The steps that were carried out, and how long each took.
    pub fn steps(&self) -> Vec<(String, Duration)> {
        let mut steps: Vec<(String, Duration)> = Vec::new();
        for line in self.text.lines() {
            if let Some((_, step)) = begun(line) {
                steps.push((step.to_owned(), Duration::ZERO));
            } else if let Some(took) = line.trim().strip_prefix("done in ") {
                let took = took.trim_end_matches(" ms").parse().expect("milliseconds");
                steps.last_mut().expect("a step").1 = Duration::from_millis(took);
            }
        }
        steps
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
    image: &'static str,
    name: String,
    network: Network,
    containers: Vec<String>,
    directory: tempfile::TempDir,
}

impl Fleet {
    pub fn new(flavour: Flavour, name: &str) -> Self {
        let image = match flavour {
            Flavour::MySql => "rwproxy-test/mysql:9.7",
            Flavour::MariaDb => IMAGE,
        };
        Self::of_image(flavour, image, name)
    }

    pub fn of_image(flavour: Flavour, image: &'static str, name: &str) -> Self {
        let name = format!("setup-{name}-{}", flavour.name());
        let network = Network::create(&name);
        let name = format!("{}-{name}", run());
        let directory = tempfile::tempdir().expect("a directory");
        let fleet = Fleet { flavour, image, name, network, containers: Vec::new(), directory };
        fleet.configure("proxy.toml", "root", "root");
        fleet
    }

    /// Starts a server with these options, in place of one of the same name, and waits for it.
    pub async fn start(&mut self, server: &str, role: &str, options: &[&str]) {
        self.launch(server, role, VOLUME, options);
        self.await_server(server).await;
    }

    /// The same without waiting. `storage`: options of `docker run` for its data.
    pub fn launch(&mut self, server: &str, role: &str, storage: &[&str], options: &[&str]) {
        let container = self.container(server);
        remove(&container);
        let labels = [
            format!("rwproxy-test={}", self.name),
            format!("rwproxy.cluster={}", self.name),
            format!("rwproxy.role={role}"),
        ];
        let mut arguments = vec!["run", "--detach", "--name", &container, "--hostname", server];
        arguments.extend(["--network", &self.network.name, "--network-alias", server]);
        arguments.extend(["--restart", "unless-stopped"]);
        arguments.extend(storage);
        arguments.extend(["--env", "MYSQL_ROOT_PASSWORD=root", "--label", "rwproxy.enable=true"]);
        for label in &labels {
            arguments.extend(["--label", label]);
        }
        arguments.push(self.image);
        arguments.extend(SMALL);
        if self.flavour == Flavour::MySql {
            arguments.extend(["--mysqlx=OFF", "--innodb-redo-log-capacity=32M"]);
        }
        arguments.extend(options);
        docker(&arguments);
        if !self.containers.contains(&container) {
            self.containers.push(container);
        }
    }

    /// The primary and these replicas, new and all at once, with the options that their flavour needs,
    /// labelled as what they are to be. Passwords that were made before are gone.
    pub async fn renew(&mut self, replicas: &[&str]) {
        for account in ["replication", "monitor"] {
            let _ = std::fs::remove_file(self.secret(account));
        }
        self.launch("primary", "primary", VOLUME, &self.needed(1));
        for (replica, id) in replicas.iter().zip(2..) {
            self.launch(replica, "replica", VOLUME, &self.needed(id));
        }
        for server in ["primary"].iter().chain(replicas) {
            self.await_server(server).await;
        }
    }

    /// The options that a server cannot do without. Number 1 is the primary.
    pub fn needed(&self, id: usize) -> Vec<&'static str> {
        const IDS: [&str; 4] = ["--server-id=0", "--server-id=1", "--server-id=2", "--server-id=3"];
        match self.flavour {
            Flavour::MySql => Vec::new(),
            Flavour::MariaDb => {
                let mut options = vec!["--log-bin=binlog", "--log-slave-updates=ON", IDS[id]];
                options.extend((id > 1).then_some("--read-only=ON"));
                options
            }
        }
    }

    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    pub async fn await_server(&self, server: &str) {
        eventually(&format!("{server} answers"), Duration::from_secs(90), async || {
            let ip = self.ip(server);
            try_connect(options(&ip, 3306, "root", "root", None)).await.ok()
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
        self.subcommand(config, &[&["setup"], arguments].concat())
    }

    fn subcommand(&self, config: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rwproxy"));
        command.args(arguments).arg("--config").arg(config);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    pub async fn setup(&self, arguments: &[&str]) -> Ended {
        self.setup_within(LONGEST, arguments).await
    }

    pub async fn setup_within(&self, longest: Duration, arguments: &[&str]) -> Ended {
        let config = self.directory.path().join("proxy.toml");
        ended(self.command(&config, arguments), longest).await
    }

    /// `rwproxy check --data`, as fast as it goes.
    pub async fn audit(&self, longest: Duration) -> Ended {
        let config = self.directory.path().join("proxy.toml");
        let arguments = ["check", "--data", "--load", "1"];
        ended(self.subcommand(&config, &arguments), longest).await
    }

    pub async fn setup_as(&self, user: &str, password: &str, arguments: &[&str]) -> Ended {
        let config = self.configure("other.toml", user, password);
        ended(self.command(&config, arguments), LONGEST).await
    }

    /// MySQL: so that there is a middle of the clone.
    pub async fn clones_slowly(&self, replica: &str) {
        let mut root = self.root(replica).await;
        let _ = root.query_drop("INSTALL PLUGIN clone SONAME 'mysql_clone.so'").await;
        for statement in [
            "SET GLOBAL clone_autotune_concurrency = OFF",
            "SET GLOBAL clone_max_concurrency = 1",
            "SET GLOBAL clone_max_data_bandwidth = 10",
        ] {
            root.query_drop(statement).await.expect("the plugin is there");
        }
    }

    /// Kills the command `after` it has told that a step begins which `is` says yes to, by its number
    /// and text. What that was; it may have ended before.
    pub async fn killed_setup(
        &self,
        is: impl Fn(usize, &str) -> bool,
        after: Duration,
    ) -> Option<String> {
        let config = self.directory.path().join("proxy.toml");
        let mut child = self.command(&config, &["--yes", "--wait", "1s"]).spawn().expect("it runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut found = None;
        while let Ok(Some(line)) = lines.next_line().await {
            if begun(&line).is_some_and(|(number, step)| is(number, step)) {
                found = Some(line);
                break;
            }
        }
        tokio::time::sleep(after).await;
        let _ = child.kill().await;
        found
    }

    /// Runs the command, and does something a moment after it has begun to fetch a server's data.
    pub async fn setup_while(&self, arguments: &[&str], act: impl FnOnce()) -> Ended {
        let config = self.directory.path().join("proxy.toml");
        let mut child = self.command(&config, arguments).spawn().expect("it runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut text = String::new();
        let mut act = Some(act);
        while let Ok(Some(line)) = lines.next_line().await {
            if begun(&line).is_some_and(|(_, begun)| is_data(begun))
                && let Some(act) = act.take()
            {
                tokio::time::sleep(Duration::from_millis(150)).await;
                act();
            }
            text += &line;
            text.push('\n');
        }
        assert!(act.is_none(), "no data are fetched: {text}");
        let mut errors = String::new();
        let mut stderr = child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut errors).await.expect("text");
        let status = child.wait().await.expect("it ends");
        Ended { code: status.code().unwrap_or(-1), text: text + &errors }
    }

    /// All that setup may have changed, by server.
    pub async fn states(&self) -> BTreeMap<String, State> {
        let mut all = BTreeMap::new();
        for container in &self.containers {
            let server = container.rsplit('-').next().expect("a name");
            let mut root = self.root(server).await;
            let mut state = state::read(&mut root, self.flavour).await;
            for (account, user) in [("replication", "replication"), ("monitor", "rwproxy")] {
                let lets_in = match std::fs::read_to_string(self.secret(account)) {
                    Ok(password) => {
                        let login = options(&self.ip(server), 3306, user, password.trim(), None);
                        try_connect(login).await.is_ok()
                    }
                    Err(_) => false,
                };
                state.insert(format!("{user} is let in"), lets_in.to_string());
            }
            let position = state::position(&mut root, self.flavour).await;
            let primary = state::position(&mut self.root("primary").await, self.flavour).await;
            state
                .insert("it is where the primary is".to_owned(), (position == primary).to_string());
            all.insert(server.to_owned(), state);
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

/// The number and the text of a step that begins.
fn begun(line: &str) -> Option<(usize, &str)> {
    let (number, rest) = line.trim_start().split_once('/')?;
    Some((number.parse().ok()?, rest.split_once("  ")?.1))
}

/// The step by which a server gets its data.
pub fn is_data(step: &str) -> bool {
    step.contains("CLONE INSTANCE") || step.contains("are dropped")
}

async fn contents(conn: &mut Conn, table: &str) -> (u64, Option<u64>) {
    let count = conn.query_first(format!("SELECT COUNT(*) FROM {table}")).await;
    let sum: Result<Option<(String, Option<u64>)>, _> =
        conn.query_first(format!("CHECKSUM TABLE {table} EXTENDED")).await;
    (count.ok().flatten().unwrap_or(0), sum.ok().flatten().and_then(|(_, sum)| sum))
}

async fn ended(mut command: Command, longest: Duration) -> Ended {
    let output = timeout(longest, command.output()).await.expect("it ends in time");
    let output = output.expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    Ended {
        code: output.status.code().unwrap_or(-1),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

fn remove(container: &str) {
    let _ = docker::client().args(["rm", "--force", "--volumes", container]).output();
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for container in &self.containers {
            if std::thread::panicking() {
                let log = docker::client().args(["logs", "--tail", "5", container]).output();
                let log = log.map(|it| [it.stdout, it.stderr].concat()).unwrap_or_default();
                eprintln!("-- {container}\n{}", String::from_utf8_lossy(&log));
            }
            remove(container);
        }
    }
}
