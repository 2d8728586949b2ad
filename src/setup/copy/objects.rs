//! Views, routines, triggers, events, as they were made: by the definer, sql_mode, character set,
//! collations and time zone of then.

use super::definitions::{Definitions, Schema, Stored};
use super::quoting::{find, name, qualified};
use super::session::{CopyError, Session, text};

/// ER_NO_SUCH_TABLE, ER_VIEW_INVALID, ER_SP_DOES_NOT_EXIST, ER_BAD_FIELD_ERROR, ER_BAD_DB_ERROR:
/// what a view refers to is not there (yet), or no longer fits.
const UNRESOLVED: [u16; 5] = [1146, 1356, 1305, 1054, 1049];

/// Makes them, after all tables are there and have their rows, which no trigger may see twice.
pub async fn create(
    definitions: &Definitions,
    source: &mut Session,
    target: &mut Session,
    notes: &mut Vec<String>,
) -> Result<(), CopyError> {
    for schema in &definitions.schemas {
        for routine in &schema.routines {
            make(schema, routine, &routine.create, target).await?;
        }
    }
    create_views(definitions, source, target, notes).await?;
    for schema in &definitions.schemas {
        for trigger in &schema.triggers {
            make(schema, trigger, &trigger.create, target).await?;
        }
        for event in &schema.events {
            make(schema, event, &disabled_on_replica(&event.create), target).await?;
        }
    }
    let reset = "SET NAMES utf8mb4";
    target.run("the session", reset).await?;
    target.run("the session", "SET SESSION character_set_results = NULL").await?;
    target.run("the session", "SET SESSION time_zone = '+00:00'").await?;
    Ok(())
}

/// Views may refer to each other, and to what is no longer there. So each is tried until none of
/// those left can be made; the source then says whether it has a use for them.
async fn create_views(
    definitions: &Definitions,
    source: &mut Session,
    target: &mut Session,
    notes: &mut Vec<String>,
) -> Result<(), CopyError> {
    let mut left: Vec<(&Schema, &Stored)> = definitions
        .schemas
        .iter()
        .flat_map(|schema| schema.views.iter().map(move |view| (schema, view)))
        .collect();
    loop {
        let before = left.len();
        let mut failed = Vec::new();
        for (schema, view) in left {
            match make(schema, view, &view.create, target).await {
                Ok(()) => {}
                Err(error) if error.code().is_some_and(|code| UNRESOLVED.contains(&code)) => {
                    failed.push((schema, view, error));
                }
                Err(error) => return Err(error),
            }
        }
        if failed.len() < before {
            left = failed.into_iter().map(|(schema, view, _)| (schema, view)).collect();
            continue;
        }
        for (schema, view, error) in failed {
            let about = format!("{}.{}", schema.name, view.name);
            let ask = format!("SELECT 1 FROM {} LIMIT 0", qualified(&schema.name, &view.name));
            match source.run(&about, &ask).await {
                Ok(_) => return Err(error),
                Err(broken) if broken.code().is_some() => {
                    notes.push(format!("the view {about} is left out, it is broken: {broken}"));
                }
                Err(lost) => return Err(lost),
            }
        }
        return Ok(());
    }
}

/// Runs a statement that makes something, under the settings that it was made under.
async fn make(
    schema: &Schema,
    stored: &Stored,
    create: &[u8],
    target: &mut Session,
) -> Result<(), CopyError> {
    let about = format!("{}.{}", schema.name, stored.name);
    target.run(&about, &format!("USE {}", name(&schema.name))).await?;
    let mut settings = vec![
        format!("character_set_client = {}", stored.character_set_client),
        format!("collation_connection = {}", stored.collation_connection),
    ];
    if let Some(zone) = &stored.time_zone {
        settings.push(format!("time_zone = '{zone}'"));
    }
    if let Some(mode) = &stored.sql_mode {
        settings.push(format!("sql_mode = '{mode}'"));
    }
    for setting in &settings {
        target.run(&about, &format!("SET SESSION {setting}")).await?;
    }
    // A routine keeps its schema's collation of when it was made.
    let then = stored.database_collation.as_deref().filter(|then| *then != schema.collation);
    if let Some(then) = then {
        target.run(&about, &collate(&schema.name, then)).await?;
    }
    let shown = text(Some(create));
    let made = target.run_shown(&about, create, &shown).await;
    if then.is_some() {
        target.run(&about, &collate(&schema.name, &schema.collation)).await?;
    }
    if stored.sql_mode.is_some() {
        target.run(&about, "SET SESSION sql_mode = ''").await?;
    }
    made.map(|_| ())
}

fn collate(schema: &str, collation: &str) -> String {
    format!("ALTER DATABASE {} COLLATE {collation}", name(schema))
}

/// An event's statement as it is on a replica: what it does comes by replication. (As the server
/// itself has it where the statement is replicated. Newer versions read the old word, too.)
fn disabled_on_replica(create: &[u8]) -> Vec<u8> {
    const COMPLETION: &[u8] = b" ON COMPLETION ";
    const ENABLED: [&[u8]; 2] = [b"NOT PRESERVE ENABLE", b"PRESERVE ENABLE"];
    let Some(at) = find(create, COMPLETION) else { return create.to_vec() };
    let rest = &create[at + COMPLETION.len()..];
    let Some(enabled) = ENABLED.into_iter().find(|words| rest.starts_with(words)) else {
        return create.to_vec();
    };
    let behind = at + COMPLETION.len() + enabled.len();
    let ahead = behind - b"ENABLE".len();
    [&create[..ahead], b"DISABLE ON SLAVE", &create[behind..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_do_nothing_on_a_replica() {
        let event = |schedule: &str, status: &str| {
            format!(
                "CREATE DEFINER=`a`@`%` EVENT `e ON COMPLETION PRESERVE ENABLE``'` ON SCHEDULE \
                 {schedule} ON COMPLETION NOT PRESERVE {status} COMMENT 'x' DO SELECT \
                 ' ON COMPLETION PRESERVE ENABLE'"
            )
        };
        let table = [
            (event("EVERY 1 DAY", "ENABLE"), event("EVERY 1 DAY", "DISABLE ON SLAVE")),
            (
                event("AT '2030-01-01 00:00:00'", "ENABLE"),
                event("AT '2030-01-01 00:00:00'", "DISABLE ON SLAVE"),
            ),
            (event("EVERY 1 DAY", "DISABLE"), event("EVERY 1 DAY", "DISABLE")),
            (
                event("EVERY 1 DAY", "DISABLE ON REPLICA"),
                event("EVERY 1 DAY", "DISABLE ON REPLICA"),
            ),
        ];
        for (made, replicas) in table {
            let found = disabled_on_replica(made.as_bytes());
            assert_eq!(String::from_utf8(found).unwrap(), replicas);
        }
    }
}
