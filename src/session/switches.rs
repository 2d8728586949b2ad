//! Values of `optimizer_switch`. An assignment changes the flags that it names and leaves the
//! others, so that the last text alone does not tell the session's value.

use std::collections::BTreeMap;

/// The value after `assigned` as one text that holds whatever the value was before: it begins with
/// `default`. `before` is such a text, or None at the server's default; both are quoted strings.
/// None when a text is not understood.
pub fn after(before: Option<&str>, assigned: &str) -> Option<String> {
    let mut flags = BTreeMap::new();
    if let Some(before) = before {
        assign(&mut flags, before)?;
    }
    assign(&mut flags, assigned)?;
    let mut text = "'default".to_owned();
    for (name, value) in flags {
        text.push(',');
        text.push_str(&name);
        text.push('=');
        text.push_str(value);
    }
    text.push('\'');
    Some(text)
}

fn assign(flags: &mut BTreeMap<String, &'static str>, text: &str) -> Option<()> {
    let text = text.strip_prefix('\'')?.strip_suffix('\'')?;
    // Its place among the others does not matter [tried on both servers].
    if text.split(',').any(|item| item.eq_ignore_ascii_case("default")) {
        flags.clear();
    }
    for item in text.split(',') {
        if item.is_empty() || item.eq_ignore_ascii_case("default") {
            continue;
        }
        let (name, value) = item.split_once('=')?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_name) {
            return None;
        }
        let name = name.to_ascii_lowercase();
        match value.to_ascii_lowercase().as_str() {
            "on" => drop(flags.insert(name, "on")),
            "off" => drop(flags.insert(name, "off")),
            "default" => drop(flags.remove(&name)),
            _ => return None,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_add_up() {
        let table = [
            (None, "'mrr=off'", Some("'default,mrr=off'")),
            (Some("'default,mrr=off'"), "'mrr=on'", Some("'default,mrr=on'")),
            (Some("'default,mrr=off'"), "'BKA=ON'", Some("'default,bka=on,mrr=off'")),
            (Some("'default,mrr=off'"), "'bka=on,default'", Some("'default,bka=on'")),
            (Some("'default,bka=on,mrr=off'"), "'mrr=default'", Some("'default,bka=on'")),
            (Some("'default,mrr=off'"), "''", Some("'default,mrr=off'")),
            (Some("7"), "'mrr=on'", None),
            (None, "'mrr=maybe'", None),
            (None, "'mrr'", None),
            (None, "'a b=on'", None),
        ];
        for (before, assigned, expected) in table {
            assert_eq!(after(before, assigned).as_deref(), expected, "{before:?} {assigned}");
        }
    }
}
