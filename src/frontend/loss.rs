//! What the loss of a server means to the client whose statement ran on it.

use std::time::Instant;

use super::errors;
use super::execute::{Failure, Text};
use super::relay::RelayError;
use super::session::{End, Session};
use crate::backend::pool::Lease;
use crate::metrics::ErrorKind;
use crate::monitor::abandoned::Thread;
use crate::session::Pins;
use crate::session::plan::Plan;

/// What was so before a statement whose server is lost was sent.
pub(super) struct Loss {
    pub pinned_before: Pins,
    /// It may run once more elsewhere.
    pub repeatable: bool,
}

impl Session {
    /// Closes a connection on whose server something of the session's may go on. The server is told
    /// as soon as it can be reached.
    pub(super) fn abandon(&self, lease: Lease) {
        let thread = Thread::new(lease.thread, Instant::now());
        self.context.abandoned.add(lease.backend(), thread);
    }

    /// The server is gone, before or in the middle of its reply.
    pub(super) async fn lost(
        &mut self,
        lease: Lease,
        plan: &Plan,
        text: &Text,
        error: RelayError,
        loss: Loss,
    ) -> Result<(), Failure> {
        let forwarded = match &error {
            RelayError::Server { forwarded, .. }
            | RelayError::Malformed { forwarded, .. }
            | RelayError::BackendDown { forwarded } => *forwarded,
            RelayError::Client(_) => true,
        };
        let name = lease.pool().name.clone();
        tracing::info!(backend = %name, %error, "a server was lost while it ran a statement");
        if let RelayError::Malformed { .. } = error {
            self.context.metrics.errors.increment(ErrorKind::BackendProtocol);
        }
        // What is told now must stay true: a statement that the server has not got may not reach it
        // behind what the session does next.
        lease.packets.stream().forget_unsent();
        self.abandon(lease);
        if forwarded || matches!(text, Text::Streamed(_)) {
            // The client's stream has half a reply, or ours half a command.
            return Err(Failure::End(End::BackendLost));
        }
        self.held_lost();
        if loss.repeatable {
            return Err(Failure::Elsewhere);
        }
        let causes: Vec<_> = loss.pinned_before.names().collect();
        let answer = if !causes.is_empty() {
            errors::state_lost(&name, &causes.join(", "))
        } else if self.state.on_replica().is_some()
            || (self.state.in_transaction() && !plan.may_commit)
        {
            errors::transaction_lost(&name)
        } else {
            errors::outcome_unknown(&name)
        };
        self.context.metrics.errors.increment(errors::label(&answer));
        self.may_have_written(plan);
        self.no_server_asked(plan, &answer);
        self.state.unpin(plan.pins - loss.pinned_before);
        if plan.expect.is_none() && self.state.keeps_connection() {
            // The next command that has a reply is told.
            self.lost = Some(name);
            return Ok(());
        }
        self.state.transaction_lost();
        self.publish_state();
        if plan.expect.is_some() {
            self.answer_error(1, &answer).await.map_err(Failure::End)?;
        }
        if causes.is_empty() { Ok(()) } else { Err(Failure::End(End::BackendLost)) }
    }
}
