//! What has changed from one topology to the next, told once. Pure.

mod semi_sync;

use std::collections::HashMap;
use std::sync::Arc;

use super::assess::reads::{AWAITED, BEFORE_FIRST_SAMPLE, RETURNING, is_lag};
use super::events::{Change, Severity};
use crate::metrics::EventKind;
use crate::routing::topology::{Backend, Lag, Role, State, Topology, Writes};

/// Compares each topology with what was told before.
#[derive(Debug)]
pub struct Reporter {
    told: Topology,
    /// The server to which writes went last, by its name: a restart makes no other primary of it.
    last_primary: Option<Arc<str>>,
    /// Of each server how many of its commits were not acknowledged when they were last seen to be
    /// semi-synchronous.
    unacknowledged: HashMap<Arc<str>, u64>,
}

impl Default for Reporter {
    fn default() -> Self {
        Reporter { told: Topology::empty(), last_primary: None, unacknowledged: HashMap::new() }
    }
}

impl Reporter {
    /// What has changed in role, state, reasons, semi-synchronous replication and warnings since the
    /// last call. Lag and weights
    /// change all the time and are no news.
    pub fn changes(&mut self, topology: &Topology) -> Vec<Change> {
        let mut now = topology.clone();
        for backend in &mut now.backends {
            if let Some(before) = known(&self.told, &backend.name) {
                skip_return(before, backend);
            }
        }
        let mut changes = Vec::new();
        for backend in &now.backends {
            let before = known(&self.told, &backend.name);
            changes.extend(server(before, backend));
            warnings(before, backend, &mut changes);
            let unacknowledged = self.unacknowledged.get(&backend.name).copied();
            changes.extend(semi_sync::changes(before, backend, unacknowledged));
        }
        for backend in &self.told.backends {
            if known(&now, &backend.name).is_none() {
                let text = "no longer listed".to_owned();
                changes.push(about(backend, EventKind::ServerGone, Severity::Warning, text));
            }
        }
        changes.extend(self.writes(&now));
        self.unacknowledged.retain(|name, _| known(&now, name).is_some());
        for backend in &now.backends {
            if let Some(source) = backend.semi_sync.source
                && source.asynchronous().is_none()
            {
                self.unacknowledged.insert(backend.name.clone(), source.unacknowledged);
            }
        }
        self.told = now;
        changes
    }

    fn writes(&mut self, now: &Topology) -> Option<Change> {
        let target = |topology: &Topology| match &topology.writes {
            Writes::To(_) => {
                Ok(topology.primary().map(|primary| (primary.id, primary.name.clone())))
            }
            Writes::Held { reason, .. } | Writes::Stopped(reason) => Err(reason.clone()),
        };
        let target_now = target(now);
        if target_now == target(&self.told) {
            return None;
        }
        let (kind, severity, text) = match target_now {
            Ok(primary) => {
                let name = primary.map_or_else(|| "".into(), |(_, name)| name);
                let epoch = now.epoch.0;
                match self.last_primary.replace(name.clone()) {
                    Some(last) if last != name => (
                        EventKind::PrimaryChanged,
                        Severity::Info,
                        format!("writes go to {name}, no longer to {last} (epoch {epoch})"),
                    ),
                    _ => (
                        EventKind::WritesPossible,
                        Severity::Info,
                        format!("writes go to {name} (epoch {epoch})"),
                    ),
                }
            }
            Err(reason) => {
                // At the start nobody has been promised anything yet.
                let severity = match self.last_primary {
                    Some(_) => Severity::Error,
                    None => Severity::Warning,
                };
                (EventKind::WritesStopped, severity, format!("writes are stopped: {reason}"))
            }
        };
        Some(Change { kind, severity, server: None, text })
    }
}

fn known<'a>(topology: &'a Topology, name: &str) -> Option<&'a Backend> {
    topology.backends.iter().find(|backend| *backend.name == *name)
}

fn about(backend: &Backend, kind: EventKind, severity: Severity, text: String) -> Change {
    Change { kind, severity, server: Some(backend.name.clone()), text }
}

