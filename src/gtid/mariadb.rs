//! MariaDB GTIDs: `domain-server-sequence`. Within a domain the sequence orders transactions.

use std::collections::BTreeMap;
use std::fmt;

/// Lists longer than this are refused; servers have a few domains.
pub const MAX_ENTRIES: usize = 4096;

/// Why a text is not a list of MariaDB GTIDs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    #[error("not a list of MariaDB GTIDs")]
    Malformed,
    #[error("a list of more than {MAX_ENTRIES} MariaDB GTIDs")]
    TooLarge,
}

/// The last transaction of a domain: which server wrote it, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    pub server: u32,
    pub sequence: u64,
}

/// A position: the last transaction of each domain (`@@gtid_binlog_pos`, `@@gtid_slave_pos`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DomainPositions {
    domains: BTreeMap<u32, Last>,
}

/// The last transaction of each server in each domain (`@@gtid_binlog_state`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BinlogState {
    last: BTreeMap<(u32, u32), u64>,
}

fn parse_entries(text: &str) -> impl Iterator<Item = Result<(u32, Last), DomainError>> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).enumerate().map(
        |(index, entry)| {
            if index >= MAX_ENTRIES {
                return Err(DomainError::TooLarge);
            }
            let mut numbers = entry.split('-');
            let mut next = || {
                numbers
                    .next()
                    .filter(|text| text.starts_with(|c: char| c.is_ascii_digit()))
                    .ok_or(DomainError::Malformed)
            };
            let domain = next()?.parse().map_err(|_| DomainError::Malformed)?;
            let server = next()?.parse().map_err(|_| DomainError::Malformed)?;
            let sequence = next()?.parse().map_err(|_| DomainError::Malformed)?;
            match numbers.next() {
                Some(_) => Err(DomainError::Malformed),
                None => Ok((domain, Last { server, sequence })),
            }
        },
    )
}

impl DomainPositions {
    /// Reads `0-1-100,1-2-5`. Of several entries of one domain the greatest sequence counts.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        let mut positions = DomainPositions::default();
        for entry in parse_entries(text) {
            let (domain, last) = entry?;
            positions.advance(domain, last);
        }
        Ok(positions)
    }

    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The last transaction of a domain.
    pub fn last(&self, domain: u32) -> Option<Last> {
        self.domains.get(&domain).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, Last)> + '_ {
        self.domains.iter().map(|(&domain, &last)| (domain, last))
    }

    /// Moves each domain on to where the other position has it, if that is further.
    pub fn extend(&mut self, other: &DomainPositions) {
        for (domain, last) in other.iter() {
            self.advance(domain, last);
        }
    }

    fn advance(&mut self, domain: u32, last: Last) {
        let kept = self.domains.entry(domain).or_insert(last);
        if kept.sequence < last.sequence {
            *kept = last;
        }
    }

    /// True when each domain of `earlier` is at its sequence or beyond it here.
    pub fn reaches(&self, earlier: &DomainPositions) -> bool {
        earlier.iter().all(|(domain, wanted)| {
            self.last(domain).is_some_and(|l| l.sequence >= wanted.sequence)
        })
    }
}

impl BinlogState {
    /// Reads `0-1-100,0-2-7`.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        let mut last: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for entry in parse_entries(text) {
            let (domain, Last { server, sequence }) = entry?;
            let kept = last.entry((domain, server)).or_insert(sequence);
            *kept = (*kept).max(sequence);
        }
        Ok(BinlogState { last })
    }

    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// True when every server of `other` is at its number or beyond it here.
    pub fn contains(&self, other: &BinlogState) -> bool {
        other
            .last
            .iter()
            .all(|(key, &wanted)| self.last.get(key).is_some_and(|&sequence| sequence >= wanted))
    }

    /// True when no server has written into both logs.
    pub fn is_disjoint(&self, other: &BinlogState) -> bool {
        !other.last.keys().any(|key| self.last.contains_key(key))
    }

    /// The entries of one server, by its id.
    pub fn of(&self, server: u32) -> BinlogState {
        let own = self.last.iter().filter(|((_, writer), _)| *writer == server);
        BinlogState { last: own.map(|(&key, &sequence)| (key, sequence)).collect() }
    }

    /// The entries that `other` does not reach: what this log has and `other` has not.
    pub fn beyond(&self, other: &BinlogState) -> BinlogState {
        let last = self
            .last
            .iter()
            .filter(|(key, sequence)| other.last.get(key).is_none_or(|theirs| theirs < *sequence))
            .map(|(&key, &sequence)| (key, sequence))
            .collect();
        BinlogState { last }
    }
}

impl fmt::Display for DomainPositions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (domain, Last { server, sequence })) in self.iter().enumerate() {
            write!(f, "{}{domain}-{server}-{sequence}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for BinlogState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ((domain, server), sequence)) in self.last.iter().enumerate() {
            write!(f, "{}{domain}-{server}-{sequence}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position(text: &str) -> DomainPositions {
        DomainPositions::parse(text).expect("test positions are legal")
    }

    fn state(text: &str) -> BinlogState {
        BinlogState::parse(text).expect("test states are legal")
    }

    #[test]
    fn parses_lists() {
        for (text, printed) in [
            ("", ""),
            ("0-1-100", "0-1-100"),
            ("1-2-5, 0-1-100", "0-1-100,1-2-5"),
            ("0-1-7,0-2-9,0-1-8", "0-2-9"),
        ] {
            assert_eq!(position(text).to_string(), printed, "{text}");
        }
        assert_eq!(state("0-2-9,0-1-7,0-1-8").to_string(), "0-1-8,0-2-9");
        for text in ["0", "0-1", "0-1-2-3", "a-1-2", "-1-2", "0--2", "+0-1-2", "4294967296-1-1"] {
            assert_eq!(DomainPositions::parse(text), Err(DomainError::Malformed), "{text}");
        }
    }

    #[test]
    fn positions_compare_by_domain() {
        let table = [
            ("0-1-10", "", true),
            ("", "0-1-1", false),
            ("0-1-10", "0-1-10", true),
            ("0-1-9", "0-1-10", false),
            // Another server wrote the later one: still beyond it in the domain.
            ("0-2-11", "0-1-10", true),
            ("0-1-10", "1-1-1", false),
            ("0-1-10,1-1-1", "1-1-1", true),
        ];
        for (later, earlier, reaches) in table {
            assert_eq!(position(later).reaches(&position(earlier)), reaches, "{later} {earlier}");
        }
    }

    #[test]
    fn states_compare_by_server() {
        assert!(state("0-1-10,0-2-3").contains(&state("0-1-10")));
        assert!(!state("0-2-11").contains(&state("0-1-10")));
        assert!(state("0-1-10").is_disjoint(&state("0-2-3")));
        assert!(!state("0-1-10").is_disjoint(&state("0-1-3")));
        assert_eq!(state("0-1-10,0-2-3").beyond(&state("0-1-12")).to_string(), "0-2-3");
        assert!(state("0-1-10").beyond(&state("0-1-10")).is_empty());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9,\\- \u{e9}]{0,60}") {
            if let Ok(parsed) = DomainPositions::parse(&text) {
                prop_assert_eq!(DomainPositions::parse(&parsed.to_string()), Ok(parsed.clone()));
                prop_assert!(parsed.reaches(&parsed));
            }
        }
    }
}
