//! All that setup may change on a server, as the server tells it: to find that a setup that was cut off
//! ends as one that was not, and that one that was refused has changed nothing.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use crate::support::Flavour;

/// By what it is.
pub type State = BTreeMap<String, String>;

/// What differs from one run to the next by its nature.
const VOLATILE: [&str; 9] = [
    "server_uuid",
    "gtid_executed",
    "gtid_purged",
    "gtid_binlog_pos",
    "gtid_binlog_state",
    "gtid_current_pos",
    "gtid_slave_pos",
    "innodb_buffer_pool_load_status",
    "innodb_undo_tablespaces_active",
];

/// Of a replica's status what is set or must be so.
const CHANNEL: &[&str] = &[
    "Host",
    "Port",
    "User",
    "IO_Running",
    "SQL_Running",
    "Auto_Position",
    "Using_Gtid",
    "SSL_Allowed",
    "SSL_Verify_Server_Cert",
    "Connect_Retry",
    "Retry_Count",
    "Get_Source_public_key",
    "Channel_Name",
    "Last_IO_Error",
    "Last_SQL_Error",
];

pub async fn read(conn: &mut Conn, flavour: Flavour) -> State {
    let mut state = State::new();
    pairs(conn, &mut state, "variable", "SHOW GLOBAL VARIABLES").await;
    for name in VOLATILE {
        state.remove(&format!("variable {name}"));
    }
    let semi_sync = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Rpl_semi_sync_source_status', \
         'Rpl_semi_sync_source_clients', 'Rpl_semi_sync_replica_status', \
         'Rpl_semi_sync_master_status', 'Rpl_semi_sync_master_clients', \
         'Rpl_semi_sync_slave_status')";
    pairs(conn, &mut state, "status", semi_sync).await;
    if flavour == Flavour::MySql {
        let kept =
            "SELECT variable_name, variable_value FROM performance_schema.persisted_variables";
        pairs(conn, &mut state, "persisted", kept).await;
    }
    let plugins = "SELECT plugin_name, plugin_status FROM information_schema.plugins";
    pairs(conn, &mut state, "plugin", plugins).await;
    accounts(conn, &mut state).await;
    channels(conn, &mut state, flavour).await;
    data(conn, &mut state).await;
    state
}

/// The transactions that it has.
pub async fn position(conn: &mut Conn, flavour: Flavour) -> String {
    let variable = match flavour {
        Flavour::MySql => "gtid_executed",
        Flavour::MariaDb => "gtid_current_pos",
    };
    let position = conn.query_first(format!("SELECT @@GLOBAL.{variable}")).await;
    position.expect("a position").expect("a position")
}

async fn pairs(conn: &mut Conn, state: &mut State, what: &str, query: &str) {
    let rows: Vec<(String, Option<String>)> =
        conn.query(query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    for (name, value) in rows {
        state.insert(format!("{what} {name}"), value.unwrap_or_default());
    }
}

/// With their grants. Passwords are tried, not compared: each server salts them by itself.
async fn accounts(conn: &mut Conn, state: &mut State) {
    let query = "SELECT CONCAT(QUOTE(user), '@', QUOTE(host)), CONCAT_WS(' ', plugin, ssl_type) \
                 FROM mysql.user WHERE user <> ''";
    let accounts: Vec<(String, String)> = conn.query(query).await.expect("accounts");
    for (account, kind) in accounts {
        let grants: Vec<String> = match conn.query(format!("SHOW GRANTS FOR {account}")).await {
            Ok(grants) => grants,
            Err(error) => vec![error.to_string()],
        };
        let shown = grants.iter().map(|grant| match grant.split_once(" IDENTIFIED BY PASSWORD") {
            Some((before, _)) => before.to_owned(),
            None => grant.clone(),
        });
        let mut shown: Vec<String> = shown.collect();
        shown.sort();
        state.insert(format!("account {account}"), format!("{kind}: {}", shown.join("; ")));
    }
}

async fn channels(conn: &mut Conn, state: &mut State, flavour: Flavour) {
    let query = match flavour {
        Flavour::MySql => "SHOW REPLICA STATUS",
        Flavour::MariaDb => "SHOW ALL SLAVES STATUS",
    };
    let rows: Vec<Row> = conn.query(query).await.expect("replication");
    for (number, row) in rows.iter().enumerate() {
        for (column, value) in row.columns_ref().iter().zip(0..) {
            let name = column.name_str();
            let short = ["Source_", "Master_", "Replica_", "Slave_"]
                .iter()
                .fold(&*name, |name, prefix| name.strip_prefix(prefix).unwrap_or(name));
            if CHANNEL.contains(&short) {
                let value = row.as_ref(value).map_or(String::new(), Value::as_text);
                state.insert(format!("channel {number} {short}"), value);
            }
        }
    }
}

trait AsText {
    fn as_text(&self) -> String;
}

impl AsText for Value {
    fn as_text(&self) -> String {
        match self {
            Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => other.as_sql(true),
        }
    }
}

/// Schemas, and the rows and the checksum of each table that is the user's.
async fn data(conn: &mut Conn, state: &mut State) {
    let objects = "SELECT CONCAT_WS('.', table_schema, table_name), table_type \
         FROM information_schema.tables \
         WHERE table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')";
    pairs(conn, state, "table", objects).await;
    let others = "SELECT CONCAT('routine ', routine_schema, '.', routine_name), routine_definition \
         FROM information_schema.routines WHERE routine_schema NOT IN ('mysql', 'sys') \
         UNION ALL SELECT CONCAT('trigger ', trigger_schema, '.', trigger_name), action_statement \
         FROM information_schema.triggers WHERE trigger_schema NOT IN ('mysql', 'sys') \
         UNION ALL SELECT CONCAT('schema ', schema_name), default_collation_name \
         FROM information_schema.schemata";
    pairs(conn, state, "object", others).await;
    let tables: Vec<String> = state
        .iter()
        .filter(|(_, kind)| *kind == "BASE TABLE")
        .filter_map(|(name, _)| name.strip_prefix("table ").map(str::to_owned))
        .collect();
    for table in tables {
        let sum: Option<(String, Option<u64>)> =
            conn.query_first(format!("CHECKSUM TABLE {table} EXTENDED")).await.expect("a checksum");
        state.insert(format!("checksum {table}"), format!("{:?}", sum.and_then(|(_, sum)| sum)));
    }
}

/// The differences alone are shown.
pub fn assert_same(
    expected: &BTreeMap<String, State>,
    found: &BTreeMap<String, State>,
    when: &str,
) {
    let none = State::new();
    let mut differences = Vec::new();
    for (server, expected) in expected {
        let found = found.get(server).unwrap_or(&none);
        let keys = expected.keys().chain(found.keys().filter(|key| !expected.contains_key(*key)));
        for key in keys.filter(|key| expected.get(*key) != found.get(*key)) {
            let (before, now) = (expected.get(key), found.get(key));
            differences.push(format!("{server}: {key}: {before:?}, and now {now:?}"));
        }
    }
    assert!(differences.is_empty(), "{when}:\n{}", differences.join("\n"));
}
