//! SET statements in detail: what is assigned, in which scope, and whether the value is a
//! constant, so that the text can be replayed on another connection with the same effect.

mod parser;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use self::parser::Parser;
use super::Dialect;
use super::lexer::{Doubt, Lexer};

/// Whose value of a system variable is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    Session,
    /// `@@transaction_isolation` and its like without a scope: the next transaction's alone.
    NextTransaction,
    Global,
    Persist,
    PersistOnly,
}

/// A transaction isolation level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    /// By the value of `@@transaction_isolation` (`REPEATABLE-READ`), whatever its case.
    pub fn of_name(name: &[u8]) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("READ-UNCOMMITTED") {
            Some(Isolation::ReadUncommitted)
        } else if is("READ-COMMITTED") {
            Some(Isolation::ReadCommitted)
        } else if is("REPEATABLE-READ") {
            Some(Isolation::RepeatableRead)
        } else if is("SERIALIZABLE") {
            Some(Isolation::Serializable)
        } else {
            None
        }
    }
}

/// For which transactions SET TRANSACTION speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionScope {
    /// The next one of this session only.
    Next,
    Session,
    Global,
}

/// What the right side of an assignment is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// DEFAULT
    Default,
    Null,
    /// A number, with or without a sign.
    Number,
    /// One plain string.
    String,
    /// One word: ON, TRUE, the name of a character set.
    Word,
    /// Strings with a prefix or introducer, or several strings side by side.
    OtherLiteral,
    /// Anything else: its value depends on the connection, on data or on time.
    Expression,
}

/// The right side of an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    pub kind: ValueKind,
    /// The text as it stands in the statement.
    pub text: &'a [u8],
}

impl Value<'_> {
    /// Whether the value is the same on every connection and at every time.
    pub fn is_constant(&self) -> bool {
        self.kind != ValueKind::Expression
    }

    /// The word, the number as it was written, or what the string says.
    pub fn plain(&self, dialect: Dialect) -> Option<Vec<u8>> {
        match self.kind {
            ValueKind::Word | ValueKind::Number => Some(self.text.to_vec()),
            ValueKind::String => string_value(self.text, dialect),
            _ => None,
        }
    }

    /// The value of a switch: ON, OFF, TRUE, FALSE, 1, 0, as a word, a string or a number.
    pub fn switch(&self, dialect: Dialect) -> Option<bool> {
        let plain = self.plain(dialect)?;
        let is = |known: &str| plain.eq_ignore_ascii_case(known.as_bytes());
        match self.kind {
            ValueKind::Number => match &*plain {
                b"0" => Some(false),
                b"1" => Some(true),
                _ => None,
            },
            _ if is("on") || is("true") => Some(true),
            _ if is("off") || is("false") => Some(false),
            _ => None,
        }
    }
}

/// One item of a SET statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignment<'a> {
    /// The name is lower-cased.
    Variable { scope: Scope, name: Cow<'a, str>, value: Value<'a> },
    /// The name is lower-cased (ASCII letters only; the server folds more) and unquoted.
    UserVariable { name: Cow<'a, [u8]>, value: Value<'a> },
    /// SET NAMES charset [COLLATE collation]; DEFAULT is possible for the charset.
    Names { charset: Value<'a>, collation: Option<Value<'a>> },
    /// SET CHARACTER SET
    CharacterSet { charset: Value<'a> },
    /// SET [SESSION | GLOBAL] TRANSACTION
    Transaction { scope: TransactionScope, isolation: Option<Isolation>, read_only: Option<bool> },
    /// SET ROLE; the text behind ROLE.
    Role { text: &'a [u8] },
    /// SET DEFAULT ROLE … TO …: changes accounts, not the session.
    DefaultRole,
    /// SET PASSWORD: changes accounts, not the session.
    Password,
    /// SET RESOURCE GROUP: of the connection's thread.
    ResourceGroup,
}

/// Reads a SET statement. None when it is none (`SET STATEMENT … FOR …` is not), when it is not
/// understood, or when another statement follows it.
pub fn parse_set(sql: &[u8], dialect: Dialect) -> Option<Vec<Assignment<'_>>> {
    let mut parser = Parser { sql, lexer: Lexer::new(sql, dialect) };
    let assignments = parser.statement()?;
    // The content of an executable comment was read as the server reads it; whatever else is
    // doubtful is not replayed.
    matches!(parser.lexer.doubt(), None | Some(Doubt::ExecutableComment)).then_some(assignments)
}

/// What a string literal with its quotes says. None when it does not end.
pub fn string_value(literal: &[u8], dialect: Dialect) -> Option<Vec<u8>> {
    let quote = *literal.first()?;
    let inner = literal.get(1..literal.len().checked_sub(1)?)?;
    let mut value = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' && !dialect.no_backslash_escapes {
            match bytes.next()? {
                b'0' => value.push(0),
                b'b' => value.push(8),
                b'n' => value.push(b'\n'),
                b'r' => value.push(b'\r'),
                b't' => value.push(b'\t'),
                b'Z' => value.push(26),
                // Kept as pairs, for LIKE
                escaped @ (b'%' | b'_') => value.extend([b'\\', escaped]),
                other => value.push(other),
            }
        } else {
            value.push(byte);
            if byte == quote {
                bytes.next();
            }
        }
    }
    Some(value)
}
