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
}

impl Part {
    pub fn in_words(self) -> &'static str {
        match self {
            Part::Origins => "whether a restart finds settings again",
            Part::Channels => "from whom it replicates, and whether it does",
            Part::Workers => "why the applier has stopped",
            Part::Schemas => "what data it has",
            Part::SemiSync => "how semi-synchronous replication goes",
        }
    }

    /// What is to be granted: `PRIVILEGES ON OBJECT`.
    pub fn privileges(self, version: &ServerVersion) -> &'static str {
        match (self, version.flavour) {
            (Part::Origins, Flavour::MySql) | (Part::Workers, _) => {
                "SELECT ON performance_schema.*"
            }
            (Part::Channels, Flavour::MariaDb) if version.at_least(10, 5) => "SLAVE MONITOR ON *.*",
            (Part::Channels, _) => "REPLICATION CLIENT ON *.*",
            // Everything else is told to everybody, or only to who may read the data.
            (Part::Origins | Part::Schemas | Part::SemiSync, _) => "SELECT ON *.*",
        }
    }
}
