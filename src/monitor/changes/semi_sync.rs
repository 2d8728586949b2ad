//! What changes in semi-synchronous replication.

use std::time::Duration;

use humantime::format_duration;

use super::about;
use crate::metrics::EventKind;
use crate::monitor::events::{Change, Severity};
use crate::routing::semi_sync::{Asynchronous, Source};
use crate::routing::topology::{Backend, Role};

/// What has changed on one server. `unacknowledged`: what that counter was when its commits were
/// last seen to be semi-synchronous.
pub fn changes(
    before: Option<&Backend>,
    now: &Backend,
    unacknowledged: Option<u64>,
) -> Vec<Change> {
    let is_primary = now.role == Role::Primary;
    let was_primary = before.is_some_and(|before| before.role == Role::Primary);
    let before = before.map(|backend| backend.semi_sync).unwrap_or_default();
    let mut changes = Vec::new();
    // Elsewhere than on the primary it does no harm.
    let bad = if is_primary { Severity::Warning } else { Severity::Info };
    let mut tell = |(kind, is_bad, text): News| {
        let severity = if is_bad { bad } else { Severity::Info };
        changes.push(about(now, kind, severity, text));
    };
    match (&before.source, &now.semi_sync.source) {
        (Some(before), Some(source)) if was_primary || !is_primary => {
            compare(before, source, unacknowledged, &mut tell);
        }
        (_, Some(source)) if is_primary => new_primary(source, &mut tell),
        _ => {}
    }
    if let (Some(before), Some(replica)) = (before.replica, now.semi_sync.replica)
        && before.active != replica.active
    {
        let text = match replica.active {
            true => "it acknowledges commits (semi-synchronous replication)",
            false => "it acknowledges no commits (semi-synchronous replication)",
        };
        tell((EventKind::SemiSyncChanged, false, text.to_owned()));
    }
    changes
}

/// Its kind, whether it is bad, its text.
type News = (EventKind, bool, String);

/// What it was as a replica is of no interest.
fn new_primary(now: &Source, tell: &mut impl FnMut(News)) {
    match now.asynchronous() {
        None | Some(Asynchronous::SwitchedOff) => {}
        Some(why) => tell((EventKind::SemiSyncLost, true, lost(why, now, ""))),
    }
}

fn compare(
    before: &Source,
    now: &Source,
    unacknowledged: Option<u64>,
    tell: &mut impl FnMut(News),
) {
    let fallbacks = risen(before.fallbacks, now.fallbacks);
    let missed = risen(before.unacknowledged, now.unacknowledged);
    let evidence = || format!("{fallbacks} fallback(s), {missed} commit(s) not acknowledged");
    match (before.asynchronous(), now.asynchronous()) {
        (None, None) if fallbacks > 0 || missed > 0 => {
            let text = format!(
                "commits were asynchronous for a moment between two probes: {}",
                evidence()
            );
            tell((EventKind::SemiSyncLapsed, true, text));
        }
        (was, is) if was == is => {}
        (_, Some(Asynchronous::SwitchedOff)) => {
            let text = "semi-synchronous replication is switched off".to_owned();
            tell((EventKind::SemiSyncChanged, true, text));
        }
        (_, Some(why)) => {
            let text = lost(why, now, &format!(" ({})", evidence()));
            tell((EventKind::SemiSyncLost, true, text));
        }
        (Some(Asynchronous::SwitchedOff), None) => {
            let text = format!("semi-synchronous replication is switched on: {}", now.replicas());
            tell((EventKind::SemiSyncChanged, false, text));
        }
        (_, None) => {
            let missed = risen(unacknowledged.unwrap_or(now.unacknowledged), now.unacknowledged);
            let text = format!(
                "commits are semi-synchronous again: {}; {missed} commit(s) were not acknowledged \
                 meanwhile",
                now.replicas()
            );
            tell((EventKind::SemiSyncBack, false, text));
        }
    }
    if !now.enabled || before.asynchronous() != now.asynchronous() {
        return;
    }
    if before.clients != now.clients {
        let text = format!("{}, before {}", now.replicas(), before.clients);
        tell((EventKind::SemiSyncReplicas, now.clients < before.clients, text));
    }
    if (before.wait_for, before.timeout) != (now.wait_for, now.timeout) {
        let text =
            format!("a commit waits up to {} for {} replica(s)", time(now.timeout), now.wait_for);
        tell((EventKind::SemiSyncChanged, false, text));
    }
}

fn lost(why: Asynchronous, now: &Source, evidence: &str) -> String {
    let replicas = now.replicas();
    match why {
        Asynchronous::TooFewReplicas => format!(
            "too few replicas to acknowledge commits: {replicas}{evidence}, a commit waits up to {}",
            time(now.timeout)
        ),
        _ => format!(
            "semi-synchronous replication has fallen back to asynchronous: {replicas}{evidence}, a \
             commit waits up to {}",
            time(now.timeout)
        ),
    }
}

/// How much a counter has risen; a server's restart sets it to 0.
fn risen(before: u64, now: u64) -> u64 {
    if now < before { now } else { now - before }
}

