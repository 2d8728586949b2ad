//! User variables and system variables.

use super::{IDENTIFIER, Lexeme, Lexer, Token, VariableScope, is};

impl Lexer<'_> {
    /// `@name`, `@'name'`, `@@[scope.]name`.
    pub(super) fn variable(&mut self, start: usize) -> Lexeme {
        if self.peek(1) == Some(b'@') {
            self.at += 2;
            return self.system_variable();
        }
        self.at = start + 1;
        if let Some(quote @ (b'`' | b'\'' | b'"')) = self.peek(0) {
            // Backslash escapes work in @'a\'b' as in strings, and never in @`a`.
            let identifier = quote == b'`' || (quote == b'"' && self.dialect.ansi_quotes);
            let kind = if identifier { Token::Identifier } else { Token::String };
            let name = self.quoted(self.at, quote, kind);
            let (start, end) = match kind {
                Token::Identifier => (name.start, name.end),
                _ => (name.start + 1, name.end.saturating_sub(1).max(name.start + 1)),
            };
            return Lexeme { token: Token::UserVariable, start, end: end.max(start) };
        }
        while self.peek(0).is_some_and(|byte| is(byte, IDENTIFIER) || byte == b'.') {
            self.at += 1;
        }
        self.lexeme(Token::UserVariable, start + 1)
    }

    /// Behind `@@`.
    fn system_variable(&mut self) -> Lexeme {
        let name = self.variable_part();
        let scope = match self.text(name) {
            word if word.eq_ignore_ascii_case(b"session") => VariableScope::Session,
            word if word.eq_ignore_ascii_case(b"local") => VariableScope::Session,
            word if word.eq_ignore_ascii_case(b"global") => VariableScope::Global,
            word if word.eq_ignore_ascii_case(b"persist") => VariableScope::Persist,
            word if word.eq_ignore_ascii_case(b"persist_only") => VariableScope::Persist,
            _ => VariableScope::Unspecified,
        };
        if scope != VariableScope::Unspecified && self.peek(0) == Some(b'.') {
            self.at += 1;
            let name = self.variable_part();
            return Lexeme { token: Token::SystemVariable(scope), ..name };
        }
        // A scope without a point directly behind it is read as a name that nobody knows.
        Lexeme { token: Token::SystemVariable(VariableScope::Unspecified), ..name }
    }

    fn variable_part(&mut self) -> Lexeme {
        let start = self.at;
        if self.peek(0) == Some(b'`') {
            return self.quoted(start, b'`', Token::Identifier);
        }
        self.skip_class(IDENTIFIER);
        self.lexeme(Token::Word, start)
    }
}
