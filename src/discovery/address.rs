//! Which address of a container to dial. Where more than one could be meant none is chosen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::config::DockerAddress;
use crate::routing::topology::Address;

use super::container::{Attachment, Container, NetworkMode};

/// Where the proxy stands, seen from a Docker daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vantage {
    /// On the daemon's host: outside any container, or in one with the host's network.
    Host,
    /// In a container of this daemon with these networks.
    Container(Vec<Attachment>),
    /// On another machine, or outside the virtual machine in which the daemon runs: only published
    /// ports can be reached, on this host.
    Remote(Arc<str>),
}

/// The address at which `container` serves `port`, or why none is certain, in words for an
/// operator. `label` is the prefix of labels, for the advice.
pub fn choose(
    container: &Container,
    port: u16,
    network: Option<&str>,
    mode: DockerAddress,
    vantage: &Vantage,
    label: &str,
) -> Result<Address, String> {
    match (mode, vantage) {
        (DockerAddress::Published, _) | (DockerAddress::Auto, Vantage::Remote(_)) => {
            published(container, port, vantage)
        }
        (DockerAddress::Auto | DockerAddress::Ip, _) => {
            own(container, port, network, vantage, label)
        }
    }
}

/// The container's own address.
fn own(
    container: &Container,
    port: u16,
    network: Option<&str>,
    vantage: &Vantage,
    label: &str,
) -> Result<Address, String> {
    match &container.network_mode {
        NetworkMode::Host => return on_host(port, vantage),
        NetworkMode::None => return Err("it has no network (network mode \"none\")".to_owned()),
        NetworkMode::OfContainer(other) => {
            return Err(format!(
                "it shares the network of container {other}, so its address is not its own: \
                 list it under [[backends]]"
            ));
        }
        NetworkMode::Networks => {}
    }
    let attachment = match network {
        Some(name) => named(container, name, label)?,
        None => only(container, vantage, label)?,
    };
    match attachment.ip {
        Some(ip) => Ok(Address::Ip(SocketAddr::new(ip, port))),
        None => Err(format!("it has no address on network {}", attachment.name)),
    }
}

fn on_host(port: u16, vantage: &Vantage) -> Result<Address, String> {
    match vantage {
        Vantage::Host => Ok(Address::Ip((Ipv4Addr::LOCALHOST, port).into())),
        Vantage::Remote(host) => Ok(at_host(host, port)),
        Vantage::Container(_) => Err("it uses the host's network, which has no certain address \
             for a proxy in a container: list it under [[backends]]"
            .to_owned()),
    }
}

/// The network of this name, or of this name in the container's compose project.
fn named<'a>(container: &'a Container, name: &str, label: &str) -> Result<&'a Attachment, String> {
    let in_project = container.compose_project.as_ref().map(|project| format!("{project}_{name}"));
    container
        .networks
        .iter()
        .find(|network| network.name == name)
        .or_else(|| {
            container.networks.iter().find(|network| Some(&network.name) == in_project.as_ref())
        })
        .ok_or_else(|| {
            let attached = names(container.networks.iter());
            format!("label {label}.network names {name}, but it is attached to {attached}")
        })
}

/// The one network that the proxy can reach it by.
fn only<'a>(
    container: &'a Container,
    vantage: &Vantage,
    label: &str,
) -> Result<&'a Attachment, String> {
    let shared = |network: &&Attachment| match vantage {
        Vantage::Container(ours) => ours.iter().any(|our| our.id == network.id),
        Vantage::Host | Vantage::Remote(_) => true,
    };
    let reachable: Vec<_> = container.networks.iter().filter(shared).collect();
    match (&reachable[..], vantage) {
        ([one], _) => Ok(one),
        ([], Vantage::Container(ours)) => Err(format!(
            "it shares no network with the proxy: it is attached to {}, the proxy to {}",
            names(container.networks.iter()),
            names(ours.iter())
        )),
        ([], _) => Err("it is attached to no network".to_owned()),
        (several, _) => Err(format!(
            "it can be reached by several networks ({}): name one by label {label}.network",
            names(several.iter().copied())
        )),
    }
}

