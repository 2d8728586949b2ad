//! USE and the names of databases.

use std::borrow::Cow;

use super::Dialect;
use super::lexer::{Lexer, Token};

/// Databases whose tables differ from server to server.
const SYSTEM_DATABASES: [&[u8]; 4] =
    [b"information_schema", b"mysql", b"performance_schema", b"sys"];

/// Whether tables of this database tell about a server rather than about replicated data.
pub fn is_system_database(name: &[u8]) -> bool {
    SYSTEM_DATABASES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The database that a USE statement names, unquoted. None when it is no such statement.
pub fn use_database(sql: &[u8], dialect: Dialect) -> Option<Cow<'_, [u8]>> {
    let mut lexer = Lexer::new(sql, dialect);
    if !lexer.accept_word("use") {
        return None;
    }
    let name = lexer.next_significant();
    let quote = match name.token {
        Token::Word => None,
        Token::Identifier => sql.get(name.start.checked_sub(1)?).copied(),
        _ => return None,
    };
    let name = unquoted(lexer.text(name), quote);
    (lexer.accept_end() && lexer.doubt().is_none()).then_some(name)
}

/// Text from between quotes with its doubled quotes made single.
pub fn unquoted(text: &[u8], quote: Option<u8>) -> Cow<'_, [u8]> {
    match quote {
        Some(quote) if text.contains(&quote) => {
            let mut plain = Vec::with_capacity(text.len());
            let mut bytes = text.iter().copied();
            while let Some(byte) = bytes.next() {
                plain.push(byte);
                if byte == quote {
                    bytes.next();
                }
            }
            Cow::Owned(plain)
        }
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_databases() {
        let table: [(&str, Option<&str>); 9] = [
            ("USE shop", Some("shop")),
            ("use `shop`;", Some("shop")),
            ("/* x */ use  `a``b` ; -- end", Some("a`b")),
            ("USE 2024_data", Some("2024_data")),
            ("USE café", Some("café")),
            ("USE", None),
            ("USE a b", None),
            ("USE a; USE b", None),
            ("SELECT 1", None),
        ];
        for (sql, expected) in table {
            let found = use_database(sql.as_bytes(), Dialect::default());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{sql}");
        }
        let ansi = Dialect { ansi_quotes: true, ..Dialect::default() };
        assert_eq!(use_database(b"USE \"x\"\"y\"", ansi).as_deref(), Some(&b"x\"y"[..]));
        assert_eq!(use_database(b"USE \"x\"", Dialect::default()), None);
    }
}
