//! What the loss of a server means to the client whose statement ran on it.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::acquire::{Refusal, Trouble};
use super::errors;
use super::execute::{Failure, Text};
use super::kill::dial_aside;
use super::relay::RelayError;
use super::rescue::is_farewell;
use super::session::{End, Session};
use super::watched::attempted;
use crate::backend::connection::Access;
use crate::backend::pool::Lease;
use crate::metrics::ErrorKind;
use crate::monitor::abandoned::Thread;
use crate::session::Pins;
use crate::session::plan::Plan;
use crate::wire::reply::ErrPacket;

/// What was so before a statement whose server is lost was sent.
pub(super) struct Loss {
    pub pinned_before: Pins,
    /// It may run once more elsewhere.
    pub repeatable: bool,
}

/// How long a server that has begun to say why it closes may take to say it.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The most that it may say.
const MOST_WORDS: usize = 4096;

impl Session {
    /// The connection that the session cannot do without was closed while nothing ran, or is about to
    /// be. If its server lives, that has let it wait too long for the client
    /// (`idle_transaction_timeout`, `wait_timeout`), or was told to KILL it: the client's ends as it
    /// would there. If not, the client hears of it when it next asks for something.
    pub(super) async fn hear_farewell(&mut self) -> Result<(), End> {
        let Some(mut lease) = self.lease.take() else { return Ok(()) };
        let said = timeout(LAST_WORDS, lease.packets.read_packet(MOST_WORDS, None)).await;
        let words = said.ok().and_then(Result::ok).and_then(|packet| {
            ErrPacket::parse(&packet.payload).ok().map(|error| error.to_owned())
        });
        let stops = words.as_ref().is_some_and(|words| is_farewell(words.code));
        if !stops && self.is_alive(&lease).await? {
            return Err(End::ByServer(words));
        }
        self.leave(lease);
        Ok(())
    }

    /// Whether a server lets the account in, or refuses it, now.
    async fn is_alive(&mut self, lease: &Lease) -> Result<bool, End> {
        let (backend, writes) = (lease.backend(), lease.access == Access::ReadWrite);
        let (context, credential) = (self.context.clone(), self.credential.clone());
        if !context.topology.load().may_finish(backend, writes) {
            return Ok(false);
        }
        let dialling = dial_aside(&context, &credential, self.announces(), backend);
        let answers = match attempted(&mut self.client, &context, backend, dialling).await {
            Ok(Some(Ok(client))) => {
                client.close().await;
                true
            }
            Ok(Some(Err(error))) => {
                error.server_error().is_some_and(|refused| !is_farewell(refused.code))
            }
            Ok(None) => false,
            Err(Trouble::Refusal(Refusal::End(end))) => return Err(end),
            Err(_) => false,
        };
        Ok(answers && context.topology.load().may_finish(backend, writes))
    }

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
        if forwarded || matches!(text, Text::Streamed(..)) {
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
