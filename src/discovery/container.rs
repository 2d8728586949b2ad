//! What is looked at of a container, and the server that it makes.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::DockerAddress;

use super::address::{self, Vantage};
use super::labels::{self, Labelled};
use super::servers::{Ended, Run, Server, Spec, Standing};

/// A container's place on one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub name: String,
    pub id: String,
    /// `None` while the container does not run.
    pub ip: Option<IpAddr>,
    /// The daemon's host on this network.
    pub gateway: Option<IpAddr>,
    /// Other names by which containers on this network know it.
    pub aliases: Vec<String>,
}

/// Where a container's network comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkMode {
    /// Attached to networks of its own.
    Networks,
    Host,
    None,
    /// Another container's, by its id or name.
    OfContainer(String),
}

/// A port of the host that leads into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub container_port: u16,
    pub host_ip: IpAddr,
    pub host_port: u16,
}

/// What a container does, by the daemon's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activity {
    Running,
    /// Docker's health check has failed too often.
    Unhealthy,
    /// Its state as Docker names it: `paused`, `exited`, `restarting` …
    Not(Arc<str>),
}

impl Activity {
    fn name(&self) -> Arc<str> {
        match self {
            Activity::Running => "running".into(),
            Activity::Unhealthy => "unhealthy".into(),
            Activity::Not(state) => state.clone(),
        }
    }
}

/// An inspected container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    /// Without Docker's leading slash.
    pub name: String,
    /// The name that it gives itself.
    pub hostname: String,
    pub labels: Vec<(String, String)>,
    pub compose_project: Option<String>,
    pub compose_service: Option<String>,
    /// The restart policy by Docker's name.
    pub restart: String,
    /// The image, as it was named.
    pub image: String,
    /// What its first process is started with.
    pub arguments: Vec<String>,
    pub started: String,
    /// How it ended, if it does not run.
    pub ended: Option<Ended>,
    /// What a health check that has failed too often said last.
    pub illness: Option<String>,
    pub activity: Activity,
    pub network_mode: NetworkMode,
    pub networks: Vec<Attachment>,
    pub published: Vec<Published>,
}

/// How containers become servers, from `[docker]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What labels begin with.
    pub prefix: String,
    pub cluster: String,
    pub address: DockerAddress,
    pub respect_health: bool,
}

impl Container {
    /// The server that this container is, or `None` when it is none of ours.
    pub fn server(&self, rules: &Rules, vantage: &Vantage, origin: &Arc<str>) -> Option<Server> {
        let labels = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let (spec, port, standing) = match labels::read(labels, &rules.prefix, &rules.cluster) {
            Labelled::NotOurs => return None,
            Labelled::LeftOut(reason) => {
                (Spec::default(), labels::DEFAULT_PORT, Standing::LeftOut(reason.into()))
            }
            Labelled::Ours(labels) => {
                let standing =
                    self.standing(rules, vantage, labels.port, labels.network.as_deref());
                (labels.spec, labels.port, standing)
            }
        };
        Some(Server {
            key: self.id.as_str().into(),
            name: self.name.as_str().into(),
            origin: origin.clone(),
            started: self.started.as_str().into(),
            aliases: self.aliases(),
            port,
            run: Some(Run {
                restart: self.restart.as_str().into(),
                service: self.compose_service.as_deref().map(Into::into),
                image: self.image.as_str().into(),
                arguments: self.arguments.clone(),
                state: self.activity.name(),
                ended: self.ended,
                illness: self.illness.as_deref().map(Into::into),
            }),
            spec,
            standing,
        })
    }

    fn standing(
        &self,
        rules: &Rules,
        vantage: &Vantage,
        port: u16,
        network: Option<&str>,
    ) -> Standing {
        if let Activity::Not(state) = &self.activity {
            return Standing::NotRunning(not_running(state));
        }
        let address = address::choose(self, port, network, rules.address, vantage, &rules.prefix);
        match (address, &self.activity) {
            (Err(reason), _) => Standing::LeftOut(reason.into()),
            (Ok(address), Activity::Unhealthy) if rules.respect_health => {
                Standing::Unhealthy(address)
            }
            (Ok(address), _) => Standing::Running(address),
        }
    }

