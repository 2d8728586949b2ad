//! What a command asks for and does, before anything is sent: pure.

use super::outcome::{After, DiagnosticsAfter, Warning};
use super::read_only::Fit;
use super::statements::{Home, Texts};
use super::{Change, Characteristics, Pins, SessionId, State};
use super::{prepared, query};
use std::sync::Arc;

use super::statements::PreparedText;
use crate::routing::rules::Rule;
use crate::routing::{BackendId, Request, Rules, Wish};
use crate::sql::cache::Worker;
use crate::sql::kill::Kill;
use crate::sql::{Dialect, Reason};
use crate::wire::amend::Amendment;
use crate::wire::command::Command;
use crate::wire::execute::statement_id;
use crate::wire::query::text_and_attribute;
use crate::wire::reply::ServerError;
use crate::wire::scanner::Expect;
use crate::wire::{Capabilities, Flavour};

/// How a command that runs on a server is treated.
#[derive(Debug, Clone)]
pub struct Plan {
    pub request: Request,
    /// Which servers a read asks for among those that take reads.
    pub wish: Wish,
    /// Why it goes there.
    pub why: Why,
    /// The rule that has chosen.
    pub rule: Option<Arc<Rule>>,
    /// The statement's shape, where all of it was looked at; see [`crate::sql::digest`].
    pub digest: Option<u64>,
    /// The reply's shape; `None` for commands that have none.
    pub expect: Option<Expect>,
    /// Pins that stand from the moment that the command is sent.
    pub pins: Pins,
    /// What success changes in the session's settings.
    pub changes: Vec<Change>,
    /// What else success means for the session.
    pub then: Then,
    /// The statement may read LAST_INSERT_ID(), or leave it as it was: the connection must have
    /// the session's own.
    pub needs_insert_id: bool,
    /// It may change LAST_INSERT_ID() without a word of it in the reply.
    pub changes_insert_id: bool,
    /// It may end a transaction with a commit: should its server die, nobody knows whether it has.
    pub may_commit: bool,
    /// By its text it changes nothing and locks nothing.
    pub only_reads: bool,
    /// It may write what replicas are given.
    pub may_write: bool,
    /// Where it ends in an error it has written nothing (in a table of a transactional engine).
    pub undone_by_error: bool,
    /// A server that has become read-only refuses it before anything is done: it may be sent again.
    pub undone_when_refused: bool,
    /// An error of the server's parser says that it has done nothing.
    pub parsed_at_once: bool,
    /// What it shows may come from a table.
    pub reads_tables: bool,
    /// What becomes of the outcome of the statement before.
    pub after: After,
    /// What the client is told instead of what the server says.
    pub amendment: Option<Amendment>,
    /// The statement prepared by COM_STMT_PREPARE that it is about.
    pub statement: Option<StatementUse>,
    /// Success prepares a statement for the client, under this number.
    pub prepares: Option<(u32, Prepares)>,
    /// It is a KILL by a number that the server is to find out, or that is none of ours.
    pub kills: Option<KillScope>,
    /// It executes a text that was in this user variable, and may be a KILL.
    pub kill_in: Option<String>,
    /// What it has to do with the settings of session tracking.
    pub tracking: TrackingUse,
    /// Variables that the reply tells of, and `changes` do not, have been changed for good.
    pub folds: bool,
    /// It may change what sessions find when they begin: accounts, privileges, roles, global
    /// variables.
    pub concerns_logins: bool,
    /// True when running it twice, or on another server, is the same: nobody can tell.
    pub repeatable: bool,
    /// What it means to a READ ONLY transaction on a replica, while one is open.
    pub fit: Fit,
    /// A transaction in which it has run cannot be begun anew on another server.
    pub anchors: bool,
    /// What was said of the transaction that it begins: another connection than the one that has
    /// been told is told first.
    pub characteristics: Option<Characteristics>,
}

/// A statement's use of the two variables that the proxy has set for its own ends on every
/// connection: a client is to find there what it has set itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackingUse {
    None,
    Shows,
    Sets,
}

/// What a KILL ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillScope {
    /// The statement that runs.
    Statement,
    Connection,
}

