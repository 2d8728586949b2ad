//! Docker and all servers asked, each server at the same time as the others, each question within a
//! time. Nothing is changed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::examined::{Answer, Examined, Grants, Primary, Role, Server, Settings, Silence};
use super::part::Part;
use super::proxy::Faces;
use crate::administration::{self, Access};
use crate::backend::Credential;
use crate::config::{Config, MaxPerBackend};
use crate::discovery::{self, Catalog};
use crate::facts::{self, Follows, Listed};
use crate::monitor::observation::Channel;
use crate::monitor::supervisor;
use crate::net::tls::client::ClientTls;
use crate::routing::semi_sync::SemiSync;
use crate::routing::topology::Thread;
use crate::wire::auth::Secret;

/// From a connection to its first acknowledgement.
const MOMENT: Duration = Duration::from_millis(500);
/// For one part of what a server is asked.
const PART: Duration = Duration::from_secs(10);
/// A replica that lags is not waited for any longer than this, or `max_lag` if that is shorter.
const LONGEST_LAG: Duration = Duration::from_secs(3);

/// Looks at everything.
#[derive(Debug)]
pub struct Asker {
    /// The servers, as discovery finds them.
    pub catalog: watch::Receiver<Catalog>,
    pub access: Access,
    pub settings: Settings,
    /// Where the proxy itself is to be found.
    pub faces: Faces,
}

/// A server that has answered, and the connection to it.
type Asked = (Server, Option<administration::Server>);

impl Asker {
    /// By the account of `[administrator]`, if there is one, else by the monitor's.
    pub fn new(config: &Config, tls: ClientTls, catalog: watch::Receiver<Catalog>) -> Self {
        let administrator = config.administrator.user.as_ref();
        let credential = match administrator {
            Some(user) => {
                let password = config.administrator.password.as_ref();
                let password = password.map_or("", |password| password.expose());
                Credential::new(user.as_bytes(), Secret::from_password(password))
            }
            None => supervisor::credential(&config.monitor),
        };
        let settings = Settings {
            prefix: config.docker.label_prefix.clone(),
            cluster: config.docker.cluster.clone(),
            max_lag: config.routing.max_lag,
            asker: administrator.unwrap_or(&config.monitor.user).clone(),
            is_administrator: administrator.is_some(),
            monitor: config.monitor.user.clone(),
            replication: config.replication.user.clone(),
            max_per_backend: match config.pool.max_per_backend {
                MaxPerBackend::Auto => None,
                MaxPerBackend::Fixed(most) => Some(most),
            },
            require_semi_sync: config.routing.require_semi_sync,
        };
        let access = Access { credential, tls, announce: config.listen.announces_itself() };
        Asker { catalog, access, settings, faces: Faces::of(config) }
    }

    pub async fn look(&self) -> Examined {
        let Listed { servers, problems } = facts::listed(&self.catalog).await;
        let asked = join_all(servers.into_iter().map(|known| self.ask(known)));
        let (asked, proxy) = tokio::join!(asked, self.faces.look());
        let (servers, mut connections): (Vec<Server>, Vec<_>) = asked.into_iter().unzip();
        let mut examined = Examined::new(servers, problems, self.settings.clone());
        if let Primary::One(index) = examined.primary
            && let Some(connection) = &mut connections[index]
        {
            last(&mut examined.servers[index], connection).await;
            self.of_the_primary(&mut examined.servers[index], connection).await;
            self.lag(index, &mut examined, &mut connections).await;
        }
        examined.proxy = proxy;
        examined
    }

    /// What one server tells for all.
    async fn of_the_primary(&self, primary: &mut Server, connection: &mut administration::Server) {
        let Ok(answer) = &mut primary.answer else { return };
        let name = primary.known.name.clone();
        match within(facts::tables::troublesome(connection)).await {
            Ok(troublesome) => answer.troublesome = troublesome,
            Err(problem) => {
                answer.untold.insert(Part::Tables, without_name(&name, &problem));
            }
        }
        if let Some(problem) = unseen(connection, "SELECT", "tables").await {
            answer.untold.insert(Part::Tables, problem);
        }
        if let Err(problem) = within(self.grants(connection, &mut answer.grants)).await {
            answer.untold.insert(Part::Grants, without_name(&name, &problem));
        }
    }

