//! How far an audit has come, and what it has found.

use serde::{Deserialize, Serialize};

use super::table::Table;

/// As many rows of a table are named for each replica; of the others their number is told.
const NAMED: usize = 100;

/// The state of an audit, which another one can go on from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub tables: u64,
    /// Schema and name of those that were compared to their ends.
    pub done: Vec<(String, String)>,
    /// The table that is being compared, and the key up to which it was.
    pub current: Option<Current>,
    /// Of the primary.
    pub rows: u64,
    pub differences: Vec<Difference>,
    /// Rows that were written whenever they were looked at.
    pub undecided: u64,
    /// What was not compared, and why.
    pub skipped: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    pub schema: String,
    pub table: String,
    /// Literals; empty at the beginning.
    pub after: Vec<String>,
}

/// Something that is not on a replica as it is on the primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub server: String,
    pub schema: String,
    pub table: String,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum What {
    /// The replica has no such table, or one with other columns.
    Table {
        problem: String,
    },
    /// The primary has no such table.
    ExtraTable,
    /// Rows by conditions on their keys.
    ChangedRow {
        row: String,
    },
    MissingRow {
        row: String,
    },
    ExtraRow {
        row: String,
    },
    /// Rows that are not named one by one. `range` is a condition on the key; empty: all.
    Rows {
        range: String,
    },
}

impl Checkpoint {
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }

    pub(super) fn is_done(&self, table: &Table) -> bool {
        self.done.iter().any(|(schema, name)| *schema == table.schema && *name == table.name)
    }

    /// Notes a difference, unless so many of this table are known that more say nothing: then the
    /// range as a whole.
    pub(super) fn note(&mut self, server: &str, table: &Table, what: What, range: &str) {
        let of_table = |known: &&Difference| {
            known.server == server && known.schema == table.schema && known.table == table.name
        };
        let known: Vec<&Difference> = self.differences.iter().filter(of_table).collect();
        let what = if known.len() < NAMED { what } else { What::Rows { range: range.to_owned() } };
        if known.last().is_some_and(|last| last.what == what) {
            return;
        }
        self.differences.push(Difference {
            server: server.to_owned(),
            schema: table.schema.clone(),
            table: table.name.clone(),
            what,
        });
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Difference { server, schema, table, what } = self;
        write!(f, "{server}: {schema}.{table}: ")?;
        match what {
            What::Table { problem } => write!(f, "{problem}"),
            What::ExtraTable => write!(f, "the primary has no such table"),
            What::ChangedRow { row } => write!(f, "the row {row} differs"),
            What::MissingRow { row } => write!(f, "the row {row} is missing"),
            What::ExtraRow { row } => write!(f, "the row {row} is not on the primary"),
            What::Rows { range } if range.is_empty() => write!(f, "rows differ"),
            What::Rows { range } => write!(f, "rows differ where {range}"),
        }
    }
}
