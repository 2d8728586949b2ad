//! Settings that a restart forgets.

use super::durability;
use crate::administration::{Statement, statements};
use crate::check::examined::{Answer, Examined, Server};
use crate::check::finding::{Check, Finding, Remedy, Severity};

pub static FORGOTTEN: Check = Check {
    name: "setting-forgotten",
    why: "After a restart the server has the value of its options again, or its default.",
};

pub static CHECKS: [&Check; 1] = [&FORGOTTEN];

/// Those that matter here; what closes a replica is a check of its own.
const SETTINGS: [&str; 19] = [
    "server_id",
    "gtid_mode",
    "enforce_gtid_consistency",
    "gtid_strict_mode",
    "sync_binlog",
    "innodb_flush_log_at_trx_commit",
    "binlog_format",
    "binlog_row_image",
    "binlog_expire_logs_seconds",
    "expire_logs_days",
    "rpl_semi_sync_source_enabled",
    "rpl_semi_sync_source_timeout",
    "rpl_semi_sync_source_wait_point",
    "rpl_semi_sync_replica_enabled",
    "rpl_semi_sync_master_enabled",
    "rpl_semi_sync_master_timeout",
    "rpl_semi_sync_master_wait_point",
    "rpl_semi_sync_slave_enabled",
    "max_connections",
];

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    for (server, answer) in examined.answers() {
        let forgotten: Vec<(&str, &str)> = SETTINGS
            .into_iter()
            .filter(|name| answer.forgets(name))
            .filter_map(|name| Some((name, answer.state.variable(name)?)))
            .collect();
        if !forgotten.is_empty() {
            findings.push(forgets(server, answer, &forgotten));
        }
    }
}

fn forgets(server: &Server, answer: &Answer, forgotten: &[(&str, &str)]) -> Finding {
    let words: Vec<String> =
        forgotten.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let evidence = format!("only until it is started again: {}", words.join(", "));
    let finding = FORGOTTEN.of(server.name(), Severity::Warning, evidence);
    if answer.state.persists() {
        // What it is now: a repair that sets it to something else is planned anew from there.
        let keep = |(name, value): &(&str, &str)| -> Statement {
            statements::set(name, &literal(value), &answer.state.version)
        };
        let told = forgotten.iter().map(keep).collect();
        let is_format = forgotten.iter().any(|(name, _)| *name == "binlog_format");
        let told = match is_format && durability::is_in_use(answer) {
            true => durability::without_applier(told, answer),
            false => told,
        };
        finding.mended_by(Remedy::safe(server.name(), told))
    } else {
        let option = |(name, value): &(&str, &str)| format!("--{}={value}", name.replace('_', "-"));
        let options: Vec<String> = forgotten.iter().map(option).collect();
        finding.mended_by(Remedy::option(server.name(), options.join(" ")))
    }
}

/// A number as it is, else a string.
fn literal(value: &str) -> String {
    match value.parse::<u64>() {
        Ok(number) => number.to_string(),
        Err(_) => statements::quoted(value),
    }
}
