//! `SELECT CONNECTION_ID()` alone, which the proxy answers with its own connection id.

use std::borrow::Cow;

use super::Dialect;
use super::database::unquoted;
use super::keywords::Keyword;
use super::lexer::{Lexer, Token};
use super::set::string_value;
use super::words::find;

/// The name of the result's only column when the statement is `SELECT CONNECTION_ID()`, perhaps
/// with an alias, and nothing else; None for every other statement.
pub fn bare_connection_id(sql: &[u8], dialect: Dialect) -> Option<Cow<'_, [u8]>> {
    let mut lexer = Lexer::new(sql, dialect);
    if !lexer.accept_word("select") || !lexer.accept_word("connection_id") {
        return None;
    }
    let start = lexer.began();
    if !lexer.accept(Token::Open) || !lexer.accept(Token::Close) {
        return None;
    }
    let expression = Cow::Borrowed(&sql[start..lexer.position()]);
    let explicit = lexer.accept_word("as");
    if !explicit && lexer.accept_end() {
        return lexer.doubt().is_none().then_some(expression);
    }
    let alias = lexer.next_significant();
    let label = match alias.token {
        // `SELECT CONNECTION_ID() FROM t` has no alias; few words may stand here unquoted.
        Token::Word if explicit || !is_clause(lexer.text(alias)) => {
            Cow::Borrowed(lexer.text(alias))
        }
        Token::String if lexer.began() == alias.start => {
            Cow::Owned(string_value(lexer.text(alias), dialect)?)
        }
        Token::Identifier => unquoted(lexer.text(alias), sql.get(lexer.began()).copied()),
        _ => return None,
    };
    (lexer.accept_end() && lexer.doubt().is_none()).then_some(label)
}

fn is_clause(word: &[u8]) -> bool {
    find(word).is_some_and(|entry| entry.keyword != Keyword::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bare_question_is_ours() {
        let table: [(&str, Option<&str>); 19] = [
            ("SELECT CONNECTION_ID()", Some("CONNECTION_ID()")),
            ("select connection_id( ) ;", Some("connection_id( )")),
            ("/* x */ SELECT CONNECTION_ID() -- y", Some("CONNECTION_ID()")),
            ("SELECT CONNECTION_ID() AS id", Some("id")),
            ("SELECT CONNECTION_ID() id", Some("id")),
            ("SELECT CONNECTION_ID() AS `my``id`", Some("my`id")),
            ("SELECT CONNECTION_ID() AS 'id'", Some("id")),
            ("SELECT CONNECTION_ID() \"the 'id'\"", Some("the 'id'")),
            ("SELECT CONNECTION_ID() AS 'a''b'", Some("a'b")),
            ("SELECT CONNECTION_ID() AS 'a' 'b'", None),
            ("SELECT CONNECTION_ID() AS N'id'", None),
            ("SELECT CONNECTION_ID() AS", None),
            ("SELECT CONNECTION_ID() FROM t", None),
            ("SELECT CONNECTION_ID() FOR UPDATE", None),
            ("SELECT CONNECTION_ID(), 1", None),
            ("SELECT CONNECTION_ID() + 1", None),
            ("SELECT CONNECTION_ID() INTO @a", None),
            ("SELECT CONNECTION_ID(); SELECT 1", None),
            ("SELECT 1", None),
        ];
        for (sql, expected) in table {
            let found = bare_connection_id(sql.as_bytes(), Dialect::default());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{sql}");
        }
    }
}
