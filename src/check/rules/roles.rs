//! The primary, and roles against labels.

use crate::administration::statements;
use crate::check::examined::{Answer, Examined, Primary, Role, Server};
use crate::check::finding::{Check, Finding, Remedy, Severity};
use crate::config::RoleSetting;

static NONE: Check = Check {
    name: "primary-missing",
    why: "Without a primary the proxy has nowhere to send writes.",
};
static SEVERAL: Check = Check {
    name: "primary-ambiguous",
    why: "With two servers that could be written the proxy writes on neither, lest the data part.",
};
static LABEL: Check = Check {
    name: "role-label",
    why: "The server's word beats its label, so that the label only misleads who reads it.",
};
static CLOSED: Check = Check {
    name: "primary-read-only",
    why: "The primary refuses writes: applications get errors.",
};
static STRANGER: Check = Check {
    name: "server-without-source",
    why: "It replicates from nobody, so that its data are not the primary's: it serves nothing.",
};

pub static CHECKS: [&Check; 5] = [&NONE, &SEVERAL, &CLOSED, &STRANGER, &LABEL];

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    if examined.answers().next().is_none() {
        return;
    }
    // Groups choose their writers themselves.
    if !examined.is_group() {
        primary(examined, findings);
    }
    labels(examined, findings);
}

fn primary(examined: &Examined, findings: &mut Vec<Finding>) {
    match &examined.primary {
        Primary::None if examined.is_certain() => findings.push(
            NONE.general(
                Severity::Error,
                "nobody replicates from any of these servers, and none takes writes".to_owned(),
            )
            .mended_by(Remedy::setup()),
        ),
        Primary::None => findings.push(
            NONE.general(Severity::Error, "none of those that answer is the primary".to_owned()),
        ),
        Primary::Several(several) => {
            let names: Vec<&str> =
                several.iter().map(|index| &**examined.servers[*index].name()).collect();
            let prefix = &examined.settings.prefix;
            findings.push(
                SEVERAL
                    .general(
                        Severity::Error,
                        format!("each of {} could be the primary", names.join(" and ")),
                    )
                    .mended_by(Remedy::setup())
                    .mended_by(Remedy::advice(format!(
                        "close all but one to writers (SET GLOBAL read_only = ON); or, of two clusters, \
                         give the containers different labels {prefix}.cluster"
                    ))),
            );
        }
        Primary::One(_) => {
            findings.extend(closed(examined));
            strangers(examined, findings);
        }
    }
}

fn closed(examined: &Examined) -> Option<Finding> {
    let (server, answer) = examined.primary()?;
    let state = &answer.state;
    state.is_read_only().then(|| {
        let variable = if state.is_on("super_read_only") { "super_read_only" } else { "read_only" };
        CLOSED
            .of(
                server.name(),
                Severity::Error,
                format!("it is the primary, and its {variable} is ON"),
            )
            // It may have been closed so that another one takes over.
            .mended_by(Remedy::deliberate(
                server.name(),
                statements::read_only(false, &state.version),
            ))
    })
}

fn strangers(examined: &Examined, findings: &mut Vec<Finding>) {
    for (server, answer) in examined.answers() {
        if server.role == Role::Unknown && answer.follows().is_some() {
            let evidence = match answer.state.is_read_only() {
                true => "it replicates from nobody".to_owned(),
                false => "it replicates from nobody, and takes writes".to_owned(),
            };
            let close = statements::read_only(true, &answer.state.version);
            let setup = match answer.state.is_bare() || goes_on(examined, answer) {
                true => Remedy::setup(),
                false => Remedy::copy_anew(server.name()),
            };
            findings.push(
                STRANGER.of(server.name(), Severity::Error, evidence).mended_by(setup).mended_by(
                    (!answer.state.is_read_only()).then(|| {
                        // It goes on being a stranger, and one that cannot be mistaken.
                        Remedy::advice(format!("until then: {};", close[0].shown))
                    }),
                ),
            );
        }
    }
}

/// It has been the primary's replica, has nothing of its own since, and lacks nothing that the primary no
/// longer has.
fn goes_on(examined: &Examined, Answer { state, .. }: &Answer) -> bool {
    examined.primary().is_some_and(|(_, Answer { state: first, .. })| {
        state.flavour() == first.flavour()
            && state.has_replicated()
            && state.errant(first).is_none()
            && state.missed(first).is_none()
    })
}

fn labels(examined: &Examined, findings: &mut Vec<Finding>) {
    let prefix = &examined.settings.prefix;
    for server in &examined.servers {
        let name = server.name();
        let (is, wanted) = match (server.known.spec.role, server.role) {
            (RoleSetting::Primary, Role::Replica) => ("a replica", "replica"),
            (RoleSetting::Replica, Role::Primary) => ("the primary", "primary"),
            _ => continue,
        };
        let said = if wanted == "replica" { "primary" } else { "replica" };
        let finding = LABEL.of(
            name,
            Severity::Warning,
            format!("it is {is}, and labelled {prefix}.role={said}"),
        );
        findings.push(match said {
            _ if server.known.run.is_none() => finding
                .mended_by(Remedy::setting(format!("[[backends]] {name}: role = \"{wanted}\""))),
            "primary" => switch_back(finding, server)
                .mended_by(Remedy::label(name, format!("{prefix}.role={wanted}"))),
            _ => finding.mended_by(Remedy::label(name, format!("{prefix}.role={wanted}"))),
        });
    }
}

/// What is labelled primary can be made it again.
fn switch_back(finding: Finding, server: &Server) -> Finding {
    finding.mended_by(Remedy::command(format!("rwproxy switchover {}", server.name())))
}
