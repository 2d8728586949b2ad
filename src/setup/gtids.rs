//! GTIDs on all servers, and a number of its own for each server. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::plan::{Action, Purpose, Step};
use crate::administration::statements::{self, Statement};
use crate::facts::{Gtids, Origin, State, lines};
use crate::wire::Flavour;

/// `gtid_mode`, in the order in which it is switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Off,
    OffPermissive,
    OnPermissive,
    On,
}

impl Mode {
    fn of(state: &State) -> Mode {
        match state.variable("gtid_mode") {
            Some("ON") => Mode::On,
            Some("ON_PERMISSIVE") => Mode::OnPermissive,
            Some("OFF_PERMISSIVE") => Mode::OffPermissive,
            _ => Mode::Off,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Mode::Off => "OFF",
            Mode::OffPermissive => "OFF_PERMISSIVE",
            Mode::OnPermissive => "ON_PERMISSIVE",
            Mode::On => "ON",
        }
    }
}

/// Switches GTIDs on, online: each mode on all servers before the next one on any, so that each
/// understands what the others write (MySQL manual, "Enabling GTID Transactions Online").
pub fn steps(primary: &State, replicas: &[&State], states: &[State]) -> Vec<Step> {
    if primary.flavour() != Flavour::MySql {
        return Vec::new();
    }
    let all = || [primary].into_iter().chain(replicas.iter().copied());
    let mut steps = Vec::new();
    for state in all() {
        if state.variable("enforce_gtid_consistency") != Some("ON") {
            let set = statements::set("enforce_gtid_consistency", "ON", &state.version);
            let reason = "GTIDs need it: statements that cannot have one are refused";
            steps.push(Step::new(
                state,
                Purpose::Consistency,
                Action::TellReplica(vec![set]),
                reason,
            ));
        }
    }
    let reason = "transactions are numbered, so that a server knows which of them it has";
    for mode in [Mode::OffPermissive, Mode::OnPermissive, Mode::On] {
        for state in all().filter(|state| Mode::of(state) < mode) {
            let told = vec![statements::set("gtid_mode", mode.name(), &state.version)];
            // What has come to it without a number could not be applied any more.
            let is_replica = lines::source(state, states).is_some();
            let action = match mode {
                Mode::On if is_replica => Action::TellDrained(told),
                _ => Action::TellReplica(told),
            };
            steps.push(Step::new(state, Purpose::GtidMode(mode), action, reason));
        }
    }
    steps
}

/// The number that each server is to have, by its name; those that keep theirs are not in it.
pub type ServerIds = BTreeMap<Arc<str>, u32>;

pub fn server_ids(primary: &State, replicas: &[&State]) -> ServerIds {
    let all = || [primary].into_iter().chain(replicas.iter().copied());
    let mut taken: BTreeSet<u32> = BTreeSet::new();
    let mut without = Vec::new();
    // Replicas that replicate are not disturbed by a newcomer.
    let (settled, new): (Vec<&State>, Vec<&State>) =
        all().partition(|state| state.name == primary.name || !state.follows.is_empty());
    for state in settled.into_iter().chain(new) {
        match state.server_id() {
            0 => without.push(state),
            id if taken.insert(id) => {}
            _ => without.push(state),
        }
    }
    // None below others' first: one may be that of a server which is gone or was renumbered, and what
    // bears it in the binary logs would be left out by a replica of that number.
    let highest = taken.last().copied().unwrap_or(0);
    let free = (highest.saturating_add(1)..=u32::MAX).chain(1..highest);
    let free = free.filter(|id| !taken.contains(id));
    without.into_iter().zip(free).map(|(state, id)| (state.name.clone(), id)).collect()
}

