//! Where a statement may run: one pass over its tokens, without allocation.
//!
//! The rule is to fail to the primary: a statement may run on a replica only when every token of
//! it is known to be harmless there. A statement that is misjudged as needing the primary costs a
//! little load; the other way round it would lose a write or a lock.

mod body;
#[cfg(test)]
mod tests;
mod tokens;

use self::body::Body;
use super::digest::Digester;
use super::head::{Head, Mode, head_of, under_harmless_settings};
use super::hint::{HintTarget, Hints};
use super::keywords::Keyword;
use super::lexer::{Lexeme, Lexer, Token};
use super::system_tables::is_system_database;
use super::words::{Word, lookup};
use super::{Destination, Dialect, Effects, Kind, Reason};
use crate::wire::Flavour;

/// What the text of a statement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    pub kind: Kind,
    pub destination: Destination,
    /// The rule that decided the destination.
    pub reason: Reason,
    pub effects: Effects,
    pub hints: Hints,
    /// The statement's shape; see [`super::digest`].
    pub digest: u64,
    /// The destination is the primary only because the token scan cannot tell a column list from
    /// a function call; a full parse may show the statement to be a read.
    pub open: bool,
}

impl Statement {
    /// The statement as it is to be judged while `database` is the session's default database:
    /// in a system database unqualified tables tell about one server.
    #[must_use]
    pub fn within(self, database: &[u8]) -> Self {
        let reads_it = (self.destination == Destination::Replica
            || self.reason == Reason::UserVariable)
            && self.effects.contains(Effects::READS_TABLES)
            && self.kind != Kind::Show;
        if reads_it && !self.hints.asks_for_replica() && is_system_database(database) {
            return Statement {
                destination: Destination::Primary,
                reason: Reason::SystemTable,
                // Perhaps from performance_schema.session_variables.
                effects: self.effects | Effects::SHOWS_TRACKING,
                ..self
            };
        }
        self
    }

    /// The open statement as a full parse has judged it.
    #[must_use]
    pub fn settled(self, destination: Destination, reason: Reason) -> Self {
        let mut effects = self.effects;
        match (destination, reason) {
            (Destination::Replica, _) => effects.remove(Effects::CALLS_ROUTINE),
            (_, Reason::UnknownFunction) => effects.insert(Effects::CALLS_ROUTINE),
            _ => {}
        }
        Statement { destination, reason, effects, open: false, ..self }
    }

    /// Whether a replica would do while there is no primary: the statement is a read, and only
    /// its answer differs from server to server.
    pub fn replica_would_do(&self) -> bool {
        self.destination == Destination::Replica
            || (self.destination == Destination::Primary && self.reason.hint_may_overrule())
    }
}

/// Classifies one command's text. Never panics and never allocates; bytes that are no SQL go to
/// the primary, which has the right error for them.
pub fn classify(sql: &[u8], dialect: Dialect) -> Statement {
    let mut scan = Scan::new(sql, dialect);
    scan.run();
    scan.verdict()
}

/// The token before the one at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Previous {
    /// Nothing yet in this statement.
    Start,
    /// A word that is not in the table, or a quoted identifier.
    Name,
    Word(Keyword),
    Literal,
    UserVariable,
    Dot,
    Comma,
    Open,
    Close,
    Operator,
}

struct Scan<'a> {
    sql: &'a [u8],
    dialect: Dialect,
    lexer: Lexer<'a>,
    digest: Digester,
    hints: Hints,
    effects: Effects,
    kind: Kind,
    mode: Mode,
    previous: Previous,
    depth: u32,
    /// Statements that began so far.
    statements: u32,
    /// The first thing found that forbids a replica for good.
    forbidden: Option<Reason>,
    /// The first thing found that only makes answers differ.
    differs: Option<Reason>,
    /// A name before a parenthesis stands where no call can stand.
    ambiguous: bool,
    reads_user_variable: bool,
    /// WITH was seen at the head, and the query behind it not yet.
    awaits_query: bool,
    /// The head was WITH, and a keyword of a writing statement was found.
    writes: bool,
    /// The options of EXPLAIN are being passed; no function is called among them.
    explain_options: bool,
    /// A table to write to is expected: `name (` is its column list.
    awaits_table: bool,
    /// Of a routine that is being defined.
    body: Body,
}

