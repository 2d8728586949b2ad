//! The decision which backend serves a command: a pure function of what the command needs, the
//! topology and the policy.

use std::sync::Arc;
use std::time::Duration;

use super::balance;
use super::freshness::{Demand, Freshness};
use super::topology::{Backend, BackendId, Lag, SampleNumber, State, Topology, Writes};
use crate::config::NoReplica;

/// What a command needs, after its session's state has had its say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Any server that takes reads.
    Read,
    /// The same; best this one, if it takes reads.
    ReadAt(BackendId),
    /// The primary, and nothing else.
    Primary,
    /// The connection of this backend that served the previous statement, if it can still be
    /// had; else the primary.
    Previous(Option<BackendId>),
}

/// After so many rounds of probes a session that reads on one replica without pause moves on.
const STAY: u64 = 10;
/// The same for one that reads on the primary because no replica would do.
const STAY_ON_PRIMARY: u64 = 1;

#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// What to do with reads when no replica takes them.
    pub no_replica: NoReplica,
    /// How long a replica may be waited for that is not known to have what a read must see.
    pub wait: Duration,
    /// How much of a measured lag may come from the measuring: a replica is seen to have applied
    /// something when it is probed next.
    pub blur: Duration,
}

/// What one attempt to serve a command knows beside the topology.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The number of this read among all reads.
    pub ticket: u64,
    /// Statements in flight on each of the topology's backends, where the least busy is to be
    /// chosen; else empty.
    pub busy: &'a [u32],
    /// Backends that have failed this very statement.
    pub avoid: &'a [BackendId],
    /// What reads must see.
    pub demand: &'a Demand,
    /// A server may be asked whether it has that.
    pub may_ask: bool,
    /// The number of the next sample.
    pub next_sample: SampleNumber,
}

impl<'a> Attempt<'a> {
    /// Of somebody to whom every replica is fresh enough.
    pub fn undemanding(ticket: u64, avoid: &'a [BackendId]) -> Self {
        let (demand, next_sample) = (&Demand::NOTHING, SampleNumber(1));
        Attempt { ticket, busy: &[], avoid, demand, may_ask: false, next_sample }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Index into the topology's backends.
    Backend(usize),
    /// The same, once that one has answered that it has what must be seen.
    Ask(usize),
    /// The primary, once it shows what it is committing: the session has read on a replica what may
    /// be a part of that.
    Settle(usize),
    /// First this one is to say where it stands: the session has read there for long, and is to
    /// move on.
    Locate(usize),
    Unavailable(Unavailable),
}

/// Why no backend serves the command now; a wait for another topology may help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// No single writable primary; the reason in words.
    NoPrimary(Arc<str>),
    /// No replica takes reads, and the policy is an error.
    NoReplica,
    /// No replica takes reads, and the policy is to wait for one.
    AwaitReplica,
}

/// Decides for one attempt.
pub fn decide(
    request: Request,
    topology: &Topology,
    policy: &Policy,
    attempt: Attempt<'_>,
) -> Decision {
    match request {
        Request::ReadAt(backend) => topology
            .backends
            .iter()
            .position(|known| known.id == backend && known.reads.is_ok())
            .filter(|index| {
                !attempt.avoid.contains(&backend)
                    && attempt.demand.freshness(&topology.backends[*index]) == Freshness::Fresh
            })
            .map_or_else(|| decide(Request::Read, topology, policy, attempt), Decision::Backend),
        Request::Read => read(topology, policy, attempt),
        Request::Primary => primary(topology),
        Request::Previous(backend) => backend
            .and_then(|id| topology.backends.iter().position(|known| known.id == id))
            .filter(|index| {
                can_be_dialled(&topology.backends[*index])
                    && !attempt.avoid.contains(&topology.backends[*index].id)
            })
            .map_or_else(|| primary(topology), Decision::Backend),
    }
}

