//! The way in: greeting and login, and the login that the library gets to see.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};

use super::login::{Answer, is_admitted};
use super::shim::VERSION;
use crate::admin::Admin;
use crate::net::tls::server::accept;
use crate::net::{PacketError, PacketStream, Stream};
use crate::wire::auth::{Nonce, Plugin};
use crate::wire::capabilities::Status;
use crate::wire::codec::Malformed;
use crate::wire::handshake::{ClientHello, Greeting, Prelude, Response};
use crate::wire::packet::put_packet;
use crate::wire::reply::{OkPacket, ServerError, put_ok};
use crate::wire::{Capabilities, ServerVersion};

/// The longest login: connection attributes take up to 64 KiB.
const LONGEST: usize = 64 * 1024 + 4 * 1024;

/// What the console offers, as the library does in the greeting that no client sees.
const OFFERED: Capabilities = Capabilities::PROTOCOL_41
    .union(Capabilities::SECURE_CONNECTION)
    .union(Capabilities::PLUGIN_AUTH)
    .union(Capabilities::PLUGIN_AUTH_LENENC)
    .union(Capabilities::CONNECT_WITH_DB)
    .union(Capabilities::DEPRECATE_EOF);

/// utf8mb4_general_ci
const COLLATION: u8 = 45;

/// A client, as the greeting has made it known to itself.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Its connection id.
    pub id: u32,
    /// `None` by a Unix socket.
    pub peer: Option<IpAddr>,
    pub nonce: Nonce,
}

/// A client that is logged in.
pub struct Entered {
    pub client: Client,
    pub stream: Stream,
    /// Its login as the library gets it: one packet.
    pub login: Bytes,
    /// What it has sent behind it.
    pub buffered: BytesMut,
}

/// A client that is not.
pub struct Refused {
    pub stream: Stream,
    /// The sequence number that the error has.
    pub sequence: u8,
    pub error: ServerError,
}

/// Greets a client and lets it in or not. `None` for an error when there is nobody to tell. Not
/// cancel safe.
pub async fn enter(
    stream: Stream,
    peer: Option<IpAddr>,
    id: u32,
    admin: &Admin,
) -> Result<Entered, Option<Refused>> {
    let mut random = [0; Nonce::LENGTH];
    let Ok(()) = aws_lc_rs::rand::fill(&mut random) else {
        tracing::error!("no random bytes for a login at the console");
        return Err(None);
    };
    let client = Client { id, peer, nonce: Nonce::from_random(random) };
    let (mut stream, payload, sequence) = greet(stream, &client, admin).await?;
    let admitted = match admit(&payload, &client, admin) {
        Ok(admitted) => admitted,
        Err(error) => return Err(refuse(stream, sequence, error)),
    };
    let mut out = BytesMut::new();
    let mut sequence = sequence;
    if admitted.expects_fast_path {
        // "Fast auth success" (MySQL source documentation, "Caching_sha2_password information").
        sequence = put_packet(&mut out, sequence, &[0x01, 0x03]);
    }
    let mut payload = BytesMut::new();
    let ok = OkPacket { status: Status::AUTOCOMMIT, ..OkPacket::default() };
    put_ok(&mut payload, &ok, admitted.capabilities);
    put_packet(&mut out, sequence, &payload);
    stream.write(&out).await.map_err(|_| None)?;
    let (stream, buffered) = take_apart(stream);
    Ok(Entered { client, stream, login: admitted.login, buffered })
}

/// Sends the greeting and reads the client's response to it, by TLS if the client asks for that.
/// Also gives the sequence number of what follows.
async fn greet(
    stream: Stream,
    client: &Client,
    admin: &Admin,
) -> Result<(PacketStream, Bytes, u8), Option<Refused>> {
    let mut stream = PacketStream::new(stream);
    let mut greeting = BytesMut::new();
    let mut capabilities = OFFERED;
    capabilities.set(Capabilities::SSL, admin.tls.is_some());
    Greeting {
        version: ServerVersion::parse(VERSION),
        connection_id: client.id,
        nonce: client.nonce,
        capabilities,
        collation: COLLATION,
        status: Status::AUTOCOMMIT,
        // MySQL clients from 9 on know no other way in by password.
        plugin: Plugin::CachingSha2Password.name().to_vec(),
    }
    .put(&mut greeting);
    stream.write_packet(0, &greeting).await.map_err(|_| None)?;
    let payload = match stream.read_first_packet(LONGEST, 1).await {
        Ok(packet) => packet.payload,
        Err(cause) => return Err(refusal(cause).and_then(|error| refuse(stream, 2, error))),
    };
    let asks_for_tls = matches!(ClientHello::parse(&payload), Ok(ClientHello::SslRequest(_)));
    let Some(tls) = admin.tls.as_ref().filter(|_| asks_for_tls) else {
        return Ok((stream, payload, 2));
    };
    let mut stream =
        accept(stream, tls.identity().config.clone()).await.map_err(|_| None::<Refused>)?;
    match stream.read_packet(LONGEST, Some(2)).await {
        Ok(packet) => Ok((stream, packet.payload, 3)),
        Err(cause) => Err(refusal(cause).and_then(|error| refuse(stream, 3, error))),
    }
}

