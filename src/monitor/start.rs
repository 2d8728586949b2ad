//! Starts discovery and monitoring, and hands out what they publish.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::discovery::container::Rules;
use crate::discovery::{Catalog, TopologyStore, docker, servers};
use crate::metrics::Metrics;
use crate::net::tls::client::ClientTls;
use crate::routing::topology::Topology;
use crate::session::accounts::Directory;
use crate::wire::handshake::Greeting;

use super::abandoned::Abandoned;
use super::accounts::requests::Requests;
use super::accounts::{PrimaryProfile, Watcher};
use super::events::EventLog;
use super::hold::Hold;
use super::samples::Samples;
use super::supervisor::Supervisor;

/// What is published, each at its own pace. The tasks behind it end when this is dropped.
#[derive(Debug)]
pub struct Handles {
    pub topology: Arc<TopologyStore>,
    pub events: Arc<EventLog>,
    /// The servers as discovery knows them, with what is wrong with its origins.
    pub catalog: watch::Receiver<Catalog>,
    /// The accounts of the primary.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// Has the accounts and the defaults for sessions read at once.
    pub requests: Arc<Requests>,
    /// The greeting of the primary, or of the last one; `None` until there was one.
    pub greeting: Arc<ArcSwapOption<Greeting>>,
    /// That greeting with the collations behind its numbers.
    pub profile: watch::Receiver<Option<Arc<PrimaryProfile>>>,
    /// Numbers the samples of the primary's position.
    pub samples: Samples,
    /// Connections that were given up, for the probes to end.
    pub abandoned: Abandoned,
    /// Holds writes back.
    pub hold: watch::Sender<Option<Hold>>,
    _tasks: JoinSet<()>,
}

/// Starts all tasks on `runtime`. The hot keys of `config` are followed; `[docker]` and
/// `[backend_tls]` are read once. Events are counted in `metrics`.
pub fn start(
    runtime: &Handle,
    config: watch::Receiver<Arc<Config>>,
    tls: ClientTls,
    metrics: Arc<Metrics>,
) -> Handles {
    let mut tasks = JoinSet::new();
    let (catalog, catalog_changes) = watch::channel(Catalog::default());
    let catalog = Arc::new(catalog);
    start_discovery(&mut tasks, runtime, &config, &catalog);

    let topology = Arc::new(TopologyStore::new(Topology::empty()));
    let events = Arc::new(EventLog::new(metrics));
    let samples = Samples::default();
    let abandoned = Abandoned::default();
    let (hold, holds) = watch::channel(None);
    let supervisor = Supervisor {
        config: config.clone(),
        catalog: catalog_changes.clone(),
        tls: tls.clone(),
        topology: topology.clone(),
        events: events.clone(),
        samples: samples.clone(),
        abandoned: abandoned.clone(),
        hold: holds,
    };
    tasks.spawn_on(supervisor.run(), runtime);

    let (directory, directory_changes) = watch::channel(Arc::new(Directory::unread()));
    let (profile, profile_changes) = watch::channel(None);
    let greeting = Arc::new(ArcSwapOption::empty());
    let requests = Arc::new(Requests::default());
    let watcher = Watcher {
        config,
        tls,
        topology: topology.clone(),
        directory,
        profile,
        greeting: greeting.clone(),
        requests: requests.clone(),
    };
    tasks.spawn_on(watcher.run(), runtime);

    Handles {
        topology,
        events,
        catalog: catalog_changes,
        directory: directory_changes,
        requests,
        greeting,
        profile: profile_changes,
        samples,
        abandoned,
        hold,
        _tasks: tasks,
    }
}

/// Discovery alone, on the runtime of its caller. The tasks end when they are dropped.
pub fn discover(config: watch::Receiver<Arc<Config>>) -> (watch::Receiver<Catalog>, JoinSet<()>) {
    let mut tasks = JoinSet::new();
    let (catalog, changes) = watch::channel(Catalog::default());
    start_discovery(&mut tasks, &Handle::current(), &config, &Arc::new(catalog));
    (changes, tasks)
}

/// One task a Docker daemon, and one that follows `[[backends]]`.
fn start_discovery(
    tasks: &mut JoinSet<()>,
    runtime: &Handle,
    config: &watch::Receiver<Arc<Config>>,
    catalog: &Arc<watch::Sender<Catalog>>,
) {
    let docker = config.borrow().docker.clone();
    let endpoints = if docker.enabled { docker::Endpoint::all(&docker) } else { Vec::new() };
    // Before any task runs, so that nobody takes a part for the whole.
    catalog.send_modify(|catalog| catalog.expected = 1 + endpoints.len());
    tasks.spawn_on(follow_fixed(config.clone(), catalog.clone()), runtime);
    let rules = Rules {
        prefix: docker.label_prefix.clone(),
        cluster: docker.cluster.clone(),
        address: docker.address,
        respect_health: docker.respect_health,
    };
    for endpoint in endpoints {
        tasks.spawn_on(docker::watch(endpoint, rules.clone(), catalog.clone()), runtime);
    }
}

/// Keeps the servers of `[[backends]]` in the catalog.
async fn follow_fixed(
    mut config: watch::Receiver<Arc<Config>>,
    catalog: Arc<watch::Sender<Catalog>>,
) {
    loop {
        let source = servers::fixed(&config.borrow_and_update().backends);
        catalog.send_if_modified(|catalog| {
            let changed = catalog.sources.get("proxy.toml") != Some(&source);
            catalog.sources.insert("proxy.toml".into(), source);
            changed
        });
        if config.changed().await.is_err() {
            return;
        }
    }
}
