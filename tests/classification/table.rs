//! The table of statements: what each one's text says about where it may run.

use rwproxy::sql::{ClientCharset, Destination, Dialect};
use rwproxy::wire::Flavour;

pub const MYSQL: Dialect = Dialect {
    flavour: Flavour::MySql,
    version: 90_704,
    no_backslash_escapes: false,
    ansi_quotes: false,
    charset: ClientCharset::Utf8,
};
pub const MARIADB: Dialect = Dialect { flavour: Flavour::MariaDb, version: 110_803, ..MYSQL };

/// One line of `statements.txt`.
pub struct Case {
    pub line: usize,
    pub destination: Destination,
    pub open: bool,
    pub reason: &'static str,
    pub sql: String,
    pub dialects: Vec<Dialect>,
}

pub fn cases() -> Vec<Case> {
    let text = include_str!("statements.txt");
    let mut dialects = vec![MYSQL];
    let mut cases = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(names) = line.strip_prefix('@') {
            dialects = dialects_of(names);
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (expected, sql) = line.split_once('|').expect("a line is `destination reason | sql`");
        let mut expected = expected.split_whitespace();
        let (destination, open) = match expected.next() {
            Some("R") => (Destination::Replica, false),
            Some("R?") => (Destination::Primary, true),
            Some("P") => (Destination::Primary, false),
            Some("L") => (Destination::Previous, false),
            other => panic!("line {}: destination {other:?}", number + 1),
        };
        cases.push(Case {
            line: number + 1,
            destination,
            open,
            reason: expected.next().expect("a reason"),
            sql: sql.strip_prefix(' ').unwrap_or(sql).replace('␊', "\n").replace('␀', "\0"),
            dialects: dialects.clone(),
        });
    }
    cases
}

fn dialects_of(names: &str) -> Vec<Dialect> {
    let mut dialects = Vec::new();
    for name in names.split_whitespace() {
        match name {
            "both" => dialects.extend([MYSQL, MARIADB]),
            "mysql" => dialects.push(MYSQL),
            "mysql57" => dialects.push(Dialect { version: 50_744, ..MYSQL }),
            "mariadb" => dialects.push(MARIADB),
            "mariadb106" => dialects.push(Dialect { version: 100_618, ..MARIADB }),
            "ansi_quotes" => dialects.iter_mut().for_each(|d| d.ansi_quotes = true),
            "no_backslash_escapes" => {
                dialects.iter_mut().for_each(|d| d.no_backslash_escapes = true);
            }
            "latin1" => dialects.iter_mut().for_each(|d| d.charset = ClientCharset::SingleByte),
            "gbk" => dialects.iter_mut().for_each(|d| d.charset = ClientCharset::Multibyte),
            other => panic!("dialect {other}"),
        }
    }
    dialects
}
