//! One table after the other, on all servers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep};

use super::checkpoint::{Checkpoint, Current, What};
use super::judge::{Judge, Look, Suspect};
use super::server::{Answer, Server};
use super::table::{Column, Range, Table};
use super::{AuditError, Only, Options, pace};
use crate::administration::Endpoint;
use crate::administration::statements::quoted;
use crate::backend::sql_client::Rows;
use crate::gtid::Transactions;

/// Rows that are compared one by one at most; a replica may have more in a range than it should.
const ONE_BY_ONE: u64 = 2 * pace::MOST;

/// Engines whose rows are elsewhere, or nowhere.
const WITHOUT_ROWS: [&str; 6] = ["federated", "connect", "spider", "mrg_myisam", "blackhole", "s3"];

/// Engines by schema and table.
type Listed = BTreeMap<(String, String), String>;

#[derive(Debug)]
pub struct Comparison {
    primary: Server,
    replicas: Vec<Server>,
    options: Options,
    pub state: Checkpoint,
}

impl Comparison {
    pub async fn begin(
        primary: &Endpoint,
        replicas: &[Endpoint],
        options: Options,
        state: Checkpoint,
    ) -> Result<Self, AuditError> {
        let mut primary = Server::connect(primary).await?;
        let replicas = try_join_all(replicas.iter().map(Server::connect)).await?;
        // Says that there are no GTIDs before anything was compared.
        primary.position().await?;
        Ok(Comparison { primary, replicas, options, state })
    }

    /// Closes the connections.
    pub async fn end(self) -> Checkpoint {
        join_all(self.replicas.into_iter().chain([self.primary]).map(Server::close)).await;
        self.state
    }

    /// The primary's tables that were asked for. Those that only a replica has, or has not, are noted.
    pub async fn tables(&mut self) -> Result<Vec<Table>, AuditError> {
        let before = list(&mut self.primary).await?;
        let position = self.primary.position().await?;
        let mut listed = Vec::new();
        for replica in &mut self.replicas {
            replica.reach(&position, self.options.patience).await?;
            listed.push(list(replica).await?);
        }
        let after = list(&mut self.primary).await?;
        self.all_known(listed.iter().chain([&after]))?;
        for (replica, there) in self.replicas.iter().zip(&listed) {
            let extra =
                there.keys().filter(|key| !before.contains_key(key) && !after.contains_key(key));
            for (schema, name) in
                extra.filter(|(schema, name)| self.options.is_asked_for(schema, name))
            {
                let table = bare(schema, name);
                self.state.note(&replica.name, &table, What::ExtraTable, "");
            }
        }
        let mut tables = Vec::new();
        for ((schema, name), engine) in after {
            if !self.options.is_asked_for(&schema, &name) {
                continue;
            }
            if WITHOUT_ROWS.contains(&engine.to_ascii_lowercase().as_str()) {
                self.skip(format!("{schema}.{name}: the engine {engine} keeps no rows of its own"));
            } else {
                tables.push(bare(&schema, &name));
            }
        }
        Ok(tables)
    }

