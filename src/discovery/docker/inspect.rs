//! What Docker's answers say, in our terms.

use std::net::IpAddr;

use bollard::models::{
    ContainerInspectResponse, EndpointSettings, EventMessage, EventMessageTypeEnum,
    HealthStatusEnum, PortMap,
};

use crate::discovery::container::{Activity, Attachment, Container, NetworkMode, Published};
use crate::discovery::containers::Change;
use crate::discovery::servers::Ended;

/// Under which label Docker Compose names the project.
const COMPOSE_PROJECT: &str = "com.docker.compose.project";
const COMPOSE_SERVICE: &str = "com.docker.compose.service";
/// Of a health check's output.
const LONGEST_ILLNESS: usize = 200;

/// An inspected container; `None` when the answer names no container.
pub fn container(answer: ContainerInspectResponse) -> Option<Container> {
    let id = answer.id?;
    let config = answer.config.unwrap_or_default();
    let mut labels: Vec<_> = config.labels.unwrap_or_default().into_iter().collect();
    labels.sort_unstable();
    let label = |wanted: &str| {
        labels.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
    };
    let (compose_project, compose_service) = (label(COMPOSE_PROJECT), label(COMPOSE_SERVICE));
    let settings = answer.network_settings.unwrap_or_default();
    let mut networks: Vec<Attachment> = settings
        .networks
        .unwrap_or_default()
        .into_iter()
        .map(|(name, endpoint)| attachment(name, endpoint))
        .collect();
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    let host = answer.host_config.unwrap_or_default();
    let mode = host.network_mode.unwrap_or_default();
    let policy = host.restart_policy.and_then(|policy| policy.name);
    let state = answer.state.unwrap_or_default();
    Some(Container {
        name: answer.name.as_deref().unwrap_or(&id).trim_start_matches('/').to_owned(),
        id,
        hostname: config.hostname.unwrap_or_default(),
        labels,
        compose_project,
        compose_service,
        // The daemon writes an empty name for `no`.
        restart: policy
            .map(|name| name.to_string())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "no".to_owned()),
        image: config.image.unwrap_or_default(),
        arguments: answer.args.unwrap_or_default(),
        started: state.started_at.clone().unwrap_or_default(),
        ended: ended(&state),
        illness: illness(&state),
        activity: activity(&state),
        network_mode: network_mode(&mode),
        networks,
        published: published(settings.ports.unwrap_or_default()),
    })
}

fn activity(state: &bollard::models::ContainerState) -> Activity {
    if state.paused == Some(true) {
        return Activity::Not("paused".into());
    }
    if state.restarting == Some(true) {
        return Activity::Not("restarting".into());
    }
    if state.running != Some(true) {
        return Activity::Not("exited".into());
    }
    match state.health.as_ref().and_then(|health| health.status) {
        Some(HealthStatusEnum::UNHEALTHY) => Activity::Unhealthy,
        // While the check is starting the probes decide alone.
        _ => Activity::Running,
    }
}

fn ended(state: &bollard::models::ContainerState) -> Option<Ended> {
    // What is started again and again counts as running all the time.
    let is_down = state.running != Some(true) || state.restarting == Some(true);
    is_down.then(|| Ended {
        exit_code: state.exit_code.unwrap_or(0),
        out_of_memory: state.oom_killed == Some(true),
    })
}

/// The last output of a check that has failed too often, in one line of bounded length.
fn illness(state: &bollard::models::ContainerState) -> Option<String> {
    let health = state.health.as_ref()?;
    if health.status != Some(HealthStatusEnum::UNHEALTHY) {
        return None;
    }
    let output = health.log.as_ref()?.last()?.output.as_deref()?;
    let line = output.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(line.chars().take(LONGEST_ILLNESS).collect())
}

fn network_mode(mode: &str) -> NetworkMode {
    match mode {
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        _ => match mode.strip_prefix("container:") {
            Some(other) => NetworkMode::OfContainer(other.get(..12).unwrap_or(other).to_owned()),
            None => NetworkMode::Networks,
        },
    }
}

