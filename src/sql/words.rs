//! The words that matter: keywords and built-in functions in one hash table built at compile time.
//!
//! Names of users are far more frequent than words of this table, so a miss must cost little: one
//! multiplication per eight bytes and one load. The same hash feeds the digest.

use super::Dialect;
use super::functions::{
    ALWAYS, Arguments, COUNTED_IN_MARIADB, Call, FUNCTIONS, GLUED, GLUED_IN_MARIADB, NEVER, Since,
};
use super::keywords::{KEYWORDS, Keyword, RESERVED_SINCE};
use crate::wire::Flavour;

/// Whether a function is built in only with the parenthesis directly behind its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Glue {
    No,
    MariaDb,
    Always,
}

/// A word of the table.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    low: u64,
    high: u64,
    pub keyword: Keyword,
    pub call: Call,
    glue: Glue,
    /// In MariaDB.
    arguments: Arguments,
    mysql: Since,
    mysql_until: Since,
    mariadb: Since,
}

impl Entry {
    /// What calling this word as a function means on a server of this dialect. `glued`: the
    /// parenthesis stands directly behind it.
    #[inline]
    pub fn call_in(&self, dialect: Dialect, glued: bool) -> Call {
        if !glued
            && (self.glue == Glue::Always
                || (self.glue == Glue::MariaDb && dialect.flavour == Flavour::MariaDb))
        {
            return Call::Unknown;
        }
        let (since, until) = match dialect.flavour {
            Flavour::MySql => (self.mysql, self.mysql_until),
            Flavour::MariaDb => (self.mariadb, NEVER),
        };
        // With the version unknown (0) only what has always been there, and still is, is known.
        let is_known =
            since <= dialect.version && (until == NEVER || (1..until).contains(&dialect.version));
        if is_known { self.call } else { Call::Unknown }
    }
}

impl Entry {
    /// How many arguments make a call that of the built-in function.
    #[inline]
    pub fn arguments_in(&self, dialect: Dialect) -> Arguments {
        match dialect.flavour {
            Flavour::MySql => Arguments::Any,
            Flavour::MariaDb => self.arguments,
        }
    }
}

const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xd6e8_feb8_6659_fd93;

#[inline(always)]
pub(super) const fn mix(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Up to eight bytes from `from` on, letters folded to lower case. Distinct ASCII identifiers that
/// differ in more than case stay distinct: no two identifier characters but letters of one
/// alphabet position share their bits besides 0x20.
const fn chunk(bytes: &[u8], from: usize, length: usize) -> u64 {
    let mut value = 0u64;
    let mut at = 0;
    while at < length {
        value |= ((bytes[from + at] | 0x20) as u64) << (8 * at);
        at += 1;
    }
    value
}

/// Sets the bit that tells small letters from capital ones, in 16 bytes.
const FOLD: u128 = u128::from_le_bytes([0x20; 16]);

/// The first so many bytes of 16.
static MASKS: [u128; 17] = {
    let mut masks = [0; 17];
    let mut length = 1;
    while length <= 16 {
        masks[length] = u128::MAX >> (128 - 8 * length);
        length += 1;
    }
    masks
};

/// A word with its letters folded, hashed.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    low: u64,
    high: u64,
    length: usize,
    pub hash: u64,
}

impl Word {
    /// Reads `text[start..end]`; the rest of `text` only makes the loads quicker.
    #[inline(always)]
    pub fn new(text: &[u8], start: usize, end: usize) -> Self {
        let length = end - start;
        if length == 0 || length > 16 {
            return Word::of_bytes(text.get(start..end).unwrap_or_default());
        }
        // 16 bytes that begin with the word, or end with it.
        let bits = if let Some(bytes) = text.get(start..).and_then(|rest| rest.first_chunk::<16>())
        {
            (u128::from_le_bytes(*bytes) | FOLD) & MASKS[length]
        } else if let Some(bytes) = text.get(..end).and_then(|rest| rest.last_chunk::<16>()) {
            (u128::from_le_bytes(*bytes) | FOLD) >> (128 - 8 * length)
        } else {
            return Word::of_bytes(text.get(start..end).unwrap_or_default());
        };
        let (low, high) = (bits as u64, (bits >> 64) as u64);
        Word { low, high, length, hash: mix(low ^ FIRST, high ^ SECOND ^ length as u64) }
    }

