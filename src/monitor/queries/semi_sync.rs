//! Semi-synchronous replication: what a server is asked, and how its answers are read.

use std::time::Duration;

use super::{is_on, value};
use crate::backend::sql_client::Rows;
use crate::routing::semi_sync::{Replica, SemiSync, Source};

/// State and counters of semi-synchronous replication, and how it is set.
pub const STATUS: &str = "SHOW GLOBAL STATUS LIKE 'Rpl\\_semi\\_sync\\_%'";
pub const VARIABLES: &str = "SHOW GLOBAL VARIABLES LIKE 'rpl\\_semi\\_sync\\_%'";

/// Both sides of semi-synchronous replication, by the rows of [`STATUS`] and
/// [`VARIABLES`]. MySQL has plugins for it, with new names or old ones; MariaDB has the
/// old names, always.
pub fn read(status: &Rows, variables: &Rows) -> SemiSync {
    let named = |rows: &Rows, side: &str, name: &str| -> Option<String> {
        value(rows, &format!("rpl_semi_sync_{side}_{name}")).map(str::to_owned)
    };
    let state =
        |name: &str| named(status, "source", name).or_else(|| named(status, "master", name));
    let setting =
        |name: &str| named(variables, "source", name).or_else(|| named(variables, "master", name));
    let count = |name: &str| state(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let milliseconds = setting("timeout").and_then(|text| text.parse().ok()).unwrap_or(0);
    let wait_for = setting("wait_for_replica_count").or_else(|| setting("wait_for_slave_count"));
    let source = state("status").map(|active| Source {
        enabled: setting("enabled").is_some_and(|value| is_on(&value)),
        active: is_on(&active),
        clients: count("clients").try_into().unwrap_or(u32::MAX),
        wait_for: wait_for.and_then(|text| text.parse().ok()).unwrap_or(1),
        timeout: Duration::from_millis(milliseconds),
        fallbacks: count("no_times"),
        acknowledged: count("yes_tx"),
        unacknowledged: count("no_tx"),
        waiting: count("wait_sessions"),
        clock_failures: count("timefunc_failures"),
    });
    let of_replica = |rows: &Rows, name: &str| {
        named(rows, "replica", name).or_else(|| named(rows, "slave", name))
    };
    let replica = of_replica(status, "status").map(|active| Replica {
        enabled: of_replica(variables, "enabled").is_some_and(|value| is_on(&value)),
        active: is_on(&active),
    });
    SemiSync { source, replica }
}

#[cfg(test)]
mod tests {
    use super::super::tests::pairs;
    use super::*;

    #[test]
    fn both_sides_under_both_sets_of_names() {
        // As MySQL 9.7 answers.
        let status = pairs(&[
            ("Rpl_semi_sync_source_clients", "2"),
            ("Rpl_semi_sync_source_no_times", "3"),
            ("Rpl_semi_sync_source_no_tx", "4"),
            ("Rpl_semi_sync_source_status", "ON"),
            ("Rpl_semi_sync_source_timefunc_failures", "6"),
            ("Rpl_semi_sync_source_wait_sessions", "1"),
            ("Rpl_semi_sync_source_yes_tx", "5"),
        ]);
        let variables = pairs(&[
            ("rpl_semi_sync_source_enabled", "ON"),
            ("rpl_semi_sync_source_timeout", "10000"),
            ("rpl_semi_sync_source_wait_for_replica_count", "2"),
        ]);
        let source = Source {
            enabled: true,
            active: true,
            clients: 2,
            wait_for: 2,
            timeout: Duration::from_secs(10),
            fallbacks: 3,
            acknowledged: 5,
            unacknowledged: 4,
            waiting: 1,
            clock_failures: 6,
        };
        let expected = SemiSync { source: Some(source), replica: None };
        assert_eq!(read(&status, &variables), expected);

        let renamed = |rows: &Rows| {
            let mut rows = rows.clone();
            for cell in rows.rows.iter_mut().flatten().flatten() {
                let text = String::from_utf8(cell.clone()).expect("names and numbers");
                *cell = text.replace("source", "master").replace("replica", "slave").into();
            }
            rows
        };
        assert_eq!(read(&renamed(&status), &renamed(&variables)), expected);

        // MariaDB has both sides, and no number of replicas to wait for.
        let status = pairs(&[
            ("Rpl_semi_sync_master_clients", "0"),
            ("Rpl_semi_sync_master_status", "OFF"),
            ("Rpl_semi_sync_slave_status", "ON"),
        ]);
        let variables = pairs(&[
            ("rpl_semi_sync_master_enabled", "OFF"),
            ("rpl_semi_sync_master_timeout", "500"),
            ("rpl_semi_sync_slave_enabled", "ON"),
        ]);
        let found = read(&status, &variables);
        assert_eq!(found.replica, Some(Replica { enabled: true, active: true }));
        let source = found.source.expect("it is built in");
        assert_eq!((source.enabled, source.active, source.wait_for), (false, false, 1));
        assert_eq!(source.timeout, Duration::from_millis(500));

        assert_eq!(read(&pairs(&[]), &pairs(&[])), SemiSync::default());
    }
}
