//! From an address to a connection that is logged in.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::{IpAddr, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls;
use zeroize::Zeroizing;

use super::credential::Credential;
use super::dial::{DialError, describe, dial};
use crate::net::rsa::{self, EncryptError};
use crate::net::stream::Socket;
use crate::net::tls::client::{ClientTls, upgrade};
use crate::net::{PacketError, PacketStream, Stream};
use crate::routing::topology::Address;
use crate::wire::Capabilities;
use crate::wire::auth::signature::CHALLENGE;
use crate::wire::capabilities::FORMATS;
use crate::wire::codec::Malformed;
use crate::wire::compression::{Algorithm, Level, Peer};
use crate::wire::handshake::{Greeting, Prelude, Response};
use crate::wire::login::to_server::{LoginError, LoginToServer, Step};
use crate::wire::proxy_header::{self, Source};
use crate::wire::reply::{self, ErrPacket, OkPacket, ServerError};

/// No packet of a login is nearly as long.
const PACKET_LIMIT: usize = 64 * 1024;
/// What [`LoginOptions::max_packet`] usually is: the protocol's own maximum.
pub const MAX_PACKET: u32 = 1 << 30;

/// How to log in.
#[derive(Debug, Clone, Copy)]
pub struct LoginOptions<'a> {
    pub credential: &'a Credential,
    /// What is wanted; the server's own decide what is agreed. Those that the handshake itself
    /// needs are added (protocol 4.1, plugins, TLS, database, attributes), TLS is ignored. With
    /// one of compression the connection is compressed if the server offers it.
    pub capabilities: Capabilities,
    /// The low byte of the collation, as a client's response has it.
    pub collation: u8,
    /// Bytes, as a client's response has it.
    pub max_packet: u32,
    pub database: Option<&'a [u8]>,
    /// Connection attributes, encoded; empty for none.
    pub attributes: &'a [u8],
    /// For whom a header of the PROXY protocol speaks ahead of everything; `None`: there is none.
    pub announce: Option<Source>,
    pub tls: &'a ClientTls,
    /// For everything together: name, connect, TLS, login.
    pub deadline: Instant,
}

/// A connection that is logged in and waits for a command.
#[derive(Debug)]
pub struct Connected {
    pub stream: PacketStream,
    pub greeting: Greeting,
    /// What both sides agreed on.
    pub capabilities: Capabilities,
    /// The final OK.
    pub ok: LoginOk,
}

impl Connected {
    /// Whether commands and replies look as they do to a client that has agreed on these: a server
    /// of another version may not have offered all of them.
    pub fn looks_alike(&self, capabilities: Capabilities) -> bool {
        ((self.capabilities ^ capabilities) & FORMATS).is_empty()
    }
}

/// The OK packet that ended a login, kept.
#[derive(Debug, Clone)]
pub struct LoginOk {
    payload: Bytes,
    capabilities: Capabilities,
}

impl LoginOk {
    /// `payload` is the packet as it came over a connection with these capabilities.
    pub fn new(payload: Bytes, capabilities: Capabilities) -> Result<Self, Malformed> {
        OkPacket::parse(&payload, capabilities)?;
        Ok(LoginOk { payload, capabilities })
    }

    pub fn packet(&self) -> OkPacket<'_> {
        OkPacket::parse(&self.payload, self.capabilities).expect("it was parsed when it arrived")
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("{0} accepted the connection but did not let us in in time")]
    TimedOut(String),
    /// The connection broke.
    #[error("during the login: {0}")]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("TLS is required and the server has none")]
    NoTls,
    /// The server's answer: 1045 wrong password, 1040 and 1203 full, 1129 host blocked …
    #[error("{0}")]
    Refused(ServerError),
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The account's plugin is one that we do not know.
    #[error("the server asks for the authentication plugin {0}, which is not known here")]
    UnsupportedPlugin(String),
    /// The secret at hand does not suffice for what the server asks.
    #[error("{0}")]
    InsufficientSecret(LoginError),
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
}

