//! One task a server: asks it over a connection of its own, and reports how that went.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::backend::sql_client::{QueryError, Rows, SqlClient};
use crate::backend::{ConnectError, Credential};
use crate::gtid::GtidSet;
use crate::net::tls::client::ClientTls;
use crate::routing::membership::Membership;
use crate::routing::semi_sync::SemiSync;
use crate::routing::topology::{Address, BackendId};
use crate::wire::proxy_header::Source;

use super::abandoned::{Abandoned, Thread};
use super::observation::{Failure, Gtids, Observation, Outcome};
use super::queries::{self, Unreadable, galera, group_replication};
use super::samples::Samples;

/// How often it is asked how semi-synchronous replication is set, and where commits do not wait
/// for it how it goes, too; and whether it belongs to a group.
const SLOW_INTERVAL: Duration = Duration::from_secs(1);
/// Between two logins that were refused: servers lock accounts after failed ones.
const REFUSED_INTERVAL: Duration = Duration::from_secs(2);
/// The longest wait between two probes that are not answered although connections can be made: each
/// may leave a thread behind in the server, which waits for the same lock.
const SILENT_INTERVAL: Duration = Duration::from_secs(5);

/// How probes are made.
#[derive(Debug, Clone)]
pub struct Settings {
    pub credential: Credential,
    /// The account's name, for advice.
    pub user: Arc<str>,
    pub tls: ClientTls,
    /// What stands ahead of a connection.
    pub announce: Option<Source>,
    pub interval: Duration,
    /// How long a connection, and then a probe, may take.
    pub timeout: Duration,
    /// Numbers what the probes find.
    pub samples: Samples,
    /// Connections that were given up, to be ended first.
    pub abandoned: Abandoned,
}

/// Probes one server for ever and sends each outcome. A probe begins when the last one has ended:
/// a server that hangs has one probe waiting and no more. Ends when nobody listens any more.
/// Cancel safe.
pub async fn run(
    id: BackendId,
    address: Address,
    settings: Settings,
    outcomes: mpsc::Sender<(BackendId, Outcome)>,
) {
    let interval = settings.interval;
    let mut probe = Probe {
        id,
        address,
        settings,
        client: None,
        semi_sync: SemiSync::default(),
        said_settings: Rows::default(),
        slow_at: None,
    };
    let mut silent = Duration::ZERO;
    // What the second waits.
    let mut place = Some(place_in_interval(id, interval));
    loop {
        let begun = Instant::now();
        let outcome = probe.ask().await;
        let wait = match &outcome {
            // The first time at once: the connection is gone, and whether the server is, too, is
            // worth knowing.
            Outcome::Failed(Failure::Silent(_)) => {
                let wait = silent;
                silent = (silent * 2).min(SILENT_INTERVAL).max(interval);
                wait
            }
            Outcome::Failed(Failure::Denied(_)) => REFUSED_INTERVAL,
            _ => {
                silent = Duration::ZERO;
                place.take().unwrap_or(interval)
            }
        };
        if outcomes.send((id, outcome)).await.is_err() {
            return;
        }
        sleep_until(begun + wait).await;
    }
}

/// Where in the interval a server is asked, so that not all are at the same moment, which would be in
/// the way of queries: each multiple of the golden ratio falls into the widest gap that others have left.
fn place_in_interval(id: BackendId, interval: Duration) -> Duration {
    interval.mul_f64((f64::from(id.0) * 0.618_034).fract())
}

struct Probe {
    id: BackendId,
    address: Address,
    settings: Settings,
    client: Option<SqlClient>,
    semi_sync: SemiSync,
    /// What it has answered last about its settings.
    said_settings: Rows,
    /// When to ask again for what is asked seldom.
    slow_at: Option<Instant>,
}

