//! Compressed connections, of clients and to the servers: the same answers as without, from every
//! kind of client; what makes no sense is refused as by a server.

use std::path::PathBuf;
use std::process::Stdio;

use rwproxy::net::Stream;
use rwproxy::net::tls::client::ClientTls;
use rwproxy::wire::Capabilities;
use rwproxy::wire::compression::{Algorithm, Frames, Level, Peer};
use rwproxy::wire::packet::MAX_PAYLOAD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::commands::{commands_at_once, kinds, same_packets, script};
use super::files::same_files;
use super::large::{same_rows, same_statements};
use super::{PATIENCE, primary};
use crate::support::raw::{OLD, Outcome, Raw, value};
use crate::support::{Cluster, Flavour, Proxy};

crate::on_both_flavours!(the_same_packets_over_every_kind_of_stream);
crate::on_both_flavours!(the_longest_packets);
crate::on_both_flavours!(results_of_all_lengths);
crate::on_both_flavours!(commands_sent_at_once);
crate::on_both_flavours!(only_what_is_offered);
crate::on_both_flavours!(frames_that_make_no_sense);
crate::on_both_flavours!(programs_of_others);

/// The ways of compression of a flavour, by their names in the configuration.
pub fn ways(flavour: Flavour) -> Vec<(&'static str, Capabilities)> {
    let both = [("zlib", Capabilities::COMPRESS), ("zstd", Capabilities::ZSTD_COMPRESSION)];
    match flavour {
        Flavour::MySql => both.to_vec(),
        // MariaDB offers the first alone.
        Flavour::MariaDb => both[..1].to_vec(),
    }
}

fn pool(compression: &str) -> String {
    format!("[pool]\ncompression = \"{compression}\"")
}

/// Proxies with each way to the servers, each with a way of its client's.
fn combinations(flavour: Flavour) -> Vec<(&'static str, Capabilities)> {
    let mut all = vec![];
    for (name, way) in ways(flavour) {
        all.push(("none", way));
        all.push((name, Capabilities::empty()));
    }
    let (first, last) = (ways(flavour)[0], *ways(flavour).last().expect("at least one"));
    all.push((first.0, last.1));
    all
}

async fn the_same_packets_over_every_kind_of_stream(flavour: Flavour) {
    let cluster = Cluster::unlogged(flavour);
    let [old, .., newest] = kinds();
    for (to_servers, way) in combinations(flavour) {
        let proxy = Proxy::start(cluster, &pool(to_servers));
        same_packets(cluster, &proxy, &[old, newest], way, script).await;
    }
}

async fn the_longest_packets(flavour: Flavour) {
    let cluster = Cluster::unlogged(flavour);
    let (_, last) = *ways(flavour).last().expect("at least one");
    for (to_servers, way) in [("none", Capabilities::COMPRESS), ("zlib", last)] {
        let proxy = Proxy::start(cluster, &pool(to_servers));
        same_statements(cluster, &proxy, OLD | way).await;
        same_files(cluster, &proxy, way).await;
        let direct = Raw::app(primary(cluster), OLD).await;
        let proxied = Raw::app(proxy.address, OLD | way).await;
        same_rows(direct, proxied, &[MAX_PAYLOAD - 1, MAX_PAYLOAD, 2 * MAX_PAYLOAD + 1]).await;
    }
}

async fn results_of_all_lengths(flavour: Flavour) {
    let cluster = Cluster::unlogged(flavour);
    let proxy = Proxy::start(cluster, "");
    let tls = ClientTls::required().expect("TLS");
    for tls in [&ClientTls::Disabled, &tls] {
        for (name, way) in ways(flavour) {
            let login = Raw::login_over(tls, proxy.address, "app", "app", None, OLD | way).await;
            let mut client = login.expect("a login");
            // The value's packet has its length before it, and stands between others in a frame.
            for length in (0..140).chain([16_000, 16_384, 65_000, 70_000, 300_000]) {
                let sql = format!("SELECT REPEAT('x', {length}) UNION ALL SELECT LENGTH('y')");
                let reply = client.query(&sql).await;
                let (size, text) = reply[3].payload.split_at(reply[3].payload.len() - length);
                assert!(text.iter().all(|&byte| byte == b'x'), "{name}, {length}");
                assert!([1, 3, 4].contains(&size.len()), "{name}, {length}: {size:?}");
                assert_eq!(reply[4].payload, &b"\x011"[..], "{name}, {length}");
            }
        }
    }
}

async fn commands_sent_at_once(flavour: Flavour) {
    let cluster = Cluster::unlogged(flavour);
    for (to_servers, way) in combinations(flavour) {
        let proxy = Proxy::start(cluster, &pool(to_servers));
        commands_at_once(Raw::app(proxy.address, OLD | way).await).await;
    }
}

