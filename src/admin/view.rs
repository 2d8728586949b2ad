//! Snapshots of the proxy's state, plain data, and the tables that are made of them.

use std::sync::Arc;
use std::time::Duration;

use super::Admin;
use super::route::Route;
use super::table::{Cell, Column, Table, number, text};
use crate::config::diff;
use crate::metrics::{BackendState, PoolState};
use crate::routing::Policy;

/// Gives snapshots. Called from the control runtime: answers at once, without waiting for anything.
pub trait View: Send + Sync {
    /// Every server that is known, also those left out.
    fn backends(&self) -> Vec<BackendRow>;
    /// Where writes go, or why they are stopped.
    fn writes(&self) -> Result<Arc<str>, Arc<str>>;
    fn sessions(&self) -> Vec<SessionRow>;
    fn pools(&self) -> Vec<PoolState>;
    /// Ready when clients are accepted and a primary or a replica that takes reads is known; else
    /// why not.
    fn ready(&self) -> Result<(), String>;
    /// Where a statement would go.
    fn route(&self, sql: &[u8], policy: &Policy) -> Route;
    /// Asks a session to end; false when there is none of this id.
    fn kill_session(&self, id: u32) -> bool;
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendRow {
    pub name: Arc<str>,
    /// Where it was found.
    pub origin: Arc<str>,
    /// `None` while it is unknown.
    pub address: Option<String>,
    /// primary, replica or unknown.
    pub role: &'static str,
    pub role_reason: Arc<str>,
    /// new, up, down, no_access or left_out.
    pub state: &'static str,
    /// Whether new reads may go there; else why not.
    pub reads: Result<(), Arc<str>>,
    /// `None` when unknown.
    pub lag: Option<Duration>,
    /// Share of reads, 0 to 1000.
    pub weight: u32,
    pub version: Option<String>,
    /// What is wrong though it serves; empty when nothing is.
    pub warnings: String,
}

/// One client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    pub id: u32,
    pub user: String,
    /// Its address.
    pub client: String,
    pub database: String,
    /// What it is doing, in a word or two.
    pub state: &'static str,
    /// The server whose connection it holds.
    pub backend: Option<Arc<str>>,
    /// Why it cannot leave that connection; empty when it can.
    pub pins: String,
    /// Since it connected.
    pub connected: Duration,
    pub statements: u64,
    /// Statements that went to a replica.
    pub replica_reads: u64,
}

impl Admin {
    pub(super) fn backend_table(&self) -> Table {
        let pools = self.view.pools();
        let rows = self.view.backends().into_iter().map(|row| {
            let counted = self.metrics.backends.get(&row.name);
            let pool = pools.iter().find(|pool| pool.backend == row.name);
            vec![
                row.name.into(),
                row.role.into(),
                row.state.into(),
                u64::from(row.reads.is_ok()).into(),
                row.reads.err().into(),
                row.lag.map(|lag| lag.as_millis() as u64).into(),
                u64::from(row.weight).into(),
                counted.as_ref().map_or(0, |counted| counted.reads.get()).into(),
                counted.as_ref().map_or(0, |counted| counted.writes.get()).into(),
                pool.map_or(0, |pool| pool.leased).into(),
                pool.map_or(0, |pool| pool.idle).into(),
                row.address.into(),
                row.version.into(),
                row.role_reason.into(),
                row.origin.into(),
                present(row.warnings).into(),
            ]
        });
        let columns: &[Column] = &[
            text("name"),
            text("role"),
            text("state"),
            number("takes_reads"),
            text("why_not"),
            number("lag_ms"),
            number("weight"),
            number("reads"),
            number("writes"),
            number("leased"),
            number("idle"),
            text("address"),
            text("version"),
            text("role_reason"),
            text("origin"),
            text("warnings"),
        ];
        Table::new(columns, rows)
    }

    pub(super) fn session_table(&self) -> Table {
        let rows = self.view.sessions().into_iter().map(|row| {
            vec![
                u64::from(row.id).into(),
                row.user.into(),
                row.client.into(),
                present(row.database).into(),
                row.state.into(),
                row.backend.into(),
                present(row.pins).into(),
                row.connected.as_secs().into(),
                row.statements.into(),
                row.replica_reads.into(),
            ]
        });
        let columns: &[Column] = &[
            number("id"),
            text("user"),
            text("client"),
            text("database"),
            text("state"),
            text("backend"),
            text("pins"),
            number("seconds"),
            number("statements"),
            number("replica_reads"),
        ];
        Table::new(columns, rows)
    }

    pub(super) fn pool_table(&self) -> Table {
        let rows = self.view.pools().into_iter().map(|pool| {
            vec![
                pool.backend.into(),
                (pool.leased + pool.idle).into(),
                pool.leased.into(),
                pool.idle.into(),
                pool.pinned.into(),
                pool.limit.into(),
                pool.dials.into(),
                pool.dial_errors.into(),
                pool.waits.into(),
                pool.timeouts.into(),
            ]
        });
        let columns: &[Column] = &[
            text("backend"),
            number("open"),
            number("leased"),
            number("idle"),
            number("pinned"),
            number("limit"),
            number("dials"),
            number("dial_errors"),
            number("waits"),
            number("timeouts"),
        ];
        Table::new(columns, rows)
    }

    /// The configuration in force, secrets hidden.
    pub(super) fn config_table(&self) -> Table {
        let settings = diff::settings(&self.config.borrow());
        let rows = settings.into_iter().map(|(key, value)| {
            let value = match value {
                serde_json::Value::Null => Cell::Null,
                serde_json::Value::String(text) => Cell::Text(text),
                other => Cell::Text(other.to_string()),
            };
            vec![key.into(), value]
        });
        Table::new(&[text("key"), text("value")], rows)
    }

    /// The servers as metrics show them.
    pub(super) fn backend_states(&self) -> Vec<BackendState> {
        let rows = self.view.backends().into_iter();
        rows.map(|row| BackendState {
            name: row.name,
            role: row.role,
            takes_reads: row.reads.is_ok() && row.weight > 0,
            lag: row.lag,
        })
        .collect()
    }
}

/// An empty text is shown as NULL.
fn present(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
