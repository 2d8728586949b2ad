//! MySQL GTID sets: which transactions a server has executed, as `@@gtid_executed` prints them.
//!
//! Text form: `uuid[:tag]:interval[:interval]…[,uuid…]`, an interval being `n` or `n-m`, both ends
//! included. Tags came with MySQL 8.3; one uuid may then be followed by several tags, each with its
//! own intervals (`uuid:1-3:blue:1:green:2-5`). `@@gtid_owned` adds the thread to each number, as `n#thread`.

use std::collections::BTreeMap;
use std::fmt;

/// A set with more intervals than this is refused: a healthy server has a handful, and the
/// timeline keeps hundreds of sets.
pub const MAX_INTERVALS: usize = 8192;

/// Why a text is not a GTID set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GtidError {
    #[error("not a GTID set: {0}")]
    Malformed(&'static str),
    #[error("a GTID set of more than {MAX_INTERVALS} intervals")]
    TooLarge,
}

/// Who numbered a transaction: the server's uuid, and a tag or none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Source {
    uuid: [u8; 16],
    tag: Box<str>,
}

/// Transactions `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    first: u64,
    last: u64,
}

/// A set of transactions. Intervals of a source are sorted, disjoint and not adjacent, and no
/// source is empty, so equal sets compare equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GtidSet {
    sources: BTreeMap<Source, Vec<Interval>>,
}

impl GtidSet {
    /// Reads a set as servers print it: white space anywhere between parts, intervals in any
    /// order, the same uuid more than once. The empty text is the empty set.
    ///
    /// # Errors
    /// When the text is no GTID set, or one of more than [`MAX_INTERVALS`] intervals.
    pub fn parse(text: &str) -> Result<Self, GtidError> {
        let mut sources: BTreeMap<Source, Vec<Interval>> = BTreeMap::new();
        let mut intervals = 0;
        for group in text.split(',').map(str::trim).filter(|group| !group.is_empty()) {
            let mut parts = group.split(':').map(str::trim);
            let uuid = parse_uuid(parts.next().unwrap_or_default())?;
            let mut source = Source { uuid, tag: "".into() };
            let mut seen = false;
            for part in parts {
                if part.starts_with(|c: char| c.is_ascii_digit()) {
                    intervals += 1;
                    if intervals > MAX_INTERVALS {
                        return Err(GtidError::TooLarge);
                    }
                    sources.entry(source.clone()).or_default().push(parse_interval(part)?);
                    seen = true;
                } else {
                    source = Source { uuid, tag: parse_tag(part)? };
                    seen = false;
                }
            }
            if !seen {
                return Err(GtidError::Malformed("a uuid or tag without transaction numbers"));
            }
        }
        for list in sources.values_mut() {
            normalize(list);
        }
        Ok(GtidSet { sources })
    }

    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// How many transactions the set holds.
    pub fn count(&self) -> u128 {
        self.sources
            .values()
            .flatten()
            .map(|interval| u128::from(interval.last - interval.first) + 1)
            .sum()
    }

    /// True when every transaction of `other` is in this set.
    pub fn contains(&self, other: &GtidSet) -> bool {
        other.sources.iter().all(|(source, theirs)| {
            let Some(ours) = self.sources.get(source) else {
                return false;
            };
            theirs.iter().all(|wanted| {
                // The last of our intervals that begins at or before the wanted one.
                let after = ours.partition_point(|interval| interval.first <= wanted.first);
                after > 0 && ours[after - 1].last >= wanted.last
            })
        })
    }

    /// True when no transaction is in both sets.
    pub fn is_disjoint(&self, other: &GtidSet) -> bool {
        self.sources.iter().all(|(source, ours)| {
            other.sources.get(source).is_none_or(|theirs| {
                subtract(ours, theirs).iter().map(span).sum::<u128>()
                    == ours.iter().map(span).sum::<u128>()
            })
        })
    }

    /// The transactions of this set that are not in `other`.
    pub fn subtract(&self, other: &GtidSet) -> GtidSet {
        let sources = self
            .sources
            .iter()
            .map(|(source, ours)| match other.sources.get(source) {
                Some(theirs) => (source.clone(), subtract(ours, theirs)),
                None => (source.clone(), ours.clone()),
            })
            .filter(|(_, list)| !list.is_empty())
            .collect();
        GtidSet { sources }
    }

    /// The transactions that the server of this uuid has numbered, under any tag; none when the
    /// text is no uuid.
    pub fn of(&self, uuid: &str) -> GtidSet {
        let Ok(uuid) = parse_uuid(uuid) else { return GtidSet::default() };
        let own = self.sources.iter().filter(|(source, _)| source.uuid == uuid);
        GtidSet { sources: own.map(|(source, list)| (source.clone(), list.clone())).collect() }
    }

