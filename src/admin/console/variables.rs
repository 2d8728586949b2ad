//! System variables that clients and drivers ask every server for at their start.

use super::shim::VERSION;
use crate::admin::table::Cell;

enum Value {
    Number(u64),
    Text(&'static str),
}

use Value::{Number, Text};

const VARIABLES: [(&str, Value); 36] = [
    ("auto_increment_increment", Number(1)),
    ("autocommit", Number(1)),
    ("character_set_client", Text("utf8mb4")),
    ("character_set_connection", Text("utf8mb4")),
    ("character_set_database", Text("utf8mb4")),
    ("character_set_results", Text("utf8mb4")),
    ("character_set_server", Text("utf8mb4")),
    ("character_set_system", Text("utf8mb3")),
    ("collation_connection", Text("utf8mb4_general_ci")),
    ("collation_database", Text("utf8mb4_general_ci")),
    ("collation_server", Text("utf8mb4_general_ci")),
    ("init_connect", Text("")),
    ("interactive_timeout", Number(3600)),
    ("license", Text("Apache-2.0")),
    ("lower_case_table_names", Number(0)),
    ("max_allowed_packet", Number(65_536)),
    ("net_buffer_length", Number(16_384)),
    ("net_write_timeout", Number(30)),
    ("performance_schema", Number(0)),
    ("protocol_version", Number(10)),
    ("query_cache_size", Number(0)),
    ("query_cache_type", Text("OFF")),
    ("read_only", Number(0)),
    ("server_id", Number(0)),
    ("socket", Text("")),
    ("sql_mode", Text("")),
    ("system_time_zone", Text("UTC")),
    ("time_zone", Text("SYSTEM")),
    ("transaction_isolation", Text("READ-COMMITTED")),
    ("transaction_read_only", Number(0)),
    ("tx_isolation", Text("READ-COMMITTED")),
    ("tx_read_only", Number(0)),
    ("version", Text(VERSION)),
    ("version_comment", Text("rwproxy admin console; HELP lists its statements")),
    ("version_compile_os", Text("Linux")),
    ("wait_timeout", Number(3600)),
];

impl Value {
    fn cell(&self) -> Cell {
        match *self {
            Number(number) => number.into(),
            Text(text) => text.into(),
        }
    }
}

/// The value of a variable, in any case of letters.
pub fn value(name: &str) -> Option<Cell> {
    let (_, value) = VARIABLES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(value.cell())
}

/// All of them, by name.
pub fn all() -> impl Iterator<Item = (&'static str, Cell)> {
    VARIABLES.iter().map(|(name, value)| (*name, value.cell()))
}
