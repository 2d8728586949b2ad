//! Servers are found by labels and followed by events, on the real daemon.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rwproxy::config::DockerAddress;
use rwproxy::discovery::container::Rules;
use rwproxy::discovery::docker::{Endpoint, Tls, watch};
use rwproxy::discovery::{Catalog, Server, Standing};
use rwproxy::routing::topology::Address;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch as channel;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::support::docker::{Network, Sleeper, docker, unique};
use crate::support::eventually;

const SOCKET: &str = "/var/run/docker.sock";
/// Long enough for a loaded machine; what must be fast is timed by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Discovery of one cluster.
struct Discovery {
    catalog: channel::Receiver<Catalog>,
    task: JoinHandle<()>,
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Discovery {
    fn start(cluster: &str) -> Self {
        Self::with(cluster, &format!("unix://{SOCKET}"), true)
    }

    fn with(cluster: &str, endpoint: &str, respect_health: bool) -> Self {
        let endpoint = Endpoint { url: endpoint.into(), tls: None };
        Self::of(cluster, endpoint, respect_health)
    }

    fn of(cluster: &str, endpoint: Endpoint, respect_health: bool) -> Self {
        let rules = Rules {
            prefix: "rwproxy".to_owned(),
            cluster: cluster.to_owned(),
            address: DockerAddress::Auto,
            respect_health,
        };
        let (sender, catalog) = channel::channel(Catalog { expected: 1, ..Catalog::default() });
        Discovery { catalog, task: tokio::spawn(watch(endpoint, rules, Arc::new(sender))) }
    }

    fn server(&self, name: &str) -> Option<Server> {
        self.catalog.borrow().servers().into_iter().find(|server| &*server.name == name)
    }

    fn problem(&self) -> Option<Arc<str>> {
        self.catalog.borrow().problems().next().cloned()
    }

    /// Waits until a server stands so, looking at every change; when that was.
    async fn stands(
        &mut self,
        name: &str,
        what: &str,
        fits: impl Fn(&Standing) -> bool,
    ) -> SystemTime {
        let found = |catalog: &Catalog| {
            catalog.servers().iter().any(|server| &*server.name == name && fits(&server.standing))
        };
        let waited = tokio::time::timeout(PATIENCE, self.catalog.wait_for(found)).await.is_ok();
        assert!(waited, "{name} is not {what}: {:?}", self.server(name));
        SystemTime::now()
    }

    async fn runs_at(&mut self, name: &str, ip: &str) {
        let address: SocketAddr = format!("{ip}:3306").parse().expect("an address");
        let standing = Standing::Running(Address::Ip(address));
        self.stands(name, &format!("running at {address}"), |found| *found == standing).await;
    }

    async fn does_not_run(&mut self, name: &str, why: &str) -> SystemTime {
        self.stands(name, why, |found| matches!(found, Standing::NotRunning(r) if r.contains(why)))
            .await
    }

    async fn is_left_out(&mut self, name: &str, why: &str) {
        self.stands(name, why, |found| matches!(found, Standing::LeftOut(r) if r.contains(why)))
            .await;
    }

    async fn is_gone(&mut self, name: &str) {
        let gone = |catalog: &Catalog| {
            catalog.is_complete() && !catalog.servers().iter().any(|server| &*server.name == name)
        };
        let waited = tokio::time::timeout(PATIENCE, self.catalog.wait_for(gone)).await;
        assert!(waited.is_ok(), "{name} is still there");
    }
}

/// The labels of a cluster of this test's own, and further ones.
fn labels(cluster: &str, more: &[&str]) -> Vec<String> {
    let all = ["rwproxy.enable=true", &format!("rwproxy.cluster={cluster}")];
    all.iter().chain(more).flat_map(|label| ["--label".to_owned(), (*label).to_owned()]).collect()
}

fn sleeper(name: &str, labels: &[String], options: &[&str]) -> Sleeper {
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    Sleeper::start(name, &[&labels[..], options].concat())
}

fn assert_soon(what: &str, told: SystemTime, seen: SystemTime) {
    let took = seen.duration_since(told).unwrap_or_default();
    assert!(took < Duration::from_millis(100), "{what} was seen {took:?} after its event");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_come_change_and_go() {
    let cluster = unique("come");
    let network = Network::create("come-net");
    let network = network.name.as_str();
    let mut discovery = Discovery::start(&cluster);
    let labels = labels(&cluster, &[]);
    let there_before = sleeper("come-0", &labels, &["--network", network]);
    discovery.runs_at(&there_before.name, &there_before.ip(network)).await;

    let db = sleeper("come-1", &labels, &["--network", network]);
    discovery.runs_at(&db.name, &db.ip(network)).await;
    let first = discovery.server(&db.name).expect("it is listed");

    let (seen, ()) = tokio::join!(discovery.does_not_run(&db.name, "paused"), db.act("pause"));
    assert_soon("pause", db.told("pause"), seen);
    db.act("unpause").await;
    discovery.runs_at(&db.name, &db.ip(network)).await;
    assert_eq!(discovery.server(&db.name).expect("it is listed").started, first.started);

    let (seen, ()) =
        tokio::join!(discovery.does_not_run(&db.name, "stopped"), db.act("stop --time 5"));
    assert_soon("stop", db.told("die"), seen);

    // Another container takes its address meanwhile.
    let thief = sleeper("come-2", &labels, &["--network", network]);
    db.act("start").await;
    discovery.runs_at(&db.name, &db.ip(network)).await;
    let again = discovery.server(&db.name).expect("it is listed");
    assert_ne!(again.started, first.started, "a restart is another incarnation");
    assert_ne!(again.standing, first.standing, "it came back under another address");
    discovery.runs_at(&thief.name, &thief.ip(network)).await;

    let (seen, ()) = tokio::join!(discovery.does_not_run(&db.name, "stopped"), db.act("kill"));
    assert_soon("kill", db.told("die"), seen);

    let renamed = unique("come-renamed");
    docker(&["rename", &thief.name, &renamed]);
    let thief = Sleeper { name: renamed };
    discovery.runs_at(&thief.name, &thief.ip(network)).await;

    let name = db.name.clone();
    drop(db);
    discovery.is_gone(&name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_out_is_listed_with_its_reason() {
    let cluster = unique("left");
    let (front, back) = (Network::create("left-front"), Network::create("left-back"));
    let mut discovery = Discovery::start(&cluster);

    let bad = sleeper("left-bad", &labels(&cluster, &["rwproxy.weigth=3"]), &[]);
    discovery.is_left_out(&bad.name, "did you mean rwproxy.weight=3?").await;

    let two = sleeper("left-two", &labels(&cluster, &[]), &["--network", &front.name]);
    discovery.runs_at(&two.name, &two.ip(&front.name)).await;
    docker(&["network", "connect", &back.name, &two.name]);
    discovery.is_left_out(&two.name, "name one by label rwproxy.network").await;

    // Relabelled, which takes a new container.
    let name = two.name.clone();
    drop(two);
    discovery.is_gone(&name).await;
    let network = format!("rwproxy.network={}", back.name);
    let two = sleeper("left-two", &labels(&cluster, &[&network]), &["--network", &front.name]);
    discovery.is_left_out(&two.name, "but it is attached to").await;
    docker(&["network", "connect", &back.name, &two.name]);
    discovery.runs_at(&two.name, &two.ip(&back.name)).await;
    docker(&["network", "disconnect", &back.name, &two.name]);
    discovery.is_left_out(&two.name, "but it is attached to").await;

    let none = sleeper("left-none", &labels(&cluster, &[]), &["--network", "none"]);
    discovery.is_left_out(&none.name, "no network").await;

    let others = sleeper("left-others", &labels("another", &[]), &[]);
    let never_started = unique("left-created");
    let wanted = labels(&cluster, &[]);
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let image = ["--entrypoint", "sleep", "rwproxy-test/mariadb:10.11", "infinity"];
    docker(&[&["create", "--name", &never_started], &wanted[..], &image].concat());
    let never_started = Sleeper { name: never_started };
    discovery.does_not_run(&never_started.name, "stopped").await;
    assert_eq!(discovery.server(&others.name), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unhealthy_container_is_out() {
    let cluster = unique("health");
    let mut discovery = Discovery::start(&cluster);
    let mut heedless = Discovery::with(&cluster, &format!("unix://{SOCKET}"), false);
    let check = [
        "--health-cmd",
        "test ! -f /tmp/ill",
        "--health-interval",
        "500ms",
        "--health-retries",
        "1",
    ];
    let db = sleeper("health-1", &labels(&cluster, &[]), &check);
    let ip = db.ip("bridge");
    // Also while the check is starting.
    discovery.runs_at(&db.name, &ip).await;
    docker(&["exec", &db.name, "touch", "/tmp/ill"]);
    let seen = discovery
        .stands(&db.name, "unhealthy", |found| matches!(found, Standing::Unhealthy(_)))
        .await;
    assert_soon("ill health", db.told("health_status: unhealthy"), seen);
    heedless.runs_at(&db.name, &ip).await;
    docker(&["exec", &db.name, "rm", "/tmp/ill"]);
    discovery.runs_at(&db.name, &ip).await;
}

/// A relay to the daemon that can cut every connection, and refuse new ones.
struct Relay {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Relay {
    async fn start(address: &str) -> Relay {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("it is bound");
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client));
            }
        });
        Relay { address, task }
    }

    /// Ends all connections; nobody listens any more.
    async fn cut(self) -> SocketAddr {
        self.task.abort();
        let _ = self.task.await;
        self.address
    }
}

async fn carry(mut client: impl AsyncRead + AsyncWrite + Unpin) {
    if let Ok(mut daemon) = UnixStream::connect(SOCKET).await {
        let _ = tokio::io::copy_bidirectional(&mut client, &mut daemon).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_event_stream_is_taken_up_again() {
    let cluster = unique("cut");
    let labels = labels(&cluster, &[]);
    let (one, two) = (sleeper("cut-1", &labels, &[]), sleeper("cut-2", &labels, &[]));
    let relay = Relay::start("127.0.0.1:0").await;
    let endpoint = format!("tcp://{}", relay.address);
    let mut discovery = Discovery::with(&cluster, &endpoint, true);
    discovery.runs_at(&one.name, &one.ip("bridge")).await;
    discovery.runs_at(&two.name, &two.ip("bridge")).await;

    // While nobody listens the last known servers stay, and what happens is missed.
    let address = relay.cut().await;
    eventually("a problem", PATIENCE, async || discovery.problem()).await;
    one.act("pause").await;
    let ip = two.ip("bridge");
    tokio::time::sleep(Duration::from_secs(1)).await;
    discovery.runs_at(&one.name, &one.ip("bridge")).await;
    discovery.runs_at(&two.name, &ip).await;

    let relay = Relay::start(&address.to_string()).await;
    discovery.does_not_run(&one.name, "paused").await;
    eventually("no problem", PATIENCE, async || discovery.problem().is_none().then_some(())).await;
    let (seen, ()) = tokio::join!(discovery.does_not_run(&two.name, "paused"), two.act("pause"));
    assert_soon("pause", two.told("pause"), seen);

    // Cut and back at once.
    let address = relay.cut().await;
    let _relay = Relay::start(&address.to_string()).await;
    two.act("unpause").await;
    discovery.runs_at(&two.name, &ip).await;
    one.act("unpause").await;
    discovery.runs_at(&one.name, &one.ip("bridge")).await;
}

/// A daemon's TLS, as Docker sets it up: it asks for a certificate of the same authority. Returns
/// the port, and the client's files in `directory`.
async fn encrypted_relay(directory: &Path) -> (u16, Tls) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = || KeyPair::generate().expect("a key");
    let authority_key = key();
    let mut authority = CertificateParams::new([]).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&authority_key).expect("a certificate");
    let issuer = Issuer::new(authority, authority_key);
    let signed = |key: &KeyPair| {
        let parameters = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
        parameters.signed_by(key, &issuer).expect("a certificate")
    };
    let (server_key, client_key) = (key(), key());
    let files = Tls {
        ca: directory.join("ca.pem"),
        cert: directory.join("cert.pem"),
        key: directory.join("key.pem"),
    };
    std::fs::write(&files.ca, ca.pem()).expect("a file");
    std::fs::write(&files.cert, signed(&client_key).pem()).expect("a file");
    std::fs::write(&files.key, client_key.serialize_pem()).expect("a file");

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.der().clone()).expect("a certificate");
    let clients =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .expect("a verifier");
    let certificate = signed(&server_key).der().clone();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], server_key.into())
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(client) = acceptor.accept(client).await {
                    carry(client).await;
                }
            });
        }
    });
    (port, files)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_behind_tls() {
    let cluster = unique("tls");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (port, files) = encrypted_relay(directory.path()).await;
    let db = sleeper("tls-1", &labels(&cluster, &[]), &[]);
    let url: Arc<str> = format!("tcp://localhost:{port}").into();
    let endpoint = Endpoint { url: url.clone(), tls: Some(files.clone()) };
    let mut discovery = Discovery::of(&cluster, endpoint, true);
    discovery.runs_at(&db.name, &db.ip("bridge")).await;
    db.act("pause").await;
    discovery.does_not_run(&db.name, "paused").await;

    // A client without a certificate of the authority's.
    let stranger = tempfile::tempdir().expect("a temporary directory");
    let (_, others) = encrypted_relay(stranger.path()).await;
    let tls = Tls { ca: files.ca, ..others };
    let refused = Discovery::of(&cluster, Endpoint { url, tls: Some(tls) }, true);
    let problem = eventually("a problem", PATIENCE, async || refused.problem()).await;
    assert!(problem.contains("tcp://localhost"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_daemon_the_reason_is_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let missing = format!("unix://{}", directory.path().join("docker.sock").display());
    let discovery = Discovery::with("x", &missing, true);
    let problem = eventually("a problem", PATIENCE, async || discovery.problem()).await;
    assert!(problem.contains("there is no Docker socket at"), "{problem}");
    assert!(discovery.catalog.borrow().is_complete());

    let discovery = Discovery::with("x", "tcp://127.0.0.1:1", true);
    let problem = eventually("a problem", PATIENCE, async || discovery.problem()).await;
    assert!(problem.contains("nothing listens at tcp://127.0.0.1:1"), "{problem}");
}
