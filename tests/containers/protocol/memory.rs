//! The proxy's memory is bounded by what it does, not by what passes through it.

use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use rwproxy::net::tls::client::ClientTls;
use rwproxy::wire::Capabilities;
use tokio::time::{sleep, timeout};

use super::compression::ways;
use crate::support::raw::{OLD, Raw, value};
use crate::support::{Cluster, Flavour, Proxy};

crate::on_both_flavours!(a_result_that_is_read_slowly);
crate::on_both_flavours!(a_result_that_is_read_slowly_compressed);
crate::on_both_flavours!(clients_that_do_nothing);
crate::on_both_flavours!(clients_that_do_nothing_over_tls);

const MIB: u64 = 1 << 20;
const RESULT: usize = 200_000_000;
/// What a result may cost.
const RESULT_COSTS: u64 = 16 * MIB;
/// For the whole result.
const PATIENCE: Duration = Duration::from_secs(60);
/// What an idle client may cost: twice what README has measured.
const CLIENT_COSTS: u64 = 2 * 26 * 1024;

async fn a_result_that_is_read_slowly(flavour: Flavour) {
    slow_result(flavour, Capabilities::empty(), "").await;
}

async fn a_result_that_is_read_slowly_compressed(flavour: Flavour) {
    for (pool, way) in ways(flavour) {
        slow_result(flavour, way, &format!("[pool]\ncompression = \"{pool}\"")).await;
    }
}

async fn slow_result(flavour: Flavour, besides: Capabilities, settings: &str) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, settings);
    let mut client = Raw::app(proxy.address, OLD | besides).await;
    client.query("SELECT 1").await;
    let before = memory(&proxy, "VmRSS");
    let rows = |count| vec!["SELECT 1"; count].join(" UNION ALL ");
    let (a, b) = (rows(20), rows(10));
    let sql = format!("SELECT REPEAT('x', 1000000) FROM ({a}) AS a, ({b}) AS b");
    client.send(&client.query_payload(&sql)).await;
    timeout(PATIENCE, read_slowly(&mut client)).await.expect("the result comes in time");
    let growth = memory(&proxy, "VmHWM").saturating_sub(before);
    assert!(growth < RESULT_COSTS, "{} MiB for a result of 200 MB", growth / MIB);
}

/// Reads the whole result, with pauses in which it could pile up.
async fn read_slowly(client: &mut Raw) {
    let mut read = 0;
    let mut next_pause = 0;
    while read < RESULT {
        if read >= next_pause {
            sleep(Duration::from_millis(100)).await;
            next_pause += RESULT / 20;
        }
        let count = client.stream.fill().await.expect("more of the result");
        assert!(count > 0, "the result ends after {read} bytes");
        read += count;
        client.stream.consume(count);
    }
}

async fn clients_that_do_nothing(flavour: Flavour) {
    idle(flavour, 2000, &ClientTls::Disabled).await;
}

async fn clients_that_do_nothing_over_tls(flavour: Flavour) {
    idle(flavour, 200, &ClientTls::required().expect("TLS")).await;
}

/// Clients that have asked for something once.
async fn idle(flavour: Flavour, count: u64, tls: &ClientTls) {
    let count = count.min(room_for_clients());
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let mut clients = vec![connect(&proxy, tls).await];
    let before = memory(&proxy, "VmRSS");
    for _ in 0..count {
        clients.push(connect(&proxy, tls).await);
    }
    let growth = memory(&proxy, "VmHWM").saturating_sub(before);
    assert!(growth < count * CLIENT_COSTS, "{} KiB for {count} idle clients", growth >> 10);
    for client in clients.iter_mut().step_by(100) {
        assert_eq!(value(&client.query("SELECT 3").await, OLD), "3");
    }
}

async fn connect(proxy: &Proxy, tls: &ClientTls) -> Raw {
    let client = Raw::login_over(tls, proxy.address, "app", "app", Some("app"), OLD).await;
    let mut client = client.expect("an idle client logs in");
    assert_eq!(value(&client.query("SELECT 3").await, OLD), "3");
    client
}

/// How many connections this process, and the proxy that inherits its limit, may have; with some
/// to spare for other tests. The limit is raised as far as it goes.
fn room_for_clients() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the limit may be raised to the hard one");
    let room = limit.current.map_or(u64::MAX, |files| files.saturating_sub(500));
    if room < 2000 {
        eprintln!("the hard limit of open files allows only {room} clients");
    }
    room
}

/// A line of the kernel's account of the proxy's memory, in bytes.
fn memory(proxy: &Proxy, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.id()));
    let status = status.expect("the proxy runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let size = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a size in KiB");
    size.parse::<u64>().expect("a number") << 10
}
