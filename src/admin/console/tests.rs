//! The console over a real socket: raw packets, a driver, and command-line clients.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, SslOpts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::admin::test_support::{self, Fake};
use crate::wire::Capabilities;
use crate::wire::auth::{self, Nonce};
use crate::wire::codec::Reader;
use crate::wire::handshake::{Greeting, Prelude, Response};
use crate::wire::packet::{HEADER, Header, put_packet};
use crate::wire::reply::ErrPacket;

async fn start(admin: Arc<Admin>) -> u16 {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let port = listener.local_address().unwrap().port();
    tokio::spawn(serve(listener, admin));
    port
}

/// A client that writes what it likes.
struct Raw {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Raw {
    async fn connect(port: u16) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        Raw { stream, buffer: BytesMut::new() }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet, or `None` at the end.
    async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(header) = Header::peek(&self.buffer)
                && self.buffer.len() >= HEADER + header.length
            {
                let packet = self.buffer.split_to(HEADER + header.length);
                return Some((header.sequence, packet[HEADER..].to_vec()));
            }
            let read = self.stream.read_buf(&mut self.buffer);
            match timeout(Duration::from_secs(10), read).await.expect("an answer or the end") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn error(&mut self) -> (u8, u16, String) {
        let (sequence, payload) = self.receive().await.expect("an error");
        let error = ErrPacket::parse(&payload).unwrap_or_else(|_| panic!("{payload:?}"));
        (sequence, error.code, String::from_utf8_lossy(error.message).into_owned())
    }

    /// The values of a result of one row and one column.
    async fn value(&mut self) -> String {
        let (_, count) = self.receive().await.unwrap();
        assert_eq!(count, [1], "{:?}", String::from_utf8_lossy(&count));
        self.receive().await.unwrap();
        let (_, row) = self.receive().await.unwrap();
        assert_eq!(self.receive().await.unwrap().1[0], 0xFE);
        let value = Reader::new(&row).lenenc_bytes().unwrap();
        String::from_utf8(value.to_vec()).unwrap()
    }

    async fn greeting(&mut self) -> Nonce {
        let (sequence, payload) = self.receive().await.unwrap();
        assert_eq!(sequence, 0);
        Greeting::parse(&payload).unwrap().nonce
    }

    /// Logs in without a password.
    async fn log_in(port: u16) -> Raw {
        let mut raw = Raw::connect(port).await;
        raw.greeting().await;
        raw.send(&login(b"admin", b"")).await;
        assert_eq!(raw.receive().await.unwrap(), (2, vec![0, 0, 0, 2, 0, 0, 0]));
        raw
    }
}

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_packet(&mut out, sequence, payload);
    out.to_vec()
}

fn login(user: &[u8], auth_response: &[u8]) -> Vec<u8> {
    let capabilities = Capabilities::PROTOCOL_41
        | Capabilities::SECURE_CONNECTION
        | Capabilities::PLUGIN_AUTH
        | Capabilities::DEPRECATE_EOF;
    let mut payload = BytesMut::new();
    Response {
        prelude: Prelude { capabilities, max_packet: 1 << 24, collation: 45 },
        user,
        auth_response,
        database: None,
        plugin: Some(b"caching_sha2_password"),
        attributes: b"",
        zstd_level: None,
    }
    .put(&mut payload);
    packet(1, &payload)
}

#[tokio::test]
async fn pipelined_statements_are_answered_in_order() {
    let port = start(test_support::admin(Fake::default())).await;
    // Lengths at which the library alone was seen to mix packets up.
    for padding in [0, 50, 600, 1_500, 3_000, 20_000] {
        let mut raw = Raw::log_in(port).await;
        let statements: Vec<u8> = ["first", "second", "third"]
            .iter()
            .flat_map(|word| {
                let text = format!("\x03SELECT '{word}{}' AS a", "x".repeat(padding));
                packet(0, text.as_bytes())
            })
            .collect();
        raw.send(&statements).await;
        for word in ["first", "second", "third"] {
            let expected = format!("{word}{}", "x".repeat(padding));
            assert!(raw.value().await == expected, "{word} {padding}");
        }
    }
}

#[tokio::test]
async fn a_statement_may_come_byte_by_byte_and_with_the_login() {
    let port = start(test_support::admin(Fake::default())).await;
    let mut raw = Raw::connect(port).await;
    raw.greeting().await;
    let bytes = [login(b"admin", b""), packet(0, b"\x03SELECT 'a' AS b")].concat();
    raw.stream.set_nodelay(true).unwrap();
    for byte in bytes {
        raw.send(&[byte]).await;
    }
    assert_eq!(raw.receive().await.unwrap().0, 2);
    assert_eq!(raw.value().await, "a");
}

