//! What there is to copy: the statements that make it, as the server prints them.

use super::accounts::Accounts;
use super::columns::{Column, Form};
use super::quoting::{name, qualified};
use super::session::{CopyError, Session, text};
use crate::sql::system_tables::is_system_database;
use crate::wire::{Flavour, ServerVersion};

/// Everything but rows. Equal to another reading when the same statements make it.
#[derive(Debug, PartialEq, Eq)]
pub struct Definitions {
    pub schemas: Vec<Schema>,
    pub accounts: Accounts,
    /// What is known of and not copied.
    left_out: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Schema {
    pub name: String,
    create: String,
    pub collation: String,
    pub tables: Vec<Table>,
    /// MariaDB's sequences: a name, and the statement that makes it.
    pub sequences: Vec<(String, String)>,
    pub views: Vec<Stored>,
    /// Procedures, functions, and MariaDB's packages.
    pub routines: Vec<Stored>,
    /// In the order in which they fire.
    pub triggers: Vec<Stored>,
    pub events: Vec<Stored>,
}

#[derive(Debug)]
pub struct Table {
    pub name: String,
    create: String,
    engine: String,
    /// Those that are written: not the generated ones.
    pub columns: Vec<Column>,
    /// Rows that were deleted or changed are kept, and copied (MariaDB).
    pub has_history: bool,
    /// By the server's statistics.
    pub rows: u64,
    /// The same, without indexes.
    pub bytes: u64,
}

/// How a table's rows can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// By the snapshot.
    Snapshot,
    /// While nobody may write it.
    Locked,
    /// Not at all: they are elsewhere, or nowhere.
    Nothing,
}

/// What the server stores as text and compiles when it is used.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    /// `VIEW`, `PROCEDURE`, `PACKAGE BODY` …
    pub kind: String,
    pub name: String,
    /// In `character_set_client`.
    pub create: Vec<u8>,
    /// `None` for a view, which keeps none.
    pub sql_mode: Option<String>,
    /// An event's.
    pub time_zone: Option<String>,
    pub character_set_client: String,
    pub collation_connection: String,
    /// Its schema's when it was made; `None` for a view.
    pub database_collation: Option<String>,
}

impl PartialEq for Table {
    /// Whatever changes as rows are written does not count.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.columns == other.columns
            && without_counter(&self.create) == without_counter(&other.create)
    }
}

impl Eq for Table {}

impl Table {
    pub fn reading(&self) -> Reading {
        match self.engine.to_ascii_lowercase().as_str() {
            "innodb" | "rocksdb" | "tokudb" => Reading::Snapshot,
            "federated" | "connect" | "spider" | "mrg_myisam" | "blackhole" | "sequence" | "s3"
            | "ndbcluster" | "oqgraph" | "sphinx" => Reading::Nothing,
            _ => Reading::Locked,
        }
    }
}

/// A CREATE TABLE without the counter of its AUTO_INCREMENT, which stands among the options behind
/// the last line's parenthesis.
fn without_counter(create: &str) -> (&str, &str) {
    const OPTION: &str = " AUTO_INCREMENT=";
    let options = create.rfind("\n)").unwrap_or(0);
    let Some(start) = create[options..].find(OPTION).map(|at| at + options) else {
        return (create, "");
    };
    let number = &create[start + OPTION.len()..];
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    (&create[..start], &number[digits..])
}

impl Definitions {
    pub async fn read(session: &mut Session) -> Result<Self, CopyError> {
        let mut schemas = Vec::new();
        let listed = session
            .run(
                "schemas",
                "SELECT schema_name AS name, default_collation_name AS collation \
                 FROM information_schema.schemata ORDER BY schema_name",
            )
            .await?;
        let mut left_out = Vec::new();
        for row in 0..listed.len() {
            let schema = text(listed.get(row, "name"));
            if is_system_database(schema.as_bytes()) {
                continue;
            }
            // A directory that is no schema, such as `lost+found`.
            if schema.starts_with("#mysql50#") {
                left_out.push(format!("{schema} is a directory and no schema"));
                continue;
            }
            let collation = text(listed.get(row, "collation"));
            schemas.push(Schema::read(session, schema, collation).await?);
        }
        left_out.extend(elsewhere(session).await?);
        let accounts = Accounts::read(session).await?;
        Ok(Definitions { schemas, accounts, left_out })
    }