/// A replica that has what must be seen; else one that may have it in time; else the primary.
fn read(topology: &Topology, policy: &Policy, attempt: Attempt<'_>) -> Decision {
    let Attempt { ticket, busy, avoid, demand, may_ask, .. } = attempt;
    let not_avoided = |backend: &Backend| !avoid.contains(&backend.id);
    if may_ask && let Some(index) = left_behind(topology, attempt) {
        return Decision::Locate(index);
    }
    if may_ask && demand.is_located() {
        let within_reach = |backend: &Backend| {
            not_avoided(backend)
                && match demand.freshness(backend) {
                    Freshness::Fresh => true,
                    Freshness::Unknown => may_catch_up(backend, policy),
                    Freshness::Uncertain => false,
                }
        };
        if let Some(index) = balance::pick(topology, ticket, busy, within_reach) {
            return match demand.freshness(&topology.backends[index]) {
                Freshness::Fresh => Decision::Backend(index),
                _ => Decision::Ask(index),
            };
        }
    }
    let fresh =
        |backend: &Backend| not_avoided(backend) && demand.freshness(backend) == Freshness::Fresh;
    if let Some(index) = balance::pick(topology, ticket, busy, fresh) {
        return Decision::Backend(index);
    }
    let in_time = |backend: &Backend| {
        not_avoided(backend)
            && demand.freshness(backend) == Freshness::Unknown
            && may_catch_up(backend, policy)
    };
    if may_ask && let Some(index) = balance::pick(topology, ticket, busy, in_time) {
        return Decision::Ask(index);
    }
    if balance::pick(topology, ticket, busy, not_avoided).is_none() {
        return match policy.no_replica {
            NoReplica::Primary => primary_for_reads(topology, attempt),
            NoReplica::Error => Decision::Unavailable(Unavailable::NoReplica),
            NoReplica::Wait => Decision::Unavailable(Unavailable::AwaitReplica),
        };
    }
    match primary_for_reads(topology, attempt) {
        Decision::Unavailable(unavailable) => {
            without_primary(topology, attempt).unwrap_or(Decision::Unavailable(unavailable))
        }
        serves => serves,
    }
}

/// Whether a read that is served by the primary is served there because no replica may take it, and
/// not because none is known to have what must be seen.
pub fn spills_over(request: Request, topology: &Topology, attempt: Attempt<'_>) -> bool {
    let not_avoided = |backend: &Backend| !attempt.avoid.contains(&backend.id);
    matches!(request, Request::Read | Request::ReadAt(_))
        && balance::pick(topology, attempt.ticket, &[], not_avoided).is_none()
}

/// The server that the session has read on for so long that it should move on, if there is another
/// one to move to.
fn left_behind(topology: &Topology, attempt: Attempt<'_>) -> Option<usize> {
    let stays = attempt.demand.stays_on(attempt.next_sample)?;
    let rounds = match topology.primary() {
        Some(primary) if primary.id == stays.backend => STAY_ON_PRIMARY,
        _ => STAY,
    };
    // Each round of probes gives every server a number.
    if stays.samples < rounds * topology.backends.len() as u64 {
        return None;
    }
    let stays = stays.backend;
    let elsewhere = |backend: &Backend| backend.id != stays && !attempt.avoid.contains(&backend.id);
    balance::pick(topology, attempt.ticket, attempt.busy, elsewhere)?;
    let is_it =
        |backend: &Backend| backend.id == stays && backend.has_gtids && can_be_dialled(backend);
    topology.backends.iter().position(is_it)
}

/// Reads go on without a primary: on whatever has the session's writes. There are no new samples by
/// which to know that one replica is as far as another.
fn without_primary(topology: &Topology, attempt: Attempt<'_>) -> Option<Decision> {
    let Attempt { ticket, busy, avoid, demand, may_ask, .. } = attempt;
    let with = |wanted| {
        balance::pick(topology, ticket, busy, |backend| {
            !avoid.contains(&backend.id) && demand.freshness_of_writes(backend) == wanted
        })
    };
    let asked = || with(Freshness::Unknown).filter(|_| may_ask).map(Decision::Ask);
    with(Freshness::Fresh).map(Decision::Backend).or_else(asked)
}

