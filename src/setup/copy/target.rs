//! Whether the target may be written, and what is said to it at the end.

use super::quoting::name;
use super::session::{CopyError, Session, text};
use crate::facts::UNFINISHED;
use crate::sql::system_tables::is_system_database;
use crate::wire::Flavour;

/// The variable that says how long a statement may be.
pub const LIMIT: &str = "max_allowed_packet";

/// ER_FLUSH_MASTER_BINLOG_CLOSED: there is no binary log to empty.
const NO_BINARY_LOG: u16 = 1186;

/// Both ends must be of one flavour, and two.
pub async fn refuse_unlike(source: &mut Session, target: &mut Session) -> Result<(), CopyError> {
    if source.version.flavour != target.version.flavour {
        return Err(target.unfit(format!(
            "{} and {} do not replicate from each other",
            target.version, source.version
        )));
    }
    let release = |session: &Session| (session.version.major, session.version.minor);
    if release(target) < release(source) {
        return Err(target.unfit(format!(
            "{} is older than {}: a replica must not be",
            target.version, source.version
        )));
    }
    if source.version.flavour == Flavour::MySql {
        for session in [&mut *source, &mut *target] {
            if session.value("GTID mode", "SELECT @@GLOBAL.gtid_mode").await? != "ON" {
                return Err(session.unfit("gtid_mode is not ON"));
            }
        }
    }
    // The same server by two addresses: a lock of one connection is there for the other.
    let lock = format!("rwproxy-copy-{:016x}", random());
    source.run("which server it is", &format!("SELECT GET_LOCK('{lock}', 0)")).await?;
    let used = target.value("which server it is", &format!("SELECT IS_USED_LOCK('{lock}')")).await;
    source.run("which server it is", &format!("SELECT RELEASE_LOCK('{lock}')")).await?;
    if !used?.is_empty() {
        return Err(target.unfit(format!("it is the same server as {}", source.server)));
    }
    Ok(())
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0u8)
}

/// Marks the target as unfinished, and removes all schemas that are there: empty ones, what an
/// interrupted copy has left, and with `overwrite` everything.
pub async fn clear(target: &mut Session, overwrite: bool) -> Result<(), CopyError> {
    let found = user_schemas(target).await?;
    let is_unfinished = found.iter().any(|schema| schema == UNFINISHED);
    if !overwrite
        && !is_unfinished
        && let Some(example) = example(target, &found).await?
    {
        return Err(CopyError::NotBare { server: target.server.clone(), example });
    }
    if target.version.flavour == Flavour::MySql {
        // Not even root writes past it. Whoever has asked for the copy closes the replica again.
        target.run("super_read_only", "SET GLOBAL super_read_only = OFF").await?;
    }
    if !is_unfinished {
        target.run(UNFINISHED, &format!("CREATE DATABASE {UNFINISHED}")).await?;
    }
    for schema in found.iter().filter(|schema| *schema != UNFINISHED) {
        target.run(schema, &format!("DROP DATABASE {}", name(schema))).await?;
    }
    Ok(())
}

async fn user_schemas(target: &mut Session) -> Result<Vec<String>, CopyError> {
    let rows = target.run("schemas", "SHOW DATABASES").await?;
    let names = rows.rows.iter().map(|row| text(row.first().and_then(Option::as_deref)));
    Ok(names
        .filter(|name| !is_system_database(name.as_bytes()) && !name.starts_with("#mysql50#"))
        .collect())
}

/// Something that these schemas hold.
async fn example(target: &mut Session, schemas: &[String]) -> Result<Option<String>, CopyError> {
    for schema in schemas {
        let literal = crate::administration::statements::quoted(schema);
        for (table, column) in [("tables", "table"), ("routines", "routine"), ("events", "event")] {
            let sql = format!(
                "SELECT {column}_name FROM information_schema.{table} \
                 WHERE {column}_schema = {literal} LIMIT 1"
            );
            let found = target.value(schema, &sql).await?;
            if !found.is_empty() {
                return Ok(Some(format!("{schema}.{found}")));
            }
        }
    }
    Ok(None)
}

/// Puts the target at the position that its data has, and takes the mark away.
pub async fn finish(target: &mut Session, position: &str) -> Result<(), CopyError> {
    let quoted = crate::administration::statements::quoted(position);
    let about = "the replication position";
    match target.version.flavour {
        Flavour::MySql => {
            let reset = match target.version.at_least(8, 2) {
                true => "RESET BINARY LOGS AND GTIDS",
                false => "RESET MASTER",
            };
            target.run(about, reset).await?;
            target.run(about, &format!("SET GLOBAL gtid_purged = {quoted}")).await?;
        }
        Flavour::MariaDb => {
            match target.run(about, "RESET MASTER").await {
                Err(error) if error.code() != Some(NO_BINARY_LOG) => return Err(error),
                _ => {}
            }
            target.run(about, &format!("SET GLOBAL gtid_slave_pos = {quoted}")).await?;
        }
    }
    target.run(UNFINISHED, &format!("DROP DATABASE {UNFINISHED}")).await?;
    Ok(())
}

/// What [`LIMIT`] is globally, or was when a copy was cut off that had changed it. Written down as the
/// comment of a table beside the mark.
pub async fn keep_limit(target: &mut Session) -> Result<String, CopyError> {
    let kept = format!(
        "SELECT table_comment FROM information_schema.tables \
         WHERE table_schema = '{UNFINISHED}' AND table_name = '{LIMIT}'"
    );
    let kept = target.value(LIMIT, &kept).await?;
    if !kept.is_empty() {
        return Ok(kept);
    }
    let now = target.value(LIMIT, &format!("SELECT @@GLOBAL.{LIMIT}")).await?;
    let keep = format!("CREATE TABLE {UNFINISHED}.{LIMIT} (id INT PRIMARY KEY) COMMENT = '{now}'");
    target.run(LIMIT, &keep).await?;
    Ok(now)
}

pub async fn forget_limit(target: &mut Session) -> Result<(), CopyError> {
    target.run(LIMIT, &format!("DROP TABLE {UNFINISHED}.{LIMIT}")).await?;
    Ok(())
}
