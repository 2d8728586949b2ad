//! Everything of one server is copied to a bare one while it is written, and the copy then
//! replicates: nothing differs.

mod schema;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use rwproxy::administration::{Access, Endpoint};
use rwproxy::backend::Credential;
use rwproxy::net::tls::client::ClientTls;
use rwproxy::routing::topology::Address;
use rwproxy::setup::copy::{Copied, CopyError, Options, Progress, UNFINISHED, copy};
use rwproxy::wire::auth::Secret;
use tokio::sync::watch;

use crate::on_both_flavours;
use crate::support::cluster::{connect, options};
use crate::support::{Cluster, Flavour, Server, eventually};

on_both_flavours!(a_bare_server_becomes_a_replica_with_nothing_different);

async fn a_bare_server_becomes_a_replica_with_nothing_different(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &["REPLICAS=1"]);
    let fresh = cluster.bare("fresh").await;
    let (statements, more) = schema::statements(flavour);
    cluster.run_all("primary", &statements).await;

    let tables: Vec<&str> = schema::TABLES.iter().chain(more).copied().collect();
    let writers = Writing::start(&cluster);
    let limit = limit(&mut root(&fresh).await).await;
    interrupted_copies_are_begun_again(&cluster, &fresh).await;
    let copied = run(&cluster, &fresh, Options::default()).await.expect("a copy");
    assert_eq!(self::limit(&mut root(&fresh).await).await, limit, "it is as it was");
    eprintln!("{copied:#?}");
    assert!(copied.rows > 200_000, "{copied:?}");
    for noted in ["nasty.simple", "nasty.broken", "nasty.choices"] {
        assert!(copied.notes.iter().any(|note| note.contains(noted)), "{:?}", copied.notes);
    }
    let refused = run(&cluster, &fresh, Options::default()).await;
    assert!(matches!(refused, Err(CopyError::NotBare { .. })), "{refused:?}");
    let itself =
        run(&cluster, cluster.primary(), Options { overwrite: true, ..Options::default() });
    assert!(matches!(itself.await, Err(CopyError::Unfit { .. })));

    replicate(&cluster, &fresh).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    writers.end().await;
    caught_up(&cluster, &fresh).await;
    let mut source = cluster.root("primary").await;
    let mut target = root(&fresh).await;
    same_definitions(&mut source, &mut target).await;
    same_rows(&mut source, &mut target, &tables).await;
    same_accounts(&mut source, &mut target, flavour).await;
    events_do_nothing(&mut target).await;
}

/// A copy that was dropped in the middle leaves a mark, and no data that anybody takes for whole.
async fn interrupted_copies_are_begun_again(cluster: &Cluster, fresh: &Server) {
    let (sender, mut receiver) = watch::channel(Progress::default());
    let options = Options { bytes_per_second: Some(400_000), ..Options::default() };
    let [source, target] = ends(cluster, fresh);
    let slow = copy(&source, &target, options, &sender);
    let begun = receiver.wait_for(|progress| progress.rows_done > 0);
    tokio::select! {
        ended = slow => panic!("it ended before it was interrupted: {ended:?}"),
        begun = begun => assert!(begun.is_ok()),
    }
    let mut conn = root(fresh).await;
    let schemas: Vec<String> = conn.query("SHOW DATABASES").await.unwrap();
    assert!(schemas.iter().any(|schema| schema == UNFINISHED), "{schemas:?}");
    assert!(schemas.iter().any(|schema| schema == "nasty"), "{schemas:?}");

    // So that it is left changed what a copy changes for a moment.
    eventually("a copy is dropped at that moment", Duration::from_secs(30), async || {
        let (sender, mut receiver) = watch::channel(Progress::default());
        let changed = async { while limit(&mut conn).await != 1 << 30 {} };
        let begun = receiver.wait_for(|progress| progress.rows_done > 0);
        tokio::select! {
            ended = copy(&source, &target, options, &sender) => panic!("it ended: {ended:?}"),
            () = changed => Some(()),
            _ = begun => None,
        }
    })
    .await;
    assert_eq!(limit(&mut conn).await, 1 << 30, "nobody sets it back");
}

async fn limit(conn: &mut Conn) -> u64 {
    let limit = conn.query_first("SELECT @@GLOBAL.max_allowed_packet").await;
    limit.expect("a limit").expect("a limit")
}

fn ends(cluster: &Cluster, fresh: &Server) -> [Endpoint; 2] {
    [cluster.primary(), fresh].map(|server| Endpoint {
        name: server.server.as_str().into(),
        address: Address::Ip(format!("{}:{}", server.ip, server.port).parse().unwrap()),
        access: Access {
            credential: Credential::new("root", Secret::from_password("root")),
            tls: ClientTls::preferred().expect("TLS"),
            announce: None,
        },
    })
}

