//! The plan of a text statement: its class and the session's state together.

mod route;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(super) use self::route::Route;
use super::outcome::{After, Diagnostics, FoundRows, FoundRowsAfter, Report};
use super::plan::{Action, KillScope, Plan, Situation, Then, TrackingUse, Why};
use super::read_only::fit;
use super::settings::has_true_default;
use super::text_kills::{self, TextKill};
use super::tracking::is_tracking;
use super::user_variables::{self, Assigned};
use super::{Change, Characteristics, Pins, SessionId, Settings, State, switches};
use crate::routing::Request;
use crate::sql::kill::{KillTarget, parse_kill};
use crate::sql::lexer::{Lexer, Token};
use crate::sql::question::{Question, Rows, bare_question};
use crate::sql::set::{
    Assignment, Isolation, Scope, TransactionScope, Value, ValueKind, parse_set,
};
use crate::sql::transaction::parse_end;
use crate::sql::variables::{ACCESS_MODE, session_variable};
use crate::sql::{Destination, Dialect, Effects, Kind, Lock, Reason, Statement, classify};
use crate::wire::amend::{Amendment, TextRow};
use crate::wire::command::Command;
use crate::wire::{Capabilities, Flavour};

/// Plans a statement. `whole` is false when `sql` is only the beginning of it.
pub(super) fn plan(sql: &[u8], whole: bool, situation: Situation<'_>) -> Action {
    let dialect = situation.dialect;
    let mut statement = classify(sql, dialect);
    if statement.open && whole {
        statement = situation.opinions.settle(statement, sql, dialect);
    }
    if let Some(database) = &situation.state.settings().database {
        statement = statement.within(database);
    }
    judged(sql, whole, statement, dialect, situation)
}

