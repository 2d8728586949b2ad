//! The blocks in the body of a routine, trigger or event: a `;` inside of one does not end the
//! CREATE.

use crate::sql::lexer::Token;

/// Follows the blocks of one body.
///
/// Words are taken for blocks by the look of their places, not by the whole grammar: a body that
/// is misjudged is taken for several statements, or swallows what follows it. The scan counts on
/// neither.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Body {
    /// Blocks that have begun and not ended.
    depth: u32,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// Where a statement may begin.
    #[default]
    Statement,
    /// Behind END: the word that follows says what ends.
    End,
    Other,
}

impl Body {
    /// Whether a `;` here belongs to the body.
    pub(super) fn is_open(&self) -> bool {
        self.depth > 0
    }

    /// Passes a token of the CREATE, `;` among them.
    pub(super) fn pass(&mut self, token: Token, text: &[u8]) {
        self.place = match token {
            Token::Word => self.word(text),
            // A label; the parameters.
            Token::Semicolon | Token::Operator(b':') | Token::Close => Place::Statement,
            _ => Place::Other,
        };
    }

    fn word(&mut self, text: &[u8]) -> Place {
        let is =
            |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
        if self.place == Place::End {
            return Place::Other;
        }
        if is(&["end"]) {
            self.depth = self.depth.saturating_sub(1);
            return Place::End;
        }
        // IF and REPEAT are functions elsewhere, FOR a clause.
        let begins = is(&["begin", "case", "loop", "while"])
            || (self.place == Place::Statement && is(&["if", "repeat", "for"]));
        self.depth += u32::from(begins);
        // Behind these words of blocks, and these of a routine's characteristics.
        let statement = [
            "begin",
            "loop",
            "repeat",
            "then",
            "else",
            "do",
            "row",
            "data",
            "deterministic",
            "definer",
            "invoker",
            "sql",
        ];
        if is(&statement) { Place::Statement } else { Place::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;
    use crate::sql::lexer::Lexer;

    #[test]
    fn blocks_are_open_until_their_end() {
        let table = [
            ("p() SELECT 1", false),
            ("p() BEGIN SELECT 1", true),
            ("p() BEGIN SELECT 1; END", false),
            ("p() BEGIN IF a THEN SELECT 1; END IF", true),
            ("p() BEGIN IF a THEN SELECT IF(b, 1, 2); ELSE SELECT 3; END IF; END", false),
            ("IF NOT EXISTS p() SELECT 1", false),
            ("p() IF (a > 1) THEN SELECT 1", true),
            ("p() l: LOOP LEAVE l", true),
            ("p() l: LOOP LEAVE l; END LOOP l", false),
            ("p() CASE a WHEN 1 THEN SELECT 1; END CASE", false),
            ("p() BEGIN SELECT CASE a WHEN 1 THEN 2 END; END", false),
            ("p() REPEAT SET @a = REPEAT('x', 1); UNTIL 1 END REPEAT", false),
            ("t BEFORE INSERT ON u FOR EACH ROW BEGIN SET NEW.a = 1", true),
            ("e ON SCHEDULE EVERY 1 DAY DO BEGIN SELECT 1; END", false),
            ("f() RETURNS INT DETERMINISTIC RETURN 1", false),
        ];
        for (sql, open) in table {
            let mut lexer = Lexer::new(sql.as_bytes(), Dialect::default());
            let mut body = Body { place: Place::Other, ..Body::default() };
            loop {
                let lexeme = lexer.next();
                match lexeme.token {
                    Token::End => break,
                    token => body.pass(token, lexer.text(lexeme)),
                }
            }
            assert_eq!(body.is_open(), open, "{sql}");
        }
    }
}
