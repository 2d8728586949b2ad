//! What each session has for its own: nobody else writes there.

use crate::support::{Cluster, Flavour};

pub fn database(number: usize) -> String {
    format!("diff{number}")
}

const TABLES: &[&str] = &[
    "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT, s VARCHAR(40))",
    "INSERT INTO t (v, s) VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, NULL), (5, 'fünf')",
    "CREATE TABLE u (k INT PRIMARY KEY, w INT)",
    "INSERT INTO u VALUES (1, 10), (2, 20), (3, 30)",
    "CREATE TABLE files (a INT, b VARCHAR(20))",
    "CREATE VIEW seen AS SELECT id, v FROM t WHERE v < 100",
    "CREATE FUNCTION pure(n INT) RETURNS INT DETERMINISTIC NO SQL RETURN n * 2",
    "CREATE FUNCTION writing(n INT) RETURNS INT DETERMINISTIC MODIFIES SQL DATA \
     BEGIN INSERT INTO u VALUES (n, n) ON DUPLICATE KEY UPDATE w = w + 1; RETURN n; END",
    "CREATE FUNCTION noting(n INT) RETURNS INT DETERMINISTIC NO SQL \
     BEGIN SET @noted = n; RETURN n; END",
    "CREATE PROCEDURE results(n INT) BEGIN SELECT n; SELECT id, v FROM t ORDER BY id LIMIT 2; END",
    "CREATE PROCEDURE sets(n INT) BEGIN SET @x = n; END",
    "CREATE PROCEDURE temporary() \
     BEGIN CREATE TEMPORARY TABLE IF NOT EXISTS hidden (a INT); INSERT INTO hidden VALUES (7); END",
    "CREATE PROCEDURE out_of(IN n INT, OUT m INT) BEGIN SET m = n + 1; END",
    "CREATE PROCEDURE inserts(n INT) BEGIN INSERT INTO t (v) VALUES (n); END",
    "CREATE PROCEDURE fetches() BEGIN DECLARE n INT; \
     DECLARE ids CURSOR FOR SELECT id FROM t ORDER BY id; OPEN ids; FETCH ids INTO n; SELECT n, id \
     FROM t ORDER BY id; CLOSE ids; END",
    "CREATE PROCEDURE fails() BEGIN SELECT 1; SELECT * FROM missing; END",
];

/// Makes the databases of so many sessions anew.
pub async fn make(cluster: &Cluster, sessions: usize) {
    for number in 0..sessions {
        make_one(cluster, number).await;
    }
}

pub async fn make_one(cluster: &Cluster, number: usize) {
    let name = database(number);
    let mut statements = vec![
        format!("DROP DATABASE IF EXISTS {name}"),
        format!("DROP DATABASE IF EXISTS {name}b"),
        format!("CREATE DATABASE {name}"),
        format!("CREATE DATABASE {name}b"),
        format!("GRANT ALL ON {name}.* TO app"),
        format!("GRANT ALL ON {name}b.* TO app"),
        format!("CREATE TABLE {name}b.t (id INT PRIMARY KEY AUTO_INCREMENT, v INT, s VARCHAR(40))"),
        format!("INSERT INTO {name}b.t (v, s) VALUES (77, 'other')"),
        format!("USE {name}"),
    ];
    statements.extend(TABLES.iter().map(|statement| (*statement).to_owned()));
    if cluster.flavour == Flavour::MariaDb {
        statements.push("CREATE SEQUENCE numbers".to_owned());
    }
    cluster.run_all("primary", &statements).await;
}
