//! A statement that writes, locks or is one of several is never sent to a replica: not when
//! sqlparser understands it so, and not when a write is put before, around or behind any text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rwproxy::sql::deep::{analyse, parse};
use rwproxy::sql::functions::Call;
use rwproxy::sql::words::find;
use rwproxy::sql::{Destination, Dialect, Kind, Statement, classify, digest};
use rwproxy_fuzz::{dialect, split_head};

/// Longer texts may overflow sqlparser's stack.
const MOST: usize = 2048;

/// What makes any text a write, wherever the text ends. The line break ends a comment.
const BEHIND: [&str; 2] = ["\n;\nDELETE FROM t\n", "\n;\nSET GLOBAL read_only = 0\n"];
const BEFORE: [&str; 6] = [
    "DELETE FROM t\n;\n",
    "INSERT INTO t ",
    "REPLACE INTO t (a) ",
    "CREATE TABLE t AS ",
    "WITH x AS (SELECT 1) DELETE FROM t WHERE a IN (",
    "CALL p(",
];
/// What makes any query one that locks or writes.
const CLAUSES: [&str; 3] = ["\nFOR UPDATE\n", "\nLOCK IN SHARE MODE\n", "\nINTO OUTFILE '/x'\n"];
/// The same in a comment that servers execute; the end of it would end an open comment, too.
const EXECUTED: &str = "\n/*!FOR UPDATE*/\n";

fn around(before: &str, sql: &[u8], behind: &str, dialect: Dialect) -> Statement {
    classify(&[before.as_bytes(), sql, behind.as_bytes()].concat(), dialect)
}

fn check_alone(sql: &[u8], dialect: Dialect) {
    let statement = classify(sql, dialect);
    assert_eq!(classify(sql, dialect), statement);
    let _ = digest::text(sql, dialect, 100);
    let _ = statement.reason.name();
    let within = statement.within(b"mysql");
    assert!(within == statement || within.destination == Destination::Primary);
}

fn check_compounds(sql: &[u8], dialect: Dialect) {
    for behind in BEHIND {
        let whole = around("", sql, behind, dialect);
        let nothing = sql.iter().all(|byte| byte.is_ascii_whitespace() || *byte == b';');
        assert_eq!(whole.destination, Destination::Primary, "behind: {behind:?} {whole:?}");
        assert!(!whole.replica_would_do() || nothing, "behind: {behind:?} {whole:?}");
    }
    for before in BEFORE {
        let whole = around(before, sql, "", dialect);
        assert_eq!(whole.destination, Destination::Primary, "before: {before:?} {whole:?}");
        assert!(!whole.replica_would_do(), "before: {before:?} {whole:?}");
    }
    let executed = (!has_comment(sql)).then_some(EXECUTED);
    for clause in CLAUSES.into_iter().chain(executed) {
        let whole = around("", sql, clause, dialect);
        let locks = whole.kind == Kind::Select && whole.destination == Destination::Replica;
        assert!(!locks, "clause: {clause:?} {whole:?}");
    }
}

/// A full parse of what the token scan takes for a read must find nothing else. sqlparser reads
/// text as MySQL does in its default modes, but for executable comments.
fn check_with_parser(sql: &[u8]) {
    let plain = Dialect::default();
    let statement = classify(sql, plain);
    if statement.open {
        let _ = analyse(sql, plain);
    }
    // EXPLAIN of a write is a read, and the parser sees a write.
    let comparable = statement.kind != Kind::Explain && !has_comment(sql);
    if statement.destination != Destination::Replica || !comparable {
        return;
    }
    let Ok(findings) = parse(sql, plain) else { return };
    assert_eq!(findings.statements, 1, "{statement:?} {findings:?}");
    assert!(!findings.writes && !findings.locks && !findings.into, "{statement:?} {findings:?}");
    for function in &findings.functions {
        let call = find(function.name.as_bytes()).map(|entry| entry.call_in(plain, true));
        let harmless = matches!(call, Some(Call::Harmless | Call::Syntax));
        assert!(harmless && function.schema.is_none(), "{statement:?} {function:?}");
    }
}

fn has_comment(sql: &[u8]) -> bool {
    sql.windows(2).any(|two| two == b"/*")
}

fuzz_target!(|data: &[u8]| {
    let Some((head, sql)) = split_head(data) else { return };
    if sql.len() > MOST {
        return;
    }
    let dialect = dialect(head);
    check_alone(sql, dialect);
    check_compounds(sql, dialect);
    check_with_parser(sql);
});
