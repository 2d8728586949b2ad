//! To see the proxy from outside: the console for MySQL clients and the HTTP endpoints. Both show
//! the same tables, made from snapshots that a [`View`] gives.

mod checks;
pub mod console;
mod groups;
pub mod http;
mod like;
pub mod live;
pub mod route;
mod table;
#[cfg(test)]
mod test_support;
pub mod view;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::check::Patrolled;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::monitor::events::EventLog;
use crate::net::tls::server::ServerTls;
use crate::net::{Listener, Stream};

use crate::switchover::Switchover;

pub use live::Live;
pub use view::View;

/// What console and HTTP show.
pub struct Admin {
    pub view: Arc<dyn View>,
    pub metrics: Arc<Metrics>,
    pub switchover: Arc<Switchover>,
    /// What has happened to the servers.
    pub events: Arc<EventLog>,
    /// What is wrong with the cluster.
    pub checks: watch::Receiver<Arc<Patrolled>>,
    /// Also holds the account of the console.
    pub config: watch::Receiver<Arc<Config>>,
    /// Offered by the console, where there is one.
    pub tls: Option<Arc<ServerTls>>,
    /// When the proxy was started.
    pub started: Instant,
}

/// Out of file descriptors or memory: trying again at once would spin.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// The next client and its address, `None` by a Unix socket. Passing shortages are logged and
/// waited out. Cancel safe.
async fn next_client(listener: &Listener) -> (Stream, Option<IpAddr>) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => return (Stream::Plain(socket), peer.map(|peer| peer.ip())),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}
