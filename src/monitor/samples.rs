//! Numbers the samples of the primary's position, so that a write and a sample can be put in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::routing::topology::SampleNumber;

/// The last number given out. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Samples(Arc<AtomicU64>);

impl Samples {
    /// The number of a sample whose taking begins now.
    pub fn begin(&self) -> SampleNumber {
        SampleNumber(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// The lowest number that a sample can have whose taking begins from now on: who has applied
    /// a sample of this number or a higher one has all that was committed before this call.
    pub fn next(&self) -> SampleNumber {
        SampleNumber(self.0.load(Ordering::SeqCst) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_later_has_a_higher_number() {
        let samples = Samples::default();
        let begun = samples.clone().begin();
        let next = samples.next();
        assert!(begun < next);
        assert_eq!(samples.begin(), next);
    }
}
