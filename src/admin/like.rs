//! SQL's LIKE.

/// Whether `text` matches: `%` is any characters, `_` one, case does not count.
pub fn is_like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let mut units = Vec::new();
    let mut chars = pattern.to_lowercase().chars().collect::<Vec<_>>().into_iter();
    while let Some(c) = chars.next() {
        units.push(match c {
            '%' => Unit::Any,
            '_' => Unit::One,
            '\\' => Unit::Char(chars.next().unwrap_or('\\')),
            c => Unit::Char(c),
        });
    }
    // The positions in `text` that the units so far can reach.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for unit in units {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match unit {
                Unit::Any => reached[at] || at > 0 && next[at - 1],
                Unit::One => at > 0 && reached[at - 1],
                Unit::Char(c) => at > 0 && reached[at - 1] && text[at - 1] == c,
            };
        }
        reached = next;
    }
    reached[text.len()]
}

enum Unit {
    Any,
    One,
    Char(char),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        for (text, pattern, expected) in [
            ("routing.max_lag", "routing.%", true),
            ("routing.max_lag", "%LAG", true),
            ("routing.max_lag", "max_lag", false),
            ("max_lag", "max_lag", true),
            ("maxxlag", "max_lag", true),
            ("maxxlag", "max\\_lag", false),
            ("", "%", true),
            ("", "_", false),
            ("abc", "%b%", true),
        ] {
            assert_eq!(is_like(text, pattern), expected, "{text} LIKE {pattern}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(text in "\\PC{0,40}", pattern in "[a%_\\\\]{0,12}") {
            let _ = is_like(&text, &pattern);
        }
    }
}
