//! What a server is asked, by flavour and version, and how its answers are read. Pure.

pub mod galera;
pub mod group_replication;
pub mod semi_sync;

use std::sync::Arc;
use std::time::Duration;

use crate::backend::sql_client::Rows;
use crate::gtid::{BinlogState, DomainPositions, GtidSet};
use crate::routing::topology::Thread;
use crate::wire::{Flavour, ServerVersion};

use super::observation::{Channel, Gtids, Identity, ReadOnly};
use super::position::FilePosition;

/// How long a server has been running.
pub const UPTIME: &str = "SHOW GLOBAL STATUS LIKE 'Uptime'";

/// Nothing, if it cannot be read.
pub fn read_uptime(rows: &Rows) -> Duration {
    Duration::from_secs(rows.u64(0, "Value").unwrap_or(0))
}

/// One row of system variables.
pub fn variables(version: &ServerVersion) -> &'static str {
    match version.flavour {
        Flavour::MySql => {
            "SELECT @@global.read_only AS read_only, @@global.super_read_only AS super_read_only, \
             @@global.server_uuid AS server_uuid, @@global.server_id AS server_id, \
             @@global.gtid_mode AS gtid_mode, @@global.gtid_owned AS gtid_owned, \
             @@global.gtid_executed AS gtid_executed, \
             @@global.log_bin AS log_bin, @@global.max_connections AS max_connections"
        }
        Flavour::MariaDb => {
            "SELECT @@global.read_only AS read_only, @@global.hostname AS hostname, \
             @@global.port AS port, @@global.server_id AS server_id, \
             @@global.log_bin AS log_bin, @@global.gtid_binlog_pos AS gtid_binlog_pos, \
             @@global.gtid_binlog_state AS gtid_binlog_state, \
             @@global.gtid_slave_pos AS gtid_slave_pos, \
             @@global.max_connections AS max_connections"
        }
    }
}

/// The channels by which a server replicates, one row each. SHOW has in one answer, under one
/// privilege and in every version what performance_schema spreads over six tables.
pub fn replication(version: &ServerVersion) -> &'static str {
    match version.flavour {
        Flavour::MariaDb => "SHOW ALL SLAVES STATUS",
        // SHOW SLAVE STATUS went with 8.4.
        Flavour::MySql if (version.major, version.minor, version.patch) >= (8, 0, 22) => {
            "SHOW REPLICA STATUS"
        }
        Flavour::MySql => "SHOW SLAVE STATUS",
    }
}

/// How semi-synchronous replication is set, and whether a server belongs to a group: asked now and
/// then, for what follows from it to be asked at each probe only where there is such a thing.
pub fn settings() -> String {
    let names: Vec<&str> =
        group_replication::SETTINGS.into_iter().chain(galera::SETTINGS).collect();
    let names = names.join("', '");
    format!(
        "SHOW GLOBAL VARIABLES WHERE Variable_name LIKE 'rpl\\_semi\\_sync\\_%' \
         OR Variable_name IN ('{names}')"
    )
}

/// A variable's value in the rows of SHOW VARIABLES or SHOW STATUS. Names are compared without
/// regard to case.
fn value<'a>(rows: &'a Rows, name: &str) -> Option<&'a str> {
    let is_it = |row: &usize| {
        rows.str(*row, "Variable_name").is_some_and(|found| found.eq_ignore_ascii_case(name))
    };
    let row = (0..rows.len()).find(is_it)?;
    Some(rows.str(row, "Value").unwrap_or_default())
}

/// Where the own binary log ends, and what is left out of it.
pub fn binary_log(version: &ServerVersion) -> &'static str {
    match version.flavour {
        // SHOW MASTER STATUS went with 8.4, its successor came with 8.2.
        Flavour::MySql if version.at_least(8, 2) => "SHOW BINARY LOG STATUS",
        _ => "SHOW MASTER STATUS",
    }
}

/// The statement that gives the monitor's account what the queries above need.
pub fn grant(version: &ServerVersion, user: &str) -> String {
    let privileges = match version.flavour {
        Flavour::MariaDb if version.at_least(10, 5) => "BINLOG MONITOR, SLAVE MONITOR",
        _ => "REPLICATION CLIENT",
    };
    format!("GRANT {privileges} ON *.* TO '{user}'@'%'")
}

/// What [`variables`] answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variables {
    pub identity: Identity,
    pub read_only: ReadOnly,
    pub gtids: Gtids,
    /// Asked for ahead of the others, which have what has ended since.
    pub committing: GtidSet,
    pub has_binary_log: bool,
    pub max_connections: u32,
}

