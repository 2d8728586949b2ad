//! The plan carried out: one step after the other, each looked at afterwards by asking the servers
//! again. The first failure ends it.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::advice::advised;
use super::plan::{Action, Obstacle, Plan, Purpose, Step, plan};
use super::survey::Survey;
use super::{Setup, clone, copying, verify};
use crate::administration::statements::{Statement, quoted};
use crate::administration::{Failed, Server};
use crate::facts::State;
use crate::monitor::queries;
use crate::routing::topology::Thread;
use crate::wire::Flavour;

/// For a statement that waits for nobody but the disk.
const STATEMENT: Duration = Duration::from_secs(60);
/// For others to have done their part: open transactions to end, replicas to connect.
const OTHERS: Duration = Duration::from_secs(60);
/// For a replica that has begun to replicate to have connected.
const CONNECTING: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(200);
/// For Docker to tell that a container has ended.
const TOLD: Duration = Duration::from_millis(500);
/// More steps than any plan has.
const MOST_STEPS: usize = 10_000;

/// What is told while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    Begins(&'a Step),
    /// How far the current step is.
    Progress(String),
    /// Somebody must do something; the text says what.
    Asks(String),
    Done(&'a Step, Duration),
    Note(String),
    /// Something that was verified at the end.
    Verified(String),
}

