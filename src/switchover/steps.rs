//! The order of things, and the way back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Switchover;
use super::cast::Cast;
use super::report::{Journal, Outcome, Report};

use super::undo::{Done, take_back};
use crate::administration::{Failed, Login, PATIENCE, Place, Server, Statement, statements};
use crate::frontend::mailbox::Mail;
use crate::frontend::registry::SessionView;
use crate::gtid::{Transactions, position_query};
use crate::monitor::{Hold, queries};
use crate::routing::topology::{BackendId, Thread, Writes};
use crate::wire::Flavour;

/// How long the replica may take to catch up before writes are held.
const APPROACH: Duration = Duration::from_secs(30);
/// How long writes may wait at least, whatever `write_hold` says.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// How often sessions and the topology are looked at.
const LOOK: Duration = Duration::from_millis(5);
/// How long a replica may take to connect to its new source.
const CONNECT: Duration = Duration::from_secs(10);
/// Sessions that are named in an error.
const MOST_NAMED: usize = 5;

/// Why the switch failed, and how far it had got.
enum Failure {
    /// What was done can be taken back.
    Reversible(String),
    /// The next primary may be one already, or not.
    Uncertain(String),
}

/// Ends the hold when it is dropped.
struct Held<'a>(&'a Switchover);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.hold.send_replace(None);
    }
}

impl Switchover {
    pub(super) async fn perform(&self, mut cast: Cast, force: bool) -> Report {
        let mut journal = Journal::new(self.events.clone());
        let outcome = match self.approach(&mut cast, &mut journal).await {
            Err(reason) => Outcome::Undone { reason },
            Ok(()) => match self.switch(&mut cast, force, &mut journal).await {
                Ok((pause, position)) => {
                    self.regroup(&mut cast, &position, &mut journal).await;
                    Outcome::Done { pause }
                }
                Err(outcome) => outcome,
            },
        };
        journal.end(&cast.next.name, outcome)
    }

    /// Waits until the replica is close, while writes still go on.
    async fn approach(&self, cast: &mut Cast, journal: &mut Journal) -> Result<(), String> {
        if let Some(switches) = cast.semi_sync.as_ref().filter(|it| it.former_lacks_replica) {
            // Once it is read-only it admits no plugins.
            let install = statements::install(&switches.replica);
            let told = journal.tell(&mut cast.former, &install).await;
            told.map_err(|failed| format!("{}: {}", cast.former.name, failed.text))?;
        }
        let position = position(&mut cast.former).await?;
        let began = Instant::now();
        let caught_up = catch_up(&mut cast.next, &position, APPROACH).await;
        journal.note(
            Some(&cast.next.name),
            "apply what the primary has",
            began,
            caught_up.as_ref().err().cloned(),
        );
        caught_up
    }

    /// The part during which writes wait. Gives how long they did, and where the former primary
    /// stood at its end.
    async fn switch(
        &self,
        cast: &mut Cast,
        force: bool,
        journal: &mut Journal,
    ) -> Result<(Duration, String), Outcome> {
        let began = Instant::now();
        let write_hold = self.config.borrow().routing.write_hold;
        let deadline = began + (write_hold * 4 / 5).max(LEAST_PAUSE);
        let reason = format!("a switchover to {} holds them", cast.next.name);
        self.hold.send_replace(Some(Hold { target: cast.next.id, reason: reason.into() }));
        let held = Held(self);
        let mut done = Done::default();
        match self.take_over(cast, force, deadline, &mut done, journal).await {
            Ok(position) => {
                let seen = self.await_primary(cast.next.id, began, deadline).await;
                drop(held);
                journal.note(None, "writes go to the next primary", began, seen.clone().err());
                // It is the primary; that the monitor takes longer to see it changes nothing.
                Ok((began.elapsed(), position))
            }
            Err(Failure::Reversible(reason)) => {
                let problems = take_back(cast, &done, journal).await;
                drop(held);
                Err(match problems.is_empty() {
                    true => Outcome::Undone { reason },
                    false => Outcome::Stuck {
                        reason: format!("{reason}; and then: {}", problems.join("; ")),
                    },
                })
            }
            Err(Failure::Uncertain(reason)) => {
                drop(held);
                let (former, next) = (&cast.former.name, &cast.next.name);
                let reason = format!(
                    "{reason}; whether {next} has been promoted is not known, so {former} stays \
                     read-only"
                );
                Err(Outcome::Stuck { reason })
            }
        }
    }

