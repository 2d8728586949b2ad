//! Clients that write, alone and in transactions, and read back, while something happens to the
//! servers.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use tokio::task::JoinSet;

use super::{Cluster, Proxy, eventually};

/// What they write to: `n` tells how often a row was written.
pub const TABLE: &str = "CREATE TABLE app.written (id BIGINT PRIMARY KEY, n INT)";

const CLIENTS: u64 = 32;
/// ER_QUERY_INTERRUPTED, by which the proxy says that the outcome of a write is unknown.
const UNKNOWN: u16 = 1317;

pub struct Writers {
    stop: Arc<AtomicBool>,
    /// How many turns have ended, well or not.
    done: Arc<AtomicU64>,
    clients: JoinSet<Outcome>,
}

/// What the clients have seen.
#[derive(Default)]
pub struct Outcome {
    acknowledged: HashSet<u64>,
    /// Writes of which one error has said that nobody knows whether they were done.
    unknown: HashSet<u64>,
    errors: Vec<String>,
    has_no_connection: bool,
    /// Errors of a server's own that leave the outcome open.
    doubtful: &'static [u16],
    /// Reads on a primary that was lost meanwhile: they may have written, too, by a view.
    lost_reads: usize,
    /// The most unknown outcomes of one client.
    pub most_unknown: usize,
}

impl Writers {
    pub fn start(proxy: &Proxy, transactions: bool) -> Writers {
        Self::start_beside(proxy, transactions, &[])
    }

    /// The same, where a server that loses its group may itself answer with one of these errors,
    /// by which it does not say whether the others have the write.
    pub fn start_beside(proxy: &Proxy, transactions: bool, doubtful: &'static [u16]) -> Writers {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (stop, done) = (stop.clone(), done.clone());
            let options = proxy.app_options();
            clients.spawn(async move {
                let mut outcome = Outcome { doubtful, ..Outcome::default() };
                let mut conn = Conn::new(options).await.expect("a client");
                let mut next = client;
                while !stop.load(Ordering::Relaxed) && !outcome.has_no_connection {
                    let ids = [next, next + CLIENTS];
                    next += 2 * CLIENTS;
                    turn(&mut conn, ids, transactions, &mut outcome).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                outcome.most_unknown = outcome.unknown.len() + outcome.lost_reads;
                outcome
            });
        }
        Writers { stop, done, clients }
    }

    /// Waits until much more was done.
    pub async fn go_on(&self) {
        let before = self.done.load(Ordering::Relaxed);
        eventually("writes go on", Duration::from_secs(20), async || {
            (self.done.load(Ordering::Relaxed) > before + 200).then_some(())
        })
        .await;
    }

    pub async fn end(mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        while let Some(client) = self.clients.join_next().await {
            let client = client.expect("a client does not panic");
            all.acknowledged.extend(client.acknowledged);
            all.unknown.extend(client.unknown);
            all.errors.extend(client.errors);
            all.lost_reads += client.lost_reads;
            all.most_unknown = all.most_unknown.max(client.most_unknown);
        }
        all
    }
}

impl Outcome {
    /// Nobody has seen an error.
    pub fn assert_no_errors(&self) {
        self.assert_unknown_at_most();
        let unknown = self.unknown.len() + self.lost_reads;
        assert_eq!(unknown, 0, "the outcome of so many is unknown");
    }

    /// Nobody has seen an error but that the outcome of a statement is unknown.
    pub fn assert_unknown_at_most(&self) {
        let Outcome { errors, .. } = self;
        let kinds: HashSet<&str> =
            errors.iter().map(|error| &error[..error.len().min(200)]).collect();
        assert!(errors.is_empty(), "{} errors, of these kinds: {kinds:?}", errors.len());
    }

    /// Every acknowledged write is on this server, and nothing twice.
    pub async fn assert_on(&self, cluster: &Cluster, server: &str) {
        let mut conn = cluster.root(server).await;
        let rows: Vec<(u64, u32)> =
            conn.query("SELECT id, n FROM app.written").await.expect("the table");
        assert!(rows.iter().all(|(_, n)| *n == 1), "{server}: a write was done twice");
        let there: HashSet<u64> = rows.into_iter().map(|(id, _)| id).collect();
        let lost = self.acknowledged.difference(&there).count();
        assert_eq!(lost, 0, "{server}: acknowledged writes are lost");
        let more = there.iter().filter(|id| !self.acknowledged.contains(id));
        let unasked = more.filter(|id| !self.unknown.contains(id)).count();
        assert_eq!(unasked, 0, "{server}: writes that nobody was told of");
    }
}

/// Two writes and two reads, of which each sees its write.
async fn turn(conn: &mut Conn, ids: [u64; 2], transactions: bool, outcome: &mut Outcome) {
    let in_transaction = transactions && (ids[0] / CLIENTS).is_multiple_of(4);
    if in_transaction {
        match transaction(conn, ids).await {
            Ok(()) => outcome.acknowledged.extend(ids),
            Err(error) => outcome.note(&ids, &error),
        }
    } else {
        for id in ids {
            match write(conn, id).await {
                Ok(()) => drop(outcome.acknowledged.insert(id)),
                Err(error) => outcome.note(&[id], &error),
            }
        }
    }
    for id in ids.into_iter().filter(|id| outcome.acknowledged.contains(id)).collect::<Vec<_>>() {
        let read: Result<Option<u32>, Error> =
            conn.query_first(format!("SELECT n FROM app.written WHERE id = {id}")).await;
        match read {
            Ok(n) => assert_eq!(n, Some(1), "a session sees its own writes, done once"),
            Err(Error::Server(error)) if error.code == UNKNOWN => outcome.lost_reads += 1,
            Err(error) => outcome.note_error("a read: ", &error),
        }
    }
}

async fn transaction(conn: &mut Conn, ids: [u64; 2]) -> Result<(), Error> {
    conn.query_drop("BEGIN").await?;
    for id in ids {
        write(conn, id).await?;
    }
    conn.query_drop("COMMIT").await
}

/// As text and prepared.
async fn write(conn: &mut Conn, id: u64) -> Result<(), Error> {
    const WRITE: &str = "INSERT INTO app.written VALUES (?, 1) ON DUPLICATE KEY UPDATE n = n + 1";
    match id.is_multiple_of(3) {
        true => conn.exec_drop(WRITE, (id,)).await,
        false => conn.query_drop(WRITE.replace('?', &id.to_string())).await,
    }
}

impl Outcome {
    fn note(&mut self, ids: &[u64], error: &Error) {
        match error {
            Error::Server(error)
                if error.code == UNKNOWN || self.doubtful.contains(&error.code) =>
            {
                self.unknown.extend(ids);
            }
            error => self.note_error("", error),
        }
    }

    fn note_error(&mut self, what: &str, error: &Error) {
        // Whoever went on without one would get error upon error at once, for good.
        self.has_no_connection |= !matches!(error, Error::Server(_));
        self.errors.push(format!("{what}{error}"));
    }
}
