//! SQL text to tokens: one pass, no allocation, the rules of the servers' own lexers.
//!
//! Where a rule here looks odd (`1.FOR` is a number and a keyword, `0X1F` is an identifier while
//! `0x1f` is a number, `--` needs white space behind it), it is because both servers do so: text
//! that is cut at other places than the server cuts it can hide a write from the classifier.
//! What cannot be cut with certainty sets [`Lexer::doubt`].

mod comments;
mod numbers;
#[cfg(test)]
mod tests;
mod variables;

use memchr::{memchr, memchr2};

use super::{ClientCharset, Dialect};

/// What a token is. Its text is given by [`Lexeme::start`] and [`Lexeme::end`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// An unquoted word: keyword or identifier.
    Word,
    /// A quoted identifier; the text is what stands between the quotes, still with its quotes
    /// doubled.
    Identifier,
    /// A string literal of any kind, without its prefix; the text includes the quotes.
    String,
    Number,
    /// `?`
    Parameter,
    /// `@name`; the text is the name alone, without quotes.
    UserVariable,
    /// `@@name`; the text is the name alone, without scope and quotes.
    SystemVariable(VariableScope),
    /// `:=`
    Assign,
    Dot,
    Comma,
    Open,
    Close,
    Semicolon,
    /// Any other character, one at a time.
    Operator(u8),
    /// A plain comment that begins with `rwproxy:`; the text is what follows the colon.
    Hint,
    End,
}

/// The word between `@@` and the name of a system variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VariableScope {
    /// None given: the session's value where there is one, else the global one.
    Unspecified,
    /// `session` or `local`.
    Session,
    Global,
    /// `persist` or `persist_only`: legal only on the left side of SET.
    Persist,
}

/// Why the tokens may not be those that the server sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// A string, quoted identifier or comment does not end.
    Unterminated,
    /// An executable comment holds more than a harmless modifier, or is nested.
    ExecutableComment,
    /// A character that no rule knows, or a number that runs into a word.
    Character,
    /// The client's character set makes the bytes ambiguous.
    Charset,
}

/// A token and where its text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lexeme {
    pub token: Token,
    pub start: usize,
    pub end: usize,
}

/// Cuts a statement into tokens. A copy is a bookmark: copying and going on with the copy is how
/// callers look ahead.
#[derive(Debug, Clone, Copy)]
pub struct Lexer<'a> {
    sql: &'a [u8],
    at: usize,
    began: usize,
    dialect: Dialect,
    in_executable_comment: bool,
    /// Words may not be what they look like in this character set.
    checks_words: bool,
    doubt: Option<Doubt>,
}

const IDENTIFIER: u8 = 1;
const SPACE: u8 = 2;
const DIGIT: u8 = 4;
const HEX: u8 = 8;
/// May begin a word: an identifier character that is neither a digit nor `$`.
const START: u8 = 16;

/// Classes of bytes. Bytes from 0x80 are identifier characters: in UTF-8 they are parts of letters.
static CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80 {
            table[byte] |= IDENTIFIER;
        }
        if b.is_ascii_alphabetic() || b == b'_' || b >= 0x80 {
            table[byte] |= START;
        }
        if b.is_ascii_digit() {
            table[byte] |= DIGIT;
        }
        if b.is_ascii_hexdigit() {
            table[byte] |= HEX;
        }
        if matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) {
            table[byte] |= SPACE;
        }
        byte += 1;
    }
    table
};

#[inline(always)]
fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

impl<'a> Lexer<'a> {
    pub fn new(sql: &'a [u8], dialect: Dialect) -> Self {
        let doubt = match dialect.charset {
            // A trail byte may be a quote or a backslash for the eye that reads bytes.
            ClientCharset::Multibyte if !sql.is_ascii() => Some(Doubt::Charset),
            _ => None,
        };
        Lexer {
            sql,
            at: 0,
            began: 0,
            dialect,
            in_executable_comment: false,
            checks_words: dialect.charset == ClientCharset::SingleByte,
            doubt,
        }
    }

    /// The first reason why the tokens so far may be wrong.
    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// Where the next token will be looked for.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Where the last token begins, with its `@`, quote or prefix.
    pub fn began(&self) -> usize {
        self.began
    }

