//! User variables whose value is known: those that were set to literals. They are brought along
//! like the other settings, with their types and collations.

use std::collections::{BTreeMap, BTreeSet};

use crate::sql::Dialect;
use crate::sql::get_diagnostics::Item;
use crate::sql::set::{Value, ValueKind};

/// Most variables that are kept for one session, and the longest name and literal in bytes.
const MOST: usize = 64;
const LONGEST_NAME: usize = 64;
const LONGEST: usize = 1024;

/// What an assignment says of a variable's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assigned {
    /// A literal other than NULL, which reads the same under every `sql_mode`.
    Literal(String),
    Null,
    /// The connection that ran the statement knows it.
    OnConnection(Item),
    Unknown,
}

impl Assigned {
    pub fn of(value: &Value<'_>, dialect: Dialect) -> Self {
        if value.text.len() > LONGEST {
            return Assigned::Unknown;
        }
        match value.kind {
            ValueKind::Null => Assigned::Null,
            ValueKind::Number => {
                plain_text(value.text).map_or(Assigned::Unknown, Assigned::Literal)
            }
            ValueKind::Word if value.switch(dialect).is_some() && !is_on_or_off(value.text) => {
                plain_text(value.text).map_or(Assigned::Unknown, Assigned::Literal)
            }
            ValueKind::String => match value.plain(dialect).as_deref().and_then(plain_text) {
                Some(text) if !text.contains(['\'', '\\']) => {
                    Assigned::Literal(format!("'{text}'"))
                }
                _ => Assigned::Unknown,
            },
            _ => Assigned::Unknown,
        }
    }
}

/// Words that are switches of system variables alone.
fn is_on_or_off(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"on") || word.eq_ignore_ascii_case(b"off")
}

fn plain_text(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    text.chars().all(|c| (' '..='~').contains(&c)).then(|| text.to_owned())
}

/// A variable's name, lower-case, if servers take it for the same as we do.
pub fn name(name: &[u8]) -> Option<&str> {
    let tame =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_$.".contains(byte);
    let fits = !name.is_empty() && name.len() <= LONGEST_NAME && name.iter().all(tame);
    fits.then(|| std::str::from_utf8(name).ok()).flatten()
}

/// The value of one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    /// The last literal that was not NULL: it gave the variable its type, which NULL leaves.
    literal: Option<Box<str>>,
    is_null: bool,
}

impl Known {
    fn is_string(&self) -> bool {
        self.literal.as_ref().is_some_and(|literal| literal.starts_with('\''))
    }
}

/// Variables of known values, by lower-case name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserVariables {
    known: BTreeMap<Box<str>, Known>,
}

/// What of a variable only the connection knows that is kept for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The value that GET DIAGNOSTICS has given it.
    Diagnosed(Item),
    /// The character set and collation of a string: literals had others then.
    Coded,
}

impl Unread {
    /// How to ask the connection.
    pub fn question(self, name: &str) -> String {
        match self {
            Unread::Diagnosed(Item::Unsigned | Item::Signed) => format!("SELECT @`{name}`"),
            Unread::Diagnosed(Item::Text) => format!("SELECT HEX(@`{name}`)"),
            Unread::Coded => format!(
                "SELECT CONCAT(IFNULL(HEX(@`{name}`),''),' ',CHARSET(@`{name}`),' ',\
                 COLLATION(@`{name}`))"
            ),
        }
    }

    /// The literal that is the same as the answer.
    pub fn answered(self, answer: &[u8]) -> Option<Assigned> {
        let answer = plain_text(answer)?;
        Some(Assigned::Literal(match self {
            Unread::Diagnosed(Item::Unsigned) => format!("CAST({answer} AS UNSIGNED)"),
            Unread::Diagnosed(Item::Signed) => answer,
            Unread::Diagnosed(Item::Text) => format!("CONVERT(x'{answer}' USING utf8mb3)"),
            Unread::Coded => {
                let is_word =
                    |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                let parts: Vec<&str> = answer.split(' ').collect();
                let [digits, set, collation] = parts[..] else { return None };
                parts.iter().all(|part| is_word(part)).then_some(())?;
                format!("CONVERT(x'{digits}' USING {set}) COLLATE {collation}")
            }
        }))
    }
}

impl UserVariables {
    /// Whether so many more can be kept.
    pub fn has_room_for(&self, more: usize) -> bool {
        self.known.len() + more <= MOST
    }

    /// The text that is this one's value.
    pub fn text(&self, name: &str) -> Option<&str> {
        let known = self.known.get(name).filter(|known| !known.is_null)?;
        known.literal.as_deref()?.strip_prefix('\'')?.strip_suffix('\'')
    }

