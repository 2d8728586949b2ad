//! One connection to a server, which may only read.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::AuditError;
use crate::administration::Endpoint;
use crate::backend::ConnectError;
use crate::backend::sql_client::{QueryError, Rows, SqlClient};
use crate::gtid::{Transactions, position_query};
use crate::wire::Flavour;

const CONNECT: Duration = Duration::from_secs(10);
/// For ending what may still run there.
const FAREWELL: Duration = Duration::from_secs(3);
/// For one statement. Of a table without a key all rows are read at once.
const STATEMENT: Duration = Duration::from_secs(3600);

/// ER_UNKNOWN_SYSTEM_VARIABLE.
const UNKNOWN_VARIABLE: u16 = 1193;
/// A table or column that is not there: ER_BAD_DB_ERROR, ER_NO_SUCH_TABLE, ER_BAD_FIELD_ERROR,
/// ER_KEY_DOES_NOT_EXITS.
const UNKNOWN: [u16; 4] = [1049, 1146, 1054, 1176];

/// Everybody reads values alike, statements see one moment, and nothing can be written.
const SETTINGS: [&str; 8] = [
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
    "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'",
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION character_set_results = NULL",
    "SET SESSION group_concat_max_len = 1048576",
    "SET SESSION max_statement_time = 0",
    "SET SESSION max_execution_time = 0",
    "SET SESSION wait_timeout = 86400",
];

#[derive(Debug)]
pub struct Server {
    pub name: Arc<str>,
    flavour: Flavour,
    endpoint: Endpoint,
    client: SqlClient,
}

/// What a server says to a question about a table.
#[derive(Debug)]
pub enum Answer {
    Rows(Rows),
    /// The table or a column is not there.
    Unknown,
}

impl Server {
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, AuditError> {
        let client = open(endpoint, Instant::now() + CONNECT).await.map_err(|error| {
            AuditError::Server { server: endpoint.name.clone(), problem: error.to_string() }
        })?;
        let (name, flavour) = (endpoint.name.clone(), client.version().flavour);
        let mut server = Server { name, flavour, endpoint: endpoint.clone(), client };
        for setting in SETTINGS {
            match server.query(setting, STATEMENT).await {
                Err(QueryError::Server(error)) if error.code == UNKNOWN_VARIABLE => {}
                Err(error) => return Err(server.failed(error)),
                Ok(_) => {}
            }
        }
        Ok(server)
    }

    pub async fn ask(&mut self, sql: &str) -> Result<Rows, AuditError> {
        self.query(sql, STATEMENT).await.map_err(|error| self.failed(error))
    }

    /// The same about a table that may be gone or altered.
    pub async fn ask_about(&mut self, sql: &str) -> Result<Answer, AuditError> {
        match self.query(sql, STATEMENT).await {
            Ok(rows) => Ok(Answer::Rows(rows)),
            Err(QueryError::Server(error)) if UNKNOWN.contains(&error.code) => Ok(Answer::Unknown),
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn query(&mut self, sql: &str, patience: Duration) -> Result<Rows, QueryError> {
        self.client.query(sql, Instant::now() + patience).await
    }

    fn failed(&self, error: QueryError) -> AuditError {
        AuditError::Server { server: self.name.clone(), problem: error.to_string() }
    }

    /// Where the primary stands.
    pub async fn position(&mut self) -> Result<Transactions, AuditError> {
        let rows = self.ask(position_query(self.flavour, true)).await?;
        let value = rows.rows.first().and_then(|row| row.first()?.as_deref());
        let position = value.filter(|text| !text.is_empty());
        let parsed = position.and_then(|text| Transactions::parse(self.flavour, text));
        parsed.ok_or_else(|| AuditError::NoGtids { server: self.name.clone() })
    }

    /// Waits until this replica has applied all of these.
    pub async fn reach(
        &mut self,
        position: &Transactions,
        patience: Duration,
    ) -> Result<(), AuditError> {
        let answered = self.query(&position.wait(patience), patience + CONNECT).await;
        let rows = answered.map_err(|error| self.failed(error))?;
        match rows.rows.first().and_then(|row| row.first()?.as_deref()) {
            Some(b"0") => Ok(()),
            _ => Err(AuditError::Behind { server: self.name.clone(), patience }),
        }
    }

    /// Ends what was left running there: a server notices that nobody waits for a sum only when it
    /// has it.
    pub async fn close(self) {
        if self.client.is_open() {
            return self.client.close().await;
        }
        let abandoned = self.client.greeting().connection_id;
        let deadline = Instant::now() + FAREWELL;
        if let Ok(mut client) = open(&self.endpoint, deadline).await {
            // It may have ended by itself.
            let _ = client.query(&format!("KILL {abandoned}"), deadline).await;
            client.close().await;
        }
    }
}

async fn open(endpoint: &Endpoint, deadline: Instant) -> Result<SqlClient, ConnectError> {
    let access = &endpoint.access;
    SqlClient::connect(
        &endpoint.address,
        &access.credential,
        &access.tls,
        access.announce,
        deadline,
    )
    .await
}