/// Whether a replica is so little behind that the wait may be enough.
fn may_catch_up(backend: &Backend, policy: &Policy) -> bool {
    match backend.lag {
        Lag::Measured { behind, .. } => {
            !policy.wait.is_zero() && behind <= policy.wait + policy.blur
        }
        Lag::Unknown => false,
    }
}

fn can_be_dialled(backend: &Backend) -> bool {
    backend.address.is_some() && backend.state == State::Up
}

/// For what may write, or is not understood.
fn primary(topology: &Topology) -> Decision {
    match &topology.writes {
        Writes::To(index) => Decision::Backend(*index),
        Writes::Held { reason, .. } | Writes::Stopped(reason) => {
            Decision::Unavailable(Unavailable::NoPrimary(reason.clone()))
        }
    }
}

fn primary_for_reads(topology: &Topology, attempt: Attempt<'_>) -> Decision {
    match &topology.writes {
        Writes::To(index) | Writes::Held { primary: index, .. } => {
            let read = attempt.demand.freshness_of_read(&topology.backends[*index]);
            match attempt.may_ask && read != Freshness::Fresh {
                true => Decision::Settle(*index),
                false => Decision::Backend(*index),
            }
        }
        Writes::Stopped(reason) => Decision::Unavailable(Unavailable::NoPrimary(reason.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::topology::tests::topology;
    use super::*;
    use crate::gtid::{DomainPositions, Transactions};

    fn attempt<'a>(avoid: &'a [BackendId], demand: &'a Demand) -> Attempt<'a> {
        Attempt {
            ticket: 0,
            busy: &[],
            avoid,
            demand,
            may_ask: true,
            next_sample: SampleNumber(40),
        }
    }

    #[test]
    fn decisions() {
        let whole = topology(2);
        let mut no_replicas = topology(2);
        for backend in &mut no_replicas.backends {
            backend.reads = Err("lags".into());
        }
        let mut down = topology(2);
        down.backends[2].state = State::Down("stopped".into());
        let mut headless = topology(2);
        headless.writes = Writes::Stopped("two writable".into());
        let stopped = || Decision::Unavailable(Unavailable::NoPrimary("two writable".into()));
        let mut held = no_replicas.clone();
        held.writes = Writes::Held { primary: 0, reason: "two writable".into() };
        let policy = |no_replica| Policy { no_replica, ..Policy::default() };
        let replica = Some(whole.backends[2].id);
        let table = [
            ("read", Request::Read, &whole, NoReplica::Primary, Decision::Backend(1)),
            (
                "read at",
                Request::ReadAt(whole.backends[2].id),
                &whole,
                NoReplica::Primary,
                Decision::Backend(2),
            ),
            (
                "read at one that takes none",
                Request::ReadAt(whole.backends[0].id),
                &whole,
                NoReplica::Primary,
                Decision::Backend(1),
            ),
            ("write", Request::Primary, &whole, NoReplica::Primary, Decision::Backend(0)),
            (
                "read falls back",
                Request::Read,
                &no_replicas,
                NoReplica::Primary,
                Decision::Backend(0),
            ),
            (
                "read is refused",
                Request::Read,
                &no_replicas,
                NoReplica::Error,
                Decision::Unavailable(Unavailable::NoReplica),
            ),
            (
                "read waits",
                Request::Read,
                &no_replicas,
                NoReplica::Wait,
                Decision::Unavailable(Unavailable::AwaitReplica),
            ),
            (
                "read without primary",
                Request::Read,
                &headless,
                NoReplica::Primary,
                Decision::Backend(1),
            ),
            ("write without primary", Request::Primary, &headless, NoReplica::Primary, stopped()),
            (
                "read on a primary that is not to be written",
                Request::Read,
                &held,
                NoReplica::Primary,
                Decision::Backend(0),
            ),
            ("write to it", Request::Primary, &held, NoReplica::Primary, stopped()),
            (
                "diagnostics where they are",
                Request::Previous(replica),
                &no_replicas,
                NoReplica::Error,
                Decision::Backend(2),
            ),
            (
                "diagnostics of a backend that is down",
                Request::Previous(replica),
                &down,
                NoReplica::Error,
                Decision::Backend(0),
            ),
            (
                "diagnostics of a backend that is gone",
                Request::Previous(Some(BackendId(99))),
                &whole,
                NoReplica::Error,
                Decision::Backend(0),
            ),
        ];
        let demand = Demand::default();
        for (name, request, topology, no_replica, expected) in table {
            let decision = decide(request, topology, &policy(no_replica), attempt(&[], &demand));
            assert_eq!(decision, expected, "{name}");
        }
    }

    #[test]
    fn a_read_that_failed_on_every_replica_goes_to_the_primary() {
        let topology = topology(2);
        let avoid: Vec<_> = topology.backends[1..].iter().map(|backend| backend.id).collect();
        let attempt = attempt(&avoid, &Demand::NOTHING);
        let decision = decide(Request::Read, &topology, &Policy::default(), attempt);
        assert_eq!(decision, Decision::Backend(0));
    }

    #[test]
    fn reads_spill_over_when_no_replica_takes_them() {
        let whole = topology(2);
        let mut lagging = topology(2);
        for backend in &mut lagging.backends {
            backend.reads = Err("lags".into());
        }
        let (written, _) = writes();
        let both: Vec<_> = whole.backends[1..].iter().map(|backend| backend.id).collect();
        let table = [
            ("replicas take reads", Request::Read, &whole, &both[..0], false),
            ("both have failed", Request::Read, &whole, &both[..], true),
            ("one has failed", Request::Read, &whole, &both[..1], false),
            ("none takes reads", Request::Read, &lagging, &both[..0], true),
            ("a replica that was named", Request::ReadAt(both[0]), &lagging, &both[..0], true),
            ("a write", Request::Primary, &lagging, &both[..0], false),
        ];
        for (name, request, topology, avoid, expected) in table {
            // What must be seen is another matter.
            for demand in [&Demand::NOTHING, &written] {
                let spills = spills_over(request, topology, attempt(avoid, demand));
                assert_eq!(spills, expected, "{name}");
            }
        }
    }

    /// A write that was told by GTID, and one that was not.
    fn writes() -> (Demand, Demand) {
        let told = DomainPositions::parse("0-1-7").ok().map(Transactions::MariaDb);
        let (mut written, mut untold) = (Demand::default(), Demand::default());
        written.wrote(told, SampleNumber(10));
        untold.wrote(None, SampleNumber(10));
        (written, untold)
    }

    /// Replicas that have applied these samples and lag this many milliseconds.
    fn replicas(replicas: [(u64, u64); 2]) -> Topology {
        let mut topology = topology(2);
        for (backend, (sample, lag)) in topology.backends[1..].iter_mut().zip(replicas) {
            backend.applied = Some(SampleNumber(sample));
            backend.lag = Lag::Measured { behind: Duration::from_millis(lag), stale: false };
        }
        topology
    }

    #[test]
    fn a_read_goes_where_its_sessions_writes_are() {
        let policy = Policy { wait: Duration::from_millis(50), ..Policy::default() };
        let (written, untold) = writes();
        let first = topology(2).backends[1].id;
        let mut seen = Demand::default();
        seen.read(first, SampleNumber(10));
        let table = [
            ("both have it", replicas([(10, 0), (10, 0)]), &written, Decision::Backend(1)),
            ("one has it", replicas([(9, 0), (10, 0)]), &written, Decision::Backend(2)),
            ("both may have it", replicas([(9, 0), (9, 0)]), &written, Decision::Ask(1)),
            ("one lags", replicas([(9, 51), (9, 50)]), &written, Decision::Ask(2)),
            ("both lag", replicas([(9, 51), (9, 51)]), &written, Decision::Backend(0)),
            ("not told, not had", replicas([(9, 0), (9, 0)]), &untold, Decision::Backend(0)),
            ("not told, had", replicas([(9, 0), (10, 0)]), &untold, Decision::Backend(2)),
            ("where it read last", replicas([(3, 0), (9, 0)]), &seen, Decision::Backend(1)),
        ];
        for (name, topology, demand, expected) in table {
            // An even ticket is the first one's.
            let decision = decide(Request::Read, &topology, &policy, attempt(&[], demand));
            assert_eq!(decision, expected, "{name}");
        }
        let topology = replicas([(9, 0), (9, 0)]);
        let decide = |attempt| super::decide(Request::Read, &topology, &policy, attempt);
        let asked = Attempt { may_ask: false, ..attempt(&[], &written) };
        assert_eq!(decide(asked), Decision::Backend(0), "after an answer that was no");
        let avoided = [first];
        let elsewhere = attempt(&avoided, &seen);
        assert_eq!(decide(elsewhere), Decision::Settle(0), "its replica failed");
        let asked = Attempt { may_ask: false, ..elsewhere };
        assert_eq!(decide(asked), Decision::Backend(0), "after no answer");
        let mut caught_up = topology.clone();
        caught_up.backends[0].applied = Some(SampleNumber(10));
        let decision = super::decide(Request::Read, &caught_up, &policy, elsewhere);
        assert_eq!(decision, Decision::Backend(0), "the primary shows what was read");
        let mut none_takes_reads = topology.clone();
        for backend in &mut none_takes_reads.backends[1..] {
            backend.reads = Err("down".into());
        }
        let decision = super::decide(Request::Read, &none_takes_reads, &policy, elsewhere);
        assert_eq!(decision, Decision::Settle(0), "for want of replicas");
        let never = Policy { wait: Duration::ZERO, ..policy.clone() };
        let decision = super::decide(Request::Read, &topology, &never, attempt(&[], &written));
        assert_eq!(decision, Decision::Backend(0), "no wait");
    }

    #[test]
    fn a_session_that_has_stayed_for_long_moves_on() {
        let policy = Policy { wait: Duration::from_millis(50), ..Policy::default() };
        let mut topology = replicas([(9, 0), (9, 0)]);
        let (first, second) = (topology.backends[1].id, topology.backends[2].id);
        let mut demand = Demand::default();
        demand.read(first, SampleNumber(10));
        let decide = |topology: &Topology, demand: &Demand, ticket| {
            let attempt = Attempt { ticket, ..attempt(&[], demand) };
            decide(Request::Read, topology, &policy, attempt)
        };
        // Three servers, ten rounds: thirty numbers.
        assert_eq!(decide(&topology, &demand, 1), Decision::Backend(1), "no GTIDs to ask for");
        topology.backends[1].has_gtids = true;
        assert_eq!(decide(&topology, &demand, 1), Decision::Locate(1));
        demand.located(
            DomainPositions::parse("0-1-7").ok().map(Transactions::MariaDb),
            SampleNumber(40),
        );
        assert_eq!(decide(&topology, &demand, 0), Decision::Backend(1));
        assert_eq!(decide(&topology, &demand, 1), Decision::Ask(2));
        demand.has(second);
        assert_eq!(decide(&topology, &demand, 1), Decision::Backend(2));
    }

    #[test]
    fn reads_go_on_without_a_primary_where_the_writes_are() {
        let policy = Policy { wait: Duration::from_millis(50), ..Policy::default() };
        let (written, untold) = writes();
        let mut topology = replicas([(9, 900), (9, 900)]);
        let mut seen = Demand::default();
        seen.read(topology.backends[0].id, SampleNumber(10));
        topology.writes = Writes::Stopped("gone".into());
        let decide = |demand| decide(Request::Read, &topology, &policy, attempt(&[], demand));
        assert_eq!(decide(&written), Decision::Ask(1));
        assert_eq!(decide(&seen), Decision::Backend(1));
        let gone = Decision::Unavailable(Unavailable::NoPrimary("gone".into()));
        assert_eq!(decide(&untold), gone);
    }
}
