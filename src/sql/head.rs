//! What the first words of a statement say: its kind, what follows from it for the session, and
//! how the rest of it is to be read.

use std::ops::Deref;

use super::lexer::{Lexeme, Lexer, Token};
use super::transaction::parse_begin;
use super::{Effects, Kind, Lock, Reason};

/// How the tokens behind the head are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// May be a read: every token may forbid a replica.
    Read,
    /// SHOW: few keywords mean anything, but conditions may call functions and hold queries.
    Show,
    /// INSERT, REPLACE, UPDATE, DELETE and what else evaluates expressions.
    Write,
    /// LOAD and CALL: user variables named are assigned.
    Assigning,
    /// SET: user variables are assigned or read by their place.
    Set,
    /// CREATE, ALTER …: `name (` is no call.
    Definition,
    /// CREATE PROCEDURE and the like: the rest is not run now, and holds statements.
    Routine,
    /// Views, accounts: the rest says nothing about this session.
    Opaque,
}

/// A statement's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub kind: Kind,
    pub mode: Mode,
    /// Why it may not run on a replica; None when that depends on the rest.
    pub reason: Option<Reason>,
    pub effects: Effects,
}

const fn head(kind: Kind, mode: Mode, reason: Reason, effects: Effects) -> Head {
    Head { kind, mode, reason: Some(reason), effects }
}

const fn read(kind: Kind, mode: Mode) -> Head {
    Head { kind, mode, reason: None, effects: Effects::empty() }
}

/// A word in lower case; one longer than any keyword is cut.
struct Lower {
    bytes: [u8; 24],
    length: usize,
}

impl Deref for Lower {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Lower {
    fn new(text: &[u8]) -> Self {
        let mut bytes = [0; 24];
        let length = text.len().min(bytes.len());
        bytes[..length].copy_from_slice(&text[..length]);
        bytes.make_ascii_lowercase();
        Lower { bytes, length }
    }
}

/// Looks at the words of a statement one after the other.
struct Words<'a> {
    lexer: Lexer<'a>,
}

impl<'a> Words<'a> {
    /// The next token: words as themselves, `(` and `=` too, a user variable as `@`, anything
    /// else as an empty word.
    fn next(&mut self) -> Lower {
        let lexeme = self.lexer.next_significant();
        self.lower(lexeme)
    }

    fn lower(&self, lexeme: Lexeme) -> Lower {
        Lower::new(match lexeme.token {
            Token::Word => self.lexer.text(lexeme),
            Token::Open => b"(",
            Token::UserVariable => b"@",
            Token::Operator(b'=') => b"=",
            _ => b"",
        })
    }

    fn accept(&mut self, word: &str) -> bool {
        self.lexer.accept_word(word)
    }

    fn peek(&self) -> Lower {
        Words { lexer: self.lexer }.next()
    }

    /// Whether any of the remaining tokens of the statement is this word.
    fn any(&self, wanted: &[u8]) -> bool {
        let mut ahead = Words { lexer: self.lexer };
        loop {
            let lexeme = ahead.lexer.next_significant();
            match lexeme.token {
                Token::End | Token::Semicolon => return false,
                _ if &*ahead.lower(lexeme) == wanted => return true,
                _ => {}
            }
        }
    }
}

