//! What `--fix` does by itself, and in which order. Pure.
//!
//! A plan is shown and agreed to as a whole, and carried out one repair at a time: after each of them
//! everything is looked at and planned anew, since a repair changes what others would do. Nothing of
//! an old look is ever run.

use std::sync::Arc;

use super::finding::{Finding, Severity};
use super::rules;
use crate::administration::Statement;

/// More repairs than one run makes.
const MOST: usize = 100;

/// The statements that mend a finding while everything is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    pub check: &'static str,
    pub server: Arc<str>,
    /// What was seen.
    pub evidence: String,
    /// In one session.
    pub statements: Vec<Statement>,
}

impl Repair {
    /// Whether what it mends is still found.
    pub fn is_wanted(&self, findings: &[Finding]) -> bool {
        findings
            .iter()
            .any(|it| it.check.name == self.check && it.server.as_ref() == Some(&self.server))
    }

    fn covers(&self, other: &Repair) -> bool {
        self.server == other.server
            && other.statements.iter().all(|it| self.statements.contains(it))
    }

    fn sets(&self, variable: &str) -> bool {
        self.statements.iter().filter_map(setting).any(|(name, _)| name == variable)
    }
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing is left that is safe and was not tried.
    Nothing,
    /// Nobody has agreed to these.
    Ask(Vec<Repair>),
    Run(Repair),
}

/// What was agreed to, and what was run.
#[derive(Debug, Default)]
pub struct Course {
    agreed: Vec<Repair>,
    begun: Vec<Repair>,
}

impl Course {
    /// By a look that is fresh.
    pub fn next(&self, findings: &[Finding]) -> Next {
        let is_covered =
            |by: &[Repair], repair: &Repair| by.iter().any(|other| other.covers(repair));
        let mut left = plan(findings);
        left.retain(|repair| !is_covered(&self.begun, repair));
        match left.first() {
            Some(first) if self.begun.len() < MOST => match is_covered(&self.agreed, first) {
                true => Next::Run(left.swap_remove(0)),
                false => {
                    left.retain(|repair| !is_covered(&self.agreed, repair));
                    Next::Ask(left)
                }
            },
            _ => Next::Nothing,
        }
    }

    pub fn agree(&mut self, repairs: Vec<Repair>) {
        self.agreed.extend(repairs);
    }

    /// Whether it is done or not: it is not tried again.
    pub fn begin(&mut self, repair: Repair) {
        self.begun.push(repair);
    }
}

/// What one look says can be done, the worst first. What keeps settings as they are comes last, and
/// leaves to the others what they are about to set: else it would keep a value that is to be mended.
fn plan(findings: &[Finding]) -> Vec<Repair> {
    let mut found: Vec<(bool, Severity, Repair)> = findings.iter().filter_map(repair).collect();
    found.sort_by_key(|(keeps, severity, _)| (*keeps, std::cmp::Reverse(*severity)));
    let mut planned: Vec<Repair> = Vec::new();
    for (keeps, _, mut repair) in found {
        if keeps {
            repair.statements.retain(|statement| {
                let variable = setting(statement).map(|(name, _)| name);
                !planned.iter().any(|other| {
                    other.server == repair.server && variable.is_some_and(|it| other.sets(it))
                })
            });
        }
        if !repair.statements.is_empty() && !planned.iter().any(|other| other.covers(&repair)) {
            planned.push(repair);
        }
    }
    planned
}

/// Whether it keeps what is set, how bad it is, and what mends it.
fn repair(finding: &Finding) -> Option<(bool, Severity, Repair)> {
    let (server, statements) = finding.repair()?;
    let repair = Repair {
        check: finding.check.name,
        server: server.clone(),
        evidence: finding.evidence.clone(),
        statements: statements.to_vec(),
    };
    Some((*finding.check == rules::FORGOTTEN, finding.severity, repair))
}

