//! The names in GET_LOCK and RELEASE_LOCK, so that session code can ask whether a lock is gone.

use super::Dialect;
use super::lexer::{Lexer, Token};
use super::set::string_value;

/// The names that a statement gives to GET_LOCK, as the literals say; None when a call's name is
/// no plain string (an expression, a parameter, NULL), so that only the server knows it.
pub fn locks_taken(sql: &[u8], dialect: Dialect) -> Option<Vec<Vec<u8>>> {
    let mut lexer = Lexer::new(sql, dialect);
    let mut names = Vec::new();
    loop {
        let lexeme = lexer.next_significant();
        match lexeme.token {
            Token::End => return lexer.doubt().is_none().then_some(names),
            Token::Word
                if lexer.text(lexeme).eq_ignore_ascii_case(b"get_lock")
                    && lexer.accept(Token::Open) =>
            {
                let name = lexer.next_significant();
                let plain = name.token == Token::String && lexer.began() == name.start;
                if !plain || !lexer.accept(Token::Comma) {
                    return None;
                }
                names.push(string_value(lexer.text(name), dialect)?);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_locks() {
        let table: [(&str, Option<&[&str]>); 9] = [
            ("SELECT 1", Some(&[])),
            ("SELECT GET_LOCK('a', 1)", Some(&["a"])),
            ("DO get_lock ( \"a''b\" , 0), GET_LOCK('c''d', 1)", Some(&["a''b", "c'd"])),
            ("SELECT get_lock FROM t", Some(&[])),
            ("SELECT GET_LOCK(@a, 1)", None),
            ("SELECT GET_LOCK(?, 1)", None),
            ("SELECT GET_LOCK(CONCAT('a', 'b'), 1)", None),
            ("SELECT GET_LOCK('a' 'b', 1)", None),
            ("SELECT GET_LOCK(N'a', 1)", None),
        ];
        for (sql, expected) in table {
            let expected =
                expected.map(|names| names.iter().map(|name| name.as_bytes().to_vec()).collect());
            assert_eq!(locks_taken(sql.as_bytes(), Dialect::default()), expected, "{sql}");
        }
    }
}