struct Admitted {
    capabilities: Capabilities,
    login: Bytes,
    /// The client has answered as caching_sha2_password does.
    expects_fast_path: bool,
}

/// Judges the client's response.
fn admit(payload: &[u8], client: &Client, admin: &Admin) -> Result<Admitted, ServerError> {
    let handshake = |message| ServerError::new(1043, b"08S01", message);
    let response = match ClientHello::parse(payload) {
        Ok(ClientHello::Response(response)) => response,
        Ok(ClientHello::SslRequest(_)) => {
            return Err(handshake("Bad handshake: TLS was not offered"));
        }
        Ok(ClientHello::BeforeProtocol41) => {
            return Err(handshake("Bad handshake: the client is older than MySQL 4.1"));
        }
        Err(Malformed(_)) => return Err(handshake("Bad handshake")),
    };
    let answer = Answer::of(response.auth_response);
    let config = admin.config.borrow().clone();
    if !is_admitted(&config.admin, client.peer, &client.nonce, response.user, answer) {
        return Err(denial(response.user, client.peer, answer));
    }
    let capabilities = response.prelude.capabilities & OFFERED;
    Ok(Admitted {
        capabilities,
        login: anew(&response, capabilities),
        expects_fast_path: matches!(answer, Answer::CachingSha2(_)),
    })
}

/// The client's login in the one form that the library is known to read.
fn anew(response: &Response<'_>, capabilities: Capabilities) -> Bytes {
    let mut capabilities =
        capabilities | Capabilities::PROTOCOL_41 | Capabilities::PLUGIN_AUTH_LENENC;
    capabilities.remove(Capabilities::CONNECT_WITH_DB | Capabilities::PLUGIN_AUTH);
    let mut payload = BytesMut::new();
    Response {
        prelude: Prelude { capabilities, ..response.prelude },
        user: response.user,
        auth_response: response.auth_response,
        database: None,
        plugin: None,
        attributes: b"",
        zstd_level: None,
    }
    .put(&mut payload);
    let mut packet = BytesMut::new();
    put_packet(&mut packet, 1, &payload);
    packet.freeze()
}

/// What a client is told whose packet could not be read; `None` when it is gone.
fn refusal(cause: PacketError) -> Option<ServerError> {
    match cause {
        PacketError::Closed | PacketError::Truncated | PacketError::Io(_) => None,
        PacketError::OutOfOrder { .. } => {
            Some(ServerError::new(1156, b"08S01", "Got packets out of order"))
        }
        PacketError::TooLong { .. } => {
            let message = "Got a packet bigger than the console takes";
            Some(ServerError::new(1153, b"08S01", message))
        }
    }
}

/// As a server puts it.
fn denial(user: &[u8], peer: Option<IpAddr>, answer: Answer<'_>) -> ServerError {
    let message = format!(
        "Access denied for user '{}'@'{}' (using password: {})",
        String::from_utf8_lossy(user),
        peer.map_or("localhost".to_owned(), |ip| ip.to_string()),
        if answer == Answer::NoPassword { "NO" } else { "YES" },
    );
    ServerError::new(1045, b"28000", message)
}

fn refuse(stream: PacketStream, sequence: u8, error: ServerError) -> Option<Refused> {
    let (stream, _) = take_apart(stream);
    Some(Refused { stream, sequence, error })
}

/// The stream and what has been read from it.
fn take_apart(mut stream: PacketStream) -> (Stream, BytesMut) {
    let buffered = stream.take(stream.buffered().len());
    (stream.into_stream().expect("nothing is left in the buffer"), buffered)
}
