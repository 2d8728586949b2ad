//! What only `rwproxy setup` mends.

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use serde_json::Value;

use super::alone::{is_found, tells};
use super::doctor::{Doctor, PATIENCE, follow, stop_and_start, tell};
use crate::support::docker::docker;
use crate::support::{Cluster, Flavour, eventually};

pub async fn mended_by_setup(cluster: &Cluster, doctor: &Doctor) {
    let replica = cluster.server("replica2").container.clone();
    // A server of MySQL ends at the end of a copy, and somebody has to start it.
    let policy = is_found(doctor, "restart-policy", Some(&replica), "notice").await;
    follow(&policy).await;
    doctor.is_mended("restart-policy", Some(&replica)).await;
    lost_and_foreign(cluster, doctor, &replica).await;
    half_copied(cluster, doctor, &replica).await;
    elsewhere(cluster, doctor, &replica).await;
    damaged(cluster, doctor).await;
}

/// Runs the first command of rwproxy's own that is advised.
async fn follow_by_setup(doctor: &Doctor, finding: &Value) {
    let remedies = finding["remedies"].as_array().expect("a list");
    let command = remedies
        .iter()
        .find_map(|it| it["command"].as_str()?.strip_prefix("rwproxy "))
        .unwrap_or_else(|| panic!("no command in {finding:#}"));
    let mut words: Vec<&str> = command.split(' ').collect();
    assert_eq!(words[0], "setup");
    words.push("--yes");
    let (code, text) = doctor.run(&words).await;
    assert_eq!(code, 0, "{command}: {text}");
}

/// It has what the primary does not have, and lacks what the primary no longer has.
async fn lost_and_foreign(cluster: &Cluster, doctor: &Doctor, replica: &str) {
    let primary = &cluster.primary().container;
    let [stop, start] = stop_and_start(cluster);
    let own = ["CREATE DATABASE errant", "DROP DATABASE errant"];
    match cluster.flavour {
        Flavour::MySql => {
            tell(replica, &["SET GLOBAL super_read_only = OFF"]).await;
            tell(replica, &own).await;
            tell(replica, &["SET GLOBAL super_read_only = ON"]).await;
        }
        Flavour::MariaDb => {
            tell(replica, &own).await;
            // The numbers that the primary gives are taken there.
            tell(primary, &["CREATE DATABASE next", "DROP DATABASE next"]).await;
            let stopped = is_found(doctor, "replication-applier", Some(replica), "error").await;
            tells(&stopped, "numbered otherwise than the primary's");
        }
    }
    let errant = is_found(doctor, "errant-transactions", Some(replica), "error").await;
    tells(&errant, &format!("that the primary {primary} does not have"));

    tell(replica, &[stop]).await;
    tell(primary, &["CREATE DATABASE unseen", "DROP DATABASE unseen"]).await;
    tell(primary, &["FLUSH BINARY LOGS"]).await;
    purge(cluster).await;
    tell(replica, &[start]).await;
    let away = is_found(doctor, "replication-receiver", Some(replica), "error").await;
    tells(&away, "it was away longer than they are kept");
    if cluster.flavour == Flavour::MySql {
        let purged = is_found(doctor, "transactions-purged", Some(replica), "error").await;
        assert_eq!(purged["remedies"], away["remedies"], "{purged:#}");
    }
    assert_eq!(errant["remedies"][0], away["remedies"][0], "{errant:#}");
    follow_by_setup(doctor, &errant).await;
    for check in [
        "errant-transactions",
        "transactions-purged",
        "replication-receiver",
        "replication-applier",
        "replication-lag",
    ] {
        doctor.is_mended(check, Some(replica)).await;
    }
}

/// All logs but the one that is written.
async fn purge(cluster: &Cluster) {
    let mut root = cluster.root("primary").await;
    let logs: Vec<Row> = root.query("SHOW BINARY LOGS").await.expect("binary logs");
    let last: String = logs.last().and_then(|row| row.get(0)).expect("a name");
    root.query_drop(format!("PURGE BINARY LOGS TO '{last}'")).await.expect("they are purged");
    let left: Vec<Row> = root.query("SHOW BINARY LOGS").await.expect("binary logs");
    assert_eq!(left.len(), 1, "somebody still reads the others");
    let _ = root.disconnect().await;
}

