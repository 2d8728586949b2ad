//! Comments that say of a statement where it may run, so that the servers' general logs can judge.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mysql_async::prelude::Queryable;

use super::Cluster;

/// Where a tagged statement may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It may leave the primary, and should.
    Replica,
    /// On the primary and nowhere else.
    Primary,
    /// Wherever its session happens to be.
    Any,
}

impl Place {
    const ALL: [Place; 3] = [Place::Replica, Place::Primary, Place::Any];

    fn word(self) -> &'static str {
        match self {
            Place::Replica => "replica",
            Place::Primary => "primary",
            Place::Any => "any",
        }
    }
}

/// The tags of one test: no other test's statements carry them.
#[derive(Debug, Clone)]
pub struct Tags {
    run: String,
    user: &'static str,
}

/// Tagged statements that a server has received.
#[derive(Debug)]
pub struct Logged {
    pub place: Place,
    pub name: String,
    /// False for those that were prepared and not (or not yet) executed.
    pub executed: bool,
    pub count: u64,
}

impl Tags {
    /// For statements of the account `app`.
    pub fn new() -> Self {
        Self::of_user("app")
    }

    pub fn of_user(user: &'static str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Tags { run: format!("tag-{}-{number}", std::process::id()), user }
    }

    /// The comment for a statement; `name` is made of a-z, 0-9 and `_`.
    pub fn tag(&self, place: Place, name: &str) -> String {
        format!("/* {}:{}:{name} */", self.run, place.word())
    }

    /// The comment for a statement that is sent now; see [`sent_at`].
    pub fn stamp(&self, place: Place) -> String {
        self.tag(place, &now().as_micros().to_string())
    }

    /// What of this test's statements clients have sent to a server, by its general log.
    pub async fn logged(&self, cluster: &Cluster, server: &str) -> Vec<Logged> {
        let Tags { run, user } = self;
        let mut conn = cluster.root(server).await;
        // `user_host` leaves out what replication itself runs, and this very query.
        let rows: Vec<(String, String, u64)> = conn
            .query(format!(
                "SELECT tag, command_type, COUNT(*) FROM
                 (SELECT command_type, REGEXP_SUBSTR(CONVERT(argument USING utf8mb4),
                                                     '{run}:[a-z]+:[a-z0-9_]+') AS tag
                  FROM mysql.general_log
                  WHERE command_type IN ('Query', 'Prepare', 'Execute')
                    AND user_host LIKE '{user}[%' AND argument LIKE '%{run}:%') AS tagged
                 GROUP BY tag, command_type"
            ))
            .await
            .expect("the general log");
        let _ = conn.disconnect().await;
        rows.into_iter().map(|(tag, command, count)| read(&tag, &command, count)).collect()
    }
}

/// When a statement with a stamp for its name was sent, since 1970.
pub fn sent_at(logged: &Logged) -> Duration {
    Duration::from_micros(logged.name.parse().expect("a stamp"))
}

/// Time since 1970.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set")
}

fn read(tag: &str, command: &str, count: u64) -> Logged {
    let mut parts = tag.split(':').skip(1);
    let word = parts.next().expect("a tag has three parts");
    let place = Place::ALL.into_iter().find(|place| place.word() == word).expect("a known place");
    let name = parts.next().expect("a tag has three parts").to_owned();
    Logged { place, name, executed: command != "Prepare", count }
}
