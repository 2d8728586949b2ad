//! The way back: what a switchover has done is undone, by what the servers themselves say of it.

use super::cast::Cast;
use super::report::Journal;
use crate::administration::{Server, Statement, statements};
use crate::monitor::queries;
use crate::routing::topology::Thread;

/// What must be taken back.
#[derive(Debug, Default)]
pub struct Done {
    pub former_closed: bool,
    pub replication_stopped: bool,
    pub semi_sync_on: bool,
    pub next_opened: bool,
}

/// Undoes what was done, in reverse. What is left to do is returned.
///
/// Up to the one statement that is not undone the next primary is still set up as a replica, and so
/// is no primary for anybody who looks, whatever else it is.
pub async fn take_back(cast: &mut Cast, done: &Done, journal: &mut Journal) -> Vec<String> {
    let mut problems = Vec::new();
    let version = cast.next.version.clone();
    let mut is_reached = true;
    if done.next_opened {
        let close = statements::read_only(true, &version);
        match undo(&mut cast.next, &close, Undone::ReadOnly(true), journal).await {
            Ok(()) => {}
            // Two writable servers are worse than none.
            Err(Left::Refused(problem)) => return vec![problem],
            // Writes wait, and nobody knows for how long it is lost.
            Err(Left::Unreached(problem)) => {
                is_reached = false;
                problems.push(problem);
            }
        }
    }
    if is_reached {
        if let (true, Some(switches)) = (done.semi_sync_on, &cast.semi_sync) {
            let off = [statements::set(&switches.source, "OFF", &version)];
            let undone = Undone::Off(&switches.source);
            problems
                .extend(undo(&mut cast.next, &off, undone, journal).await.err().map(Left::text));
        }
        if done.replication_stopped {
            let start = [statements::replica("START", "", &version)];
            let undone = undo(&mut cast.next, &start, Undone::Replicates, journal).await;
            problems.extend(undone.err().map(Left::text));
        }
    }
    if done.former_closed {
        let open = statements::read_only(false, &cast.former.version);
        match undo(&mut cast.former, &open, Undone::ReadOnly(false), journal).await {
            Ok(()) if problems.is_empty() => {}
            Ok(()) => problems.push(format!("writes go on at {}", cast.former.name)),
            Err(left) => problems.push(left.text()),
        }
    }
    problems
}

/// What a server says when something is undone.
#[derive(Debug, Clone, Copy)]
enum Undone<'a> {
    ReadOnly(bool),
    Replicates,
    /// This variable.
    Off(&'a str),
}

/// Why something may not be undone.
enum Left {
    /// The server has refused it, and says itself that it is not undone.
    Refused(String),
    /// The server does not answer.
    Unreached(String),
}

impl Left {
    fn text(self) -> String {
        match self {
            Left::Refused(text) | Left::Unreached(text) => text,
        }
    }
}

/// Undoes one thing. What was not done is undone, too, whatever the server makes of the statement.
async fn undo(
    server: &mut Server,
    statements: &[Statement],
    undone: Undone<'_>,
    journal: &mut Journal,
) -> Result<(), Left> {
    for statement in statements {
        let Err(failed) = journal.tell(server, statement).await else { continue };
        let problem = format!("{}: {}: {}", server.name, statement.shown, failed.text);
        return match is(server, undone).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Left::Refused(problem)),
            Err(_) => Err(Left::Unreached(problem)),
        };
    }
    Ok(())
}

async fn is(server: &mut Server, undone: Undone<'_>) -> Result<bool, String> {
    let variable = match undone {
        Undone::ReadOnly(_) => "read_only",
        Undone::Off(variable) => variable,
        Undone::Replicates => {
            let sql = queries::replication(&server.version);
            let channels = queries::read_channels(&server.ask(sql).await?);
            let runs = |thread| thread != Thread::Stopped;
            let all = channels.iter().all(|it| runs(it.receiver) && runs(it.applier));
            return Ok(all && !channels.is_empty());
        }
    };
    let value = server.value(&format!("SELECT @@GLOBAL.{variable}")).await?;
    let is_on = value.is_some_and(|value| value != "0");
    Ok(is_on == matches!(undone, Undone::ReadOnly(true)))
}
