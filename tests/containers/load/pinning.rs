//! Clients whose statements leave something in their session that only one connection has: from
//! then on everything of theirs belongs to the primary, with the right answers.

use std::sync::Arc;

use mysql_async::Opts;

use super::client::{Client, Outcome, expect};
use super::schema::table;
use crate::support::tag::Place::{Any, Primary, Replica};
use crate::support::tag::Tags;

/// What a short-lived session does.
#[derive(Debug, Clone, Copy)]
enum Scenario {
    TemporaryTable,
    UserVariable,
    UserLock,
    TableLock,
    Procedure,
    AutocommitOff,
    ReadOnlyTransaction,
    PreparedText,
    Handler,
    Reset,
    Diagnostics,
    SessionVariable,
    PreparedStatements,
    Function,
}

const SCENARIOS: [Scenario; 14] = [
    Scenario::Function,
    Scenario::PreparedStatements,
    Scenario::TemporaryTable,
    Scenario::UserVariable,
    Scenario::UserLock,
    Scenario::TableLock,
    Scenario::Procedure,
    Scenario::AutocommitOff,
    Scenario::ReadOnlyTransaction,
    Scenario::PreparedText,
    Scenario::Handler,
    Scenario::Reset,
    Scenario::Diagnostics,
    Scenario::SessionVariable,
];

const ITEM: &str = "SELECT name FROM items WHERE id = 7";

pub struct Pinning {
    options: Opts,
    tags: Arc<Tags>,
    number: usize,
    round: usize,
}

impl Pinning {
    pub fn new(options: Opts, tags: Arc<Tags>, number: usize) -> Self {
        Pinning { options, tags, number, round: number }
    }

    /// One session from login to quit; the statements that it had answered.
    pub async fn step(&mut self) -> Outcome<super::client::Answered> {
        let mut client = Client::connect(&self.options, &self.tags).await?;
        let scenario = SCENARIOS[self.round % SCENARIOS.len()];
        self.round += 1;
        match scenario {
            Scenario::TemporaryTable => temporary_table(&mut client).await?,
            Scenario::UserVariable => user_variable(&mut client, self.round).await?,
            Scenario::UserLock => user_lock(&mut client, self.number).await?,
            Scenario::Function => function(&mut client).await?,
            Scenario::TableLock => table_lock(&mut client, &table(self.number)).await?,
            Scenario::Procedure => procedure(&mut client).await?,
            Scenario::AutocommitOff => autocommit_off(&mut client, &table(self.number)).await?,
            Scenario::ReadOnlyTransaction => read_only_transaction(&mut client).await?,
            Scenario::PreparedText => prepared_text(&mut client).await?,
            Scenario::Handler => handler(&mut client, &table(self.number)).await?,
            Scenario::Reset => reset(&mut client).await?,
            Scenario::Diagnostics => diagnostics(&mut client, &table(self.number)).await?,
            Scenario::SessionVariable => session_variable(&mut client, self.round).await?,
            Scenario::PreparedStatements => {
                prepared_statements(&mut client, &table(self.number)).await?
            }
        }
        let answered = client.answered;
        let _ = client.conn.disconnect().await;
        Ok(answered)
    }
}

async fn temporary_table(client: &mut Client) -> Outcome {
    client.run(Primary, "temporary", "CREATE TEMPORARY TABLE mine (v INT)").await?;
    client.run(Primary, "temporary", "INSERT INTO mine VALUES (1), (2)").await?;
    let sum = client.first(Primary, "temporary", "SELECT CAST(SUM(v) AS SIGNED) FROM mine").await?;
    expect("a sum over the temporary table", sum, Some(3))?;
    // It hides the table of this name.
    client.run(Primary, "temporary", "CREATE TEMPORARY TABLE items (id INT)").await?;
    let count = client.first(Primary, "temporary", "SELECT COUNT(*) FROM items").await?;
    expect("rows of the temporary table", count, Some(0))?;
    client.run(Primary, "temporary", "DROP TEMPORARY TABLE mine, items").await
}

