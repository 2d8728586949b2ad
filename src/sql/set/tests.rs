//! SET statements of both servers.

use super::*;

fn set(sql: &str) -> Option<Vec<Assignment<'_>>> {
    parse_set(sql.as_bytes(), Dialect::default())
}

fn variable<'a>(scope: Scope, name: &'a str, kind: ValueKind, text: &'a str) -> Assignment<'a> {
    let value = Value { kind, text: text.as_bytes() };
    Assignment::Variable { scope, name: name.into(), value }
}

#[test]
fn single_variables() {
    use Scope::*;
    use ValueKind::*;
    let table = [
        ("SET autocommit=0", variable(Session, "autocommit", Number, "0")),
        ("set AUTOCOMMIT = ON;", variable(Session, "autocommit", Word, "ON")),
        ("SET SESSION sql_mode = 'ANSI'", variable(Session, "sql_mode", String, "'ANSI'")),
        ("SET @@session.sql_mode := \"\"", variable(Session, "sql_mode", String, "\"\"")),
        ("SET @@sql_mode = DEFAULT", variable(Session, "sql_mode", Default, "DEFAULT")),
        ("SET LOCAL wait_timeout = 5", variable(Session, "wait_timeout", Number, "5")),
        ("SET GLOBAL read_only = 1", variable(Global, "read_only", Number, "1")),
        ("SET @@GLOBAL.read_only = 1", variable(Global, "read_only", Number, "1")),
        ("SET PERSIST x = 1", variable(Persist, "x", Number, "1")),
        ("SET PERSIST_ONLY x = 1", variable(PersistOnly, "x", Number, "1")),
        (
            "SET @@TRANSACTION_ISOLATION = 'SERIALIZABLE'",
            variable(NextTransaction, "transaction_isolation", String, "'SERIALIZABLE'"),
        ),
        ("SET @@tx_read_only = 1", variable(NextTransaction, "tx_read_only", Number, "1")),
        ("SET tx_read_only = 1", variable(Session, "tx_read_only", Number, "1")),
        ("SET @@local.tx_read_only = 1", variable(Session, "tx_read_only", Number, "1")),
        ("SET x = -1.5e3", variable(Session, "x", Number, "-1.5e3")),
        (
            "SET character_set_results = NULL",
            variable(Session, "character_set_results", Null, "NULL"),
        ),
        ("SET x = 'a' 'b'", variable(Session, "x", OtherLiteral, "'a' 'b'")),
        ("SET x = _utf8mb4 'a'", variable(Session, "x", OtherLiteral, "_utf8mb4 'a'")),
        ("SET x = N'a'", variable(Session, "x", OtherLiteral, "N'a'")),
        ("SET x = @@y", variable(Session, "x", Expression, "@@y")),
        ("SET x = CONCAT(@@x, ',b')", variable(Session, "x", Expression, "CONCAT(@@x, ',b')")),
        ("SET x = 1 + 1", variable(Session, "x", Expression, "1 + 1")),
        ("SET x = CURRENT_USER", variable(Session, "x", Expression, "CURRENT_USER")),
        ("SET x = ?", variable(Session, "x", Expression, "?")),
        (
            "SET GLOBAL hot.key_buffer_size = 9",
            variable(Global, "hot.key_buffer_size", Number, "9"),
        ),
        (
            "/*!40101 SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */",
            variable(Session, "sql_mode", String, "'NO_AUTO_VALUE_ON_ZERO'"),
        ),
    ];
    for (sql, expected) in table {
        assert_eq!(set(sql), Some(vec![expected]), "{sql}");
    }
}

#[test]
fn lists_keep_the_last_scope() {
    use Scope::*;
    use ValueKind::*;
    assert_eq!(
        set("SET GLOBAL a=1, b=2, @@c=3, SESSION d=4, e=5"),
        Some(vec![
            variable(Global, "a", Number, "1"),
            variable(Global, "b", Number, "2"),
            variable(Session, "c", Number, "3"),
            variable(Session, "d", Number, "4"),
            variable(Session, "e", Number, "5"),
        ])
    );
}