#[tokio::test]
async fn unknown_commands_get_an_error_and_the_session_goes_on() {
    let port = start(test_support::admin(Fake::default())).await;
    let mut raw = Raw::log_in(port).await;
    for byte in 0..=u8::MAX {
        match byte {
            0x01 => continue,
            0x02..=0x04 | 0x0E => continue,
            0x18 | 0x19 => raw.send(&packet(0, &[byte, 1, 0, 0, 0, 0, 0])).await,
            _ => {
                raw.send(&packet(0, &[byte, b'x', 0])).await;
                let (sequence, code, _) = raw.error().await;
                assert_eq!((sequence, code), (1, 1047), "{byte:#x}");
            }
        }
    }
    raw.send(&packet(0, b"\x0E")).await;
    assert_eq!(raw.receive().await.unwrap().1[0], 0);
    raw.send(&packet(0, b"\x02shop")).await;
    assert_eq!(raw.receive().await.unwrap().1[0], 0);
    raw.send(&packet(0, b"\x03SELECT '\xFF'")).await;
    assert_eq!(raw.error().await.1, 1300);
    raw.send(&packet(0, b"\x03SELECT 'still' AS here")).await;
    assert_eq!(raw.value().await, "still");
    raw.send(&packet(0, b"\x01")).await;
    assert_eq!(raw.receive().await, None);
}

#[tokio::test]
async fn bad_packets_get_an_error_and_end_the_session() {
    let port = start(test_support::admin(Fake::default())).await;
    let table: [(&[u8], u16); 6] = [
        (&[0xFF, 0xFF, 0xFF, 0, 3], 1153),
        // Much of it is on its way already.
        (&[0xFE; 200_000], 1156),
        (&[0x01, 0x00, 0x01, 0, 3], 1153),
        (&[1, 0, 0, 255, 3], 1156),
        (&[1, 0, 0, 1, 3], 1156),
        (&[0, 0, 0, 0], 1835),
    ];
    for (bytes, code) in table {
        let mut raw = Raw::log_in(port).await;
        raw.send(bytes).await;
        assert_eq!(raw.error().await.1, code, "{bytes:?}");
        assert_eq!(raw.receive().await, None, "{bytes:?}");
    }
    // The largest that is allowed is still served.
    let mut raw = Raw::log_in(port).await;
    let comment = format!("\x03/*{}*/", "x".repeat(64 * 1024 - 5));
    raw.send(&packet(0, comment.as_bytes())).await;
    assert_eq!(raw.receive().await.unwrap().1[0], 0);
}

#[tokio::test]
async fn bad_logins_get_an_error() {
    let port = start(test_support::admin(Fake::default())).await;
    let mut ssl = login(b"admin", b"");
    ssl.truncate(HEADER + 32);
    ssl[0] = 32;
    ssl[HEADER + 1] |= 0x08;
    let old = packet(1, &[0; 40]);
    let cases: [(&[u8], u8, u16); 5] = [
        (b"GET / HTTP/1.1\r\n\r\n", 2, 1156),
        (&packet(1, b"garbage of some length, but no login at all"), 2, 1043),
        (&packet(1, b""), 2, 1043),
        (&old, 2, 1043),
        (&login(b"root", b""), 2, 1045),
    ];
    for (bytes, sequence, code) in cases {
        let mut raw = Raw::connect(port).await;
        raw.greeting().await;
        raw.send(bytes).await;
        let (got_sequence, got_code, message) = raw.error().await;
        assert_eq!((got_sequence, got_code), (sequence, code), "{message}");
        assert_eq!(raw.receive().await, None);
    }
    // A request for TLS with what is no TLS handshake behind it.
    let mut raw = Raw::connect(port).await;
    raw.greeting().await;
    raw.send(&ssl).await;
    raw.send(&login(b"admin", b"")).await;
    while let Some((_, payload)) = raw.receive().await {
        assert!(ErrPacket::parse(&payload).is_err() && payload.first() != Some(&0));
    }
}

#[tokio::test]
async fn both_kinds_of_scramble_prove_the_password() {
    let port = start(test_support::admin_with_password("geheim")).await;
    let mut nonces = Vec::new();
    for is_native in [true, false] {
        let mut raw = Raw::connect(port).await;
        let nonce = raw.greeting().await;
        let answer = if is_native {
            auth::native_scramble(&auth::native_stage1(b"geheim"), &nonce).to_vec()
        } else {
            auth::sha2_scramble(b"geheim", &nonce).to_vec()
        };
        raw.send(&login(b"admin", &answer)).await;
        let mut sequence = 2;
        if !is_native {
            assert_eq!(raw.receive().await.unwrap(), (2, vec![1, 3]));
            sequence = 3;
        }
        assert_eq!(raw.receive().await.unwrap().0, sequence);
        raw.send(&packet(0, b"\x03SELECT 'in' AS a")).await;
        assert_eq!(raw.value().await, "in");
        nonces.push(*nonce.as_bytes());
    }
    assert_ne!(nonces[0], nonces[1]);
    let mut raw = Raw::connect(port).await;
    raw.greeting().await;
    raw.send(&login(b"admin", &[5; 20])).await;
    let message = "Access denied for user 'admin'@'127.0.0.1' (using password: YES)";
    assert_eq!(raw.error().await, (2, 1045, message.to_owned()));
}

