//! Semi-synchronous replication on both sides, under the names that a server has for it. Pure.

use super::options::{Options, SemiSyncOptions};
use super::plan::{Action, Obstacle, Purpose, Step};
use crate::administration::statements::{self, Statement, install};
use crate::facts::{Origin, State};
use crate::routing::topology::Thread;
use crate::wire::Flavour;

/// The names on one server: MySQL has new ones from 8.0.26 on, unless the old plugins are installed;
/// MariaDB has the old ones, and no plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    pub source: &'static str,
    pub replica: &'static str,
    pub needs_plugins: bool,
}

pub fn names(state: &State) -> Names {
    let old = Names { source: "master", replica: "slave", needs_plugins: true };
    let version = (state.version.major, state.version.minor, state.version.patch);
    let has_old = ["rpl_semi_sync_master", "rpl_semi_sync_slave"]
        .iter()
        .any(|plugin| state.plugins.contains(*plugin));
    match state.flavour() {
        Flavour::MariaDb => Names { needs_plugins: false, ..old },
        Flavour::MySql if version < (8, 0, 26) || has_old => old,
        Flavour::MySql => Names { source: "source", replica: "replica", needs_plugins: true },
    }
}

/// The variable that switches one side on.
pub fn switch(side: &str) -> String {
    format!("rpl_semi_sync_{side}_enabled")
}

/// What was asked for and cannot be.
pub fn impossible(primary: &State, replicas: usize, options: &Options) -> Option<Obstacle> {
    let wanted = options.semi_sync?.replicas?;
    if wanted as usize > replicas {
        return Some(Obstacle::general(
            format!("a commit cannot wait for {wanted} replicas: there are {replicas}"),
            "ask for fewer by --semi-sync-replicas".to_owned(),
        ));
    }
    (primary.flavour() == Flavour::MariaDb && wanted > 1).then(|| {
        Obstacle::of(
            primary,
            "MariaDB waits for one replica, never for more".to_owned(),
            "leave --semi-sync-replicas out".to_owned(),
        )
    })
}

/// The primary's side is there, but off, when replicas connect: only then do they ask for it.
pub fn source_plugin(primary: &State) -> Option<Step> {
    let Names { source, needs_plugins, .. } = names(primary);
    let plugin = format!("rpl_semi_sync_{source}");
    if !needs_plugins || primary.plugins.contains(&plugin) {
        return None;
    }
    let told = vec![install(&switch(source))];
    let reason = "commits can wait until replicas have them";
    Some(Step::new(primary, Purpose::SourcePlugin, Action::TellReplica(told), reason))
}

/// The replica's side. `is_new`: it loses what it has of it when the data come.
pub fn replica(state: &State, is_new: bool) -> Option<Step> {
    let Names { replica, needs_plugins, .. } = names(state);
    let side = state.semi_sync.replica.filter(|_| !is_new);
    let variable = switch(replica);
    let mut told: Vec<Statement> = Vec::new();
    if needs_plugins && side.is_none() {
        // A plugin is a row in a table, which nobody may write then.
        let is_shut = state.is_on("super_read_only");
        let shut = |to: &str| -> Statement { format!("SET GLOBAL super_read_only = {to}").into() };
        told.extend(is_shut.then(|| shut("OFF")));
        told.push(install(&variable));
        told.extend(is_shut.then(|| shut("ON")));
    }
    let is_enabled = side.is_some_and(|side| side.enabled);
    if !is_enabled || forgets(state, &variable) {
        told.push(statements::set(&variable, "ON", &state.version));
    }
    let receives = state.follows.iter().any(|follows| follows.channel.receiver == Thread::Running);
    let is_active = side.is_some_and(|side| side.active);
    if receives && !is_active {
        // It asks for it when it connects.
        told.push(statements::replica("STOP", "IO_THREAD", &state.version));
        told.push(statements::replica("START", "IO_THREAD", &state.version));
    }
    if told.is_empty() {
        return None;
    }
    let reason = "it acknowledges what it has received";
    Some(Step::new(state, Purpose::Acknowledge, Action::TellReplica(told), reason))
}

/// Switched on last, when replicas are there that acknowledge: the first commit would wait for the
/// whole time-out otherwise.
pub fn source(primary: &State, replicas: usize, wishes: &SemiSyncOptions) -> Option<Step> {
    if replicas == 0 {
        return None;
    }
    let Names { source, replica, .. } = names(primary);
    let mut told: Vec<Statement> = Vec::new();
    let mut set = |name: String, value: Option<String>| {
        let Some(value) = value else { return };
        let is_so = primary.variable(&name).is_some_and(|is| is.eq_ignore_ascii_case(&value));
        if !is_so || forgets(primary, &name) {
            told.push(statements::set(&name, &value, &primary.version));
        }
    };
    let milliseconds = wishes.timeout.map(|timeout| timeout.as_millis().to_string());
    set(format!("rpl_semi_sync_{source}_timeout"), milliseconds);
    let point = wishes.wait_point.map(|point| point.value().to_owned());
    set(format!("rpl_semi_sync_{source}_wait_point"), point);
    if primary.flavour() == Flavour::MySql {
        let count = wishes.replicas.map(|count| count.to_string());
        set(format!("rpl_semi_sync_{source}_wait_for_{replica}_count"), count);
    }
    set(switch(source), Some("ON".to_owned()));
    if told.is_empty() {
        return None;
    }
    let clients = replicas.try_into().unwrap_or(u32::MAX);
    let reason = "commits wait until replicas have them";
    Some(Step::new(primary, Purpose::WaitForReplicas, Action::Acknowledged(told, clients), reason))
}

/// A restart finds something else, and the server could keep it.
fn forgets(state: &State, variable: &str) -> bool {
    state.persists() && matches!(state.origins.get(variable), Some(Origin::Running))
}
