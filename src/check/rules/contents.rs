//! Tables, events and filters that replication has trouble with.

use super::some_of;
use crate::administration::{Statement, statements};
use crate::check::examined::{Answer, Examined, Server};
use crate::check::finding::{Check, Finding, Remedy, Severity};
use crate::check::part::Part;
use crate::wire::Flavour;

static FILTERS: Check = Check {
    name: "replication-filters",
    why: "A replica that leaves something out answers reads of it wrongly, and cannot be the primary.",
};
static KEYLESS: Check = Check {
    name: "table-without-primary-key",
    why: "A replica reads the whole table for each changed row: it falls behind.",
};
static ENGINE: Check = Check {
    name: "table-not-transactional",
    why: "A statement that fails half-way, or a crash, leaves its rows on one server and not on the other.",
};
static EVENT: Check = Check {
    name: "event-on-replica",
    why: "The event runs on the replica, too: what it writes is then there twice, or only there.",
};

pub static CHECKS: [&Check; 4] = [&FILTERS, &KEYLESS, &ENGINE, &EVENT];

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    for (server, answer) in examined.replicas() {
        findings.extend(filters(server, answer));
        findings.extend(events(server, answer));
    }
    let Some((primary, answer)) = examined.primary() else { return };
    if !answer.left_out.is_empty() {
        let evidence = format!("its binary log is not whole: {}", options(&answer.left_out));
        findings.push(
            FILTERS
                .of(primary.name(), Severity::Warning, evidence)
                .mended_by(Remedy::advice(without(&answer.left_out, examined))),
        );
    }
    if answer.told(Part::Tables) {
        tables(primary, answer, findings);
    }
}

/// What its replicas lack already comes to them by a copy alone.
fn without(left_out: &[(String, String)], examined: &Examined) -> String {
    let options: Vec<String> =
        left_out.iter().map(|(name, _)| format!("--{}", name.replace('_', "-"))).collect();
    let mut text = format!("start it without {}", options.join(" and "));
    let replicas = examined.replicas().map(|(server, _)| format!("--overwrite {}", server.name()));
    let replicas: Vec<String> = replicas.collect();
    if !replicas.is_empty() {
        text += &format!(", then type: rwproxy setup {}", replicas.join(" "));
    }
    text
}

fn options(all: &[(String, String)]) -> String {
    let words: Vec<String> = all.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    words.join(", ")
}

fn filters(server: &Server, answer: &Answer) -> Option<Finding> {
    let filters: Vec<(String, String)> = answer
        .follows()
        .unwrap_or_default()
        .iter()
        .flat_map(|follows| follows.filters.iter().cloned())
        .collect();
    if filters.is_empty() {
        return None;
    }
    let version = &answer.state.version;
    let mut told = vec![statements::replica("STOP", "SQL_THREAD", version)];
    match version.flavour {
        Flavour::MySql => {
            let none: Vec<String> = filters
                .iter()
                .map(|(name, _)| format!("{} = ()", name.to_ascii_uppercase()))
                .collect();
            told.push(format!("CHANGE REPLICATION FILTER {}", none.join(", ")).into());
        }
        Flavour::MariaDb => {
            told.extend(filters.iter().map(|(name, _)| format!("SET GLOBAL {name} = ''").into()))
        }
    }
    told.push(statements::replica("START", "SQL_THREAD", version));
    let evidence = format!("it does not replicate everything: {}", options(&filters));
    Some(
        FILTERS
            .of(server.name(), Severity::Warning, evidence)
            // What was left out is missing all the same.
            .mended_by(Remedy::deliberate(server.name(), told))
            .mended_by(Remedy::copy_anew(server.name())),
    )
}

fn events(server: &Server, answer: &Answer) -> Option<Finding> {
    let is_on = answer.state.variable("event_scheduler") == Some("ON");
    if !is_on || answer.events.is_empty() {
        return None;
    }
    let evidence = format!(
        "its event_scheduler is ON, and these are enabled there: {}",
        some_of(&answer.events)
    );
    let finding = EVENT.of(server.name(), Severity::Warning, evidence);
    Some(super::durability::set(finding, server, answer, "event_scheduler", "OFF"))
}

fn tables(primary: &Server, answer: &Answer, findings: &mut Vec<Finding>) {
    let troublesome = &answer.troublesome;
    let name = primary.name();
    if !troublesome.keyless.is_empty() {
        let key = |table: &crate::facts::tables::Name| -> Statement {
            format!(
                "ALTER TABLE {} ADD COLUMN row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT {}",
                table.quoted(),
                // Nobody who says SELECT * sees it.
                match is_hidden(answer) {
                    true => "INVISIBLE PRIMARY KEY",
                    false => "PRIMARY KEY",
                }
            )
            .into()
        };
        let told = troublesome.keyless.iter().take(super::NAMED).map(key).collect();
        findings.push(
            KEYLESS
                .of(name, Severity::Warning, some_of(&troublesome.keyless))
                .mended_by(Remedy::deliberate(name, told)),
        );
    }
    if !troublesome.without_transactions.is_empty() {
        let words: Vec<String> = troublesome
            .without_transactions
            .iter()
            .map(|(table, engine)| format!("{table} ({engine})"))
            .collect();
        let told = troublesome
            .without_transactions
            .iter()
            .take(super::NAMED)
            .map(|(table, _)| format!("ALTER TABLE {} ENGINE = InnoDB", table.quoted()).into())
            .collect();
        findings.push(
            ENGINE
                .of(name, Severity::Warning, some_of(&words))
                .mended_by(Remedy::deliberate(name, told)),
        );
    }
}

fn is_hidden(answer: &Answer) -> bool {
    let version = &answer.state.version;
    match version.flavour {
        Flavour::MySql => (version.major, version.minor, version.patch) >= (8, 0, 23),
        Flavour::MariaDb => version.at_least(10, 3),
    }
}
