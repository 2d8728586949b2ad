//! What has happened to the servers: each event is written to the log once, counted, and kept for
//! the console.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::metrics::{EventKind, Label, Metrics};

/// Most events kept; older ones are only in the log.
pub const KEPT: usize = 1_000;

/// How much an event matters; the level at which it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// All is well, or better than before.
    Info,
    /// Something does not serve, or is not as it should be.
    Warning,
    /// Clients get errors.
    Error,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub kind: EventKind,
    pub severity: Severity,
    /// The server that it is about; `None` for writes, which are the cluster's matter.
    pub server: Option<Arc<str>>,
    /// In words for an operator.
    pub text: String,
}

/// A change with its place in history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// From 1, without gaps. It orders events, also when the clock is set back.
    pub number: u64,
    pub time: SystemTime,
    pub change: Change,
}

/// The latest events, at most [`KEPT`].
#[derive(Debug)]
pub struct EventLog {
    metrics: Arc<Metrics>,
    events: Mutex<Events>,
}

#[derive(Debug, Default)]
struct Events {
    latest: VecDeque<Event>,
    last: u64,
}

impl EventLog {
    /// Events are counted in these metrics, by kind.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        EventLog { metrics, events: Mutex::default() }
    }

    /// Writes each change to the log, counts and keeps it.
    pub fn tell(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        // Locked while it is written: the log has them in the order of their numbers.
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            events.last += 1;
            let event = Event { number: events.last, time: SystemTime::now(), change };
            write(&event);
            self.metrics.events.increment(event.change.kind);
            if events.latest.len() == KEPT {
                events.latest.pop_front();
            }
            events.latest.push_back(event);
        }
    }

    /// The latest that fit, at most `limit` of them, in the order of their numbers.
    pub fn latest(&self, limit: usize, fits: impl Fn(&Event) -> bool) -> Vec<Event> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latest: Vec<Event> =
            events.latest.iter().rev().filter(|event| fits(event)).take(limit).cloned().collect();
        latest.reverse();
        latest
    }
}

fn write(Event { number, change, .. }: &Event) {
    let Change { kind, severity, server, text } = change;
    let (kind, server) = (kind.name(), server.as_deref());
    match severity {
        Severity::Info => tracing::info!(server, kind, event = number, "{text}"),
        Severity::Warning => tracing::warn!(server, kind, event = number, "{text}"),
        Severity::Error => tracing::error!(server, kind, event = number, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: EventKind, text: String) -> Change {
        Change { kind, severity: Severity::Info, server: None, text }
    }

    #[test]
    fn the_latest_are_kept_in_order_and_all_are_counted() {
        let metrics = Arc::new(Metrics::new(&[]));
        let log = EventLog::new(metrics.clone());
        assert_eq!(log.latest(usize::MAX, |_| true), []);
        let kind = |number: usize| match number % 2 {
            0 => EventKind::LagIn,
            _ => EventKind::LagOut,
        };
        for number in 1..=KEPT + 10 {
            log.tell(vec![change(kind(number), format!("number {number}"))]);
        }
        let latest = log.latest(usize::MAX, |_| true);
        assert_eq!(latest.len(), KEPT);
        for (event, expected) in latest.iter().zip(11..) {
            assert_eq!(event.number, expected);
            assert_eq!(event.change.text, format!("number {expected}"));
        }
        let numbers =
            |events: Vec<Event>| -> Vec<u64> { events.iter().map(|event| event.number).collect() };
        assert_eq!(numbers(log.latest(2, |_| true)), [1009, 1010]);
        let lagging = log.latest(2, |event| event.change.kind == EventKind::LagOut);
        assert_eq!(numbers(lagging), [1007, 1009]);
        assert_eq!(log.latest(0, |_| true), []);
        for kind in [EventKind::LagIn, EventKind::LagOut] {
            assert_eq!(metrics.events.get(kind), (KEPT as u64 + 10) / 2);
        }
    }
}