async fn run(cluster: &Cluster, fresh: &Server, options: Options) -> Result<Copied, CopyError> {
    let [source, target] = ends(cluster, fresh);
    let (sender, receiver) = watch::channel(Progress::default());
    let copied = copy(&source, &target, options, &sender).await?;
    let last = receiver.borrow().clone();
    assert_eq!(last.tables_done, last.tables);
    assert_eq!(last.rows_done, copied.rows);
    assert!(last.fraction() > 0.99, "{last:?}");
    Ok(copied)
}

async fn root(server: &Server) -> Conn {
    connect(&server.ip, server.port, "root", "root", None).await
}

/// Somebody who writes all the time, to tables of both kinds.
struct Writing {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<u64>,
}

impl Writing {
    fn start(cluster: &Cluster) -> Self {
        let primary = cluster.primary();
        let options = options(&primary.ip, primary.port, "root", "root", Some("nasty"));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut conn = Conn::new(options).await.expect("a writer");
            let mut turn = 0u64;
            while !stopped.load(Ordering::Relaxed) {
                turn += 1;
                let id = turn * 7 % 5000 + 1;
                for statement in [
                    format!("INSERT INTO live (n, note) VALUES ({turn}, 'written')"),
                    format!("UPDATE live SET n = n + 1 WHERE id = {id}"),
                    format!("DELETE FROM live WHERE id = {}", id * 3),
                    format!("UPDATE large SET b = {turn} WHERE id = {}", id * 40),
                    // The log has the whole row: the long ones are changed now and then.
                    format!(
                        "UPDATE blobs SET t = {turn} WHERE id = {}",
                        if turn % 40 == 1 { 1 } else { 4 }
                    ),
                    format!("REPLACE INTO simple VALUES ({}, {turn})", turn % 10),
                    format!("INSERT INTO keyless VALUES ({turn}, 'x')"),
                ] {
                    conn.query_drop(&statement).await.expect("a write");
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            turn
        });
        Writing { stop, task }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let turns = self.task.await.expect("the writer wrote to the end");
        assert!(turns > 0, "nothing was written meanwhile");
    }
}

async fn replicate(cluster: &Cluster, fresh: &Server) {
    let primary = &cluster.primary().ip;
    let mut conn = root(fresh).await;
    let statements = match cluster.flavour {
        Flavour::MySql => [
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{primary}', SOURCE_USER = 'root', \
                 SOURCE_PASSWORD = 'root', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1"
            ),
            "START REPLICA".to_owned(),
        ],
        Flavour::MariaDb => [
            format!(
                "CHANGE MASTER TO MASTER_HOST = '{primary}', MASTER_USER = 'root', \
                 MASTER_PASSWORD = 'root', MASTER_USE_GTID = slave_pos"
            ),
            "START SLAVE".to_owned(),
        ],
    };
    for statement in statements {
        conn.query_drop(&statement).await.expect("replication");
    }
}

async fn caught_up(cluster: &Cluster, fresh: &Server) {
    let mut source = cluster.root("primary").await;
    let (position, wait, status) = match cluster.flavour {
        Flavour::MySql => {
            ("@@GLOBAL.gtid_executed", "WAIT_FOR_EXECUTED_GTID_SET", "SHOW REPLICA STATUS")
        }
        Flavour::MariaDb => ("@@GLOBAL.gtid_binlog_pos", "MASTER_GTID_WAIT", "SHOW SLAVE STATUS"),
    };
    let position: String =
        source.query_first(format!("SELECT {position}")).await.unwrap().expect("a position");
    let mut target = root(fresh).await;
    let reached: Option<i64> =
        target.query_first(format!("SELECT {wait}('{position}', 30)")).await.unwrap();
    if reached != Some(0) {
        let status: Option<Row> = target.query_first(status).await.unwrap();
        panic!("the copy does not replicate to {position}: {status:?}");
    }
}

/// Rows in an order that their values give, and the server's own checksums.
async fn same_rows(source: &mut Conn, target: &mut Conn, tables: &[&str]) {
    for table in tables {
        let hidden = table.contains("vectors") || table.contains("own_types");
        let hidden = if hidden { ", hidden" } else { "" };
        let query = format!("SELECT *{hidden} FROM {table}");
        let [one, other] = [rows(source, &query).await, rows(target, &query).await];
        assert!(!one.is_empty() || *table == "nasty.logged", "{table} is empty");
        assert_eq!(one, other, "{table}");
    }
    for table in tables
        .iter()
        .chain(schema::LARGE)
        .filter(|table| !table.contains(' ') || table.contains('`'))
    {
        let count = format!("SELECT COUNT(*) FROM {table}");
        assert_eq!(rows(source, &count).await, rows(target, &count).await, "{table}");
        let checksum = format!("CHECKSUM TABLE {table}");
        assert_eq!(rows(source, &checksum).await, rows(target, &checksum).await, "{table}");
    }
}

