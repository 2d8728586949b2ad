//! What has changed from one topology to the next, in lines for logs and people.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::assess::reads::{AWAITED, BEFORE_FIRST_SAMPLE, RETURNING};
use crate::routing::topology::{Backend, Role, State, Topology, Writes};

/// Most events kept.
const KEPT: usize = 256;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// All is well, or better than before.
    Good,
    /// Something does not serve, or is not as it should be.
    Bad,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The server that it is about; `None` for writes, which are the cluster's matter.
    pub server: Option<Arc<str>>,
    pub text: String,
    pub weight: Weight,
}

/// What has changed in role, state or reasons. Lag and weights change all the time and are no news.
pub fn changes(old: &Topology, new: &Topology) -> Vec<Change> {
    let mut changes = Vec::new();
    for backend in &new.backends {
        let before = old.backends.iter().find(|known| known.name == backend.name);
        changes.extend(change(before, backend));
        let warned = before.map_or(&[][..], |before| &before.warnings[..]);
        changes.extend(backend.warnings.iter().filter(|text| !warned.contains(text)).map(|text| {
            Change {
                server: Some(backend.name.clone()),
                text: format!("warning: {text}"),
                weight: Weight::Bad,
            }
        }));
    }
    for backend in &old.backends {
        if !new.backends.iter().any(|known| known.name == backend.name) {
            let server = Some(backend.name.clone());
            changes.push(Change {
                server,
                text: "no longer listed".to_owned(),
                weight: Weight::Bad,
            });
        }
    }
    let target = |topology: &Topology| match &topology.writes {
        Writes::To(_) => Ok(topology.primary().map(|primary| (primary.id, primary.name.clone()))),
        Writes::Stopped(reason) => Err(reason.clone()),
    };
    let (before, now) = (target(old), target(new));
    if before != now {
        let (text, weight) = match now {
            Ok(primary) => {
                let name = primary.map(|(_, name)| name).unwrap_or_default();
                (format!("writes go to {name} (epoch {})", new.epoch.0), Weight::Good)
            }
            Err(reason) => (format!("writes are stopped: {reason}"), Weight::Bad),
        };
        changes.push(Change { server: None, text, weight });
    }
    changes
}

/// One line on everything that has changed of a server.
fn change(before: Option<&Backend>, now: &Backend) -> Option<Change> {
    let is_same = before.is_some_and(|before| {
        before.id == now.id
            && before.state == now.state
            && before.role == now.role
            && before.reads == now.reads
    });
    if is_same {
        return None;
    }
    let role = match now.role {
        Role::Primary => "primary",
        Role::Replica => "replica",
        Role::Unknown => "no role yet",
    };
    let (text, is_bad) = match (&now.state, &now.reads) {
        (State::New, _) => ("found".to_owned(), false),
        (State::Down(reason), _) => (format!("{role}, down: {reason}"), true),
        (State::NoAccess(reason), _) => (format!("no access: {reason}"), true),
        (State::LeftOut(reason), _) => (format!("left out: {reason}"), true),
        (State::Up, Ok(())) => (format!("{role}, takes reads"), false),
        (State::Up, Err(_)) if now.role == Role::Primary => (role.to_owned(), false),
        (State::Up, Err(reason)) => {
            let passes = matches!(&**reason, AWAITED | BEFORE_FIRST_SAMPLE | RETURNING);
            let had_reads = before.is_some_and(|before| before.reads.is_ok());
            (format!("{role}, takes no reads: {reason}"), had_reads || !passes)
        }
    };
    let weight = if is_bad { Weight::Bad } else { Weight::Good };
    Some(Change { server: Some(now.name.clone()), text, weight })
}

/// The latest changes, for the console. Older ones are only in the log.
#[derive(Debug, Default)]
pub struct EventLog {
    events: Mutex<Events>,
}

#[derive(Debug, Default)]
struct Events {
    latest: VecDeque<(SystemTime, Change)>,
    total: u64,
}

impl EventLog {
    /// Writes each change to the log and keeps it.
    pub fn tell(&self, changes: Vec<Change>) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let text = &change.text;
            match (&change.server, change.weight) {
                (Some(server), Weight::Good) => tracing::info!(%server, "{text}"),
                (Some(server), Weight::Bad) => tracing::warn!(%server, "{text}"),
                (None, Weight::Good) => tracing::info!("{text}"),
                (None, Weight::Bad) => tracing::warn!("{text}"),
            }
            if events.latest.len() == KEPT {
                events.latest.pop_front();
            }
            events.latest.push_back((SystemTime::now(), change));
            events.total += 1;
        }
    }

    /// The latest, oldest first.
    pub fn latest(&self) -> Vec<(SystemTime, Change)> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.latest.iter().cloned().collect()
    }

    /// How many there have been since the start.
    pub fn total(&self) -> u64 {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::topology::tests::topology;
    use crate::routing::topology::{BackendId, Lag};

    fn texts(old: &Topology, new: &Topology) -> Vec<String> {
        changes(old, new)
            .into_iter()
            .map(|change| match change.server {
                Some(server) => format!("{server}: {}", change.text),
                None => change.text,
            })
            .collect()
    }

    #[test]
    fn each_change_is_one_line() {
        let all = topology(1);
        assert_eq!(
            texts(&Topology::empty(), &all),
            ["db0: primary", "db1: replica, takes reads", "writes go to db0 (epoch 1)"]
        );
        assert_eq!(texts(&all, &all), [""; 0]);

        let mut lagging = all.clone();
        lagging.backends[1].lag = Lag::Unknown;
        lagging.backends[1].weight = 3;
        assert_eq!(texts(&all, &lagging), [""; 0]);

        let mut worse = all.clone();
        worse.backends[1].reads = Err("it lags".into());
        worse.backends[1].role = Role::Unknown;
        worse.backends[0].warnings = vec!["odd".into()];
        worse.writes = Writes::Stopped("two are writable".into());
        assert_eq!(
            texts(&all, &worse),
            [
                "db0: warning: odd",
                "db1: no role yet, takes no reads: it lags",
                "writes are stopped: two are writable"
            ]
        );

        let mut renewed = all.clone();
        renewed.backends[0].id = BackendId(9);
        renewed.backends.pop();
        assert_eq!(
            texts(&all, &renewed),
            ["db0: primary", "db1: no longer listed", "writes go to db0 (epoch 1)"]
        );
    }

    #[test]
    fn the_latest_are_kept() {
        let log = EventLog::default();
        let change =
            |text: usize| Change { server: None, text: text.to_string(), weight: Weight::Good };
        log.tell((0..KEPT + 10).map(change).collect());
        let latest = log.latest();
        assert_eq!((latest.len(), log.total()), (KEPT, KEPT as u64 + 10));
        assert_eq!(latest[0].1.text, "10");
    }
}