    /// The same without loading more than the word itself; also for words of more than 16 bytes.
    const fn of_bytes(bytes: &[u8]) -> Self {
        let length = bytes.len();
        let low = chunk(bytes, 0, if length < 8 { length } else { 8 });
        let high = match length {
            0..=8 => 0,
            9..=15 => chunk(bytes, 8, length - 8),
            _ => chunk(bytes, 8, 8),
        };
        let mut hash = mix(low ^ FIRST, high ^ SECOND ^ length as u64);
        let mut at = 16;
        while at < length {
            let rest = if length - at < 8 { length - at } else { 8 };
            hash = mix(hash ^ chunk(bytes, at, rest), SECOND);
            at += 8;
        }
        Word { low, high, length, hash }
    }
}

const COUNT: usize = {
    let mut count = KEYWORDS.len();
    let mut group = 0;
    while group < FUNCTIONS.len() {
        count += FUNCTIONS[group].names.len();
        group += 1;
    }
    count
};

const SLOTS: usize = 2048;

struct Table {
    entries: [Entry; COUNT],
    /// 0 when free, else 16 bits of the hash above the entry's index plus one.
    slots: [u32; SLOTS],
}

static TABLE: Table = build();

const fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn contains(names: &[&str], name: &str) -> bool {
    let mut at = 0;
    while at < names.len() {
        if same(names[at], name) {
            return true;
        }
        at += 1;
    }
    false
}

const fn glue(name: &str) -> Glue {
    if contains(GLUED, name) {
        Glue::Always
    } else if contains(GLUED_IN_MARIADB, name) {
        Glue::MariaDb
    } else {
        Glue::No
    }
}

const fn arguments(name: &str) -> Arguments {
    let mut at = 0;
    while at < COUNTED_IN_MARIADB.len() {
        if same(COUNTED_IN_MARIADB[at].0, name) {
            return COUNTED_IN_MARIADB[at].1;
        }
        at += 1;
    }
    Arguments::Any
}

const fn reserved_since(name: &str) -> (Since, Since) {
    let mut at = 0;
    while at < RESERVED_SINCE.len() {
        if same(RESERVED_SINCE[at].0, name) {
            return (RESERVED_SINCE[at].1, RESERVED_SINCE[at].2);
        }
        at += 1;
    }
    (ALWAYS, ALWAYS)
}

