//! What the account that asks may not know: said, so that silence means that all is well.

use crate::check::examined::Examined;
use crate::check::finding::{Check, Finding, Remedy, Severity};
use crate::check::part::Part;

static UNTOLD: Check =
    Check { name: "not-looked-at", why: "What was not looked at may be wrong, too." };

pub static CHECKS: [&Check; 1] = [&UNTOLD];

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    let user = &examined.settings.asker;
    for (server, answer) in examined.answers() {
        for (part, problem) in &answer.untold {
            let is_refused = ["ERROR 1142", "ERROR 1143", "ERROR 1227", "ERROR 1044"]
                .iter()
                .any(|code| problem.contains(code))
                || problem.starts_with("an account without ");
            let finding = UNTOLD.of(
                server.name(),
                Severity::Notice,
                format!("{}: {problem}", part.in_words()),
            );
            // Accounts are replicated.
            let place = examined.primary_name().unwrap_or_else(|| server.name());
            let privileges = part.privileges(&answer.state.version);
            let is_administrator = examined.settings.is_administrator;
            // With EVENT the monitor could also make events: `monitor-grants` would want it back.
            let may_be_granted = is_administrator || *part != Part::Events;
            findings.push(if is_refused {
                finding
                    .mended_by(may_be_granted.then(|| {
                        let grant = format!("GRANT {privileges} TO '{user}'@'%'");
                        Remedy::deliberate(place, vec![grant.into()])
                    }))
                    .mended_by((!is_administrator).then(|| {
                        Remedy::setting("[administrator]: an account that may look at everything")
                    }))
            } else {
                finding.mended_by(Remedy::advice("run this again"))
            });
        }
    }
}
