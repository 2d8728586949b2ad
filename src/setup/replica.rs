//! What a server is that is to be a replica, and what makes it one. Pure.

use super::gtids;
use super::options::{Accounts, Options};
use super::plan::{Action, Obstacle, Purpose, Step};
use super::progress;
use super::semi_sync;
use crate::administration::Place;
use crate::administration::statements::{self, Login, Statement, quoted};
use crate::facts::{Cloning, Follows, Schema, State, lines};
use crate::monitor::observation::Channel;
use crate::routing::topology::Thread;
use crate::wire::{Flavour, ServerVersion};

pub const INSTALL_CLONE: &str = "INSTALL PLUGIN clone SONAME 'mysql_clone.so'";

/// What a server is to the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It replicates from the primary, or is set up to.
    Follows(Follows),
    /// It replicates from a replica of the primary, and goes on so.
    Chained(String),
    /// It has a state of the primary, and goes on from there.
    CanFollow,
    /// It gets the primary's data; its own, if it has any, are lost.
    NeedsData { loses: Option<String> },
}

impl Condition {
    pub fn needs_data(&self) -> bool {
        matches!(self, Condition::NeedsData { .. })
    }

    /// It will replicate from the primary itself.
    pub fn is_direct(&self) -> bool {
        !matches!(self, Condition::Chained(_))
    }

    pub fn in_words(&self) -> String {
        match self {
            Condition::Follows(_) => "replicates from the primary".to_owned(),
            Condition::Chained(source) => format!("replicates from {source}"),
            Condition::CanFollow => {
                "has an earlier state of the primary: it goes on from there".to_owned()
            }
            Condition::NeedsData { loses: None } => {
                "is empty: it gets the primary's data".to_owned()
            }
            Condition::NeedsData { loses: Some(what) } => {
                format!("LOSES what it has ({what}): it gets the primary's data")
            }
        }
    }
}

/// Why a server cannot replicate from this primary, whatever data it has.
pub fn misfits(state: &State, primary: &State) -> Option<Obstacle> {
    let (own, theirs) = (&state.version, &primary.version);
    if own.flavour != theirs.flavour {
        return Some(Obstacle::of(
            state,
            format!("it is {}, and the primary {}", own.flavour, theirs.flavour),
            "use servers of one kind".to_owned(),
        ));
    }
    let number = |version: &ServerVersion| (version.major, version.minor);
    if number(own) < number(theirs) {
        return Some(Obstacle::of(
            state,
            format!("its version, {}, is older than the primary's, {}", own, theirs),
            "a replica must not be older: use a newer image for it".to_owned(),
        ));
    }
    None
}

pub fn condition(
    state: &State,
    primary: &State,
    states: &[State],
    options: &Options,
) -> Result<Condition, Obstacle> {
    let may_lose = options.overwrite.contains(&*state.name);
    let lose = |what: String, remedy: &str| {
        if may_lose {
            return Ok(Condition::NeedsData { loses: Some(what) });
        }
        let name = &state.name;
        Err(Obstacle::of(
            state,
            what,
            format!("{remedy}, or let it lose what it has: --overwrite {name}"),
        ))
    };
    match &state.follows[..] {
        [] => {}
        [follows] if primary.is_source_of(&follows.channel) => {
            return match state.errant(primary) {
                // Whoever has had it replicate has not brought what is missing.
                None if state.half_copied => Ok(Condition::NeedsData { loses: None }),
                None => Ok(Condition::Follows(follows.clone())),
                Some(errant) => lose(
                    format!("it has transactions that the primary does not have: {errant}"),
                    "bring to the primary what is worth keeping of them",
                ),
            };
        }
        [follows] => match lines::source(state, states) {
            Some(source) if is_below(source, primary, states) => {
                return Ok(Condition::Chained(states[source].name.to_string()));
            }
            _ if follows.channel.receiver == Thread::Running => {
                let Channel { host, port, .. } = &follows.channel;
                return lose(
                    format!("it replicates from {host}:{port}, which is not the primary"),
                    "end that (STOP REPLICA; RESET REPLICA ALL)",
                );
            }
            // What it once replicated from is gone.
            _ => {}
        },
        several => {
            return lose(
                format!("it replicates over {} channels", several.len()),
                "leave one channel, without a name",
            );
        }
    }
    if state.half_copied || state.cloning == Cloning::Running {
        return Ok(Condition::NeedsData { loses: None });
    }
    if state.is_bare() {
        let is_copy = state.has_replicated() || state.is_clone_of(primary);
        let can_follow =
            is_copy && state.errant(primary).is_none() && state.missed(primary).is_none();
        return Ok(match can_follow {
            true => Condition::CanFollow,
            false => Condition::NeedsData { loses: None },
        });
    }
    if state.has_mistakable_transactions(primary) {
        let own = primary.server_id();
        return lose(
            format!(
                "it has data, and transactions under the primary's server_id, {own}, that are not the \
                 primary's; its data: {}",
                data_in_words(state)
            ),
            "bring to the primary what is worth keeping of them",
        );
    }
    if let Some(errant) = state.errant(primary) {
        return lose(
            format!(
                "it has data, and transactions that the primary does not have: {errant}; its data: {}",
                data_in_words(state)
            ),
            "bring to the primary what is worth keeping of them",
        );
    }
    if let Some(missed) = state.missed(primary) {
        return lose(
            format!(
                "it lacks transactions that the primary's binary logs no longer have: {missed}"
            ),
            "they can only be had by a copy",
        );
    }
    if state.has_transactions() || state.is_clone_of(primary) {
        return Ok(Condition::CanFollow);
    }
    lose(
        format!("it has data of its own: {}", data_in_words(state)),
        "bring to the primary what is worth keeping of it",
    )
}

