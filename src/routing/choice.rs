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
    /// anywhere else; a rule may overrule what a hint may ([`Reason::hint_may_overrule`]).
    pub fn new(sql: &[u8], statement: &Statement, rules: &Rules, sender: Sender<'_>) -> Self {
        let hints = &statement.hints;
        let by_text = match statement.destination {
            Destination::Replica if hints.ask_for_primary() => {
                return Choice::of(Request::Primary, Reason::Hint);
            }
            Destination::Replica if hints.narrow() => {
                let wish = Wish::of(sql, hints);
                return Choice { wish, ..Choice::of(Request::Read, Reason::Hint) };
            }
            Destination::Replica => Request::Read,
            Destination::Primary => Request::Primary,
            Destination::Previous => Request::Previous(None),
        };
        let is_free = statement.replica_would_do() && *hints == Hints::default();
        let found = match is_free {
            true => rules.find(sql, statement.digest, sender),
            false => None,
        };
        let Some(rule) = found else { return Choice::of(by_text, statement.reason) };
        let request = match rule.target {
            RuleTarget::Primary => Request::Primary,
            RuleTarget::Replica => Request::Read,
        };
        Choice {
            wish: Wish { backend: None, max_lag: rule.max_lag },
            rule: Some(Arc::clone(rule)),
            ..Choice::of(request, Reason::Rule)
        }
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
}
