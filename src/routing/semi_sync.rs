//! Semi-synchronous replication: a commit is answered only when replicas have acknowledged that
//! they have received it. What servers say of it, and what that means.

use std::time::Duration;

/// Both sides of a server, each `None` where the server has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SemiSync {
    pub source: Option<Source>,
    pub replica: Option<Replica>,
}

/// The side that waits for acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// `rpl_semi_sync_source_enabled`, `rpl_semi_sync_master_enabled`.
    pub enabled: bool,
    /// `Rpl_semi_sync_*_status`: off after a time-out has made commits asynchronous.
    pub active: bool,
    /// Replicas connected that acknowledge. MySQL notices one that has gone only when it has
    /// something to send.
    pub clients: u32,
    /// So many must acknowledge a commit; always 1 on MariaDB.
    pub wait_for: u32,
    /// How long a commit waits for them before it is answered all the same.
    pub timeout: Duration,
    /// How often it was switched off by a time-out, or for want of replicas (`no_times`).
    pub fallbacks: u64,
    /// Commits that were acknowledged (`yes_tx`), and that were not (`no_tx`).
    pub acknowledged: u64,
    pub unacknowledged: u64,
    /// Commits that wait now.
    pub waiting: u64,
    /// Failed calls for the time (`timefunc_failures`).
    pub clock_failures: u64,
}

/// The side that acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica {
    pub enabled: bool,
    /// It is connected and acknowledges.
    pub active: bool,
}

/// Why commits are answered, or may soon be, without an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asynchronous {
    SwitchedOff,
    FallenBack,
    /// Fewer acknowledging replicas are connected than a commit needs: it waits for the whole
    /// time-out, or (`wait_no_replica`, `wait_no_slave` off) not at all.
    TooFewReplicas,
}

impl Source {
    /// Why commits are not semi-synchronous now; `None` when they are.
    pub fn asynchronous(&self) -> Option<Asynchronous> {
        match self {
            Source { enabled: false, .. } => Some(Asynchronous::SwitchedOff),
            Source { active: false, .. } => Some(Asynchronous::FallenBack),
            Source { clients, wait_for, .. } if clients < wait_for => {
                Some(Asynchronous::TooFewReplicas)
            }
            _ => None,
        }
    }

    /// In a word or two for a table.
    pub fn state(&self) -> &'static str {
        match self.asynchronous() {
            None => "on",
            Some(Asynchronous::SwitchedOff) => "off",
            Some(Asynchronous::FallenBack) => "fallen back",
            Some(Asynchronous::TooFewReplicas) => "too few replicas",
        }
    }

    /// Who acknowledges, and how many must.
    pub fn replicas(&self) -> String {
        let Source { clients, wait_for, .. } = self;
        format!("{clients} acknowledging replica(s) connected, {wait_for} needed")
    }
}

impl Replica {
    /// In a word or two for a table.
    pub fn state(&self) -> &'static str {
        match self {
            Replica { enabled: false, .. } => "off",
            Replica { active: true, .. } => "on",
            _ => "not connected",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One that works, with two replicas of which one must acknowledge.
    pub const WORKING: Source = Source {
        enabled: true,
        active: true,
        clients: 2,
        wait_for: 1,
        timeout: Duration::from_secs(10),
        fallbacks: 3,
        acknowledged: 100,
        unacknowledged: 7,
        waiting: 0,
        clock_failures: 0,
    };

    #[test]
    fn what_is_semi_synchronous() {
        let table = [
            (WORKING, None),
            (Source { clients: 1, ..WORKING }, None),
            (Source { clients: 0, ..WORKING }, Some(Asynchronous::TooFewReplicas)),
            (Source { wait_for: 3, ..WORKING }, Some(Asynchronous::TooFewReplicas)),
            (Source { active: false, ..WORKING }, Some(Asynchronous::FallenBack)),
            (Source { active: false, clients: 0, ..WORKING }, Some(Asynchronous::FallenBack)),
            (Source { enabled: false, ..WORKING }, Some(Asynchronous::SwitchedOff)),
            (Source { enabled: false, active: false, ..WORKING }, Some(Asynchronous::SwitchedOff)),
        ];
        for (source, expected) in table {
            assert_eq!(source.asynchronous(), expected, "{source:?}");
        }
    }
}
