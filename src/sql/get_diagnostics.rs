//! GET DIAGNOSTICS in detail.

use super::Dialect;
use super::lexer::{Lexer, Token};

/// What a user variable is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// NUMBER, MYSQL_ERRNO and the like.
    Unsigned,
    /// ROW_COUNT.
    Signed,
    /// MESSAGE_TEXT and the like, in utf8mb3.
    Text,
}

/// Items by lower-case name, first those of the statement, then those of a condition.
const OF_STATEMENT: [(&str, Item); 2] = [("number", Item::Unsigned), ("row_count", Item::Signed)];
const OF_CONDITION: [(&str, Item); 14] = [
    ("mysql_errno", Item::Unsigned),
    ("row_number", Item::Unsigned),
    ("returned_sqlstate", Item::Text),
    ("message_text", Item::Text),
    ("class_origin", Item::Text),
    ("subclass_origin", Item::Text),
    ("constraint_catalog", Item::Text),
    ("constraint_schema", Item::Text),
    ("constraint_name", Item::Text),
    ("catalog_name", Item::Text),
    ("schema_name", Item::Text),
    ("table_name", Item::Text),
    ("column_name", Item::Text),
    ("cursor_name", Item::Text),
];

/// Reads a GET DIAGNOSTICS of the statement before: the user variables that it sets, by lower-case
/// name. None when it is none, or not understood.
pub fn parse_get_diagnostics(sql: &[u8], dialect: Dialect) -> Option<Vec<(Vec<u8>, Item)>> {
    let mut lexer = Lexer::new(sql, dialect);
    if !lexer.accept_word("get") {
        return None;
    }
    lexer.accept_word("current");
    if !lexer.accept_word("diagnostics") {
        return None;
    }
    let items: &[(&str, Item)] = match lexer.accept_word("condition") {
        true => {
            let number = lexer.next_significant();
            matches!(number.token, Token::Number | Token::UserVariable).then_some(())?;
            &OF_CONDITION
        }
        false => &OF_STATEMENT,
    };
    let mut variables = Vec::new();
    loop {
        let variable = lexer.next_significant();
        if variable.token != Token::UserVariable || !lexer.accept(Token::Operator(b'=')) {
            return None;
        }
        let (_, item) = items.iter().find(|(word, _)| lexer.accept_word(word))?;
        variables.push((lexer.text(variable).to_ascii_lowercase(), *item));
        if !lexer.accept(Token::Comma) {
            break;
        }
    }
    (lexer.accept_end() && lexer.doubt().is_none()).then_some(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        let parsed = |sql: &str| {
            let variables = parse_get_diagnostics(sql.as_bytes(), Dialect::default())?;
            let text = |name| String::from_utf8(name).expect("ASCII");
            Some(variables.into_iter().map(|(name, item)| (text(name), item)).collect::<Vec<_>>())
        };
        let found = |items: &[(&str, Item)]| {
            Some(items.iter().map(|(name, item)| ((*name).to_owned(), *item)).collect())
        };
        let table = [
            (
                "GET DIAGNOSTICS @n = NUMBER, @`R` = ROW_COUNT;",
                found(&[("n", Item::Unsigned), ("r", Item::Signed)]),
            ),
            (
                "get current diagnostics condition 1 @e = mysql_errno, @m = MESSAGE_TEXT",
                found(&[("e", Item::Unsigned), ("m", Item::Text)]),
            ),
            ("GET DIAGNOSTICS CONDITION @i @s=RETURNED_SQLSTATE", found(&[("s", Item::Text)])),
            ("GET DIAGNOSTICS @n = MESSAGE_TEXT", None),
            ("GET DIAGNOSTICS CONDITION 1 @n = NUMBER", None),
            ("GET DIAGNOSTICS CONDITION f(1) @e = MYSQL_ERRNO", None),
            ("GET STACKED DIAGNOSTICS @n = NUMBER", None),
            ("GET DIAGNOSTICS n = NUMBER", None),
            ("GET DIAGNOSTICS @n = NUMBER; SELECT 1", None),
            ("GET DIAGNOSTICS", None),
        ];
        for (sql, expected) in table {
            assert_eq!(parsed(sql), expected, "{sql}");
        }
    }
}