/// A stored function may write, and leave behind whatever a procedure may.
async fn function(client: &mut Client) -> Outcome {
    for sql in [
        "SELECT load_note('called')",
        "SELECT app.load_note('called')",
        "SELECT name FROM items WHERE id = 3 AND load_note('where') = 1",
    ] {
        client.run(Primary, "function", sql).await?;
        client.run(Any, "function", ITEM).await?;
    }
    Ok(())
}

async fn user_variable(client: &mut Client, value: usize) -> Outcome {
    client.run(Any, "variable", &format!("SET @mine = {value}")).await?;
    expect("@mine", client.first(Any, "variable", "SELECT @mine").await?, Some(value))?;
    client.run(Primary, "variable", "SELECT @mine := @mine + 1").await?;
    expect("@mine", client.first(Any, "variable", "SELECT @mine").await?, Some(value + 1))?;
    client.run(Primary, "variable", "SELECT id FROM items WHERE id = 5 INTO @mine").await?;
    expect("@mine", client.first(Any, "variable", "SELECT @mine").await?, Some(5))
}

async fn user_lock(client: &mut Client, number: usize) -> Outcome {
    let name = format!("load_{number}");
    let sql = format!("SELECT GET_LOCK('{name}', 5)");
    expect("GET_LOCK", client.first(Primary, "lock", &sql).await?, Some(1))?;
    client.run(Any, "lock", ITEM).await?;
    let sql = format!("SELECT IS_USED_LOCK('{name}') = CONNECTION_ID()");
    expect("the lock is ours", client.first(Primary, "lock", &sql).await?, Some(1))?;
    let sql = format!("SELECT RELEASE_LOCK('{name}')");
    expect("RELEASE_LOCK", client.first(Primary, "lock", &sql).await?, Some(1))
}

async fn table_lock(client: &mut Client, own: &str) -> Outcome {
    client.run(Primary, "table_lock", &format!("LOCK TABLES {own} WRITE")).await?;
    client.run(Primary, "table_lock", &format!("INSERT INTO {own} (note) VALUES ('l')")).await?;
    const NOT_LOCKED: u16 = 1100;
    client.refused(Primary, "table_lock", ITEM, NOT_LOCKED).await?;
    client.run(Primary, "table_lock", "UNLOCK TABLES").await?;
    client.run(Any, "table_lock", ITEM).await
}

async fn procedure(client: &mut Client) -> Outcome {
    let text = client.first::<String>(Primary, "call", "CALL load_call('called')").await?;
    expect("the procedure's result", text.as_deref(), Some("called"))?;
    client.run(Any, "call", ITEM).await
}

async fn autocommit_off(client: &mut Client, own: &str) -> Outcome {
    let count = format!("SELECT COUNT(*) FROM {own}");
    client.run(Any, "autocommit", "SET autocommit = 0").await?;
    let before: Option<u64> = client.first(Primary, "autocommit", &count).await?;
    client.run(Primary, "autocommit", &format!("INSERT INTO {own} (note) VALUES ('a')")).await?;
    let inside = client.first(Primary, "autocommit", &count).await?;
    expect("rows in the transaction", inside, before.map(|count| count + 1))?;
    client.run(Primary, "autocommit", "SAVEPOINT one").await?;
    client.run(Primary, "autocommit", &format!("DELETE FROM {own}")).await?;
    client.run(Primary, "autocommit", "ROLLBACK TO one").await?;
    expect("rows after the savepoint", client.first(Primary, "autocommit", &count).await?, inside)?;
    client.run(Primary, "autocommit", "ROLLBACK").await?;
    expect("rows after it", client.first(Primary, "autocommit", &count).await?, before)?;
    client.run(Any, "autocommit", "SET autocommit = 1").await?;
    client.run(Any, "autocommit", ITEM).await
}

async fn read_only_transaction(client: &mut Client) -> Outcome {
    const READ_ONLY_TRANSACTION: u16 = 1792;
    client.run(Any, "read_only", "START TRANSACTION READ ONLY").await?;
    client.run(Any, "read_only", ITEM).await?;
    let write = "INSERT INTO notes (note) VALUES ('never')";
    client.refused(Any, "read_only", write, READ_ONLY_TRANSACTION).await?;
    client.run(Any, "read_only", "COMMIT").await?;
    client.run(Primary, "read_only", "INSERT INTO notes (note) VALUES ('after')").await
}

