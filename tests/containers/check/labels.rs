//! Labels, which only a container that is made anew can have: it gets exactly what is printed, and keeps its data.

use serde_json::Value;

use super::alone::is_found;
use super::doctor::{Doctor, answers, follow, stop_and_start, tell};
use crate::support::docker::docker;
use crate::support::{Cluster, Flavour};

pub async fn made_anew(cluster: &mut Cluster, doctor: &Doctor) {
    let replica = cluster.server("replica2").container.clone();
    let [stop, start] = stop_and_start(cluster);
    let delay = match cluster.flavour {
        Flavour::MySql => "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 60",
        Flavour::MariaDb => "CHANGE MASTER TO MASTER_DELAY = 60",
    };
    tell(&replica, &[stop, delay, start]).await;
    anew(&replica, &["rwproxy.wieght=2", "rwproxy.role=primary"], "").await;
    let left_out = is_found(doctor, "container-left-out", Some(&replica), "error").await;
    assert_eq!(printed(&left_out), ["rwproxy.weight=2"]);
    anew(&replica, &printed(&left_out), "rwproxy.wieght").await;
    doctor.is_mended("container-left-out", Some(&replica)).await;

    let role = is_found(doctor, "role-label", Some(&replica), "warning").await;
    assert_eq!(printed(&role), ["rwproxy.role=replica"]);
    let delayed = is_found(doctor, "replication-delayed", Some(&replica), "warning").await;
    assert_eq!(printed(&delayed), ["rwproxy.weight=0"]);
    anew(&replica, &[printed(&role), printed(&delayed)].concat(), "").await;
    for check in ["role-label", "replication-delayed", "server-unreachable"] {
        doctor.is_mended(check, Some(&replica)).await;
    }
    follow(&delayed).await;
    cluster.refresh();
}

/// The labels that a finding says a container is to have.
pub fn printed(finding: &Value) -> Vec<&str> {
    let remedies = finding["remedies"].as_array().expect("a list");
    let labels = remedies.iter().find_map(|remedy| remedy["label"].as_str());
    labels.unwrap_or_else(|| panic!("no label in {finding:#}")).split(' ').collect()
}

/// The container as it was, but for these labels, and without one.
async fn anew(container: &str, labels: &[&str], without: &str) {
    let inspected: Value =
        serde_json::from_str(&docker(&["inspect", container])).expect("docker prints JSON");
    let (config, host) = (&inspected[0]["Config"], &inspected[0]["HostConfig"]);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let list = |value: &Value| -> Vec<String> {
        value.as_array().expect("a list").iter().map(text).collect()
    };
    let former = format!("{container}-former");
    let network = text(&host["NetworkMode"]);
    let mut options = vec![
        format!("--name={container}"),
        format!("--hostname={}", text(&config["Hostname"])),
        format!("--volumes-from={former}"),
        format!("--restart={}", text(&host["RestartPolicy"]["Name"])),
        format!("--network={network}"),
    ];
    let aliases = list(&inspected[0]["NetworkSettings"]["Networks"][&network]["Aliases"]);
    options.extend(aliases.iter().map(|alias| format!("--network-alias={alias}")));
    options.extend(list(&config["Env"]).iter().map(|variable| format!("--env={variable}")));
    let before = config["Labels"].as_object().expect("labels").iter();
    let kept = before.filter(|(name, _)| *name != without);
    options.extend(kept.map(|(name, value)| format!("--label={name}={}", text(value))));
    // The last one of a name counts.
    options.extend(labels.iter().map(|label| format!("--label={label}")));
    options.push(text(&config["Image"]));
    options.extend(list(&config["Cmd"]));

    docker(&["stop", container]);
    docker(&["rename", container, &former]);
    let create = ["create"].into_iter().chain(options.iter().map(String::as_str));
    docker(&create.collect::<Vec<_>>());
    docker(&["rm", &former]);
    docker(&["start", container]);
    answers(container).await;
}