/// An answer that lacks what was asked for, or has it in a form that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server's answer is not understood: {0}")]
pub struct Unreadable(String);

pub fn read_variables(rows: &Rows, version: &ServerVersion) -> Result<Variables, Unreadable> {
    let missing = |column: &str| Unreadable(format!("no {column}"));
    let text = |column: &str| rows.str(0, column).ok_or_else(|| missing(column));
    let number = |column: &str| -> Result<u32, Unreadable> {
        text(column)?.parse().map_err(|_| missing(column))
    };
    let has_binary_log = is_on(text("log_bin")?);
    let instance = match version.flavour {
        Flavour::MySql => text("server_uuid")?.to_ascii_lowercase(),
        Flavour::MariaDb => {
            format!("{}:{} id {}", text("hostname")?, number("port")?, number("server_id")?)
        }
    };
    let read_only = match (is_on(text("read_only")?), rows.str(0, "super_read_only").map(is_on)) {
        (_, Some(true)) => ReadOnly::Super,
        (true, _) => ReadOnly::On,
        (false, _) => ReadOnly::Off,
    };
    let gtids = match version.flavour {
        Flavour::MySql if text("gtid_mode")? != "ON" => Gtids::None,
        Flavour::MySql => {
            let set = GtidSet::parse(text("gtid_executed")?);
            Gtids::MySql(Arc::new(set.map_err(|error| Unreadable(error.to_string()))?))
        }
        Flavour::MariaDb => {
            let position = |column: &str| {
                DomainPositions::parse(rows.str(0, column).unwrap_or_default())
                    .map_err(|error| Unreadable(format!("{column}: {error}")))
            };
            let state = BinlogState::parse(rows.str(0, "gtid_binlog_state").unwrap_or_default())
                .map_err(|error| Unreadable(error.to_string()))?;
            Gtids::MariaDb {
                logged: position("gtid_binlog_pos")?,
                replicated: position("gtid_slave_pos")?,
                state: has_binary_log.then_some(state),
            }
        }
    };
    let committing = GtidSet::parse(rows.str(0, "gtid_owned").unwrap_or_default())
        .map_err(|error| Unreadable(format!("gtid_owned: {error}")))?;
    Ok(Variables {
        identity: Identity { instance: instance.into(), server_id: number("server_id")? },
        read_only,
        gtids,
        committing,
        has_binary_log,
        max_connections: number("max_connections")?,
    })
}

/// MariaDB 12 has more values of `read_only` than two; all but OFF keep writers out.
fn is_on(value: &str) -> bool {
    !matches!(value, "0" | "OFF" | "off" | "")
}

pub fn read_channels(rows: &Rows) -> Vec<Channel> {
    (0..rows.len()).filter_map(|row| read_channel(rows, row)).collect()
}

/// One channel; `None` for those of Group Replication, which have no source.
fn read_channel(rows: &Rows, row: usize) -> Option<Channel> {
    // MySQL 8.0.22 renamed the columns; MariaDB has the old names.
    let text = |new: &str, old: &str| rows.str(row, new).or_else(|| rows.str(row, old));
    let number = |new: &str, old: &str| text(new, old).and_then(|text| text.parse::<u64>().ok());
    let error = |column: &str| {
        rows.str(row, column).filter(|text| !text.is_empty()).map(|text| Arc::from(steady(text)))
    };
    let host = text("Source_Host", "Master_Host").filter(|host| !host.is_empty())?;
    let is_group =
        rows.str(row, "Channel_Name").is_some_and(|name| name.starts_with("group_replication_"));
    if is_group {
        return None;
    }
    let thread = |state: Option<&str>| match state {
        Some("Yes") => Thread::Running,
        Some("Connecting" | "Preparing") => Thread::Connecting,
        _ => Thread::Stopped,
    };
    let file = text("Relay_Source_Log_File", "Relay_Master_Log_File");
    let offset = number("Exec_Source_Log_Pos", "Exec_Master_Log_Pos");
    Some(Channel {
        host: host.into(),
        port: number("Source_Port", "Master_Port").and_then(|port| port.try_into().ok())?,
        source_uuid: text("Source_UUID", "Master_UUID")
            .filter(|uuid| !uuid.is_empty())
            .map(|uuid| uuid.to_ascii_lowercase().into()),
        source_id: number("Source_Server_Id", "Master_Server_Id")
            .filter(|id| *id != 0)
            .and_then(|id| id.try_into().ok()),
        receiver: thread(text("Replica_IO_Running", "Slave_IO_Running")),
        receiver_error: error("Last_IO_Error"),
        applier: thread(text("Replica_SQL_Running", "Slave_SQL_Running")),
        applier_error: error("Last_SQL_Error"),
        seconds_behind: number("Seconds_Behind_Source", "Seconds_Behind_Master"),
        delay: number("SQL_Delay", "SQL_Delay").unwrap_or(0),
        applied_file: file.zip(offset).and_then(|(file, offset)| FilePosition::new(file, offset)),
    })
}

