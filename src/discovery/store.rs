//! The published topology: one snapshot that everybody reads, and word of its changes.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::routing::Topology;

/// Holds the current topology. Readers never wait; one writer publishes.
#[derive(Debug)]
pub struct TopologyStore {
    current: ArcSwap<Topology>,
    published: watch::Sender<u64>,
}

impl TopologyStore {
    pub fn new(topology: Topology) -> Self {
        TopologyStore { current: ArcSwap::from_pointee(topology), published: watch::Sender::new(0) }
    }

    /// The current snapshot. Hold it for one attempt only, never across a wait (I5).
    pub fn load(&self) -> Guard<Arc<Topology>> {
        self.current.load()
    }

    /// The current snapshot, for longer than a look.
    pub fn load_full(&self) -> Arc<Topology> {
        self.current.load_full()
    }

    /// Replaces the snapshot, and tells those who wait for another if it may decide differently.
    pub fn publish(&self, topology: Topology) {
        let news = self.load().differs_for_routing(&topology);
        self.current.store(Arc::new(topology));
        if news {
            self.published.send_modify(|count| *count += 1);
        }
    }

    /// Tells of every later publication that may decide differently; lag alone does not. Subscribe before loading, or one may be missed.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }
}