    async fn take_over(
        &self,
        cast: &mut Cast,
        force: bool,
        deadline: Instant,
        done: &mut Done,
        journal: &mut Journal,
    ) -> Result<String, Failure> {
        let reversible = |error: String| Failure::Reversible(error);
        let began = Instant::now();
        let drained = self.drain(cast.former.id, force, deadline).await;
        journal.note(None, "hold writes, let transactions end", began, drained.clone().err());
        drained.map_err(reversible)?;

        let left = deadline.saturating_duration_since(Instant::now());
        // The server itself gives up before its answer is given up.
        let wait = left.as_secs().max(1);
        let bound = Statement::from(format!("SET SESSION lock_wait_timeout = {wait}"));
        cast.former.run(&bound.sql, PATIENCE).await.map_err(|it| reversible(it.text))?;
        done.former_closed = !cast.former_was_closed;
        for statement in statements::read_only(true, &cast.former.version) {
            let patience = Duration::from_secs(wait) + PATIENCE;
            let told = journal.tell_within(patience, &mut cast.former, &statement).await;
            told.map_err(|failed| in_server(&cast.former, failed))?;
        }
        let last = position(&mut cast.former).await.map_err(reversible)?;
        let began = Instant::now();
        let left = deadline.saturating_duration_since(began).max(LEAST_PAUSE);
        let caught_up = catch_up(&mut cast.next, &last, left).await;
        let problem = caught_up.as_ref().err().cloned();
        journal.note(Some(&cast.next.name), "apply the last transaction", began, problem);
        caught_up.map_err(reversible)?;

        if Instant::now() >= deadline {
            return Err(reversible("writes have waited too long".to_owned()));
        }
        let version = cast.next.version.clone();
        done.replication_stopped = true;
        self.tell_next(cast, &statements::replica("STOP", "", &version), journal).await?;
        done.next_opened = true;
        for statement in statements::read_only(false, &version) {
            self.tell_next(cast, &statement, journal).await?;
        }
        if let Some(switches) = cast.semi_sync.clone() {
            if switches.next_lacks_source {
                self.tell_next(cast, &statements::install(&switches.source), journal).await?;
            }
            done.semi_sync_on = true;
            let on = statements::set(&switches.source, "ON", &version);
            self.tell_next(cast, &on, journal).await?;
        }
        // From here on it is the primary, for the proxy and for everybody.
        let forget = statements::replica("RESET", "ALL", &version);
        match journal.tell(&mut cast.next, &forget).await {
            Ok(()) => Ok(last),
            Err(failed) if failed.is_uncertain => Err(Failure::Uncertain(format!(
                "{}: {}: {}",
                cast.next.name, forget.shown, failed.text
            ))),
            Err(failed) => Err(in_server(&cast.next, failed)),
        }
    }

    async fn tell_next(
        &self,
        cast: &mut Cast,
        statement: &Statement,
        journal: &mut Journal,
    ) -> Result<(), Failure> {
        let told = journal.tell(&mut cast.next, statement).await;
        told.map_err(|failed| in_server(&cast.next, failed))
    }

    /// Waits until nothing runs or is open on a server. With `force` it waits for statements only.
    async fn drain(&self, server: BackendId, force: bool, deadline: Instant) -> Result<(), String> {
        // Half of the time is for what comes after.
        let now = Instant::now();
        let deadline = now + deadline.saturating_duration_since(now) / 2;
        // Who keeps a connection for what it knows asks it now.
        self.registry.broadcast(Mail::RELEASE);
        loop {
            let is_held = matches!(self.topology.load().writes, Writes::Stopped(_));
            let in_the_way: Vec<SessionView> = self
                .registry
                .view()
                .into_iter()
                .filter(|session| session.backend == Some(server))
                .filter(|session| {
                    session.is_busy
                        || (!force && (session.in_transaction || !session.pins.is_empty()))
                })
                .collect();
            if is_held && in_the_way.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return match is_held {
                    true if force => Ok(()),
                    true => Err(in_the_way_of(&in_the_way)),
                    false => Err("the monitor does not answer".to_owned()),
                };
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until the monitor has seen that the roles have changed.
    pub(super) async fn await_primary(
        &self,
        next: BackendId,
        began: Instant,
        deadline: Instant,
    ) -> Result<(), String> {
        let deadline = deadline.max(Instant::now() + PATIENCE);
        loop {
            if self.topology.load().primary().is_some_and(|primary| primary.id == next) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let seconds = began.elapsed().as_secs_f64();
                return Err(format!("the proxy has not seen it {seconds:.1} s later"));
            }
            sleep(LOOK).await;
        }
    }

    /// Everybody else follows the new primary. What fails is reported, and stops nobody else.
    async fn regroup(&self, cast: &mut Cast, last: &str, journal: &mut Journal) {
        let places = cast.next.places.clone();
        let Cast { former, others, login, semi_sync, absent, .. } = cast;
        for other in others {
            let _ = follow(other, &places, None, journal).await;
        }
        let version = former.version.clone();
        let mut before = Vec::new();
        if let Some(switches) = semi_sync {
            // As a replica it would wait for replicas that it does not have.
            before.push(statements::set(&switches.source, "OFF", &version));
            before.push(statements::set(&switches.replica, "ON", &version));
        }
        if version.flavour == Flavour::MariaDb {
            // What it has written itself counts as replicated.
            let position = statements::quoted(last);
            before.push(format!("SET GLOBAL gtid_slave_pos = {position}").into());
        }
        for statement in before {
            // What matters of it shows when it follows.
            let _ = journal.tell(former, &statement).await;
        }
        let _ = follow(former, &places, Some(login), journal).await;
        for (name, error) in absent {
            let began = Instant::now();
            journal.note(Some(&*name), "follow the new primary", began, Some(error.clone()));
        }
    }
}

fn in_server(server: &Server, failed: Failed) -> Failure {
    Failure::Reversible(format!("{}: {}", server.name, failed.text))
}

fn in_the_way_of(sessions: &[SessionView]) -> String {
    let named = sessions.iter().take(MOST_NAMED).map(|session| {
        let what = match session.pins.is_empty() {
            false => session.pins.names().collect::<Vec<_>>().join(", "),
            true if session.in_transaction => "in a transaction".to_owned(),
            true => "runs a statement".to_owned(),
        };
        format!("{} ({}: {what})", session.id, session.profile.user)
    });
    let named: Vec<String> = named.collect();
    let more = match sessions.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "sessions {}{more} did not let go of the primary in time; FORCE takes it from them",
        named.join(", ")
    )
}

