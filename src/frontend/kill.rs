//! Ends a statement that runs on a server, over a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::context::Context;
use super::session::Session;
use crate::backend::Credential;
use crate::backend::sql_client::SqlClient;
use crate::routing::BackendId;

/// How long the side connection may take for everything.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything that is needed to end one statement. The account's own rights suffice: users may
/// kill their own threads.
pub(super) struct Killer {
    context: Arc<Context>,
    credential: Arc<Credential>,
    backend: BackendId,
    thread: u32,
}

impl Session {
    pub(super) fn killer(&self, backend: BackendId, thread: u32) -> Killer {
        Killer {
            context: self.context.clone(),
            credential: self.credential.clone(),
            backend,
            thread,
        }
    }
}

impl Killer {
    /// Sends KILL QUERY in the background, outside the pool's permits. It ends by itself within
    /// its deadline; whether it succeeds shows in the victim's reply.
    pub fn spawn(&self) {
        let topology = self.context.topology.load();
        let Some(address) = topology.backend(self.backend).and_then(|known| known.address.clone())
        else {
            return;
        };
        let (context, credential) = (self.context.clone(), self.credential.clone());
        let thread = self.thread;
        tokio::spawn(async move {
            let deadline = Instant::now() + PATIENCE;
            let client =
                SqlClient::connect(&address, &credential, &context.backend_tls, deadline).await;
            match client {
                Ok(mut client) => {
                    if let Err(error) =
                        client.query(&format!("KILL QUERY {thread}"), deadline).await
                    {
                        tracing::debug!(%error, thread, "KILL QUERY was refused");
                    }
                    client.close().await;
                }
                Err(error) => tracing::debug!(%error, thread, "no connection for KILL QUERY"),
            }
        });
    }
}
