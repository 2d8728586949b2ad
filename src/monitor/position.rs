//! Where a server stands: what a primary has written, and what a replica has applied of it.

use std::fmt;
use std::sync::Arc;

use super::observation::Identity;
use crate::gtid::{BinlogState, DomainPositions, GtidSet};

/// A place in a source's binary log. Only places of one and the same source compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePosition {
    /// The file name without its number, `mysql-bin`.
    base: Box<str>,
    /// The file's number, 12 of `mysql-bin.000012`.
    number: u64,
    offset: u64,
}

impl FilePosition {
    /// `None` when the name does not end in a dot and a number.
    pub fn new(file: &str, offset: u64) -> Option<Self> {
        let (base, number) = file.rsplit_once('.')?;
        if !number.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        Some(FilePosition { base: base.into(), number: number.parse().ok()?, offset })
    }

    /// True when this place is at or beyond `earlier`; `None` when the logs have different names.
    pub fn reaches(&self, earlier: &FilePosition) -> Option<bool> {
        (self.base == earlier.base)
            .then(|| (self.number, self.offset) >= (earlier.number, earlier.offset))
    }
}

/// What a server has written to its binary log: a sample of it is what replicas must reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// MySQL with `gtid_mode=ON`.
    MySql(Arc<GtidSet>),
    /// MariaDB with a binary log.
    MariaDb(DomainPositions),
    /// MySQL without GTIDs.
    File(FilePosition),
    /// A node of a Galera cluster: by the cluster's own numbers for the other nodes, and by its
    /// binary log for replicas outside.
    Galera { committed: GaleraPosition, logged: Option<Box<Position>> },
}

/// The number of a Galera cluster's transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GaleraPosition {
    /// `wsrep_cluster_state_uuid`.
    pub cluster: Arc<str>,
    /// `wsrep_last_committed`: all up to this one are committed and can be read.
    pub sequence: u64,
}

impl GaleraPosition {
    /// `None` when they are of different clusters.
    fn reaches(&self, earlier: &GaleraPosition) -> Option<bool> {
        (self.cluster == earlier.cluster).then_some(self.sequence >= earlier.sequence)
    }
}

/// What a replica has applied, in the terms of each kind of position that it can answer for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// `@@gtid_executed`.
    pub mysql: Option<Arc<GtidSet>>,
    pub mariadb: Option<MariaDbApplied>,
    /// How far the primary's own binary log is applied; only for a direct replica of it.
    pub file: Option<FilePosition>,
    /// Of a node of a Galera cluster.
    pub galera: Option<GaleraPosition>,
}

/// MariaDB's two views of what is applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MariaDbApplied {
    /// `@@gtid_slave_pos`: applied by replication.
    pub replicated: DomainPositions,
    /// `@@gtid_binlog_pos`: the last of each domain in the own log. By its number alone it proves
    /// nothing (a stray local write raises it), but if it *is* the wanted transaction then that
    /// one is here: so a former primary that has not replicated anything yet is known to be level.
    pub logged: DomainPositions,
}

impl Position {
    /// True when `applied` holds everything up to this position; `None` when the two cannot be
    /// compared.
    pub fn is_applied(&self, applied: &Applied) -> Option<bool> {
        match self {
            Position::MySql(wanted) => Some(applied.mysql.as_ref()?.contains(wanted)),
            Position::MariaDb(wanted) => {
                let MariaDbApplied { replicated, logged } = applied.mariadb.as_ref()?;
                Some(wanted.iter().all(|(domain, last)| {
                    replicated.last(domain).is_some_and(|l| l.sequence >= last.sequence)
                        || logged.last(domain) == Some(last)
                }))
            }
            Position::File(wanted) => applied.file.as_ref()?.reaches(wanted),
            Position::Galera { committed, logged } => match &applied.galera {
                // What a node has in its log says nothing: each numbers by itself.
                Some(galera) => galera.reaches(committed),
                None => logged.as_ref()?.is_applied(applied),
            },
        }
    }

    /// True when this position, sampled later from the same server, goes on from `earlier`.
    /// False after `RESET MASTER`, a restored data directory, or a change of `gtid_mode`.
    pub fn continues(&self, earlier: &Position) -> bool {
        match (self, earlier) {
            (Position::MySql(later), Position::MySql(earlier)) => later.contains(earlier),
            (Position::MariaDb(later), Position::MariaDb(earlier)) => later.reaches(earlier),
            (Position::File(later), Position::File(earlier)) => {
                later.reaches(earlier).unwrap_or(false)
            }
            // Nodes that are written past the proxy number crosswise in one log.
            (
                Position::Galera { committed: later, .. },
                Position::Galera { committed: earlier, .. },
            ) => later.reaches(earlier).unwrap_or(false),
            _ => false,
        }
    }
}

/// All that a server has ever committed, for telling which of two holds more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum History {
    MySql(Arc<GtidSet>),
    MariaDb(BinlogState),
}

impl History {
    /// True when everything of `other` is in this history; false also when they cannot be compared.
    pub fn contains(&self, other: &History) -> bool {
        match (self, other) {
            (History::MySql(ours), History::MySql(theirs)) => ours.contains(theirs),
            (History::MariaDb(ours), History::MariaDb(theirs)) => ours.contains(theirs),
            _ => false,
        }
    }

    /// True when the two are known to share nothing.
    pub fn is_disjoint(&self, other: &History) -> bool {
        match (self, other) {
            (History::MySql(ours), History::MySql(theirs)) => ours.is_disjoint(theirs),
            (History::MariaDb(ours), History::MariaDb(theirs)) => ours.is_disjoint(theirs),
            _ => false,
        }
    }

