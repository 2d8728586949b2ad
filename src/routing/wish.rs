//! What a statement's hints ask of the server that it reads from.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::decide::Request;
use super::topology::{Backend, BackendId, Lag, Topology};
use crate::sql::{HintTarget, Hints};

/// Narrows a read down to some of the servers that take reads. A request for the primary stays
/// what it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// The server of this name, and no other.
    pub backend: Option<Arc<str>>,
    /// No replica that is further behind, or of which that is not known.
    pub max_lag: Option<Duration>,
}

/// The hint names no server of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownBackend(pub Arc<str>);

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the hint names no server of this cluster: {}", self.0)
    }
}

impl Wish {
    /// What the hints in a text ask for.
    pub fn of(sql: &[u8], hints: &Hints) -> Self {
        let backend = match &hints.target {
            Some(HintTarget::Backend(name)) => Some(String::from_utf8_lossy(name.of(sql)).into()),
            _ => None,
        };
        Wish { backend, max_lag: hints.max_lag }
    }

    /// The request, and the backends that it must avoid besides those in `avoid`.
    ///
    /// # Errors
    /// When there is no server of the name.
    pub fn narrow<'a>(
        &self,
        request: Request,
        topology: &Topology,
        avoid: &'a [BackendId],
    ) -> Result<(Request, Cow<'a, [BackendId]>), UnknownBackend> {
        let reads = matches!(request, Request::Read | Request::ReadAt(_));
        if !reads || *self == Wish::default() {
            return Ok((request, avoid.into()));
        }
        let named = match &self.backend {
            Some(name) => Some(named(topology, name)?),
            None => None,
        };
        if let Some(named) = named
            && topology.write_target().is_some_and(|primary| primary.id == named)
        {
            return Ok((Request::Primary, avoid.into()));
        }
        let is_fresh = |backend: &Backend| match self.max_lag {
            Some(most) => is_within(backend.lag, most),
            None => true,
        };
        let is_asked_for =
            |backend: &Backend| named.is_none_or(|named| named == backend.id) && is_fresh(backend);
        let mut avoided = avoid.to_vec();
        let others = topology.backends.iter().filter(|backend| !is_asked_for(backend));
        avoided.extend(others.map(|backend| backend.id));
        // Who asks for fresh data is served by the primary sooner than not at all.
        let is_left = |it: &Backend| it.reads.is_ok() && !avoided.contains(&it.id);
        let stale = self.max_lag.is_some() && !topology.backends.iter().any(is_left);
        let request = if stale { Request::Primary } else { request };
        Ok((request, avoided.into()))
    }
}

fn named(topology: &Topology, name: &Arc<str>) -> Result<BackendId, UnknownBackend> {
    let found = topology.backends.iter().find(|backend| backend.name == *name);
    found.map(|backend| backend.id).ok_or_else(|| UnknownBackend(name.clone()))
}

/// A lag that is frozen for want of a primary says nothing of now.
fn is_within(lag: Lag, most: Duration) -> bool {
    matches!(lag, Lag::Measured { behind, stale: false } if behind <= most)
}

#[cfg(test)]
mod tests {
    use super::super::topology::Writes;
    use super::super::topology::tests::topology;
    use super::super::{Attempt, Decision, Policy, Unavailable, decide};
    use super::*;
    use crate::config::NoReplica;

    /// Three replicas: db1 is 300 ms behind, db2 takes no reads, db3 has applied all.
    fn cluster() -> Topology {
        let mut topology = topology(3);
        let behind = Duration::from_millis(300);
        topology.backends[1].lag = Lag::Measured { behind, stale: false };
        topology.backends[2].reads = Err("drained".into());
        topology
    }

    /// Where ten reads go, each place once.
    fn places(wish: &Wish, topology: &Topology, policy: &Policy) -> Vec<Decision> {
        let mut places = Vec::new();
        for ticket in 0..10 {
            let (request, avoid) = wish.narrow(Request::Read, topology, &[]).unwrap();
            let place = decide(request, topology, policy, Attempt::undemanding(ticket, &avoid));
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    #[test]
    fn reads_are_narrowed_down() {
        let wish = |backend: &str, milliseconds: Option<u64>| Wish {
            backend: (!backend.is_empty()).then(|| backend.into()),
            max_lag: milliseconds.map(Duration::from_millis),
        };
        let whole = cluster();
        let mut headless = cluster();
        headless.writes = Writes::Stopped("none".into());
        for backend in &mut headless.backends {
            backend.lag = Lag::Measured { behind: Duration::ZERO, stale: true };
        }
        let at = |indexes: &[usize]| indexes.iter().map(|it| Decision::Backend(*it)).collect();
        let none = |reason| vec![Decision::Unavailable(reason)];
        let no_primary = Unavailable::NoPrimary("none".into());
        use NoReplica::{Error, Primary};
        let table: [(Wish, &Topology, NoReplica, Vec<Decision>); 12] = [
            (wish("", None), &whole, Primary, at(&[1, 3])),
            (wish("db1", None), &whole, Primary, at(&[1])),
            (wish("db3", None), &whole, Error, at(&[3])),
            (wish("db0", None), &whole, Error, at(&[0])),
            (wish("db2", None), &whole, Primary, at(&[0])),
            (wish("db2", None), &whole, Error, none(Unavailable::NoReplica)),
            (wish("", Some(100)), &whole, Primary, at(&[3])),
            (wish("", Some(300)), &whole, Primary, at(&[1, 3])),
            (wish("db1", Some(100)), &whole, Error, at(&[0])),
            (wish("db1", Some(400)), &whole, Error, at(&[1])),
            (wish("", Some(100)), &headless, Primary, none(no_primary)),
            (wish("db3", None), &headless, Primary, at(&[3])),
        ];
        for (wish, topology, no_replica, expected) in table {
            let policy = Policy { no_replica, ..Policy::default() };
            assert_eq!(places(&wish, topology, &policy), expected, "{wish:?}");
        }
    }

    #[test]
    fn what_has_failed_is_avoided_all_the_same() {
        let topology = cluster();
        let wish = Wish { backend: Some("db1".into()), max_lag: None };
        let failed = [topology.backends[1].id];
        let (request, avoid) = wish.narrow(Request::Read, &topology, &failed).unwrap();
        let decision =
            decide(request, &topology, &Policy::default(), Attempt::undemanding(0, &avoid));
        assert_eq!(decision, Decision::Backend(0));
    }

    #[test]
    fn names_must_be_known_and_writes_stay_where_they_are() {
        let wish = Wish { backend: Some("db9".into()), max_lag: None };
        let topology = cluster();
        assert_eq!(wish.narrow(Request::Read, &topology, &[]), Err(UnknownBackend("db9".into())));
        for request in [Request::Primary, Request::Previous(None)] {
            let narrowed = wish.narrow(request, &topology, &[]).unwrap();
            assert_eq!(narrowed, (request, Cow::Borrowed(&[][..])));
        }
    }
}