    async fn grants(
        &self,
        connection: &mut administration::Server,
        grants: &mut Grants,
    ) -> Result<(), String> {
        let Settings { asker, monitor, replication, is_administrator, .. } = &self.settings;
        let version = connection.version.clone();
        if *is_administrator {
            let needed = facts::privileges::of_administrator(&version);
            grants.administrator_lacks = facts::lacking(connection, needed).await?;
        }
        // Of others an account sees nothing, which would look as if they had nothing.
        if *is_administrator || asker == monitor {
            grants.monitor = facts::account(connection, monitor).await?;
        }
        if let Some(user) = replication.as_ref().filter(|_| *is_administrator) {
            grants.replication = facts::account(connection, user).await?;
        }
        Ok(())
    }

    /// Waits, on all replicas at once, until they have what the primary has had just now.
    async fn lag(
        &self,
        primary: usize,
        examined: &mut Examined,
        connections: &mut [Option<administration::Server>],
    ) {
        let Ok(answer) = &examined.servers[primary].answer else { return };
        let gtids = answer.state.gtids.clone();
        let asked =
            examined.servers.iter_mut().zip(connections).map(async |(server, connection)| {
                let limit = server.known.spec.max_lag.unwrap_or(self.settings.max_lag);
                let (Role::Replica, Ok(answer), Some(connection)) =
                    (server.role, &mut server.answer, connection)
                else {
                    return;
                };
                let is_of_one_kind = answer.state.flavour() == gtids.flavour();
                let replicates = |follows: &Follows| {
                    let Channel { receiver, applier, delay, .. } = &follows.channel;
                    *receiver == Thread::Running && *applier == Thread::Running && *delay == 0
                };
                if !is_of_one_kind || !answer.state.follows.iter().all(replicates) {
                    return;
                }
                match within(facts::clock::lag(connection, &gtids, limit.min(LONGEST_LAG))).await {
                    Ok(lag) => answer.lag = Some(lag),
                    Err(problem) => {
                        let problem = without_name(&server.known.name, &problem);
                        answer.untold.insert(Part::Lag, problem);
                    }
                }
            });
        join_all(asked).await;
    }

    async fn ask(&self, known: discovery::Server) -> Asked {
        let silent =
            |known, silence| (Server { known, role: Role::Unknown, answer: Err(silence) }, None);
        let Some(address) = known.standing.address() else {
            return silent(known, Silence::NotAsked);
        };
        let mut connection = match facts::connect(&known, address, &self.access).await {
            Ok(connection) => connection,
            Err(problem) => {
                let problem = without_name(&known.name, &problem);
                return silent(known, Silence::Failed(problem));
            }
        };
        match within(facts::state(&mut connection, &known)).await {
            Ok(state) => {
                let mut answer = Answer::new(state);
                parts(&mut connection, &mut answer).await;
                let answer = Ok(Box::new(answer));
                (Server { known, role: Role::Unknown, answer }, Some(connection))
            }
            Err(problem) => {
                let problem = without_name(&known.name, &problem);
                silent(known, Silence::Failed(problem))
            }
        }
    }
}

/// What is found of a server says whose it is anyhow.
fn without_name(name: &Arc<str>, problem: &str) -> String {
    problem
        .strip_prefix(&**name)
        .and_then(|rest| rest.strip_prefix(": "))
        .unwrap_or(problem)
        .to_owned()
}

async fn within<T>(question: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(PART, question)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {}", humantime::format_duration(PART))))
}