/// The schemas with data, the first few by name.
fn data_in_words(state: &State) -> String {
    const MOST: usize = 5;
    let all: Vec<&Schema> = state.data().collect();
    let named: Vec<String> = all
        .iter()
        .take(MOST)
        .map(|schema| {
            let Schema { name, objects, bytes } = schema;
            format!("{name} ({objects} objects, {})", progress::bytes(*bytes))
        })
        .collect();
    let more = all.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    named.join(", ") + &more
}

/// Whether a server is a replica of the primary, directly or not.
fn is_below(index: usize, primary: &State, states: &[State]) -> bool {
    let mut at = index;
    for _ in 0..states.len() {
        match lines::source(&states[at], states) {
            Some(source) if states[source].name == primary.name => return true,
            Some(source) => at = source,
            None => return false,
        }
    }
    false
}

/// Whether a server can get its data by the clone plugin: from a server of its own version, which from
/// 8.0.37 on may differ in its last number.
pub fn can_clone(state: &State, primary: &State) -> bool {
    let number = |version: &ServerVersion| (version.major, version.minor, version.patch);
    let (own, theirs) = (number(&state.version), number(&primary.version));
    if state.flavour() != Flavour::MySql || own < (8, 0, 17) {
        return false;
    }
    let is_lenient = own >= (8, 0, 37) && theirs >= (8, 0, 37);
    if is_lenient { own.0 == theirs.0 && own.1 == theirs.1 } else { own == theirs }
}

/// What all replicas are to be like.
pub struct Wishes<'a> {
    pub accounts: &'a Accounts,
    pub tls: bool,
    pub semi_sync: bool,
    pub replicas: &'a [&'a State],
}

pub fn steps(
    state: &State,
    condition: &Condition,
    primary: &State,
    wishes: &Wishes<'_>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Condition::NeedsData { loses } = condition {
        steps.push(data(state, loses.is_some(), primary, wishes));
    }
    // What is there now goes when the data come.
    let is_new = condition.needs_data();
    if wishes.semi_sync {
        steps.extend(semi_sync::replica(state, is_new));
    }
    steps.extend(follow(state, condition, primary, wishes));
    steps.extend(close(state));
    steps
}

fn data(state: &State, loses: bool, primary: &State, wishes: &Wishes<'_>) -> Step {
    let reason = match loses {
        true => "its own data are LOST, and it gets the primary's".to_owned(),
        false => format!("it gets the primary's data, {}", progress::bytes(primary.bytes())),
    };
    let action = match can_clone(state, primary) {
        true => Action::Clone(clone_statements(state, primary, wishes)),
        false => Action::Copy { before: leave(state), loses },
    };
    Step::new(state, Purpose::Data, action, &reason)
}

/// It is nobody's replica while its data come.
fn leave(state: &State) -> Vec<Statement> {
    if state.follows.is_empty() {
        return Vec::new();
    }
    ["STOP", "RESET"]
        .map(|verb| {
            let rest = if verb == "RESET" { "ALL" } else { "" };
            statements::replica(verb, rest, &state.version)
        })
        .into()
}

