//! `rwproxy explain`: where a statement would go, and why, in a session that nothing binds.

use std::fmt::Write;

use clap::ValueEnum;
use rwproxy::routing::{Choice, Request, Rules, Sender};
use rwproxy::sql::sql_mode::{has_ansi_quotes, has_no_backslash_escapes};
use rwproxy::sql::{ClientCharset, Dialect, classify};
use rwproxy::wire::Flavour;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FlavourArgument {
    Mysql,
    Mariadb,
}

/// Version comments up to these are read as the server would: the newest of each family.
const NEWEST_MYSQL: u32 = 90_999;
const NEWEST_MARIADB: u32 = 129_999;

/// The answer in a few lines.
pub fn explain(
    sql: &str,
    flavour: FlavourArgument,
    sql_mode: &str,
    sender: Sender<'_>,
    rules: &Rules,
) -> String {
    let (flavour, version) = match flavour {
        FlavourArgument::Mysql => (Flavour::MySql, NEWEST_MYSQL),
        FlavourArgument::Mariadb => (Flavour::MariaDb, NEWEST_MARIADB),
    };
    let dialect = Dialect {
        flavour,
        version,
        no_backslash_escapes: has_no_backslash_escapes(sql_mode),
        ansi_quotes: has_ansi_quotes(sql_mode),
        charset: ClientCharset::of_name(b"utf8mb4"),
    };
    let statement = classify(sql.as_bytes(), dialect).within(sender.database);
    let choice = Choice::new(sql.as_bytes(), &statement, rules, sender);
    let destination = match choice.request {
        Request::Read | Request::ReadAt(_) => "a replica",
        Request::Primary => "the primary",
        Request::Previous(_) => "the connection of the session's previous statement",
    };
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{name:<12} {value}");
    };
    line("destination", destination);
    line("reason", &format!("{}: {}", choice.reason.name(), choice.reason.sentence()));
    if let Some(rule) = &choice.rule {
        line("rule", &rule.name);
    }
    if statement.open {
        line("", "A full parse may still find it to be a read.");
    }
    line("kind", &format!("{:?}", statement.kind));
    let effects: Vec<_> = statement.effects.iter_names().map(|(name, _)| name).collect();
    if !effects.is_empty() {
        line("effects", &effects.join(", ").to_lowercase());
    }
    line("digest", &format!("{:016x}", statement.digest));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_and_reasons() {
        let table = [
            ("SELECT 1", "", "", "a replica", "read"),
            ("DELETE FROM t", "", "", "the primary", "write"),
            ("SELECT \"it\" FROM t", "ansi_quotes", "", "a replica", "read"),
            ("SELECT \"f\"(1)", "oracle", "", "the primary", "unknown_function"),
            ("SELECT \"f\"(1)", "4", "", "the primary", "unknown_function"),
            ("SELECT * FROM user", "", "mysql", "the primary", "system_table"),
            ("SHOW WARNINGS", "", "", "previous statement", "diagnostics"),
        ];
        for (sql, mode, database, destination, reason) in table {
            let sender = Sender { database: database.as_bytes(), ..Sender::default() };
            let text = explain(sql, FlavourArgument::Mysql, mode, sender, &Rules::default());
            assert!(text.lines().next().unwrap().ends_with(destination), "{sql}: {text}");
            assert!(text.contains(&format!("reason       {reason}: ")), "{sql}: {text}");
        }
    }
}
