//! Warnings and errors of the statement before, where they are to be known apart from the connection
//! that has them.

use super::acquire::watched;
use super::session::{End, Session};
use crate::backend::connection::PrivateError;
use crate::backend::connection::diagnostics::marked;
use crate::backend::pool::Lease;
use crate::session::outcome::{Diagnostics, DiagnosticsAfter, FoundRows};
use crate::session::plan::Plan;

impl Session {
    /// Asks the connection that is kept for the warnings and errors that it alone may know.
    pub(super) async fn take_diagnostics_along(&mut self) -> Result<(), End> {
        let knows = match self.state.outcome.diagnostics {
            Diagnostics::OnConnection => true,
            Diagnostics::None => self.state.keeps_connection(),
            Diagnostics::Known(_) => false,
        };
        let Some(mut lease) = self.lease.take_if(|_| knows) else { return Ok(()) };
        match self.take_diagnostics(&mut lease).await? {
            true => {
                self.give_back(lease, true);
                self.publish_state();
            }
            false => self.lose_quietly(lease),
        }
        Ok(())
    }

    /// The same of this connection. False when that fails: it is of no further use.
    pub(super) async fn take_diagnostics(&mut self, lease: &mut Lease) -> Result<bool, End> {
        let deadline = self.context.traffic.load().connect_timeout;
        match watched(&mut self.client, lease.capture(deadline)).await? {
            Ok(report) => self.state.outcome.reported(report),
            Err(error) => {
                let backend = &lease.pool().name;
                tracing::debug!(%backend, %error, "what a connection knows could not be read");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Of warnings and errors that the session knows, and this connection does not, code that nobody
    /// has looked at may leave them or clear them. A mark in the connection's list tells it
    /// afterwards, by [`follow_mark`](Self::follow_mark). False where none is needed or could be set.
    pub(super) async fn mark_diagnostics(
        &mut self,
        lease: &mut Lease,
        plan: &Plan,
    ) -> Result<Result<bool, PrivateError>, End> {
        if plan.after.diagnostics != DiagnosticsAfter::Unknown || !self.state.outcome.is_reported()
        {
            return Ok(Ok(false));
        }
        let deadline = self.context.traffic.load().connect_timeout;
        Ok(match watched(&mut self.client, lease.mark_diagnostics(deadline)).await? {
            Ok(()) => Ok(true),
            Err(PrivateError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        })
    }

    /// Finds out what such code has done to what the session knew.
    pub(super) async fn follow_mark(&mut self, plan: &Plan, was_set: bool) -> Result<(), End> {
        if plan.after.diagnostics != DiagnosticsAfter::Unknown || !self.state.outcome.is_reported()
        {
            return Ok(());
        }
        let Some(mut lease) = self.lease.take_if(|_| was_set) else {
            // Most of it uses some table, which clears them.
            self.state.outcome.diagnostics = Diagnostics::None;
            return Ok(());
        };
        let deadline = self.context.traffic.load().connect_timeout;
        let (client, outcome) = (&mut self.client, &mut self.state.outcome);
        let asked = watched(client, async {
            // Each of these questions clears what the ones before it ask for.
            if outcome.row_count.is_none() {
                outcome.row_count = Some(lease.row_count(deadline).await?);
            }
            outcome.found_rows = FoundRows::Known(lease.found_rows(deadline).await?);
            let report = lease.capture(deadline).await?;
            if !marked(&report) {
                outcome.reported(report);
            }
            Ok::<(), PrivateError>(())
        })
        .await?;
        match asked {
            Ok(()) => self.give_back(lease, true),
            Err(error) => {
                let backend = &lease.pool().name;
                tracing::debug!(%backend, %error, "what a connection knows could not be read");
                self.lose_quietly(lease);
            }
        }
        self.publish_state();
        Ok(())
    }
}