impl ConnectError {
    /// The server's own refusal, if it was one.
    pub fn server_error(&self) -> Option<&ServerError> {
        match self {
            ConnectError::Refused(error) => Some(error),
            _ => None,
        }
    }

    /// What servers that take no header say to one: they read it as a packet out of order, and
    /// close the connection, perhaps before that can be read.
    fn with_header(self) -> Self {
        const ADVICE: &str = "does the server take headers of the PROXY protocol from here \
                              (proxy_protocol_networks)?";
        match self {
            ConnectError::Protocol(text) => ConnectError::Protocol(format!("{text}; {ADVICE}")),
            ConnectError::Io(error) => {
                io::Error::new(error.kind(), format!("{error}; {ADVICE}")).into()
            }
            other => other,
        }
    }

    /// Nothing was heard from a server there: it may be down. Every other error came from one
    /// that is up.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, ConnectError::Dial(_) | ConnectError::TimedOut(_) | ConnectError::Io(_))
    }

    /// The server is up and has no room: too many connections of all (1040) or of this account
    /// (1203, 1226).
    pub fn is_full(&self) -> bool {
        matches!(self.server_error(), Some(error) if matches!(error.code, 1040 | 1203 | 1226))
    }
}

impl From<PacketError> for ConnectError {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::Io(error) => ConnectError::Io(error),
            PacketError::Closed | PacketError::Truncated => {
                ConnectError::Io(io::ErrorKind::UnexpectedEof.into())
            }
            other => ConnectError::Protocol(other.to_string()),
        }
    }
}

impl From<Malformed> for ConnectError {
    fn from(error: Malformed) -> Self {
        ConnectError::Protocol(error.to_string())
    }
}

impl From<LoginError> for ConnectError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Refused(error) => ConnectError::Refused(error),
            LoginError::Malformed(error) => error.into(),
            LoginError::UnknownPlugin(name) => ConnectError::UnsupportedPlugin(name),
            LoginError::NeedsPassword(_) | LoginError::NeedsTls => {
                ConnectError::InsufficientSecret(error)
            }
        }
    }
}

/// Dials and logs in by `options.deadline`. A dropped future closes the connection.
pub async fn connect(
    address: &Address,
    options: &LoginOptions<'_>,
) -> Result<Connected, ConnectError> {
    let mut stream = dial(address, options.deadline).await?;
    let steps = async {
        if let Some(source) = options.announce {
            let mut header = Vec::new();
            proxy_header::put(&mut header, source, stream.peer_addr()?);
            stream.write_all(&header).await?;
        }
        let stream = PacketStream::new(Stream::Plain(Socket::Tcp(stream)));
        log_in(stream, server_name(address), options).await
    };
    match timeout_at(options.deadline, steps).await {
        Ok(result) if options.announce.is_some() => result.map_err(ConnectError::with_header),
        Ok(result) => result,
        Err(_) => Err(ConnectError::TimedOut(describe(address))),
    }
}

/// To whom the certificate must be made out. A name that cannot stand in a certificate fits none.
fn server_name(address: &Address) -> ServerName<'static> {
    match address {
        Address::Ip(address) => ServerName::IpAddress(IpAddr::from(address.ip())),
        Address::Name { host, .. } => ServerName::try_from(host.to_string()).unwrap_or_else(|_| {
            ServerName::try_from("invalid.").expect("a valid name by its form")
        }),
    }
}

