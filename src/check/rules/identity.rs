//! Server ids, uuids, kinds and versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::administration::statements::{self, Statement};
use crate::check::examined::{Answer, Examined, Role, Server};
use crate::check::finding::{Check, Finding, Remedy, Severity};
use crate::facts::State;
use crate::setup::gtids::server_ids;

static NO_ID: Check =
    Check { name: "server-id-unset", why: "A server without a number cannot replicate." };
static SAME_ID: Check = Check {
    name: "server-id-duplicate",
    why: "A source closes one of two replicas of one number, and each ignores what bears its own.",
};
static SAME_UUID: Check = Check {
    name: "server-uuid-duplicate",
    why: "Transactions are told apart by it: those of two servers would be taken for the same.",
};
static MIXED: Check = Check {
    name: "flavours-mixed",
    why: "MySQL and MariaDB do not understand each other's GTIDs.",
};
static OLDER: Check = Check {
    name: "version-older-than-primary",
    why: "A replica may not understand what a newer primary writes; it must be upgraded first.",
};

pub static CHECKS: [&Check; 5] = [&NO_ID, &SAME_ID, &SAME_UUID, &MIXED, &OLDER];

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    ids(examined, findings);
    uuids(examined, findings);
    versions(examined, findings);
}

fn ids(examined: &Examined, findings: &mut Vec<Finding>) {
    let mut by_id: BTreeMap<u32, Vec<&Arc<str>>> = BTreeMap::new();
    for (server, answer) in examined.answers() {
        by_id.entry(answer.state.server_id()).or_default().push(server.name());
    }
    let states: Vec<&State> = examined.answers().map(|(_, answer)| &answer.state).collect();
    let first = examined.primary().map(|(_, answer)| &answer.state).or(states.first().copied());
    let Some(first) = first else { return };
    let others: Vec<&State> =
        states.iter().copied().filter(|state| state.name != first.name).collect();
    let wanted = server_ids(first, &others);
    for (server, answer) in examined.answers() {
        let Some(id) = wanted.get(server.name()) else { continue };
        let own = answer.state.server_id();
        let finding = if own == 0 {
            NO_ID.of(server.name(), Severity::Error, "its server_id is 0".to_owned())
        } else {
            let others = by_id[&own].iter().filter(|name| **name != server.name());
            let others: Vec<&str> = others.map(|name| &***name).collect();
            let others = others.join(" and ");
            SAME_ID.of(
                server.name(),
                Severity::Error,
                format!("its server_id is {own}, as that of {others}"),
            )
        };
        findings.push(
            finding
                .mended_by(renumber(server, answer, *id))
                .mended_by(Remedy::option(server.name(), format!("--server-id={id}"))),
        );
    }
}

/// A replica tells its number when it connects. That of a server which others replicate from is left
/// for somebody to decide.
fn renumber(server: &Server, answer: &Answer, id: u32) -> Remedy {
    let version = &answer.state.version;
    let mut told: Vec<Statement> = vec![statements::set("server_id", &id.to_string(), version)];
    if server.role != Role::Replica {
        return Remedy::deliberate(server.name(), told);
    }
    told.push(statements::replica("STOP", "", version));
    told.push(statements::replica("START", "", version));
    Remedy::safe(server.name(), told)
}

fn uuids(examined: &Examined, findings: &mut Vec<Finding>) {
    let mut seen: BTreeMap<&str, &Arc<str>> = BTreeMap::new();
    // The primary keeps its own.
    let primary = examined.primary();
    let others = examined.answers().filter(|(server, _)| server.role != Role::Primary);
    for (server, answer) in primary.into_iter().chain(others) {
        let Some(uuid) = answer.state.uuid.as_deref() else { continue };
        let Some(other) = seen.get(uuid) else {
            seen.insert(uuid, server.name());
            continue;
        };
        let name = server.name();
        let directory = answer.state.variable("datadir").unwrap_or("/var/lib/mysql/");
        findings.push(
            SAME_UUID
                .of(name, Severity::Error, format!("its server_uuid is that of {other}: {uuid}"))
                .mended_by(Remedy::command(format!(
                    "docker exec {name} rm {directory}auto.cnf && docker restart {name}"
                ))),
        );
    }
}

fn versions(examined: &Examined, findings: &mut Vec<Finding>) {
    let Some((primary, first)) = examined.primary() else { return };
    let theirs = &first.state.version;
    for (server, answer) in examined.answers() {
        let own = &answer.state.version;
        if own.flavour != theirs.flavour {
            let evidence = format!(
                "it is {}, and the primary {} {}",
                own.flavour,
                primary.name(),
                theirs.flavour
            );
            findings.push(
                MIXED
                    .of(server.name(), Severity::Error, evidence)
                    .mended_by(Remedy::advice("use images of one kind")),
            );
        } else if (own.major, own.minor, own.patch) < (theirs.major, theirs.minor, theirs.patch) {
            // Within a series both understand each other.
            let severity = match (own.major, own.minor) < (theirs.major, theirs.minor) {
                true => Severity::Error,
                false => Severity::Notice,
            };
            let evidence = format!(
                "its version is {}, that of the primary {} is {}",
                own,
                primary.name(),
                theirs
            );
            let image = primary.known.run.as_ref().map_or("a newer one", |run| &*run.image);
            findings.push(OLDER.of(server.name(), severity, evidence).mended_by(Remedy::advice(
                format!("make its container anew with the primary's image, {image}"),
            )));
        }
    }
}