/// Where events go.
pub type Teller<'a> = &'a (dyn Fn(Event<'_>) + Sync);

/// Why it did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    pub problem: String,
    /// What is done, in words; the next run finds it so.
    pub done: Vec<String>,
    /// What is left, as far as known.
    pub left: Vec<Step>,
    /// If the servers are no longer as they must be.
    pub obstacles: Vec<Obstacle>,
}

impl Setup {
    pub fn plan(&self, survey: &Survey) -> Result<Plan, Vec<Obstacle>> {
        plan(&survey.situation, &self.options, &self.accounts)
    }

    /// Does all that is left to do, and verifies it.
    pub async fn perform(&self, tell: Teller<'_>) -> Result<(), Stopped> {
        let mut done = Vec::new();
        let mut last: Option<Step> = None;
        let mut lock: Option<Server> = None;
        for _ in 0..MOST_STEPS {
            let survey = self.survey().await;
            let plan = self.plan(&survey).map_err(|obstacles| Stopped {
                problem: "the servers are not as they were when this was planned".to_owned(),
                done: done.clone(),
                left: Vec::new(),
                obstacles,
            })?;
            let stopped = |problem: String, done: &[String], left: &[Step]| Stopped {
                problem,
                done: done.to_vec(),
                left: left.to_vec(),
                obstacles: Vec::new(),
            };
            if lock.is_none() {
                let taken = self.lock(&survey, &plan).await;
                lock = Some(taken.map_err(|problem| stopped(problem, &done, &plan.steps))?);
            }
            let Some(step) = plan.steps.first() else {
                let verified = verify::verify(self, &survey, &plan, tell).await;
                return verified.map_err(|problem| stopped(problem, &done, &[]));
            };
            if last.as_ref().is_some_and(|last| last.is(step)) {
                let problem = format!(
                    "{}: {} was answered, and the server is as it was before",
                    step.server,
                    step.action.shown().join("; ")
                );
                return Err(stopped(problem, &done, &plan.steps));
            }
            tell(Event::Begins(step));
            let began = Instant::now();
            if let Err(problem) = self.step(step, &survey, &plan, tell).await {
                let problem = self.explained(problem, [&*step.server, &*plan.primary]).await;
                return Err(stopped(problem, &done, &plan.steps));
            }
            tell(Event::Done(step, began.elapsed()));
            done.push(format!("{}: {}", step.server, step.action.shown().join("; ")));
            last = Some(step.clone());
        }
        Err(Stopped {
            problem: "the plan has no end".to_owned(),
            done,
            left: Vec::new(),
            obstacles: Vec::new(),
        })
    }

    /// With what helps, as far as that is known: a server that has ended breaks connections before
    /// Docker has told of it.
    async fn explained(&self, problem: String, servers: [&str; 2]) -> String {
        let problem = advised(problem);
        sleep(TOLD).await;
        match servers.into_iter().find_map(|name| self.down(name)) {
            Some(down) if !problem.contains(&down.remedy) => {
                format!("{problem}; {}", down.in_words())
            }
            _ => problem,
        }
    }

    /// Two at once would disturb each other.
    async fn lock(&self, survey: &Survey, plan: &Plan) -> Result<Server, String> {
        let mut server = self.server(survey, &plan.primary).await?;
        server.take_cluster().await.map(|()| server)
    }

    /// A connection to one of those that were surveyed.
    pub(super) async fn server(&self, survey: &Survey, name: &str) -> Result<Server, String> {
        let known = survey.server(name).ok_or_else(|| format!("{name} is gone"))?;
        self.reach(known).await.map_err(|absent| absent.problem)
    }

    async fn step(
        &self,
        step: &Step,
        survey: &Survey,
        plan: &Plan,
        tell: Teller<'_>,
    ) -> Result<(), String> {
        let mut server = self.server(survey, &step.server).await?;
        match &step.action {
            Action::Tell(statements) => run(&mut server, statements, true).await,
            Action::TellReplica(statements) => {
                let is_gtid = matches!(step.purpose, Purpose::GtidMode(_));
                let deadline = Instant::now() + OTHERS;
                loop {
                    match run(&mut server, statements, false).await {
                        // Transactions without a number are still open.
                        Err(_) if is_gtid && Instant::now() < deadline => sleep(LOOK).await,
                        other => return other,
                    }
                }
            }
            Action::TellDrained(statements) => {
                let mut primary = self.server(survey, &plan.primary).await?;
                drain(&mut primary, &mut server).await?;
                run(&mut server, statements, false).await
            }
            Action::Clone(statements) => {
                clone::clone(self, survey, &plan.primary, &mut server, statements, tell).await
            }
            Action::Copy { before, loses } => {
                run(&mut server, before, false).await?;
                copying::copy(self, survey, &plan.primary, &step.server, *loses, tell).await
            }
            Action::Follow(statements) => {
                run(&mut server, statements, false).await?;
                replicates(&mut server).await
            }
            Action::Acknowledged(statements, clients) => {
                let state = survey.state(&step.server);
                acknowledging(&mut server, state, *clients).await?;
                run(&mut server, statements, false).await
            }
        }
    }
}

/// Runs statements in one session. Those that are not `logged` stay out of the binary log: replicas
/// must have no transactions of their own.
pub async fn run(
    server: &mut Server,
    statements: &[Statement],
    logged: bool,
) -> Result<(), String> {
    for statement in statements {
        let told = async {
            if !logged {
                // Each time: a connection that was lost is another session.
                server.run("SET SESSION sql_log_bin = 0", STATEMENT).await?;
            }
            server.run(&statement.sql, STATEMENT).await
        };
        told.await.map_err(|failed: Failed| {
            let uncertain = match failed.is_uncertain {
                true => " (it may have been done all the same: the next run finds out)",
                false => "",
            };
            format!("{}: {}: {}{uncertain}", server.name, statement.shown, failed.text)
        })?;
    }
    Ok(())
}

/// Waits until a replica has applied what its source has written so far, by file and offset.
async fn drain(primary: &mut Server, replica: &mut Server) -> Result<(), String> {
    let rows = primary.ask(queries::binary_log(&primary.version)).await?;
    let (Some(file), Some(offset)) = (rows.str(0, "File"), rows.u64(0, "Position")) else {
        return Err(format!("{}: it tells no position of its binary log", primary.name));
    };
    let version = (replica.version.major, replica.version.minor, replica.version.patch);
    let function = match version >= (8, 0, 26) && replica.version.flavour == Flavour::MySql {
        true => "SOURCE_POS_WAIT",
        false => "MASTER_POS_WAIT",
    };
    let seconds = OTHERS.as_secs();
    let sql = format!("SELECT {function}({}, {offset}, {seconds})", quoted(file));
    let waited = replica.run(&sql, OTHERS + STATEMENT).await;
    let waited = waited.map_err(|failed| format!("{}: {}", replica.name, failed.text))?;
    let applied = waited.rows.first().and_then(|row| row.first().cloned().flatten());
    match applied.as_deref() {
        None | Some(b"-1") => {
            Err(format!("{}: it does not apply what its source has written", replica.name))
        }
        Some(_) => Ok(()),
    }
}

/// Waits until both threads run.
async fn replicates(server: &mut Server) -> Result<(), String> {
    let deadline = Instant::now() + CONNECTING;
    loop {
        let rows = server.ask(queries::replication(&server.version)).await?;
        let channels = queries::read_channels(&rows);
        let Some(channel) = channels.first() else {
            return Err(format!("{}: it is not set up to replicate", server.name));
        };
        let runs = |thread| thread == Thread::Running;
        if runs(channel.receiver) && runs(channel.applier) {
            return Ok(());
        }
        let error = channel.receiver_error.as_ref().or(channel.applier_error.as_ref());
        // A receiver that is connecting tries again; a thread that has stopped does not.
        let has_stopped = channel.receiver == Thread::Stopped || channel.applier == Thread::Stopped;
        if (has_stopped && error.is_some()) || Instant::now() > deadline {
            let why = error.map_or("its threads do not run", |error| error);
            return Err(format!(
                "{}: it does not replicate from {}:{}: {}",
                server.name, channel.host, channel.port, why
            ));
        }
        sleep(LOOK).await;
    }
}

/// Waits until so many replicas are connected that acknowledge.
async fn acknowledging(
    server: &mut Server,
    state: Option<&State>,
    clients: u32,
) -> Result<(), String> {
    let needed = clients.max(1);
    let deadline = Instant::now() + OTHERS;
    loop {
        let status = server.ask(queries::semi_sync::STATUS).await?;
        let variables = server.ask(queries::semi_sync::VARIABLES).await?;
        let source = queries::semi_sync::read(&status, &variables).source;
        let connected = source.map_or(0, |source| source.clients);
        // The primary may count replicas that have gone, and those that nobody else knows.
        if connected >= needed {
            return Ok(());
        }
        if Instant::now() > deadline {
            let name = state.map_or_else(|| server.name.clone(), |state| state.name.clone());
            return Err(format!(
                "{name}: {connected} of {needed} replicas ask for semi-synchronous replication; \
                 START REPLICA IO_THREAD on the others, or --no-semi-sync"
            ));
        }
        sleep(LOOK).await;
    }
}
