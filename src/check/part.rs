//! What servers are asked beside the variables that anybody may read, and what an account needs for it.
//! Pure.

use crate::wire::{Flavour, ServerVersion};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Whence variables have their values.
    Origins,
    Channels,
    /// Why applying has stopped, where the channel does not tell.
    Workers,
    Schemas,
    SemiSync,
    Accounts,
    Tables,
    Events,
    /// What is left out of the binary log.
    LeftOut,
    Clock,
    /// How soon it has what the primary has.
    Lag,
    /// What the proxy's accounts may do.
    Grants,
}

impl Part {
    pub fn in_words(self) -> &'static str {
        match self {
            Part::Origins => "whether a restart finds settings again",
            Part::Channels => "from whom it replicates, and whether it does",
            Part::Workers => "why the applier has stopped",
            Part::Schemas => "what data it has",
            Part::SemiSync => "how semi-synchronous replication goes",
            Part::Accounts => "who may log in",
            Part::Tables => "which tables replication has trouble with",
            Part::Events => "which events run on it",
            Part::LeftOut => "what its binary log leaves out",
            Part::Clock => "its clock",
            Part::Lag => "how soon it has what the primary has",
            Part::Grants => "what the proxy's accounts may do",
        }
    }

    /// What is to be granted: `PRIVILEGES ON OBJECT`.
    pub fn privileges(self, version: &ServerVersion) -> &'static str {
        match (self, version.flavour) {
            (Part::Origins, Flavour::MySql) | (Part::Workers, _) => {
                "SELECT ON performance_schema.*"
            }
            (Part::Accounts | Part::Grants, _) => "SELECT ON mysql.*",
            (Part::LeftOut, Flavour::MariaDb) if version.at_least(10, 5) => "BINLOG MONITOR ON *.*",
            (Part::Events, _) => "EVENT ON *.*",
            (Part::Channels, Flavour::MariaDb) if version.at_least(10, 5) => "SLAVE MONITOR ON *.*",
            (Part::Channels | Part::LeftOut, _) => "REPLICATION CLIENT ON *.*",
            // Everything else is told to everybody, or only to who may read the data.
            _ => "SELECT ON *.*",
        }
    }
}
