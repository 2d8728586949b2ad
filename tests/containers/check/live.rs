//! `rwproxy check --fix`: what it mends, what it leaves, and what stops it; `--watch`; and the looks that the
//! running proxy takes by itself.

use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::doctor::{Doctor, tell};
use crate::events::{event, events};
use crate::support::{Cluster, Flavour, Proxy, eventually};

crate::on_both_flavours!(faults_are_mended);

async fn faults_are_mended(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &super::DURABLE);
    let began = Instant::now();
    what_is_safe_is_done(&cluster, flavour).await;
    eprintln!("{flavour:?}: {:?} mended", began.elapsed());
    changes_are_watched(&cluster).await;
    the_proxy_looks_by_itself(&cluster).await;
    eprintln!("{flavour:?}: {:?} in all", began.elapsed());
}

/// Several faults at once: a value set in passing that must not be kept, one that is to be, a replica that
/// takes writes and no longer fetches; and one that somebody must decide on.
async fn provoke(cluster: &Cluster, flavour: Flavour) {
    let words = |mysql, mariadb| if flavour == Flavour::MySql { mysql } else { mariadb };
    let container = |server: &str| cluster.server(server).container.clone();
    tell(&container("primary"), &["SET GLOBAL sync_binlog = 0"]).await;
    let open = "SET GLOBAL read_only = OFF";
    let stop_io = words("STOP REPLICA IO_THREAD", "STOP SLAVE IO_THREAD");
    tell(&container("replica1"), &[open, stop_io, "SET GLOBAL sync_binlog = 0"]).await;
    let delay = words(
        "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 60",
        "CHANGE MASTER TO MASTER_DELAY = 60",
    );
    let (stop, start) =
        (words("STOP REPLICA", "STOP SLAVE"), words("START REPLICA", "START SLAVE"));
    let kept = "SET GLOBAL binlog_expire_logs_seconds = 864000";
    tell(&container("replica2"), &[stop, delay, start, kept]).await;
}

async fn what_is_safe_is_done(cluster: &Cluster, flavour: Flavour) {
    let container = |server: &str| cluster.server(server).container.clone();
    let doctor = Doctor::of(cluster);
    let (grant, user) = ("GRANT SELECT, REPLICATION CLIENT", "half@'%'");
    let made = format!("CREATE USER {user} IDENTIFIED BY 'half'");
    let granted = match flavour {
        Flavour::MySql => format!("{grant} ON *.* TO {user}"),
        Flavour::MariaDb => format!("{grant}, SLAVE MONITOR ON *.* TO {user}"),
    };
    tell(&container("primary"), &[&made, &granted]).await;
    cluster.settle().await;
    provoke(cluster, flavour).await;
    let before = doctor.look().await;
    let found = before.names().len();

    // Nobody to ask, nobody who may, nobody who can.
    let (code, text) = doctor.run(&["check", "--fix"]).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("There is nobody to ask") && text.contains("Nothing was changed."));
    let by = |account: &str| {
        let cluster = &cluster.name;
        format!("[docker]\ncluster = \"{cluster}\"\n{account}[monitor]\npassword = \"rwproxy\"\n")
    };
    let other = Doctor::new(&by(""));
    let (code, text) = other.run(&["check", "--fix", "--yes"]).await;
    assert!(code == 2 && text.contains("--fix needs [administrator]"), "{code} {text}");
    other.configure(&by("[administrator]\nuser = \"half\"\npassword = \"half\"\n"));
    let (code, text) = other.run(&["check", "--fix", "--yes"]).await;
    assert_eq!(code, 2, "{text}");
    for part in ["Stopped: ", "ccess denied", "Not done:", "read_only = ON", "sync_binlog = 1"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("Done, and to stay so"), "{text}");
    assert_eq!(doctor.look().await.names().len(), found, "nothing was changed");

    let (code, text) = doctor.run(&["check", "--fix", "--yes"]).await;
    assert_eq!(code, 1, "{text}");
    for old in ["SET PERSIST sync_binlog = 0", "SET GLOBAL sync_binlog = 0"] {
        assert!(!text.contains(old), "the old value was to be kept: {text}");
    }
    let look = doctor.look().await;
    let delayed = look.finding("replication-delayed", Some(&container("replica2")));
    assert!(delayed.is_some(), "{:#}", look.report);
    for finding in look.findings() {
        let remedies = finding["remedies"].as_array().expect("a list");
        assert!(remedies.iter().all(|remedy| remedy["safe_online"] != true), "{finding:#}");
    }
    is_mended(cluster, flavour).await;

    let (_, again) = doctor.run(&["check", "--fix", "--yes"]).await;
    assert!(again.contains("There is nothing that can be mended"), "{again}");
    let delay = &delayed.expect("it was found");
    super::follow(delay).await;
    doctor.is_mended("replication-delayed", Some(&container("replica2"))).await;
    tell(&container("primary"), &[&format!("DROP USER {user}")]).await;
}

async fn is_mended(cluster: &Cluster, flavour: Flavour) {
    let asked = async |server: &str, sql: &str| -> String {
        let value: Option<String> = cluster.root(server).await.query_first(sql).await.expect(sql);
        value.unwrap_or_default()
    };
    for server in ["primary", "replica1"] {
        assert_eq!(asked(server, "SELECT @@GLOBAL.sync_binlog").await, "1", "{server}");
    }
    assert_eq!(asked("replica1", "SELECT @@GLOBAL.read_only").await, "1");
    assert_eq!(asked("primary", "SELECT @@GLOBAL.read_only").await, "0");
    if flavour == Flavour::MySql {
        let kept = |name: &str| {
            let table = "performance_schema.persisted_variables";
            format!("SELECT VARIABLE_VALUE FROM {table} WHERE VARIABLE_NAME = '{name}'")
        };
        assert_eq!(asked("primary", &kept("sync_binlog")).await, "1");
        assert_eq!(asked("replica1", &kept("sync_binlog")).await, "1");
        assert_eq!(asked("replica1", &kept("super_read_only")).await, "ON");
        assert_eq!(asked("replica2", &kept("binlog_expire_logs_seconds")).await, "864000");
    }
}

