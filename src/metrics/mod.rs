//! What is counted, and how it is shown to Prometheus.
//!
//! Counting costs one relaxed atomic addition on a cache line that other threads seldom touch: no
//! lock, no allocation. Reading adds the threads' shares up, which only a scrape does. Everything
//! hangs on one [`Metrics`], handed down by `Arc`.

mod cells;
mod histogram;
mod labels;
mod named;
mod text;

pub use cells::{Counter, Counters, Gauge};
pub use histogram::Histogram;
pub use labels::{Destination, ErrorKind, EventKind, FreshRead, Label, LoginFailure, Refusal};
pub use named::Named;
pub use text::{BackendState, CheckState, FindingState, MEDIA_TYPE, PoolState, text};

/// All counters of the process.
#[derive(Debug)]
pub struct Metrics {
    pub sessions: Sessions,
    pub statements: Statements,
    /// Errors that the proxy itself gave to clients, or that ended a session.
    pub errors: Counters<ErrorKind>,
    /// Reads that were run again elsewhere.
    pub retries: Counter,
    /// Reads that must see something which no replica was known to have.
    pub fresh_reads: Counters<FreshRead>,
    /// What has happened to the servers.
    pub events: Counters<EventKind>,
    /// Statements sent to each server.
    pub backends: Named<BackendMetrics>,
    /// Statements that each rule has sent where they went.
    pub rules: Named<Counter>,
}

#[derive(Debug, Default)]
pub struct Sessions {
    /// Logged in now.
    pub current: Gauge,
    /// Logged in since the start.
    pub opened: Counter,
    pub refused: Counters<Refusal>,
    pub login_failures: Counters<LoginFailure>,
    /// Bytes from and to clients.
    pub received: Counter,
    pub sent: Counter,
}

/// Statements by destination and reason.
#[derive(Debug)]
pub struct Statements {
    reasons: &'static [&'static str],
    by_destination: Vec<cells::Table>,
    /// From the whole command to the last byte of its reply, by destination.
    pub latency: Vec<Histogram>,
}

/// Statements sent to one server. Whoever counts holds the `Arc`.
#[derive(Debug, Default)]
pub struct BackendMetrics {
    pub reads: Counter,
    pub writes: Counter,
}

impl Metrics {
    /// `reasons` are the names that an index in [`Statements::count`] stands for.
    pub fn new(reasons: &'static [&'static str]) -> Self {
        Metrics {
            sessions: Sessions::default(),
            statements: Statements {
                reasons,
                by_destination: Destination::ALL
                    .iter()
                    .map(|_| cells::Table::new(reasons.len()))
                    .collect(),
                latency: Destination::ALL.iter().map(|_| Histogram::default()).collect(),
            },
            errors: Counters::default(),
            retries: Counter::default(),
            fresh_reads: Counters::default(),
            events: Counters::default(),
            backends: Named::default(),
            rules: Named::default(),
        }
    }
}

impl Statements {
    /// Counts a statement. A `reason` that has no name is counted as the last one.
    pub fn count(&self, destination: Destination, reason: usize) {
        let Some(last) = self.reasons.len().checked_sub(1) else {
            return;
        };
        self.by_destination[destination.index()].add(reason.min(last), 1);
    }

    /// Notes how long a statement took.
    pub fn took(&self, destination: Destination, time: std::time::Duration) {
        self.latency[destination.index()].record(time);
    }

    /// Statements that went to `destination`.
    pub fn total(&self, destination: Destination) -> u64 {
        let table = &self.by_destination[destination.index()];
        (0..self.reasons.len()).map(|reason| table.get(reason)).sum()
    }

    /// Every reason with its count, those of 0 left out.
    pub fn by_reason(
        &self,
        destination: Destination,
    ) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let table = &self.by_destination[destination.index()];
        self.reasons
            .iter()
            .enumerate()
            .map(move |(index, name)| (*name, table.get(index)))
            .filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_by_destination_and_reason() {
        let metrics = Metrics::new(&["read", "write", "other"]);
        metrics.statements.count(Destination::Replica, 0);
        metrics.statements.count(Destination::Primary, 1);
        metrics.statements.count(Destination::Primary, 1);
        metrics.statements.count(Destination::Primary, 99);
        let primary: Vec<_> = metrics.statements.by_reason(Destination::Primary).collect();
        assert_eq!(primary, [("write", 2), ("other", 1)]);
        assert_eq!(metrics.statements.total(Destination::Replica), 1);
        Metrics::new(&[]).statements.count(Destination::Primary, 0);
    }
}
