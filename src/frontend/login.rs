//! From an accepted socket to a session: greeting, TLS, proof, admission, final OK.
//!
//! There is no user list. What a client says is checked against what the servers' accounts and
//! earlier logins tell, and where that does not suffice the primary decides, by letting us in with
//! what the client gave.

mod admission;
mod dialogue;
mod exchange;
mod failure;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use self::admission::{Admission, Wishes, admit};
use self::dialogue::{Dialogue, FIRST_PACKET};
use self::exchange::{Claim, prove};
use super::accounts::{Account, Accounts};
use super::acquire::PAUSE;
use crate::discovery::TopologyStore;
use crate::net::rsa::{LazyRsaKey, RsaKey};
use crate::net::stream::Socket;
use crate::net::tls::client::ClientTls;
use crate::net::tls::server::{ServerTls, accept};
use crate::net::{PacketStream, Stream};
use crate::session::SessionId;
use crate::wire::auth::{Nonce, Plugin, certificate_proof, native_stage2};
use crate::wire::capabilities::Status;
use crate::wire::compression::{Algorithm, Peer};
use crate::wire::handshake::{ChangeUser, ClientHello, Greeting, Prelude, Response};
use crate::wire::proxy_header::Source;
use crate::wire::{Capabilities, Flavour};

pub use self::admission::Opened;
pub use self::failure::LoginFailure;

/// Most connections to the primary that are being opened for logins at once.
const OPENINGS: usize = 64;

/// How long before the end of its time a login stops waiting for a primary, to tell its client.
const PARTING: Duration = Duration::from_millis(500);

/// How long a login waits for what was changed just before it to be known here.
const SETTLING: Duration = Duration::from_secs(1);

/// The capabilities that are offered to clients when the primary has them.
pub const SERVED: Capabilities = Capabilities::from_bits_retain(
    Capabilities::MYSQL.bits()
        | Capabilities::FOUND_ROWS.bits()
        | Capabilities::LONG_FLAG.bits()
        | Capabilities::CONNECT_WITH_DB.bits()
        | Capabilities::NO_SCHEMA.bits()
        | Capabilities::ODBC.bits()
        | Capabilities::LOCAL_FILES.bits()
        | Capabilities::IGNORE_SPACE.bits()
        | Capabilities::PROTOCOL_41.bits()
        | Capabilities::INTERACTIVE.bits()
        | Capabilities::IGNORE_SIGPIPE.bits()
        | Capabilities::TRANSACTIONS.bits()
        | Capabilities::RESERVED.bits()
        | Capabilities::SECURE_CONNECTION.bits()
        | Capabilities::MULTI_STATEMENTS.bits()
        | Capabilities::MULTI_RESULTS.bits()
        | Capabilities::PS_MULTI_RESULTS.bits()
        | Capabilities::PLUGIN_AUTH.bits()
        | Capabilities::CONNECT_ATTRS.bits()
        | Capabilities::PLUGIN_AUTH_LENENC.bits()
        | Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS.bits()
        | Capabilities::SESSION_TRACK.bits()
        | Capabilities::DEPRECATE_EOF.bits()
        | Capabilities::OPTIONAL_RESULTSET_METADATA.bits()
        | Capabilities::QUERY_ATTRIBUTES.bits()
        | Capabilities::SSL_VERIFY_SERVER_CERT.bits()
        | Capabilities::REMEMBER_OPTIONS.bits()
        | Capabilities::MARIADB_PROGRESS.bits()
        | Capabilities::MARIADB_STMT_BULK_OPERATIONS.bits()
        | Capabilities::MARIADB_EXTENDED_METADATA.bits()
        | Capabilities::MARIADB_BULK_UNIT_RESULTS.bits(),
);

/// Whether clients may, or must, use TLS.
#[derive(Debug, Clone)]
pub enum Encryption {
    /// Not offered.
    Disabled,
    Preferred(Arc<ServerTls>),
    Required(Arc<ServerTls>),
}

impl Encryption {
    pub fn tls(&self) -> Option<&Arc<ServerTls>> {
        match self {
            Encryption::Disabled => None,
            Encryption::Preferred(tls) | Encryption::Required(tls) => Some(tls),
        }
    }
}

