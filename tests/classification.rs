//! Classification against tables of statements, against generated text, and against sqlparser over
//! the statements of MariaDB's own test suite.

#[path = "classification/corpus.rs"]
mod corpus;
#[path = "classification/table.rs"]
mod table;

use rwproxy::sql::{ClientCharset, Destination, Dialect, classify};
use rwproxy::wire::Flavour;
use table::{MARIADB, MYSQL, cases};

#[test]
fn statements_go_where_the_table_says() {
    let cases = cases();
    assert!(cases.len() > 500, "only {} statements", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        for dialect in &case.dialects {
            let found = classify(case.sql.as_bytes(), *dialect);
            let expected = (case.destination, case.reason, case.open);
            let found = (found.destination, found.reason.name(), found.open);
            if found != expected {
                wrong.push(format!(
                    "line {} on {} {}: {}\n    expected {expected:?}, found {found:?}",
                    case.line, dialect.flavour, dialect.version, case.sql
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A statement that may not run on a replica must not become a read by what cannot change its
/// meaning: comments and white space between its tokens.
#[test]
fn comments_between_tokens_change_nothing() {
    use rwproxy::sql::lexer::{Lexer, Token};

    for case in cases() {
        // Comments nest in no server's executable comments, and these reasons are about the very
        // bytes of the text.
        if case.sql.contains("/*!") || case.sql.contains("/*M!") {
            continue;
        }
        if ["unterminated", "character", "charset", "executable_comment"].contains(&case.reason) {
            continue;
        }
        for dialect in &case.dialects {
            for filler in ["/* x */", " ", "\n", "/**/", "-- x\n", "# x\n"] {
                let mut lexer = Lexer::new(case.sql.as_bytes(), *dialect);
                let mut spread = Vec::new();
                let mut end = 0;
                loop {
                    let token = lexer.next().token;
                    // What stands between two tokens stays.
                    spread.extend_from_slice(&case.sql.as_bytes()[end..lexer.position()]);
                    end = lexer.position();
                    if token == Token::End {
                        break;
                    }
                    // A point must touch the names at its sides, and `1.` or `@@x.y` may follow.
                    let rest = &case.sql.as_bytes()[end..];
                    let glued = matches!(token, Token::Dot | Token::Hint)
                        || rest
                            .first()
                            .is_some_and(|b| matches!(b, b'.' | b'*' | b'@' | b'(' | b'='))
                        || matches!(token, Token::Operator(_));
                    if !glued {
                        spread.extend_from_slice(filler.as_bytes());
                    }
                }
                let found = classify(&spread, *dialect);
                assert_eq!(
                    (found.destination, found.reason.name()),
                    (case.destination, case.reason),
                    "line {}: {}",
                    case.line,
                    String::from_utf8_lossy(&spread)
                );
            }
        }
    }
}

mod generated {
    use super::*;
    use proptest::prelude::*;
    use rwproxy::sql::{digest, kill, set};

    fn dialect() -> impl Strategy<Value = Dialect> {
        let flavour = prop_oneof![Just(Flavour::MySql), Just(Flavour::MariaDb)];
        let charset = prop_oneof![
            Just(ClientCharset::Utf8),
            Just(ClientCharset::SingleByte),
            Just(ClientCharset::Multibyte)
        ];
        let version = prop_oneof![Just(0), Just(50_744), Just(90_704), Just(101_119)];
        (flavour, version, any::<bool>(), any::<bool>(), charset).prop_map(
            |(flavour, version, no_backslash_escapes, ansi_quotes, charset)| Dialect {
                flavour,
                version,
                no_backslash_escapes,
                ansi_quotes,
                charset,
            },
        )
    }

    /// Pieces that meet in every way that a lexer may cut wrongly.
    fn piece() -> impl Strategy<Value = String> {
        let fixed = prop::sample::select(vec![
            "SELECT",
            "FROM",
            "WHERE",
            "WITH",
            "AS",
            "FOR",
            "UPDATE",
            "SHARE",
            "LOCK IN SHARE MODE",
            "INTO",
            "UNION",
            "VALUES",
            "TABLE",
            "SET",
            "INSERT",
            "DELETE",
            "SHOW",
            "EXPLAIN",
            "BEGIN",
            "f",
            "t",
            "a",
            "count",
            "get_lock",
            "mysql",
            "x",
            "n",
            "b",
            "e",
            "nextval",
            "value",
            "1",
            "1.",
            ".5",
            "1e5",
            "0x1F",
            "0b1",
            "0",
            "@a",
            "@@a",
            "@@global.a",
            "@",
            "@@",
            "'",
            "\"",
            "`",
            "\\",
            "''",
            "'a'",
            "\"b\"",
            "`c`",
            "(",
            ")",
            ",",
            ".",
            ";",
            ":=",
            "=",
            "*",
            "-",
            "--",
            "-- ",
            "#",
            "\n",
            "\t",
            " ",
            " ",
            " ",
            "/*",
            "*/",
            "/*!",
            "/*!50000",
            "/*!99999",
            "/*M!",
            "/*M!100000",
            "/*+",
            "/* rwproxy: replica */",
            "/* rwproxy: primary */",
            "?",
            "\0",
            "é",
            "\u{a0}",
            "$",
            "$$",
            "{",
            "}",
            "SQL_NO_CACHE",
        ]);
        prop_oneof![9 => fixed.prop_map(str::to_owned), 1 => any::<String>()]
    }

    fn soup() -> impl Strategy<Value = String> {
        prop::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), dialect in dialect()) {
            classify(&bytes, dialect);
            set::parse_set(&bytes, dialect);
            kill::parse_kill(&bytes, dialect);
            rwproxy::sql::question::bare_question(&bytes, dialect);
            prop_assert!(digest::text(&bytes, dialect, 64).len() <= 64);
        }

        #[test]
        fn no_soup_of_tokens_makes_it_panic(sql in soup(), dialect in dialect()) {
            classify(sql.as_bytes(), dialect);
            set::parse_set(sql.as_bytes(), dialect);
            set::parse_set(format!("SET {sql}").as_bytes(), dialect);
            digest::text(sql.as_bytes(), dialect, 1000);
        }

        /// A locking clause behind a read is seen, whatever the read is made of. (A read that ends
        /// in a line comment gets its line ended first.)
        #[test]
        fn a_locking_clause_is_never_missed(sql in soup(), dialect in dialect()) {
            let read = format!("SELECT {sql}\n");
            if classify(read.as_bytes(), dialect).destination == Destination::Replica {
                for clause in ["FOR UPDATE", "LOCK IN SHARE MODE", "for share nowait", "INTO @x"] {
                    let locking = format!("{read} {clause}");
                    let found = classify(locking.as_bytes(), dialect);
                    prop_assert_ne!(found.destination, Destination::Replica, "{}", locking);
                }
            }
        }

        /// Nothing in front of or behind a write makes it a read.
        #[test]
        fn a_second_statement_is_never_missed(sql in soup(), dialect in dialect()) {
            let text = format!("SELECT {sql}\n; DELETE FROM t");
            let alone = classify(format!("SELECT {sql}\n").as_bytes(), dialect);
            if alone.destination == Destination::Replica {
                let found = classify(text.as_bytes(), dialect);
                prop_assert_eq!(found.destination, Destination::Primary, "{}", text);
            }
        }

        /// What the classifier lets pass holds no executable comment beyond modifiers, no `:=` and
        /// no user variable, by a much simpler look at text without quotes.
        #[test]
        fn reads_are_plain(sql in soup(), dialect in dialect()) {
            let text = format!("SELECT {sql}");
            let found = classify(text.as_bytes(), dialect);
            let quoted = text.contains(['\'', '"', '`', '\\', '#']) || text.contains("--") || text.contains("/*");
            if found.destination == Destination::Replica && !quoted {
                let upper = text.to_ascii_uppercase();
                prop_assert!(!upper.contains(":="), "{}", text);
                prop_assert!(!upper.contains(" INTO "), "{}", text);
                prop_assert!(!upper.contains("GET_LOCK("), "{}", text);
                prop_assert!(!upper.contains(" FOR UPDATE"), "{}", text);
            }
        }
    }
}
