//! A full parse, off the hot path: tables and functions for people and rules, and a verdict on what
//! the token scan leaves open.
//!
//! The parser is not the server's. Text that it accepts may mean something else there (it knows
//! neither `sql_mode` nor all comments), so its word counts only where the token scan has found
//! nothing else that forbids a replica, and an error of it always means the primary.

use std::ops::ControlFlow;
use std::thread;

use sqlparser::ast::{
    Expr, Function, ObjectName, Query, Select, SetExpr, Statement as Parsed, TableFactor, Visit,
    Visitor,
};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use super::functions::Call;
use super::{Destination, Dialect, Reason, Statement, classify, words};

/// Longer statements are not parsed, in bytes.
pub const LONGEST: usize = 16 * 1024;

/// The stack that a parse may need, in bytes. The parser's trees for chains of operators are as
/// deep as the chain is long, and its functions have large frames: in a debug build 50 nested NOT or
/// 2,700 AND overflow 2 MiB.
pub(super) const STACK: usize = 32 * 1024 * 1024;

/// A name, perhaps with its schema, as it stands in the statement without quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub schema: Option<String>,
    pub name: String,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

/// What the parser sees in a statement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Statements in the text.
    pub statements: usize,
    /// A statement, or one nested in it, is not a read.
    pub writes: bool,
    pub locks: bool,
    pub into: bool,
    /// Functions called, each once, in order of appearance.
    pub functions: Vec<Name>,
    /// Tables named, each once, in order of appearance; names of WITH are left out.
    pub tables: Vec<Name>,
}

/// Why there are no findings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unparsed {
    #[error("the statement has more than {LONGEST} bytes")]
    TooLong,
    #[error("the statement is not valid UTF-8")]
    NotUtf8,
    #[error("the parser does not know this sql_mode")]
    Mode,
    #[error("{0}")]
    Syntax(String),
    #[error("the parser failed")]
    Failed,
}

/// What is known of a statement after a full parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub destination: Destination,
    pub reason: Reason,
    pub findings: Result<Findings, Unparsed>,
}

/// Parses a statement and decides what the token scan left open, on a thread of its own with
/// enough stack. Takes some 5 µs and the start of a thread for short statements, up to a few
/// milliseconds near [`LONGEST`].
pub fn analyse(sql: &[u8], dialect: Dialect) -> Verdict {
    thread::scope(|scope| {
        thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, || analyse_here(sql, dialect))
            .ok()
            // A panic of the parser counts as an error of it.
            .and_then(|parser| parser.join().ok())
    })
    .unwrap_or_else(|| {
        let statement = classify(sql, dialect);
        Verdict {
            destination: statement.destination,
            reason: statement.reason,
            findings: Err(Unparsed::Failed),
        }
    })
}

/// [`analyse`] on the caller's thread, which must have [`STACK`] bytes of stack.
pub(super) fn analyse_here(sql: &[u8], dialect: Dialect) -> Verdict {
    let statement = classify(sql, dialect);
    let findings = parse(sql, dialect);
    let (destination, reason) = match &findings {
        Ok(findings) => settle(&statement, findings, dialect),
        Err(_) => (statement.destination, statement.reason),
    };
    Verdict { destination, reason, findings }
}

fn settle(statement: &Statement, findings: &Findings, dialect: Dialect) -> (Destination, Reason) {
    let undecided = (statement.destination, statement.reason);
    if !statement.open || findings.statements != 1 {
        return undecided;
    }
    if findings.writes || findings.locks || findings.into {
        return (Destination::Primary, Reason::NotUnderstood);
    }
    if findings.functions.iter().all(|function| is_harmless(function, dialect)) {
        (Destination::Replica, Reason::Read)
    } else {
        (Destination::Primary, Reason::UnknownFunction)
    }
}

fn is_harmless(function: &Name, dialect: Dialect) -> bool {
    function.schema.is_none()
        && words::find(function.name.as_bytes())
            .is_some_and(|entry| entry.call_in(dialect, true) == Call::Harmless)
}

/// What the parser sees in a text. The caller's thread should have some 32 MiB of stack, or the
/// text be known to be simple.
///
/// # Errors
/// When the text is too long, is read otherwise by the server than by the parser, or is no SQL
/// that the parser knows.
pub fn parse(sql: &[u8], dialect: Dialect) -> Result<Findings, Unparsed> {
    if sql.len() > LONGEST {
        return Err(Unparsed::TooLong);
    }
    let text = std::str::from_utf8(sql).map_err(|_| Unparsed::NotUtf8)?;
    if (dialect.ansi_quotes && text.contains('"'))
        || (dialect.no_backslash_escapes && text.contains('\\'))
    {
        return Err(Unparsed::Mode);
    }
    let statements = Parser::parse_sql(&MySqlDialect {}, text)
        .map_err(|error| Unparsed::Syntax(error.to_string()))?;
    let mut finder = Finder::default();
    let _: ControlFlow<()> = statements.visit(&mut finder);
    let mut findings = finder.findings;
    findings.statements = statements.len();
    findings.tables.retain(|table| {
        table.schema.is_some() || !finder.with_names.contains(&table.name.to_lowercase())
    });
    Ok(findings)
}

#[derive(Default)]
struct Finder {
    findings: Findings,
    with_names: Vec<String>,
}

impl Finder {
    fn function(&mut self, name: &ObjectName) {
        add(&mut self.findings.functions, name);
    }
}

