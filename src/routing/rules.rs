//! `[[rules]]` as statements meet them.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, Pattern, RuleTarget};
use crate::metrics::Counter;

/// Of a longer text a rule's `match` sees only the beginning, of this many bytes.
const LONGEST_SEARCHED: usize = 16 * 1024;

/// Who sends a statement, and what is said beside it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sender<'a> {
    pub user: &'a [u8],
    /// The default database; empty if there is none.
    pub database: &'a [u8],
    /// Hints in a query attribute, as they would stand behind `rwproxy:` in a comment.
    pub hints: Option<&'a [u8]>,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    pub name: Arc<str>,
    pub target: RuleTarget,
    /// No replica that is further behind.
    pub max_lag: Option<Duration>,
    /// Statements that it has sent where they went.
    pub statements: Arc<Counter>,
    user: Option<Box<[u8]>>,
    database: Option<Box<[u8]>>,
    digest: Option<u64>,
    pattern: Option<Pattern>,
}

/// All rules, in their order.
#[derive(Debug, Clone, Default)]
pub struct Rules(Arc<[Arc<Rule>]>);

impl Rules {
    /// `counter` gives the counter of the rule of a name.
    pub fn new(rules: &[config::Rule], counter: impl Fn(&str) -> Arc<Counter>) -> Self {
        let bytes = |text: &Option<String>| text.as_ref().map(|text| text.as_bytes().into());
        let rules = rules.iter().map(|rule| {
            Arc::new(Rule {
                name: rule.name.as_str().into(),
                target: rule.target,
                max_lag: rule.max_lag,
                statements: counter(&rule.name),
                user: bytes(&rule.user),
                database: bytes(&rule.database),
                digest: rule.digest.map(|digest| digest.0),
                pattern: rule.pattern.clone(),
            })
        });
        Rules(rules.collect())
    }

    /// The first rule that holds for this text of this digest, from this sender.
    pub fn find(&self, sql: &[u8], digest: u64, sender: Sender<'_>) -> Option<&Arc<Rule>> {
        self.0.iter().find(|rule| rule.holds(sql, digest, sender))
    }
}

impl Rule {
    fn holds(&self, sql: &[u8], digest: u64, sender: Sender<'_>) -> bool {
        let is = |wanted: &Option<Box<[u8]>>, given: &[u8]| {
            wanted.as_ref().is_none_or(|wanted| **wanted == *given)
        };
        let searched = &sql[..sql.len().min(LONGEST_SEARCHED)];
        is(&self.user, sender.user)
            && is(&self.database, sender.database)
            && self.digest.is_none_or(|wanted| wanted == digest)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(searched))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    /// Rules as a file gives them.
    pub fn rules(text: &str) -> Rules {
        let config = Config::parse(text, "proxy.toml", &Environment::of_process()).unwrap();
        Rules::new(&config.rules, |_| Arc::default())
    }

    #[test]
    fn the_first_whose_conditions_all_hold() {
        let rules = rules(
            r#"
            [[rules]]
            name = "both"
            user = "report"
            database = "sales"
            target = "primary"
            [[rules]]
            name = "text"
            match = '^select .* from\s+facts\b'
            target = "replica"
            max_lag = "1m"
            [[rules]]
            name = "exact"
            match = '(?-i)^SELECT 1$'
            target = "primary"
            [[rules]]
            name = "shape"
            digest = "00000000000000AA"
            target = "primary"
            "#,
        );
        let long = [b"SELECT ".as_slice(), &[b'1'; LONGEST_SEARCHED], b" FROM facts"].concat();
        // User, database, text, digest, and the rule.
        type Case<'a> = (&'a str, &'a str, &'a [u8], u64, Option<&'a str>);
        let table: [Case<'_>; 11] = [
            ("report", "sales", b"SELECT 2", 1, Some("both")),
            ("report", "", b"SELECT 2", 1, None),
            ("app", "sales", b"SELECT 2", 1, None),
            ("app", "", b"SELECT a,\n b FROM facts f", 1, Some("text")),
            ("app", "", b"SELECT '\xff' from  FACTS", 1, Some("text")),
            ("app", "", b"SELECT a FROM factsheet", 1, None),
            ("app", "", &long, 1, None),
            ("app", "", b"SELECT 1", 1, Some("exact")),
            ("app", "", b"select 1", 1, None),
            ("app", "", b"select 1", 0xAA, Some("shape")),
            ("report", "sales", b"SELECT 1", 0xAA, Some("both")),
        ];
        for (user, database, sql, digest, expected) in table {
            let (user, database) = (user.as_bytes(), database.as_bytes());
            let sender = Sender { user, database, hints: None };
            let found = rules.find(sql, digest, sender).map(|rule| &*rule.name);
            assert_eq!(found, expected, "{sender:?} {}", sql.escape_ascii());
        }
    }
}
