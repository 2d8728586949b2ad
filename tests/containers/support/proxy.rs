//! The proxy as users run it: the binary, a configuration file, its log.

use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mysql_async::{Conn, Opts};

use super::cluster::{Cluster, connect, options};

/// A running proxy; killed when dropped, with its log shown if the test has failed.
pub struct Proxy {
    child: Child,
    log: PathBuf,
    _directory: tempfile::TempDir,
    /// Where clients connect.
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub http: SocketAddr,
}

/// How many replicas take reads.
pub fn readers(status: &serde_json::Value) -> usize {
    let backends = status["backends"].as_array().expect("a list of backends");
    let online =
        |backend: &&serde_json::Value| backend["role"] == "replica" && backend["takes_reads"] == 1;
    backends.iter().filter(online).count()
}

impl Proxy {
    /// A proxy that the cluster's containers reach as well, and where they do.
    pub fn start_within(cluster: &Cluster, extra: &str) -> (Self, SocketAddr) {
        let gateway = cluster.gateway();
        let listen = format!("[listen]\naddress = [\"127.0.0.1:0\", \"{gateway}:0\"]\n{extra}");
        let proxy = Self::start(cluster, &listen);
        let within = proxy.listening("clients", &gateway);
        (proxy, within)
    }

    /// Starts a proxy for a cluster found by its Docker labels, and waits until it takes writes
    /// and every replica takes reads. `extra` is appended to the configuration.
    pub fn start(cluster: &Cluster, extra: &str) -> Self {
        let proxy = Self::start_with(&Self::settings(cluster, extra)).ready();
        proxy.await_readers(cluster);
        proxy
    }

    /// Waits until every replica takes reads.
    pub fn await_readers(&self, cluster: &Cluster) {
        let replicas = cluster.replicas().count();
        self.wait_until("every replica takes reads", |status| readers(status) == replicas);
    }

    /// The configuration for a cluster found by its Docker labels.
    pub fn settings(cluster: &Cluster, extra: &str) -> String {
        format!(
            "[docker]\ncluster = \"{}\"\n\
             [monitor]\npassword_env = \"RWPROXY_MONITOR_PASSWORD\"\n{extra}\n",
            cluster.name
        )
    }

    /// Starts a proxy with this configuration; the listening addresses are added.
    pub fn start_with(text: &str) -> Self {
        Self::start_under(text, &[])
    }

    /// The same, with these in its environment.
    pub fn start_under(text: &str, environment: &[(&str, &Path)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path().join("proxy.toml");
        let log = directory.path().join("log.json");
        let mut text = text.to_owned();
        for (section, line) in [
            ("[listen]", "address = \"127.0.0.1:0\""),
            ("[admin]", "address = \"127.0.0.1:0\""),
            ("[http]", "address = \"127.0.0.1:0\""),
            ("[log]", "format = \"json\""),
        ] {
            match text.find(section) {
                Some(at) if text[at + section.len()..].starts_with("\naddress") => {}
                Some(at) => text.insert_str(at + section.len(), &format!("\n{line}")),
                None => text.push_str(&format!("\n{section}\n{line}\n")),
            }
        }
        std::fs::write(&config, &text).expect("the configuration");
        let child = Command::new(env!("CARGO_BIN_EXE_rwproxy"))
            .arg("--config")
            .arg(&config)
            .env("RWPROXY_MONITOR_PASSWORD", "rwproxy")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::create(&log).expect("the log"))
            .stderr(File::options().append(true).open(&log).expect("the log"))
            .spawn()
            .expect("the proxy starts");
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut proxy = Proxy {
            child,
            log,
            _directory: directory,
            address: nowhere,
            admin: nowhere,
            http: nowhere,
        };
        proxy.address = proxy.listening("clients", "127.0.0.1");
        proxy.admin = proxy.listening("admin", "127.0.0.1");
        proxy.http = proxy.listening("http", "127.0.0.1");
        proxy
    }

    /// Waits until the proxy says that it is ready to serve reads and writes.
    pub fn ready(self) -> Self {
        self.wait_for_log("ready", |line| line.contains("\"ready\""));
        self
    }

    /// `/status`, as the proxy tells it.
    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.get("/status")).expect("/status is JSON")
    }

    /// The body of an answer by HTTP.
    pub fn get(&self, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(self.http).expect("the HTTP endpoint");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: rwproxy\r\nConnection: close\r\n\r\n")
            .expect("the request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        body.to_owned()
    }

    /// Waits until `/status` is as it should be; how long that took.
    pub fn wait_until(&self, what: &str, fits: impl Fn(&serde_json::Value) -> bool) -> Duration {
        let started = Instant::now();
        loop {
            let status = self.status();
            if fits(&status) {
                return started.elapsed();
            }
            assert!(started.elapsed() < Duration::from_secs(20), "not in time: {what}: {status:#}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A client's connection through the proxy, to the database `app`.
    pub async fn app(&self) -> Conn {
        let host = self.address.ip().to_string();
        connect(&host, self.address.port(), "app", "app", Some("app")).await
    }

    /// A connection to the admin console.
    pub async fn console(&self) -> Conn {
        connect(&self.admin.ip().to_string(), self.admin.port(), "admin", "", None).await
    }

    /// How [`app`](Self::app) connects, for clients that do it themselves.
    pub fn app_options(&self) -> Opts {
        let host = self.address.ip().to_string();
        options(&host, self.address.port(), "app", "app", Some("app"))
    }

    /// How many statements replicas have served.
    pub fn reads_on_replicas(&self) -> u64 {
        let metrics = self.get("/metrics");
        let counts = metrics.lines().filter(|line| {
            line.starts_with("rwproxy_statements_total{")
                && line.contains("destination=\"replica\"")
        });
        let number = |line: &str| line.rsplit_once(' ').and_then(|(_, count)| count.parse().ok());
        counts.map(|line| number(line).unwrap_or(0)).sum()
    }

    pub fn log(&self) -> String {
        let mut text = String::new();
        File::open(&self.log).and_then(|mut file| file.read_to_string(&mut text)).expect("the log");
        text
    }

    fn listening(&self, what: &str, ip: &str) -> SocketAddr {
        let line = self.wait_for_log("listening", |line| {
            line.contains("\"listening\"")
                && line.contains(&format!("\"{what}\""))
                && line.contains(&format!("\"{ip}:"))
        });
        let value: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        value["address"].as_str().expect("an address").parse().expect("an address")
    }

    /// The first line of the log that fits.
    pub fn wait_for_log(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| fits(line)) {
                return line.to_owned();
            }
            assert!(started.elapsed() < Duration::from_secs(20), "no line for {what}:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- the proxy's log --\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
