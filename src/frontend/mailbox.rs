//! How others interrupt a session: one word of bits and the waker of the session's task.

use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Context;

use atomic_waker::AtomicWaker;
use bitflags::bitflags;

bitflags! {
    /// Reasons for an interruption. Several may be waiting at once.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Mail: u32 {
        /// KILL of this session's id: it ends.
        const KILL_CONNECTION = 1;
        /// KILL QUERY of this session's id: its running statement ends, if one runs.
        const KILL_QUERY = 1 << 1;
        /// The proxy drains: the session ends where it is idle outside a transaction.
        const DRAIN = 1 << 2;
        /// The proxy stops now.
        const SHUTDOWN = 1 << 3;
        /// A backend was declared down or lost its role: look whether it is this session's.
        const BACKEND = 1 << 4;
        /// The client has said nothing for a while: buffers can be given back.
        const QUIET = 1 << 8;
        /// The client has said nothing for too long.
        const IDLE = 1 << 7;
        /// Others wait for a connection: one that is kept without need is to be given up.
        const RELEASE = 1 << 6;
        /// The account's password, lock or grants changed: the session must log in anew.
        const ACCOUNT = 1 << 5;
    }
}

/// A session's mailbox. Any number of senders; the session's task alone receives.
#[derive(Debug, Default)]
pub struct Mailbox {
    bits: AtomicU32,
    waker: AtomicWaker,
}

impl Mailbox {
    /// Leaves mail and wakes the session.
    pub fn send(&self, mail: Mail) {
        self.bits.fetch_or(mail.bits(), Ordering::Release);
        self.waker.wake();
    }

    /// The mail that waits, of the kinds asked for; registers the task for later mail. It stays
    /// until it is [taken](Self::take).
    pub fn poll(&self, context: &Context<'_>, wanted: Mail) -> Mail {
        // Register first: mail that arrives between a look and a registration would not wake.
        self.waker.register(context.waker());
        self.peek() & wanted
    }

    pub fn peek(&self) -> Mail {
        Mail::from_bits_truncate(self.bits.load(Ordering::Acquire))
    }

    /// Removes mail that was dealt with.
    pub fn take(&self, mail: Mail) {
        self.bits.fetch_and(!mail.bits(), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn every_reason_wakes_a_waiting_session() {
        for mail in Mail::all().iter() {
            let mailbox = Arc::new(Mailbox::default());
            let receiver = mailbox.clone();
            let waiting = tokio::spawn(poll_fn(move |context| {
                let found = receiver.poll(context, Mail::all());
                if found.is_empty() { Poll::Pending } else { Poll::Ready(found) }
            }));
            tokio::task::yield_now().await;
            mailbox.send(mail);
            assert_eq!(waiting.await.unwrap(), mail);
            mailbox.take(mail);
            assert!(mailbox.peek().is_empty());
        }
    }
}
