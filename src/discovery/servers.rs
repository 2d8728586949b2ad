//! What is known of a server before it is asked anything.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, RoleSetting};
use crate::routing::topology::Address;

/// What labels or `[[backends]]` say of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub role: RoleSetting,
    /// Share of reads, 0 (none) to 1000.
    pub weight: u32,
    /// In place of `routing.max_lag`.
    pub max_lag: Option<Duration>,
    /// Takes no new reads.
    pub drain: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Spec { role: RoleSetting::Auto, weight: 1, max_lag: None, drain: false }
    }
}

/// Whether there is something to talk to. The reasons are in words for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Should answer.
    Running(Address),
    /// Runs, but Docker's health check says that it is ill: watched, and takes nothing.
    Unhealthy(Address),
    /// Its container is stopped, paused, restarting.
    NotRunning(Arc<str>),
    /// Not to be used as it is set up.
    LeftOut(Arc<str>),
}

impl Standing {
    pub fn address(&self) -> Option<&Address> {
        match self {
            Standing::Running(address) | Standing::Unhealthy(address) => Some(address),
            Standing::NotRunning(_) | Standing::LeftOut(_) => None,
        }
    }
}

/// How Docker runs a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Run {
    /// The restart policy: `no`, `always`, `unless-stopped`, `on-failure`.
    pub restart: Arc<str>,
    /// The service that it is for Docker Compose.
    pub service: Option<Arc<str>>,
    /// The image, as it was named.
    pub image: Arc<str>,
    /// What its first process was started with.
    pub arguments: Vec<String>,
    /// In Docker's word: `running`, `unhealthy`, `paused`, `restarting`, `exited`.
    pub state: Arc<str>,
    /// How it ended, if it does not run.
    pub ended: Option<Ended>,
    /// What a health check that has failed too often said last.
    pub illness: Option<Arc<str>>,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    pub exit_code: i64,
    pub out_of_memory: bool,
}

/// One server, whether it can be used or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Which server it is, across restarts: the container's id, or the name in `[[backends]]`.
    pub key: Arc<str>,
    /// For people: the container's name, or the name in `[[backends]]`.
    pub name: Arc<str>,
    /// Where it was found: the Docker endpoint, or `proxy.toml`.
    pub origin: Arc<str>,
    /// When its container was started, as Docker writes it: another value is another process.
    pub started: Arc<str>,
    /// Host names and addresses by which its replicas may know it, in lower case.
    pub aliases: Vec<Arc<str>>,
    /// The port that goes with the aliases: inside the container, whatever port is published.
    pub port: u16,
    /// How Docker runs it; `None` for servers of `[[backends]]`.
    pub run: Option<Run>,
    pub spec: Spec,
    pub standing: Standing,
}

/// The servers of one origin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    pub servers: Vec<Server>,
    /// Why the list may be out of date, in words for an operator.
    pub problem: Option<Arc<str>>,
}

/// All servers known, by origin. An origin that was never listed and has not failed yet is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog {
    pub sources: BTreeMap<Arc<str>, Source>,
    /// How many origins there are in all.
    pub expected: usize,
}

impl Catalog {
    /// True once every origin has been listed or has failed.
    pub fn is_complete(&self) -> bool {
        self.sources.len() >= self.expected
    }

    /// Every server. Where two origins have the same name, that name is followed by the origin.
    pub fn servers(&self) -> Vec<Server> {
        let mut uses: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        let mut servers: Vec<Server> =
            self.sources.values().flat_map(|source| source.servers.iter().cloned()).collect();
        for server in &servers {
            *uses.entry(server.name.clone()).or_default() += 1;
        }
        for server in &mut servers {
            if uses[&server.name] > 1 {
                server.name = format!("{} ({})", server.name, server.origin).into();
            }
        }
        servers.sort_by(|a, b| a.name.cmp(&b.name));
        servers
    }

    /// What is wrong with the origins.
    pub fn problems(&self) -> impl Iterator<Item = &Arc<str>> {
        self.sources.values().filter_map(|source| source.problem.as_ref())
    }
}

/// The servers of `[[backends]]`.
pub fn fixed(backends: &[config::Backend]) -> Source {
    let servers = backends.iter().map(|backend| {
        let config::HostPort { host, port } = &backend.address;
        let address = match host.parse::<IpAddr>() {
            Ok(ip) => Address::Ip((ip, *port).into()),
            Err(_) => Address::Name { host: host.as_str().into(), port: *port },
        };
        Server {
            key: format!("proxy.toml:{}", backend.name).into(),
            name: backend.name.as_str().into(),
            origin: "proxy.toml".into(),
            started: "".into(),
            aliases: [backend.name.to_lowercase().into(), host.to_lowercase().into()].into(),
            port: *port,
            run: None,
            spec: Spec {
                role: backend.role,
                weight: backend.weight,
                max_lag: backend.max_lag,
                drain: false,
            },
            standing: Standing::Running(address),
        }
    });
    Source { servers: servers.collect(), problem: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(name: &str, address: &str) -> config::Backend {
        config::Backend {
            name: name.to_owned(),
            address: address.parse().expect("a legal address"),
            role: RoleSetting::Auto,
            weight: 1,
            max_lag: None,
        }
    }

    #[test]
    fn backends_keep_names_and_parse_addresses() {
        let source = fixed(&[backend("a", "10.0.0.5"), backend("b", "db.example:3307")]);
        let addresses: Vec<_> =
            source.servers.iter().filter_map(|server| server.standing.address()).collect();
        assert_eq!(*addresses[0], Address::Ip(([10, 0, 0, 5], 3306).into()));
        assert_eq!(*addresses[1], Address::Name { host: "db.example".into(), port: 3307 });
    }

    #[test]
    fn the_same_name_of_two_origins_is_told_apart() {
        let mut catalog = Catalog { expected: 2, ..Catalog::default() };
        catalog.sources.insert("proxy.toml".into(), fixed(&[backend("db1", "10.0.0.5")]));
        assert!(!catalog.is_complete());
        let mut other = fixed(&[backend("db1", "10.0.0.6"), backend("db2", "10.0.0.7")]);
        for server in &mut other.servers {
            server.origin = "tcp://two".into();
        }
        catalog.sources.insert("tcp://two".into(), other);
        assert!(catalog.is_complete());
        let names: Vec<_> = catalog.servers().iter().map(|server| server.name.clone()).collect();
        assert_eq!(
            names.iter().map(|name| &**name).collect::<Vec<_>>(),
            ["db1 (proxy.toml)", "db1 (tcp://two)", "db2"]
        );
    }
}