impl<'a> Scan<'a> {
    fn new(sql: &'a [u8], dialect: Dialect) -> Self {
        Scan {
            sql,
            dialect,
            lexer: Lexer::new(sql, dialect),
            digest: Digester::new(),
            hints: Hints::default(),
            effects: Effects::empty(),
            kind: Kind::Empty,
            mode: Mode::Read,
            previous: Previous::Start,
            depth: 0,
            statements: 0,
            forbidden: None,
            differs: None,
            ambiguous: false,
            reads_user_variable: false,
            awaits_query: false,
            writes: false,
            explain_options: false,
            awaits_table: false,
            body: Body::default(),
        }
    }

    #[cold]
    fn forbid(&mut self, reason: Reason) {
        self.forbidden.get_or_insert(reason);
    }

    #[cold]
    fn differ(&mut self, reason: Reason) {
        self.differs.get_or_insert(reason);
    }

    fn run(&mut self) {
        let mut separator = None;
        while let Some((before, first)) = self.first() {
            if let Some(separator) = separator {
                // The separator is a part of the shape only when something follows it.
                self.digest.token(self.sql, separator);
            }
            if self.body.is_open() {
                // A statement in a routine's body is a part of its CREATE. But if the body ended
                // earlier than it looks, it runs now.
                self.effects |= Effects::UNKNOWN;
                self.of_routine(first);
            } else {
                let (before, first) = self.inner(before, first);
                self.begin(before, first);
            }
            separator = match self.mode {
                Mode::Routine => self.rest_of_routine(),
                _ => self.rest(),
            };
        }
    }

    /// The first token of the next statement, and where it was looked for.
    fn first(&mut self) -> Option<(Lexer<'a>, Lexeme)> {
        loop {
            let before = self.lexer;
            let lexeme = self.lexer.next();
            match lexeme.token {
                Token::End => return None,
                Token::Hint => self.hint(lexeme),
                Token::Semicolon => {}
                _ => return Some((before, lexeme)),
            }
        }
    }

    /// The statement itself, behind settings that hold for it alone.
    #[inline]
    fn inner(&mut self, before: Lexer<'a>, first: Lexeme) -> (Lexer<'a>, Lexeme) {
        let is_set = self.dialect.flavour == Flavour::MariaDb
            && first.token == Token::Word
            && self.lexer.text(first).eq_ignore_ascii_case(b"set");
        match is_set.then(|| under_harmless_settings(before)).flatten() {
            Some(inner) => self.pass_settings(first, inner),
            None => (before, first),
        }
    }

    #[cold]
    fn pass_settings(&mut self, first: Lexeme, inner: Lexer<'a>) -> (Lexer<'a>, Lexeme) {
        self.effects |= Effects::OWN_SETTINGS;
        // They are a part of the shape.
        self.mode = Mode::Opaque;
        self.token(first);
        while self.lexer.position() < inner.position() {
            let lexeme = self.lexer.next();
            match lexeme.token {
                Token::Hint => self.hint(lexeme),
                _ => self.token(lexeme),
            }
        }
        self.first().unwrap_or((self.lexer, Lexeme { token: Token::End, ..first }))
    }

    /// Passes the rest of a statement; gives the `;` behind it.
    fn rest(&mut self) -> Option<Lexeme> {
        loop {
            let lexeme = self.lexer.next();
            match lexeme.token {
                Token::Word => self.word(lexeme),
                Token::End => return None,
                Token::Hint => self.hint(lexeme),
                Token::Semicolon => return Some(lexeme),
                _ => self.token(lexeme),
            }
        }
    }

    /// The same in the definition of a routine.
    #[cold]
    fn rest_of_routine(&mut self) -> Option<Lexeme> {
        loop {
            let lexeme = self.lexer.next();
            match lexeme.token {
                Token::End => return None,
                Token::Hint => self.hint(lexeme),
                Token::Semicolon => {
                    self.body.pass(lexeme.token, b";");
                    return Some(lexeme);
                }
                _ => self.of_routine(lexeme),
            }
        }
    }

    fn of_routine(&mut self, lexeme: Lexeme) {
        self.body.pass(lexeme.token, self.lexer.text(lexeme));
        self.token(lexeme);
    }

    #[cold]
    fn hint(&mut self, lexeme: Lexeme) {
        self.hints.read(self.lexer.text(lexeme), lexeme.start);
    }

