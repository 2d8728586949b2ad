//! From a listening socket to sessions.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::client::Client;
use super::context::{Context, Traffic};
use super::limits::{Full, Place};
use super::login::{Identity, LoggedIn, LoginFailure, Ownership, login};
use super::session::{End, Session};
use crate::backend::Connection;
use crate::backend::connection::Access;
use crate::metrics::Refusal;
use crate::net::stream::Socket;
use crate::net::{Listener, PacketStream, proxy_header};
use crate::session::tracking::TransactionState;
use crate::session::{Names, Settings, State};
use crate::wire::capabilities::Status;
use crate::wire::login::attribute;
use crate::wire::packet::put_packet;
use crate::wire::proxy_header::Source;
use crate::wire::reply::{ServerError, put_err};

/// How long to rest when the process has no file descriptors left, or the like.
const REST: Duration = Duration::from_millis(100);
/// How long a client that is turned away may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes of a first command that may come before a client is turned away.
const FIRST_COMMAND: usize = 64 * 1024;

/// Accepts clients for ever; each becomes a task. Cancel safe.
pub async fn accept(listener: Listener, context: Arc<Context>) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                tokio::spawn(serve(socket, peer, context.clone()));
            }
            // The client gave up before it was accepted.
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "clients cannot be accepted now");
                sleep(REST).await;
            }
        }
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
    )
}

/// A client's places among all, among those of its address, and among those of its account.
type Places = (Place<()>, Option<Place<IpAddr>>, Place<Arc<[u8]>>);

/// A client that was let in.
struct Guest {
    session: Session,
    /// Given up behind the session.
    _places: Places,
}

async fn serve(socket: Socket, peer: Option<SocketAddr>, context: Arc<Context>) {
    // Boxed: what the way in needs is not kept for as long as the session.
    let Some(mut guest) = Box::pin(let_in(socket, peer, &context)).await else {
        return;
    };
    let id = guest.session.id();
    context.metrics.sessions.current.increment();
    // If the task panics the gauge stays one too high, and the panic is in the log.
    let end = guest.session.run().await;
    drop(guest);
    context.metrics.sessions.current.decrement();
    if let Some(kind) = end.label() {
        context.metrics.errors.increment(kind);
    }
    match end {
        End::Quit
        | End::Streamed
        | End::Released
        | End::Client(_)
        | End::Drained
        | End::Idle
        | End::WaitTimeout
        | End::ByServer(_)
        | End::Killed => {
            tracing::debug!(%id, ?end, "a session ended");
        }
        End::BackendLost | End::Protocol(_) | End::Refused(_) => {
            tracing::info!(%id, ?end, "a session was ended");
        }
    }
}

/// Lets a client in that there is room for and that proves who it is. `None`: it has been turned
/// away, and told why.
async fn let_in(
    mut socket: Socket,
    peer: Option<SocketAddr>,
    context: &Arc<Context>,
) -> Option<Guest> {
    let deadline = Instant::now() + context.login.timeout;
    let traffic = context.traffic.load_full();
    let place = match context.limits.admit(traffic.max_connections) {
        Ok(place) => place,
        Err(full) => {
            turn_away(socket, full, context).await;
            return None;
        }
    };
    let peer = match behind_proxies(&mut socket, peer, &traffic, deadline).await {
        Ok(peer) => peer,
        Err(failure) => {
            context.metrics.sessions.login_failures.increment(failure.label());
            tracing::debug!(?peer, %failure, "a client is not let in");
            return None;
        }
    };
    let address = peer.map(|peer| peer.ip());
    let place_of_address =
        match context.limits.admit_address(address, traffic.per_address_connections) {
            Ok(place) => place,
            Err(full) => {
                turn_away(socket, full, context).await;
                return None;
            }
        };
    let registration = context.registry.register(peer);
    let id = registration.handle.id;
    let logged_in = match login(socket, peer, id, deadline, &context.login).await {
        Ok(logged_in) => logged_in,
        Err(failure) => {
            context.metrics.sessions.login_failures.increment(failure.label());
            tracing::debug!(%id, ?peer, %failure, "a login failed");
            return None;
        }
    };
    let user = logged_in.identity.account.user.clone();
    let Some(place_of_user) = context.limits.admit_user(user.clone(), traffic.per_user_connections)
    else {
        context.metrics.sessions.refused.increment(Refusal::PerUser);
        turn_away_user(logged_in.stream, &user).await;
        return None;
    };
    context.metrics.sessions.opened.increment();
    let session = begin(logged_in, context.clone(), registration)?;
    Some(Guest { session, _places: (place, place_of_address, place_of_user) })
}

