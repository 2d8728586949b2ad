//! What is provoked by looking at other servers, or by holding something.

use mysql_async::prelude::Queryable;

use super::alone::{Alone, Listed, is_found, listed, tells};
use super::doctor::{Doctor, address, answers, follow, follow_as, stop_and_start, tell};
use crate::support::cluster::{options, try_connect};
use crate::support::docker::docker;
use crate::support::{Cluster, Flavour};

/// Some of the servers, as if there were no others, and one that has nothing to do with them.
pub async fn subsets(cluster: &Cluster) {
    let command = ["rwproxy-test/mariadb:11.8", "--server-id=77"];
    let alone = Alone::start(cluster, "alone", &["--volume", "/var/lib/mysql"], &[], &command);
    let at = |server: &str| address(&cluster.server(server).container);
    let (primary, first, second) = (at("primary"), at("replica1"), at("replica2"));
    // Without uuids it is the name that tells of whom they are replicas.
    let all: [Listed; 3] =
        [("primary", &primary, ""), ("replica1", &first, ""), ("replica2", &second, "")];

    let doctor = Doctor::new(&listed(&all[1..]));
    is_found(&doctor, "primary-missing", None, "error").await;
    is_found(&doctor, "replication-source", Some("replica1"), "error").await;
    // One that does not answer may be the one that is meant.
    doctor.configure(&listed(&[all[1], all[2], ("silent", "127.0.0.99", "")]));
    is_found(&doctor, "server-unreachable", Some("silent"), "error").await;
    let missing = is_found(&doctor, "primary-missing", None, "error").await;
    tells(&missing, "none of those that answer is the primary");
    is_found(&doctor, "replication-source", Some("replica1"), "warning").await;
    doctor.configure(&listed(&all));
    doctor.is_mended("primary-missing", None).await;
    doctor.is_mended("replication-source", Some("replica1")).await;

    doctor.configure(&listed(&[("primary", &primary, "role = \"replica\""), all[1], all[2]]));
    is_found(&doctor, "role-label", Some("primary"), "warning").await;
    doctor.configure(&listed(&[("primary", &primary, "role = \"primary\""), all[1], all[2]]));
    doctor.is_mended("role-label", Some("primary")).await;
    doctor.configure(&listed(&[all[0], ("replica1", &first, "role = \"primary\""), all[2]]));
    let label = is_found(&doctor, "role-label", Some("replica1"), "warning").await;
    assert_eq!(label["remedies"][0]["setting"], "[[backends]] replica1: role = \"replica\"");
    doctor.configure(&listed(&[all[0], ("replica1", &first, "role = \"replica\""), all[2]]));
    doctor.is_mended("role-label", Some("replica1")).await;

    answers(&alone.0).await;
    let there = address(&alone.0);
    let stranger: Listed = ("stranger", &there, "");
    doctor.configure(&listed(&[all[0], stranger]));
    is_found(&doctor, "primary-ambiguous", None, "error").await;
    // Each of them may be the one that others are to replicate from.
    tell(&alone.0, &["SET GLOBAL server_id = 1"]).await;
    let same = is_found(&doctor, "server-id-duplicate", Some("stranger"), "error").await;
    tells(&same, "its server_id is 1, as that of primary");
    assert_eq!(same["remedies"][0]["safe_online"], false, "{same:#}");
    follow_as(&same, &alone.0).await;
    doctor.is_mended("server-id-duplicate", Some("stranger")).await;
    tell(&alone.0, &["SET GLOBAL read_only = ON"]).await;
    doctor.is_mended("primary-ambiguous", None).await;
    tell(&alone.0, &["SET GLOBAL read_only = OFF"]).await;
    doctor.configure(&listed(&[all[0], all[1], stranger]));
    is_found(&doctor, "server-without-source", Some("stranger"), "error").await;
    doctor.is_mended("primary-ambiguous", None).await;
    if cluster.flavour == Flavour::MySql {
        is_found(&doctor, "flavours-mixed", Some("stranger"), "error").await;
        // One of the same kind in its place, as is advised.
        doctor.configure(&listed(&[all[0], all[1], ("stranger", &second, "")]));
        for check in ["flavours-mixed", "server-without-source", "server-unreachable"] {
            doctor.is_mended(check, Some("stranger")).await;
        }
    } else {
        // It is the only one that could be the primary.
        doctor.configure(&listed(&[all[1], stranger]));
        is_found(&doctor, "version-older-than-primary", Some("replica1"), "error").await;
        let off = is_found(&doctor, "binary-log-off", Some("stranger"), "error").await;
        follow_as(&off, &alone.0).await;
        doctor.configure(&listed(&[all[1], ("stranger", &address(&alone.0), "")]));
        doctor.is_mended("binary-log-off", Some("stranger")).await;
        doctor.configure(&listed(&all));
        doctor.is_mended("version-older-than-primary", Some("replica1")).await;
    }
}

