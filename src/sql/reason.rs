//! Why a statement goes where it goes: stable names for metrics and sentences for people.

use super::lexer::Doubt;

/// The rule that decided a statement's destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing forbids a replica.
    Read,
    /// A comment in the statement asked for it.
    Hint,
    /// What a comment asked for is not known: it may have been the primary.
    UnknownHint,
    /// A rule of the configuration asked for it.
    Rule,
    Empty,
    /// INSERT, UPDATE, DELETE, REPLACE, LOAD, also behind WITH or EXPLAIN.
    Write,
    SchemaChange,
    AccountChange,
    /// BEGIN, COMMIT, ROLLBACK, savepoints, XA.
    TransactionControl,
    /// START TRANSACTION READ ONLY.
    BeginsReadOnly,
    /// SET, USE.
    SessionChange,
    /// MariaDB's SET STATEMENT … FOR.
    SetStatement,
    /// CALL and DO.
    Call,
    /// PREPARE, EXECUTE, DEALLOCATE as text.
    PreparedText,
    /// LOCK, UNLOCK, HANDLER.
    TableLock,
    /// FLUSH, KILL, ANALYZE TABLE, replication statements and the like.
    Administration,
    MultiStatement,
    /// FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE.
    LockingRead,
    /// SELECT … INTO.
    Into,
    /// `:=`
    AssignsUserVariable,
    /// Reads a user variable, and nothing else forbids a replica.
    UserVariable,
    UnknownFunction,
    /// `schema.function(…)`
    QualifiedFunction,
    /// A built-in that writes, waits for replication or reads files.
    WritingFunction,
    /// GET_LOCK and its relatives.
    LockFunction,
    /// A built-in whose value belongs to the connection.
    ConnectionFunction,
    ConnectionId,
    /// NEXTVAL, NEXT VALUE FOR and the like.
    Sequence,
    /// The session's last insert id.
    LastInsertId,
    /// FOUND_ROWS, ROW_COUNT, SHOW WARNINGS, GET DIAGNOSTICS, `@@warning_count`.
    Diagnostics,
    /// SQL_CALC_FOUND_ROWS: FOUND_ROWS() is asked for next, perhaps in a statement for the primary.
    CountsRows,
    /// A built-in that tells about the server (VERSION).
    ServerFunction,
    /// A system variable that tells about the server, or that sessions do not carry along.
    ServerVariable,
    /// A system variable whose value only the session's own connection knows.
    ConnectionVariable,
    /// `@@transaction_read_only`: connections to replicas always say 1.
    TransactionReadOnly,
    /// A table whose content differs from server to server.
    SystemTable,
    /// A SHOW that tells about the server.
    ServerShow,
    /// A SHOW that tells about the connection (PROFILE) or about another one (EXPLAIN FOR).
    ConnectionShow,
    /// PROCEDURE ANALYSE.
    Procedure,
    /// An executable comment that holds more than a harmless modifier.
    ExecutableComment,
    Unterminated,
    /// A character that has no meaning where it stands.
    Character,
    /// The client's character set makes the text ambiguous.
    Charset,
    NotUnderstood,
}

