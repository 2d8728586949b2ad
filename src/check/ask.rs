//! Docker and all servers asked, each server at the same time as the others, each question within a
//! time. Nothing is changed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;

use super::examined::{Answer, Examined, Primary, Role, Server, Settings, Silence};
use super::part::Part;
use crate::administration::{self, Access};
use crate::backend::Credential;
use crate::config::Config;
use crate::discovery::{self, Catalog};
use crate::facts::{self, Listed};
use crate::monitor::supervisor;
use crate::net::tls::client::ClientTls;
use crate::wire::auth::Secret;

/// For one part of what a server is asked.
const PART: Duration = Duration::from_secs(10);

/// Looks at everything.
#[derive(Debug)]
pub struct Asker {
    /// The servers, as discovery finds them.
    pub catalog: watch::Receiver<Catalog>,
    pub access: Access,
    pub settings: Settings,
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
        };
        let access = Access { credential, tls, announce: config.listen.announces_itself() };
        Asker { catalog, access, settings }
    }

    pub async fn look(&self) -> Examined {
        let Listed { servers, problems } = facts::listed(&self.catalog).await;
        let asked = join_all(servers.into_iter().map(|known| self.ask(known))).await;
        let (servers, mut connections): (Vec<Server>, Vec<_>) = asked.into_iter().unzip();
        let mut examined = Examined::new(servers, problems, self.settings.clone());
        if let Primary::One(index) = examined.primary
            && let Some(connection) = &mut connections[index]
        {
            last(&mut examined.servers[index], connection).await;
        }
        examined
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
    let Answer { state, worker_errors, untold } = answer;
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
    match within(facts::semi_sync(connection)).await {
        Ok(semi_sync) => state.semi_sync = semi_sync,
        Err(problem) => untold(Part::SemiSync, problem),
    }
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
