//! Which of the texts that PREPARE has prepared are KILLs: whom they end a server finds out, and what
//! of it the text tells.

use super::plan::KillScope;
use super::query;
use super::user_variables::{self, UserVariables};
use crate::sql::text_statement::{Source, TextStatement, parse_text_statement};
use crate::sql::{Dialect, classify};

/// Most statements of one session that are remembered.
const MOST: usize = 64;

/// What is known of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextKill {
    /// It is a KILL.
    Kills(KillScope),
    /// It was in this user variable.
    In(String),
}

/// By the statements' names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextKills(Vec<(Vec<u8>, TextKill)>);

impl TextKills {
    pub fn find(&self, name: &[u8]) -> Option<&TextKill> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, kill)| kill)
    }

    /// A statement of this name was prepared anew.
    pub fn note(&mut self, name: &[u8], kill: Option<TextKill>) {
        self.0.retain(|(known, _)| known != name);
        if let Some(kill) = kill.filter(|_| self.0.len() < MOST) {
            self.0.push((name.to_vec(), kill));
        }
    }
}

/// What a PREPARE, if the statement is one, prepares by this name.
pub(super) fn prepared(
    sql: &[u8],
    dialect: Dialect,
    variables: &UserVariables,
) -> Option<(Vec<u8>, Option<TextKill>)> {
    match parse_text_statement(sql, dialect)? {
        TextStatement::Prepare { name, source } => Some((name, of(source, dialect, variables))),
        _ => None,
    }
}

/// What an EXECUTE, if the statement is one, kills.
pub(super) fn executed(
    sql: &[u8],
    dialect: Dialect,
    variables: &UserVariables,
    known: &TextKills,
) -> Option<TextKill> {
    match parse_text_statement(sql, dialect)? {
        TextStatement::Execute { name } => known.find(&name).cloned(),
        TextStatement::Immediate { source } => of(source, dialect, variables),
        TextStatement::Prepare { .. } => None,
    }
}

fn of(source: Source, dialect: Dialect, variables: &UserVariables) -> Option<TextKill> {
    let kills = |text: &[u8]| {
        let (scope, _) = query::kill(classify(text, dialect).kind, text, dialect)?;
        Some(TextKill::Kills(scope))
    };
    match source {
        Source::Literal(text) => kills(&text),
        Source::Variable(name) => {
            let name = user_variables::name(&name)?;
            match variables.text(name) {
                Some(text) => kills(text.as_bytes()),
                None => Some(TextKill::In(name.to_owned())),
            }
        }
        Source::Expression => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::user_variables::{Assigned, Unknown};
    use super::*;

    #[test]
    fn texts_that_kill() {
        let (mut variables, mut unknown) = (UserVariables::default(), Unknown::default());
        let literal = Assigned::Literal("'KILL QUERY ?'".into());
        unknown.assign(&mut variables, "known", &literal);
        let dialect = Dialect::default();
        let mut known = TextKills::default();
        let statement = Some(TextKill::Kills(KillScope::Statement));
        let connection = Some(TextKill::Kills(KillScope::Connection));
        let inside = Some(TextKill::In("other".into()));
        for (source, expected) in [
            ("'KILL @id'", connection),
            ("'KILL QUERY 5'", statement.clone()),
            ("@known", statement.clone()),
            ("@other", inside),
            ("'SELECT 1'", None),
            ("CONCAT('KILL ', 5)", None),
        ] {
            let sql = format!("PREPARE s FROM {source}");
            let (name, kill) = prepared(sql.as_bytes(), dialect, &variables).unwrap();
            known.note(&name, kill);
            let execute = |sql: &[u8]| executed(sql, dialect, &variables, &known);
            assert_eq!(execute(b"EXECUTE S USING @a"), expected, "{source}");
            assert_eq!(execute(b"EXECUTE t"), None);
            let immediate = format!("EXECUTE IMMEDIATE {source}");
            assert_eq!(execute(immediate.as_bytes()), expected, "{source}");
        }
        assert_eq!(executed(b"SELECT 1", dialect, &variables, &known), None);
    }
}
