//! Readers and a writer who must not notice that a replica fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

use crate::support::tag::{Place, Tags};

const READERS: u32 = 8;
/// Rows of the table, from 0; the writer changes row 0.
pub const ROWS: u32 = 100;
/// Between two statements of a client.
const PAUSE: Duration = Duration::from_millis(3);
/// No answer of the traffic takes longer, whatever happens to one replica.
const DEADLINE: Duration = Duration::from_secs(10);

impl Report {
    /// Notes how something went that began then.
    fn take<T>(
        &mut self,
        what: String,
        began: Instant,
        outcome: Result<mysql_async::Result<T>, Elapsed>,
    ) -> Option<T> {
        let value = match outcome {
            Ok(Ok(value)) => {
                self.answered += 1;
                Some(value)
            }
            Ok(Err(error)) => {
                self.failures.push(format!("{what}: {error}"));
                None
            }
            Err(_) => {
                self.failures.push(format!("{what}: no answer within {DEADLINE:?}"));
                None
            }
        };
        self.slower(began.elapsed(), what);
        value
    }

    fn slower(&mut self, elapsed: Duration, statement: String) {
        if elapsed > self.slowest {
            self.slowest = elapsed;
            self.slowest_statement = statement;
        }
    }
}

/// Makes a statement with the stamp of the moment.
type Statement = Box<dyn Fn() -> String + Send + Sync>;

/// Clients at work until [`end`](Self::end).
pub struct Traffic {
    options: Opts,
    tags: Tags,
    ended: Arc<AtomicBool>,
    clients: JoinSet<Report>,
}

/// What the clients have met.
#[derive(Debug, Default)]
pub struct Report {
    pub answered: u64,
    pub failures: Vec<String>,
    pub slowest: Duration,
    /// What took longest: a statement, or a login.
    pub slowest_statement: String,
}

impl Traffic {
    pub fn start(options: Opts, tags: Tags) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        let mut start = |statement: Statement| {
            clients.spawn(client(options.clone(), ended.clone(), statement));
        };
        for reader in 1..=READERS {
            let tags = tags.clone();
            start(Box::new(move || {
                let stamp = tags.stamp(Place::Replica);
                format!("SELECT v FROM failures WHERE id = {reader} {stamp}")
            }));
        }
        let own = tags.clone();
        start(Box::new(move || {
            format!("UPDATE failures SET v = v + 1 WHERE id = 0 {}", own.stamp(Place::Primary))
        }));
        Traffic { options, tags, ended, clients }
    }

    /// A read that runs for this long, started now; fails if it is ended early.
    pub fn long_read(&self, duration: Duration) -> JoinHandle<Result<(), String>> {
        let (options, stamp) = (self.options.clone(), self.tags.stamp(Place::Replica));
        tokio::spawn(async move {
            let sql = format!("SELECT SLEEP({}) {stamp}", duration.as_secs_f64());
            let mut conn = Conn::new(options).await.map_err(|error| error.to_string())?;
            // SLEEP gives 1 when it is interrupted.
            match conn.query_first::<i64, _>(&sql).await {
                Ok(Some(0)) => Ok(()),
                other => Err(format!("{sql}: {other:?}")),
            }
        })
    }

    /// Ends all clients; what they have met.
    pub async fn end(mut self) -> Report {
        self.ended.store(true, Ordering::Relaxed);
        let mut report = Report::default();
        while let Some(one) = self.clients.join_next().await {
            let one = one.expect("a client does not panic");
            report.answered += one.answered;
            report.failures.extend(one.failures);
            report.slower(one.slowest, one.slowest_statement);
        }
        report
    }
}

async fn client(options: Opts, ended: Arc<AtomicBool>, statement: Statement) -> Report {
    let mut report = Report::default();
    let mut conn = None;
    while !ended.load(Ordering::Relaxed) {
        let began = Instant::now();
        match conn.take() {
            None => {
                let login = timeout(DEADLINE, Conn::new(options.clone())).await;
                conn = report.take("login".to_owned(), began, login);
            }
            Some(mut logged_in) => {
                let sql = statement();
                let answer = timeout(DEADLINE, logged_in.query_drop(&sql)).await;
                conn = report.take(sql, began, answer).map(|()| logged_in);
            }
        }
        sleep(PAUSE).await;
    }
    report
}
