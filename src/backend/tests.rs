//! Our side towards servers, against servers that do what real ones seldom do.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};

use super::authenticate::{ConnectError, Connected, LoginOptions, connect};
use super::credential::Credential;
use super::dial::{DialError, dial};
use super::sql_client::{QueryError, SqlClient};
use crate::net::stream::Socket;
use crate::net::tls::client::ClientTls;
use crate::net::{PacketStream, Stream};
use crate::routing::topology::Address;
use crate::wire::auth::{CACHING_SHA2_PASSWORD, NATIVE_PASSWORD, Nonce, Secret};
use crate::wire::capabilities::Status;
use crate::wire::codec::Writer;
use crate::wire::compression::{Algorithm, Peer};
use crate::wire::handshake::{ClientHello, Greeting};
use crate::wire::{Capabilities, ServerVersion};

/// A server that runs `script` with one connection.
async fn server<F, S>(script: S) -> (Address, JoinHandle<()>)
where
    F: Future<Output = ()> + Send,
    S: FnOnce(PacketStream) -> F + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        script(PacketStream::new(Stream::Plain(Socket::Tcp(stream)))).await;
    });
    (Address::Ip(address), task)
}

fn greeting(plugin: &[u8]) -> Vec<u8> {
    let greeting = Greeting {
        version: ServerVersion::parse("9.7.4"),
        connection_id: 7,
        nonce: Nonce::from(*b"0123456789abcdefghij"),
        capabilities: Capabilities::from_bits_retain(0xFFFF_FFFF) - Capabilities::SSL,
        collation: 255,
        status: Status::AUTOCOMMIT,
        plugin: plugin.to_vec(),
    };
    let mut payload = Vec::new();
    greeting.put(&mut payload);
    payload
}

const OK: &[u8] = b"\0\0\0\x02\0\0\0";

async fn log_in(address: &Address, timeout: Duration) -> Result<Connected, ConnectError> {
    let options = LoginOptions {
        credential: &Credential::new("app", Secret::from_password("secret")),
        capabilities: Capabilities::SESSION_TRACK,
        collation: 45,
        max_packet: 1 << 24,
        database: Some(b"shop"),
        attributes: b"",
        announce: None,
        tls: &ClientTls::Disabled,
        deadline: Instant::now() + timeout,
    };
    connect(address, &options).await
}

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_login_says_what_was_agreed() {
    let (address, task) = server(|mut stream| async move {
        stream.write_packet(0, &greeting(CACHING_SHA2_PASSWORD)).await.unwrap();
        let packet = stream.read_packet(1000, Some(1)).await.unwrap();
        let Ok(ClientHello::Response(response)) = ClientHello::parse(&packet.payload) else {
            panic!("no response");
        };
        assert_eq!((response.user, response.database), (&b"app"[..], Some(&b"shop"[..])));
        assert!(!response.prelude.capabilities.contains(Capabilities::COMPRESS));
        stream.write_packet(2, &[1, 3]).await.unwrap();
        stream.write_packet(3, OK).await.unwrap();
    })
    .await;
    let connected = log_in(&address, SOON).await.unwrap();
    assert!(connected.capabilities.contains(Capabilities::SESSION_TRACK));
    assert_eq!(connected.ok.packet().status, Status::AUTOCOMMIT);
    task.await.unwrap();
}

#[tokio::test]
async fn a_connection_is_compressed_behind_its_login() {
    for way in [Capabilities::COMPRESS, Capabilities::ZSTD_COMPRESSION] {
        let (address, task) = server(move |mut stream| async move {
            stream.write_packet(0, &greeting(CACHING_SHA2_PASSWORD)).await.unwrap();
            let packet = stream.read_packet(1000, Some(1)).await.unwrap();
            let Ok(ClientHello::Response(response)) = ClientHello::parse(&packet.payload) else {
                panic!("no response");
            };
            let algorithm = Algorithm::agreed(response.prelude.capabilities, response.zstd_level);
            stream.write_packet(2, OK).await.unwrap();
            let mut stream = stream.compressed(algorithm.unwrap(), Peer::Client);
            for _ in 0..2 {
                stream.begin_command();
                let command = stream.read_packet(100_000, Some(0)).await.unwrap();
                assert_eq!(command.payload.len(), 70_000);
                stream.write_packet(1, &command.payload[..50_000]).await.unwrap();
                stream.give_back();
            }
        })
        .await;
        let options = LoginOptions {
            credential: &Credential::new("app", Secret::from_password("secret")),
            capabilities: way,
            collation: 45,
            max_packet: 1 << 24,
            database: None,
            attributes: b"",
            announce: None,
            tls: &ClientTls::Disabled,
            deadline: Instant::now() + SOON,
        };
        let mut stream = connect(&address, &options).await.unwrap().stream;
        assert!(!stream.stream().is_tls());
        for _ in 0..2 {
            stream.begin_command();
            stream.write_packet(0, &[b'x'; 70_000]).await.unwrap();
            let reply = stream.read_packet(100_000, Some(1)).await.unwrap();
            assert!(reply.payload == [b'x'; 50_000][..]);
        }
        task.await.unwrap();
        assert_eq!(stream.fill().await.unwrap(), 0, "the server has closed");
    }
}

