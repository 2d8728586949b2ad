//! Semi-synchronous replication: asked for, without its plugin, and fallen back.

use mysql_async::prelude::Queryable;

use super::alone::{is_found, tells};
use super::doctor::{Doctor, follow, stop_and_start, tell};
use crate::support::{Cluster, Flavour, eventually};

/// As the doctor of the cluster, and `routing.require_semi_sync`.
fn requiring(cluster: &Cluster) -> Doctor {
    let doctor = Doctor::of(cluster);
    let text = std::fs::read_to_string(doctor.path()).expect("the configuration");
    doctor.configure(&format!("{text}[routing]\nrequire_semi_sync = true\n"));
    doctor
}

pub async fn off_and_fallen_back(cluster: &Cluster, doctor: &Doctor) {
    let requiring = requiring(cluster);
    let primary = cluster.primary().container.clone();
    let off = match cluster.flavour {
        Flavour::MySql => "SET GLOBAL rpl_semi_sync_source_enabled = OFF",
        Flavour::MariaDb => "SET GLOBAL rpl_semi_sync_master_enabled = OFF",
    };
    tell(&primary, &[off]).await;
    let kept_back = is_found(&requiring, "semi-sync-source", Some(&primary), "error").await;
    tells(&kept_back, "routing.require_semi_sync keeps all writes back");
    follow(&kept_back).await;
    requiring.is_mended("semi-sync-source", Some(&primary)).await;

    fallen_back(cluster, doctor, &requiring).await;
    if cluster.flavour == Flavour::MySql {
        without_plugin(cluster, doctor).await;
    }
}

/// No replica receives anything.
async fn fallen_back(cluster: &Cluster, doctor: &Doctor, requiring: &Doctor) {
    let is_mysql = cluster.flavour == Flavour::MySql;
    let primary = cluster.primary().container.clone();
    if is_mysql {
        tell(&primary, &["SET PERSIST rpl_semi_sync_source_timeout = 100"]).await;
    }
    stop_receivers(cluster).await;
    // MySQL notices that they are gone when it has something to send.
    tell(&primary, &["CREATE DATABASE fallen", "DROP DATABASE fallen"]).await;
    is_found(doctor, "semi-sync-fallen-back", Some(&primary), "warning").await;
    is_found(requiring, "semi-sync-fallen-back", Some(&primary), "error").await;
    start_receivers(cluster, doctor).await;
    // That it has fallen back is known until it is started anew.
    let again = eventually("it waits again", super::doctor::PATIENCE, async || {
        let finding = doctor.look().await.finding("semi-sync-fallen-back", Some(&primary))?;
        (finding["severity"] == "notice").then_some(finding)
    })
    .await;
    tells(&again, "it has fallen back ");
    if is_mysql {
        tell(&primary, &["SET PERSIST rpl_semi_sync_source_timeout = 10000"]).await;
    }
}

async fn stop_receivers(cluster: &Cluster) {
    let [stop, _] = stop_and_start(cluster).map(|both| format!("{both} IO_THREAD"));
    for replica in cluster.replicas() {
        tell(&replica.container, &[&stop]).await;
    }
}

/// As is advised.
async fn start_receivers(cluster: &Cluster, doctor: &Doctor) {
    for replica in cluster.replicas() {
        let name = &replica.container;
        let finding = is_found(doctor, "replication-receiver", Some(name), "error").await;
        follow(&finding).await;
    }
}

/// The primary's is taken away. Replicas that connect meanwhile do not acknowledge when it is back.
async fn without_plugin(cluster: &Cluster, doctor: &Doctor) {
    let primary = cluster.primary().container.clone();
    let off = "SET GLOBAL rpl_semi_sync_source_enabled = OFF";
    stop_receivers(cluster).await;
    let mut root = cluster.root("primary").await;
    root.query_drop(off).await.expect("it is off");
    // It is in use until the threads that send to replicas find, by sending, that these are gone.
    eventually("the plugin is taken away", super::doctor::PATIENCE, async || {
        for statement in ["CREATE DATABASE fallen", "DROP DATABASE fallen"] {
            root.query_drop(statement).await.expect(statement);
        }
        let taken = root.query_drop("UNINSTALL PLUGIN rpl_semi_sync_source").await;
        taken.inspect_err(|error| eprintln!("{error}")).ok()
    })
    .await;
    let _ = root.disconnect().await;
    start_receivers(cluster, doctor).await;
    let lacks = is_found(doctor, "semi-sync-source", Some(&primary), "warning").await;
    tells(&lacks, "it lacks the plugin of semi-synchronous replication, and ");
    follow(&lacks).await;
    doctor.is_mended("semi-sync-source", Some(&primary)).await;
    for replica in cluster.replicas() {
        let name = &replica.container;
        let early = is_found(doctor, "semi-sync-replica", Some(name), "warning").await;
        tells(&early, "it has connected before it was to acknowledge");
        follow(&early).await;
        doctor.is_mended("semi-sync-replica", Some(name)).await;
    }
}
