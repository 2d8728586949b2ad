//! What is provoked by looking at other servers, or by holding something.

use mysql_async::prelude::Queryable;
use serde_json::Value;

use super::doctor::{Doctor, address, answers, follow, tell};
use crate::support::docker::{self, docker, label};
use crate::support::{Cluster, Flavour};

/// Servers that are listed: name, address, and what else is said of them.
type Listed<'a> = (&'a str, &'a str, &'a str);

fn listed(servers: &[Listed]) -> String {
    let mut text = "[docker]\nenabled = false\n\
         [administrator]\nuser = \"root\"\npassword = \"root\"\n\
         [monitor]\npassword = \"rwproxy\"\n"
        .to_owned();
    for (name, address, more) in servers {
        text += &format!("[[backends]]\nname = \"{name}\"\naddress = \"{address}:3306\"\n{more}\n");
    }
    text
}

/// A MariaDB that stands alone; removed when dropped.
struct Alone(String);

impl Alone {
    fn start(network: &str) -> Self {
        // Each of the two flavours' clusters gets one at the same time.
        let name = format!("{network}-alone");
        docker(&[
            "run",
            "--detach",
            "--name",
            &name,
            "--label",
            &label("check-alone"),
            "--network",
            network,
            "--tmpfs",
            "/var/lib/mysql",
            "--env",
            "MARIADB_ROOT_PASSWORD=root",
            "rwproxy-test/mariadb:11.8",
            "--server-id=77",
            "--innodb-use-native-aio=OFF",
            "--innodb-flush-method=nosync",
        ]);
        Alone(name)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = docker::client().args(["rm", "--force", "--volumes", &self.0]).output();
    }
}

/// Some of the servers, as if there were no others, and one that has nothing to do with them.
pub async fn subsets(cluster: &Cluster) {
    let network = docker(&[
        "inspect",
        "--format",
        "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}",
        &cluster.primary().container,
    ]);
    let alone = Alone::start(&network);
    let at = |server: &str| address(&cluster.server(server).container);
    let (primary, first, second) = (at("primary"), at("replica1"), at("replica2"));
    // Without uuids it is the name that tells of whom they are replicas.
    let all: [Listed; 3] =
        [("primary", &primary, ""), ("replica1", &first, ""), ("replica2", &second, "")];

    let doctor = Doctor::new(&listed(&all[1..]));
    is_found(&doctor, "primary-missing", None, "error").await;
    is_found(&doctor, "replication-source", Some("replica1"), "error").await;
    doctor.configure(&listed(&all));
    doctor.is_mended("primary-missing", None).await;
    doctor.is_mended("replication-source", Some("replica1")).await;

    doctor.configure(&listed(&[("primary", &primary, "role = \"replica\""), all[1], all[2]]));
    is_found(&doctor, "role-label", Some("primary"), "warning").await;
    doctor.configure(&listed(&[("primary", &primary, "role = \"primary\""), all[1], all[2]]));
    doctor.is_mended("role-label", Some("primary")).await;

    if cluster.flavour == Flavour::MySql {
        // One server by two names is what two servers of one uuid look like.
        doctor.configure(&listed(&[all[0], all[1], ("twin", &format!("[::ffff:{first}]"), "")]));
        is_found(&doctor, "server-uuid-duplicate", Some("twin"), "error").await;
        doctor.configure(&listed(&all));
        doctor.is_mended("server-uuid-duplicate", Some("twin")).await;
    }

    answers(&alone.0).await;
    let there = address(&alone.0);
    let stranger: Listed = ("stranger", &there, "");
    doctor.configure(&listed(&[all[0], stranger]));
    is_found(&doctor, "primary-ambiguous", None, "error").await;
    doctor.configure(&listed(&[all[0], all[1], stranger]));
    is_found(&doctor, "server-without-source", Some("stranger"), "error").await;
    doctor.is_mended("primary-ambiguous", None).await;
    if cluster.flavour == Flavour::MySql {
        is_found(&doctor, "flavours-mixed", Some("stranger"), "error").await;
    } else {
        // It is the only one that could be the primary.
        doctor.configure(&listed(&[all[1], stranger]));
        is_found(&doctor, "version-older-than-primary", Some("replica1"), "error").await;
        doctor.configure(&listed(&all));
        doctor.is_mended("version-older-than-primary", Some("replica1")).await;
        doctor.configure(&listed(&[all[0], all[1], stranger]));
        for (check, option) in [
            ("binary-log-off", "--log-bin=binlog"),
            ("binary-log-of-replica", "--log-slave-updates=ON"),
        ] {
            let finding = is_found(&doctor, check, Some("stranger"), "warning").await;
            assert_eq!(finding["remedies"][0]["option"], option);
            let mut finding = finding;
            // Listed under another name than its container's.
            finding["remedies"][0]["server"] = Value::from(alone.0.clone());
            follow(&finding).await;
            let there = address(&alone.0);
            doctor.configure(&listed(&[all[0], all[1], ("stranger", &there, "")]));
            doctor.is_mended(check, Some("stranger")).await;
        }
    }
}

async fn is_found(doctor: &Doctor, check: &str, server: Option<&str>, severity: &str) -> Value {
    let finding = doctor.find(check, server).await;
    assert_eq!(finding["severity"], severity, "{finding:#}");
    finding
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

/// No replica receives anything.
pub async fn fallen_back(cluster: &Cluster, doctor: &Doctor) {
    let is_mysql = cluster.flavour == Flavour::MySql;
    let primary = cluster.primary().container.clone();
    let replicas: Vec<String> =
        cluster.replicas().map(|replica| replica.container.clone()).collect();
    if is_mysql {
        tell(&primary, &["SET PERSIST rpl_semi_sync_source_timeout = 100"]).await;
    }
    let stop = if is_mysql { "STOP REPLICA IO_THREAD" } else { "STOP SLAVE IO_THREAD" };
    for replica in &replicas {
        tell(replica, &[stop]).await;
    }
    // MySQL notices that they are gone when it has something to send.
    tell(&primary, &["CREATE DATABASE fallen", "DROP DATABASE fallen"]).await;
    is_found(doctor, "semi-sync-fallen-back", Some(&primary), "warning").await;
    for replica in &replicas {
        let finding = is_found(doctor, "replication-receiver", Some(replica), "error").await;
        follow(&finding).await;
    }
    crate::support::eventually("it waits again", super::doctor::PATIENCE, async || {
        let finding = doctor.look().await.finding("semi-sync-fallen-back", Some(&primary));
        finding.is_none_or(|finding| finding["severity"] == "notice").then_some(())
    })
    .await;
    if is_mysql {
        tell(&primary, &["SET PERSIST rpl_semi_sync_source_timeout = 10000"]).await;
    }
}