/// Somebody holds what the applier needs.
pub async fn lag(cluster: &Cluster, doctor: &Doctor) {
    let replica = cluster.server("replica1").container.clone();
    let mut holder = cluster.root("replica1").await;
    holder.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("it is locked");
    let primary = cluster.primary().container.clone();
    tell(&primary, &["CREATE DATABASE IF NOT EXISTS lagging", "DROP DATABASE lagging"]).await;
    let finding = is_found(doctor, "replication-lag", Some(&replica), "warning").await;
    let evidence = finding["evidence"].as_str().expect("a text");
    assert!(evidence.contains("the primary had transactions that it still lacks"), "{evidence}");
    // By its own measure, too, which counts while it applies something.
    let what = "it says so itself";
    crate::support::eventually(what, super::doctor::PATIENCE, async || {
        let finding = doctor.look().await.finding("replication-lag", Some(&replica))?;
        finding["evidence"].as_str()?.contains("its Seconds_Behind_").then_some(())
    })
    .await;
    holder.query_drop("UNLOCK TABLES").await.expect("it is unlocked");
    doctor.is_mended("replication-lag", Some(&replica)).await;
}

/// The pool may take more than the server has.
pub async fn too_few_connections(cluster: &Cluster) {
    let doctor = Doctor::of(cluster);
    let text = std::fs::read_to_string(doctor.path()).expect("the configuration");
    doctor.configure(&format!("{text}[pool]\nmax_per_backend = 600\n"));
    let replica = cluster.server("replica2").container.clone();
    let finding = is_found(&doctor, "connections-too-few", Some(&replica), "warning").await;
    follow(&finding).await;
    doctor.is_mended("connections-too-few", Some(&replica)).await;
}

/// One server is a copy of the other, with its `auto.cnf`.
pub async fn copied_with_its_uuid(cluster: &Cluster, doctor: &Doctor) {
    let [first, second] =
        ["replica1", "replica2"].map(|name| cluster.server(name).container.clone());
    let place = "/var/lib/mysql/auto.cnf";
    let theirs = docker(&["exec", &first, "cat", place]);
    // Written in its place, so that it goes on belonging to the server.
    docker(&["exec", &second, "sh", "-c", &format!("echo '{theirs}' > {place}")]);
    docker(&["restart", &second]);
    answers(&second).await;
    let same = is_found(doctor, "server-uuid-duplicate", Some(&second), "error").await;
    tells(&same, &format!("its server_uuid is that of {first}: "));
    follow(&same).await;
    answers(&second).await;
    doctor.is_mended("server-uuid-duplicate", Some(&second)).await;
    // The source sends to one of two of the same name, and may have told the other to stop.
    for replica in [&first, &second] {
        let stopped = doctor.look().await.finding("replication-receiver", Some(replica));
        if let Some(stopped) = stopped {
            follow(&stopped).await;
        }
        doctor.is_mended("replication-receiver", Some(replica)).await;
    }
}