/// Sorted.
async fn rows(conn: &mut Conn, query: &str) -> Vec<String> {
    let rows: Vec<Row> = conn.query(query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    let mut rows: Vec<String> =
        rows.into_iter().map(|row| format!("{:?}", Values(row.unwrap()))).collect();
    rows.sort();
    rows
}

/// Whole, where `Value` shows only the beginning.
struct Values(Vec<Value>);

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|value| value.as_sql(false))).finish()
    }
}

async fn same_definitions(source: &mut Conn, target: &mut Conn) {
    for query in [
        "SELECT schema_name, default_character_set_name, default_collation_name \
         FROM information_schema.schemata WHERE schema_name NOT IN ('mysql', 'sys', 'performance_schema')",
        "SELECT table_schema, table_name, table_type, engine, row_format, table_collation, table_comment \
         FROM information_schema.tables WHERE table_schema IN ('nasty', 'empty', 'odd `name é') AND table_name <> 'broken'",
        "SELECT * FROM information_schema.columns WHERE table_schema IN ('nasty', 'empty', 'odd `name é') AND table_name <> 'broken'",
        "SELECT table_schema, table_name, view_definition, check_option, definer, security_type, \
         character_set_client, collation_connection FROM information_schema.views \
         WHERE table_schema IN ('nasty', 'odd `name é') AND table_name <> 'broken'",
        "SELECT routine_schema, routine_name, routine_type, routine_definition, sql_mode, routine_comment, definer, \
         character_set_client, collation_connection, database_collation, is_deterministic, security_type \
         FROM information_schema.routines WHERE routine_schema IN ('nasty', 'empty', 'odd `name é')",
        "SELECT trigger_schema, trigger_name, event_object_table, action_order, action_statement, \
         action_timing, sql_mode, definer, character_set_client, collation_connection, database_collation \
         FROM information_schema.triggers WHERE trigger_schema = 'nasty'",
        "SELECT event_schema, event_name, definer, time_zone, event_definition, event_type, execute_at, \
         interval_value, interval_field, sql_mode, starts, ends, on_completion, event_comment, \
         character_set_client, collation_connection, database_collation \
         FROM information_schema.events WHERE event_schema = 'nasty'",
        "SELECT constraint_schema, constraint_name, table_name, referenced_table_name, delete_rule \
         FROM information_schema.referential_constraints",
        "SELECT auto_increment FROM information_schema.tables WHERE table_schema = 'nasty' AND table_name = 'numbers'",
        "SHOW DATABASES",
        "SHOW CREATE TABLE nasty.parts",
        "CALL nasty.`a \"quoted\" ``one```(1)",
        "SELECT `odd ``name é`.greet()",
    ] {
        let [one, other] = [rows(source, query).await, rows(target, query).await];
        assert!(!one.is_empty(), "{query}");
        assert_eq!(one, other, "{query}");
    }
}

async fn same_accounts(source: &mut Conn, target: &mut Conn, flavour: Flavour) {
    let mut queries = vec![
        "SHOW CREATE USER 'it''s'@'10.0.0.%'",
        "SHOW CREATE USER 'plain'@'%'",
        "SHOW GRANTS FOR 'it''s'@'10.0.0.%'",
        "SHOW GRANTS FOR 'plain'@'%'",
        "SHOW GRANTS FOR 'root'@'%'",
        "SHOW GRANTS FOR 'app'@'%'",
        "SHOW GRANTS FOR reader",
        "SELECT user, host FROM mysql.user",
    ];
    match flavour {
        Flavour::MySql => {
            queries.extend(["SELECT * FROM mysql.default_roles", "SELECT * FROM mysql.role_edges"])
        }
        Flavour::MariaDb => queries.extend([
            "SELECT * FROM mysql.roles_mapping",
            "SHOW GRANTS FOR PUBLIC",
            "SELECT user, host, default_role FROM mysql.user",
            "SELECT next_not_cached_value FROM nasty.numbers_of",
            "SELECT next_not_cached_value FROM nasty.never_used",
        ]),
    }
    for query in queries {
        assert_eq!(rows(source, query).await, rows(target, query).await, "{query}");
    }
}

/// The source's events come by replication.
async fn events_do_nothing(target: &mut Conn) {
    let running: Vec<Row> = target
        .query("SELECT * FROM information_schema.events WHERE status = 'ENABLED'")
        .await
        .unwrap();
    assert!(running.is_empty(), "{running:?}");
    eventually("no schema of an unfinished copy", Duration::from_secs(1), async || {
        let schemas: Vec<String> = target.query("SHOW DATABASES").await.ok()?;
        (!schemas.iter().any(|schema| schema == UNFINISHED)).then_some(())
    })
    .await;
}