/// Reads the head of the statement that begins where `lexer` stands.
pub fn head_of(lexer: Lexer<'_>) -> Head {
    let mut words = Words { lexer };
    let mut word = words.next();
    while &*word == b"(" {
        word = words.next();
        // Only queries stand in parentheses.
        if !matches!(&*word, b"(" | b"select" | b"with" | b"table" | b"values") {
            return unknown();
        }
    }
    let none = Effects::empty();
    match &*word {
        b"select" | b"with" | b"values" => read(Kind::Select, Mode::Read),
        b"table" => Head { effects: Effects::READS_TABLES, ..read(Kind::Select, Mode::Read) },
        b"show" => show(words),
        b"explain" | b"describe" | b"desc" => explain(words),
        b"insert" | b"replace" | b"update" | b"delete" => {
            head(Kind::Dml, Mode::Write, Reason::Write, none)
        }
        b"load" => load(words),
        b"begin" | b"start" => begin(lexer, words),
        b"commit" => head(Kind::Commit, Mode::Opaque, Reason::TransactionControl, none),
        b"rollback" => {
            words.accept("work");
            let kind = if words.accept("to") { Kind::Savepoint } else { Kind::Rollback };
            head(kind, Mode::Opaque, Reason::TransactionControl, none)
        }
        b"savepoint" | b"release" => {
            head(Kind::Savepoint, Mode::Opaque, Reason::TransactionControl, none)
        }
        b"set" => set(words),
        b"use" => head(Kind::Use, Mode::Opaque, Reason::SessionChange, none),
        b"kill" => head(Kind::Kill, Mode::Write, Reason::Administration, none),
        b"call" => head(Kind::Call, Mode::Assigning, Reason::Call, Effects::UNKNOWN),
        b"do" => head(Kind::Other, Mode::Write, Reason::Call, none),
        b"prepare" => head(Kind::Prepare, Mode::Write, Reason::PreparedText, Effects::TEXT_PREPARE),
        b"execute" => head(Kind::Execute, Mode::Write, Reason::PreparedText, Effects::UNKNOWN),
        b"deallocate" => head(Kind::Deallocate, Mode::Opaque, Reason::PreparedText, none),
        b"lock" | b"unlock" | b"backup" | b"handler" => lock(&word, words),
        b"xa" => xa(words),
        b"create" => create(words),
        b"alter" => define(words),
        b"drop" | b"rename" => remove(&*word == b"drop", words),
        b"truncate" => definition(Effects::IMPLICIT_COMMIT),
        b"grant" | b"revoke" => account(),
        b"get" => Head {
            reason: None,
            ..head(Kind::Other, Mode::Assigning, Reason::Diagnostics, Effects::READS_DIAGNOSTICS)
        },
        b"analyze" => analyze(words),
        b"flush" => flush(words),
        b"check" | b"optimize" | b"repair" | b"cache" | b"reset" | b"stop" | b"change"
        | b"install" | b"uninstall" | b"import" => {
            head(Kind::Other, Mode::Opaque, Reason::Administration, Effects::IMPLICIT_COMMIT)
        }
        b"checksum" | b"help" | b"purge" | b"binlog" | b"clone" | b"shutdown" | b"restart"
        | b"signal" | b"resignal" => head(Kind::Other, Mode::Opaque, Reason::Administration, none),
        _ => unknown(),
    }
}

fn lock(first: &[u8], mut words: Words<'_>) -> Head {
    let none = Effects::empty();
    let (kind, effects) = match first {
        b"unlock" if words.accept("tables") || words.accept("table") => {
            (Kind::Unlock(Lock::Tables), none)
        }
        b"unlock" if words.accept("instance") => (Kind::Unlock(Lock::Instance), none),
        // Of other servers
        b"unlock" => (Kind::Other, none),
        b"lock" if words.accept("instance") => (Kind::Lock, Effects::INSTANCE_LOCK),
        b"lock" => (Kind::Lock, Effects::TABLE_LOCK | Effects::IMPLICIT_COMMIT),
        b"handler" if words.any(b"open") => (Kind::Handler, Effects::HANDLER),
        b"handler" => (Kind::Handler, none),
        // BACKUP UNLOCK, BACKUP STAGE END, the other stages, BACKUP LOCK
        _ if words.accept("unlock") => (Kind::Unlock(Lock::Backup), none),
        _ if !words.accept("stage") => (Kind::Lock, Effects::BACKUP_LOCK),
        _ if words.accept("end") => (Kind::Unlock(Lock::BackupStage), none),
        _ => (Kind::Lock, Effects::BACKUP_STAGE),
    };
    head(kind, Mode::Opaque, Reason::TableLock, effects)
}

fn definition(effects: Effects) -> Head {
    head(Kind::Ddl, Mode::Definition, Reason::SchemaChange, effects)
}

fn account() -> Head {
    let effects = Effects::ACCOUNTS | Effects::IMPLICIT_COMMIT;
    head(Kind::Account, Mode::Opaque, Reason::AccountChange, effects)
}

fn begin(lexer: Lexer<'_>, mut words: Words<'_>) -> Head {
    if let Some(begin) = parse_begin(lexer) {
        let kind = Kind::Begin {
            read_only: begin.read_only,
            consistent_snapshot: begin.consistent_snapshot,
        };
        let head = head(kind, Mode::Opaque, Reason::TransactionControl, Effects::IMPLICIT_COMMIT);
        return match begin.read_only {
            // Any server that has the data can serve all of it.
            Some(true) => Head { reason: None, ..head },
            _ => head,
        };
    }
    if matches!(&*words.next(), b"slave" | b"replica" | b"group_replication" | b"all") {
        return head(Kind::Other, Mode::Opaque, Reason::Administration, Effects::IMPLICIT_COMMIT);
    }
    // BEGIN NOT ATOMIC, and forms of later versions.
    head(Kind::Other, Mode::Opaque, Reason::NotUnderstood, Effects::UNKNOWN)
}

