//! Clients whose statements leave nothing behind in their session: all of their reads may go to
//! a replica.

use mysql_async::Row;
use mysql_async::prelude::Queryable;

use super::client::{Client, Failure, Outcome, expect};
use crate::support::random::Random;
use crate::support::tag::Place::{Any, Primary, Replica};

/// Reads that may go to a replica; `{id}` is a row of `items`.
const READS: &[&str] = &[
    "SELECT name FROM items WHERE id = {id}",
    "SELECT COUNT(*), MIN(price), MAX(price) FROM items WHERE id BETWEEN {id} AND {id} + 100",
    "SELECT i.name, k.title FROM items i JOIN kinds k ON k.id = i.kind WHERE i.id = {id}",
    "SELECT UPPER(name), CONCAT(name, '; DELETE FROM items'), NOW() FROM items WHERE id = {id}",
    "SELECT name FROM items WHERE id = {id} UNION ALL SELECT title FROM kinds",
    "WITH cheap AS (SELECT id FROM items WHERE price < {id}) SELECT COUNT(*) FROM cheap",
    "(SELECT 1) UNION (SELECT 2) ORDER BY 1",
    "SELECT kind, SUM(price) FROM items GROUP BY kind WITH ROLLUP",
    "SELECT EXISTS (SELECT 1 FROM items WHERE id = {id})",
    "SELECT id, ROW_NUMBER() OVER (ORDER BY price) FROM items LIMIT 5",
    "SELECT id, name, price FROM items ORDER BY id LIMIT 500",
    "SELECT 'FOR UPDATE', \"INTO OUTFILE\", `name` FROM items WHERE id = {id} # LOCK IN SHARE MODE\n",
    "SELECT /* FOR UPDATE */ price -- INTO @x\n FROM items WHERE id = {id}",
    "SELECT JSON_EXTRACT('{\"a\": {id}}', '$.a')",
    "EXPLAIN SELECT * FROM items WHERE id = {id}",
    "DESCRIBE items",
    "SHOW COLUMNS FROM items",
];

/// Reads that may go to a replica, with the number of a row of `items` for their parameter.
const PREPARED_READS: &[&str] = &[
    "SELECT name FROM items WHERE id = ?",
    "SELECT COUNT(*), MIN(price), MAX(price) FROM items WHERE id <= ?",
    "WITH cheap AS (SELECT id FROM items WHERE price < ?) SELECT COUNT(*) FROM cheap",
    "SELECT CONCAT(?, '; DELETE FROM items'), NOW()",
];

/// What must run on the primary; `{table}` is the client's own table.
const WRITES: &[&str] = &[
    "INSERT INTO {table} (note) VALUES ('{id}')",
    "INSERT INTO {table} (note) SELECT name FROM items WHERE id = {id}",
    "INSERT INTO {table} (id, note) VALUES (1, 'x') ON DUPLICATE KEY UPDATE note = '{id}'",
    "REPLACE INTO {table} (id, note) VALUES (2, '{id}')",
    "UPDATE {table} SET note = 'updated' WHERE id <= 5",
    "DELETE FROM {table} WHERE id > 100 ORDER BY id LIMIT 3",
    "/*! INSERT INTO */ {table} (note) VALUES ('{id}')",
    "SELECT price FROM items WHERE id = {id} FOR UPDATE",
    "SELECT price FROM items WHERE id = {id} LOCK IN SHARE MODE",
    "SELECT * FROM (SELECT id FROM items WHERE id = {id} FOR UPDATE) AS locked",
    "SELECT 1 UNION (SELECT id FROM items WHERE id = {id} LOCK IN SHARE MODE)",
];

/// One in so many steps is not a read.
const READS_IN: u64 = 4;

pub struct Splitting {
    pub client: Client,
    number: usize,
    random: Random,
    /// How often this client's counter was raised, as far as it was told.
    pub raised: u64,
}

impl Splitting {
    pub fn new(client: Client, number: usize) -> Self {
        Splitting { client, number, random: Random(number as u64), raised: 0 }
    }

    pub async fn step(&mut self) -> Outcome {
        if self.random.below(READS_IN) > 0 {
            return self.read().await;
        }
        match self.random.below(7) {
            0 => self.transaction().await,
            1 => self.raise_counter().await,
            2 => self.insert_id().await,
            3 => self.statements_together().await,
            4 => self.mistake().await,
            _ => self.write().await,
        }
    }