/// The wait of a replica for one more good observation is no news: what it was out for before is
/// over only when it takes reads.
fn skip_return(before: &Backend, now: &mut Backend) {
    let was_out = before.id == now.id && before.state == State::Up && before.role == now.role;
    if was_out && before.reads.is_err() && now.reads.as_ref().is_err_and(|it| **it == *RETURNING) {
        now.reads = before.reads.clone();
    }
}

/// One line on everything that has changed of a server.
fn server(before: Option<&Backend>, now: &Backend) -> Option<Change> {
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
    let behind = match now.lag {
        Lag::Measured { behind, .. } => format!(": {:.2} s behind", behind.as_secs_f64()),
        Lag::Unknown => String::new(),
    };
    let kind = kind(before, now);
    let (text, is_bad) = match (&now.state, &now.reads) {
        (State::New, _) => ("found".to_owned(), false),
        (State::Down(reason), _) => (format!("{role}, down: {reason}"), true),
        (State::NoAccess(reason), _) => (format!("no access: {reason}"), true),
        (State::LeftOut(reason), _) => (format!("left out: {reason}"), true),
        (State::Up, Ok(())) if kind == EventKind::LagIn => {
            (format!("{role}, takes reads{behind}"), false)
        }
        (State::Up, Ok(())) => (format!("{role}, takes reads"), false),
        (State::Up, Err(_)) if now.role == Role::Primary => (role.to_owned(), false),
        (State::Up, Err(reason)) => {
            let passes = matches!(&**reason, AWAITED | BEFORE_FIRST_SAMPLE | RETURNING);
            let had_reads = before.is_some_and(|before| before.reads.is_ok());
            let behind = if is_lag(reason) { &*behind } else { "" };
            (format!("{role}, takes no reads: {reason}{behind}"), had_reads || !passes)
        }
    };
    let severity = if is_bad { Severity::Warning } else { Severity::Info };
    Some(about(now, kind, severity, text))
}

/// What of all that has changed says most: the state, then the role, then the reads.
fn kind(before: Option<&Backend>, now: &Backend) -> EventKind {
    let same_state = |before: &&Backend| {
        before.id == now.id && before.state == now.state && now.state == State::Up
    };
    let Some(before) = before.filter(same_state) else {
        return match now.state {
            State::New => EventKind::ServerFound,
            State::Up => EventKind::ServerUp,
            State::Down(_) => EventKind::ServerDown,
            State::NoAccess(_) => EventKind::ServerNoAccess,
            State::LeftOut(_) => EventKind::ServerLeftOut,
        };
    };
    let lags = |backend: &Backend| backend.reads.as_ref().is_err_and(|reason| is_lag(reason));
    match &now.reads {
        _ if before.role != now.role => EventKind::RoleChanged,
        Ok(()) if lags(before) => EventKind::LagIn,
        Ok(()) => EventKind::ReadsPossible,
        Err(_) if lags(now) => EventKind::LagOut,
        Err(_) => EventKind::ReadsStopped,
    }
}

