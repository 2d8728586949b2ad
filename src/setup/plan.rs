//! From what the servers say to what is to be done, step by step. Pure: made anew after each step, it
//! has fewer steps, and none at the end, so that a setup that was cut off goes on where it was.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::accounts;
use super::fragment::{self, Options as ServerOptions};
use super::gtids;
use super::options::{Accounts, Options};
use super::primary::{self, Choice};
use super::replica::{self, Condition};
use super::semi_sync;
use crate::administration::statements::{self, Statement};
use crate::facts::{Login, State, privileges};
use crate::wire::Flavour;

/// All that a plan is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Situation {
    /// Those that answer, by name. The primary's transactions were asked for last.
    pub states: Vec<State>,
    /// Those that do not, and why.
    pub absent: Vec<Absent>,
    /// What labels begin with.
    pub prefix: String,
}

/// A server that cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    pub name: Arc<str>,
    pub problem: String,
    pub remedy: String,
}

impl Absent {
    pub fn in_words(&self) -> String {
        format!("{}: {} ({})", self.name, self.problem, self.remedy)
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub primary: Arc<str>,
    /// Why it.
    pub because: String,
    /// Each with what it is now, in words.
    pub replicas: Vec<(Arc<str>, String)>,
    pub steps: Vec<Step>,
    /// What is worth knowing and stops nothing.
    pub notes: Vec<String>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    pub server: Option<Arc<str>>,
    pub problem: String,
    pub remedy: String,
    /// Options that the server must be started with, if that is the remedy.
    pub options: Option<Box<ServerOptions>>,
}

impl Obstacle {
    pub fn general(problem: String, remedy: String) -> Self {
        Obstacle { server: None, problem, remedy, options: None }
    }

    pub fn of(state: &State, problem: String, remedy: String) -> Self {
        Obstacle { server: Some(state.name.clone()), problem, remedy, options: None }
    }
}

/// What a step is for. With its server it says which step it is, from one plan to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    CloseEarly,
    Consistency,
    GtidMode(gtids::Mode),
    ServerId,
    Open,
    ReplicationAccount,
    MonitorAccount,
    FirstTransaction,
    SourcePlugin,
    ClonePlugin,
    Data,
    Acknowledge,
    Follow,
    Close,
    WaitForReplicas,
    RequireTls,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub server: Arc<str>,
    pub purpose: Purpose,
    pub action: Action,
    /// Why, in one line.
    pub reason: String,
}

impl Step {
    pub fn new(state: &State, purpose: Purpose, action: Action, reason: &str) -> Self {
        Step { server: state.name.clone(), purpose, action, reason: reason.to_owned() }
    }

    /// The same step of another plan.
    pub fn is(&self, other: &Step) -> bool {
        self.server == other.server && self.purpose == other.purpose
    }
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Statements, one after the other, in one session.
    Tell(Vec<Statement>),
    /// The same on a server that is or becomes a replica: nothing of it goes into its binary log.
    TellReplica(Vec<Statement>),
    /// The same once the replica has applied all that its source has written so far.
    TellDrained(Vec<Statement>),
    /// The last of the statements begins the clone, which ends with the server shutting down.
    Clone(Vec<Statement>),
    /// The data come from the primary over SQL, once this was said.
    Copy { before: Vec<Statement>, loses: bool },
    /// After the statements the server replicates.
    Follow(Vec<Statement>),
    /// Once so many replicas are connected that acknowledge.
    Acknowledged(Vec<Statement>, u32),
}

impl Action {
    /// What is shown of it, without passwords.
    pub fn shown(&self) -> Vec<String> {
        match self {
            Action::Tell(statements)
            | Action::TellReplica(statements)
            | Action::TellDrained(statements)
            | Action::Clone(statements)
            | Action::Follow(statements)
            | Action::Acknowledged(statements, _) => {
                statements.iter().map(|statement| statement.shown.clone()).collect()
            }
            Action::Copy { before, .. } => {
                let copied =
                    "its schemas are dropped, and those of the primary copied by SELECT and INSERT";
                let before = before.iter().map(|statement| statement.shown.as_str());
                before.chain([copied]).map(str::to_owned).collect()
            }
        }
    }
}

