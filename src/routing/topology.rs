//! The snapshot of the cluster that every decision reads: immutable, replaced as a whole.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::membership::Membership;
use super::semi_sync::SemiSync;
use crate::wire::ServerVersion;

/// One incarnation of a server. A container that restarts, or comes back under another address,
/// is a new incarnation: nothing of the old one's connections may be used for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub u32);

/// Rises whenever writes must go somewhere else than before (another primary, or none).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Epoch(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Primary,
    Replica,
    /// Not known yet, or nothing that serves (a stranger's replica, a member in error).
    Unknown,
}

/// Where a backend listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    Ip(SocketAddr),
    /// A host name, resolved at each dial.
    Name {
        host: Arc<str>,
        port: u16,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// How far a replica is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    Unknown,
    /// The age of the oldest sample of the primary's position that is not applied yet; zero when
    /// the newest is. `stale`: the primary gives no new samples, the value is frozen.
    Measured {
        behind: Duration,
        stale: bool,
    },
}

/// Numbers the samples taken of the primaries' positions, from 1.
///
/// A write whose reply carries no GTID is on a replica for certain once that has applied a sample
/// that was begun after the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SampleNumber(pub u64);

/// Whether a server can be worked with at all. The reasons are in words for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Found, and not asked yet.
    New,
    /// Answers the monitor.
    Up,
    /// Stopped, paused, or silent: what runs there will not end by itself.
    Down(Arc<str>),
    /// Answers, but the monitor's account is not let in or may not ask what it must.
    NoAccess(Arc<str>),
    /// Cannot be used as it is set up: a bad label, no address that is certain.
    LeftOut(Arc<str>),
}

/// One of the replication threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thread {
    Running,
    /// The receiver is trying to reach the source.
    Connecting,
    Stopped,
}

/// What a server says of one source that it replicates from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// The source's name if it is one of ours, else its address as the server has it.
    pub source: Arc<str>,
    /// The IO thread.
    pub receiver: Thread,
    /// The SQL thread.
    pub applier: Thread,
    /// The server's own figure, seconds; it is NULL while a thread is stopped.
    pub seconds_behind: Option<u64>,
    /// How far the server is told to stay behind, seconds.
    pub delay: u64,
    /// The last error of either thread.
    pub error: Option<Arc<str>>,
}

/// One server in the snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    pub id: BackendId,
    /// Container name or the name in `[[backends]]`.
    pub name: Arc<str>,
    /// Where it was found: the Docker endpoint, or `proxy.toml`.
    pub origin: Arc<str>,
    /// `None` while it is unknown (then [`reads`](Self::reads) says why).
    pub address: Option<Address>,
    pub state: State,
    pub role: Role,
    /// Why it has that role, in words for an operator.
    pub role_reason: Arc<str>,
    pub version: Option<ServerVersion>,
    /// Whether new reads may go there; else why not, in words for an operator.
    pub reads: Result<(), Arc<str>>,
    /// The weight that its label or `[[backends]]` gives, 0 to 1000.
    pub configured_weight: u32,
    /// Share of reads now, in proportion to the other backends': a hundred times the configured
    /// weight, less during a slow start; 0 takes none.
    pub weight: u32,
    pub lag: Lag,
    /// The newest sample of the primary's position that it has applied.
    pub applied: Option<SampleNumber>,
    /// What is written there has a GTID.
    pub has_gtids: bool,
    /// What it replicates from.
    pub replication: Vec<Replication>,
    pub semi_sync: SemiSync,
    pub membership: Membership,
    /// The server's `max_connections`, once known.
    pub max_connections: Option<u32>,
    /// What is wrong though it serves, in words for an operator.
    pub warnings: Vec<Arc<str>>,
}

impl Backend {
    /// A server of which nothing is known yet.
    pub fn new(id: BackendId, name: impl Into<Arc<str>>) -> Self {
        Backend {
            id,
            name: name.into(),
            origin: "".into(),
            address: None,
            state: State::New,
            role: Role::Unknown,
            role_reason: "it has not been asked yet".into(),
            version: None,
            reads: Err("it has not been asked yet".into()),
            configured_weight: 1,
            weight: 100,
            lag: Lag::Unknown,
            applied: None,
            has_gtids: false,
            replication: Vec::new(),
            semi_sync: SemiSync::default(),
            membership: Membership::Alone,
            max_connections: None,
            warnings: Vec::new(),
        }
    }
}

