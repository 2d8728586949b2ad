//! The plan of the commands about prepared statements: each execution goes where its text would go
//! as a query.

use super::Pins;
use super::outcome::{After, DiagnosticsAfter, FoundRowsAfter};
use super::plan::{Action, HINTS, Plan, Prepares, Situation, StatementUse, Then, Why};
use super::query::{self, Route};
use super::read_only::Fit;
use super::statements::{Home, Prepared, PreparedText};
use crate::routing::Request;
use crate::sql::{Dialect, Effects, Kind, Statement, classify};
use crate::wire::Flavour;
use crate::wire::amend::Amendment;
use crate::wire::command::Command;
use crate::wire::execute::{
    asks_for_cursor, asks_for_unit_results, attribute, leaves_types_out, statement_id,
};
use crate::wire::reply::ServerError;
use crate::wire::scanner::Expect;

/// COM_STMT_PREPARE. It reads nothing but the text and the tables' definitions.
pub(super) fn prepare(sql: &[u8], whole: bool, situation: Situation<'_>) -> Action {
    let state = situation.state;
    if !state.statements().has_room() {
        return refuse(too_many());
    }
    let id = state.statements().next_id();
    // What is not known of the connection changes what a text means: it cannot be prepared alike
    // elsewhere, nor be told from the same text prepared before.
    let unknown = state.pins().intersects(Pins::SESSION_VARIABLE | Pins::UNKNOWN_EFFECTS);
    let kept = whole && !unknown && state.statements().may_keep(sql.len());
    let text = kept.then(|| situation.texts.intern(sql, state.settings(), situation.dialect));
    let plan = Plan {
        only_reads: true,
        may_commit: false,
        ..Plan::primary(Command::StmtPrepare, Why::Prepared)
    };
    Action::Run(match text.flatten() {
        Some(text) => {
            let statement = settled(&text, situation);
            let mut route = Route::new(&text.sql, &statement, situation);
            if let Request::Previous(_) = route.request {
                route.request = Request::Primary;
            }
            // Preparing alone makes the variables that the text names, and their types show.
            let variables = Effects::SETS_USER_VARIABLE | Effects::READS_USER_VARIABLE;
            // A user variable has its type from the moment that the text is prepared.
            let (request, pins) = match statement.effects.intersects(variables) {
                true => (Request::Primary, Pins::USER_VARIABLE),
                false => (route.request, Pins::empty()),
            };
            Plan {
                request,
                wish: route.wish,
                rule: route.rule,
                why: route.why,
                digest: Some(statement.digest),
                pins,
                fit: if pins.is_empty() { Fit::Serves } else { Fit::Primary },
                repeatable: request == Request::Read,
                after: After {
                    is_statement: true,
                    found_rows: FoundRowsAfter::Kept,
                    diagnostics: diagnostics_after_preparing(&text.sql, &statement, situation),
                    ..After::UNKNOWN
                },
                prepares: Some((id, Prepares::Text(text))),
                ..plan
            }
        }
        None => Plan {
            pins: Pins::PREPARED_STATEMENT,
            prepares: Some((id, here(sql, situation.dialect))),
            after: After {
                is_statement: true,
                found_rows: FoundRowsAfter::Kept,
                diagnostics: DiagnosticsAfter::of_unseen_code(situation.dialect.flavour),
                ..After::UNKNOWN
            },
            ..plan
        },
    })
}

fn diagnostics_after_preparing(
    sql: &[u8],
    statement: &Statement,
    situation: Situation<'_>,
) -> DiagnosticsAfter {
    let calls = statement.effects.contains(Effects::CALLS_ROUTINE) && statement.kind != Kind::Call;
    match query::diagnostics_after(sql, statement, situation.dialect) {
        // The tables of a function's definition, too, are tables that it uses.
        _ if calls => DiagnosticsAfter::Replaced,
        // Nothing of it is run.
        DiagnosticsAfter::Unknown => DiagnosticsAfter::Kept,
        after => after,
    }
}

