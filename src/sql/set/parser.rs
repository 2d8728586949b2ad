//! The grammar of SET.

use std::borrow::Cow;

use super::{Assignment, Isolation, Scope, TransactionScope, Value, ValueKind};
use crate::sql::lexer::{Lexeme, Lexer, Token, VariableScope};

pub(super) struct Parser<'a> {
    pub(super) sql: &'a [u8],
    pub(super) lexer: Lexer<'a>,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Lexeme {
        self.lexer.next_significant()
    }

    /// Passes everything up to the end of the statement and gives its text.
    fn rest(&mut self) -> Option<&'a [u8]> {
        let mut ahead = self.lexer;
        ahead.next_significant();
        let start = ahead.began();
        let mut end = start;
        loop {
            let before = self.lexer;
            let lexeme = self.next();
            match lexeme.token {
                Token::End | Token::Semicolon => {
                    self.lexer = before;
                    break;
                }
                _ => end = self.lexer.position(),
            }
        }
        self.lexer.accept_end().then(|| self.sql.get(start..end)).flatten()
    }

    pub(super) fn statement(&mut self) -> Option<Vec<Assignment<'a>>> {
        if !self.lexer.accept_word("set") {
            return None;
        }
        if self.lexer.accept_word("password") {
            return self.rest().map(|_| vec![Assignment::Password]);
        }
        if self.lexer.accept_words(&["default", "role"]) {
            return self.rest().map(|_| vec![Assignment::DefaultRole]);
        }
        if self.lexer.accept_word("role") {
            return self.rest().map(|text| vec![Assignment::Role { text }]);
        }
        if self.lexer.accept_words(&["resource", "group"]) {
            return self.rest().map(|_| vec![Assignment::ResourceGroup]);
        }
        if let Some(scope) = self.transaction_scope() {
            return self.transaction(scope).map(|item| vec![item]);
        }
        let mut assignments = Vec::with_capacity(1);
        // GLOBAL and SESSION hold for the following items too [tried on both servers].
        let mut scope = Scope::Session;
        loop {
            assignments.push(self.assignment(&mut scope)?);
            match self.next().token {
                Token::Comma => {}
                Token::End => return Some(assignments),
                Token::Semicolon if self.next().token == Token::End => return Some(assignments),
                _ => return None,
            }
        }
    }

    fn transaction_scope(&mut self) -> Option<TransactionScope> {
        if self.lexer.accept_word("transaction") {
            Some(TransactionScope::Next)
        } else if self.lexer.accept_words(&["session", "transaction"])
            || self.lexer.accept_words(&["local", "transaction"])
        {
            Some(TransactionScope::Session)
        } else if self.lexer.accept_words(&["global", "transaction"]) {
            Some(TransactionScope::Global)
        } else {
            None
        }
    }

    fn transaction(&mut self, scope: TransactionScope) -> Option<Assignment<'a>> {
        let (mut isolation, mut read_only) = (None, None);
        loop {
            if self.lexer.accept_words(&["isolation", "level"]) {
                isolation = Some(if self.lexer.accept_words(&["repeatable", "read"]) {
                    Isolation::RepeatableRead
                } else if self.lexer.accept_words(&["read", "committed"]) {
                    Isolation::ReadCommitted
                } else if self.lexer.accept_words(&["read", "uncommitted"]) {
                    Isolation::ReadUncommitted
                } else if self.lexer.accept_word("serializable") {
                    Isolation::Serializable
                } else {
                    return None;
                });
            } else if self.lexer.accept_words(&["read", "only"]) {
                read_only = Some(true);
            } else if self.lexer.accept_words(&["read", "write"]) {
                read_only = Some(false);
            } else {
                return None;
            }
            if !self.lexer.accept(Token::Comma) {
                break;
            }
        }
        self.lexer.accept_end().then_some(Assignment::Transaction { scope, isolation, read_only })
    }

    fn assignment(&mut self, scope: &mut Scope) -> Option<Assignment<'a>> {
        if self.lexer.accept_word("names") {
            let charset = self.charset()?;
            let collation = match self.lexer.accept_word("collate") {
                true => Some(self.charset()?),
                false => None,
            };
            return Some(Assignment::Names { charset, collation });
        }
        if self.lexer.accept_word("charset")
            || self.lexer.accept_words(&["character", "set"])
            || self.lexer.accept_words(&["char", "set"])
        {
            return Some(Assignment::CharacterSet { charset: self.charset()? });
        }
        for (word, named) in [
            ("session", Scope::Session),
            ("local", Scope::Session),
            ("global", Scope::Global),
            ("persist", Scope::Persist),
            ("persist_only", Scope::PersistOnly),
        ] {
            if self.lexer.accept_word(word) {
                *scope = named;
                break;
            }
        }
        let name = self.next();
        match name.token {
            Token::UserVariable => {
                let name = lower(self.lexer.text(name));
                let value = self.value()?;
                Some(Assignment::UserVariable { name, value })
            }
            Token::SystemVariable(written) => {
                let text = self.lexer.text(name);
                let scope = match written {
                    VariableScope::Global => Scope::Global,
                    VariableScope::Persist => Scope::Persist,
                    VariableScope::Unspecified if is_of_transaction(text) => Scope::NextTransaction,
                    VariableScope::Session | VariableScope::Unspecified => Scope::Session,
                };
                self.variable(scope, text)
            }
            Token::Word | Token::Identifier => {
                let mut text = self.lexer.text(name);
                if name.token == Token::Word && self.lexer.accept(Token::Dot) {
                    // A named key cache: GLOBAL hot.key_buffer_size
                    let part = self.next();
                    if part.token != Token::Word {
                        return None;
                    }
                    text = &self.sql[name.start..part.end];
                }
                self.variable(*scope, text)
            }
            _ => None,
        }
    }

    fn variable(&mut self, scope: Scope, name: &'a [u8]) -> Option<Assignment<'a>> {
        let name = match lower(name) {
            Cow::Borrowed(name) => Cow::Borrowed(std::str::from_utf8(name).ok()?),
            Cow::Owned(name) => Cow::Owned(String::from_utf8(name).ok()?),
        };
        let value = self.value()?;
        Some(Assignment::Variable { scope, name, value })
    }

    /// One word or string, behind NAMES and the like.
    fn charset(&mut self) -> Option<Value<'a>> {
        let lexeme = self.next();
        let text = self.lexer.text(lexeme);
        let kind = match lexeme.token {
            Token::Word if text.eq_ignore_ascii_case(b"default") => ValueKind::Default,
            Token::Word => ValueKind::Word,
            Token::String => ValueKind::String,
            _ => return None,
        };
        Some(Value { kind, text })
    }

    /// `= value` or `:= value`, up to the next comma outside parentheses or the end.
    fn value(&mut self) -> Option<Value<'a>> {
        if !matches!(self.next().token, Token::Assign | Token::Operator(b'=')) {
            return None;
        }
        let mut shape = Shape::Nothing;
        let mut start = None;
        let mut end = 0;
        let mut depth = 0u32;
        loop {
            let before = self.lexer;
            let lexeme = self.next();
            match lexeme.token {
                Token::End | Token::Semicolon => {
                    self.lexer = before;
                    break;
                }
                Token::Comma if depth == 0 => {
                    self.lexer = before;
                    break;
                }
                Token::Open => depth += 1,
                Token::Close => depth = depth.checked_sub(1)?,
                _ => {}
            }
            let prefix = lexeme.token == Token::String && self.lexer.began() < lexeme.start;
            shape = shape.extended(lexeme.token, self.lexer.text(lexeme), prefix);
            start.get_or_insert(self.lexer.began());
            end = self.lexer.position();
        }
        let text = self.sql.get(start?..end)?;
        Some(Value { kind: shape.kind(), text })
    }
}

