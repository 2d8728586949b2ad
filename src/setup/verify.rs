//! Whether it works, at the end: replicas have all that the primary has, take no writes, and
//! acknowledge.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Setup;
use super::perform::{Event, Teller};
use super::plan::Plan;
use super::survey::Survey;
use crate::administration::Server;
use crate::gtid::{Transactions, position_query};
use crate::monitor::queries;
use crate::routing::topology::Thread;

/// For one question whether a replica has caught up.
const WAIT: Duration = Duration::from_secs(5);
/// A replica that is behind may take long, as long as it goes on.
const STALLED: Duration = Duration::from_secs(60);
/// For a receiver to reach its source.
const REACH: Duration = Duration::from_secs(30);
/// For semi-synchronous replication to be on.
const SEMI_SYNC: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(200);

pub async fn verify(
    setup: &Setup,
    survey: &Survey,
    plan: &Plan,
    tell: Teller<'_>,
) -> Result<(), String> {
    let mut primary = setup.server(survey, &plan.primary).await?;
    let flavour = primary.version.flavour;
    let position = primary.value(position_query(flavour, true)).await?.unwrap_or_default();
    for (name, _) in &plan.replicas {
        let mut replica = setup.server(survey, name).await?;
        let wanted = Transactions::parse(flavour, position.as_bytes())
            .ok_or_else(|| format!("{}: its position is not understood", plan.primary))?;
        caught_up(&mut replica, &wanted, tell).await?;
        receives(&mut replica).await?;
        let read_only = replica.value("SELECT @@GLOBAL.read_only").await?;
        if read_only.is_none_or(|value| value == "0") {
            return Err(format!("{name} takes writes"));
        }
        tell(Event::Verified(format!(
            "{name} replicates, has all that {} had, and takes no writes",
            plan.primary
        )));
    }
    if setup.options.semi_sync.is_some() && !plan.replicas.is_empty() {
        let words = semi_sync(&mut primary).await?;
        tell(Event::Verified(format!("{}: {words}", plan.primary)));
    }
    Ok(())
}

/// Waits until the replica has applied all of these.
async fn caught_up(
    replica: &mut Server,
    wanted: &Transactions,
    tell: Teller<'_>,
) -> Result<(), String> {
    let flavour = replica.version.flavour;
    let mut last = (None, Instant::now());
    loop {
        let rows = replica.run(&wanted.wait(WAIT), WAIT * 3).await;
        let rows = rows.map_err(|failed| format!("{}: {}", replica.name, failed.text))?;
        let answer = rows.rows.first().and_then(|row| row.first().cloned().flatten());
        if answer.as_deref() == Some(b"0") {
            return Ok(());
        }
        let rows = replica.ask(queries::replication(&replica.version)).await?;
        let channels = queries::read_channels(&rows);
        let stopped = channels.iter().find(|channel| {
            channel.receiver == Thread::Stopped || channel.applier == Thread::Stopped
        });
        if let Some(channel) = stopped {
            let why = channel.applier_error.as_ref().or(channel.receiver_error.as_ref());
            let why = why.map_or("a thread has stopped", |why| why);
            return Err(format!("{}: it does not replicate: {why}", replica.name));
        }
        let position = replica.value(position_query(flavour, false)).await?;
        if position != last.0 {
            last = (position, Instant::now());
        } else if last.1.elapsed() > STALLED {
            return Err(format!(
                "{}: it replicates, and has applied nothing for {STALLED:?}",
                replica.name
            ));
        }
        tell(Event::Progress(format!("{} catches up", replica.name)));
    }
}

/// What it has may have come before it lost its source.
async fn receives(replica: &mut Server) -> Result<(), String> {
    let deadline = Instant::now() + REACH;
    loop {
        let rows = replica.ask(queries::replication(&replica.version)).await?;
        let channels = queries::read_channels(&rows);
        let Some(channel) = channels.iter().find(|it| it.receiver != Thread::Running) else {
            return Ok(());
        };
        if channel.receiver == Thread::Stopped || Instant::now() > deadline {
            let why = channel.receiver_error.as_ref().map_or("its receiver does not run", |it| it);
            return Err(format!("{}: it does not replicate: {why}", replica.name));
        }
        sleep(LOOK).await;
    }
}

async fn semi_sync(primary: &mut Server) -> Result<String, String> {
    let deadline = Instant::now() + SEMI_SYNC;
    loop {
        let status = primary.ask(queries::semi_sync::STATUS).await?;
        let variables = primary.ask(queries::semi_sync::VARIABLES).await?;
        match queries::semi_sync::read(&status, &variables).source {
            Some(source) if source.asynchronous().is_none() => {
                return Ok(format!(
                    "commits wait for {} of {} replicas, up to {}",
                    source.wait_for,
                    source.clients,
                    humantime::format_duration(source.timeout)
                ));
            }
            found if Instant::now() > deadline => {
                let why = match found.and_then(|source| source.asynchronous()) {
                    Some(why) => format!("{why:?}"),
                    None => "it has no such side".to_owned(),
                };
                return Err(format!(
                    "{}: replication is not semi-synchronous: {why}",
                    primary.name
                ));
            }
            _ => sleep(LOOK).await,
        }
    }
}
