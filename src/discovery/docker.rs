//! Containers of Docker daemons: listed, then followed by their events. GET requests alone.
//!
//! A stream of events that ends is normal: socket proxies cut idle ones, daemons restart. Until the
//! next connection the last known servers stay.

mod connect;
mod inspect;

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::address::Vantage;
use super::container::{Container, NetworkMode, Rules};
use super::containers::{Containers, Ticket};
use super::own;
use super::servers::{Catalog, Source};
pub use connect::{Endpoint, Problem, Tls};

/// Between two full lists.
const RELIST: Duration = Duration::from_secs(60);
/// The second list after a connection: what happened between the first one and the beginning of the
/// events is in neither.
const SECOND_LIST: Duration = Duration::from_secs(1);
/// How long a list or an inspection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Waits between two attempts to connect.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Watches one daemon for ever and keeps its part of the catalog. Cancel safe.
pub async fn watch(endpoint: Endpoint, rules: Rules, catalog: Arc<watch::Sender<Catalog>>) {
    let mut watcher = Watcher {
        origin: endpoint.url.clone(),
        endpoint,
        rules,
        catalog,
        containers: Containers::default(),
        vantage: Vantage::Host,
        own: own::candidates(),
        is_listed: false,
    };
    let mut wait = SHORTEST_WAIT;
    let mut told: Option<Problem> = None;
    loop {
        watcher.is_listed = false;
        let ended = watcher.follow().await;
        if watcher.is_listed {
            wait = SHORTEST_WAIT;
            told = None;
        }
        match ended {
            Ok(()) => tracing::debug!(endpoint = %watcher.origin, "the event stream ended"),
            Err(problem) => {
                if told.as_ref() != Some(&problem) {
                    tracing::warn!(endpoint = %watcher.origin, "Docker: {problem}");
                }
                watcher.publish_problem(&problem);
                told = Some(problem);
            }
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

struct Watcher {
    endpoint: Endpoint,
    origin: Arc<str>,
    rules: Rules,
    catalog: Arc<watch::Sender<Catalog>>,
    containers: Containers,
    vantage: Vantage,
    /// Ids that the proxy's own container may have.
    own: Vec<String>,
    /// The current connection has listed everything once.
    is_listed: bool,
}

/// What a question to the daemon was about, and its answer.
enum Answer {
    Listed(Ticket, Result<HashSet<String>, Error>),
    Inspected(String, Ticket, Box<Result<Option<Container>, Error>>),
    Stands(Result<Vantage, Error>),
}

type Questions = FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + Send>>>;

impl Watcher {
    /// Lists, and follows events until their stream ends.
    async fn follow(&mut self) -> Result<(), Problem> {
        let docker = self.endpoint.connect().await?;
        let filters = [("type", vec!["container", "network"])].into_iter().collect();
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let mut events = Box::pin(docker.events(Some(options)));
        let mut questions = Questions::new();
        self.ask_all(&docker, &mut questions);
        let mut next_list = Instant::now() + SECOND_LIST;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    None => return Ok(()),
                    Some(Ok(event)) => self.take_event(event, &docker, &mut questions),
                    Some(Err(error)) => return self.ended(&error),
                },
                Some(answer) = questions.next() => {
                    self.take_answer(answer, &docker, &mut questions)
                        .map_err(|error| self.endpoint.explain(&error))?;
                }
                () = sleep_until(next_list) => {
                    next_list = Instant::now() + RELIST;
                    self.ask_all(&docker, &mut questions);
                }
            }
            if questions.is_empty() {
                self.is_listed = true;
            }
            self.publish();
        }
    }

    /// A stream that breaks after it has served is as normal as one that ends.
    fn ended(&self, error: &Error) -> Result<(), Problem> {
        if self.is_listed { Ok(()) } else { Err(self.endpoint.explain(error)) }
    }

    fn take_event(
        &mut self,
        event: bollard::models::EventMessage,
        docker: &Docker,
        questions: &mut Questions,
    ) {
        let Some(event) = inspect::event(event, &self.rules.prefix) else { return };
        let id = event.id;
        if self.own.iter().any(|own| id.starts_with(own.as_str())) {
            questions.push(Box::pin(where_we_stand(
                docker.clone(),
                self.own.clone(),
                self.endpoint.clone(),
            )));
        }
        if event.is_labelled || self.containers.knows(&id) {
            self.containers.apply(&id, event.change);
            questions.push(Box::pin(inspect(docker.clone(), id, self.containers.ticket())));
        }
    }

    fn take_answer(
        &mut self,
        answer: Answer,
        docker: &Docker,
        questions: &mut Questions,
    ) -> Result<(), Error> {
        match answer {
            Answer::Listed(ticket, ids) => {
                let ids = ids?;
                self.containers.listed(ticket, &ids);
                for id in ids {
                    questions.push(Box::pin(inspect(docker.clone(), id, ticket)));
                }
            }
            Answer::Inspected(id, ticket, container) => {
                self.containers.inspected(&id, ticket, (*container)?);
            }
            Answer::Stands(vantage) => self.vantage = vantage?,
        }
        Ok(())
    }

    /// Asks for the full list, and where we stand.
    fn ask_all(&self, docker: &Docker, questions: &mut Questions) {
        let ticket = self.containers.ticket();
        questions.push(Box::pin(list(docker.clone(), self.rules.prefix.clone(), ticket)));
        questions.push(Box::pin(where_we_stand(
            docker.clone(),
            self.own.clone(),
            self.endpoint.clone(),
        )));
    }

    /// Publishes what is known, once everything was listed or if something was known before.
    fn publish(&self) {
        let servers = self.containers.servers(&self.rules, &self.vantage, &self.origin);
        self.catalog.send_if_modified(|catalog| {
            let current = catalog.sources.get(&self.origin);
            if current.is_none() && !self.is_listed {
                return false;
            }
            let problem = match (current, self.is_listed) {
                (Some(current), false) => current.problem.clone(),
                _ => None,
            };
            let source = Source { servers, problem };
            if current == Some(&source) {
                return false;
            }
            catalog.sources.insert(self.origin.clone(), source);
            true
        });
    }

    fn publish_problem(&self, problem: &Problem) {
        self.catalog.send_if_modified(|catalog| {
            let source = catalog.sources.entry(self.origin.clone()).or_default();
            let changed = source.problem.as_ref() != Some(&problem.0);
            source.problem = Some(problem.0.clone());
            changed
        });
    }
}

