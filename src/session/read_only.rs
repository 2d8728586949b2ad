//! READ ONLY transactions on a replica: what a statement means to one that is open there.
//!
//! Such a transaction has a connection on which the server itself refuses writes, so whatever is
//! misjudged here costs an error and no data. It begins like a read, where the session's reads may
//! run, and stays there to its end. What a replica must not run goes to the primary: as long as the
//! client has nothing of the transaction that another one would not have, it is begun anew there.
//! Afterwards it cannot move: two servers do not have one snapshot. What ends it by itself then
//! ends it here and runs on the primary; for the rest there is an error.

use super::plan::{Action, Plan, Situation, TrackingUse};
use super::{Characteristics, Pins, State};
use crate::routing::Request;
use crate::sql::lexer::Lexer;
use crate::sql::set::{Assignment, Scope, TransactionScope, parse_set};
use crate::sql::transaction::parse_end;
use crate::sql::variables::ACCESS_MODE;
use crate::sql::{Dialect, Effects, Kind, Lock, Statement};
use crate::wire::Flavour;
use crate::wire::reply::ServerError;

/// An open transaction on a connection that is held to reading by its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnReplica {
    /// The client has seen data of its snapshot, or has set a savepoint: it cannot be begun anew
    /// elsewhere.
    pub anchored: bool,
    /// What was said of it when it began.
    pub characteristics: Characteristics,
}

/// What a command means to a READ ONLY transaction on a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It runs there.
    Serves,
    /// It runs there if it must, and what it leaves on the connection ends with the transaction:
    /// a cursor, data for an execution.
    Lasts,
    /// It ends the transaction before it does anything.
    Ends,
    /// Every server refuses it in such a transaction.
    Refused(Law),
    /// Only the primary may run it.
    Primary,
}

/// Why every server refuses a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// It writes.
    ReadOnly,
    /// SET TRANSACTION speaks of the next transaction, while one is open.
    InProgress,
}

impl OnReplica {
    /// What becomes of a command while the transaction is open.
    pub(super) fn admit(self, mut plan: Plan, situation: Situation<'_>) -> Action {
        let here = Request::Previous(situation.previous);
        let refuse = |error| Action::Refuse { error, kept_for: None, why: plan.why };
        plan.request = match plan.fit {
            Fit::Serves => here,
            Fit::Lasts if self.anchored => here,
            // It begins another one, which any server may serve.
            Fit::Ends if plan.request == Request::Read => Request::Read,
            Fit::Refused(law) if self.anchored => {
                return refuse(law.error(situation.dialect.flavour));
            }
            Fit::Primary if self.anchored => return refuse(needs_primary()),
            _ => Request::Primary,
        };
        Action::Run(plan)
    }
}

impl Law {
    fn error(self, flavour: Flavour) -> ServerError {
        match (self, flavour) {
            (Law::ReadOnly, Flavour::MySql) => {
                read_only("Cannot execute statement in a READ ONLY transaction.")
            }
            (Law::ReadOnly, Flavour::MariaDb) => {
                read_only("Cannot execute statement in a READ ONLY transaction")
            }
            (Law::InProgress, _) => {
                let message = "Transaction characteristics can't be changed while a transaction is in progress";
                ServerError::new(1568, b"25001", message)
            }
        }
    }
}

/// ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION.
fn read_only(message: &str) -> ServerError {
    ServerError::new(1792, b"25006", message)
}

fn needs_primary() -> ServerError {
    read_only(
        "Cannot execute statement in a READ ONLY transaction (rwproxy: it runs on a replica and \
         has read there, and this statement may run on the primary alone; a transaction that \
         begins with /* rwproxy: primary */ START TRANSACTION READ ONLY runs there)",
    )
}

/// What a statement means to such a transaction; `plan` is its plan so far.
pub(super) fn fit(
    sql: &[u8],
    whole: bool,
    statement: &Statement,
    plan: &Plan,
    situation: Situation<'_>,
) -> Fit {
    let (state, dialect) = (situation.state, situation.dialect);
    let ends = statement.effects.contains(Effects::IMPLICIT_COMMIT);
    match statement.kind {
        Kind::Dml => Fit::Refused(Law::ReadOnly),
        // Of temporary tables, which end no transaction.
        Kind::Ddl if !ends => Fit::Refused(Law::ReadOnly),
        _ if !whole => Fit::Primary,
        Kind::Multi => Fit::Primary,
        _ if ends => Fit::Ends,
        Kind::Set => of_set(sql, plan, state, dialect),
        _ if !plan.pins.is_empty() => Fit::Primary,
        // Another one begins at once, which may have to see what this replica does not have yet.
        Kind::Commit | Kind::Rollback if situation.shares_writes && chains(sql, dialect) => {
            Fit::Ends
        }
        Kind::Commit | Kind::Rollback | Kind::Savepoint | Kind::Use | Kind::Empty => Fit::Serves,
        // There are none.
        Kind::Unlock(Lock::Tables) => Fit::Serves,
        _ => match plan.request {
            Request::Previous(_) => Fit::Serves,
            Request::Primary | Request::Read | Request::ReadAt(_) => Fit::Primary,
        },
    }
}

fn chains(sql: &[u8], dialect: Dialect) -> bool {
    parse_end(Lexer::new(sql, dialect)).is_some_and(|end| end.chain == Some(true))
}

/// A SET is at home on a replica's connection if another connection can be given the same. The
/// access mode is not: that connection stays READ ONLY.
fn of_set(sql: &[u8], plan: &Plan, state: &State, dialect: Dialect) -> Fit {
    if plan.pins == Pins::NEXT_TRANSACTION && state.has_begun() {
        return Fit::Refused(Law::InProgress);
    }
    if !plan.pins.is_empty() || plan.tracking == TrackingUse::Sets {
        return Fit::Primary;
    }
    let Some(assignments) = parse_set(sql, dialect) else { return Fit::Primary };
    let harmless = |assignment: &Assignment<'_>| match assignment {
        Assignment::Variable { scope: Scope::Session, name, value } => {
            let access = ACCESS_MODE.contains(&&**name);
            value.is_constant() && (!access || value.switch(dialect) == Some(true))
        }
        Assignment::UserVariable { value, .. } => value.is_constant(),
        Assignment::Names { .. } | Assignment::CharacterSet { .. } => true,
        Assignment::Transaction { scope: TransactionScope::Session, read_only, .. } => {
            *read_only != Some(false)
        }
        _ => false,
    };
    if !assignments.iter().all(harmless) {
        return Fit::Primary;
    }
    // Autocommit that is off ends the transaction when it is set on, and only then.
    let sets_on = |assignment: &Assignment<'_>| {
        matches!(assignment, Assignment::Variable { name, value, .. }
            if *name == "autocommit" && value.switch(dialect) != Some(false))
    };
    match !state.settings().autocommit && assignments.iter().any(sets_on) {
        true => Fit::Ends,
        false => Fit::Serves,
    }
}
