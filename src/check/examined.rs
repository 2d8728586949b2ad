//! One look at everything: what was asked, what was answered, and what was not. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::discovery::{self, Standing};
use crate::facts::accounts::Entries;
use crate::facts::clock::{Lag, Skew};
use crate::facts::tables::{Name, Troublesome};
use crate::facts::{self, Account, Follows, Origin, State};
use crate::monitor::observation::Channel;
use crate::wire::Flavour;

use super::part::Part;
use super::proxy::Face;

/// What the configuration says, as far as it is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What labels begin with.
    pub prefix: String,
    pub cluster: String,
    pub max_lag: Duration,
    /// The account that has asked.
    pub asker: String,
    /// It is that of `[administrator]`, not the monitor's.
    pub is_administrator: bool,
    pub monitor: String,
    pub replication: Option<String>,
    /// `pool.max_per_backend`, unless it is "auto".
    pub max_per_backend: Option<u32>,
    pub require_semi_sync: bool,
}

/// What a server is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Primary,
    /// It replicates, or is set up to.
    Replica,
    /// It replicates from nobody, and is not the primary; or it has not answered.
    Unknown,
}

/// One server, whether it answers or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub known: discovery::Server,
    pub role: Role,
    /// Or why there is none: that its container does not run is in `known`.
    pub answer: Result<Box<Answer>, Silence>,
}

impl Server {
    pub fn name(&self) -> &Arc<str> {
        &self.known.name
    }

    /// It should answer, as far as Docker knows.
    pub fn is_running(&self) -> bool {
        matches!(self.known.standing, Standing::Running(_) | Standing::Unhealthy(_))
    }
}

/// Why a server has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// Nobody has tried: see its standing.
    NotAsked,
    /// The text is the server's, or the system's.
    Failed(String),
}

/// What one server has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub state: State,
    /// Errors of applying, number and text, that the channel itself does not tell.
    pub worker_errors: Vec<(u32, String)>,
    /// What it has not told, each with its error.
    pub untold: BTreeMap<Part, String>,
    pub accounts: Entries,
    /// The host from which it sees who asks.
    pub seen_from: Option<String>,
    pub skew: Option<Skew>,
    /// Events that run on it.
    pub events: Vec<Name>,
    /// Options of what its binary log leaves out, and their values.
    pub left_out: Vec<(String, String)>,
    /// Asked of replicas that replicate, once the primary is known.
    pub lag: Option<Lag>,
    /// These are asked of the primary alone.
    pub troublesome: Troublesome,
    pub grants: Grants,
}

/// What the accounts of `proxy.toml` may do, of those that were looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    pub monitor: Option<Account>,
    pub replication: Option<Account>,
    /// Privileges that the administrator's account lacks.
    pub administrator_lacks: Vec<&'static str>,
}

impl Answer {
    pub fn new(state: State) -> Self {
        Answer {
            state,
            worker_errors: Vec::new(),
            untold: BTreeMap::new(),
            accounts: Entries::new(),
            seen_from: None,
            skew: None,
            events: Vec::new(),
            left_out: Vec::new(),
            lag: None,
            troublesome: Troublesome::default(),
            grants: Grants::default(),
        }
    }

    pub fn told(&self, part: Part) -> bool {
        !self.untold.contains_key(&part)
    }

    /// From whom it replicates; `None` if it may not be asked.
    pub fn follows(&self) -> Option<&[Follows]> {
        self.told(Part::Channels).then_some(&self.state.follows)
    }

    /// A restart may find another value than the one that is there.
    pub fn forgets(&self, variable: &str) -> bool {
        let is_set = self.state.origins.get(variable) == Some(&Origin::Running);
        // Where nothing can be persisted, an option may say the same as what was set.
        let is_given = || {
            let given = self.state.option(variable).filter(|_| !self.state.persists());
            let is = self.state.variable(variable).map(str::to_ascii_uppercase);
            given.is_some() && given.as_deref().map(as_switch) == is.as_deref().map(as_switch)
        };
        self.told(Part::Origins) && is_set && !is_given()
    }

    pub fn is_mysql(&self) -> bool {
        self.state.flavour() == Flavour::MySql
    }

    pub fn number(&self, variable: &str) -> Option<u64> {
        self.state.variable(variable)?.parse().ok()
    }
}

