//! What a session knows of the outcome of its previous statement, and what a statement does to it.

use std::sync::Arc;

use super::runs_unseen_code;
use crate::session::Change;
use crate::session::outcome::{
    After, Diagnostics, DiagnosticsAfter, FoundRows, FoundRowsAfter, Report,
};
use crate::session::plan::Situation;
use crate::session::user_variables::{self, Assigned};
use crate::sql::get_diagnostics::parse_get_diagnostics;
use crate::sql::lexer::{Lexer, Token};
use crate::sql::question::{Question, Rows};
use crate::sql::{Dialect, Effects, Kind, Statement};
use crate::wire::Flavour;
use crate::wire::amend::{Amendment, TextRow};

/// What the session knows better than any server that it may be served by.
pub(super) fn known(question: Question, situation: Situation<'_>) -> Option<Amendment> {
    let outcome = &situation.state.outcome;
    let number = |value| Some(Amendment::Number(value));
    match question {
        Question::ConnectionId => number(i64::from(situation.session.get())),
        Question::RowCount => outcome.row_count.and_then(number),
        Question::FoundRows => match outcome.found_rows {
            FoundRows::Known(count) => i64::try_from(count).ok().and_then(number),
            FoundRows::OnConnection | FoundRows::Unknown => None,
        },
        Question::WarningCount => told(situation, |report| {
            Amendment::Number(report.map_or(0, |it| count(it.warning_count)))
        }),
        Question::ErrorCount => told(situation, |report| {
            Amendment::Number(report.map_or(0, |it| count(it.error_count)))
        }),
        Question::Warnings(rows) => {
            told(situation, |report| listed(report.map(|report| &report.warnings), rows))
        }
        Question::Errors(rows) => {
            told(situation, |report| listed(report.map(|report| &report.errors), rows))
        }
    }
}

/// What the session itself can tell of diagnostics: what was reported, or that there are none.
fn told(
    situation: Situation<'_>,
    tell: impl FnOnce(Option<&Report>) -> Amendment,
) -> Option<Amendment> {
    match &situation.state.outcome.diagnostics {
        // What ran inside a routine may have left some without a word.
        Diagnostics::None if situation.state.keeps_connection() => None,
        Diagnostics::None => Some(tell(None)),
        Diagnostics::OnConnection => None,
        Diagnostics::Known(report) => Some(tell(Some(report))),
    }
}