    pub fn tables(&self) -> impl Iterator<Item = (&Schema, &Table)> {
        self.schemas
            .iter()
            .flat_map(|schema| schema.tables.iter().map(move |table| (schema, table)))
    }

    /// What is not copied, or not all of it.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.left_out.clone();
        for (schema, table) in self.tables() {
            if table.reading() == Reading::Nothing {
                notes.push(format!(
                    "{}.{}: of a table of the engine {} only the definition is copied",
                    schema.name, table.name, table.engine
                ));
            }
            if table.columns.iter().any(|column| column.may_be_misprinted) {
                notes.push(format!(
                    "{}.{} has an ENUM or SET with a question mark, as which servers print \
                     characters beyond the basic plane: see whether the copy's is right",
                    schema.name, table.name
                ));
            }
        }
        notes
    }

    /// Schemas, sequences (defaults of columns may name them) and tables. Foreign keys find what
    /// they refer to later.
    pub async fn create_tables(&self, target: &mut Session) -> Result<(), CopyError> {
        for schema in &self.schemas {
            target.run(&schema.name, &schema.create).await?;
        }
        for schema in &self.schemas {
            for (sequence, create) in &schema.sequences {
                let about = format!("{}.{sequence}", schema.name);
                target.run(&about, &format!("USE {}", name(&schema.name))).await?;
                target.run(&about, create).await?;
            }
        }
        for (schema, table) in self.tables() {
            let about = format!("{}.{}", schema.name, table.name);
            target.run(&about, &format!("USE {}", name(&schema.name))).await?;
            target.run(&about, &table.create).await?;
        }
        Ok(())
    }

    /// Sequences go on where the source's would.
    pub async fn set_sequences(
        &self,
        source: &mut Session,
        target: &mut Session,
        notes: &mut Vec<String>,
    ) -> Result<(), CopyError> {
        for schema in &self.schemas {
            for (sequence, _) in &schema.sequences {
                let about = format!("{}.{sequence}", schema.name);
                let qualified = qualified(&schema.name, sequence);
                let sql = format!("SELECT next_not_cached_value, cycle_count FROM {qualified}");
                let rows = source.run(&about, &sql).await?;
                let [next, round] = ["next_not_cached_value", "cycle_count"]
                    .map(|column| text(rows.get(0, column)));
                let sql = format!("SELECT SETVAL({qualified}, {next}, 0, {round})");
                // NULL: it is beyond the last value already, or was never used.
                let before = target.value(&about, &sql).await?;
                if before.is_empty() && next != target.value(&about, &sql_next(&qualified)).await? {
                    notes.push(format!("{about}: could not be set to {next}"));
                }
            }
        }
        Ok(())
    }
}

fn sql_next(qualified: &str) -> String {
    format!("SELECT next_not_cached_value FROM {qualified}")
}

/// What a server has beside schemas and accounts, and no statement here brings over.
async fn elsewhere(session: &mut Session) -> Result<Vec<String>, CopyError> {
    let mut found = Vec::new();
    for (table, what) in [
        ("mysql.func", "loadable functions are not copied, install them on the target"),
        ("mysql.servers", "CREATE SERVER definitions are not copied"),
    ] {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        if session.value(table, &sql).await? != "0" {
            found.push(what.to_owned());
        }
    }
    Ok(found)
}

impl Schema {
    async fn read(
        session: &mut Session,
        schema: String,
        collation: String,
    ) -> Result<Self, CopyError> {
        let create = session
            .run(&schema, &format!("SHOW CREATE DATABASE {}", name(&schema)))
            .await?
            .rows
            .pop()
            .and_then(|row| row.into_iter().nth(1).flatten());
        let mut read = Schema {
            create: text(create.as_deref()),
            collation,
            tables: Vec::new(),
            sequences: Vec::new(),
            views: Vec::new(),
            routines: Vec::new(),
            triggers: Vec::new(),
            events: Vec::new(),
            name: schema,
        };
        read.read_tables(session).await?;
        read.read_stored(session).await?;
        Ok(read)
    }

