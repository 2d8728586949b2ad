//! A replica of its own, made otherwise than the cluster's: with another time zone, clock and names of tables, and
//! with options that only a start can change.

use std::path::Path;

use super::alone::{Alone, Listed, is_found, listed, tells};
use super::doctor::{Doctor, PATIENCE, address, answers, follow_as, tell};
use crate::support::docker::docker;
use crate::support::{Cluster, Flavour, clock, eventually};

/// As the doctor is told that it is called.
const NAME: &str = "apart";
const WRONG: &str = "/etc/clock-is-wrong";
/// Ahead of what is advised in the order in which a server reads its files.
const OPTIONS: &str = "/etc/mysql/conf.d/a.cnf";

/// MySQL's data directory is made for one way of writing tables' names.
const INITIALISED: &str = "cd /var/lib/mysql-template && [ -d /var/lib/mysql/mysql ] || {
    rm -rf ./*
    mysqld --initialize-insecure --user=mysql --datadir=\"$PWD\" --lower-case-table-names=1 \
        --innodb-flush-method=nosync --innodb-redo-log-capacity=8M --skip-log-bin
    rm -f auto.cnf
} && exec entrypoint.sh \"$@\"";

pub async fn made_otherwise(cluster: &Cluster, odd: Alone) {
    answers(&odd.0).await;
    let doctor = Doctor::new(&alone(&odd));
    its_binary_log(cluster, &doctor, &odd).await;

    replicate(cluster, &odd).await;
    doctor.configure(&beside_the_primary(cluster, &odd));
    let names = is_found(&doctor, "lower-case-table-names-differ", Some(NAME), "error").await;
    tells(&names, "is '1', that of the primary primary is '0'");
    let zone = is_found(&doctor, "time-zone-differs", Some(NAME), "warning").await;
    tells(&zone, "system_time_zone is 'EAT'");
    let clock = is_found(&doctor, "clock-skew", Some(NAME), "warning").await;
    tells(&clock, " ahead of that of this host");
    docker(&["exec", &odd.0, "rm", WRONG]);
    is_mended(&doctor, "clock-skew").await;

    match cluster.flavour {
        Flavour::MySql => {
            let lacks = is_found(&doctor, "semi-sync-replica", Some(NAME), "warning").await;
            tells(&lacks, "it lacks the plugin");
            follow_as(&lacks, &odd.0).await;
            is_mended(&doctor, "semi-sync-replica").await;
        }
        Flavour::MariaDb => {
            tell(&odd.0, &["SET GLOBAL read_only = ON"]).await;
            let opens = is_found(&doctor, "read-only-after-restart", Some(NAME), "warning").await;
            tells(&opens, "its read_only is ON only until it is started again");
            follow_as(&opens, &odd.0).await;
            doctor.configure(&beside_the_primary(cluster, &odd));
            is_mended(&doctor, "read-only-after-restart").await;
            is_mended(&doctor, "replica-writable").await;
            let older = is_found(&doctor, "version-older-than-primary", Some(NAME), "notice").await;
            tells(&older, "its version is 10.11.1-MariaDB, that of the primary primary is 10.11.");
        }
    }

    // Made anew, as is advised for both.
    drop(odd);
    let advice = names["remedies"][0]["advice"].as_str().expect("a text");
    let option = advice.split([' ', ':']).find(|word| word.starts_with("--")).expect("an option");
    let anew = start(
        cluster,
        &["--volume", "/var/lib/mysql"],
        &[],
        &[&image(cluster), option, "--log-bin=binlog"],
    );
    answers(&anew.0).await;
    replicate(cluster, &anew).await;
    doctor.configure(&beside_the_primary(cluster, &anew));
    for check in
        ["lower-case-table-names-differ", "time-zone-differs", "version-older-than-primary"]
    {
        is_mended(&doctor, check).await;
    }
    is_mended(&doctor, "replication-receiver").await;
}

/// Begun early: MySQL needs some seconds to make its data directory.
pub fn start_odd(cluster: &Cluster) -> Alone {
    let directory = tempfile::tempdir().expect("a directory");
    let library = clock::library(directory.path(), 5);
    let wrong = directory.path().join("clock-is-wrong");
    std::fs::write(&wrong, "").expect("a file");
    let options = directory.path().join("a.cnf");
    // MariaDB has no binary log unless it is told to, and says of its version what it is told.
    let without_log = match cluster.flavour {
        Flavour::MySql => "skip-log-bin\nlog-replica-updates=OFF\n",
        Flavour::MariaDb => "log-slave-updates=OFF\nversion=10.11.1-MariaDB\n",
    };
    let text = format!("[mysqld]\n{without_log}binlog-do-db=app\nbinlog-ignore-db=logs\n");
    std::fs::write(&options, text).expect("a file");
    let image = image(cluster);
    let mut run = vec!["--volume", "/var/lib/mysql", "--env", "TZ=EAT-3"];
    let names_wrong = format!("{}={WRONG}", clock::WRONG);
    run.extend(["--env", "LD_PRELOAD=/clock.so", "--env", &names_wrong]);
    let command: Vec<&str> = match cluster.flavour {
        Flavour::MySql => {
            run.extend(["--entrypoint", "bash"]);
            vec![&image, "-c", INITIALISED, "bash"]
        }
        Flavour::MariaDb => vec![&image],
    };
    let command = [command, vec!["--lower-case-table-names=1"]].concat();
    let [library, wrong, options] = [path(&library), path(&wrong), path(&options)];
    let copied = [(library, "/clock.so"), (wrong, WRONG), (options, OPTIONS)];
    start(cluster, &run, &copied, &command)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

fn image(cluster: &Cluster) -> String {
    docker(&["inspect", "--format", "{{.Config.Image}}", &cluster.primary().container])
}

fn start(cluster: &Cluster, options: &[&str], copied: &[(&str, &str)], command: &[&str]) -> Alone {
    let own: &[&str] = match cluster.flavour {
        Flavour::MySql => &["--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--mysqlx=OFF"],
        Flavour::MariaDb => &["--gtid-strict-mode=ON"],
    };
    let command = [command, &["--server-id=88"], own].concat();
    Alone::start(cluster, NAME, options, copied, &command)
}

/// It answers, and it is so no more.
async fn is_mended(doctor: &Doctor, check: &str) {
    eventually(&format!("{check} is mended"), PATIENCE, async || {
        let look = doctor.look().await;
        let is_there = |check| look.finding(check, Some(NAME)).is_some();
        (!is_there(check) && !is_there("server-unreachable")).then_some(())
    })
    .await;
}

fn alone(odd: &Alone) -> String {
    listed(&[(NAME, &address(&odd.0), "")])
}

fn beside_the_primary(cluster: &Cluster, odd: &Alone) -> String {
    let primary: Listed = ("primary", &address(&cluster.primary().container), "");
    listed(&[primary, (NAME, &address(&odd.0), "")])
}

/// Options that only a start can change.
async fn its_binary_log(cluster: &Cluster, doctor: &Doctor, odd: &Alone) {
    let is_mysql = cluster.flavour == Flavour::MySql;
    let off = is_found(doctor, "binary-log-off", Some(NAME), "warning").await;
    assert_eq!(off["remedies"][0]["option"], "--log-bin=binlog");
    follow_as(&off, &odd.0).await;
    doctor.configure(&alone(odd));
    is_mended(doctor, "binary-log-off").await;

    let updates = is_found(doctor, "binary-log-of-replica", Some(NAME), "warning").await;
    let filters = is_found(doctor, "replication-filters", Some(NAME), "warning").await;
    tells(&filters, "its binary log is not whole: binlog_do_db = app, binlog_ignore_db = logs");
    let advice = filters["remedies"][0]["advice"].as_str().expect("a text");
    assert_eq!(advice, "start it without --binlog-do-db and --binlog-ignore-db");
    let named = advice.split(' ').filter_map(|word| word.strip_prefix("--"));
    let each: Vec<String> = named.map(|option| format!("-e /^{option}=/d")).collect();
    let without = format!("sed -i {} {OPTIONS}", each.join(" "));
    docker(&["exec", &odd.0, "sh", "-c", &without]);
    follow_as(&updates, &odd.0).await;
    assert_eq!(
        updates["remedies"][0]["option"],
        if is_mysql { "--log-replica-updates=ON" } else { "--log-slave-updates=ON" }
    );
    doctor.configure(&alone(odd));
    is_mended(doctor, "binary-log-of-replica").await;
    is_mended(doctor, "replication-filters").await;
    if is_mysql {
        without_gtids(doctor, odd).await;
    }
}

/// Nobody has any, so that none is at odds with another.
async fn without_gtids(doctor: &Doctor, odd: &Alone) {
    let modes = ["ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF"].map(|it| format!("gtid_mode = {it}"));
    for set in modes.iter().map(String::as_str).chain(["enforce_gtid_consistency = OFF"]) {
        tell(&odd.0, &[&format!("SET GLOBAL {set}")]).await;
    }
    let off = is_found(doctor, "gtid-mode", Some(NAME), "warning").await;
    tells(&off, "its gtid_mode is OFF, its enforce_gtid_consistency OFF");
    follow_as(&off, &odd.0).await;
    is_mended(doctor, "gtid-mode").await;
}

/// From the beginning: the primary's binary log has everything.
async fn replicate(cluster: &Cluster, odd: &Alone) {
    let told: &[&str] = match cluster.flavour {
        Flavour::MySql => &[
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'primary', SOURCE_USER = 'replication', \
             SOURCE_PASSWORD = 'replication', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1",
            "START REPLICA",
        ],
        Flavour::MariaDb => &[
            "CHANGE MASTER TO MASTER_HOST = 'primary', MASTER_USER = 'replication', \
             MASTER_PASSWORD = 'replication', MASTER_USE_GTID = slave_pos",
            "START SLAVE",
        ],
    };
    tell(&odd.0, told).await;
}
