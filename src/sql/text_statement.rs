//! PREPARE and EXECUTE as statements, and MariaDB's EXECUTE IMMEDIATE.

use super::Dialect;
use super::lexer::{Lexer, Token};
use super::set::string_value;

/// Statements about a statement that is prepared from a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextStatement {
    /// The name is lower-case.
    Prepare {
        name: Vec<u8>,
        source: Source,
    },
    Execute {
        name: Vec<u8>,
    },
    Immediate {
        source: Source,
    },
}

/// What a text is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Literal(Vec<u8>),
    /// A user variable.
    Variable(Vec<u8>),
    /// MariaDB takes any expression.
    Expression,
}

/// Reads such a statement. None when it is none, or not understood.
pub fn parse_text_statement(sql: &[u8], dialect: Dialect) -> Option<TextStatement> {
    let mut lexer = Lexer::new(sql, dialect);
    let prepares = lexer.accept_word("prepare");
    if !prepares && !lexer.accept_word("execute") {
        return None;
    }
    if !prepares && lexer.accept_word("immediate") {
        return Some(TextStatement::Immediate { source: source(&mut lexer, dialect) });
    }
    let lexeme = lexer.next_significant();
    let name = match lexeme.token {
        Token::Word => lexer.text(lexeme),
        // As it is written between its quotes.
        Token::Identifier => lexer.text(lexeme).trim_ascii(),
        _ => return None,
    };
    let name: Vec<u8> =
        name.iter().filter(|byte| **byte != b'`').map(u8::to_ascii_lowercase).collect();
    if !prepares {
        return Some(TextStatement::Execute { name });
    }
    lexer
        .accept_word("from")
        .then(|| TextStatement::Prepare { name, source: source(&mut lexer, dialect) })
}

fn source(lexer: &mut Lexer<'_>, dialect: Dialect) -> Source {
    let lexeme = lexer.next_significant();
    let found = match lexeme.token {
        Token::String => string_value(lexer.text(lexeme), dialect).map(Source::Literal),
        Token::UserVariable => Some(Source::Variable(lexer.text(lexeme).to_ascii_lowercase())),
        _ => None,
    };
    // What follows may be an operator.
    let ends = lexer.accept_word("using") || lexer.accept_end();
    found.filter(|_| ends && lexer.doubt().is_none()).unwrap_or(Source::Expression)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_about_texts() {
        let prepare = |name: &str, source| {
            Some(TextStatement::Prepare { name: name.as_bytes().to_vec(), source })
        };
        let literal = |text: &str| Source::Literal(text.as_bytes().to_vec());
        let variable = |name: &str| Source::Variable(name.as_bytes().to_vec());
        let execute = |name: &str| Some(TextStatement::Execute { name: name.as_bytes().to_vec() });
        let immediate = |source| Some(TextStatement::Immediate { source });
        let table = [
            ("PREPARE s FROM 'KILL 5'", prepare("s", literal("KILL 5"))),
            ("prepare `S` from 'it''s';", prepare("s", literal("it's"))),
            ("PREPARE s FROM @Text", prepare("s", variable("text"))),
            ("PREPARE s FROM CONCAT('KILL ', 5)", prepare("s", Source::Expression)),
            ("PREPARE s FROM 'KILL ' || 5", prepare("s", Source::Expression)),
            ("EXECUTE s", execute("s")),
            ("EXECUTE S USING @a, @b", execute("s")),
            ("EXECUTE IMMEDIATE 'KILL ?' USING 5", immediate(literal("KILL ?"))),
            ("EXECUTE IMMEDIATE @a", immediate(variable("a"))),
            ("EXECUTE IMMEDIATE @a || 'x'", immediate(Source::Expression)),
            ("DEALLOCATE PREPARE s", None),
            ("PREPARE s", None),
        ];
        for (sql, expected) in table {
            let found = parse_text_statement(sql.as_bytes(), Dialect::default());
            assert_eq!(found, expected, "{sql}");
        }
    }
}