    /// The SET that gives a connection that has `present` these. `recoded`: its strings have
    /// another character set or collation.
    pub fn statement(&self, present: &UserVariables, recoded: bool) -> Option<String> {
        let mut text = String::new();
        let mut assign = |name: &str, value: &str| {
            text.push_str(if text.is_empty() { "SET @`" } else { ", @`" });
            text.push_str(name);
            text.push_str("`=");
            text.push_str(value);
        };
        // What a variable was before is seen in the type of its NULL: a binary string is what a
        // first NULL makes of it.
        const UNTYPED: &str = "0x00";
        for name in present.known.keys().filter(|name| !self.known.contains_key(*name)) {
            assign(name, UNTYPED);
            assign(name, "NULL");
        }
        for (name, value) in &self.known {
            let same = present.known.get(name) == Some(value);
            if same && !(recoded && value.is_string()) {
                continue;
            }
            assign(name, value.literal.as_deref().unwrap_or(UNTYPED));
            if value.is_null {
                assign(name, "NULL");
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

/// Those of a session: the known ones are in its settings.
#[derive(Debug, Default)]
pub struct Unknown {
    /// They were set to something that is no literal.
    names: BTreeSet<Box<str>>,
    /// Others may have been set, too.
    others: bool,
    /// What the connection that is kept for it is still to be asked for.
    unread: Vec<(Box<str>, Unread)>,
}

impl Unknown {
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.others
    }

    /// Some variable, or several, may have any value now.
    pub fn add_others(&mut self) {
        self.others = true;
    }

    /// It has turned out that none has.
    pub fn remove_others(&mut self) {
        self.others = false;
    }

    /// What only the connection knows that is kept for it.
    pub fn unread(&self) -> &[(Box<str>, Unread)] {
        &self.unread
    }

    /// That connection is gone: what GET DIAGNOSTICS has set stays NULL, and strings are coded as
    /// literals are now.
    pub fn forget_unread(&mut self) {
        self.unread.clear();
    }

    /// Notes a successful assignment.
    pub fn assign(&mut self, known: &mut UserVariables, name: &str, value: &Assigned) {
        self.unread.retain(|(unread, _)| **unread != *name);
        if let Assigned::OnConnection(item) = value {
            // Others who get the connection are to find nothing.
            self.assign(known, name, &Assigned::Null);
            self.unread.push((name.into(), Unread::Diagnosed(*item)));
            return;
        }
        let known = &mut known.known;
        let has_room = known.len() < MOST || known.contains_key(name);
        match value {
            Assigned::Literal(literal) if has_room => {
                let literal = Some(literal.as_str().into());
                known.insert(name.into(), Known { literal, is_null: false });
                self.names.remove(name);
            }
            // It keeps a type that is not known.
            Assigned::Null if self.names.contains(name) => {}
            Assigned::Null if has_room => {
                let value =
                    known.entry(name.into()).or_insert(Known { literal: None, is_null: true });
                value.is_null = true;
            }
            _ if self.names.len() < MOST => {
                known.remove(name);
                self.names.insert(name.into());
            }
            _ => self.others = true,
        }
    }

    /// Notes what the connection has answered that was kept for it.
    pub fn read(&mut self, known: &mut UserVariables, name: &str, value: &Assigned) {
        let is_coded =
            self.unread.iter().any(|(it, unread)| **it == *name && *unread == Unread::Coded);
        let is_null = known.known.get(name).is_some_and(|it| it.is_null);
        self.assign(known, name, value);
        // What GET DIAGNOSTICS has set is NULL only until it is read.
        if is_coded && is_null {
            self.assign(known, name, &Assigned::Null);
        }
    }

    /// The character set or collation of literals is another one from now on: that of the strings
    /// that were set before is asked for when the connection is left.
    pub fn recode(&mut self, known: &UserVariables) {
        for name in known.known.iter().filter(|(_, it)| it.is_string()).map(|(name, _)| name) {
            if !self.unread.iter().any(|(unread, _)| unread == name) {
                self.unread.push((name.clone(), Unread::Coded));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(assignments: &[(&str, Assigned)]) -> (UserVariables, Unknown) {
        let (mut known, mut unknown) = (UserVariables::default(), Unknown::default());
        for (name, value) in assignments {
            unknown.assign(&mut known, name, value);
        }
        (known, unknown)
    }

    fn literal(text: &str) -> Assigned {
        Assigned::Literal(text.to_owned())
    }

    #[test]
    fn what_differs_is_set() {
        let none = UserVariables::default();
        let (one, _) =
            variables(&[("a", literal("5")), ("b", literal("'x'")), ("c", Assigned::Null)]);
        let all = "SET @`a`=5, @`b`='x', @`c`=0x00, @`c`=NULL";
        assert_eq!(one.statement(&none, false).as_deref(), Some(all));
        assert_eq!(one.statement(&one, false), None);
        assert_eq!(one.statement(&one, true).as_deref(), Some("SET @`b`='x'"));
        let (other, _) = variables(&[("b", literal("1.5")), ("b", Assigned::Null)]);
        assert_eq!(
            other.statement(&one, false).as_deref(),
            Some("SET @`a`=0x00, @`a`=NULL, @`c`=0x00, @`c`=NULL, @`b`=1.5, @`b`=NULL")
        );
    }

    #[test]
    fn unknown_ones_become_known_by_literals() {
        let (known, unknown) = variables(&[("a", literal("5")), ("a", Assigned::Unknown)]);
        assert!(!unknown.is_empty() && known == UserVariables::default());
        let assignments = [("a", Assigned::Unknown), ("a", Assigned::Null)];
        assert!(!variables(&assignments).1.is_empty(), "nobody knows its type");
        let (known, mut unknown) = variables(&[("a", Assigned::Unknown), ("a", literal("5"))]);
        assert!(unknown.is_empty() && known.statement(&known, true).is_none());
        unknown.add_others();
        assert!(!unknown.is_empty());
    }

    #[test]
    fn strings_belong_to_their_character_set() {
        let (mut known, mut unknown) = variables(&[
            ("a", literal("5")),
            ("b", literal("'x'")),
            ("c", literal("'y'")),
            ("c", Assigned::Null),
        ]);
        unknown.recode(&known);
        unknown.recode(&known);
        let coded = |name: &str| (name.into(), Unread::Coded);
        assert_eq!(unknown.unread(), [coded("b"), coded("c")]);
        assert!(unknown.is_empty(), "nothing is pinned for it");
        for (name, answer) in [("b", "78 latin1 latin1_bin"), ("c", " utf8mb4 utf8mb4_bin")] {
            let value = Unread::Coded.answered(answer.as_bytes()).unwrap();
            unknown.read(&mut known, name, &value);
        }
        assert!(unknown.unread().is_empty());
        let none = UserVariables::default();
        assert_eq!(
            known.statement(&none, true).as_deref(),
            Some(
                "SET @`a`=5, @`b`=CONVERT(x'78' USING latin1) COLLATE latin1_bin, \
                 @`c`=CONVERT(x'' USING utf8mb4) COLLATE utf8mb4_bin, @`c`=NULL"
            )
        );
        for strange in ["78 latin1", "78 latin1 x'y", "78 latin1 a b"] {
            assert_eq!(Unread::Coded.answered(strange.as_bytes()), None, "{strange}");
        }
    }

    #[test]
    fn what_diagnostics_have_set_is_read_later() {
        let (mut known, mut unknown) = variables(&[
            ("n", literal("5")),
            ("n", Assigned::OnConnection(Item::Unsigned)),
            ("m", Assigned::OnConnection(Item::Text)),
        ]);
        assert!(unknown.is_empty() && unknown.unread().len() == 2);
        // Meanwhile others find nothing there.
        let cleared = "SET @`m`=0x00, @`m`=NULL, @`n`=0x00, @`n`=NULL";
        let none = UserVariables::default();
        assert_eq!(none.statement(&known, false).as_deref(), Some(cleared));
        for (name, item, answer) in [("n", Item::Unsigned, "2"), ("m", Item::Text, "5472")] {
            let value = Unread::Diagnosed(item).answered(answer.as_bytes()).unwrap();
            unknown.read(&mut known, name, &value);
        }
        assert!(unknown.is_empty() && unknown.unread().is_empty());
        let set = "SET @`m`=CONVERT(x'5472' USING utf8mb3), @`n`=CAST(2 AS UNSIGNED)";
        assert_eq!(known.statement(&none, false).as_deref(), Some(set));
        unknown.recode(&known);
        assert!(unknown.unread().is_empty(), "they have a character set of their own");
    }

    #[test]
    fn there_is_a_bound() {
        let many: Vec<_> = (0..200).map(|number| format!("v{number}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), literal("5"))).collect();
        let (known, unknown) = variables(&many);
        assert_eq!((known.known.len(), unknown.names.len()), (MOST, MOST));
        assert!(unknown.others);
    }

    #[test]
    fn names_that_servers_fold_in_other_ways_are_not_kept() {
        assert_eq!(name(b"a.b_$1"), Some("a.b_$1"));
        for other in [&b""[..], b"a b", b"\xC3\xA4", b"a`", &[b'x'; 65]] {
            assert_eq!(name(other), None, "{other:?}");
        }
    }
}
