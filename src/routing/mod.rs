//! Where a command goes: the topology snapshot and the decision, pure.

pub mod balance;
pub mod decide;
pub mod freshness;
pub mod topology;

pub use decide::{Attempt, Decision, Policy, Request, Unavailable, decide};
pub use freshness::{Demand, Freshness, SharedDemand};
pub use topology::{BackendId, Epoch, Topology};
