//! The binary log, and what a crash loses.

use std::time::Duration;

use crate::administration::statements::{self, Statement};
use crate::check::examined::{Answer, Examined, Role, Server};
use crate::check::finding::{Check, Finding, Remedy, Severity};
use crate::facts::Follows;
use crate::routing::topology::Thread;
use crate::wire::{Flavour, ServerVersion};

static OFF: Check = Check {
    name: "binary-log-off",
    why: "Nobody can replicate from a server without a binary log, so it cannot be the primary.",
};
static UPDATES: Check = Check {
    name: "binary-log-of-replica",
    why: "A replica that does not log what it replicates cannot take the primary's place.",
};
static FORMAT: Check = Check {
    name: "binary-log-format",
    why: "Statements may do something else on a replica than on the primary; rows do the same.",
};
static RETENTION: Check = Check {
    name: "binary-log-retention",
    why: "A replica that is away longer than the primary keeps its logs needs a new copy of all data.",
};
static SYNC: Check = Check {
    name: "sync-binlog",
    why: "When the machine fails, transactions that were answered are gone from the binary log.",
};
static FLUSH: Check = Check {
    name: "flush-log-at-commit",
    why: "When the machine fails, the last second's transactions, though answered, are gone.",
};

pub static CHECKS: [&Check; 6] = [&OFF, &UPDATES, &FORMAT, &RETENTION, &SYNC, &FLUSH];

/// A replica that fails on a Friday evening is back on Monday.
const LONGEST_OUTAGE: Duration = Duration::from_secs(3 * 24 * 3600);
/// What is proposed: a week.
const PROPOSED: u64 = 7 * 24 * 3600;

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    for (server, answer) in examined.answers() {
        if answer.state.has_binary_log() {
            findings.extend(updates(server, answer));
            findings.extend(format(server, answer));
            findings.extend(retention(server, answer));
            findings.extend(sync(server, answer));
        } else {
            let severity = match server.role {
                Role::Primary if examined.servers.len() > 1 => Severity::Error,
                _ => Severity::Warning,
            };
            let finding = OFF.of(server.name(), severity, "its log_bin is OFF".to_owned());
            findings.push(finding.mended_by(Remedy::option(server.name(), "--log-bin=binlog")));
        }
        findings.extend(flush(server, answer));
    }
}

/// A replica can be made anew; what the primary has answered must not be lost.
fn severity(server: &Server) -> Severity {
    if server.role == Role::Primary { Severity::Warning } else { Severity::Notice }
}

/// Sets it now; an option keeps it where the server cannot.
pub(super) fn set(
    finding: Finding,
    server: &Server,
    answer: &Answer,
    name: &str,
    value: &str,
) -> Finding {
    let version = &answer.state.version;
    let option = name.replace('_', "-");
    finding
        .mended_by(Remedy::safe(server.name(), vec![statements::set(name, value, version)]))
        .mended_by((!answer.state.persists()).then(|| {
            // There nothing is quoted.
            let value = value.trim_matches('\'');
            Remedy::option(server.name(), format!("--{option}={value}"))
        }))
}

fn updates(server: &Server, answer: &Answer) -> Option<Finding> {
    if answer.state.logs_what_it_replicates() {
        return None;
    }
    let name = match answer.state.flavour() {
        Flavour::MySql if answer.state.version.at_least(8, 0) => "replica",
        _ => "slave",
    };
    let finding =
        UPDATES.of(server.name(), Severity::Warning, format!("its log_{name}_updates is OFF"));
    Some(finding.mended_by(Remedy::option(server.name(), format!("--log-{name}-updates=ON"))))
}

fn format(server: &Server, answer: &Answer) -> Option<Finding> {
    let format = answer.state.variable("binlog_format").filter(|format| *format != "ROW")?;
    let finding = FORMAT.of(
        server.name(),
        if format == "MIXED" { severity(server) } else { Severity::Warning },
        format!("its binlog_format is {format}"),
    );
    if !is_in_use(answer) {
        return Some(set(finding, server, answer, "binlog_format", "ROW"));
    }
    let told = vec![statements::set("binlog_format", "ROW", &answer.state.version)];
    Some(finding.mended_by(Remedy::safe(server.name(), without_applier(told, answer))))
}

/// MySQL does not let its `binlog_format` be set while something is applied.
pub(super) fn is_in_use(answer: &Answer) -> bool {
    let applies = |follows: &Follows| follows.channel.applier != Thread::Stopped;
    answer.is_mysql() && answer.follows().unwrap_or_default().iter().any(applies)
}

pub(super) fn without_applier(told: Vec<Statement>, answer: &Answer) -> Vec<Statement> {
    let version = &answer.state.version;
    let mut all = vec![statements::replica("STOP", "SQL_THREAD", version)];
    all.extend(told);
    all.push(statements::replica("START", "SQL_THREAD", version));
    all
}

fn retention(server: &Server, answer: &Answer) -> Option<Finding> {
    let kept = kept_for(answer)?;
    if kept >= LONGEST_OUTAGE {
        return None;
    }
    let evidence = format!(
        "its binary logs are kept for {}, which a replica may well be away ({})",
        humantime::format_duration(kept),
        humantime::format_duration(LONGEST_OUTAGE)
    );
    let finding = RETENTION.of(server.name(), Severity::Warning, evidence);
    Some(match in_seconds(&answer.state.version) {
        true => set(finding, server, answer, "binlog_expire_logs_seconds", &PROPOSED.to_string()),
        false => set(finding, server, answer, "expire_logs_days", "7"),
    })
}

fn in_seconds(version: &ServerVersion) -> bool {
    match version.flavour {
        Flavour::MySql => version.at_least(8, 0),
        Flavour::MariaDb => version.at_least(10, 6),
    }
}

/// How long binary logs are kept; `None` when they are kept for ever.
fn kept_for(answer: &Answer) -> Option<Duration> {
    if answer.state.variable("binlog_expire_logs_auto_purge") == Some("OFF") {
        return None;
    }
    let seconds = answer.number("binlog_expire_logs_seconds").unwrap_or(0);
    let days = answer.state.variable("expire_logs_days").and_then(|days| days.parse::<f64>().ok());
    match (seconds, days) {
        (0, Some(days)) if days > 0.0 => Some(Duration::from_secs_f64(days * 24.0 * 3600.0)),
        (0, _) => None,
        (seconds, _) => Some(Duration::from_secs(seconds)),
    }
}

fn sync(server: &Server, answer: &Answer) -> Option<Finding> {
    let every = answer.number("sync_binlog").filter(|every| *every != 1)?;
    let finding = SYNC.of(server.name(), severity(server), format!("its sync_binlog is {every}"));
    Some(set(finding, server, answer, "sync_binlog", "1"))
}

fn flush(server: &Server, answer: &Answer) -> Option<Finding> {
    const NAME: &str = "innodb_flush_log_at_trx_commit";
    // MariaDB's 3 is 1 in the way of its group commit.
    let how = answer.number(NAME).filter(|how| !matches!(how, 1 | 3))?;
    let finding = FLUSH.of(server.name(), severity(server), format!("its {NAME} is {how}"));
    Some(set(finding, server, answer, NAME, "1"))
}
