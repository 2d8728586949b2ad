//! Whether replicas hold what the primary holds: table by table, by checksums over ranges of keys,
//! while all of them are in use. Nothing is written; the servers themselves would refuse it.
//!
//! | part | what it does |
//! |---|---|
//! | `server` | one connection, read-only |
//! | `table` | what is compared of a table, and the statements for it (pure) |
//! | `judge` | which rows differ, from three looks at them (pure) |
//! | `pace` | how many rows at a time, and how long a rest (pure) |
//! | [`checkpoint`] | how far an audit has come and what it has found, to go on from |
//! | `compare` | one table on all servers |
//! | [`find`] | which server is the primary, and which of the others can be compared with it |
//! | [`keep`] | the file that keeps a checkpoint |
//!
//! **The same position, without a lock.** Each checksum is one statement, so one moment of its
//! server. The primary is asked first; then where it stands, which is at or behind that moment; the
//! replica once it has applied that much. Equal sums are equal rows. Where they differ, the primary
//! may simply have gone on: so the rows of that range are read from the primary, from the replica
//! when it is that far, and from the primary once more. What the replica has lies between the two: a
//! row that is the same in both and not on the replica is suspected, and one that is suspected
//! alike in several such rounds differs. A row that is written all the time may never be decided, and
//! is counted as such.

pub mod checkpoint;
mod compare;
pub mod find;
mod judge;
pub mod keep;
mod pace;
mod server;
mod table;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::administration::Endpoint;

pub use checkpoint::{Checkpoint, Difference, What};

use compare::Comparison;

/// What may be asked of an audit.
#[derive(Debug, Clone)]
pub struct Options {
    /// How much of the time servers may be busy with it, above 0 and up to 1.
    pub load: f64,
    /// How long a replica may take to reach where the primary was.
    pub patience: Duration,
    /// Empty: everything.
    pub only: Vec<Only>,
}

/// A schema, or one table of it, by their names as the servers have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Only {
    pub schema: String,
    pub table: Option<String>,
}

impl Options {
    fn is_asked_for(&self, schema: &str, table: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only.is(schema, table))
    }
}

impl Only {
    fn is(&self, schema: &str, table: &str) -> bool {
        self.schema == schema && self.table.as_ref().is_none_or(|name| name == table)
    }
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.table {
            Some(table) => write!(f, "{}.{table}", self.schema),
            None => f.write_str(&self.schema),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options { load: 0.5, patience: Duration::from_secs(60), only: Vec::new() }
    }
}

/// Why an audit ended early. It can go on from its last checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("{server}: {problem}")]
    Server { server: Arc<str>, problem: String },
    #[error(
        "{server} has not reached the primary's position within {patience:?}: does it replicate?"
    )]
    Behind { server: Arc<str>, patience: Duration },
    #[error(
        "{server}: there are no GTIDs (gtid_mode, or a binary log), by which positions are compared"
    )]
    NoGtids { server: Arc<str> },
    #[error("{0}: no server has such a table")]
    NoTable(Only),
    #[error("it was interrupted")]
    Interrupted,
}

/// Compares all tables. `begun` is what an earlier audit has left, or empty. `told` is called after
/// each step with how far it has come. It ends early when `stop` does.
///
/// # Errors
/// When a server cannot be asked, a replica does not follow, or it is to stop.
pub async fn audit(
    primary: &Endpoint,
    replicas: &[Endpoint],
    options: Options,
    begun: Checkpoint,
    told: &mut (dyn FnMut(&Checkpoint) + Send),
    stop: impl Future<Output = ()>,
) -> Result<Checkpoint, AuditError> {
    let mut stop = pin!(stop);
    let mut comparison = tokio::select! {
        begun = Comparison::begin(primary, replicas, options, begun) => begun?,
        () = &mut stop => return Err(AuditError::Interrupted),
    };
    let compared = tokio::select! {
        compared = all(&mut comparison, told) => compared,
        () = &mut stop => Err(AuditError::Interrupted),
    };
    // Also then: a statement may still run.
    let state = comparison.end().await;
    compared.map(|()| state)
}

async fn all(
    comparison: &mut Comparison,
    told: &mut (dyn FnMut(&Checkpoint) + Send),
) -> Result<(), AuditError> {
    let tables = comparison.tables().await?;
    comparison.state.tables = tables.len() as u64;
    told(&comparison.state);
    for table in tables {
        if !comparison.state.is_done(&table) {
            comparison.table(&table, told).await?;
        }
        told(&comparison.state);
    }
    comparison.state.current = None;
    Ok(())
}