fn attachment(name: String, endpoint: EndpointSettings) -> Attachment {
    let ip = |text: Option<String>| text.and_then(|text| text.parse::<IpAddr>().ok());
    let mut aliases = endpoint.aliases.unwrap_or_default();
    aliases.extend(endpoint.dns_names.unwrap_or_default());
    aliases.sort_unstable();
    aliases.dedup();
    Attachment {
        name,
        id: endpoint.network_id.unwrap_or_default(),
        ip: ip(endpoint.ip_address).or_else(|| ip(endpoint.global_ipv6_address)),
        gateway: ip(endpoint.gateway).or_else(|| ip(endpoint.ipv6_gateway)),
        aliases,
    }
}

/// The TCP ports: Docker's keys are `3306/tcp`.
fn published(ports: PortMap) -> Vec<Published> {
    let mut all = Vec::new();
    for (key, bindings) in ports {
        let port = match key.split_once('/') {
            Some((port, "tcp")) => port,
            None => &key,
            Some(_) => continue,
        };
        let Ok(container_port) = port.parse() else { continue };
        for binding in bindings.unwrap_or_default() {
            let host_ip = binding.host_ip.filter(|ip| !ip.is_empty());
            let host_ip = host_ip.as_deref().unwrap_or("0.0.0.0").parse();
            let host_port = binding.host_port.as_deref().unwrap_or_default().parse();
            if let (Ok(host_ip), Ok(host_port)) = (host_ip, host_port) {
                all.push(Published { container_port, host_ip, host_port });
            }
        }
    }
    all.sort_by_key(|binding| (binding.container_port, binding.host_ip, binding.host_port));
    all
}

/// What an event means to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
    pub id: String,
    pub change: Change,
    /// It carries a label of ours; events of networks carry none.
    pub is_labelled: bool,
}

