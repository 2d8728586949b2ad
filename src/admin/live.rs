//! The view of the running proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::route::{Route, route};
use super::view::{BackendRow, SessionRow, View};
use crate::backend::pool::Pool;
use crate::backend::pools::Pools;
use crate::discovery::TopologyStore;
use crate::frontend::mailbox::Mail;
use crate::frontend::registry::{Registry, SessionView};
use crate::metrics::PoolState;
use crate::routing::topology::{Backend, Lag, Role, State, Topology, Writes};
use crate::routing::{Policy, Rules};
use crate::session::SessionId;

/// Reads what the parts of the proxy share.
pub struct Live {
    pub topology: Arc<TopologyStore>,
    pub pools: Arc<Pools>,
    pub registry: Arc<Registry>,
    /// Whether new clients are accepted: false from the beginning of a drain.
    pub accepts: Arc<AtomicBool>,
    /// The rules in force.
    pub rules: Box<dyn Fn() -> Rules + Send + Sync>,
}

impl View for Live {
    fn backends(&self) -> Vec<BackendRow> {
        self.topology.load().backends.iter().map(backend_row).collect()
    }

    fn writes(&self) -> Result<Arc<str>, Arc<str>> {
        let topology = self.topology.load();
        match (topology.writes.stopped(), topology.primary()) {
            (Some(reason), _) => Err(Arc::clone(reason)),
            (None, Some(primary)) => Ok(Arc::clone(&primary.name)),
            (None, None) => Err("the primary is gone".into()),
        }
    }

    fn sessions(&self) -> Vec<SessionRow> {
        let topology = self.topology.load_full();
        self.registry.view().into_iter().map(|session| session_row(session, &topology)).collect()
    }

    fn pools(&self) -> Vec<PoolState> {
        let mut pools: Vec<_> = self.pools.all().iter().map(|pool| pool_state(pool)).collect();
        pools.sort_by(|a, b| a.backend.cmp(&b.backend));
        pools
    }

    fn ready(&self) -> Result<(), String> {
        if !self.accepts.load(Relaxed) {
            return Err("draining".to_owned());
        }
        readiness(&self.topology.load())
    }

    fn route(&self, sql: &[u8], policy: &Policy) -> Route {
        route(sql, &self.topology.load(), policy, &(self.rules)())
    }

    fn kill_session(&self, id: u32) -> bool {
        let session = SessionId::from_kill(id.into()).and_then(|id| self.registry.find(id));
        if let Some(session) = &session {
            session.mailbox.send(Mail::KILL_CONNECTION);
        }
        session.is_some()
    }
}

/// Whether clients can be served, if only with reads.
fn readiness(topology: &Topology) -> Result<(), String> {
    let takes_reads = |backend: &Backend| backend.reads.is_ok() && backend.weight > 0;
    match &topology.writes {
        Writes::To(_) | Writes::Held { .. } => Ok(()),
        Writes::Stopped(_) if topology.backends.iter().any(takes_reads) => Ok(()),
        Writes::Stopped(reason) => {
            Err(format!("no server takes reads, and writes are stopped: {reason}"))
        }
    }
}

fn backend_row(backend: &Backend) -> BackendRow {
    let (state, reason) = match &backend.state {
        State::New => ("new", None),
        State::Up => ("up", None),
        State::Down(reason) => ("down", Some(reason)),
        State::NoAccess(reason) => ("no_access", Some(reason)),
        State::LeftOut(reason) => ("left_out", Some(reason)),
    };
    BackendRow {
        name: Arc::clone(&backend.name),
        origin: Arc::clone(&backend.origin),
        address: backend.address.as_ref().map(ToString::to_string),
        role: match backend.role {
            Role::Primary => "primary",
            Role::Replica => "replica",
            Role::Unknown => "unknown",
        },
        role_reason: Arc::clone(&backend.role_reason),
        state,
        // Of a server that cannot be worked with the state says more.
        reads: match reason {
            Some(reason) => Err(Arc::clone(reason)),
            None => backend.reads.clone(),
        },
        lag: match backend.lag {
            Lag::Measured { behind, .. } => Some(behind),
            Lag::Unknown => None,
        },
        weight: backend.configured_weight,
        version: backend.version.as_ref().map(ToString::to_string),
        semi_sync: backend.semi_sync,
        membership: backend.membership.clone(),
        warnings: backend.warnings.join("; "),
    }
}

