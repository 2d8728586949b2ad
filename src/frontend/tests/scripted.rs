//! A server that says what a test tells it to, and a session in front of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::backend::pools::Pools;
use crate::config::{Balance, Consistency, MaxPerBackend, NoReplica, TokenScope};
use crate::discovery::TopologyStore;
use crate::frontend::accounts::{Accounts, Who};
use crate::frontend::client::Client;
use crate::frontend::context::{Collations, Context, Traffic};
use crate::frontend::limits::Limits;
use crate::frontend::login::{Encryption, LoginContext, Ownership};
use crate::frontend::registry::Registry;
use crate::frontend::scopes::Scopes;
use crate::frontend::session::{End, Session};
use crate::metrics::Metrics;
use crate::monitor::{Abandoned, Samples};
use crate::net::rsa::LazyRsaKey;
use crate::net::stream::Socket;
use crate::net::tls::client::ClientTls;
use crate::net::{PacketStream, Stream};
use crate::routing::topology::{Address, tests::topology};
use crate::routing::{Policy, Rescues, Rules};
use crate::session::accounts::Directory;
use crate::session::statements::Texts;
use crate::session::{Settings, State};
use crate::sql::Dialect;
use crate::sql::cache::{Verdicts, Worker};
use crate::wire::auth::Secret;
use crate::wire::capabilities::Status;
use crate::wire::handshake::Greeting;
use crate::wire::packet::{HEADER, Header, put_packet};
use crate::wire::{Capabilities, ServerVersion};

/// What a scripted server does with a command.
pub enum Say {
    /// These bytes, as they are.
    Bytes(Vec<u8>),
    /// These bytes, and then the connection is closed.
    Die(Vec<u8>),
    /// These bytes, after a while.
    Late(Duration, Vec<u8>),
    /// Nothing, ever.
    Nothing,
}

/// Payloads as one reply, numbered from 1.
pub fn reply(payloads: &[&[u8]]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let mut sequence = 1;
    for payload in payloads {
        sequence = put_packet(&mut out, sequence, payload);
    }
    out.to_vec()
}

pub const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

/// What every connection begins with: no script needs to know it.
const SET_UP: [&[u8]; 2] =
    [b"SET SESSION TRANSACTION READ ONLY", b"SET @@session.session_track_schema=1,"];

type Script = dyn Fn(&[u8]) -> Say + Send + Sync;

/// A listening server; each connection logs in without questions and then follows the script.
pub struct Server {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Connections that came.
    pub connections: Arc<AtomicUsize>,
    /// Those of them that have ended.
    ended: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start(script: impl Fn(&[u8]) -> Say + Send + Sync + 'static) -> Self {
        Self::offering(Capabilities::from_bits_retain(0xDFFF_FFFF), script).await
    }

    /// A server of another version.
    pub async fn offering(
        capabilities: Capabilities,
        script: impl Fn(&[u8]) -> Say + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::default());
        let (connections, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let script: Arc<Script> = Arc::new(script);
        let (log, count, done) = (heard.clone(), connections.clone(), ended.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (script, log, done) = (script.clone(), log.clone(), done.clone());
                tokio::spawn(async move {
                    serve(stream, capabilities, script, log).await;
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Server { address, heard, connections, ended }
    }

    /// A server that lets nobody in.
    pub async fn refusing() -> Self {
        let server = Self::start(|_| Say::Nothing).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let denied = b"\xFF\x15\x04#28000Access denied for user 'app'";
                let mut out = BytesMut::new();
                put_packet(&mut out, 0, denied);
                let _ = stream.write_all(&out).await;
            }
        });
        Server { address, ..server }
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.connections.load(Ordering::SeqCst) - self.ended.load(Ordering::SeqCst)
    }