/// The last one begins the clone.
fn clone_statements(state: &State, primary: &State, wishes: &Wishes<'_>) -> Vec<Statement> {
    let mut told = leave(state);
    if state.is_on("super_read_only") {
        told.push("SET GLOBAL super_read_only = OFF".into());
    }
    if !state.plugins.contains("clone") {
        told.push(INSTALL_CLONE.into());
    }
    let Place { host, port } = place(primary, wishes.replicas);
    let donor = quoted(&format!("{host}:{port}"));
    told.push(format!("SET GLOBAL clone_valid_donor_list = {donor}").into());
    let administrator = &wishes.accounts.administrator;
    let from =
        format!("CLONE INSTANCE FROM {}@{}:{port}", quoted(&administrator.user), quoted(&host));
    let rest = if wishes.tls { " REQUIRE SSL" } else { "" };
    told.push(Statement {
        sql: format!("{from} IDENTIFIED BY {}{rest}", quoted(administrator.password.expose())),
        shown: format!("{from} IDENTIFIED BY '***'{rest}"),
    });
    told
}

/// Where a replica finds the primary: where the others do, else the likeliest place.
pub fn place(primary: &State, replicas: &[&State]) -> Place {
    let used = replicas.iter().flat_map(|replica| &replica.follows).find_map(|follows| {
        let Follows { channel, .. } = follows;
        let is_it = primary.is_source_of(channel) && channel.receiver == Thread::Running;
        is_it.then(|| Place { host: channel.host.to_string(), port: channel.port })
    });
    used.or_else(|| primary.places.first().cloned())
        .unwrap_or_else(|| Place { host: primary.name.to_string(), port: 3306 })
}

fn follow(
    state: &State,
    condition: &Condition,
    primary: &State,
    wishes: &Wishes<'_>,
) -> Option<Step> {
    let stop = || statements::replica("STOP", "", &state.version);
    let start = || statements::replica("START", "", &state.version);
    let (mut told, reason) = match condition {
        Condition::Chained(_) => return None,
        Condition::Follows(follows) => {
            let Follows { channel, by_gtid, tls, .. } = follows;
            let stopped = channel.receiver == Thread::Stopped || channel.applier == Thread::Stopped;
            let is_refused =
                channel.receiver != Thread::Running && channel.receiver_error.is_some();
            if !by_gtid {
                (vec![stop()], "it replicates by GTID, no longer by file and offset")
            } else if wishes.tls && !tls {
                (vec![stop()], "it fetches over TLS")
            } else if is_refused {
                (vec![stop()], "it does not reach the primary: place and password are told anew")
            } else if stopped {
                let told = Action::Follow(vec![start()]);
                let reason = "replication is set up, and does not run";
                return Some(Step::new(state, Purpose::Follow, told, reason));
            } else {
                return None;
            }
        }
        Condition::CanFollow if !state.follows.is_empty() => {
            (vec![stop()], "it replicates from the primary, no longer from who is gone")
        }
        Condition::CanFollow | Condition::NeedsData { .. } => {
            (Vec::new(), "it replicates from the primary")
        }
    };
    if !condition.needs_data() {
        told.extend(gtids::continue_from(state));
    }
    let replication = &wishes.accounts.replication;
    let tls = wishes.tls || matches!(condition, Condition::Follows(follows) if follows.tls);
    let login = Login {
        user: replication.user.clone(),
        password: replication.password.expose().to_owned(),
        tls,
        asks_public_key: !tls,
    };
    let follow = statements::follow(&place(primary, wishes.replicas), Some(&login), &state.version);
    told.push(patient(follow, &state.version));
    told.push(start());
    Some(Step::new(state, Purpose::Follow, Action::Follow(told), reason))
}

/// A replica tries again soon, and for ever: from MySQL 8.4 on it would give up after ten times.
fn patient(follow: Statement, version: &ServerVersion) -> Statement {
    let is_new = follow.sql.starts_with("CHANGE REPLICATION");
    let prefix = if is_new { "SOURCE" } else { "MASTER" };
    let mut rest = format!(", {prefix}_CONNECT_RETRY = 5");
    if version.flavour == Flavour::MySql {
        rest += &format!(", {prefix}_RETRY_COUNT = 0");
    }
    Statement { sql: follow.sql + &rest, shown: follow.shown + &rest }
}

/// Nobody writes there, not even administrators where the server has that, and not after a restart.
fn close(state: &State) -> Option<Step> {
    let variable = match state.flavour() {
        Flavour::MySql => "super_read_only",
        Flavour::MariaDb => "read_only",
    };
    // MariaDB was closed at the very beginning.
    let is_closed = state.is_on(variable) || state.flavour() == Flavour::MariaDb;
    if is_closed && (state.keeps(variable) || !state.persists()) {
        return None;
    }
    let told = vec![statements::set(variable, "ON", &state.version)];
    let reason = "nobody writes on a replica by mistake, also after a restart";
    Some(Step::new(state, Purpose::Close, Action::TellReplica(told), reason))
}
