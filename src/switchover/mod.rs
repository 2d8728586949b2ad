//! Makes a replica the primary, on purpose and with nothing lost: writes wait, what was begun ends,
//! the former primary becomes read-only, the next one catches up and takes over, the others follow.
//!
//! | part | what it does |
//! |---|---|
//! | [`report`] | what was done, and how it ended |
//! | `cast` | who takes part, and why a switchover is refused |
//! | `steps` | the order of things |
//! | `undo` | the way back |
//! | `reopen` | a server takes writes again after a switchover that has gone before its end |
//!
//! Writes wait by a [`Hold`]; they go on as soon as the monitor sees the next
//! primary, by the same rules as after a failover by others.

mod cast;
mod reopen;
pub mod report;
mod steps;
mod undo;

use std::sync::Arc;

use tokio::sync::{Mutex, watch};

use crate::config::Config;
use crate::discovery::{Catalog, TopologyStore};
use crate::frontend::registry::Registry;
use crate::monitor::Hold;
use crate::monitor::events::EventLog;
use crate::net::tls::client::ClientTls;

use cast::Roles;
pub use report::{Report, Step};

/// Switches over, one at a time.
#[derive(Debug)]
pub struct Switchover {
    pub topology: Arc<TopologyStore>,
    pub catalog: watch::Receiver<Catalog>,
    pub hold: watch::Sender<Option<Hold>>,
    pub registry: Arc<Registry>,
    /// Its steps are events.
    pub events: Arc<EventLog>,
    pub config: watch::Receiver<Arc<Config>>,
    pub tls: ClientTls,
    /// Taken while one is under way.
    pub running: Mutex<()>,
}

/// Why nothing was begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl Switchover {
    /// Makes the server of this name the primary. `force`: sessions that are in a transaction, or
    /// pinned to the former primary, lose it instead of standing in the way; and what servers may
    /// have that do not answer is given up when one takes writes again.
    ///
    /// It goes on when the future is dropped: half a switchover helps nobody.
    ///
    /// # Errors
    /// When it cannot be begun. What fails later is in the report.
    pub async fn run(self: &Arc<Self>, target: &str, force: bool) -> Result<Report, Refused> {
        let (this, target) = (self.clone(), target.to_owned());
        let task = tokio::spawn(async move {
            let Ok(_running) = this.running.try_lock() else {
                return Err(Refused("another switchover is under way".to_owned()));
            };
            let topology = this.topology.load_full();
            match cast::roles(&topology, &target).map_err(Refused)? {
                Roles::Exchange { former, next, former_is_closed } => {
                    let cast = this.cast(&topology, former, next, former_is_closed).await?;
                    Ok(this.perform(cast, force).await)
                }
                Roles::Reopening(server) => this.reopen(&topology, server, force).await,
            }
        });
        task.await.unwrap_or_else(|error| Err(Refused(error.to_string())))
    }

    /// Waits for one that is under way, and lets no other begin while the guard lives.
    pub async fn finished(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.running.lock().await
    }
}
