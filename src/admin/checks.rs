//! What is wrong with the cluster, as the latest look has found it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::Admin;
use super::table::{Table, text};
use crate::metrics::{CheckState, FindingState};

impl Admin {
    /// By server, the worst first.
    pub(super) fn check_table(&self) -> Table {
        let checks = self.checks.borrow().clone();
        let rows = checks.findings.iter().map(|standing| {
            let finding = &standing.finding;
            let remedies: Vec<String> = finding.remedies.iter().map(ToString::to_string).collect();
            vec![
                finding.check.name.into(),
                finding.server.clone().into(),
                finding.severity.name().into(),
                finding.evidence.as_str().into(),
                finding.check.why.into(),
                Some(remedies.join(" | ")).filter(|text| !text.is_empty()).into(),
                humantime::format_rfc3339_seconds(standing.since).to_string().into(),
            ]
        });
        let columns =
            ["check", "server", "severity", "evidence", "why", "remedy", "since"].map(text);
        Table::new(&columns, rows)
    }

    /// The same as metrics show it.
    pub(super) fn check_state(&self) -> CheckState {
        let checks = self.checks.borrow().clone();
        let mut counts: BTreeMap<(&'static str, Arc<str>, &'static str), u64> = BTreeMap::new();
        for standing in &checks.findings {
            let finding = &standing.finding;
            let server = finding.server.clone().unwrap_or_default();
            *counts.entry((finding.check.name, server, finding.severity.name())).or_default() += 1;
        }
        let findings = counts.into_iter().map(|((check, server, severity), count)| FindingState {
            check,
            server,
            severity,
            count,
        });
        let ended = checks.ended.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        CheckState { findings: findings.collect(), look: ended.map(|at| (at, checks.took)) }
    }
}
