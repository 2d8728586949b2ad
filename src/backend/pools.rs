//! The pools of all backends that are known.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use super::pool::Pool;
use crate::config::MaxPerBackend;
use crate::metrics::Metrics;
use crate::routing::topology::{Backend, BackendId, Topology};

/// Connections of a server that `max_per_backend = "auto"` leaves to operators and the monitor.
pub const RESERVE: usize = 11;
/// The limit under "auto" while the server's own is not known; the servers' default is 151.
const UNKNOWN: usize = 100;

/// Most connections to a backend with this `max_connections`: shared ones, and those that pinned
/// sessions may keep beside them.
fn limits(setting: MaxPerBackend, max_connections: Option<u32>) -> (usize, usize) {
    let most = match max_connections {
        None => UNKNOWN,
        Some(max) => (max as usize).saturating_sub(RESERVE).max(1),
    };
    match setting {
        MaxPerBackend::Fixed(limit) => (limit as usize, most.saturating_sub(limit as usize)),
        MaxPerBackend::Auto => (most, 0),
    }
}

#[derive(Debug)]
pub struct Pools {
    pools: ArcSwap<HashMap<BackendId, Arc<Pool>, RandomState>>,
    limit: MaxPerBackend,
    metrics: Arc<Metrics>,
}

impl Pools {
    pub fn new(limit: MaxPerBackend, metrics: Arc<Metrics>) -> Self {
        Pools { pools: ArcSwap::default(), limit, metrics }
    }

    /// The backend's pool, made at its first use.
    pub fn of(&self, backend: &Backend) -> Arc<Pool> {
        if let Some(pool) = self.pools.load().get(&backend.id) {
            return pool.clone();
        }
        let (limit, pinned) = limits(self.limit, backend.max_connections);
        let fresh = Pool::new(
            backend.id,
            backend.name.clone(),
            limit,
            pinned,
            self.metrics.backends.of(&backend.name),
        );
        self.pools.rcu(|pools| {
            let mut pools = HashMap::clone(pools);
            pools.entry(backend.id).or_insert_with(|| fresh.clone());
            pools
        });
        self.pools.load().get(&backend.id).cloned().unwrap_or(fresh)
    }

    pub fn all(&self) -> Vec<Arc<Pool>> {
        self.pools.load().values().cloned().collect()
    }

    pub fn get(&self, id: BackendId) -> Option<Arc<Pool>> {
        self.pools.load().get(&id).cloned()
    }

    /// The statements in flight on each of the topology's backends, as far as they are counted.
    pub fn in_flight(&self, topology: &Topology) -> Vec<u32> {
        let pools = self.pools.load();
        let of = |backend: &Backend| pools.get(&backend.id).map_or(0, |pool| pool.in_flight());
        topology.backends.iter().map(of).collect()
    }

    /// Retires the pools of backends that the topology no longer holds.
    pub fn follow(&self, topology: &Topology) {
        let gone = |id: &BackendId| topology.backend(*id).is_none();
        if !self.pools.load().keys().any(gone) {
            return;
        }
        let before = self.pools.rcu(|pools| {
            let mut pools = HashMap::clone(pools);
            pools.retain(|id, _| !gone(id));
            pools
        });
        for (_, pool) in before.iter().filter(|(id, _)| gone(id)) {
            pool.retire();
        }
    }
}