fn warnings(before: Option<&Backend>, now: &Backend, changes: &mut Vec<Change>) {
    let warned = before.map_or(&[][..], |before| &before.warnings[..]);
    for text in now.warnings.iter().filter(|text| !warned.contains(text)) {
        let text = format!("warning: {text}");
        changes.push(about(now, EventKind::Warning, Severity::Warning, text));
    }
    for text in warned.iter().filter(|text| !now.warnings.contains(text)) {
        let text = format!("no longer: {text}");
        changes.push(about(now, EventKind::WarningOver, Severity::Info, text));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Label;
    use crate::routing::topology::BackendId;
    use crate::routing::topology::tests::topology;

    fn told(reporter: &mut Reporter, topology: &Topology) -> Vec<String> {
        let line = |change: Change| {
            let server = change.server.map_or(String::new(), |server| format!("{server}: "));
            format!("{} {server}{}", change.kind.name(), change.text)
        };
        reporter.changes(topology).into_iter().map(line).collect()
    }

    #[test]
    fn each_change_is_one_line() {
        let mut reporter = Reporter::default();
        let all = topology(1);
        assert_eq!(
            told(&mut reporter, &all),
            [
                "server_up db0: primary",
                "server_up db1: replica, takes reads",
                "writes_possible writes go to db0 (epoch 1)"
            ]
        );
        assert_eq!(told(&mut reporter, &all), [""; 0]);

        let mut lagging = all.clone();
        lagging.backends[1].lag = Lag::Unknown;
        lagging.backends[1].weight = 3;
        assert_eq!(told(&mut reporter, &lagging), [""; 0]);

        let mut worse = all.clone();
        worse.backends[1].reads = Err("odd".into());
        worse.backends[1].role = Role::Unknown;
        worse.backends[0].warnings = vec!["it is odd".into()];
        worse.writes = Writes::Stopped("two are writable".into());
        assert_eq!(
            told(&mut reporter, &worse),
            [
                "warning db0: warning: it is odd",
                "role_changed db1: no role yet, takes no reads: odd",
                "writes_stopped writes are stopped: two are writable"
            ]
        );

        let mut renewed = all.clone();
        renewed.backends[0].id = BackendId(9);
        renewed.backends.pop();
        assert_eq!(
            told(&mut reporter, &renewed),
            [
                "server_up db0: primary",
                "warning_over db0: no longer: it is odd",
                "server_gone db1: no longer listed",
                "writes_possible writes go to db0 (epoch 1)"
            ]
        );
    }

    #[test]
    fn states() {
        let mut reporter = Reporter::default();
        let mut all = topology(1);
        told(&mut reporter, &all);
        let steps = [
            (State::Down("stopped".into()), "server_down db1: replica, down: stopped"),
            (State::Down("gone".into()), "server_down db1: replica, down: gone"),
            (State::New, "server_found db1: found"),
            (State::NoAccess("1045".into()), "server_no_access db1: no access: 1045"),
            (State::LeftOut("two".into()), "server_left_out db1: left out: two"),
            (State::Up, "server_up db1: replica, takes reads"),
        ];
        for (state, expected) in steps {
            all.backends[1].state = state;
            assert_eq!(told(&mut reporter, &all), [expected]);
        }
    }

    #[test]
    fn lag_out_and_in() {
        let mut reporter = Reporter::default();
        let mut all = topology(1);
        told(&mut reporter, &all);
        let mut step = |reads: Result<(), &str>, milliseconds| {
            all.backends[1].reads = reads.map_err(Into::into);
            let behind = Duration::from_millis(milliseconds);
            all.backends[1].lag = Lag::Measured { behind, stale: false };
            told(&mut reporter, &all)
        };
        let lags = "it lags more than max_lag (2s)";
        assert_eq!(
            step(Err(lags), 2_040),
            ["lag_out db1: replica, takes no reads: it lags more than max_lag (2s): 2.04 s behind"]
        );
        assert_eq!(step(Err(lags), 3_000), [""; 0]);
        // On its way back, but not there yet.
        assert_eq!(step(Err(RETURNING), 900), [""; 0]);
        assert_eq!(step(Err(lags), 1_100), [""; 0]);
        assert_eq!(step(Err(RETURNING), 500), [""; 0]);
        assert_eq!(step(Ok(()), 0), ["lag_in db1: replica, takes reads: 0.00 s behind"]);
        let stopped = "its IO thread is stopped";
        assert_eq!(
            step(Err(stopped), 10),
            ["reads_stopped db1: replica, takes no reads: its IO thread is stopped"]
        );
        assert_eq!(step(Err(RETURNING), 0), [""; 0]);
        assert_eq!(step(Ok(()), 0), ["reads_possible db1: replica, takes reads"]);
    }

    #[test]
    fn another_primary() {
        let mut reporter = Reporter::default();
        let mut all = topology(1);
        told(&mut reporter, &all);
        all.writes = Writes::Stopped("it is read-only".into());
        assert_eq!(told(&mut reporter, &all).len(), 1);
        all.backends[1].role = Role::Primary;
        all.backends[0].role = Role::Unknown;
        all.writes = Writes::To(1);
        all.epoch.0 = 3;
        assert_eq!(
            told(&mut reporter, &all).last().map(String::as_str),
            Some("primary_changed writes go to db1, no longer to db0 (epoch 3)")
        );
    }
}
