//! What a switchover has done, step by step.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// One step. Its text never holds a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where; `None` for the proxy itself.
    pub server: Option<Arc<str>>,
    pub action: String,
    pub took: Duration,
    /// Why it failed.
    pub problem: Option<String>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The target is the primary. Writes have waited for so long.
    Done { pause: Duration },
    /// It failed, and everything is as it was before.
    Undone { reason: String },
    /// It failed, and somebody must look after it.
    Stuck { reason: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub steps: Vec<Step>,
    pub outcome: Outcome,
}

impl Report {
    /// True when the target is the primary and all who should follow it do.
    pub fn is_clean(&self) -> bool {
        matches!(self.outcome, Outcome::Done { .. })
            && self.steps.iter().all(|step| step.problem.is_none())
    }
}

/// Takes the steps down as they are done, into the log at once.
#[derive(Debug, Default)]
pub struct Journal {
    pub steps: Vec<Step>,
}

impl Journal {
    /// Notes a step that was begun at `began`.
    pub fn note(
        &mut self,
        server: Option<&Arc<str>>,
        action: impl Into<String>,
        began: Instant,
        problem: Option<String>,
    ) {
        let (action, took) = (action.into(), began.elapsed());
        let milliseconds = took.as_millis() as u64;
        let place = server.map(|name| name.to_string());
        match &problem {
            None => tracing::info!(server = place, milliseconds, "switchover: {action}"),
            Some(problem) => {
                tracing::warn!(server = place, milliseconds, "switchover: {action}: {problem}");
            }
        }
        self.steps.push(Step { server: server.cloned(), action, took, problem });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_that_is_missing_is_not_clean() {
        let mut journal = Journal::default();
        journal.note(None, "hold writes", Instant::now(), None);
        let done = |steps: &[Step]| Report {
            steps: steps.to_vec(),
            outcome: Outcome::Done { pause: Duration::ZERO },
        };
        assert!(done(&journal.steps).is_clean());
        journal.note(Some(&"db3".into()), "follow", Instant::now(), Some("no answer".to_owned()));
        assert!(!done(&journal.steps).is_clean());
    }
}
