//! Data by MySQL's clone plugin: the replica fetches the primary's files, and its server ends then.
//! Docker's restart policy starts it again, or somebody must.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Setup;
use super::perform::{Event, Teller, run};
use super::progress::Progress;
use super::survey::{Survey, wake};
use crate::administration::statements::Statement;
use crate::administration::{Failed, Server};
use crate::discovery::Standing;
use crate::facts::CLONE_STATUS;

/// The longest clone.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Without a byte more for so long it is given up.
const STALLED: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(500);
/// How long a container may stay down before somebody is asked to start it.
const RESTART: Duration = Duration::from_secs(5);
/// How long a server that was started may take until it answers.
const RECOVERY: Duration = Duration::from_secs(900);

const PROGRESS: &str = "SELECT COALESCE(SUM(ESTIMATE), 0) AS total, COALESCE(SUM(DATA), 0) AS done \
     FROM performance_schema.clone_progress";
/// States of a clone.
const RUNNING: &str = "In Progress";
const FAILED: &str = "Failed";
/// ER_RESTART_SERVER_FAILED: the data are there, and nobody is there to start the server again.
const NOT_SUPERVISED: &str = "ERROR 3707 ";

/// Clones, and waits until the server is back with its data. The last of the statements begins it.
pub async fn clone(
    setup: &Setup,
    survey: &Survey,
    donor: &str,
    server: &mut Server,
    statements: &[Statement],
    tell: Teller<'_>,
) -> Result<(), String> {
    let name = server.name.clone();
    let mut watcher = setup.server(survey, &name).await?;
    let mut adopted = None;
    if state(&mut watcher).await.as_deref() == Some(RUNNING) {
        // Of a setup that was cut off, by which it may have been ended, too.
        adopted = Some(tokio::select! {
            stalled = watch(setup, donor, &mut watcher, tell) => stalled,
            () = over(server) => Ok(()),
        });
        let has_failed = state(server).await.as_deref() == Some(FAILED);
        adopted = adopted.filter(|ended| ended.is_err() || !has_failed);
    }
    let outcome = if let Some(ended) = adopted {
        Outcome::Watched(ended)
    } else {
        let Some((begin, before)) = statements.split_last() else { return Ok(()) };
        run(server, before, false).await?;
        let cloning = async {
            server.run("SET SESSION sql_log_bin = 0", LOOK * 20).await?;
            server.run(&begin.sql, LONGEST).await
        };
        tokio::select! {
            done = cloning => Outcome::Answered(done.err(), &begin.shown),
            stalled = watch(setup, donor, &mut watcher, tell) => Outcome::Watched(stalled),
        }
    };
    match outcome {
        Outcome::Answered(Some(failed), shown)
            if !failed.is_uncertain && !failed.text.contains(NOT_SUPERVISED) =>
        {
            return Err(format!("{name}: {shown}: {}", failed.text));
        }
        Outcome::Watched(Err(problem)) => {
            end(&mut watcher).await;
            return Err(problem);
        }
        Outcome::Answered(..) | Outcome::Watched(Ok(())) => {}
    }
    back(setup, &name, tell).await
}

/// How a clone is known to have come to an end.
enum Outcome<'a> {
    /// By the answer to this statement.
    Answered(Option<Failed>, &'a str),
    Watched(Result<(), String>),
}

/// What a server says of its last clone; `None` if it does not answer, or has none.
async fn state(server: &mut Server) -> Option<String> {
    server.ask(CLONE_STATUS).await.ok()?.str(0, "STATE").map(str::to_owned)
}

/// Waits until it does not run any more.
async fn over(server: &mut Server) {
    loop {
        sleep(LOOK).await;
        if state(server).await.as_deref() != Some(RUNNING) {
            return;
        }
    }
}

/// It would wait for its donor in vain for minutes, and keep others from beginning anew.
async fn end(server: &mut Server) {
    if let Ok(rows) = server.ask(CLONE_STATUS).await
        && rows.str(0, "STATE") == Some(RUNNING)
        && let Some(connection) = rows.u64(0, "PID")
    {
        // It may have ended meanwhile.
        let _ = server.ask(&format!("KILL {connection}")).await;
    }
}

/// Tells how far it is, until the server ends.
///
/// # Errors
/// Nothing comes any more.
async fn watch(
    setup: &Setup,
    donor: &str,
    server: &mut Server,
    tell: Teller<'_>,
) -> Result<(), String> {
    let began = Instant::now();
    let mut last = (0, Instant::now());
    loop {
        sleep(LOOK).await;
        if let Some(down) = setup.down(donor) {
            return Err(format!("{}; {} has not got its data", down.in_words(), server.name));
        }
        let Ok(rows) = server.ask(PROGRESS).await else {
            return Ok(());
        };
        let number = |column| rows.u64(0, column).unwrap_or(0);
        let progress =
            Progress { done: number("done"), total: number("total"), elapsed: began.elapsed() };
        if progress.done != last.0 {
            last = (progress.done, Instant::now());
        } else if last.1.elapsed() > STALLED {
            return Err(format!("{}: no byte has come for {STALLED:?}", server.name));
        }
        if progress.total > 0 {
            tell(Event::Progress(progress.in_words()));
        }
    }
}

/// Waits for the server, and says what is to be typed where Docker does not start it again.
async fn back(setup: &Setup, name: &str, tell: Teller<'_>) -> Result<(), String> {
    let mut down_since = Instant::now();
    let mut running_since: Option<Instant> = None;
    let mut was_asked = false;
    loop {
        sleep(LOOK).await;
        let servers = setup.catalog.borrow().servers();
        let known = servers.iter().find(|server| *server.name == *name);
        let runs = known.is_some_and(|server| {
            matches!(server.standing, Standing::Running(_) | Standing::Unhealthy(_))
        });
        if let Some(known) = known.filter(|_| runs)
            && let Ok(mut server) = setup.reach(known).await
            && let Ok(rows) = server.ask(CLONE_STATUS).await
        {
            match rows.str(0, "STATE") {
                Some("Completed") => return Ok(()),
                Some(FAILED) => {
                    let error = rows.str(0, "ERROR_MESSAGE").unwrap_or_default();
                    return Err(format!("{name}: the clone has failed: {error}"));
                }
                // It is about to end.
                _ => {}
            }
        }
        let (what, command) = match known.map(|server| (&server.standing, &server.run)) {
            Some((Standing::NotRunning(reason), _)) if reason.contains("paused") => {
                (format!("{name}: {reason}"), wake(name, reason))
            }
            Some((_, Some(_))) => (ended(name), wake(name, "")),
            _ => (ended(name), format!("start the server {name} again")),
        };
        if runs {
            down_since = Instant::now();
            let since = *running_since.get_or_insert_with(Instant::now);
            if since.elapsed() > RECOVERY {
                return Err(format!("{name} was started again, and does not answer: see its log"));
            }
        } else {
            running_since = None;
            let down = down_since.elapsed();
            if down > RESTART && !was_asked {
                was_asked = true;
                let limit = humantime::format_duration(setup.wait);
                tell(Event::Asks(format!(
                    "{what}. Type: {command} (waiting for it up to {limit})"
                )));
            }
            if down > setup.wait.max(RESTART) {
                return Err(format!(
                    "{what}, and nobody has changed that. Type: {command}; then run this again"
                ));
            }
        }
    }
}

fn ended(name: &str) -> String {
    format!("{name} has stopped, as a server does at the end of a clone")
}
