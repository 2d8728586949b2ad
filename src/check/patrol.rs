//! The looks that the running proxy takes by itself, one after the other; what they find is published,
//! and told where it is new or gone.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::ask::Asker;
use super::finding::{Finding, Severity};
use super::rules;
use crate::config::Config;
use crate::discovery::Catalog;
use crate::metrics::EventKind;
use crate::monitor::events::{self, Change, EventLog};
use crate::net::tls::client::ClientTls;

/// The first look comes soon, and not before the servers are known.
const SOON: Duration = Duration::from_secs(10);
/// For a whole look; each of its questions has a shorter time of its own.
const LONGEST: Duration = Duration::from_secs(120);
/// A look may take this part of the time: servers with very many tables need long to list them.
const SHARE: u32 = 20;

/// What the latest look has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patrolled {
    pub findings: Vec<Standing>,
    /// `None`: there was no look yet, or there are to be none.
    pub ended: Option<SystemTime>,
    pub took: Duration,
}

/// A finding, and since when it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub finding: Finding,
    pub since: SystemTime,
}

#[derive(Debug)]
pub struct Patrol {
    /// `check.interval` and the accounts are followed.
    pub config: watch::Receiver<Arc<Config>>,
    pub catalog: watch::Receiver<Catalog>,
    pub tls: ClientTls,
    pub events: Arc<EventLog>,
    pub found: watch::Sender<Arc<Patrolled>>,
}

