//! Which rows differ, from looks at the primary, the replica, and the primary again.

use std::collections::{BTreeMap, BTreeSet};

/// Rows by their keys, each with a checksum of all its values. Of a range that cannot be read row by
/// row, one entry under an empty key.
pub type Look = BTreeMap<Vec<String>, String>;

/// So many rounds in a row must find the same of a row. One that goes to and fro between two values
/// all the time looks different in a round by chance: the same before and after, the other in between,
/// one time in eight for each of the two. Eight rounds make that one in eight million.
pub const ALIKE: u32 = 8;
/// After so many rounds a row that was never found the same is given up on.
pub const ROUNDS: u32 = 24;

/// A row that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// On the primary; `None`: there is no such row.
    pub wanted: Option<String>,
    pub found: Option<String>,
}

/// What is known after some rounds.
#[derive(Debug, Default)]
pub struct Judge {
    rounds: u32,
    /// And in how many rounds in a row.
    suspects: BTreeMap<Vec<String>, (Suspect, u32)>,
    /// Rows that changed while the last round looked.
    moving: u64,
}

impl Judge {
    /// One more round. What the replica has lies between the two looks at the primary.
    pub fn round(&mut self, before: &Look, replica: &Look, after: &Look) {
        let mut known = std::mem::take(&mut self.suspects);
        self.moving = 0;
        self.rounds += 1;
        let keys: BTreeSet<_> = before.keys().chain(replica.keys()).chain(after.keys()).collect();
        for key in keys {
            let [b, r, a] = [before, replica, after].map(|look| look.get(key));
            if r == b || r == a {
                continue;
            }
            if b != a {
                self.moving += 1;
                continue;
            }
            let suspect = Suspect { wanted: a.cloned(), found: r.cloned() };
            let times = match known.remove(key) {
                Some((same, times)) if same == suspect => times + 1,
                _ => 1,
            };
            self.suspects.insert(key.clone(), (suspect, times));
        }
    }

    /// Whether another round can find anything.
    pub fn is_open(&self) -> bool {
        let is_young = |&(_, times): &(Suspect, u32)| times < ALIKE;
        self.rounds == 0
            || self.rounds < ROUNDS && (self.moving > 0 || self.suspects.values().any(is_young))
    }

    /// The rows that differ, and how many were never seen at rest.
    pub fn verdict(self) -> (BTreeMap<Vec<String>, Suspect>, u64) {
        let (sure, unsure): (Vec<_>, Vec<_>) =
            self.suspects.into_iter().partition(|(_, (_, times))| *times >= ALIKE);
        let sure = sure.into_iter().map(|(key, (suspect, _))| (key, suspect)).collect();
        (sure, self.moving + unsure.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a1 b2`: row `a` with the checksum `1`.
    fn look(text: &str) -> Look {
        let rows = text.split_whitespace().map(|row| row.split_at(1));
        rows.map(|(key, sum)| (vec![key.to_owned()], sum.to_owned())).collect()
    }

    /// Which rows differ after these rounds, the last of them as often as it must be, and how many
    /// are undecided.
    fn judged(rounds: &[[&str; 3]]) -> (String, u64) {
        let mut judge = Judge::default();
        let last = rounds.last().expect("a round");
        for [before, replica, after] in
            rounds.iter().chain(std::iter::repeat_n(last, ALIKE as usize - 1))
        {
            judge.round(&look(before), &look(replica), &look(after));
        }
        let (rows, undecided) = judge.verdict();
        (rows.keys().map(|key| key.join(",")).collect(), undecided)
    }

    #[test]
    fn rows_are_judged_by_what_the_primary_had_before_and_after() {
        let table: [(&[[&str; 3]], &str, u64); 8] = [
            (&[["a1 b1", "a1 b1", "a1 b1"]], "", 0),
            // Changed, missing, extra.
            (&[["a1 b1", "a2 c1", "a1 b1"]], "abc", 0),
            // The replica is where the primary was, or where it went.
            (&[["a1 b1", "a1 c1", "a2 b1 c1"]], "b", 0),
            (&[["a1", "a2", "a2"], ["a2", "a2", "a3"]], "", 0),
            // In between: nothing is known.
            (&[["a1", "a2", "a3"]], "", 1),
            // It was there and back.
            (&[["a1", "a2", "a1"], ["a1", "a1", "a1"]], "", 0),
            // It differs, and was written at first.
            (&[["a1", "a3", "a2"], ["a2", "a3", "a2"]], "a", 0),
            (&[["a1", "a1", "a1"], ["a1", "a2", "a1"]], "a", 0),
        ];
        for (rounds, rows, undecided) in table {
            assert_eq!(judged(rounds), (rows.to_owned(), undecided), "{rounds:?}");
        }
    }

    #[test]
    fn a_row_that_goes_to_and_fro_does_not_differ() {
        let mut judge = Judge::default();
        for round in 0..ROUNDS {
            assert!(judge.is_open());
            let (primary, replica) = if round % 3 < 2 { ("a1", "a2") } else { ("a2", "a1") };
            judge.round(&look(primary), &look(replica), &look(primary));
        }
        assert!(!judge.is_open());
        assert_eq!(judge.verdict(), (BTreeMap::new(), 1));
    }

    #[test]
    fn a_row_that_goes_to_and_fro_at_random_does_not_differ() {
        let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut toss = || {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if state >> 63 == 0 { "a1" } else { "a2" }
        };
        for _ in 0..10_000 {
            let mut judge = Judge::default();
            while judge.is_open() {
                judge.round(&look(toss()), &look(toss()), &look(toss()));
            }
            assert_eq!(judge.verdict().0, BTreeMap::new());
        }
    }

    #[test]
    fn it_is_over_when_nothing_is_suspected() {
        let mut judge = Judge::default();
        assert!(judge.is_open());
        judge.round(&look("a1"), &look("a2"), &look("a1"));
        assert!(judge.is_open());
        judge.round(&look("a1"), &look("a1"), &look("a1"));
        assert!(!judge.is_open());
    }
}