    /// The bytes of a token.
    pub fn text(&self, lexeme: Lexeme) -> &'a [u8] {
        &self.sql[lexeme.start..lexeme.end]
    }

    /// The next token that is not a hint.
    #[inline(never)]
    pub fn next_significant(&mut self) -> Lexeme {
        loop {
            let lexeme = self.next();
            if lexeme.token != Token::Hint {
                return lexeme;
            }
        }
    }

    /// Passes the next token if it is this word, whatever its case.
    pub fn accept_word(&mut self, word: &str) -> bool {
        let before = *self;
        let lexeme = self.next_significant();
        let accepted =
            lexeme.token == Token::Word && self.text(lexeme).eq_ignore_ascii_case(word.as_bytes());
        if !accepted {
            *self = before;
        }
        accepted
    }

    /// Passes these words, or none of them.
    pub fn accept_words(&mut self, words: &[&str]) -> bool {
        let before = *self;
        let accepted = words.iter().all(|word| self.accept_word(word));
        if !accepted {
            *self = before;
        }
        accepted
    }

    /// Passes the next token if it is this one.
    pub fn accept(&mut self, token: Token) -> bool {
        let before = *self;
        let accepted = self.next_significant().token == token;
        if !accepted {
            *self = before;
        }
        accepted
    }

    /// Passes the end of the text, with one `;` before it perhaps.
    pub fn accept_end(&mut self) -> bool {
        self.accept(Token::Semicolon);
        self.accept(Token::End)
    }

    /// Whether the next token is `(`, and whether it follows without anything in between.
    /// Passes white space.
    #[inline(always)]
    pub fn at_open_parenthesis(&mut self) -> Option<Glued> {
        let before = self.at;
        self.skip_class(SPACE);
        match self.sql.get(self.at) {
            Some(b'(') if self.at == before => Some(Glued::Yes),
            Some(b'(') => Some(Glued::No),
            Some(b'/' | b'-' | b'#' | b'*') => self.open_behind_comment(),
            _ => None,
        }
    }

    /// A comment may stand between a name and its parenthesis.
    #[cold]
    fn open_behind_comment(&self) -> Option<Glued> {
        let comment = match (self.peek(0), self.peek(1)) {
            (Some(b'/'), Some(b'*')) | (Some(b'-'), Some(b'-')) | (Some(b'#'), _) => true,
            (Some(b'*'), Some(b'/')) => self.in_executable_comment,
            _ => false,
        };
        let mut ahead = *self;
        (comment && ahead.next_significant().token == Token::Open).then_some(Glued::No)
    }

    fn suspect(&mut self, doubt: Doubt) {
        self.doubt.get_or_insert(doubt);
    }

    #[inline(always)]
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.sql.get(self.at + ahead).copied()
    }

    fn lexeme(&self, token: Token, start: usize) -> Lexeme {
        Lexeme { token, start, end: self.at }
    }

    fn end(&mut self) -> Lexeme {
        if self.in_executable_comment {
            self.suspect(Doubt::Unterminated);
        }
        self.at = self.sql.len();
        Lexeme { token: Token::End, start: self.at, end: self.at }
    }

    /// The next token; [`Token::End`] for ever once the text is used up. Never panics.
    #[inline(always)]
    #[allow(clippy::should_implement_trait)] // not an iterator: copies of it are bookmarks
    pub fn next(&mut self) -> Lexeme {
        self.skip_class(SPACE);
        match self.sql.get(self.at) {
            Some(&byte) if is(byte, START) => self.word(self.at),
            Some(b',') => self.single(Token::Comma),
            Some(b'(') => self.single(Token::Open),
            Some(b')') => self.single(Token::Close),
            Some(b'.') if !self.peek(1).is_some_and(|byte| is(byte, DIGIT)) => {
                self.single(Token::Dot)
            }
            _ => self.next_other(),
        }
    }

    /// The next token unless it is a plain word. Not inlined: most tokens are words, and callers'
    /// loops stay small.
    #[inline(never)]
    fn next_other(&mut self) -> Lexeme {
        loop {
            let start = self.at;
            self.began = start;
            let Some(&byte) = self.sql.get(start) else { return self.end() };
            if is(byte, START) {
                return self.word(start);
            }
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.at += 1,
                // `db.5` and `t.1e5` are names.
                b'0'..=b'9' if self.is_behind_name_and_point(start) => return self.word(start),
                b'0'..=b'9' => return self.number(start),
                b'(' => return self.single(Token::Open),
                b')' => return self.single(Token::Close),
                b',' => return self.single(Token::Comma),
                b';' => return self.single(Token::Semicolon),
                b'?' => return self.single(Token::Parameter),
                b'.' => {
                    // `.5` is a number unless a name stands directly before it (`t.5a`).
                    let after_name = start > 0
                        && (is(self.sql[start - 1], IDENTIFIER) || self.sql[start - 1] == b'`');
                    if !after_name && self.peek(1).is_some_and(|next| is(next, DIGIT)) {
                        self.at += 1;
                        return self.fraction(start);
                    }
                    return self.single(Token::Dot);
                }
                b'\'' => return self.quoted(start, byte, Token::String),
                b'"' if self.dialect.ansi_quotes => {
                    return self.quoted(start, byte, Token::Identifier);
                }
                b'"' => return self.quoted(start, byte, Token::String),
                b'`' => return self.quoted(start, byte, Token::Identifier),
                b'@' => return self.variable(start),
                b':' if self.peek(1) == Some(b'=') => {
                    self.at += 2;
                    return self.lexeme(Token::Assign, start);
                }
                b'#' => {
                    if let Some(hint) = self.line_comment(start + 1) {
                        return hint;
                    }
                }
                b'-' if self.peek(1) == Some(b'-')
                    && self.peek(2).is_none_or(|next| next == b' ' || next.is_ascii_control()) =>
                {
                    if let Some(hint) = self.line_comment(start + 2) {
                        return hint;
                    }
                }
                b'/' if self.peek(1) == Some(b'*') => {
                    if let Some(hint) = self.block_comment(start) {
                        return hint;
                    }
                }
                b'*' if self.in_executable_comment && self.peek(1) == Some(b'/') => {
                    self.at += 2;
                    self.in_executable_comment = false;
                }
                b'+' | b'-' | b'*' | b'/' | b'%' | b'=' | b'<' | b'>' | b'!' | b'&' | b'|'
                | b'^' | b'~' | b':' | b'{' | b'}' => return self.single(Token::Operator(byte)),
                _ => {
                    // Control bytes, backslash, brackets: no legal statement has them here, save
                    // `\N` for NULL in old servers. MySQL 9 reads `$$ … $$` and `$tag$ … $tag$`
                    // as one string.
                    self.suspect(Doubt::Character);
                    if byte == b'$' {
                        return self.word(start);
                    }
                    return self.single(Token::Operator(byte));
                }
            }
        }
    }

    /// Whether an unquoted name and a point stand directly before `start`.
    fn is_behind_name_and_point(&self, start: usize) -> bool {
        matches!(self.sql[..start], [.., name, b'.'] if is(name, IDENTIFIER))
    }

    #[inline(always)]
    fn single(&mut self, token: Token) -> Lexeme {
        self.began = self.at;
        self.at += 1;
        Lexeme { token, start: self.at - 1, end: self.at }
    }

    #[inline(always)]
    fn skip_class(&mut self, class: u8) {
        while let Some(&byte) = self.sql.get(self.at)
            && is(byte, class)
        {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn word(&mut self, start: usize) -> Lexeme {
        self.began = start;
        self.at = start + 1;
        self.skip_class(IDENTIFIER);
        if self.peek(0) == Some(b'\'') || self.checks_words {
            return self.unusual_word(start);
        }
        self.lexeme(Token::Word, start)
    }

    /// A word before a quote, or in a character set that needs a closer look.
    #[cold]
    fn unusual_word(&mut self, start: usize) -> Lexeme {
        let text = &self.sql[start..self.at];
        // 0xA0 is white space in latin1 and would end the word for the server.
        if self.checks_words && !text.is_ascii() {
            self.suspect(Doubt::Charset);
        }
        // x'1F', b'01', n'text': the prefix belongs to the literal.
        if self.peek(0) == Some(b'\'') && matches!(text, b"x" | b"X" | b"b" | b"B" | b"n" | b"N") {
            return self.quoted(self.at, b'\'', Token::String);
        }
        self.lexeme(Token::Word, start)
    }

    /// A string or quoted identifier whose quote stands at `start`.
    fn quoted(&mut self, start: usize, quote: u8, token: Token) -> Lexeme {
        let escapes = token == Token::String && !self.dialect.no_backslash_escapes;
        let mut at = start + 1;
        loop {
            let rest = self.sql.get(at..).unwrap_or_default();
            let found = if escapes { memchr2(quote, b'\\', rest) } else { memchr(quote, rest) };
            let Some(offset) = found else {
                self.suspect(Doubt::Unterminated);
                self.at = self.sql.len();
                return self.lexeme(token, start);
            };
            at += offset;
            if self.sql[at] == b'\\' || self.sql.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                self.at = at + 1;
                return match token {
                    Token::Identifier => Lexeme { token, start: start + 1, end: at },
                    _ => self.lexeme(token, start),
                };
            }
        }
    }
}

/// Whether anything stands between a word and the parenthesis behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glued {
    Yes,
    No,
}