/// The ids of all containers, running or not, that carry a label of ours. The daemon could filter
/// by a label's name, but not find one that is misspelt.
async fn list(docker: Docker, prefix: String, ticket: Ticket) -> Answer {
    let options = ListContainersOptionsBuilder::new().all(true).build();
    let listed = within(docker.list_containers(Some(options))).await;
    let is_ours = |label: &String| {
        label.strip_prefix(&prefix).is_some_and(|n| n.is_empty() || n.starts_with('.'))
    };
    let ids = listed.map(|summaries| {
        summaries
            .into_iter()
            .filter(|summary| {
                summary.labels.as_ref().is_some_and(|labels| labels.keys().any(is_ours))
            })
            .filter_map(|summary| summary.id)
            .collect()
    });
    Answer::Listed(ticket, ids)
}

async fn inspect(docker: Docker, id: String, ticket: Ticket) -> Answer {
    let container = inspect_container(&docker, &id).await;
    Answer::Inspected(id, ticket, Box::new(container))
}

async fn inspect_container(docker: &Docker, id: &str) -> Result<Option<Container>, Error> {
    match within(docker.inspect_container(id, None)).await {
        Ok(answer) => Ok(inspect::container(answer)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Looks for the proxy's own container among the daemon's.
async fn where_we_stand(docker: Docker, own: Vec<String>, endpoint: Endpoint) -> Answer {
    for id in own {
        match inspect_container(&docker, &id).await {
            Ok(Some(container)) if container.network_mode == NetworkMode::Host => {
                return Answer::Stands(Ok(Vantage::Host));
            }
            Ok(Some(container)) => {
                return Answer::Stands(Ok(Vantage::Container(container.networks)));
            }
            Ok(None) => {}
            Err(error) => return Answer::Stands(Err(error)),
        }
    }
    Answer::Stands(Ok(match endpoint.remote_host() {
        Some(host) => Vantage::Remote(host.into()),
        None if cfg!(target_os = "linux") => Vantage::Host,
        // Elsewhere daemons run in a virtual machine, which publishes ports on this one.
        None => Vantage::Remote("127.0.0.1".into()),
    }))
}

async fn within<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(PATIENCE, request).await.unwrap_or(Err(Error::RequestTimeoutError))
}
