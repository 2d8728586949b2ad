//! Ends a statement that runs on a server, over a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::context::Context;
use super::session::Session;
use crate::backend::Credential;
use crate::backend::pool::Lease;
use crate::backend::sql_client::SqlClient;
use crate::routing::BackendId;

/// How long the side connection may take for everything.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything that is needed to end one statement. The account's own rights suffice: users may
/// kill their own threads.
pub(super) struct Kill {
    context: Arc<Context>,
    credential: Arc<Credential>,
    backend: BackendId,
    thread: u32,
    sent: Option<JoinHandle<bool>>,
}

impl Session {
    /// For the statement that is about to run on this connection.
    pub(super) fn kill_of(&self, lease: &Lease) -> Kill {
        Kill {
            context: self.context.clone(),
            credential: self.credential.clone(),
            backend: lease.backend(),
            thread: lease.thread,
            sent: None,
        }
    }
}

impl Kill {
    /// Sends KILL QUERY in the background, outside the pool's permits, once. It ends by itself
    /// within its deadline; whether it has hit shows in the victim's reply.
    pub fn send(&mut self) {
        if self.sent.is_some() {
            return;
        }
        let topology = self.context.topology.load();
        let Some(address) = topology.backend(self.backend).and_then(|known| known.address.clone())
        else {
            return;
        };
        let (context, credential) = (self.context.clone(), self.credential.clone());
        let thread = self.thread;
        self.sent = Some(tokio::spawn(async move {
            let deadline = Instant::now() + PATIENCE;
            let tls = &context.backend_tls;
            let mut client = match SqlClient::connect(&address, &credential, tls, deadline).await {
                Ok(client) => client,
                Err(error) => {
                    tracing::debug!(%error, thread, "no connection for KILL QUERY");
                    return false;
                }
            };
            let answer = client.query(&format!("KILL QUERY {thread}"), deadline).await;
            client.close().await;
            if let Err(error) = &answer {
                tracing::debug!(%error, thread, "KILL QUERY was refused");
            }
            answer.is_ok()
        }));
    }

    pub fn was_sent(&self) -> bool {
        self.sent.is_some()
    }

    /// Waits until a KILL QUERY that was sent is answered: until then the victim's connection may
    /// serve nobody else. False when it is not known whether it still comes.
    pub async fn settled(&mut self) -> bool {
        match &mut self.sent {
            None => true,
            Some(sent) => sent.await.unwrap_or(false),
        }
    }
}
