//! One server that takes part, by the administrator's account.

use std::sync::Arc;
use std::time::Duration;

use super::statements::Place;
use crate::backend::Credential;
use crate::backend::sql_client::{QueryError, Rows, SqlClient};
use crate::net::tls::client::ClientTls;
use crate::routing::topology::{Address, BackendId};
use crate::wire::ServerVersion;
use crate::wire::proxy_header::Source;

/// How long a connection, or a statement that waits for nobody, may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How servers are logged in to.
#[derive(Debug, Clone)]
pub struct Access {
    pub credential: Credential,
    pub tls: ClientTls,
    /// What stands ahead of a connection.
    pub announce: Option<Source>,
}

/// A server that connections of one's own are made to.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub name: Arc<str>,
    pub address: Address,
    pub access: Access,
}

/// Why a statement has no answer.
#[derive(Debug)]
pub struct Failed {
    pub text: String,
    /// It may have been done, or may yet be.
    pub is_uncertain: bool,
}

/// By which those who change servers of one cluster know of each other.
const LOCK: &str = "rwproxy_setup";
/// A server may take a moment to notice that somebody who had it was killed, seconds.
const LOCK_WAIT: u32 = 3;

#[derive(Debug)]
pub struct Server {
    pub id: BackendId,
    pub name: Arc<str>,
    pub version: ServerVersion,
    /// Where replicas may find it, the likeliest first.
    pub places: Vec<Place>,
    address: Address,
    access: Access,
    client: SqlClient,
}

impl Server {
    /// Connects, within [`PATIENCE`].
    pub async fn connect(
        id: BackendId,
        name: Arc<str>,
        address: Address,
        places: Vec<Place>,
        access: Access,
    ) -> Result<Self, String> {
        let client = open(&address, &access).await.map_err(|error| format!("{name}: {error}"))?;
        let version = client.version().clone();
        Ok(Server { id, name, version, places, address, access, client })
    }

    /// Asks something that changes nothing.
    pub async fn ask(&mut self, sql: &str) -> Result<Rows, String> {
        self.run(sql, PATIENCE).await.map_err(|failed| format!("{}: {}", self.name, failed.text))
    }

    /// Asks for one value; `None` for NULL and for no row.
    pub async fn value(&mut self, sql: &str) -> Result<Option<String>, String> {
        let rows = self.ask(sql).await?;
        let value = rows.rows.first().and_then(|row| row.first().cloned().flatten());
        Ok(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Of the primary: lets nobody else set the cluster up or mend it while this connection lives.
    pub async fn take_cluster(&mut self) -> Result<(), String> {
        match self.value(&format!("SELECT GET_LOCK('{LOCK}', {LOCK_WAIT})")).await?.as_deref() {
            Some("1") => Ok(()),
            _ => Err(format!("{}: another setup of this cluster is under way", self.name)),
        }
    }

    /// Runs a statement. A connection that was lost is made anew for the next one, and what may
    /// still run on the old one is ended first.
    pub async fn run(&mut self, sql: &str, patience: Duration) -> Result<Rows, Failed> {
        if !self.client.is_open() {
            self.again().await.map_err(|text| Failed { text, is_uncertain: false })?;
        }
        let deadline = tokio::time::Instant::now() + patience;
        self.client.query(sql, deadline).await.map_err(|error| Failed {
            is_uncertain: !matches!(error, QueryError::Server(_)),
            text: error.to_string(),
        })
    }

    async fn again(&mut self) -> Result<(), String> {
        let abandoned = self.client.greeting().connection_id;
        self.client = open(&self.address, &self.access).await?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        // It has ended by itself, most of the time.
        let _ = self.client.query(&format!("KILL {abandoned}"), deadline).await;
        Ok(())
    }
}

async fn open(address: &Address, access: &Access) -> Result<SqlClient, String> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let connected =
        SqlClient::connect(address, &access.credential, &access.tls, access.announce, deadline)
            .await;
    let mut client = connected.map_err(|error| error.to_string())?;
    // Literals are written as they are read without any mode.
    let set = client.query("SET SESSION sql_mode = ''", deadline).await;
    set.map_err(|error| error.to_string())?;
    Ok(client)
}