fn add(names: &mut Vec<Name>, object: &ObjectName) {
    let mut parts: Vec<String> = object
        .0
        .iter()
        .map(|part| part.as_ident().map_or_else(|| part.to_string(), |ident| ident.value.clone()))
        .collect();
    let Some(name) = parts.pop() else { return };
    let schema = (!parts.is_empty()).then(|| parts.join("."));
    let name = Name { schema, name };
    if !names.contains(&name) {
        names.push(name);
    }
}

impl Visitor for Finder {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Parsed) -> ControlFlow<()> {
        self.findings.writes |= !matches!(
            statement,
            Parsed::Query(_)
                | Parsed::Explain { .. }
                | Parsed::ExplainTable { .. }
                | Parsed::ShowCreate { .. }
                | Parsed::ShowColumns { .. }
                | Parsed::ShowDatabases { .. }
                | Parsed::ShowSchemas { .. }
                | Parsed::ShowTables { .. }
                | Parsed::ShowViews { .. }
                | Parsed::ShowCharset(_)
                | Parsed::ShowCollation { .. }
                | Parsed::ShowFunctions { .. }
                | Parsed::ShowProcessList { .. }
                | Parsed::ShowStatus { .. }
                | Parsed::ShowVariable { .. }
                | Parsed::ShowVariables { .. }
        );
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.findings.locks |= !query.locks.is_empty();
        // WITH … DELETE is a query to the parser, with the statement as its body.
        self.findings.writes |= matches!(
            *query.body,
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
        );
        if let Some(with) = &query.with {
            let names = with.cte_tables.iter().map(|cte| cte.alias.name.value.to_lowercase());
            self.with_names.extend(names);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.findings.into |= select.into.is_some();
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        add(&mut self.findings.tables, relation);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                self.function(name)
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(Function { name, .. }) = expr {
            self.function(name);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Verdict {
        analyse(sql.as_bytes(), Dialect { version: 90_704, ..Dialect::default() })
    }

    #[test]
    fn open_statements_are_settled() {
        let table = [
            ("SELECT * FROM (SELECT 1) d (a)", Destination::Replica),
            ("SELECT * FROM (SELECT ABS(1)) d (a)", Destination::Replica),
            ("WITH c AS (SELECT 1) (SELECT * FROM c)", Destination::Replica),
            ("SELECT * FROM (SELECT f(1)) d (a)", Destination::Primary),
            ("SELECT * FROM (SELECT 1) d (a) FOR UPDATE", Destination::Primary),
            ("SELECT * FROM (SELECT 1) d (a) WHERE @x", Destination::Primary),
            ("SELECT * FROM (SELECT 1) d (a", Destination::Primary),
        ];
        for (sql, destination) in table {
            assert_eq!(of(sql).destination, destination, "{sql}");
        }
    }

    #[test]
    fn tables_and_functions_are_listed() {
        let verdict =
            of("WITH c AS (SELECT a FROM shop.orders) SELECT MAX(x), `f`(1), db.g(2) FROM c \
             JOIN `users` u ON u.id = ABS(c.a) WHERE EXISTS (SELECT 1 FROM users)");
        let findings = verdict.findings.expect("parses");
        let list =
            |names: &[Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(list(&findings.tables), "shop.orders users");
        let mut functions = findings.functions;
        functions.sort();
        assert_eq!(list(&functions), "ABS MAX f db.g");
    }

    #[test]
    fn what_hides_in_queries_is_found() {
        let find = |sql: &str| parse(sql.as_bytes(), Dialect::default()).expect("parses");
        assert!(find("WITH c AS (SELECT 1) DELETE FROM t").writes);
        assert!(find("WITH c AS (SELECT 1) UPDATE t SET a = 1").writes);
        assert!(find("SELECT * FROM (SELECT 1 FROM t FOR UPDATE) d").locks);
        assert!(find("SELECT a INTO @x FROM t").into);
        assert!(find("EXPLAIN DELETE FROM t").writes);
        assert!(!find("EXPLAIN SELECT 1").writes);
        assert_eq!(find("SELECT 1; SELECT 2").statements, 2);
    }

    #[test]
    fn what_is_not_parsed() {
        let dialect = Dialect::default();
        let long = format!("SELECT '{}'", "x".repeat(LONGEST));
        assert_eq!(parse(long.as_bytes(), dialect), Err(Unparsed::TooLong));
        assert_eq!(parse(b"SELECT '\xff'", dialect), Err(Unparsed::NotUtf8));
        let ansi = Dialect { ansi_quotes: true, ..dialect };
        assert_eq!(parse(b"SELECT \"a\"", ansi), Err(Unparsed::Mode));
        assert!(matches!(parse(b"SELECT FROM WHERE", dialect), Err(Unparsed::Syntax(_))));
    }

    #[test]
    fn the_longest_statements_do_not_overflow_the_stack() {
        for chain in [" AND 1", " UNION SELECT 1", "+1", " OR NOT 1", ",1", " IS NULL"] {
            let sql = format!("SELECT 1{}", chain.repeat((LONGEST - 10) / chain.len()));
            let findings = of(&sql).findings;
            assert!(findings.is_ok(), "{chain}: {findings:?}");
        }
        for (open, close) in [("(", ")"), ("(SELECT ", ")"), ("- ", ""), ("NOT ", ""), ("f(", ")")]
        {
            let depth = (LONGEST - 10) / (open.len() + close.len());
            let sql = format!("SELECT {}1{}", open.repeat(depth), close.repeat(depth));
            let findings = of(&sql).findings;
            assert!(matches!(findings, Err(Unparsed::Syntax(_))), "{open}: {findings:?}");
        }
    }
}