fn load(mut words: Words<'_>) -> Head {
    match &*words.next() {
        b"data" | b"xml" => head(Kind::Dml, Mode::Assigning, Reason::Write, Effects::empty()),
        _ => head(Kind::Other, Mode::Opaque, Reason::Administration, Effects::IMPLICIT_COMMIT),
    }
}

fn xa(mut words: Words<'_>) -> Head {
    let effects = match &*words.next() {
        b"start" | b"begin" => Effects::XA,
        _ => Effects::empty(),
    };
    head(Kind::Xa, Mode::Opaque, Reason::TransactionControl, effects)
}

fn set(mut words: Words<'_>) -> Head {
    let session_change = |effects| head(Kind::Set, Mode::Set, Reason::SessionChange, effects);
    match &*words.next() {
        b"password" => account(),
        b"default" if words.accept("role") => account(),
        b"role" => session_change(Effects::SETS_ROLE),
        b"transaction" => session_change(Effects::SETS_TRANSACTION),
        b"session" | b"local" | b"global" if words.accept("transaction") => {
            session_change(Effects::SETS_TRANSACTION)
        }
        b"resource" if words.accept("group") => session_change(Effects::UNKNOWN),
        b"statement" => set_statement(words),
        _ => session_change(Effects::SETS_VARIABLE),
    }
}

/// MariaDB's `SET STATEMENT variable = value, … FOR statement`: does what the inner one does.
fn set_statement(mut words: Words<'_>) -> Head {
    let mut depth = 0u32;
    loop {
        let lexeme = words.lexer.next_significant();
        match lexeme.token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            Token::Word if depth == 0 && &*words.lower(lexeme) == b"for" => {
                // One level only, so that a chain of them costs no recursion.
                let nested = &*words.peek() == b"set";
                let inner = if nested { unknown() } else { head_of(words.lexer) };
                return Head {
                    reason: Some(Reason::SetStatement),
                    effects: inner.effects | Effects::OWN_SETTINGS,
                    ..inner
                };
            }
            Token::End | Token::Semicolon => return unknown(),
            _ => {}
        }
    }
}

/// Variables that change how a statement runs and neither how it is read nor what it does.
const HARMLESS_SETTINGS: [&[u8]; 13] = [
    b"group_concat_max_len",
    b"join_buffer_size",
    b"lock_wait_timeout",
    b"long_query_time",
    b"max_heap_table_size",
    b"max_sort_length",
    b"max_statement_time",
    b"optimizer_search_depth",
    b"optimizer_switch",
    b"read_rnd_buffer_size",
    b"sort_buffer_size",
    b"sql_select_limit",
    b"tmp_table_size",
];

