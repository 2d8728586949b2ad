//! The counters as Prometheus reads them: OpenMetrics text.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{Destination, Histogram, Label, Metrics};
use crate::routing::membership::Membership;
use crate::routing::semi_sync::Source;

/// The media type of [`text()`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Histograms are shown in buckets that double from 64 µs to 33.5 s.
const SHOWN_BUCKETS: (u32, u32) = (6, 25);

/// What is known of a server beside its counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendState {
    pub name: Arc<str>,
    /// primary, replica or unknown.
    pub role: &'static str,
    /// Whether it takes new reads.
    pub takes_reads: bool,
    /// `None` when unknown.
    pub lag: Option<Duration>,
    /// Where commits wait for replicas, or should.
    pub semi_sync: Option<Source>,
    pub membership: Membership,
}

/// The connections to a server, as its pool counts them since the server appeared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolState {
    pub backend: Arc<str>,
    /// Most connections at once, those of pinned sessions aside.
    pub limit: u64,
    /// In use, pinned ones included.
    pub leased: u64,
    /// Kept by pinned sessions beyond the limit.
    pub pinned: u64,
    pub idle: u64,
    pub dials: u64,
    pub dial_errors: u64,
    /// Leases that had to wait, and those that waited in vain.
    pub waits: u64,
    pub timeouts: u64,
}

/// What the latest look at the cluster has found, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckState {
    pub findings: Vec<FindingState>,
    /// When it ended, since 1970, and how long it took; `None`: there was none.
    pub look: Option<(Duration, Duration)>,
}

/// Findings of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingState {
    pub check: &'static str,
    /// Empty for what is of no server in particular.
    pub server: Arc<str>,
    pub severity: &'static str,
    pub count: u64,
}

/// All that there is to say, at this moment.
pub fn text(
    metrics: &Arc<Metrics>,
    backends: Vec<BackendState>,
    pools: Vec<PoolState>,
    checks: CheckState,
) -> String {
    let mut registry = Registry::default();
    let metrics = Arc::clone(metrics);
    registry.register_collector(Box::new(Scrape { metrics, backends, pools, checks }));
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("writing to a String does not fail");
    out
}