impl KillScope {
    pub fn of(kill: &Kill) -> Self {
        match kill.statement_only {
            true => KillScope::Statement,
            false => KillScope::Connection,
        }
    }
}

/// A command's use of a prepared statement.
#[derive(Debug, Clone)]
pub struct StatementUse {
    pub command: Command,
    /// The number that the client was given.
    pub id: u32,
    pub home: Home,
    /// The statement on the server is to be this session's alone.
    pub exclusive: bool,
    /// An execution that relies on types which were never sent, or may rely on them: it is refused.
    pub untyped: bool,
    /// A bulk execution that answers with the results of its units.
    pub unit_results: bool,
}

/// What a COM_STMT_PREPARE prepares.
#[derive(Debug, Clone)]
pub enum Prepares {
    Text(Arc<PreparedText>),
    /// A text that is not kept: the session stays where it is prepared.
    Here {
        runs_routine: bool,
        kills: Option<KillScope>,
    },
}

/// Consequences of success beyond settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Nothing,
    /// COM_RESET_CONNECTION.
    Reset,
    /// UNLOCK TABLES, COMMIT and the like: these pins have ended.
    Unlocked(Pins),
    /// COMMIT RELEASE, ROLLBACK RELEASE: the server closes the connection.
    Released,
    /// COM_STMT_SEND_LONG_DATA: an error of the server's may still come.
    LongData,
    /// COM_SET_OPTION: whether a query may hold several statements.
    MultiStatements(bool),
}

/// What to do with a command.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly all are plans, and none is kept")]
pub enum Action {
    Run(Plan),
    /// Answer OK without asking anybody.
    Ok {
        is_statement: bool,
    },
    /// Forget it: a command without reply about something that is gone.
    Ignore,
    /// COM_STMT_CLOSE of a statement of which no server needs to know.
    Close(u32),
    /// Answer with this error. It may be one that was kept for this statement's next execution.
    Refuse {
        error: ServerError,
        kept_for: Option<u32>,
        why: Why,
    },
    /// Answer with this error, one more beside those of the statement before.
    RefuseBesides(ServerError),
    /// The client has broken the protocol.
    Malformed,
    Quit,
    ChangeUser,
    /// KILL of a session of ours.
    Kill {
        session: SessionId,
        scope: KillScope,
    },
}

/// What of the session and its servers decides besides the command.
#[derive(Clone, Copy)]
pub struct Situation<'a> {
    pub session: SessionId,
    pub user: &'a [u8],
    pub state: &'a State,
    pub dialect: Dialect,
    pub rules: &'a Rules,
    /// Hints beside the statement. [`plan`] finds them.
    pub hints: Option<&'a [u8]>,
    /// The texts that are prepared somewhere.
    pub texts: &'a Texts,
    /// Where the session's newest statement was prepared, until it is executed.
    pub prepared_at: Option<(u32, BackendId)>,
    /// Where the previous statement ran, while its connection may still be had.
    pub previous: Option<BackendId>,
    pub has_primary: bool,
    /// What was agreed on with the client.
    pub capabilities: Capabilities,
    /// Its reads must see what other sessions write.
    pub shares_writes: bool,
    /// Gives a second opinion on what the token scan leaves open.
    pub opinions: &'a Worker,
}

/// Why a command goes where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The statement's text alone decides.
    Text(Reason),
    Pinned,
    Transaction,
    /// It reads in a READ ONLY transaction on a replica.
    ReadOnlyTransaction,
    AutocommitOff,
    Serializable,
    /// A replica has refused it, or one like it lately.
    Rescue,
    /// Too long to be looked at in whole.
    Long,
    /// A command about statements prepared by COM_STMT_PREPARE.
    Prepared,
    /// Another command than a query.
    Command,
}

