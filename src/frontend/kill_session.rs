//! KILL of a session of ours.
//!
//! Users may end their own sessions. Whether one may end another's depends on privileges and roles,
//! on both sides, that the server alone knows: it is asked by a KILL of a connection that was made
//! for this purpose in the victim's name, sent over the killer's own. What it says is the answer.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::acquire::{Refusal, watched};
use super::context::Context;
use super::errors;
use super::kill::{PATIENCE, side_connection, take_role};
use super::mailbox::Mail;
use super::registry::{Handle, Principal};
use super::session::{End, Session};
use crate::backend::connection::PrivateError;
use crate::backend::sql_client::SqlClient;
use crate::routing::BackendId;
use crate::session::SessionId;
use crate::session::plan::Plan;
use crate::wire::Flavour;
use crate::wire::reply::ServerError;

/// ER_NO_SUCH_THREAD.
const NO_SUCH_THREAD: u16 = 1094;
/// ER_KILL_DENIED_ERROR.
const KILL_DENIED: u16 = 1095;

impl Session {
    pub(super) async fn kill(&mut self, id: SessionId, connection: bool) -> Result<(), End> {
        let Some(victim) = self.context.registry.find(id) else {
            return self.answer_error(1, &errors::no_such_session(id.get().into())).await;
        };
        if id == self.client.handle.id {
            return self.kill_oneself(connection).await;
        }
        let Some(principal) = victim.principal() else {
            // It has not logged in yet.
            return self.answer_error(1, &errors::not_owner(id.get().into())).await;
        };
        if principal.account.user != self.account.user {
            if let Err(error) = self.ask_to_kill(&victim, &principal, connection).await? {
                return self.answer_error(1, &error).await;
            }
            // Meanwhile it may have left, or become another's.
            if self.context.registry.find(id).is_none() {
                return self.answer_error(1, &errors::no_such_session(id.get().into())).await;
            }
            if victim.principal().is_none_or(|now| !now.is(&principal)) {
                return self.answer_error(1, &errors::not_owner(id.get().into())).await;
            }
        }
        victim.mailbox.send(if connection { Mail::KILL_CONNECTION } else { Mail::KILL_QUERY });
        self.answer_ok(self.dialect.flavour == Flavour::MySql).await
    }

    /// The statement that is to end is the KILL itself.
    async fn kill_oneself(&mut self, connection: bool) -> Result<(), End> {
        if !connection {
            return self.answer_error(1, &errors::interrupted()).await;
        }
        self.answer_error(1, &errors::connection_killed(self.dialect.flavour)).await?;
        Err(End::Killed)
    }

    /// Whether the primary lets this session end one of that account; the client's error if not.
    async fn ask_to_kill(
        &mut self,
        handle: &Handle,
        victim: &Principal,
        connection: bool,
    ) -> Result<Result<(), ServerError>, End> {
        let id = handle.id.get().into();
        let (mut lease, _turn) = match self.connection_for(&Plan::administration(), &[]).await {
            Ok(lease) => lease,
            Err(Refusal::Error(error)) => return Ok(Err(error)),
            Err(Refusal::End(end)) => return Err(end),
        };
        let context = self.context.clone();
        let patience = context.traffic.load().connect_timeout;
        let backend = lease.backend();
        let answer = watched(&mut self.client, async {
            let stand_in = StandIn::open(&context, backend, victim, handle.peer).await?;
            let kill = if connection { "KILL" } else { "KILL QUERY" };
            let kill = format!("{kill} {}", stand_in.thread);
            let answer = lease.statement(&kill, patience).await;
            stand_in.client.close().await;
            Some(answer)
        })
        .await?;
        let verdict = match answer {
            None => Err(errors::kill_undecided(id)),
            Some(Ok(())) => Ok(()),
            Some(Err(PrivateError::Refused(error))) => Err(match error.code {
                KILL_DENIED => errors::not_owner(id),
                // The server, or somebody, has ended the connection that stood for it.
                NO_SUCH_THREAD => errors::kill_undecided(id),
                _ => error,
            }),
            Some(Err(error)) => {
                let error = errors::unreachable(&lease.pool().name, &error);
                self.lose_quietly(lease);
                return Ok(Err(error));
            }
        };
        let refused = verdict.is_err();
        lease.note_diagnostics(refused, refused || self.dialect.flavour == Flavour::MySql);
        self.give_back(lease, true);
        self.publish_state();
        Ok(verdict)
    }
}

/// A connection that the primary takes for one of the victim's.
struct StandIn {
    client: SqlClient,
    thread: u32,
}

impl StandIn {
    /// Opens it and gives it the roles of the victim's session. `None` if that cannot be done.
    async fn open(
        context: &Arc<Context>,
        backend: BackendId,
        victim: &Principal,
        peer: Option<SocketAddr>,
    ) -> Option<Self> {
        let deadline = Instant::now() + PATIENCE;
        let credential = victim.account.credential()?;
        let announce = context.login.ownership.announces(peer);
        let mut client = side_connection(context, &credential, announce, backend).await?;
        if !take_role(&mut client, victim.role.as_deref(), deadline).await {
            return None;
        }
        let thread = client.greeting().connection_id;
        Some(StandIn { client, thread })
    }
}
