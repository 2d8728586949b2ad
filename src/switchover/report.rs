//! What a switchover has done, step by step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::administration::{Failed, PATIENCE, Server, Statement};
use crate::metrics::EventKind;
use crate::monitor::events::{Change, EventLog, Severity};

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

/// Takes the steps down as they are done; each is an event.
#[derive(Debug)]
pub struct Journal {
    pub steps: Vec<Step>,
    events: Arc<EventLog>,
}

impl Journal {
    pub fn new(events: Arc<EventLog>) -> Self {
        Journal { steps: Vec::new(), events }
    }

    /// Notes a step that was begun at `began`.
    pub fn note(
        &mut self,
        server: Option<&Arc<str>>,
        action: impl Into<String>,
        began: Instant,
        problem: Option<String>,
    ) {
        let (action, took) = (action.into(), began.elapsed());
        let (severity, end) = match &problem {
            None => (Severity::Info, format!("{} ms", took.as_millis())),
            Some(problem) => (Severity::Warning, problem.clone()),
        };
        self.publish(server, severity, format!("switchover: {action}: {end}"));
        self.steps.push(Step { server: server.cloned(), action, took, problem });
    }

    /// Has a statement done that waits for nobody, and takes it down.
    ///
    /// # Errors
    /// The server's, or that it does not answer.
    pub async fn tell(&mut self, server: &mut Server, statement: &Statement) -> Result<(), Failed> {
        self.tell_within(PATIENCE, server, statement).await
    }

    /// The same for a statement that may take longer.
    ///
    /// # Errors
    /// The server's, or that it does not answer.
    pub async fn tell_within(
        &mut self,
        patience: Duration,
        server: &mut Server,
        statement: &Statement,
    ) -> Result<(), Failed> {
        let began = Instant::now();
        let done = server.run(&statement.sql, patience).await;
        let problem = done.as_ref().err().map(|failed| failed.text.clone());
        self.note(Some(&server.name), &*statement.shown, began, problem);
        done.map(|_| ())
    }

    /// Notes how it has ended.
    pub fn end(self, target: &Arc<str>, outcome: Outcome) -> Report {
        let (severity, text) = match &outcome {
            Outcome::Done { pause } => {
                (Severity::Info, format!("done: writes have waited for {} ms", pause.as_millis()))
            }
            Outcome::Undone { reason } => {
                (Severity::Warning, format!("everything is as before: {reason}"))
            }
            Outcome::Stuck { reason } => (Severity::Error, format!("stuck: {reason}")),
        };
        self.publish(Some(target), severity, format!("switchover: {text}"));
        Report { steps: self.steps, outcome }
    }

    fn publish(&self, server: Option<&Arc<str>>, severity: Severity, text: String) {
        let kind = EventKind::Switchover;
        self.events.tell(vec![Change { kind, severity, server: server.cloned(), text }]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_follower_that_is_missing_is_not_clean() {
        let metrics = Arc::new(Metrics::new(&["read"]));
        let mut journal = Journal::new(Arc::new(EventLog::new(metrics)));
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