/// Whose the connections to the servers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Everybody's who has the account, one after the other: they tell nothing of a client.
    Shared,
    /// One session's each: servers are told its client's connection attributes, and if `announced`
    /// by a header of the PROXY protocol where it is.
    Session { announced: bool },
}

impl Ownership {
    /// What servers are told of where a client is; `peer` is `None` for one on a Unix socket.
    pub fn announces(self, peer: Option<SocketAddr>) -> Option<Source> {
        match self {
            Ownership::Session { announced: true } => {
                Some(peer.map_or(Source::Connection, Source::Client))
            }
            Ownership::Shared | Ownership::Session { announced: false } => None,
        }
    }
}

/// From where servers take the client to be, if they were told.
fn announced(announce: Option<Source>) -> Option<IpAddr> {
    match announce {
        Some(Source::Client(client)) => Some(client.ip()),
        Some(Source::Connection) | None => None,
    }
}

/// What logins share.
#[derive(Debug)]
pub struct LoginContext {
    pub accounts: Accounts,
    pub encryption: ArcSwap<Encryption>,
    pub rsa_key: LazyRsaKey,
    pub backend_tls: ArcSwap<ClientTls>,
    pub topology: Arc<TopologyStore>,
    /// The last greeting of a primary; `None` until one was seen.
    pub greeting: Arc<ArcSwapOption<Greeting>>,
    /// From the first byte to the final OK.
    pub timeout: Duration,
    /// How long a client that only the primary can judge waits for one. Default: not at all.
    pub write_hold: ArcSwap<Duration>,
    /// The capabilities of compression that clients are offered where the primary has them. Default
    /// none.
    pub compression: Capabilities,
    /// The capability by which connections to servers are compressed. Default none.
    pub backend_compression: Capabilities,
    /// Default shared.
    pub ownership: Ownership,
    openings: Semaphore,
}

impl LoginContext {
    pub fn new(
        accounts: Accounts,
        encryption: Encryption,
        rsa_key: LazyRsaKey,
        backend_tls: ClientTls,
        topology: Arc<TopologyStore>,
        greeting: Arc<ArcSwapOption<Greeting>>,
        timeout: Duration,
    ) -> Self {
        LoginContext {
            accounts,
            encryption: ArcSwap::from_pointee(encryption),
            rsa_key,
            backend_tls: ArcSwap::from_pointee(backend_tls),
            topology,
            greeting,
            timeout,
            write_hold: ArcSwap::from_pointee(Duration::ZERO),
            compression: Capabilities::empty(),
            backend_compression: Capabilities::empty(),
            ownership: Ownership::Shared,
            openings: Semaphore::new(OPENINGS),
        }
    }

    /// With which a login begins that begins now. What it has changed is known here then, if that
    /// could be read in time.
    async fn revision(&self) -> u64 {
        let revision = self.accounts.revisions.current();
        self.accounts.settle(revision, Instant::now() + SETTLING).await;
        revision
    }

    /// Until when a login that ends at this time waits for a primary: the client is to be told.
    fn patience(&self, deadline: Instant) -> Instant {
        let last = deadline.checked_sub(PARTING).unwrap_or(deadline);
        last.min(Instant::now() + **self.write_hold.load())
    }

    async fn rsa_key(&self) -> Result<Arc<RsaKey>, LoginFailure> {
        let key = self.rsa_key.get().await;
        key.map_err(|error| LoginFailure::NoPrimary(format!("no RSA key: {error}")))
    }
}

/// A client that is logged in and has been told so.
#[derive(Debug)]
pub struct LoggedIn {
    pub stream: PacketStream,
    pub identity: Identity,
    /// What was agreed on with the client.
    pub capabilities: Capabilities,
    /// Bytes, as the client announced it.
    pub max_packet: u32,
    /// For COM_CHANGE_USER.
    pub nonce: Nonce,
}

/// As whom, and how, a session begins: anew with each COM_CHANGE_USER.
#[derive(Debug)]
pub struct Identity {
    pub account: Arc<Account>,
    /// A collation's number; of COM_CHANGE_USER all 16 bits, of a login the low 8.
    pub collation: u16,
    pub database: Option<Vec<u8>>,
    /// Connection attributes, encoded.
    pub attributes: Vec<u8>,
    /// The status flags that the client was told.
    pub status: Status,
    /// Of accounts and global variables, as the login has begun.
    pub revision: u64,
    /// The connection that the login has opened, if it has.
    pub opened: Option<Opened>,
}

