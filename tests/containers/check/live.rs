//! `rwproxy check --fix`: what it mends, what it leaves, and what stops it.

use std::time::Instant;

use mysql_async::prelude::Queryable;

use super::doctor::{Doctor, tell};
use crate::support::{Cluster, Flavour};

crate::on_both_flavours!(faults_are_mended);

async fn faults_are_mended(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &super::DURABLE);
    let began = Instant::now();
    what_is_safe_is_done(&cluster, flavour).await;
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
