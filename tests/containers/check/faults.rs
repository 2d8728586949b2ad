//! Faults that statements provoke, and that the statements advised mend.

use crate::support::Flavour;

pub struct Fault {
    /// What is run to provoke it, each on a server.
    pub provoked_by: Vec<(&'static str, Vec<&'static str>)>,
    pub check: &'static str,
    pub server: &'static str,
    pub severity: &'static str,
    /// A part of the evidence.
    pub evidence: &'static str,
}

fn fault(
    check: &'static str,
    server: &'static str,
    severity: &'static str,
    evidence: &'static str,
    statements: &[&'static str],
) -> Fault {
    Fault { provoked_by: vec![(server, statements.to_vec())], check, server, severity, evidence }
}

pub fn all(flavour: Flavour) -> Vec<Fault> {
    let mut faults = of_both(flavour);
    faults.extend(match flavour {
        Flavour::MySql => of_mysql(),
        Flavour::MariaDb => of_mariadb(),
    });
    faults
}

fn of_both(flavour: Flavour) -> Vec<Fault> {
    let is_mysql = flavour == Flavour::MySql;
    let words = |mysql, mariadb| if is_mysql { mysql } else { mariadb };
    let stop = words("STOP REPLICA", "STOP SLAVE");
    let stop_io = words("STOP REPLICA IO_THREAD", "STOP SLAVE IO_THREAD");
    let stop_sql = words("STOP REPLICA SQL_THREAD", "STOP SLAVE SQL_THREAD");
    let start = words("START REPLICA", "START SLAVE");
    let start_sql = words("START REPLICA SQL_THREAD", "START SLAVE SQL_THREAD");
    let filter = words(
        "CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = (logs)",
        "SET GLOBAL replicate_ignore_db = 'logs'",
    );
    let delay = words(
        "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 60",
        "CHANGE MASTER TO MASTER_DELAY = 60",
    );
    let by_file = words(
        "CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 0",
        "CHANGE MASTER TO MASTER_USE_GTID = no",
    );
    let own_write = |then: &'static str| -> Vec<&'static str> {
        let open = "SET GLOBAL super_read_only = OFF";
        let close = "SET GLOBAL super_read_only = ON";
        match is_mysql {
            true => vec!["SET SESSION sql_log_bin = 0", open, then, close],
            false => vec!["SET SESSION sql_log_bin = 0", then],
        }
    };
    vec![
        fault(
            "server-id-duplicate",
            "replica2",
            "error",
            "its server_id is 2",
            &["SET GLOBAL server_id = 2"],
        ),
        fault(
            "server-id-duplicate",
            "replica2",
            "error",
            "its server_id is 1",
            &["SET GLOBAL server_id = 1"],
        ),
        fault(
            "replica-writable",
            "replica1",
            "error",
            "read_only is OFF",
            &["SET GLOBAL read_only = OFF"],
        ),
        fault(
            "primary-read-only",
            "primary",
            "error",
            "read_only is ON",
            &["SET GLOBAL read_only = ON"],
        ),
        fault("replication-receiver", "replica1", "error", "somebody has stopped it", &[stop_io]),
        fault("replication-applier", "replica1", "error", "somebody has stopped it", &[stop_sql]),
        fault("replication-delayed", "replica1", "warning", "60 s behind", &[stop, delay, start]),
        fault("replication-by-file", "replica1", "warning", "by file", &[stop, by_file, start]),
        Fault {
            provoked_by: vec![
                ("primary", vec!["CREATE TABLE app.twice (id INT PRIMARY KEY)"]),
                ("replica1", own_write("INSERT INTO app.twice VALUES (1)")),
                ("primary", vec!["INSERT INTO app.twice VALUES (1)"]),
            ],
            check: "replication-applier",
            server: "replica1",
            severity: "error",
            evidence: "somebody has written on the replica",
        },
        fault(
            "binary-log-format",
            "primary",
            "warning",
            "STATEMENT",
            &["SET GLOBAL binlog_format = STATEMENT"],
        ),
        fault(
            "binary-log-format",
            "replica2",
            "notice",
            "MIXED",
            &[stop_sql, "SET GLOBAL binlog_format = MIXED", start_sql],
        ),
        fault(
            "binary-log-retention",
            "replica1",
            "warning",
            "1h",
            &["SET GLOBAL binlog_expire_logs_seconds = 3600"],
        ),
        fault(
            "sync-binlog",
            "primary",
            "warning",
            "sync_binlog is 0",
            &["SET GLOBAL sync_binlog = 0"],
        ),
        fault(
            "sync-binlog",
            "replica1",
            "notice",
            "sync_binlog is 100",
            &["SET GLOBAL sync_binlog = 100"],
        ),
        fault(
            "flush-log-at-commit",
            "primary",
            "warning",
            "is 2",
            &["SET GLOBAL innodb_flush_log_at_trx_commit = 2"],
        ),
        fault(
            "flush-log-at-commit",
            "replica1",
            "notice",
            "is 0",
            &["SET GLOBAL innodb_flush_log_at_trx_commit = 0"],
        ),
        fault(
            "sql-mode-differs",
            "replica1",
            "warning",
            "sql_mode is ",
            &["SET GLOBAL sql_mode = 'ANSI'"],
        ),
        fault(
            "time-zone-differs",
            "replica1",
            "warning",
            "'+03:00'",
            &["SET GLOBAL time_zone = '+03:00'"],
        ),
        fault(
            "character-set-differs",
            "replica1",
            "warning",
            "_bin'",
            &[words(
                "SET GLOBAL collation_server = 'utf8mb4_bin'",
                "SET GLOBAL collation_server = 'latin1_bin'",
            )],
        ),
        fault(
            "packet-limit-smaller",
            "replica1",
            "warning",
            "'1048576'",
            &["SET GLOBAL max_allowed_packet = 1048576"],
        ),
        fault(
            "setting-differs",
            "replica1",
            "warning",
            "group_concat_max_len is '64'",
            &["SET GLOBAL group_concat_max_len = 64"],
        ),
        fault(
            "accounts-differ",
            "replica1",
            "warning",
            "'stray'@'10.%'",
            &own_write("CREATE USER stray@'10.%'"),
        ),
        fault(
            "accounts-differ",
            "replica1",
            "warning",
            "it lacks accounts that the primary has: 'app'@'%'",
            &own_write("DROP USER app@'%'"),
        ),
        fault(
            "accounts-differ",
            "replica1",
            "warning",
            "these may do something else there: 'app'@'%'",
            &own_write("GRANT PROCESS ON *.* TO app@'%'"),
        ),
        fault(
            "accounts-differ",
            "replica1",
            words("notice", "warning"),
            "'app'@'%'",
            &own_write("ALTER USER app@'%' IDENTIFIED BY 'other'"),
        ),
        fault(
            "account-host",
            "primary",
            "notice",
            "'shut'@'192.0.2.1'",
            &["CREATE USER shut@'192.0.2.1' IDENTIFIED BY 'x'"],
        ),
        fault(
            "monitor-grants",
            "primary",
            "warning",
            "lacks SELECT on mysql.db",
            &["REVOKE SELECT ON mysql.db FROM rwproxy@'%'"],
        ),
        fault(
            "monitor-grants",
            "primary",
            "warning",
            "needs none of INSERT",
            &["GRANT INSERT ON *.* TO rwproxy@'%'"],
        ),
        fault(
            "monitor-grants",
            "primary",
            "notice",
            "needs none of SELECT",
            &["GRANT SELECT ON *.* TO rwproxy@'%'"],
        ),
        fault(
            "replication-grants",
            "primary",
            "error",
            "lacks REPLICATION SLAVE",
            &["REVOKE REPLICATION SLAVE ON *.* FROM replication@'%'"],
        ),
        fault(
            "replication-grants",
            "primary",
            "warning",
            "needs none of INSERT",
            &["GRANT INSERT ON *.* TO replication@'%'"],
        ),
        fault(
            "table-without-primary-key",
            "primary",
            "warning",
            "app.keyless",
            &["CREATE TABLE app.keyless (a INT)", "INSERT INTO app.keyless VALUES (1), (2)"],
        ),
        fault(
            "table-not-transactional",
            "primary",
            "warning",
            "app.unsafe (MyISAM)",
            &["CREATE TABLE app.unsafe (id INT PRIMARY KEY) ENGINE = MyISAM"],
        ),
        fault("event-on-replica", "replica1", "warning", "app.nightly", &{
            let mut told = own_write("CREATE EVENT app.nightly ON SCHEDULE EVERY 1 DAY DO DO 1");
            told.push("SET GLOBAL event_scheduler = ON");
            told
        }),
        fault("replication-filters", "replica1", "warning", "logs", &[stop_sql, filter, start_sql]),
        fault(
            "semi-sync-replica",
            "replica1",
            "warning",
            "is OFF",
            &[words(
                "SET GLOBAL rpl_semi_sync_replica_enabled = OFF",
                "SET GLOBAL rpl_semi_sync_slave_enabled = OFF",
            )],
        ),
        fault(
            "semi-sync-source",
            "primary",
            "warning",
            "would acknowledge",
            &[words(
                "SET GLOBAL rpl_semi_sync_source_enabled = OFF",
                "SET GLOBAL rpl_semi_sync_master_enabled = OFF",
            )],
        ),
        fault(
            "setting-forgotten",
            "replica2",
            "warning",
            "binlog_expire_logs_seconds = 864000",
            &["SET GLOBAL binlog_expire_logs_seconds = 864000"],
        ),
    ]
}

fn of_mysql() -> Vec<Fault> {
    vec![
        fault(
            "super-read-only",
            "replica1",
            "warning",
            "super_read_only OFF",
            &["SET GLOBAL super_read_only = OFF"],
        ),
        fault(
            "read-only-after-restart",
            "replica1",
            "warning",
            "until it is started again",
            &["RESET PERSIST super_read_only"],
        ),
        fault(
            "gtid-mode",
            "replica1",
            "error",
            "ON_PERMISSIVE",
            &["SET GLOBAL gtid_mode = ON_PERMISSIVE"],
        ),
        fault(
            "errant-transactions",
            "replica1",
            "error",
            "the primary",
            &[
                "SET GLOBAL super_read_only = OFF",
                "CREATE DATABASE errant",
                "DROP DATABASE errant",
                "SET GLOBAL super_read_only = ON",
            ],
        ),
        fault(
            "setting-forgotten",
            "replica1",
            "warning",
            "binlog_format = ROW",
            &[
                "STOP REPLICA SQL_THREAD",
                "SET GLOBAL binlog_format = ROW",
                "START REPLICA SQL_THREAD",
            ],
        ),
        fault("server-id-unset", "primary", "error", "is 0", &["SET GLOBAL server_id = 0"]),
        fault("server-id-unset", "replica2", "error", "is 0", &["SET GLOBAL server_id = 0"]),
        fault(
            "replication-password",
            "replica2",
            "warning",
            "without the source's public key",
            &[
                "STOP REPLICA",
                "CHANGE REPLICATION SOURCE TO SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 0",
                "START REPLICA",
            ],
        ),
        // The source has forgotten the password that it knew in the clear.
        Fault {
            provoked_by: vec![
                ("primary", vec!["FLUSH NO_WRITE_TO_BINLOG PRIVILEGES"]),
                (
                    "replica1",
                    vec![
                        "STOP REPLICA",
                        "CHANGE REPLICATION SOURCE TO SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 0",
                        "START REPLICA",
                    ],
                ),
            ],
            check: "replication-receiver",
            server: "replica1",
            severity: "error",
            evidence: "sends no password in the clear",
        },
    ]
}

fn of_mariadb() -> Vec<Fault> {
    vec![fault(
        "gtid-strict-mode",
        "replica1",
        "warning",
        "is OFF",
        &["SET GLOBAL gtid_strict_mode = OFF"],
    )]
}