    /// Adds the transactions of another set.
    pub fn extend(&mut self, other: &GtidSet) {
        for (source, theirs) in &other.sources {
            let list = self.sources.entry(source.clone()).or_default();
            list.extend_from_slice(theirs);
            normalize(list);
        }
    }

    /// The transactions one by one, each in the text form.
    pub fn each(&self) -> impl Iterator<Item = String> {
        self.sources.iter().flat_map(|(source, list)| {
            list.iter().flat_map(|interval| interval.first..=interval.last).map(|number| {
                let alone = vec![Interval { first: number, last: number }];
                GtidSet { sources: BTreeMap::from([(source.clone(), alone)]) }.to_string()
            })
        })
    }

    /// How many runs of numbers without a gap there are.
    pub fn intervals(&self) -> usize {
        self.sources.values().map(Vec::len).sum()
    }

    /// Adds what lies between the first and the last transaction of each source.
    pub fn close_gaps(&mut self) {
        for list in self.sources.values_mut() {
            if let [first, .., last] = list[..] {
                *list = vec![Interval { first: first.first, last: last.last }];
            }
        }
    }

    /// The transactions that are in either set.
    pub fn union(&self, other: &GtidSet) -> GtidSet {
        let mut union = self.clone();
        union.extend(other);
        union
    }
}

fn span(interval: &Interval) -> u128 {
    u128::from(interval.last - interval.first) + 1
}

/// Sorts, and joins what overlaps or touches.
fn normalize(list: &mut Vec<Interval>) {
    list.sort_unstable_by_key(|interval| interval.first);
    list.dedup_by(|next, kept| {
        let joins = next.first <= kept.last.saturating_add(1);
        if joins {
            kept.last = kept.last.max(next.last);
        }
        joins
    });
}

/// `ours` without `theirs`; both normalized, and so is the result.
fn subtract(ours: &[Interval], theirs: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    let mut cuts = theirs.iter().peekable();
    for interval in ours {
        let mut first = interval.first;
        let mut rest = true;
        while let Some(cut) = cuts.peek() {
            if cut.last < first {
                cuts.next();
                continue;
            }
            if cut.first > interval.last {
                break;
            }
            if cut.first > first {
                left.push(Interval { first, last: cut.first - 1 });
            }
            if cut.last >= interval.last {
                rest = false;
                break;
            }
            first = cut.last + 1;
            cuts.next();
        }
        if rest {
            left.push(Interval { first, last: interval.last });
        }
    }
    left
}

/// Hexadecimal digits with or without dashes between groups, as the server accepts them.
fn parse_uuid(text: &str) -> Result<[u8; 16], GtidError> {
    const BAD: GtidError = GtidError::Malformed("not a uuid");
    if !matches!(text.len(), 32 | 36) {
        return Err(BAD);
    }
    let mut uuid = [0u8; 16];
    let mut digits = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte == b'-' && text.len() == 36 && matches!(at, 8 | 13 | 18 | 23) {
            continue;
        }
        let digit = (byte as char).to_digit(16).ok_or(BAD)? as u8;
        let slot = uuid.get_mut(digits / 2).ok_or(BAD)?;
        *slot = *slot << 4 | digit;
        digits += 1;
    }
    if digits == 32 { Ok(uuid) } else { Err(BAD) }
}

/// A letter or underscore, then up to 31 letters, digits and underscores; stored in lower case.
fn parse_tag(text: &str) -> Result<Box<str>, GtidError> {
    let legal = !text.is_empty()
        && text.len() <= 32
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if legal {
        Ok(text.to_ascii_lowercase().into())
    } else {
        Err(GtidError::Malformed("not a transaction number, interval or tag"))
    }
}

fn parse_interval(text: &str) -> Result<Interval, GtidError> {
    const BAD: GtidError = GtidError::Malformed("not a transaction number or interval");
    let number = |text: &str| {
        let text = text.trim();
        // `u64::from_str` takes a leading plus sign, the server does not.
        if text.starts_with('+') {
            return Err(BAD);
        }
        text.parse::<u64>().map_err(|_| BAD)
    };
    let (first, last) = match (text.split_once('-'), text.split_once('#')) {
        (Some((first, last)), _) => (number(first)?, number(last)?),
        (None, Some((owned, thread))) => {
            number(thread)?;
            (number(owned)?, number(owned)?)
        }
        (None, None) => (number(text)?, number(text)?),
    };
    // Numbers go from 1 to 2^63 - 2.
    if first == 0 || last < first || last >= i64::MAX as u64 {
        return Err(BAD);
    }
    Ok(Interval { first, last })
}