    async fn read_tables(&mut self, session: &mut Session) -> Result<(), CopyError> {
        let listed = session
            .run(
                &self.name,
                &format!(
                    "SELECT table_name AS name, table_type AS type, engine AS engine, \
                     table_rows AS `rows`, data_length AS bytes FROM information_schema.tables \
                     WHERE table_schema = {} ORDER BY table_name",
                    utf8(&self.name)
                ),
            )
            .await?;
        for row in 0..listed.len() {
            let table = text(listed.get(row, "name"));
            let about = format!("{}.{table}", self.name);
            let kind = text(listed.get(row, "type"));
            match kind.as_str() {
                "VIEW" => self.views.push(Stored::read(session, &self.name, "VIEW", table).await?),
                "SEQUENCE" => {
                    let sql = format!("SHOW CREATE SEQUENCE {}", qualified(&self.name, &table));
                    let rows = session.run(&about, &sql).await?;
                    let create = text(rows.get(0, "Create Table"));
                    self.sequences.push((table, create));
                }
                "BASE TABLE" | "SYSTEM VERSIONED" => {
                    let read = Table::read(session, &self.name, table, &kind).await?;
                    self.tables.push(Table {
                        engine: text(listed.get(row, "engine")),
                        rows: listed.u64(row, "rows").unwrap_or(0),
                        bytes: listed.u64(row, "bytes").unwrap_or(0),
                        ..read
                    });
                }
                // Other connections' temporary tables, as MariaDB lists them.
                "TEMPORARY" => {}
                other => {
                    return Err(
                        session.unfit(format!("{about} is a {other}, of which nothing is known"))
                    );
                }
            }
        }
        Ok(())
    }

    async fn read_stored(&mut self, session: &mut Session) -> Result<(), CopyError> {
        let schema = utf8(&self.name);
        let routines = format!(
            "SELECT routine_type AS kind, routine_name AS name FROM information_schema.routines \
             WHERE routine_schema = {schema} ORDER BY routine_type, routine_name"
        );
        let triggers = format!(
            "SELECT 'TRIGGER' AS kind, trigger_name AS name FROM information_schema.triggers \
             WHERE trigger_schema = {schema} \
             ORDER BY event_object_table, event_manipulation, action_timing, action_order"
        );
        let events = format!(
            "SELECT 'EVENT' AS kind, event_name AS name FROM information_schema.events \
             WHERE event_schema = {schema} ORDER BY event_name"
        );
        self.routines = Stored::read_all(session, &self.name, &routines).await?;
        self.triggers = Stored::read_all(session, &self.name, &triggers).await?;
        self.events = Stored::read_all(session, &self.name, &events).await?;
        Ok(())
    }
}

impl Table {
    async fn read(
        session: &mut Session,
        schema: &str,
        table: String,
        kind: &str,
    ) -> Result<Self, CopyError> {
        let about = format!("{schema}.{table}");
        let qualified = qualified(schema, &table);
        let rows = session.run(&about, &format!("SHOW CREATE TABLE {qualified}")).await?;
        let create = text(rows.get(0, "Create Table"));
        let rows = session.run(&about, &format!("SHOW FULL COLUMNS FROM {qualified}")).await?;
        let mut columns = Vec::new();
        for row in 0..rows.len() {
            let extra = text(rows.get(row, "Extra"));
            if !is_generated(&extra) {
                let kind = text(rows.get(row, "Type"));
                let form = Form::of(&kind, session.version.flavour);
                columns.push(Column {
                    name: text(rows.get(row, "Field")),
                    form,
                    may_be_misprinted: form == Form::Numbered && kind.contains('?'),
                });
            }
        }
        let has_history = kind == "SYSTEM VERSIONED" && keeps_history(&session.version);
        if has_history {
            for name in history_columns(&create) {
                if columns.iter().all(|column| column.name != name) {
                    columns.push(Column { name, form: Form::Quoted, may_be_misprinted: false });
                }
            }
        }
        Ok(Table {
            name: table,
            create,
            engine: String::new(),
            columns,
            has_history,
            rows: 0,
            bytes: 0,
        })
    }
}

/// Whether rows can be written with their history: MariaDB since 10.11.
fn keeps_history(version: &ServerVersion) -> bool {
    version.flavour == Flavour::MariaDb && version.at_least(10, 11)
}