#[tokio::test]
async fn a_full_server_is_up() {
    let (address, _task) = server(|mut stream| async move {
        stream.write_packet(0, b"\xFF\x10\x04Too many connections").await.unwrap();
    })
    .await;
    let error = log_in(&address, SOON).await.unwrap_err();
    assert!(error.is_full() && !error.is_unreachable(), "{error}");
    assert_eq!(error.server_error().unwrap().code, 1040);
}

#[tokio::test]
async fn servers_that_break_the_protocol() {
    let table: [(&[u8], bool); 4] = [
        // Bytes of a packet as they are, and whether the server may be taken for down.
        (b"SSH-2.0-OpenSSH_9.2\r\n", false),
        (b"\x01\0\0\0\x09", false),
        (b"\xFF\xFF\xFF\0", false),
        (b"\x05\0\0\0\x0A", true),
    ];
    for (bytes, unreachable) in table {
        let (address, _task) = server(move |mut stream| async move {
            stream.write(bytes).await.unwrap();
        })
        .await;
        let error = log_in(&address, SOON).await.unwrap_err();
        assert_eq!(error.is_unreachable(), unreachable, "{bytes:?}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let (address, task) = server(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let error = log_in(&address, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut(_)), "{error}");
    assert!(error.is_unreachable());
    task.abort();
}

#[tokio::test]
async fn required_tls_is_not_given_up() {
    let (address, _task) = server(|mut stream| async move {
        stream.write_packet(0, &greeting(NATIVE_PASSWORD)).await.unwrap();
    })
    .await;
    let options = LoginOptions {
        credential: &Credential::new("app", Secret::Empty),
        capabilities: Capabilities::empty(),
        collation: 45,
        max_packet: 1 << 24,
        database: None,
        attributes: b"",
        announce: None,
        tls: &ClientTls::required().unwrap(),
        deadline: Instant::now() + SOON,
    };
    let error = connect(&address, &options).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoTls), "{error}");
}

#[tokio::test]
async fn names_are_resolved_and_refusals_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let name = |host: &str, port| Address::Name { host: host.into(), port };
    let deadline = || Instant::now() + SOON;
    let stream: TcpStream = dial(&name("localhost", port), deadline()).await.unwrap();
    assert!(stream.nodelay().unwrap());
    drop(listener);
    let error = dial(&Address::Ip(SocketAddr::from(([127, 0, 0, 1], port))), deadline()).await;
    let Err(DialError::Connect { source, .. }) = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
    let error = dial(&name("no-such-host.invalid", 1), deadline()).await;
    assert!(matches!(error, Err(DialError::Resolve { .. })), "{error:?}");
}