impl fmt::Display for GtidSet {
    /// The text form with one `uuid[:tag]` group each; [`GtidSet::parse`] reads it back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (source, list)) in self.sources.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            for (at, byte) in source.uuid.iter().enumerate() {
                if matches!(at, 4 | 6 | 8 | 10) {
                    f.write_str("-")?;
                }
                write!(f, "{byte:02x}")?;
            }
            if !source.tag.is_empty() {
                write!(f, ":{}", source.tag)?;
            }
            for Interval { first, last } in list {
                write!(f, ":{first}")?;
                if last > first {
                    write!(f, "-{last}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429563";

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn parses_what_servers_print() {
        let table = [
            (String::new(), String::new()),
            (format!("{A}:1"), format!("{A}:1")),
            (format!("{A}:1-5"), format!("{A}:1-5")),
            // @@gtid_executed breaks lines after commas.
            (format!("{A}:1-3:11:47-49,\n{B}:1-19"), format!("{A}:1-3:11:47-49,{B}:1-19")),
            // Unsorted, overlapping, touching, in capitals.
            (format!("{}:7-9:1-3:4:2-5", A.to_uppercase()), format!("{A}:1-5:7-9")),
            (format!("{A}:1,{A}:3,{A}:2"), format!("{A}:1-3")),
            (A.replace('-', "") + ":4", format!("{A}:4")),
            (format!(" {A} : 1 - 2 "), format!("{A}:1-2")),
            // MySQL 8.3 tags.
            (format!("{A}:1-2:Blue:1:green:2-5:7"), format!("{A}:1-2,{A}:blue:1,{A}:green:2-5:7")),
        ];
        for (text, printed) in table {
            assert_eq!(set(&text).to_string(), printed, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_set() {
        let table = [
            "x".to_owned(),
            A.to_owned(),
            format!("{A}:"),
            format!("{A}:0"),
            format!("{A}:5-4"),
            format!("{A}:1-"),
            format!("{A}:-1"),
            format!("{A}:+1"),
            format!("{A}:1-2-3"),
            format!("{A}:1#"),
            format!("{A}:1#a"),
            format!("{A}:1-2#3"),
            format!("{A}:9223372036854775807"),
            format!("{A}:99999999999999999999"),
            format!("{A}:tag"),
            format!("{A}:tag:"),
            format!("{A}:a-b:1"),
            format!("{A}:{}:1", "t".repeat(33)),
            format!("{}-:1", &A[..35]),
            format!("é{}:1", &A[2..]),
            "0-1-100".to_owned(),
        ];
        for text in table {
            assert!(matches!(GtidSet::parse(&text), Err(GtidError::Malformed(_))), "{text}");
        }
        let long: String = (1..=MAX_INTERVALS as u64 + 1).map(|n| format!(":{}", n * 2)).collect();
        assert_eq!(GtidSet::parse(&format!("{A}{long}")), Err(GtidError::TooLarge));
    }

    #[test]
    fn tags_are_other_transactions() {
        let plain = set(&format!("{A}:1-10"));
        let tagged = set(&format!("{A}:blue:1-10"));
        assert!(!plain.contains(&tagged));
        assert!(plain.is_disjoint(&tagged));
        assert!(plain.union(&tagged).contains(&tagged));
    }

    /// A small set both ways: parsed, and as plain members.
    fn small_set() -> impl Strategy<Value = (GtidSet, HashSet<(u8, u64)>)> {
        proptest::collection::vec((0..3u8, 1..30u64, 0..6u64), 0..12).prop_map(|intervals| {
            let mut text = String::new();
            let mut members = HashSet::new();
            for (source, first, more) in intervals {
                let uuid = format!("3e11fa47-71ca-11e1-9e33-c80aa94295{source:02x}");
                text.push_str(&format!("{uuid}:{first}-{},", first + more));
                members.extend((first..=first + more).map(|number| (source, number)));
            }
            (set(&text), members)
        })
    }

    proptest! {
        #[test]
        fn behaves_as_a_set((a, a_members) in small_set(), (b, b_members) in small_set()) {
            prop_assert_eq!(a.contains(&b), b_members.is_subset(&a_members));
            prop_assert_eq!(a.is_disjoint(&b), a_members.is_disjoint(&b_members));
            let difference = a.subtract(&b);
            prop_assert_eq!(difference.count() as usize, a_members.difference(&b_members).count());
            prop_assert!(a.contains(&difference));
            prop_assert!(b.is_disjoint(&difference));
            let union = a.union(&b);
            prop_assert_eq!(union.count() as usize, a_members.union(&b_members).count());
            prop_assert!(union.contains(&a) && union.contains(&b));
            prop_assert_eq!(difference.union(&b), union.clone());
            prop_assert_eq!(GtidSet::parse(&union.to_string()), Ok(union));
        }

        #[test]
        fn never_panics(text in "[0-9a-f:,\\- _\u{e9}]{0,80}") {
            let _ = GtidSet::parse(&text);
        }
    }
}
