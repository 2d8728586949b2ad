//! BEGIN, START TRANSACTION, COMMIT and ROLLBACK in detail.

use super::lexer::{Lexer, Token};

/// What BEGIN or START TRANSACTION asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Begin {
    /// READ ONLY or READ WRITE; None leaves it to the session's setting.
    pub read_only: Option<bool>,
    pub consistent_snapshot: bool,
}

/// What COMMIT or ROLLBACK asks for. None leaves it to `@@completion_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransactionEnd {
    pub commits: bool,
    /// AND CHAIN: a new transaction with the same characteristics begins at once.
    pub chain: Option<bool>,
    /// RELEASE: the server closes the connection.
    pub release: Option<bool>,
}

/// Reads `BEGIN [WORK]` or `START TRANSACTION [modifier, …]`. None when it is neither, or is
/// followed by anything that is not known.
pub fn parse_begin(mut lexer: Lexer<'_>) -> Option<Begin> {
    let mut begin = Begin::default();
    if lexer.accept_word("begin") {
        lexer.accept_word("work");
        return ends(lexer).then_some(begin);
    }
    if !lexer.accept_words(&["start", "transaction"]) {
        return None;
    }
    if ends(lexer) {
        return Some(begin);
    }
    loop {
        if lexer.accept_words(&["with", "consistent", "snapshot"]) {
            begin.consistent_snapshot = true;
        } else if lexer.accept_words(&["read", "only"]) {
            begin.read_only = Some(true);
        } else if lexer.accept_words(&["read", "write"]) {
            begin.read_only = Some(false);
        } else {
            return None;
        }
        if !lexer.accept(Token::Comma) {
            return ends(lexer).then_some(begin);
        }
    }
}

/// Reads `COMMIT|ROLLBACK [WORK] [AND [NO] CHAIN] [[NO] RELEASE]`. None for anything else,
/// `ROLLBACK TO` among it.
pub fn parse_end(mut lexer: Lexer<'_>) -> Option<TransactionEnd> {
    let commits = lexer.accept_word("commit");
    if !commits && !lexer.accept_word("rollback") {
        return None;
    }
    let mut end = TransactionEnd { commits, ..TransactionEnd::default() };
    lexer.accept_word("work");
    if lexer.accept_words(&["and", "no", "chain"]) {
        end.chain = Some(false);
    } else if lexer.accept_words(&["and", "chain"]) {
        end.chain = Some(true);
    }
    if lexer.accept_words(&["no", "release"]) {
        end.release = Some(false);
    } else if lexer.accept_word("release") {
        end.release = Some(true);
    }
    ends(lexer).then_some(end)
}

/// Whether the statement ends here; another one may follow it.
fn ends(mut lexer: Lexer<'_>) -> bool {
    matches!(lexer.next_significant().token, Token::End | Token::Semicolon)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;

    fn lexer(sql: &str) -> Lexer<'_> {
        Lexer::new(sql.as_bytes(), Dialect::default())
    }

    #[test]
    fn beginnings() {
        let begin = |read_only, consistent_snapshot| Some(Begin { read_only, consistent_snapshot });
        let table = [
            ("BEGIN", begin(None, false)),
            ("begin work;", begin(None, false)),
            ("START TRANSACTION", begin(None, false)),
            ("start transaction read only", begin(Some(true), false)),
            ("start transaction READ WRITE", begin(Some(false), false)),
            ("START TRANSACTION WITH CONSISTENT SNAPSHOT", begin(None, true)),
            ("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", begin(Some(true), true)),
            ("START TRANSACTION /*!40100 WITH CONSISTENT SNAPSHOT */", begin(None, true)),
            ("BEGIN NOT ATOMIC SELECT 1; END", None),
            ("START TRANSACTION READ", None),
            ("START TRANSACTION READ ONLY,", None),
            ("START SLAVE", None),
        ];
        for (sql, expected) in table {
            assert_eq!(parse_begin(lexer(sql)), expected, "{sql}");
        }
    }

    #[test]
    fn endings() {
        let end = |commits, chain, release| Some(TransactionEnd { commits, chain, release });
        let table = [
            ("COMMIT", end(true, None, None)),
            ("commit work ;", end(true, None, None)),
            ("ROLLBACK", end(false, None, None)),
            ("COMMIT AND CHAIN", end(true, Some(true), None)),
            ("COMMIT AND NO CHAIN RELEASE", end(true, Some(false), Some(true))),
            ("ROLLBACK WORK AND CHAIN NO RELEASE", end(false, Some(true), Some(false))),
            ("ROLLBACK TO SAVEPOINT a", None),
            ("COMMIT NO", None),
            ("COMMIT PREPARED", None),
        ];
        for (sql, expected) in table {
            assert_eq!(parse_end(lexer(sql)), expected, "{sql}");
        }
    }
}
