//! Verdicts of the full parse, remembered, and the thread that makes them.
//!
//! A statement that the token scan leaves open runs on the primary at first; meanwhile it is
//! parsed aside, and the next one with the same text follows the verdict. Nobody ever waits for
//! a parse.

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use foldhash::quality::FixedState;
use quick_cache::sync::Cache;

use super::deep::{LONGEST, STACK, analyse_here};
use super::{Destination, Dialect, Reason, Statement};

/// What is known of an open statement's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It waits to be parsed, or its parse failed badly.
    Unsettled,
    Settled(Destination, Reason),
}

/// A text by its hash and length, in its dialect. The hash is seeded for each process, so that
/// nobody can prepare two texts of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    hash: u64,
    length: usize,
    dialect: Dialect,
}

/// A bounded cache of verdicts. The least used are dropped first.
#[derive(Debug)]
pub struct Verdicts {
    cache: Cache<Key, Known>,
    hasher: FixedState,
}

impl Verdicts {
    /// Room for about `capacity` verdicts of some 50 bytes. `seed` should be random.
    pub fn new(capacity: usize, seed: u64) -> Self {
        Verdicts { cache: Cache::new(capacity.max(1)), hasher: FixedState::with_seed(seed) }
    }

    fn key(&self, sql: &[u8], dialect: Dialect) -> Key {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(sql);
        Key { hash: hasher.finish(), length: sql.len(), dialect }
    }

    pub fn get(&self, sql: &[u8], dialect: Dialect) -> Option<Known> {
        self.cache.get(&self.key(sql, dialect))
    }

    pub fn insert(&self, sql: &[u8], dialect: Dialect, known: Known) {
        self.cache.insert(self.key(sql, dialect), known);
    }
}

/// A statement to parse.
struct Job {
    sql: Box<[u8]>,
    dialect: Dialect,
}

/// The thread that parses open statements. It ends when this is dropped, after the parse at hand.
#[derive(Debug)]
pub struct Worker {
    verdicts: Arc<Verdicts>,
    queue: SyncSender<Job>,
}

impl Worker {
    /// Starts the thread. At most `queue` statements wait; further ones are not parsed this time.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(verdicts: Arc<Verdicts>, queue: usize) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(queue);
        let shared = Arc::clone(&verdicts);
        thread::Builder::new()
            .name("sql-parser".into())
            .stack_size(STACK)
            .spawn(move || work(&shared, &receiver))?;
        Ok(Worker { verdicts, queue: sender })
    }

    /// The statement with its open destination settled where that is known by now. If it is not,
    /// the text is queued for a parse and the statement stays with the primary.
    #[must_use]
    pub fn settle(&self, statement: Statement, sql: &[u8], dialect: Dialect) -> Statement {
        if !statement.open {
            return statement;
        }
        match self.verdicts.get(sql, dialect) {
            Some(Known::Settled(destination, reason)) => statement.settled(destination, reason),
            Some(Known::Unsettled) => statement,
            None => {
                self.submit(sql, dialect);
                statement
            }
        }
    }

    fn submit(&self, sql: &[u8], dialect: Dialect) {
        if sql.len() > LONGEST {
            return;
        }
        // Marked first, so that one text is queued once however many sessions send it.
        self.verdicts.insert(sql, dialect, Known::Unsettled);
        match self.queue.try_send(Job { sql: sql.into(), dialect }) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                self.verdicts.cache.remove(&self.verdicts.key(&job.sql, job.dialect));
            }
        }
    }
}

fn work(verdicts: &Verdicts, queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        // A parser's panic must not end the thread: the text stays unsettled, at the primary.
        let verdict = catch_unwind(AssertUnwindSafe(|| analyse_here(&job.sql, job.dialect)));
        if let Ok(verdict) = verdict {
            let known = Known::Settled(verdict.destination, verdict.reason);
            verdicts.insert(&job.sql, job.dialect, known);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::classify;
    use std::time::{Duration, Instant};

    const OPEN: &[u8] = b"SELECT * FROM (SELECT 1) d (a)";

    #[test]
    fn open_statements_are_settled_behind_the_scenes() {
        let dialect = Dialect::default();
        let verdicts = Arc::new(Verdicts::new(100, 7));
        let worker = Worker::start(Arc::clone(&verdicts), 10).expect("a thread");
        let statement = classify(OPEN, dialect);
        assert!(statement.open);
        let first = worker.settle(statement, OPEN, dialect);
        assert_eq!(first.destination, Destination::Primary);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let settled = worker.settle(statement, OPEN, dialect);
            if settled.destination == Destination::Replica {
                assert!(!settled.open);
                break;
            }
            assert!(Instant::now() < deadline, "no verdict");
            thread::sleep(Duration::from_millis(1));
        }
        let closed = classify(b"DELETE FROM t", dialect);
        assert_eq!(worker.settle(closed, b"DELETE FROM t", dialect), closed);
    }

    #[test]
    fn a_full_queue_is_no_memory() {
        let dialect = Dialect::default();
        let verdicts = Arc::new(Verdicts::new(100, 7));
        let (queue, receiver) = sync_channel(0);
        let worker = Worker { verdicts: Arc::clone(&verdicts), queue };
        let statement = classify(OPEN, dialect);
        assert_eq!(worker.settle(statement, OPEN, dialect), statement);
        assert_eq!(verdicts.get(OPEN, dialect), None);
        drop(receiver);
        assert_eq!(worker.settle(statement, OPEN, dialect), statement);
        assert_eq!(verdicts.get(OPEN, dialect), None);
    }

    #[test]
    fn the_cache_is_bounded_and_knows_its_dialects() {
        let dialect = Dialect::default();
        let verdicts = Verdicts::new(10, 7);
        for number in 0..1000u32 {
            verdicts.insert(&number.to_le_bytes(), dialect, Known::Unsettled);
        }
        assert!(verdicts.cache.len() <= 10);
        verdicts.insert(OPEN, dialect, Known::Unsettled);
        let other = Dialect { ansi_quotes: true, ..dialect };
        assert_eq!(verdicts.get(OPEN, other), None);
    }
}
