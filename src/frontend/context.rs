//! What all sessions share.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::sync::Semaphore;

use super::limits::Limits;
use super::login::LoginContext;
use super::registry::Registry;
use super::scopes::Scopes;
use crate::backend::pools::Pools;
use crate::config::{Balance, Consistency, TokenScope};
use crate::discovery::TopologyStore;
use crate::metrics::Metrics;
use crate::monitor::{Abandoned, Samples};
use crate::net::tls::client::ClientTls;
use crate::routing::{Policy, Rescues, Rules};
use crate::session::statements::Texts;
use crate::sql::Dialect;
use crate::sql::cache::Worker;

/// Handed to every session. What a reload can change is behind an `ArcSwap` and read once per
/// attempt.
pub struct Context {
    pub topology: Arc<TopologyStore>,
    pub pools: Arc<Pools>,
    pub registry: Arc<Registry>,
    pub metrics: Arc<Metrics>,
    pub limits: Limits,
    pub login: LoginContext,
    /// How a new session's statements are to be read on the primary.
    pub dialect: ArcSwap<Dialect>,
    pub backend_tls: ClientTls,
    pub traffic: ArcSwap<Traffic>,
    /// The servers' collations: number in a handshake to `charset COLLATE collation`.
    pub collations: ArcSwap<Collations>,
    /// The texts that are prepared somewhere.
    pub texts: Texts,
    /// Second opinions on statements that the token scan leaves open.
    pub opinions: Worker,
    /// Puts writes and samples of the primary's position in order.
    pub samples: Samples,
    /// Connections to servers that were given up and must be ended there.
    pub abandoned: Abandoned,
    /// What sessions have written that others must see.
    pub scopes: Scopes,
    /// Reads that replicas have refused lately.
    pub rescues: Rescues,
    /// Numbers reads, for the balancer.
    pub tickets: std::sync::atomic::AtomicU64,
}

impl Context {
    /// The number of the next read.
    pub fn next_ticket(&self) -> u64 {
        self.tickets.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

/// Settings of traffic that a reload can change.
#[derive(Debug, Clone)]
pub struct Traffic {
    pub policy: Policy,
    pub rules: Rules,
    /// Which of several replicas takes a read.
    pub balance: Balance,
    /// Places of reads that run on the primary for want of replicas; `None`: no limit.
    pub spills: Option<Arc<Semaphore>>,
    /// What a read must see.
    pub consistency: Consistency,
    /// Whose writes a session sees under consistency `session`.
    pub token_scope: TokenScope,
    /// Whether a read may not be older than the one before it.
    pub monotonic: bool,
    /// How far a replica may be behind and take reads.
    pub max_lag: Duration,
    /// How long a command waits for a connection.
    pub lease_timeout: Duration,
    /// How long a write waits for a primary.
    pub write_hold: Duration,
    /// How long opening a connection may take, and each private command on it.
    pub connect_timeout: Duration,
    /// Statements that take at least this long are logged; `None`: none are.
    pub slow: Option<Duration>,
    /// A statement that runs longer is killed; `None`: none is.
    pub statement_timeout: Option<Duration>,
    /// How long a client may say nothing; `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// Most clients at once: in all, of one user, of one address.
    pub max_connections: u32,
    pub per_user_connections: Option<u32>,
    pub per_address_connections: Option<u32>,
    /// Networks of proxies that say for whom they speak (PROXY protocol).
    pub proxies: Arc<[IpNet]>,
}

/// Names of collations by their number, as the primary lists them.
#[derive(Debug, Default)]
pub struct Collations(pub Vec<(u16, Box<str>, Box<str>)>);

impl Collations {
    /// `SET NAMES …` for the collation of a login. `None` for a number that the server does not
    /// know.
    pub fn set_names(&self, id: u16) -> Option<String> {
        let index = self.0.binary_search_by_key(&id, |(id, ..)| *id).ok()?;
        let (_, character_set, collation) = &self.0[index];
        Some(format!("SET NAMES {character_set} COLLATE {collation}"))
    }
}