    async fn read(&mut self) -> Outcome {
        if self.random.below(3) == 0 {
            let (sql, id) = (self.random.choose(PREPARED_READS), self.item());
            let row = self.client.prepared::<Row>(Replica, "read", sql, (id,)).await?;
            return expect("a row", row.is_some(), true);
        }
        let template = self.random.choose(READS);
        let sql = self.fill(template);
        self.client.run(Replica, "read", &sql).await
    }

    async fn write(&mut self) -> Outcome {
        if self.random.below(4) == 0 {
            let sql = self.fill("INSERT INTO {table} (note) VALUES (?)");
            let row = self.client.prepared::<Row>(Primary, "write", &sql, ("prepared",)).await?;
            return expect("no row", row.is_none(), true);
        }
        let template = self.random.choose(WRITES);
        let sql = self.fill(template);
        self.client.run(Primary, "write", &sql).await
    }

    /// Everything in a transaction stays on the primary, and sees what it wrote.
    async fn transaction(&mut self) -> Outcome {
        let own = self.fill("{table}");
        let begin = self.random.choose(&["BEGIN", "START TRANSACTION"]);
        let client = &mut self.client;
        client.run(Primary, "begin", begin).await?;
        client.run(Primary, "inside", &format!("INSERT INTO {own} (note) VALUES ('t')")).await?;
        let id = client.conn.last_insert_id().unwrap_or(0);
        let sql = format!("SELECT note FROM {own} WHERE id = {id}");
        let note: Option<String> = client.first(Primary, "inside", &sql).await?;
        expect("a row written in this transaction", note.as_deref(), Some("t"))?;
        client.run(Primary, "inside", "SELECT name FROM items WHERE id = 1").await?;
        let end = self.random.choose(&["COMMIT", "ROLLBACK"]);
        self.client.run(Primary, "end", end).await
    }

    async fn raise_counter(&mut self) -> Outcome {
        let sql = format!("UPDATE counters SET raised = raised + 1 WHERE client = {}", self.number);
        self.client.run(Primary, "raise", &sql).await?;
        self.raised += 1;
        expect("affected rows", self.client.conn.affected_rows(), 1)
    }

    async fn insert_id(&mut self) -> Outcome {
        let sql = self.fill("INSERT INTO {table} (note) VALUES ('id')");
        self.client.run(Primary, "insert", &sql).await?;
        let told = self.client.conn.last_insert_id();
        let asked = self.client.first(Primary, "insert_id", "SELECT LAST_INSERT_ID()").await?;
        expect("LAST_INSERT_ID()", asked, told)
    }

    async fn statements_together(&mut self) -> Outcome {
        let insert = self.fill("INSERT INTO {table} (note) VALUES ('together')");
        let select = self.fill("SELECT name FROM items WHERE id = {id}");
        self.client.run_together(Primary, "together", &[&insert, &select]).await?;
        self.client.run_together(Primary, "together", &[&select, &insert]).await
    }

    /// An error ends nothing but its statement.
    async fn mistake(&mut self) -> Outcome {
        const DUPLICATE_KEY: u16 = 1062;
        const NO_SUCH_TABLE: u16 = 1146;
        let insert = self.fill("INSERT INTO {table} (id, note) VALUES (1, 'again')");
        self.client.refused(Primary, "duplicate", &insert, DUPLICATE_KEY).await?;
        self.client.refused(Any, "missing", "SELECT * FROM missing", NO_SUCH_TABLE).await
    }

    fn item(&mut self) -> u64 {
        1 + self.random.below(super::schema::ITEMS)
    }

    fn fill(&mut self, template: &str) -> String {
        let id = self.item().to_string();
        template.replace("{id}", &id).replace("{table}", &super::schema::table(self.number))
    }
}

/// Counted at the end, on each server.
pub async fn check_counter(conn: &mut mysql_async::Conn, number: usize, raised: u64) -> Outcome {
    let sql = format!("SELECT raised FROM counters WHERE client = {number}");
    let found: Option<u64> =
        conn.query_first(sql).await.map_err(|error| Failure(error.to_string()))?;
    expect("acknowledged updates", found, Some(raised))
}