fn time(duration: Duration) -> String {
    format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Label;
    use crate::routing::semi_sync::tests::WORKING;
    use crate::routing::semi_sync::{Replica, SemiSync};
    use crate::routing::topology::BackendId;

    fn backend(source: Source) -> Backend {
        Backend {
            role: Role::Primary,
            semi_sync: SemiSync { source: Some(source), replica: None },
            ..Backend::new(BackendId(1), "db1")
        }
    }

    fn told(before: Option<Source>, now: Source) -> Vec<String> {
        let before = before.map(backend);
        changes(before.as_ref(), &backend(now), Some(7))
            .into_iter()
            .map(|change| {
                format!("{} {}: {}", change.severity.name(), change.kind.name(), change.text)
            })
            .collect()
    }

    #[test]
    fn falling_back_and_coming_back() {
        let fallen =
            Source { active: false, clients: 0, fallbacks: 4, unacknowledged: 9, ..WORKING };
        let lost = "warning semi_sync_lost: semi-synchronous replication has fallen back to \
                    asynchronous: 0 acknowledging replica(s) connected, 1 needed";
        assert_eq!(
            told(Some(WORKING), fallen),
            [format!(
                "{lost} (1 fallback(s), 2 commit(s) not acknowledged), a commit waits up to 10s"
            )]
        );
        // Also when it is so at first sight.
        assert_eq!(told(None, fallen), [format!("{lost}, a commit waits up to 10s")]);
        // More commits go without; that is no news.
        assert_eq!(told(Some(fallen), Source { unacknowledged: 30, ..fallen }), [""; 0]);
        let back = Source { unacknowledged: 30, fallbacks: 4, ..WORKING };
        assert_eq!(
            told(Some(Source { unacknowledged: 30, ..fallen }), back),
            ["info semi_sync_back: commits are semi-synchronous again: 2 acknowledging \
                 replica(s) connected, 1 needed; 23 commit(s) were not acknowledged meanwhile"]
        );
        assert_eq!(
            told(Some(WORKING), Source { acknowledged: 900, waiting: 3, ..WORKING }),
            [""; 0]
        );
    }

    #[test]
    fn a_new_primary_without_replicas() {
        let alone = Source { clients: 0, ..WORKING };
        let replica = |source| Backend { role: Role::Replica, ..backend(source) };
        assert_eq!(changes(None, &replica(alone), None), []);
        let promoted = changes(Some(&replica(alone)), &backend(alone), None);
        assert_eq!(promoted.len(), 1, "{promoted:?}");
        assert_eq!(promoted[0].kind, EventKind::SemiSyncLost);
        assert_eq!(promoted[0].severity, Severity::Warning);
        assert_eq!(changes(Some(&replica(alone)), &backend(WORKING), None), []);
        // On a replica it does no harm.
        let fewer = changes(Some(&replica(WORKING)), &replica(alone), None);
        assert_eq!((fewer.len(), fewer[0].severity), (1, Severity::Info));
    }

    #[test]
    fn a_lapse_between_two_probes() {
        let lapse = "warning semi_sync_lapsed: commits were asynchronous for a moment between two \
                     probes: ";
        assert_eq!(
            told(Some(WORKING), Source { fallbacks: 4, unacknowledged: 8, ..WORKING }),
            [format!("{lapse}1 fallback(s), 1 commit(s) not acknowledged")]
        );
        // MariaDB without replicas, and without waiting for them, counts no fallback.
        assert_eq!(
            told(Some(WORKING), Source { unacknowledged: 9, ..WORKING }),
            [format!("{lapse}0 fallback(s), 2 commit(s) not acknowledged")]
        );
        // After a restart the counters begin anew.
        let restarted = Source { fallbacks: 1, unacknowledged: 2, ..WORKING };
        assert_eq!(
            told(Some(WORKING), restarted),
            [format!("{lapse}1 fallback(s), 2 commit(s) not acknowledged")]
        );
        let quiet = Source { fallbacks: 0, unacknowledged: 0, ..WORKING };
        assert_eq!(told(Some(WORKING), quiet), [""; 0]);
    }

    #[test]
    fn replicas_and_settings() {
        let fewer = Source { clients: 1, ..WORKING };
        assert_eq!(
            told(Some(WORKING), fewer),
            [
                "warning semi_sync_replicas: 1 acknowledging replica(s) connected, 1 needed, before 2"
            ]
        );
        assert_eq!(
            told(Some(fewer), Source { clients: 0, ..WORKING }),
            ["warning semi_sync_lost: too few replicas to acknowledge commits: 0 acknowledging \
              replica(s) connected, 1 needed (0 fallback(s), 0 commit(s) not acknowledged), a commit \
              waits up to 10s"]
        );
        let off = Source { enabled: false, active: false, ..WORKING };
        assert_eq!(
            told(Some(WORKING), off),
            ["warning semi_sync_changed: semi-synchronous replication is switched off"]
        );
        assert_eq!(told(None, off), [""; 0]);
        assert_eq!(told(Some(off), Source { clients: 0, ..off }), [""; 0]);
        assert_eq!(
            told(Some(off), WORKING),
            [
                "info semi_sync_changed: semi-synchronous replication is switched on: 2 acknowledging \
              replica(s) connected, 1 needed"
            ]
        );
        let slower = Source { timeout: Duration::from_millis(500), wait_for: 2, ..WORKING };
        assert_eq!(
            told(Some(WORKING), slower),
            ["info semi_sync_changed: a commit waits up to 500ms for 2 replica(s)"]
        );
    }

    #[test]
    fn a_replica_that_acknowledges_no_longer() {
        let with = |active| Backend {
            role: Role::Replica,
            semi_sync: SemiSync { source: None, replica: Some(Replica { enabled: true, active }) },
            ..Backend::new(BackendId(2), "db2")
        };
        let changes = changes(Some(&with(true)), &with(false), None);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].kind, EventKind::SemiSyncChanged);
        assert_eq!(super::changes(Some(&with(true)), &with(true), None), []);
    }
}
