//! `[[rules]]`: which statements go where by an operator's word.

use std::fmt;
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};

use super::value;

/// The first that matches wins. All its conditions must hold; a condition that is not given always
/// does.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(deserialize_with = "value::word")]
    pub name: String,
    /// The account's user name, letter by letter.
    pub user: Option<String>,
    /// The session's default database, letter by letter.
    pub database: Option<String>,
    #[serde(rename = "match")]
    pub pattern: Option<Pattern>,
    pub digest: Option<Digest>,
    pub target: RuleTarget,
    /// No replica that is further behind, at least 1ms; for `target = "replica"`.
    #[serde(
        default,
        deserialize_with = "value::optional_duration::<_, 1>",
        serialize_with = "value::show_optional_duration"
    )]
    pub max_lag: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleTarget {
    Primary,
    /// Never a write, whatever the rule says.
    Replica,
}

/// A regular expression over the bytes of a statement: of any case, `.` is any byte, a line's end
/// included. Searching takes time in proportion to the text, whatever the expression is.
#[derive(Clone)]
pub struct Pattern(Regex);

/// Most bytes that a compiled expression may take.
const LARGEST_PATTERN: usize = 1024 * 1024;
/// Most bytes of what each thread remembers of an expression.
const LARGEST_CACHE: usize = 256 * 1024;

impl Pattern {
    /// # Errors
    /// Why it is no regular expression, in words.
    pub fn new(text: &str) -> Result<Self, String> {
        let compiled = RegexBuilder::new(text)
            .unicode(false)
            .case_insensitive(true)
            .dot_matches_new_line(true)
            .size_limit(LARGEST_PATTERN)
            .dfa_size_limit(LARGEST_CACHE)
            .build();
        compiled.map(Pattern).map_err(|error| {
            // A syntax error is drawn over several lines; the last says what is wrong.
            let error = error.to_string();
            let cause = error.lines().last().unwrap_or_default();
            let cause = cause.strip_prefix("error: ").unwrap_or(cause);
            format!("{text:?} is not a regular expression: {cause}")
        })
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0.as_str(), f)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Pattern::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

/// The digest of a statement's shape, as `rwproxy explain` prints it: 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub u64);

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_digest = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(&text, 16).ok().filter(|_| is_digest);
        number.map(Digest).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is not a digest: 16 hexadecimal digits, as `rwproxy explain` prints them"
            ))
        })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}
