//! What `rwproxy explain` and EXPLAIN ROUTE say of a statement's text.

use std::fmt::{self, Display};

use super::deep::{Name, Verdict, analyse};
use super::hint::HintTarget;
use super::{Destination, Dialect, Effects, Statement, classify, digest};

/// A statement with everything that its text tells about its route.
#[derive(Debug, Clone)]
pub struct Explanation {
    pub statement: Statement,
    pub verdict: Verdict,
    /// The literal-free shape.
    pub shape: String,
    /// The backend that a hint names.
    pub backend: Option<String>,
}

/// Explains where a statement may run and why, by its text alone: sessions, consistency and the
/// state of the servers come on top.
pub fn explain(sql: &[u8], dialect: Dialect) -> Explanation {
    let statement = classify(sql, dialect);
    let backend = match statement.hints.target {
        Some(HintTarget::Backend(name)) => Some(String::from_utf8_lossy(name.of(sql)).into_owned()),
        _ => None,
    };
    let shape = digest::text(sql, dialect, 1000);
    Explanation { statement, verdict: analyse(sql, dialect), shape, backend }
}

/// What an effect means for the session, for people.
const EFFECTS: &[(Effects, &str)] = &[
    (Effects::TEMPORARY_TABLE, "makes a temporary table"),
    (Effects::SETS_USER_VARIABLE, "assigns a user variable"),
    (Effects::READS_USER_VARIABLE, "reads a user variable"),
    (Effects::NAMED_LOCK, "may take a named lock"),
    (Effects::RELEASES_LOCK, "may free a named lock"),
    (Effects::TABLE_LOCK, "locks tables"),
    (Effects::GLOBAL_LOCK, "locks tables, or the whole server"),
    (Effects::INSTANCE_LOCK, "locks the server for a backup"),
    (Effects::BACKUP_LOCK, "locks a table for a backup"),
    (Effects::BACKUP_STAGE, "begins a stage of a backup"),
    (Effects::HANDLER, "opens a handler"),
    (Effects::TEXT_PREPARE, "prepares a statement by text"),
    (Effects::UNKNOWN, "may change anything of the session"),
    (Effects::CALLS_ROUTINE, "calls a function that is not built in"),
    (Effects::FOUND_ROWS, "remembers the number of rows found"),
    (Effects::XA, "begins a distributed transaction"),
    (Effects::SETS_VARIABLE, "sets variables"),
    (Effects::SETS_ROLE, "sets the role"),
    (Effects::SETS_TRANSACTION, "sets transaction characteristics"),
    (Effects::IMPLICIT_COMMIT, "ends an open transaction"),
    (Effects::ACCOUNTS, "changes accounts"),
    (Effects::READS_LAST_INSERT_ID, "reads the last insert id"),
    (Effects::READS_DIAGNOSTICS, "asks about the previous statement"),
];

impl Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let destination = match self.verdict.destination {
            Destination::Replica => "a replica",
            Destination::Primary => "the primary",
            Destination::Previous => "the connection of the previous statement",
        };
        writeln!(f, "destination: {destination}")?;
        writeln!(f, "rule:        {}", self.verdict.reason.name())?;
        writeln!(f, "because:     {}", self.verdict.reason.sentence())?;
        if self.statement.open {
            writeln!(f, "note:        The first time it runs on the primary, until it is parsed.")?;
        }
        if let Some(backend) = &self.backend {
            writeln!(f, "hint:        backend {backend}")?;
        }
        if let Some(lag) = self.statement.hints.max_lag {
            writeln!(f, "hint:        no replica with more lag than {} ms", lag.as_millis())?;
        }
        if self.statement.hints.unknown {
            writeln!(f, "hint:        there is a hint that rwproxy does not know")?;
        }
        for (effect, meaning) in EFFECTS {
            if self.statement.effects.contains(*effect) {
                writeln!(f, "effect:      {meaning}")?;
            }
        }
        match &self.verdict.findings {
            Ok(findings) => {
                list(f, "tables:     ", &findings.tables)?;
                list(f, "functions:  ", &findings.functions)?;
            }
            Err(why) => writeln!(f, "tables:      not listed: {why}")?,
        }
        writeln!(f, "shape:       {}", self.shape)?;
        write!(f, "digest:      {:016x}", self.statement.digest)
    }
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, names: &[Name]) -> fmt::Result {
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    writeln!(f, "{title} {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_explained() {
        let sql = b"select MAX(a) from shop.orders where b in (1, 2)";
        let dialect = Dialect::default();
        let expected = format!(
            "destination: a replica\n\
             rule:        read\n\
             because:     Only reads, and every server that has the data gives the same answer.\n\
             tables:      shop.orders\n\
             functions:   MAX\n\
             shape:       select MAX(a) from shop.orders where b in (?, ...)\n\
             digest:      {:016x}",
            classify(sql, dialect).digest
        );
        assert_eq!(explain(sql, dialect).to_string(), expected);
    }

    #[test]
    fn effects_and_hints_are_told() {
        let sql = b"/* rwproxy: backend=db2, max_lag=1s, nonsense */ SELECT GET_LOCK('a', @b)";
        let text = explain(sql, Dialect::default()).to_string();
        for line in [
            "destination: the primary",
            "rule:        lock_function",
            "hint:        backend db2",
            "hint:        no replica with more lag than 1000 ms",
            "hint:        there is a hint that rwproxy does not know",
            "effect:      may take a named lock",
            "effect:      reads a user variable",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in:\n{text}");
        }
        assert!(!text.contains("'a'"), "literals are not repeated");
    }

    #[test]
    fn what_is_not_parsed_is_said() {
        let text = explain(b"HANDLER t OPEN", Dialect::default()).to_string();
        assert!(text.contains("tables:      not listed: "), "{text}");
    }
}