#[derive(Debug)]
struct Scrape {
    metrics: Arc<Metrics>,
    backends: Vec<BackendState>,
    pools: Vec<PoolState>,
    checks: CheckState,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Writer { encoder };
        out.gauges(
            "rwproxy_build",
            "The running version; always 1",
            None,
            [([("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        )?;
        self.sessions(&mut out)?;
        self.statements(&mut out)?;
        self.backends(&mut out)?;
        self.pools(&mut out)?;
        self.checks(&mut out)
    }
}

impl Scrape {
    fn sessions(&self, out: &mut Writer<'_>) -> fmt::Result {
        let sessions = &self.metrics.sessions;
        out.gauges(
            "rwproxy_sessions",
            "Clients that are logged in",
            None,
            [(NONE, sessions.current.get() as f64)],
        )?;
        out.counters(
            "rwproxy_logins",
            "Clients that have logged in",
            None,
            [(NONE, sessions.opened.get())],
        )?;
        out.by_label("rwproxy_refused", "Clients turned away by a limit", "cause", |l| {
            sessions.refused.get(l)
        })?;
        out.by_label("rwproxy_login_failures", "Logins that failed", "kind", |label| {
            sessions.login_failures.get(label)
        })?;
        out.counters(
            "rwproxy_client_transfer",
            "Bytes from (received) and to (sent) clients",
            Some(&Unit::Bytes),
            [
                ([("direction", "received")], sessions.received.get()),
                ([("direction", "sent")], sessions.sent.get()),
            ],
        )
    }

    fn statements(&self, out: &mut Writer<'_>) -> fmt::Result {
        let statements = &self.metrics.statements;
        out.counters(
            "rwproxy_statements",
            "Statements by where they went and why",
            None,
            Destination::ALL.iter().flat_map(|&destination| {
                statements.by_reason(destination).map(move |(reason, count)| {
                    ([("destination", destination.name()), ("reason", reason)], count)
                })
            }),
        )?;
        out.histograms(
            "rwproxy_statement_duration",
            "From the whole command to the last byte of its reply",
            Destination::ALL.iter().map(|&destination| {
                ([("destination", destination.name())], &statements.latency[destination.index()])
            }),
        )?;
        let rules = self.metrics.rules.all();
        out.counters(
            "rwproxy_rule_statements",
            "Statements that a rule has sent where they went",
            None,
            rules.iter().map(|(name, counter)| ([("rule", &**name)], counter.get())),
        )?;
        out.by_label("rwproxy_errors", "Errors of the proxy itself", "kind", |label| {
            self.metrics.errors.get(label)
        })?;
        out.counters(
            "rwproxy_retries",
            "Reads that were run again elsewhere",
            None,
            [(NONE, self.metrics.retries.get())],
        )?;
        out.by_label(
            "rwproxy_fresh_reads",
            "Reads that must see what no replica was known to have, by what became of them",
            "outcome",
            |label| self.metrics.fresh_reads.get(label),
        )
    }

    fn backends(&self, out: &mut Writer<'_>) -> fmt::Result {
        let counted = self.metrics.backends.all();
        out.counters(
            "rwproxy_backend_statements",
            "Statements sent to a server",
            None,
            counted.iter().flat_map(|(name, backend)| {
                [("read", &backend.reads), ("write", &backend.writes)]
                    .map(|(kind, counter)| ([("backend", &**name), ("kind", kind)], counter.get()))
            }),
        )?;
        out.gauges(
            "rwproxy_backend_role",
            "1 for the role that the server has",
            None,
            self.backends.iter().map(|b| ([("backend", &*b.name), ("role", b.role)], 1.0)),
        )?;
        out.gauges(
            "rwproxy_backend_takes_reads",
            "1 when new reads may go there",
            None,
            self.backends
                .iter()
                .map(|b| ([("backend", &*b.name)], if b.takes_reads { 1.0 } else { 0.0 })),
        )?;
        out.gauges(
            "rwproxy_backend_lag",
            "How far a replica is behind",
            Some(&Unit::Seconds),
            self.backends
                .iter()
                .filter_map(|b| Some(([("backend", &*b.name)], b.lag?.as_secs_f64()))),
        )?;
        self.semi_sync(&mut *out)?;
        self.groups(&mut *out)?;
        out.by_label("rwproxy_events", "What has happened to the servers", "kind", |label| {
            self.metrics.events.get(label)
        })
    }

    fn semi_sync(&self, out: &mut Writer<'_>) -> fmt::Result {
        let all =
            || self.backends.iter().filter_map(|b| Some(([("backend", &*b.name)], b.semi_sync?)));
        out.gauges(
            "rwproxy_backend_semi_sync_active",
            "1 while commits are acknowledged by as many replicas as they need",
            None,
            all().map(|(name, it)| (name, if it.asynchronous().is_none() { 1.0 } else { 0.0 })),
        )?;
        out.gauges(
            "rwproxy_backend_semi_sync_clients",
            "Acknowledging replicas that are connected",
            None,
            all().map(|(name, it)| (name, f64::from(it.clients))),
        )?;
        out.counters(
            "rwproxy_backend_semi_sync_fallbacks",
            "How often the server has fallen back to asynchronous replication",
            None,
            all().map(|(name, it)| (name, it.fallbacks)),
        )?;
        out.counters(
            "rwproxy_backend_semi_sync_unacknowledged",
            "Commits that no replica has acknowledged in time",
            None,
            all().map(|(name, it)| (name, it.unacknowledged)),
        )
    }

    fn groups(&self, out: &mut Writer<'_>) -> fmt::Result {
        out.gauges(
            "rwproxy_backend_group_member",
            "1 for a member of a group that takes part in it, and can commit by what it sees",
            None,
            self.backends.iter().filter_map(|b| {
                let can_commit = b.membership.can_commit()?;
                Some(([("backend", &*b.name)], if can_commit { 1.0 } else { 0.0 }))
            }),
        )?;
        out.gauges(
            "rwproxy_backend_group_queue",
            "Transactions of its group that wait there",
            None,
            self.backends.iter().flat_map(|b| {
                let queues = b.membership.queues().into_iter();
                queues.map(|(queue, length)| {
                    ([("backend", &*b.name), ("queue", queue)], length as f64)
                })
            }),
        )
    }

    fn pools(&self, out: &mut Writer<'_>) -> fmt::Result {
        out.gauges(
            "rwproxy_pool_connections",
            "Connections to a server, and how many there may be",
            None,
            self.pools.iter().flat_map(|pool| {
                let counts = [
                    ("leased", pool.leased),
                    ("pinned", pool.pinned),
                    ("idle", pool.idle),
                    ("limit", pool.limit),
                ];
                counts.map(|(state, count)| {
                    ([("backend", &*pool.backend), ("state", state)], count as f64)
                })
            }),
        )?;
        type Pick = fn(&PoolState) -> u64;
        let counters: [(&str, &str, Pick); 4] = [
            ("rwproxy_pool_dials", "Connections opened or tried", |pool| pool.dials),
            ("rwproxy_pool_dial_errors", "Connections that failed", |pool| pool.dial_errors),
            ("rwproxy_pool_waits", "Leases that had to wait", |pool| pool.waits),
            ("rwproxy_pool_timeouts", "Leases that waited in vain", |pool| pool.timeouts),
        ];
        for (name, help, pick) in counters {
            let values = self.pools.iter().map(|p| ([("backend", &*p.backend)], pick(p)));
            out.counters(name, help, None, values)?;
        }
        Ok(())
    }
}

impl Scrape {
    fn checks(&self, out: &mut Writer<'_>) -> fmt::Result {
        let CheckState { findings, look } = &self.checks;
        out.gauges(
            "rwproxy_check_findings",
            "What is wrong with the cluster, by the latest look",
            None,
            findings.iter().map(|it| {
                let labels =
                    [("check", it.check), ("server", &*it.server), ("severity", it.severity)];
                (labels, it.count as f64)
            }),
        )?;
        out.gauges(
            "rwproxy_check_ended_timestamp",
            "When the latest look ended",
            Some(&Unit::Seconds),
            look.iter().map(|(ended, _)| (NONE, ended.as_secs_f64())),
        )?;
        out.gauges(
            "rwproxy_check_duration",
            "How long the latest look took",
            Some(&Unit::Seconds),
            look.iter().map(|(_, took)| (NONE, took.as_secs_f64())),
        )
    }
}

type Labels<'a, const N: usize> = [(&'a str, &'a str); N];
const NONE: Labels<'static, 0> = [];

/// One call for a whole family of metrics.
struct Writer<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Writer<'_> {
    fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in values {
            if N == 0 {
                family.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            } else {
                family
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            }
        }
        Ok(())
    }

    fn by_label<L: Label>(
        &mut self,
        name: &str,
        help: &str,
        key: &'static str,
        value: impl Fn(L) -> u64,
    ) -> fmt::Result {
        let values = L::ALL.iter().map(|&label| ([(key, label.name())], value(label)));
        self.counters(name, help, None, values)
    }

    fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl IntoIterator<Item = (Labels<'l, N>, f64)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in values {
            if N == 0 {
                family.encode_gauge(&value)?;
            } else {
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    fn histograms<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l, N>, &'l Histogram)>,
    ) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let mut family = self.encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (labels, histogram) in values {
            let buckets = histogram.doubling_buckets(SHOWN_BUCKETS.0, SHOWN_BUCKETS.1);
            let count = buckets.iter().map(|(_, count)| count).sum();
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                histogram.sum().as_secs_f64(),
                count,
                &buckets,
                None,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{EventKind, Refusal};
    use crate::routing::membership::Node;
    use crate::routing::membership::galera::tests::node;
    use crate::routing::semi_sync::tests::WORKING;

    #[test]
    fn everything_is_shown() {
        let metrics = Arc::new(Metrics::new(&["read", "write"]));
        metrics.sessions.current.increment();
        metrics.sessions.refused.increment(Refusal::MaxConnections);
        metrics.sessions.sent.add(10);
        metrics.statements.count(Destination::Replica, 0);
        metrics.statements.took(Destination::Replica, Duration::from_micros(300));
        metrics.events.increment(EventKind::LagOut);
        let backend = metrics.backends.of("db\"1");
        backend.reads.add(5);
        let states = vec![BackendState {
            name: "db\"1".into(),
            role: "replica",
            takes_reads: true,
            lag: Some(Duration::from_millis(1_500)),
            semi_sync: Some(Source { active: false, ..WORKING }),
            membership: Membership::Galera(Arc::new(Node { receive_queue: 4, ..node(17) })),
        }];
        let pools =
            vec![PoolState { backend: "db\"1".into(), idle: 3, dials: 4, ..Default::default() }];
        let finding = FindingState {
            check: "sync-binlog",
            server: "db\"1".into(),
            severity: "warning",
            count: 1,
        };
        let look = Some((Duration::from_secs(1_700_000_000), Duration::from_millis(250)));
        let text = text(&metrics, states, pools, CheckState { findings: vec![finding], look });
        for line in [
            "# TYPE rwproxy_sessions gauge",
            "rwproxy_sessions 1.0",
            "rwproxy_refused_total{cause=\"max_connections\"} 1",
            "rwproxy_client_transfer_bytes_total{direction=\"sent\"} 10",
            "rwproxy_statements_total{destination=\"replica\",reason=\"read\"} 1",
            "rwproxy_statement_duration_seconds_bucket{le=\"0.000256\",destination=\"replica\"} 0",
            "rwproxy_statement_duration_seconds_bucket{le=\"0.000512\",destination=\"replica\"} 1",
            "rwproxy_statement_duration_seconds_bucket{le=\"+Inf\",destination=\"replica\"} 1",
            "rwproxy_backend_statements_total{backend=\"db\\\"1\",kind=\"read\"} 5",
            "rwproxy_pool_connections{backend=\"db\\\"1\",state=\"idle\"} 3.0",
            "rwproxy_pool_dials_total{backend=\"db\\\"1\"} 4",
            "rwproxy_backend_role{backend=\"db\\\"1\",role=\"replica\"} 1.0",
            "rwproxy_backend_lag_seconds{backend=\"db\\\"1\"} 1.5",
            "rwproxy_backend_semi_sync_active{backend=\"db\\\"1\"} 0.0",
            "rwproxy_backend_semi_sync_clients{backend=\"db\\\"1\"} 2.0",
            "rwproxy_backend_semi_sync_unacknowledged_total{backend=\"db\\\"1\"} 7",
            "rwproxy_backend_group_member{backend=\"db\\\"1\"} 1.0",
            "rwproxy_backend_group_queue{backend=\"db\\\"1\",queue=\"receive\"} 4.0",
            "rwproxy_events_total{kind=\"lag_out\"} 1",
            "rwproxy_check_findings{check=\"sync-binlog\",server=\"db\\\"1\",severity=\"warning\"} 1.0",
            "rwproxy_check_ended_timestamp_seconds 1700000000.0",
            "rwproxy_check_duration_seconds 0.25",
            "rwproxy_events_total{kind=\"lag_in\"} 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }
}
