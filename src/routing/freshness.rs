//! What a session's reads must see, and which servers are known to have it.
//!
//! A write is known by its GTID, which the server tells with its OK, and by a sample: the first
//! sample of the primary's position that was begun after the reply. A replica has the write for
//! certain once it has applied that sample, which the monitor finds out by itself, or once it has
//! answered that it has the GTID, which takes a question. A write whose reply tells no GTID is
//! known by its sample alone.
//!
//! That a session does not see time run backwards is watched in the same way: what it read last
//! cannot be newer than the first sample begun after that read. A session that reads without pause
//! would thus stay where it is for good: now and then the server it reads on is asked where it
//! stands, and another one whether it has got as far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::topology::{Backend, BackendId, SampleNumber};
use crate::gtid::Transactions;

/// What a session's reads must see. Nothing at first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    own: Option<Writes>,
    /// Of all sessions that share a scope with it.
    shared: Option<Writes>,
    read: Option<LastRead>,
}

/// What the reads of several sessions must see: the writes of all of them.
#[derive(Debug, Default)]
pub struct SharedDemand {
    /// Rises with every write.
    version: AtomicU64,
    writes: Mutex<Option<Writes>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Writes {
    /// Those that were told by GTID.
    told: Option<Transactions>,
    /// Begun after the last one that was not.
    untold: Option<SampleNumber>,
    /// Begun after the last one of all.
    sample: SampleNumber,
    /// Who has answered that it has all that were told.
    have: Vec<BackendId>,
}

impl Writes {
    fn note(writes: &mut Option<Writes>, told: Option<Transactions>, sample: SampleNumber) {
        let none = Writes { told: None, untold: None, sample, have: Vec::new() };
        let writes = writes.get_or_insert(none);
        writes.sample = writes.sample.max(sample);
        match (told, &mut writes.told) {
            (None, _) => writes.untold = writes.untold.max(Some(sample)),
            (Some(more), Some(before)) => before.add(more),
            (Some(more), before) => *before = Some(more),
        }
        writes.have.clear();
    }

    fn freshness(&self, backend: &Backend) -> Freshness {
        let reached = |sample| backend.applied >= Some(sample);
        if reached(self.sample) {
            Freshness::Fresh
        } else if self.untold.is_some_and(|sample| !reached(sample)) {
            Freshness::Uncertain
        } else if self.have.contains(&backend.id) {
            Freshness::Fresh
        } else {
            Freshness::Unknown
        }
    }

    fn has(&mut self, backend: BackendId) {
        if !self.have.contains(&backend) {
            self.have.push(backend);
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct LastRead {
    backend: BackendId,
    /// Begun after it.
    sample: SampleNumber,
    /// Begun after the first of all reads that have stayed there.
    since: SampleNumber,
    /// Where that server stood, as it has said after the read.
    position: Option<Transactions>,
    /// Who has answered that it is as far.
    have: Vec<BackendId>,
}

/// Where a session stays, and for how many samples it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    pub backend: BackendId,
    pub samples: u64,
}

/// Whether a server has what must be seen, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    Fresh,
    /// It can be asked whether it has it.
    Unknown,
    /// Not known, and it cannot be asked.
    Uncertain,
}

impl Demand {
    /// Any server will do.
    pub const NOTHING: Demand = Demand { own: None, shared: None, read: None };

    /// Notes a write: what the reply has told of it, and the number of the first sample that can
    /// have been begun after the reply.
    ///
    /// Whatever was read before was committed before this write: who has it has that, too. (On
    /// MySQL by the order in which replicas commit, `replica_preserve_commit_order`, ON by
    /// default since 8.0.27.)
    pub fn wrote(&mut self, told: Option<Transactions>, sample: SampleNumber) {
        Writes::note(&mut self.own, told, sample);
        self.read = None;
    }

    /// Notes a read that must not be followed by an older one.
    pub fn read(&mut self, backend: BackendId, sample: SampleNumber) {
        match &mut self.read {
            Some(read) if read.backend == backend && read.position.is_none() => {
                read.sample = sample;
            }
            read => {
                *read = Some(LastRead {
                    backend,
                    sample,
                    since: sample,
                    position: None,
                    have: Vec::new(),
                });
            }
        }
    }

    /// The server that the session reads on without pause, and for how long, while others cannot be
    /// asked whether they are as far; `next` is the number of the next sample.
    pub fn stays_on(&self, next: SampleNumber) -> Option<Stay> {
        let read = self.read.as_ref().filter(|read| read.position.is_none())?;
        Some(Stay { backend: read.backend, samples: next.0.saturating_sub(read.since.0) })
    }

    /// The server that the session reads on has said where it stands, after the last read. `None`:
    /// it has not; it is asked again after a while.
    pub fn located(&mut self, position: Option<Transactions>, next: SampleNumber) {
        if let Some(read) = &mut self.read {
            read.since = next;
            read.position = position;
        }
    }

    /// Others can be asked whether they are as far as the session has read.
    pub fn is_located(&self) -> bool {
        self.read.as_ref().is_some_and(|read| read.position.is_some())
    }

