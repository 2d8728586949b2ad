//! System variables: which of them sessions carry along from connection to connection, and what
//! reading the others means.

use super::Dialect;
use super::functions::{ALWAYS, NEVER, Since};
use super::lexer::VariableScope;
use crate::wire::Flavour;

/// What reading a system variable means for where its statement may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reading {
    /// The session's own setting, restored on every connection.
    Restored,
    /// Tells about the server, or about a setting that servers may have different defaults for.
    Server,
    /// Only the session's own connection knows it.
    Connection,
    Diagnostics,
    LastInsertId,
    TransactionReadOnly,
}

/// A session variable that is brought along when a session changes its connection.
#[derive(Debug, Clone, Copy)]
pub struct SessionVariable {
    pub name: &'static str,
    mysql: (Since, Since),
    mariadb: Since,
    /// A session may read it on any server: its value is made by the session, or its default is
    /// the same on servers that replicate from each other in any sane setup.
    readable: bool,
}

const BEFORE_8: (Since, Since) = (ALWAYS, 80_000);
const ANY: (Since, Since) = (ALWAYS, NEVER);
const FROM_8: (Since, Since) = (80_000, NEVER);
const NONE: (Since, Since) = (NEVER, NEVER);

const fn readable(name: &'static str, mysql: (Since, Since), mariadb: Since) -> SessionVariable {
    SessionVariable { name, mysql, mariadb, readable: true }
}

const fn carried(name: &'static str, mysql: (Since, Since), mariadb: Since) -> SessionVariable {
    SessionVariable { name, mysql, mariadb, readable: false }
}

