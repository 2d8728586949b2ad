//! Where a statement goes in the state that its session is in.

use std::sync::Arc;

use super::diagnostics_after;
use crate::routing::rules::Rule;
use crate::routing::{Choice, Request, Sender, Wish};
use crate::session::outcome::Diagnostics;
use crate::session::plan::{Situation, Why};
use crate::session::{Characteristics, State};
use crate::sql::classify::is_primarys_snapshot;
use crate::sql::{Destination, Dialect, Kind, Reason, Statement};

#[derive(Debug)]
pub(in crate::session) struct Route {
    pub request: Request,
    pub why: Why,
    pub wish: Wish,
    /// The rule that has chosen.
    pub rule: Option<Arc<Rule>>,
    /// What was said of the transaction that it begins, where that is READ ONLY.
    pub characteristics: Option<Characteristics>,
}

impl Route {
    pub fn of(request: Request, why: Why) -> Self {
        Route { request, why, wish: Wish::default(), rule: None, characteristics: None }
    }

    pub fn new(sql: &[u8], statement: &Statement, situation: Situation<'_>) -> Self {
        let why = Why::Text(statement.reason);
        let mut statement = *statement;
        match statement.destination {
            Destination::Previous => return Route::of(Request::Previous(situation.previous), why),
            // They are known, or the session is pinned.
            Destination::Primary if statement.reason == Reason::UserVariable => {
                statement.destination = Destination::Replica;
            }
            Destination::Primary | Destination::Replica => {}
        }
        let state = situation.state;
        let begins = begins(&statement, situation.dialect, state);
        if begins.is_some() {
            statement.destination = Destination::Replica;
            statement.reason = Reason::BeginsReadOnly;
        }
        match bound(state) {
            _ if !statement.replica_would_do() => return Route::of(Request::Primary, why),
            _ if begins.is_some() => {}
            Some(Why::ReadOnlyTransaction) => {
                let where_it_runs = Request::Previous(situation.previous);
                return Route::of(where_it_runs, Why::ReadOnlyTransaction);
            }
            Some(_) if statement.destination == Destination::Primary => {
                return Route::of(Request::Primary, why);
            }
            Some(bound) => return Route::of(Request::Primary, bound),
            None => {}
        }
        let database = state.settings().database.as_deref().unwrap_or_default();
        let sender = Sender { user: situation.user, database, hints: situation.hints };
        let choice = Choice::new(sql, &statement, situation.rules, sender);
        let reads =
            statement.destination == Destination::Replica || choice.request == Request::Read;
        if reads
            && begins.is_none()
            && state.outcome.diagnostics == Diagnostics::OnConnection
            && diagnostics_after(sql, &statement, situation.dialect).may_keep()
        {
            // They stay where they are, and so does the session.
            return Route::of(Request::Previous(situation.previous), why);
        }
        let Choice { request, reason, wish, rule } = choice;
        let moves = request == Request::Read && !state.pins().is_empty();
        let characteristics = begins.filter(|_| moves);
        Route { request, why: Why::Text(reason), wish, rule, characteristics }
    }
}

/// What is said of the READ ONLY transaction that the statement begins, if it begins one that may
/// run on a replica.
fn begins(statement: &Statement, dialect: Dialect, state: &State) -> Option<Characteristics> {
    let Kind::Begin { read_only, .. } = statement.kind else { return None };
    if is_primarys_snapshot(statement.kind, dialect) {
        return None;
    }
    // One that says READ ONLY has been classified; the others leave it to the session.
    let open = match read_only {
        Some(true) => statement.destination == Destination::Replica,
        Some(false) => false,
        None => statement.reason == Reason::TransactionControl,
    };
    state.begins_on_replica(read_only).filter(|_| open)
}

/// Why all of the session's reads go to the primary, if they do.
fn bound(state: &State) -> Option<Why> {
    if !state.pins().is_empty() {
        Some(Why::Pinned)
    } else if state.on_replica().is_some() {
        Some(Why::ReadOnlyTransaction)
    } else if state.in_transaction() {
        Some(Why::Transaction)
    } else if !state.is_autocommit() && !state.reads_only() {
        Some(Why::AutocommitOff)
    } else if state.is_serializable() {
        Some(Why::Serializable)
    } else {
        None
    }
}
