//! Literal-free shapes of statements: a hash for lookups and a text for people.
//!
//! Literals become `?`, a list of literals becomes one `?, ...`, a list of such rows one row.
//! Case, white space, comments and the quotes of identifiers do not count. Two statements of one
//! shape share a digest; that two shapes share one is possible and must not matter: a digest
//! never decides whether something is safe.

use super::Dialect;
use super::functions::Call;
use super::keywords::Keyword;
use super::lexer::{Lexeme, Lexer, Token};
use super::words::{Word, lookup, mix};

/// What a shape is made of.
enum Piece {
    Word(Word),
    Literal,
    /// Further literals in a list.
    More,
    /// Further rows like the last.
    Rows,
    Comma,
    Open,
    Close,
    Byte(u8),
}

trait Sink {
    fn push(&mut self, piece: Piece, lexeme: Option<Lexeme>);
}

/// Which literals of a list were passed already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    One,
    Many,
}

/// Where the statement stands between pieces that may still be folded away.
///
/// The tag has a byte of its own: packed into a field it would cost three instructions a token.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Other,
    /// Behind `(`.
    Open,
    /// Behind a literal list; `row` when nothing else stands between it and its `(`.
    Literal {
        list: List,
        row: bool,
    },
    /// As before, with a comma that is held back.
    LiteralComma {
        list: List,
        row: bool,
    },
    /// Behind `( literals )`; `folded` when rows were dropped already.
    Row {
        folded: bool,
    },
    /// `,` is held back.
    RowComma {
        folded: bool,
    },
    /// `, (` is held back.
    RowOpen {
        folded: bool,
    },
    /// `, ( literals` is held back.
    RowLiteral {
        folded: bool,
        list: List,
        comma: bool,
    },
}

/// Folds literals on the way to a sink.
struct Folder<S> {
    sink: S,
    state: State,
}

impl<S: Sink> Folder<S> {
    fn new(sink: S) -> Self {
        Folder { sink, state: State::Other }
    }

    #[inline]
    fn literal(&mut self) {
        self.state = match self.state {
            State::Literal { .. } => self.state,
            State::LiteralComma { list, row } => {
                if list == List::One {
                    self.sink.push(Piece::More, None);
                }
                State::Literal { list: List::Many, row }
            }
            State::RowOpen { folded } => {
                State::RowLiteral { folded, list: List::One, comma: false }
            }
            State::RowLiteral { folded, list, comma } => {
                let list = if comma { List::Many } else { list };
                State::RowLiteral { folded, list, comma: false }
            }
            state => {
                self.settle();
                self.sink.push(Piece::Literal, None);
                State::Literal { list: List::One, row: state == State::Open }
            }
        };
    }

    #[inline]
    fn comma(&mut self) {
        self.state = match self.state {
            State::Literal { list, row } => State::LiteralComma { list, row },
            State::Row { folded } => State::RowComma { folded },
            State::RowLiteral { folded, list, comma: false } => {
                State::RowLiteral { folded, list, comma: true }
            }
            _ => {
                self.settle();
                self.sink.push(Piece::Comma, None);
                State::Other
            }
        };
    }

    #[inline]
    fn open(&mut self) {
        self.state = match self.state {
            State::RowComma { folded } => State::RowOpen { folded },
            _ => {
                self.settle();
                self.sink.push(Piece::Open, None);
                State::Open
            }
        };
    }

    #[inline]
    fn close(&mut self) {
        self.state = match self.state {
            State::RowLiteral { folded, comma: false, .. } => {
                if !folded {
                    self.sink.push(Piece::Rows, None);
                }
                State::Row { folded: true }
            }
            State::Literal { row: true, .. } => {
                self.sink.push(Piece::Close, None);
                State::Row { folded: false }
            }
            _ => {
                self.settle();
                self.sink.push(Piece::Close, None);
                State::Other
            }
        };
    }

    #[inline(always)]
    fn other(&mut self, piece: Piece, lexeme: Lexeme) {
        self.settle();
        self.state = State::Other;
        self.sink.push(piece, Some(lexeme));
    }

    /// Whether a sign or NULL here begins a literal.
    #[inline]
    fn expects_literal(&self) -> bool {
        matches!(
            self.state,
            State::Open
                | State::LiteralComma { .. }
                | State::RowOpen { .. }
                | State::RowLiteral { comma: true, .. }
        )
    }