const fn build() -> Table {
    const EMPTY: Entry = Entry {
        name: "",
        low: 0,
        high: 0,
        keyword: Keyword::None,
        call: Call::Unknown,
        glue: Glue::No,
        arguments: Arguments::Any,
        mysql: NEVER,
        mysql_until: NEVER,
        mariadb: NEVER,
    };
    let mut table = Table { entries: [EMPTY; COUNT], slots: [0; SLOTS] };
    let mut count = 0;
    let mut at = 0;
    while at < KEYWORDS.len() {
        let (name, keyword, call) = KEYWORDS[at];
        let (mysql, mariadb) = reserved_since(name);
        table.entries[count] = Entry { name, keyword, call, mysql, mariadb, ..EMPTY };
        count += 1;
        at += 1;
    }
    at = 0;
    while at < FUNCTIONS.len() {
        let group = &FUNCTIONS[at];
        let mut function = 0;
        while function < group.names.len() {
            let name = group.names[function];
            table.entries[count] = Entry {
                name,
                call: group.call,
                glue: glue(name),
                arguments: arguments(name),
                mysql: group.mysql,
                mysql_until: group.mysql_until,
                mariadb: group.mariadb,
                ..EMPTY
            };
            count += 1;
            function += 1;
        }
        at += 1;
    }
    at = 0;
    while at < COUNT {
        let word = Word::of_bytes(table.entries[at].name.as_bytes());
        table.entries[at].low = word.low;
        table.entries[at].high = word.high;
        let mut slot = word.hash as usize % SLOTS;
        while table.slots[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        table.slots[slot] = ((word.hash >> 48) as u32) << 16 | (at as u32 + 1);
        at += 1;
    }
    table
}

/// The table's entry for a word, whatever its case.
#[inline(always)]
pub fn lookup(word: &Word) -> Option<&'static Entry> {
    let mut slot = word.hash as usize % SLOTS;
    loop {
        let value = TABLE.slots[slot];
        if value == 0 {
            return None;
        }
        if u64::from(value >> 16) == word.hash >> 48 {
            let entry = &TABLE.entries[(value & 0xffff) as usize - 1];
            // Words of more than 16 bytes are compared by their hash from there on.
            if entry.low == word.low
                && entry.high == word.high
                && entry.name.len() == word.length
                && (word.length <= 16 || Word::of_bytes(entry.name.as_bytes()).hash == word.hash)
            {
                return Some(entry);
            }
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// [`lookup`] by text.
pub fn find(name: &[u8]) -> Option<&'static Entry> {
    lookup(&Word::new(name, 0, name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_only_once() {
        let mut seen = std::collections::HashSet::new();
        for entry in &TABLE.entries {
            assert!(seen.insert(entry.name), "{} stands twice", entry.name);
            assert!(
                entry
                    .name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
            for spelling in [entry.name.to_owned(), entry.name.to_ascii_uppercase()] {
                let found = find(spelling.as_bytes()).expect("in the table");
                assert_eq!(found.name, entry.name);
            }
            // The quick ways to load bytes and the slow one agree.
            let expected = Word::of_bytes(entry.name.as_bytes()).hash;
            let (padding, length) = ("sixteen bytes of padding", entry.name.len());
            let padded = format!("{padding}{}", entry.name);
            let word = Word::new(padded.as_bytes(), padding.len(), padding.len() + length);
            assert_eq!(word.hash, expected);
            let padded = format!("{}{padding}", entry.name);
            assert_eq!(Word::new(padded.as_bytes(), 0, length).hash, expected);
        }
        let counted = COUNTED_IN_MARIADB.iter().map(|(name, _)| name);
        let reserved = RESERVED_SINCE.iter().map(|(name, ..)| name);
        for name in GLUED.iter().chain(GLUED_IN_MARIADB).chain(counted).chain(reserved) {
            assert!(seen.contains(name), "{name}");
        }
    }

    #[test]
    fn other_words_are_not_found() {
        for name in
            ["", "i", "id", "sbtest1", "selec", "select_", "sql_calc_found_rows_", "s\u{c5}lect"]
        {
            assert!(find(name.as_bytes()).is_none(), "{name}");
        }
    }

    #[test]
    fn versions_count() {
        let dialect = |flavour, version| Dialect { flavour, version, ..Dialect::default() };
        let table = [
            ("uuid_to_bin", Flavour::MySql, 80_035, Call::Harmless),
            ("uuid_to_bin", Flavour::MySql, 50_744, Call::Unknown),
            ("uuid_to_bin", Flavour::MariaDb, 110_800, Call::Unknown),
            ("json_overlaps", Flavour::MariaDb, 100_618, Call::Unknown),
            ("json_overlaps", Flavour::MariaDb, 101_119, Call::Harmless),
            ("abs", Flavour::MySql, 0, Call::Harmless),
            ("etag", Flavour::MySql, 0, Call::Unknown),
            ("md5", Flavour::MySql, 90_500, Call::Harmless),
            ("md5", Flavour::MySql, 90_600, Call::Unknown),
            ("md5", Flavour::MySql, 0, Call::Unknown),
            ("md5", Flavour::MariaDb, 101_119, Call::Harmless),
            ("st_geohash", Flavour::MariaDb, 110_803, Call::Unknown),
            ("nextval", Flavour::MariaDb, 101_119, Call::Sequence),
            ("count", Flavour::MySql, 0, Call::Harmless),
        ];
        let spaced = [
            ("count", Flavour::MySql, Call::Unknown),
            ("rank", Flavour::MySql, Call::Harmless),
            ("rank", Flavour::MariaDb, Call::Unknown),
            ("abs", Flavour::MariaDb, Call::Harmless),
        ];
        for (name, flavour, call) in spaced {
            let entry = find(name.as_bytes()).expect("in the table");
            assert_eq!(entry.call_in(dialect(flavour, 90_704), false), call, "{name} {flavour}");
        }
        for (name, flavour, version, call) in table {
            let entry = find(name.as_bytes()).expect("in the table");
            let found = entry.call_in(dialect(flavour, version), true);
            assert_eq!(found, call, "{name} {flavour} {version}");
        }
    }
}
