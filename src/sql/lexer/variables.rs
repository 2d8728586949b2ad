//! User variables and system variables.

use super::{IDENTIFIER, Lexeme, Lexer, SPACE, Token, VariableScope, is};

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
        if scope != VariableScope::Unspecified
            && let Some(name) = self.name_behind_point()
        {
            return Lexeme { token: Token::SystemVariable(scope), ..name };
        }
        // A scope without a point behind it is read as a name that nobody knows.
        Lexeme { token: Token::SystemVariable(VariableScope::Unspecified), ..name }
    }

    /// The name behind a scope. Blanks and comments may stand around the point.
    fn name_behind_point(&mut self) -> Option<Lexeme> {
        let mut ahead = *self;
        ahead.skip_blanks();
        if ahead.peek(0) != Some(b'.') {
            return None;
        }
        ahead.at += 1;
        ahead.skip_blanks();
        let name = ahead.variable_part();
        if name.start == name.end {
            return None;
        }
        *self = ahead;
        Some(name)
    }

    /// Passes blanks and comments, and no token: those that follow may be as many variables again.
    fn skip_blanks(&mut self) {
        loop {
            self.skip_class(SPACE);
            let start = self.at;
            match (self.peek(0), self.peek(1)) {
                (Some(b'/'), Some(b'*')) => {
                    let _ = self.block_comment(start);
                }
                (Some(b'#'), _) => {
                    let _ = self.line_comment(start + 1);
                }
                (Some(b'-'), Some(b'-'))
                    if self.peek(2).is_none_or(|next| next == b' ' || next.is_ascii_control()) =>
                {
                    let _ = self.line_comment(start + 2);
                }
                (Some(b'*'), Some(b'/')) if self.in_executable_comment => {
                    self.at += 2;
                    self.in_executable_comment = false;
                }
                _ => return,
            }
        }
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