    /// A misspelt name would be found to be without differences.
    fn all_known<'a>(
        &self,
        lists: impl Iterator<Item = &'a Listed> + Clone,
    ) -> Result<(), AuditError> {
        let is_known = |only: &&Only| {
            lists.clone().any(|list| list.keys().any(|(schema, name)| only.is(schema, name)))
        };
        match self.options.only.iter().find(|only| !is_known(only)) {
            Some(unknown) => Err(AuditError::NoTable(unknown.clone())),
            None => Ok(()),
        }
    }

    fn skip(&mut self, why: String) {
        if !self.state.skipped.contains(&why) {
            self.state.skipped.push(why);
        }
    }

    /// Compares a table from where an earlier audit has left it to its end.
    pub async fn table(
        &mut self,
        listed: &Table,
        told: &mut (dyn FnMut(&Checkpoint) + Send),
    ) -> Result<(), AuditError> {
        let Some(table) = describe(&mut self.primary, listed).await? else {
            self.skip(format!("{}.{} was dropped meanwhile", listed.schema, listed.name));
            return Ok(());
        };
        let alike = self.same_columns(&table).await?;
        let mut after = self.left_at(&table);
        // Not what the table before it bore: its rows may have been narrow, or few.
        let mut chunk = pace::FIRST;
        loop {
            let began = Instant::now();
            let upto = match table.key {
                Some(_) => self.boundary(&table, &after, chunk).await?,
                None => Vec::new(),
            };
            let range = Range { after: after.clone(), upto: upto.clone() };
            let Some(summed) = self.range(&table, &range, &alike).await? else {
                self.skip(format!("{}.{} was altered meanwhile", table.schema, table.name));
                return Ok(());
            };
            let busy = began.elapsed();
            if upto.is_empty() {
                break;
            }
            chunk = pace::rows(chunk, summed);
            after.clone_from(&upto);
            let (schema, name) = (table.schema.clone(), table.name.clone());
            self.state.current = Some(Current { schema, table: name, after: upto });
            told(&self.state);
            sleep(pace::rest(busy, self.options.load)).await;
        }
        self.state.current = None;
        self.state.done.push((table.schema, table.name));
        Ok(())
    }

    /// Where an earlier audit has left this table.
    fn left_at(&self, table: &Table) -> Vec<String> {
        let columns = table.key.as_ref().map_or(0, |(_, columns)| columns.len());
        match &self.state.current {
            Some(Current { schema, table: name, after })
                if *schema == table.schema && *name == table.name && after.len() == columns =>
            {
                after.clone()
            }
            _ => Vec::new(),
        }
    }

    /// The key at which the next rows end; empty when these are the last ones.
    async fn boundary(
        &mut self,
        table: &Table,
        after: &[String],
        chunk: u64,
    ) -> Result<Vec<String>, AuditError> {
        let sql = table.boundary(after, chunk);
        let Answer::Rows(rows) = self.primary.ask_about(&sql).await? else { return Ok(Vec::new()) };
        Ok(rows.rows.first().map_or_else(Vec::new, |row| table.literals(&texts(row))))
    }

    /// Which replicas have the table with the same columns; of the others it is noted.
    async fn same_columns(&mut self, table: &Table) -> Result<Vec<bool>, AuditError> {
        let position = self.primary.position().await?;
        let mut alike = Vec::new();
        for index in 0..self.replicas.len() {
            let replica = &mut self.replicas[index];
            replica.reach(&position, self.options.patience).await?;
            let there = describe(replica, table).await?;
            if there.as_ref() == Some(table) {
                alike.push(true);
                continue;
            }
            alike.push(false);
            // The primary may have altered it since, in which case nothing can be said.
            if describe(&mut self.primary, table).await?.as_ref() != Some(table) {
                continue;
            }
            let problem = match there {
                None => "there is no such table".to_owned(),
                Some(there) => difference(table, &there),
            };
            let name = self.replicas[index].name.clone();
            self.state.note(&name, table, What::Table { problem }, "");
        }
        Ok(alike)
    }

    /// Compares a range on all replicas that are alike, and says how long the slowest server took for
    /// its checksum; `None` when the table is no longer what it was.
    async fn range(
        &mut self,
        table: &Table,
        range: &Range,
        alike: &[bool],
    ) -> Result<Option<Duration>, AuditError> {
        let sql = table.checksum(range);
        let asked = Instant::now();
        let Answer::Rows(wanted) = self.primary.ask_about(&sql).await? else { return Ok(None) };
        let mut slowest = asked.elapsed();
        self.state.rows += wanted.u64(0, "n").unwrap_or(0);
        let position = self.primary.position().await?;
        let patience = self.options.patience;
        let asked = self.replicas.iter_mut().zip(alike).map(async |(replica, &is_alike)| {
            if !is_alike {
                return Ok((true, Duration::ZERO));
            }
            replica.reach(&position, patience).await?;
            let asked = Instant::now();
            let answer = replica.ask_about(&sql).await?;
            let is_same = matches!(answer, Answer::Rows(found) if found == wanted);
            Ok((is_same, asked.elapsed()))
        });
        for (index, (is_same, took)) in try_join_all(asked).await?.into_iter().enumerate() {
            slowest = slowest.max(took);
            if !is_same && !self.settle(table, range, index).await? {
                return Ok(None);
            }
        }
        Ok(Some(slowest))
    }

    /// Finds out whether a range differs on a replica, and which rows do.
    async fn settle(
        &mut self,
        table: &Table,
        range: &Range,
        index: usize,
    ) -> Result<bool, AuditError> {
        let mut judge = Judge::default();
        let mut one_by_one = table.key.is_some();
        loop {
            let (primary, replica) = (&mut self.primary, &mut self.replicas[index]);
            let Some(before) = look(primary, table, range, one_by_one).await? else {
                return Ok(false);
            };
            let position: Transactions = primary.position().await?;
            replica.reach(&position, self.options.patience).await?;
            let there = look(replica, table, range, one_by_one).await?;
            let Some(after) = look(primary, table, range, one_by_one).await? else {
                return Ok(false);
            };
            // It has no such table, where the primary had one before and has it after.
            let there = there.unwrap_or_default();
            if [&before, &there, &after].iter().any(|look| look.len() as u64 >= ONE_BY_ONE) {
                one_by_one = false;
                judge = Judge::default();
                continue;
            }
            judge.round(&before, &there, &after);
            if !judge.is_open() {
                break;
            }
            sleep(pace::pause()).await;
        }
        let (different, undecided) = judge.verdict();
        self.state.undecided += undecided;
        let name = self.replicas[index].name.clone();
        let described = table.described(range);
        for (key, suspect) in different {
            let what = match one_by_one {
                true => row(table, &key, &suspect),
                false => What::Rows { range: described.clone() },
            };
            self.state.note(&name, table, what, &described);
        }
        Ok(true)
    }
}