fn here(sql: &[u8], dialect: Dialect) -> Prepares {
    let kind = classify(sql, dialect).kind;
    Prepares::Here {
        runs_routine: kind == Kind::Call,
        kills: query::kill(kind, sql, dialect).map(|(scope, _)| scope),
    }
}

/// What is known of the text by now.
fn settled(text: &PreparedText, situation: Situation<'_>) -> Statement {
    let mut statement = text.statement;
    if statement.open {
        statement = situation.opinions.settle(statement, &text.sql, text.dialect);
    }
    match &text.settings.database {
        Some(database) => statement.within(database),
        None => statement,
    }
}

/// The commands about a statement that is prepared.
pub(super) fn plan(command: Command, arguments: &[u8], situation: Situation<'_>) -> Action {
    use Command::*;
    let least = match command {
        StmtExecute => 9,
        StmtFetch => 8,
        _ => 4,
    };
    if arguments.len() < least {
        // MariaDB looks for whatever statement these few bytes name.
        return match (situation.dialect.flavour, command) {
            (Flavour::MariaDb, StmtReset | StmtFetch) => {
                refuse(unknown(0, command, Flavour::MariaDb))
            }
            _ => refuse(malformed()),
        };
    }
    let called = statement_id(arguments).unwrap_or(0);
    let Some((id, prepared)) = situation.state.statements().find(called) else {
        return match command {
            // They have no reply, and so no error.
            StmtClose | StmtSendLongData => Action::Ignore,
            _ => refuse_unread(unknown(called, command, situation.dialect.flavour), situation),
        };
    };
    let at_server = prepared.cursor || prepared.long_data;
    let pinned = matches!(prepared.home, Home::Here(_));
    let untyped = prepared.types.is_empty()
        && leaves_types_out(command, arguments, prepared.parameters, situation.capabilities);
    let run = |mut plan: Plan, exclusive| {
        if untyped && situation.dialect.flavour == Flavour::MySql {
            // Refused before the list of the statement before is cleared.
            plan.after.diagnostics = DiagnosticsAfter::Added { unsaid: None };
        }
        let home = prepared.home.clone();
        let unit_results = asks_for_unit_results(command, arguments);
        let usage = StatementUse { command, id, home, exclusive, untyped, unit_results };
        Action::Run(Plan { statement: Some(usage), ..plan })
    };
    let plain = || Plan {
        may_commit: false,
        only_reads: true,
        fit: Fit::Serves,
        ..Plan::primary(command, Why::Prepared)
    };
    // MySQL counts their warnings, and leaves those of the statement before in the list.
    let is_statement = situation.dialect.flavour == Flavour::MySql;
    let after = After { is_statement, found_rows: FoundRowsAfter::Kept, ..After::UNKNOWN };
    let reset = || Plan {
        after,
        // Where the statement is not prepared it is a COM_PING, whose OK repeats them.
        amendment: is_statement.then_some(Amendment::Warnings(0)),
        ..plain()
    };
    match command {
        StmtClose if pinned || at_server => run(plain(), at_server),
        StmtClose => Action::Close(id),
        StmtReset if pinned || at_server => run(reset(), at_server),
        // A connection that is kept knows better whether a transaction is open.
        StmtReset if prepared.failed.is_none() && !situation.state.keeps_connection() => {
            Action::Ok { is_statement }
        }
        StmtReset => run(reset(), false),
        StmtSendLongData => {
            let (pins, fit) = (Pins::LONG_DATA, Fit::Lasts);
            run(Plan { pins, fit, then: Then::LongData, ..plain() }, true)
        }
        StmtFetch if prepared.cursor || pinned => {
            let flavour = situation.dialect.flavour;
            let diagnostics = DiagnosticsAfter::beside_statements(flavour, None);
            let after = After { diagnostics, ..after };
            run(Plan { after, ..plain() }, true)
        }
        StmtFetch => refuse_unread(no_cursor(called, situation.dialect.flavour), situation),
        _ => execute(command, arguments, (id, prepared), situation, run),
    }
}