/// Makes the plan.
///
/// # Errors
/// All obstacles at once.
pub fn plan(
    situation: &Situation,
    options: &Options,
    accounts: &Accounts,
) -> Result<Plan, Vec<Obstacle>> {
    let Situation { states, absent, prefix } = situation;
    if states.is_empty() && absent.is_empty() {
        return Err(vec![fragment::nobody(prefix)]);
    }
    let mut obstacles: Vec<Obstacle> =
        states.iter().flat_map(|state| unfit(state, accounts)).collect();
    let chosen = primary::choose(states, prefix);
    let is_established = chosen.as_ref().is_ok_and(|choice| choice.is_established);
    let mut notes = Vec::new();
    for absent in absent {
        // In a cluster that works, who is away for a while is left alone.
        if is_established {
            notes.push(format!("{} is left as it is: {}", absent.name, absent.problem));
        } else {
            obstacles.push(Obstacle {
                server: Some(absent.name.clone()),
                problem: absent.problem.clone(),
                remedy: absent.remedy.clone(),
                options: None,
            });
        }
    }
    let choice = match chosen {
        Ok(choice) if obstacles.is_empty() => choice,
        Ok(_) => return Err(obstacles),
        // Who is away might decide it.
        Err(more) if absent.is_empty() => {
            obstacles.extend(more);
            return Err(obstacles);
        }
        Err(_) => return Err(obstacles),
    };
    Planner::new(situation, options, accounts, &choice, notes).plan(&choice)
}

/// Why a server can take no part.
fn unfit(state: &State, accounts: &Accounts) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    let version = &state.version;
    let (oldest, is_too_old) = match version.flavour {
        Flavour::MySql => ("5.7", !version.at_least(5, 7)),
        Flavour::MariaDb => ("10.3", !version.at_least(10, 3)),
    };
    if is_too_old {
        obstacles.push(Obstacle::of(
            state,
            format!("its version, {version}, is too old"),
            format!("use {} {oldest} or later", version.flavour),
        ));
    }
    if state.is_member {
        obstacles.push(Obstacle::of(
            state,
            "it belongs to a group (Group Replication or Galera), which copies data by itself"
                .to_owned(),
            "nothing is to be set up here: `rwproxy check` says whether all is well".to_owned(),
        ));
    }
    if let Some(grant) = accounts::grant_administrator(state, &accounts.administrator.user) {
        obstacles.push(Obstacle::of(
            state,
            format!(
                "the administrator's account {} lacks privileges: {}",
                accounts.administrator.user,
                state.lacking.join(", ")
            ),
            format!("{grant}; or name an account that has all in [administrator]"),
        ));
    }
    obstacles
}

struct Planner<'a> {
    primary: &'a State,
    replicas: Vec<&'a State>,
    states: &'a [State],
    options: &'a Options,
    accounts: &'a Accounts,
    /// Replicas connect by TLS, because it is wished or because their account demands it.
    tls: bool,
    notes: Vec<String>,
}

impl<'a> Planner<'a> {
    fn new(
        situation: &'a Situation,
        options: &'a Options,
        accounts: &'a Accounts,
        choice: &Choice,
        mut notes: Vec<String>,
    ) -> Self {
        let primary = &situation.states[choice.primary];
        let replicas = situation.states.iter().filter(|state| state.name != primary.name);
        notes.extend(choice.notes.iter().cloned());
        let demands = primary.replication.as_ref().is_some_and(|account| account.requires_tls);
        Planner {
            primary,
            replicas: replicas.collect(),
            states: &situation.states,
            options,
            accounts,
            tls: options.tls || demands,
            notes,
        }
    }

    fn plan(mut self, choice: &Choice) -> Result<Plan, Vec<Obstacle>> {
        let mut obstacles = self.of_the_primary();
        let ids = gtids::server_ids(self.primary, &self.replicas);
        for state in self.states {
            let is_primary = state.name == self.primary.name;
            obstacles.extend(fragment::needed(
                state,
                is_primary,
                ids.get(&state.name).copied(),
                self.tls,
            ));
        }
        let mut conditions = Vec::new();
        for state in &self.replicas {
            obstacles.extend(replica::misfits(state, self.primary));
            match replica::condition(state, self.primary, self.states, self.options) {
                Ok(condition) => conditions.push((*state, condition)),
                Err(obstacle) => obstacles.push(obstacle),
            }
        }
        obstacles.extend(semi_sync::impossible(self.primary, self.replicas.len(), self.options));
        let known: BTreeSet<&str> = self.states.iter().map(|state| &*state.name).collect();
        for name in self.options.overwrite.iter().filter(|name| !known.contains(name.as_str())) {
            obstacles.push(Obstacle::general(
                format!("--overwrite {name}: no server is called so"),
                format!("there are {}", known.iter().copied().collect::<Vec<_>>().join(", ")),
            ));
        }
        if !obstacles.is_empty() {
            return Err(obstacles);
        }
        let steps = self.steps(&ids, &conditions);
        self.notes.extend(fragment::notes(self.primary, &conditions, self.options));
        let replicas =
            conditions.iter().map(|(state, condition)| (state.name.clone(), condition.in_words()));
        Ok(Plan {
            primary: self.primary.name.clone(),
            because: choice.because.clone(),
            replicas: replicas.collect(),
            steps,
            notes: self.notes,
        })
    }

