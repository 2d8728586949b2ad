//! Where a statement goes that no session binds to a server: where its hints, else the first rule
//! that holds, else its text alone send it.

use std::sync::Arc;

use super::decide::Request;
use super::rules::{Rule, Rules, Sender};
use super::wish::Wish;
use crate::config::RuleTarget;
use crate::sql::{Destination, Hints, Reason, Statement};

/// What a statement asks for, and by which word.
#[derive(Debug, Clone)]
pub struct Choice {
    pub request: Request,
    pub reason: Reason,
    pub wish: Wish,
    /// The rule that has chosen.
    pub rule: Option<Arc<Rule>>,
}

impl Choice {
    fn of(request: Request, reason: Reason) -> Self {
        Choice { request, reason, wish: Wish::default(), rule: None }
    }

    /// Chooses for a statement that has been classified in the sender's default database. Neither
    /// hints nor rules send what must run on the primary, or where the previous statement ran,
    /// anywhere else. Of two hints `primary` wins, else the one in the text.
    pub fn new(sql: &[u8], statement: &Statement, rules: &Rules, sender: Sender<'_>) -> Self {
        let beside = sender.hints.map(|text| (text, Hints::of(text)));
        let chosen = match statement.replica_would_do() {
            true => Self::by_hints(sql, statement, beside)
                .or_else(|| Self::by_rule(rules.find(sql, statement.digest, sender)?)),
            false => None,
        };
        chosen.unwrap_or_else(|| Self::by_text(statement))
    }

    fn by_text(statement: &Statement) -> Self {
        let request = match statement.destination {
            Destination::Replica => Request::Read,
            Destination::Primary => Request::Primary,
            Destination::Previous => Request::Previous(None),
        };
        Choice::of(request, statement.reason)
    }

    /// By the hints in the text and those `beside` it.
    fn by_hints(
        sql: &[u8],
        statement: &Statement,
        beside: Option<(&[u8], Hints)>,
    ) -> Option<Choice> {
        let within = (sql, statement.hints);
        match beside {
            Some((_, hints)) if hints.ask_for_primary() => {
                Some(Choice::of(Request::Primary, Reason::Hint))
            }
            Some((_, hints)) if hints.unknown => {
                Some(Choice::of(Request::Primary, Reason::UnknownHint))
            }
            _ if within.1 != Hints::default() => Some(Self::by_hint(within, statement)),
            Some(beside) if beside.1 != Hints::default() => Some(Self::by_hint(beside, statement)),
            _ => None,
        }
    }

    fn by_hint((text, hints): (&[u8], Hints), statement: &Statement) -> Choice {
        if hints.ask_for_primary() {
            return Choice::of(Request::Primary, Reason::Hint);
        }
        // What a hint in the text may overrule has been overruled by the classification.
        let overrules = statement.destination == Destination::Primary && hints.asks_for_replica();
        if overrules || hints.narrow() && statement.destination == Destination::Replica {
            return Choice {
                wish: Wish::of(text, &hints),
                ..Choice::of(Request::Read, Reason::Hint)
            };
        }
        Self::by_text(statement)
    }

