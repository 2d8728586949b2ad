//! What is changed through us and matters to whoever logs in next: accounts, privileges, roles,
//! global variables.
//!
//! A client that has its OK must find the change in the next session that it begins, whatever
//! connection was opened before, and whatever was known of its account. So each change makes a new
//! revision; sessions begin with the present one and are given connections of no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::monitor::accounts::requests::Requests;

/// The changes that are under way, and the last that has ended. A revision is the number of a
/// request for a reading of the accounts: the one that shows it.
#[derive(Debug)]
pub struct Revisions {
    requests: Arc<Requests>,
    running: AtomicUsize,
    last: AtomicU64,
}

impl Revisions {
    pub(super) fn new(requests: Arc<Requests>) -> Self {
        Revisions { requests, running: AtomicUsize::new(0), last: AtomicU64::new(0) }
    }

    /// The revision with which a session begins now. While a change is under way nobody can tell
    /// if its client has the answer already: then it is one of the session's own.
    pub fn current(&self) -> u64 {
        // In this order: a change that has ended before the first look shows in the second.
        match self.running.load(Ordering::SeqCst) {
            0 => self.last.load(Ordering::SeqCst),
            _ => self.requests.ask(),
        }
    }

    /// A statement that may change something is about to be sent.
    pub fn begin(self: &Arc<Self>) -> Change {
        self.running.fetch_add(1, Ordering::SeqCst);
        Change { revisions: self.clone(), void: false }
    }
}

/// A change that is under way; when dropped it has ended.
#[derive(Debug)]
pub struct Change {
    revisions: Arc<Revisions>,
    void: bool,
}

impl Change {
    /// It has changed nothing.
    pub fn withdraw(mut self) {
        self.void = true;
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        let revisions = &self.revisions;
        if !self.void {
            revisions.last.fetch_max(revisions.requests.ask(), Ordering::SeqCst);
        }
        revisions.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_makes_a_revision() {
        let revisions = Arc::new(Revisions::new(Arc::default()));
        assert_eq!(revisions.current(), 0);
        let change = revisions.begin();
        let during = revisions.current();
        assert!(during > 0 && revisions.current() > during, "each session has its own");
        let during = revisions.current();
        drop(change);
        let after = revisions.current();
        assert!(after > during && revisions.current() == after);
        revisions.begin().withdraw();
        assert_eq!(revisions.current(), after);
    }

    #[test]
    fn a_change_ends_after_those_that_began_with_it() {
        let revisions = Arc::new(Revisions::new(Arc::default()));
        let (first, second) = (revisions.begin(), revisions.begin());
        drop(first);
        let between = revisions.current();
        drop(second);
        assert!(revisions.current() > between);
    }
}
