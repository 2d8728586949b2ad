//! Samples of the primary's position over time, from which each replica's lag is read.
//!
//! A replica's lag is the age of the oldest sample that it has not applied. That needs no heartbeat
//! table and no clock but our own, is good to one probe interval, and is right while replication
//! is stopped, where the servers' own figure is NULL or 0.
//!
//! The number of samples is fixed: the older they are the wider they may stand apart, so that the
//! error of a measured lag stays a small share of it however long the lag is.

use std::time::{Duration, Instant};

use super::position::{Applied, Position};
use crate::routing::topology::SampleNumber;

/// Most samples kept.
pub const CAPACITY: usize = 2048;

/// Two samples are merged when the place that they fill is less than their age divided by this:
/// a lag is overstated by at most a part in 150, and not at all below 300 intervals (30 s at 100 ms).
/// Hours of steady writes fit within [`CAPACITY`]; beyond that the error grows slowly.
const RESOLUTION: u32 = 150;

/// The position at a time, or several merged: then the time is that of the first and the position
/// and number are those of the last, so that lag is over- and never understated.
#[derive(Debug, Clone)]
struct Sample {
    /// The position was read no earlier than this.
    time: Instant,
    position: Position,
    /// The latest sample that read this very position.
    number: SampleNumber,
}

/// How far a replica is, by the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// There are no samples, or not even the first one is applied, so nothing is known of it.
    BeforeFirstSample,
    /// The two positions cannot be compared (GTIDs on one side only, logs of different names).
    Incomparable,
    /// The newest sample is applied, or the oldest that is not is this old.
    Behind { lag: Duration, applied: SampleNumber },
}

/// The samples of one primary. Time is an argument throughout.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// In order of time and number; positions rise.
    samples: Vec<Sample>,
    /// When the newest sample was taken, also if its position was already known.
    newest: Option<Instant>,
}

impl Timeline {
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// How many samples are kept, at most [`CAPACITY`].
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// When the newest sample was taken.
    pub fn newest(&self) -> Option<Instant> {
        self.newest
    }

    /// The newest sample's position.
    pub fn position(&self) -> Option<&Position> {
        self.samples.last().map(|sample| &sample.position)
    }

    /// Adds a sample: `position` was read after `time` and numbered `number`. Samples must come in
    /// order. One that does not go on from the last (the log was reset) begins the timeline anew.
    pub fn push(&mut self, time: Instant, number: SampleNumber, position: Position) {
        self.newest = Some(time);
        match self.samples.last_mut() {
            Some(last) if last.position == position => {
                last.number = number;
                return;
            }
            Some(last) if !position.continues(&last.position) => self.samples.clear(),
            _ => {}
        }
        self.samples.push(Sample { time, position, number });
        self.thin(time);
    }

    /// Merges neighbours that together fill less than their age asks for. The first sample stays
    /// itself, for "nothing is applied" is told by it, and so do the newest two.
    fn thin(&mut self, now: Instant) {
        let mut index = 1;
        while index + 2 < self.samples.len() {
            let (width, age) = self.place(index, now);
            if width * RESOLUTION < age {
                self.merge(index);
            } else {
                index += 1;
            }
        }
        if self.samples.len() > CAPACITY {
            let share = |&index: &usize| {
                let (width, age) = self.place(index, now);
                width.as_secs_f64() / age.as_secs_f64().max(0.001)
            };
            let narrowest = (1..self.samples.len() - 2)
                .min_by(|a, b| share(a).total_cmp(&share(b)))
                .expect("CAPACITY is more than three");
            self.merge(narrowest);
        }
    }

    /// How much time sample `index` and the next fill together, up to the one after them, and
    /// the age of that one.
    fn place(&self, index: usize, now: Instant) -> (Duration, Duration) {
        let end = self.samples[index + 2].time;
        let width = end.saturating_duration_since(self.samples[index].time);
        (width, now.saturating_duration_since(end))
    }

    fn merge(&mut self, index: usize) {
        self.samples[index + 1].time = self.samples[index].time;
        self.samples.remove(index);
    }