    /// A statement begins at `lexer` with the token `first`.
    #[inline]
    fn begin(&mut self, lexer: Lexer<'a>, first: Lexeme) {
        self.statements += 1;
        let word = Word::new(self.sql, first.start, first.end);
        let entry = match first.token {
            Token::Word => lookup(&word),
            _ => None,
        };
        let keyword = entry.map_or(Keyword::None, |entry| entry.keyword);
        let head = match keyword {
            // The common heads need no second look.
            Keyword::Select => Head {
                kind: Kind::Select,
                mode: Mode::Read,
                reason: None,
                effects: Effects::empty(),
            },
            Keyword::Insert | Keyword::Update | Keyword::Delete | Keyword::Replace => Head {
                kind: Kind::Dml,
                mode: Mode::Write,
                reason: Some(Reason::Write),
                effects: Effects::empty(),
            },
            _ => head_of(lexer),
        };
        self.kind = head.kind;
        self.mode = head.mode;
        self.effects |= head.effects;
        self.previous = Previous::Start;
        self.depth = 0;
        self.awaits_query = head.kind == Kind::Select && keyword == Keyword::With;
        self.awaits_table = false;
        self.body = Body::default();
        self.explain_options = head.kind == Kind::Explain && head.mode == Mode::Read;
        match head.reason {
            Some(reason) if reason.hint_may_overrule() => self.differ(reason),
            Some(reason) => self.forbid(reason),
            None => {}
        }
        match first.token {
            Token::Word => self.word_with(first, word, entry),
            _ => self.token(first),
        }
    }

    fn verdict(mut self) -> Statement {
        if self.statements == 0 {
            self.forbid(Reason::Empty);
        }
        // Doubt about the text outweighs a reason that says the statement to be a read.
        if let Some(doubt) = self.lexer.doubt()
            && (self.forbidden.is_none_or(Reason::hint_may_overrule) || self.statements == 0)
        {
            self.forbidden = Some(doubt.into());
        }
        if self.writes && self.kind == Kind::Select {
            self.kind = Kind::Dml;
        }
        if self.statements > 1 {
            self.kind = Kind::Multi;
            self.forbidden = Some(Reason::MultiStatement);
        }
        let (destination, reason, open) = self.destination();
        Statement {
            kind: self.kind,
            destination,
            reason,
            effects: self.effects,
            hints: self.hints,
            digest: self.digest.finish(),
            open,
        }
    }

    /// The destination by order of weight: what forbids a replica, what only the previous
    /// connection knows, a hint, what makes answers differ, what cannot be told, and user
    /// variables last, so that session code knows that they alone stand in the way.
    fn destination(&self) -> (Destination, Reason, bool) {
        let primary = |reason| (Destination::Primary, reason, false);
        if self.hints.target == Some(HintTarget::Primary) {
            return primary(self.forbidden.unwrap_or(Reason::Hint));
        }
        if let Some(reason) = self.forbidden {
            return primary(reason);
        }
        if self.effects.contains(Effects::READS_DIAGNOSTICS) {
            // The previous statement may have run on a replica, and no session is tied to one.
            if self.effects.intersects(Effects::BINDING) {
                return primary(Reason::Diagnostics);
            }
            return (Destination::Previous, Reason::Diagnostics, false);
        }
        if self.hints.unknown {
            return primary(Reason::UnknownHint);
        }
        let differs = self.differs.filter(|_| !self.hints.asks_for_replica());
        if self.ambiguous || self.awaits_query {
            let only = differs.is_none() && !self.reads_user_variable;
            let reason =
                if self.ambiguous { Reason::UnknownFunction } else { Reason::NotUnderstood };
            return (Destination::Primary, reason, only);
        }
        if let Some(reason) = differs {
            return primary(reason);
        }
        if self.reads_user_variable {
            return primary(Reason::UserVariable);
        }
        if is_primarys_snapshot(self.kind, self.dialect) {
            return primary(Reason::TransactionControl);
        }
        let reason = match self.kind {
            _ if self.differs.is_some() => Reason::Hint,
            Kind::Begin { .. } => Reason::BeginsReadOnly,
            _ => Reason::Read,
        };
        (Destination::Replica, reason, false)
    }
}

/// Whether a transaction begins that a replica cannot serve to its end: MariaDB's, which are
/// `read_only`, refuse to commit a READ ONLY one WITH CONSISTENT SNAPSHOT if a savepoint was set in it
/// (1290, tried on 10.11).
pub fn is_primarys_snapshot(kind: Kind, dialect: Dialect) -> bool {
    dialect.flavour == Flavour::MariaDb
        && matches!(kind, Kind::Begin { consistent_snapshot: true, .. })
}