#[tokio::test]
async fn one_client_too_many() {
    let port = start(test_support::admin(Fake::default())).await;
    let mut clients = Vec::new();
    for _ in 0..MOST_CLIENTS {
        clients.push(Raw::log_in(port).await);
    }
    assert_eq!(Raw::connect(port).await.error().await.1, 1040);
    clients[0].send(&packet(0, b"\x01")).await;
    assert_eq!(clients[0].receive().await, None);
    // The place is free a moment after the client has seen the end.
    for _ in 0..100 {
        let mut raw = Raw::connect(port).await;
        if raw.receive().await.unwrap().1[0] == 10 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the place was not given up");
}

#[tokio::test(start_paused = true)]
async fn silent_clients_are_disconnected() {
    let port = start(test_support::admin(Fake::default())).await;
    let mut silent = Raw::connect(port).await;
    silent.greeting().await;
    tokio::time::sleep(LOGIN_TIMEOUT).await;
    assert_eq!(silent.receive().await, None);
    let mut half = Raw::log_in(port).await;
    half.send(&[9, 0, 0, 0, 3]).await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(half.error().await.1, 1159);
    let mut idle = Raw::log_in(port).await;
    tokio::time::sleep(Duration::from_secs(3_601)).await;
    assert_eq!(idle.error().await.1, 4031);
}

fn options(port: u16, password: Option<&str>) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some("admin"))
        .pass(password)
        .prefer_socket(false)
}

#[tokio::test]
async fn a_driver_reads_the_tables() {
    let port = start(test_support::admin_with_password("geheim")).await;
    let mut conn = Conn::new(options(port, Some("geheim"))).await.unwrap();
    let rows: Vec<Row> = conn.query("SHOW BACKENDS").await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1].get::<String, _>("name").unwrap(), "db2");
    assert_eq!(rows[1].get::<u64, _>("lag_ms").unwrap(), 250);
    assert_eq!(rows[0].get::<Option<u64>, _>("lag_ms").unwrap(), None);
    conn.ping().await.unwrap();
    let error = conn.query_drop("DROP DATABASE x").await.unwrap_err();
    assert!(error.to_string().contains("HELP lists"), "{error}");
    let error = conn.exec_drop("SHOW POOLS", ()).await.unwrap_err();
    assert!(error.to_string().contains("1047"), "{error}");
    let sessions: Vec<Row> = conn.query("SHOW SESSIONS").await.unwrap();
    assert_eq!(sessions.len(), 1);
    conn.disconnect().await.unwrap();

    let tls = SslOpts::default().with_danger_accept_invalid_certs(true);
    let encrypted = options(port, Some("geheim")).ssl_opts(tls);
    let mut conn = Conn::new(encrypted).await.unwrap();
    let version: Option<String> = conn.query_first("SHOW VERSION").await.unwrap();
    assert_eq!(version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
    conn.disconnect().await.unwrap();

    let error = Conn::new(options(port, Some("wrong"))).await.unwrap_err();
    assert!(error.to_string().contains("1045"), "{error}");
}

/// With each command-line client that is installed: the batch form prints tab-separated rows.
#[tokio::test]
async fn command_line_clients() {
    let port = start(test_support::admin_with_password("geheim")).await;
    for client in ["mysql", "mariadb"] {
        let run = |password: &str, statement: &str| {
            tokio::process::Command::new(client)
                .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-uadmin", "-Dshop"])
                .args([&format!("-P{port}"), &format!("-p{password}"), "-e", statement])
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .output()
        };
        let statements = "SHOW POOLS; USE other; SET autocommit=1; SELECT VERSION() AS v";
        let Ok(output) = timeout(Duration::from_secs(30), run("geheim", statements)).await.unwrap()
        else {
            eprintln!("{client} is not installed");
            continue;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{client}: {errors}");
        assert!(text.contains("db1\t3\t1\t2\t0\t90\t"), "{client}: {text}");
        assert!(text.contains(&format!("v\n{}\n", shim::VERSION)), "{client}: {text}");
        // The client asks several things of its own for this.
        let output = run("geheim", "status").await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(shim::VERSION) && output.status.success(), "{client}: {text}");
        let output = run("wrong", "SELECT 1").await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("ERROR 1045 (28000): Access denied"), "{client}: {errors}");
    }
}
