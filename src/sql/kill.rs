//! KILL in detail.

use super::Dialect;
use super::lexer::{Lexeme, Lexer, Token};
use super::set::string_value;

/// What a KILL statement ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// MariaDB's SOFT leaves alone what may not be interrupted; HARD is the default.
    pub soft: bool,
    /// The statement (KILL QUERY) rather than the connection.
    pub statement_only: bool,
    pub target: KillTarget,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KillTarget {
    Connection(u64),
    /// MariaDB's KILL QUERY ID: the number of a statement, not of a connection.
    QueryId(u64),
    /// MariaDB's KILL USER: all connections of an account.
    User {
        name: Vec<u8>,
        host: Option<Vec<u8>>,
    },
    /// The number is an expression, whose value only a server knows.
    Expression,
}

/// Reads a KILL statement. None when it is none, or not understood.
pub fn parse_kill(sql: &[u8], dialect: Dialect) -> Option<Kill> {
    let mut lexer = Lexer::new(sql, dialect);
    if !lexer.accept_word("kill") {
        return None;
    }
    let soft = lexer.accept_word("soft");
    if !soft {
        lexer.accept_word("hard");
    }
    let statement_only = lexer.accept_word("query");
    if !statement_only {
        lexer.accept_word("connection");
    }
    let target = if statement_only && lexer.accept_word("id") {
        KillTarget::QueryId(number(&mut lexer)?)
    } else if lexer.accept_word("user") {
        user(&mut lexer, dialect)?
    } else {
        let before = lexer;
        match number(&mut lexer).filter(|_| {
            let mut ahead = lexer;
            ahead.accept_end()
        }) {
            Some(id) => KillTarget::Connection(id),
            None => {
                lexer = before;
                skip_expression(&mut lexer)?;
                KillTarget::Expression
            }
        }
    };
    (lexer.accept_end() && lexer.doubt().is_none()).then_some(Kill { soft, statement_only, target })
}

/// Passes everything up to the end of the statement; None when there is nothing.
fn skip_expression(lexer: &mut Lexer<'_>) -> Option<()> {
    let mut found = None;
    loop {
        let before = *lexer;
        if matches!(lexer.next_significant().token, Token::End | Token::Semicolon) {
            *lexer = before;
            return found;
        }
        found = Some(());
    }
}

fn number(lexer: &mut Lexer<'_>) -> Option<u64> {
    let lexeme = lexer.next_significant();
    if lexeme.token != Token::Number {
        return None;
    }
    std::str::from_utf8(lexer.text(lexeme)).ok()?.parse().ok()
}

fn user(lexer: &mut Lexer<'_>, dialect: Dialect) -> Option<KillTarget> {
    let text = |lexer: &Lexer<'_>, lexeme: Lexeme| match lexeme.token {
        Token::Word | Token::Identifier | Token::UserVariable => Some(lexer.text(lexeme).to_vec()),
        Token::String => string_value(lexer.text(lexeme), dialect),
        _ => None,
    };
    let first = lexer.next_significant();
    let name = text(lexer, first)?;
    let before = *lexer;
    let second = lexer.next_significant();
    let host = match second.token {
        Token::UserVariable => Some(text(lexer, second)?),
        _ => {
            *lexer = before;
            None
        }
    };
    Some(KillTarget::User { name, host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kill_statements() {
        let kill = |soft, statement_only, target| Some(Kill { soft, statement_only, target });
        let user = |name: &str, host: Option<&str>| KillTarget::User {
            name: name.into(),
            host: host.map(Into::into),
        };
        let table = [
            ("KILL 5", kill(false, false, KillTarget::Connection(5))),
            ("kill connection 2147483650;", kill(false, false, KillTarget::Connection(2147483650))),
            ("KILL QUERY 7", kill(false, true, KillTarget::Connection(7))),
            ("KILL SOFT QUERY 7", kill(true, true, KillTarget::Connection(7))),
            ("KILL HARD CONNECTION 7", kill(false, false, KillTarget::Connection(7))),
            ("KILL QUERY ID 9", kill(false, true, KillTarget::QueryId(9))),
            ("KILL USER bob", kill(false, false, user("bob", None))),
            ("KILL QUERY USER 'bob'@'%'", kill(false, true, user("bob", Some("%")))),
            ("KILL CONNECTION_ID()", kill(false, false, KillTarget::Expression)),
            ("KILL @id", kill(false, false, KillTarget::Expression)),
            ("KILL 5 + 1", kill(false, false, KillTarget::Expression)),
            ("KILL", None),
            ("KILL 5; SELECT 1", None),
            ("SELECT 1", None),
        ];
        for (sql, expected) in table {
            assert_eq!(parse_kill(sql.as_bytes(), Dialect::default()), expected, "{sql}");
        }
    }
}
