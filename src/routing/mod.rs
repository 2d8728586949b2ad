//! Where a command goes: the topology snapshot and the decision, pure.

pub mod balance;
pub mod candidates;
pub mod choice;
pub mod decide;
pub mod freshness;
pub mod membership;
pub mod rescues;
pub mod rules;
pub mod semi_sync;
pub mod topology;
pub mod wish;

pub use choice::Choice;
pub use decide::{Attempt, Decision, Policy, Request, Unavailable, decide, spills_over};
pub use freshness::{Demand, Freshness, SharedDemand};
pub use rescues::Rescues;
pub use rules::{Rules, Sender};
pub use topology::{BackendId, Epoch, Topology};
pub use wish::Wish;
