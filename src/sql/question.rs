//! Statements that ask for one thing that the proxy knows better than the server they run on:
//! the connection's id, and what is left of the statement before.

use super::keywords::Keyword;
use super::lexer::{Lexer, Token};
use super::words::find;
use super::{Dialect, lexer::VariableScope};

/// What such a statement asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// `SELECT CONNECTION_ID()`.
    ConnectionId,
    /// `SELECT ROW_COUNT()`.
    RowCount,
    /// `SELECT FOUND_ROWS()`.
    FoundRows,
    /// `SELECT @@warning_count`, `SHOW COUNT(*) WARNINGS`.
    WarningCount,
    /// `SELECT @@error_count`, `SHOW COUNT(*) ERRORS`.
    ErrorCount,
    /// `SHOW WARNINGS`.
    Warnings(Rows),
    /// `SHOW ERRORS`.
    Errors(Rows),
}

/// `LIMIT`: which rows of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    pub offset: u64,
    pub count: u64,
}

impl Rows {
    pub const ALL: Rows = Rows { offset: 0, count: u64::MAX };
}

/// What the statement asks for, if it is one of these questions, perhaps with an alias, and
/// nothing else.
pub fn bare_question(sql: &[u8], dialect: Dialect) -> Option<Question> {
    let mut lexer = Lexer::new(sql, dialect);
    let question = if lexer.accept_word("select") {
        let question = selected(&mut lexer)?;
        alias(&mut lexer)?;
        question
    } else if lexer.accept_word("show") {
        shown(&mut lexer)?
    } else {
        return None;
    };
    (lexer.accept_end() && lexer.doubt().is_none()).then_some(question)
}

fn selected(lexer: &mut Lexer<'_>) -> Option<Question> {
    const CALLS: [(&str, Question); 3] = [
        ("connection_id", Question::ConnectionId),
        ("row_count", Question::RowCount),
        ("found_rows", Question::FoundRows),
    ];
    for (name, question) in CALLS {
        if lexer.accept_word(name) {
            let called = lexer.accept(Token::Open) && lexer.accept(Token::Close);
            return called.then_some(question);
        }
    }
    let variable = lexer.next_significant();
    let Token::SystemVariable(VariableScope::Unspecified | VariableScope::Session) = variable.token
    else {
        return None;
    };
    let name = lexer.text(variable);
    if name.eq_ignore_ascii_case(b"warning_count") {
        Some(Question::WarningCount)
    } else if name.eq_ignore_ascii_case(b"error_count") {
        Some(Question::ErrorCount)
    } else {
        None
    }
}

/// An alias, if there is one; `None` when something else follows.
fn alias(lexer: &mut Lexer<'_>) -> Option<()> {
    let explicit = lexer.accept_word("as");
    let mut ahead = *lexer;
    if !explicit && ahead.accept_end() {
        return Some(());
    }
    let alias = lexer.next_significant();
    match alias.token {
        // `SELECT ROW_COUNT() FROM t` has no alias; few words may stand here unquoted.
        Token::Word => (explicit || !is_clause(lexer.text(alias))).then_some(()),
        Token::String | Token::Identifier => Some(()),
        _ => None,
    }
}

fn is_clause(word: &[u8]) -> bool {
    find(word).is_some_and(|entry| entry.keyword != Keyword::None)
}

fn shown(lexer: &mut Lexer<'_>) -> Option<Question> {
    if lexer.accept_word("count") {
        let all = lexer.accept(Token::Open)
            && lexer.accept(Token::Operator(b'*'))
            && lexer.accept(Token::Close);
        return match () {
            () if !all => None,
            () if lexer.accept_word("warnings") => Some(Question::WarningCount),
            () if lexer.accept_word("errors") => Some(Question::ErrorCount),
            () => None,
        };
    }
    let question = match () {
        () if lexer.accept_word("warnings") => Question::Warnings,
        () if lexer.accept_word("errors") => Question::Errors,
        () => return None,
    };
    if !lexer.accept_word("limit") {
        return Some(question(Rows::ALL));
    }
    let first = number(lexer)?;
    if lexer.accept(Token::Comma) {
        return Some(question(Rows { offset: first, count: number(lexer)? }));
    }
    let offset = if lexer.accept_word("offset") { number(lexer)? } else { 0 };
    Some(question(Rows { offset, count: first }))
}

fn number(lexer: &mut Lexer<'_>) -> Option<u64> {
    let lexeme = lexer.next_significant();
    match lexeme.token {
        Token::Number => std::str::from_utf8(lexer.text(lexeme)).ok()?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_questions_are_ours() {
        let id = Some(Question::ConnectionId);
        let rows = |offset, count| Some(Question::Warnings(Rows { offset, count }));
        let table = [
            ("SELECT CONNECTION_ID()", id),
            ("select connection_id( ) ;", id),
            ("/* x */ SELECT CONNECTION_ID() -- y", id),
            ("SELECT CONNECTION_ID() AS id", id),
            ("SELECT CONNECTION_ID() id", id),
            ("SELECT CONNECTION_ID() AS `my``id`", id),
            ("SELECT CONNECTION_ID() AS 'id'", id),
            ("SELECT CONNECTION_ID() AS 'a' 'b'", None),
            ("SELECT CONNECTION_ID() AS", None),
            ("SELECT CONNECTION_ID() FROM t", None),
            ("SELECT CONNECTION_ID() FOR UPDATE", None),
            ("SELECT CONNECTION_ID(), 1", None),
            ("SELECT CONNECTION_ID() + 1", None),
            ("SELECT CONNECTION_ID() INTO @a", None),
            ("SELECT CONNECTION_ID(); SELECT 1", None),
            ("SELECT connection_id", None),
            ("SELECT ROW_COUNT()", Some(Question::RowCount)),
            ("SELECT FOUND_ROWS() n", Some(Question::FoundRows)),
            ("SELECT FOUND_ROWS() WHERE 1", None),
            ("SELECT @@warning_count", Some(Question::WarningCount)),
            ("SELECT @@SESSION.error_count", Some(Question::ErrorCount)),
            ("SELECT @@warning_count, @@error_count", None),
            ("SELECT @@global.warning_count", None),
            ("SHOW COUNT(*) WARNINGS", Some(Question::WarningCount)),
            ("SHOW COUNT ( * ) ERRORS;", Some(Question::ErrorCount)),
            ("SHOW COUNT(1) ERRORS", None),
            ("SHOW WARNINGS", Some(Question::Warnings(Rows::ALL))),
            ("SHOW ERRORS", Some(Question::Errors(Rows::ALL))),
            ("SHOW WARNINGS LIMIT 3", rows(0, 3)),
            ("SHOW WARNINGS LIMIT 2, 3", rows(2, 3)),
            ("SHOW WARNINGS LIMIT 3 OFFSET 2", rows(2, 3)),
            ("SHOW WARNINGS LIMIT x", None),
            ("SHOW WARNINGS LIMIT", None),
            ("SELECT 1", None),
        ];
        for (sql, expected) in table {
            assert_eq!(bare_question(sql.as_bytes(), Dialect::default()), expected, "{sql}");
        }
    }
}