/// An error's text without the attempts that it counts, so that a repeated attempt is no news:
/// `retry-time: 60 retries: 5 message:` and `This was attempt 5/10, with a delay of …`.
fn steady(text: &str) -> String {
    let without = |text: String, mark: &str| match text.split_once(mark) {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '/');
            format!("{before}{}", rest.trim_start_matches(", "))
        }
        None => text,
    };
    let text = without(text.to_owned(), "  retries: ");
    let text = without(text, " retries: ");
    without(text, "This was attempt ")
}

pub fn read_binary_log(rows: &Rows) -> Option<FilePosition> {
    FilePosition::new(rows.str(0, "File")?, rows.u64(0, "Position")?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn rows(columns: &[(&str, Option<&str>)]) -> Rows {
        Rows {
            columns: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            rows: vec![columns.iter().map(|(_, value)| value.map(Into::into)).collect()],
            affected_rows: 0,
        }
    }

    /// An answer of several rows.
    pub fn table<const N: usize>(columns: &[&str; N], rows: &[[&str; N]]) -> Rows {
        let read = |row: &[&str; N]| row.iter().map(|value| Some((*value).into())).collect();
        Rows {
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            rows: rows.iter().map(read).collect(),
            affected_rows: 0,
        }
    }

    /// The answer of SHOW VARIABLES or SHOW STATUS.
    pub fn pairs(pairs: &[(&str, &str)]) -> Rows {
        let rows: Vec<[&str; 2]> = pairs.iter().map(|(name, value)| [*name, *value]).collect();
        table(&["Variable_name", "Value"], &rows)
    }

    fn version(text: &str) -> ServerVersion {
        ServerVersion::parse(text)
    }

    #[test]
    fn statements_by_version() {
        let table = [
            ("5.7.44", "SHOW SLAVE STATUS", "SHOW MASTER STATUS"),
            ("8.0.21", "SHOW SLAVE STATUS", "SHOW MASTER STATUS"),
            ("8.0.22", "SHOW REPLICA STATUS", "SHOW MASTER STATUS"),
            ("8.4.0", "SHOW REPLICA STATUS", "SHOW BINARY LOG STATUS"),
            ("9.7.4", "SHOW REPLICA STATUS", "SHOW BINARY LOG STATUS"),
            ("10.11.6-MariaDB", "SHOW ALL SLAVES STATUS", "SHOW MASTER STATUS"),
        ];
        for (text, replication_sql, log) in table {
            let version = version(text);
            assert_eq!(replication(&version), replication_sql, "{text}");
            assert_eq!(binary_log(&version), log, "{text}");
        }
        assert!(grant(&version("11.8.1-MariaDB"), "rwproxy").contains("SLAVE MONITOR"));
        assert!(grant(&version("8.4.0"), "rwproxy").contains("REPLICATION CLIENT"));
    }

    #[test]
    fn variables_of_mysql() {
        let answer = |read_only, super_read_only, gtid_mode| {
            rows(&[
                ("read_only", Some(read_only)),
                ("super_read_only", Some(super_read_only)),
                ("server_uuid", Some("E1F4411B-e76c-11f1-a936-0242c0a8a003")),
                ("server_id", Some("2")),
                ("gtid_mode", Some(gtid_mode)),
                ("gtid_owned", Some("e252d4fc-e76c-11f1-9ebb-0242c0a8a004:18#11:19#12")),
                ("gtid_executed", Some("e252d4fc-e76c-11f1-9ebb-0242c0a8a004:1-17")),
                ("log_bin", Some("1")),
                ("max_connections", Some("500")),
            ])
        };
        let read = |rows: &Rows| read_variables(rows, &version("9.7.4"));
        let found = read(&answer("1", "1", "ON")).expect("as MySQL 9.7 answers");
        assert_eq!(&*found.identity.instance, "e1f4411b-e76c-11f1-a936-0242c0a8a003");
        assert_eq!(found.read_only, ReadOnly::Super);
        assert!(matches!(found.gtids, Gtids::MySql(_)));
        assert_eq!(found.committing.to_string(), "e252d4fc-e76c-11f1-9ebb-0242c0a8a004:18-19");
        let found = read(&answer("1", "0", "ON_PERMISSIVE")).expect("without GTIDs");
        assert_eq!((found.read_only, found.gtids), (ReadOnly::On, Gtids::None));
        let found = read(&answer("0", "0", "ON")).expect("writable");
        assert_eq!(found.read_only, ReadOnly::Off);
        assert!(read(&rows(&[("read_only", Some("0"))])).is_err());
        assert!(read(&Rows::default()).is_err());
    }

    #[test]
    fn variables_of_mariadb() {
        let answer = |log_bin| {
            rows(&[
                ("read_only", Some("1")),
                ("hostname", Some("replica1")),
                ("port", Some("3306")),
                ("server_id", Some("2")),
                ("log_bin", Some(log_bin)),
                ("gtid_binlog_pos", Some("0-1-16")),
                ("gtid_binlog_state", Some("0-1-16,0-2-3")),
                ("gtid_slave_pos", Some("0-1-15")),
                ("max_connections", Some("151")),
            ])
        };
        let read = |rows: &Rows| read_variables(rows, &version("10.11.19-MariaDB"));
        let found = read(&answer("1")).expect("as MariaDB 10.11 answers");
        assert_eq!(&*found.identity.instance, "replica1:3306 id 2");
        assert_eq!(found.read_only, ReadOnly::On);
        let Gtids::MariaDb { replicated, state: Some(_), .. } = found.gtids else { panic!() };
        assert_eq!(replicated.to_string(), "0-1-15");
        let found = read(&answer("0")).expect("without a binary log");
        assert!(matches!(found.gtids, Gtids::MariaDb { state: None, .. }));
    }

    #[test]
    fn channels_under_both_sets_of_names() {
        let new = rows(&[
            ("Source_Host", Some("primary")),
            ("Source_Port", Some("3306")),
            ("Relay_Source_Log_File", Some("binlog.000001")),
            ("Replica_IO_Running", Some("Connecting")),
            ("Replica_SQL_Running", Some("No")),
            ("Exec_Source_Log_Pos", Some("4249")),
            ("Seconds_Behind_Source", None),
            (
                "Last_IO_Error",
                Some(
                    "Error connecting to source 'replication@primary:3306'. This was attempt 3/10, \
                     with a delay of 1 seconds between attempts. Message: refused",
                ),
            ),
            ("Last_SQL_Error", Some("")),
            ("Source_Server_Id", Some("1")),
            ("Source_UUID", Some("e252d4fc-e76c-11f1-9ebb-0242c0a8a004")),
            ("SQL_Delay", Some("30")),
            ("Channel_Name", Some("")),
        ]);
        let [channel] = &read_channels(&new)[..] else { panic!() };
        assert_eq!((&*channel.host, channel.port), ("primary", 3306));
        assert_eq!((channel.receiver, channel.applier), (Thread::Connecting, Thread::Stopped));
        assert_eq!((channel.seconds_behind, channel.delay), (None, 30));
        assert_eq!(channel.applied_file, FilePosition::new("binlog.000001", 4249));
        assert_eq!(
            channel.receiver_error.as_deref(),
            Some(
                "Error connecting to source 'replication@primary:3306'. with a delay of 1 seconds \
                 between attempts. Message: refused"
            )
        );
        assert_eq!(channel.applier_error, None);

        let old = rows(&[
            ("Connection_name", Some("")),
            ("Master_Host", Some("primary")),
            ("Master_Port", Some("3306")),
            ("Slave_IO_Running", Some("Yes")),
            ("Slave_SQL_Running", Some("Yes")),
            ("Seconds_Behind_Master", Some("7")),
            ("Master_Server_Id", Some("0")),
            ("Master_UUID", Some("")),
        ]);
        let [channel] = &read_channels(&old)[..] else { panic!() };
        assert_eq!((channel.receiver, channel.applier), (Thread::Running, Thread::Running));
        assert_eq!((channel.seconds_behind, channel.source_id), (Some(7), None));
        assert_eq!(channel.source_uuid, None);

        let group = rows(&[
            ("Source_Host", Some("x")),
            ("Source_Port", Some("3306")),
            ("Channel_Name", Some("group_replication_applier")),
        ]);
        assert_eq!(read_channels(&group), []);
        assert_eq!(read_channels(&Rows::default()), []);
    }

    #[test]
    fn errors_without_their_counters() {
        let old =
            "error connecting to master 'r@db1:3306' - retry-time: 60  retries: 12  message: x";
        let later = old.replace("12", "13");
        assert_eq!(steady(old), steady(&later));
        assert_eq!(steady("Duplicate entry '5'"), "Duplicate entry '5'");
    }
}