/// What the tokens of a value look like so far.
#[derive(Clone, Copy)]
enum Shape {
    Nothing,
    Sign,
    Introducer,
    Done(ValueKind),
}

impl Shape {
    fn extended(self, token: Token, text: &[u8], prefix: bool) -> Self {
        let is = |known: &str| text.eq_ignore_ascii_case(known.as_bytes());
        Shape::Done(match (self, token) {
            (Shape::Nothing, Token::Word) if is("default") => ValueKind::Default,
            (Shape::Nothing, Token::Word) if is("null") => ValueKind::Null,
            (Shape::Nothing, Token::Word) if text.first() == Some(&b'_') => {
                return Shape::Introducer;
            }
            (Shape::Nothing, Token::Word) if is_niladic_function(text) => ValueKind::Expression,
            (Shape::Nothing, Token::Word) => ValueKind::Word,
            (Shape::Nothing, Token::Operator(b'-' | b'+')) => return Shape::Sign,
            (Shape::Nothing | Shape::Sign, Token::Number) => ValueKind::Number,
            (Shape::Nothing, Token::String) if prefix => ValueKind::OtherLiteral,
            (Shape::Nothing, Token::String) => ValueKind::String,
            (Shape::Introducer, Token::String) => ValueKind::OtherLiteral,
            (Shape::Done(ValueKind::String | ValueKind::OtherLiteral), Token::String) => {
                ValueKind::OtherLiteral
            }
            _ => ValueKind::Expression,
        })
    }

    fn kind(self) -> ValueKind {
        match self {
            Shape::Done(kind) => kind,
            // A lone word with an underscore is a name as any other.
            Shape::Introducer => ValueKind::Word,
            Shape::Nothing | Shape::Sign => ValueKind::Expression,
        }
    }
}

/// Functions that are called without parentheses.
fn is_niladic_function(word: &[u8]) -> bool {
    [
        "current_date",
        "current_role",
        "current_time",
        "current_timestamp",
        "current_user",
        "localtime",
        "localtimestamp",
        "utc_date",
        "utc_time",
        "utc_timestamp",
    ]
    .iter()
    .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

/// Variables that `SET @@name` sets for the next transaction, while `SET name` sets them for the
/// session [tried on both servers].
fn is_of_transaction(name: &[u8]) -> bool {
    ["transaction_isolation", "tx_isolation", "transaction_read_only", "tx_read_only"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn lower(name: &[u8]) -> Cow<'_, [u8]> {
    if name.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}
