//! Clients that send what they should not get an error, or lose their connection. Nobody else
//! notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{PATIENCE, primary};
use crate::support::raw::{OLD, Outcome, Raw, value};
use crate::support::{Cluster, Flavour, Proxy};

crate::on_both_flavours!(before_the_login);
crate::on_both_flavours!(commands_that_are_cut_off);
crate::on_both_flavours!(packets_that_are_none);
crate::on_both_flavours!(what_should_have_no_reply);
crate::on_both_flavours!(random_commands);

/// A client that has done nothing wrong, at work until [`end`](Self::end).
struct Bystander {
    ended: Arc<AtomicBool>,
    served: JoinHandle<u32>,
}

impl Bystander {
    async fn start(proxy: &Proxy) -> Self {
        let mut client = Raw::app(proxy.address, OLD).await;
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        let served = tokio::spawn(async move {
            let mut served = 0;
            while !until.load(Ordering::Relaxed) {
                assert_eq!(value(&client.query("SELECT 41 + 1").await, OLD), "42");
                assert_eq!(client.query("DO 1").await.len(), 1);
                served += 1;
            }
            served
        });
        Bystander { ended, served }
    }

    async fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        let served = timeout(PATIENCE, self.served).await.expect("no statement hangs");
        assert!(served.expect("every statement is answered") > 0);
    }
}

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    /// Knuth's linear congruential generator.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    fn bytes(&mut self, count: u64) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

async fn before_the_login(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "[listen]\nlogin_timeout = \"2s\"");
    let bystander = Bystander::start(&proxy).await;
    let mut garbage: Vec<Vec<u8>> = vec![
        vec![],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        // Of 16 MiB, and nothing follows.
        b"\xff\xff\xff\x01".to_vec(),
        b"\xff\xff\xff\x00".to_vec(),
        // Half a header, half a response.
        b"\x20".to_vec(),
        b"\x55\0\0\x01\x8d\xa6\xff".to_vec(),
        // An empty one, a wrong number, a command ahead of the login.
        b"\0\0\0\x01".to_vec(),
        b"\x05\0\0\x07\x0d\xa2\0\0\0".to_vec(),
        b"\x09\0\0\0\x03SELECT 1".to_vec(),
    ];
    let mut numbers = Numbers(1);
    for length in 1..60 {
        garbage.push(numbers.bytes(length * 3));
        // With a header that is right.
        let body = numbers.bytes(length * 3);
        garbage.push([&[body.len() as u8, 0, 0, 1], &body[..]].concat());
    }
    // All at once: half of them wait for the end of what has not come.
    let clients: Vec<_> =
        garbage.into_iter().map(|bytes| tokio::spawn(turned_away(proxy.address, bytes))).collect();
    for client in clients {
        client.await.expect("a client that is turned away");
    }
    bystander.end().await;
}

/// Sends bytes instead of a login; the connection ends.
async fn turned_away(address: SocketAddr, bytes: Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut answer = Vec::new();
    let end = async {
        let sent = stream.write_all(&bytes).await;
        // Reset when it is closed over bytes that nobody has read.
        let _ = (sent, stream.read_to_end(&mut answer).await);
    };
    let name = bytes.escape_ascii();
    timeout(PATIENCE, end).await.unwrap_or_else(|_| panic!("not closed: {name}"));
    let greeting = usize::from(answer[0]) + 4;
    let rest = &answer[greeting..];
    assert!(rest.is_empty() || rest[4] == 0xFF, "{name}: {}", rest.escape_ascii());
}

async fn commands_that_are_cut_off(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let bystander = Bystander::start(&proxy).await;
    let commands: [&[u8]; 21] = [
        b"\x02",
        b"\x03",
        b"\x04",
        b"\x04items",
        b"\x05",
        b"\x06",
        b"\x07",
        b"\x0A",
        b"\x0B",
        b"\x0C",
        b"\x0C\x01\0",
        b"\x0D",
        b"\x16",
        b"\x17",
        b"\x17\x01\0\0\0",
        b"\x17\x01\0\0\0\0\x01\0\0",
        b"\x1A\x01",
        b"\x1B",
        b"\x1B\x01",
        b"\x1C\x01\0\0",
        b"\xFE",
    ];
    for payload in commands {
        let mut ends = Vec::new();
        for address in [primary(cluster), proxy.address] {
            let mut client = Raw::app(address, OLD).await;
            client.send(payload).await;
            let end = timeout(PATIENCE, client.outcome()).await;
            let end =
                end.unwrap_or_else(|_| panic!("{} hangs at {address}", payload.escape_ascii()));
            ends.push((end, client.ping().await));
        }
        assert_eq!(ends[1], ends[0], "{}", payload.escape_ascii());
    }
    bystander.end().await;
}

