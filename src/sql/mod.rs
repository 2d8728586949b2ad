//! SQL text, pure: what a statement is, where it may run and what it does to its session.
//!
//! | module | what it holds |
//! |---|---|
//! | [`lexer`] | text to tokens, by the servers' own rules |
//! | [`words`], [`keywords`], [`functions`], [`variables`], [`system_tables`], [`sql_mode`] | the tables of what is known |
//! | [`head`] | what the first words of a statement say |
//! | [`mod@classify`] | one pass over the tokens: destination, reason, effects, hints, digest |
//! | [`reason`] | why a statement goes where it goes |
//! | [`digest`] | the literal-free shape of a statement |
//! | [`hint`] | hints in comments |
//! | [`set`], [`transaction`], [`kill`], [`question`], [`named_locks`] | details that session code acts on |
//! | [`deep`], [`cache`] | a full parse off the hot path, and its verdicts |
//! | [`explain`] | all of it for people |

pub mod cache;
pub mod classify;
pub mod deep;
pub mod digest;
pub mod explain;
pub mod functions;
pub mod get_diagnostics;
pub mod head;
pub mod hint;
pub mod keywords;
pub mod kill;
pub mod lexer;
pub mod named_locks;
pub mod question;
pub mod reason;
pub mod set;
pub mod sql_mode;
pub mod system_tables;
pub mod text_statement;
pub mod transaction;
pub mod variables;
pub mod words;

use bitflags::bitflags;

use crate::wire::Flavour;

pub use classify::{Statement, classify};
pub use hint::{HintTarget, Hints, Span};
pub use reason::Reason;

/// How the client's character set spreads characters over bytes, as far as it matters for finding
/// the ends of words and strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClientCharset {
    /// utf8mb4, utf8mb3, ascii, binary: ASCII bytes are always ASCII characters.
    #[default]
    Utf8,
    /// latin1 and its like, and euckr, gb2312, ujis: no byte from 0x80 hides an ASCII one, but
    /// some are white space.
    SingleByte,
    /// big5, cp932, gbk, gb18030, sjis: the second byte of a character may be a backslash or a
    /// letter.
    Multibyte,
}

impl ClientCharset {
    /// By the name of a character set or of a collation (`gbk`, `gbk_chinese_ci`).
    pub fn of_name(name: &[u8]) -> Self {
        let charset = name.split(|byte| *byte == b'_').next().unwrap_or_default();
        let is = |known: &[u8]| charset.eq_ignore_ascii_case(known);
        if [&b"utf8mb4"[..], b"utf8mb3", b"utf8", b"ascii", b"binary"].into_iter().any(is) {
            ClientCharset::Utf8
        } else if [&b"big5"[..], b"cp932", b"gbk", b"gb18030", b"sjis"].into_iter().any(is) {
            ClientCharset::Multibyte
        } else {
            ClientCharset::SingleByte
        }
    }

    /// By the value of `character_set_client` as it is assigned: a name, perhaps in quotes, or the
    /// number of a collation. None for DEFAULT and NULL.
    pub fn of_setting(value: &str) -> Option<Self> {
        let value = value.trim_matches('\'');
        if value.eq_ignore_ascii_case("DEFAULT") || value.eq_ignore_ascii_case("NULL") {
            return None;
        }
        Some(match value.parse() {
            Ok(number) => ClientCharset::of_collation(number),
            Err(_) => ClientCharset::of_name(value.as_bytes()),
        })
    }

    /// By the number of a collation, as the handshake and COM_CHANGE_USER carry it. Unknown
    /// numbers count as UTF-8: newer servers add only such collations.
    pub fn of_collation(number: u16) -> Self {
        // MariaDB numbers its NO PAD variants by adding 1024.
        let number = if number < 2048 { number & 1023 } else { number };
        match number {
            // big5, sjis, gbk, cp932, gb18030
            1 | 84 | 13 | 88 | 28 | 87 | 95 | 96 | 248..=250 => ClientCharset::Multibyte,
            // ascii, utf8mb3, utf8mb4, binary
            11 | 65 | 33 | 83 | 76 | 45 | 46 | 63 => ClientCharset::Utf8,
            2..=99 => ClientCharset::SingleByte,
            _ => ClientCharset::Utf8,
        }
    }
}

/// What of the server, its `sql_mode` and the session's character set changes how text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dialect {
    pub flavour: Flavour,
    /// As version comments compare it: 80035, 101119. 0 when unknown.
    pub version: u32,
    /// `sql_mode` has NO_BACKSLASH_ESCAPES: a backslash in a string is itself.
    pub no_backslash_escapes: bool,
    /// `sql_mode` has ANSI_QUOTES: `"x"` is an identifier.
    pub ansi_quotes: bool,
    /// The session's `character_set_client`.
    pub charset: ClientCharset,
}

impl Default for Dialect {
    /// MySQL of unknown version with its default `sql_mode` and UTF-8.
    fn default() -> Self {
        Dialect {
            flavour: Flavour::MySql,
            version: 0,
            no_backslash_escapes: false,
            ansi_quotes: false,
            charset: ClientCharset::Utf8,
        }
    }
}

/// Where a statement may run, by its text alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Any server that has the data gives the same answer, and nothing is changed; or it begins a
    /// transaction of such statements.
    Replica,
    /// Only the connection that ran the session's previous statement can answer
    /// (`SHOW WARNINGS`, `FOUND_ROWS()`).
    Previous,
    /// Everything else, and all that is not understood.
    Primary,
}