fn names<'a>(networks: impl Iterator<Item = &'a Attachment>) -> String {
    let mut names: Vec<_> = networks.map(|network| network.name.as_str()).collect();
    names.sort_unstable();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The host's port that leads to `port`. Of several the lowest: they all lead to the same server.
fn published(container: &Container, port: u16, vantage: &Vantage) -> Result<Address, String> {
    if container.network_mode == NetworkMode::Host {
        return on_host(port, vantage);
    }
    let mut bindings: Vec<_> =
        container.published.iter().filter(|binding| binding.container_port == port).collect();
    bindings.sort_by_key(|binding| (binding.host_ip.is_ipv6(), binding.host_port));
    if bindings.is_empty() {
        return Err(format!("its port {port} is not published, and nothing else can be reached"));
    }
    bindings
        .into_iter()
        .find_map(|binding| match (binding.host_ip, vantage) {
            (ip, Vantage::Remote(host)) if ip.is_unspecified() => {
                Some(at_host(host, binding.host_port))
            }
            (ip, Vantage::Remote(host)) if ip.is_loopback() => {
                // A daemon in a virtual machine forwards the host's loopback.
                is_loopback(host).then(|| at_host(host, binding.host_port))
            }
            (ip, Vantage::Host) if ip.is_unspecified() => {
                let ip: IpAddr = match ip {
                    IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                };
                Some(Address::Ip((ip, binding.host_port).into()))
            }
            (ip, Vantage::Container(ours)) if ip.is_unspecified() => {
                let gateway = ours.iter().find_map(|network| network.gateway)?;
                Some(Address::Ip((gateway, binding.host_port).into()))
            }
            (ip, Vantage::Container(_)) if ip.is_loopback() => None,
            (ip, _) => Some(Address::Ip((ip, binding.host_port).into())),
        })
        .ok_or_else(|| {
            format!("its port {port} is published only on the loopback of the daemon's host")
        })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn at_host(host: &Arc<str>, port: u16) -> Address {
    match host.parse::<IpAddr>() {
        Ok(ip) => Address::Ip((ip, port).into()),
        Err(_) => Address::Name { host: host.clone(), port },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::container::Published;

    fn network(name: &str, ip: Option<[u8; 4]>) -> Attachment {
        Attachment {
            name: name.to_owned(),
            id: format!("id of {name}"),
            ip: ip.map(IpAddr::from),
            gateway: Some(IpAddr::from([172, 18, 0, 1])),
            aliases: Vec::new(),
        }
    }

    fn container(networks: Vec<Attachment>) -> Container {
        Container {
            compose_project: Some("shop".to_owned()),
            networks,
            ..Container::example("db1")
        }
    }

    fn binding(host_ip: &str, host_port: u16) -> Published {
        Published { container_port: 3306, host_ip: host_ip.parse().expect("an address"), host_port }
    }

    fn chosen(
        container: &Container,
        network: Option<&str>,
        mode: DockerAddress,
        vantage: &Vantage,
    ) -> Result<String, String> {
        choose(container, 3306, network, mode, vantage, "rwproxy").map(|address| match address {
            Address::Ip(address) => address.to_string(),
            Address::Name { host, port } => format!("{host}:{port}"),
        })
    }

    #[test]
    fn own_address() {
        use DockerAddress::{Auto, Ip};
        let front = || network("shop_front", Some([172, 18, 0, 2]));
        let back = || network("shop_back", Some([172, 19, 0, 2]));
        let ours = |networks: Vec<Attachment>| Vantage::Container(networks);
        let one = container(vec![back()]);
        let two = container(vec![front(), back()]);
        let ok = |text: &str| Ok(text.to_owned());
        let table = [
            ("host, one network", &one, None, Vantage::Host, ok("172.19.0.2:3306")),
            ("host, named", &two, Some("shop_front"), Vantage::Host, ok("172.18.0.2:3306")),
            ("host, named in project", &two, Some("back"), Vantage::Host, ok("172.19.0.2:3306")),
            (
                "host, two networks",
                &two,
                None,
                Vantage::Host,
                Err("several networks (shop_back, shop_front): name one by label rwproxy.network"),
            ),
            (
                "named, not there",
                &one,
                Some("bak"),
                Vantage::Host,
                Err("names bak, but it is attached to shop_back"),
            ),
            ("one shared", &two, None, ours(vec![back()]), ok("172.19.0.2:3306")),
            (
                "none shared",
                &two,
                None,
                ours(vec![network("bridge", None)]),
                Err("shares no network with the proxy: it is attached to shop_back, shop_front, \
                     the proxy to bridge"),
            ),
            ("two shared", &two, None, ours(vec![back(), front()]), Err("several networks")),
            (
                "two shared, named",
                &two,
                Some("back"),
                ours(vec![back(), front()]),
                ok("172.19.0.2:3306"),
            ),
        ];
        for (case, container, network, vantage, expected) in table {
            for mode in [Auto, Ip] {
                let got = chosen(container, network, mode, &vantage);
                match (&got, &expected) {
                    (Err(reason), Err(part)) => assert!(reason.contains(part), "{case}: {reason}"),
                    (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{case}"),
                    _ => panic!("{case}: {got:?}"),
                }
            }
        }
    }

    #[test]
    fn other_network_modes() {
        let with = |network_mode| Container { network_mode, ..container(Vec::new()) };
        let auto = DockerAddress::Auto;
        let host = with(NetworkMode::Host);
        assert_eq!(chosen(&host, None, auto, &Vantage::Host), Ok("127.0.0.1:3306".to_owned()));
        let remote = Vantage::Remote("far.example".into());
        assert_eq!(chosen(&host, None, auto, &remote), Ok("far.example:3306".to_owned()));
        for (container, vantage, part) in [
            (host, Vantage::Container(Vec::new()), "uses the host's network"),
            (with(NetworkMode::None), Vantage::Host, "has no network"),
            (
                with(NetworkMode::OfContainer("pod".to_owned())),
                Vantage::Host,
                "shares the network of container pod",
            ),
            (with(NetworkMode::Networks), Vantage::Host, "attached to no network"),
        ] {
            let reason = chosen(&container, None, auto, &vantage).expect_err(part);
            assert!(reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn published_ports() {
        use DockerAddress::{Auto, Published};
        let with = |published| Container {
            published,
            ..container(vec![network("shop_back", Some([172, 19, 0, 2]))])
        };
        let any = || with(vec![binding("::", 33061), binding("0.0.0.0", 33061)]);
        let loopback = || with(vec![binding("127.0.0.1", 33062)]);
        let certain = || with(vec![binding("192.0.2.7", 33063)]);
        let far = || Vantage::Remote("far.example".into());
        let inside = || Vantage::Container(vec![network("shop_back", None)]);
        let machine = || Vantage::Remote("127.0.0.1".into());
        let table = [
            (any(), Auto, far(), Ok("far.example:33061")),
            (any(), Auto, machine(), Ok("127.0.0.1:33061")),
            (any(), Published, Vantage::Host, Ok("127.0.0.1:33061")),
            (any(), Published, inside(), Ok("172.18.0.1:33061")),
            (loopback(), Auto, far(), Err("only on the loopback")),
            (loopback(), Auto, machine(), Ok("127.0.0.1:33062")),
            (loopback(), Published, Vantage::Host, Ok("127.0.0.1:33062")),
            (loopback(), Published, inside(), Err("only on the loopback")),
            (certain(), Auto, far(), Ok("192.0.2.7:33063")),
            (certain(), Published, inside(), Ok("192.0.2.7:33063")),
            (with(Vec::new()), Auto, far(), Err("port 3306 is not published")),
        ];
        for (container, mode, vantage, expected) in table {
            match (chosen(&container, None, mode, &vantage), expected) {
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
                (Ok(got), Ok(expected)) => assert_eq!(got, expected),
                (got, expected) => panic!("{got:?}, expected {expected:?}"),
            }
        }
    }
}
