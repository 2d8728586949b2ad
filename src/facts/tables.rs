//! Tables and events that replication has trouble with.

use super::read::ask;
use crate::administration::Server;
use crate::sql::system_tables::is_system_database;
use crate::wire::{Flavour, ServerVersion};

/// As many are listed; of more it is said that there are more.
pub const MOST: usize = 1000;
/// A server with very many tables gives up by itself; seconds.
const LONGEST: u32 = 8;

/// Tables and events by `schema.name`, at most [`MOST`] of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Troublesome {
    /// Tables without a primary key, and without a unique one that has no NULL.
    pub keyless: Vec<Name>,
    /// Tables of engines without transactions, with their engines.
    pub without_transactions: Vec<(Name, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub schema: String,
    pub name: String,
}

impl Name {
    /// As a statement has it.
    pub fn quoted(&self) -> String {
        let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

const USERS: &str = "TABLE_SCHEMA NOT IN \
     ('mysql', 'sys', 'information_schema', 'performance_schema', 'mysql_innodb_cluster_metadata')";

pub async fn troublesome(server: &mut Server) -> Result<Troublesome, String> {
    // Rows are found by the primary key, else by a unique one without NULL.
    let keyless = format!(
        "TABLE_SCHEMA, TABLE_NAME, ENGINE FROM information_schema.TABLES \
         WHERE TABLE_TYPE = 'BASE TABLE' AND {USERS} AND (TABLE_SCHEMA, TABLE_NAME) NOT IN (\
         SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.STATISTICS \
         WHERE NON_UNIQUE = 0 AND {USERS} GROUP BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME \
         HAVING SUM(NULLABLE = 'YES') = 0)"
    );
    let engines = format!(
        "TABLE_SCHEMA, TABLE_NAME, TABLES.ENGINE AS ENGINE FROM information_schema.TABLES \
         JOIN information_schema.ENGINES ON ENGINES.ENGINE = TABLES.ENGINE \
         WHERE TABLE_TYPE = 'BASE TABLE' AND {USERS} AND ENGINES.TRANSACTIONS = 'NO'"
    );
    Ok(Troublesome {
        keyless: named(server, &keyless).await?.into_iter().map(|(name, _)| name).collect(),
        without_transactions: named(server, &engines).await?,
    })
}

/// Events that run on this server.
pub async fn events(server: &mut Server) -> Result<Vec<Name>, String> {
    let sql = "EVENT_SCHEMA AS TABLE_SCHEMA, EVENT_NAME AS TABLE_NAME, NULL AS ENGINE \
               FROM information_schema.EVENTS WHERE STATUS = 'ENABLED'";
    Ok(named(server, sql).await?.into_iter().map(|(name, _)| name).collect())
}

async fn named(server: &mut Server, rest: &str) -> Result<Vec<(Name, String)>, String> {
    let sql = bounded(rest, &server.version);
    let rows = ask(server, &sql).await?;
    let name = |row| {
        let text = |column| rows.str(row, column).unwrap_or_default().to_owned();
        (Name { schema: text("TABLE_SCHEMA"), name: text("TABLE_NAME") }, text("ENGINE"))
    };
    let mut names: Vec<(Name, String)> = (0..rows.len())
        .map(name)
        .filter(|(name, _)| !is_system_database(name.schema.as_bytes()))
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// What SELECT says behind the word, within a time and with an end.
fn bounded(rest: &str, version: &ServerVersion) -> String {
    match version.flavour {
        Flavour::MariaDb => {
            format!("SET STATEMENT max_statement_time = {LONGEST} FOR SELECT {rest} LIMIT {MOST}")
        }
        Flavour::MySql => {
            let longest = LONGEST * 1000;
            format!("SELECT /*+ MAX_EXECUTION_TIME({longest}) */ {rest} LIMIT {MOST}")
        }
    }
}