/// Servers that let nobody in: a wrong password, and as many connections as there may be.
pub async fn closed_doors(cluster: &Cluster) {
    let replica = cluster.server("replica1").container.clone();
    let by = |password: &str| {
        format!(
            "[docker]\ncluster = \"{}\"\n[monitor]\nuser = \"plain\"\npassword = \"{password}\"\n",
            cluster.name
        )
    };
    let primary = cluster.primary().container.clone();
    tell(&primary, &["CREATE USER plain@'%' IDENTIFIED BY 'plain'"]).await;
    cluster.settle().await;
    let doctor = Doctor::new(&by("other"));
    let refused = is_found(&doctor, "server-unreachable", Some(&replica), "error").await;
    tells(&refused, "ERROR 1045");
    let setting = refused["remedies"][0]["setting"].as_str().expect("a setting");
    assert!(setting.starts_with("[monitor]: "), "{refused:#}");
    doctor.configure(&by("plain"));
    doctor.is_mended("server-unreachable", Some(&replica)).await;

    let mut root = cluster.root("replica1").await;
    let most: u64 =
        root.query_first("SELECT @@GLOBAL.max_connections").await.expect("a number").expect("one");
    root.query_drop("SET GLOBAL max_connections = 10").await.expect("it is set");
    let mut held = Vec::new();
    let options = options(&address(&replica), 3306, "plain", "plain", None);
    while let Ok(conn) = try_connect(options.clone()).await {
        held.push(conn);
        assert!(held.len() <= 10, "{} connections", held.len());
    }
    let full = is_found(&doctor, "server-unreachable", Some(&replica), "error").await;
    tells(&full, "ERROR 1040");
    let advice = full["remedies"][0]["advice"].as_str().expect("an advice");
    assert!(advice.contains("raise max_connections"), "{advice}");
    root.query_drop(format!("SET GLOBAL max_connections = {most}")).await.expect("it is set");
    doctor.is_mended("server-unreachable", Some(&replica)).await;
    drop(held);
    tell(&primary, &["DROP USER plain@'%'"]).await;
}

