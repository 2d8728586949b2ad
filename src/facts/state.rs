//! What a server says of itself, and Docker of its container. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::administration::Place;
use crate::config::RoleSetting;
use crate::gtid::{BinlogState, DomainPositions, GtidSet};
use crate::monitor::observation::Channel;
use crate::routing::semi_sync::SemiSync;
use crate::wire::{Flavour, ServerVersion};

/// One server that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub name: Arc<str>,
    /// What its label, or `[[backends]]`, says.
    pub role: RoleSetting,
    /// Where replicas may find it, the likeliest first.
    pub places: Vec<Place>,
    /// `None` for servers of `[[backends]]`.
    pub container: Option<Container>,
    pub version: ServerVersion,
    /// All global variables, their names in lower case.
    pub variables: BTreeMap<String, String>,
    /// Whence variables have their values, where the server tells.
    pub origins: BTreeMap<String, Origin>,
    /// Active plugins.
    pub plugins: BTreeSet<String>,
    pub follows: Vec<Follows>,
    pub gtids: Gtids,
    /// MySQL's `server_uuid`.
    pub uuid: Option<Arc<str>>,
    pub schemas: Vec<Schema>,
    /// A copy of the data over SQL was begun here, and has not ended.
    pub half_copied: bool,
    pub cloning: Cloning,
    pub semi_sync: SemiSync,
    /// It belongs to Group Replication or Galera.
    pub is_member: bool,
    /// Privileges that the account which asks lacks there, of those that it is to have.
    pub lacking: Vec<&'static str>,
    /// The two accounts, as they are there.
    pub replication: Option<Account>,
    pub monitor: Option<Account>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// Docker's name of the policy: `no`, `always`, `unless-stopped`, `on-failure`.
    pub restart: String,
    /// Its service, if Docker Compose has made it.
    pub service: Option<String>,
    /// What its first process was started with.
    pub arguments: Vec<String>,
}

impl Container {
    /// Whether Docker starts it again after its server has ended of its own accord, with exit code 0.
    pub fn comes_back(&self) -> bool {
        matches!(&*self.restart, "always" | "unless-stopped")
    }
}

/// Whether a restart finds a variable's value again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// An option, a configuration file, or what the server has persisted itself.
    Kept,
    /// Set while the server runs: a restart may find another value.
    Running,
}

/// A channel by which a server replicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follows {
    pub channel: Channel,
    /// It asks for transactions by GTID, not by file and offset.
    pub by_gtid: bool,
    pub tls: bool,
    /// The account that it uses.
    pub user: Arc<str>,
    /// MySQL: it has the source's public key, or asks for it, for a password without TLS.
    pub has_public_key: bool,
    /// What it does not replicate, or what alone it does: options and their values.
    pub filters: Vec<(String, String)>,
    /// The numbers of the last errors; 0 where there is none.
    pub receiver_code: u32,
    pub applier_code: u32,
}

/// The transactions that a server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gtids {
    MySql {
        executed: GtidSet,
        /// Those that its binary logs no longer have.
        purged: GtidSet,
    },
    MariaDb {
        /// Of each server the last that is in the binary log.
        state: BinlogState,
        /// The last of each domain in the binary log, and by replication.
        logged: DomainPositions,
        replicated: DomainPositions,
    },
}

impl Gtids {
    pub fn flavour(&self) -> Flavour {
        match self {
            Gtids::MySql { .. } => Flavour::MySql,
            Gtids::MariaDb { .. } => Flavour::MariaDb,
        }
    }
}

/// A schema of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    pub name: String,
    /// Tables, views, routines and events.
    pub objects: u64,
    pub bytes: u64,
}

/// What MySQL's clone plugin has done last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Cloning {
    /// Nothing, or nothing that counts.
    #[default]
    None,
    Running,
    /// The data are those of this `host:port`.
    Completed(String),
}

/// An account `NAME@'%'`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// Global privileges, in capitals.
    pub global: BTreeSet<String>,
    /// Tables of the schema `mysql` that it may read.
    pub tables: BTreeSet<String>,
    pub requires_tls: bool,
    pub login: Login,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Login {
    /// Not tried: the account's password matters on the primary alone.
    #[default]
    Untried,
    LetIn,
    /// The server's words.
    Refused(String),
}

