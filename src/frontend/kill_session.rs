//! KILL of a session of ours.
//!
//! Users may end their own sessions. Whether one may end another's depends on privileges and roles,
//! on both sides, that the server alone knows: it is asked by a KILL of a connection that was made
//! for this purpose in the victim's name, sent over the killer's own. What it says is the answer.
//!
//! What id an expression or a parameter means the primary finds out: it is sent the KILL, and answers
//! with the id when it has no such connection, as it has none of our sessions' ids.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::acquire::Refusal;
use super::context::Context;
use super::errors;
use super::kill::{PATIENCE, side_connection, take_role};
use super::mailbox::Mail;
use super::registry::{Handle, Principal};
use super::rescue::NO_SUCH_THREAD;
use super::session::{End, Session};
use super::watched::watched;
use crate::backend::connection::PrivateError;
use crate::backend::sql_client::SqlClient;
use crate::routing::BackendId;
use crate::session::SessionId;
use crate::session::outcome::Diagnostics;
use crate::session::plan::{KillScope, Plan};
use crate::sql::kill::{KillTarget, parse_kill};
use crate::wire::Flavour;
use crate::wire::reply::ServerError;

/// ER_KILL_DENIED_ERROR.
const KILL_DENIED: u16 = 1095;

impl Session {
    /// The server has no connection of the id that a KILL has named: of which, this error tells.
    pub(super) async fn kill_unknown(
        &mut self,
        plan: &Plan,
        error: &ServerError,
    ) -> Result<(), End> {
        let Some(session) = session_named(error) else {
            return self.answer_error(1, error).await;
        };
        let scope = match (plan.kills, &plan.kill_in) {
            (None, Some(variable)) => self.scope_in(variable, session).await?,
            (scope, _) => scope,
        };
        let Some(scope) = scope else { return self.answer_error(1, error).await };
        self.forget_refusal().await?;
        self.kill(session, scope).await
    }

    /// What is ended of this session by the KILL in a user variable. It may be another text by now
    /// than the one that has run: one that names another session, or none, does not count.
    async fn scope_in(
        &mut self,
        variable: &str,
        session: SessionId,
    ) -> Result<Option<KillScope>, End> {
        let Some(mut lease) = self.lease.take() else { return Ok(None) };
        let deadline = self.context.traffic.load().connect_timeout;
        let question = format!("SELECT LEFT(COALESCE(@`{variable}`, ''), 256)");
        let asked = lease.ask::<1>(&question, deadline);
        let Ok([text]) = watched(&mut self.client, asked).await? else {
            self.lose_quietly(lease);
            return Ok(None);
        };
        self.give_back(lease, true);
        Ok(parse_kill(&text, self.dialect).and_then(|kill| match kill.target {
            KillTarget::Connection(id) if SessionId::from_kill(id) == Some(session) => {
                Some(KillScope::of(&kill))
            }
            _ => None,
        }))
    }

    /// An error that was not for the client is not to be found by SHOW WARNINGS either.
    async fn forget_refusal(&mut self) -> Result<(), End> {
        self.state.outcome.diagnostics = Diagnostics::None;
        let Some(mut lease) = self.lease.take() else { return Ok(()) };
        let deadline = self.context.traffic.load().connect_timeout;
        match watched(&mut self.client, lease.clear_diagnostics(deadline)).await? {
            Ok(()) | Err(PrivateError::Refused(_)) => self.give_back(lease, true),
            Err(_) => self.lose_quietly(lease),
        }
        Ok(())
    }

    pub(super) async fn kill(&mut self, id: SessionId, scope: KillScope) -> Result<(), End> {
        let connection = scope == KillScope::Connection;
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

/// The session whose id ER_NO_SUCH_THREAD tells. Its words are in the language of `lc_messages`; the
/// id is the only number.
fn session_named(error: &ServerError) -> Option<SessionId> {
    let mut numbers =
        error.message.split(|byte| !byte.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let (number, None) = (numbers.next()?, numbers.next()) else { return None };
    SessionId::from_kill(std::str::from_utf8(number).ok()?.parse().ok()?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_tells_which_session_is_meant() {
        let named =
            |message: &str| session_named(&ServerError::new(NO_SUCH_THREAD, b"HY000", message));
        let ours = SessionId::from_kill(1_073_741_999);
        assert!(ours.is_some());
        assert_eq!(named("Unknown thread id: 1073741999"), ours);
        assert_eq!(named("Ukjent tråd-id 1073741999"), ours);
        for other in ["Unknown thread id: 17", "Unknown thread id: 18446744073709551615", "Unknown"]
        {
            assert_eq!(named(other), None, "{other}");
        }
        assert_eq!(named("17 1073741999"), None);
    }
}