    /// What is wrong with the accounts, which are judged on the primary.
    fn of_the_primary(&self) -> Vec<Obstacle> {
        let mut obstacles = Vec::new();
        for (credentials, account) in [
            (&self.accounts.replication, &self.primary.replication),
            (&self.accounts.monitor, &self.primary.monitor),
        ] {
            let Some(Login::Refused(why)) = account.as_ref().map(|account| &account.login) else {
                continue;
            };
            let user = accounts::at_any_host(&credentials.user);
            obstacles.push(Obstacle::of(
                self.primary,
                format!(
                    "the account {user} exists, and has another password than {}: {why}",
                    credentials.kept
                ),
                format!(
                    "give {} the account's password, or the account that one: ALTER USER {user} \
                     IDENTIFIED BY '…' (replicas that use it must then be told, too)",
                    credentials.kept
                ),
            ));
        }
        obstacles
    }

    fn steps(&self, ids: &gtids::ServerIds, conditions: &[(&State, Condition)]) -> Vec<Step> {
        let mut steps = Vec::new();
        for (state, _) in conditions.iter().filter(|(state, _)| !state.is_read_only()) {
            let close = statements::set("read_only", "ON", &state.version);
            let reason = "writes belong on the primary alone, from now on";
            steps.push(Step::new(
                state,
                Purpose::CloseEarly,
                Action::TellReplica(vec![close]),
                reason,
            ));
        }
        steps.extend(gtids::steps(self.primary, &self.replicas, self.states));
        steps.extend(gtids::id_steps(self.states, ids, self.primary));
        steps.extend(self.primary_steps(conditions));
        for (state, condition) in conditions {
            steps.extend(replica::steps(
                state,
                condition,
                self.primary,
                &replica::Wishes {
                    accounts: self.accounts,
                    tls: self.tls,
                    semi_sync: self.options.semi_sync.is_some(),
                    replicas: &self.replicas,
                },
            ));
        }
        let direct = conditions.iter().filter(|(_, condition)| condition.is_direct()).count();
        if let Some(wishes) = &self.options.semi_sync {
            steps.extend(semi_sync::source(self.primary, direct, wishes));
        }
        steps.extend(self.require_tls());
        steps
    }

    fn primary_steps(&self, conditions: &[(&State, Condition)]) -> Vec<Step> {
        let primary = self.primary;
        let mut steps = Vec::new();
        let mut tell = |purpose, statements: Vec<Statement>, reason: &str| {
            if !statements.is_empty() {
                steps.push(Step::new(primary, purpose, Action::Tell(statements), reason));
            }
        };
        if primary.is_read_only() {
            let open = statements::read_only(false, &primary.version);
            tell(Purpose::Open, open, "the primary takes writes");
        }
        let Accounts { replication, monitor, .. } = self.accounts;
        let needs = privileges::of_replication();
        let told = accounts::statements(
            replication,
            &needs,
            primary.replication.as_ref(),
            &primary.version,
        );
        let is_told = !told.is_empty();
        tell(Purpose::ReplicationAccount, told, "the account by which replicas fetch");
        let needs = privileges::of_monitor(&primary.version);
        let told =
            accounts::statements(monitor, &needs, primary.monitor.as_ref(), &primary.version);
        let is_told = is_told || !told.is_empty();
        tell(Purpose::MonitorAccount, told, "the account by which the proxy watches the servers");
        if !is_told && !primary.has_transactions() {
            let again = format!(
                "GRANT REPLICATION SLAVE ON *.* TO {}",
                accounts::at_any_host(&replication.user)
            );
            tell(
                Purpose::FirstTransaction,
                vec![again.into()],
                "a first transaction with a GTID, for replicas to know what they have",
            );
        }
        if self.options.semi_sync.is_some() && !self.replicas.is_empty() {
            // Replicas ask for it only when they connect.
            steps.extend(semi_sync::source_plugin(primary));
        }
        let clones = conditions
            .iter()
            .any(|(state, condition)| condition.needs_data() && replica::can_clone(state, primary));
        if clones && !primary.plugins.contains("clone") {
            let install = vec![replica::INSTALL_CLONE.into()];
            let reason = "the plugin that gives the data away";
            steps.push(Step::new(
                primary,
                Purpose::ClonePlugin,
                Action::TellReplica(install),
                reason,
            ));
        }
        steps
    }

    /// Last, so that no replica is shut out that does not encrypt yet.
    fn require_tls(&self) -> Option<Step> {
        let account = self.primary.replication.as_ref();
        let is_required = account.is_some_and(|account| account.requires_tls);
        if !self.options.tls || is_required || self.replicas.is_empty() {
            return None;
        }
        let user = accounts::at_any_host(&self.accounts.replication.user);
        let alter = vec![format!("ALTER USER {user} REQUIRE SSL").into()];
        let reason = "nobody fetches without encryption any more";
        Some(Step::new(self.primary, Purpose::RequireTls, Action::Tell(alter), reason))
    }
}
