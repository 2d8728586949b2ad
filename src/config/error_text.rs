//! The wording of type errors: what serde says, made into a sentence with a suggestion.

use std::ops::Range;

use super::Config;

/// How alike two names must be for one to be suggested for the other, 0 to 1.
const ALIKE: f64 = 0.8;

/// Rewrites what serde says of the entry `keys`.
pub fn explain(message: &str, keys: &[String], is_table: bool) -> String {
    if let Some((name, known)) = split(message, "unknown field `") {
        let section = &keys[..keys.len() - 1];
        return unknown_key(name, &known, section, is_table);
    }
    if let Some((value, known)) = split(message, "unknown variant `") {
        let hint = closest(value, &known).map(|best| format!("; did you mean `{best}`?"));
        return format!(
            "unknown value `{value}`{} (one of {})",
            hint.unwrap_or_default(),
            known.join(", ")
        );
    }
    if let Some(field) = message.strip_prefix("missing field `").and_then(|m| m.strip_suffix('`')) {
        return format!("{} needs `{field}`", list_name(keys));
    }
    match message.split_once(", expected struct ") {
        Some((what, _)) => format!("{what}, expected a section"),
        None => message.to_owned(),
    }
}

/// For a syntax error at byte `at`: when a value on its line is text without quotes, that, and the
/// value's place.
pub fn unquoted(text: &str, at: usize) -> Option<(String, Range<usize>)> {
    let line_start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].lines().next()?;
    let (key, rest) = line.split_once('=')?;
    let value = rest.split('#').next().unwrap_or(rest);
    let start = line_start + key.len() + 1 + (value.len() - value.trim_start().len());
    let value = value.trim();
    let has_text = value.contains(|c: char| c.is_alphabetic() || c == ':');
    if at < start || !has_text || value.contains(['"', '\'', ',', '{', '=']) {
        return None;
    }
    Some((format!("text needs quotes: \"{value}\""), start..start + value.len()))
}

/// "unknown field `x`, expected one of `a`, `b`": x, and a and b.
fn split<'a>(message: &'a str, start: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let (name, expected) = message.strip_prefix(start)?.split_once('`')?;
    Some((name, expected.split('`').skip(1).step_by(2).collect()))
}

fn unknown_key(name: &str, known: &[&str], section: &[String], is_table: bool) -> String {
    let what = match (section, is_table) {
        ([], true) => format!("unknown section [{name}]"),
        ([], false) => format!("unknown key `{name}` outside of a section"),
        _ => format!("unknown key `{name}` in [{}]", section.join(".")),
    };
    if let Some(home) = home_of(name) {
        return format!("{what}; `{name}` belongs in [{home}]");
    }
    match closest(name, known) {
        Some(best) if section.is_empty() => format!("{what}; did you mean [{best}]?"),
        Some(best) => format!("{what}; did you mean `{best}`?"),
        None => format!("{what}; there are {}", known.join(", ")),
    }
}

/// The one section that has a key of this name.
fn home_of(key: &str) -> Option<String> {
    let defaults = Config::default();
    let mut homes = super::diff::settings(&defaults).into_keys().filter_map(|path| {
        Some(path.rsplit_once('.')?)
            .filter(|(_, last)| *last == key)
            .map(|(home, _)| home.to_owned())
    });
    let home = homes.next();
    home.filter(|_| homes.next().is_none())
}

fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|&candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn list_name(keys: &[String]) -> String {
    format!("[[{}]]", keys.join("."))
}
