//! Which server is the primary: the one that others replicate from, else the one that is labelled so, else
//! the only one that can be meant. Never a guess. Pure.

use super::plan::Obstacle;
use crate::config::RoleSetting;
use crate::facts::State;
use crate::facts::lines::{roots, source};

/// The primary's index, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub primary: usize,
    /// Why it, in words.
    pub because: String,
    /// Somebody replicates from it already.
    pub is_established: bool,
    pub notes: Vec<String>,
}

/// Chooses among servers that answer. `prefix` is that of the labels.
pub fn choose(states: &[State], prefix: &str) -> Result<Choice, Vec<Obstacle>> {
    let labelled: Vec<usize> = with_role(states, RoleSetting::Primary);
    if let [_, _, ..] = &labelled[..] {
        let names = names(states, &labelled);
        return Err(vec![Obstacle::general(
            format!("{names} are all labelled {prefix}.role=primary"),
            format!("make all of these containers but one anew with {prefix}.role=replica"),
        )]);
    }
    let roots = roots(states);
    match (&roots[..], &labelled[..]) {
        ([], _) if states.iter().any(|state| source(state, states).is_some()) => {
            Err(vec![Obstacle::general(
                "these servers replicate from each other in a circle".to_owned(),
                "end replication (STOP REPLICA; RESET REPLICA ALL) on the one that is to be the \
                 primary"
                    .to_owned(),
            )])
        }
        ([], [one]) => Ok(choice(*one, "it is labelled so")),
        ([], _) => alone(states, prefix),
        ([root], _) => Ok(established(states, *root, &labelled, prefix)),
        (several, _) => Err(vec![Obstacle::general(
            format!("others replicate from each of {}", names(states, several)),
            format!(
                "end replication from all but one, or give the two groups different labels \
                 {prefix}.cluster"
            ),
        )]),
    }
}

fn choice(primary: usize, because: &str) -> Choice {
    Choice { primary, because: because.to_owned(), is_established: false, notes: Vec::new() }
}

/// The server's word beats its label.
fn established(states: &[State], root: usize, labelled: &[usize], prefix: &str) -> Choice {
    let mut notes = Vec::new();
    if let [label] = labelled
        && *label != root
    {
        notes.push(format!(
            "{} is labelled {prefix}.role=primary, but the others replicate from {}, which is \
             therefore the primary",
            states[*label].name, states[root].name
        ));
    }
    let because = "others replicate from it".to_owned();
    Choice { primary: root, because, is_established: true, notes }
}

/// Nobody replicates and nobody is labelled primary.
fn alone(states: &[State], prefix: &str) -> Result<Choice, Vec<Obstacle>> {
    let candidates: Vec<usize> =
        (0..states.len()).filter(|index| states[*index].role != RoleSetting::Replica).collect();
    let filled: Vec<usize> =
        candidates.iter().copied().filter(|index| !states[*index].is_bare()).collect();
    match (&candidates[..], &filled[..]) {
        ([one], _) if states.len() > 1 => Ok(choice(*one, "the others are labelled replica")),
        ([one], _) => Ok(choice(*one, "there is no other")),
        (_, [one]) => Ok(choice(*one, "it alone has data")),
        ([], _) => Err(vec![undecided("every server is labelled replica".to_owned(), prefix)]),
        (_, []) => {
            let names = names(states, &candidates);
            Err(vec![undecided(format!("none of {names} has data, or a label that says"), prefix)])
        }
        (_, several) => match original(states, several) {
            Some(original) => Ok(choice(original, "the others have copies of its data")),
            None => {
                let what = format!("{} have data", names(states, several));
                Err(vec![undecided(what, prefix)])
            }
        },
    }
}

/// The one of which all the others are copies, whole or not: a setup that was cut off has left them so,
/// closed to writers.
fn original(states: &[State], filled: &[usize]) -> Option<usize> {
    let mut open = filled.iter().copied().filter(|index| !states[*index].is_read_only());
    let (original, None) = (open.next()?, open.next()) else { return None };
    let is_copy = |index: &usize| {
        let state = &states[*index];
        let is_whole = state.is_clone_of(&states[original]) || state.has_replicated();
        *index == original
            || state.half_copied
            || (is_whole && state.errant(&states[original]).is_none())
    };
    filled.iter().all(is_copy).then_some(original)
}

fn undecided(what: String, prefix: &str) -> Obstacle {
    Obstacle::general(
        format!("which server is to be the primary? {what}"),
        format!(
            "make the container of the one that is to be the primary anew with the label \
             {prefix}.role=primary"
        ),
    )
}

fn with_role(states: &[State], role: RoleSetting) -> Vec<usize> {
    (0..states.len()).filter(|index| states[*index].role == role).collect()
}

fn names(states: &[State], indexes: &[usize]) -> String {
    let names: Vec<&str> = indexes.iter().map(|index| &*states[*index].name).collect();
    names.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Cloning;
    use crate::facts::tests::{filled, following, mysql, with};

    fn labelled(state: State, role: RoleSetting) -> State {
        State { role, ..state }
    }

    #[test]
    fn who_is_the_primary() {
        use RoleSetting::{Primary, Replica};
        let (a, b) = (|| mysql("a", 1), || mysql("b", 2));
        let copy = |state: State, source: &str| State {
            cloning: Cloning::Completed(source.to_owned()),
            ..with(filled(state), &[("read_only", "ON")])
        };
        // The servers, and the primary or a part of why there is none.
        let table = [
            (vec![a()], Ok("a")),
            (vec![a(), b()], Err("none of a and b has data")),
            (vec![a(), filled(b())], Ok("b")),
            (vec![filled(a()), filled(b())], Err("a and b have data")),
            (vec![filled(a()), copy(b(), "a:3306")], Ok("a")),
            (vec![filled(a()), copy(b(), "c:3306")], Err("a and b have data")),
            (vec![filled(a()), State { half_copied: true, ..copy(b(), "") }], Ok("a")),
            (vec![labelled(a(), Primary), filled(b())], Ok("a")),
            (vec![labelled(a(), Primary), labelled(b(), Primary)], Err("are all labelled")),
            (vec![a(), labelled(b(), Replica)], Ok("a")),
            (vec![a(), labelled(filled(b()), Replica)], Ok("a")),
            (vec![labelled(a(), Replica), labelled(b(), Replica)], Err("every server is")),
            (vec![following(a(), &b()), filled(b())], Ok("b")),
            (vec![following(labelled(a(), Primary), &b()), b()], Ok("b")),
            (vec![following(a(), &b()), following(b(), &a())], Err("in a circle")),
            (
                vec![
                    following(a(), &b()),
                    b(),
                    following(mysql("c", 3), &mysql("d", 4)),
                    mysql("d", 4),
                ],
                Err("each of b and d"),
            ),
        ];
        for (states, expected) in table {
            let shown: Vec<_> = states.iter().map(|state| (&state.name, state.role)).collect();
            match (choose(&states, "rwproxy"), expected) {
                (Ok(choice), Ok(name)) => {
                    assert_eq!(&*states[choice.primary].name, name, "{shown:?}");
                }
                (Err(obstacles), Err(part)) => {
                    assert!(obstacles[0].problem.contains(part), "{shown:?}: {obstacles:?}");
                }
                (found, _) => panic!("{shown:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_label_that_nobody_follows_is_told() {
        let states = [
            following(State { role: RoleSetting::Primary, ..mysql("a", 1) }, &mysql("b", 2)),
            mysql("b", 2),
        ];
        let choice = choose(&states, "db").expect("b");
        assert!(choice.is_established && choice.notes[0].contains("db.role=primary"));
    }
}
