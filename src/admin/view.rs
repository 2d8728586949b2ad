//! Snapshots of the proxy's state, plain data, and the tables that are made of them.

use std::sync::Arc;
use std::time::Duration;

use super::Admin;
use super::like::is_like;
use super::route::Route;
use super::table::{Cell, Column, Table, number, text};
use crate::config::diff;
use crate::metrics::{BackendState, Label, PoolState};
use crate::monitor::events::{Change, Event};
use crate::routing::Policy;
use crate::routing::membership::Membership;
use crate::routing::semi_sync::{SemiSync, Source};

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
    pub semi_sync: SemiSync,
    pub membership: Membership,
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
            let semi_sync = semi_sync(&row);
            let member_state = row.membership.state().map(str::to_owned);
            vec![
                row.name.into(),
                row.role.into(),
                row.state.into(),
                u64::from(row.reads.is_ok()).into(),
                row.reads.err().into(),
                row.lag.map(|lag| lag.as_millis() as u64).into(),
                semi_sync.into(),
                member_state.into(),
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
            text("semi_sync"),
            text("member_state"),
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

    /// Semi-synchronous replication of every server that has it.
    pub(super) fn semi_sync_table(&self) -> Table {
        let backends = self.view.backends().into_iter();
        let known = backends.filter(|row| row.semi_sync != SemiSync::default());
        let rows = known.map(|row| {
            let SemiSync { source, replica } = row.semi_sync;
            let count = |pick: fn(&Source) -> u64| source.as_ref().map(pick).into();
            vec![
                row.name.into(),
                row.role.into(),
                source.map(|source| source.state()).into(),
                count(|source| source.clients.into()),
                count(|source| source.wait_for.into()),
                count(|source| source.timeout.as_millis() as u64),
                count(|source| source.fallbacks),
                count(|source| source.acknowledged),
                count(|source| source.unacknowledged),
                count(|source| source.waiting),
                count(|source| source.clock_failures),
                replica.map(|replica| replica.state()).into(),
            ]
        });
        let columns: &[Column] = &[
            text("name"),
            text("role"),
            text("as_source"),
            number("clients"),
            number("wait_for"),
            number("timeout_ms"),
            number("fallbacks"),
            number("acknowledged"),
            number("unacknowledged"),
            number("waiting"),
            number("clock_failures"),
            text("as_replica"),
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

    /// The latest events that fit `pattern` with their kind, server or text; at most `limit`.
    pub(super) fn event_table(&self, pattern: Option<&str>, limit: usize) -> Table {
        let fits = |event: &Event| {
            let Change { kind, server, text, .. } = &event.change;
            let words = [Some(kind.name()), server.as_deref(), Some(text)];
            pattern.is_none_or(|pattern| words.iter().flatten().any(|text| is_like(text, pattern)))
        };
        let rows = self.events.latest(limit, fits).into_iter().map(|event| {
            vec![
                event.number.into(),
                humantime::format_rfc3339_millis(event.time).to_string().into(),
                event.change.severity.name().into(),
                event.change.kind.name().into(),
                event.change.server.into(),
                event.change.text.into(),
            ]
        });
        let columns: &[Column] = &[
            number("number"),
            text("time"),
            text("severity"),
            text("kind"),
            text("backend"),
            text("text"),
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
            semi_sync: row.semi_sync.source.filter(|source| source.enabled),
            membership: row.membership,
        })
        .collect()
    }
}

/// The side that counts in the server's role.
fn semi_sync(row: &BackendRow) -> Option<&'static str> {
    match row.role {
        "primary" => row.semi_sync.source.map(|source| source.state()),
        _ => row.semi_sync.replica.map(|replica| replica.state()),
    }
}

/// An empty text is shown as NULL.
fn present(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
