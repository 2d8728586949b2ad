//! How far a copy is, in words. Pure.

use std::time::Duration;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes.
    pub done: u64,
    /// Bytes in all, as far as known: an estimate.
    pub total: u64,
    pub elapsed: Duration,
}

impl Progress {
    /// Bytes a second from the beginning on; 0 while nothing can be said.
    pub fn rate(&self) -> u64 {
        let milliseconds = self.elapsed.as_millis();
        if milliseconds < 100 {
            return 0;
        }
        (u128::from(self.done) * 1000 / milliseconds).try_into().unwrap_or(u64::MAX)
    }

    /// How long it may take yet; `None` while nothing can be said.
    pub fn left(&self) -> Option<Duration> {
        let rate = self.rate();
        let left = self.total.checked_sub(self.done).filter(|left| *left > 0)?;
        (rate > 0).then(|| Duration::from_secs(left.div_ceil(rate)))
    }

    /// `412.0 MB of 1.2 GB (34 %), 52.1 MB/s, 16s left`.
    pub fn in_words(&self) -> String {
        let total = self.total.max(self.done);
        let percent = u128::from(self.done) * 100 / u128::from(total.max(1));
        let mut words = format!("{} of {} ({percent} %)", bytes(self.done), bytes(total));
        if self.rate() > 0 {
            words += &format!(", {}/s", bytes(self.rate()));
        }
        if let Some(left) = self.left() {
            words += &format!(", {} left", humantime::format_duration(left));
        }
        words
    }
}

/// A number of bytes for people.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    // In tenths, so that no number needs a floating point.
    let mut tenths = u128::from(count) / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (73_629_696, "73.6 MB"),
            (999_999_999, "999.9 MB"),
            (1_200_000_000, "1.2 GB"),
            (u64::MAX, "18446744.0 TB"),
        ];
        for (count, words) in table {
            assert_eq!(bytes(count), words);
        }
    }

    #[test]
    fn how_far_a_copy_is() {
        let at =
            |done, total, seconds| Progress { done, total, elapsed: Duration::from_secs(seconds) };
        let table = [
            (at(0, 0, 0), "0 B of 0 B (0 %)"),
            (at(500, 1000, 5), "500 B of 1.0 kB (50 %), 100 B/s, 5s left"),
            // The estimate was too low.
            (at(2000, 1000, 5), "2.0 kB of 2.0 kB (100 %), 400 B/s"),
            (at(0, 1000, 5), "0 B of 1.0 kB (0 %)"),
        ];
        for (progress, words) in table {
            assert_eq!(progress.in_words(), words);
        }
    }
}