    /// The lag at `now` of a replica that has applied `applied`.
    ///
    /// The caller freezes `now` while the primary gives no samples, so that a lag neither grows
    /// nor is forgotten then, and still falls as the replica works off what it has received.
    pub fn measure(&self, applied: &Applied, now: Instant) -> Measured {
        let mut comparable = true;
        let mut is_applied = |sample: &Sample| {
            let answer = sample.position.is_applied(applied);
            comparable &= answer.is_some();
            answer.unwrap_or(false)
        };
        // Nearly always the newest one answers.
        let reached = match self.samples.last() {
            None => return Measured::BeforeFirstSample,
            Some(newest) if is_applied(newest) => self.samples.len(),
            Some(_) => self.samples.partition_point(is_applied),
        };
        if !comparable {
            return Measured::Incomparable;
        }
        match (reached.checked_sub(1), self.samples.get(reached)) {
            (None, _) => Measured::BeforeFirstSample,
            (Some(last), None) => {
                Measured::Behind { lag: Duration::ZERO, applied: self.samples[last].number }
            }
            (Some(last), Some(missing)) => Measured::Behind {
                lag: now.saturating_duration_since(missing.time),
                applied: self.samples[last].number,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::monitor::position::FilePosition;

    fn at(offset: u64) -> FilePosition {
        FilePosition::new("bin.000001", offset).expect("ends in a number")
    }

    fn applied(offset: u64) -> Applied {
        Applied { file: Some(at(offset)), ..Applied::default() }
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// A timeline of `(milliseconds, offset)`, numbered from 1.
    fn timeline(start: Instant, samples: &[(u64, u64)]) -> Timeline {
        let mut timeline = Timeline::default();
        for (number, &(time, offset)) in (1..).zip(samples) {
            let position = Position::File(at(offset));
            timeline.push(start + ms(time), SampleNumber(number), position);
        }
        timeline
    }

    #[test]
    fn lag_is_the_age_of_the_oldest_sample_not_applied() {
        let start = Instant::now();
        let samples = [(0, 10), (100, 20), (200, 20), (300, 20), (400, 50), (500, 70)];
        let timeline = timeline(start, &samples);
        let behind = |lag, number| Measured::Behind { lag: ms(lag), applied: SampleNumber(number) };
        let table = [
            (9, Measured::BeforeFirstSample),
            (10, behind(450, 1)),
            (19, behind(450, 1)),
            // Samples 2 to 4 read one position.
            (20, behind(150, 4)),
            (49, behind(150, 4)),
            (50, behind(50, 5)),
            (70, behind(0, 6)),
            (900, behind(0, 6)),
        ];
        for (offset, measured) in table {
            assert_eq!(timeline.measure(&applied(offset), start + ms(550)), measured, "{offset}");
        }
        assert_eq!(timeline.measure(&Applied::default(), start), Measured::Incomparable);
        assert_eq!(Timeline::default().measure(&applied(1), start), Measured::BeforeFirstSample);
    }

    #[test]
    fn a_reset_log_begins_anew() {
        let start = Instant::now();
        let timeline = timeline(start, &[(0, 1000), (100, 2000), (200, 5)]);
        assert_eq!(timeline.len(), 1);
        assert_eq!(timeline.measure(&applied(4), start + ms(300)), Measured::BeforeFirstSample);
    }

    #[test]
    fn a_clock_before_the_sample_is_no_lag() {
        let start = Instant::now() + ms(1000);
        let timeline = timeline(start, &[(0, 1), (100, 2)]);
        let measured = Measured::Behind { lag: Duration::ZERO, applied: SampleNumber(1) };
        assert_eq!(timeline.measure(&applied(1), start - ms(500)), measured);
    }

    #[test]
    fn days_of_writes_stay_within_the_bound() {
        let start = Instant::now();
        let mut timeline = Timeline::default();
        // More than a day at 1 s.
        const STEPS: u64 = 100_000;
        for step in 0..STEPS {
            let position = Position::File(at(step));
            timeline.push(start + ms(step * 1000), SampleNumber(step + 1), position);
            assert!(timeline.len() <= CAPACITY);
        }
        let now = start + ms(STEPS * 1000);
        for behind in [1, 5, 20, 100, 300, 1000, 10_000, 36_000, 90_000] {
            let measured = timeline.measure(&applied(STEPS - 1 - behind), now);
            let Measured::Behind { lag, .. } = measured else { panic!("{measured:?}") };
            let truth = ms(behind * 1000);
            assert!(lag >= truth, "{lag:?} {truth:?}");
            assert!(lag <= truth + truth / 100 + ms(1000), "{lag:?} {truth:?}");
        }
    }

    proptest! {
        /// Whatever the rhythm of samples and writes: never less than the truth, at most a
        /// hundredth and two gaps more, and the further a replica is the less its lag.
        #[test]
        fn error_is_bounded_and_lag_is_monotone(
            steps in proptest::collection::vec((20..3000u64, 0..4u64), 1..600),
        ) {
            let start = Instant::now();
            let mut timeline = Timeline::default();
            let mut history = Vec::new();
            let (mut time, mut offset, mut widest) = (0, 1, 0);
            for (number, (wait, written)) in (1..).zip(steps) {
                time += wait;
                widest = widest.max(wait);
                if written > 0 || history.is_empty() {
                    offset += written;
                    history.push((time, offset));
                }
                let position = Position::File(at(offset));
                timeline.push(start + ms(time), SampleNumber(number), position);
                prop_assert!(timeline.len() <= CAPACITY);
            }
            let now = time + 50;
            let mut earlier = None;
            for applied_offset in history[0].1..=offset {
                let truth = history.iter().find(|(_, wanted)| *wanted > applied_offset);
                let truth = ms(truth.map_or(0, |(time, _)| now - time));
                let measured = timeline.measure(&applied(applied_offset), start + ms(now));
                let Measured::Behind { lag, applied } = measured else {
                    return Err(TestCaseError::fail(format!("{measured:?}")));
                };
                prop_assert!(lag >= truth, "{:?} {:?}", lag, truth);
                prop_assert!(lag <= truth + truth / 100 + ms(2 * widest), "{:?} {:?}", lag, truth);
                if let Some((more, fewer)) = earlier {
                    prop_assert!(lag <= more && applied >= fewer);
                }
                earlier = Some((lag, applied));
            }
        }
    }
}