/// Reads an event; `None` for one that changes nothing here. An event of a network is one of the
/// container that joins or leaves it.
pub fn event(event: EventMessage, prefix: &str) -> Option<ContainerEvent> {
    let change = Change::of_action(event.action.as_deref()?)?;
    let actor = event.actor?;
    let attributes = actor.attributes.unwrap_or_default();
    let is_ours = |name: &String| name.strip_prefix(prefix).is_some_and(|n| n.starts_with('.'));
    match event.typ? {
        EventMessageTypeEnum::CONTAINER => Some(ContainerEvent {
            id: actor.id?,
            change,
            is_labelled: attributes.keys().any(is_ours),
        }),
        EventMessageTypeEnum::NETWORK => Some(ContainerEvent {
            id: attributes.get("container")?.clone(),
            change: Change::Other,
            is_labelled: false,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts that are read, as Engine 20.10 (API 1.41) answers them.
    const INSPECTED: &str = r#"{
        "Id": "4c01db0b339c", "Name": "/shop-db-1", "Args": ["--read-only=ON"],
        "State": {"Status": "running", "Running": true, "Paused": false, "Restarting": false,
                  "StartedAt": "2026-01-01T00:00:00.123456789Z",
                  "Health": {"Status": "starting", "FailingStreak": 0, "Log": []}},
        "HostConfig": {"NetworkMode": "shop_back",
                       "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}},
        "Config": {"Hostname": "4c01db0b339c", "Image": "mysql:8.4",
                   "Labels": {"rwproxy.enable": "true", "com.docker.compose.project": "shop"}},
        "NetworkSettings": {
            "Ports": {"3306/tcp": [{"HostIp": "0.0.0.0", "HostPort": "33061"},
                                   {"HostIp": "::", "HostPort": "33061"}],
                      "33060/tcp": null, "53/udp": [{"HostIp": "", "HostPort": "53"}]},
            "Networks": {
                "shop_back": {"Aliases": ["db", "4c01db0b339c"], "NetworkID": "n1",
                              "Gateway": "172.19.0.1", "IPAddress": "172.19.0.2"},
                "other": {"NetworkID": "n2", "IPAddress": "", "GlobalIPv6Address": "fd00::2"}}}
    }"#;

    fn parsed(json: &str) -> Container {
        let answer = serde_json::from_str(json).expect("as the daemon writes it");
        container(answer).expect("it has an id")
    }

    #[test]
    fn an_inspection() {
        let container = parsed(INSPECTED);
        assert_eq!(container.name, "shop-db-1");
        assert_eq!(container.compose_project.as_deref(), Some("shop"));
        assert_eq!(container.restart, "unless-stopped");
        assert_eq!(container.image, "mysql:8.4");
        assert_eq!(container.arguments, ["--read-only=ON"]);
        assert_eq!(parsed(r#"{"Id": "x"}"#).restart, "no");
        assert_eq!(container.started, "2026-01-01T00:00:00.123456789Z");
        assert_eq!(container.activity, Activity::Running);
        assert_eq!(container.network_mode, NetworkMode::Networks);
        let ips: Vec<_> = container.networks.iter().map(|network| network.ip).collect();
        assert_eq!(ips, ["fd00::2".parse().ok(), "172.19.0.2".parse().ok()]);
        assert_eq!(container.networks[1].gateway, "172.19.0.1".parse().ok());
        assert_eq!(container.networks[1].aliases, ["4c01db0b339c", "db"]);
        assert_eq!(container.published.len(), 2);
        assert_eq!(container.published[0].host_port, 33061);
    }

    #[test]
    fn activities() {
        let table = [
            (r#""Running": true, "Paused": false"#, Activity::Running),
            (r#""Running": true, "Paused": true"#, Activity::Not("paused".into())),
            (r#""Running": true, "Restarting": true"#, Activity::Not("restarting".into())),
            (r#""Running": false"#, Activity::Not("exited".into())),
            (r#""Running": true, "Health": {"Status": "unhealthy"}"#, Activity::Unhealthy),
        ];
        for (state, expected) in table {
            let json = format!(r#"{{"Id": "x", "State": {{{state}}}}}"#);
            assert_eq!(parsed(&json).activity, expected, "{state}");
        }
    }

    #[test]
    fn how_containers_end_and_what_ails_them() {
        let ended = parsed(r#"{"Id": "x", "State": {"ExitCode": 137, "OOMKilled": true}}"#);
        assert_eq!(ended.ended, Some(Ended { exit_code: 137, out_of_memory: true }));
        let again = r#""Running": true, "Restarting": true, "ExitCode": 3"#;
        let again = parsed(&format!(r#"{{"Id": "x", "State": {{{again}}}}}"#));
        assert_eq!(again.ended, Some(Ended { exit_code: 3, out_of_memory: false }));
        let ill = |status: &str| {
            parsed(&format!(
                r#"{{"Id": "x", "State": {{"Running": true, "Health": {{"Status": "{status}",
                    "Log": [{{"Output": "old"}}, {{"Output": "no\n  answer\n"}}]}}}}}}"#
            ))
        };
        assert_eq!(ill("unhealthy").illness.as_deref(), Some("no answer"));
        assert_eq!(ill("healthy").illness, None);
        assert_eq!(ill("healthy").ended, None);
    }

    #[test]
    fn events() {
        let read = |json: &str| {
            event(serde_json::from_str(json).expect("as the daemon writes it"), "rwproxy")
        };
        let died = r#"{"status": "die", "id": "4c01", "from": "mysql", "Type": "container",
            "Action": "die", "Actor": {"ID": "4c01", "Attributes": {"name": "db1",
            "rwproxy.enable": "true", "exitCode": "137"}}, "scope": "local", "time": 1}"#;
        let expected = ContainerEvent {
            id: "4c01".to_owned(),
            change: Change::Not("exited"),
            is_labelled: true,
        };
        assert_eq!(read(died), Some(expected));
        let connected = r#"{"Type": "network", "Action": "connect", "Actor": {"ID": "n1",
            "Attributes": {"container": "4c01", "name": "back", "type": "bridge"}}}"#;
        let expected =
            ContainerEvent { id: "4c01".to_owned(), change: Change::Other, is_labelled: false };
        assert_eq!(read(connected), Some(expected));
        for other in [
            r#"{"Type": "network", "Action": "create", "Actor": {"ID": "n1"}}"#,
            r#"{"Type": "container", "Action": "exec_die", "Actor": {"ID": "4c01"}}"#,
            r#"{"Type": "image", "Action": "pull", "Actor": {"ID": "mysql"}}"#,
            "{}",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
