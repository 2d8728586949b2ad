//! Networks that carry nothing between some of the servers and others: packets vanish, and nobody is
//! told. The filter lies in a container's own network; it is set from another container there that
//! runs the machine's own `nft`, so that the servers' images need none.

use std::process::Output;
use std::time::Duration;

use super::chaos::docker;
use super::docker::client;
use super::eventually;

/// What the filter is called.
const TABLE: &str = "rwproxy_partition";

/// Lets no packets pass until it is healed, or dropped.
#[derive(Debug)]
pub struct Partition {
    container: String,
}

impl Partition {
    /// Between a container and these addresses, both ways.
    pub fn between(container: &str, others: &[&str]) -> Self {
        let others = others.join(", ");
        Self::of(
            container,
            &format!("ip saddr {{ {others} }}"),
            &format!("ip daddr {{ {others} }}"),
        )
    }

    /// Of the connections of a container's server to these ports of an address, both ways.
    pub fn of_connections(container: &str, address: &str, ports: &[u16]) -> Self {
        let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        Self::of(
            container,
            &format!("ip saddr {address} tcp sport {{ {ports} }}"),
            &format!("ip daddr {address} tcp dport {{ {ports} }}"),
        )
    }

    /// Of packets to a container's server that begin with this statement (its first 16 bytes, without
    /// TLS and compression), and so of what comes behind them on their connections.
    pub fn of_statements(container: &str, statement: &str) -> Self {
        // Behind a TCP header with timestamps, a packet's header, and the command's byte.
        const AT: usize = 8 * (32 + 4 + 1);
        let bytes = &statement.as_bytes()[..statement.len().min(16)];
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let arriving = format!("tcp dport 3306 @th,{AT},{} 0x{text}", 8 * bytes.len());
        // Nothing has this port.
        Self::of(container, &arriving, "tcp dport 0")
    }

    fn of(container: &str, arriving: &str, leaving: &str) -> Self {
        let script = format!(
            "add table inet {TABLE}; \
             add chain inet {TABLE} arriving {{ type filter hook input priority 0; }}; \
             add chain inet {TABLE} leaving {{ type filter hook output priority 0; }}; \
             add rule inet {TABLE} arriving {arriving} counter drop; \
             add rule inet {TABLE} leaving {leaving} drop"
        );
        let output = filter(container, &script);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Partition { container: container.to_owned() }
    }

    /// Waits until a packet has come that does not pass.
    pub async fn has_stopped_one(&self) {
        eventually("a packet does not pass", Duration::from_secs(60), async || {
            let container = self.container.clone();
            let list = move || filter(&container, &format!("list chain inet {TABLE} arriving"));
            let listed = tokio::task::spawn_blocking(list).await.expect("docker runs");
            assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
            let text = String::from_utf8_lossy(&listed.stdout).into_owned();
            let (_, count) = text.split_once("counter packets ").expect("a counter");
            (!count.starts_with("0 ")).then_some(())
        })
        .await;
    }

    /// It ends with its container, by this command of docker's.
    pub async fn end_with_its_container(self, command: &[&str]) {
        let container = self.container.clone();
        std::mem::forget(self);
        docker(&[command, &[&container]].concat()).await;
    }

    /// Packets pass again.
    pub fn heal(self) {}
}

impl Drop for Partition {
    fn drop(&mut self) {
        let output = filter(&self.container, &format!("delete table inet {TABLE}"));
        if !output.status.success() && !std::thread::panicking() {
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// Runs `nft` in a container's network.
fn filter(container: &str, script: &str) -> Output {
    let network = format!("container:{container}");
    client()
        .args(["run", "--rm", "--network", &network, "--cap-add", "NET_ADMIN"])
        .args(["--volume", "/:/machine:ro", "--entrypoint", "chroot", super::docker::IMAGE])
        .args(["/machine", "nft", script])
        .output()
        .expect("docker starts")
}
