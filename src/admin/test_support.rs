//! A view with made-up servers, for the tests of console and HTTP.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::route::{Route, route};
use super::view::{BackendRow, SessionRow};
use super::{Admin, View};
use crate::check::patrol::Standing;
use crate::check::{self, Check, Patrolled, Remedy};
use crate::config::{Config, Secret};
use crate::discovery::{Catalog, TopologyStore};
use crate::frontend::registry::Registry;
use crate::metrics::{EventKind, Metrics, PoolState};
use crate::monitor::events::{Change, EventLog, Severity};
use crate::net::tls::client::ClientTls;
use crate::net::tls::server::{Identity, ServerTls};
use crate::routing::membership::Membership;
use crate::routing::membership::galera::tests::node;
use crate::routing::membership::group::tests::member;
use crate::routing::membership::group::{Role, State};
use crate::routing::semi_sync::tests::WORKING;
use crate::routing::semi_sync::{Replica, SemiSync};
use crate::routing::topology::tests::topology;
use crate::routing::{Policy, Rules};
use crate::switchover::Switchover;

pub struct Fake {
    pub ready: Result<(), String>,
    pub killed: Mutex<Vec<u32>>,
}

impl Default for Fake {
    fn default() -> Self {
        Fake { ready: Ok(()), killed: Mutex::default() }
    }
}

/// `Admin` over the view, without a password.
pub fn admin(view: Fake) -> Arc<Admin> {
    admin_with(view, Config::default())
}

/// The same, with this password for `admin`.
pub fn admin_with_password(password: &str) -> Arc<Admin> {
    let mut config = Config::default();
    config.admin.password = Some(Secret::new(password.to_owned()));
    admin_with(Fake::default(), config)
}

fn admin_with(view: Fake, config: Config) -> Arc<Admin> {
    let (_, config) = watch::channel(Arc::new(config));
    let metrics = Arc::new(Metrics::new(&["read"]));
    let tls = Some(Arc::new(ServerTls::new(Identity::self_made(None).unwrap())));
    let events = Arc::new(EventLog::new(metrics.clone()));
    let change = |kind, server: Option<&str>, text: &str| Change {
        kind,
        severity: Severity::Warning,
        server: server.map(Into::into),
        text: text.to_owned(),
    };
    events.tell(vec![
        change(EventKind::LagOut, Some("db2"), "replica, takes no reads: it lags"),
        change(EventKind::WritesStopped, None, "writes are stopped: db1 is read-only"),
        change(EventKind::LagIn, Some("db2"), "replica, takes reads"),
    ]);
    let switchover = Arc::new(Switchover {
        topology: Arc::new(TopologyStore::new(topology(1))),
        catalog: watch::channel(Catalog::default()).1,
        hold: watch::channel(None).0,
        registry: Arc::new(Registry::new()),
        events: events.clone(),
        config: config.clone(),
        tls: ClientTls::Disabled,
        running: tokio::sync::Mutex::new(()),
    });
    let view = Arc::new(view);
    let checks = watch::channel(Arc::new(patrolled())).1;
    let started = Instant::now();
    Arc::new(Admin { view, metrics, switchover, events, checks, config, tls, started })
}

/// Two findings by a look that took a quarter of a second.
fn patrolled() -> Patrolled {
    static SYNC: Check = Check { name: "sync-binlog", why: "Transactions may be gone." };
    static SERVERS: Check = Check { name: "no-servers", why: "There is nothing to serve." };
    let server = "db1".into();
    let told = vec!["SET PERSIST sync_binlog = 1".into()];
    let sync = SYNC
        .of(&server, check::Severity::Warning, "its sync_binlog is 0".to_owned())
        .mended_by(Remedy::safe(&server, told))
        .mended_by(Remedy::option(&server, "--sync-binlog=1"));
    let none = SERVERS.general(check::Severity::Error, "nothing is labelled".to_owned());
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
    let standing = |finding| Standing { finding, since };
    Patrolled {
        findings: vec![standing(sync), standing(none)],
        ended: Some(since + Duration::from_secs(60)),
        took: Duration::from_millis(250),
    }
}

impl View for Fake {
    fn backends(&self) -> Vec<BackendRow> {
        let primary = BackendRow {
            name: "db1".into(),
            origin: "proxy.toml".into(),
            address: Some("172.17.0.2:3306".into()),
            role: "primary",
            role_reason: "it is writable".into(),
            state: "up",
            reads: Ok(()),
            lag: None,
            weight: 1,
            version: Some("9.7.4".into()),
            semi_sync: SemiSync { source: Some(WORKING), replica: None },
            membership: Membership::Galera(Arc::new(node(17))),
            warnings: String::new(),
        };
        let replica = BackendRow {
            name: "db2".into(),
            role: "replica",
            reads: Err("250 ms behind, 100 ms allowed".into()),
            lag: Some(Duration::from_millis(250)),
            semi_sync: SemiSync {
                source: None,
                replica: Some(Replica { enabled: true, active: false }),
            },
            membership: Membership::Group(Arc::new(member(
                &[
                    ("a", State::Online, Role::Secondary),
                    ("b", State::Online, Role::Primary),
                    ("c", State::Unreachable, Role::Secondary),
                ],
                7,
            ))),
            ..primary.clone()
        };
        vec![primary, replica]
    }

    fn writes(&self) -> Result<Arc<str>, Arc<str>> {
        Ok("db1".into())
    }

    fn sessions(&self) -> Vec<SessionRow> {
        vec![SessionRow {
            id: 0x8000_0001,
            user: "app".into(),
            client: "10.0.0.9".into(),
            database: "shop".into(),
            state: "idle",
            backend: None,
            pins: String::new(),
            connected: Duration::from_secs(61),
            statements: 7,
            replica_reads: 5,
        }]
    }

    fn pools(&self) -> Vec<PoolState> {
        vec![PoolState {
            backend: "db1".into(),
            leased: 1,
            idle: 2,
            limit: 90,
            ..Default::default()
        }]
    }

    fn ready(&self) -> Result<(), String> {
        self.ready.clone()
    }

    fn route(&self, sql: &[u8], policy: &Policy) -> Route {
        route(sql, &topology(1), policy, &Rules::default())
    }

    fn kill_session(&self, id: u32) -> bool {
        self.killed.lock().unwrap().push(id);
        id == 0x8000_0001
    }
}