impl Probe {
    async fn ask(&mut self) -> Outcome {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => match self.connect().await {
                Ok(client) => client,
                Err(failure) => return Outcome::Failed(failure),
            },
        };
        let outcome = match self.end_abandoned(&mut client).await {
            Ok(()) => self.observe(&mut client).await,
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok(observation) => {
                self.client = Some(client);
                Outcome::Answered(Arc::new(observation))
            }
            Err(error) => {
                let failure = self.explain(&client, &error);
                if client.is_open() {
                    self.client = Some(client);
                } else {
                    self.abandon(Thread::new(
                        client.greeting().connection_id,
                        std::time::Instant::now(),
                    ));
                }
                Outcome::Failed(failure)
            }
        }
    }

    fn abandon(&self, thread: Thread) {
        self.settings.abandoned.add(self.id, thread);
    }

    /// Ends connections that were given up, the probes' own among them: nobody else would.
    async fn end_abandoned(&self, client: &mut SqlClient) -> Result<(), QueryError> {
        let threads = self.settings.abandoned.take(self.id);
        if threads.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + self.settings.timeout;
        let uptime = match client.query(queries::UPTIME, deadline).await {
            Ok(rows) => queries::read_uptime(&rows),
            Err(error) => {
                threads.into_iter().for_each(|thread| self.abandon(thread));
                return Err(error);
            }
        };
        let now = std::time::Instant::now();
        let mut threads = threads.into_iter().filter(|thread| thread.is_of(uptime, now));
        while let Some(thread) = threads.next() {
            match client.query(&format!("KILL {}", thread.number), deadline).await {
                // Most are gone already.
                Ok(_) | Err(QueryError::Server(_)) => {}
                Err(error) => {
                    self.abandon(thread);
                    threads.for_each(|thread| self.abandon(thread));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<SqlClient, Failure> {
        let Settings { credential, tls, announce, timeout, user, .. } = &self.settings;
        let deadline = Instant::now() + *timeout;
        let connected =
            SqlClient::connect(&self.address, credential, tls, *announce, deadline).await;
        self.slow_at = None;
        connected.map_err(|error| {
            let text: Arc<str> = match &error {
                ConnectError::Refused(refusal) if refusal.code == 1045 => format!(
                    "{error}: [monitor] user {user:?} and its password (password_file, \
                     password_env or RWPROXY_MONITOR_PASSWORD) are not accepted"
                )
                .into(),
                _ => error.to_string().into(),
            };
            if error.is_full() {
                Failure::Full(text)
            } else if error.is_unreachable() {
                Failure::Unreachable(text)
            } else {
                Failure::Denied(text)
            }
        })
    }

    async fn observe(&mut self, client: &mut SqlClient) -> Result<Observation, ProbeError> {
        let number = self.settings.samples.begin();
        let started = Instant::now();
        let deadline = started + self.settings.timeout;
        let version = client.version().clone();
        let is_due = self.slow_at.is_none_or(|at| at <= started);
        // What is asked each time goes together: a probe is mostly the sending and the waiting.
        let settings = is_due.then(queries::settings);
        let mut asked = vec![queries::variables(&version), queries::replication(&version)];
        asked.extend(settings.as_deref());
        // A primary that falls back is to be noticed at once.
        let commits_wait = self.semi_sync.source.is_some_and(|source| source.enabled);
        asked.extend((is_due || commits_wait).then_some(queries::semi_sync::STATUS));
        let mut answers = client.query_all(&asked, deadline).await?.into_iter();
        let mut answer = || answers.next().unwrap_or_default();
        let variables = queries::read_variables(&answer(), &version)?;
        let channels = queries::read_channels(&answer());
        if is_due {
            self.said_settings = answer();
            self.slow_at = Some(started + SLOW_INTERVAL);
        }
        let semi_sync = answers.next();
        let mut log = None;
        if variables.gtids == Gtids::None && variables.has_binary_log {
            let rows = client.query(queries::binary_log(&version), deadline).await?;
            log = queries::read_binary_log(&rows);
        }
        let (membership, received) =
            self.observe_membership(client, &variables.identity.instance, deadline).await?;
        let finished = Instant::now();
        if let Some(status) = semi_sync {
            self.read_semi_sync(client, &status, deadline).await?;
        }
        Ok(Observation {
            number,
            started: started.into_std(),
            finished: finished.into_std(),
            version,
            identity: variables.identity,
            read_only: variables.read_only,
            gtids: variables.gtids,
            committing: variables.committing,
            log,
            channels,
            max_connections: variables.max_connections,
            semi_sync: self.semi_sync,
            membership,
            received,
        })
    }

    /// Asked at each probe where there is a group: a majority is lost from one to the next.
    async fn observe_membership(
        &self,
        client: &mut SqlClient,
        instance: &str,
        deadline: Instant,
    ) -> Result<(Membership, Option<Arc<GtidSet>>), ProbeError> {
        let settings = &self.said_settings;
        if galera::is_set_up(settings) {
            let status = client.query(galera::STATUS, deadline).await?;
            return Ok((Membership::Galera(Arc::new(galera::read(settings, &status))), None));
        }
        let Some(group) = group_replication::group(settings) else {
            return Ok((Membership::Alone, None));
        };
        let rows = client.query(group_replication::MEMBERS, deadline).await;
        let rows = rows.map_err(ProbeError::Group)?;
        let member = group_replication::read(group, settings, &rows, instance)?;
        let mut received = None;
        if member.is_active() {
            let rows = client.query(group_replication::RECEIVED, deadline).await;
            let rows = rows.map_err(ProbeError::Group)?;
            received = Some(group_replication::read_received(&rows)?);
        }
        Ok((Membership::Group(Arc::new(member)), received))
    }

    async fn read_semi_sync(
        &mut self,
        client: &mut SqlClient,
        status: &Rows,
        deadline: Instant,
    ) -> Result<(), ProbeError> {
        let was_active = self.semi_sync.source.map(|source| source.active);
        let mut found = queries::semi_sync::read(status, &self.said_settings);
        // It also stops working when it is switched off: the two belong together.
        if found.source.map(|source| source.active) != was_active {
            self.said_settings = client.query(&queries::settings(), deadline).await?;
            found = queries::semi_sync::read(status, &self.said_settings);
        }
        self.semi_sync = found;
        Ok(())
    }

    fn explain(&self, client: &SqlClient, error: &ProbeError) -> Failure {
        match error {
            ProbeError::Group(QueryError::Server(refusal)) if refusal.code == 1142 => {
                let grants = group_replication::grants(&self.settings.user);
                Failure::Denied(format!("{error}; {grants} mends it").into())
            }
            ProbeError::Query(QueryError::Server(refusal))
            | ProbeError::Group(QueryError::Server(refusal)) => match refusal.code {
                // Killed, or the server shuts down.
                1053 | 1317 | 1927 | 3169 | 4031 => Failure::Silent(error.to_string().into()),
                1142..=1143 | 1227 => {
                    let grant = queries::grant(client.version(), &self.settings.user);
                    Failure::Denied(format!("{error}; {grant} mends it").into())
                }
                _ => Failure::Denied(error.to_string().into()),
            },
            ProbeError::Unreadable(_) => Failure::Denied(error.to_string().into()),
            ProbeError::Query(_) | ProbeError::Group(_) => {
                Failure::Silent(format!("the last probe was not answered: {error}").into())
            }
        }
    }
}

/// Why a probe on an open connection failed.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error(transparent)]
    Query(#[from] QueryError),
    /// What is asked of a member of a group alone.
    #[error(transparent)]
    Group(QueryError),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_asked_apart() {
        let interval = Duration::from_millis(100);
        for count in 2..9 {
            let mut places: Vec<_> =
                (1..=count).map(|id| place_in_interval(BackendId(id), interval)).collect();
            places.sort();
            places.push(places[0] + interval);
            for pair in places.windows(2) {
                assert!((pair[1] - pair[0]) * count > interval / 3, "{places:?}");
            }
        }
    }
}
