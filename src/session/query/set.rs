//! What a SET changes in the session's settings.

use crate::session::plan::{Plan, TrackingUse};
use crate::session::settings::has_true_default;
use crate::session::tracking::is_tracking;
use crate::session::user_variables::{self, Assigned};
use crate::session::{Change, Characteristics, Pins, Settings, State, switches};
use crate::sql::Dialect;
use crate::sql::set::{
    Assignment, Isolation, Scope, TransactionScope, Value, ValueKind, parse_set,
};
use crate::sql::variables::{ACCESS_MODE, session_variable};
use crate::wire::Flavour;

/// What a SET changes, item by item. What cannot be replayed pins the session.
pub(super) fn set(sql: &[u8], dialect: Dialect, state: &State, plan: &mut Plan) {
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