/// What the statement's head says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Empty,
    /// SELECT, VALUES, TABLE, WITH … SELECT, or one of these in parentheses.
    Select,
    Show,
    /// EXPLAIN, DESCRIBE, DESC.
    Explain,
    /// INSERT, UPDATE, DELETE, REPLACE, LOAD, also behind WITH.
    Dml,
    /// CREATE, ALTER, DROP, TRUNCATE, RENAME.
    Ddl,
    /// CREATE USER, GRANT, REVOKE, SET PASSWORD, ALTER USER …: changes accounts.
    Account,
    Begin {
        /// The access mode asked for; None leaves it to the session.
        read_only: Option<bool>,
        /// WITH CONSISTENT SNAPSHOT.
        consistent_snapshot: bool,
    },
    Commit,
    Rollback,
    /// SAVEPOINT, RELEASE SAVEPOINT, ROLLBACK TO.
    Savepoint,
    /// `SET …` other than SET PASSWORD.
    Set,
    Use,
    Kill,
    Call,
    Prepare,
    Execute,
    Deallocate,
    Lock,
    Unlock(Lock),
    Handler,
    Xa,
    /// More than one statement in the text.
    Multi,
    Other,
}

/// Which locks a statement releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lock {
    /// UNLOCK TABLES: those of LOCK TABLES, and those of FLUSH TABLES … WITH READ LOCK.
    Tables,
    /// UNLOCK INSTANCE.
    Instance,
    /// BACKUP UNLOCK.
    Backup,
    /// BACKUP STAGE END.
    BackupStage,
}

bitflags! {
    /// What a statement may do to its session, found in the text. Session code turns these into
    /// pins; what the server itself reports (status flags, session tracking) overrules them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
    pub struct Effects: u32 {
        /// CREATE TEMPORARY TABLE.
        const TEMPORARY_TABLE = 1;
        /// Assigns a user variable (`SET @a`, `:=`, `INTO @a`).
        const SETS_USER_VARIABLE = 1 << 1;
        /// Reads a user variable.
        const READS_USER_VARIABLE = 1 << 2;
        /// GET_LOCK and friends; SERVICE_GET_*_LOCKS.
        const NAMED_LOCK = 1 << 3;
        /// LOCK TABLES.
        const TABLE_LOCK = 1 << 4;
        /// FLUSH TABLES … WITH READ LOCK or FOR EXPORT.
        const GLOBAL_LOCK = 1 << 5;
        /// HANDLER … OPEN.
        const HANDLER = 1 << 6;
        /// PREPARE … FROM.
        const TEXT_PREPARE = 1 << 7;
        /// CALL, or a head that nobody knows: anything may have changed.
        const UNKNOWN = 1 << 8;
        /// SQL_CALC_FOUND_ROWS.
        const FOUND_ROWS = 1 << 9;
        /// XA START / BEGIN.
        const XA = 1 << 10;
        /// A SET whose assignments are to be read by [`set::parse_set`].
        const SETS_VARIABLE = 1 << 11;
        /// SET ROLE.
        const SETS_ROLE = 1 << 12;
        /// SET TRANSACTION (next transaction or session).
        const SETS_TRANSACTION = 1 << 13;
        /// Ends an open transaction by itself (DDL and others).
        const IMPLICIT_COMMIT = 1 << 14;
        /// Accounts, grants or roles of the server may have changed.
        const ACCOUNTS = 1 << 15;
        /// The result depends on the session's last insert id.
        const READS_LAST_INSERT_ID = 1 << 16;
        /// The result depends on the previous statement (diagnostics, row counts).
        const READS_DIAGNOSTICS = 1 << 17;
        /// RELEASE_LOCK, RELEASE_ALL_LOCKS and the like: a named lock may be gone.
        const RELEASES_LOCK = 1 << 18;
        /// Calls a function that is not built in: it may change what CALL may change.
        const CALLS_ROUTINE = 1 << 19;
        /// Reads a table, perhaps of the default database.
        const READS_TABLES = 1 << 20;
        /// LOCK INSTANCE FOR BACKUP.
        const INSTANCE_LOCK = 1 << 21;
        /// BACKUP LOCK.
        const BACKUP_LOCK = 1 << 22;
        /// BACKUP STAGE.
        const BACKUP_STAGE = 1 << 23;
        /// LIMIT with an offset: FOUND_ROWS() counts the rows that it skips, too.
        const OFFSET = 1 << 24;
        /// Shows what session tracking is set to, which is the proxy's on every connection.
        const SHOWS_TRACKING = 1 << 25;
        /// Sets variables for itself alone (MariaDB's SET STATEMENT).
        const OWN_SETTINGS = 1 << 26;
    }
}

impl Effects {
    /// What ties a session to its connection, which must be one to the primary.
    pub const BINDING: Effects = Effects::TEMPORARY_TABLE
        .union(Effects::SETS_USER_VARIABLE)
        .union(Effects::READS_USER_VARIABLE)
        .union(Effects::NAMED_LOCK)
        .union(Effects::TABLE_LOCK)
        .union(Effects::GLOBAL_LOCK)
        .union(Effects::INSTANCE_LOCK)
        .union(Effects::BACKUP_LOCK)
        .union(Effects::BACKUP_STAGE)
        .union(Effects::HANDLER)
        .union(Effects::TEXT_PREPARE)
        .union(Effects::UNKNOWN)
        .union(Effects::CALLS_ROUTINE)
        .union(Effects::XA)
        .union(Effects::SETS_ROLE)
        .union(Effects::SETS_TRANSACTION);
}