    /// The statements that arrived, in order.
    pub fn heard(&self) -> Vec<String> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        self.heard_bytes().into_iter().map(text).collect()
    }

    /// What stood behind the first byte of the commands that arrived, in order.
    pub fn heard_bytes(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    capabilities: Capabilities,
    script: Arc<Script>,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
) {
    let greeting = Greeting {
        version: ServerVersion::parse("9.7.4"),
        connection_id: 7,
        nonce: [1; 20].into(),
        capabilities,
        collation: 255,
        status: Status::AUTOCOMMIT,
        plugin: b"caching_sha2_password".to_vec(),
    };
    let mut payload = BytesMut::new();
    greeting.put(&mut payload);
    let mut out = BytesMut::new();
    put_packet(&mut out, 0, &payload);
    let _ = stream.write_all(&out).await;
    let Some(_response) = read_packet(&mut stream).await else { return };
    let mut out = BytesMut::new();
    put_packet(&mut out, 2, OK);
    let _ = stream.write_all(&out).await;
    while let Some(command) = read_packet(&mut stream).await {
        if SET_UP.iter().any(|text| command[1..].starts_with(text)) {
            let _ = stream.write_all(&reply(&[OK])).await;
            continue;
        }
        heard.lock().unwrap().push(command[1..].to_vec());
        match script(&command) {
            Say::Bytes(bytes) => {
                let _ = stream.write_all(&bytes).await;
            }
            Say::Die(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Say::Late(pause, bytes) => {
                tokio::time::sleep(pause).await;
                let _ = stream.write_all(&bytes).await;
            }
            Say::Nothing => std::future::pending().await,
        }
    }
}

/// The next packet's payload; `None` at the end of the stream.
pub async fn read_packet(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await.ok()?;
    let mut payload = vec![0; Header::peek(&header)?.length];
    stream.read_exact(&mut payload).await.ok()?;
    Some(payload)
}

/// A client's socket, with a session behind it whose servers are the given ones: the first is the
/// primary, the others replicas.
pub struct Front {
    pub client: TcpStream,
    pub context: Arc<Context>,
    pub ended: tokio::task::JoinHandle<End>,
}

impl Front {
    pub async fn new(servers: &[&Server]) -> Self {
        Self::enter(Self::context(servers, Ownership::Shared)).await
    }

    /// What sessions in front of these servers share.
    pub fn context(servers: &[&Server], ownership: Ownership) -> Arc<Context> {
        let mut topology = topology(servers.len() - 1);
        for (backend, server) in topology.backends.iter_mut().zip(servers) {
            backend.address = Some(Address::Ip(server.address));
        }
        let seconds = Duration::from_secs;
        let store = Arc::new(TopologyStore::new(topology));
        let (_, directory) = tokio::sync::watch::channel(Arc::new(Directory::unread()));
        let users = [(b"app".to_vec(), Secret::from_password("app"))];
        let mut login = LoginContext::new(
            Accounts::new(users, true, directory, Arc::default()),
            Encryption::Disabled,
            LazyRsaKey::default(),
            ClientTls::Disabled,
            store.clone(),
            Arc::default(),
            seconds(1),
        );
        login.ownership = ownership;
        Arc::new(Context {
            topology: store,
            metrics: Arc::new(Metrics::new(&[])),
            limits: Limits::new(),
            dialect: ArcSwap::from_pointee(Dialect { version: 90704, ..Dialect::default() }),
            login,
            pools: Arc::new(Pools::new(MaxPerBackend::Fixed(4), Arc::new(Metrics::new(&[])))),
            registry: Arc::new(Registry::new()),
            backend_tls: ClientTls::Disabled,
            traffic: ArcSwap::from_pointee(Traffic {
                policy: Policy { no_replica: NoReplica::Primary, ..Policy::default() },
                rules: Rules::default(),
                balance: Balance::RoundRobin,
                spills: None,
                consistency: Consistency::Session,
                token_scope: TokenScope::Session,
                monotonic: true,
                max_lag: seconds(2),
                lease_timeout: seconds(1),
                write_hold: Duration::from_millis(300),
                connect_timeout: seconds(1),
                slow: None,
                statement_timeout: None,
                idle_timeout: None,
                max_connections: 10,
                per_user_connections: None,
                per_address_connections: None,
                proxies: Arc::default(),
            }),
            collations: ArcSwap::from_pointee(Collations::default()),
            texts: Texts::default(),
            opinions: Worker::start(Arc::new(Verdicts::new(16, 1)), 4).unwrap(),
            samples: Samples::default(),
            abandoned: Abandoned::default(),
            scopes: Scopes::default(),
            rescues: Rescues::new(std::time::Instant::now()),
            tickets: AtomicU64::new(0),
        })
    }

    /// One more session.
    pub async fn enter(context: Arc<Context>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let registration = context.registry.register(None);
        let known = context.login.accounts.known(Who { user: b"app", from: None }).unwrap();
        let dialect = **context.dialect.load();
        let mut session = Session::new(
            Client::new(
                PacketStream::new(Stream::Plain(Socket::Tcp(socket))),
                registration.handle.clone(),
                Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF,
            ),
            context.clone(),
            (known.account, known.credential),
            State::new(Settings::at_login(None, 255, true), Status::AUTOCOMMIT),
            dialect,
            registration,
        );
        Front { client, context, ended: tokio::spawn(async move { session.run().await }) }
    }

    pub async fn send(&mut self, command: u8, text: &str) {
        self.send_bytes(command, text.as_bytes()).await;
    }

    pub async fn send_bytes(&mut self, command: u8, arguments: &[u8]) {
        let payload = [&[command], arguments].concat();
        let mut out = BytesMut::new();
        put_packet(&mut out, 0, &payload);
        self.client.write_all(&out).await.unwrap();
    }

    pub async fn query(&mut self, text: &str) -> Option<Vec<u8>> {
        self.send(3, text).await;
        self.packet().await
    }

    /// The next packet's payload from the session, within a second.
    pub async fn packet(&mut self) -> Option<Vec<u8>> {
        tokio::time::timeout(Duration::from_secs(2), read_packet(&mut self.client))
            .await
            .expect("the session answers or closes")
    }
}
