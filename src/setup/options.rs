//! What setup is asked for. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::Secret;

/// The command line's wishes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Servers whose own data may be lost.
    pub overwrite: BTreeSet<String>,
    /// `None`: semi-synchronous replication stays as it is.
    pub semi_sync: Option<SemiSyncOptions>,
    /// Replicas connect to their primary by TLS.
    pub tls: bool,
}

/// What is not given stays as it is, which at first is the server's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SemiSyncOptions {
    pub timeout: Option<Duration>,
    pub wait_point: Option<WaitPoint>,
    /// How many replicas must acknowledge a commit.
    pub replicas: Option<u32>,
}

/// When a commit waits for replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitPoint {
    /// Before others see it: nobody has read what a failover loses.
    AfterSync,
    /// After: only who has written it waits.
    AfterCommit,
}

impl WaitPoint {
    /// The value of the servers' variable.
    pub fn value(self) -> &'static str {
        match self {
            WaitPoint::AfterSync => "AFTER_SYNC",
            WaitPoint::AfterCommit => "AFTER_COMMIT",
        }
    }
}

/// An account, and the password that it has or is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: Secret,
    /// Where the password stands, in words for an operator.
    pub kept: String,
}

/// All accounts that setup has to do with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    /// That by which it works, on all servers.
    pub administrator: Credentials,
    pub replication: Credentials,
    pub monitor: Credentials,
}