/// Gives servers their numbers where they keep them by themselves; elsewhere an option must.
pub fn id_steps(states: &[State], ids: &ServerIds, primary: &State) -> Vec<Step> {
    let step = |state: &State| -> Option<Step> {
        let id = match ids.get(&state.name) {
            Some(id) => *id,
            None if state.origins.get("server_id") == Some(&Origin::Running) => state.server_id(),
            None => return None,
        };
        let set = statements::set("server_id", &id.to_string(), &state.version);
        let reason = "no two servers may have the same number";
        state
            .persists()
            .then(|| Step::new(state, Purpose::ServerId, Action::TellReplica(vec![set]), reason))
    };
    // The primary first, like everywhere.
    let others = states.iter().filter(|state| state.name != primary.name);
    [primary].into_iter().chain(others).filter_map(step).collect()
}

/// Where a server of MariaDB continues: by its own writes, and by replication.
pub fn continue_from(state: &State) -> Option<Statement> {
    let Gtids::MariaDb { logged, replicated, .. } = &state.gtids else { return None };
    let mut position = logged.clone();
    position.extend(replicated);
    (position != *replicated).then(|| {
        let position = statements::quoted(&position.to_string());
        format!("SET GLOBAL gtid_slave_pos = {position}").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::{following, mysql, with};

    fn told(steps: &[Step]) -> Vec<String> {
        let one = |step: &Step| format!("{}: {}", step.server, step.action.shown().join("; "));
        steps.iter().map(one).collect()
    }

    #[test]
    fn each_mode_on_all_servers_before_the_next() {
        let a = with(mysql("a", 1), &[("gtid_mode", "OFF"), ("enforce_gtid_consistency", "OFF")]);
        let b = with(mysql("b", 2), &[("gtid_mode", "ON_PERMISSIVE")]);
        let b = following(b, &a);
        let states = [a.clone(), b.clone()];
        let steps = steps(&a, &[&b], &states);
        assert_eq!(
            told(&steps),
            [
                "a: SET PERSIST enforce_gtid_consistency = ON",
                "a: SET PERSIST gtid_mode = OFF_PERMISSIVE",
                "a: SET PERSIST gtid_mode = ON_PERMISSIVE",
                "a: SET PERSIST gtid_mode = ON",
                "b: SET PERSIST gtid_mode = ON",
            ]
        );
        assert!(matches!(steps[4].action, Action::TellDrained(_)));
    }

    #[test]
    fn numbers_are_given_to_those_without_one_of_their_own() {
        let given = |ids: [u32; 3]| {
            let [a, b, c] = [("a", ids[0]), ("b", ids[1]), ("c", ids[2])].map(|(n, i)| mysql(n, i));
            let given = server_ids(&a, &[&b, &c]);
            let given: Vec<_> = given.iter().map(|(name, id)| (name.to_string(), *id)).collect();
            given
        };
        let id = |name: &str, id| (name.to_owned(), id);
        assert_eq!(given([1, 2, 3]), []);
        assert_eq!(given([1, 1, 1]), [id("b", 2), id("c", 3)]);
        assert_eq!(given([1, 1, 2]), [id("b", 3)]);
        assert_eq!(given([0, 1, 0]), [id("a", 2), id("c", 3)]);
        assert_eq!(given([2, 2, 3]), [id("b", 4)]);
        assert_eq!(given([u32::MAX, 1, 1]), [id("c", 2)]);
        // Who replicates keeps its number.
        let (a, b) = (mysql("a", 1), mysql("b", 2));
        let c = following(mysql("c", 2), &a);
        let given = server_ids(&a, &[&b, &c]);
        assert_eq!(given.into_iter().collect::<Vec<_>>(), [("b".into(), 3)]);
    }

    #[test]
    fn a_number_that_a_restart_forgets_is_kept() {
        let mut b = mysql("b", 2);
        b.origins.insert("server_id".to_owned(), Origin::Running);
        let a = mysql("a", 1);
        let steps = id_steps(&[a.clone(), b], &ServerIds::new(), &a);
        assert_eq!(told(&steps), ["b: SET PERSIST server_id = 2"]);
    }
}
