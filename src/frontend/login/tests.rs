//! A client (our own side towards servers) logs in to a proxy whose primary is played by the same
//! code with listed users.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::backend::{ConnectError, Connected, Credential, LoginOptions, connect};
use crate::discovery::TopologyStore;
use crate::metrics::Label;
use crate::net::tls::server::Identity as TlsIdentity;
use crate::routing::Topology;
use crate::routing::topology::{Address, Backend, BackendId, Role, Writes};
use crate::session::accounts::{AccountRow, Directory};
use crate::wire::ServerVersion;
use crate::wire::auth::{CACHING_SHA2_PASSWORD, NATIVE_PASSWORD, Secret};
use crate::wire::login::to_server::{LoginToServer, Step};
use crate::wire::reply::ErrPacket;

const MYSQL: &str = "9.7.4";
const MARIADB: &str = "5.5.5-10.11.18-MariaDB";
/// `SELECT PASSWORD('secret')`.
const SECRET_HASH: &[u8] = b"*14E65567ABDB5135D0CFD9A70B3032C179A49EE7";

fn greeting(version: &str) -> Greeting {
    let version = ServerVersion::parse(version);
    let (plugin, flag) = match version.flavour {
        Flavour::MySql => (CACHING_SHA2_PASSWORD, Capabilities::MYSQL),
        Flavour::MariaDb => (NATIVE_PASSWORD, Capabilities::MARIADB_EXTENDED_METADATA),
    };
    Greeting {
        version,
        connection_id: 7,
        nonce: Nonce::from_random([9; 20]),
        capabilities: (SERVED - Capabilities::MYSQL) | flag | Capabilities::COMPRESS,
        collation: 45,
        status: Status::AUTOCOMMIT,
        plugin: plugin.to_vec(),
    }
}

fn topology(primary: Option<SocketAddr>) -> Topology {
    let mut topology = Topology::empty();
    if let Some(address) = primary {
        topology.backends.push(Backend {
            address: Some(Address::Ip(address)),
            role: Role::Primary,
            reads: Ok(()),
            ..Backend::new(BackendId(3), "primary")
        });
        topology.writes = Writes::To(0);
    }
    topology
}

/// A server of logins on a loopback port.
struct Server {
    address: SocketAddr,
    context: Arc<LoginContext>,
    logins: mpsc::UnboundedReceiver<Result<LoggedIn, LoginFailure>>,
    directory: watch::Sender<Arc<Directory>>,
}

impl Server {
    /// With a primary it asks that, without one only listed users get in.
    async fn start(
        version: &str,
        users: &[(&str, &str)],
        encryption: Encryption,
        primary: Option<SocketAddr>,
    ) -> Server {
        Self::start_as(version, users, encryption, primary, Ownership::Shared).await
    }

    async fn start_as(
        version: &str,
        users: &[(&str, &str)],
        encryption: Encryption,
        primary: Option<SocketAddr>,
        ownership: Ownership,
    ) -> Server {
        let (directory, readings) = watch::channel(Arc::new(Directory::unread()));
        let users = users
            .iter()
            .map(|(user, password)| (user.as_bytes().to_vec(), Secret::from_password(*password)));
        let accounts = Accounts::new(users, primary.is_none(), readings, Arc::default());
        let mut context = LoginContext::new(
            accounts,
            encryption,
            LazyRsaKey::default(),
            ClientTls::Disabled,
            Arc::new(TopologyStore::new(topology(primary))),
            Arc::new(ArcSwapOption::from_pointee(greeting(version))),
            Duration::from_secs(5),
        );
        context.ownership = ownership;
        let context = Arc::new(context);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, logins) = mpsc::unbounded_channel();
        let shared = context.clone();
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let (context, sender) = (shared.clone(), sender.clone());
                tokio::spawn(async move {
                    let socket = Socket::Tcp(stream);
                    let id = SessionId::numbered(7);
                    let deadline = Instant::now() + context.timeout;
                    let result = login(socket, Some(peer), id, deadline, &context).await;
                    // The receiver is gone when the test is over.
                    let _ = sender.send(result);
                });
            }
        });
        Server { address, context, logins, directory }
    }

    /// A reading that answers whoever asks for one from now on.
    fn read_accounts(&self, rows: &[(&str, AccountRow)]) {
        let reading = self.context.accounts.directory().reading() + 1;
        let rows = rows.iter().map(|(user, row)| (user.as_bytes().to_vec(), row.clone()));
        let directory = Directory::new(reading, rows).answering(u64::MAX);
        self.directory.send_replace(Arc::new(directory));
    }

    async fn outcome(&mut self) -> Result<LoggedIn, LoginFailure> {
        self.logins.recv().await.unwrap()
    }
}

