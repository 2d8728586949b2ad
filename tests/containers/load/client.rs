//! One client of the load: a connection whose statements are tagged, counted and watched.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Opts, Params};

use crate::support::tag::{Place, Tags};

/// No statement of the load takes long.
const DEADLINE: Duration = Duration::from_secs(15);

/// A statement that failed, or whose answer was wrong.
#[derive(Debug)]
pub struct Failure(pub String);

pub type Outcome<T = ()> = Result<T, Failure>;

/// How many statements of each kind were answered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answered {
    pub replica: u64,
    pub primary: u64,
    pub any: u64,
}

impl Answered {
    pub fn add(&mut self, other: Answered) {
        self.replica += other.replica;
        self.primary += other.primary;
        self.any += other.any;
    }

    pub fn total(self) -> u64 {
        self.replica + self.primary + self.any
    }

    fn count(&mut self, place: Place) {
        match place {
            Place::Replica => self.replica += 1,
            Place::Primary => self.primary += 1,
            Place::Any => self.any += 1,
        }
    }
}

pub struct Client {
    pub conn: Conn,
    pub answered: Answered,
    tags: Arc<Tags>,
}

impl Client {
    pub async fn connect(options: &Opts, tags: &Arc<Tags>) -> Outcome<Self> {
        let conn = watch("connect", Conn::new(options.clone())).await?;
        Ok(Client { conn, answered: Answered::default(), tags: tags.clone() })
    }

    /// Runs a statement by text and reads its results to the end.
    pub async fn run(&mut self, place: Place, name: &str, sql: &str) -> Outcome {
        let tagged = format!("{sql} {}", self.tags.tag(place, name));
        watch(&tagged, self.conn.query_drop(&tagged)).await?;
        self.answered.count(place);
        Ok(())
    }

    /// Runs several statements in one command.
    pub async fn run_together(&mut self, place: Place, name: &str, statements: &[&str]) -> Outcome {
        let tag = self.tags.tag(place, name);
        let text = statements.iter().map(|sql| format!("{sql} {tag}")).collect::<Vec<_>>();
        let text = text.join("; ");
        watch(&text, self.conn.query_drop(&text)).await?;
        self.answered.count(place);
        Ok(())
    }

    /// The first row of a statement run by text.
    pub async fn first<T>(&mut self, place: Place, name: &str, sql: &str) -> Outcome<Option<T>>
    where
        T: FromRow + Send + 'static,
    {
        let tagged = format!("{sql} {}", self.tags.tag(place, name));
        let row = watch(&tagged, self.conn.query_first(&tagged)).await?;
        self.answered.count(place);
        Ok(row)
    }

    /// The first row of a prepared statement.
    pub async fn prepared<T>(
        &mut self,
        place: Place,
        name: &str,
        sql: &str,
        parameters: impl Into<Params> + Send,
    ) -> Outcome<Option<T>>
    where
        T: FromRow + Send + 'static,
    {
        let tagged = format!("{sql} {}", self.tags.tag(place, name));
        let row = watch(&tagged, self.conn.exec_first(&tagged, parameters.into())).await?;
        self.answered.count(place);
        Ok(row)
    }

    /// Runs a statement that must fail with this error.
    pub async fn refused(&mut self, place: Place, name: &str, sql: &str, code: u16) -> Outcome {
        let tagged = format!("{sql} {}", self.tags.tag(place, name));
        match tokio::time::timeout(DEADLINE, self.conn.query_drop(&tagged)).await {
            Ok(Err(mysql_async::Error::Server(error))) if error.code == code => {
                self.answered.count(place);
                Ok(())
            }
            other => Err(Failure(format!("{tagged}: {other:?} instead of error {code}"))),
        }
    }
}

/// Fails unless an answer is the expected one.
pub fn expect<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Outcome {
    if got == expected {
        Ok(())
    } else {
        Err(Failure(format!("{what}: {got:?} instead of {expected:?}")))
    }
}

async fn watch<T, E: Display>(what: &str, work: impl Future<Output = Result<T, E>>) -> Outcome<T> {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Failure(format!("{what}: {error}"))),
        Err(_) => Err(Failure(format!("{what}: no answer within {DEADLINE:?}"))),
    }
}
