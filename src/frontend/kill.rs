//! Ends a statement that runs on a server, over a connection of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::context::Context;
use super::mailbox::Mail;
use super::registry::Handle;
use super::session::Session;
use crate::backend::pool::Lease;
use crate::backend::sql_client::SqlClient;
use crate::backend::{ConnectError, Credential};
use crate::routing::BackendId;
use crate::wire::proxy_header::Source;

/// How long the side connection may take for everything.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long a statement whose time was up may go on before it is killed again; MySQL goes on behind
/// a SLEEP that was ended.
const AGAIN: Duration = Duration::from_secs(1);

/// Waits for the reply to a command that was just sent. When it has not come in whole within the
/// limit, the session gets the mail of a KILL QUERY, and again until it has. Without a limit there
/// is no timer.
pub(super) async fn limited<T>(
    limit: Option<(Duration, Arc<Handle>)>,
    mut reply: Pin<&mut impl Future<Output = T>>,
) -> T {
    let Some((mut left, handle)) = limit else { return reply.await };
    loop {
        if let Ok(reply) = tokio::time::timeout(left, &mut reply).await {
            return reply;
        }
        handle.mailbox.send(Mail::KILL_QUERY);
        left = AGAIN;
    }
}

/// Everything that is needed to end one statement. The account's own rights suffice: users may
/// kill their own threads.
pub(super) struct Kill {
    context: Arc<Context>,
    credential: Arc<Credential>,
    announce: Option<Source>,
    /// Those of the session: with them its thread may be one that the account without them may
    /// not kill (MySQL's SYSTEM_USER).
    role: Option<Arc<str>>,
    backend: BackendId,
    thread: u32,
    sent: Option<Sent>,
    /// More than one was asked for: no more than one can have hit.
    repeated: bool,
}

/// A task that sends KILL QUERY, once or again.
struct Sent {
    /// How many were asked for that it has not done; at 0 it is about to end.
    wanted: Arc<AtomicU32>,
    /// False when one of them was not answered.
    answered: JoinHandle<bool>,
}

impl Session {
    /// For the statement that is about to run on this connection.
    pub(super) fn kill_of(&self, lease: &Lease) -> Kill {
        Kill {
            context: self.context.clone(),
            credential: self.credential.clone(),
            announce: self.announces(),
            role: self.state.settings().role.clone(),
            backend: lease.backend(),
            thread: lease.thread,
            sent: None,
            repeated: false,
        }
    }
}

impl Kill {
    /// Sends KILL QUERY in the background, outside the pool's permits, one at a time: what comes
    /// while one is under way is sent behind it, for the statement may have gone on (MySQL does
    /// behind a SLEEP). It ends by itself within its deadline; whether it has hit shows in the
    /// victim's reply.
    pub fn send(&mut self) {
        let before = self.sent.take();
        self.repeated = before.is_some();
        if let Some(sent) = &before
            && sent.wanted.fetch_add(1, Ordering::AcqRel) > 0
        {
            self.sent = before;
            return;
        }
        let (context, credential) = (self.context.clone(), self.credential.clone());
        let (backend, thread, role) = (self.backend, self.thread, self.role.clone());
        let announce = self.announce;
        let wanted = Arc::new(AtomicU32::new(1));
        let left = wanted.clone();
        let answered = tokio::spawn(async move {
            let mut answered = match before {
                Some(sent) => sent.answered.await.unwrap_or(false),
                None => true,
            };
            loop {
                let seen = left.load(Ordering::Acquire);
                let killer = side_connection(&context, &credential, announce, backend);
                answered &= kill_query(killer, role.as_deref(), thread).await;
                let done = left.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Acquire);
                if done.is_ok() {
                    return answered;
                }
            }
        });
        self.sent = Some(Sent { wanted, answered });
    }

    /// Whether one was sent.
    pub fn was_sent(&self) -> bool {
        self.sent.is_some()
    }

    /// Waits until a KILL QUERY that was sent is answered: until then the victim's connection may
    /// serve nobody else. `hit` tells whether the victim's reply was that of a killed statement.
    /// False when one may still hit whatever runs there next.
    pub async fn settled(&mut self, hit: bool) -> bool {
        match &mut self.sent {
            None => true,
            Some(sent) => (&mut sent.answered).await.unwrap_or(false) && hit && !self.repeated,
        }
    }
}

/// False when it is not known whether it has reached the server.
async fn kill_query(
    killer: impl Future<Output = Option<SqlClient>>,
    role: Option<&str>,
    thread: u32,
) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let Some(mut client) = killer.await else {
        return false;
    };
    take_role(&mut client, role, deadline).await;
    let answer = client.query(&format!("KILL QUERY {thread}"), deadline).await;
    client.close().await;
    if let Err(error) = &answer {
        tracing::debug!(%error, thread, "KILL QUERY was refused");
    }
    answer.is_ok()
}

/// A connection of its own, outside the pool's permits, within [`PATIENCE`].
pub(super) async fn side_connection(
    context: &Context,
    credential: &Credential,
    announce: Option<Source>,
    backend: BackendId,
) -> Option<SqlClient> {
    match dial_aside(context, credential, announce, backend).await? {
        Ok(client) => Some(client),
        Err(error) => {
            tracing::debug!(%error, "no connection for a KILL");
            None
        }
    }
}

/// The same, or why there is none; `None` if the server is not known any more.
pub(super) async fn dial_aside(
    context: &Context,
    credential: &Credential,
    announce: Option<Source>,
    backend: BackendId,
) -> Option<Result<SqlClient, ConnectError>> {
    let deadline = Instant::now() + PATIENCE;
    let topology = context.topology.load_full();
    let address = topology.backend(backend)?.address.as_ref()?;
    let tls = &context.backend_tls;
    Some(SqlClient::connect(address, credential, tls, announce, deadline).await)
}

/// Makes these roles, if any, the active ones; false if the server refuses.
pub(super) async fn take_role(
    client: &mut SqlClient,
    role: Option<&str>,
    deadline: Instant,
) -> bool {
    let Some(role) = role else { return true };
    client.query(&format!("SET ROLE {role}"), deadline).await.is_ok()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::super::registry::Registry;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_statement_is_killed_when_its_time_is_up_and_until_it_ends() {
        let registration = Arc::new(Registry::new()).register(None);
        let mailbox = &registration.handle.mailbox;
        let after = |milliseconds| tokio::time::sleep(Duration::from_millis(milliseconds));
        let limit = || Some((Duration::from_millis(300), registration.handle.clone()));
        limited(None, pin!(after(900_000))).await;
        limited(limit(), pin!(after(299))).await;
        assert!(mailbox.peek().is_empty());
        let asking = pin!(async {
            let mut asked = Vec::new();
            for _ in 0..16 {
                after(100).await;
                asked.push(mailbox.peek() == Mail::KILL_QUERY);
                mailbox.take(Mail::KILL_QUERY);
            }
            asked
        });
        let asked = limited(limit(), asking).await;
        let times: Vec<_> = (1..).zip(asked).filter(|it| it.1).map(|it| it.0).collect();
        // At 300 ms and a second later; what is told in the same instant may be seen one step on.
        assert!(matches!(times[..], [3 | 4, 13 | 14]), "{times:?}");
    }
}
