//! The decision which backend serves a command: a pure function of what the command needs, the
//! topology and the policy.

use std::sync::Arc;

use super::balance;
use super::topology::{Backend, BackendId, State, Topology};
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

#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// What to do with reads when no replica takes them.
    pub no_replica: NoReplica,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Index into the topology's backends.
    Backend(usize),
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

/// Decides for one attempt. `ticket` is the number of this read among all reads; `avoid` names
/// backends that have failed this very statement.
pub fn decide(
    request: Request,
    topology: &Topology,
    policy: &Policy,
    ticket: u64,
    avoid: &[BackendId],
) -> Decision {
    match request {
        Request::ReadAt(backend) => topology
            .backends
            .iter()
            .position(|known| known.id == backend && known.reads.is_ok())
            .filter(|_| !avoid.contains(&backend))
            .map_or_else(
                || decide(Request::Read, topology, policy, ticket, avoid),
                Decision::Backend,
            ),
        Request::Read => match balance::pick(topology, ticket, avoid) {
            Some(index) => Decision::Backend(index),
            None => match policy.no_replica {
                NoReplica::Primary => primary(topology),
                NoReplica::Error => Decision::Unavailable(Unavailable::NoReplica),
                NoReplica::Wait => Decision::Unavailable(Unavailable::AwaitReplica),
            },
        },
        Request::Primary => primary(topology),
        Request::Previous(backend) => backend
            .and_then(|id| topology.backends.iter().position(|known| known.id == id))
            .filter(|index| {
                can_be_dialled(&topology.backends[*index])
                    && !avoid.contains(&topology.backends[*index].id)
            })
            .map_or_else(|| primary(topology), Decision::Backend),
    }
}

fn can_be_dialled(backend: &Backend) -> bool {
    backend.address.is_some() && backend.state == State::Up
}

fn primary(topology: &Topology) -> Decision {
    use super::topology::Writes;
    match &topology.writes {
        Writes::To(index) => Decision::Backend(*index),
        Writes::Stopped(reason) => Decision::Unavailable(Unavailable::NoPrimary(reason.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::topology::Writes;
    use super::super::topology::tests::topology;
    use super::*;

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
        let policy = |no_replica| Policy { no_replica };
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
        for (name, request, topology, no_replica, expected) in table {
            assert_eq!(decide(request, topology, &policy(no_replica), 0, &[]), expected, "{name}");
        }
    }

    #[test]
    fn a_read_that_failed_on_every_replica_goes_to_the_primary() {
        let topology = topology(2);
        let avoid: Vec<_> = topology.backends[1..].iter().map(|backend| backend.id).collect();
        let decision = decide(Request::Read, &topology, &Policy::default(), 0, &avoid);
        assert_eq!(decision, Decision::Backend(0));
    }
}