/// Logs a client in by `deadline`. On failure the client has been told why, and its
/// connection is closed.
///
/// `peer` is `None` for a client on a Unix socket; `id` is the one to greet it with.
pub async fn login(
    socket: Socket,
    peer: Option<SocketAddr>,
    id: SessionId,
    deadline: Instant,
    context: &LoginContext,
) -> Result<LoggedIn, LoginFailure> {
    let steps = async {
        let mut hello = receive_hello(socket, id, deadline, context).await?;
        let mut dialogue = Dialogue::new(&mut hello.stream, hello.sequence, hello.local);
        let parsed = ClientHello::parse(&hello.payload).map_err(LoginFailure::from);
        let greeting = &hello.greeting;
        let result = match parsed {
            Ok(ClientHello::Response(response)) => {
                let begun = Begun { greeting, self_made: hello.self_made, peer, deadline };
                respond(&mut dialogue, response, begun, context).await
            }
            Ok(ClientHello::BeforeProtocol41) => Err(LoginFailure::OldClient),
            Ok(ClientHello::SslRequest(_)) => {
                Err(LoginFailure::Protocol("a request for TLS inside TLS".into()))
            }
            Err(failure) => Err(failure),
        };
        match result {
            Ok(Welcomed { identity, prelude, capabilities, compression }) => Ok(LoggedIn {
                stream: match compression {
                    None => hello.stream,
                    Some(algorithm) => hello.stream.compressed(algorithm, Peer::Client),
                },
                identity,
                capabilities,
                max_packet: prelude.max_packet,
                nonce: hello.greeting.nonce,
            }),
            Err(failure) => {
                dialogue.turn_away(&failure).await;
                Err(failure)
            }
        }
    };
    timeout_at(deadline, steps).await.unwrap_or(Err(LoginFailure::TimedOut))
}

/// A client's response to our greeting, not yet looked into, on a stream that is now as it stays.
struct Hello {
    stream: PacketStream,
    greeting: Greeting,
    payload: Bytes,
    /// Of the next packet to the client.
    sequence: u8,
    local: bool,
    /// The fingerprint of our own certificate, if the stream is encrypted with it.
    self_made: Option<[u8; 32]>,
}

/// Greets, and takes the stream to TLS if the client wants that.
async fn receive_hello(
    socket: Socket,
    id: SessionId,
    deadline: Instant,
    context: &LoginContext,
) -> Result<Hello, LoginFailure> {
    let local = matches!(socket, Socket::Unix(_));
    let mut stream = PacketStream::new(Stream::Plain(socket));
    let mut dialogue = Dialogue::new(&mut stream, 0, local);
    let encryption = context.encryption.load_full();
    let (greeting, payload) = match first_packet(&mut dialogue, id, deadline, context).await {
        Ok(found) => found,
        Err(failure) => {
            dialogue.turn_away(&failure).await;
            return Err(failure);
        }
    };
    let sequence = dialogue.sequence;
    if !matches!(ClientHello::parse(&payload), Ok(ClientHello::SslRequest(_))) {
        return Ok(Hello { stream, greeting, payload, sequence, local, self_made: None });
    }
    let Some(tls) = encryption.tls().filter(|_| greeting.capabilities.contains(Capabilities::SSL))
    else {
        let failure = LoginFailure::Protocol("a request for TLS, which was not offered".into());
        dialogue.turn_away(&failure).await;
        return Err(failure);
    };
    let identity = tls.identity();
    let mut stream = accept(stream, identity.config.clone()).await.map_err(LoginFailure::Tls)?;
    let mut dialogue = Dialogue::new(&mut stream, sequence, local);
    let payload = match dialogue.read_up_to(FIRST_PACKET).await {
        Ok(payload) => payload,
        Err(failure) => {
            dialogue.turn_away(&failure).await;
            return Err(failure);
        }
    };
    let sequence = dialogue.sequence;
    Ok(Hello { stream, greeting, payload, sequence, local, self_made: identity.self_made })
}

