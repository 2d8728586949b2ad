//! The words of a statement.

use std::borrow::Cow;

/// Why there is no statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyntaxError<'a> {
    /// Not even a comment.
    Empty,
    /// Where it stops making sense.
    Near(&'a str),
}

#[derive(Debug, Clone)]
pub struct Token<'a> {
    /// Without quotes and escapes.
    pub text: Cow<'a, str>,
    /// Byte offset of its beginning, with its quote.
    pub at: usize,
    end: usize,
    /// In `'` or `"`.
    pub is_quoted: bool,
}

impl<'a> Token<'a> {
    pub fn is(&self, word: &str) -> bool {
        !self.is_quoted && self.text.eq_ignore_ascii_case(word)
    }

    pub fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }

    /// Its source, without quotes.
    pub fn inner(&self, source: &'a str) -> &'a str {
        source[self.at..self.end].trim_matches(['\'', '"', '`'])
    }
}

pub struct Tokens<'a> {
    pub source: &'a str,
    list: std::vec::IntoIter<Token<'a>>,
    /// The end of the last token that was taken.
    pub consumed: usize,
}

impl<'a> Tokens<'a> {
    pub fn of(source: &'a str) -> Result<Self, SyntaxError<'a>> {
        let mut list = Vec::new();
        let mut at = 0;
        while let Some(first) = source[at..].chars().next() {
            let rest = &source[at..];
            let end = match first {
                _ if first.is_whitespace() => at + first.len_utf8(),
                '#' => at + rest.find('\n').unwrap_or(rest.len()),
                '-' if rest.starts_with("-- ") || rest == "--" => {
                    at + rest.find('\n').unwrap_or(rest.len())
                }
                '/' if rest.starts_with("/*") => {
                    at + rest.find("*/").ok_or(SyntaxError::Near(rest))? + 2
                }
                '\'' | '"' | '`' => {
                    let (text, length) = unquote(rest, first).ok_or(SyntaxError::Near(rest))?;
                    let end = at + length;
                    list.push(Token { text: text.into(), at, end, is_quoted: first != '`' });
                    end
                }
                _ => {
                    let is_word = |c: char| c.is_alphanumeric() || "_$@.".contains(c);
                    let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                    let end = at + length.max(first.len_utf8());
                    list.push(Token { text: source[at..end].into(), at, end, is_quoted: false });
                    end
                }
            };
            at = end;
        }
        while list.last().is_some_and(|token| token.text == ";" && !token.is_quoted) {
            list.pop();
        }
        Ok(Tokens { source, list: list.into_iter(), consumed: 0 })
    }

    pub fn next(&mut self) -> Option<Token<'a>> {
        let token = self.list.next()?;
        self.consumed = token.end;
        Some(token)
    }

    pub fn peek(&self) -> Option<&Token<'a>> {
        self.list.as_slice().first()
    }

    pub fn required(&mut self) -> Result<Token<'a>, SyntaxError<'a>> {
        self.next().ok_or(SyntaxError::Near(""))
    }

    /// Takes the next token if it is this word.
    pub fn accept(&mut self, word: &str) -> bool {
        let is_next = self.peek().is_some_and(|token| token.is(word));
        if is_next {
            self.next();
        }
        is_next
    }

    pub fn number(&mut self) -> Result<u32, SyntaxError<'a>> {
        let token = self.required()?;
        token.text.parse().map_err(|_| self.near(&token))
    }

    /// The statement, if nothing stands behind it.
    pub fn end<S>(&mut self, statement: S) -> Result<S, SyntaxError<'a>> {
        match self.next() {
            None => Ok(statement),
            Some(token) => Err(self.near(&token)),
        }
    }

    pub fn near(&self, token: &Token<'a>) -> SyntaxError<'a> {
        SyntaxError::Near(&self.source[token.at..])
    }
}

/// The text between two `quote`s at the front, and the length with them. A quote is doubled or
/// escaped by a backslash (not between backticks).
fn unquote(text: &str, quote: char) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            if chars.next_if(|(_, next)| *next == quote).is_none() {
                return Some((out, at + 1));
            }
            out.push(quote);
        } else if c == '\\' && quote != '`' {
            // `\%` and `\_` keep their backslash, for LIKE.
            let (_, escaped) = chars.next()?;
            if matches!(escaped, '%' | '_') {
                out.push('\\');
            }
            out.push(escaped);
        } else {
            out.push(c);
        }
    }
    None
}