impl Reason {
    /// Every reason, for metrics that want one series each.
    pub const ALL: &'static [Reason] = &[
        Reason::Read,
        Reason::Hint,
        Reason::UnknownHint,
        Reason::Rule,
        Reason::Empty,
        Reason::Write,
        Reason::SchemaChange,
        Reason::AccountChange,
        Reason::TransactionControl,
        Reason::BeginsReadOnly,
        Reason::SessionChange,
        Reason::SetStatement,
        Reason::Call,
        Reason::PreparedText,
        Reason::TableLock,
        Reason::Administration,
        Reason::MultiStatement,
        Reason::LockingRead,
        Reason::Into,
        Reason::AssignsUserVariable,
        Reason::UserVariable,
        Reason::UnknownFunction,
        Reason::QualifiedFunction,
        Reason::WritingFunction,
        Reason::LockFunction,
        Reason::ConnectionFunction,
        Reason::ConnectionId,
        Reason::Sequence,
        Reason::LastInsertId,
        Reason::Diagnostics,
        Reason::CountsRows,
        Reason::ServerFunction,
        Reason::ServerVariable,
        Reason::ConnectionVariable,
        Reason::TransactionReadOnly,
        Reason::SystemTable,
        Reason::ServerShow,
        Reason::ConnectionShow,
        Reason::Procedure,
        Reason::ExecutableComment,
        Reason::Unterminated,
        Reason::Character,
        Reason::Charset,
        Reason::NotUnderstood,
    ];

    /// The stable name, in snake_case.
    pub const fn name(self) -> &'static str {
        self.texts().0
    }

    /// One sentence for `rwproxy explain` and the slow log.
    pub const fn sentence(self) -> &'static str {
        self.texts().1
    }

    /// Whether a hint may send the statement to a replica all the same: the statement is a read,
    /// and only its answer differs from server to server. Never true of a write, a lock, anything
    /// unknown, or what belongs to one connection.
    pub const fn hint_may_overrule(self) -> bool {
        matches!(
            self,
            Reason::ServerFunction
                | Reason::ServerVariable
                | Reason::SystemTable
                | Reason::ServerShow
        )
    }

    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Reason::Read => {
                ("read", "Only reads, and every server that has the data gives the same answer.")
            }
            Reason::Hint => ("hint", "A hint in the statement's comment asks for it."),
            Reason::UnknownHint => (
                "unknown_hint",
                "A hint in the statement's comment is not known: it may ask for the primary.",
            ),
            Reason::Rule => ("rule", "A rule of the configuration asks for it."),
            Reason::Empty => ("empty", "There is no statement in the text."),
            Reason::Write => ("write", "It changes data."),
            Reason::SchemaChange => ("schema_change", "It changes the schema."),
            Reason::AccountChange => {
                ("account_change", "It changes accounts, privileges or roles.")
            }
            Reason::TransactionControl => {
                ("transaction_control", "It begins, ends or marks a transaction.")
            }
            Reason::BeginsReadOnly => (
                "begins_read_only",
                "It begins a READ ONLY transaction, all of which runs on one server.",
            ),
            Reason::SessionChange => ("session_change", "It changes the session's settings."),
            Reason::SetStatement => {
                ("set_statement", "It runs a statement under changed settings.")
            }
            Reason::Call => ("call", "It runs a routine or evaluates for the side effects."),
            Reason::PreparedText => {
                ("prepared_text", "It handles a statement that is prepared on one connection.")
            }
            Reason::TableLock => ("table_lock", "It locks, unlocks or opens tables."),
            Reason::Administration => ("administration", "It administers the server."),
            Reason::MultiStatement => {
                ("multi_statement", "The text holds more than one statement.")
            }
            Reason::LockingRead => ("locking_read", "It locks the rows that it reads."),
            Reason::Into => ("into", "SELECT … INTO writes to variables or to a file."),
            Reason::AssignsUserVariable => {
                ("assigns_user_variable", "It assigns a user variable with :=.")
            }
            Reason::UserVariable => {
                ("user_variable", "It reads a user variable, which belongs to a connection.")
            }
            Reason::UnknownFunction => (
                "unknown_function",
                "It calls a function that is not a known built-in of this server: it may write.",
            ),
            Reason::QualifiedFunction => (
                "qualified_function",
                "It calls a stored function by schema and name: it may write.",
            ),
            Reason::WritingFunction => (
                "writing_function",
                "It calls a built-in that writes, waits for replication or reads a file.",
            ),
            Reason::LockFunction => ("lock_function", "It takes, frees or asks for a named lock."),
            Reason::ConnectionFunction => (
                "connection_function",
                "It calls a built-in whose value belongs to one connection.",
            ),
            Reason::ConnectionId => ("connection_id", "It asks for the connection's id."),
            Reason::Sequence => ("sequence", "It uses a sequence."),
            Reason::LastInsertId => ("last_insert_id", "It asks for the last insert id."),
            Reason::Diagnostics => (
                "diagnostics",
                "Only the connection that ran the previous statement has the answer.",
            ),
            Reason::CountsRows => (
                "counts_rows",
                "It counts rows for FOUND_ROWS(), which may be asked where only the primary runs it.",
            ),
            Reason::ServerFunction => {
                ("server_function", "It asks a built-in function about the server itself.")
            }
            Reason::ServerVariable => {
                ("server_variable", "It reads a variable that differs from server to server.")
            }
            Reason::ConnectionVariable => {
                ("connection_variable", "It reads a variable that belongs to one connection.")
            }
            Reason::TransactionReadOnly => (
                "transaction_read_only",
                "It reads the transaction access mode, which is always 1 on a replica.",
            ),
            Reason::SystemTable => {
                ("system_table", "It reads a table whose content differs from server to server.")
            }
            Reason::ServerShow => ("server_show", "It shows the state of the server itself."),
            Reason::ConnectionShow => ("connection_show", "It shows the state of one connection."),
            Reason::Procedure => ("procedure", "SELECT … PROCEDURE is not known to be harmless."),
            Reason::ExecutableComment => {
                ("executable_comment", "An executable comment holds more than a harmless modifier.")
            }
            Reason::Unterminated => {
                ("unterminated", "A string, quoted name or comment does not end.")
            }
            Reason::Character => ("character", "A character has no meaning where it stands."),
            Reason::Charset => ("charset", "The client's character set makes the text ambiguous."),
            Reason::NotUnderstood => ("not_understood", "The statement is not understood."),
        }
    }
}

impl From<Doubt> for Reason {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Unterminated => Reason::Unterminated,
            Doubt::ExecutableComment => Reason::ExecutableComment,
            Doubt::Character => Reason::Character,
            Doubt::Charset => Reason::Charset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_distinct_and_snake_case() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for name in names {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        }
    }

    #[test]
    fn no_reason_is_forgotten_in_the_list() {
        let last = Reason::NotUnderstood as usize;
        assert_eq!(Reason::ALL.len(), last + 1);
    }
}
