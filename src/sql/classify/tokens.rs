//! What each token says about where its statement may run.

use super::{Previous, Scan};
use crate::sql::functions::{Arguments, Call};
use crate::sql::head::Mode;
use crate::sql::keywords::Keyword;
use crate::sql::lexer::{Glued, Lexeme, Token, VariableScope};
use crate::sql::variables::{Reading, reading};
use crate::sql::words::{Entry, Word, lookup};
use crate::sql::{Effects, Reason, system_tables};
use crate::wire::Flavour;

/// How many tokens are looked ahead at most.
const FURTHEST: u32 = 64;

impl Scan<'_> {
    /// Any token. Words have a way of their own where they are frequent.
    #[inline(always)]
    pub(super) fn token(&mut self, lexeme: Lexeme) {
        self.previous = match lexeme.token {
            Token::Word => return self.rare_word(lexeme),
            Token::Identifier => return self.identifier(lexeme),
            Token::Comma => {
                self.digest.comma();
                Previous::Comma
            }
            Token::Open => {
                self.digest.open();
                self.depth += 1;
                self.awaits_table = false;
                self.explain_options = false;
                Previous::Open
            }
            Token::Close => {
                self.digest.close();
                self.depth = self.depth.saturating_sub(1);
                Previous::Close
            }
            Token::String if self.sql[lexeme.start] == b'"' => return self.double_quoted(lexeme),
            Token::String | Token::Number | Token::Parameter => {
                self.digest.literal();
                Previous::Literal
            }
            Token::Dot => {
                self.digest.byte(b'.', lexeme);
                Previous::Dot
            }
            _ => return self.rare_token(lexeme),
        };
    }

    #[inline(never)]
    fn rare_word(&mut self, lexeme: Lexeme) {
        self.word(lexeme);
    }

    #[inline(never)]
    fn rare_token(&mut self, lexeme: Lexeme) {
        self.digest.token(self.sql, lexeme);
        self.previous = match lexeme.token {
            Token::UserVariable => {
                self.user_variable(lexeme);
                Previous::UserVariable
            }
            Token::SystemVariable(scope) => {
                self.system_variable(scope, lexeme);
                Previous::Literal
            }
            Token::Assign => {
                self.assignment();
                Previous::Operator
            }
            _ => Previous::Operator,
        };
    }

    #[inline(always)]
    pub(super) fn word(&mut self, lexeme: Lexeme) {
        let word = Word::new(self.sql, lexeme.start, lexeme.end);
        self.word_with(lexeme, word, lookup(&word));
    }

    #[inline(always)]
    pub(super) fn word_with(&mut self, lexeme: Lexeme, word: Word, entry: Option<&'static Entry>) {
        let keyword = entry.map_or(Keyword::None, |entry| entry.keyword);
        self.digest.word(word, keyword, lexeme);
        if self.is_not_run() {
            self.previous = Previous::Name;
            return;
        }
        let call = self.lexer.at_open_parenthesis();
        if self.previous == Previous::Dot && self.sql[lexeme.start - 1] == b'.' {
            // Directly behind a point every word is a name.
            if keyword == Keyword::Sequence {
                self.forbid_read(Reason::Sequence);
            }
            if call.is_some() {
                self.qualified_call();
            }
            self.previous = Previous::Name;
            return;
        }
        match (entry, call) {
            (None, None) => self.previous = Previous::Name,
            (_, Some(_)) if self.previous == Previous::Dot => {
                self.qualified_call();
                self.previous = Previous::Name;
            }
            (None, Some(_)) => {
                self.unknown_call(lexeme);
                self.previous = Previous::Name;
            }
            (Some(entry), call) => {
                if keyword != Keyword::None && keyword != Keyword::Plain {
                    self.keyword(keyword, call.is_some());
                }
                if let Some(glued) = call {
                    self.known_call(entry, glued, lexeme);
                }
                self.previous = Previous::Word(keyword);
            }
        }
    }

    /// A quoted identifier. Built-ins are not called by quoted names, stored functions are.
    #[inline(never)]
    fn identifier(&mut self, lexeme: Lexeme) {
        let word = Word::new(self.sql, lexeme.start, lexeme.end);
        self.digest.word(word, Keyword::None, lexeme);
        if !self.is_not_run() {
            let entry = lookup(&word);
            match entry.map(|entry| entry.keyword) {
                Some(keyword @ (Keyword::SystemSchema | Keyword::InformationSchema)) => {
                    self.schema(keyword);
                }
                Some(Keyword::Sequence) if self.previous == Previous::Dot => {
                    self.forbid_read(Reason::Sequence);
                }
                _ => {}
            }
            if self.lexer.at_open_parenthesis().is_some() {
                let is_built_in =
                    |entry: &Entry| entry.call_in(self.dialect, true) != Call::Unknown;
                if self.previous == Previous::Dot {
                    self.qualified_call();
                } else if entry.is_some_and(is_built_in) {
                    // The full parse sees no quotes either.
                    self.stored_call(lexeme);
                } else {
                    self.unknown_call(lexeme);
                }
            }
        }
        self.previous = Previous::Name;
    }

    /// A string between double quotes. Under ANSI_QUOTES it would be a name; the primary may have
    /// changed its global `sql_mode` a moment ago, and a replica may have another. No string stands
    /// before a parenthesis, so that a call by such a name is found all the same.
    #[inline(never)]
    fn double_quoted(&mut self, lexeme: Lexeme) {
        self.digest.literal();
        if !self.is_not_run() && self.lexer.at_open_parenthesis().is_some() {
            self.unknown_call(lexeme);
        }
        self.previous = Previous::Literal;
    }

    /// Whether the rest of the statement is something that does not run now.
    fn is_not_run(&self) -> bool {
        matches!(self.mode, Mode::Opaque | Mode::Routine)
    }

    fn reads(&self) -> bool {
        matches!(self.mode, Mode::Read | Mode::Show)
    }

    /// Forbids a replica where that is still open.
    #[cold]
    fn forbid_read(&mut self, reason: Reason) {
        if self.reads() {
            self.forbid(reason);
        }
    }

    fn keyword(&mut self, keyword: Keyword, called: bool) {
        if matches!(keyword, Keyword::From | Keyword::Table) && self.mode == Mode::Read {
            self.effects |= Effects::READS_TABLES;
        }
        match keyword {
            Keyword::SystemSchema | Keyword::InformationSchema => return self.schema(keyword),
            Keyword::Sql => self.implicit_cursor(),
            Keyword::SqlCalcFoundRows => {
                self.effects |= Effects::FOUND_ROWS;
                self.forbid_read(Reason::CountsRows);
            }
            Keyword::Into => self.into(),
            Keyword::Limit => self.limit(),
            Keyword::Insert | Keyword::Replace if !called && self.depth == 0 => {
                self.explain_options = false;
                self.awaits_table = true;
            }
            Keyword::Update | Keyword::Delete => self.explain_options = false,
            Keyword::From | Keyword::Set | Keyword::Value => self.awaits_table = false,
            Keyword::With => self.explain_options = false,
            Keyword::Select | Keyword::Values | Keyword::Table if self.depth == 0 => {
                self.awaits_query = false;
                self.explain_options = false;
                // `LOAD DATA … INTO TABLE t (a, b)` is still to name its columns.
                self.awaits_table &= keyword == Keyword::Table;
            }
            _ => {}
        }
        if self.mode == Mode::Definition && self.begins_query(keyword) {
            // CREATE TABLE … SELECT runs the query.
            self.mode = Mode::Write;
        }
        match self.mode {
            Mode::Read => {}
            Mode::Show => return self.keyword_of_show(keyword),
            _ => return,
        }
        match keyword {
            Keyword::Insert | Keyword::Replace if called => {}
            Keyword::Update if self.previous == Previous::Word(Keyword::For) => {}
            Keyword::Insert | Keyword::Replace | Keyword::Update | Keyword::Delete => {
                self.writes = true;
                self.forbid(Reason::Write);
            }
            Keyword::For => self.clause_for(),
            Keyword::Lock => self.forbid(Reason::LockingRead),
            Keyword::Procedure => self.forbid(Reason::Procedure),
            Keyword::Sequence if self.previous == Previous::Dot => self.forbid(Reason::Sequence),
            _ => {}
        }
    }

    /// SHOW may have a condition, which may hold whole queries, or (MariaDB) sequences.
    #[cold]
    fn keyword_of_show(&mut self, keyword: Keyword) {
        match keyword {
            Keyword::Lock => self.forbid(Reason::LockingRead),
            Keyword::For if self.previous == Previous::Word(Keyword::Value) => {
                self.forbid(Reason::Sequence);
            }
            Keyword::Sequence if self.previous == Previous::Dot => self.forbid(Reason::Sequence),
            Keyword::Select => self.forbid(Reason::NotUnderstood),
            Keyword::Table | Keyword::Values | Keyword::With if self.depth > 0 => {
                self.forbid(Reason::NotUnderstood);
            }
            _ => {}
        }
    }

    /// SQL at hand: MariaDB's `SQL%ROWCOUNT` tells of the previous statement.
    #[cold]
    fn implicit_cursor(&mut self) {
        let mut ahead = self.lexer;
        let asked = self.dialect.flavour == Flavour::MariaDb
            && ahead.accept(Token::Operator(b'%'))
            && ["rowcount", "found", "notfound"].into_iter().any(|word| ahead.accept_word(word));
        if asked {
            self.effects |= Effects::READS_DIAGNOSTICS;
        }
    }

    /// `LIMIT a, b` and `LIMIT b OFFSET a`.
    fn limit(&mut self) {
        let mut ahead = self.lexer;
        ahead.next_significant();
        if ahead.accept(Token::Comma) || ahead.accept_word("offset") {
            self.effects |= Effects::OFFSET;
        }
    }

    fn into(&mut self) {
        let mut ahead = self.lexer;
        if ahead.next_significant().token == Token::UserVariable {
            self.effects |= Effects::SETS_USER_VARIABLE;
        }
        match self.mode {
            Mode::Read => self.forbid(Reason::Into),
            // LOAD DATA … INTO TABLE t (a, b)
            Mode::Assigning => self.awaits_table = true,
            _ => {}
        }
    }

    /// Whether a query begins with this word in a definition. VALUES also begins the bounds of a
    /// partition.
    fn begins_query(&self, keyword: Keyword) -> bool {
        match keyword {
            Keyword::Select => true,
            Keyword::Values => {
                let mut ahead = self.lexer;
                ahead.accept_word("row") || ahead.accept(Token::Open)
            }
            _ => false,
        }
    }

    /// FOR in a query: a locking clause, a sequence, or one of the harmless clauses.
    #[cold]
    fn clause_for(&mut self) {
        if self.previous == Previous::Word(Keyword::Value) {
            return self.forbid(Reason::Sequence);
        }
        let mut ahead = self.lexer;
        let next = ahead.next_significant();
        let text = match next.token {
            Token::Word => ahead.text(next),
            _ => b"",
        };
        let is = |word: &str| text.eq_ignore_ascii_case(word.as_bytes());
        if is("update") || is("share") {
            self.forbid(Reason::LockingRead);
        } else if ["join", "order", "group", "system_time", "ordinality"].into_iter().any(is) {
            // Index hints, system versioning, JSON_TABLE.
        } else if self.depth == 0 {
            // In parentheses it is SUBSTRING(… FROM … FOR …).
            self.forbid(Reason::NotUnderstood);
        }
    }

    /// The name of a system database: what follows its point decides.
    #[cold]
    fn schema(&mut self, keyword: Keyword) {
        if !self.reads() || self.previous == Previous::Dot {
            return;
        }
        let mut ahead = self.lexer;
        if ahead.next_significant().token != Token::Dot {
            return;
        }
        let table = ahead.next_significant();
        let everywhere_alike = keyword == Keyword::InformationSchema
            && matches!(table.token, Token::Word | Token::Identifier)
            && system_tables::is_alike_everywhere(ahead.text(table));
        if !everywhere_alike {
            self.differ(Reason::SystemTable);
        }
    }

    /// A word of the table stands before a parenthesis.
    fn known_call(&mut self, entry: &Entry, glued: Glued, lexeme: Lexeme) {
        match entry.call_in(self.dialect, glued == Glued::Yes) {
            Call::Harmless if !self.has_arguments(entry.arguments_in(self.dialect)) => {
                self.unknown_call(lexeme);
            }
            Call::Harmless | Call::Syntax => {}
            // A keyword that this server does not reserve: syntax where no call can stand.
            Call::Unknown
                if entry.call == Call::Syntax
                    && (matches!(self.previous, Previous::Close | Previous::Literal)
                        || (entry.keyword == Keyword::JsonTable && self.is_json_table())) => {}
            // Were the parenthesis at its name, it would be a built-in: the full parse, which sees
            // no blanks, must not take it for that.
            Call::Unknown
                if glued == Glued::No && entry.call_in(self.dialect, true) != Call::Unknown =>
            {
                self.stored_call(lexeme);
            }
            Call::Unknown => self.unknown_call(lexeme),
            Call::Diagnostics => self.effects |= Effects::READS_DIAGNOSTICS,
            Call::LastInsertId => {
                self.effects |= Effects::READS_LAST_INSERT_ID;
                self.forbid_read(Reason::LastInsertId);
            }
            Call::ConnectionId => self.forbid_read(Reason::ConnectionId),
            Call::Connection => self.forbid_read(Reason::ConnectionFunction),
            Call::Locks => {
                self.effects |= Effects::NAMED_LOCK;
                self.forbid_read(Reason::LockFunction);
            }
            Call::Unlocks => {
                self.effects |= Effects::RELEASES_LOCK;
                self.forbid_read(Reason::LockFunction);
            }
            Call::AsksLock => self.forbid_read(Reason::LockFunction),
            Call::Sequence => self.forbid_read(Reason::Sequence),
            Call::Writes => self.forbid_read(Reason::WritingFunction),
            Call::Server => self.differ(Reason::ServerFunction),
        }
    }

    /// Whether the parenthesis that follows holds so many arguments. Only a short way is looked
    /// ahead, so that nested calls cost little.
    #[inline]
    fn has_arguments(&self, wanted: Arguments) -> bool {
        match wanted {
            Arguments::Any => true,
            Arguments::Some => self.arguments() != Some(0),
            Arguments::Two => self.arguments() == Some(2),
        }
    }

    /// How many arguments the parenthesis that follows holds; None when it does not end soon.
    #[cold]
    fn arguments(&self) -> Option<u32> {
        let mut ahead = self.lexer;
        ahead.accept(Token::Open);
        if ahead.accept(Token::Close) {
            return Some(0);
        }
        let (mut arguments, mut depth) = (1, 0u32);
        for _ in 0..FURTHEST {
            match ahead.next_significant().token {
                Token::Close if depth == 0 => return Some(arguments),
                Token::Close => depth -= 1,
                Token::Open => depth += 1,
                Token::Comma if depth == 0 => arguments += 1,
                Token::End | Token::Semicolon => return None,
                _ => {}
            }
        }
        None
    }

    /// Whether the parenthesis that follows holds `expression, 'path' COLUMNS (`: no arguments of a
    /// call look so.
    #[cold]
    fn is_json_table(&self) -> bool {
        let mut ahead = self.lexer;
        ahead.accept(Token::Open);
        for _ in 0..FURTHEST {
            match ahead.next_significant().token {
                Token::String if ahead.accept_word("columns") => {
                    return ahead.accept(Token::Open);
                }
                Token::End | Token::Semicolon => return false,
                _ => {}
            }
        }
        false
    }

    #[cold]
    fn qualified_call(&mut self) {
        if self.mode == Mode::Definition || self.awaits_table {
            return;
        }
        self.effects |= Effects::CALLS_ROUTINE;
        self.forbid_read(Reason::QualifiedFunction);
    }

    /// A name that is no built-in stands before a parenthesis: a stored or loadable function, or
    /// a table or alias with its columns.
    #[cold]
    fn unknown_call(&mut self, name: Lexeme) {
        match self.previous {
            _ if self.is_no_call(name) => {}
            // Behind an operand no call can stand, but an alias with its columns.
            Previous::Close | Previous::Literal => self.ambiguous |= self.mode == Mode::Read,
            // The name may be a keyword that is not in the table.
            Previous::Name if self.mode == Mode::Read => {
                self.ambiguous = true;
                self.effects |= Effects::CALLS_ROUTINE;
            }
            _ => self.stored_call(name),
        }
    }

    /// A name that is no built-in as it stands there, and must not be taken for one.
    #[cold]
    fn stored_call(&mut self, name: Lexeme) {
        if !self.is_no_call(name) {
            self.effects |= Effects::CALLS_ROUTINE;
            self.forbid_read(Reason::UnknownFunction);
        }
    }

    /// Whether `name (` stands where only columns or the length of a type can follow.
    fn is_no_call(&self, name: Lexeme) -> bool {
        if self.mode == Mode::Definition || self.awaits_table || self.explain_options {
            return true;
        }
        match self.previous {
            // `CAST(x AS type(10))`, `AS alias (a, b)`, `WITH name (a, b)`
            Previous::Word(Keyword::As | Keyword::With | Keyword::Recursive) => true,
            // JSON_TABLE(…, 'path' COLUMNS (…))
            Previous::Literal if self.lexer.text(name).eq_ignore_ascii_case(b"columns") => true,
            _ => self.is_column_list_of_with(),
        }
    }

    /// Whether `(a, b) AS (` follows: only a common table expression looks so.
    fn is_column_list_of_with(&self) -> bool {
        let mut ahead = self.lexer;
        if ahead.next_significant().token != Token::Open {
            return false;
        }
        loop {
            if !matches!(ahead.next_significant().token, Token::Word | Token::Identifier) {
                return false;
            }
            match ahead.next_significant().token {
                Token::Comma => {}
                Token::Close => break,
                _ => return false,
            }
        }
        let word = ahead.next_significant();
        word.token == Token::Word
            && ahead.text(word).eq_ignore_ascii_case(b"as")
            && ahead.next_significant().token == Token::Open
    }

    fn user_variable(&mut self, lexeme: Lexeme) {
        let assigned = match self.mode {
            Mode::Opaque | Mode::Routine => return,
            Mode::Definition => {
                if self.is_host(lexeme) {
                    return;
                }
                false
            }
            Mode::Assigning => {
                self.effects |= Effects::SETS_USER_VARIABLE;
                false
            }
            Mode::Set => {
                self.depth == 0
                    && matches!(self.previous, Previous::Comma | Previous::Word(Keyword::Set))
            }
            _ => false,
        };
        if assigned {
            self.effects |= Effects::SETS_USER_VARIABLE;
        } else {
            self.effects |= Effects::READS_USER_VARIABLE;
            self.reads_user_variable = true;
        }
    }

    /// Whether `@name` is the host of an account (`DEFINER = user@host`): nothing stands between
    /// it and the user's name.
    fn is_host(&self, lexeme: Lexeme) -> bool {
        let text = &self.sql[..lexeme.start];
        let sign = text.iter().rposition(|byte| *byte == b'@').unwrap_or(0);
        text[..sign].last().is_some_and(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\'' | b'"' | b'`')
        })
    }

    fn assignment(&mut self) {
        if self.is_not_run() {
            return;
        }
        if self.previous == Previous::UserVariable {
            self.effects |= Effects::SETS_USER_VARIABLE;
        }
        self.forbid_read(Reason::AssignsUserVariable);
    }

    fn system_variable(&mut self, scope: VariableScope, lexeme: Lexeme) {
        if self.is_not_run() {
            return;
        }
        match reading(scope, self.lexer.text(lexeme)) {
            Reading::Restored => {}
            Reading::Server => self.differ(Reason::ServerVariable),
            Reading::Connection => self.forbid_read(Reason::ConnectionVariable),
            Reading::Diagnostics => self.effects |= Effects::READS_DIAGNOSTICS,
            Reading::LastInsertId => {
                self.effects |= Effects::READS_LAST_INSERT_ID;
                self.forbid_read(Reason::LastInsertId);
            }
            Reading::TransactionReadOnly => self.forbid_read(Reason::TransactionReadOnly),
        }
    }
}
