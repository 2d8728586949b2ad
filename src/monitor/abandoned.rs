//! Connections to servers that were given up while something of theirs may go on there: a statement
//! without an answer, a transaction. A server that could not be reached has not been told. It hears of
//! it from the next probe that reaches it, before the topology shows that it is back: what was begun
//! before the loss is over then, and holds no locks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::routing::topology::BackendId;

/// Most connections remembered of one server, more than servers admit.
const MOST: usize = 10_000;
/// How much longer than the connection has been given up its server must have been running, or the
/// number may be that of another connection by now. Servers tell whole seconds.
const MARGIN: Duration = Duration::from_secs(5);

/// One that was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thread {
    /// The server's number of it.
    pub number: u32,
    given_up: Instant,
}

impl Thread {
    pub fn new(number: u32, given_up: Instant) -> Self {
        Thread { number, given_up }
    }

    /// Whether a server that has been up for this long is still the one that the number is of.
    pub fn is_of(&self, uptime: Duration, now: Instant) -> bool {
        uptime >= now.saturating_duration_since(self.given_up) + MARGIN
    }
}

/// Those of all servers. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Abandoned(Arc<Mutex<HashMap<BackendId, Vec<Thread>>>>);

impl Abandoned {
    pub fn add(&self, backend: BackendId, thread: Thread) {
        let mut threads = self.threads();
        let threads = threads.entry(backend).or_default();
        if threads.len() < MOST {
            threads.push(thread);
        }
    }

    /// Those of a server, which are the caller's to end.
    pub fn take(&self, backend: BackendId) -> Vec<Thread> {
        self.threads().remove(&backend).unwrap_or_default()
    }

    /// Forgets those of servers that are no more.
    pub fn retain(&self, is_known: impl Fn(BackendId) -> bool) {
        self.threads().retain(|backend, _| is_known(*backend));
    }

    fn threads(&self) -> MutexGuard<'_, HashMap<BackendId, Vec<Thread>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_once_and_of_its_own_server() {
        let abandoned = Abandoned::default();
        let (first, second) = (BackendId(1), BackendId(2));
        let thread = |number| Thread::new(number, Instant::now());
        let numbers = |id| -> Vec<u32> {
            abandoned.take(id).into_iter().map(|thread| thread.number).collect()
        };
        abandoned.clone().add(first, thread(7));
        abandoned.add(first, thread(8));
        abandoned.add(second, thread(9));
        assert_eq!(numbers(first), [7, 8]);
        assert!(numbers(first).is_empty());
        abandoned.retain(|id| id != second);
        assert!(numbers(second).is_empty());
    }

    #[test]
    fn a_number_is_of_no_use_after_a_restart() {
        let given_up = Instant::now();
        let now = given_up + Duration::from_secs(60);
        let thread = Thread::new(7, given_up);
        assert!(thread.is_of(Duration::from_secs(3600), now));
        assert!(!thread.is_of(Duration::from_secs(61), now), "it may have been started meanwhile");
        assert!(!thread.is_of(Duration::from_secs(5), now));
    }
}
