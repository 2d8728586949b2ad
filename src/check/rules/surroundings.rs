//! Clocks, connections, and the proxy itself.

use std::time::Duration;

use crate::backend::pools::RESERVE;
use crate::check::examined::{Answer, Examined, Server};
use crate::check::finding::{Check, Finding, Remedy, Severity};
use crate::check::proxy::{Contact, Face};
use crate::facts::clock::Skew;
use crate::wire::Flavour;

static CLOCK: Check = Check {
    name: "clock-skew",
    why: "Times that servers write, and how far behind they say they are, are wrong by as much.",
};
static CONNECTIONS: Check = Check {
    name: "connections-too-few",
    why: "When the pool is full the server refuses more: clients, the monitor, and who would mend it.",
};
static TRACKERS: Check = Check {
    name: "session-trackers",
    why: "The proxy knows by them what a session has set: without them it must not share connections.",
};
static PROXY: Check = Check {
    name: "proxy-unreachable",
    why: "Clients that connect to the proxy get no answer, or the wrong one.",
};

pub static CHECKS: [&Check; 4] = [&CLOCK, &CONNECTIONS, &TRACKERS, &PROXY];

/// Milliseconds that nobody minds.
const SKEW: i64 = 1000;

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    for (server, answer) in examined.answers() {
        findings.extend(answer.skew.and_then(|skew| clock(server, skew)));
        findings.extend(connections(examined, server, answer));
        findings.extend(trackers(server, answer));
    }
    proxy(&examined.proxy, findings);
}

fn clock(server: &Server, Skew { ahead, uncertainty }: Skew) -> Option<Finding> {
    if ahead.abs() - uncertainty <= SKEW {
        return None;
    }
    let by = humantime::format_duration(Duration::from_millis(ahead.unsigned_abs()));
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    let evidence = format!("its clock is {by} {way} that of this host");
    let finding = CLOCK.of(server.name(), Severity::Warning, evidence);
    Some(finding.mended_by(Remedy::advice(
        "have the clocks of all hosts set by NTP (timedatectl set-ntp true)",
    )))
}

fn connections(examined: &Examined, server: &Server, answer: &Answer) -> Option<Finding> {
    const NAME: &str = "max_connections";
    let (pool, most) = (u64::from(examined.settings.max_per_backend?), answer.number(NAME)?);
    let needed = pool.saturating_add(RESERVE as u64);
    if needed <= most {
        return None;
    }
    let evidence = format!(
        "its {NAME} is {most}; pool.max_per_backend is {pool}, for each proxy that there is, and \
         {RESERVE} are left to the monitor and operators"
    );
    let finding = CONNECTIONS.of(server.name(), Severity::Warning, evidence);
    let needed = needed.to_string();
    Some(
        super::durability::set(finding, server, answer, NAME, &needed)
            .mended_by(Remedy::setting("[pool] max_per_backend = \"auto\"")),
    )
}

/// The proxy sets them itself in each session: they only need to be there.
fn trackers(server: &Server, answer: &Answer) -> Option<Finding> {
    let mut needed = vec!["session_track_schema", "session_track_system_variables"];
    if answer.state.version.flavour == Flavour::MySql {
        needed.push("session_track_gtids");
    }
    needed.retain(|name| answer.state.variable(name).is_none());
    (!needed.is_empty()).then(|| {
        let evidence = format!("it has no {}", needed.join(", "));
        TRACKERS
            .of(server.name(), Severity::Error, evidence)
            .mended_by(Remedy::advice("use a newer image: MySQL 5.7 and MariaDB 10.2 have them"))
    })
}

/// That none answers only says that the proxy was not started.
fn proxy(faces: &[Face], findings: &mut Vec<Finding>) {
    let is_up = faces.iter().any(|face| !matches!(face.contact, Contact::Nobody(_)));
    let is_waiting = faces.iter().any(|face| matches!(face.contact, Contact::NotReady(_)));
    for Face { key, address, contact } in faces {
        let (severity, what) = match contact {
            Contact::Answers => continue,
            // Why is said once.
            Contact::Silent if is_waiting => continue,
            Contact::Silent => (Severity::Warning, "no greeting in time".to_owned()),
            Contact::Nobody(problem) if is_up => {
                (Severity::Warning, format!("does not answer: {problem}"))
            }
            Contact::Nobody(problem) => {
                (Severity::Notice, format!("does not answer here: {problem}"))
            }
            Contact::Odd(problem) => (Severity::Warning, problem.clone()),
            Contact::NotReady(said) => {
                (Severity::Warning, format!("says that it is not ready: {said}"))
            }
        };
        let finding = PROXY.general(severity, format!("{key} {address}: {what}"));
        findings.push(finding.mended_by(match contact {
            Contact::Nobody(_) if !is_up => Remedy::command("rwproxy"),
            Contact::NotReady(_) => {
                Remedy::advice("mend what stands below of the servers; the proxy's log says more")
            }
            _ => Remedy::setting(format!(
                "[{}] address: a free one",
                key.split('.').next().unwrap_or(key)
            )),
        }));
        // One line is enough for a proxy that does not run.
        if !is_up {
            return;
        }
    }
}