/// The session variables that are restored, in alphabetical order. Not here: what no SET can
/// bring back (`insert_id`, `pseudo_*`), what a replica must not get (`sql_log_bin`, `gtid_next`,
/// [`ACCESS_MODE`]), and those of `session_track_*` that belong to the proxy.
#[rustfmt::skip]
pub const SESSION_VARIABLES: &[SessionVariable] = &[
    carried("auto_increment_increment", ANY, ALWAYS),
    carried("auto_increment_offset", ANY, ALWAYS),
    readable("autocommit", ANY, ALWAYS),
    carried("big_tables", ANY, ALWAYS),
    readable("character_set_client", ANY, ALWAYS),
    carried("character_set_collations", NONE, 110_200),
    readable("character_set_connection", ANY, ALWAYS),
    readable("character_set_results", ANY, ALWAYS),
    carried("character_set_server", ANY, ALWAYS),
    readable("collation_connection", ANY, ALWAYS),
    carried("collation_server", ANY, ALWAYS),
    carried("cte_max_recursion_depth", FROM_8, NEVER),
    carried("default_collation_for_utf8mb4", FROM_8, NEVER),
    carried("default_storage_engine", ANY, ALWAYS),
    readable("default_week_format", ANY, ALWAYS),
    readable("div_precision_increment", ANY, ALWAYS),
    carried("end_markers_in_json", ANY, NEVER),
    carried("eq_range_index_dive_limit", ANY, ALWAYS),
    carried("explain_format", (80_032, NEVER), NEVER),
    readable("foreign_key_checks", ANY, ALWAYS),
    readable("group_concat_max_len", ANY, ALWAYS),
    carried("idle_readonly_transaction_timeout", NONE, ALWAYS),
    carried("idle_transaction_timeout", NONE, ALWAYS),
    carried("idle_write_transaction_timeout", NONE, ALWAYS),
    carried("information_schema_stats_expiry", FROM_8, NEVER),
    carried("innodb_lock_wait_timeout", ANY, ALWAYS),
    carried("innodb_strict_mode", ANY, ALWAYS),
    carried("interactive_timeout", ANY, ALWAYS),
    carried("join_buffer_size", ANY, ALWAYS),
    readable("lc_messages", ANY, ALWAYS),
    readable("lc_time_names", ANY, ALWAYS),
    carried("lock_wait_timeout", ANY, ALWAYS),
    carried("long_query_time", ANY, ALWAYS),
    carried("max_error_count", ANY, ALWAYS),
    readable("max_execution_time", ANY, NEVER),
    carried("max_heap_table_size", ANY, ALWAYS),
    carried("max_join_size", ANY, ALWAYS),
    carried("max_length_for_sort_data", ANY, ALWAYS),
    carried("max_points_in_geometry", ANY, NEVER),
    carried("max_recursive_iterations", NONE, ALWAYS),
    carried("max_seeks_for_key", ANY, ALWAYS),
    carried("max_sort_length", ANY, ALWAYS),
    carried("max_sp_recursion_depth", ANY, ALWAYS),
    readable("max_statement_time", NONE, ALWAYS),
    carried("net_read_timeout", ANY, ALWAYS),
    carried("net_retry_count", ANY, ALWAYS),
    carried("net_write_timeout", ANY, ALWAYS),
    carried("note_verbosity", NONE, 100_606),
    carried("old_mode", NONE, ALWAYS),
    carried("optimizer_prune_level", ANY, ALWAYS),
    carried("optimizer_search_depth", ANY, ALWAYS),
    carried("optimizer_switch", ANY, ALWAYS),
    carried("optimizer_use_condition_selectivity", NONE, ALWAYS),
    carried("preload_buffer_size", ANY, ALWAYS),
    carried("print_identified_with_as_hex", FROM_8, NEVER),
    carried("range_alloc_block_size", ANY, ALWAYS),
    carried("read_buffer_size", ANY, ALWAYS),
    carried("read_rnd_buffer_size", ANY, ALWAYS),
    readable("resultset_metadata", FROM_8, NEVER),
    carried("session_track_state_change", ANY, ALWAYS),
    carried("session_track_transaction_info", ANY, ALWAYS),
    carried("show_create_table_skip_secondary_engine", FROM_8, NEVER),
    carried("sort_buffer_size", ANY, ALWAYS),
    readable("sql_auto_is_null", ANY, ALWAYS),
    readable("sql_big_selects", ANY, ALWAYS),
    readable("sql_buffer_result", ANY, ALWAYS),
    carried("sql_generate_invisible_primary_key", FROM_8, NEVER),
    readable("sql_mode", ANY, ALWAYS),
    readable("sql_notes", ANY, ALWAYS),
    readable("sql_quote_show_create", ANY, ALWAYS),
    carried("sql_require_primary_key", FROM_8, NEVER),
    readable("sql_safe_updates", ANY, ALWAYS),
    readable("sql_select_limit", ANY, ALWAYS),
    readable("sql_warnings", ANY, ALWAYS),
    carried("standard_compliant_cte", NONE, ALWAYS),
    readable("time_zone", ANY, ALWAYS),
    carried("tmp_table_size", ANY, ALWAYS),
    readable("transaction_isolation", ANY, 110_101),
    readable("tx_isolation", BEFORE_8, ALWAYS),
    readable("unique_checks", ANY, ALWAYS),
    carried("updatable_views_with_limit", ANY, ALWAYS),
    carried("wait_timeout", ANY, ALWAYS),
    carried("windowing_use_high_precision", FROM_8, NEVER),
];

/// The transaction access mode of the session, by its names. It is restored on connections to the
/// primary alone: those to replicas are READ ONLY for good.
pub const ACCESS_MODE: [&str; 2] = ["transaction_read_only", "tx_read_only"];

/// Variables whose value only the session's own connection knows. All others that are not
/// restored are about the server.
#[rustfmt::skip]
const CONNECTION_VARIABLES: &[&str] = &[
    "gtid_domain_id", "gtid_next", "gtid_seq_no", "insert_id", "last_gtid", "profiling", "pseudo_slave_mode",
    "pseudo_thread_id", "rand_seed1", "rand_seed2", "skip_parallel_replication", "sql_log_bin",
    "sql_log_off", "transaction_allow_batching",
];