    /// Notes that this server has answered that it has what it was asked for.
    pub fn has(&mut self, backend: BackendId) {
        for writes in [&mut self.own, &mut self.shared].into_iter().flatten() {
            writes.has(backend);
        }
        if let Some(read) = &mut self.read
            && read.position.is_some()
        {
            read.have.push(backend);
        }
    }

    /// Whether a server has all that must be seen.
    pub fn freshness(&self, backend: &Backend) -> Freshness {
        self.freshness_of_read(backend).max(self.freshness_of_writes(backend))
    }

    /// Whether a server is as far as the session has read elsewhere.
    pub fn freshness_of_read(&self, backend: &Backend) -> Freshness {
        match &self.read {
            Some(read) if read.backend != backend.id && backend.applied < Some(read.sample) => {
                match read.position.is_some() {
                    true if read.have.contains(&backend.id) => Freshness::Fresh,
                    true => Freshness::Unknown,
                    false => Freshness::Uncertain,
                }
            }
            _ => Freshness::Fresh,
        }
    }

    /// Whether a server has all that was written.
    pub fn freshness_of_writes(&self, backend: &Backend) -> Freshness {
        let worst = |writes: &Option<Writes>| {
            writes.as_ref().map_or(Freshness::Fresh, |writes| writes.freshness(backend))
        };
        worst(&self.own).max(worst(&self.shared))
    }

    /// Takes over what all sessions must see; `seen` is the version that was taken over last,
    /// if one was.
    pub fn join(&mut self, shared: &SharedDemand, seen: &mut Option<u64>) {
        // Before the writes, which may be of a later version then: that is no harm.
        let version = shared.version.load(Ordering::Acquire);
        if Some(version) == *seen {
            return;
        }
        *seen = Some(version);
        self.shared.clone_from(&shared.writes());
    }

    /// No other session's writes are to be seen any more.
    pub fn leave(&mut self) {
        self.shared = None;
    }