fn session_row(session: SessionView, topology: &Topology) -> SessionRow {
    let backend = session.backend.and_then(|id| topology.backend(id));
    SessionRow {
        id: session.id.get(),
        client: session.peer.map_or("localhost".to_owned(), |peer| peer.ip().to_string()),
        state: if session.profile.user.is_empty() {
            "logging in"
        } else if session.in_transaction {
            "in transaction"
        } else if !session.pins.is_empty() {
            "pinned"
        } else if session.backend.is_some() {
            "active"
        } else {
            "idle"
        },
        user: session.profile.user,
        database: session.profile.database,
        backend: backend.map(|backend| Arc::clone(&backend.name)),
        pins: session.pins.names().collect::<Vec<_>>().join(", "),
        connected: session.since.elapsed(),
        statements: session.statements,
        replica_reads: session.reads_on_replicas,
    }
}

fn pool_state(pool: &Pool) -> PoolState {
    let view = pool.view();
    let counters = &pool.counters;
    PoolState {
        backend: Arc::clone(&pool.name),
        limit: view.limit as u64,
        leased: view.leased as u64,
        pinned: view.pinned as u64,
        idle: view.idle as u64,
        dials: counters.dials.load(Relaxed),
        dial_errors: counters.dial_errors.load(Relaxed),
        waits: counters.waits.load(Relaxed),
        timeouts: counters.timeouts.load(Relaxed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MaxPerBackend;
    use crate::metrics::Metrics;
    use crate::routing::topology::tests::topology;
    use std::time::Duration;

    fn live(topology: Topology) -> Live {
        Live {
            topology: Arc::new(TopologyStore::new(topology)),
            pools: Arc::new(Pools::new(MaxPerBackend::Fixed(5), Arc::new(Metrics::new(&[])))),
            registry: Arc::new(Registry::new()),
            accepts: Arc::new(AtomicBool::new(true)),
            rules: Box::new(Rules::default),
        }
    }

    #[test]
    fn when_clients_can_be_served() {
        let nothing = live(Topology::empty());
        let reason = "no server takes reads, and writes are stopped: no server has been found yet";
        assert_eq!(nothing.ready(), Err(reason.to_owned()));
        assert_eq!(nothing.writes(), Err("no server has been found yet".into()));

        let whole = live(topology(1));
        assert_eq!(whole.ready(), Ok(()));
        assert_eq!(whole.writes(), Ok("db0".into()));
        whole.accepts.store(false, Relaxed);
        assert_eq!(whole.ready(), Err("draining".to_owned()));

        let mut headless = topology(1);
        headless.writes = Writes::Stopped("two primaries".into());
        assert_eq!(readiness(&headless), Ok(()));
        headless.backends[1].reads = Err("behind".into());
        let reason = "no server takes reads, and writes are stopped: two primaries";
        assert_eq!(readiness(&headless), Err(reason.to_owned()));
    }

    #[test]
    fn a_server_that_is_down_says_why() {
        let mut topology = topology(1);
        topology.backends[1].state = State::Down("the container has stopped".into());
        topology.backends[1].lag = Lag::Measured { behind: Duration::from_millis(7), stale: true };
        let rows = live(topology).backends();
        assert_eq!((rows[0].role, rows[0].state), ("primary", "up"));
        assert_eq!(rows[0].address.as_deref(), Some("127.0.0.1:3306"));
        assert_eq!((rows[1].role, rows[1].state), ("replica", "down"));
        assert_eq!(rows[1].reads, Err("the container has stopped".into()));
        assert_eq!(rows[1].lag, Some(Duration::from_millis(7)));
    }

    #[test]
    fn sessions_are_shown_and_killed() {
        let live = live(topology(1));
        let session = live.registry.register(None).handle.clone();
        assert!(!live.kill_session(session.id.get()), "its registration is gone");
        let registration = live.registry.register(Some(([10, 0, 0, 9], 40_000).into()));
        let handle = &registration.handle;
        handle.set_profile(|profile| profile.user = "app".to_owned());
        handle.set_backend(Some(live.topology.load().backends[1].id));
        handle.end_statement(true);
        let row = live.sessions().remove(0);
        assert_eq!((row.id, row.client.as_str()), (handle.id.get(), "10.0.0.9"));
        assert_eq!((row.state, row.backend.as_deref()), ("active", Some("db1")));
        assert_eq!((row.statements, row.replica_reads), (1, 1));
        assert!(live.kill_session(handle.id.get()));
        assert_eq!(handle.mailbox.peek(), Mail::KILL_CONNECTION);
        assert!(!live.kill_session(7));
    }
}