/// Plans a statement that has been classified, in this dialect.
pub(super) fn judged(
    sql: &[u8],
    whole: bool,
    statement: Statement,
    dialect: Dialect,
    situation: Situation<'_>,
) -> Action {
    let mut statement = statement;
    let mut amendment = None;
    if whole
        && matches!(statement.reason, Reason::ConnectionId | Reason::Diagnostics)
        && let Some(asked) = bare_question(sql, dialect)
        && let Some(answer) = known(asked, situation)
    {
        amendment = Some(answer);
        statement.destination = Destination::Previous;
    }
    let kill = kill(statement.kind, sql, dialect);
    if let Some((scope, Some(session))) = kill {
        return Action::Kill { session, scope };
    }
    let route = match whole {
        // Any server will do.
        true if amendment.is_some() && situation.previous.is_none() && !situation.has_primary => {
            Route::of(Request::Read, Why::Text(statement.reason))
        }
        true => Route::new(sql, &statement, situation),
        false => Route::of(Request::Primary, Why::Long),
    };
    let effects = statement.effects;
    let mut plan = Plan {
        digest: whole.then_some(statement.digest),
        pins: Pins::from_effects(effects),
        after: after(sql, &statement, dialect),
        repeatable: route.request == Request::Read
            || route.why == Why::ReadOnlyTransaction
            || amendment.is_some(),
        amendment,
        needs_insert_id: needs_insert_id(&statement),
        changes_insert_id: !whole || changes_insert_id(&statement),
        may_commit: !whole || may_commit(&statement),
        only_reads: whole && statement.destination == Destination::Replica,
        may_write: !whole || may_write(&statement),
        // No function or trigger can commit what it has written.
        undone_by_error: whole && matches!(statement.kind, Kind::Dml | Kind::Select),
        undone_when_refused: whole
            && matches!(statement.kind, Kind::Dml | Kind::Select | Kind::Ddl),
        parsed_at_once: whole && is_parsed_at_once(sql, &statement, dialect),
        reads_tables: !whole || reads_tables(&statement),
        kills: kill.map(|(scope, _)| scope),
        anchors: !whole || anchors(&statement),
        characteristics: route.characteristics,
        tracking: match effects.contains(Effects::SHOWS_TRACKING) {
            true => TrackingUse::Shows,
            false => TrackingUse::None,
        },
        wish: route.wish,
        rule: route.rule,
        // The values that it has set for itself are told.
        folds: !effects.contains(Effects::OWN_SETTINGS),
        concerns_logins: effects.contains(Effects::ACCOUNTS)
            || (effects.intersects(Effects::SETS_VARIABLE | Effects::SETS_TRANSACTION)
                && mentions(sql, GLOBALS)),
        request: route.request,
        ..Plan::primary(Command::Query, route.why)
    };
    match statement.kind {
        Kind::Set if whole => set(sql, dialect, situation.state, &mut plan),
        Kind::Prepare | Kind::Execute if whole => text(sql, dialect, situation.state, &mut plan),
        Kind::Unlock(lock) => plan.then = Then::Unlocked(unlocked(lock)),
        // Even where none is open. The one that is chained to it keeps the connection by itself.
        Kind::Commit | Kind::Rollback => {
            let end = parse_end(Lexer::new(sql, dialect));
            plan.then = match end.is_some_and(|end| end.release == Some(true)) {
                true => Then::Released,
                false => Then::Unlocked(Pins::NEXT_TRANSACTION | Pins::SAVEPOINT),
            };
        }
        _ if effects.contains(Effects::SETS_VARIABLE) => {
            plan.pins |= Pins::SESSION_VARIABLE;
            if mentions(sql, TRACKING) {
                plan.tracking = TrackingUse::Sets;
            }
        }
        _ => {}
    }
    if matches!(statement.kind, Kind::Savepoint | Kind::Multi)
        && situation.state.is_between_transactions()
    {
        plan.pins |= Pins::SAVEPOINT;
    }
    let ends_transaction =
        effects.contains(Effects::IMPLICIT_COMMIT) && statement.kind != Kind::Multi;
    if ends_transaction && plan.then == Then::Nothing {
        plan.then = Then::Unlocked(Pins::SAVEPOINT);
    }
    if plan.pins.contains(Pins::SESSION_VARIABLE) {
        // Perhaps that very one.
        plan.needs_insert_id = true;
        plan.changes_insert_id = true;
    }
    if !plan.pins.is_empty() {
        // A session is pinned to the primary and nowhere else.
        plan.request = Request::Primary;
        plan.repeatable = false;
    }
    if !whole {
        // What the rest may do to the session nobody has looked at.
        plan.pins |= unseen(&statement, situation.capabilities);
    }
    if situation.state.on_replica().is_some() {
        plan.fit = fit(sql, whole, &statement, &plan, Situation { dialect, ..situation });
    }
    Action::Run(plan)
}

/// Words of which one stands wherever a SET is about more than a session's own variables.
const GLOBALS: &[&[u8]] = &[b"global", b"persist"];
/// Of which one of several statements has one that sets what session tracking tells of.
const TRACKING: &[&[u8]] = &[b"session_track_"];

/// Whether one of these stands anywhere in the text.
fn mentions(sql: &[u8], any: &[&[u8]]) -> bool {
    any.iter().any(|wanted| sql.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted)))
}

