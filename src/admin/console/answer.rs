//! What a statement is answered.

use std::borrow::Cow;

use opensrv_mysql::ErrorKind;

use super::shim::VERSION;
use super::statement::{Expression, Item, Show, Statement, parse};
use super::tokens::SyntaxError;
use super::{switchover, variables};
use crate::admin::Admin;
use crate::admin::like::is_like;
use crate::admin::table::{Cell, Column, Kind, Table, text};

#[derive(Debug)]
pub enum Answer {
    Table(Table),
    Ok,
    Error(ErrorKind, String),
}

/// `client`: the connection id of who asks.
pub async fn answer(query: &str, admin: &Admin, client: u32) -> Answer {
    let statement = match parse(query) {
        Ok(statement) => statement,
        Err(SyntaxError::Empty) => {
            return Answer::Error(ErrorKind::ER_EMPTY_QUERY, "Query was empty".to_owned());
        }
        Err(SyntaxError::Near(place)) => {
            let message = format!(
                "You have an error in your statement near '{}'; HELP lists the console's statements",
                place.chars().take(80).collect::<String>()
            );
            return Answer::Error(ErrorKind::ER_PARSE_ERROR, message);
        }
    };
    match statement {
        Statement::Nothing | Statement::Grant => Answer::Ok,
        Statement::Help => Answer::Table(help()),
        Statement::Show { what, pattern } => Answer::Table(show(what, pattern.as_deref(), admin)),
        Statement::ExplainRoute(sql) => Answer::Table(admin.route_table(&sql)),
        Statement::Select(items) => select(&items, admin, client),
        Statement::Switchover { target, force } => switchover::run(admin, &target, force).await,
        Statement::KillSession(id) => {
            if admin.view.kill_session(id) {
                tracing::info!(session = id, "killed from the console");
                Answer::Ok
            } else {
                Answer::Error(ErrorKind::ER_NO_SUCH_THREAD, format!("Unknown session id: {id}"))
            }
        }
    }
}

const HELP: [(&str, &str); 15] = [
    ("SHOW BACKENDS", "Every server: role, state and why, lag, reads and writes, connections"),
    ("SHOW SESSIONS", "Every client: where it is bound and why, what it has done"),
    ("SHOW POOLS", "The connections to each server"),
    ("SHOW SEMI_SYNC", "Semi-synchronous replication: state, replicas, time-outs of each server"),
    ("SHOW GROUPS", "Members of Group Replication and nodes of Galera"),
    ("SHOW CHECKS [LIKE 'pattern']", "What is wrong with the cluster, and what mends it"),
    ("SHOW EVENTS [LIKE 'pattern'] [LIMIT n]", "What has happened to the servers, latest last"),
    ("SHOW CONFIG [LIKE 'pattern']", "The configuration in force"),
    ("SHOW VERSION", "The version of the proxy"),
    ("EXPLAIN ROUTE statement", "Where it would go now, and why; or EXPLAIN ROUTE FOR '…'"),
    ("KILL SESSION id", "Ends a client's session"),
    ("SWITCHOVER TO server [FORCE]", "Makes a replica the primary; FORCE: whatever is still open"),
    ("SHOW VARIABLES [LIKE 'pattern']", "What clients ask every server for"),
    ("SELECT @@variable, VERSION()", "The same"),
    ("HELP", "This list"),
];

fn help() -> Table {
    let rows = HELP.iter().map(|(statement, meaning)| vec![(*statement).into(), (*meaning).into()]);
    Table::new(&[text("statement"), text("meaning")], rows)
}

fn show(what: Show, pattern: Option<&str>, admin: &Admin) -> Table {
    let mut table = match what {
        Show::Backends => admin.backend_table(),
        Show::Sessions => admin.session_table(),
        Show::Pools => admin.pool_table(),
        Show::SemiSync => admin.semi_sync_table(),
        Show::Groups => admin.group_table(),
        Show::Checks => admin.check_table(),
        Show::Config => admin.config_table(),
        Show::Events { limit } => {
            let limit = limit.map_or(usize::MAX, |limit| limit as usize);
            return admin.event_table(pattern, limit);
        }
        Show::Version => {
            let version = vec![env!("CARGO_PKG_VERSION").into()];
            Table::new(&[text("version")], [version].into_iter())
        }
        Show::Variables => {
            let rows = variables::all().map(|(name, value)| {
                let value = match value {
                    Cell::Number(number) => Cell::Text(number.to_string()),
                    other => other,
                };
                vec![name.into(), value]
            });
            Table::new(&[text("Variable_name"), text("Value")], rows)
        }
        Show::None(column) => Table::new(&[text(column)], std::iter::empty()),
    };
    if let Some(pattern) = pattern {
        table.rows.retain(|row| match row.first() {
            Some(Cell::Text(text)) => is_like(text, pattern),
            Some(Cell::Number(number)) => is_like(&number.to_string(), pattern),
            Some(Cell::Null) | None => false,
        });
    }
    table
}