    /// The question that tells whether a server has what was told by GTID; see
    /// [`Transactions::wait`].
    pub fn question(&self, patience: Duration) -> Option<String> {
        let told = |writes: &Option<Writes>| writes.as_ref().and_then(|it| it.told.clone());
        let read = self.read.as_ref().and_then(|read| read.position.clone());
        let all = [told(&self.own), told(&self.shared), read].into_iter().flatten();
        let wanted = all.reduce(|mut wanted, more| {
            wanted.add(more);
            wanted
        })?;
        Some(wanted.wait(patience))
    }
}

impl SharedDemand {
    /// Notes a write, before its client hears of it; see [`Demand::wrote`].
    pub fn wrote(&self, told: Option<Transactions>, sample: SampleNumber) {
        let mut writes = self.writes();
        Writes::note(&mut writes, told, sample);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Notes that this server has answered that it has everything up to this version.
    pub fn has(&self, backend: BackendId, version: u64) {
        let mut writes = self.writes();
        if version == self.version.load(Ordering::Acquire)
            && let Some(writes) = &mut *writes
        {
            writes.has(backend);
        }
    }

    fn writes(&self) -> MutexGuard<'_, Option<Writes>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gtid::DomainPositions;

    fn replica(id: u32, applied: u64) -> Backend {
        Backend {
            applied: Some(SampleNumber(applied)),
            ..Backend::new(BackendId(id), format!("replica{id}"))
        }
    }

    fn told(text: &str) -> Option<Transactions> {
        Some(Transactions::MariaDb(DomainPositions::parse(text).expect("legal")))
    }

    #[test]
    fn a_session_that_has_done_nothing_reads_anywhere() {
        let demand = Demand::default();
        assert_eq!(demand.freshness(&replica(1, 0)), Freshness::Fresh);
        let unprobed = Backend::new(BackendId(1), "replica");
        assert_eq!(demand.freshness(&unprobed), Freshness::Fresh);
        assert_eq!(demand.question(Duration::ZERO), None);
    }

    #[test]
    fn a_write_is_had_by_its_sample_or_by_answer() {
        let mut demand = Demand::default();
        demand.wrote(told("0-1-7"), SampleNumber(10));
        assert_eq!(demand.freshness(&Backend::new(BackendId(1), "new")), Freshness::Unknown);
        assert_eq!(demand.freshness(&replica(1, 9)), Freshness::Unknown);
        assert_eq!(demand.freshness(&replica(1, 10)), Freshness::Fresh);
        demand.has(BackendId(1));
        assert_eq!(demand.freshness(&replica(1, 9)), Freshness::Fresh);
        assert_eq!(demand.freshness(&replica(2, 9)), Freshness::Unknown);
        // What one had of the first it need not have of the second.
        demand.wrote(told("0-1-8"), SampleNumber(12));
        assert_eq!(demand.freshness(&replica(1, 11)), Freshness::Unknown);
        let question = demand.question(Duration::from_millis(5)).expect("something is to be asked");
        assert!(question.contains("'0-1-8'"), "{question}");
    }

    #[test]
    fn what_was_not_told_is_had_by_its_sample_alone() {
        let mut demand = Demand::default();
        demand.wrote(None, SampleNumber(10));
        assert_eq!(demand.freshness(&replica(1, 9)), Freshness::Uncertain);
        assert_eq!(demand.freshness(&replica(1, 10)), Freshness::Fresh);
        // An answer about the second write says nothing of the first.
        demand.wrote(told("0-1-8"), SampleNumber(12));
        assert_eq!(demand.freshness(&replica(1, 9)), Freshness::Uncertain);
        demand.has(BackendId(1));
        assert_eq!(demand.freshness(&replica(1, 9)), Freshness::Uncertain);
        assert_eq!(demand.freshness(&replica(1, 10)), Freshness::Fresh);
        assert_eq!(demand.freshness(&replica(2, 10)), Freshness::Unknown);
        // And the other way round.
        demand.wrote(None, SampleNumber(20));
        assert_eq!(demand.freshness(&replica(1, 12)), Freshness::Uncertain);
    }

    #[test]
    fn time_does_not_run_backwards() {
        let mut demand = Demand::default();
        demand.read(BackendId(1), SampleNumber(10));
        assert_eq!(demand.freshness(&replica(1, 3)), Freshness::Fresh);
        assert_eq!(demand.freshness(&replica(2, 9)), Freshness::Uncertain);
        assert_eq!(demand.freshness(&replica(2, 10)), Freshness::Fresh);
        // A server that has a later write has what was read before.
        demand.wrote(told("0-1-8"), SampleNumber(12));
        assert_eq!(demand.freshness(&replica(2, 9)), Freshness::Unknown);
        demand.has(BackendId(2));
        assert_eq!(demand.freshness(&replica(2, 9)), Freshness::Fresh);
        demand.read(BackendId(2), SampleNumber(13));
        assert_eq!(demand.freshness(&replica(1, 12)), Freshness::Uncertain);
        assert_eq!(demand.freshness_of_writes(&replica(1, 12)), Freshness::Fresh);
    }

    #[test]
    fn a_session_that_reads_without_pause_can_move_on() {
        let mut demand = Demand::default();
        for sample in 10..40 {
            demand.read(BackendId(1), SampleNumber(sample));
        }
        let stay = |samples| Some(Stay { backend: BackendId(1), samples });
        assert_eq!(demand.stays_on(SampleNumber(40)), stay(30));
        demand.located(None, SampleNumber(40));
        assert_eq!(demand.stays_on(SampleNumber(41)), stay(1), "not at once again");
        assert!(!demand.is_located());
        let Some(Transactions::MariaDb(position)) = told("0-1-7") else { panic!("no position") };
        demand.located(Some(Transactions::MariaDb(position)), SampleNumber(41));
        assert!(demand.is_located());
        assert_eq!(demand.freshness(&replica(2, 30)), Freshness::Unknown);
        let question = demand.question(Duration::ZERO).expect("a position");
        assert!(question.contains("'0-1-7'"), "{question}");
        demand.has(BackendId(2));
        assert_eq!(demand.freshness(&replica(2, 30)), Freshness::Fresh);
        // Another read where it was may show more.
        demand.read(BackendId(1), SampleNumber(42));
        assert_eq!(demand.freshness(&replica(2, 30)), Freshness::Uncertain);
    }

    #[test]
    fn what_one_session_writes_all_must_see() {
        let shared = SharedDemand::default();
        let (mut demand, mut seen) = (Demand::default(), None);
        demand.join(&shared, &mut seen);
        assert_eq!(demand, Demand::NOTHING);
        shared.wrote(told("0-1-7"), SampleNumber(10));
        demand.join(&shared, &mut seen);
        assert_eq!(demand.freshness(&replica(1, 9)), Freshness::Unknown);
        shared.has(BackendId(1), seen.expect("joined"));
        let (mut other, mut other_seen) = (Demand::default(), None);
        other.join(&shared, &mut other_seen);
        assert_eq!(other.freshness(&replica(1, 9)), Freshness::Fresh);
        // An answer about what was asked for before the next write says nothing of that.
        shared.wrote(told("0-1-8"), SampleNumber(10));
        shared.has(BackendId(1), seen.expect("joined"));
        demand.join(&shared, &mut seen);
        assert_eq!(demand.freshness(&replica(1, 9)), Freshness::Unknown);
        // Replies are noted in any order.
        shared.wrote(None, SampleNumber(12));
        shared.wrote(None, SampleNumber(11));
        demand.join(&shared, &mut seen);
        assert_eq!(demand.freshness(&replica(1, 11)), Freshness::Uncertain);
        // Its own writes are its own.
        demand.wrote(told("0-1-9"), SampleNumber(13));
        let question = demand.question(Duration::ZERO).expect("both were told");
        assert!(question.contains("'0-1-9'"), "{question}");
        assert_eq!(demand.freshness(&replica(1, 12)), Freshness::Unknown);
        demand.leave();
        assert_eq!(demand.freshness(&replica(1, 11)), Freshness::Unknown);
        assert_eq!(demand.freshness(&replica(1, 13)), Freshness::Fresh);
    }
}