    /// Pushes what was held back, if anything.
    #[inline(always)]
    fn settle(&mut self) {
        if !matches!(
            self.state,
            State::Other | State::Open | State::Literal { .. } | State::Row { .. }
        ) {
            self.release();
        }
    }

    #[cold]
    fn release(&mut self) {
        match self.state {
            State::Other | State::Open | State::Literal { .. } | State::Row { .. } => {}
            State::LiteralComma { .. } | State::RowComma { .. } => {
                self.sink.push(Piece::Comma, None);
            }
            State::RowOpen { .. } => {
                self.sink.push(Piece::Comma, None);
                self.sink.push(Piece::Open, None);
            }
            State::RowLiteral { list, comma, .. } => {
                self.sink.push(Piece::Comma, None);
                self.sink.push(Piece::Open, None);
                self.sink.push(Piece::Literal, None);
                if list == List::Many {
                    self.sink.push(Piece::More, None);
                }
                if comma {
                    self.sink.push(Piece::Comma, None);
                }
            }
        }
    }

    /// Takes any token.
    fn token(&mut self, sql: &[u8], lexeme: Lexeme) {
        match lexeme.token {
            Token::String | Token::Number | Token::Parameter => self.literal(),
            Token::Comma => self.comma(),
            Token::Open => self.open(),
            Token::Close => self.close(),
            Token::Word | Token::Identifier => {
                let word = Word::new(sql, lexeme.start, lexeme.end);
                self.other(Piece::Word(word), lexeme);
            }
            Token::UserVariable => {
                self.other(Piece::Byte(b'@'), lexeme);
                let word = Word::new(sql, lexeme.start, lexeme.end);
                self.other(Piece::Word(word), lexeme);
            }
            Token::SystemVariable(_) => {
                self.other(Piece::Byte(b'@'), lexeme);
                self.other(Piece::Byte(b'@'), lexeme);
                let word = Word::new(sql, lexeme.start, lexeme.end);
                self.other(Piece::Word(word), lexeme);
            }
            Token::Assign => {
                self.other(Piece::Byte(b':'), lexeme);
                self.other(Piece::Byte(b'='), lexeme);
            }
            Token::Dot => self.other(Piece::Byte(b'.'), lexeme),
            Token::Operator(b'-' | b'+') if self.expects_literal() => {}
            Token::Operator(byte) => self.other(Piece::Byte(byte), lexeme),
            Token::Semicolon => self.other(Piece::Byte(b';'), lexeme),
            Token::Hint | Token::End => {}
        }
    }
}

struct Hash(u64);

impl Sink for Hash {
    #[inline(always)]
    fn push(&mut self, piece: Piece, _: Option<Lexeme>) {
        let value = match piece {
            Piece::Word(word) => word.hash,
            Piece::Literal => 1,
            Piece::More => 2,
            Piece::Rows => 3,
            Piece::Comma => 4,
            Piece::Open => 5,
            Piece::Close => 6,
            Piece::Byte(byte) => 0x100 + u64::from(byte),
        };
        self.0 = mix(self.0 ^ value, 0xa076_1d64_78bd_642f);
    }
}

/// Hashes a statement's shape token by token, for callers that walk the tokens anyway.
pub(super) struct Digester(Folder<Hash>);

impl Digester {
    #[inline]
    pub fn new() -> Self {
        Digester(Folder::new(Hash(0xe703_7ed1_a0b4_28db)))
    }

    /// A word or quoted identifier that was hashed already.
    #[inline(always)]
    pub fn word(&mut self, word: Word, keyword: Keyword, lexeme: Lexeme) {
        if keyword == Keyword::Null && self.0.expects_literal() {
            self.0.literal();
        } else {
            self.0.other(Piece::Word(word), lexeme);
        }
    }

    #[inline(always)]
    pub fn literal(&mut self) {
        self.0.literal();
    }

    #[inline(always)]
    pub fn comma(&mut self) {
        self.0.comma();
    }

    #[inline(always)]
    pub fn open(&mut self) {
        self.0.open();
    }

    #[inline(always)]
    pub fn close(&mut self) {
        self.0.close();
    }

    #[inline(always)]
    pub fn byte(&mut self, byte: u8, lexeme: Lexeme) {
        self.0.other(Piece::Byte(byte), lexeme);
    }

    /// Any other token, and the `;` between statements.
    #[inline]
    pub fn token(&mut self, sql: &[u8], lexeme: Lexeme) {
        self.0.token(sql, lexeme);
    }

    pub fn finish(mut self) -> u64 {
        self.0.release();
        self.0.sink.0
    }
}