fn select(items: &[Item<'_>], admin: &Admin, client: u32) -> Answer {
    let mut columns = Vec::new();
    let mut row = Vec::new();
    for Item { name, expression } in items {
        let cell = match expression {
            Expression::Number(number) => Cell::Number(*number),
            Expression::Text(text) => Cell::Text(text.clone()),
            Expression::Null => Cell::Null,
            Expression::Variable(variable) => match variables::value(variable) {
                Some(value) => value,
                None => {
                    let message = format!("Unknown system variable '{variable}'");
                    return Answer::Error(ErrorKind::ER_UNKNOWN_SYSTEM_VARIABLE, message);
                }
            },
            Expression::Function(function) => match call(function, admin, client) {
                Some(value) => value,
                None => {
                    let message = format!("The console has no function {function}()");
                    return Answer::Error(ErrorKind::ER_SP_DOES_NOT_EXIST, message);
                }
            },
        };
        let kind = if matches!(cell, Cell::Number(_)) { Kind::Number } else { Kind::Text };
        columns.push(Column { name: Cow::Owned((*name).to_owned()), kind });
        row.push(cell);
    }
    Answer::Table(Table { columns, rows: vec![row] })
}

fn call(function: &str, admin: &Admin, client: u32) -> Option<Cell> {
    match function.to_ascii_uppercase().as_str() {
        "VERSION" => Some(VERSION.into()),
        "CONNECTION_ID" => Some(u64::from(client).into()),
        "USER" | "CURRENT_USER" | "SESSION_USER" | "SYSTEM_USER" => {
            Some(admin.config.borrow().admin.user.as_str().into())
        }
        "DATABASE" | "SCHEMA" => Some(Cell::Null),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::admin::test_support::{self, Fake};

    fn ask(query: &str) -> Answer {
        answer_at_once(query, &test_support::admin(Fake::default()))
    }

    fn answer_at_once(query: &str, admin: &Admin) -> Answer {
        answer(query, admin, 7).now_or_never().expect("without waiting")
    }

    fn table(query: &str) -> Table {
        match ask(query) {
            Answer::Table(table) => table,
            other => panic!("{query}: {other:?}"),
        }
    }

    fn row(query: &str, index: usize) -> String {
        let json = table(query).to_json();
        json[index].to_string()
    }

    #[test]
    fn tables() {
        assert_eq!(
            row("SHOW BACKENDS", 1),
            r#"{"address":"172.17.0.2:3306","idle":0,"lag_ms":250,"leased":0,"member_state":"ONLINE","name":"db2","origin":"proxy.toml","reads":0,"role":"replica","role_reason":"it is writable","semi_sync":"not connected","state":"up","takes_reads":0,"version":"9.7.4","warnings":null,"weight":1,"why_not":"250 ms behind, 100 ms allowed","writes":0}"#
        );
        assert_eq!(
            row("SHOW SESSIONS", 0),
            r#"{"backend":null,"client":"10.0.0.9","database":"shop","id":2147483649,"pins":null,"replica_reads":5,"seconds":61,"state":"idle","statements":7,"user":"app"}"#
        );
        assert_eq!(
            row("SHOW POOLS", 0),
            r#"{"backend":"db1","dial_errors":0,"dials":0,"idle":2,"leased":1,"limit":90,"open":3,"pinned":0,"timeouts":0,"waits":0}"#
        );
        assert_eq!(
            row("SHOW GROUPS", 0),
            r#"{"apply_queue":0,"certifier_queue":null,"flow_control":"on","group_name":"20e35691-e96e-11f1-bab6-13a7f1f13c84","kind":"galera","member_role":null,"member_state":"Synced","members":3,"name":"db1","reachable":null,"role":"primary","send_queue":0,"view":"3"}"#
        );
        assert_eq!(
            row("SHOW GROUPS", 1),
            r#"{"apply_queue":0,"certifier_queue":0,"flow_control":"on","group_name":"5fe82f1a-e2ad-6bac-b064-ff351534ec1b","kind":"group_replication","member_role":"SECONDARY","member_state":"ONLINE","members":3,"name":"db2","reachable":2,"role":"replica","send_queue":null,"view":"17:7"}"#
        );
        assert_eq!(
            row("SHOW SEMI_SYNC", 0),
            r#"{"acknowledged":100,"as_replica":null,"as_source":"on","clients":2,"clock_failures":0,"fallbacks":3,"name":"db1","role":"primary","timeout_ms":10000,"unacknowledged":7,"wait_for":1,"waiting":0}"#
        );
        assert_eq!(
            row("SHOW CHECKS LIKE 'sync%'", 0),
            r#"{"check":"sync-binlog","evidence":"its sync_binlog is 0","remedy":"on db1: SET PERSIST sync_binlog = 1; (--fix does it) | start db1 with --sync-binlog=1","server":"db1","severity":"warning","since":"1970-01-01T00:01:00Z","why":"Transactions may be gone."}"#
        );
        let general = row("SHOW CHECKS", 1);
        assert!(general.contains(r#""remedy":null,"server":null,"severity":"error""#), "{general}");
        assert_eq!(
            row("SHOW CONFIG LIKE 'routing.max_lag'", 0),
            r#"{"key":"routing.max_lag","value":"2s"}"#
        );
        assert_eq!(table("SHOW CONFIG LIKE 'nothing'").rows.len(), 0);
        let events = |query| -> Vec<Cell> {
            table(query).rows.into_iter().map(|mut row| row.swap_remove(0)).collect()
        };
        for (query, numbers) in [
            ("SHOW EVENTS", &[1, 2, 3][..]),
            ("SHOW EVENTS LIMIT 2", &[2, 3]),
            ("SHOW EVENTS LIKE 'lag%'", &[1, 3]),
            ("SHOW EVENTS LIKE 'DB2' LIMIT 1", &[3]),
            ("SHOW EVENTS LIKE '%read-only'", &[2]),
            ("SHOW EVENTS LIMIT 0", &[]),
        ] {
            let numbers: Vec<Cell> = numbers.iter().map(|number| Cell::Number(*number)).collect();
            assert_eq!(events(query), numbers, "{query}");
        }
        let event = row("SHOW EVENTS LIKE 'lag_out'", 0);
        assert!(
            event.starts_with(r#"{"backend":"db2","kind":"lag_out","number":1,"severity":"warning","text":"replica, takes no reads: it lags","time":"20"#)
                && event.ends_with(r#"Z"}"#),
            "{event}"
        );
        assert_eq!(table("HELP").rows.len(), HELP.len());
        assert_eq!(table("SHOW WARNINGS").rows.len(), 0);
        for query in ["EXPLAIN ROUTE SELECT a$ FROM t", "explain route for 'SELECT a$ FROM t';"] {
            let route = row(query, 0);
            assert!(route.contains(r#""destination":"replica""#), "{route}");
            assert!(
                route.contains(r#""reason":"read","rule":null,"servers":"db1","why_none":null"#),
                "{route}"
            );
        }
    }

    #[test]
    fn what_clients_ask_at_their_start() {
        assert_eq!(
            row("select @@version_comment limit 1", 0),
            r#"{"@@version_comment":"rwproxy admin console; HELP lists its statements"}"#
        );
        assert_eq!(
            row("SELECT DATABASE(), USER() LIMIT 1", 0),
            r#"{"DATABASE()":null,"USER()":"admin"}"#
        );
        assert_eq!(row("SELECT @@max_allowed_packet,@@wait_timeout", 0).matches(':').count(), 2);
        assert!(matches!(ask("SET NAMES utf8mb4"), Answer::Ok));
        assert!(matches!(ask("select $$"), Answer::Error(ErrorKind::ER_PARSE_ERROR, _)));
        assert!(matches!(
            ask("SELECT @@nothing"),
            Answer::Error(ErrorKind::ER_UNKNOWN_SYSTEM_VARIABLE, _)
        ));
        assert!(matches!(ask(""), Answer::Error(ErrorKind::ER_EMPTY_QUERY, _)));
    }

    #[test]
    fn sessions_are_killed_by_id() {
        assert!(matches!(ask("KILL SESSION 2147483649"), Answer::Ok));
        assert!(matches!(ask("KILL 5"), Answer::Error(ErrorKind::ER_NO_SUCH_THREAD, _)));
    }

    #[test]
    fn secrets_are_not_shown() {
        let admin = test_support::admin_with_password("geheim");
        let answer = answer_at_once("SHOW CONFIG", &admin);
        assert!(!format!("{answer:?}").contains("geheim"));
    }
}
