//! Variables that should be equal on all servers.

use super::durability::set;
use crate::administration::statements::quoted;
use crate::check::examined::{Answer, Examined, Server};
use crate::check::finding::{Check, Finding, Remedy, Severity};

static SQL_MODE: Check = Check {
    name: "sql-mode-differs",
    why: "The same statement means something else, or is an error, on one of the two servers.",
};
static TIME_ZONE: Check = Check {
    name: "time-zone-differs",
    why: "NOW(), and columns of type TIMESTAMP, show another time on the replica.",
};
static CHARACTER_SET: Check = Check {
    name: "character-set-differs",
    why: "Texts compare and sort otherwise, and new tables are made otherwise.",
};
static TABLE_NAMES: Check = Check {
    name: "lower-case-table-names-differ",
    why: "A table's name that one server knows is unknown to the other: replication stops.",
};
static PACKET: Check = Check {
    name: "packet-limit-smaller",
    why: "What the primary takes the replica refuses: statements of clients, or replication stops.",
};
static OTHER: Check = Check {
    name: "setting-differs",
    why: "The same statement gives another result on the replica, or makes another table.",
};

pub static CHECKS: [&Check; 6] =
    [&SQL_MODE, &TIME_ZONE, &CHARACTER_SET, &TABLE_NAMES, &PACKET, &OTHER];

/// Those that only need to be set.
const EQUAL: [(&Check, &str, Severity); 14] = [
    (&SQL_MODE, "sql_mode", Severity::Warning),
    (&TIME_ZONE, "time_zone", Severity::Warning),
    (&CHARACTER_SET, "character_set_server", Severity::Warning),
    (&CHARACTER_SET, "collation_server", Severity::Warning),
    (&OTHER, "explicit_defaults_for_timestamp", Severity::Warning),
    (&OTHER, "default_storage_engine", Severity::Warning),
    (&OTHER, "innodb_strict_mode", Severity::Notice),
    (&OTHER, "innodb_default_row_format", Severity::Notice),
    (&OTHER, "transaction_isolation", Severity::Warning),
    (&OTHER, "tx_isolation", Severity::Warning),
    (&OTHER, "group_concat_max_len", Severity::Warning),
    (&OTHER, "div_precision_increment", Severity::Warning),
    (&OTHER, "default_week_format", Severity::Warning),
    (&OTHER, "lc_time_names", Severity::Warning),
];

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    let Some((primary, first)) = examined.primary() else { return };
    for (server, answer) in examined.replicas() {
        // Of another kind or series, other defaults are meant.
        if answer.state.flavour() == first.state.flavour() {
            for (check, name, severity) in EQUAL {
                findings.extend(equal(check, name, severity, (primary, first), (server, answer)));
            }
        }
        findings.extend(zone(primary, first, server, answer));
        findings.extend(table_names(primary, first, server, answer));
        findings.extend(packet(primary, first, server, answer));
    }
}

fn equal(
    check: &'static Check,
    name: &str,
    severity: Severity,
    (primary, first): (&Server, &Answer),
    (server, answer): (&Server, &Answer),
) -> Option<Finding> {
    let (wanted, own) = (first.state.variable(name)?, answer.state.variable(name)?);
    if wanted == own {
        return None;
    }
    let differing = check.of(server.name(), severity, differs(name, own, primary, wanted));
    // A number that is quoted is refused.
    let literal = wanted.parse::<u64>().map_or_else(|_| quoted(wanted), |_| wanted.to_owned());
    Some(set(differing, server, answer, name, &literal))
}

fn differs(name: &str, own: &str, primary: &Server, wanted: &str) -> String {
    format!("its {name} is '{own}', that of the primary {} is '{wanted}'", primary.name())
}

/// Under SYSTEM the operating system's counts.
fn zone(primary: &Server, first: &Answer, server: &Server, answer: &Answer) -> Option<Finding> {
    const NAME: &str = "system_time_zone";
    let is_system = |answer: &Answer| answer.state.variable("time_zone") == Some("SYSTEM");
    let (wanted, own) = (first.state.variable(NAME)?, answer.state.variable(NAME)?);
    if wanted == own || !is_system(first) || !is_system(answer) {
        return None;
    }
    let finding =
        TIME_ZONE.of(server.name(), Severity::Warning, differs(NAME, own, primary, wanted));
    Some(finding.mended_by(Remedy::advice(format!(
        "make its container anew with the time zone of {}'s (-e TZ=…); or set time_zone on both",
        primary.name()
    ))))
}

fn table_names(
    primary: &Server,
    first: &Answer,
    server: &Server,
    answer: &Answer,
) -> Option<Finding> {
    const NAME: &str = "lower_case_table_names";
    let (wanted, own) = (first.state.variable(NAME)?, answer.state.variable(NAME)?);
    (wanted != own).then(|| {
        TABLE_NAMES
            .of(server.name(), Severity::Error, differs(NAME, own, primary, wanted))
            .mended_by(Remedy::advice(format!(
                "make its container anew, with an empty volume, with --lower-case-table-names={wanted}: \
                 it cannot be changed later; then type: rwproxy setup"
            )))
    })
}

fn packet(primary: &Server, first: &Answer, server: &Server, answer: &Answer) -> Option<Finding> {
    const NAME: &str = "max_allowed_packet";
    let (wanted, own) = (first.number(NAME)?, answer.number(NAME)?);
    (own < wanted).then(|| {
        let evidence = differs(NAME, &own.to_string(), primary, &wanted.to_string());
        let finding = PACKET.of(server.name(), Severity::Warning, evidence);
        set(finding, server, answer, NAME, &wanted.to_string())
    })
}
