//! Watches the accounts of the primary and its defaults for sessions, and reads once what clients
//! are greeted with.
//!
//! Every `auth.refresh` the checksums of the grant tables are compared; only when one has changed
//! are the tables read. The connection is one of its own: a slow reading delays no probe.

mod grants;
pub mod requests;
pub mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::backend::sql_client::{QueryError, Rows, SqlClient};
use crate::config::Config;
use crate::discovery::TopologyStore;
use crate::net::tls::client::ClientTls;
use crate::routing::topology::{Address, BackendId};
use crate::session::accounts::{AccountRow, Directory};
use crate::wire::ServerVersion;
use crate::wire::handshake::Greeting;

use self::requests::Requests;
use super::supervisor::credential;

/// How long all queries of one reading may take together.
const PATIENCE: Duration = Duration::from_secs(5);
/// Least rest after a reading that failed, however many ask for another.
const REST: Duration = Duration::from_millis(100);

/// What the primary says to everybody.
#[derive(Debug, Clone)]
pub struct PrimaryProfile {
    /// Version, default collation and plugin, capabilities.
    pub greeting: Greeting,
    /// Every collation: number in a login, character set, name; in order of the numbers.
    pub collations: Vec<(u16, Box<str>, Box<str>)>,
    pub defaults: SessionDefaults,
}

/// What of a new session's settings changes how its statements are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionDefaults {
    /// `@@global.sql_mode`.
    pub sql_mode: Box<str>,
    /// `@@global.character_set_client`.
    pub character_set: Box<str>,
}

pub struct Watcher {
    pub config: watch::Receiver<Arc<Config>>,
    pub tls: ClientTls,
    pub topology: Arc<TopologyStore>,
    pub directory: watch::Sender<Arc<Directory>>,
    pub profile: watch::Sender<Option<Arc<PrimaryProfile>>>,
    pub greeting: Arc<ArcSwapOption<Greeting>>,
    /// Who needs a reading at once asks here.
    pub requests: Arc<Requests>,
}

/// Why a reading failed, in words for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct Trouble(String);

impl From<QueryError> for Trouble {
    fn from(error: QueryError) -> Self {
        Trouble(error.to_string())
    }
}

impl Watcher {
    /// Runs for ever: follows the primary, and keeps the last reading while there is none. Cancel
    /// safe.
    pub async fn run(mut self) {
        let mut reading = 0;
        let mut told: Option<Trouble> = None;
        let mut published = self.topology.subscribe();
        loop {
            published.borrow_and_update();
            let primary = self
                .topology
                .load()
                .primary()
                .and_then(|primary| Some((primary.id, primary.address.clone()?)));
            let Some((id, address)) = primary else {
                if published.changed().await.is_err() {
                    return;
                }
                continue;
            };
            if let Err(trouble) = self.follow(id, &address, &mut reading, &mut told).await {
                if told.as_ref() != Some(&trouble) {
                    tracing::warn!("the accounts of the primary cannot be read: {trouble}");
                }
                told = Some(trouble);
            }
            let rest = REST.min(self.interval());
            sleep(rest).await;
            let answered = self.directory.borrow().request();
            let _ = timeout(self.interval() - rest, self.requests.beyond(answered)).await;
        }
    }

    /// Reads from one primary, until it is another one or does not answer.
    async fn follow(
        &mut self,
        id: BackendId,
        address: &Address,
        reading: &mut u64,
        told: &mut Option<Trouble>,
    ) -> Result<(), Trouble> {
        let mut client = self.connect(address).await?;
        let mut profile = self.read_profile(&mut client).await?;
        let user = self.config.borrow().monitor.user.clone();
        let tables = Tables::find(&mut client, &user).await?;
        if let Some(advice) = &tables.advice {
            let trouble = Trouble(advice.clone());
            if told.as_ref() != Some(&trouble) {
                tracing::warn!("changed accounts are noticed only in part: {trouble}");
            }
            *told = Some(trouble);
        } else {
            *told = None;
        }
        let mut known: Option<(Checksums, Vec<Account>)> = None;
        let mut answered = None;
        while self.topology.load().primary().is_some_and(|primary| primary.id == id) {
            let deadline = Instant::now() + PATIENCE;
            // Taken before anything is read: what is asked for later may have been missed.
            let request = self.requests.last();
            let defaults = defaults(&mut client, deadline).await?;
            if defaults != profile.defaults {
                profile.defaults = defaults;
                self.profile.send_replace(Some(Arc::new(profile.clone())));
            }
            // Taken before the rows: a change in between shows next time.
            let checksums = tables.checksums(&mut client, deadline).await?;
            if known.as_ref().is_none_or(|(before, _)| *before != checksums) {
                let rows = tables.read(&mut client, deadline).await?;
                known = Some((checksums, rows));
                answered = None;
            }
            if let Some((_, rows)) = known.as_ref().filter(|_| answered != Some(request)) {
                *reading += 1;
                let directory = Directory::new(*reading, rows.clone()).answering(request);
                self.directory.send_replace(Arc::new(directory));
                answered = Some(request);
            }
            // Whether somebody asks or the time has come, the next reading is the same.
            let _ = timeout(self.interval(), self.requests.beyond(request)).await;
        }
        client.close().await;
        Ok(())
    }

