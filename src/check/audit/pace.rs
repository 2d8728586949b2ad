//! How many rows at a time, and how long a rest.

use std::time::Duration;

/// A server is to be asked for about so long at a time.
const TARGET: Duration = Duration::from_millis(200);
/// Of each table, before anything is known of its rows.
pub const FIRST: u64 = 1000;
pub const FEWEST: u64 = 100;
pub const MOST: u64 = 10_000;
/// The longest rest: one statement may take long of a table without a key.
const LONGEST: Duration = Duration::from_secs(30);

/// How many rows to ask for next, when `rows` took so long.
pub fn rows(rows: u64, took: Duration) -> u64 {
    let ratio = TARGET.as_secs_f64() / took.as_secs_f64().max(0.001);
    // At once less, and more by and by.
    ((rows as f64 * ratio.min(2.0)) as u64).clamp(FEWEST, MOST)
}

/// How long to leave a server alone after it was busy for so long, that it is so for the part `load`
/// of the time.
pub fn rest(busy: Duration, load: f64) -> Duration {
    let load = load.clamp(0.01, 1.0);
    busy.mul_f64((1.0 - load) / load).min(LONGEST)
}

/// Between two looks at what differs: by chance, so that nobody's own rhythm is taken for a
/// difference.
pub fn pause() -> Duration {
    let mut chance = [0];
    // Without it the pauses are alike, and the looks themselves take their time.
    let _ = aws_lc_rs::rand::fill(&mut chance);
    Duration::from_millis(20 + u64::from(chance[0]) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_follow_the_time_they_take() {
        let ms = Duration::from_millis;
        let table = [
            (1000, ms(200), 1000),
            (1000, ms(100), 2000),
            (1000, ms(1), 2000),
            (1000, ms(0), 2000),
            (1000, ms(400), 500),
            (1000, ms(20_000), FEWEST),
            (9000, ms(10), MOST),
        ];
        for (before, took, next) in table {
            assert_eq!(rows(before, took), next, "{before} in {took:?}");
        }
    }

    #[test]
    fn the_rest_keeps_the_load() {
        let second = Duration::from_secs(1);
        assert_eq!(rest(second, 1.0), Duration::ZERO);
        assert_eq!(rest(second, 0.5), second);
        assert_eq!(rest(second, 0.25), second * 3);
        assert_eq!(rest(second * 100, 0.01), LONGEST);
    }
}