#[test]
fn user_variables_and_names() {
    let value = |kind, text: &'static str| Value { kind, text: text.as_bytes() };
    assert_eq!(
        set("SET @A = 5, @`b c` := f(1, 2)"),
        Some(vec![
            Assignment::UserVariable {
                name: Cow::Borrowed(b"a"),
                value: value(ValueKind::Number, "5")
            },
            Assignment::UserVariable {
                name: Cow::Borrowed(b"b c"),
                value: value(ValueKind::Expression, "f(1, 2)")
            },
        ])
    );
    assert_eq!(
        set("SET NAMES 'utf8mb4' COLLATE utf8mb4_bin, autocommit = 1"),
        Some(vec![
            Assignment::Names {
                charset: value(ValueKind::String, "'utf8mb4'"),
                collation: Some(value(ValueKind::Word, "utf8mb4_bin")),
            },
            variable(Scope::Session, "autocommit", ValueKind::Number, "1"),
        ])
    );
    assert_eq!(
        set("SET NAMES DEFAULT"),
        Some(vec![Assignment::Names {
            charset: value(ValueKind::Default, "DEFAULT"),
            collation: None
        }])
    );
    for sql in ["SET CHARACTER SET utf8", "SET CHARSET utf8", "SET CHAR SET utf8"] {
        let charset = value(ValueKind::Word, "utf8");
        assert_eq!(set(sql), Some(vec![Assignment::CharacterSet { charset }]), "{sql}");
    }
}

#[test]
fn transactions_and_accounts() {
    let transaction = |scope, isolation, read_only| {
        Some(vec![Assignment::Transaction { scope, isolation, read_only }])
    };
    assert_eq!(
        set("SET TRANSACTION READ ONLY"),
        transaction(TransactionScope::Next, None, Some(true))
    );
    assert_eq!(
        set("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;"),
        transaction(TransactionScope::Session, Some(Isolation::ReadCommitted), Some(false))
    );
    assert_eq!(
        set("SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
        transaction(TransactionScope::Global, Some(Isolation::Serializable), None)
    );
    assert_eq!(
        set("SET ROLE ALL EXCEPT a"),
        Some(vec![Assignment::Role { text: b"ALL EXCEPT a" }])
    );
    assert_eq!(set("SET DEFAULT ROLE a TO b"), Some(vec![Assignment::DefaultRole]));
    assert_eq!(set("SET PASSWORD = 'x'"), Some(vec![Assignment::Password]));
    assert_eq!(set("SET PASSWORD FOR u = 'x'"), Some(vec![Assignment::Password]));
    assert_eq!(set("SET RESOURCE GROUP g"), Some(vec![Assignment::ResourceGroup]));
}

#[test]
fn what_is_not_understood() {
    for sql in [
        "",
        "SET",
        "SET a",
        "SET a =",
        "SET a = 1,",
        "SET a = 1; SELECT 1",
        "SET a = 'b",
        "SET a = 1)",
        "SET STATEMENT max_statement_time=1 FOR SELECT 1",
        "SET TRANSACTION",
        "SET TRANSACTION READ ONLY, a = 1",
        "SELECT 1",
    ] {
        assert_eq!(set(sql), None, "{sql}");
    }
}

#[test]
fn values_of_strings() {
    let dialect = Dialect::default();
    let plain = Dialect { no_backslash_escapes: true, ..dialect };
    let table: [(&str, Dialect, &str); 6] = [
        ("'a''b'", dialect, "a'b"),
        (r"'a\'b\n'", dialect, "a'b\n"),
        (r"'a\%'", dialect, r"a\%"),
        (r"'a\b'", plain, r"a\b"),
        (r#""a'b""#, dialect, "a'b"),
        ("''", dialect, ""),
    ];
    for (literal, dialect, expected) in table {
        let found = string_value(literal.as_bytes(), dialect);
        assert_eq!(found.as_deref(), Some(expected.as_bytes()), "{literal}");
    }
}
