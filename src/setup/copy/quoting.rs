//! Names and texts in statements.

/// A name as statements have it.
pub fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table's or routine's name with its schema's.
pub fn qualified(schema: &str, object: &str) -> String {
    format!("{}.{}", name(schema), name(object))
}

/// Where `words` first stand outside of quoted names and texts.
pub fn find(statement: &[u8], words: &[u8]) -> Option<usize> {
    let mut quote = None;
    let mut at = 0;
    while at < statement.len() {
        match (quote, statement[at]) {
            (None, _) if statement[at..].starts_with(words) => return Some(at),
            (None, byte @ (b'\'' | b'`' | b'"')) => quote = Some(byte),
            // A doubled quote closes and opens again.
            (Some(open), byte) if open == byte => quote = None,
            (Some(b'\'' | b'"'), b'\\') => at += 1,
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(qualified("a`b", "c"), "`a``b`.`c`");
    }

    #[test]
    fn words_are_found_outside_of_quotes() {
        let table = [
            ("a DO b", Some(1)),
            ("' DO ' DO ", Some(6)),
            ("'it''s DO ' DO ", Some(11)),
            (r"'\' DO ' DO ", Some(8)),
            ("`\\` DO `", Some(3)),
            ("' DO ", None),
            ("DO", None),
        ];
        for (statement, at) in table {
            assert_eq!(find(statement.as_bytes(), b" DO "), at, "{statement}");
        }
    }
}
