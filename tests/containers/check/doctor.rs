//! The command, what it says, and its advice followed to the letter.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::cluster::{self, connect, options, try_connect};
use crate::support::docker::docker;
use crate::support::{Cluster, Flavour, eventually};

/// Threads of replication need a moment to run, or to fail.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One command, whatever it finds and mends.
const LONGEST: Duration = Duration::from_secs(180);

pub struct Doctor {
    directory: tempfile::TempDir,
}

/// What one run of the command has said.
#[derive(Debug)]
pub struct Look {
    pub code: i32,
    pub report: Value,
}

impl Doctor {
    pub fn new(configuration: &str) -> Self {
        let doctor = Doctor { directory: tempfile::tempdir().expect("a directory") };
        doctor.configure(configuration);
        doctor
    }

    /// Of a cluster, by the account root.
    pub fn of(cluster: &Cluster) -> Self {
        Self::new(&format!(
            "[docker]\ncluster = \"{}\"\n\
             [administrator]\nuser = \"root\"\npassword = \"root\"\n\
             [replication]\nuser = \"replication\"\npassword = \"replication\"\n\
             [monitor]\npassword = \"rwproxy\"\n",
            cluster.name
        ))
    }

    pub fn configure(&self, configuration: &str) {
        std::fs::write(self.path(), configuration).expect("the configuration");
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("proxy.toml")
    }

    /// What the command prints, and its exit code.
    pub async fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rwproxy"));
        command.args(arguments).arg("--config").arg(self.path());
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(LONGEST, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{arguments:?} does not end"));
        let output = output.expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
    }

    pub async fn look(&self) -> Look {
        let (code, text) = self.run(&["check", "--json"]).await;
        let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let look = Look { code, report };
        let expected = match (&look.report["errors"], &look.report["warnings"]) {
            (errors, _) if errors.as_u64() != Some(0) => 2,
            (_, warnings) if warnings.as_u64() != Some(0) => 1,
            _ => 0,
        };
        assert_eq!(code, expected, "{look:#?}");
        look
    }

    /// Looks until there is such a finding.
    pub async fn find(&self, check: &str, server: Option<&str>) -> Value {
        eventually(&format!("{check} of {server:?} is found"), PATIENCE, async || {
            self.look().await.finding(check, server)
        })
        .await
    }

    /// Looks until there is no such finding.
    pub async fn is_mended(&self, check: &str, server: Option<&str>) {
        eventually(&format!("{check} of {server:?} is mended"), PATIENCE, async || {
            self.look().await.finding(check, server).is_none().then_some(())
        })
        .await;
    }
}

impl Look {
    pub fn finding(&self, check: &str, server: Option<&str>) -> Option<Value> {
        self.findings().find(|it| it["check"] == check && it["server"].as_str() == server).cloned()
    }

    pub fn findings(&self) -> impl Iterator<Item = &Value> {
        self.report["findings"].as_array().expect("a list").iter()
    }

    /// `CHECK of SERVER` of all that is more than a notice.
    pub fn names(&self) -> Vec<String> {
        let all = self.findings().filter(|it| it["severity"] != "notice");
        all.map(|it| format!("{} of {}", it["check"], it["server"])).collect()
    }
}

/// Does what is advised, if it is something that can be typed: the first such remedy.
pub async fn follow(finding: &Value) {
    let remedies = finding["remedies"].as_array().expect("a list");
    let can_be_typed = |remedy: &&Value| match remedy["kind"].as_str() {
        Some("statements" | "copied" | "option") => true,
        Some("command") => remedy["command"].as_str().expect("a text").starts_with("docker "),
        _ => false,
    };
    let remedy = remedies.iter().find(can_be_typed);
    let remedy = remedy.unwrap_or_else(|| panic!("nothing to type in {finding:#}"));
    let text = |key: &str| remedy[key].as_str().expect("a text").to_owned();
    match remedy["kind"].as_str() {
        Some("statements") => tell(&text("server"), &listed(&remedy["statements"])).await,
        Some("copied") => {
            let printed = printed(&text("from"), &listed(&remedy["printed_by"])).await;
            let (before, after) = (listed(&remedy["before"]), listed(&remedy["after"]));
            let printed = printed.iter().map(String::as_str);
            let all: Vec<&str> = before.into_iter().chain(printed).chain(after).collect();
            tell(&text("server"), &all).await;
        }
        Some("option") => start_with(&text("server"), &text("option")).await,
        _ => {
            let status = Command::new("sh").args(["-c", &text("command")]).output().await;
            let output = status.expect("it runs");
            assert!(output.status.success(), "{}: {output:?}", text("command"));
        }
    }
}

fn listed(statements: &Value) -> Vec<&str> {
    let statements = statements.as_array().expect("a list");
    statements.iter().map(|it| it.as_str().expect("a statement")).collect()
}

/// What statements print, in one session as root: the first column of all rows.
async fn printed(container: &str, statements: &[&str]) -> Vec<String> {
    let mut conn = connect(&address(container), 3306, "root", "root", None).await;
    let mut all = Vec::new();
    for statement in statements {
        let rows: Vec<Row> = conn.query(*statement).await.expect(statement);
        all.extend(rows.iter().map(|row| row.get::<String, _>(0).expect("a text")));
    }
    let _ = conn.disconnect().await;
    all
}

/// Does what is advised of a server that is listed under another name than its container's.
pub async fn follow_as(finding: &Value, container: &str) {
    let mut finding = finding.clone();
    for remedy in finding["remedies"].as_array_mut().expect("a list") {
        if remedy["server"].is_string() {
            remedy["server"] = Value::from(container);
        }
    }
    follow(&finding).await;
}

/// In one session, as root.
pub async fn tell(container: &str, statements: &[&str]) {
    let conn = connect(&address(container), 3306, "root", "root", None).await;
    cluster::tell(conn, container, statements).await;
}

/// In place of options on the container's command line.
async fn start_with(container: &str, advised: &str) {
    let lines: Vec<&str> =
        advised.split(' ').map(|option| option.trim_start_matches('-')).collect();
    let text = format!("[mysqld]\\n{}\\n", lines.join("\\n"));
    let write = format!("printf '{text}' >> /etc/mysql/conf.d/advised.cnf");
    docker(&["exec", container, "sh", "-c", &write]);
    docker(&["restart", container]);
    answers(container).await;
}

/// Waits until a server that was started lets root in.
pub async fn answers(container: &str) {
    eventually(&format!("{container} answers"), Duration::from_secs(60), async || {
        try_connect(options(&address(container), 3306, "root", "root", None)).await.ok()
    })
    .await;
}

pub fn address(container: &str) -> String {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    docker(&["inspect", "--format", format, container])
}

/// What stops a replica's threads, and starts them.
pub fn stop_and_start(cluster: &Cluster) -> [&'static str; 2] {
    match cluster.flavour {
        Flavour::MySql => ["STOP REPLICA", "START REPLICA"],
        Flavour::MariaDb => ["STOP SLAVE", "START SLAVE"],
    }
}
