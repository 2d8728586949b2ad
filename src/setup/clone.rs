//! Data by MySQL's clone plugin: the replica fetches the primary's files, and its server ends then.
//! Docker's restart policy starts it again, or somebody must.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Setup;
use super::perform::{Event, Teller, run};
use super::progress::Progress;
use super::survey::Survey;
use crate::administration::Server;
use crate::administration::statements::Statement;
use crate::discovery::Standing;

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
const STATUS: &str = "SELECT STATE, ERROR_NO, ERROR_MESSAGE FROM performance_schema.clone_status";

/// ER_RESTART_SERVER_FAILED: the data are there, and nobody is there to start the server again.
const NOT_SUPERVISED: &str = "ERROR 3707 ";

/// Clones, and waits until the server is back with its data. The last of the statements begins it.
pub async fn clone(
    setup: &Setup,
    survey: &Survey,
    server: &mut Server,
    statements: &[Statement],
    tell: Teller<'_>,
) -> Result<(), String> {
    let name = server.name.clone();
    let mut watcher = setup.server(survey, &name).await?;
    let is_running = is_running(&mut watcher).await;
    if is_running {
        // Of a setup that was cut off.
        watch(&mut watcher, tell).await?;
    } else {
        let Some((begin, before)) = statements.split_last() else { return Ok(()) };
        run(server, before, false).await?;
        let cloning = async {
            server.run("SET SESSION sql_log_bin = 0", LOOK * 20).await?;
            server.run(&begin.sql, LONGEST).await
        };
        let failed = tokio::select! {
            done = cloning => done.err(),
            stalled = watch(&mut watcher, tell) => {
                stalled?;
                None
            }
        };
        if let Some(failed) = failed
            && !failed.is_uncertain
            && !failed.text.contains(NOT_SUPERVISED)
        {
            return Err(format!("{name}: {}: {}", begin.shown, failed.text));
        }
    }
    back(setup, &name, tell).await
}

async fn is_running(server: &mut Server) -> bool {
    let rows = server.ask(STATUS).await;
    rows.is_ok_and(|rows| rows.str(0, "STATE") == Some("In Progress"))
}

/// Tells how far it is, until the server ends.
///
/// # Errors
/// Nothing comes any more.
async fn watch(server: &mut Server, tell: Teller<'_>) -> Result<(), String> {
    let began = Instant::now();
    let mut last = (0, Instant::now());
    loop {
        sleep(LOOK).await;
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
            && let Ok(rows) = server.ask(STATUS).await
        {
            match rows.str(0, "STATE") {
                Some("Completed") => return Ok(()),
                Some("Failed") => {
                    let error = rows.str(0, "ERROR_MESSAGE").unwrap_or_default();
                    return Err(format!("{name}: the clone has failed: {error}"));
                }
                // It is about to end.
                _ => {}
            }
        }
        let command = match known.is_some_and(|server| server.run.is_some()) {
            true => format!("docker start {name}"),
            false => format!("start the server {name} again"),
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
                    "{name} has stopped, as a server does at the end of a clone. Type: {command} \
                     (waiting for it up to {limit})"
                )));
            }
            if down > setup.wait.max(RESTART) {
                return Err(format!(
                    "{name} has stopped, as a server does at the end of a clone, and was not started \
                     again. Type: {command}; then run this again"
                ));
            }
        }
    }
}