async fn prepared_text(client: &mut Client) -> Outcome {
    client.run(Any, "prepare", "PREPARE s FROM 'SELECT name FROM items WHERE id = ?'").await?;
    client.run(Any, "prepare", "SET @id = 9").await?;
    let name = client.first::<String>(Any, "prepare", "EXECUTE s USING @id").await?;
    expect("the statement's row", name.as_deref(), Some("item 9"))?;
    client.run(Any, "prepare", "DEALLOCATE PREPARE s").await
}

async fn handler(client: &mut Client, own: &str) -> Outcome {
    client.run(Primary, "handler", &format!("HANDLER {own} OPEN")).await?;
    client.run(Primary, "handler", &format!("HANDLER {own} READ FIRST")).await?;
    client.run(Any, "handler", ITEM).await?;
    client.run(Primary, "handler", &format!("HANDLER {own} READ NEXT")).await?;
    client.run(Primary, "handler", &format!("HANDLER {own} CLOSE")).await
}

/// COM_RESET_CONNECTION leaves nothing of a session.
async fn reset(client: &mut Client) -> Outcome {
    const NO_SUCH_TABLE: u16 = 1146;
    client.run(Primary, "reset", "CREATE TEMPORARY TABLE gone (v INT)").await?;
    client.run(Any, "reset", "SET @gone = 1").await?;
    client.conn.reset().await.map_err(|error| super::client::Failure(format!("reset: {error}")))?;
    let gone: Option<Option<i64>> = client.first(Any, "reset", "SELECT @gone").await?;
    expect("a user variable after the reset", gone, Some(None))?;
    client.refused(Any, "reset", "SELECT * FROM gone", NO_SUCH_TABLE).await?;
    client.run(Any, "reset", ITEM).await
}

async fn diagnostics(client: &mut Client, own: &str) -> Outcome {
    const OUT_OF_RANGE: u16 = 1264;
    client.run(Any, "diagnostics", "SET sql_mode = ''").await?;
    let insert = format!("INSERT INTO {own} (id, note) VALUES (-99999999999, 'low')");
    client.run(Primary, "diagnostics", &insert).await?;
    let warning: Option<(String, u16, String)> =
        client.first(Primary, "diagnostics", "SHOW WARNINGS").await?;
    expect("the warning", warning.map(|(_, code, _)| code), Some(OUT_OF_RANGE))?;
    let delete = format!("DELETE FROM {own} WHERE note = 'low'");
    client.run(Primary, "diagnostics", &delete).await?;
    let count = client.first(Primary, "diagnostics", "SELECT ROW_COUNT()").await?;
    expect("ROW_COUNT()", count, Some(1))
}

async fn session_variable(client: &mut Client, round: usize) -> Outcome {
    let zone = format!("+0{}:00", round % 10);
    client.run(Any, "variable", &format!("SET time_zone = '{zone}'")).await?;
    for _ in 0..3 {
        let found: Option<String> =
            client.first(Any, "variable", "SELECT @@session.time_zone").await?;
        expect("time_zone", found.as_deref(), Some(zone.as_str()))?;
    }
    client.run(Any, "variable", "SET NAMES latin1").await?;
    let found: Option<String> =
        client.first(Any, "variable", "SELECT HEX(CONVERT('é' USING utf8mb4))").await?;
    // Two bytes of UTF-8, each taken for a character of latin1.
    expect("a string under SET NAMES latin1", found.as_deref(), Some("C383C2A9"))
}

async fn prepared_statements(client: &mut Client, own: &str) -> Outcome {
    let insert = format!("INSERT INTO {own} (note) VALUES (?)");
    for id in 1..=5 {
        let sql = "SELECT id, name FROM items WHERE id = ?";
        let row = client.prepared::<(u64, String)>(Replica, "statement", sql, (id,)).await?;
        expect("the row asked for", row, Some((id, format!("item {id}"))))?;
        client.prepared::<u64>(Primary, "statement", &insert, (id,)).await?;
        let sql = "SELECT id FROM items WHERE id = ? FOR UPDATE";
        let row = client.prepared::<u64>(Primary, "statement", sql, (id,)).await?;
        expect("the row asked for", row, Some(id))?;
        client.run(Replica, "statement", ITEM).await?;
    }
    Ok(())
}