/// Whether and where writes may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes {
    /// Index into [`Topology::backends`].
    To(usize),
    /// There is one primary, which serves reads and must not be written now; the reason in words
    /// for an operator.
    Held { primary: usize, reason: Arc<str> },
    /// No single writable primary; the reason in words for an operator.
    Stopped(Arc<str>),
}

impl Writes {
    /// Why no server may be written now.
    pub fn stopped(&self) -> Option<&Arc<str>> {
        match self {
            Writes::To(_) => None,
            Writes::Held { reason, .. } | Writes::Stopped(reason) => Some(reason),
        }
    }
}

/// The cluster as it is known at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    pub epoch: Epoch,
    pub backends: Vec<Backend>,
    pub writes: Writes,
}

impl Topology {
    pub fn empty() -> Self {
        Topology {
            epoch: Epoch(0),
            backends: Vec::new(),
            writes: Writes::Stopped("no server has been found yet".into()),
        }
    }

    /// The one primary, whether it may be written now or not.
    pub fn primary(&self) -> Option<&Backend> {
        match self.writes {
            Writes::To(index) | Writes::Held { primary: index, .. } => self.backends.get(index),
            Writes::Stopped(_) => None,
        }
    }

    /// Where writes may run now.
    pub fn write_target(&self) -> Option<&Backend> {
        match self.writes {
            Writes::To(index) => self.backends.get(index),
            Writes::Held { .. } | Writes::Stopped(_) => None,
        }
    }

    /// True when a decision may come out differently under `other`: what only describes (lag,
    /// positions, warnings) is left aside.
    pub fn differs_for_routing(&self, other: &Topology) -> bool {
        let same = |a: &Backend, b: &Backend| {
            a.id == b.id
                && a.name == b.name
                && a.address == b.address
                && a.state == b.state
                && a.role == b.role
                && a.reads == b.reads
                && a.weight == b.weight
                && a.version == b.version
                && a.has_gtids == b.has_gtids
                && a.max_connections == b.max_connections
        };
        self.epoch != other.epoch
            || self.writes != other.writes
            || self.backends.len() != other.backends.len()
            || !self.backends.iter().zip(&other.backends).all(|(a, b)| same(a, b))
    }

    pub fn backend(&self, id: BackendId) -> Option<&Backend> {
        self.backends.iter().find(|backend| backend.id == id)
    }

    /// True when what runs on this backend may end there: it is not lost, and if it may write, no
    /// other one is the primary.
    pub fn may_finish(&self, id: BackendId, writes: bool) -> bool {
        let superseded = writes && self.primary().is_some_and(|primary| primary.id != id);
        !(self.is_lost(id) || superseded)
    }

    /// True when nothing can be hoped for from this backend: it is no longer known, or down.
    pub fn is_lost(&self, id: BackendId) -> bool {
        self.backend(id).is_none_or(|backend| matches!(backend.state, State::Down(_)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn lag_alone_changes_no_decision() {
        let before = topology(2);
        let mut after = before.clone();
        after.backends[1].lag = Lag::Unknown;
        after.backends[1].applied = Some(SampleNumber(7));
        assert!(!before.differs_for_routing(&after));
        assert!(after.may_finish(BackendId(2), false) && !after.may_finish(BackendId(2), true));
        assert!(after.may_finish(BackendId(1), true) && !after.may_finish(BackendId(9), false));
        after.backends[1].reads = Err("lags".into());
        assert!(before.differs_for_routing(&after));
        let mut fewer = before.clone();
        fewer.backends.pop();
        assert!(before.differs_for_routing(&fewer));
    }

    /// A primary (index 0) that takes no reads and `replicas` replicas that do.
    pub fn topology(replicas: usize) -> Topology {
        let backend = |index: usize| Backend {
            address: Some(Address::Ip(([127, 0, 0, 1], 3306 + index as u16).into())),
            state: State::Up,
            role: if index == 0 { Role::Primary } else { Role::Replica },
            reads: if index == 0 { Err("the primary".into()) } else { Ok(()) },
            lag: Lag::Measured { behind: Duration::ZERO, stale: false },
            ..Backend::new(BackendId(index as u32 + 1), format!("db{index}"))
        };
        Topology {
            epoch: Epoch(1),
            backends: (0..=replicas).map(backend).collect(),
            writes: Writes::To(0),
        }
    }
}
