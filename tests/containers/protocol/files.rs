//! LOAD DATA LOCAL INFILE: large files, those that a server does not want, and clients that
//! vanish in the middle of one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rwproxy::wire::Capabilities;
use rwproxy::wire::packet::{MAX_PAYLOAD, Packet};

use super::{primary, runs};
use crate::support::raw::{OLD, Raw, error_code, value};
use crate::support::{Cluster, Flavour, Proxy, marker};

crate::on_both_flavours!(files_of_any_length);
crate::on_both_flavours!(an_error_in_the_middle_of_a_file);
crate::on_both_flavours!(a_client_that_vanishes_in_the_middle);
crate::on_both_flavours!(a_server_that_waits_in_the_middle);

/// Of a line, with its end.
const LINE: usize = 1 << 16;

fn lines(length: usize) -> Vec<u8> {
    (1..=length).map(|at| if at.is_multiple_of(LINE) { b'\n' } else { b'x' }).collect()
}

async fn recreate(cluster: &Cluster, table: &str, columns: &str) {
    for statement in [
        format!("DROP TABLE IF EXISTS app.{table}"),
        format!("CREATE TABLE app.{table} ({columns})"),
    ] {
        cluster.run_on("primary", &statement).await;
    }
}

/// Loads a file directly and through the proxy, there by a client with these capabilities besides;
/// the replies.
async fn load(
    addresses: [SocketAddr; 2],
    besides: Capabilities,
    sql: &str,
    parts: &[&[u8]],
) -> [Vec<Packet>; 2] {
    let mut replies = [vec![], vec![]];
    let capabilities = [OLD, OLD | besides];
    for ((address, capabilities), reply) in
        addresses.into_iter().zip(capabilities).zip(&mut replies)
    {
        let mut client = Raw::app(address, capabilities).await;
        client.send(&client.query_payload(sql)).await;
        *reply = client.reply(0x03, parts).await;
        // The session goes on.
        assert_eq!(value(&client.query("SELECT 6").await, OLD), "6", "{sql} at {address}");
    }
    replies
}

async fn files_of_any_length(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    same_files(cluster, &proxy, Capabilities::empty()).await;
}

/// Through the proxy clients ask for these capabilities `besides`.
pub async fn same_files(cluster: &Cluster, proxy: &Proxy, besides: Capabilities) {
    // Only the beginning of each line is kept, with a warning.
    recreate(cluster, "loaded", "beginning VARCHAR(10)").await;
    let file = lines(2 * MAX_PAYLOAD + LINE);
    let full = &file[..MAX_PAYLOAD];
    let many: Vec<&[u8]> = file[..LINE * 8].chunks(1000).collect();
    let files: [&[&[u8]]; 6] = [
        // Empty, or refused by the client: the protocol has one form for both.
        &[],
        &[full],
        &[full, full],
        &[&file[..MAX_PAYLOAD - 1], &file[MAX_PAYLOAD - 1..MAX_PAYLOAD + 1], b"y\n"],
        &[&file],
        // Sequence numbers begin anew behind 255.
        &many,
    ];
    for (number, parts) in files.iter().enumerate() {
        let sql = "LOAD DATA LOCAL INFILE 'f' INTO TABLE loaded";
        let [direct, proxied] = load([primary(cluster), proxy.address], besides, sql, parts).await;
        assert_eq!(error_code(&direct), None, "file {number}");
        assert_eq!(proxied, direct, "file {number}");
    }
    // Each line has come twice.
    let mut client = Raw::app(primary(cluster), OLD).await;
    let lines = |parts: &[&[u8]]| parts.concat().split_inclusive(|&byte| byte == b'\n').count();
    let expected = 2 * files.iter().map(|parts| lines(parts)).sum::<usize>();
    let count = value(&client.query("SELECT COUNT(*) FROM loaded").await, OLD);
    assert_eq!(count, expected.to_string());
    client.query("DROP TABLE loaded").await;
}

