//! Positions of replication: no text makes a parser panic, what is printed is read again, and the
//! arithmetic of sets agrees with sets of numbers.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rwproxy::gtid::{BinlogState, DomainPositions, GtidSet};
use rwproxy::monitor::position::FilePosition;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    offset: u64,
    sets: [Vec<Piece>; 2],
    text: &'a str,
}

/// An interval of one of a few sources.
#[derive(Debug, Arbitrary)]
struct Piece {
    source: u8,
    first: u8,
    length: u8,
}

type Numbers = BTreeSet<(u8, u32)>;

const SOURCES: [&str; 3] = [
    "3e11fa47-71ca-11e1-9e33-c80aa9429562",
    "3e11fa47-71ca-11e1-9e33-c80aa9429562:tag",
    "4E11FA4771CA11E19E33C80AA9429562",
];

fn set(pieces: &[Piece]) -> (GtidSet, Numbers) {
    let mut text = String::new();
    let mut numbers = Numbers::new();
    for Piece { source, first, length } in pieces {
        let source = source % 3;
        let first = u32::from(*first) + 1;
        let last = first + u32::from(*length % 16);
        text += &format!("{}:{first}-{last},", SOURCES[usize::from(source)]);
        numbers.extend((first..=last).map(|number| (source, number)));
    }
    (GtidSet::parse(&text).expect("a set"), numbers)
}

fn check_sets([a, b]: &[Vec<Piece>; 2]) {
    let ((a, a_numbers), (b, b_numbers)) = (set(a), set(b));
    assert_eq!(a.count(), a_numbers.len() as u128);
    assert_eq!(a.is_empty(), a_numbers.is_empty());
    assert_eq!(a.contains(&b), a_numbers.is_superset(&b_numbers));
    assert_eq!(a.is_disjoint(&b), a_numbers.is_disjoint(&b_numbers));
    assert_eq!(a == b, a_numbers == b_numbers);
    let (rest, both) = (a.subtract(&b), a.union(&b));
    assert_eq!(rest.count(), a_numbers.difference(&b_numbers).count() as u128);
    assert_eq!(both.count(), a_numbers.union(&b_numbers).count() as u128);
    assert!(a.contains(&rest) && rest.is_disjoint(&b));
    assert!(both.contains(&a) && both.contains(&b));
    assert_eq!(rest.union(&b), both);
    assert_eq!(GtidSet::parse(&both.to_string()), Ok(both));
}

fuzz_target!(|input: Input<'_>| {
    check_sets(&input.sets);
    if let Ok(set) = GtidSet::parse(input.text) {
        assert_eq!(GtidSet::parse(&set.to_string()), Ok(set.clone()));
        assert!(set.contains(&set) && set.subtract(&set).is_empty());
        assert_eq!(set.union(&set), set);
    }
    if let Ok(positions) = DomainPositions::parse(input.text) {
        assert_eq!(DomainPositions::parse(&positions.to_string()), Ok(positions.clone()));
        assert!(positions.reaches(&positions));
    }
    if let Ok(state) = BinlogState::parse(input.text) {
        assert_eq!(BinlogState::parse(&state.to_string()), Ok(state.clone()));
        assert!(state.contains(&state) && state.beyond(&state).is_empty());
    }
    if let Some(position) = FilePosition::new(input.text, input.offset) {
        assert_eq!(position.reaches(&position), Some(true));
        let _ = position.to_string();
    }
});