/// The global variable that a statement sets, and the value.
fn setting(statement: &Statement) -> Option<(&str, &str)> {
    let (scope, rest) = statement.sql.strip_prefix("SET ")?.split_once(' ')?;
    let (name, value) = rest.split_once('=')?;
    matches!(scope, "PERSIST" | "GLOBAL").then_some((name.trim(), value.trim().trim_matches('\'')))
}

/// Whether a statement is of those that may be run without anybody deciding on it: it neither opens a
/// server to writers, nor touches data or GTIDs, nor ends anything. Whatever a rule says.
pub fn is_harmless(statement: &Statement) -> bool {
    if let Some((name, value)) = setting(statement) {
        return match name {
            "read_only"
            | "super_read_only"
            | "gtid_mode"
            | "enforce_gtid_consistency"
            | "gtid_strict_mode" => matches!(value, "ON" | "1"),
            "sql_replica_skip_counter" | "sql_slave_skip_counter" => false,
            // Positions among them.
            _ => !name.starts_with("gtid_"),
        };
    }
    let words: Vec<&str> = statement.sql.split(' ').collect();
    match words[..] {
        ["START" | "STOP", "REPLICA" | "SLAVE"] | ["RESET", "REPLICA" | "SLAVE"] => true,
        ["START" | "STOP", "REPLICA" | "SLAVE", "IO_THREAD" | "SQL_THREAD"] => true,
        ["CHANGE", "REPLICATION", "SOURCE", "TO", ..] | ["CHANGE", "MASTER", "TO", ..] => {
            // Another source, or another place in its log.
            let moves =
                ["_HOST", "_PORT", "_USER", "_PASSWORD", "_LOG_", "_DELAY", " = 0", " = no"];
            !moves.iter().any(|word| statement.sql.contains(word))
        }
        ["INSTALL", "PLUGIN", _, "SONAME", _] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::{Check, Remedy};

    static SYNC: Check = Check { name: "sync-binlog", why: "" };
    static WRITABLE: Check = Check { name: "replica-writable", why: "" };

    fn finding(check: &'static Check, server: &str, severity: Severity, sql: &[&str]) -> Finding {
        let server = server.into();
        let told = sql.iter().map(|sql| Statement::from(*sql)).collect();
        check.of(&server, severity, String::new()).mended_by(Remedy::safe(&server, told))
    }

    fn sync(server: &str) -> Finding {
        finding(&SYNC, server, Severity::Notice, &["SET PERSIST sync_binlog = 1"])
    }

    fn forgotten(server: &str, sql: &[&str]) -> Finding {
        finding(&rules::FORGOTTEN, server, Severity::Warning, sql)
    }

    fn shown(repairs: &[Repair]) -> Vec<String> {
        let statements = |it: &Repair| {
            let all: Vec<&str> = it.statements.iter().map(|it| &*it.shown).collect();
            all.join("; ")
        };
        repairs.iter().map(|it| format!("{}: {}", it.server, statements(it))).collect()
    }

    fn asked(course: &Course, findings: &[Finding]) -> Vec<Repair> {
        match course.next(findings) {
            Next::Ask(repairs) => repairs,
            other => panic!("{other:?}"),
        }
    }

    fn run(course: &mut Course, findings: &[Finding]) -> String {
        let Next::Run(repair) = course.next(findings) else { panic!("nothing to run") };
        course.begin(repair.clone());
        shown(&[repair]).remove(0)
    }

    const OLD: &str = "SET PERSIST sync_binlog = 0";
    const KEPT: &str = "SET PERSIST max_connections = 200";

    #[test]
    fn what_is_mended_is_not_kept_as_it_was() {
        let findings = [
            forgotten("a", &[OLD, KEPT]),
            sync("a"),
            // Of another server it is another value.
            forgotten("b", &[OLD]),
            finding(&WRITABLE, "b", Severity::Error, &["SET PERSIST super_read_only = ON"]),
        ];
        assert_eq!(
            shown(&plan(&findings)),
            [
                "b: SET PERSIST super_read_only = ON",
                "a: SET PERSIST sync_binlog = 1",
                "a: SET PERSIST max_connections = 200",
                "b: SET PERSIST sync_binlog = 0",
            ]
        );
    }

    #[test]
    fn each_is_agreed_to_and_run_once() {
        let mut course = Course::default();
        let all = [sync("a"), sync("b"), forgotten("a", &[OLD, KEPT])];
        let plan = asked(&course, &all);
        assert_eq!(plan.len(), 3);
        course.agree(plan);
        assert_eq!(run(&mut course, &all), "a: SET PERSIST sync_binlog = 1");
        // It has not helped: the others are done all the same, and it is not done again.
        assert_eq!(run(&mut course, &all), "b: SET PERSIST sync_binlog = 1");
        assert_eq!(run(&mut course, &all), format!("a: {KEPT}"));
        assert_eq!(course.next(&all), Next::Nothing);
    }

    #[test]
    fn what_was_not_shown_is_asked_about() {
        let mut course = Course::default();
        let first = [forgotten("a", &[OLD, KEPT])];
        let plan = asked(&course, &first);
        course.agree(plan);
        // Less than what was agreed to is agreed to.
        assert!(matches!(course.next(&[forgotten("a", &[KEPT])]), Next::Run(_)));
        // Another value, or server, is not.
        let other = [forgotten("a", &["SET PERSIST max_connections = 300"]), first[0].clone()];
        assert_eq!(shown(&asked(&course, &other)), ["a: SET PERSIST max_connections = 300"]);
        assert_eq!(asked(&course, &[forgotten("b", &[KEPT])]).len(), 1);
        assert_eq!(course.next(&[]), Next::Nothing);
    }

    #[test]
    fn it_ends() {
        let mut course = Course::default();
        for number in 0..MOST {
            let sql = format!("SET GLOBAL x = {number}");
            let findings = [finding(&SYNC, "a", Severity::Error, &[&sql])];
            course.agree(asked(&course, &findings));
            run(&mut course, &findings);
        }
        assert_eq!(course.next(&[sync("a")]), Next::Nothing);
    }

    #[test]
    fn what_needs_somebody_to_decide_is_never_planned() {
        let table = [
            ("SET PERSIST super_read_only = ON", true),
            ("SET GLOBAL read_only = OFF", false),
            ("SET PERSIST super_read_only = 'OFF'", false),
            ("SET PERSIST gtid_mode = 'ON'", true),
            ("SET PERSIST gtid_mode = 'OFF_PERMISSIVE'", false),
            ("SET GLOBAL gtid_strict_mode = 0", false),
            ("SET GLOBAL gtid_purged = 'a:1'", false),
            ("SET GLOBAL gtid_slave_pos = '0-1-1'", false),
            ("SET GLOBAL sql_slave_skip_counter = 1", false),
            ("SET PERSIST sync_binlog = 1", true),
            ("SET SESSION gtid_next = 'a:1'", false),
            ("START REPLICA IO_THREAD", true),
            ("START REPLICA UNTIL SQL_AFTER_GTIDS = 'a:1'", false),
            ("STOP SLAVE", true),
            ("RESET REPLICA", true),
            ("RESET REPLICA ALL", false),
            ("RESET MASTER", false),
            ("CHANGE MASTER TO MASTER_USE_GTID = slave_pos", true),
            ("CHANGE MASTER TO MASTER_USE_GTID = no", false),
            ("CHANGE REPLICATION SOURCE TO GET_SOURCE_PUBLIC_KEY = 1", true),
            ("CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'x'", false),
            ("CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 0", false),
            ("INSTALL PLUGIN rpl_semi_sync_replica SONAME 'semisync_replica.so'", true),
            ("DROP DATABASE app", false),
            ("RESTART", false),
            ("COMMIT", false),
        ];
        for (sql, is) in table {
            assert_eq!(is_harmless(&sql.into()), is, "{sql}");
            let planned = plan(&[finding(&SYNC, "a", Severity::Error, &["STOP SLAVE", sql])]);
            assert_eq!(planned.len(), usize::from(is), "{sql}");
        }
    }
}
