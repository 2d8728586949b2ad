//! Where a statement goes in the state that its session is in.

use std::sync::Arc;

use super::clears_diagnostics;
use crate::routing::rules::Rule;
use crate::routing::{Choice, Request, Sender, Wish};
use crate::session::State;
use crate::session::outcome::Diagnostics;
use crate::session::plan::{Situation, Why};
use crate::sql::{Destination, Reason, Statement};

#[derive(Debug)]
pub(in crate::session) struct Route {
    pub request: Request,
    pub why: Why,
    pub wish: Wish,
    /// The rule that has chosen.
    pub rule: Option<Arc<Rule>>,
}

impl Route {
    pub fn of(request: Request, why: Why) -> Self {
        Route { request, why, wish: Wish::default(), rule: None }
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
        match bound(state) {
            _ if !statement.replica_would_do() => return Route::of(Request::Primary, why),
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
            && state.outcome.diagnostics == Diagnostics::OnConnection
            && !clears_diagnostics(sql, &statement, situation.dialect)
        {
            // They stay where they are, and so does the session.
            return Route::of(Request::Previous(situation.previous), why);
        }
        let Choice { request, reason, wish, rule } = choice;
        Route { request, why: Why::Text(reason), wish, rule }
    }
}

/// Why all of the session's reads go to the primary, if they do.
fn bound(state: &State) -> Option<Why> {
    if !state.pins().is_empty() {
        Some(Why::Pinned)
    } else if state.in_transaction() {
        Some(Why::Transaction)
    } else if !state.is_autocommit() {
        Some(Why::AutocommitOff)
    } else if state.is_serializable() {
        Some(Why::Serializable)
    } else {
        None
    }
}