/// The columns that say from when until when a row was valid, which may be hidden.
fn history_columns(create: &str) -> [String; 2] {
    let explicit = |which: &str| {
        let line = create.lines().find(|line| line.contains(which))?;
        let name = line.trim_start().strip_prefix('`')?.split('`').next()?;
        Some(name.to_owned())
    };
    [
        explicit(" GENERATED ALWAYS AS ROW START").unwrap_or_else(|| "row_start".to_owned()),
        explicit(" GENERATED ALWAYS AS ROW END").unwrap_or_else(|| "row_end".to_owned()),
    ]
}

/// By the `Extra` of SHOW COLUMNS. `DEFAULT_GENERATED` is an expression for a default.
fn is_generated(extra: &str) -> bool {
    extra.contains("VIRTUAL GENERATED") || extra.contains("STORED GENERATED")
}

impl Stored {
    async fn read_all(
        session: &mut Session,
        schema: &str,
        list: &str,
    ) -> Result<Vec<Self>, CopyError> {
        let listed = session.run(schema, list).await?;
        let mut read = Vec::new();
        for row in 0..listed.len() {
            let (kind, name) = (text(listed.get(row, "kind")), text(listed.get(row, "name")));
            read.push(Self::read(session, schema, &kind, name).await?);
        }
        Ok(read)
    }

    async fn read(
        session: &mut Session,
        schema: &str,
        kind: &str,
        name: String,
    ) -> Result<Self, CopyError> {
        let about = format!("{schema}.{name}");
        let sql = format!("SHOW CREATE {kind} {}", qualified(schema, &name));
        let rows = session.run(&about, &sql).await?;
        let column = match kind {
            "TRIGGER" => "SQL Original Statement".to_owned(),
            _ => format!("Create {kind}"),
        };
        let Some(create) = rows.get(0, &column).map(<[u8]>::to_vec) else {
            return Err(
                session.unfit(format!("{about}: the account may not see what it consists of"))
            );
        };
        let optional = |column: &str| rows.get(0, column).map(|value| text(Some(value)));
        Ok(Stored {
            kind: kind.to_owned(),
            create,
            sql_mode: optional("sql_mode"),
            time_zone: optional("time_zone"),
            character_set_client: text(rows.get(0, "character_set_client")),
            collation_connection: text(rows.get(0, "collation_connection")),
            database_collation: optional("Database Collation"),
            name,
        })
    }
}

/// A string literal for a name.
fn utf8(name: &str) -> String {
    crate::administration::statements::quoted(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_not_compared() {
        let table = |counter: &str, comment: &str| {
            format!(
                "CREATE TABLE `t` (\n  `id` int COMMENT ' AUTO_INCREMENT=9'\n) ENGINE=InnoDB{counter} \
                 DEFAULT CHARSET=utf8mb4 COMMENT='{comment}'"
            )
        };
        let same = |one: &str, other: &str| without_counter(one) == without_counter(other);
        assert!(same(&table(" AUTO_INCREMENT=5", ""), &table(" AUTO_INCREMENT=71", "")));
        assert!(!same(&table(" AUTO_INCREMENT=5", ""), &table(" AUTO_INCREMENT=5", "x")));
        assert!(same(&table("", ""), &table("", "")));
        assert!(!same(&table("", ""), &table(" AUTO_INCREMENT=5", "")));
    }

    #[test]
    fn generated_columns_are_told_from_generated_defaults() {
        for (extra, generated) in [
            ("", false),
            ("auto_increment", false),
            ("DEFAULT_GENERATED on update CURRENT_TIMESTAMP", false),
            ("VIRTUAL GENERATED", true),
            ("STORED GENERATED INVISIBLE", true),
            ("INVISIBLE", false),
        ] {
            assert_eq!(is_generated(extra), generated, "{extra}");
        }
    }

    #[test]
    fn columns_of_history_are_found() {
        assert_eq!(history_columns("CREATE TABLE `t` (\n  `a` int\n)"), ["row_start", "row_end"]);
        let create = "CREATE TABLE `t` (\n  `a` int,\n  `von` timestamp(6) GENERATED ALWAYS AS ROW \
                      START,\n  `bis` timestamp(6) GENERATED ALWAYS AS ROW END\n)";
        assert_eq!(history_columns(create), ["von", "bis"]);
    }
}