/// The client's own address, which a proxy in front of us says where it may and then must:
/// whether it does is never guessed, for then a client could say it, too.
async fn behind_proxies(
    socket: &mut Socket,
    peer: Option<SocketAddr>,
    traffic: &Traffic,
    deadline: Instant,
) -> Result<Option<SocketAddr>, LoginFailure> {
    let is_proxy =
        |peer: SocketAddr| traffic.proxies.iter().any(|network| network.contains(&peer.ip()));
    if !peer.is_some_and(is_proxy) {
        return Ok(peer);
    }
    match timeout_at(deadline, proxy_header::read(socket)).await {
        Ok(Ok(Source::Client(client))) => Ok(Some(client)),
        Ok(Ok(Source::Connection)) => Ok(peer),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(LoginFailure::TimedOut),
    }
}

/// Tells a client that there is no room, in place of a greeting.
async fn turn_away(mut socket: Socket, full: Full, context: &Context) {
    context.metrics.sessions.refused.increment(match full {
        Full::Total => Refusal::MaxConnections,
        Full::Address => Refusal::PerAddress,
    });
    let error = match full {
        Full::Total => ServerError::new(1040, b"08004", "Too many connections"),
        Full::Address => ServerError::new(
            1040,
            b"08004",
            "Too many connections from this address (rwproxy: per_address_connections)",
        ),
    };
    let mut payload = Vec::new();
    put_err(&mut payload, &error.as_packet());
    let mut out = BytesMut::new();
    put_packet(&mut out, 0, &payload);
    // Whether it still listens does not matter.
    let _ = timeout(FAREWELL, socket.write_all(&out)).await;
}

/// Tells a client that its user has too many connections. The OK of its login is out already: the
/// error answers its first command.
async fn turn_away_user(mut stream: PacketStream, user: &[u8]) {
    // ER_TOO_MANY_USER_CONNECTIONS.
    let error = ServerError::new(
        1203,
        b"42000",
        format!(
            "User {} already has more than 'max_user_connections' active connections (rwproxy: \
             per_user_connections)",
            String::from_utf8_lossy(user)
        ),
    );
    let mut payload = Vec::new();
    put_err(&mut payload, &error.as_packet());
    let answered = async {
        if let Ok(command) = stream.read_packet(FIRST_COMMAND, Some(0)).await {
            let _ = stream.write_packet(command.sequence.wrapping_add(1), &payload).await;
        }
    };
    let _ = timeout(FAREWELL, answered).await;
}

fn begin(
    logged_in: LoggedIn,
    context: Arc<Context>,
    registration: super::registry::Registration,
) -> Option<Session> {
    let LoggedIn { stream, identity, capabilities, max_packet, nonce } = logged_in;
    let client = Client::new(stream, registration.handle.clone(), capabilities);
    let credential = identity.account.credential()?;
    let account = identity.account.clone();
    let state = state_of(&identity);
    let dialect = **context.dialect.load();
    let mut session =
        Session::new(client, context, (account, credential), state, dialect, registration);
    session.nonce = nonce;
    session.max_packet = max_packet;
    session.begin_as(identity);
    Some(session)
}

fn state_of(identity: &Identity) -> State {
    let database = identity.database.as_deref().filter(|name| !name.is_empty());
    let autocommit = identity.status.contains(Status::AUTOCOMMIT);
    let settings = Settings::at_login(database.map(Into::into), identity.collation, autocommit);
    State::new(settings, identity.status)
}

impl Session {
    /// Begins as this identity, and takes over the connection that its login has opened.
    pub(super) fn begin_as(&mut self, identity: Identity) {
        let state = state_of(&identity);
        let Identity { account, opened, database, attributes, revision, .. } = identity;
        self.application = attribute(&attributes, b"program_name").map(Into::into);
        self.attributes = match self.context.login.ownership {
            Ownership::Shared => Vec::new(),
            Ownership::Session { .. } => attributes,
        };
        let credential = account.credential().unwrap_or_else(|| self.credential.clone());
        self.client.handle.set_profile(|profile| {
            profile.user = String::from_utf8_lossy(&account.user).into_owned();
            profile.database =
                database.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        });
        let settings = state.settings().clone();
        self.become_user(account, credential, revision, state);
        self.client.transaction = TransactionState::default();
        self.publish_state();
        let Some(opened) = opened else { return };
        let topology = self.context.topology.load();
        let Some(backend) = topology.backend(opened.backend) else { return };
        if opened.credential.generation != self.credential.generation
            || !opened.connected.looks_alike(self.client.capabilities)
        {
            return;
        }
        let mut present = settings.clone();
        if let Names::Collation(id) = &mut present.names {
            // A login has room for the low byte only.
            *id &= 0xFF;
        }
        let mut connection = Connection::new(opened.connected, Access::ReadWrite, present);
        let id = self.client.handle.id;
        if matches!(settings.names, Names::Collation(id) if id <= u8::MAX.into()) {
            connection.settle(id, self.state.version(), &settings);
        }
        self.places.note(backend.id, connection.number);
        if let Some(lease) = self.context.pools.of(backend).adopt(connection) {
            self.put_away(lease);
        }
    }
}