/// What was written last, as far as blanks depend on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Nothing, `(`, `.` or `@`: what follows touches it.
    Tight,
    /// A name, a function or a literal.
    Word,
    /// A word that is no function before a parenthesis.
    Keyword,
    Operator,
    /// `,` or `)`
    Mark,
}

struct Text<'a> {
    sql: &'a [u8],
    text: String,
    limit: usize,
    last: Last,
}

impl Sink for Text<'_> {
    fn push(&mut self, piece: Piece, lexeme: Option<Lexeme>) {
        if self.text.len() >= self.limit {
            return;
        }
        let byte;
        let (text, kind) = match (piece, lexeme) {
            (Piece::Word(word), Some(lexeme)) => {
                let keyword = lookup(&word).is_some_and(|entry| entry.call == Call::Syntax);
                let kind = if keyword { Last::Keyword } else { Last::Word };
                (&self.sql[lexeme.start..lexeme.end], kind)
            }
            (Piece::Word(_), None) => return,
            (Piece::Literal, _) => (&b"?"[..], Last::Word),
            (Piece::More | Piece::Rows, _) => (&b", ..."[..], Last::Mark),
            (Piece::Comma, _) => (&b","[..], Last::Mark),
            (Piece::Open, _) => (&b"("[..], Last::Tight),
            (Piece::Close, _) => (&b")"[..], Last::Mark),
            (Piece::Byte(value), _) => {
                byte = [value];
                let tight = matches!(value, b'.' | b'@');
                (&byte[..], if tight { Last::Tight } else { Last::Operator })
            }
        };
        let touches = match text.first() {
            Some(b',' | b')' | b';' | b'.') | None => true,
            Some(b'(') => matches!(self.last, Last::Tight | Last::Word),
            _ if self.last == Last::Tight => true,
            _ => kind == Last::Operator && self.last == Last::Operator,
        };
        if !touches {
            self.text.push(' ');
        }
        // A name may be as long as the statement.
        let text = &text[..text.len().min(self.limit)];
        self.text.push_str(&String::from_utf8_lossy(text));
        self.last = kind;
    }
}

/// A statement's shape as text of about `limit` bytes at most, for lists of statements. Holds no
/// literal of the statement. Keywords and names appear as they were written.
pub fn text(sql: &[u8], dialect: Dialect, limit: usize) -> String {
    let mut lexer = Lexer::new(sql, dialect);
    let mut folder = Folder::new(Text { sql, text: String::new(), limit, last: Last::Tight });
    let mut held = None;
    loop {
        let lexeme = lexer.next_significant();
        if lexeme.token == Token::End || folder.sink.text.len() >= limit {
            break;
        }
        if let Some(semicolon) = held.take() {
            folder.token(sql, semicolon);
        }
        match lexeme.token {
            Token::Semicolon => held = Some(lexeme),
            Token::Word if folder.expects_literal() => {
                let word = Word::new(sql, lexeme.start, lexeme.end);
                match lookup(&word) {
                    Some(entry) if entry.keyword == Keyword::Null => folder.literal(),
                    _ => folder.other(Piece::Word(word), lexeme),
                }
            }
            _ => folder.token(sql, lexeme),
        }
    }
    folder.release();
    let mut text = folder.sink.text;
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_as_text() {
        let table = [
            ("SELECT  c FROM t WHERE id=5;", "SELECT c FROM t WHERE id = ?"),
            ("SELECT a.b, COUNT(*) FROM `x y`.t", "SELECT a.b, COUNT(*) FROM x y.t"),
            ("SELECT a IN (1, -2, NULL) AND (b)", "SELECT a IN (?, ...) AND (b)"),
            ("INSERT INTO t VALUES (1,'a'), (2,'b')", "INSERT INTO t VALUES (?, ...), ..."),
            ("INSERT INTO t (a) VALUES (1), (f(2))", "INSERT INTO t(a) VALUES (?), (f(?))"),
            ("SELECT @a, @@b, 'x' 'y' -- z", "SELECT @a, @@b, ?"),
            ("SELECT a>=1 /* b */ ; SELECT 2", "SELECT a >= ?; SELECT ?"),
            ("SELECT 'unterminated", "SELECT ?"),
            ("", ""),
        ];
        for (sql, expected) in table {
            assert_eq!(text(sql.as_bytes(), Dialect::default(), 200), expected, "{sql}");
        }
        assert_eq!(text("SELECT éé".as_bytes(), Dialect::default(), 8), "SELECT ");
    }
}