/// Finds a restored session variable by name, whatever its case.
pub fn session_variable(name: &[u8]) -> Option<&'static SessionVariable> {
    let mut low = 0;
    let mut high = SESSION_VARIABLES.len();
    while low < high {
        let middle = (low + high) / 2;
        let candidate = &SESSION_VARIABLES[middle];
        let order = candidate.name.bytes().cmp(name.iter().map(|byte| byte.to_ascii_lowercase()));
        match order {
            std::cmp::Ordering::Equal => return Some(candidate),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    None
}

impl SessionVariable {
    /// Whether its value, a switch, makes statements depend on those before them on the same
    /// connection: under `sql_auto_is_null` a comparison finds the last insert id.
    pub fn ties_when_on(&self) -> bool {
        self.name == "sql_auto_is_null"
    }

    /// Whether an assignment changes a part of the value and leaves the rest.
    pub fn adds_up(&self) -> bool {
        self.name == "optimizer_switch"
    }

    /// Whether a server of this dialect has it. With the version unknown only what has always
    /// been there is known.
    pub fn exists_in(&self, dialect: Dialect) -> bool {
        match dialect.flavour {
            Flavour::MySql => (self.mysql.0..self.mysql.1).contains(&dialect.version),
            Flavour::MariaDb => self.mariadb != NEVER && self.mariadb <= dialect.version,
        }
    }
}

/// The restored session variables that a server of this dialect has: what its session tracking
/// is to be asked for.
pub fn restored(dialect: Dialect) -> impl Iterator<Item = &'static str> {
    SESSION_VARIABLES
        .iter()
        .filter(move |variable| variable.exists_in(dialect))
        .map(|variable| variable.name)
}

/// Whether `@@name` shows what the proxy has set for its own ends: what session tracking tells of.
pub fn shows_tracking(name: &[u8]) -> bool {
    ["session_track_schema", "session_track_system_variables", "session_track_gtids"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// What reading `@@name` means.
pub fn reading(scope: VariableScope, name: &[u8]) -> Reading {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match name.first().map(u8::to_ascii_lowercase) {
        Some(b'w') if is("warning_count") => return Reading::Diagnostics,
        Some(b'e') if is("error_count") => return Reading::Diagnostics,
        Some(b'i') if is("identity") => return Reading::LastInsertId,
        Some(b'l') if is("last_insert_id") => return Reading::LastInsertId,
        Some(b't') if is("transaction_read_only") || is("tx_read_only") => {
            return Reading::TransactionReadOnly;
        }
        _ => {}
    }
    if matches!(scope, VariableScope::Global | VariableScope::Persist) {
        return Reading::Server;
    }
    match session_variable(name) {
        Some(variable) if variable.readable => Reading::Restored,
        Some(_) => Reading::Server,
        None if CONNECTION_VARIABLES.iter().any(|known| is(known)) => Reading::Connection,
        None => Reading::Server,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_every_name_is_found() {
        assert!(SESSION_VARIABLES.is_sorted_by(|a, b| a.name < b.name));
        for variable in SESSION_VARIABLES {
            let upper = variable.name.to_ascii_uppercase();
            let found = session_variable(upper.as_bytes()).expect("in the table");
            assert_eq!(found.name, variable.name);
        }
    }

    #[test]
    fn reading_by_name_and_scope() {
        let table = [
            (VariableScope::Unspecified, "SQL_MODE", Reading::Restored),
            (VariableScope::Session, "autocommit", Reading::Restored),
            (VariableScope::Global, "autocommit", Reading::Server),
            (VariableScope::Unspecified, "hostname", Reading::Server),
            (VariableScope::Session, "auto_increment_increment", Reading::Server),
            (VariableScope::Unspecified, "identity", Reading::LastInsertId),
            (VariableScope::Global, "tx_read_only", Reading::TransactionReadOnly),
            (VariableScope::Unspecified, "warning_count", Reading::Diagnostics),
            (VariableScope::Session, "gtid_next", Reading::Connection),
            (VariableScope::Unspecified, "", Reading::Server),
        ];
        for (scope, name, expected) in table {
            assert_eq!(reading(scope, name.as_bytes()), expected, "{name}");
        }
    }
}
