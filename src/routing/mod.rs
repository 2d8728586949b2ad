//! Where a command goes: the topology snapshot and the decision, pure.

pub mod balance;
pub mod decide;
pub mod topology;

pub use decide::{Decision, Policy, Request, Unavailable, decide};
pub use topology::{BackendId, Epoch, Topology};