impl State {
    pub fn flavour(&self) -> Flavour {
        self.version.flavour
    }

    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| !matches!(value, "OFF" | "0" | "" | "NO"))
    }

    pub fn server_id(&self) -> u32 {
        self.variable("server_id").and_then(|id| id.parse().ok()).unwrap_or(0)
    }

    pub fn has_binary_log(&self) -> bool {
        self.is_on("log_bin")
    }

    /// Writes down what it has replicated, so that others could replicate from it.
    pub fn logs_what_it_replicates(&self) -> bool {
        self.is_on("log_replica_updates") || self.is_on("log_slave_updates")
    }

    pub fn is_read_only(&self) -> bool {
        self.is_on("read_only")
    }

    /// It keeps global variables by itself (`SET PERSIST`).
    pub fn persists(&self) -> bool {
        self.flavour() == Flavour::MySql && self.version.at_least(8, 0)
    }

    /// A restart finds the variable as it is, as far as the server tells.
    pub fn keeps(&self, name: &str) -> bool {
        matches!(self.origins.get(name), Some(Origin::Kept))
    }

    /// A restart finds the built-in default in its place.
    pub fn forgets(&self, name: &str) -> bool {
        !matches!(self.origins.get(name), Some(Origin::Kept | Origin::Running))
    }

    /// The value that the container's command gives a variable, in capitals; the last one counts.
    pub fn option(&self, variable: &str) -> Option<String> {
        let arguments = &self.container.as_ref()?.arguments;
        let value = |argument: &String| {
            let option = argument.strip_prefix("--")?;
            let (name, value) = option.split_once('=').unwrap_or((option, "ON"));
            let name = name.replace('-', "_").to_ascii_lowercase();
            let value = value.to_ascii_uppercase();
            match name.strip_prefix("loose_").unwrap_or(&name) {
                name if name == variable => Some(value),
                name if name.strip_prefix("skip_") == Some(variable) => Some("OFF".to_owned()),
                _ => None,
            }
        };
        arguments.iter().rev().find_map(value)
    }

    /// Encrypts connections of those who ask for it.
    pub fn has_tls(&self) -> bool {
        match self.variable("have_ssl") {
            Some(value) => value == "YES",
            None => self.variable("ssl_cert").is_some_and(|path| !path.is_empty()),
        }
    }

    /// Schemas with something in them.
    pub fn data(&self) -> impl Iterator<Item = &Schema> {
        self.schemas.iter().filter(|schema| schema.objects > 0)
    }

    /// Nothing there is worth keeping: schemas of the system, empty ones and accounts do not count.
    pub fn is_bare(&self) -> bool {
        self.data().next().is_none()
    }

    pub fn bytes(&self) -> u64 {
        self.schemas.iter().map(|schema| schema.bytes).sum()
    }

    /// Whether a channel leads to this server.
    pub fn is_source_of(&self, channel: &Channel) -> bool {
        match (&channel.source_uuid, &self.uuid) {
            (Some(theirs), Some(own)) => theirs == own,
            _ => self.is_at(&channel.host, channel.port),
        }
    }

    fn is_at(&self, host: &str, port: u16) -> bool {
        self.places.iter().any(|place| place.port == port && place.host.eq_ignore_ascii_case(host))
    }

    /// The data are a clone of that server's.
    pub fn is_clone_of(&self, other: &State) -> bool {
        let Cloning::Completed(source) = &self.cloning else { return false };
        source
            .rsplit_once(':')
            .and_then(|(host, port)| Some(other.is_at(host, port.parse().ok()?)))
            .unwrap_or(false)
    }

    pub fn has_transactions(&self) -> bool {
        match &self.gtids {
            Gtids::MySql { executed, .. } => !executed.is_empty(),
            Gtids::MariaDb { state, replicated, .. } => !state.is_empty() || !replicated.is_empty(),
        }
    }

    /// Its transactions have come to it from another server. An empty server that was only used a little
    /// on its own has some, too: of MySQL they bear its own uuid, MariaDB tells by the position of
    /// replication.
    pub fn has_replicated(&self) -> bool {
        match &self.gtids {
            Gtids::MySql { executed, .. } => !executed.is_empty(),
            Gtids::MariaDb { replicated, .. } => !replicated.is_empty(),
        }
    }

    /// MariaDB: it has never replicated, and has transactions under the primary's number. So it has made
    /// them itself, while it had that number: they only look like the primary's.
    pub fn has_mistakable_transactions(&self, primary: &State) -> bool {
        let Gtids::MariaDb { state, replicated, .. } = &self.gtids else { return false };
        replicated.is_empty() && !state.of(primary.server_id()).is_empty()
    }

    /// The transactions that `primary` does not have; `None` when there are none.
    ///
    /// The primary must have been asked last: it goes on meanwhile.
    pub fn errant(&self, primary: &State) -> Option<String> {
        match (&self.gtids, &primary.gtids) {
            (Gtids::MySql { executed, .. }, Gtids::MySql { executed: all, .. }) => {
                let errant = executed.subtract(all);
                (!errant.is_empty()).then(|| errant.to_string())
            }
            (
                Gtids::MariaDb { state, replicated, .. },
                Gtids::MariaDb { state: all, logged, replicated: from_before },
            ) => {
                let errant = state.beyond(all);
                if !errant.is_empty() {
                    return Some(errant.to_string());
                }
                let mut reached = logged.clone();
                reached.extend(from_before);
                (!reached.reaches(replicated)).then(|| replicated.to_string())
            }
            // Of another flavour: an obstacle in itself.
            _ => None,
        }
    }

    /// Transactions that it lacks and that the primary can no longer send.
    pub fn missed(&self, primary: &State) -> Option<String> {
        let (Gtids::MySql { executed, .. }, Gtids::MySql { purged, .. }) =
            (&self.gtids, &primary.gtids)
        else {
            // MariaDB says so when it is asked for them.
            return None;
        };
        let missed = purged.subtract(executed);
        (!missed.is_empty()).then(|| missed.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::mariadb;

    #[test]
    fn options_of_the_containers_command() {
        let mut state = mariadb("a", 1);
        let arguments = [
            "mariadbd",
            "--read-only",
            "--loose-x=1",
            "--sync_binlog=0",
            "--sync-binlog=1",
            "--skip-log-bin",
        ];
        state.container.as_mut().expect("a container").arguments =
            arguments.map(str::to_owned).into();
        let table = [
            ("read_only", Some("ON")),
            ("x", Some("1")),
            ("sync_binlog", Some("1")),
            ("log_bin", Some("OFF")),
            ("binlog_format", None),
        ];
        for (variable, value) in table {
            assert_eq!(state.option(variable).as_deref(), value, "{variable}");
        }
    }
}