    /// Every name and address by which a replica may have been told of this server.
    fn aliases(&self) -> Vec<Arc<str>> {
        let short_id = self.id.get(..12).unwrap_or(&self.id);
        let mut aliases: Vec<String> = [self.name.as_str(), self.hostname.as_str(), short_id]
            .into_iter()
            .filter(|name| !name.is_empty())
            .map(str::to_lowercase)
            .collect();
        for network in &self.networks {
            for alias in [&self.name].into_iter().chain(&network.aliases) {
                aliases.push(alias.to_lowercase());
                // Docker's resolver also answers NAME.NETWORK.
                aliases.push(format!("{alias}.{}", network.name).to_lowercase());
            }
            aliases.extend(network.ip.map(|ip| ip.to_string()));
        }
        aliases.sort_unstable();
        aliases.dedup();
        aliases.into_iter().map(Arc::from).collect()
    }
}

/// The reason why a container in this state serves nothing.
pub fn not_running(state: &str) -> Arc<str> {
    match state {
        "paused" | "restarting" => format!("the container is {state}").into(),
        _ => "the container is stopped".into(),
    }
}

#[cfg(test)]
impl Container {
    /// A running container without networks.
    pub fn example(name: &str) -> Container {
        Container {
            id: format!("{name:0<64}"),
            name: name.to_owned(),
            hostname: format!("{name}-host"),
            labels: vec![("rwproxy.enable".to_owned(), "true".to_owned())],
            compose_project: None,
            compose_service: None,
            restart: "no".to_owned(),
            image: "mysql:8.4".to_owned(),
            arguments: Vec::new(),
            ended: None,
            illness: None,
            started: "2026-01-01T00:00:00Z".to_owned(),
            activity: Activity::Running,
            network_mode: NetworkMode::Networks,
            networks: Vec::new(),
            published: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::topology::Address;

    fn rules() -> Rules {
        Rules {
            prefix: "rwproxy".to_owned(),
            cluster: "default".to_owned(),
            address: DockerAddress::Auto,
            respect_health: true,
        }
    }

    fn networked(name: &str) -> Container {
        let network = Attachment {
            name: "back".to_owned(),
            id: "1".to_owned(),
            ip: Some([172, 19, 0, 2].into()),
            gateway: None,
            aliases: vec!["Database".to_owned()],
        };
        Container { networks: vec![network], ..Container::example(name) }
    }

    fn standing(container: &Container, rules: &Rules) -> Standing {
        let server = container.server(rules, &Vantage::Host, &"docker".into());
        server.expect("the container is labelled").standing
    }

    #[test]
    fn activity_decides_the_standing() {
        let address = Address::Ip(([172, 19, 0, 2], 3306).into());
        let unhealthy = Container { activity: Activity::Unhealthy, ..networked("db1") };
        let paused = Container { activity: Activity::Not("paused".into()), ..networked("db1") };
        let exited = Container { activity: Activity::Not("exited".into()), ..networked("db1") };
        let heedless = Rules { respect_health: false, ..rules() };
        assert_eq!(standing(&networked("db1"), &rules()), Standing::Running(address.clone()));
        assert_eq!(standing(&unhealthy, &rules()), Standing::Unhealthy(address.clone()));
        assert_eq!(standing(&unhealthy, &heedless), Standing::Running(address));
        let paused = standing(&paused, &rules());
        assert_eq!(paused, Standing::NotRunning("the container is paused".into()));
        let exited = standing(&exited, &rules());
        assert_eq!(exited, Standing::NotRunning("the container is stopped".into()));
    }

    #[test]
    fn a_bad_label_is_told_even_of_a_stopped_container() {
        let container = Container {
            labels: vec![("rwproxy.enabel".to_owned(), "true".to_owned())],
            activity: Activity::Not("exited".into()),
            ..networked("db1")
        };
        assert!(matches!(standing(&container, &rules()), Standing::LeftOut(_)));
    }

    #[test]
    fn aliases_are_all_the_names_that_replicas_may_use() {
        let server = networked("Db1").server(&rules(), &Vantage::Host, &"docker".into());
        let aliases = server.expect("the container is labelled").aliases;
        let has = |name: &str| aliases.iter().any(|alias| &**alias == name);
        for name in ["db1", "db1-host", "database", "database.back", "db1.back", "172.19.0.2"] {
            assert!(has(name), "{name}: {aliases:?}");
        }
    }
}
