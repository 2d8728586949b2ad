//! Warnings and errors of the statement before, where they are to be known apart from the connection
//! that has them.

use super::session::{End, Session};
use super::watched::watched;
use crate::backend::connection::PrivateError;
use crate::backend::connection::diagnostics::Mark;
use crate::backend::pool::Lease;
use crate::session::outcome::{Diagnostics, DiagnosticsAfter, FoundRows};
use crate::session::plan::Plan;
use crate::wire::reply::ServerError;

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
                log_unread(lease, &error);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The proxy has refused a command by itself. Where the session keeps a connection, code that
    /// runs there may ask for the outcome.
    pub(super) async fn tell_of_refusal(&mut self, error: &ServerError) -> Result<(), End> {
        let keeps = self.state.keeps_connection();
        let Some(mut lease) = self.lease.take_if(|_| keeps) else { return Ok(()) };
        let deadline = self.context.traffic.load().connect_timeout;
        match watched(&mut self.client, lease.take_over_error(error, deadline)).await? {
            Ok(knows) => {
                if knows {
                    self.state.outcome.diagnostics = Diagnostics::OnConnection;
                }
                self.give_back(lease, true);
                self.publish_state();
            }
            Err(error) => self.give_up(lease, &error),
        }
        Ok(())
    }

    /// Loses a connection that has not answered a question of the proxy's.
    fn give_up(&mut self, lease: Lease, error: &PrivateError) {
        log_unread(&lease, error);
        self.lose_quietly(lease);
    }

    /// Of warnings and errors that the session knows, and this connection does not, code that nobody
    /// has looked at may leave them or clear them. A mark in the connection's list tells it
    /// afterwards, by [`follow_mark`](Self::follow_mark). None where that is not needed, or refused.
    pub(super) async fn mark_diagnostics(
        &mut self,
        lease: &mut Lease,
        plan: &Plan,
    ) -> Result<Result<Option<Mark>, PrivateError>, End> {
        let reported = self.state.outcome.reported_elsewhere();
        let Some(report) = reported.filter(|_| plan.after.diagnostics == DiagnosticsAfter::Unknown)
        else {
            return Ok(Ok(None));
        };
        let report = report.clone();
        let deadline = self.context.traffic.load().connect_timeout;
        Ok(match watched(&mut self.client, lease.mark_diagnostics(&report, deadline)).await? {
            Ok(mark) => Ok(Some(mark)),
            Err(PrivateError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// Finds out what such code has done to what the session knew.
    pub(super) async fn follow_mark(&mut self, plan: &Plan, mark: Option<Mark>) -> Result<(), End> {
        let is_known = self.state.outcome.reported_elsewhere().is_some();
        if plan.after.diagnostics != DiagnosticsAfter::Unknown || !is_known {
            return Ok(());
        }
        let Some((mark, mut lease)) = mark.and_then(|mark| Some((mark, self.lease.take()?))) else {
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
            if !mark.is_all_of(&report) {
                outcome.reported(report);
            }
            Ok::<(), PrivateError>(())
        })
        .await?;
        match asked {
            Ok(()) => {
                self.give_back(lease, true);
                self.publish_state();
            }
            Err(error) => self.give_up(lease, &error),
        }
        Ok(())
    }
}

pub(super) fn log_unread(lease: &Lease, error: &PrivateError) {
    let backend = &lease.pool().name;
    tracing::debug!(%backend, %error, "what a connection knows could not be read");
}
