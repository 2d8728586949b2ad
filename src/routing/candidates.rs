//! Which servers may serve a request now, for people who ask.

use std::sync::Arc;

use super::decide::{Attempt, Decision, Policy, Request, Unavailable, decide};
use super::topology::Topology;
use super::wish::{UnknownBackend, Wish};

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nobody {
    UnknownBackend(UnknownBackend),
    Unavailable(Unavailable),
}

/// The names of the servers among which a request is balanced now: what [`decide`] decides.
///
/// # Errors
/// When there is none, with the cause.
pub fn candidates(
    request: Request,
    wish: &Wish,
    topology: &Topology,
    policy: &Policy,
) -> Result<Vec<Arc<str>>, Nobody> {
    let (request, avoid) = wish.narrow(request, topology, &[]).map_err(Nobody::UnknownBackend)?;
    let mut avoid = avoid.into_owned();
    let mut names = Vec::new();
    loop {
        let backend = match decide(request, topology, policy, Attempt::undemanding(0, &avoid)) {
            Decision::Backend(index)
            | Decision::Ask(index)
            | Decision::Settle(index)
            | Decision::Locate(index) => &topology.backends[index],
            Decision::Unavailable(reason) if names.is_empty() => {
                return Err(Nobody::Unavailable(reason));
            }
            Decision::Unavailable(_) => return Ok(names),
        };
        // Behind the last replica comes what serves for want of one.
        let takes_its_turn = backend.reads.is_ok() && !avoid.contains(&backend.id);
        if !names.is_empty() && !takes_its_turn {
            return Ok(names);
        }
        names.push(Arc::clone(&backend.name));
        avoid.push(backend.id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::topology::Writes;
    use super::super::topology::tests::topology;
    use super::*;

    #[test]
    fn those_that_take_turns_are_named() {
        let whole = topology(2);
        let mut lone = topology(1);
        lone.backends[1].reads = Err("lags".into());
        let mut headless = topology(1);
        headless.writes = Writes::Stopped("none".into());
        let wish = |name: &str| Wish { backend: Some(name.into()), max_lag: None };
        let no_primary = Nobody::Unavailable(Unavailable::NoPrimary("none".into()));
        let unknown = Nobody::UnknownBackend(UnknownBackend("x".into()));
        let table = [
            (Request::Read, Wish::default(), &whole, Ok("db1 db2")),
            (Request::Read, wish("db2"), &whole, Ok("db2")),
            (Request::Read, wish("db0"), &whole, Ok("db0")),
            (Request::Read, wish("x"), &whole, Err(unknown)),
            (Request::Primary, Wish::default(), &whole, Ok("db0")),
            (Request::Read, Wish::default(), &lone, Ok("db0")),
            (Request::Read, Wish::default(), &headless, Ok("db1")),
            (Request::Primary, Wish::default(), &headless, Err(no_primary)),
        ];
        for (request, wish, topology, expected) in table {
            let found = candidates(request, &wish, topology, &Policy::default());
            let found = found.map(|names| names.join(" "));
            assert_eq!(found, expected.map(str::to_owned), "{request:?} {wish:?}");
        }
    }
}
