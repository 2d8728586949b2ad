//! What the load reads and writes.

use mysql_async::prelude::Queryable;

use crate::support::Cluster;

/// Rows of `items`, numbered from 1; nobody changes them.
pub const ITEMS: u64 = 1000;

/// Each client's own table: clients cannot wait for one another, let alone deadlock.
pub fn table(client: usize) -> String {
    format!("load_{client}")
}

/// Makes tables and routines for clients 0 to `clients` - 1, and waits until the replicas have
/// them.
pub async fn make(cluster: &Cluster, clients: usize) {
    let mut statements = vec![
        "USE app".to_owned(),
        "CREATE TABLE kinds (id INT PRIMARY KEY, title VARCHAR(20))".to_owned(),
        "INSERT INTO kinds VALUES (0, 'even'), (1, 'odd')".to_owned(),
        "CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(40), kind INT, price INT)".to_owned(),
        items(),
        "CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(40))".to_owned(),
        // A routine that writes: to know it, one must know the schema.
        "CREATE FUNCTION load_note(text VARCHAR(40)) RETURNS INT DETERMINISTIC MODIFIES SQL DATA
         BEGIN INSERT INTO notes (note) VALUES (text); RETURN 1; END"
            .to_owned(),
        "CREATE PROCEDURE load_call(text VARCHAR(40))
         BEGIN INSERT INTO notes (note) VALUES (text); SELECT text; END"
            .to_owned(),
        "CREATE TABLE counters (client INT PRIMARY KEY, raised INT NOT NULL)".to_owned(),
    ];
    for client in 0..clients {
        let table = table(client);
        statements.extend([
            format!("CREATE TABLE {table} (id INT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(40))"),
            format!("INSERT INTO {table} (note) VALUES ('first')"),
            format!("INSERT INTO counters VALUES ({client}, 0)"),
        ]);
    }
    let mut conn = cluster.root("primary").await;
    for statement in &statements {
        conn.query_drop(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let _ = conn.disconnect().await;
    cluster.settle().await;
}

fn items() -> String {
    let rows: Vec<_> = (1..=ITEMS)
        .map(|id| format!("({id}, 'item {id}', {}, {})", id % 2, id * 7919 % ITEMS))
        .collect();
    format!("INSERT INTO items VALUES {}", rows.join(", "))
}
