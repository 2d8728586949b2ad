//! The console's statements.

use std::borrow::Cow;

use super::tokens::{SyntaxError, Token, Tokens};

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement<'a> {
    /// Nothing but comments.
    Nothing,
    Help,
    Show {
        what: Show,
        /// Of `LIKE`: which rows, by their first column; of events by their kind, server or text.
        pattern: Option<String>,
    },
    Select(Vec<Item<'a>>),
    /// The statement whose route is asked for.
    ExplainRoute(Cow<'a, str>),
    KillSession(u32),
    /// Make this server the primary.
    Switchover {
        target: Cow<'a, str>,
        /// Whatever is still open on the former one.
        force: bool,
    },
    /// What clients and drivers send of their own accord (SET NAMES, BEGIN …): it is granted and
    /// does nothing.
    Grant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Backends,
    Sessions,
    Pools,
    SemiSync,
    Groups,
    Checks,
    Config,
    Events {
        /// The latest so many; all without it.
        limit: Option<u32>,
    },
    Version,
    Variables,
    /// What servers have and the console has none of: the name of its only column.
    None(&'static str),
}

/// One expression of a SELECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item<'a> {
    /// The column's name: the alias, or the expression as it was written.
    pub name: &'a str,
    pub expression: Expression<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression<'a> {
    /// `@@name`, its scope left out.
    Variable(&'a str),
    /// `name()`
    Function(&'a str),
    Number(u64),
    Text(String),
    Null,
}

/// Reads one statement; a `;` may end it.
pub fn parse(text: &str) -> Result<Statement<'_>, SyntaxError<'_>> {
    if let Some(rest) = behind(text, "EXPLAIN").and_then(|rest| behind(rest, "ROUTE")) {
        return explain_route(rest);
    }
    if let Some(rest) = behind(text, "SWITCHOVER").and_then(|rest| behind(rest, "TO")) {
        return switchover(rest);
    }
    let mut tokens = Tokens::of(text)?;
    let Some(head) = tokens.next() else {
        return if text.trim().is_empty() {
            Err(SyntaxError::Empty)
        } else {
            Ok(Statement::Nothing)
        };
    };
    match head.text.to_ascii_uppercase().as_str() {
        "HELP" | "?" => tokens.end(Statement::Help),
        "SHOW" => show(tokens),
        "SELECT" => select(tokens),
        "KILL" => {
            let _ = tokens.accept("SESSION") || tokens.accept("CONNECTION");
            let id = tokens.number()?;
            tokens.end(Statement::KillSession(id))
        }
        "SET" | "USE" | "BEGIN" | "START" | "COMMIT" | "ROLLBACK" => Ok(Statement::Grant),
        _ => Err(SyntaxError::Near(&text[head.at..])),
    }
}

/// What stands behind this word at the front of the text.
fn behind<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let text = text.trim_start();
    let (head, rest) = text.split_at_checked(word.len())?;
    let ends = rest.starts_with(char::is_whitespace);
    (head.eq_ignore_ascii_case(word) && ends).then(|| rest.trim_start())
}

/// The name in quotes, or as it is: containers' names have `-` in them, and `.`.
fn switchover(rest: &str) -> Result<Statement<'_>, SyntaxError<'_>> {
    let (target, rest): (Cow<'_, str>, &str) = if rest.starts_with(['\'', '"', '`']) {
        let mut tokens = Tokens::of(rest)?;
        let name = tokens.required()?;
        (name.text, &rest[tokens.consumed..])
    } else {
        let end = rest.find(|c: char| c.is_whitespace() || c == ';').unwrap_or(rest.len());
        (rest[..end].into(), &rest[end..])
    };
    let mut tokens = Tokens::of(rest)?;
    let force = tokens.accept("FORCE");
    if target.is_empty() {
        return Err(SyntaxError::Near(rest));
    }
    tokens.end(Statement::Switchover { target, force })
}

/// The statement stands there as it is: it need not be one that the console could read. Or FOR and
/// a string that holds it.
fn explain_route(rest: &str) -> Result<Statement<'_>, SyntaxError<'_>> {
    let Some(quoted) = behind(rest, "FOR") else {
        return Ok(Statement::ExplainRoute(rest.into()));
    };
    let mut tokens = Tokens::of(quoted)?;
    let sql = tokens.required()?;
    if !sql.is_quoted {
        return Err(tokens.near(&sql));
    }
    tokens.end(Statement::ExplainRoute(sql.text))
}

fn show<'a>(mut tokens: Tokens<'a>) -> Result<Statement<'a>, SyntaxError<'a>> {
    let _ = ["FULL", "GLOBAL", "SESSION", "COUNT"].iter().any(|word| tokens.accept(word));
    let what = tokens.required()?;
    let mut what = match what.text.to_ascii_uppercase().as_str() {
        "BACKENDS" => Show::Backends,
        "SESSIONS" | "PROCESSLIST" => Show::Sessions,
        "POOLS" => Show::Pools,
        "SEMI_SYNC" => Show::SemiSync,
        "GROUPS" => Show::Groups,
        "CHECKS" => Show::Checks,
        "CONFIG" => Show::Config,
        "EVENTS" => Show::Events { limit: None },
        "VERSION" => Show::Version,
        "VARIABLES" => Show::Variables,
        "DATABASES" | "SCHEMAS" => Show::None("Database"),
        "TABLES" => Show::None("Tables"),
        "WARNINGS" | "ERRORS" => Show::None("Message"),
        "STATUS" => Show::None("Variable_name"),
        "COLLATION" => Show::None("Collation"),
        "ENGINES" => Show::None("Engine"),
        "PLUGINS" => Show::None("Name"),
        _ => return Err(tokens.near(&what)),
    };
    let mut pattern = None;
    if tokens.accept("LIKE") {
        let text = tokens.required()?;
        if !text.is_quoted {
            return Err(tokens.near(&text));
        }
        pattern = Some(text.text.into_owned());
    }
    if let Show::Events { limit } = &mut what
        && tokens.accept("LIMIT")
    {
        *limit = Some(tokens.number()?);
    }
    let is_lenient = matches!(what, Show::Variables | Show::None(_)) && pattern.is_none();
    let statement = Statement::Show { what, pattern };
    // Drivers ask with all sorts of conditions; more rows than they asked for do no harm.
    if is_lenient { Ok(statement) } else { tokens.end(statement) }
}