/// `ON` and `OFF` for all that means them.
fn as_switch(value: &str) -> &str {
    match value {
        "1" | "TRUE" => "ON",
        "0" | "FALSE" => "OFF",
        other => other,
    }
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// By name.
    pub servers: Vec<Server>,
    /// What is wrong with Docker daemons.
    pub problems: Vec<Arc<str>>,
    pub settings: Settings,
    /// The proxy's own addresses, as far as they were looked at.
    pub proxy: Vec<Face>,
    /// From which of ours each replicates.
    sources: Vec<Option<usize>>,
    pub primary: Primary,
}

/// Which server the others are to replicate from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Primary {
    One(usize),
    None,
    /// Each of these could be meant.
    Several(Vec<usize>),
}

impl Examined {
    /// Tells roles by what was answered.
    pub fn new(mut servers: Vec<Server>, problems: Vec<Arc<str>>, settings: Settings) -> Self {
        let sources: Vec<Option<usize>> =
            (0..servers.len()).map(|index| source(&servers, index)).collect();
        let primary = primary(&servers, &sources);
        for (index, server) in servers.iter_mut().enumerate() {
            let follows = |answer: &Answer| answer.follows().is_some_and(|all| !all.is_empty());
            server.role = match (&primary, &server.answer) {
                (Primary::One(primary), _) if *primary == index => Role::Primary,
                (_, Ok(answer)) if follows(answer) => Role::Replica,
                _ => Role::Unknown,
            };
        }
        Examined { servers, problems, settings, proxy: Vec::new(), sources, primary }
    }

    /// Those that have answered.
    pub fn answers(&self) -> impl Iterator<Item = (&Server, &Answer)> {
        self.servers.iter().filter_map(|server| Some((server, &**server.answer.as_ref().ok()?)))
    }

    pub fn replicas(&self) -> impl Iterator<Item = (&Server, &Answer)> {
        self.answers().filter(|(server, _)| server.role == Role::Replica)
    }

    /// The primary, if it has answered.
    pub fn primary(&self) -> Option<(&Server, &Answer)> {
        self.answers().find(|(server, _)| server.role == Role::Primary)
    }

    /// The primary's name, whether it has answered or not.
    pub fn primary_name(&self) -> Option<&Arc<str>> {
        match self.primary {
            Primary::One(index) => Some(self.servers[index].name()),
            _ => None,
        }
    }

    /// From which of ours a server replicates.
    pub fn source_of(&self, server: &Server) -> Option<&Server> {
        let index = self.servers.iter().position(|other| other.name() == server.name())?;
        self.sources[index].map(|source| &self.servers[source])
    }

    /// They replicate by Group Replication or Galera.
    pub fn is_group(&self) -> bool {
        self.answers().any(|(_, answer)| answer.state.is_member)
    }

    /// Every server has said from whom it replicates, so that a missing one means that there is none.
    pub fn is_certain(&self) -> bool {
        self.servers
            .iter()
            .all(|server| server.answer.as_ref().is_ok_and(|answer| answer.told(Part::Channels)))
    }
}

fn source(servers: &[Server], index: usize) -> Option<usize> {
    let follows = servers[index].answer.as_ref().ok()?.follows()?;
    follows.iter().find_map(|follows| {
        let is_it = |other: usize| other != index && is_source(&servers[other], &follows.channel);
        (0..servers.len()).find(|other| is_it(*other))
    })
}

fn is_source(server: &Server, channel: &Channel) -> bool {
    match &server.answer {
        Ok(answer) => answer.state.is_source_of(channel),
        Err(_) => facts::places(&server.known).iter().any(|place| {
            place.port == channel.port && place.host.eq_ignore_ascii_case(&channel.host)
        }),
    }
}

/// The one that others replicate from; if nobody replicates, the only one that takes writes.
fn primary(servers: &[Server], sources: &[Option<usize>]) -> Primary {
    let one_of = |found: Vec<usize>| match found[..] {
        [] => Primary::None,
        [one] => Primary::One(one),
        _ => Primary::Several(found),
    };
    let all = 0..servers.len();
    let roots: Vec<usize> = all
        .clone()
        .filter(|index| sources[*index].is_none() && sources.contains(&Some(*index)))
        .collect();
    if !roots.is_empty() {
        return one_of(roots);
    }
    let is_open = |index: &usize| {
        servers[*index].answer.as_ref().is_ok_and(|answer| {
            !answer.state.is_read_only()
                && answer.follows().is_none_or(|follows| follows.is_empty())
        })
    };
    one_of(all.filter(is_open).collect())
}