fn row(table: &Table, key: &[String], suspect: &Suspect) -> What {
    let row = table.described_row(key);
    match (&suspect.wanted, &suspect.found) {
        (Some(_), Some(_)) => What::ChangedRow { row },
        (Some(_), None) => What::MissingRow { row },
        (None, _) => What::ExtraRow { row },
    }
}

/// The rows of a range, or their sum; `None` where the table or a column is not there.
async fn look(
    server: &mut Server,
    table: &Table,
    range: &Range,
    one_by_one: bool,
) -> Result<Option<Look>, AuditError> {
    let sql = match one_by_one {
        true => table.rows(range, ONE_BY_ONE),
        false => table.checksum(range),
    };
    let Answer::Rows(rows) = server.ask_about(&sql).await? else { return Ok(None) };
    let entries = rows.rows.iter().map(|row| {
        let mut values = texts(row);
        match one_by_one {
            true => {
                let sum = values.pop().unwrap_or_default();
                (values, sum)
            }
            false => (Vec::new(), values.join(":")),
        }
    });
    Ok(Some(entries.collect()))
}

fn texts(row: &[Option<Vec<u8>>]) -> Vec<String> {
    row.iter()
        .map(|value| String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned())
        .collect()
}

fn bare(schema: &str, name: &str) -> Table {
    Table { schema: schema.to_owned(), name: name.to_owned(), columns: Vec::new(), key: None }
}

/// The tables with rows, and their engines.
async fn list(server: &mut Server) -> Result<Listed, AuditError> {
    let rows = server
        .ask(
            "SELECT table_schema AS s, table_name AS n, engine AS e FROM information_schema.tables \
             WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND table_schema NOT IN \
             ('mysql', 'sys', 'information_schema', 'performance_schema') AND engine IS NOT NULL",
        )
        .await?;
    let text = |row, column| text(&rows, row, column);
    Ok((0..rows.len()).map(|row| ((text(row, "s"), text(row, "n")), text(row, "e"))).collect())
}