async fn log_in(
    mut stream: PacketStream,
    name: ServerName<'static>,
    options: &LoginOptions<'_>,
) -> Result<Connected, ConnectError> {
    let packet = stream.read_packet(PACKET_LIMIT, Some(0)).await?;
    if packet.payload.first() == Some(&reply::ERR) {
        return Err(ConnectError::Refused(ErrPacket::parse(&packet.payload)?.to_owned()));
    }
    let greeting = Greeting::parse(&packet.payload)?;
    let tls = choose_tls(options.tls, &greeting)?;
    let capabilities = agree(options, &greeting, tls.is_some());
    let prelude =
        Prelude { capabilities, max_packet: options.max_packet, collation: options.collation };
    let mut sequence = 1;
    if let Some(config) = tls {
        let mut request = Vec::new();
        prelude.put(&mut request);
        sequence = stream.write_packet(sequence, &request).await?;
        stream = upgrade(stream, config, name).await.map_err(ConnectError::Tls)?;
    }

    let wants_zstd = capabilities.contains(Capabilities::ZSTD_COMPRESSION);
    let secret = &options.credential.secret;
    let encrypted = stream.stream().is_tls();
    let mut random = [0; CHALLENGE];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no random bytes"))?;
    let mut login = LoginToServer::new(secret, encrypted, greeting.nonce, &greeting.plugin, random);
    let first = login.response()?;
    let mut response = Zeroizing::new(Vec::new());
    Response {
        prelude,
        user: &options.credential.user,
        auth_response: &first,
        database: options.database,
        plugin: Some(login.plugin().name()),
        attributes: options.attributes,
        zstd_level: wants_zstd.then_some(Level::default().get()),
    }
    .put(&mut *response);
    sequence = stream.write_packet(sequence, &response).await?;

    loop {
        let packet = stream.read_packet(PACKET_LIMIT, Some(sequence)).await?;
        sequence = packet.sequence.wrapping_add(1);
        match login.receive(&packet.payload)? {
            Step::Read => {}
            Step::Send(payload) => sequence = stream.write_packet(sequence, &payload).await?,
            Step::Encrypt { public_key, cleartext } => {
                let payload = rsa::encrypt(&public_key, &cleartext)?;
                sequence = stream.write_packet(sequence, &payload).await?;
            }
            Step::Done => {
                let ok = LoginOk::new(packet.payload, capabilities)?;
                let level = Some(Level::default().get());
                if let Some(algorithm) = Algorithm::agreed(capabilities, level) {
                    stream = stream.compressed(algorithm, Peer::Server);
                }
                return Ok(Connected { stream, greeting, capabilities, ok });
            }
        }
    }
}

fn choose_tls(
    tls: &ClientTls,
    greeting: &Greeting,
) -> Result<Option<Arc<ClientConfig>>, ConnectError> {
    let offered = greeting.capabilities.contains(Capabilities::SSL);
    match tls {
        ClientTls::Disabled => Ok(None),
        ClientTls::Preferred(config) => Ok(offered.then(|| Arc::clone(config))),
        ClientTls::Required(config) if offered => Ok(Some(Arc::clone(config))),
        ClientTls::Required(_) => Err(ConnectError::NoTls),
    }
}

fn agree(options: &LoginOptions<'_>, greeting: &Greeting, tls: bool) -> Capabilities {
    let ours = Capabilities::SSL
        | Capabilities::CONNECT_WITH_DB
        | Capabilities::CONNECT_ATTRS
        | Capabilities::MYSQL;
    let mut wanted = options.capabilities - ours;
    wanted |= Capabilities::PROTOCOL_41
        | Capabilities::SECURE_CONNECTION
        | Capabilities::PLUGIN_AUTH
        | Capabilities::PLUGIN_AUTH_LENENC
        | Capabilities::TRANSACTIONS
        | Capabilities::LONG_FLAG;
    wanted.set(Capabilities::SSL, tls);
    wanted.set(Capabilities::CONNECT_WITH_DB, options.database.is_some());
    wanted.set(Capabilities::CONNECT_ATTRS, !options.attributes.is_empty());
    let mut agreed = wanted & greeting.capabilities;
    // MariaDB reads the extended capabilities of a client that leaves this flag unset.
    agreed.set(Capabilities::MYSQL, agreed.bits() >> 32 == 0);
    agreed
}
