//! Numbers, and the identifiers that look like them.

use super::{DIGIT, Doubt, HEX, IDENTIFIER, Lexeme, Lexer, Token, is};

impl Lexer<'_> {
    /// A token that begins with a digit, as `MY_LEX_NUMBER_IDENT` of both servers cuts it.
    pub(super) fn number(&mut self, start: usize) -> Lexeme {
        let is_digit: Option<fn(u8) -> bool> = match (self.sql[start], self.peek(1)) {
            (b'0', Some(b'x')) => Some(|byte| is(byte, HEX)),
            (b'0', Some(b'b')) => Some(|byte| matches!(byte, b'0' | b'1')),
            _ => None,
        };
        if let Some(is_digit) = is_digit {
            self.at += 2;
            while self.peek(0).is_some_and(is_digit) {
                self.at += 1;
            }
            let whole = self.at > start + 2 && !self.peek(0).is_some_and(|b| is(b, IDENTIFIER));
            if whole {
                return self.lexeme(Token::Number, start);
            }
            return self.word(start);
        }
        self.skip_class(DIGIT);
        match self.peek(0) {
            Some(b'.') => {
                self.at += 1;
                self.fraction(start)
            }
            Some(b'e' | b'E') if self.exponent() => self.number_end(start),
            Some(byte) if is(byte, IDENTIFIER) => self.word(start),
            _ => self.lexeme(Token::Number, start),
        }
    }

    /// Behind the point of a number.
    pub(super) fn fraction(&mut self, start: usize) -> Lexeme {
        self.skip_class(DIGIT);
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            self.exponent();
        }
        self.number_end(start)
    }

    /// Passes `e10`, `E+10`; does nothing when no digit follows.
    fn exponent(&mut self) -> bool {
        let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
        if !self.peek(1 + sign).is_some_and(|byte| is(byte, DIGIT)) {
            return false;
        }
        self.at += 1 + sign;
        self.skip_class(DIGIT);
        true
    }

    /// The servers take `1.FOR` and `1e5FOR` apart into a number and a keyword; nobody writes so
    /// who has nothing to hide.
    fn number_end(&mut self, start: usize) -> Lexeme {
        if self.peek(0).is_some_and(|byte| is(byte, IDENTIFIER)) {
            self.suspect(Doubt::Character);
        }
        self.lexeme(Token::Number, start)
    }
}