fn row(plugin: &[u8], authentication: &[u8]) -> AccountRow {
    AccountRow {
        host: b"%".to_vec(),
        plugin: plugin.to_vec(),
        authentication: authentication.to_vec(),
        locked: false,
        password_expired: false,
        requires_tls: false,
        rights: 0,
    }
}

fn tls() -> Arc<ServerTls> {
    Arc::new(ServerTls::new(TlsIdentity::self_made(None).unwrap()))
}

/// How a test's client logs in.
#[derive(Clone)]
struct As<'a> {
    user: &'a str,
    secret: Secret,
    tls: ClientTls,
    database: Option<&'a str>,
    capabilities: Capabilities,
}

fn user(user: &str, password: &str) -> As<'static> {
    As {
        user: user.to_owned().leak(),
        secret: Secret::from_password(password),
        tls: ClientTls::Disabled,
        database: None,
        capabilities: Capabilities::SESSION_TRACK,
    }
}

impl As<'_> {
    fn encrypted(mut self) -> Self {
        self.tls = ClientTls::preferred().unwrap();
        self
    }

    async fn log_in(self, server: &Server) -> Result<Connected, ConnectError> {
        let options = LoginOptions {
            credential: &Credential::new(self.user, self.secret),
            capabilities: self.capabilities,
            collation: 45,
            max_packet: 1 << 24,
            database: self.database.map(str::as_bytes),
            attributes: b"\x04_pid\x011",
            announce: None,
            tls: &self.tls,
            deadline: Instant::now() + Duration::from_secs(5),
        };
        connect(&Address::Ip(server.address), &options).await
    }
}

