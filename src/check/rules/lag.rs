//! How far behind replicas are, by our measure and by their own.

use std::time::Duration;

use crate::administration::statements;
use crate::check::examined::{Answer, Examined, Server};
use crate::check::finding::{Check, Finding, Remedy, Severity};
use crate::facts::clock::Lag;
use crate::wire::Flavour;

static BEHIND: Check = Check {
    name: "replication-lag",
    why: "A replica further behind than max_lag serves no reads: the primary has them all.",
};

pub static CHECKS: [&Check; 1] = [&BEHIND];

/// Workers that are proposed.
const WORKERS: &str = "4";

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    for (server, answer) in examined.replicas() {
        let limit = server.known.spec.max_lag.unwrap_or(examined.settings.max_lag);
        findings.extend(behind(server, answer, limit));
    }
}

fn behind(server: &Server, answer: &Answer, limit: Duration) -> Option<Finding> {
    let mut seen: Vec<String> = Vec::new();
    if let Some(Lag::Beyond(waited)) = answer.lag {
        let waited = humantime::format_duration(waited);
        seen.push(format!("{waited} ago the primary had transactions that it still lacks"));
    }
    for follows in answer.follows().unwrap_or_default() {
        let theirs = follows.channel.seconds_behind.filter(|_| follows.channel.delay == 0);
        // It counts whole seconds.
        let is_behind = |seconds: &u64| Duration::from_secs(*seconds) > limit.max(ONE);
        if let Some(seconds) = theirs.filter(is_behind) {
            let name =
                if answer.is_mysql() { "Seconds_Behind_Source" } else { "Seconds_Behind_Master" };
            seen.push(format!("its {name} is {seconds}"));
        }
    }
    if seen.is_empty() {
        return None;
    }
    let limit = humantime::format_duration(limit);
    let evidence = format!("{}; max_lag is {limit}", seen.join(", and "));
    Some(
        BEHIND
            .of(server.name(), Severity::Warning, evidence)
            .mended_by(workers(server, answer))
            .mended_by(Remedy::advice(
                "look there by SHOW PROCESSLIST: locks, long statements, a busy machine; a change \
                 of many rows is applied as one; tables without a primary key are slow to apply",
            )),
    )
}

const ONE: Duration = Duration::from_secs(1);

/// One worker applies one transaction after the other.
fn workers(server: &Server, answer: &Answer) -> Option<Remedy> {
    let name = match answer.state.flavour() {
        Flavour::MariaDb => "slave_parallel_threads",
        Flavour::MySql if answer.state.variable("replica_parallel_workers").is_some() => {
            "replica_parallel_workers"
        }
        Flavour::MySql => "slave_parallel_workers",
    };
    let version = &answer.state.version;
    answer.number(name).filter(|workers| *workers <= 1).map(|_| {
        Remedy::deliberate(
            server.name(),
            vec![
                statements::replica("STOP", "SQL_THREAD", version),
                statements::set(name, WORKERS, version),
                statements::replica("START", "SQL_THREAD", version),
            ],
        )
    })
}