    fn interval(&self) -> Duration {
        self.config.borrow().auth.refresh
    }

    async fn connect(&self, address: &Address) -> Result<SqlClient, Trouble> {
        let (monitor, announce) = {
            let config = self.config.borrow();
            (config.monitor.clone(), config.listen.announces_itself())
        };
        let deadline = Instant::now() + monitor.timeout;
        SqlClient::connect(address, &credential(&monitor), &self.tls, announce, deadline)
            .await
            .map_err(|error| Trouble(error.to_string()))
    }

    /// The greeting and the collations do not change while a server runs.
    async fn read_profile(&self, client: &mut SqlClient) -> Result<PrimaryProfile, Trouble> {
        let deadline = Instant::now() + PATIENCE;
        let rows = client.query(rows::collations(client.version()), deadline).await?;
        let profile = PrimaryProfile {
            greeting: client.greeting().clone(),
            collations: rows::read_collations(&rows),
            defaults: defaults(client, deadline).await?,
        };
        self.greeting.store(Some(Arc::new(profile.greeting.clone())));
        self.profile.send_replace(Some(Arc::new(profile.clone())));
        Ok(profile)
    }
}

async fn defaults(
    client: &mut SqlClient,
    deadline: Instant,
) -> Result<SessionDefaults, QueryError> {
    let rows = client.query(rows::DEFAULTS, deadline).await?;
    Ok(rows::read_defaults(&rows))
}

/// A user's name, and one way to log in as it.
type Account = (Vec<u8>, AccountRow);

/// A checksum of each table; `None` of one that does not exist.
type Checksums = Vec<Option<Vec<u8>>>;

/// The grant tables that this server has and lets us read.
struct Tables {
    version: ServerVersion,
    names: Vec<&'static str>,
    /// What to grant so that all could be read.
    advice: Option<String>,
}

impl Tables {
    /// Tries each table once.
    ///
    /// # Errors
    /// When the table of the accounts themselves cannot be read.
    async fn find(client: &mut SqlClient, user: &str) -> Result<Self, Trouble> {
        let version = client.version().clone();
        let deadline = Instant::now() + PATIENCE;
        let (mut names, mut missing) = (Vec::new(), Vec::new());
        for &table in rows::tables(&version) {
            match client.query(&format!("SELECT 1 FROM mysql.{table} LIMIT 0"), deadline).await {
                Ok(_) => names.push(table),
                // Not every version has every table.
                Err(QueryError::Server(error)) if error.code == 1146 => {}
                Err(QueryError::Server(error)) if matches!(error.code, 1142 | 1143 | 1044) => {
                    missing.push(format!("GRANT SELECT ON mysql.{table} TO '{user}'@'%'"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let advice = (!missing.is_empty())
            .then(|| format!("the monitor's account lacks privileges: {}", missing.join("; ")));
        match advice {
            Some(advice) if !names.contains(&rows::account_table(&version)) => Err(Trouble(advice)),
            advice => Ok(Tables { version, names, advice }),
        }
    }

    async fn checksums(
        &self,
        client: &mut SqlClient,
        deadline: Instant,
    ) -> Result<Checksums, QueryError> {
        let names: Vec<_> = self.names.iter().map(|name| format!("mysql.{name}")).collect();
        let rows = client.query(&format!("CHECKSUM TABLE {}", names.join(", ")), deadline).await?;
        Ok((0..rows.len()).map(|row| rows.get(row, "Checksum").map(<[u8]>::to_vec)).collect())
    }

    async fn read(
        &self,
        client: &mut SqlClient,
        deadline: Instant,
    ) -> Result<Vec<Account>, QueryError> {
        let mut contents: BTreeMap<&str, Rows> = BTreeMap::new();
        for &name in &self.names {
            let rows = client.query(&format!("SELECT * FROM mysql.{name}"), deadline).await?;
            contents.insert(name, rows);
        }
        Ok(rows::accounts(&contents, self.version.flavour))
    }
}