/// Sends the greeting and reads what comes first, and not a byte beyond it.
async fn first_packet(
    dialogue: &mut Dialogue<'_>,
    id: SessionId,
    deadline: Instant,
    context: &LoginContext,
) -> Result<(Greeting, Bytes), LoginFailure> {
    let patience = context.patience(deadline);
    let primary = loop {
        match context.greeting.load_full() {
            Some(primary) => break primary,
            None if Instant::now() < patience => sleep(PAUSE).await,
            None => return Err(LoginFailure::NoPrimary("none has been seen yet".into())),
        }
    };
    let tls = context.encryption.load().tls().is_some();
    let mut greeting = greet(&primary, id, random_nonce()?, tls);
    greeting.capabilities |= primary.capabilities & context.compression;
    let mut payload = Vec::new();
    greeting.put(&mut payload);
    dialogue.write(&payload).await?;
    let payload = dialogue.read_alone().await?;
    Ok((greeting, payload))
}

/// What is known before the client's response is looked into.
#[derive(Clone, Copy)]
struct Begun<'a> {
    greeting: &'a Greeting,
    self_made: Option<[u8; 32]>,
    peer: Option<SocketAddr>,
    deadline: Instant,
}

/// A client that has been told that it is logged in.
struct Welcomed {
    identity: Identity,
    prelude: Prelude,
    capabilities: Capabilities,
    /// How both sides go on.
    compression: Option<Algorithm>,
}

/// Judges the response, and welcomes the client.
async fn respond(
    dialogue: &mut Dialogue<'_>,
    response: Response<'_>,
    begun: Begun<'_>,
    context: &LoginContext,
) -> Result<Welcomed, LoginFailure> {
    let must_encrypt = matches!(**context.encryption.load(), Encryption::Required(_));
    if must_encrypt && !dialogue.is_secure() {
        return Err(LoginFailure::TlsRequired);
    }
    let Begun { greeting, self_made, peer, deadline } = begun;
    let prelude = response.prelude;
    let capabilities = prelude.capabilities & greeting.capabilities;
    let knows_plugins = capabilities.contains(Capabilities::PLUGIN_AUTH);
    let claim = Claim {
        user: response.user,
        from: announced(context.ownership.announces(peer)),
        // A client that knows plugins and names none has answered as the greeting's wants it.
        plugin: response.plugin.or(knows_plugins.then_some(&greeting.plugin)),
        auth_response: response.auth_response,
        change: false,
    };
    let default = Plugin::from_name(&greeting.plugin).unwrap_or(Plugin::NativePassword);
    let revision = context.revision().await;
    let proof = prove(dialogue, context, claim, greeting.nonce, default).await?;
    let wishes = Wishes {
        capabilities,
        collation: prelude.collation,
        max_packet: prelude.max_packet,
        database: response.database,
        attributes: response.attributes,
        tls: dialogue.is_tls(),
        revision,
        host: &host(peer),
        announce: context.ownership.announces(peer),
        patience: context.patience(deadline),
    };
    let Admission { account, status, opened } =
        admit(context, response.user, proof, wishes).await?;
    // A MariaDB client wants a certificate that nobody vouches for to be proven.
    let info = match (self_made, greeting.version.flavour) {
        (Some(fingerprint), Flavour::MariaDb) => {
            prove_certificate(&account, &greeting.nonce, &fingerprint).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    dialogue.welcome(capabilities, status, response.database, &info).await?;
    let identity = Identity {
        account,
        collation: prelude.collation.into(),
        database: response.database.map(<[u8]>::to_vec),
        attributes: response.attributes.to_vec(),
        status,
        revision,
        opened,
    };
    let compression = Algorithm::agreed(capabilities, response.zstd_level);
    Ok(Welcomed { identity, prelude, capabilities, compression })
}

/// How messages name a client's host.
fn host(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "localhost".to_owned(), |peer| peer.ip().to_canonical().to_string())
}

/// The greeting that a primary's becomes when we send it.
fn greet(primary: &Greeting, id: SessionId, nonce: Nonce, tls: bool) -> Greeting {
    let mut greeting = primary.clone();
    greeting.connection_id = id.get();
    greeting.nonce = nonce;
    greeting.capabilities &= SERVED;
    greeting.capabilities.set(Capabilities::SSL, tls);
    let known = Plugin::from_name(&greeting.plugin);
    if !matches!(known, Some(Plugin::NativePassword | Plugin::CachingSha2Password)) {
        let plugin = match greeting.version.flavour {
            Flavour::MySql => Plugin::CachingSha2Password,
            Flavour::MariaDb => Plugin::NativePassword,
        };
        greeting.plugin = plugin.name().to_vec();
    }
    greeting
}

fn random_nonce() -> Result<Nonce, LoginFailure> {
    let mut random = [0; Nonce::LENGTH];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| LoginFailure::Io(std::io::Error::other("no random bytes")))?;
    Ok(Nonce::from_random(random))
}