/// Where a primary stands, as it writes it.
async fn position(server: &mut Server) -> Result<String, String> {
    let flavour = server.version.flavour;
    let value = server.value(position_query(flavour, true)).await?.unwrap_or_default();
    match Transactions::parse(flavour, value.as_bytes()) {
        Some(_) => Ok(value),
        None => Err(format!("{}: {value:?} is no position", server.name)),
    }
}

/// Waits until a replica has applied all up to a position.
async fn catch_up(server: &mut Server, position: &str, patience: Duration) -> Result<(), String> {
    let flavour = server.version.flavour;
    let wanted = Transactions::parse(flavour, position.as_bytes())
        .ok_or_else(|| format!("{position:?} is no position"))?;
    let rows = server.run(&wanted.wait(patience), patience + PATIENCE).await;
    let rows = rows.map_err(|failed| format!("{}: {}", server.name, failed.text))?;
    let value = rows.rows.first().and_then(|row| row.first().cloned().flatten());
    match value.as_deref() {
        Some(b"0") => Ok(()),
        _ => {
            let seconds = patience.as_secs_f64();
            Err(format!("{} has not applied it within {seconds:.1} s", server.name))
        }
    }
}

/// Has a server replicate from the first of these places that it can reach.
async fn follow(
    server: &mut Server,
    places: &[Place],
    login: Option<&Login>,
    journal: &mut Journal,
) -> Result<(), Failed> {
    let version = server.version.clone();
    let mut last = Failed { text: "no place is known".to_owned(), is_uncertain: false };
    for place in places {
        journal.tell(server, &statements::replica("STOP", "", &version)).await?;
        journal.tell(server, &statements::follow(place, login, &version)).await?;
        journal.tell(server, &statements::replica("START", "", &version)).await?;
        let began = Instant::now();
        let connected = receives(server).await;
        let action = format!("receive from {}:{}", place.host, place.port);
        let problem = connected.as_ref().err().cloned();
        match problem {
            None => {
                journal.note(Some(&server.name), action, began, None);
                return Ok(());
            }
            Some(text) => last = Failed { text: format!("{action}: {text}"), is_uncertain: false },
        }
    }
    journal.note(
        Some(&server.name),
        "follow the new primary",
        Instant::now(),
        Some(last.text.clone()),
    );
    Err(last)
}

/// Waits until the receiver runs.
async fn receives(server: &mut Server) -> Result<(), String> {
    let deadline = Instant::now() + CONNECT;
    let sql = queries::replication(&server.version);
    loop {
        let channels = queries::read_channels(&server.ask(sql).await?);
        let channel = channels.first().ok_or("it has no channel")?;
        match channel.receiver {
            Thread::Running => return Ok(()),
            _ if Instant::now() < deadline && channel.receiver_error.is_none() => {}
            _ => {
                let error: Option<Arc<str>> = channel.receiver_error.clone();
                return Err(error.as_deref().unwrap_or("no connection in time").to_owned());
            }
        }
        sleep(LOOK * 10).await;
    }
}
