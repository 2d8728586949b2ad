//! READ ONLY transactions that begin on one connection and go on, or begin again, on another.
//!
//! A session has two leases for the moment in which such a transaction moves to the primary: the
//! one there is got first, so that the transaction stays where it is when that cannot be had.
//! Nobody who has the primary's waits for a replica's.

use super::acquire::Refusal;
use super::errors;
use super::execute::Failure;
use super::session::Session;
use super::turn::Turn;
use super::watched::{attempted, watched};
use crate::backend::connection::Access;
use crate::backend::pool::Lease;
use crate::session::Pins;
use crate::session::plan::Plan;
use crate::session::read_only::OnReplica;

/// Ends a transaction that has read, or makes a connection forget what was said of its next one.
const COMMIT: &str = "COMMIT";
const BEGIN: &str = "START TRANSACTION READ ONLY";

impl Session {
    /// Ends the transaction on the replica, and begins it anew on the primary: for a statement that
    /// may run there alone. An error leaves the transaction where it is, or says that it is lost.
    pub(super) async fn move_to_primary(&mut self, plan: &Plan) -> Result<(Lease, Turn), Refusal> {
        let spotless = Self::wants_spotless(plan);
        let (mut lease, turn) = self.acquire(plan, &[], spotless).await?;
        self.end_on_replica(plan).await?;
        let name = lease.pool().name.clone();
        let begun = match self.state.on_replica().filter(|_| self.state.has_begun()) {
            // With autocommit off the statement itself opens one.
            None => true,
            Some(OnReplica { characteristics, .. }) => {
                let deadline = self.context.traffic.load().connect_timeout;
                let backend = lease.backend();
                let begin = async {
                    if let Some(said) = characteristics.statement() {
                        lease.statement(&said, deadline).await?;
                    }
                    lease.statement(BEGIN, deadline).await
                };
                let begun = attempted(&mut self.client, &self.context, backend, begin).await;
                matches!(begun, Ok(Ok(())))
            }
        };
        self.state.moved_to_primary();
        // I5: that has waited.
        if begun && lease.access == Access::ReadWrite && self.is_write_target(lease.backend()) {
            return Ok((lease, turn));
        }
        self.state.transaction_lost();
        self.publish_state();
        Err(Refusal::Error(errors::transaction_lost(&name)))
    }

    /// Ends the transaction on the replica, for which the client has asked in one way or another.
    /// Should its connection be lost, it has ended as well.
    pub(super) async fn end_on_replica(&mut self, plan: &Plan) -> Result<(), Refusal> {
        self.lost = None;
        let Some(lease) = self.lease.take() else { return Ok(()) };
        self.commit_and_let_go(lease, plan).await
    }

    /// Gives up the connection that alone knows what was said of the next transaction: another one
    /// will be told.
    pub(super) async fn take_characteristics(&mut self, plan: &Plan) -> Result<(), Refusal> {
        let lease = self.kept(plan).await?;
        self.state.unpin(Pins::NEXT_TRANSACTION);
        self.commit_and_let_go(lease, plan).await
    }

    async fn commit_and_let_go(&mut self, mut lease: Lease, plan: &Plan) -> Result<(), Refusal> {
        let deadline = self.context.traffic.load().connect_timeout;
        let commit = lease.statement(COMMIT, deadline);
        match watched(&mut self.client, commit).await? {
            Ok(()) => {
                let keeps_diagnostics = plan.after.diagnostics.may_keep();
                self.let_go(lease, keeps_diagnostics).await.map_err(Refusal::End)
            }
            Err(error) => {
                let backend = &lease.pool().name;
                tracing::debug!(%backend, %error, "a READ ONLY transaction could not be ended");
                self.held_lost();
                Ok(())
            }
        }
    }

    /// Tells a connection what was said of the transaction that the command begins.
    pub(super) async fn tell_characteristics(
        &mut self,
        lease: &mut Lease,
        plan: &Plan,
    ) -> Result<(), Failure> {
        let Some(statement) = plan.characteristics.and_then(|said| said.statement()) else {
            return Ok(());
        };
        let deadline = self.context.traffic.load().connect_timeout;
        match watched(&mut self.client, lease.statement(&statement, deadline)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let backend = &lease.pool().name;
                tracing::info!(%backend, %error, "a transaction's characteristics were refused");
                Err(Failure::Unsent)
            }
            Err(error) => Err(Failure::End(error.into())),
        }
    }

    /// Ends with a transaction on a replica what that connection alone had for the session. False
    /// when there was something: the connection is of no further use.
    pub(super) fn leave_replica(&mut self, lease: &Lease) -> bool {
        let nothing = self.state.pins().is_empty();
        if nothing || lease.access != Access::ReadOnly || self.state.in_transaction() {
            return true;
        }
        self.state.leave_replica();
        false
    }
}
