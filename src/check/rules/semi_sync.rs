//! Whether commits wait for replicas, on both sides.

use crate::administration::statements::{self, Statement};
use crate::check::examined::{Answer, Examined, Server};
use crate::check::finding::{Check, Finding, Remedy, Severity};
use crate::check::part::Part;
use crate::routing::semi_sync::{Asynchronous, Source};
use crate::routing::topology::Thread;
use crate::setup::plan::Action;
use crate::setup::semi_sync::{names, switch};

static SOURCE: Check = Check {
    name: "semi-sync-source",
    why: "Commits are answered before any replica has them: a primary that is lost takes them along.",
};
static REPLICA: Check = Check {
    name: "semi-sync-replica",
    why: "A replica that does not acknowledge is of no help when the primary is lost.",
};
static FALLEN: Check = Check {
    name: "semi-sync-fallen-back",
    why: "While the primary does not wait, what it answers may be on no other server.",
};

pub static CHECKS: [&Check; 3] = [&SOURCE, &REPLICA, &FALLEN];

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    let Some((primary, answer)) = examined.primary() else { return };
    if !answer.told(Part::SemiSync) || examined.is_group() {
        return;
    }
    let replicas: Vec<(&Server, &Answer)> = examined.replicas().collect();
    let side = answer.state.semi_sync.source;
    let is_on = side.is_some_and(|side| side.enabled);
    let acknowledging: Vec<&str> = replicas
        .iter()
        .filter(|(_, answer)| answer.state.semi_sync.replica.is_some_and(|side| side.enabled))
        .map(|(server, _)| &**server.name())
        .collect();
    let is_required = examined.settings.require_semi_sync;
    if !is_on && (is_required || !acknowledging.is_empty()) {
        findings.push(off(primary, answer, is_required, &acknowledging));
    }
    if !is_on && !is_required {
        return;
    }
    for (server, answer) in replicas.iter().filter(|(_, answer)| answer.told(Part::SemiSync)) {
        findings.extend(replica(server, answer));
    }
    if let Some(side) = side.filter(|side| side.enabled) {
        findings.extend(fallen(primary, &side, is_required));
    }
}

fn severity(is_required: bool) -> Severity {
    if is_required { Severity::Error } else { Severity::Warning }
}

fn off(server: &Server, answer: &Answer, is_required: bool, acknowledging: &[&str]) -> Finding {
    let variable = switch(names(&answer.state).source);
    let is_there = answer.state.semi_sync.source.is_some();
    let mut evidence = match is_there {
        true => format!("its {variable} is OFF"),
        false => "it lacks the plugin of semi-synchronous replication".to_owned(),
    };
    if !acknowledging.is_empty() {
        evidence += &format!(", and {} would acknowledge", acknowledging.join(", "));
    }
    if is_required {
        evidence += "; routing.require_semi_sync keeps all writes back";
    }
    let mut told: Vec<Statement> = Vec::new();
    told.extend((!is_there).then(|| statements::install(&variable)));
    told.push(statements::set(&variable, "ON", &answer.state.version));
    SOURCE
        .of(server.name(), severity(is_required), evidence)
        // Commits wait for replicas that have not connected anew.
        .mended_by(Remedy::deliberate(server.name(), told))
        .mended_by(option(server, answer, &variable))
        .mended_by(Remedy::setup())
}

fn option(server: &Server, answer: &Answer, variable: &str) -> Option<Remedy> {
    let option = variable.replace('_', "-");
    (!answer.state.persists()).then(|| Remedy::option(server.name(), format!("--{option}=ON")))
}

fn replica(server: &Server, answer: &Answer) -> Option<Finding> {
    let side = answer.state.semi_sync.replica;
    let receives =
        answer.state.follows.iter().any(|follows| follows.channel.receiver == Thread::Running);
    let variable = switch(names(&answer.state).replica);
    let evidence = match side {
        None => "it lacks the plugin of semi-synchronous replication".to_owned(),
        Some(side) if !side.enabled => format!("its {variable} is OFF"),
        Some(side) if !side.active && receives => {
            "it has connected before it was to acknowledge, and does not".to_owned()
        }
        _ => return None,
    };
    let step = crate::setup::semi_sync::replica(&answer.state, false)?;
    let Action::TellReplica(told) = step.action else { return None };
    let finding = REPLICA.of(server.name(), Severity::Warning, evidence);
    // A plugin is a row in a table: the server is opened for it.
    let is_safe = side.is_some();
    Some(
        finding
            .mended_by(match is_safe {
                true => Remedy::safe(server.name(), told),
                false => Remedy::deliberate(server.name(), told),
            })
            .mended_by(option(server, answer, &variable)),
    )
}

fn fallen(server: &Server, side: &Source, is_required: bool) -> Option<Finding> {
    let times = format!("it has fallen back {} time(s) since it was started", side.fallbacks);
    let replicas = side.replicas();
    let mend = Remedy::advice(
        "mend replication and semi-sync-replica of the replicas: it waits again when enough acknowledge",
    );
    match side.asynchronous() {
        Some(Asynchronous::FallenBack) => Some(
            FALLEN
                .of(
                    server.name(),
                    severity(is_required),
                    format!("no replica has acknowledged in time: {replicas}; {times}"),
                )
                .mended_by(mend),
        ),
        Some(Asynchronous::TooFewReplicas) => Some(
            FALLEN
                .of(server.name(), severity(is_required), format!("{replicas}; {times}"))
                .mended_by(mend),
        ),
        None if side.fallbacks > 0 => {
            Some(FALLEN.of(server.name(), Severity::Notice, times).mended_by(Remedy::advice(
                "if nobody has stopped replicas then: a longer time-out, or what made them slow",
            )))
        }
        _ => None,
    }
}
