//! Counters that many threads may add to at once.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::labels::Label;

/// Threads that count without getting in each other's way; further ones share.
const SHARDS: usize = 8;
/// Two cache lines: processors fetch them in pairs.
const CELLS: usize = 16;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; CELLS]);

/// A row of sums, each spread over shards. One shard's cells lie side by side, so that a thread
/// that counts several things touches few cache lines.
#[derive(Debug)]
pub struct Table {
    lines: Box<[Line]>,
    lines_per_shard: usize,
}

impl Table {
    /// A row of `width` sums.
    pub fn new(width: usize) -> Self {
        let lines_per_shard = width.div_ceil(CELLS).max(1);
        let lines = (0..SHARDS * lines_per_shard).map(|_| Line::default()).collect();
        Table { lines, lines_per_shard }
    }

    fn cell(&self, shard: usize, index: usize) -> &AtomicU64 {
        &self.lines[shard * self.lines_per_shard + index / CELLS].0[index % CELLS]
    }

    /// Adds to the sum at `index`, wrapping.
    ///
    /// # Panics
    /// `index` is far beyond the width.
    pub fn add(&self, index: usize, count: u64) {
        self.cell(own_shard(), index).fetch_add(count, Relaxed);
    }

    /// The sum at `index`. Additions at the same moment may or may not be in it.
    pub fn get(&self, index: usize) -> u64 {
        (0..SHARDS).fold(0, |sum, shard| sum.wrapping_add(self.cell(shard, index).load(Relaxed)))
    }
}

/// This thread's shard, dealt out in turn.
fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SHARD: usize = NEXT.fetch_add(1, Relaxed) % SHARDS);
    // While a thread ends its local values are gone; any shard will do.
    SHARD.try_with(|shard| *shard).unwrap_or(0)
}

/// A number that only grows.
#[derive(Debug)]
pub struct Counter(Table);

impl Default for Counter {
    fn default() -> Self {
        Counter(Table::new(1))
    }
}

impl Counter {
    pub fn increment(&self) {
        self.add(1);
    }

    pub fn add(&self, count: u64) {
        self.0.add(0, count);
    }

    pub fn get(&self) -> u64 {
        self.0.get(0)
    }
}

/// A number of things that are there now: each is added once and taken away once, on any thread.
#[derive(Debug, Default)]
pub struct Gauge(Counter);

impl Gauge {
    pub fn increment(&self) {
        self.0.add(1);
    }

    pub fn decrement(&self) {
        self.0.add(u64::MAX);
    }

    /// Never below 0, although a reader may see a decrement before its increment.
    pub fn get(&self) -> u64 {
        self.0.get().cast_signed().max(0).unsigned_abs()
    }
}

/// One counter for each value of a label.
#[derive(Debug)]
pub struct Counters<L> {
    table: Table,
    label: PhantomData<L>,
}

impl<L: Label> Default for Counters<L> {
    fn default() -> Self {
        Counters { table: Table::new(L::ALL.len()), label: PhantomData }
    }
}

impl<L: Label> Counters<L> {
    pub fn increment(&self, label: L) {
        self.table.add(label.index(), 1);
    }

    pub fn get(&self, label: L) -> u64 {
        self.table.get(label.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Refusal;

    #[test]
    fn threads_add_up() {
        let counter = Counter::default();
        let gauge = Gauge::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        counter.increment();
                        gauge.increment();
                    }
                });
            }
        });
        assert_eq!(counter.get(), 2_000 * SHARDS as u64);
        // Taken away on another thread than added.
        for _ in 0..2_000 * SHARDS {
            gauge.decrement();
        }
        assert_eq!(gauge.get(), 0);
        gauge.decrement();
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn wide_tables() {
        let table = Table::new(CELLS + 1);
        table.add(CELLS, 3);
        table.add(0, 1);
        assert_eq!((table.get(0), table.get(1), table.get(CELLS)), (1, 0, 3));
    }

    #[test]
    fn labels_have_counters_of_their_own() {
        let counters = Counters::<Refusal>::default();
        counters.increment(Refusal::PerUser);
        assert_eq!(counters.get(Refusal::PerUser), 1);
        assert_eq!(counters.get(Refusal::MaxConnections), 0);
    }
}
