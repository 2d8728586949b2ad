//! The statements of MariaDB's own test suite, judged by the token scan and by sqlparser.
//!
//! The suite is taken from the directory that RWPROXY_MYSQL_TEST names, or from where Debian's
//! `mariadb-test` package puts it. Without it the test says so and passes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rwproxy::sql::functions::Call;
use rwproxy::sql::{Destination, Dialect, Kind, classify, deep, words};

use super::{MARIADB, MYSQL};

fn suite() -> Option<PathBuf> {
    let named = std::env::var_os("RWPROXY_MYSQL_TEST").map(PathBuf::from);
    let installed = ["/usr/share/mysql/mysql-test", "/usr/share/mariadb/mariadb-test"];
    named.into_iter().chain(installed.map(PathBuf::from)).find(|path| path.is_dir())
}

/// Words that begin commands of the test language rather than statements.
const COMMANDS: &[&str] = &[
    "append_file",
    "assert",
    "cat_file",
    "change_user",
    "character_set",
    "chmod",
    "connect",
    "connection",
    "copy_file",
    "dec",
    "delimiter",
    "die",
    "diff_files",
    "dirty_close",
    "disable_",
    "disconnect",
    "echo",
    "enable_",
    "end",
    "error",
    "eval",
    "evalp",
    "exec",
    "exit",
    "file_exists",
    "force-",
    "horizontal_results",
    "if",
    "inc",
    "let",
    "list_files",
    "lowercase_result",
    "mkdir",
    "move_file",
    "output",
    "perl",
    "ping",
    "query",
    "real_sleep",
    "reap",
    "remove_file",
    "replace_column",
    "replace_numeric_round",
    "replace_regex",
    "replace_result",
    "require",
    "reset_connection",
    "result",
    "rmdir",
    "send",
    "shutdown_server",
    "skip",
    "sleep",
    "sorted_result",
    "source",
    "start_timer",
    "sync_",
    "vertical_results",
    "wait_for_slave",
    "while",
    "write_file",
    "}",
];

/// The statements of one file, roughly: split at its delimiters, without commands and without
/// what uses variables of the test language.
fn statements(text: &str, into: &mut BTreeSet<String>) {
    let mut delimiter = ";".to_owned();
    let mut statement = String::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if statement.trim().is_empty() && (trimmed.starts_with('#') || trimmed.starts_with("--")) {
            continue;
        }
        statement.push_str(line);
        statement.push('\n');
        let Some(whole) = statement.trim_end().strip_suffix(&delimiter) else { continue };
        let whole = whole.trim();
        let first = whole.split(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
        if let Some(next) = whole.strip_prefix("delimiter ").or(whole.strip_prefix("DELIMITER ")) {
            delimiter = next.trim().to_owned();
        } else if !whole.contains('$')
            && !COMMANDS.iter().any(|command| first.to_lowercase().starts_with(command))
        {
            into.insert(whole.to_owned());
        }
        statement.clear();
    }
}

fn collect(directory: &Path, into: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|end| end == "test" || end == "inc") {
            let bytes = std::fs::read(&path).unwrap_or_default();
            if let Ok(text) = String::from_utf8(bytes) {
                statements(&text, into);
            }
        }
    }
}

/// Why sqlparser would not send a statement to a replica.
fn objection(findings: &deep::Findings, dialect: Dialect) -> Option<String> {
    if findings.statements != 1 {
        return Some(format!("{} statements", findings.statements));
    }
    if findings.writes || findings.locks || findings.into {
        return Some("writes, locks or INTO".to_owned());
    }
    let unknown = findings.functions.iter().find(|function| {
        let call = words::find(function.name.as_bytes())
            .map_or(Call::Unknown, |entry| entry.call_in(dialect, true));
        function.schema.is_some() || !matches!(call, Call::Harmless | Call::Syntax)
    });
    unknown.map(|function| format!("function {function}"))
}

#[derive(Default)]
struct Tally {
    unparsed: usize,
    both_read: usize,
    neither_reads: usize,
    only_parser_reads: BTreeMap<&'static str, usize>,
    dangerous: Vec<String>,
}

fn tally(statements: &BTreeSet<String>, dialect: Dialect) -> Tally {
    let mut tally = Tally::default();
    for sql in statements {
        let found = classify(sql.as_bytes(), dialect);
        if matches!(found.kind, Kind::Begin { .. }) {
            // To the parser whatever is no query writes.
            continue;
        }
        let Ok(findings) = deep::parse(sql.as_bytes(), dialect) else {
            tally.unparsed += 1;
            continue;
        };
        let reads = found.destination == Destination::Replica;
        match objection(&findings, dialect) {
            Some(why) if reads => tally.dangerous.push(format!("{why}: {sql}")),
            Some(_) => tally.neither_reads += 1,
            None if reads => tally.both_read += 1,
            None => *tally.only_parser_reads.entry(found.reason.name()).or_default() += 1,
        }
    }
    tally
}

#[test]
fn no_read_is_a_write_to_the_parser() {
    let Some(directory) = suite() else {
        println!(
            "skipped: mariadb-test is not installed and RWPROXY_MYSQL_TEST names no directory"
        );
        return;
    };
    let mut found = BTreeSet::new();
    collect(&directory, &mut found);
    assert!(found.len() > 10_000, "only {} statements in {directory:?}", found.len());
    let count = found.len();
    // The parser's frames are large in debug builds.
    let judge = move || [MARIADB, MYSQL].map(|dialect| (dialect, tally(&found, dialect)));
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(judge).expect("a thread");
    for (dialect, tally) in thread.join().expect("no panic") {
        println!(
            "{count} statements as {}: {} not parsed, both read {}, neither {}, only sqlparser {}",
            dialect.flavour,
            tally.unparsed,
            tally.both_read,
            tally.neither_reads,
            tally.only_parser_reads.values().sum::<usize>()
        );
        for (reason, times) in &tally.only_parser_reads {
            println!("    {times:6} {reason}");
        }
        assert!(tally.dangerous.is_empty(), "{}", tally.dangerous.join("\n---\n"));
    }
}
