//! The table of statements, one after the other through the proxy: those that belong to the
//! primary reach no replica, by the replicas' own logs.

#[path = "../classification/table.rs"]
mod table;

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use rwproxy::sql::{ClientCharset, Destination};
use tokio::time::timeout;

use crate::support::cluster::options;
use crate::support::tag::{Place, Tags};
use crate::support::{Cluster, Flavour, Proxy};
use table::{Case, MARIADB, MYSQL, cases};

crate::on_both_flavours!(every_statement_stays_where_it_belongs);

/// ER_PARSE_ERROR.
/// For how long an unknown object is remembered (`routing.max_lag`), and a bit.
const REMEMBERED: Duration = Duration::from_millis(2500);
const PARSE_ERROR: u16 = 1064;
/// ER_SP_DOES_NOT_EXIST.
const NO_SUCH_FUNCTION: u16 = 1305;
/// Statements wait, sleep and lock; none does so for long.
const DEADLINE: Duration = Duration::from_secs(5);
/// `SET PASSWORD = 'x'` is in the table, too.
const PASSWORD: &str = "x";
/// An account and a database of their own, for other tests use the same cluster.
const OWN: &str = "statements";

async fn every_statement_stays_where_it_belongs(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    for statement in [
        format!("CREATE DATABASE IF NOT EXISTS {OWN}"),
        format!("CREATE USER IF NOT EXISTS '{OWN}'@'%' IDENTIFIED BY '{PASSWORD}'"),
        format!("GRANT ALL ON {OWN}.* TO '{OWN}'@'%'"),
    ] {
        cluster.run_on("primary", &statement).await;
    }
    cluster.settle().await;
    cluster.log_statements().await;
    let proxy = Proxy::start(cluster, "[routing]\nconsistency = \"eventual\"");
    let host = proxy.address.ip().to_string();
    let options = options(&host, proxy.address.port(), OWN, PASSWORD, Some(OWN));
    let tags = Tags::of_user(OWN);

    let cases: Vec<Case> = cases().into_iter().filter(|case| applies(case, flavour)).collect();
    assert!(cases.len() > 500, "only {} statements", cases.len());
    // Of reads that replicas should have seen.
    let mut read = Vec::new();
    for case in &cases {
        if case.sql.contains("rwproxy: backend=") {
            // There is no server of that name.
            read.push(name(case));
        }
        // MySQL logs no statement that it cannot parse; and what the table knows of newer servers
        // is a stored function to this one.
        if matches!(run(case, &options, &tags).await, Some(PARSE_ERROR | NO_SUCH_FUNCTION)) {
            read.push(name(case));
        }
    }
    see(cluster, &tags, &mut read).await;
    let is_left = |case: &&Case, read: &[String]| {
        place(case) == Place::Replica && !read.contains(&name(case))
    };
    // What a replica has refused is remembered by its shape, and the next like it is not tried there.
    tokio::time::sleep(REMEMBERED).await;
    let again: Vec<&Case> = cases.iter().filter(|case| is_left(case, &read)).collect();
    assert!(again.len() < 20, "{} reads that no replica has seen", again.len());
    for case in again {
        run(case, &options, &tags).await;
    }
    see(cluster, &tags, &mut read).await;
    let left: Vec<String> = cases
        .iter()
        .filter(|case| is_left(case, &read))
        .map(|case| format!("{} | {}", case.reason, case.sql))
        .collect();
    assert!(left.is_empty(), "reads that no replica has seen: {left:#?}");
}

/// Adds the names of the reads that replicas have logged; nothing else may have reached them.
async fn see(cluster: &Cluster, tags: &Tags, read: &mut Vec<String>) {
    for replica in cluster.replicas() {
        for logged in tags.logged(cluster, &replica.server).await {
            assert_ne!(logged.place, Place::Primary, "{}: {logged:?}", replica.server);
            if logged.place == Place::Replica {
                read.push(logged.name);
            }
        }
    }
}

/// Whether the flavour's server, in the version and settings that it has, is meant.
fn applies(case: &Case, flavour: Flavour) -> bool {
    let version = match flavour {
        Flavour::MySql => MYSQL,
        Flavour::MariaDb => MARIADB,
    };
    case.dialects.iter().any(|dialect| {
        dialect.flavour == version.flavour
            && dialect.version == version.version
            && dialect.charset == ClientCharset::Utf8
    })
}

fn place(case: &Case) -> Place {
    match case.destination {
        Destination::Replica => Place::Replica,
        // A full parse finds that it may leave the primary.
        Destination::Primary if case.open => Place::Any,
        // A user variable is known to be NULL.
        Destination::Primary if case.reason == "user_variable" => Place::Any,
        // On a fresh connection there is no previous statement on a replica.
        Destination::Primary | Destination::Previous => Place::Primary,
    }
}

fn name(case: &Case) -> String {
    format!("line_{}", case.line)
}

/// Runs the statement on a session of its own; the server's error. Most fail, for want of their
/// tables.
async fn run(case: &Case, options: &Opts, tags: &Tags) -> Option<u16> {
    let mut conn = timeout(DEADLINE, Conn::new(options.clone()))
        .await
        .unwrap_or_else(|_| panic!("before line {}: no login within {DEADLINE:?}", case.line))
        .unwrap_or_else(|error| panic!("before line {}: {error}", case.line));
    let set = |mode: bool, name: &str| mode.then(|| format!("SET sql_mode = '{name}'"));
    let dialect = case.dialects[0];
    for statement in [
        set(dialect.ansi_quotes, "ANSI_QUOTES"),
        set(dialect.no_backslash_escapes, "NO_BACKSLASH_ESCAPES"),
    ]
    .into_iter()
    .flatten()
    {
        conn.query_drop(statement).await.expect("a mode that every server has");
    }
    // In front: what stands behind an unterminated string would belong to it.
    let sql = format!("{} {}", tags.tag(place(case), &name(case)), case.sql);
    let Ok(answer) = timeout(DEADLINE, conn.query_drop(&sql)).await else {
        // A wait for a transaction may well never end.
        assert!(sql.contains("GTID_WAIT"), "line {}: no answer: {sql}", case.line);
        return None;
    };
    let _ = timeout(DEADLINE, conn.disconnect()).await;
    match answer {
        Err(mysql_async::Error::Server(error)) => Some(error.code),
        _ => None,
    }
}
