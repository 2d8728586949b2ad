//! What one probe of a server has learned.

use std::sync::Arc;
use std::time::Instant;

use crate::gtid::{BinlogState, DomainPositions, GtidSet};
use crate::routing::membership::Membership;
use crate::routing::semi_sync::SemiSync;
use crate::routing::topology::{SampleNumber, Thread};
use crate::wire::ServerVersion;

use super::position::{Applied, FilePosition, GaleraPosition, History, MariaDbApplied, Position};

/// Who a server is, by its own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// MySQL's `server_uuid`; for MariaDB, which has none, host name, port and server id.
    pub instance: Arc<str>,
    /// `server_id`, by which a MariaDB replica names its source.
    pub server_id: u32,
}

/// Whether a server takes writes from an ordinary account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnly {
    Off,
    /// Accounts with SUPER, CONNECTION_ADMIN or READ_ONLY ADMIN still write.
    On,
    /// `super_read_only`: nobody writes.
    Super,
}

/// The transactions of a server, as its flavour counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gtids {
    /// MySQL without `gtid_mode=ON`, or a set too large to work with.
    None,
    MySql(Arc<GtidSet>),
    MariaDb {
        /// `@@gtid_binlog_pos`.
        logged: DomainPositions,
        /// `@@gtid_slave_pos`.
        replicated: DomainPositions,
        /// `@@gtid_binlog_state`; `None` without a binary log.
        state: Option<BinlogState>,
    },
}

impl Gtids {
    /// All that the server has committed, as far as that can be told.
    pub fn history(&self) -> Option<History> {
        match self {
            Gtids::MySql(set) => Some(History::MySql(set.clone())),
            Gtids::MariaDb { state, .. } => state.clone().map(History::MariaDb),
            Gtids::None => None,
        }
    }
}

/// A source that a server is set up to replicate from, whether it does or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Host and port as the replica dials them.
    pub host: Arc<str>,
    pub port: u16,
    /// MySQL's source uuid, once it was connected.
    pub source_uuid: Option<Arc<str>>,
    /// The source's server id, once it was connected.
    pub source_id: Option<u32>,
    pub receiver: Thread,
    pub receiver_error: Option<Arc<str>>,
    pub applier: Thread,
    pub applier_error: Option<Arc<str>>,
    /// The server's own figure, seconds.
    pub seconds_behind: Option<u64>,
    /// How far it is told to stay behind, seconds.
    pub delay: u64,
    /// How far the source's binary log is applied.
    pub applied_file: Option<FilePosition>,
}

/// One answered probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Given out before the probe was begun.
    pub number: SampleNumber,
    /// Before the first query was sent.
    pub started: Instant,
    /// After the last answer was read.
    pub finished: Instant,
    pub version: ServerVersion,
    pub identity: Identity,
    pub read_only: ReadOnly,
    pub gtids: Gtids,
    /// Of MySQL: transactions that are being committed (`@@gtid_owned`). Others may have read what
    /// they have written before they count as executed.
    pub committing: GtidSet,
    /// Where the own binary log ends, of a MySQL without GTIDs; `None` when there is none.
    pub log: Option<FilePosition>,
    pub channels: Vec<Channel>,
    pub max_connections: u32,
    pub semi_sync: SemiSync,
    pub membership: Membership,
    /// What Group Replication has certified for it to apply; of its active members alone.
    pub received: Option<Arc<GtidSet>>,
}

impl Observation {
    pub fn is_writable(&self) -> bool {
        self.read_only == ReadOnly::Off
    }

    /// What is written there has a GTID by which it can be asked for on the other servers. A node of
    /// Galera numbers transactions by itself, unless it was told otherwise (`wsrep_gtid_mode`),
    /// and what others have written is no part of what it calls replicated (`gtid_slave_pos`).
    pub fn has_gtids(&self) -> bool {
        !matches!(self.membership, Membership::Galera(_))
            && matches!(self.gtids, Gtids::MySql(_) | Gtids::MariaDb { state: Some(_), .. })
    }

    /// What replicas must reach to have everything that this server has written.
    pub fn position(&self) -> Option<Position> {
        let logged = match &self.gtids {
            Gtids::MySql(set) => Some(Position::MySql(self.readable(set))),
            Gtids::MariaDb { logged, state, .. } => {
                state.as_ref().map(|_| Position::MariaDb(logged.clone()))
            }
            Gtids::None => self.log.clone().map(Position::File),
        };
        match self.galera() {
            Some(committed) => Some(Position::Galera { committed, logged: logged.map(Box::new) }),
            None => logged,
        }
    }

    /// Replicas may show more than what can be read there.
    pub fn is_committing(&self) -> bool {
        matches!(self.gtids, Gtids::MySql(_)) && !self.own_committing().is_empty()
    }

    /// Of those that are being committed the ones that the server numbers itself, at their end:
    /// another one's number may be held from a transaction's beginning (`gtid_next`).
    fn own_committing(&self) -> GtidSet {
        let mut own = self.committing.of(&self.identity.instance);
        if let Membership::Group(member) = &self.membership {
            own.extend(&self.committing.of(&member.group));
        }
        own
    }

    /// What can be read there, at most.
    fn readable(&self, executed: &Arc<GtidSet>) -> Arc<GtidSet> {
        let mut own = self.own_committing();
        if own.is_empty() {
            return executed.clone();
        }
        own.extend(executed);
        Arc::new(own)
    }

    /// How far the node of a Galera cluster has come.
    fn galera(&self) -> Option<GaleraPosition> {
        let Membership::Galera(node) = &self.membership else { return None };
        let (cluster, sequence) = (node.cluster.clone(), node.last_committed);
        node.is_in_component().then_some(GaleraPosition { cluster, sequence })
    }

    /// What this server has applied; `channel` is the one that leads to the primary.
    pub fn applied(&self, channel: Option<&Channel>) -> Applied {
        let mut applied = Applied {
            file: channel.and_then(|channel| channel.applied_file.clone()),
            galera: self.galera(),
            ..Applied::default()
        };
        match &self.gtids {
            Gtids::MySql(set) => applied.mysql = Some(set.clone()),
            Gtids::MariaDb { logged, replicated, state: _ } => {
                applied.mariadb =
                    Some(MariaDbApplied { replicated: replicated.clone(), logged: logged.clone() });
            }
            Gtids::None => {}
        }
        applied
    }

    /// All that it has committed, as far as that can be told.
    pub fn history(&self) -> Option<History> {
        self.gtids.history()
    }
}

/// Why a probe has no answer. The texts are for an operator and do not change from one attempt to
/// the next while the cause is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The connection broke or an answer did not come in time; a new connection is being tried.
    Silent(Arc<str>),
    /// No connection can be made.
    Unreachable(Arc<str>),
    /// The server has no connection left for the monitor: it is busy, not down.
    Full(Arc<str>),
    /// The account is refused, or lacks a privilege.
    Denied(Arc<str>),
}

/// How a probe ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Answered(Arc<Observation>),
    Failed(Failure),
}
