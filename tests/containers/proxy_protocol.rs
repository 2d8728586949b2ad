//! Behind another proxy that says for whom it speaks (PROXY protocol): the client's own address
//! counts, and who must say it and does not, or may not and does, is not let in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use rwproxy::backend::ConnectError;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::support::raw::{OLD, Raw, value};
use crate::support::{Cluster, Flavour, Proxy, eventually};

crate::on_both_flavours!(the_clients_own_address_counts);
crate::on_both_flavours!(connections_without_a_right_header);
crate::on_both_flavours!(behind_haproxy);

const PATIENCE: Duration = Duration::from_secs(20);
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
const TEXT: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 3306\r\n";
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xCB\0\x71\x07\x0A\0\0\x01\xDC\x04\x0C\xEA\
    \x04\0\x02xx";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A proxy that puts these bytes ahead of what its clients send.
struct Relay {
    address: SocketAddr,
    task: AbortHandle,
}

impl Relay {
    async fn start(to: SocketAddr, header: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(to).await?;
                    server.write_all(header).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Relay { address, task: task.abort_handle() }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn settings(networks: &str) -> String {
    format!(
        "[listen]\nproxy_protocol_from = [{networks}]\nlogin_timeout = \"2s\"\n\
         [limits]\nper_address_connections = 3"
    )
}

/// The addresses of clients, as the console shows them.
async fn addresses(proxy: &Proxy) -> Vec<String> {
    let mut console = proxy.console().await;
    let sessions: Vec<Row> = console.query("SHOW SESSIONS").await.expect("a list");
    let _ = console.disconnect().await;
    sessions.iter().map(|row| row.get("client").expect("a column of this name")).collect()
}

async fn the_clients_own_address_counts(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, &settings("'10.0.0.0/8', '127.0.0.1'"));
    let mut relays = Vec::new();
    for header in [TEXT, BINARY] {
        relays.push(Relay::start(proxy.address, header).await);
    }
    let mut clients = Vec::new();
    for relay in relays.iter().chain(&relays[..1]) {
        let mut client = Raw::app(relay.address, OLD).await;
        assert_eq!(value(&client.query("SELECT 8").await, OLD), "8");
        clients.push(client);
    }
    assert_eq!(addresses(&proxy).await, vec![CLIENT.to_string(); 3]);
    // That was as many as one address may have, whichever proxy they come through.
    let refused = Raw::login(relays[1].address, "app", "app", None, OLD).await;
    let error = refused.err().expect("no room").to_string();
    assert!(error.contains("Too many connections from this address"), "{error}");
    // Others are not concerned.
    let local = Relay::start(proxy.address, LOCAL).await;
    let mut client = Raw::app(local.address, OLD).await;
    assert_eq!(value(&client.query("SELECT 9").await, OLD), "9");
    assert!(addresses(&proxy).await.contains(&"127.0.0.1".to_owned()));
    drop(clients);
    eventually("they are gone", PATIENCE, async || {
        (addresses(&proxy).await.len() == 1).then_some(())
    })
    .await;
    let wrong = Raw::login(relays[0].address, "app", "wrong", None, OLD).await;
    let error = wrong.err().expect("a wrong password").to_string();
    // A server that was asked knows the proxy's address alone.
    assert!(error.contains("Access denied for user 'app'@'"), "{error}");
}

/// Everything that is read from a connection that begins with these bytes and then ends.
async fn answer(address: SocketAddr, bytes: &[u8], end: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut read = Vec::new();
    let exchange = async {
        stream.write_all(bytes).await?;
        if end {
            stream.shutdown().await?;
        }
        stream.read_to_end(&mut read).await
    };
    // Reset when it is closed over bytes that nobody has read.
    let _ = timeout(PATIENCE, exchange).await.expect("it is closed");
    read
}

async fn connections_without_a_right_header(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, &settings("'127.0.0.0/8'"));
    let count = |kind: &str| {
        let name = format!("rwproxy_login_failures_total{{kind=\"{kind}\"}} ");
        let metrics = proxy.get("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name)).map(str::to_owned);
        line.map_or(0, |count| count.parse::<u32>().expect("a number"))
    };
    let wrong: [&[u8]; 5] = [
        b"\x20\0\0\x01\x8d\xa6\xff\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 0 99999\r\n",
        b"PROXY TCP4 203.0.113.7\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x02\x09",
    ];
    for bytes in wrong {
        let read = answer(proxy.address, bytes, false).await;
        assert!(read.is_empty(), "{}: {}", bytes.escape_ascii(), read.escape_ascii());
    }
    assert_eq!(count("proxy_header"), 5);
    for bytes in [&b""[..], b"PROXY TCP4 203", &BINARY[..20]] {
        assert!(answer(proxy.address, bytes, true).await.is_empty());
    }
    assert_eq!(count("closed"), 3);
    // One that sends no header and waits for the greeting.
    assert!(answer(proxy.address, b"", false).await.is_empty());
    assert_eq!(count("timeout"), 1);

    // From elsewhere a header is no login.
    let proxy = Proxy::start(cluster, &settings("'10.0.0.0/8'"));
    for header in [TEXT, BINARY, LOCAL] {
        let read = answer(proxy.address, header, false).await;
        let code = 1043u16.to_le_bytes();
        assert!(read.windows(3).any(|bytes| bytes == [0xFF, code[0], code[1]]), "{read:?}");
    }
    let relay = Relay::start(proxy.address, TEXT).await;
    let login = Raw::login(relay.address, "app", "app", None, OLD).await;
    assert!(!matches!(login, Ok(_) | Err(ConnectError::Dial(_))), "a login behind a header");
    let mut client = Raw::app(proxy.address, OLD).await;
    assert_eq!(value(&client.query("SELECT 4").await, OLD), "4");
}

struct Haproxy(Child);

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where it is installed.
async fn behind_haproxy(flavour: Flavour) {
    if Command::new("haproxy").arg("-v").stdout(Stdio::null()).status().is_err() {
        return eprintln!("haproxy is not installed: tests/containers/prepare.sh bench");
    }
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, &settings("'127.0.0.4'"));
    let directory = tempfile::tempdir().expect("a directory");
    for send in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c"] {
        // Free a moment ago.
        let port =
            TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr());
        let port = port.expect("a free port").port();
        let config = directory.path().join("haproxy.cfg");
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             listen mysql\n bind 127.0.0.1:{port}\n \
             server rwproxy {} source 127.0.0.4 {send} check inter 200ms\n",
            proxy.address
        );
        std::fs::write(&config, text).expect("haproxy's configuration");
        let mut haproxy = Command::new("haproxy");
        haproxy.arg("-db").arg("-f").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let haproxy = Haproxy(haproxy.spawn().expect("haproxy starts"));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut client = eventually("a login through haproxy", PATIENCE, async || {
            Raw::login(address, "app", "app", Some("app"), OLD).await.ok()
        })
        .await;
        assert_eq!(value(&client.query("SELECT 2").await, OLD), "2");
        assert_eq!(addresses(&proxy).await, ["127.0.0.1"], "{send}");
        drop((client, haproxy));
        eventually("it is gone", PATIENCE, async || {
            addresses(&proxy).await.is_empty().then_some(())
        })
        .await;
    }
    let metrics = proxy.get("/metrics");
    assert!(metrics.contains("rwproxy_login_failures_total{kind=\"proxy_header\"} 0"), "{metrics}");
}