async fn half_copied(cluster: &Cluster, doctor: &Doctor, replica: &str) {
    let mark = "CREATE DATABASE rwproxy_unfinished_copy";
    let without_log = "SET SESSION sql_log_bin = 0";
    match cluster.flavour {
        Flavour::MySql => {
            let open = "SET GLOBAL super_read_only = OFF";
            let close = "SET GLOBAL super_read_only = ON";
            tell(replica, &[without_log, open, mark, close]).await;
        }
        Flavour::MariaDb => tell(replica, &[without_log, mark]).await,
    }
    let half = is_found(doctor, "copy-unfinished", Some(replica), "error").await;
    follow_by_setup(doctor, &half).await;
    for check in ["copy-unfinished", "replication-receiver", "replication-lag"] {
        doctor.is_mended(check, Some(replica)).await;
    }
}

/// It looks for its source in a wrong place, and then has a wrong password.
async fn elsewhere(cluster: &Cluster, doctor: &Doctor, replica: &str) {
    let [stop, start] = stop_and_start(cluster);
    let words = |mysql, mariadb| if cluster.flavour == Flavour::MySql { mysql } else { mariadb };
    let moved = words(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'nowhere.invalid'",
        "CHANGE MASTER TO MASTER_HOST = 'nowhere.invalid'",
    );
    tell(replica, &[stop, moved, start]).await;
    let silent = is_found(doctor, "replication-receiver", Some(replica), "error").await;
    tells(&silent, "the replica does not reach the source by that name and port");
    let foreign = is_found(doctor, "replication-source", Some(replica), "error").await;
    tells(&foreign, "it replicates from nowhere.invalid:3306");
    follow_by_setup(doctor, &foreign).await;
    doctor.is_mended("replication-source", Some(replica)).await;
    doctor.is_mended("replication-receiver", Some(replica)).await;

    // It has nothing of its own, and goes on where it was.
    let forget = words("RESET REPLICA ALL", "RESET SLAVE ALL");
    tell(replica, &[stop, forget]).await;
    let lone = is_found(doctor, "server-without-source", Some(replica), "error").await;
    tells(&lone, "it replicates from nobody");
    assert_eq!(lone["remedies"][0]["command"], "rwproxy setup");
    follow_by_setup(doctor, &lone).await;
    doctor.is_mended("server-without-source", Some(replica)).await;
    doctor.is_mended("replication-receiver", Some(replica)).await;

    let other = words(
        "CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD = 'other'",
        "CHANGE MASTER TO MASTER_PASSWORD = 'other'",
    );
    tell(replica, &[stop, other, start]).await;
    let refused = is_found(doctor, "replication-receiver", Some(replica), "error").await;
    tells(&refused, "does not let the replication account in");
    follow_by_setup(doctor, &refused).await;
    doctor.is_mended("replication-receiver", Some(replica)).await;
}

/// What it has received is overwritten before it is applied.
async fn damaged(cluster: &Cluster, doctor: &Doctor) {
    let replica = cluster.server("replica2").container.clone();
    let [stop, start] = stop_and_start(cluster);
    let stop_applier = format!("{stop} SQL_THREAD");
    let start_applier = format!("{start} SQL_THREAD");
    tell(&replica, &[&stop_applier]).await;
    let said = "rather a long text, so that some of it is hit for certain";
    let table = "CREATE TABLE app.damaged (id INT PRIMARY KEY, t VARCHAR(100))";
    let mut told = vec![table.to_owned()];
    told.extend((0..40).map(|id| format!("INSERT INTO app.damaged VALUES ({id}, '{said}')")));
    told.push("DROP TABLE app.damaged".to_owned());
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    tell(&cluster.primary().container, &told).await;
    // The file that is written is read by other ways.
    let find = "grep -l 'rather a long text' /var/lib/mysql/relay.[0-9]* || true";
    let file = eventually("it is received", PATIENCE, async || {
        let file = docker(&["exec", &replica, "sh", "-c", find]);
        (!file.is_empty()).then_some(file)
    })
    .await;
    tell(&replica, &["FLUSH LOCAL RELAY LOGS"]).await;
    let overwrite = format!("sed -i 's/rather a long text/xxxxxxxxxxxxxxxxxx/' {file}");
    docker(&["exec", &replica, "sh", "-c", &overwrite]);
    tell(&replica, &[&start_applier]).await;
    let damaged = is_found(doctor, "replication-applier", Some(&replica), "error").await;
    tells(&damaged, "what the replica has received is damaged on its disk");
    follow(&damaged).await;
    doctor.is_mended("replication-applier", Some(&replica)).await;
    cluster.settle().await;
}
