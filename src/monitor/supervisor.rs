//! Keeps a probe task for each server and publishes what follows from their outcomes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::backend::Credential;
use crate::config::Config;
use crate::discovery::{Catalog, TopologyStore};
use crate::net::tls::client::ClientTls;
use crate::routing::topology::{Address, BackendId, Topology};
use crate::wire::auth::Secret;

use super::abandoned::Abandoned;
use super::assess::{Assessor, Policy};
use super::changes::Reporter;
use super::events::EventLog;
use super::hold::Hold;
use super::observation::Outcome;
use super::probe;
use super::samples::Samples;

/// How often the topology is assessed without news: lag ages, slow starts go on.
const AGEING: Duration = Duration::from_millis(100);
/// Outcomes that may wait to be taken; probes wait when there are more.
const OUTCOMES: usize = 256;

pub struct Supervisor {
    pub config: watch::Receiver<Arc<Config>>,
    pub catalog: watch::Receiver<Catalog>,
    pub tls: ClientTls,
    pub topology: Arc<TopologyStore>,
    pub events: Arc<EventLog>,
    pub samples: Samples,
    pub abandoned: Abandoned,
    pub hold: watch::Receiver<Option<Hold>>,
}

/// A running probe task; it ends when this is dropped.
struct Running {
    address: Address,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Supervisor {
    /// Runs for ever. Cancel safe: the probes end with it.
    pub async fn run(mut self) {
        let (sender, mut outcomes) = mpsc::channel(OUTCOMES);
        let mut settings = self.settings();
        let mut assessor = Assessor::new(self.policy());
        let mut probes: HashMap<BackendId, Running> = HashMap::new();
        let mut reporter = Reporter::default();
        let mut ageing = interval(AGEING);
        ageing.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            assessor.set_servers(&self.catalog.borrow_and_update());
            follow(&assessor, &mut probes, &settings, &sender);
            self.publish(assessor.assess(Instant::now()), &mut reporter);
            loop {
                tokio::select! {
                    changed = self.catalog.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    Some(outcome) = outcomes.recv() => {
                        take(&mut assessor, outcome, &mut outcomes);
                    }
                    changed = self.config.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        assessor.set_policy(self.policy());
                        settings = self.settings();
                        // Probes begin anew under the new settings; what they found stays.
                        probes.clear();
                        break;
                    }
                    changed = self.hold.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        assessor.set_hold(self.hold.borrow_and_update().as_ref());
                    }
                    _ = ageing.tick() => {}
                }
                self.publish(assessor.assess(Instant::now()), &mut reporter);
            }
        }
    }

    fn policy(&mut self) -> Policy {
        let config = self.config.borrow_and_update();
        Policy::new(&config.routing, &config.monitor)
    }

    fn settings(&self) -> probe::Settings {
        let config = self.config.borrow();
        let monitor = &config.monitor;
        probe::Settings {
            credential: credential(monitor),
            user: monitor.user.as_str().into(),
            tls: self.tls.clone(),
            announce: config.listen.announces_itself(),
            interval: monitor.interval,
            timeout: monitor.timeout,
            samples: self.samples.clone(),
            abandoned: self.abandoned.clone(),
        }
    }

    fn publish(&self, topology: Topology, reporter: &mut Reporter) {
        if **self.topology.load() == topology {
            return;
        }
        self.events.tell(reporter.changes(&topology));
        self.topology.publish(topology);
    }
}

/// The monitor's account.
pub fn credential(monitor: &crate::config::Monitor) -> Credential {
    let password = monitor.password.as_ref().map_or("", |password| password.expose());
    Credential::new(monitor.user.as_bytes(), Secret::from_password(password))
}

/// Takes an outcome and all that are waiting behind it.
fn take(
    assessor: &mut Assessor,
    first: (BackendId, Outcome),
    waiting: &mut mpsc::Receiver<(BackendId, Outcome)>,
) {
    let mut next = Some(first);
    while let Some((id, outcome)) = next {
        assessor.probed(id, outcome);
        next = waiting.try_recv().ok();
    }
}

/// Starts the probes that are missing and ends those of servers that are gone.
fn follow(
    assessor: &Assessor,
    probes: &mut HashMap<BackendId, Running>,
    settings: &probe::Settings,
    sender: &mpsc::Sender<(BackendId, Outcome)>,
) {
    let wanted: HashMap<BackendId, &Address> =
        assessor.targets().map(|target| (target.id, target.address)).collect();
    probes.retain(|id, running| wanted.get(id).is_some_and(|address| **address == running.address));
    for (id, address) in wanted {
        probes.entry(id).or_insert_with(|| {
            let run = probe::run(id, address.clone(), settings.clone(), sender.clone());
            Running { address: address.clone(), task: tokio::spawn(run).abort_handle() }
        });
    }
}
