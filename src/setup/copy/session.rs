//! One connection to a server that takes part, and what fails on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::administration::Endpoint;
use crate::backend::sql_client::{QueryError, Rows, SqlClient};
use crate::wire::ServerVersion;

/// For connecting, and for each step of a stream in which a server says or takes nothing.
const CONNECT: Duration = Duration::from_secs(10);
/// For a statement: making or dropping what exists can wait for the disk.
const STATEMENT: Duration = Duration::from_secs(600);
/// As much of a statement is shown in an error, bytes.
const SHOWN: usize = 200;

/// ER_UNKNOWN_SYSTEM_VARIABLE.
const UNKNOWN_VARIABLE: u16 = 1193;

/// Why a copy was not made.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("{server}: {problem}")]
    Unreachable { server: Arc<str>, problem: String },
    /// A statement failed, or its answer did not come.
    #[error("{server}: {about}: {cause} (the statement: {statement})")]
    Failed {
        server: Arc<str>,
        /// The table, account or other thing that it was about.
        about: String,
        /// Its beginning, without passwords.
        statement: String,
        cause: QueryError,
    },
    /// The target has data of its own, and nobody said that it may go.
    #[error("{server} holds data of its own, such as {example}: it is not overwritten unasked")]
    NotBare { server: Arc<str>, example: String },
    /// A server is not fit for this.
    #[error("{server}: {problem}")]
    Unfit { server: Arc<str>, problem: String },
    /// The target changed what it was given.
    #[error("{server}: {about} would not be the same there: {problem}")]
    Lossy { server: Arc<str>, about: String, problem: String },
    #[error(
        "{server}: tables or accounts are created, altered or dropped all the time; copy when \
             that has ended"
    )]
    Changing { server: Arc<str> },
}

impl CopyError {
    /// The error number, if it was a server's answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            CopyError::Failed { cause: QueryError::Server(error), .. } => Some(error.code),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub struct Session {
    pub server: Arc<str>,
    pub version: ServerVersion,
    pub client: SqlClient,
}

/// What both ends set. No wait for the other end closes a connection; values and names come as
/// they are stored.
const COMMON: &[&str] = &[
    "time_zone = '+00:00'",
    "wait_timeout = 86400",
    "net_read_timeout = 86400",
    "net_write_timeout = 86400",
    "lock_wait_timeout = 60",
    "character_set_results = NULL",
    "max_statement_time = 0",
    "max_execution_time = 0",
];

/// What the source prints is complete, and quoted as any server reads it.
const READING: &[&str] = &[
    "sql_mode = ''",
    "sql_quote_show_create = 1",
    "transaction_isolation = 'REPEATABLE-READ'",
    "tx_isolation = 'REPEATABLE-READ'",
    "transaction_read_only = 0",
    "information_schema_stats_expiry = 0",
    "print_identified_with_as_hex = 1",
    "show_create_table_verbosity = 0",
    "show_gipk_in_create_table_and_information_schema = 1",
];

/// What the target is given is data that was valid once, in an order that rules do not hold in.
const WRITING: &[&str] = &[
    "sql_log_bin = 0",
    "sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'",
    "foreign_key_checks = 0",
    "unique_checks = 0",
    "check_constraint_checks = 0",
    "explicit_defaults_for_timestamp = 1",
    "innodb_strict_mode = 0",
    "sql_require_primary_key = 0",
    "sql_generate_invisible_primary_key = 0",
    "system_versioning_insert_history = 1",
    "lc_messages = 'en_US'",
    "max_error_count = 65535",
];

impl Session {
    /// A connection that reads the source.
    pub async fn reading(endpoint: &Endpoint) -> Result<Self, CopyError> {
        Self::open(endpoint, READING).await
    }

    /// A connection that writes the target, past its binary log.
    pub async fn writing(endpoint: &Endpoint) -> Result<Self, CopyError> {
        Self::open(endpoint, WRITING).await
    }

    async fn open(endpoint: &Endpoint, settings: &[&str]) -> Result<Self, CopyError> {
        let access = &endpoint.access;
        let client = SqlClient::connect(
            &endpoint.address,
            &access.credential,
            &access.tls,
            access.announce,
            Instant::now() + CONNECT,
        );
        let client = client.await.map_err(|error| CopyError::Unreachable {
            server: endpoint.name.clone(),
            problem: error.to_string(),
        })?;
        let version = client.version().clone();
        let mut session = Session { server: endpoint.name.clone(), version, client };
        for setting in COMMON.iter().chain(settings) {
            let set = session.run("the session", &format!("SET SESSION {setting}")).await;
            if let Err(error) = set
                && error.code() != Some(UNKNOWN_VARIABLE)
            {
                return Err(error);
            }
        }
        Ok(session)
    }

    /// Runs a statement about a table or the like.
    pub async fn run(&mut self, about: &str, sql: &str) -> Result<Rows, CopyError> {
        self.run_shown(about, sql.as_bytes(), sql).await
    }

    /// The same, which an error shows otherwise: where the statement has a password, or is no UTF-8.
    pub async fn run_shown(
        &mut self,
        about: &str,
        sql: &[u8],
        shown: &str,
    ) -> Result<Rows, CopyError> {
        let result = self.client.query_bytes(sql, Instant::now() + STATEMENT).await;
        result.map_err(|cause| self.failed(about, shown, cause))
    }

    /// The first value of the first row; empty for NULL and for no row.
    pub async fn value(&mut self, about: &str, sql: &str) -> Result<String, CopyError> {
        let rows = self.run(about, sql).await?;
        let value = rows.rows.first().and_then(|row| row.first()?.as_deref());
        Ok(text(value))
    }

    pub fn failed(&self, about: &str, statement: &str, cause: QueryError) -> CopyError {
        let mut end = statement.len().min(SHOWN);
        while !statement.is_char_boundary(end) {
            end -= 1;
        }
        let more = if end < statement.len() { " …" } else { "" };
        CopyError::Failed {
            server: self.server.clone(),
            about: about.to_owned(),
            statement: format!("{}{more}", &statement[..end]),
            cause,
        }
    }

    pub fn unfit(&self, problem: impl Into<String>) -> CopyError {
        CopyError::Unfit { server: self.server.clone(), problem: problem.into() }
    }

    pub async fn close(self) {
        self.client.close().await;
    }
}

/// A name or other text that servers keep in UTF-8.
pub fn text(value: Option<&[u8]>) -> String {
    String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
}
