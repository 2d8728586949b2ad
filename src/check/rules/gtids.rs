//! GTIDs, and transactions that only one server has.

use crate::administration::Statement;
use crate::administration::statements;
use crate::check::examined::{Answer, Examined, Server};
use crate::check::finding::{Check, Finding, Remedy, Severity};
use crate::facts::Gtids;
use crate::gtid::GtidSet;

static MODE: Check = Check {
    name: "gtid-mode",
    why: "Without GTIDs a session's reads wait for nothing on replicas, and no failover is certain.",
};
static STRICT: Check = Check {
    name: "gtid-strict-mode",
    why: "MariaDB takes transactions out of order otherwise, and a write on a replica goes unnoticed.",
};
static ERRANT: Check = Check {
    name: "errant-transactions",
    why: "The replica holds what the primary does not: it serves no reads, and must never be primary.",
};
static MISSED: Check = Check {
    name: "transactions-purged",
    why: "The replica can never catch up by itself: what it lacks is nowhere in the primary's logs.",
};

pub static CHECKS: [&Check; 4] = [&MODE, &STRICT, &ERRANT, &MISSED];

/// More transactions than that are not made up for one by one.
const MOST_EMPTY: u128 = 20;

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    for (server, answer) in examined.answers() {
        findings.extend(mode(examined, server, answer));
    }
    if let Some(primary) = examined.primary() {
        differences(examined, primary, findings);
    }
    // Where the numbers are out of order already, it would stop replication.
    let is_errant = findings.iter().any(|finding| *finding.check == ERRANT);
    for (server, answer) in examined.answers() {
        findings.extend(strict(server, answer, is_errant));
    }
}

fn differences(
    examined: &Examined,
    (primary, first): (&Server, &Answer),
    findings: &mut Vec<Finding>,
) {
    for (server, answer) in examined.answers().filter(|(server, _)| server.name() != primary.name())
    {
        // In a group all is certified for all.
        if answer.state.is_member || answer.state.flavour() != first.state.flavour() {
            continue;
        }
        if let Some(errant) = answer.state.errant(&first.state) {
            findings.push(self::errant(primary, server, answer, &errant));
        }
        if let Some(missed) = answer.state.missed(&first.state) {
            let evidence = format!(
                "it lacks transactions that the binary logs of {} no longer have: {missed}",
                primary.name()
            );
            let finding = MISSED.of(server.name(), Severity::Error, evidence);
            findings.push(finding.mended_by(Remedy::copy_anew(server.name())));
        }
    }
}

fn mode(examined: &Examined, server: &Server, answer: &Answer) -> Option<Finding> {
    let mode = answer.state.variable("gtid_mode").filter(|_| answer.is_mysql())?;
    let consistency = answer.state.variable("enforce_gtid_consistency").unwrap_or("OFF");
    if mode == "ON" && consistency == "ON" {
        return None;
    }
    let is_on = |answer: &Answer| answer.state.variable("gtid_mode") == Some("ON");
    // One that has GTIDs and one that has none do not replicate from each other.
    let differs = examined.answers().any(|(_, other)| is_on(other)) && mode != "ON";
    let severity = if differs { Severity::Error } else { Severity::Warning };
    let evidence = format!("its gtid_mode is {mode}, its enforce_gtid_consistency {consistency}");
    let version = &answer.state.version;
    let told = ["OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"]
        .into_iter()
        .skip_while(|next| mode != "OFF" && *next != mode)
        .skip(usize::from(mode != "OFF"))
        .map(|next| statements::set("gtid_mode", next, version));
    let told: Vec<Statement> = [statements::set("enforce_gtid_consistency", "ON", version)]
        .into_iter()
        .chain(told)
        .collect();
    Some(
        MODE.of(server.name(), severity, evidence)
            // Each step must be done on all servers before the next one on any: that is setup's matter.
            .mended_by(Remedy::setup())
            .mended_by(Remedy::deliberate(server.name(), told)),
    )
}

fn strict(server: &Server, answer: &Answer, is_errant: bool) -> Option<Finding> {
    if answer.is_mysql() || answer.state.is_member || answer.state.is_on("gtid_strict_mode") {
        return None;
    }
    let told = vec![statements::set("gtid_strict_mode", "ON", &answer.state.version)];
    let told = match is_errant {
        true => Remedy::deliberate(server.name(), told),
        false => Remedy::safe(server.name(), told),
    };
    let evidence = "its gtid_strict_mode is OFF".to_owned();
    Some(
        STRICT
            .of(server.name(), Severity::Warning, evidence)
            .mended_by(told)
            .mended_by(Remedy::option(server.name(), "--gtid-strict-mode=ON")),
    )
}

fn errant(primary: &Server, server: &Server, answer: &Answer, errant: &str) -> Finding {
    let evidence =
        format!("it has transactions that the primary {} does not have: {errant}", primary.name());
    let finding = ERRANT
        .of(server.name(), Severity::Error, evidence)
        .mended_by(Remedy::copy_anew(server.name()));
    let Gtids::MySql { .. } = &answer.state.gtids else {
        return finding.mended_by(Remedy::advice(
            "see what they are in its binary log (mariadb-binlog), and do the same on the primary",
        ));
    };
    // Whoever knows that their content does not matter, or has done the same on the primary.
    finding
        .mended_by(empty_transactions(errant).map(|told| Remedy::deliberate(primary.name(), told)))
}

/// Transactions of these numbers without content, so that the primary has them, too.
fn empty_transactions(errant: &str) -> Option<Vec<Statement>> {
    let set = GtidSet::parse(errant).ok()?;
    if set.count() > MOST_EMPTY {
        return None;
    }
    let mut told: Vec<Statement> = Vec::new();
    for gtid in set.each() {
        told.push(format!("SET SESSION gtid_next = '{gtid}'").into());
        told.push("BEGIN".into());
        told.push("COMMIT".into());
    }
    told.push("SET SESSION gtid_next = 'AUTOMATIC'".into());
    Some(told)
}
