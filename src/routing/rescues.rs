//! Which reads the replicas have refused lately: the next ones like them go to the primary at
//! once, without a round trip for nothing.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foldhash::quality::FixedState;
use quick_cache::sync::Cache;

/// At most this many statements are remembered; the least used are forgotten first.
const MOST: usize = 1024;

/// The digests of statements that a replica has refused and the primary was asked instead, each
/// with the default database that it ran in, for a time.
///
/// That two statements share an entry by chance is possible and does no harm: what is remembered
/// only ever sends a read to the primary.
#[derive(Debug)]
pub struct Rescues {
    /// The origin of all times.
    started: Instant,
    /// When the last entry ends, in milliseconds from the origin; 0 while there is none. Nothing
    /// else is looked at then.
    last: AtomicU64,
    /// When each entry ends.
    ends: Cache<u64, u64>,
}

impl Rescues {
    pub fn new(now: Instant) -> Self {
        Rescues { started: now, last: AtomicU64::new(0), ends: Cache::new(MOST) }
    }

    /// Remembers a statement from `now` on for `time`, which is cut to whole milliseconds.
    pub fn remember(&self, digest: u64, database: &[u8], now: Instant, time: Duration) {
        let end = self.milliseconds(now + time);
        self.ends.insert(key(digest, database), end);
        self.last.fetch_max(end, Ordering::Relaxed);
    }

    /// Whether the statement is remembered. One relaxed load while nothing is.
    #[inline]
    pub fn remembers(&self, digest: u64, database: &[u8], now: Instant) -> bool {
        match self.last.load(Ordering::Relaxed) {
            0 => false,
            last => self.look_up(digest, database, now, last),
        }
    }

    #[cold]
    fn look_up(&self, digest: u64, database: &[u8], now: Instant, last: u64) -> bool {
        let now = self.milliseconds(now);
        if now >= last {
            // All have ended. If another was added meanwhile, `last` is no longer this.
            let _ = self.last.compare_exchange(last, 0, Ordering::Relaxed, Ordering::Relaxed);
            return false;
        }
        self.ends.get(&key(digest, database)).is_some_and(|end| now < end)
    }

    fn milliseconds(&self, time: Instant) -> u64 {
        let since = time.saturating_duration_since(self.started);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

fn key(digest: u64, database: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(digest).build_hasher();
    hasher.write(database);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_remembered_for_their_time_and_database() {
        let began = Instant::now();
        let after = |milliseconds| began + Duration::from_millis(milliseconds);
        let rescues = Rescues::new(began);
        assert!(!rescues.remembers(1, b"shop", began));
        rescues.remember(1, b"shop", after(10), Duration::from_secs(2));
        rescues.remember(2, b"", after(10), Duration::from_secs(60));
        let table = [
            (1, &b"shop"[..], 10, true),
            (1, b"other", 10, false),
            (3, b"shop", 10, false),
            (1, b"shop", 2009, true),
            (1, b"shop", 2010, false),
            (2, b"", 2010, true),
        ];
        for (digest, database, time, expected) in table {
            let found = rescues.remembers(digest, database, after(time));
            assert_eq!(found, expected, "{digest} in {database:?} at {time}");
        }
        assert_ne!(rescues.last.load(Ordering::Relaxed), 0);
        assert!(!rescues.remembers(9, b"", after(60_010)));
        assert_eq!(rescues.last.load(Ordering::Relaxed), 0, "nothing is looked up any more");
        rescues.remember(1, b"shop", after(60_020), Duration::from_secs(1));
        assert!(rescues.remembers(1, b"shop", after(60_030)));
    }

    #[test]
    fn memory_is_bounded() {
        let began = Instant::now();
        let rescues = Rescues::new(began);
        for digest in 0..10 * MOST as u64 {
            rescues.remember(digest, b"", began, Duration::from_secs(60));
        }
        assert!(rescues.ends.len() <= MOST, "{}", rescues.ends.len());
    }
}
