//! Mixed load, judged by the servers' general logs: no statement that belongs to the primary
//! reaches a replica, reads that may leave it do, and evenly.
//!
//! Twenty seconds of it (`SOAK_SECONDS`); `make soak` runs ten minutes.

mod client;
mod pinning;
mod schema;
mod splitting;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::Opts;
use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;

use crate::support::tag::{Logged, Place, Tags};
use crate::support::{Cluster, Flavour, Proxy};
use client::{Answered, Client, Failure, Outcome};
use pinning::Pinning;
use splitting::Splitting;

crate::on_both_flavours!(mixed_load);

const SPLITTING: usize = 16;
const PINNING: usize = 4;
/// Between a client's steps: the servers are to be watched, not to be worn out.
const PAUSE: Duration = Duration::from_millis(5);
/// More than this and something is wrong with everything.
const MOST_FAILURES: usize = 20;

async fn mixed_load(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &[]);
    schema::make(&cluster, SPLITTING + PINNING).await;
    cluster.log_statements().await;
    // How long replicas take here is this machine's affair: reads wait for them.
    let proxy = Proxy::start(&cluster, "[routing]\nwait = \"1s\"");
    let options = proxy.app_options();
    let tags = Arc::new(Tags::new());
    let total = run(&options, &tags, seconds()).await;
    for line in proxy.get("/metrics").lines().filter(|line| line.contains("rwproxy_fresh_reads")) {
        eprintln!("{line}");
    }
    assert!(total.failures.is_empty(), "{}", total.failures.join("\n"));
    check_counters(&cluster, &total.counters).await;
    judge(&cluster, &tags, total.answered).await;
}

/// Runs all clients for this long.
async fn run(options: &Opts, tags: &Arc<Tags>, duration: Duration) -> Done {
    let end = Instant::now() + duration;
    let mut clients = JoinSet::new();
    for number in 0..SPLITTING {
        clients.spawn(splitting_client(options.clone(), tags.clone(), number, end));
    }
    for number in SPLITTING..SPLITTING + PINNING {
        clients.spawn(pinning_client(options.clone(), tags.clone(), number, end));
    }
    let mut total = Done::default();
    while let Some(done) = clients.join_next().await {
        total.add(done.expect("a client does not panic"));
    }
    total
}

/// What a client has done.
#[derive(Debug, Default)]
struct Done {
    answered: Answered,
    failures: Vec<String>,
    /// Client and how often its counter was raised.
    counters: Vec<(usize, u64)>,
}

impl Done {
    fn add(&mut self, other: Done) {
        self.answered.add(other.answered);
        self.failures.extend(other.failures);
        self.counters.extend(other.counters);
    }

    /// Notes a failed step; whether to go on.
    fn note(&mut self, failure: Failure) -> bool {
        self.failures.push(failure.0);
        self.failures.len() < MOST_FAILURES
    }
}

async fn splitting_client(options: Opts, tags: Arc<Tags>, number: usize, end: Instant) -> Done {
    let mut done = Done::default();
    let client = match Client::connect(&options, &tags).await {
        Ok(client) => client,
        Err(failure) => {
            done.note(failure);
            return done;
        }
    };
    let mut client = Splitting::new(client, number);
    while Instant::now() < end {
        if let Err(failure) = client.step().await
            && !done.note(failure)
        {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    done.answered = client.client.answered;
    done.counters.push((number, client.raised));
    done
}

async fn pinning_client(options: Opts, tags: Arc<Tags>, number: usize, end: Instant) -> Done {
    let mut done = Done::default();
    let mut client = Pinning::new(options, tags, number);
    while Instant::now() < end {
        match client.step().await {
            Ok(answered) => done.answered.add(answered),
            Err(failure) => {
                if !done.note(failure) {
                    break;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    done
}

/// What was acknowledged is there, once, on every server.
async fn check_counters(cluster: &Cluster, counters: &[(usize, u64)]) {
    cluster.settle().await;
    for server in &cluster.servers {
        let mut conn = cluster.root(&server.server).await;
        conn.query_drop("USE app").await.expect("the database");
        for &(number, raised) in counters {
            let checked: Outcome = splitting::check_counter(&mut conn, number, raised).await;
            checked.unwrap_or_else(|failure| panic!("{}: {}", server.server, failure.0));
        }
    }
}

async fn judge(cluster: &Cluster, tags: &Tags, answered: Answered) {
    let mut executed = Vec::new();
    for server in &cluster.servers {
        let logged = tags.logged(cluster, &server.server).await;
        if server.role == "replica" {
            let strays: Vec<&Logged> =
                logged.iter().filter(|logged| logged.place == Place::Primary).collect();
            assert!(strays.is_empty(), "on {}: {strays:?}", server.server);
        }
        let count = |place| -> u64 {
            let of_place = |logged: &&Logged| logged.executed && logged.place == place;
            logged.iter().filter(of_place).map(|logged| logged.count).sum()
        };
        executed.push((server, count(Place::Replica), count(Place::Primary)));
    }
    let reads: u64 = executed.iter().map(|(_, reads, _)| reads).sum();
    let on_replicas: u64 =
        executed.iter().filter(|(server, ..)| server.role == "replica").map(|(_, n, _)| n).sum();
    let writes: u64 = executed.iter().map(|(_, _, writes)| writes).sum();
    eprintln!(
        "{} statements; {reads} reads, {:.2} % of them on replicas; {writes} for the primary",
        answered.total(),
        percent(on_replicas, reads),
    );
    for (server, reads, writes) in &executed {
        eprintln!("  {}: {reads} reads, {writes} for the primary", server.server);
    }
    assert!(reads >= answered.replica, "{reads} reads logged, {} answered", answered.replica);
    assert!(writes >= answered.primary, "{writes} logged, {} answered", answered.primary);
    assert!(percent(on_replicas, reads) >= 98.0, "too many reads on the primary");
    for (server, reads, _) in executed.iter().filter(|(server, ..)| server.role == "replica") {
        let share = percent(*reads, on_replicas);
        assert!((45.0..=55.0).contains(&share), "{}: {share:.2} % of the reads", server.server);
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

fn seconds() -> Duration {
    let seconds = std::env::var("SOAK_SECONDS").unwrap_or_else(|_| "20".to_owned());
    Duration::from_secs(seconds.parse().expect("SOAK_SECONDS is a number"))
}
