//! What accounts must be able to do, by flavour and version. Pure.

use super::state::Account;
use crate::monitor::accounts::rows;
use crate::wire::{Flavour, ServerVersion};

/// What an account needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    pub global: &'static [&'static str],
    /// SELECT on these tables of the schema `mysql`.
    pub tables: &'static [&'static str],
}

/// For fetching the binary log.
pub fn of_replication() -> Needs {
    Needs { global: &["REPLICATION SLAVE"], tables: &[] }
}

/// For the monitor's probes, for noticing changed accounts, and for getting in when a server is full.
pub fn of_monitor(version: &ServerVersion) -> Needs {
    let global: &[&str] = match version.flavour {
        Flavour::MariaDb if version.at_least(10, 5) => {
            &["BINLOG MONITOR", "SLAVE MONITOR", "CONNECTION ADMIN"]
        }
        Flavour::MySql if version.at_least(8, 0) => &["REPLICATION CLIENT", "CONNECTION_ADMIN"],
        _ => &["REPLICATION CLIENT"],
    };
    Needs { global, tables: rows::tables(version) }
}

/// Privileges without which the administrator's account cannot do what setup does.
pub fn of_administrator(version: &ServerVersion) -> &'static [&'static str] {
    match version.flavour {
        Flavour::MySql if version.at_least(8, 0) => &[
            "SELECT",
            "INSERT",
            "RELOAD",
            "PROCESS",
            "CREATE USER",
            "REPLICATION SLAVE",
            "REPLICATION CLIENT",
            "SYSTEM_VARIABLES_ADMIN",
            "REPLICATION_SLAVE_ADMIN",
            "CONNECTION_ADMIN",
            "BACKUP_ADMIN",
            "CLONE_ADMIN",
        ],
        Flavour::MariaDb if version.at_least(10, 5) => &[
            "SELECT",
            "INSERT",
            "CREATE",
            "DROP",
            "RELOAD",
            "CREATE USER",
            "SUPER",
            "REPLICATION SLAVE",
            "BINLOG MONITOR",
            "SLAVE MONITOR",
            "BINLOG ADMIN",
            "CONNECTION ADMIN",
            "READ_ONLY ADMIN",
            "REPLICATION SLAVE ADMIN",
            "REPLICATION MASTER ADMIN",
        ],
        _ => &["SELECT", "INSERT", "CREATE", "DROP", "RELOAD", "CREATE USER", "SUPER"],
    }
}

impl Account {
    /// Privileges have other names, too, and SUPER has some of them in it.
    pub fn may(&self, privilege: &str, version: &ServerVersion) -> bool {
        let other = match privilege {
            "SLAVE MONITOR" => "REPLICA MONITOR",
            "BINLOG MONITOR" => "REPLICATION CLIENT",
            "CONNECTION_ADMIN" if version.flavour == Flavour::MySql => "SUPER",
            _ => privilege,
        };
        self.global.contains(privilege) || self.global.contains(other)
    }
}
