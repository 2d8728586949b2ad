//! How long things take, in fixed buckets.

use std::time::Duration;

use super::cells::Table;

/// Buckets for each doubling, as a power of two: values are known to within a quarter.
const SUB_BITS: u32 = 2;
const SUB: usize = 1 << SUB_BITS;
/// Values of 2^36 µs (19 hours) and above share the last bucket.
const HIGHEST_BIT: u32 = 36;
const BUCKETS: usize = ((HIGHEST_BIT - SUB_BITS) as usize + 2) * SUB;
/// Behind the buckets: the sum of all values in microseconds.
const SUM: usize = BUCKETS;

/// A distribution of durations, in microseconds.
#[derive(Debug)]
pub struct Histogram(Table);

impl Default for Histogram {
    fn default() -> Self {
        Histogram(Table::new(BUCKETS + 1))
    }
}

/// The bucket of a value in microseconds: the first [`SUB`] hold one value each, later ones a
/// [`SUB`]th of the stretch between two powers of two.
fn bucket(micros: u64) -> usize {
    if micros < SUB as u64 {
        return micros as usize;
    }
    let bit = micros.ilog2();
    if bit >= HIGHEST_BIT {
        return BUCKETS - 1;
    }
    let sub = (micros >> (bit - SUB_BITS)) as usize & (SUB - 1);
    ((bit - SUB_BITS) as usize + 1) * SUB + sub
}

/// The first value above a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64 + 1;
    }
    let shift = bucket / SUB - 1;
    ((SUB + bucket % SUB + 1) as u64) << shift
}

impl Histogram {
    pub fn record(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.add(bucket(micros), 1);
        self.0.add(SUM, micros);
    }

    pub fn count(&self) -> u64 {
        (0..BUCKETS).map(|bucket| self.0.get(bucket)).sum()
    }

    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.0.get(SUM))
    }

    /// A duration that this share (0 to 1) of the values does not exceed, at most a quarter too
    /// long; zero when there are no values.
    pub fn quantile(&self, share: f64) -> Duration {
        let counts: Vec<u64> = (0..BUCKETS).map(|bucket| self.0.get(bucket)).collect();
        let rank = (counts.iter().sum::<u64>() as f64 * share.clamp(0.0, 1.0)).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in counts.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return Duration::from_micros(upper(bucket));
            }
        }
        Duration::ZERO
    }

    /// Counts in buckets that double from `2^first` to `2^last` microseconds, each with its upper
    /// bound in seconds, and a last one without a bound.
    pub fn doubling_buckets(&self, first: u32, last: u32) -> Vec<(f64, u64)> {
        let mut buckets: Vec<(f64, u64)> =
            (first..=last).map(|bit| ((1u64 << bit) as f64 / 1e6, 0)).collect();
        buckets.push((f64::INFINITY, 0));
        for bucket in 0..BUCKETS {
            // A power of two is the upper bound of some bucket, so none is split.
            let bit = upper(bucket).next_power_of_two().ilog2();
            let index = bit.saturating_sub(first).min(last - first + 1) as usize;
            buckets[index].1 += self.0.get(bucket);
        }
        buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_of_buckets() {
        let table = [
            (0, 0, 1),
            (3, 3, 4),
            (4, 4, 5),
            (7, 7, 8),
            (8, 8, 10),
            (10, 9, 12),
            (15, 11, 16),
            (16, 12, 20),
            (1 << 35, (35 - 1) * 4, 5 << 33),
        ];
        for (value, index, end) in table {
            assert_eq!((bucket(value), upper(bucket(value))), (index, end), "{value}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.99), Duration::ZERO);
        for millis in 1..=100 {
            histogram.record(Duration::from_millis(millis));
        }
        assert_eq!(histogram.count(), 100);
        assert_eq!(histogram.sum(), Duration::from_millis(5_050));
        for share in [0.01, 0.5, 0.99, 1.0] {
            let exact = Duration::from_millis((share * 100.0) as u64);
            let found = histogram.quantile(share);
            assert!(found > exact && found <= exact * 5 / 4 + Duration::from_micros(1), "{share}");
        }
    }

    #[test]
    fn doubling_buckets_keep_every_value() {
        let histogram = Histogram::default();
        for micros in [0, 63, 64, 127, 128, 1_000_000, 1 << 40] {
            histogram.record(Duration::from_micros(micros));
        }
        let buckets = histogram.doubling_buckets(6, 8);
        assert_eq!(buckets, [(64e-6, 2), (128e-6, 2), (256e-6, 1), (f64::INFINITY, 2)]);
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(value in 0u64..1 << 36) {
            let index = bucket(value);
            prop_assert!(value < upper(index));
            prop_assert!(index == 0 || value >= upper(index - 1));
        }
    }
}