async fn packets_that_are_none(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "[pool]\nmax_per_backend = 2");
    let bystander = Bystander::start(&proxy).await;
    for (bytes, expected) in [
        // A wrong number: ER_NET_PACKETS_OUT_OF_ORDER.
        (&b"\x01\0\0\x05\x0e"[..], Some(1156)),
        (b"\x09\0\0\x01\x03SELECT 1", Some(1156)),
        // No command in it: ER_MALFORMED_PACKET.
        (b"\0\0\0\0", Some(1835)),
        (b"\x03\0\0\0\x11ap", Some(1835)),
    ] {
        let mut client = Raw::app(proxy.address, OLD).await;
        client.stream.write(bytes).await.expect("the bytes are sent");
        let end = timeout(PATIENCE, client.outcome()).await.expect("an answer");
        assert_eq!(end, expected.map_or(Outcome::Closed, Outcome::Error), "{bytes:?}");
        assert_eq!(client.outcome().await, Outcome::Closed, "{bytes:?}");
    }
    // Half of something, and gone: each holds a connection of two, if it holds one.
    for _ in 0..5 {
        for bytes in [
            &b"\x20\0"[..],
            b"\x20\0\0\0\x03SELECT",
            b"\xff\xff\xff\0\x03INSERT INTO x VALUES (",
            b"\xff\xff\xff\0\x11app",
            b"\xff\xff\xff\0\x0e",
        ] {
            let mut client = Raw::app(proxy.address, OLD).await;
            client.stream.write(bytes).await.expect("the bytes are sent");
        }
    }
    // Behind a command that is right comes one that is not.
    let mut client = Raw::app(proxy.address, OLD).await;
    client.stream.write(b"\x09\0\0\0\x03SELECT 1\x01\0\0\x02\x0e").await.expect("both are sent");
    assert_eq!(value(&client.reply(0x03, &[]).await, OLD), "1");
    assert_eq!(client.outcome().await, Outcome::Error(1156));
    bystander.end().await;
}

/// MySQL answers a COM_STMT_SEND_LONG_DATA or COM_STMT_CLOSE that is cut off with an error, where
/// nobody expects one: it must not be taken for the answer to the next session's statement.
async fn what_should_have_no_reply(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "[pool]\nmax_per_backend = 1");
    let mut stranger = Raw::app(proxy.address, OLD).await;
    for round in 0..100 {
        let mut client = Raw::app(proxy.address, OLD).await;
        let prepared = client.ask(b"\x16SELECT ?").await;
        let statement = &prepared[0].payload[1..5];
        let cut_off: &[u8] =
            if round % 2 == 0 { b"\x03\0\0\0\x18\0\0" } else { b"\x02\0\0\0\x19\0" };
        let close = [b"\x05\0\0\0\x19", statement].concat();
        client.stream.write(&[cut_off, &close].concat()).await.expect("both are sent");
        let reply = timeout(PATIENCE, stranger.query("SELECT 5 FOR UPDATE")).await;
        assert_eq!(value(&reply.expect("an answer"), OLD), "5", "round {round}");
    }
}

/// Of each kind, with random arguments. Nothing of it may do harm: the account has no rights
/// beyond its database.
async fn random_commands(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let bystander = Bystander::start(&proxy).await;
    let mut numbers = Numbers(7);
    let mut client = None;
    for round in 0..400_u64 {
        let mut logged_in = match client.take() {
            Some(client) => client,
            None => Raw::app(proxy.address, OLD).await,
        };
        let length = numbers.next() % 40;
        let payload = [&[round as u8 % 0x24][..], &numbers.bytes(length)].concat();
        logged_in.send(&payload).await;
        // It may have no answer (COM_STMT_CLOSE), or one of its own form (COM_STATISTICS).
        logged_in.send(b"\x03SELECT 1 FROM missing.missing").await;
        let answered = async {
            while !matches!(
                logged_in.outcome().await,
                Outcome::Error(1049 | 1142 | 1146) | Outcome::Closed
            ) {}
        };
        let name = payload.escape_ascii();
        timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("{name} hangs"));
        if logged_in.ping().await == Outcome::Served {
            client = Some(logged_in);
        }
    }
    bystander.end().await;
}