async fn only_what_is_offered(flavour: Flavour) {
    let cluster = Cluster::unlogged(flavour);
    let both = Capabilities::COMPRESS | Capabilities::ZSTD_COMPRESSION;
    for (setting, offered) in [
        ("[]", Capabilities::empty()),
        ("[\"zlib\"]", Capabilities::COMPRESS),
        ("[\"zstd\"]", Capabilities::ZSTD_COMPRESSION),
    ] {
        let proxy = Proxy::start(cluster, &format!("[listen]\ncompression = {setting}"));
        let mut client = Raw::app(proxy.address, OLD | both).await;
        let has = ways(flavour).into_iter().map(|(_, way)| way).collect::<Capabilities>();
        assert_eq!(client.capabilities & both, offered & has, "{setting}");
        assert_eq!(value(&client.query("SELECT 5").await, OLD), "5");
    }
    // A client that can do both gets what a server gives.
    let mut client = Raw::app(primary(cluster), OLD | both).await;
    let reply = client.query("SELECT 5").await;
    assert_eq!(value(&reply, OLD), "5");
}

/// The header of a frame.
fn header(length: usize, sequence: u8, uncompressed: usize) -> Vec<u8> {
    let three = |number: usize| u32::try_from(number).expect("three bytes").to_le_bytes();
    [&three(length)[..3], &[sequence], &three(uncompressed)[..3]].concat()
}

/// What a client reads that has sent these bytes in place of a command: an error's code, if there
/// was one; and then the connection is closed.
async fn answer(address: std::net::SocketAddr, way: Capabilities, bytes: &[u8]) -> Option<u16> {
    let mut client = Raw::app(address, OLD | way).await;
    let Stream::Compressed(compressed) = client.stream.stream_mut() else {
        panic!("not compressed: {address}");
    };
    let below = compressed.below_mut();
    let mut raw = bytes::BytesMut::new();
    let exchange = async {
        let sent = below.write_all(bytes).await;
        let ended = below.shutdown().await;
        // Reset when it is closed over bytes that nobody has read.
        while below.read_buf(&mut raw).await.is_ok_and(|count| count > 0) {}
        (sent, ended)
    };
    let _ = timeout(PATIENCE, exchange).await.expect("the connection is closed");
    let algorithm = Algorithm::agreed(way, Some(Level::default().get())).expect("a way");
    let mut frames = Frames::new(algorithm, Peer::Server);
    // An answer to what was written may have any number.
    frames.write(b"\x01\0\0\0\x0E", &mut bytes::BytesMut::new());
    let mut packet = [0; 1000];
    let count = frames.read(&mut raw, &mut packet).expect("frames");
    (count > 7 && packet[4] == 0xFF).then(|| u16::from_le_bytes([packet[5], packet[6]]))
}

async fn frames_that_make_no_sense(flavour: Flavour) {
    let cluster = Cluster::unlogged(flavour);
    let proxy = Proxy::start(cluster, "");
    let mut bystander = Raw::app(proxy.address, OLD | Capabilities::COMPRESS).await;
    let ping = b"\x01\0\0\0\x0E";
    for (name, way) in ways(flavour) {
        let algorithm = Algorithm::agreed(way, None).expect("a way");
        let mut bomb = bytes::BytesMut::new();
        let command = [&[0x30, 0x75, 0, 0, 0x03], &[b' '; 29_999][..]].concat();
        Frames::new(algorithm, Peer::Client).write(&command, &mut bomb);
        let bomb = &bomb[7..];
        let noise: Vec<u8> = (0..100u8).map(|n| n.wrapping_mul(37) ^ 0x5A).collect();
        let table: [(&str, Vec<u8>, Option<u16>); 7] = [
            ("out of order", [&header(5, 3, 0), &ping[..]].concat(), Some(1156)),
            ("noise", [&header(100, 0, 500), &noise[..]].concat(), Some(1157)),
            ("more than it says", [&header(bomb.len(), 0, 60), bomb].concat(), Some(1157)),
            ("cut off", header(100, 0, 500), None),
            ("half a header", vec![5, 0, 0], None),
            ("an empty one", header(0, 0, 0), None),
            // Inside it a packet out of order, which no server looks at.
            ("no command", [&header(4, 0, 0), &b"\0\0\0\0"[..]].concat(), Some(1835)),
        ];
        // Servers themselves agree on the first alone. To others MySQL says 1158, MariaDB nothing.
        let direct = answer(primary(cluster), way, &table[0].1).await;
        assert_eq!(direct, table[0].2, "{name}, directly");
        for (what, bytes, code) in table {
            let proxied = answer(proxy.address, way, &bytes).await;
            assert_eq!(proxied, code, "{name}: {what}");
        }
    }
    assert_eq!(bystander.ping().await, Outcome::Served);
}