fn refusal(result: Result<Connected, ConnectError>) -> String {
    match result {
        Err(ConnectError::Refused(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn listed_users_by_every_exchange() {
    for version in [MYSQL, MARIADB] {
        let users = [("app", "secret"), ("nopw", "")];
        let mut server = Server::start(version, &users, Encryption::Preferred(tls()), None).await;
        for encrypted in [false, true] {
            let client = |name, password| {
                let client = user(name, password);
                if encrypted { client.encrypted() } else { client }
            };
            for (name, password) in users {
                let connected = client(name, password).log_in(&server).await.unwrap();
                assert_eq!(connected.greeting.connection_id, (1 << 30) + 7);
                assert!(!connected.greeting.capabilities.contains(Capabilities::COMPRESS));
                let login = server.outcome().await.unwrap();
                assert_eq!(&*login.identity.account.user, name.as_bytes());
                assert_eq!(login.stream.stream().is_tls(), encrypted);
                assert_eq!(login.identity.attributes, b"\x04_pid\x011");
                assert_eq!((login.identity.collation, login.max_packet), (45, 1 << 24));
                // That flag a client of MariaDB sets by what it wants, not by what is offered.
                let flag = Capabilities::MYSQL;
                assert_eq!(login.capabilities - flag, connected.capabilities - flag);
            }
            for (name, password, using) in [
                ("app", "wrong", "YES"),
                ("app", "", "NO"),
                ("nobody", "x", "YES"),
                ("nobody", "", "NO"),
            ] {
                let error = refusal(client(name, password).log_in(&server).await);
                let wanted = format!(
                    "ERROR 1045 (28000): Access denied for user '{name}'@'127.0.0.1' (using \
                     password: {using})"
                );
                assert_eq!(error, wanted);
                assert_eq!(server.outcome().await.unwrap_err().label().name(), "access_denied");
            }
        }
    }
}

/// A proxy in front of a primary; both have these users' passwords, the proxy from nobody.
async fn pair(version: &str, users: &[(&str, &str)]) -> (Server, Server) {
    let primary = Server::start(version, users, Encryption::Disabled, None).await;
    let encryption = Encryption::Preferred(tls());
    let proxy = Server::start(version, &[], encryption, Some(primary.address)).await;
    (proxy, primary)
}

#[tokio::test]
async fn the_first_login_asks_the_primary_and_the_next_does_not() {
    for encrypted in [false, true] {
        let (mut proxy, mut primary) = pair(MYSQL, &[("app", "secret")]).await;
        proxy.read_accounts(&[("app", row(CACHING_SHA2_PASSWORD, b"$A$005$"))]);
        let client = || {
            let client = user("app", "secret");
            if encrypted { client.encrypted() } else { client }
        };
        client().log_in(&proxy).await.unwrap();
        let first = proxy.outcome().await.unwrap();
        let opened = first.identity.opened.unwrap();
        assert_eq!(opened.backend, BackendId(3));
        assert_eq!(opened.credential, first.identity.account.credential().unwrap());
        primary.outcome().await.unwrap();

        client().log_in(&proxy).await.unwrap();
        let second = proxy.outcome().await.unwrap();
        assert!(second.identity.opened.is_none());
        assert!(Arc::ptr_eq(&first.identity.account, &second.identity.account));
        assert!(primary.logins.try_recv().is_err());

        let error = refusal(user("app", "wrong").encrypted().log_in(&proxy).await);
        assert!(error.starts_with("ERROR 1045"), "{error}");
        primary.outcome().await.unwrap_err();
        // The right one is still remembered.
        proxy.outcome().await.unwrap_err();
        client().log_in(&proxy).await.unwrap();
        assert!(proxy.outcome().await.unwrap().identity.opened.is_none());
    }
}

#[tokio::test]
async fn a_native_account_needs_nothing_but_its_hash() {
    let (mut proxy, mut primary) = pair(MARIADB, &[("app", "secret")]).await;
    let other = b"*0000000000000000000000000000000000000000";
    proxy.read_accounts(&[("app", row(b"", other)), ("app", row(NATIVE_PASSWORD, SECRET_HASH))]);
    user("app", "secret").log_in(&proxy).await.unwrap();
    let login = proxy.outcome().await.unwrap();
    let credential = login.identity.account.credential().unwrap();
    assert!(matches!(credential.secret, Secret::NativeStage1(_)));
    primary.outcome().await.unwrap();

    let error = refusal(user("app", "wrong").log_in(&proxy).await);
    assert_eq!(
        error,
        "ERROR 1045 (28000): Access denied for user 'app'@'127.0.0.1' (using password: YES)"
    );
    // The primary was let say so, once.
    primary.outcome().await.unwrap_err();
    assert!(primary.logins.try_recv().is_err());
    let unknown = refusal(user("nobody", "wrong").log_in(&proxy).await);
    assert_eq!(unknown, error.replace("app", "nobody"));
}

#[tokio::test]
async fn a_hash_that_was_set_a_moment_ago_counts() {
    let (proxy, _primary) = pair(MARIADB, &[("app", "secret")]).await;
    proxy.directory.send_replace(Arc::new(Directory::new(1, [])));
    let read = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.read_accounts(&[("app", row(NATIVE_PASSWORD, SECRET_HASH))]);
    };
    let (connected, ()) = tokio::join!(user("app", "secret").log_in(&proxy), read);
    connected.unwrap();
}

#[tokio::test]
async fn without_a_reading_of_the_accounts_the_password_itself_is_asked_for() {
    let (mut proxy, mut primary) = pair(MARIADB, &[("app", "secret")]).await;
    user("app", "secret").encrypted().log_in(&proxy).await.unwrap();
    let login = proxy.outcome().await.unwrap();
    let credential = login.identity.account.credential().unwrap();
    assert_eq!(credential.secret, Secret::from_password("secret"));
    primary.outcome().await.unwrap();
}

#[tokio::test]
async fn a_primary_that_is_gone_keeps_only_strangers_out() {
    let (mut proxy, primary) = pair(MYSQL, &[("app", "secret")]).await;
    user("app", "secret").encrypted().log_in(&proxy).await.unwrap();
    proxy.outcome().await.unwrap();
    drop(primary);
    proxy.context.topology.publish(topology(None));
    let client = As { database: Some("shop"), ..user("app", "secret") };
    client.log_in(&proxy).await.unwrap();
    let login = proxy.outcome().await.unwrap();
    assert_eq!(login.identity.database.as_deref(), Some(&b"shop"[..]));
    assert!(login.identity.opened.is_none());
    let error = refusal(user("other", "secret").encrypted().log_in(&proxy).await);
    assert!(error.starts_with("ERROR 2003 (08S01)"), "{error}");
}

#[tokio::test]
async fn a_stranger_waits_for_a_primary() {
    let (mut proxy, primary) = pair(MYSQL, &[("app", "secret")]).await;
    proxy.context.topology.publish(topology(None));
    let greeting = proxy.context.greeting.swap(None);
    proxy.context.write_hold.store(Arc::new(proxy.context.timeout));
    let context = proxy.context.clone();
    let appears = async move {
        context.greeting.store(greeting);
        sleep(2 * PAUSE).await;
        context.topology.publish(topology(Some(primary.address)));
        primary
    };
    let login = user("app", "secret").encrypted().log_in(&proxy);
    let (_primary, welcome) = tokio::join!(appears, login);
    welcome.unwrap();
    assert!(proxy.outcome().await.unwrap().identity.opened.is_some());
}

#[tokio::test]
async fn a_new_database_is_asked_for_and_told() {
    let (mut proxy, mut primary) = pair(MYSQL, &[("app", "secret")]).await;
    user("app", "secret").encrypted().log_in(&proxy).await.unwrap();
    proxy.outcome().await.unwrap();
    primary.outcome().await.unwrap();
    for asked in [true, false] {
        let client = As { database: Some("shop"), ..user("app", "secret") };
        let connected = client.log_in(&proxy).await.unwrap();
        let changes: Vec<_> = connected.ok.packet().changes().map(Result::unwrap).collect();
        assert_eq!(changes, [crate::wire::reply::StateChange::Schema(b"shop")]);
        assert_eq!(proxy.outcome().await.unwrap().identity.opened.is_some(), asked);
        assert_eq!(primary.logins.try_recv().is_ok(), asked);
    }
}

#[tokio::test]
async fn after_a_change_the_primary_is_asked_again() {
    let (mut proxy, mut primary) = pair(MARIADB, &[("app", "secret")]).await;
    let app = row(NATIVE_PASSWORD, SECRET_HASH);
    proxy.read_accounts(&[("app", app.clone())]);
    let context = proxy.context.clone();
    let accounts = &context.accounts;
    let mut revision = 0;
    for asked in [true, false, true, false] {
        if asked {
            drop(accounts.revisions.begin());
            // Its request is answered at once.
            let number = accounts.revisions.current();
            let rows = [(b"app".to_vec(), app.clone())];
            accounts.follow(&Directory::new(9, rows).answering(number), |_| {});
        }
        user("app", "secret").log_in(&proxy).await.unwrap();
        let login = proxy.outcome().await.unwrap();
        assert_eq!(login.identity.opened.is_some(), asked);
        assert_eq!(login.identity.revision > revision, asked);
        assert_eq!(primary.logins.try_recv().is_ok(), asked);
        revision = login.identity.revision;
    }
}

#[tokio::test]
async fn a_changed_account_must_prove_itself_anew() {
    let (mut proxy, mut primary) = pair(MYSQL, &[("app", "secret")]).await;
    let before = row(CACHING_SHA2_PASSWORD, b"$A$005$one");
    proxy.read_accounts(&[("app", before.clone())]);
    let follower = proxy.context.clone();
    let (sender, mut changes) = mpsc::unbounded_channel();
    let mut readings = proxy.directory.subscribe();
    tokio::spawn(async move {
        while readings.changed().await.is_ok() {
            let directory = readings.borrow_and_update().clone();
            follower.accounts.follow(&directory, |changed| sender.send(changed.clone()).unwrap());
        }
    });
    user("app", "secret").encrypted().log_in(&proxy).await.unwrap();
    let login = proxy.outcome().await.unwrap();
    let first = login.identity.account.credential().unwrap().generation;
    primary.outcome().await.unwrap();

    // Other rights: the secret stays good, connections are of a new generation.
    proxy.read_accounts(&[("app", AccountRow { rights: 1, ..before.clone() })]);
    let changed = changes.recv().await.unwrap();
    assert_eq!((&*changed.user, changed.generation > first), (&b"app"[..], true));
    user("app", "secret").log_in(&proxy).await.unwrap();
    assert!(proxy.outcome().await.unwrap().identity.opened.is_none());

    // Another hash: the primary is asked again.
    proxy.read_accounts(&[("app", row(CACHING_SHA2_PASSWORD, b"$A$005$two"))]);
    changes.recv().await.unwrap();
    user("app", "secret").encrypted().log_in(&proxy).await.unwrap();
    assert!(proxy.outcome().await.unwrap().identity.opened.is_some());
    primary.outcome().await.unwrap();
    let renewed = login.identity.account.credential().unwrap().generation;
    assert!(renewed >= changed.generation);
}

#[tokio::test]
async fn a_refused_secret_is_not_tried_again() {
    let (mut proxy, primary) = pair(MARIADB, &[("app", "secret")]).await;
    proxy.read_accounts(&[("app", row(NATIVE_PASSWORD, SECRET_HASH))]);
    user("app", "secret").log_in(&proxy).await.unwrap();
    let login = proxy.outcome().await.unwrap();
    let other = (b"app".to_vec(), Secret::from_password("changed"));
    primary.context.accounts.list([other]);
    let client = As { database: Some("shop"), ..user("app", "secret") };
    let error = refusal(client.log_in(&proxy).await);
    assert!(error.starts_with("ERROR 1045"), "{error}");
    assert!(login.identity.account.credential().is_none());
}

#[tokio::test]
async fn an_account_that_requires_tls_is_kept_to_it() {
    let (mut proxy, _primary) = pair(MARIADB, &[("app", "secret")]).await;
    let row = AccountRow { requires_tls: true, ..row(NATIVE_PASSWORD, SECRET_HASH) };
    proxy.read_accounts(&[("app", row)]);
    for _ in 0..2 {
        let error = refusal(user("app", "secret").log_in(&proxy).await);
        assert!(error.starts_with("ERROR 1045"), "{error}");
        user("app", "secret").encrypted().log_in(&proxy).await.unwrap();
    }
    proxy.outcome().await.unwrap_err();
}

#[tokio::test]
async fn a_listener_that_requires_tls_says_so() {
    let users = [("app", "secret")];
    let required = Encryption::Required(tls());
    let server = Server::start(MYSQL, &users, required, None).await;
    let error = refusal(user("app", "secret").log_in(&server).await);
    assert!(error.starts_with("ERROR 3159"), "{error}");
    user("app", "secret").encrypted().log_in(&server).await.unwrap();
    let disabled = Server::start(MYSQL, &users, Encryption::Disabled, None).await;
    let connected = user("app", "secret").encrypted().log_in(&disabled).await.unwrap();
    assert!(!connected.stream.stream().is_tls());
}

#[tokio::test]
async fn a_plugin_out_of_reach_is_named() {
    let (proxy, _primary) = pair(MARIADB, &[]).await;
    for (plugin, advice) in [("gssapi", "Use an account"), ("ed25519", "[[auth.users]]")] {
        proxy.read_accounts(&[("app", row(plugin.as_bytes(), b""))]);
        let error = refusal(user("app", "secret").log_in(&proxy).await);
        assert!(error.starts_with("ERROR 1524"), "{error}");
        assert!(error.contains(plugin) && error.contains(advice), "{error}");
    }
}

#[tokio::test]
async fn before_a_primary_was_seen_there_is_no_greeting() {
    let mut server = Server::start(MYSQL, &[("app", "x")], Encryption::Disabled, None).await;
    server.context.greeting.store(None);
    let error = refusal(user("app", "x").log_in(&server).await);
    assert!(error.starts_with("ERROR 2003 (08S01)"), "{error}");
    assert_eq!(server.outcome().await.unwrap_err().label().name(), "backend");
}

#[tokio::test]
async fn the_proof_of_a_self_made_certificate() {
    let users = [("app", "secret")];
    for (version, proven) in [(MARIADB, true), (MYSQL, false)] {
        let tls = tls();
        let fingerprint = tls.identity().self_made.unwrap();
        let server = Server::start(version, &users, Encryption::Preferred(tls), None).await;
        let connected = user("app", "secret").encrypted().log_in(&server).await.unwrap();
        let hash = crate::wire::auth::parse_native_hash(SECRET_HASH).unwrap();
        let expected = certificate_proof(&hash, &connected.greeting.nonce, &fingerprint);
        assert_eq!(connected.ok.packet().info == expected, proven);
        let plain = user("app", "secret").log_in(&server).await.unwrap();
        assert!(plain.ok.packet().info.is_empty());
    }
}

#[tokio::test]
async fn changing_the_user_asks_the_client() {
    for version in [MYSQL, MARIADB] {
        let users = [("app", "secret"), ("other", "changed")];
        let mut server = Server::start(version, &users, Encryption::Disabled, None).await;
        let mut client = user("app", "secret").log_in(&server).await.unwrap();
        let mut login = server.outcome().await.unwrap();
        let command = ChangeUser {
            user: b"other",
            auth_response: b"",
            database: Some(b"shop"),
            collation: Some(309),
            plugin: Some(b"some_plugin"),
            attributes: b"",
        };
        let mut session = ChangingSession {
            capabilities: login.capabilities,
            max_packet: login.max_packet,
            nonce: login.nonce,
            peer: Some(([127, 0, 0, 1], 40_000).into()),
            sequence: 1,
            outlives_refusal: false,
        };
        let serve = change_user(&mut login.stream, &mut session, &command, &server.context);
        let converse = async {
            let request = client.stream.read_packet(1000, Some(1)).await.unwrap();
            let secret = Secret::from_password("changed");
            let nonce = client.greeting.nonce;
            let mut machine = LoginToServer::new(&secret, false, nonce, b"", [0; 32]);
            let step = machine.receive(&request.payload).unwrap();
            let Step::Send(answer) = step else { panic!() };
            client.stream.write_packet(2, &answer).await.unwrap();
            let mut sequence = 3;
            loop {
                let packet = client.stream.read_packet(1000, Some(sequence)).await.unwrap();
                sequence += 1;
                if packet.payload[0] == 0 {
                    return;
                }
                assert_eq!(packet.payload[..], [1, 3]);
            }
        };
        let (identity, ()) = tokio::join!(serve, converse);
        let identity = identity.unwrap();
        assert_eq!(&*identity.account.user, b"other");
        assert_eq!((identity.collation, identity.database.as_deref()), (309, Some(&b"shop"[..])));
    }
}

#[tokio::test]
async fn a_unix_socket_is_as_good_as_tls() {
    let users = [("app", "secret")];
    let server = Server::start(MYSQL, &users, Encryption::Required(tls()), None).await;
    let (near, far) = tokio::net::UnixStream::pair().unwrap();
    let deadline = Instant::now() + server.context.timeout;
    let serve = login(Socket::Unix(far), None, SessionId::numbered(1), deadline, &server.context);
    let converse = async {
        let mut stream = PacketStream::new(Stream::Plain(Socket::Unix(near)));
        let packet = stream.read_packet(1000, Some(0)).await.unwrap();
        let greeting = Greeting::parse(&packet.payload).unwrap();
        let capabilities = greeting.capabilities - Capabilities::SSL;
        let mut payload = Vec::new();
        Response {
            prelude: Prelude { capabilities, max_packet: 0, collation: 45 },
            user: b"app",
            // A wrong scramble, so that the password itself is asked for.
            auth_response: &[7; 32],
            database: None,
            plugin: Some(CACHING_SHA2_PASSWORD),
            attributes: b"",
            zstd_level: None,
        }
        .put(&mut payload);
        stream.write_packet(1, &payload).await.unwrap();
        assert_eq!(stream.read_packet(100, Some(2)).await.unwrap().payload[..], [1, 4]);
        stream.write_packet(3, b"secret\0").await.unwrap();
        assert_eq!(stream.read_packet(100, Some(4)).await.unwrap().payload[0], 0);
    };
    let (logged_in, ()) = tokio::join!(serve, converse);
    assert_eq!(&*logged_in.unwrap().identity.account.user, b"app");
}

/// Sends these bytes after the greeting; what the server answers, and why it turned away.
async fn send_bytes(server: &mut Server, bytes: &[u8]) -> (Vec<u8>, LoginFailure) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut header = [0; 4];
    stream.read_exact(&mut header).await.unwrap();
    let mut greeting = vec![0; usize::from(header[0]) + usize::from(header[1]) * 256];
    stream.read_exact(&mut greeting).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    (answer, server.outcome().await.unwrap_err())
}

#[tokio::test]
async fn what_is_no_login_is_answered_and_closed() {
    let mut server =
        Server::start(MYSQL, &[("app", "x")], Encryption::Preferred(tls()), None).await;
    let ssl_request = {
        let capabilities = Capabilities::PROTOCOL_41 | Capabilities::SSL;
        let mut payload = vec![32, 0, 0, 1];
        Prelude { capabilities, max_packet: 0, collation: 0 }.put(&mut payload);
        payload
    };
    let table: [(&[u8], &str, Option<u16>); 9] = [
        (b"", "closed", None),
        (b"\x20", "malformed", Some(1043)),
        (b"GET / HTTP/1.1\r\n\r\n", "malformed", Some(1043)),
        (b"\xff\xff\xff\x01", "malformed", Some(1043)),
        (b"\x05\0\0\x01\0\0\0\0\0", "plugin", Some(1251)),
        (b"\x05\0\0\x02\0\x02\0\0\0", "malformed", Some(1043)),
        (b"\0\0\0\x01", "malformed", Some(1043)),
        (b"\x04\0\0\x01\0\x02\0", "malformed", Some(1043)),
        // A request for TLS, and plain bytes where its handshake should be.
        (&[&ssl_request[..], b"\x01\0\0\x02\x0e"].concat(), "tls", None),
    ];
    for (bytes, kind, code) in table {
        let (answer, failure) = send_bytes(&mut server, bytes).await;
        assert_eq!(failure.label().name(), kind, "{bytes:?}: {failure}");
        if let Some(code) = code {
            assert_eq!(ErrPacket::parse(&answer[4..]).unwrap().code, code, "{bytes:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_never_ends_is_ended() {
    let mut server = Server::start(MYSQL, &[("app", "x")], Encryption::Disabled, None).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let failure = server.outcome().await.unwrap_err();
    assert_eq!(failure.label().name(), "timeout");
    drop(stream);
}

/// A server that takes PROXY headers, in front of one that does not; the headers that have come.
async fn taking_headers(server: SocketAddr) -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, headers) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut header = vec![0; 28];
            client.read_exact(&mut header).await.unwrap();
            sender.send(header).unwrap();
            let mut server = TcpStream::connect(server).await.unwrap();
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, headers)
}

#[tokio::test]
async fn a_client_that_is_announced_is_judged_by_the_primary_each_time() {
    let users = [("app", "secret")];
    let mut primary = Server::start(MYSQL, &users, Encryption::Disabled, None).await;
    let (address, mut headers) = taking_headers(primary.address).await;
    let encryption = Encryption::Preferred(tls());
    let ownership = Ownership::Session { announced: true };
    let mut proxy = Server::start_as(MYSQL, &[], encryption, Some(address), ownership).await;
    for _ in 0..2 {
        user("app", "secret").encrypted().log_in(&proxy).await.unwrap();
        assert!(proxy.outcome().await.unwrap().identity.opened.is_some());
        let login = primary.outcome().await.unwrap();
        assert_eq!(login.identity.attributes, b"\x04_pid\x011", "as the client has them");
        let header = headers.recv().await.unwrap();
        assert_eq!(header[..20], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\x7F\0\0\x01");
    }
    let wrong = user("app", "wrong").encrypted().log_in(&proxy).await;
    assert!(refusal(wrong).contains("Access denied for user 'app'"));
    assert!(headers.recv().await.is_some(), "the primary has refused it");
}