    /// What this history has beyond `other`; `None` when that is nothing or cannot be told.
    pub fn beyond(&self, other: &History) -> Option<History> {
        match (self, other) {
            (History::MySql(ours), History::MySql(theirs)) => {
                let rest = ours.subtract(theirs);
                (!rest.is_empty()).then(|| History::MySql(Arc::new(rest)))
            }
            (History::MariaDb(ours), History::MariaDb(theirs)) => {
                Some(ours.beyond(theirs)).filter(|rest| !rest.is_empty()).map(History::MariaDb)
            }
            _ => None,
        }
    }

    /// The transactions that this server itself has numbered, or its group; `None` when there are
    /// none.
    pub fn of(&self, server: &Identity, group: Option<&str>) -> Option<History> {
        match self {
            History::MySql(set) => {
                let mut own = set.of(&server.instance);
                if let Some(group) = group {
                    own.extend(&set.of(group));
                }
                (!own.is_empty()).then(|| History::MySql(Arc::new(own)))
            }
            History::MariaDb(state) => {
                let own = state.of(server.server_id);
                (!own.is_empty()).then_some(History::MariaDb(own))
            }
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            History::MySql(set) => set.fmt(f),
            History::MariaDb(state) => state.fmt(f),
        }
    }
}

impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}:{}", self.base, self.number, self.offset)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::MySql(set) => set.fmt(f),
            Position::MariaDb(domains) => domains.fmt(f),
            Position::File(place) => place.fmt(f),
            Position::Galera { committed, .. } => {
                write!(f, "{}:{}", committed.cluster, committed.sequence)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, offset: u64) -> FilePosition {
        FilePosition::new(name, offset).expect("test names end in a number")
    }

    #[test]
    fn file_numbers_compare_as_numbers() {
        let table = [
            (file("bin.000012", 4), file("bin.000012", 4), Some(true)),
            (file("bin.000012", 4), file("bin.000011", 900), Some(true)),
            (file("bin.000012", 4), file("bin.000012", 5), Some(false)),
            (file("bin.1000000", 4), file("bin.999999", 9), Some(true)),
            (file("bin.000012", 4), file("other.000011", 4), None),
        ];
        for (later, earlier, reaches) in table {
            assert_eq!(later.reaches(&earlier), reaches, "{later} {earlier}");
        }
        for name in ["", "bin", "bin.", "bin.x1", "bin.+1"] {
            assert_eq!(FilePosition::new(name, 1), None, "{name}");
        }
    }

    fn mariadb(replicated: &str, logged: &str) -> Applied {
        let parse = |text| DomainPositions::parse(text).expect("test positions are legal");
        let views = MariaDbApplied { replicated: parse(replicated), logged: parse(logged) };
        Applied { mariadb: Some(views), ..Applied::default() }
    }

    #[test]
    fn a_stray_local_write_on_a_mariadb_replica_proves_nothing() {
        let wanted = Position::MariaDb(DomainPositions::parse("0-1-100").expect("legal"));
        let table = [
            ("0-1-100", "", true),
            ("0-1-99", "", false),
            // A local write made the own log 0-2-105 although 100 is not applied.
            ("0-1-99", "0-2-105", false),
            ("0-1-99", "0-2-100", false),
            // A former primary: its own log ends with exactly this transaction.
            ("", "0-1-100", true),
        ];
        for (replicated, logged, applied) in table {
            let state = mariadb(replicated, logged);
            assert_eq!(wanted.is_applied(&state), Some(applied), "{replicated} {logged}");
        }
        assert_eq!(wanted.is_applied(&Applied::default()), None);
    }

    #[test]
    fn nodes_of_galera_are_compared_by_the_cluster_s_numbers_and_replicas_by_gtid() {
        let galera = |cluster: &str, sequence| GaleraPosition { cluster: cluster.into(), sequence };
        let logged = |text| Position::MariaDb(DomainPositions::parse(text).expect("legal"));
        let at = |cluster, sequence, log| Position::Galera {
            committed: galera(cluster, sequence),
            logged: Some(Box::new(logged(log))),
        };
        let wanted = at("a", 7, "0-1-100");
        let node = |cluster, sequence| Applied {
            galera: Some(galera(cluster, sequence)),
            // It has numbered the same transactions in its own way.
            ..mariadb("", "0-2-3")
        };
        assert_eq!(wanted.is_applied(&node("a", 7)), Some(true));
        assert_eq!(wanted.is_applied(&node("a", 6)), Some(false));
        assert_eq!(wanted.is_applied(&node("b", 9)), None);
        assert_eq!(wanted.is_applied(&mariadb("0-1-100", "")), Some(true));
        assert_eq!(wanted.is_applied(&mariadb("0-1-99", "")), Some(false));
        assert!(at("a", 8, "0-1-101").continues(&wanted));
        assert!(!at("a", 6, "0-1-101").continues(&wanted));
        assert!(!at("b", 8, "0-1-101").continues(&wanted));
        assert!(at("a", 8, "0-1-99").continues(&wanted));
        assert!(!logged("0-1-101").continues(&wanted));
    }

    #[test]
    fn a_reset_log_does_not_continue() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let set = |text: &str| Position::MySql(Arc::new(GtidSet::parse(text).expect("legal")));
        assert!(set(&format!("{uuid}:1-6")).continues(&set(&format!("{uuid}:1-5"))));
        assert!(!set("").continues(&set(&format!("{uuid}:1-5"))));
        assert!(!Position::File(file("bin.000001", 4)).continues(&set("")));
    }
}
