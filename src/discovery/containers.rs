//! The containers of one daemon, kept by its list, its events and inspections. Pure.
//!
//! An event takes effect at once, by what it says itself; the inspection that follows tells the
//! rest. Answers come late and out of order: one that was asked for before the latest event of a
//! container says nothing of it any more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::address::Vantage;
use super::container::{Activity, Container, Rules};
use super::servers::Server;

/// What an event says of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It does not run any more; the state as Docker names it.
    Not(&'static str),
    Unhealthy,
    Removed,
    /// Something else, which an inspection will tell.
    Other,
}

impl Change {
    /// The meaning of a container event's action, `None` for one that changes nothing here.
    ///
    /// `kill` is a signal being sent: what it leads to is told by later events.
    pub fn of_action(action: &str) -> Option<Change> {
        match action {
            "die" | "stop" | "oom" => Some(Change::Not("exited")),
            "pause" => Some(Change::Not("paused")),
            "health_status: unhealthy" => Some(Change::Unhealthy),
            "destroy" => Some(Change::Removed),
            "create" | "start" | "restart" | "unpause" | "rename" | "update" | "kill"
            | "connect" | "disconnect" => Some(Change::Other),
            _ if action.starts_with("health_status") => Some(Change::Other),
            _ => None,
        }
    }
}

/// When a question was asked, in events seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

#[derive(Debug, Default)]
pub struct Containers {
    known: BTreeMap<String, Container>,
    /// The number of each container's latest event.
    touched: HashMap<String, u64>,
    events: u64,
}

impl Containers {
    /// To be kept with a question that is sent now.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.events)
    }

    pub fn knows(&self, id: &str) -> bool {
        self.known.contains_key(id)
    }

    /// An event of a container has come. True when what is known has changed by it alone.
    pub fn apply(&mut self, id: &str, change: Change) -> bool {
        self.events += 1;
        self.touched.insert(id.to_owned(), self.events);
        let activity = match change {
            Change::Removed => return self.known.remove(id).is_some(),
            Change::Not(state) => Activity::Not(state.into()),
            Change::Unhealthy => Activity::Unhealthy,
            Change::Other => return false,
        };
        let Some(container) = self.known.get_mut(id) else { return false };
        // A container that was paused may be called unhealthy too: it stays paused.
        let stays_down =
            matches!((&container.activity, &activity), (Activity::Not(_), Activity::Unhealthy));
        if stays_down || container.activity == activity {
            return false;
        }
        container.activity = activity;
        true
    }

    /// An inspection has come back: `None` if there is no such container. True when what is known
    /// has changed.
    pub fn inspected(&mut self, id: &str, ticket: Ticket, container: Option<Container>) -> bool {
        if self.is_newer(id, ticket) {
            return false;
        }
        match container {
            Some(container) => {
                let before = self.known.insert(id.to_owned(), container);
                before.as_ref() != self.known.get(id)
            }
            None => self.known.remove(id).is_some(),
        }
    }

    /// A full list has come back. Containers that are not in it are forgotten; true when there
    /// were any.
    pub fn listed(&mut self, ticket: Ticket, ids: &HashSet<String>) -> bool {
        let gone: Vec<String> = self
            .known
            .keys()
            .filter(|id| !ids.contains(*id) && !self.is_newer(id, ticket))
            .cloned()
            .collect();
        for id in &gone {
            self.known.remove(id);
        }
        self.touched.retain(|id, event| *event > ticket.0 || ids.contains(id));
        !gone.is_empty()
    }

    fn is_newer(&self, id: &str, ticket: Ticket) -> bool {
        self.touched.get(id).is_some_and(|event| *event > ticket.0)
    }

    /// The servers that these containers are.
    pub fn servers(&self, rules: &Rules, vantage: &Vantage, origin: &Arc<str>) -> Vec<Server> {
        self.known
            .values()
            .filter_map(|container| container.server(rules, vantage, origin))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(containers: &Containers, id: &str) -> Activity {
        containers.known[id].activity.clone()
    }

    fn running() -> Option<Container> {
        Some(Container::example("a"))
    }

    #[test]
    fn events_take_effect_by_themselves() {
        let mut containers = Containers::default();
        let ticket = containers.ticket();
        assert!(containers.inspected("a", ticket, running()));
        let table = [
            ("kill", false, Activity::Running),
            ("exec_create: mysqladmin", false, Activity::Running),
            ("health_status: unhealthy", true, Activity::Unhealthy),
            ("die", true, Activity::Not("exited".into())),
            ("health_status: unhealthy", false, Activity::Not("exited".into())),
            ("stop", false, Activity::Not("exited".into())),
            ("start", false, Activity::Not("exited".into())),
            ("pause", true, Activity::Not("paused".into())),
        ];
        for (action, changes, expected) in table {
            let changed =
                Change::of_action(action).is_some_and(|change| containers.apply("a", change));
            assert_eq!(changed, changes, "{action}");
            assert_eq!(activity(&containers, "a"), expected, "{action}");
        }
        assert!(containers.apply("a", Change::Removed));
        assert!(!containers.knows("a"));
        assert!(!containers.apply("b", Change::Not("exited")));
    }

    #[test]
    fn late_answers_say_nothing() {
        let mut containers = Containers::default();
        let before = containers.ticket();
        assert!(containers.inspected("a", before, running()));
        assert!(containers.apply("a", Change::Not("exited")));
        // Asked before the event, answered after it.
        assert!(!containers.inspected("a", before, running()));
        assert_eq!(activity(&containers, "a"), Activity::Not("exited".into()));
        // Asked after it: the container was started again at once.
        let after = containers.ticket();
        assert!(containers.inspected("a", after, running()));
        assert_eq!(activity(&containers, "a"), Activity::Running);
        assert!(!containers.inspected("a", after, running()));
        // Removed meanwhile.
        assert!(containers.apply("a", Change::Removed));
        assert!(!containers.inspected("a", after, running()));
        assert!(!containers.knows("a"));
    }

    #[test]
    fn a_list_forgets_what_is_gone_but_not_what_came_later() {
        let mut containers = Containers::default();
        for id in ["a", "b", "c"] {
            let ticket = containers.ticket();
            containers.inspected(id, ticket, running());
        }
        let ticket = containers.ticket();
        // Created after the list was asked for.
        containers.apply("c", Change::Other);
        assert!(containers.listed(ticket, &HashSet::from(["a".to_owned()])));
        assert!(containers.knows("a") && !containers.knows("b") && containers.knows("c"));
        assert!(!containers.listed(ticket, &HashSet::from(["a".to_owned()])));
    }
}
