//! The audit finds what differs between a primary and its replica, and nothing else, while both are
//! written.

mod command;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rwproxy::administration::{Access, Endpoint};
use rwproxy::backend::Credential;
use rwproxy::check::audit::{AuditError, Checkpoint, Options, What, audit};
use rwproxy::net::tls::client::ClientTls;
use rwproxy::routing::topology::Address;
use rwproxy::wire::auth::Secret;

use crate::on_both_flavours;
use crate::support::cluster::options;
use crate::support::{Cluster, Flavour, Server};

const SCHEMA: &[&str] = &[
    "CREATE DATABASE shop",
    "USE shop",
    "CREATE TABLE digits (d INT PRIMARY KEY)",
    "INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)",
    "CREATE TABLE big (id INT PRIMARY KEY, f FLOAT, d DOUBLE, t TEXT, j JSON, m TIMESTAMP(3) NULL, \
     g INT AS (id + 1) VIRTUAL, s INT AS (id + 2) STORED, b BIT(9), e ENUM('x', 'y'), p POINT, n DECIMAL(20, 5))",
    "INSERT INTO big (id, f, d, t, j, m, b, e, p, n) SELECT a.d + b.d * 10 + c.d * 100 + x.d * 1000 + y.d * 10000, \
     a.d / 3, b.d / 7, REPEAT('é', c.d * 30), JSON_OBJECT('a', a.d), '2024-01-01 00:00:00.123', a.d, 'y', \
     ST_GeomFromText('POINT(1 2)'), b.d / 9 FROM digits a, digits b, digits c, digits x, digits y WHERE y.d < 3",
    "CREATE TABLE named (name VARCHAR(20) CHARACTER SET latin1 NOT NULL, kind ENUM('b', 'a') NOT NULL, v INT, \
     x BLOB, UNIQUE KEY (kind, name))",
    "INSERT INTO named SELECT CONCAT('é', id, IF(id % 2, 'x', '')), IF(id % 3, 'a', 'b'), id, NULL FROM big WHERE id < 4000",
    "CREATE TABLE keyless (a INT, b VARCHAR(10))",
    "INSERT INTO keyless SELECT id % 100, 'x' FROM big WHERE id < 1000",
    "CREATE TABLE `odd ``name é` (`k``ey` FLOAT PRIMARY KEY, d DATE) ENGINE = MyISAM",
    "INSERT INTO `odd ``name é` SELECT id * 1e0 / 7, '2024-02-03' FROM big WHERE id < 3000",
    "CREATE TABLE hot (id INT PRIMARY KEY, n BIGINT)",
    "INSERT INTO hot VALUES (1, 0), (2, 0), (3, 0)",
    "CREATE TABLE dates (at DATETIME(3) PRIMARY KEY, n INT)",
    "INSERT INTO dates SELECT '2024-01-01' + INTERVAL id SECOND, id FROM big WHERE id < 2500",
    "CREATE TABLE altered (id INT PRIMARY KEY, v VARCHAR(10))",
    "CREATE TABLE `empty` (id INT PRIMARY KEY)",
    "CREATE TABLE dropped (id INT PRIMARY KEY)",
];

/// On the replica alone.
const DAMAGE: &[&str] = &[
    "UPDATE shop.big SET t = CONCAT(t, ' ') WHERE id = 4711",
    "UPDATE shop.big SET f = NULL WHERE id = 12",
    "DELETE FROM shop.big WHERE id = 9000",
    "INSERT INTO shop.big (id) VALUES (-5), (100000)",
    "UPDATE shop.named SET name = 'É1x' WHERE name = 'é1x'",
    "UPDATE shop.named SET x = '' WHERE v = 2000",
    "UPDATE shop.keyless SET b = 'X' LIMIT 1",
    "UPDATE shop.`odd ``name é` SET d = '2024-02-04' WHERE `k``ey` BETWEEN 0.142 AND 0.143",
    "DELETE FROM shop.dates WHERE n = 2499",
    "ALTER TABLE shop.altered MODIFY v VARCHAR(11)",
    "DROP TABLE shop.dropped",
    "CREATE TABLE shop.extra (id INT)",
];

on_both_flavours!(what_differs_is_found_under_load_and_nothing_else);

async fn what_differs_is_found_under_load_and_nothing_else(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &["REPLICAS=1"]);
    fill(&cluster).await;
    let writers = Writers::start(&cluster);

    let (clean, _) = run(&cluster, Checkpoint::default()).await;
    assert!(clean.is_clean(), "false alarms: {:#?}", clean.differences);
    assert!(clean.rows > 40_000 && clean.tables == 10 && clean.done.len() == 10, "{clean:?}");
    assert_eq!(clean.skipped, [""; 0]);

    damage(&cluster, DAMAGE).await;
    let (damaged, steps) = run(&cluster, Checkpoint::default()).await;
    let found = listed(&damaged);
    let expected = [
        "altered: the column v is varchar(11) and not varchar(10)",
        "big: the row `id` = -5 is not on the primary",
        "big: the row `id` = 100000 is not on the primary",
        "big: the row `id` = 12 differs",
        "big: the row `id` = 4711 differs",
        "big: the row `id` = 9000 is missing",
        "dates: the row `at` = '2024-01-01 00:41:39.000' is missing",
        "dropped: there is no such table",
        "extra: the primary has no such table",
        "keyless: rows differ",
        "named: the row `kind` = 2 AND `name` = _latin1 X'C93178' is not on the primary",
        "named: the row `kind` = 2 AND `name` = _latin1 X'E93178' is missing",
        "named: the row `kind` = 2 AND `name` = _latin1 X'E932303030' differs",
        "odd `name é: the row `k``ey` = 0.1428571492433548 differs",
    ];
    assert_eq!(found, expected);

    // From the middle on the same is found, and nothing is compared again.
    let middle = steps
        .iter()
        .find(|step| step.current.as_ref().is_some_and(|at| at.table == "dates"))
        .unwrap_or_else(|| panic!("no step within a table: {steps:#?}"));
    let kept = serde_json::to_string(middle).expect("JSON");
    let begun: Checkpoint = serde_json::from_str(&kept).expect("what was written");
    assert_eq!(begun, *middle);
    let (resumed, later) = run(&cluster, begun).await;
    assert_eq!(listed(&resumed), expected);
    assert!(later.iter().all(|step| step.done.starts_with(&middle.done)), "{later:#?}");
    let again = later.iter().filter_map(|step| step.current.as_ref()).find(|at| {
        middle.done.iter().any(|(schema, table)| (schema, table) == (&at.schema, &at.table))
    });
    assert_eq!(again, None, "after {middle:?}");
    assert!(resumed.rows - middle.rows < damaged.rows, "{} of {}", resumed.rows, damaged.rows);
    writers.end().await;

    replica_that_does_not_follow(&cluster).await;
}

