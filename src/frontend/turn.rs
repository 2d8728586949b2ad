//! What a statement takes up from the choice of its server to the end of its reply.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::acquire::Published;
use crate::backend::pool::InFlight;

/// Given up when dropped.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Its place among the statements on its server, where these are counted.
    pub _in_flight: Option<InFlight>,
    pub _spill: Spill,
}

/// A read's place among those that run on the primary for want of replicas, if their number has a
/// limit.
#[derive(Default)]
pub(super) enum Spill {
    /// It is none of them.
    #[default]
    None,
    /// In the queue. The place there is kept while other servers are looked at.
    Waits(Waiting),
    Runs(#[expect(dead_code, reason = "given up when dropped")] OwnedSemaphorePermit),
}

type Waiting =
    Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Sync>>;

impl fmt::Debug for Spill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Spill::None => "None",
            Spill::Waits(_) => "Waits",
            Spill::Runs(_) => "Runs",
        })
    }
}

impl Spill {
    /// Whether the read may run at once; else it is in the queue now.
    pub fn may_run(&mut self, places: &Arc<Semaphore>) -> bool {
        if let Spill::None = self {
            *self = match places.clone().try_acquire_owned() {
                Ok(permit) => Spill::Runs(permit),
                Err(_) => Spill::Waits(Box::pin(places.clone().acquire_owned())),
            };
        }
        matches!(self, Spill::Runs(_))
    }

    /// Waits for the read's turn, or until another topology is published, or for `most`. Cancel
    /// safe: the place in the queue stays.
    pub async fn wait(&mut self, published: &mut Published, most: Duration) {
        let Spill::Waits(waiting) = self else { return };
        tokio::select! {
            permit = waiting => {
                // The semaphore is never closed.
                *self = permit.map_or(Spill::None, Spill::Runs);
            }
            _ = timeout(most, published.changed()) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reads_take_their_turns() {
        let (publish, mut published) = tokio::sync::watch::channel(0);
        let places = Arc::new(Semaphore::new(1));
        let [mut first, mut second, mut third] = [Spill::None, Spill::None, Spill::None];
        assert!(first.may_run(&places) && first.may_run(&places));
        assert!(!second.may_run(&places) && !third.may_run(&places));
        let second_wait = Duration::from_secs(1);
        second.wait(&mut published, second_wait).await;
        assert!(!second.may_run(&places));
        // Another topology ends a wait, and not the place in the queue.
        publish.send_replace(1);
        second.wait(&mut published, Duration::from_secs(1_000_000)).await;
        drop(first);
        third.wait(&mut published, second_wait).await;
        assert!(!third.may_run(&places));
        second.wait(&mut published, second_wait).await;
        assert!(second.may_run(&places));
        // Who gives up frees the place for the next.
        drop(second);
        third.wait(&mut published, second_wait).await;
        assert!(third.may_run(&places));
    }
}
