//! Global transaction identifiers: how servers say which transactions they have, in the text forms
//! of both flavours.

pub mod mariadb;
pub mod mysql;

use std::time::Duration;

use crate::wire::{Flavour, ServerVersion};

pub use mariadb::{BinlogState, DomainError, DomainPositions};
pub use mysql::{GtidError, GtidSet};

/// A set with more intervals than this is waited for as if it had no gaps.
const MOST_INTERVALS: usize = 16;

/// Transactions that somebody wants to see on another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transactions {
    MySql(GtidSet),
    /// All of each domain up to these: within a domain MariaDB applies in order.
    MariaDb(DomainPositions),
}

impl Transactions {
    /// Reads what a server of this flavour tells; `None` if that is not understood.
    pub fn parse(flavour: Flavour, text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        match flavour {
            Flavour::MySql => GtidSet::parse(text).ok().map(Transactions::MySql),
            Flavour::MariaDb => DomainPositions::parse(text).ok().map(Transactions::MariaDb),
        }
    }

    /// These and the others. Those of another flavour take the place of all before: the servers
    /// are others, too.
    ///
    /// Memory is bounded: of a MySQL source with many gaps everything between the first and the
    /// last is wanted. A server numbers its transactions without gaps, so that those in between
    /// are there before the last one is, or soon after.
    pub fn add(&mut self, more: Transactions) {
        match (self, more) {
            (Transactions::MySql(ours), Transactions::MySql(theirs)) => {
                ours.extend(&theirs);
                if ours.intervals() > MOST_INTERVALS {
                    ours.close_gaps();
                }
            }
            (Transactions::MariaDb(ours), Transactions::MariaDb(theirs)) => ours.extend(&theirs),
            (ours, theirs) => *ours = theirs,
        }
    }

    /// A query whose one value is 0 once the server that runs it has applied them, and something
    /// else after `patience`.
    pub fn wait(&self, patience: Duration) -> String {
        let seconds = patience.as_secs_f64();
        match self {
            Transactions::MySql(set) => {
                format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}', {seconds:.3})")
            }
            Transactions::MariaDb(positions) => {
                format!("SELECT MASTER_GTID_WAIT('{positions}', {seconds:.3})")
            }
        }
    }
}

/// A query whose one value is where a server stands, read by [`Transactions::parse`].
pub fn position_query(flavour: Flavour, is_primary: bool) -> &'static str {
    match (flavour, is_primary) {
        (Flavour::MySql, _) => "SELECT @@GLOBAL.gtid_executed",
        (Flavour::MariaDb, true) => "SELECT @@GLOBAL.gtid_binlog_pos",
        (Flavour::MariaDb, false) => "SELECT @@GLOBAL.gtid_slave_pos",
    }
}

/// The same, for what can have been read there: MySQL shows a transaction before it counts as
/// executed. On a replica what is being applied counts, too.
pub fn readable_query(flavour: Flavour, is_primary: bool) -> &'static str {
    match flavour {
        Flavour::MySql => "SELECT CONCAT(@@GLOBAL.gtid_owned, ',', @@GLOBAL.gtid_executed)",
        Flavour::MariaDb => position_query(flavour, is_primary),
    }
}

/// A query for a primary whose one value is 0 once it shows all that it was committing when it was
/// asked, and something else after `patience`. Replicas may show that before: what is in the binary
/// log is sent to them, and with semi-synchronous replication acknowledged by them, before it is
/// committed. `None` where there is nothing to ask: MariaDB has no such state, MySQL 5.7 no such
/// function.
pub fn committed_query(version: &ServerVersion, patience: Duration) -> Option<String> {
    let seconds = patience.as_secs_f64();
    // `UUID:18#11:19#12`: whose thread each is, behind the number sign.
    (version.flavour == Flavour::MySql && version.at_least(8, 0)).then(|| {
        format!(
            "SELECT WAIT_FOR_EXECUTED_GTID_SET(\
             REGEXP_REPLACE(@@GLOBAL.gtid_owned, '#[0-9]+', ''), {seconds:.3})"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn mysql(text: &str) -> Transactions {
        Transactions::MySql(GtidSet::parse(text).expect("legal"))
    }

    fn mariadb(text: &str) -> Transactions {
        Transactions::MariaDb(DomainPositions::parse(text).expect("legal"))
    }

    #[test]
    fn what_is_wanted_adds_up() {
        let table = [
            (mysql(&format!("{A}:5")), mysql(&format!("{A}:7")), mysql(&format!("{A}:5:7"))),
            (mysql(&format!("{A}:5")), mysql(&format!("{A}:6")), mysql(&format!("{A}:5-6"))),
            (mariadb("0-1-5"), mariadb("0-2-7"), mariadb("0-2-7")),
            (mariadb("0-1-5"), mariadb("1-1-2"), mariadb("0-1-5,1-1-2")),
            (mariadb("0-1-5"), mysql(&format!("{A}:6")), mysql(&format!("{A}:6"))),
        ];
        for (mut wanted, more, all) in table {
            wanted.add(more);
            assert_eq!(wanted, all);
        }
    }

    #[test]
    fn what_a_primary_commits_is_waited_for_where_it_can_be() {
        let question =
            |version| committed_query(&ServerVersion::parse(version), Duration::from_millis(1500));
        let asked = "SELECT WAIT_FOR_EXECUTED_GTID_SET(\
             REGEXP_REPLACE(@@GLOBAL.gtid_owned, '#[0-9]+', ''), 1.500)";
        assert_eq!(question("8.0.11").as_deref(), Some(asked));
        assert_eq!(question("9.7.4").as_deref(), Some(asked));
        assert_eq!(question("5.7.44"), None);
        assert_eq!(question("10.11.6-MariaDB"), None);
    }

    #[test]
    fn gaps_are_closed_before_there_are_too_many() {
        let mut wanted = mysql(&format!("{A}:3"));
        for number in 2..1000 {
            wanted.add(mysql(&format!("{A}:{}", number * 3)));
            let Transactions::MySql(set) = &wanted else { panic!("another flavour") };
            assert!(set.intervals() <= MOST_INTERVALS);
        }
        let Transactions::MySql(set) = &wanted else { panic!("another flavour") };
        for number in 1..1000 {
            assert!(set.contains(&GtidSet::parse(&format!("{A}:{}", number * 3)).unwrap()));
        }
        assert!(!set.contains(&GtidSet::parse(&format!("{A}:2998")).unwrap()));
    }

    #[test]
    fn servers_are_asked_in_their_own_words() {
        let patience = Duration::from_millis(50);
        assert_eq!(
            mysql(&format!("{A}:1-3:7")).wait(patience),
            format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{A}:1-3:7', 0.050)")
        );
        assert_eq!(mariadb("0-1-5").wait(patience), "SELECT MASTER_GTID_WAIT('0-1-5', 0.050)");
    }
}