/// What GET DIAGNOSTICS sets where the connection that ran the statement before is kept for what it
/// has left, and could serve others but for that: the values are asked for when the session leaves.
pub(super) fn reported(
    sql: &[u8],
    whole: bool,
    statement: &Statement,
    situation: Situation<'_>,
) -> Option<Vec<Change>> {
    let state = situation.state;
    let asks = whole
        && statement.kind == Kind::Other
        && statement.effects.contains(Effects::READS_DIAGNOSTICS);
    if !asks
        || state.outcome.diagnostics != Diagnostics::OnConnection
        || situation.previous.is_none()
        || state.keeps_connection()
    {
        return None;
    }
    let variables = parse_get_diagnostics(sql, situation.dialect)?;
    let has_room = state.settings().user_variables.has_room_for(variables.len());
    let changes = variables.into_iter().map(|(name, item)| {
        let name = user_variables::name(&name)?.to_owned();
        Some(Change::UserVariable { name, value: Assigned::OnConnection(item) })
    });
    changes.collect::<Option<Vec<_>>>().filter(|_| has_room)
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn listed(all: Option<&Arc<[TextRow]>>, rows: Rows) -> Amendment {
    let all = all.map_or(&[][..], |all| all);
    let within = |number| usize::try_from(number).unwrap_or(usize::MAX);
    let listed = all.iter().skip(within(rows.offset)).take(within(rows.count));
    Amendment::Rows(listed.cloned().collect())
}

pub(super) fn after(sql: &[u8], statement: &Statement, dialect: Dialect) -> After {
    After {
        is_statement: true,
        found_rows: found_rows_after(sql, statement),
        diagnostics: diagnostics_after(sql, statement, dialect),
        row_count_outlives_no_table: dialect.flavour == Flavour::MariaDb
            && matches!(statement.kind, Kind::Show | Kind::Explain)
            && describes_table(sql, dialect),
    }
}

fn found_rows_after(sql: &[u8], statement: &Statement) -> FoundRowsAfter {
    match statement.kind {
        _ if runs_unseen_code(statement) => FoundRowsAfter::Unknown,
        Kind::Select if statement.effects.contains(Effects::FOUND_ROWS) => FoundRowsAfter::Counted,
        Kind::Select if statement.effects.contains(Effects::OFFSET) => FoundRowsAfter::Unknown,
        // MariaDB does not count those of VALUES.
        Kind::Select if matches!(sql.first(), Some(b'v' | b'V')) => FoundRowsAfter::Unknown,
        Kind::Select => FoundRowsAfter::Sent,
        Kind::Begin { .. } | Kind::Commit | Kind::Rollback | Kind::Savepoint | Kind::Use => {
            FoundRowsAfter::Kept
        }
        _ => FoundRowsAfter::Unknown,
    }
}

/// MySQL clears warnings and errors with every statement but those that show them; MariaDB with
/// those that use a table, and those include most of SHOW.
pub(in crate::session) fn diagnostics_after(
    sql: &[u8],
    statement: &Statement,
    dialect: Dialect,
) -> DiagnosticsAfter {
    let effects = statement.effects;
    let clears = match (dialect.flavour, statement.kind) {
        (Flavour::MySql, Kind::Select) => true,
        (Flavour::MySql, _) => !effects.contains(Effects::READS_DIAGNOSTICS),
        (Flavour::MariaDb, Kind::Dml) => true,
        // Several statements: what comes behind one that clears them is told.
        (Flavour::MariaDb, Kind::Select | Kind::Explain | Kind::Multi) => {
            effects.contains(Effects::READS_TABLES)
        }
        (Flavour::MariaDb, Kind::Show | Kind::Ddl | Kind::Lock) => uses_table(sql, dialect),
        (Flavour::MariaDb, _) => false,
    };
    let unseen = match statement.kind {
        // GET DIAGNOSTICS looks at the list.
        Kind::Other => !effects.contains(Effects::READS_DIAGNOSTICS),
        // A table is opened, or it is not.
        Kind::Prepare | Kind::Handler => true,
        _ => runs_unseen_code(statement),
    };
    match clears {
        true => DiagnosticsAfter::Replaced,
        false if unseen && dialect.flavour == Flavour::MariaDb => DiagnosticsAfter::Unknown,
        false => DiagnosticsAfter::Kept,
    }
}

/// Whether MariaDB uses a table, perhaps one of `information_schema`, for a SHOW, a DDL statement
/// or a LOCK, by what stands behind its first word.
fn uses_table(sql: &[u8], dialect: Dialect) -> bool {
    #[rustfmt::skip]
    const WITHOUT: [&str; 32] = [
        "authors", "binary", "binlog", "contributors", "count", "database", "definer", "errors",
        "event", "explain", "function", "grants", "instance", "master", "package", "privileges",
        "procedure", "processlist", "profile", "profiles", "relaylog", "replica", "replicas",
        "role", "schema", "server", "slave", "slaves", "trigger", "user", "warnings", "analyze",
    ];
    let mut lexer = Lexer::new(sql, dialect);
    lexer.next_significant();
    while ["or", "replace", "full", "all", "aggregate", "create", "global", "session"]
        .into_iter()
        .any(|word| lexer.accept_word(word))
    {}
    !WITHOUT.into_iter().any(|word| lexer.accept_word(word)) || lexer.accept_word("status")
}

/// SHOW COLUMNS, SHOW INDEX and DESCRIBE, of which MariaDB looks for the table as it parses them.
fn describes_table(sql: &[u8], dialect: Dialect) -> bool {
    let mut lexer = Lexer::new(sql, dialect);
    let mut accepts = |words: &[&str]| words.iter().any(|word| lexer.accept_word(word));
    if accepts(&["show"]) {
        accepts(&["full"]);
        return accepts(&["columns", "fields", "index", "indexes", "keys"]);
    }
    let others = ["select", "with", "values", "format", "extended", "partitions", "for"];
    accepts(&["describe", "desc", "explain"]) && !accepts(&others) && !lexer.accept(Token::Open)
}
