//! Comments of all styles: what is skipped, what is SQL all the same, and what is a hint.

use memchr::memchr;

use super::{Doubt, Lexeme, Lexer, SPACE, Token, is};
use crate::wire::Flavour;

/// Words that change nothing about where a statement may run, whether the server reads them or
/// skips them. Other content of executable comments puts the statement in doubt.
const HARMLESS_MODIFIERS: &[&[u8]] = &[
    b"all",
    b"distinct",
    b"extended",
    b"full",
    b"high_priority",
    b"sql_big_result",
    b"sql_buffer_result",
    b"sql_cache",
    b"sql_no_cache",
    b"sql_small_result",
    b"straight_join",
];

impl Lexer<'_> {
    /// Passes a comment that ends with its line; only `\n` ends a line.
    pub(super) fn line_comment(&mut self, body: usize) -> Option<Lexeme> {
        let rest = self.sql.get(body..).unwrap_or_default();
        let end = memchr(b'\n', rest).map_or(self.sql.len(), |offset| body + offset);
        self.at = end;
        if self.in_executable_comment {
            self.suspect(Doubt::ExecutableComment);
        }
        self.hint(body, end)
    }

    /// Passes a comment at `start`, or steps into it when it is executable.
    pub(super) fn block_comment(&mut self, start: usize) -> Option<Lexeme> {
        if self.in_executable_comment {
            self.suspect(Doubt::ExecutableComment);
        }
        let body = start + 2;
        let Some(end) = self.comment_end(body) else {
            self.suspect(Doubt::Unterminated);
            self.at = self.sql.len();
            return None;
        };
        match (self.sql.get(body), self.sql.get(body + 1)) {
            (Some(b'!'), _) => self.enter_executable(body + 1, end, false),
            (Some(b'M'), Some(b'!')) if self.dialect.flavour == Flavour::MariaDb => {
                self.enter_executable(body + 2, end, true);
            }
            (Some(b'+'), _) => {
                // MySQL's own scanner of optimizer hints knows quotes, and a quoted `*/` does not
                // end the hint there.
                if ends_inside_quotes(&self.sql[body + 1..end]) {
                    self.suspect(Doubt::Unterminated);
                }
                self.at = end + 2;
            }
            _ => {
                self.at = end + 2;
                return self.hint(body, end);
            }
        }
        None
    }

    /// Where the `*/` stands that ends a comment. `/*/` does not end itself.
    fn comment_end(&self, body: usize) -> Option<usize> {
        let mut at = body;
        loop {
            at += memchr(b'*', &self.sql[at..])?;
            if self.sql.get(at + 1) == Some(&b'/') {
                return Some(at);
            }
            at += 1;
        }
    }

    /// `/*! … */` or `/*M! … */` whose content, or version number, stands at `content`.
    fn enter_executable(&mut self, content: usize, end: usize, mariadb_only: bool) {
        let digits =
            self.sql[content..end].iter().take(6).take_while(|b| b.is_ascii_digit()).count();
        let (version, content) = match digits {
            5 | 6 => {
                let number = self.sql[content..content + digits]
                    .iter()
                    .fold(0u32, |number, digit| number * 10 + u32::from(digit - b'0'));
                (Some(number), content + digits)
            }
            _ => (None, content),
        };
        // Servers of one cluster may be of different versions, so a comment that one of them
        // skips is no less suspicious.
        if !is_harmless_modifier(&self.sql[content..end]) {
            self.suspect(Doubt::ExecutableComment);
        }
        let executed = version.is_none_or(|number| self.executes(number, mariadb_only));
        if executed && !self.in_executable_comment {
            self.in_executable_comment = true;
            self.at = content;
        } else {
            self.at = end + 2;
        }
    }

    /// Whether the server executes a comment with this version number. MariaDB skips
    /// `/*!50700` to `/*!99999`: those are meant for MySQL versions that it does not follow.
    fn executes(&self, number: u32, mariadb_only: bool) -> bool {
        let reached = self.dialect.version == 0 || number <= self.dialect.version;
        match self.dialect.flavour {
            Flavour::MySql => reached,
            Flavour::MariaDb => reached && (mariadb_only || !(50_700..=99_999).contains(&number)),
        }
    }

    /// The hint in a comment's body, if it is one of ours.
    fn hint(&self, body: usize, end: usize) -> Option<Lexeme> {
        let text = &self.sql[body..end];
        let blank = text.iter().take_while(|byte| is(**byte, SPACE)).count();
        let text = &text[blank..];
        if !text.get(..8)?.eq_ignore_ascii_case(b"rwproxy:") {
            return None;
        }
        Some(Lexeme { token: Token::Hint, start: body + blank + 8, end })
    }
}

fn is_harmless_modifier(content: &[u8]) -> bool {
    content
        .split(|byte| is(*byte, SPACE))
        .filter(|word| !word.is_empty())
        .all(|word| HARMLESS_MODIFIERS.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

fn ends_inside_quotes(text: &[u8]) -> bool {
    let mut open = None;
    for byte in text {
        match open {
            Some(quote) if *byte == quote => open = None,
            None if matches!(byte, b'\'' | b'"' | b'`') => open = Some(*byte),
            _ => {}
        }
    }
    open.is_some()
}
