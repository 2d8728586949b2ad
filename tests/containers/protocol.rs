//! Every kind of command is answered through the proxy as the server itself answers it.

mod commands;
mod step;
// mod kill;
// mod large;
// mod memory;
// mod sessions;

use std::net::SocketAddr;

use crate::support::{Cluster, Proxy};

/// The primary's own address.
fn primary(cluster: &Cluster) -> SocketAddr {
    let primary = cluster.primary();
    SocketAddr::new(primary.ip.parse().expect("an address"), primary.port)
}

/// How many statements replicas have served through this proxy.
fn reads_on_replicas(proxy: &Proxy) -> u64 {
    let metrics = proxy.get("/metrics");
    let lines = metrics.lines().filter(|line| {
        line.starts_with("rwproxy_statements_total{") && line.contains("destination=\"replica\"")
    });
    lines
        .map(|line| {
            let (_, count) = line.rsplit_once(' ').expect("a value");
            count.parse::<u64>().expect("a number")
        })
        .sum()
}
