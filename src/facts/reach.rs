//! Servers found, and connected to.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::read::places;
use crate::administration::{Access, Server};
use crate::discovery::{self, Catalog};
use crate::routing::topology::{Address, BackendId};

/// For Docker to list its containers.
const LISTING: Duration = Duration::from_secs(10);

/// All servers that there are, and what is wrong with where they are found.
#[derive(Debug)]
pub struct Listed {
    pub servers: Vec<discovery::Server>,
    pub problems: Vec<Arc<str>>,
}

/// Waits until all origins have listed their servers, or have failed.
pub async fn listed(catalog: &watch::Receiver<Catalog>) -> Listed {
    let mut waited = catalog.clone();
    // What it gives is a lock, which must not be kept.
    let is_complete = timeout(LISTING, waited.wait_for(Catalog::is_complete))
        .await
        .is_ok_and(|waited| waited.is_ok());
    let catalog = catalog.borrow().clone();
    let mut problems: Vec<Arc<str>> = catalog.problems().cloned().collect();
    if !is_complete && problems.is_empty() {
        problems.push("Docker has not listed its containers in time".into());
    }
    Listed { servers: catalog.servers(), problems }
}

/// Connects to a server that should answer.
pub async fn connect(
    known: &discovery::Server,
    address: &Address,
    access: &Access,
) -> Result<Server, String> {
    let (name, address) = (known.name.clone(), address.clone());
    Server::connect(BackendId(0), name, address, places(known), access.clone()).await
}
