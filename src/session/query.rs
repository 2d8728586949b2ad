//! The plan of a text statement: its class and the session's state together.

mod asked;
mod route;
mod set;
#[cfg(test)]
mod tests;

pub(super) use self::asked::diagnostics_after;
use self::asked::{after, known, reported};
pub(super) use self::route::Route;
use self::set::set;
use super::plan::{Action, KillScope, Plan, Situation, Then, TrackingUse, Why};
use super::read_only::fit;
use super::text_kills::{self, TextKill};
use super::{Change, Pins, SessionId, State};
use crate::routing::Request;
use crate::sql::kill::{KillTarget, parse_kill};
use crate::sql::lexer::Lexer;
use crate::sql::question::bare_question;
use crate::sql::transaction::parse_end;
use crate::sql::{Destination, Dialect, Effects, Kind, Lock, Reason, Statement, classify};
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
    if let Some(changes) = reported(sql, whole, &statement, Situation { dialect, ..situation }) {
        plan = Plan {
            request: Request::Previous(situation.previous),
            pins: Pins::empty(),
            changes,
            only_reads: true,
            may_write: false,
            may_commit: false,
            needs_insert_id: false,
            changes_insert_id: false,
            ..plan
        };
    }
    match statement.kind {
        Kind::Set if whole => set(sql, dialect, situation.state, &mut plan),
        Kind::Prepare | Kind::Execute if whole => text(sql, dialect, situation.state, &mut plan),
        Kind::Unlock(lock) => plan.then = Then::Unlocked(unlocked(lock)),
        // Even where none is open. The one that is chained to it keeps the connection by itself.
        Kind::Commit | Kind::Rollback => {
            let releases = mentions(sql, RELEASE)
                && parse_end(Lexer::new(sql, dialect)).is_some_and(|end| end.release == Some(true));
            plan.then = match releases {
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
/// Of what ends a transaction and the connection with it.
const RELEASE: &[&[u8]] = &[b"release"];
/// Of which one of several statements has one that sets what session tracking tells of.
const TRACKING: &[&[u8]] = &[b"session_track_"];

/// Whether one of these stands anywhere in the text.
fn mentions(sql: &[u8], any: &[&[u8]]) -> bool {
    any.iter().any(|wanted| sql.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted)))
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
    let scope = KillScope::of(&kill);
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
