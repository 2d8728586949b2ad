//! Requests for a reading of the accounts that begins after them.

use tokio::sync::watch;

/// Numbers requests, and wakes the watcher that reads. Any number may ask.
#[derive(Debug)]
pub struct Requests(watch::Sender<u64>);

impl Default for Requests {
    fn default() -> Self {
        Requests(watch::Sender::new(0))
    }
}

impl Requests {
    /// Asks for a reading. A [`Directory`](crate::session::accounts::Directory) that answers this
    /// number, or a higher one, was read after this call.
    pub fn ask(&self) -> u64 {
        let mut number = 0;
        self.0.send_modify(|last| {
            *last += 1;
            number = *last;
        });
        number
    }

    /// The number of the last request; 0 before the first.
    pub fn last(&self) -> u64 {
        *self.0.borrow()
    }

    /// Waits for a request beyond this one. Cancel safe.
    pub async fn beyond(&self, request: u64) {
        // The sender lives as long as this, so the wait ends with a request and not otherwise.
        let _ = self.0.subscribe().wait_for(|last| *last > request).await;
    }
}
