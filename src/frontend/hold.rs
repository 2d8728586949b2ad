//! Connections that are kept though nothing forces it, because they alone know something that the
//! client may ask for next: warnings and errors of the last statement, user variables that GET
//! DIAGNOSTICS has set from them, how those are coded that were set before SET NAMES, and
//! LAST_INSERT_ID().
//!
//! Unlike a pinned connection such a one can be given up: when the session goes elsewhere, or when
//! others wait for a connection. LAST_INSERT_ID() is then asked of it first. (The insert id in an
//! OK packet is not the function's value: an INSERT with an explicit id reports that id, and the
//! function keeps its older value.) So that its value is the session's own in any case, a
//! connection is given the session's before a statement that may read it, change it or leave it.

use super::diagnostics::log_unread;
use super::relay::Reply;
use super::session::{End, Session};
use super::watched::watched;
use crate::backend::connection::diagnostics::Mark;
use crate::backend::connection::{Access, PrivateError};
use crate::backend::pool::Lease;
use crate::routing::Request;
use crate::session::outcome::{Diagnostics, FoundRows};
use crate::session::plan::Plan;
use crate::session::user_variables::Assigned;

/// What is known of the session's LAST_INSERT_ID().
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InsertId {
    Known(u64),
    /// The connection that is kept knows it. Should that be lost, this is the best guess.
    OnConnection {
        guess: u64,
    },
}

impl InsertId {
    fn guess(self) -> u64 {
        match self {
            InsertId::Known(value) | InsertId::OnConnection { guess: value } => value,
        }
    }
}

impl Session {
    /// True when the connection alone knows something that the client may ask for next.
    pub(super) fn leaves_something(&self) -> bool {
        let unread = matches!(self.insert_id, InsertId::OnConnection { .. });
        unread || self.state.outcome.is_on_connection() || !self.state.unread_variables().is_empty()
    }

    /// True when a connection that is kept without need serves this request too.
    pub(super) fn suits(lease: &Lease, request: Request) -> bool {
        match request {
            Request::Primary => lease.access == Access::ReadWrite,
            Request::Previous(_) => true,
            Request::Read | Request::ReadAt(_) => false,
        }
    }

    /// Gives up a connection that is kept without need, after asking it what only it knows; of
    /// warnings and errors only if the next statement leaves them there to be asked for. An error
    /// closes the connection; what it knew is then guessed, or gone.
    pub(super) async fn let_go(
        &mut self,
        mut lease: Lease,
        keeps_diagnostics: bool,
    ) -> Result<(), End> {
        let deadline = self.context.traffic.load().connect_timeout;
        let variables = self.state.unread_variables().to_vec();
        let mut read = Vec::with_capacity(variables.len());
        let (client, outcome) = (&mut self.client, &mut self.state.outcome);
        let insert_id = &mut self.insert_id;
        let asked = watched(client, async {
            if outcome.row_count.is_none() {
                outcome.row_count = Some(lease.row_count(deadline).await?);
            }
            // Each of these questions clears what the ones before it ask for.
            if keeps_diagnostics && outcome.diagnostics == Diagnostics::OnConnection {
                outcome.reported(lease.capture(deadline).await?);
            } else if outcome.found_rows == FoundRows::OnConnection {
                outcome.found_rows = FoundRows::Known(lease.found_rows(deadline).await?);
            }
            if matches!(insert_id, InsertId::OnConnection { .. }) {
                *insert_id = InsertId::Known(lease.insert_id(deadline).await?);
            }
            for (name, unread) in variables {
                let [answer] = lease.ask(&unread.question(&name), deadline).await?;
                read.push((name, unread.answered(&answer).unwrap_or(Assigned::Unknown)));
            }
            Ok::<(), PrivateError>(())
        })
        .await?;
        if let Err(error) = asked {
            log_unread(&lease, &error);
            self.held_lost();
            return Ok(());
        }
        self.state.outcome.lost();
        self.state.variables_read(&read);
        self.put_away(lease);
        Ok(())
    }

    /// Gives the connection what the statement may need of what the session knows. Whether that is a
    /// mark among its warnings.
    pub(super) async fn bring_along(
        &mut self,
        lease: &mut Lease,
        plan: &Plan,
    ) -> Result<Result<Option<Mark>, PrivateError>, End> {
        if plan.needs_insert_id
            && lease.access == Access::ReadWrite
            && let Err(error) = self.bring_insert_id(lease).await?
        {
            return Ok(Err(error));
        }
        self.mark_diagnostics(lease, plan).await
    }

    /// Makes LAST_INSERT_ID() on this connection to the primary the session's own.
    pub(super) async fn bring_insert_id(
        &mut self,
        lease: &mut Lease,
    ) -> Result<Result<(), PrivateError>, End> {
        let InsertId::Known(value) = self.insert_id else {
            // This connection is the one that was kept for it.
            return Ok(Ok(()));
        };
        let deadline = self.context.traffic.load().connect_timeout;
        Ok(watched(&mut self.client, lease.set_insert_id(value, deadline)).await?)
    }

    /// Notes what a statement that has ended may have done to LAST_INSERT_ID().
    pub(super) fn follow_insert_id(&mut self, lease: &mut Lease, plan: &Plan, reply: &Reply) {
        let unsaid = plan.needs_insert_id && (reply.has_rows || reply.error.is_some());
        if lease.access == Access::ReadWrite
            && (plan.changes_insert_id || unsaid || reply.insert_id.is_some())
        {
            lease.insert_id_may_have_changed();
            let guess = reply.insert_id.unwrap_or(self.insert_id.guess());
            self.insert_id = InsertId::OnConnection { guess };
        }
    }

    /// COM_RESET_CONNECTION has made it 0.
    pub(super) fn insert_id_was_reset(&mut self) {
        self.insert_id = InsertId::Known(0);
    }

    /// The connection that knew more is gone.
    pub(super) fn held_lost(&mut self) {
        self.insert_id = InsertId::Known(self.insert_id.guess());
        self.state.unread_are_lost();
        self.state.outcome.lost();
    }
}