/// Variables that should be equal, all of them at once.
pub async fn settings(cluster: &Cluster, doctor: &Doctor) {
    let replica = cluster.server("replica1").container.clone();
    let isolation = match cluster.flavour {
        Flavour::MySql => "transaction_isolation",
        Flavour::MariaDb => "tx_isolation",
    };
    let all = [
        ("character-set-differs", "warning", "character_set_server", "'ascii'"),
        ("setting-differs", "warning", "default_storage_engine", "'MyISAM'"),
        ("setting-differs", "warning", isolation, "'READ-COMMITTED'"),
        ("setting-differs", "warning", "div_precision_increment", "'8'"),
        ("setting-differs", "warning", "default_week_format", "'1'"),
        ("setting-differs", "warning", "lc_time_names", "'de_DE'"),
        ("setting-differs", "notice", "innodb_strict_mode", "'OFF'"),
        ("setting-differs", "notice", "innodb_default_row_format", "'compact'"),
    ];
    let set = |(_, _, name, value): &(&str, &str, &str, &str)| {
        let number = value.trim_matches('\'').parse::<u64>().map(|number| number.to_string());
        format!("SET GLOBAL {name} = {}", number.unwrap_or_else(|_| (*value).to_owned()))
    };
    let told: Vec<String> = all.iter().map(set).collect();
    tell(&replica, &told.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let look = doctor.look().await;
    for (check, severity, name, value) in all {
        let evidence = format!("its {name} is {value}, that of the primary ");
        let is_it = |finding: &&serde_json::Value| {
            finding["evidence"].as_str().is_some_and(|text| text.starts_with(&evidence))
        };
        let finding = look.findings().find(is_it);
        let finding = finding.unwrap_or_else(|| panic!("{name}: {:#}", look.report));
        assert_eq!((&finding["check"], &finding["severity"]), (&check.into(), &severity.into()));
        assert_eq!(finding["server"], *replica);
        follow(finding).await;
    }
    for check in ["character-set-differs", "setting-differs"] {
        doctor.is_mended(check, Some(&replica)).await;
    }
}

/// Somebody holds a row for longer than the applier waits.
pub async fn a_row_is_held(cluster: &Cluster, doctor: &Doctor) {
    let primary = cluster.primary().container.clone();
    let replica = cluster.server("replica1").container.clone();
    tell(
        &primary,
        &["CREATE TABLE app.held (id INT PRIMARY KEY)", "INSERT INTO app.held VALUES (1)"],
    )
    .await;
    cluster.settle().await;
    let (retries, stop, start) = match cluster.flavour {
        Flavour::MySql => {
            ("replica_transaction_retries", "STOP REPLICA SQL_THREAD", "START REPLICA SQL_THREAD")
        }
        Flavour::MariaDb => {
            ("slave_transaction_retries", "STOP SLAVE SQL_THREAD", "START SLAVE SQL_THREAD")
        }
    };
    let mut root = cluster.root("replica1").await;
    let select = format!("SELECT @@GLOBAL.innodb_lock_wait_timeout, @@GLOBAL.{retries}");
    let (wait, again): (u64, u64) = root.query_first(select).await.expect("numbers").expect("two");
    let limits = |wait, again| {
        [
            format!("SET GLOBAL innodb_lock_wait_timeout = {wait}"),
            format!("SET GLOBAL {retries} = {again}"),
        ]
    };
    let [short, none] = limits(1, 0);
    tell(&replica, &[stop, &short, &none, start]).await;
    // With it nobody may lock a row.
    let shut = ["SET GLOBAL super_read_only = OFF", "SET GLOBAL super_read_only = ON"];
    let [open, close] = if cluster.flavour == Flavour::MySql { shut } else { ["DO 0"; 2] };
    tell(&replica, &[open]).await;
    for statement in ["BEGIN", "SELECT * FROM app.held FOR UPDATE"] {
        root.query_drop(statement).await.expect("it is held");
    }
    tell(&primary, &["DELETE FROM app.held"]).await;
    let stopped = is_found(doctor, "replication-applier", Some(&replica), "error").await;
    tells(&stopped, "it has waited too long for locks");
    root.query_drop("ROLLBACK").await.expect("it is let go");
    tell(&replica, &[close]).await;
    follow(&stopped).await;
    doctor.is_mended("replication-applier", Some(&replica)).await;
    cluster.settle().await;
    let [wait, again] = limits(wait, again);
    tell(&replica, &[&wait, &again]).await;
    tell(&primary, &["DROP TABLE app.held"]).await;
}

/// The source's machine takes the connection, and the source says nothing.
pub async fn a_silent_source(cluster: &Cluster, doctor: &Doctor) {
    let primary = cluster.primary().container.clone();
    let replica = cluster.server("replica1").container.clone();
    let [stop, start] = stop_and_start(cluster).map(|both| format!("{both} IO_THREAD"));
    tell(&replica, &[&stop]).await;
    docker(&["pause", &primary]);
    tell(&replica, &[&start]).await;
    let connecting = is_found(doctor, "replication-receiver", Some(&replica), "warning").await;
    tells(&connecting, "its receiver (IO thread) is connecting");
    assert_eq!(connecting["remedies"][0]["advice"], "look again in a few seconds");
    let paused = is_found(doctor, "container-not-running", Some(&primary), "error").await;
    follow(&paused).await;
    doctor.is_mended("container-not-running", Some(&primary)).await;
    doctor.is_mended("replication-receiver", Some(&replica)).await;
}

/// Nothing is lost of what it has written under the number that it had before, which the replica still lacks.
pub async fn the_primary_has_a_replicas_number(cluster: &Cluster, doctor: &Doctor) {
    let primary = cluster.primary().container.clone();
    let replica = cluster.server("replica1").container.clone();
    let [stop, start] = stop_and_start(cluster);
    tell(&replica, &[stop]).await;
    let written = ["CREATE TABLE app.numbered (id INT PRIMARY KEY)", "SET GLOBAL server_id = 2"];
    tell(&primary, &written).await;
    tell(&replica, &[start]).await;
    let same = is_found(doctor, "server-id-duplicate", Some(&replica), "error").await;
    tells(&same, &format!("its server_id is 2, as that of {primary}"));
    follow(&same).await;
    doctor.is_mended("server-id-duplicate", Some(&replica)).await;
    doctor.is_mended("replication-receiver", Some(&replica)).await;
    cluster.settle().await;
    tell(&replica, &["SELECT * FROM app.numbered"]).await;

    tell(&primary, &["SET GLOBAL server_id = 1", "DROP TABLE app.numbered"]).await;
    tell(&replica, &["SET GLOBAL server_id = 2", stop, start]).await;
}