async fn an_error_in_the_middle_of_a_file(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    recreate(cluster, "refused", "n INT PRIMARY KEY").await;
    let trigger = "CREATE TRIGGER app.refusal BEFORE INSERT ON app.refused FOR EACH ROW \
        BEGIN IF NEW.n = 3 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no three'; END IF; END";
    cluster.run_on("primary", trigger).await;
    let lines: Vec<u8> = (1..300_000).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let parts: Vec<&[u8]> = lines.chunks(50_000).collect();
    for (sql, code) in [
        ("LOAD DATA LOCAL INFILE 'f' INTO TABLE refused", 1644),
        ("LOAD DATA LOCAL INFILE 'f' INTO TABLE missing", 1146),
        ("LOAD DATA LOCAL INFILE 'f' INTO TABLE refused (missing)", 1054),
    ] {
        let addresses = [primary(cluster), proxy.address];
        let [direct, proxied] = load(addresses, Capabilities::empty(), sql, &parts).await;
        assert_eq!(error_code(&direct), Some(code), "{sql}");
        assert_eq!(proxied, direct, "{sql}");
    }
    let mut client = Raw::app(primary(cluster), OLD).await;
    assert_eq!(value(&client.query("SELECT COUNT(*) FROM refused").await, OLD), "0");
    client.query("DROP TABLE refused").await;
}

/// For a lock, and longer than a connection may be silent: it has no room for more, and is well.
async fn a_server_that_waits_in_the_middle(flavour: Flavour) {
    const LOCKED: Duration = Duration::from_secs(40);
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    recreate(cluster, "awaited", "n INT PRIMARY KEY, filler VARCHAR(5000)").await;
    let mut other = Raw::app(primary(cluster), OLD).await;
    other.query("BEGIN").await;
    other.query("INSERT INTO awaited VALUES (0, '')").await;

    // More than all buffers on the way hold.
    let line = |n| format!("{n}\t{}\n", "x".repeat(5000)).into_bytes();
    let lines: Vec<u8> = (0..6_000).flat_map(line).collect();
    let parts: Vec<&[u8]> = lines.chunks(50_000).collect();
    let mut client = Raw::app(proxy.address, OLD).await;
    client.stream.stream().limit_silence(None);
    let release = async {
        tokio::time::sleep(LOCKED).await;
        other.query("ROLLBACK").await;
    };
    let load = async {
        let sql = "LOAD DATA LOCAL INFILE 'f' INTO TABLE awaited";
        client.send(&client.query_payload(sql)).await;
        let began = Instant::now();
        let reply = client.reply(0x03, &parts).await;
        assert!(began.elapsed() >= LOCKED, "it has not waited");
        assert_eq!(error_code(&reply), None);
    };
    tokio::join!(release, load);
    assert_eq!(value(&client.query("SELECT COUNT(*) FROM awaited").await, OLD), "6000");
    client.query("DROP TABLE awaited").await;
}

async fn a_client_that_vanishes_in_the_middle(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    // Each client that vanishes would take a place in the pool along.
    let proxy = Proxy::start(cluster, "[pool]\nmax_per_backend = 2");
    let mut left = Vec::new();
    for address in [primary(cluster), proxy.address] {
        for begin in ["SET autocommit = 1", "BEGIN", "SET autocommit = 0"] {
            recreate(cluster, "vanished", "n INT").await;
            let mark = marker("vanishing");
            vanish(address, begin, &mark).await;
            runs(cluster, &mark, false).await;
            let mut other = Raw::app(address, OLD).await;
            // No lock is left, and what the server has made of the rest.
            other.query("BEGIN").await;
            assert_eq!(error_code(&other.query("UPDATE vanished SET n = 0").await), None);
            let rows = value(&other.query("SELECT COUNT(*) FROM vanished").await, OLD);
            assert_eq!(error_code(&other.query("COMMIT").await), None);
            left.push((begin, rows));
        }
    }
    let (direct, proxied) = left.split_at(left.len() / 2);
    assert_eq!(proxied, direct, "rows left");
    cluster.run_on("primary", "DROP TABLE app.vanished").await;
}

/// Begins to send a file, and goes away in the middle of a packet.
async fn vanish(address: SocketAddr, begin: &str, mark: &str) {
    let mut client = Raw::app(address, OLD).await;
    client.query(begin).await;
    client.query("INSERT INTO vanished VALUES (5)").await;
    let sql = format!("LOAD DATA LOCAL INFILE 'f' INTO TABLE vanished /* {mark} */");
    client.send(&client.query_payload(&sql)).await;
    let request = client.packet().await.expect("a request for the file");
    assert_eq!(request.payload[0], 0xFB);
    let lines = b"7\n".repeat(50_000);
    client.stream.write_packet(2, &lines).await.expect("a part is sent");
    // The header of a longer packet than follows.
    client.stream.write(&[0, 0, 8, 3, b'8', b'\n']).await.expect("half a part is sent");
}
