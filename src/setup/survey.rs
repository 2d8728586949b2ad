//! All servers asked at once, the primary's transactions last.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::plan::{Absent, Situation};
use super::{Setup, primary};
use crate::administration::{Access, Server};
use crate::backend::Credential;
use crate::backend::sql_client::SqlClient;
use crate::discovery::{self, Catalog, Standing};
use crate::facts::{self, Listed, Login, State, privileges};
use crate::net::tls::client::ClientTls;
use crate::routing::topology::Address;
use crate::wire::auth;

const LOGIN: Duration = Duration::from_secs(5);

/// What was found, and how those that answer are reached.
#[derive(Debug)]
pub struct Survey {
    pub situation: Situation,
    pub reached: Vec<discovery::Server>,
}

impl Survey {
    pub fn server(&self, name: &str) -> Option<&discovery::Server> {
        self.reached.iter().find(|server| *server.name == *name)
    }

    pub fn state(&self, name: &str) -> Option<&State> {
        self.situation.states.iter().find(|state| *state.name == *name)
    }
}

impl Setup {
    /// Asks everybody. Nothing is changed.
    pub async fn survey(&self) -> Survey {
        let (servers, mut absent) = listed(&self.catalog).await;
        let mut states = Vec::new();
        let mut reached = Vec::new();
        for known in servers {
            match self.ask(&known).await {
                Ok(state) => {
                    states.push(state);
                    reached.push(known);
                }
                Err(missing) => absent.push(missing),
            }
        }
        if let Ok(choice) = primary::choose(&states, &self.prefix) {
            // Those who are asked before it can have nothing that it does not tell of.
            let known = &reached[choice.primary];
            if let Err(missing) = self.complete(known, &mut states[choice.primary]).await {
                absent.push(missing);
                states.remove(choice.primary);
                reached.remove(choice.primary);
            }
        }
        let situation = Situation { states, absent, prefix: self.prefix.clone() };
        Survey { situation, reached }
    }

    async fn ask(&self, known: &discovery::Server) -> Result<State, Absent> {
        let mut server = self.reach(known).await?;
        self.state(&mut server, known).await.map_err(|problem| {
            let remedy = "see what the server says".to_owned();
            Absent { name: known.name.clone(), problem, remedy }
        })
    }

    /// Everything but the two logins, which matter on the primary alone.
    async fn state(&self, server: &mut Server, known: &discovery::Server) -> Result<State, String> {
        let mut state = facts::state(server, known).await?;
        let needed = privileges::of_administrator(&state.version);
        state.lacking = facts::lacking(server, needed).await?;
        // Without the privileges that setup needs, the rest would be refused, or look empty.
        if !state.lacking.is_empty() {
            return Ok(state);
        }
        state.origins = facts::origins(server, &state.variables).await?;
        state.follows = facts::follows(server).await?;
        facts::have_sizes_read_anew(server, &state.variables).await?;
        (state.schemas, state.half_copied) = facts::schemas(server).await?;
        state.cloning = facts::cloning(server, &state.plugins).await?;
        state.semi_sync = facts::semi_sync(server).await?;
        state.replication = facts::account(server, &self.accounts.replication.user).await?;
        state.monitor = facts::account(server, &self.accounts.monitor.user).await?;
        Ok(state)
    }

    /// A connection to a server, or why there is none.
    pub(super) async fn reach(&self, known: &discovery::Server) -> Result<Server, Absent> {
        reach(known, &self.access, &self.prefix).await
    }

    /// What Docker says that keeps a server from answering, and the remedy.
    pub(super) fn down(&self, name: &str) -> Option<Absent> {
        let servers = self.catalog.borrow().servers();
        let known = servers.iter().find(|server| *server.name == *name);
        let (problem, remedy) = match known.map(|server| &server.standing) {
            Some(Standing::NotRunning(reason)) => (reason.to_string(), wake(name, reason)),
            Some(_) => return None,
            None => ("its container is gone".to_owned(), "start it anew".to_owned()),
        };
        Some(Absent { name: name.into(), problem, remedy })
    }

    /// The primary's transactions by now, and whether the two accounts let their passwords in.
    async fn complete(&self, known: &discovery::Server, state: &mut State) -> Result<(), Absent> {
        let mut server = self.reach(known).await?;
        state.gtids = facts::transactions(&mut server).await.map_err(|problem| Absent {
            name: known.name.clone(),
            problem,
            remedy: "see what the server says".to_owned(),
        })?;
        let Some(address) = known.standing.address() else { return Ok(()) };
        for (credentials, account) in [
            (&self.accounts.replication, &mut state.replication),
            (&self.accounts.monitor, &mut state.monitor),
        ] {
            let Some(account) = account else { continue };
            let secret = auth::Secret::from_password(credentials.password.expose());
            let credential = Credential::new(credentials.user.as_bytes(), secret);
            account.login = self.try_login(address, &credential, account.requires_tls).await;
        }
        Ok(())
    }

    async fn try_login(&self, address: &Address, account: &Credential, needs_tls: bool) -> Login {
        let tls = match (&self.access.tls, needs_tls) {
            (ClientTls::Disabled, true) => ClientTls::required().unwrap_or(ClientTls::Disabled),
            (tls, _) => tls.clone(),
        };
        let deadline = Instant::now() + LOGIN;
        let announce = self.access.announce;
        match SqlClient::connect(address, account, &tls, announce, deadline).await {
            Ok(client) => {
                client.close().await;
                Login::LetIn
            }
            Err(error) => match error.server_error() {
                Some(error) if error.code == ACCESS_DENIED => Login::Refused(error.to_string()),
                // What else is wrong says nothing of the password.
                _ => Login::Untried,
            },
        }
    }
}

/// The servers that discovery knows, and what keeps it from knowing all of them.
pub async fn listed(catalog: &watch::Receiver<Catalog>) -> (Vec<discovery::Server>, Vec<Absent>) {
    let Listed { servers, problems } = facts::listed(catalog).await;
    let absent = problems.into_iter().map(|problem| Absent {
        name: "Docker".into(),
        problem: problem.to_string(),
        remedy: "let this command reach the daemon: [docker] in proxy.toml".to_owned(),
    });
    (servers, absent.collect())
}

/// A connection to a server, or why there is none. `prefix` is that of the labels.
pub async fn reach(
    known: &discovery::Server,
    access: &Access,
    prefix: &str,
) -> Result<Server, Absent> {
    let missing =
        |problem: String, remedy: String| Absent { name: known.name.clone(), problem, remedy };
    let name = &known.name;
    let address = match &known.standing {
        Standing::Running(address) | Standing::Unhealthy(address) => address,
        Standing::NotRunning(reason) => {
            return Err(missing(reason.to_string(), wake(name, reason)));
        }
        Standing::LeftOut(reason) => {
            let remedy = format!("mend what it is left out for, or take {prefix}.enable away");
            return Err(missing(reason.to_string(), remedy));
        }
    };
    facts::connect(known, address, access).await.map_err(|problem| {
        let remedy = match problem.contains("ERROR 1045") {
            true => {
                "[administrator] in proxy.toml must name an account that every server knows, \
                 with its password"
            }
            false => "see whether the server runs, and can be reached from here",
        };
        missing(problem, remedy.to_owned())
    })
}

/// What makes a container run again that does not for this reason.
pub fn wake(name: &str, reason: &str) -> String {
    let verb = if reason.contains("paused") { "unpause" } else { "start" };
    format!("docker {verb} {name}")
}

/// ER_ACCESS_DENIED_ERROR.
const ACCESS_DENIED: u16 = 1045;