/// The proof of our own certificate for an account of mysql_native_password that has a password.
fn prove_certificate(account: &Account, nonce: &Nonce, fingerprint: &[u8; 32]) -> Option<Vec<u8>> {
    let credential = account.credential()?;
    let stage1 = credential.secret.native_stage1()?;
    Some(certificate_proof(&native_stage2(&stage1), nonce, fingerprint))
}

/// What a session brings along when its client asks to be somebody else.
#[derive(Debug, Clone, Copy)]
pub struct ChangingSession {
    pub capabilities: Capabilities,
    /// Bytes, as the client announced it.
    pub max_packet: u32,
    /// The login's.
    pub nonce: Nonce,
    pub peer: Option<SocketAddr>,
    /// The sequence number of the next packet to the client; kept up to date.
    pub sequence: u8,
    /// The connection outlives a refusal, which is not told then.
    pub outlives_refusal: bool,
}

/// Serves COM_CHANGE_USER, within the context's time, as a login is served. On failure the client
/// has been told why and the connection must be closed, unless it outlives the
/// [refusal](LoginFailure::is_refusal).
pub async fn change_user(
    stream: &mut PacketStream,
    session: &mut ChangingSession,
    command: &ChangeUser<'_>,
    context: &LoginContext,
) -> Result<Identity, LoginFailure> {
    let deadline = Instant::now() + context.timeout;
    let mut dialogue = Dialogue::new(stream, session.sequence, session.peer.is_none());
    let steps = async {
        let result = change(&mut dialogue, *session, command, deadline, context).await;
        if let Err(failure) = &result
            && !(session.outlives_refusal && failure.is_refusal())
        {
            dialogue.turn_away(failure).await;
        }
        result
    };
    let result = timeout_at(deadline, steps).await.unwrap_or(Err(LoginFailure::TimedOut));
    session.sequence = dialogue.sequence;
    result
}

async fn change(
    dialogue: &mut Dialogue<'_>,
    session: ChangingSession,
    command: &ChangeUser<'_>,
    deadline: Instant,
    context: &LoginContext,
) -> Result<Identity, LoginFailure> {
    let knows_plugins = session.capabilities.contains(Capabilities::PLUGIN_AUTH);
    let claim = Claim {
        user: command.user,
        from: announced(context.ownership.announces(session.peer)),
        plugin: knows_plugins.then_some(command.plugin.unwrap_or_default()),
        auth_response: command.auth_response,
        // Libraries differ in what they put into the command; all of them follow a request.
        change: knows_plugins,
    };
    let default = context
        .greeting
        .load()
        .as_ref()
        .and_then(|greeting| Plugin::from_name(&greeting.plugin))
        .unwrap_or(Plugin::NativePassword);
    let revision = context.revision().await;
    let proof = prove(dialogue, context, claim, session.nonce, default).await?;
    let wishes = Wishes {
        capabilities: session.capabilities,
        collation: command.collation.unwrap_or_default() as u8,
        max_packet: session.max_packet,
        database: command.database,
        attributes: command.attributes,
        tls: dialogue.is_tls(),
        revision,
        host: &host(session.peer),
        announce: context.ownership.announces(session.peer),
        patience: context.patience(deadline),
    };
    let Admission { account, status, opened } = admit(context, command.user, proof, wishes).await?;
    dialogue.welcome(session.capabilities, status, command.database, b"").await?;
    Ok(Identity {
        account,
        collation: command.collation.unwrap_or_default(),
        database: command.database.map(<[u8]>::to_vec),
        attributes: command.attributes.to_vec(),
        status,
        revision,
        opened,
    })
}
