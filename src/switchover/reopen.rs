//! A server takes writes again: the way on after a switchover whose proxy has died in the middle of
//! it, when all servers are read-only.

use std::time::{Duration, Instant};

use super::report::{Journal, Outcome, Report};
use super::{Refused, Switchover};
use crate::administration::{Server, statements};
use crate::monitor::observation::ReadOnly;
use crate::monitor::position::History;
use crate::monitor::queries;
use crate::routing::topology::{Backend, State, Thread, Topology};

/// How long the monitor may take to see it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Another server, and what is to be done there.
#[derive(Debug)]
struct Other {
    server: Server,
    /// It is writable, though it is set up as a replica: the switchover had got as far as that.
    must_close: bool,
    /// It replicates from the server that takes writes again, and was told to stop.
    must_start: bool,
}

impl Switchover {
    /// Opens a server that replicates from nobody, once it is known that no other has more than it,
    /// or may be written. `force`: what servers that do not answer may have is given up.
    pub(super) async fn reopen(
        &self,
        topology: &Topology,
        target: &Backend,
        force: bool,
    ) -> Result<Report, Refused> {
        let mut server = self.connect(target).await.map_err(Refused)?;
        let (_, history) = stand(&mut server).await.map_err(Refused)?;
        let mut others = Vec::new();
        for backend in topology.backends.iter().filter(|backend| backend.id != target.id) {
            if let Some(other) = self.other(backend, &server, &history, force).await? {
                others.push(other);
            }
        }
        let began = Instant::now();
        let mut journal = Journal::new(self.events.clone());
        let outcome = match open(&mut server, &mut others, &mut journal).await {
            Err(reason) => Outcome::Stuck { reason },
            Ok(()) => {
                let deadline = began + PATIENCE;
                let seen = self.await_primary(target.id, began, deadline).await;
                let note = format!("writes go to {} again", server.name);
                journal.note(None, note, began, seen.err());
                Outcome::Done { pause: began.elapsed() }
            }
        };
        Ok(journal.end(&server.name, outcome))
    }

    async fn connect(&self, backend: &Backend) -> Result<Server, String> {
        let name = backend.name.clone();
        let address = backend.address.clone();
        let address = address.ok_or_else(|| format!("{name}: its address is not known"))?;
        let access = self.access().map_err(|refused| refused.0)?;
        Server::connect(backend.id, name, address, Vec::new(), access).await
    }

    /// What another server stands in the way for, or has to be told.
    async fn other(
        &self,
        backend: &Backend,
        target: &Server,
        history: &History,
        force: bool,
    ) -> Result<Option<Other>, Refused> {
        let (name, target) = (&backend.name, &target.name);
        let connected = match &backend.state {
            State::New => return Err(Refused(format!("{name} has not been asked yet"))),
            _ => self.connect(backend).await,
        };
        let asked = match connected {
            Ok(mut server) => stand(&mut server).await.map(|(is_open, own)| (server, is_open, own)),
            Err(error) => Err(error),
        };
        let (server, is_open, own) = match asked {
            Ok(asked) => asked,
            Err(_) if force => return Ok(None),
            Err(error) => {
                return Err(Refused(format!(
                    "{error}: whether {name} has more than {target} is not known; FORCE goes on \
                     without it"
                )));
            }
        };
        let follows = backend.replication.iter().find(|channel| channel.source == *target);
        if is_open && follows.is_none() {
            return Err(Refused(format!("{name} takes writes, too: make it read-only")));
        }
        if let Some(more) = own.beyond(history) {
            return Err(Refused(format!("{name} has transactions that {target} lacks: {more}")));
        }
        let must_start = follows.is_some_and(|channel| {
            channel.receiver == Thread::Stopped || channel.applier == Thread::Stopped
        });
        Ok(Some(Other { server, must_close: is_open, must_start }))
    }
}

/// Whether a server is writable, and all that it has ever committed.
async fn stand(server: &mut Server) -> Result<(bool, History), String> {
    let rows = server.ask(queries::variables(&server.version)).await?;
    let said = queries::read_variables(&rows, &server.version);
    let said = said.map_err(|error| format!("{}: {error}", server.name))?;
    let is_open = said.read_only == ReadOnly::Off;
    let history = said.gtids.history();
    let history = history.ok_or_else(|| format!("{} has no GTIDs", server.name))?;
    Ok((is_open, history))
}

/// Closes who must be closed first: there is never a second one.
async fn open(
    server: &mut Server,
    others: &mut [Other],
    journal: &mut Journal,
) -> Result<(), String> {
    for other in others.iter_mut().filter(|other| other.must_close) {
        tell(&mut other.server, true, journal).await?;
    }
    tell(server, false, journal).await?;
    for Other { server, .. } in others.iter_mut().filter(|other| other.must_start) {
        let start = statements::replica("START", "", &server.version);
        // What fails is in the report, and stops nobody else.
        let _ = journal.tell(server, &start).await;
    }
    Ok(())
}

async fn tell(server: &mut Server, read_only: bool, journal: &mut Journal) -> Result<(), String> {
    for statement in statements::read_only(read_only, &server.version) {
        let told = journal.tell(server, &statement).await;
        told.map_err(|failed| format!("{}: {}: {}", server.name, statement.shown, failed.text))?;
    }
    Ok(())
}