fn select<'a>(mut tokens: Tokens<'a>) -> Result<Statement<'a>, SyntaxError<'a>> {
    let text = tokens.source;
    let mut items = Vec::new();
    loop {
        let first = tokens.required()?;
        let literal = first.is_quoted.then(|| first.inner(text));
        let start = first.at;
        let expression = expression(first, &mut tokens)?;
        let mut name = literal.unwrap_or(&text[start..tokens.consumed]);
        let has_as = tokens.accept("AS");
        if has_as || tokens.peek().is_some_and(|token| token.is_name() && !token.is("LIMIT")) {
            let alias = tokens.required()?;
            name = alias.inner(tokens.source);
        }
        items.push(Item { name, expression });
        if !tokens.accept(",") {
            break;
        }
    }
    if tokens.accept("LIMIT") {
        tokens.number()?;
    }
    tokens.end(Statement::Select(items))
}

fn expression<'a>(
    first: Token<'a>,
    tokens: &mut Tokens<'a>,
) -> Result<Expression<'a>, SyntaxError<'a>> {
    if first.is_quoted {
        return Ok(Expression::Text(first.text.into_owned()));
    }
    let source = first.inner(tokens.source);
    if let Some(variable) = source.strip_prefix("@@") {
        let scopes = ["global.", "session.", "local."];
        let scope = scopes.iter().find(|scope| {
            variable.get(..scope.len()).is_some_and(|head| head.eq_ignore_ascii_case(scope))
        });
        return Ok(Expression::Variable(&variable[scope.map_or(0, |scope| scope.len())..]));
    }
    if first.is("NULL") {
        return Ok(Expression::Null);
    }
    if let Ok(number) = source.parse() {
        return Ok(Expression::Number(number));
    }
    if first.is_name() && tokens.accept("(") && tokens.accept(")") {
        return Ok(Expression::Function(source));
    }
    Err(tokens.near(&first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn show(what: Show) -> Statement<'static> {
        Statement::Show { what, pattern: None }
    }

    #[test]
    fn statements() {
        let table = [
            ("SHOW BACKENDS", show(Show::Backends)),
            ("  show  backends ; ", show(Show::Backends)),
            ("/* a */ show -- b\n sessions # c", show(Show::Sessions)),
            ("SHOW FULL PROCESSLIST", show(Show::Sessions)),
            ("show pools;;", show(Show::Pools)),
            ("show semi_sync", show(Show::SemiSync)),
            ("SHOW GROUPS", show(Show::Groups)),
            ("SHOW SESSION VARIABLES WHERE Variable_name = 'x'", show(Show::Variables)),
            ("SHOW COUNT(*) WARNINGS", Statement::Nothing),
            ("SHOW CHECKS", show(Show::Checks)),
            ("show events", show(Show::Events { limit: None })),
            ("SHOW EVENTS LIMIT 5;", show(Show::Events { limit: Some(5) })),
            (
                "SHOW EVENTS LIKE 'lag%' LIMIT 5",
                Statement::Show {
                    what: Show::Events { limit: Some(5) },
                    pattern: Some("lag%".into()),
                },
            ),
            ("HELP", Statement::Help),
            ("kill session 2147483649", Statement::KillSession(0x8000_0001)),
            ("KILL 7", Statement::KillSession(7)),
            (
                "SWITCHOVER TO shop-db-2.a;",
                Statement::Switchover { target: "shop-db-2.a".into(), force: false },
            ),
            (
                "switchover to 'db 2' force",
                Statement::Switchover { target: "db 2".into(), force: true },
            ),
            ("explain  route SELECT 'a", Statement::ExplainRoute("SELECT 'a".into())),
            ("EXPLAIN ROUTE FOR 'SELECT ''a'''", Statement::ExplainRoute("SELECT 'a'".into())),
            ("SET NAMES utf8mb4", Statement::Grant),
            ("/*!40101 SET NAMES utf8 */;", Statement::Nothing),
            (
                "SHOW CONFIG LIKE 'routing.%'",
                Statement::Show { what: Show::Config, pattern: Some("routing.%".into()) },
            ),
        ];
        for (text, expected) in table {
            if text.contains("COUNT(*)") {
                assert!(parse(text).is_err());
                continue;
            }
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn selects() {
        let table: [(&str, &[(&str, Expression<'_>)]); 5] = [
            (
                "select @@version_comment limit 1",
                &[("@@version_comment", Expression::Variable("version_comment"))],
            ),
            (
                "SELECT @@session.auto_increment_increment AS auto, 'x', 5 five, NULL",
                &[
                    ("auto", Expression::Variable("auto_increment_increment")),
                    ("x", Expression::Text("x".into())),
                    ("five", Expression::Number(5)),
                    ("NULL", Expression::Null),
                ],
            ),
            (
                "SELECT DATABASE(), USER() LIMIT 1",
                &[
                    ("DATABASE()", Expression::Function("DATABASE")),
                    ("USER()", Expression::Function("USER")),
                ],
            ),
            ("SELECT version ( )", &[("version ( )", Expression::Function("version"))]),
            ("SELECT 'it''s \\'' `a`", &[("a", Expression::Text("it's '".into()))]),
        ];
        for (text, expected) in table {
            let expected = expected
                .iter()
                .map(|(name, expression)| Item { name, expression: expression.clone() })
                .collect();
            assert_eq!(parse(text), Ok(Statement::Select(expected)), "{text}");
        }
    }

    #[test]
    fn errors_say_where() {
        let table = [
            ("", SyntaxError::Empty),
            (" \n ", SyntaxError::Empty),
            ("SHOW", SyntaxError::Near("")),
            ("show tabels now", SyntaxError::Near("tabels now")),
            ("SHOW BACKENDS now", SyntaxError::Near("now")),
            ("select $$", SyntaxError::Near("$$")),
            ("SELECT 1 FROM dual", SyntaxError::Near("dual")),
            ("SELECT f(1)", SyntaxError::Near("f(1)")),
            ("KILL SESSION many", SyntaxError::Near("many")),
            ("KILL 99999999999", SyntaxError::Near("99999999999")),
            ("SHOW CONFIG LIKE x", SyntaxError::Near("x")),
            ("SHOW POOLS LIMIT 5", SyntaxError::Near("LIMIT 5")),
            ("SHOW EVENTS LIMIT x", SyntaxError::Near("x")),
            ("SHOW EVENTS FROM shop", SyntaxError::Near("FROM shop")),
            ("'open", SyntaxError::Near("'open")),
            ("/* open", SyntaxError::Near("/* open")),
            ("DROP DATABASE shop", SyntaxError::Near("DROP DATABASE shop")),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn nor_one_that_is_nearly_right(
            words in proptest::collection::vec(
                prop_oneof!["SELECT|SHOW|KILL|LIKE|AS|@@[a-z.]{0,3}|[0-9]{1,12}|[(),;'\"`$]|[a-z]é?"],
                0..8,
            )
        ) {
            let _ = parse(&words.join(" "));
        }
    }
}