fn execute(
    command: Command,
    arguments: &[u8],
    (id, prepared): (u32, &Prepared),
    situation: Situation<'_>,
    run: impl Fn(Plan, bool) -> Action,
) -> Action {
    if let Some(error) = &prepared.failed {
        let (error, kept_for) = (error.clone(), Some(id));
        return Action::Refuse { error, kept_for, why: Why::Prepared };
    }
    let cursor = asks_for_cursor(command, arguments);
    let exclusive = cursor || prepared.cursor || prepared.long_data;
    let expect = match cursor {
        true if !prepared.runs_routine => Some(Expect::Cursor),
        _ => command.expects(),
    };
    let Home::Anywhere(text) = &prepared.home else {
        let diagnostics = DiagnosticsAfter::of_unseen_code(situation.dialect.flavour);
        let after = After { is_statement: true, diagnostics, ..After::UNKNOWN };
        let kills = prepared.kills;
        let plan = Plan { expect, after, kills, ..Plan::unknown(command, Why::Prepared) };
        return run(plan, exclusive);
    };
    let statement = settled(text, situation);
    let hints = match exclusive {
        false => attribute(command, arguments, prepared.parameters, situation.capabilities, HINTS),
        true => None,
    };
    let situation = Situation { hints, ..situation };
    let action = query::judged(&text.sql, true, statement, text.dialect, situation);
    let mut plan = match action {
        Action::Run(plan) => plan,
        other => return other,
    };
    plan.expect = expect;
    if exclusive {
        plan.request = Request::Primary;
        plan.repeatable = false;
        if plan.fit == Fit::Serves {
            plan.fit = Fit::Lasts;
        }
    }
    if cursor {
        plan.after.found_rows = FoundRowsAfter::Unknown;
        plan.amendment = None;
    }
    if cursor && !matches!(statement.kind, Kind::Dml) {
        plan.pins |= Pins::CURSOR;
    }
    if let (Request::Read, Some((newest, backend))) = (plan.request, situation.prepared_at)
        && newest == id
    {
        plan.request = Request::ReadAt(backend);
    }
    run(plan, exclusive)
}

fn refuse(error: ServerError) -> Action {
    Action::Refuse { error, kept_for: None, why: Why::Prepared }
}

/// Of a command that MySQL refuses before it has cleared what the statement before has left.
fn refuse_unread(error: ServerError, situation: Situation<'_>) -> Action {
    match situation.dialect.flavour {
        Flavour::MySql => Action::RefuseBesides(error),
        Flavour::MariaDb => refuse(error),
    }
}

/// ER_MALFORMED_PACKET.
fn malformed() -> ServerError {
    ServerError::new(1835, b"HY000", "Malformed communication packet.")
}

/// ER_UNKNOWN_STMT_HANDLER, in the servers' words.
fn unknown(id: u32, command: Command, flavour: Flavour) -> ServerError {
    let function = match (flavour, command) {
        (Flavour::MySql, _) => "mysql_stmt_precheck",
        (Flavour::MariaDb, Command::StmtFetch) => "mysqld_stmt_fetch",
        (Flavour::MariaDb, Command::StmtReset) => "mysqld_stmt_reset",
        (Flavour::MariaDb, _) => "mysqld_stmt_execute",
    };
    let message = format!("Unknown prepared statement handler ({id}) given to {function}");
    ServerError::new(1243, b"HY000", message)
}

/// ER_STMT_HAS_NO_OPEN_CURSOR.
fn no_cursor(id: u32, flavour: Flavour) -> ServerError {
    let end = match flavour {
        Flavour::MySql => ".",
        Flavour::MariaDb => "",
    };
    ServerError::new(1421, b"HY000", format!("The statement ({id}) has no open cursor{end}"))
}

/// ER_MAX_PREPARED_STMT_COUNT_REACHED.
fn too_many() -> ServerError {
    let message =
        "Can't create more than max_prepared_stmt_count statements (current value: 16382)";
    ServerError::new(1461, b"42000", message)
}