/// Each by itself: the account may be let to ask for some and not for others.
async fn parts(connection: &mut administration::Server, answer: &mut Answer) {
    let Answer { state, worker_errors, untold, .. } = answer;
    let name = state.name.clone();
    let mut untold = |part: Part, problem: String| {
        untold.insert(part, without_name(&name, &problem));
    };
    match within(facts::origins(connection, &state.variables)).await {
        Ok(origins) => state.origins = origins,
        Err(problem) => untold(Part::Origins, problem),
    }
    match within(facts::follows(connection)).await {
        Ok(follows) => state.follows = follows,
        Err(problem) => untold(Part::Channels, problem),
    }
    let has_failed = state.follows.iter().any(|follows| follows.channel.applier_error.is_some());
    if has_failed && state.uuid.is_some() {
        match within(facts::worker_errors(connection)).await {
            Ok(errors) => *worker_errors = errors,
            Err(problem) => untold(Part::Workers, problem),
        }
    }
    match within(facts::schemas(connection)).await {
        Ok((schemas, half_copied)) => {
            state.schemas = schemas;
            state.half_copied = half_copied;
        }
        Err(problem) => untold(Part::Schemas, problem),
    }
    match within(semi_sync(connection, &state.follows)).await {
        Ok(semi_sync) => state.semi_sync = semi_sync,
        Err(problem) => untold(Part::SemiSync, problem),
    }
    more(connection, answer).await;
}

/// A receiver that has just connected runs a moment before it acknowledges: it is asked again then.
async fn semi_sync(
    connection: &mut administration::Server,
    follows: &[Follows],
) -> Result<SemiSync, String> {
    let found = facts::semi_sync(connection).await?;
    let receives = follows.iter().any(|follows| follows.channel.receiver == Thread::Running);
    match found.replica {
        Some(side) if side.enabled && !side.active && receives => {
            sleep(MOMENT).await;
            facts::semi_sync(connection).await
        }
        _ => Ok(found),
    }
}

/// What is no part of the state that setup looks at.
async fn more(connection: &mut administration::Server, answer: &mut Answer) {
    let name = answer.state.name.clone();
    let untold = &mut answer.untold;
    let mut untold = |part: Part, problem: String| {
        untold.insert(part, without_name(&name, &problem));
    };
    match within(facts::accounts::entries(connection)).await {
        Ok(accounts) => answer.accounts = accounts,
        Err(problem) => untold(Part::Accounts, problem),
    }
    match within(facts::accounts::seen_from(connection)).await {
        Ok(host) => answer.seen_from = host,
        Err(problem) => untold(Part::Accounts, problem),
    }
    let runs_events = answer.state.variable("event_scheduler") == Some("ON");
    // A primary's are meant to run.
    if runs_events && !answer.state.follows.is_empty() {
        match within(facts::tables::events(connection)).await {
            Ok(events) => answer.events = events,
            Err(problem) => untold(Part::Events, problem),
        }
        if let Some(problem) = unseen(connection, "EVENT", "events").await {
            untold(Part::Events, problem);
        }
    }
    match within(facts::clock::skew(connection)).await {
        Ok(skew) => answer.skew = skew,
        Err(problem) => untold(Part::Clock, problem),
    }
    if answer.state.has_binary_log() {
        match within(facts::left_out(connection)).await {
            Ok(left_out) => answer.left_out = left_out,
            Err(problem) => untold(Part::LeftOut, problem),
        }
    }
}

/// Servers leave out of their lists what an account may not see, and do not say so.
async fn unseen(
    connection: &mut administration::Server,
    privilege: &'static str,
    of: &str,
) -> Option<String> {
    let lacks = within(facts::lacking(connection, &[privilege])).await.ok()?;
    let problem = format!("an account without {privilege} sees only some of the {of}");
    lacks.contains(&privilege).then_some(problem)
}

/// The primary's transactions by now: who was asked before can have nothing that it does not tell of.
async fn last(primary: &mut Server, connection: &mut administration::Server) {
    let Ok(answer) = &mut primary.answer else { return };
    match within(facts::transactions(connection)).await {
        Ok(gtids) => answer.state.gtids = gtids,
        // What it has told before would make the others look errant.
        Err(problem) => {
            let problem = without_name(&primary.known.name, &problem);
            primary.answer = Err(Silence::Failed(problem));
        }
    }
}