/// One document for each change, and none where nothing changes.
async fn changes_are_watched(cluster: &Cluster) {
    let doctor = Doctor::of(cluster);
    let replica = cluster.server("replica2").container.clone();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rwproxy"));
    command.args(["check", "--watch=200ms", "--json", "--config"]).arg(doctor.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = async |patience| -> Option<Value> {
        let line = timeout(patience, lines.next_line()).await.ok()?.expect("text");
        Some(serde_json::from_str(&line.expect("it goes on")).expect("JSON"))
    };
    let patience = Duration::from_secs(20);
    let has_fault = |report: &Value| {
        let findings = report["findings"].as_array().expect("a list");
        findings.iter().any(|it| it["check"] == "sync-binlog" && it["server"] == *replica)
    };
    assert!(!has_fault(&next(patience).await.expect("the first look")));
    assert_eq!(next(Duration::from_secs(2)).await, None, "nothing has changed");
    for (value, is_fault) in [("0", true), ("1", false)] {
        tell(&replica, &[&format!("SET GLOBAL sync_binlog = {value}")]).await;
        // What is set is not kept, which may be seen a look later.
        eventually("the change is printed", patience, async || {
            let report = next(patience).await.expect("a change");
            assert!(report["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{report}");
            (has_fault(&report) == is_fault).then_some(())
        })
        .await;
    }
    let id = child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().await.expect("kill runs");
    assert!(sent.success());
    let status = timeout(patience, child.wait()).await.expect("it ends").expect("a status");
    assert_eq!(status.code(), Some(doctor.look().await.code));
}

/// What `SHOW CHECKS` says of a finding.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    severity: String,
    evidence: String,
    remedy: Option<String>,
    since: String,
}

async fn checks(proxy: &Proxy, check: &str, server: &str) -> Vec<Shown> {
    let mut console = proxy.console().await;
    let rows: Vec<Row> =
        console.query(format!("SHOW CHECKS LIKE '{check}'")).await.expect("checks");
    let _ = console.disconnect().await;
    let value = |row: &Row, column: &str| row.get::<Option<String>, _>(column).expect(column);
    let text = |row: &Row, column: &str| value(row, column).expect("it is not NULL");
    rows.iter()
        .filter(|row| value(row, "server").as_deref() == Some(server))
        .map(|row| Shown {
            severity: text(row, "severity"),
            evidence: text(row, "evidence"),
            remedy: value(row, "remedy"),
            since: text(row, "since"),
        })
        .collect()
}

async fn the_proxy_looks_by_itself(cluster: &Cluster) {
    let proxy = Proxy::start(cluster, "[check]\ninterval = \"500ms\"");
    let replica = cluster.server("replica1").container.clone();
    let patience = Duration::from_secs(20);
    let metric = format!(
        "rwproxy_check_findings{{check=\"sync-binlog\",server=\"{replica}\",severity=\"notice\"}} 1.0"
    );
    eventually("a look has ended", patience, async || {
        proxy.get("/metrics").contains("rwproxy_check_duration_seconds ").then_some(())
    })
    .await;
    assert_eq!(checks(&proxy, "sync-binlog", &replica).await, [], "nothing is wrong yet");
    assert!(!proxy.get("/metrics").contains(&metric));

    tell(&replica, &["SET GLOBAL sync_binlog = 7"]).await;
    let Shown { severity, evidence, remedy, since } =
        eventually("the fault is shown", patience, async || {
            checks(&proxy, "sync-binlog", &replica).await.pop()
        })
        .await;
    assert_eq!((&*severity, &*evidence), ("notice", "its sync_binlog is 7"));
    let remedy = remedy.expect("it can be mended");
    assert!(remedy.contains(&format!("on {replica}: SET ")), "{remedy}");
    let since = humantime::parse_rfc3339(&since).expect("a time");
    assert!(since.elapsed().is_ok_and(|ago| ago < patience), "{since:?}");
    let text = proxy.get("/metrics");
    assert!(text.lines().any(|line| line == metric), "{text}");
    let shown = proxy.status();
    let shown = shown["checks"].as_array().expect("a list");
    assert!(shown.iter().any(|it| it["check"] == "sync-binlog" && it["server"] == *replica));
    let told = event(&proxy, 0, "finding", "sync-binlog: its sync_binlog is 7").await;
    assert_eq!((&*told.severity, told.backend.as_deref()), ("info", Some(&*replica)));

    tell(&replica, &["SET GLOBAL sync_binlog = 1"]).await;
    let over = event(&proxy, told.number, "finding_over", "sync-binlog: no longer found").await;
    assert_eq!(over.backend, told.backend);
    assert_eq!(checks(&proxy, "sync-binlog", &replica).await, []);
    assert!(!proxy.get("/metrics").contains(&metric));
    let all = events(&proxy, "LIKE '%sync-binlog%'").await;
    assert_eq!(all.len(), 2, "each is told once: {all:#?}");
    let ended = ended(&proxy);
    eventually("it looks again", patience, async || (self::ended(&proxy) > ended).then_some(()))
        .await;
}

/// When the latest look has ended.
fn ended(proxy: &Proxy) -> SystemTime {
    let text = proxy.get("/metrics");
    let name = "rwproxy_check_ended_timestamp_seconds ";
    let value = text.lines().find_map(|line| line.strip_prefix(name)).expect("the metric");
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(value.parse().expect("a number"))
}
