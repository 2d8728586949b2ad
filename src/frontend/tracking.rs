//! What must be asked or set on a connection around a statement because of session tracking.
//!
//! The proxy has tracking set for its own ends on every connection. For a statement that shows or
//! sets these settings the connection is given the client's, and put back behind it. What a SET
//! has set and the server does not tell of (MariaDB: `SET @@name` without a scope) is asked for.

use super::execute::Failure;
use super::relay::Reply;
use super::session::Session;
use super::watched::watched;
use crate::backend::connection::PrivateError;
use crate::backend::pool::Lease;
use crate::session::plan::{Plan, TrackingUse};
use crate::session::tracking::{Tracking, question};
use crate::session::{Change, Pins};

impl Session {
    /// Gives the connection the client's own settings.
    pub(super) async fn show_tracking(&mut self, lease: &mut Lease) -> Result<(), Failure> {
        let deadline = self.context.traffic.load().connect_timeout;
        let shown = lease.track_as(self.state.tracking(), deadline);
        match watched(&mut self.client, shown).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let backend = &lease.pool().name;
                tracing::info!(%backend, %error, "session tracking could not be set");
                Err(Failure::Unsent)
            }
            Err(error) => Err(Failure::End(error.into())),
        }
    }

    /// Asks for the values that a successful SET has set and the reply does not tell. False when
    /// that fails: the connection is of no further use.
    pub(super) async fn ask_untold(
        &mut self,
        lease: &mut Lease,
        plan: &Plan,
        reply: &mut Reply,
    ) -> Result<bool, Failure> {
        // The connection stays with the session, and knows.
        let is_kept = self.state.pins().intersects(Pins::SESSION_VARIABLE | Pins::UNKNOWN_EFFECTS);
        // The question would take its warnings from the client.
        if is_kept || reply.error.is_some() || reply.warnings > 0 {
            return Ok(true);
        }
        for change in &plan.changes {
            let Change::Told { name } = change else { continue };
            if reply.told.last(name).is_some() {
                continue;
            }
            let deadline = self.context.traffic.load().connect_timeout;
            let question = format!("SELECT IFNULL(@@session.{name}, '')");
            match watched(&mut self.client, lease.ask(&question, deadline)).await {
                Ok(Ok([value])) => reply.told.note(name.as_bytes(), &value),
                Ok(Err(error)) => {
                    let backend = &lease.pool().name;
                    tracing::info!(%backend, %error, "the value of a variable could not be read");
                    return Ok(false);
                }
                Err(error) => return Err(Failure::End(error.into())),
            }
        }
        Ok(true)
    }

    /// Takes over what a statement has set, and gives the connection the proxy's settings again.
    /// False when that fails: the connection is of no further use.
    pub(super) async fn hide_tracking(
        &mut self,
        lease: &mut Lease,
        usage: TrackingUse,
    ) -> Result<bool, Failure> {
        let deadline = self.context.traffic.load().connect_timeout;
        let before = self.state.tracking().clone();
        let question = question(self.dialect.flavour);
        let hidden = async {
            let tracking = match usage {
                TrackingUse::Sets => {
                    let [schema, variables, gtids] = lease.ask(question, deadline).await?;
                    // In a transaction MySQL still has the proxy's.
                    let gtids = if lease.tells_gtids { before.gtids().as_bytes() } else { &gtids };
                    Tracking::of_values(&schema, &variables, gtids)
                }
                _ => Some(before),
            };
            let further =
                tracking.as_ref().map(|tracking| tracking.further().clone()).unwrap_or_default();
            lease.track(&further, deadline).await?;
            Ok::<_, PrivateError>(tracking)
        };
        match watched(&mut self.client, hidden).await {
            Ok(Ok(Some(tracking))) => self.state.set_tracking(tracking),
            Ok(Ok(None)) => {
                self.state.set_tracking(Tracking::default());
                self.state.pin(Pins::SESSION_VARIABLE);
            }
            Ok(Err(error)) => {
                let backend = &lease.pool().name;
                tracing::info!(%backend, %error, "session tracking could not be set back");
                return Ok(false);
            }
            Err(error) => return Err(Failure::End(error.into())),
        }
        Ok(true)
    }
}
