//! Findings as a table, and as JSON. Pure.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::examined::{Examined, Role, Server, Silence};
use super::finding::{Copied, Finding, Remedy, Severity};
use super::rules;
use crate::administration::Statement;
use crate::discovery::Standing;

/// What a look has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub servers: Vec<Row>,
    pub findings: Vec<Finding>,
    pub errors: usize,
    pub warnings: usize,
    pub notices: usize,
}

/// One server in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub name: Arc<str>,
    pub role: &'static str,
    /// Docker's word, or what else is known.
    pub state: String,
    pub address: Option<String>,
    pub version: Option<String>,
    pub image: Option<Arc<str>>,
}

impl Report {
    pub fn new(examined: &Examined) -> Self {
        let findings = rules::judge(examined);
        let count = |severity| findings.iter().filter(|it| it.severity == severity).count();
        Report {
            servers: examined.servers.iter().map(Row::of).collect(),
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            notices: count(Severity::Notice),
            findings,
        }
    }

    /// The worst of what was found, if it is more than worth knowing.
    pub fn worst(&self) -> Option<Severity> {
        let worst = self.findings.iter().map(|finding| finding.severity).max();
        worst.filter(|severity| *severity > Severity::Notice)
    }

    /// For people: servers, findings by server, and how many there are.
    pub fn table(&self, with_colour: bool) -> String {
        let mut text = servers(&self.servers);
        let mut last = None;
        for finding in &self.findings {
            let server = finding.server.as_deref().unwrap_or("(all)");
            if last != Some(server) {
                let _ = write!(text, "\n{server}\n");
                last = Some(server);
            }
            text += &finding_in_words(finding, with_colour);
        }
        let Report { errors, warnings, notices, .. } = self;
        let _ = write!(text, "\n{errors} error(s), {warnings} warning(s), {notices} notice(s)\n");
        text
    }

    pub fn json(&self) -> Value {
        let Report { servers, findings, errors, warnings, notices } = self;
        json!({
            "servers": servers.iter().map(Row::json).collect::<Vec<_>>(),
            "findings": findings.iter().map(finding_json).collect::<Vec<_>>(),
            "errors": errors,
            "warnings": warnings,
            "notices": notices,
        })
    }
}

fn finding_json(finding: &Finding) -> Value {
    let Finding { check, server, severity, evidence, remedies } = finding;
    json!({
        "check": check.name,
        "server": server.as_deref(),
        "severity": severity.name(),
        "evidence": evidence,
        "why": check.why,
        "remedies": remedies.iter().map(remedy_json).collect::<Vec<_>>(),
    })
}

fn shown(statements: &[Statement]) -> Vec<&str> {
    statements.iter().map(|statement| statement.shown.as_str()).collect()
}

fn remedy_json(remedy: &Remedy) -> Value {
    match remedy {
        Remedy::Statements { server, statements, safe_online } => {
            json!({ "kind": "statements", "server": **server, "statements": shown(statements),
                    "safe_online": safe_online })
        }
        Remedy::Copied(copied) => {
            let Copied { from, printed_by, server, before, after } = &**copied;
            json!({ "kind": "copied", "from": **from, "printed_by": shown(printed_by),
                    "server": **server, "before": shown(before), "after": shown(after) })
        }
        Remedy::Label { server, label } => {
            json!({ "kind": "label", "server": **server, "label": label })
        }
        Remedy::Option { server, option } => {
            json!({ "kind": "option", "server": **server, "option": option })
        }
        Remedy::Setting { setting } => json!({ "kind": "setting", "setting": setting }),
        Remedy::Command { command } => json!({ "kind": "command", "command": command }),
        Remedy::Advice { advice } => json!({ "kind": "advice", "advice": advice }),
    }
}

