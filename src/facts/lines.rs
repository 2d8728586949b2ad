//! Who replicates from whom. Pure.

use super::state::State;

/// Which of ours a server replicates from.
pub fn source(state: &State, states: &[State]) -> Option<usize> {
    state.follows.iter().find_map(|follows| {
        states
            .iter()
            .position(|other| other.name != state.name && other.is_source_of(&follows.channel))
    })
}

/// Those that others replicate from and that replicate from none of ours.
pub fn roots(states: &[State]) -> Vec<usize> {
    let sources: Vec<Option<usize>> = states.iter().map(|state| source(state, states)).collect();
    (0..states.len())
        .filter(|index| sources[*index].is_none() && sources.contains(&Some(*index)))
        .collect()
}