impl Why {
    /// Names of all reasons, in the order of [`index`](Self::index).
    pub fn names() -> Vec<&'static str> {
        let text = Reason::ALL.iter().map(|reason| reason.name());
        text.chain(SESSION_REASONS).collect()
    }

    /// The stable name, for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Why::Text(reason) => reason.name(),
            _ => SESSION_REASONS[self.index() - Reason::ALL.len()],
        }
    }

    /// The place among [`names`](Self::names).
    pub fn index(self) -> usize {
        let behind = |place| Reason::ALL.len() + place;
        match self {
            Why::Text(reason) => reason as usize,
            Why::Pinned => behind(0),
            Why::Transaction => behind(1),
            Why::AutocommitOff => behind(2),
            Why::Serializable => behind(3),
            Why::Rescue => behind(4),
            Why::Long => behind(5),
            Why::Prepared => behind(6),
            Why::Command => behind(7),
            Why::ReadOnlyTransaction => behind(8),
        }
    }
}

/// The query attribute that may hold hints.
pub(super) const HINTS: &[u8] = b"rwproxy";

/// ER_WARN_DEPRECATED_SYNTAX, as MySQL 9.7 has it.
const FIELD_LIST_IS_DEPRECATED: Warning = Warning {
    code: 1287,
    message: "'COM_FIELD_LIST' is deprecated and will be removed in a future release. Please use \
              SHOW COLUMNS FROM statement instead",
};

/// What COM_REFRESH is to do: as FLUSH PRIVILEGES.
const REFRESH_GRANT: u8 = 1;

const SESSION_REASONS: [&str; 9] = [
    "pinned",
    "transaction",
    "autocommit_off",
    "serializable",
    "rescue",
    "long",
    "prepared",
    "command",
    "read_only_transaction",
];

impl Plan {
    pub(super) fn primary(command: Command, why: Why) -> Self {
        Plan {
            request: Request::Primary,
            wish: Wish::default(),
            why,
            rule: None,
            digest: None,
            expect: command.expects(),
            pins: Pins::empty(),
            changes: Vec::new(),
            then: Then::Nothing,
            needs_insert_id: false,
            changes_insert_id: false,
            may_commit: true,
            only_reads: false,
            may_write: may_write(command),
            undone_by_error: false,
            undone_when_refused: false,
            parsed_at_once: false,
            reads_tables: false,
            statement: None,
            prepares: None,
            after: After::UNKNOWN,
            amendment: None,
            kills: None,
            kill_in: None,
            tracking: TrackingUse::None,
            folds: true,
            concerns_logins: false,
            repeatable: false,
            fit: Fit::Primary,
            anchors: false,
            characteristics: None,
        }
    }

    /// A statement of administration that the primary is asked for on the session's behalf: it
    /// changes no data and nothing of the session.
    pub fn administration() -> Self {
        Plan {
            may_commit: false,
            may_write: false,
            ..Plan::primary(Command::Query, Why::Text(Reason::Administration))
        }
    }

    /// A command whose statement nobody has looked at.
    pub(super) fn unknown(command: Command, why: Why) -> Self {
        Plan {
            needs_insert_id: true,
            changes_insert_id: true,
            reads_tables: true,
            ..Plan::primary(command, why)
        }
    }

    /// True when a primary that must not be written may answer it, over a connection that is set
    /// read-only: it asks what only that server tells, and changes neither data nor the session.
    pub fn only_asks_the_primary(&self) -> bool {
        use Reason::{Hint, ServerFunction, ServerShow, ServerVariable, SystemTable, UnknownHint};
        let asks = matches!(
            self.why,
            Why::Text(
                Hint | UnknownHint | ServerFunction | ServerShow | ServerVariable | SystemTable
            )
        );
        asks && !self.may_write && !self.may_commit && self.pins.is_empty()
    }

    /// True of COMMIT and ROLLBACK.
    pub fn ends_transaction(&self) -> bool {
        matches!(self.then, Then::Unlocked(pins) if pins.contains(Pins::NEXT_TRANSACTION))
    }

    fn pinned(command: Command, pins: Pins) -> Self {
        Plan { pins, ..Plan::primary(command, Why::Command) }
    }
}

/// Whether a command may write what replicas are given, whatever stands in it.
fn may_write(command: Command) -> bool {
    use Command::*;
    !matches!(
        command,
        InitDb
            | FieldList
            | Statistics
            | ProcessInfo
            | Debug
            | Ping
            | ChangeUser
            | SetOption
            | ResetConnection
            | StmtPrepare
            | StmtSendLongData
            | StmtClose
            | StmtReset
            | StmtFetch
            | RegisterReplica
            | BinlogDump
            | BinlogDumpGtid
            | TableDump
    )
}