impl Row {
    fn of(server: &Server) -> Row {
        let Server { known, role, answer } = server;
        let role = match role {
            Role::Primary => "primary",
            Role::Replica => "replica",
            Role::Unknown => "-",
        };
        let docker = known.run.as_ref().map(|run| run.state.to_string());
        let state = match (&known.standing, answer) {
            (Standing::LeftOut(_), _) => "left out".to_owned(),
            (_, Err(Silence::Failed(_))) => "no answer".to_owned(),
            _ => docker.unwrap_or_else(|| "answers".to_owned()),
        };
        Row {
            name: known.name.clone(),
            role,
            state,
            address: known.standing.address().map(ToString::to_string),
            version: answer.as_ref().ok().map(|answer| answer.state.version.to_string()),
            image: known.run.as_ref().map(|run| run.image.clone()),
        }
    }

    fn json(&self) -> Value {
        let Row { name, role, state, address, version, image } = self;
        json!({ "name": **name, "role": role, "state": state, "address": address,
                "version": version, "image": image.as_deref() })
    }
}

fn servers(rows: &[Row]) -> String {
    let dash = || "-".to_owned();
    let mut cells =
        vec![["server", "role", "state", "address", "version", "image"].map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        [
            row.name.to_string(),
            row.role.to_owned(),
            row.state.clone(),
            row.address.clone().unwrap_or_else(dash),
            row.version.clone().unwrap_or_else(dash),
            row.image.as_ref().map_or_else(dash, ToString::to_string),
        ]
    }));
    let mut widths = [0; 6];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &cells {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn finding_in_words(finding: &Finding, with_colour: bool) -> String {
    let Finding { check, severity, evidence, remedies, .. } = finding;
    let (begin, end) = match (with_colour, severity) {
        (false, _) => ("", ""),
        (true, Severity::Error) => ("\u{1b}[1;31m", "\u{1b}[0m"),
        (true, Severity::Warning) => ("\u{1b}[33m", "\u{1b}[0m"),
        (true, Severity::Notice) => ("\u{1b}[36m", "\u{1b}[0m"),
    };
    let mut text = format!("  {begin}{:<7}{end}  {}: {evidence}\n", severity.name(), check.name);
    let _ = writeln!(text, "           {}", check.why);
    for remedy in remedies {
        let _ = writeln!(text, "           -> {remedy}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::rules::tests::{answering, examined, known, silent};
    use crate::facts::tests::{filled, mysql};

    fn report() -> Report {
        let mut stopped = known("b-2");
        stopped.standing = Standing::NotRunning("the container is stopped".into());
        stopped.run.as_mut().expect("a container").state = "exited".into();
        Report::new(&examined(vec![answering(filled(mysql("a", 1))), silent(stopped)]))
    }

    #[test]
    fn a_table_for_people() {
        let table = report().table(false);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "server  role     state    address         version  image");
        assert_eq!(lines[1], "a       primary  running  127.0.0.1:3306  9.7.4    mysql:8.4");
        assert_eq!(lines[2], "b-2     -        exited   -               -        mysql:8.4");
        let at = lines.iter().position(|line| *line == "b-2").expect("its findings");
        assert!(lines[at + 1].starts_with("  error    container-not-running: its container"));
        assert_eq!(lines[at + 3], "           -> type: docker start b-2");
        assert_eq!(lines.last(), Some(&"1 error(s), 0 warning(s), 0 notice(s)"));
        assert!(!table.contains('\u{1b}') && report().table(true).contains("\u{1b}[1;31merror"));
    }

    #[test]
    fn json_for_programs() {
        let report = report();
        assert_eq!(report.worst(), Some(Severity::Error));
        let json = report.json();
        assert_eq!(json["errors"], 1);
        assert_eq!(json["servers"][1]["state"], "exited");
        let finding = &json["findings"][0];
        assert_eq!(finding["check"], "container-not-running");
        assert_eq!(finding["server"], "b-2");
        assert_eq!(finding["severity"], "error");
        assert_eq!(finding["remedies"][0]["kind"], "command");
        assert_eq!(finding["remedies"][0]["command"], "docker start b-2");
    }
}
