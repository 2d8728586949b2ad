//! A view with made-up servers, for the tests of console and HTTP.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::route::{Route, route};
use super::view::{BackendRow, SessionRow};
use super::{Admin, View};
use crate::config::{Config, Secret};
use crate::metrics::{Metrics, PoolState};
use crate::net::tls::server::{Identity, ServerTls};
use crate::routing::topology::tests::topology;
use crate::routing::{Policy, Rules};

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
    Arc::new(Admin { view: Arc::new(view), metrics, config, tls, started: Instant::now() })
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
            warnings: String::new(),
        };
        let replica = BackendRow {
            name: "db2".into(),
            role: "replica",
            reads: Err("250 ms behind, 100 ms allowed".into()),
            lag: Some(Duration::from_millis(250)),
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
