//! Waiting for something of a server, with an eye on the client and on mail.
//!
//! These are no async functions: those hold what they are given twice, where it was passed to and where
//! it is pinned, and a session takes as much memory as the largest of its waits, also while idle.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::acquire::Trouble;
use super::client::{Client, ClientError};
use super::context;
use super::mailbox::Mail;
use crate::routing::topology::BackendId;

/// Waits for `future` while the client is there and nobody ends the session. The future must
/// bear being dropped.
pub(super) fn watched<F: Future>(client: &mut Client, future: F) -> Watched<'_, F> {
    Watched { client, future }
}

/// Waits for something of a backend, as [`watched`] does, until that is declared down: a server
/// whose address has vanished answers a dial after seconds, a paused one never.
pub(super) fn attempted<'a, F: Future>(
    client: &'a mut Client,
    context: &'a context::Context,
    backend: BackendId,
    future: F,
) -> Attempted<'a, F> {
    Attempted { client, context, backend, future }
}

pin_project! {
    pub(super) struct Watched<'a, F> {
        client: &'a mut Client,
        #[pin]
        future: F,
    }
}

pin_project! {
    pub(super) struct Attempted<'a, F> {
        client: &'a mut Client,
        context: &'a context::Context,
        backend: BackendId,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Watched<'_, F> {
    type Output = Result<F::Output, ClientError>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.future.poll(task) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => poll_end(this.client, task).map(Err),
        }
    }
}

impl<F: Future> Future for Attempted<'_, F> {
    type Output = Result<F::Output, Trouble>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(value) = this.future.poll(task) {
            return Poll::Ready(Ok(value));
        }
        if let Poll::Ready(end) = poll_end(this.client, task) {
            return Poll::Ready(Err(end.into()));
        }
        // Later mail wakes the task: it was registered for that.
        let mailbox = &this.client.handle.mailbox;
        if mailbox.peek().contains(Mail::BACKEND) {
            mailbox.take(Mail::BACKEND);
            if this.context.topology.load().is_lost(*this.backend) {
                return Poll::Ready(Err(Trouble::Changed));
            }
        }
        Poll::Pending
    }
}

/// Ready when nobody waits for an answer any more.
fn poll_end(client: &mut Client, task: &mut Context<'_>) -> Poll<ClientError> {
    let ending = Mail::KILL_CONNECTION | Mail::SHUTDOWN;
    let mail = client.handle.mailbox.poll(task, ending);
    if !mail.is_empty() {
        return Poll::Ready(ClientError::Interrupted(mail));
    }
    client.poll_gone(task).map(|()| ClientError::Closed)
}
