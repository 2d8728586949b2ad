//! `rwproxy setup`: from labelled servers to running, verified replication.
//!
//! | part | what it holds |
//! |---|---|
//! | [`options`] | what is asked for (pure) |
//! | [`plan`](mod@plan) | from both to steps, each with its statements, or to what stands in the way (pure) |
//! | `primary`, `gtids`, `accounts`, `replica`, `semi_sync`, `fragment` | the rules of one subject each (pure) |
//! | [`progress`] | how far a copy is, in words (pure) |
//! | `advice` | what errors of servers usually mean (pure) |
//! | [`secrets`] | the files that keep passwords |
//! | [`survey`] | all servers asked for what they are |
//! | [`perform`] | step by step, each looked at afterwards |
//! | `clone` | data by MySQL's clone plugin |
//! | [`copy`], `copying` | data over SQL |
//! | `verify` | whether it works, at the end |
//!
//! A plan is made anew after each step, from what the servers say then. So a step counts as done when
//! the next plan no longer has it, and a setup that was cut off goes on where it was.

pub mod accounts;
mod advice;
mod clone;
pub mod copy;
mod copying;
mod fragment;
pub mod gtids;
pub mod options;
pub mod perform;
pub mod plan;
pub(crate) mod primary;
pub mod progress;
mod replica;
pub mod secrets;
pub mod semi_sync;
pub mod survey;
mod verify;

use std::time::Duration;

use tokio::sync::watch;

use crate::administration::Access;
use crate::discovery::Catalog;

pub use fragment::written;
pub use options::{Accounts, Credentials, Options, SemiSyncOptions, WaitPoint};
pub use perform::{Event, Stopped};
pub use plan::{Obstacle, Plan, Step, plan};

/// What setup works with.
#[derive(Debug)]
pub struct Setup {
    /// The servers, as discovery finds them while this goes on.
    pub catalog: watch::Receiver<Catalog>,
    pub access: Access,
    pub accounts: Accounts,
    pub options: Options,
    /// What labels begin with.
    pub prefix: String,
    /// How long somebody is waited for who was asked to start a container.
    pub wait: Duration,
}

#[cfg(test)]
mod tests;