/// What the session knows better than any server that it may be served by.
fn known(question: Question, situation: Situation<'_>) -> Option<Amendment> {
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

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn listed(all: Option<&Arc<[TextRow]>>, rows: Rows) -> Amendment {
    let all = all.map_or(&[][..], |all| all);
    let within = |number| usize::try_from(number).unwrap_or(usize::MAX);
    let listed = all.iter().skip(within(rows.offset)).take(within(rows.count));
    Amendment::Rows(listed.cloned().collect())
}

fn after(sql: &[u8], statement: &Statement, dialect: Dialect) -> After {
    After {
        is_statement: true,
        found_rows: found_rows_after(sql, statement),
        clears_diagnostics: clears_diagnostics(sql, statement, dialect),
        row_count_outlives_no_table: dialect.flavour == Flavour::MariaDb
            && matches!(statement.kind, Kind::Show | Kind::Explain)
            && describes_table(sql, dialect),
        ..After::UNKNOWN
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
pub(super) fn clears_diagnostics(sql: &[u8], statement: &Statement, dialect: Dialect) -> bool {
    let effects = statement.effects;
    match (dialect.flavour, statement.kind) {
        (Flavour::MySql, Kind::Select) => true,
        (Flavour::MySql, _) => !effects.contains(Effects::READS_DIAGNOSTICS),
        (Flavour::MariaDb, Kind::Dml) => true,
        // Several statements: what comes behind one that clears them is told.
        (Flavour::MariaDb, Kind::Select | Kind::Explain | Kind::Multi) => {
            effects.contains(Effects::READS_TABLES)
        }
        (Flavour::MariaDb, Kind::Show | Kind::Ddl | Kind::Lock) => uses_table(sql, dialect),
        (Flavour::MariaDb, _) => false,
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

/// What runs code that nobody has looked at: a routine, a prepared text, several statements.
fn runs_unseen_code(statement: &Statement) -> bool {
    let unseen = Effects::UNKNOWN | Effects::CALLS_ROUTINE;
    statement.effects.intersects(unseen)
        || matches!(statement.kind, Kind::Call | Kind::Execute | Kind::Multi | Kind::Other)
}

/// Whether the server parses all of it before any of it runs: there is no further statement, and no
/// code that runs one of its own.
fn is_parsed_at_once(sql: &[u8], statement: &Statement, dialect: Dialect) -> bool {
    match (statement.kind, statement.reason) {
        (Kind::Call | Kind::Execute | Kind::Multi | Kind::Dml, _) => false,
        _ if statement.effects.contains(Effects::CALLS_ROUTINE) => false,
        // Compound statements, which have semicolons, and procedures, which ORACLE mode runs
        // without the word CALL.
        (Kind::Other, Reason::NotUnderstood) if dialect.flavour == Flavour::MariaDb => {
            !dialect.ansi_quotes && !sql.contains(&b';')
        }
        _ => true,
    }
}

/// An INSERT may leave LAST_INSERT_ID() as it was, so the session's own must be there before.
fn needs_insert_id(statement: &Statement) -> bool {
    statement.effects.contains(Effects::READS_LAST_INSERT_ID)
        || statement.kind == Kind::Dml
        || runs_unseen_code(statement)
}

/// LAST_INSERT_ID(expr) sets what it gives; an INSERT says so in its OK.
fn changes_insert_id(statement: &Statement) -> bool {
    statement.effects.contains(Effects::READS_LAST_INSERT_ID) || runs_unseen_code(statement)
}

fn may_commit(statement: &Statement) -> bool {
    statement.effects.contains(Effects::IMPLICIT_COMMIT)
        || runs_unseen_code(statement)
        || !matches!(
            statement.kind,
            Kind::Select
                | Kind::Show
                | Kind::Explain
                | Kind::Dml
                | Kind::Rollback
                | Kind::Savepoint
        )
}

/// Whether what it shows may come from a table.
fn reads_tables(statement: &Statement) -> bool {
    runs_unseen_code(statement) || statement.effects.contains(Effects::READS_TABLES)
}

/// Whether a transaction cannot be begun anew elsewhere once the statement has run in it.
fn anchors(statement: &Statement) -> bool {
    let snapshot =
        matches!(statement.kind, Kind::Begin { consistent_snapshot, .. } if consistent_snapshot);
    snapshot || statement.kind == Kind::Savepoint || reads_tables(statement)
}

/// Whether it may write what replicas are given. (A transaction that it ends is seen by the
/// status flags.)
fn may_write(statement: &Statement) -> bool {
    if runs_unseen_code(statement) {
        return true;
    }
    match statement.kind {
        // MariaDB's ANALYZE runs what it explains.
        Kind::Explain => statement.reason == Reason::Write,
        Kind::Show | Kind::Begin { .. } | Kind::Rollback | Kind::Savepoint => false,
        Kind::Set | Kind::Use | Kind::Kill | Kind::Prepare | Kind::Deallocate => false,
        Kind::Lock | Kind::Unlock(_) | Kind::Handler => false,
        Kind::Select => !matches!(
            statement.reason,
            Reason::Read
                | Reason::Hint
                | Reason::UnknownHint
                | Reason::Rule
                | Reason::LockingRead
                | Reason::ConnectionId
                | Reason::LastInsertId
                | Reason::Diagnostics
                | Reason::CountsRows
                | Reason::ServerFunction
                | Reason::ServerVariable
                | Reason::ConnectionVariable
                | Reason::TransactionReadOnly
                | Reason::SystemTable
                | Reason::BeginsReadOnly
        ),
        _ => true,
    }
}

/// A statement whose end nobody has looked at may do anything there. Only of DML it is taken that
/// it is long by its data, unless another statement may follow it: a session would be pinned by
/// each large INSERT.
fn unseen(statement: &Statement, capabilities: Capabilities) -> Pins {
    match statement.kind {
        Kind::Dml if !capabilities.contains(Capabilities::MULTI_STATEMENTS) => Pins::empty(),
        _ => Pins::UNKNOWN_EFFECTS,
    }
}

/// The pins that end with a lock.
fn unlocked(lock: Lock) -> Pins {
    match lock {
        Lock::Tables => Pins::TABLE_LOCK | Pins::GLOBAL_LOCK,
        Lock::Instance => Pins::INSTANCE_LOCK,
        Lock::Backup => Pins::BACKUP_LOCK,
        Lock::BackupStage => Pins::BACKUP_STAGE,
    }
}

/// KILL by a connection's id, and the session if the id is one of ours. Others are the primary's to
/// judge, and what an expression or a parameter means it says.
pub(super) fn kill(
    kind: Kind,
    sql: &[u8],
    dialect: Dialect,
) -> Option<(KillScope, Option<SessionId>)> {
    let kill = (kind == Kind::Kill).then(|| parse_kill(sql, dialect))??;
    let scope = match kill.statement_only {
        true => KillScope::Statement,
        false => KillScope::Connection,
    };
    match kill.target {
        KillTarget::Connection(id) => Some((scope, SessionId::from_kill(id))),
        KillTarget::Expression => Some((scope, None)),
        KillTarget::QueryId(_) | KillTarget::User { .. } => None,
    }
}

/// What becomes known, or is, of a text that PREPARE prepares and EXECUTE runs.
fn text(sql: &[u8], dialect: Dialect, state: &State, plan: &mut Plan) {
    let variables = &state.settings().user_variables;
    if let Some((name, kill)) = text_kills::prepared(sql, dialect, variables) {
        plan.changes.push(Change::Text { name, kill });
    }
    match text_kills::executed(sql, dialect, variables, state.text_kills()) {
        Some(TextKill::Kills(scope)) => plan.kills = Some(scope),
        Some(TextKill::In(variable)) => plan.kill_in = Some(variable),
        None => {}
    }
}

/// What a SET changes, item by item. What cannot be replayed pins the session.
fn set(sql: &[u8], dialect: Dialect, state: &State, plan: &mut Plan) {
    let Some(assignments) = parse_set(sql, dialect) else {
        plan.pins.remove(Pins::ROLE | Pins::NEXT_TRANSACTION);
        plan.pins |= Pins::SESSION_VARIABLE;
        return;
    };
    // The items say more exactly what the whole text only announces.
    plan.pins.remove(Pins::ROLE | Pins::NEXT_TRANSACTION | Pins::SESSION_VARIABLE);
    if !assignments.iter().any(assigns_inside) {
        plan.pins.remove(Pins::USER_VARIABLE);
    }
    plan.concerns_logins = assignments.iter().any(concerns_logins);
    for assignment in assignments {
        if let Assignment::Variable { scope: Scope::Session, name, .. } = &assignment
            && is_tracking(name)
        {
            plan.tracking = TrackingUse::Sets;
            continue;
        }
        if let Some(change) = next_transaction(&assignment, state) {
            plan.changes.push(change);
        }
        match item(&assignment, dialect, state.settings()) {
            Ok(changes) => plan.changes.extend(changes),
            Err(pin) => plan.pins |= pin,
        }
    }
}

/// What is said of the next transaction from now on, as far as that is known.
fn next_transaction(assignment: &Assignment<'_>, state: &State) -> Option<Change> {
    let Assignment::Transaction { scope: TransactionScope::Next, isolation, read_only } =
        *assignment
    else {
        return None;
    };
    let said = Characteristics { isolation, read_only };
    Some(Change::NextTransaction(state.next_transaction()?.and(said)))
}

/// Whether it changes what new sessions begin with.
fn concerns_logins(assignment: &Assignment<'_>) -> bool {
    match assignment {
        Assignment::Variable { scope, .. } => matches!(scope, Scope::Global | Scope::Persist),
        Assignment::Transaction { scope, .. } => *scope == TransactionScope::Global,
        Assignment::DefaultRole | Assignment::Password => true,
        _ => false,
    }
}

/// Whether the value holds an assignment of its own (`@a := 1`).
fn assigns_inside(assignment: &Assignment<'_>) -> bool {
    match assignment {
        Assignment::Variable { value, .. } | Assignment::UserVariable { value, .. } => {
            !value.is_constant() && value.text.windows(2).any(|part| part == b":=")
        }
        _ => false,
    }
}

/// What stands behind SET ROLE, if it reads the same under every `sql_mode` and character set.
fn role(text: &[u8]) -> Option<String> {
    let tame = |byte: &u8| {
        (b' '..=b'~').contains(byte) && !matches!(byte, b'"' | b'\\' | b'/' | b'#' | b';')
    };
    let text =
        std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| tame(&byte)))?;
    (!text.is_empty() && !text.contains("--")).then(|| text.to_owned())
}

/// `settings` are those before the SET: servers look at every value before they assign the first.
fn item(
    assignment: &Assignment<'_>,
    dialect: Dialect,
    settings: &Settings,
) -> Result<Vec<Change>, Pins> {
    match assignment {
        Assignment::Variable { scope: Scope::Session, name, value } => {
            Ok(variable(name, value, dialect, settings)?.into_iter().collect())
        }
        Assignment::Variable { scope: Scope::NextTransaction, .. } => Err(Pins::NEXT_TRANSACTION),
        // Other sessions' business, and the account's.
        Assignment::Variable { .. } | Assignment::DefaultRole | Assignment::Password => Ok(vec![]),
        Assignment::UserVariable { name, value } => {
            let name = user_variables::name(name).ok_or(Pins::USER_VARIABLE)?.to_owned();
            Ok(vec![Change::UserVariable { name, value: Assigned::of(value, dialect) }])
        }
        Assignment::Names { charset, collation } => {
            let mut text = format!("NAMES {}", names_value(charset, dialect)?);
            if let Some(collation) = collation {
                text.push_str(" COLLATE ");
                text.push_str(&names_value(collation, dialect)?);
            }
            Ok(vec![Change::Names(text)])
        }
        Assignment::CharacterSet { charset } => {
            let text = format!("CHARACTER SET {}", names_value(charset, dialect)?);
            // That of the default database of this very moment.
            let collation = Change::Told { name: "collation_connection" };
            Ok(vec![Change::Names(text), collation])
        }
        Assignment::Transaction { scope: TransactionScope::Next, .. } => {
            Err(Pins::NEXT_TRANSACTION)
        }
        Assignment::Transaction { scope: TransactionScope::Global, .. } => Ok(vec![]),
        Assignment::Transaction { scope: TransactionScope::Session, isolation, read_only } => {
            let isolation = isolation.map(|isolation| isolation_change(isolation, dialect));
            let access = read_only.map(|read_only| access_change(read_only, dialect));
            Ok(isolation.into_iter().chain(access).collect())
        }
        Assignment::Role { text } => Ok(vec![Change::Role(role(text).ok_or(Pins::ROLE)?)]),
        Assignment::ResourceGroup => Err(Pins::SESSION_VARIABLE),
    }
}

fn variable(
    name: &str,
    value: &Value<'_>,
    dialect: Dialect,
    settings: &Settings,
) -> Result<Option<Change>, Pins> {
    if name == "autocommit" {
        // The status flags of the reply tell it.
        return Ok(None);
    }
    if ACCESS_MODE.contains(&name) {
        return match (value.kind, value.switch(dialect)) {
            (ValueKind::Default, _) => {
                let name = access_mode(dialect).to_owned();
                Ok(Some(Change::Default { name }))
            }
            (_, Some(read_only)) => Ok(Some(access_change(read_only, dialect))),
            (_, None) => Err(Pins::SESSION_VARIABLE),
        };
    }
    let name = if ISOLATION.contains(&name) { isolation_name(dialect) } else { name };
    let restored = session_variable(name.as_bytes()).ok_or(Pins::SESSION_VARIABLE)?;
    let told = Ok(Some(Change::Told { name: restored.name }));
    let name = restored.name.to_owned();
    if value.kind == ValueKind::Default {
        return match has_true_default(&name) && !restored.ties_when_on() {
            true => Ok(Some(Change::Default { name })),
            false => told,
        };
    }
    let Some(replayed) = replayable(value, dialect) else { return told };
    if restored.ties_when_on() && value.switch(dialect) != Some(false) {
        return Err(Pins::SESSION_VARIABLE);
    }
    let value = match value.kind {
        // A number gives every flag.
        ValueKind::Number => replayed,
        _ if restored.adds_up() => {
            let before = settings.variables.get(restored.name).map(|value| &**value);
            match switches::after(before, &replayed) {
                Some(value) => value,
                None => return told,
            }
        }
        _ => replayed,
    };
    Ok(Some(Change::Variable { name, value }))
}

/// Two names of one variable: of one session, one of them is replayed.
const ISOLATION: [&str; 2] = ["transaction_isolation", "tx_isolation"];

fn isolation_name(dialect: Dialect) -> &'static str {
    // MariaDB has the newer names from 11.1 on only, and still the older.
    match dialect.flavour {
        Flavour::MySql => ISOLATION[0],
        Flavour::MariaDb => ISOLATION[1],
    }
}

fn access_mode(dialect: Dialect) -> &'static str {
    match dialect.flavour {
        Flavour::MySql => ACCESS_MODE[0],
        Flavour::MariaDb => ACCESS_MODE[1],
    }
}

fn access_change(read_only: bool, dialect: Dialect) -> Change {
    let value = if read_only { "1" } else { "0" };
    Change::Variable { name: access_mode(dialect).to_owned(), value: value.to_owned() }
}

fn isolation_change(isolation: Isolation, dialect: Dialect) -> Change {
    let value = match isolation {
        Isolation::ReadUncommitted => "'READ-UNCOMMITTED'",
        Isolation::ReadCommitted => "'READ-COMMITTED'",
        Isolation::RepeatableRead => "'REPEATABLE-READ'",
        Isolation::Serializable => "'SERIALIZABLE'",
    };
    Change::Variable { name: isolation_name(dialect).to_owned(), value: value.to_owned() }
}

/// A value as text that reads the same under every `sql_mode` and character set; `None` when it
/// has none.
fn replayable(value: &Value<'_>, dialect: Dialect) -> Option<String> {
    match value.kind {
        ValueKind::Null => Some("NULL".to_owned()),
        ValueKind::Number | ValueKind::Word => {
            std::str::from_utf8(value.text).ok().filter(|text| text.is_ascii()).map(str::to_owned)
        }
        ValueKind::String => {
            let plain = String::from_utf8(value.plain(dialect)?).ok()?;
            let tame = |c: char| (' '..='~').contains(&c) && !matches!(c, '\'' | '\\');
            plain.chars().all(tame).then(|| format!("'{plain}'"))
        }
        ValueKind::Default | ValueKind::OtherLiteral | ValueKind::Expression => None,
    }
}

/// The name of a character set or collation.
fn names_value(value: &Value<'_>, dialect: Dialect) -> Result<String, Pins> {
    match value.kind {
        ValueKind::Default => Ok("DEFAULT".to_owned()),
        _ => replayable(value, dialect).ok_or(Pins::SESSION_VARIABLE),
    }
}
