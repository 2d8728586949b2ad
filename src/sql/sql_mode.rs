//! What of `sql_mode` changes how text is read.

/// Modes in which `"x"` is an identifier: the mode itself and those that hold it. Servers that do
/// not know one of them refuse it.
const WITH_ANSI_QUOTES: [&str; 7] =
    ["ANSI_QUOTES", "ANSI", "DB2", "MAXDB", "MSSQL", "ORACLE", "POSTGRESQL"];

/// The same modes as bits of a number: `SET sql_mode=4`.
const BITS_WITH_ANSI_QUOTES: u64 = 4 | 256 | 512 | 1024 | 2048 | 4096 | 262_144;

/// Whether `"x"` is an identifier under this `sql_mode`: names between commas, or a number.
pub fn has_ansi_quotes(mode: &str) -> bool {
    match mode.trim().parse::<u64>() {
        Ok(bits) => bits & BITS_WITH_ANSI_QUOTES != 0,
        Err(_) => WITH_ANSI_QUOTES.iter().any(|name| has(mode, name)),
    }
}

/// Whether a backslash in a string is itself under this `sql_mode`.
pub fn has_no_backslash_escapes(mode: &str) -> bool {
    has(mode, "NO_BACKSLASH_ESCAPES")
}

fn has(mode: &str, name: &str) -> bool {
    mode.split(',').any(|mode| mode.trim().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_that_make_quotes_those_of_identifiers() {
        let table = [
            ("", false),
            ("STRICT_TRANS_TABLES,NO_ZERO_DATE", false),
            ("ANSI_QUOTES", true),
            ("strict_trans_tables, ansi_quotes", true),
            ("REAL_AS_FLOAT,ANSI", true),
            ("ORACLE", true),
            ("PostgreSQL", true),
            ("NO_ANSI_QUOTES_AT_ALL", false),
            ("4", true),
            ("+4", true),
            ("3", false),
            ("512", true),
            ("262144", true),
            ("2097152", false),
        ];
        for (mode, expected) in table {
            assert_eq!(has_ansi_quotes(mode), expected, "{mode}");
        }
        assert!(has_no_backslash_escapes("ANSI,no_backslash_escapes"));
        assert!(!has_no_backslash_escapes("ANSI"));
    }
}