/// What the programs are to do; each line of the output is compared with a direct one.
const STATEMENTS: &str = "
    SELECT REPEAT('x', 0), REPEAT('x', 1);
    SELECT REPEAT('x', 49); SELECT REPEAT('x', 50); SELECT REPEAT('x', 51);
    SELECT 1; SELECT 'and', 2;
    CREATE TABLE IF NOT EXISTS accounts (line VARCHAR(500));
    DELETE FROM accounts;
    LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE accounts;
    BEGIN; SELECT COUNT(*) > 5, MIN(LENGTH(line)) > 5 FROM accounts; COMMIT;
    PREPARE statement FROM 'SELECT ? + 1'; SET @a = 41; EXECUTE statement USING @a;
    SELECT REPEAT('long', 5000000);
    INSERT INTO accounts SELECT CRC32(REPEAT('long', 100));
    BEGIN; SELECT MAX(line) FROM accounts; COMMIT;
    DROP TABLE accounts;";

/// All that a program prints.
async fn printed(command: &mut Command) -> Vec<u8> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.kill_on_drop(true).spawn().expect("a program");
    let mut stdin = child.stdin.take().expect("a pipe");
    tokio::spawn(async move { stdin.write_all(STATEMENTS.as_bytes()).await });
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends in time");
    let output = output.expect("its output");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output.stdout
}

async fn programs_of_others(flavour: Flavour) {
    let cluster = Cluster::unlogged(flavour);
    let python = std::env::var_os("RWPROXY_TEST_PYTHON").map_or_else(
        || {
            let target = PathBuf::from(env!("CARGO_BIN_EXE_rwproxy"));
            target.ancestors().nth(2).expect("target").join("venv/bin/python")
        },
        PathBuf::from,
    );
    assert!(python.exists(), "no {}: tests/containers/prepare.sh test", python.display());
    let login = |address: std::net::SocketAddr| {
        [
            "--no-defaults".to_owned(),
            "--user=app".to_owned(),
            "--password=app".to_owned(),
            "--protocol=tcp".to_owned(),
            format!("--host={}", address.ip()),
            format!("--port={}", address.port()),
            "--local-infile=1".to_owned(),
            "--max-allowed-packet=64M".to_owned(),
            "--skip-column-names".to_owned(),
            "--batch".to_owned(),
            "--database=app".to_owned(),
        ]
    };
    let programs = |address: std::net::SocketAddr, tls: bool| {
        let mut programs = Vec::new();
        let mut mariadb = Command::new("mariadb");
        mariadb.args(login(address)).args(["--compress", if tls { "--ssl" } else { "--skip-ssl" }]);
        programs.push(("mariadb".to_owned(), mariadb));
        for (way, _) in ways(flavour) {
            let mut mysql = Command::new("docker");
            mysql.args(["run", "--rm", "--interactive", "--network", "host"]);
            mysql.args(["--label", &format!("rwproxy-test={}", cluster.name)]);
            mysql.args(["rwproxy-test/mysql:9.7", "mysql"]).args(login(address));
            mysql.arg(format!("--compression-algorithms={way}")).arg("--get-server-public-key");
            mysql.arg(if tls { "--ssl-mode=REQUIRED" } else { "--ssl-mode=DISABLED" });
            programs.push((format!("mysql with {way}"), mysql));
        }
        let mut connector = Command::new(&python);
        let source = "tests/containers/drivers/compressed.py";
        connector.arg("-B").arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(source));
        connector.args([address.ip().to_string(), address.port().to_string()]);
        connector.arg(if tls { "tls=yes" } else { "tls=no" });
        programs.push(("connector".to_owned(), connector));
        programs
    };
    let mut direct = Vec::new();
    // MariaDB's servers have no TLS here.
    for (name, mut program) in programs(primary(cluster), false) {
        let told = printed(&mut program).await;
        assert!(told.len() > 100, "{name} prints {}", String::from_utf8_lossy(&told));
        direct.push(told);
    }
    let (last, _) = *ways(flavour).last().expect("at least one");
    for (to_servers, tls) in [("none", false), ("none", true), (last, false)] {
        let proxy = Proxy::start(cluster, &pool(to_servers));
        for ((name, mut program), direct) in programs(proxy.address, tls).into_iter().zip(&direct) {
            let what = format!("{name}, TLS: {tls}, to servers: {to_servers}");
            assert!(printed(&mut program).await == *direct, "{what}");
        }
    }
}
