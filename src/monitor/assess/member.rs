//! What is known of one server.

use std::sync::Arc;
use std::time::Instant;

use crate::discovery::{Server, Standing};
use crate::routing::topology::{Address, BackendId, State, Thread};
use crate::wire::Flavour;

use super::errant::Errant;
use super::reads::Reads;
use crate::monitor::observation::{Failure, Identity, Observation, Outcome};

/// How the latest probe went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// None has ended yet.
    Awaited,
    Answering,
    Failed(Failure),
}

/// One server and what is remembered of it.
#[derive(Debug)]
pub struct Member {
    pub id: BackendId,
    pub server: Server,
    /// The last address known, also while its container is stopped.
    address: Option<Address>,
    pub contact: Contact,
    /// The latest answer of this incarnation.
    pub last: Option<Arc<Observation>>,
    /// Who it is; outlives restarts.
    pub identity: Option<Identity>,
    pub reads: Reads,
    /// Since when a receiver has been trying to reach its source.
    pub connecting_since: Option<Instant>,
    pub errant: Errant,
    /// Why it is not counted, although it answers: it is another member too.
    duplicate: Option<Arc<str>>,
}

/// Two entries that lead to one server must not count as two: it would be its own rival. The first
/// by name stays.
pub fn mark_duplicates(members: &mut [Member]) {
    for index in 0..members.len() {
        let (before, rest) = members.split_at_mut(index);
        let member = &mut rest[0];
        let said = member.last.as_ref().filter(|_| member.contact == Contact::Answering);
        let first = said.and_then(|said| {
            before.iter().find(|first| {
                first.contact == Contact::Answering
                    && first.last.as_ref().is_some_and(|first| first.identity == said.identity)
            })
        });
        member.duplicate = first.map(|first| {
            let (name, key) = (&first.server.name, &said.expect("it was compared").identity);
            let instance = &key.instance;
            format!("it answers as the same server as {name} ({instance}): listed twice, or copied")
                .into()
        });
    }
}

impl Member {
    pub fn new(id: BackendId, server: Server) -> Self {
        Member {
            id,
            address: server.standing.address().cloned(),
            server,
            contact: Contact::Awaited,
            last: None,
            identity: None,
            reads: Reads::default(),
            connecting_since: None,
            errant: Errant::default(),
            duplicate: None,
        }
    }

    /// Takes over what discovery says now. True when it is another incarnation: nothing that was
    /// said before holds, and the id must change.
    #[must_use]
    pub fn update(&mut self, server: Server) -> bool {
        let address = server.standing.address();
        let restarted = server.started != self.server.started;
        let moved = address.is_some() && self.address.is_some() && address != self.address.as_ref();
        if restarted || moved {
            self.last = None;
            self.reads = Reads::default();
            self.connecting_since = None;
        }
        if restarted || moved || self.server.standing.address().is_none() {
            self.contact = Contact::Awaited;
        }
        if let Some(address) = address {
            self.address = Some(address.clone());
        }
        self.server = server;
        restarted || moved
    }

    pub fn probed(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Answered(observation) => {
                let connecting =
                    observation.channels.iter().any(|c| c.receiver == Thread::Connecting);
                self.connecting_since =
                    connecting.then(|| self.connecting_since.unwrap_or(observation.finished));
                self.identity = Some(observation.identity.clone());
                self.last = Some(observation);
                self.contact = Contact::Answering;
            }
            Outcome::Failed(failure) => self.contact = Contact::Failed(failure),
        }
    }

    pub fn state(&self) -> State {
        match (&self.server.standing, &self.contact) {
            (Standing::LeftOut(reason), _) => State::LeftOut(reason.clone()),
            (Standing::NotRunning(reason), _) => State::Down(reason.clone()),
            (_, Contact::Awaited) => State::New,
            (_, Contact::Answering) if self.duplicate.is_some() => {
                State::LeftOut(self.duplicate.clone().expect("just seen"))
            }
            (_, Contact::Answering | Contact::Failed(Failure::Silent(_))) => State::Up,
            (_, Contact::Failed(Failure::Unreachable(reason))) => State::Down(reason.clone()),
            (_, Contact::Failed(Failure::Denied(reason))) => State::NoAccess(reason.clone()),
            // Full is not down: those who are in are served.
            (_, Contact::Failed(Failure::Full(reason))) => match self.last {
                Some(_) => State::Up,
                None => State::NoAccess(reason.clone()),
            },
        }
    }

    /// What it said last, if it may be counted on: it runs, is healthy, and answers or is only
    /// late or full.
    pub fn voice(&self) -> Option<&Observation> {
        let runs = matches!(self.server.standing, Standing::Running(_));
        if runs && self.state() == State::Up { self.last.as_deref() } else { None }
    }

    /// True while it may yet turn out to be anything.
    pub fn is_awaited(&self) -> bool {
        matches!(self.server.standing, Standing::Running(_)) && self.contact == Contact::Awaited
    }

    /// Why it has no voice, in words.
    pub fn silence(&self) -> Arc<str> {
        match (self.state(), &self.server.standing) {
            (State::LeftOut(reason) | State::Down(reason) | State::NoAccess(reason), _) => reason,
            (_, Standing::Unhealthy(_)) => UNHEALTHY.into(),
            (State::New | State::Up, _) => "it has not answered yet".into(),
        }
    }

    /// The statement that makes this server refuse writes.
    pub fn read_only_statement(&self) -> &'static str {
        match self.last.as_ref().map(|observation| observation.version.flavour) {
            Some(Flavour::MariaDb) => "SET GLOBAL read_only=ON",
            _ => "SET PERSIST super_read_only=ON",
        }
    }
}

/// The reason of a container that Docker calls unhealthy.
pub const UNHEALTHY: &str =
    "Docker's health check fails (docker.respect_health=false lets the probes alone decide)";
