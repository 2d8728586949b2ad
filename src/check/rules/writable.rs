//! Replicas that take writes.

use crate::administration::statements::{self, read_only};
use crate::check::examined::{Answer, Examined};
use crate::check::finding::{Check, Finding, Remedy, Severity};

static WRITABLE: Check = Check {
    name: "replica-writable",
    why: "A write there is nowhere else: the data part, and replication stops sooner or later.",
};
static SUPER: Check = Check {
    name: "super-read-only",
    why: "Administrators, and programs that use their accounts, can still write on the replica.",
};
static REOPENS: Check = Check {
    name: "read-only-after-restart",
    why: "After a restart the replica would take writes.",
};

pub static CHECKS: [&Check; 3] = [&WRITABLE, &SUPER, &REOPENS];

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    // Members of a group are closed and opened by it.
    for (server, answer) in examined.replicas().filter(|(_, answer)| !answer.state.is_member) {
        let (name, state) = (server.name(), &answer.state);
        let close = || Remedy::safe(name, read_only(true, &state.version));
        if !state.is_read_only() {
            let evidence = "it is a replica, and its read_only is OFF".to_owned();
            findings.push(WRITABLE.of(name, Severity::Error, evidence).mended_by(close()));
        } else if state.variable("super_read_only").is_some() && !state.is_on("super_read_only") {
            let evidence = "its read_only is ON, its super_read_only OFF".to_owned();
            findings.push(SUPER.of(name, Severity::Warning, evidence).mended_by(close()));
        } else if let Some(variable) = reopens(answer) {
            let keep = match state.persists() {
                true => Remedy::safe(name, vec![statements::set(variable, "ON", &state.version)]),
                false => {
                    let option = variable.replace('_', "-");
                    Remedy::option(name, format!("--{option}=ON"))
                }
            };
            let evidence = format!("its {variable} is ON only until it is started again");
            findings.push(REOPENS.of(name, Severity::Warning, evidence).mended_by(keep));
        }
    }
}

/// The variable that closes it and that a restart forgets.
fn reopens(answer: &Answer) -> Option<&'static str> {
    // super_read_only sets read_only along.
    let closing = match answer.state.variable("super_read_only") {
        Some(_) => "super_read_only",
        None => "read_only",
    };
    answer.forgets(closing).then_some(closing)
}