/// What there is to compare of a table; `None`: there is no such table.
async fn describe(server: &mut Server, table: &Table) -> Result<Option<Table>, AuditError> {
    let place = format!(
        "table_schema = {} AND table_name = {}",
        quoted(&table.schema),
        quoted(&table.name)
    );
    let rows = server
        .ask(&format!(
            "SELECT column_name AS name, data_type AS kind, column_type AS full_kind, \
             character_set_name AS charset, character_maximum_length AS length, extra AS extra, \
             is_nullable AS nullable FROM information_schema.columns WHERE {place} \
             ORDER BY ordinal_position"
        ))
        .await?;
    let mut columns = Vec::new();
    let mut nullable = BTreeSet::new();
    for row in 0..rows.len() {
        let name = text(&rows, row, "name");
        if text(&rows, row, "nullable") == "YES" {
            nullable.insert(name.clone());
        }
        if !text(&rows, row, "extra").contains("VIRTUAL GENERATED") {
            columns.push(Column {
                name,
                kind: text(&rows, row, "kind").to_ascii_lowercase(),
                full_kind: text(&rows, row, "full_kind"),
                character_set: rows.str(row, "charset").map(str::to_owned),
                length: rows.u64(row, "length"),
            });
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let indexes = server
        .ask(&format!(
            "SELECT index_name AS name, column_name AS part, sub_part AS prefix \
             FROM information_schema.statistics WHERE {place} AND non_unique = 0 \
             AND index_type = 'BTREE' ORDER BY index_name <> 'PRIMARY', index_name, seq_in_index"
        ))
        .await?;
    let key = key(&indexes, &columns, &nullable);
    Ok(Some(Table { schema: table.schema.clone(), name: table.name.clone(), columns, key }))
}

/// The first index that orders all rows: by whole columns, none of which is ever NULL.
fn key(
    indexes: &Rows,
    columns: &[Column],
    nullable: &BTreeSet<String>,
) -> Option<(String, Vec<Column>)> {
    let mut candidates: Vec<(String, Option<Vec<Column>>)> = Vec::new();
    for row in 0..indexes.len() {
        let name = text(indexes, row, "name");
        let part = text(indexes, row, "part");
        let column = columns.iter().find(|column| column.name == part);
        let is_whole = indexes.get(row, "prefix").is_none() && !nullable.contains(&part);
        let column = column.filter(|_| is_whole).cloned();
        match candidates.last_mut() {
            Some((last, parts)) if *last == name => {
                *parts = parts.take().zip(column).map(|(mut parts, column)| {
                    parts.push(column);
                    parts
                });
            }
            _ => candidates.push((name, column.map(|column| vec![column]))),
        }
    }
    candidates.into_iter().find_map(|(name, parts)| Some((name, parts?)))
}

/// How a replica's columns differ.
fn difference(table: &Table, there: &Table) -> String {
    let kind = |table: &Table, name: &str| {
        let column = table.columns.iter().find(|column| column.name == name);
        column.map(|column| column.full_kind.clone())
    };
    let names = table.columns.iter().chain(&there.columns).map(|column| column.name.as_str());
    for name in names {
        let (wanted, found) = (kind(table, name), kind(there, name));
        if wanted != found {
            let [wanted, found] =
                [wanted, found].map(|kind| kind.unwrap_or_else(|| "nothing".to_owned()));
            return format!("the column {name} is {found} and not {wanted}");
        }
    }
    "its columns or its key differ".to_owned()
}

fn text(rows: &Rows, row: usize, column: &str) -> String {
    String::from_utf8_lossy(rows.get(row, column).unwrap_or_default()).into_owned()
}