impl Patrol {
    /// Ends when the configuration's sender is gone.
    pub async fn run(mut self) {
        // When the last look ended, and how long it took.
        let mut last = (tokio::time::Instant::now(), None);
        loop {
            let interval = self.config.borrow_and_update().check.interval;
            let due = async {
                match interval {
                    Some(interval) => {
                        sleep_until(last.0 + jittered(pause(interval, last.1), random())).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => last = (self.look().await, Some(self.found.borrow().took)),
                changed = self.config.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if self.config.borrow().check.interval.is_none() {
                        // Nobody would mend what is shown there.
                        self.found.send_replace(Arc::default());
                    }
                }
            }
        }
    }

    /// When it ended.
    async fn look(&self) -> tokio::time::Instant {
        let began = Instant::now();
        let config = self.config.borrow().clone();
        let asker = Asker::new(&config, self.tls.clone(), self.catalog.clone());
        let looked = timeout(LONGEST, asker.look()).await;
        let before = self.found.borrow().clone();
        let found = match looked {
            Ok(examined) => {
                let (findings, changes) =
                    follow(&before.findings, rules::judge(&examined), SystemTime::now());
                self.events.tell(changes);
                let ended = Some(SystemTime::now());
                Patrolled { findings, ended, took: began.elapsed() }
            }
            Err(_) => {
                tracing::warn!(limit = ?LONGEST, "the servers could not be checked in time");
                Patrolled { took: began.elapsed(), ..(*before).clone() }
            }
        };
        self.found.send_replace(Arc::new(found));
        tokio::time::Instant::now()
    }
}

/// From the end of a look, which took so long, to the next one.
fn pause(interval: Duration, took: Option<Duration>) -> Duration {
    match took {
        Some(took) => interval.max(took * SHARE),
        None => interval.min(SOON),
    }
}

/// A tenth more or less, so that several proxies do not ask all at the same moment; `random`: 0 to 255.
fn jittered(pause: Duration, random: u8) -> Duration {
    pause.mul_f64(0.9 + 0.2 * f64::from(random) / 255.0)
}

fn random() -> u8 {
    let mut byte = [128];
    // Without random bytes it is not jittered, which does no harm.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    byte[0]
}

/// What the next look has found, each since when, and what is new or gone.
fn follow(
    before: &[Standing],
    findings: Vec<Finding>,
    now: SystemTime,
) -> (Vec<Standing>, Vec<Change>) {
    let mut known: Vec<Option<&Standing>> = before.iter().map(Some).collect();
    let mut changes = Vec::new();
    let mut standing = Vec::new();
    for finding in findings {
        // Of the same check and server there may be several, in the same order each time.
        let same = known.iter_mut().find(|it| it.is_some_and(|it| is_same(&it.finding, &finding)));
        let same = same.and_then(Option::take);
        let severity = finding.severity;
        if same.is_none_or(|same| same.finding.severity < severity) {
            let text = format!("{}: {}", finding.check.name, finding.evidence);
            changes.push(change(EventKind::Finding, &finding, severity, text));
        }
        standing.push(Standing { since: same.map_or(now, |same| same.since), finding });
    }
    for Standing { finding, .. } in known.into_iter().flatten() {
        let text = format!("{}: no longer found", finding.check.name);
        changes.push(change(EventKind::FindingOver, finding, Severity::Notice, text));
    }
    (standing, changes)
}

fn is_same(one: &Finding, other: &Finding) -> bool {
    one.check == other.check && one.server == other.server
}

fn change(kind: EventKind, finding: &Finding, severity: Severity, text: String) -> Change {
    // Whether clients get errors is for the monitor to say.
    let severity = match severity {
        Severity::Notice => events::Severity::Info,
        Severity::Warning | Severity::Error => events::Severity::Warning,
    };
    Change { kind, severity, server: finding.server.clone(), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Check;

    static SYNC: Check = Check { name: "sync-binlog", why: "" };
    static RECEIVER: Check = Check { name: "replication-receiver", why: "" };

    fn found(check: &'static Check, server: &str, severity: Severity, evidence: &str) -> Finding {
        check.of(&server.into(), severity, evidence.to_owned())
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn told(changes: &[Change]) -> Vec<String> {
        let words = |it: &Change| {
            let server = it.server.as_deref().unwrap_or("-");
            format!("{:?} {server} {}", it.severity, it.text)
        };
        changes.iter().map(words).collect()
    }

    #[test]
    fn what_is_new_or_gone_is_told_once() {
        let sync = |evidence| found(&SYNC, "a", Severity::Notice, evidence);
        let receiver = |severity| found(&RECEIVER, "a", severity, "it is connecting");
        let (first, changes) =
            follow(&[], vec![receiver(Severity::Warning), sync("is 0"), sync("is 2")], at(1));
        assert_eq!(
            told(&changes),
            [
                "Warning a replication-receiver: it is connecting",
                "Info a sync-binlog: is 0",
                "Info a sync-binlog: is 2",
            ]
        );
        // Another number, or better than before, is no news; worse is.
        let (second, changes) =
            follow(&first, vec![receiver(Severity::Error), sync("is 1"), sync("is 2")], at(2));
        assert_eq!(told(&changes), ["Warning a replication-receiver: it is connecting"]);
        assert!(second.iter().all(|it| it.since == at(1)));
        let (third, changes) =
            follow(&second, vec![receiver(Severity::Warning), sync("is 2")], at(3));
        assert_eq!(told(&changes), ["Info a sync-binlog: no longer found"]);
        assert_eq!(changes[0].kind, EventKind::FindingOver);
        assert_eq!(third.len(), 2);
        // Elsewhere it is another one.
        let (fourth, changes) =
            follow(&third, vec![found(&SYNC, "b", Severity::Notice, "is 0")], at(4));
        assert_eq!(changes.len(), 3);
        assert_eq!(fourth[0].since, at(4));
        assert_eq!(follow(&[], Vec::new(), at(5)), (Vec::new(), Vec::new()));
    }

    #[test]
    fn looking_takes_a_small_part_of_the_time() {
        let second = Duration::from_secs;
        assert_eq!(pause(second(60), None), SOON);
        assert_eq!(pause(second(1), None), second(1));
        assert_eq!(pause(second(60), Some(Duration::from_millis(50))), second(60));
        assert_eq!(pause(second(60), Some(second(30))), second(600));
        assert_eq!(jittered(second(10), 0), second(9));
        assert_eq!(jittered(second(10), 255), second(11));
    }
}