/// A server that lets everybody in and answers each query with these packets.
async fn answering(answers: &'static [&'static [&'static [u8]]]) -> SqlClient {
    let (address, _task) = server(move |mut stream| async move {
        stream.write_packet(0, &greeting(NATIVE_PASSWORD)).await.unwrap();
        stream.read_packet(1000, Some(1)).await.unwrap();
        stream.write_packet(2, OK).await.unwrap();
        for answer in answers {
            if stream.read_packet(1000, Some(0)).await.is_err() {
                return;
            }
            let mut sequence = 1;
            for packet in *answer {
                sequence = stream.write_packet(sequence, packet).await.unwrap();
            }
        }
        // The client's goodbye.
        let _ = stream.read_packet(1000, Some(0)).await;
    })
    .await;
    let credential = Credential::new("monitor", Secret::Empty);
    let deadline = Instant::now() + SOON;
    SqlClient::connect(&address, &credential, &ClientTls::Disabled, None, deadline).await.unwrap()
}

/// `SELECT 1 AS a, NULL AS b`, in the form without CLIENT_DEPRECATE_EOF.
const COLUMN_A: &[u8] = b"\x03def\0\0\0\x01a\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0";
const COLUMN_B: &[u8] = b"\x03def\0\0\0\x01b\0\x0c\x3f\0\0\0\0\0\x06\x80\0\0\0\0";
const EOF: &[u8] = b"\xFE\0\0\x02\0";

#[tokio::test]
async fn queries_and_their_results() {
    let mut client = answering(&[
        &[b"\x02", COLUMN_A, COLUMN_B, EOF, b"\x0242\xFB", b"\x01x\x01y", EOF],
        &[b"\xFF\x7A\x04#42S02No such table"],
        &[b"\0\x03\0\x02\0\0\0"],
        // A result set, and the OK of the procedure behind it.
        &[b"\x01", COLUMN_A, EOF, b"\x011", b"\xFE\0\0\x0a\0", OK],
    ])
    .await;
    let deadline = Instant::now() + SOON;
    let rows = client.query("SELECT", deadline).await.unwrap();
    assert_eq!((rows.columns.as_slice(), rows.len()), (&["a".to_owned(), "b".into()][..], 2));
    assert_eq!((rows.u64(0, "A"), rows.get(0, "b"), rows.str(1, "b")), (Some(42), None, Some("y")));
    assert!(rows.get(2, "a").is_none() && rows.get(0, "c").is_none() && !rows.has_column("c"));
    let error = client.query("SELECT", deadline).await.unwrap_err();
    assert!(matches!(&error, QueryError::Server(error) if error.code == 1146), "{error}");
    assert!(client.is_open());
    assert_eq!(client.query("UPDATE", deadline).await.unwrap().affected_rows, 3);
    assert_eq!(client.query("CALL p()", deadline).await.unwrap().u64(0, "a"), Some(1));
    client.close().await;
}

#[tokio::test]
async fn queries_that_are_sent_together() {
    let mut client = answering(&[
        &[b"\0\x01\0\x02\0\0\0"],
        &[b"\x01", COLUMN_A, EOF, b"\x011", EOF],
        &[b"\0\x02\0\x02\0\0\0"],
        &[b"\xFF\x7A\x04#42S02No such table"],
        &[b"\xFF\x15\x04#28000No"],
        &[b"\0\x03\0\x02\0\0\0"],
        &[OK],
    ])
    .await;
    let deadline = Instant::now() + SOON;
    let results = client.query_all(&["UPDATE", "SELECT"], deadline).await.unwrap();
    assert_eq!((results.len(), results[0].affected_rows), (2, 1));
    assert_eq!(results[1].u64(0, "a"), Some(1));
    // The first error is the answer, and those of the others do not stay behind.
    let asked = ["UPDATE", "SELECT", "SELECT", "UPDATE"];
    let error = client.query_all(&asked, deadline).await.unwrap_err();
    assert!(matches!(&error, QueryError::Server(error) if error.code == 1146), "{error}");
    assert!(client.is_open());
    assert_eq!(client.query("UPDATE", deadline).await.unwrap().affected_rows, 0);
    // The next has no answer: the server has left.
    let error = client.query_all(&["SELECT"], deadline).await.unwrap_err();
    assert!(matches!(error, QueryError::Packet(_)), "{error}");
    assert!(!client.is_open());
}

#[tokio::test]
async fn answers_that_end_the_connection() {
    const ANSWERS: [&[&[&[u8]]]; 5] = [
        &[&[b""]],
        &[&[b"\xFBetc/passwd"]],
        &[&[b"\x01", b"\x03def"]],
        &[&[b"\x02", COLUMN_A, COLUMN_B, EOF, b"\x0242"]],
        &[&[b"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"]],
    ];
    for answers in ANSWERS {
        let mut client = answering(answers).await;
        let deadline = Instant::now() + Duration::from_millis(500);
        let error = client.query("SELECT", deadline).await.unwrap_err();
        assert!(!matches!(error, QueryError::Server(_)), "{error}");
        assert!(!client.is_open());
        let error = client.query("SELECT", deadline).await.unwrap_err();
        assert!(matches!(error, QueryError::Closed), "{error}");
    }
}

#[tokio::test]
async fn a_query_without_answer_ends_the_connection() {
    let mut client = answering(&[&[]]).await;
    let deadline = Instant::now() + Duration::from_millis(50);
    let error = client.query("SELECT SLEEP(100)", deadline).await.unwrap_err();
    assert!(matches!(error, QueryError::TimedOut), "{error}");
    assert!(!client.is_open());
}

#[tokio::test]
async fn a_result_beyond_the_bound_is_refused() {
    let (address, _task) = server(|mut stream| async move {
        stream.write_packet(0, &greeting(NATIVE_PASSWORD)).await.unwrap();
        stream.read_packet(1000, Some(1)).await.unwrap();
        stream.write_packet(2, OK).await.unwrap();
        stream.read_packet(1000, Some(0)).await.unwrap();
        let mut sequence = 1;
        for packet in [b"\x01", COLUMN_A, EOF] {
            sequence = stream.write_packet(sequence, packet).await.unwrap();
        }
        let mut row = Vec::new();
        row.put_lenenc_bytes(&vec![b'x'; 1 << 20]);
        // Until the client has had enough.
        while let Ok(next) = stream.write_packet(sequence, &row).await {
            sequence = next;
        }
    })
    .await;
    let credential = Credential::new("monitor", Secret::Empty);
    let deadline = Instant::now() + SOON;
    let tls = ClientTls::Disabled;
    let mut client = SqlClient::connect(&address, &credential, &tls, None, deadline).await.unwrap();
    let error = client.query("SELECT", deadline).await.unwrap_err();
    assert!(matches!(error, QueryError::TooLarge), "{error}");
}