async fn fill(cluster: &Cluster) {
    let schema: Vec<String> = SCHEMA.iter().map(|text| (*text).to_owned()).collect();
    cluster.run_all("primary", &schema).await;
}

/// What was found, without the servers' names, sorted.
fn listed(checkpoint: &Checkpoint) -> Vec<String> {
    assert!(checkpoint.differences.iter().all(|found| found.server == "replica1"));
    let lines = checkpoint.differences.iter().map(ToString::to_string);
    let mut lines: Vec<String> =
        lines.map(|line| line.trim_start_matches("replica1: shop.").to_owned()).collect();
    lines.sort();
    let kinds = checkpoint.differences.iter().filter(|d| matches!(d.what, What::ExtraTable));
    assert!(kinds.count() <= 1);
    lines
}

async fn run(cluster: &Cluster, begun: Checkpoint) -> (Checkpoint, Vec<Checkpoint>) {
    let mut steps = Vec::new();
    let mut told = |step: &Checkpoint| steps.push(step.clone());
    let options = Options { load: 0.8, ..Options::default() };
    let [primary, replica] = ends(cluster);
    let replicas = [replica];
    let ended = audit(&primary, &replicas, options, begun, &mut told, pending());
    let ended = ended.await.expect("an audit");
    eprintln!("{} rows, {} undecided, {:?}", ended.rows, ended.undecided, ended.skipped);
    (ended, steps)
}

fn ends(cluster: &Cluster) -> [Endpoint; 2] {
    ["primary", "replica1"].map(|name| endpoint(cluster.server(name)))
}

fn endpoint(server: &Server) -> Endpoint {
    Endpoint {
        name: server.server.as_str().into(),
        address: Address::Ip(format!("{}:{}", server.ip, server.port).parse().unwrap()),
        access: Access {
            credential: Credential::new("root", Secret::from_password("root")),
            tls: ClientTls::preferred().expect("TLS"),
            announce: None,
        },
    }
}

/// Changes the first replica behind its primary's back.
async fn damage(cluster: &Cluster, damage: &[&str]) {
    let mut statements = vec!["SET SESSION sql_log_bin = 0".to_owned()];
    statements.extend(damage.iter().map(|text| (*text).to_owned()));
    if cluster.flavour == Flavour::MySql {
        statements.insert(0, "SET GLOBAL super_read_only = OFF".to_owned());
        statements.push("SET GLOBAL super_read_only = ON".to_owned());
    }
    cluster.run_all("replica1", &statements).await;
}

/// A replica that stands still is an error, and no difference.
async fn replica_that_does_not_follow(cluster: &Cluster) {
    let stop = match cluster.flavour {
        Flavour::MySql => "STOP REPLICA SQL_THREAD",
        Flavour::MariaDb => "STOP SLAVE SQL_THREAD",
    };
    cluster.run_on("replica1", stop).await;
    cluster.run_on("primary", "INSERT INTO shop.hot VALUES (100, 1)").await;
    let [primary, replica] = ends(cluster);
    let options = Options { patience: Duration::from_secs(1), ..Options::default() };
    let begun = Checkpoint::default();
    let ended = audit(&primary, &[replica], options, begun, &mut |_| {}, pending()).await;
    assert!(matches!(ended, Err(AuditError::Behind { .. })), "{ended:?}");
}

/// Rows that are written all the time: one goes to and fro, one counts, others come and go.
struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    fn start(cluster: &Cluster) -> Self {
        let primary = cluster.primary();
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..2u64).map(|writer| {
            let options = options(&primary.ip, primary.port, "root", "root", Some("shop"));
            let stop = stop.clone();
            tokio::spawn(async move {
                let mut conn = Conn::new(options).await.expect("a writer");
                for turn in 0u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = 10_000 + (turn * 2 + writer) * 7919 % 20_000;
                    for statement in [
                        "UPDATE hot SET n = 1 - n WHERE id = 1".to_owned(),
                        "UPDATE hot SET n = n + 1 WHERE id = 2".to_owned(),
                        format!("UPDATE big SET d = {turn}, t = 'written' WHERE id = {id}"),
                        format!("DELETE FROM big WHERE id = {}", id + 30_000),
                        format!("REPLACE INTO big (id, n) VALUES ({}, 1)", id + 30_000),
                        format!("UPDATE dates SET n = n WHERE n = {}", turn % 100),
                    ] {
                        conn.query_drop(&statement).await.expect("a write");
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        });
        let tasks = tasks.collect();
        Writers { stop, tasks }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a writer wrote to the end");
        }
    }
}