/// Where the inner statement stands of MariaDB's `SET STATEMENT variable = constant, … FOR` when
/// the settings are harmless; another SET STATEMENT is none.
pub fn under_harmless_settings(mut lexer: Lexer<'_>) -> Option<Lexer<'_>> {
    if !lexer.accept_words(&["set", "statement"]) {
        return None;
    }
    loop {
        let name = lexer.next_significant();
        let text = lexer.text(name);
        let harmless = name.token == Token::Word
            && HARMLESS_SETTINGS.iter().any(|known| text.eq_ignore_ascii_case(known));
        if !harmless || !lexer.accept(Token::Operator(b'=')) {
            return None;
        }
        if !matches!(lexer.next_significant().token, Token::Number | Token::String) {
            return None;
        }
        if !lexer.accept(Token::Comma) {
            break;
        }
    }
    let inner = lexer.accept_word("for").then_some(lexer)?;
    let first = lexer.next_significant();
    let is_statement = match first.token {
        Token::Word => !lexer.text(first).eq_ignore_ascii_case(b"set"),
        token => token == Token::Open,
    };
    is_statement.then_some(inner)
}

fn unknown() -> Head {
    head(Kind::Other, Mode::Write, Reason::NotUnderstood, Effects::UNKNOWN)
}

fn create(mut words: Words<'_>) -> Head {
    if words.accept("or") {
        words.accept("replace");
    }
    define(words)
}

/// Behind CREATE [OR REPLACE] and ALTER: what is defined.
fn define(mut words: Words<'_>) -> Head {
    let mut effects = Effects::IMPLICIT_COMMIT;
    loop {
        match &*words.next() {
            b"temporary" => effects = Effects::TEMPORARY_TABLE,
            b"user" | b"role" => return account(),
            b"procedure" | b"function" | b"trigger" | b"event" | b"package" | b"library" => {
                return Head { mode: Mode::Routine, ..definition(effects) };
            }
            // A view's query is not run now.
            b"view" => return Head { mode: Mode::Opaque, ..definition(effects) },
            b"definer" => {
                // DEFINER = user@host | CURRENT_USER[()] | role
                words.lexer.accept(Token::Operator(b'='));
                words.lexer.next_significant();
                words.lexer.accept(Token::UserVariable);
                if words.lexer.accept(Token::Open) {
                    words.lexer.accept(Token::Close);
                }
            }
            b"aggregate" | b"algorithm" | b"=" | b"undefined" | b"merge" | b"temptable"
            | b"sql" | b"security" | b"invoker" => {}
            _ => return definition(effects),
        }
    }
}

/// DROP and RENAME.
fn remove(drops: bool, mut words: Words<'_>) -> Head {
    match &*words.next() {
        b"user" | b"role" => account(),
        b"prepare" if drops => {
            head(Kind::Deallocate, Mode::Opaque, Reason::PreparedText, Effects::empty())
        }
        b"temporary" if drops => definition(Effects::empty()),
        _ => definition(Effects::IMPLICIT_COMMIT),
    }
}

fn flush(words: Words<'_>) -> Head {
    let mut effects = Effects::IMPLICIT_COMMIT;
    // FLUSH TABLES … WITH READ LOCK | FOR EXPORT
    if words.any(b"lock") || words.any(b"export") {
        effects |= Effects::GLOBAL_LOCK;
    }
    if words.any(b"privileges") {
        effects |= Effects::ACCOUNTS;
    }
    head(Kind::Other, Mode::Opaque, Reason::Administration, effects)
}

/// ANALYZE TABLE, or MariaDB's ANALYZE of a statement, which runs it and explains.
fn analyze(mut words: Words<'_>) -> Head {
    match &*words.next() {
        b"select" | b"with" | b"format" | b"(" | b"values" => read(Kind::Explain, Mode::Read),
        b"update" | b"delete" | b"insert" | b"replace" => {
            head(Kind::Explain, Mode::Write, Reason::Write, Effects::empty())
        }
        _ => head(Kind::Other, Mode::Opaque, Reason::Administration, Effects::IMPLICIT_COMMIT),
    }
}

fn explain(mut words: Words<'_>) -> Head {
    let base = Head { effects: Effects::READS_TABLES, ..read(Kind::Explain, Mode::Read) };
    // Options stand in any order before the statement.
    loop {
        match &*words.next() {
            b"extended" | b"partitions" | b"analyze" | b"format" | b"=" | b"json" | b"tree"
            | b"traditional" => {}
            b"for" => {
                return Head { reason: Some(Reason::ConnectionShow), ..base };
            }
            _ => return base,
        }
    }
}

fn show(mut words: Words<'_>) -> Head {
    let replica = read(Kind::Show, Mode::Show);
    let server = head(Kind::Show, Mode::Show, Reason::ServerShow, Effects::empty());
    let connection = head(Kind::Show, Mode::Show, Reason::ConnectionShow, Effects::empty());
    let diagnostics = Head { effects: Effects::READS_DIAGNOSTICS, ..replica };
    while words.accept("full") || words.accept("extended") {}
    match &*words.next() {
        b"tables" | b"columns" | b"fields" | b"databases" | b"schemas" | b"index" | b"indexes"
        | b"keys" | b"charset" | b"collation" | b"triggers" | b"privileges" => replica,
        b"character" if words.accept("set") => replica,
        b"table" if words.accept("status") => replica,
        b"function" | b"procedure" if words.accept("status") => replica,
        b"package" => {
            words.accept("body");
            if words.accept("status") { replica } else { server }
        }
        b"create" => match &*words.next() {
            b"database" | b"schema" | b"table" | b"view" | b"procedure" | b"function"
            | b"trigger" | b"sequence" | b"package" => replica,
            // Events are shown as disabled on a replica, accounts and servers may differ.
            _ => server,
        },
        b"warnings" | b"errors" => diagnostics,
        b"count" => diagnostics,
        b"profile" | b"profiles" | b"explain" | b"analyze" => connection,
        b"variables" => Head { effects: variables(words), ..server },
        b"session" | b"local" if words.accept("variables") => {
            Head { effects: variables(words), ..server }
        }
        _ => server,
    }
}

/// SHOW VARIABLES shows what session tracking is set to, unless a pattern begins otherwise.
fn variables(mut words: Words<'_>) -> Effects {
    if words.accept("like") {
        let pattern = words.lexer.next_significant();
        let text = words.lexer.text(pattern);
        if pattern.token == Token::String
            && let Some(first) = text.get(1)
            && first.is_ascii_alphabetic()
            && !first.eq_ignore_ascii_case(&b's')
        {
            return Effects::empty();
        }
    }
    Effects::SHOWS_TRACKING
}
