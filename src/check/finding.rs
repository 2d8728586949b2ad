//! What is wrong, how much, and what mends it. Pure.

use std::fmt;
use std::sync::Arc;

use super::fix;
use crate::administration::Statement;

/// What is looked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    /// Why it matters, in one line.
    pub why: &'static str,
}

impl Check {
    pub fn of(&'static self, server: &Arc<str>, severity: Severity, evidence: String) -> Finding {
        Finding { server: Some(server.clone()), ..self.general(severity, evidence) }
    }

    /// Of no server in particular.
    pub fn general(&'static self, severity: Severity, evidence: String) -> Finding {
        Finding { check: self, server: None, severity, evidence, remedies: Vec::new() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// It works, and something that may happen would be worse than it has to be.
    Warning,
    /// Something does not work, or data may differ or be lost.
    Error,
}

impl Severity {
    pub const ALL: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Notice];

    pub fn name(self) -> &'static str {
        match self {
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub check: &'static Check,
    pub server: Option<Arc<str>>,
    pub severity: Severity,
    /// What was seen.
    pub evidence: String,
    /// Each of them mends it by itself, the best first.
    pub remedies: Vec<Remedy>,
}

impl Finding {
    #[must_use]
    pub fn mended_by(mut self, remedy: impl Into<Option<Remedy>>) -> Self {
        self.remedies.extend(remedy.into());
        self
    }

    /// The statements that mend it while everything is in use, if any do.
    pub fn repair(&self) -> Option<(&Arc<str>, &[Statement])> {
        self.remedies.iter().find_map(|remedy| match remedy {
            Remedy::Statements { server, statements, safe_online: true } => {
                Some((server, &statements[..]))
            }
            _ => None,
        })
    }
}

/// What mends a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Statements, one after the other in one session.
    Statements {
        server: Arc<str>,
        statements: Vec<Statement>,
        /// Nothing is lost by them, and nobody is disturbed who uses the servers.
        safe_online: bool,
    },
    /// What one server prints is run on another: accounts, whose hashes nobody else is to see.
    Copied(Box<Copied>),
    /// A label that the container is to have, or several with blanks between them: it must be made anew
    /// for that.
    Label {
        server: Arc<str>,
        label: String,
    },
    /// An option that the server is to be started with.
    Option {
        server: Arc<str>,
        option: String,
    },
    /// A key of `proxy.toml`.
    Setting {
        setting: String,
    },
    /// Something to type.
    Command {
        command: String,
    },
    Advice {
        advice: String,
    },
}

/// Statements of which some are printed by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Where these print statements.
    pub from: Arc<str>,
    pub printed_by: Vec<Statement>,
    /// Where those are run, and what is run before and after them in the same session.
    pub server: Arc<str>,
    pub before: Vec<Statement>,
    pub after: Vec<Statement>,
}

impl Remedy {
    /// Statements that `--fix` may run, if they are of the kind that it runs.
    pub fn safe(server: &Arc<str>, statements: Vec<Statement>) -> Self {
        let safe_online = statements.iter().all(fix::is_harmless);
        Remedy::Statements { server: server.clone(), statements, safe_online }
    }

    /// Statements that somebody must decide on.
    pub fn deliberate(server: &Arc<str>, statements: Vec<Statement>) -> Self {
        Remedy::Statements { server: server.clone(), statements, safe_online: false }
    }

    pub fn label(server: &Arc<str>, label: String) -> Self {
        Remedy::Label { server: server.clone(), label }
    }

    pub fn option(server: &Arc<str>, option: impl Into<String>) -> Self {
        Remedy::Option { server: server.clone(), option: option.into() }
    }

    pub fn setting(setting: impl Into<String>) -> Self {
        Remedy::Setting { setting: setting.into() }
    }

    pub fn command(command: impl Into<String>) -> Self {
        Remedy::Command { command: command.into() }
    }

    pub fn setup() -> Self {
        Remedy::command("rwproxy setup")
    }

    /// The server's own data are lost, and it gets the primary's.
    pub fn copy_anew(server: &Arc<str>) -> Self {
        Remedy::command(format!("rwproxy setup --overwrite {server}"))
    }

    pub fn advice(advice: impl Into<String>) -> Self {
        Remedy::Advice { advice: advice.into() }
    }
}

fn in_line(statements: &[Statement]) -> String {
    let all: Vec<String> = statements.iter().map(|it| format!("{};", it.shown)).collect();
    all.join(" ")
}

/// In one line.
impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remedy::Statements { server, statements, safe_online } => {
                write!(f, "on {server}: {}", in_line(statements))?;
                if *safe_online { f.write_str(" (--fix does it)") } else { Ok(()) }
            }
            Remedy::Copied(copied) => {
                let Copied { from, printed_by, server, before, after } = &**copied;
                write!(f, "on {from}: {} then on {server}: ", in_line(printed_by))?;
                write!(f, "{} what was printed;", in_line(before))?;
                if after.is_empty() { Ok(()) } else { write!(f, " {}", in_line(after)) }
            }
            Remedy::Label { server, label } => {
                let noun = if label.contains(' ') { "labels" } else { "label" };
                write!(f, "make the container of {server} anew with the {noun} {label}")
            }
            Remedy::Option { server, option } => write!(f, "start {server} with {option}"),
            Remedy::Setting { setting } => write!(f, "in proxy.toml: {setting}"),
            Remedy::Command { command } => write!(f, "type: {command}"),
            Remedy::Advice { advice } => f.write_str(advice),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static EXAMPLE: Check = Check { name: "example", why: "It matters." };

    #[test]
    fn remedies_in_words() {
        let server: Arc<str> = "db-1".into();
        let secret =
            Statement { sql: "SET GLOBAL x = 'geheim'".to_owned(), shown: "SET x".to_owned() };
        let finding = EXAMPLE
            .of(&server, Severity::Warning, "x is 1".to_owned())
            .mended_by(Remedy::deliberate(&server, vec!["STOP REPLICA".into()]))
            .mended_by(Remedy::safe(&server, vec![secret, "SET GLOBAL y = 1".into()]))
            .mended_by(Remedy::option(&server, "--x=1"))
            .mended_by(Remedy::Copied(Box::new(Copied {
                from: "db-2".into(),
                printed_by: vec!["SHOW A".into(), "SHOW B".into()],
                server: server.clone(),
                before: vec!["OPEN".into()],
                after: vec!["CLOSE".into()],
            })));
        let words: Vec<String> = finding.remedies.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "on db-1: STOP REPLICA;",
                "on db-1: SET x; SET GLOBAL y = 1; (--fix does it)",
                "start db-1 with --x=1",
                "on db-2: SHOW A; SHOW B; then on db-1: OPEN; what was printed; CLOSE;",
            ]
        );
        let repair = finding.repair().expect("there is one that is safe");
        assert_eq!(repair.1[1].sql, "SET GLOBAL y = 1");
    }
}