    /// A rule may overrule what a hint may ([`Reason::hint_may_overrule`]).
    fn by_rule(rule: &Arc<Rule>) -> Option<Choice> {
        let request = match rule.target {
            RuleTarget::Primary => Request::Primary,
            RuleTarget::Replica => Request::Read,
        };
        Some(Choice {
            wish: Wish { backend: None, max_lag: rule.max_lag },
            rule: Some(Arc::clone(rule)),
            ..Choice::of(request, Reason::Rule)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::rules;
    use super::*;
    use crate::sql::{Dialect, classify};

    #[test]
    fn hints_beat_rules_and_no_rule_moves_what_must_stay() {
        let to_replica = rules(
            "[[rules]]\nname = 'old'\nmatch = 'facts|server_id'\ntarget = 'replica'\nmax_lag = '1m'",
        );
        let to_primary = rules("[[rules]]\nname = 'all'\ntarget = 'primary'");
        let replica = (Request::Read, Reason::Rule, Some("old"));
        let primary = (Request::Primary, Reason::Rule, Some("all"));
        let stays = |reason| (Request::Primary, reason, None);
        let table = [
            ("SELECT * FROM facts", replica, primary),
            ("SELECT 1", (Request::Read, Reason::Read, None), primary),
            ("SELECT @@server_id", replica, primary),
            ("DELETE FROM facts", stays(Reason::Write), stays(Reason::Write)),
            (
                "SELECT * FROM facts FOR UPDATE",
                stays(Reason::LockingRead),
                stays(Reason::LockingRead),
            ),
            (
                "SELECT f(1) FROM facts",
                stays(Reason::UnknownFunction),
                stays(Reason::UnknownFunction),
            ),
            (
                "SELECT * FROM facts; SELECT 1",
                stays(Reason::MultiStatement),
                stays(Reason::MultiStatement),
            ),
            (
                "SELECT 1 FROM facts /* rwproxy: primary */",
                stays(Reason::Hint),
                stays(Reason::Hint),
            ),
            (
                "SELECT 1 FROM facts /* rwproxy: max_lag=1s */",
                (Request::Read, Reason::Hint, None),
                (Request::Read, Reason::Hint, None),
            ),
            (
                "SELECT 1 FROM facts /* rwproxy: replica */",
                (Request::Read, Reason::Read, None),
                (Request::Read, Reason::Read, None),
            ),
        ];
        for (sql, by_first, by_second) in table {
            let statement = classify(sql.as_bytes(), Dialect::default());
            for (rules, expected) in [(&to_replica, by_first), (&to_primary, by_second)] {
                let choice = Choice::new(sql.as_bytes(), &statement, rules, Sender::default());
                let rule = choice.rule.as_ref().map(|rule| &*rule.name);
                assert_eq!((choice.request, choice.reason, rule), expected, "{sql}");
                let lag = choice.wish.max_lag.map(|lag| lag.as_secs());
                let expected = match rule {
                    Some("old") => Some(60),
                    _ => statement.hints.max_lag.map(|lag| lag.as_secs()),
                };
                assert_eq!(lag, expected, "{sql}");
            }
        }
    }

    #[test]
    fn hints_beside_the_text() {
        let rules = rules("[[rules]]\nname = 'all'\ntarget = 'primary'");
        let read = |reason| (Request::Read, reason);
        let primary = |reason| (Request::Primary, reason);
        let table = [
            ("SELECT 1", "", primary(Reason::Rule), None),
            ("SELECT 1", "replica", read(Reason::Read), None),
            ("SELECT 1", "primary", primary(Reason::Hint), None),
            ("SELECT 1", "after=0-1-1", primary(Reason::Hint), None),
            ("SELECT 1", "primray", primary(Reason::UnknownHint), None),
            ("SELECT 1", "backend=db2", read(Reason::Hint), Some("db2")),
            ("SELECT @@server_id", "replica", read(Reason::Hint), None),
            ("SELECT @@server_id", "backend=db2", read(Reason::Hint), Some("db2")),
            ("SELECT @@server_id", "max_lag=1s", primary(Reason::ServerVariable), None),
            ("SELECT 1 /* rwproxy: backend=db1 */", "backend=db2", read(Reason::Hint), Some("db1")),
            ("SELECT 1 /* rwproxy: primary */", "backend=db2", primary(Reason::Hint), None),
            ("SELECT 1 /* rwproxy: backend=db1 */", "primary", primary(Reason::Hint), None),
            ("DELETE FROM t", "backend=db2", primary(Reason::Write), None),
            ("SELECT 1 FOR UPDATE", "replica", primary(Reason::LockingRead), None),
        ];
        for (sql, beside, expected, backend) in table {
            let statement = classify(sql.as_bytes(), Dialect::default());
            let sender = Sender { hints: Some(beside.as_bytes()), ..Sender::default() };
            let choice = Choice::new(sql.as_bytes(), &statement, &rules, sender);
            assert_eq!((choice.request, choice.reason), expected, "{sql} {beside}");
            assert_eq!(choice.wish.backend.as_deref(), backend, "{sql} {beside}");
        }
    }
}