/// What MySQL repeats of the statement before is another session's, on a connection that is shared.
fn repeated_warnings(situation: Situation<'_>) -> Option<Amendment> {
    let warnings = situation.state.outcome.warnings;
    (situation.dialect.flavour == Flavour::MySql).then_some(Amendment::Warnings(warnings))
}

/// Decides what a command is. `arguments` is what stands behind its first byte, possibly only the
/// beginning of it (then `whole` is false).
pub fn plan(command: Command, arguments: &[u8], whole: bool, situation: Situation<'_>) -> Action {
    let action = planned(command, arguments, whole, situation);
    match (situation.state.on_replica(), action) {
        (Some(transaction), Action::Run(plan)) => transaction.admit(plan, situation),
        (_, action) => action,
    }
}

fn planned(command: Command, arguments: &[u8], whole: bool, situation: Situation<'_>) -> Action {
    use Command::*;
    let run = |plan| Action::Run(plan);
    let beside = |unsaid| DiagnosticsAfter::beside_statements(situation.dialect.flavour, unsaid);
    let after = After { diagnostics: beside(None), ..After::UNKNOWN };
    match command {
        Quit => Action::Quit,
        ChangeUser => Action::ChangeUser,
        Ping if situation.has_primary && !situation.state.keeps_connection() => {
            Action::Ok { is_statement: false }
        }
        Query => match text_and_attribute(arguments, situation.capabilities, HINTS) {
            Ok((sql, hints)) => query::plan(sql, whole, Situation { hints, ..situation }),
            // The server has the right error for it.
            Err(_) => run(Plan::primary(command, Why::Command)),
        },
        StmtPrepare => prepared::prepare(arguments, whole, situation),
        // MySQL answers those that are cut off, where nobody expects an answer.
        StmtClose if arguments.len() < 4 => Action::Malformed,
        StmtSendLongData if arguments.len() < 6 => Action::Malformed,
        StmtExecute | StmtBulkExecute | StmtSendLongData | StmtClose | StmtReset | StmtFetch => {
            prepared::plan(command, arguments, situation)
        }
        ResetConnection => {
            run(Plan { then: Then::Reset, fit: Fit::Ends, ..Plan::primary(command, Why::Command) })
        }
        SetOption => run(Plan {
            // MYSQL_OPTION_MULTI_STATEMENTS_ON is 0, _OFF is 1; servers refuse others.
            then: Then::MultiStatements(arguments.starts_with(&[0, 0])),
            amendment: repeated_warnings(situation),
            after,
            ..Plan::pinned(command, Pins::CONNECTION_OPTION)
        }),
        RegisterReplica | BinlogDump | BinlogDumpGtid | TableDump => {
            run(Plan::pinned(command, Pins::CONNECTION_OPTION))
        }
        ProcessKill => match SessionId::from_kill(statement_id(arguments).unwrap_or(0).into()) {
            Some(session) => Action::Kill { session, scope: KillScope::Connection },
            None => run(Plan::primary(command, Why::Text(Reason::Administration))),
        },
        InitDb => run(Plan {
            amendment: repeated_warnings(situation),
            after,
            fit: Fit::Serves,
            ..Plan::primary(command, Why::Command)
        }),
        Refresh => run(Plan {
            concerns_logins: arguments.first().is_some_and(|what| what & REFRESH_GRANT != 0),
            ..Plan::primary(command, Why::Command)
        }),
        FieldList => run(Plan {
            after: After {
                is_statement: true,
                diagnostics: beside(Some(FIELD_LIST_IS_DEPRECATED)),
                ..after
            },
            fit: Fit::Serves,
            ..Plan::primary(command, Why::Command)
        }),
        Ping => run(Plan {
            amendment: repeated_warnings(situation),
            fit: Fit::Serves,
            after,
            ..Plan::primary(command, Why::Command)
        }),
        Statistics => run(Plan { fit: Fit::Serves, ..Plan::primary(command, Why::Command) }),
        CreateDb | DropDb | Shutdown | ProcessInfo | Debug | Unknown(_) => {
            run(Plan::primary(command, Why::Command))
        }
    }
}
