//! Values of session variables that a server has told with a reply (session tracking), as text
//! that gives a variable the same value elsewhere.

use super::switches;
use crate::sql::variables::SessionVariable;

/// What one reply has told. Empty for nearly all of them: it then holds no memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: Box<[u8]>,
    value: Box<[u8]>,
}

impl Told {
    pub fn note(&mut self, name: &[u8], value: &[u8]) {
        self.entries.push(Entry { name: name.into(), value: value.into() });
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names and values in the server's order; a name may come more than once.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|entry| (&*entry.name, &*entry.value))
    }

    /// What was told last of this variable.
    pub fn last(&self, name: &str) -> Option<&[u8]> {
        let is = |entry: &&Entry| entry.name.eq_ignore_ascii_case(name.as_bytes());
        self.entries.iter().rev().find(is).map(|entry| &*entry.value)
    }
}

/// The value as text that reads the same under every `sql_mode` and character set; `None` when it
/// has none. Numbers stand as they are: no variable of the table that is a string has a value that
/// looks like one.
pub fn text(variable: &SessionVariable, value: &[u8]) -> Option<String> {
    let value = std::str::from_utf8(value).ok()?;
    if variable.name == "character_set_results" && value.is_empty() {
        return Some("NULL".to_owned());
    }
    if is_number(value) {
        return Some(value.to_owned());
    }
    let tame = |c: char| (' '..='~').contains(&c) && !matches!(c, '\'' | '\\');
    let quoted = value.chars().all(tame).then(|| format!("'{value}'"))?;
    match variable.adds_up() {
        // All flags are told.
        true => switches::after(None, &quoted),
        false => Some(quoted),
    }
}

fn is_number(value: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = value.strip_prefix('-').unwrap_or(value);
    match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::variables::session_variable;

    #[test]
    fn values_become_text_that_gives_them_back() {
        let table = [
            ("wait_timeout", "2147483", Some("2147483")),
            ("long_query_time", "2.500000", Some("2.500000")),
            ("foreign_key_checks", "OFF", Some("'OFF'")),
            ("sql_mode", "ANSI_QUOTES,ANSI", Some("'ANSI_QUOTES,ANSI'")),
            ("sql_mode", "", Some("''")),
            ("character_set_results", "", Some("NULL")),
            ("character_set_results", "latin1", Some("'latin1'")),
            ("time_zone", "+01:00", Some("'+01:00'")),
            ("optimizer_switch", "mrr=on,bka=off", Some("'default,bka=off,mrr=on'")),
            ("default_storage_engine", "it's", None),
            ("default_storage_engine", "a\\b", None),
            ("default_storage_engine", "ü", None),
        ];
        for (name, value, expected) in table {
            let variable = session_variable(name.as_bytes()).unwrap();
            assert_eq!(text(variable, value.as_bytes()).as_deref(), expected, "{name} {value}");
        }
        let variable = session_variable(b"sql_mode").unwrap();
        assert_eq!(text(variable, b"\xff"), None);
    }

    #[test]
    fn the_last_word_about_a_variable_counts() {
        let mut told = Told::default();
        told.note(b"sql_mode", b"");
        told.note(b"time_zone", b"SYSTEM");
        told.note(b"SQL_MODE", b"ANSI");
        assert_eq!(told.last("sql_mode"), Some(&b"ANSI"[..]));
        assert_eq!(told.last("wait_timeout"), None);
        assert_eq!(told.iter().count(), 3);
    }
}
