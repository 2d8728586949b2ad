//! Many sessions at once, each a random but reproducible sequence of everything that sessions do,
//! through a proxy whose pools are far too small for them, and directly: every packet is the same.
//!
//! `DIFFERENTIAL_OPERATIONS` says how many in all (100,000 in `make soak`), `DIFFERENTIAL_SEED`
//! which, `DIFFERENTIAL_CONTEXT` how many of the operations before a difference are shown,
//! `DIFFERENTIAL_SHRINK` how many of the differences are shrunk to a short sequence.

mod operation;
mod schema;
mod session;
mod shrink;

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::support::{Cluster, Flavour, Proxy};
use operation::{Operation, operations};
use session::{Settler, Transcript, run};

crate::on_both_flavours!(random_sessions);

/// Sessions at once, and connections to each server that they share.
const SESSIONS: usize = 64;
const CONNECTIONS: usize = 8;
/// Sessions that run directly at once: the primary alone serves them.
const DIRECT: usize = 16;
/// Differences that are looked into.
const MOST: u64 = 3;

async fn random_sessions(flavour: Flavour) {
    // A table that leaves MySQL's cache forgets which auto-increment values were set aside.
    let caches = ["--", "--table-open-cache=4000", "--table-definition-cache=4000"];
    let cluster = Cluster::start(flavour, &caches);
    let total = setting("DIFFERENTIAL_OPERATIONS", 4_000);
    let seed = setting("DIFFERENTIAL_SEED", 1);
    let each = total as usize / SESSIONS;
    let plans: Vec<Arc<Vec<Operation>>> = (0..SESSIONS)
        .map(|number| Arc::new(operations(flavour, seed * 1_000_003 + number as u64, each)))
        .collect();
    let settler = Settler::connect(&cluster).await;

    schema::make(&cluster, SESSIONS).await;
    let mut direct = all(&plans, cluster.primary_address(), None, DIRECT).await;
    schema::make(&cluster, SESSIONS).await;
    cluster.settle().await;
    let proxy = Proxy::start(&cluster, &format!("[pool]\nmax_per_backend = {CONNECTIONS}"));
    let mut proxied = all(&plans, proxy.address, Some(settler.clone()), SESSIONS).await;
    let mut refused = 0;
    for (number, plan) in plans.iter().enumerate() {
        if let Some(at) = proxied[number].end_at_refusal(&mut direct[number]) {
            assert!(!plan[at].only_reads(), "session {number} was refused {:?}", plan[at]);
            refused += 1;
        }
    }

    let mut found = Vec::new();
    for (number, plan) in plans.iter().enumerate() {
        if let Some(at) = direct[number].first_difference(&proxied[number]) {
            found.push((number, at));
            eprintln!("{}", describe(number, at, plan, &direct[number], &proxied[number]));
        }
    }
    let reads: u64 = proxy.reads_on_replicas();
    eprintln!(
        "{} operations in {SESSIONS} sessions on {CONNECTIONS} connections; {reads} statements on \
         replicas; {refused} sessions ended by a refusal; {} with a difference",
        each * SESSIONS,
        found.len()
    );
    for (number, at) in found.iter().take(setting("DIFFERENTIAL_SHRINK", MOST) as usize) {
        let shortest = shrink::shrink(&cluster, &settler, &plans[*number][..=*at]).await;
        eprintln!("session {number} shrinks to\n{shortest}");
    }
    assert!(found.is_empty(), "{} sessions differ", found.len());
    assert!(reads > 0, "nothing was split");
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Runs all sessions, so many at once.
async fn all(
    plans: &[Arc<Vec<Operation>>],
    address: std::net::SocketAddr,
    settler: Option<Arc<Settler>>,
    at_once: usize,
) -> Vec<Transcript> {
    let places = Arc::new(tokio::sync::Semaphore::new(at_once));
    let mut running = JoinSet::new();
    for (number, plan) in plans.iter().enumerate() {
        let (plan, places, settler) = (plan.clone(), places.clone(), settler.clone());
        running.spawn(async move {
            let _place = places.acquire().await.expect("it is never closed");
            (number, run(address, number, &plan, settler.as_deref()).await)
        });
    }
    let mut transcripts: Vec<_> = plans.iter().map(|_| Transcript::default()).collect();
    while let Some(done) = running.join_next().await {
        let (number, transcript) = done.expect("a session does not panic");
        transcripts[number] = transcript;
    }
    transcripts
}

fn describe(
    number: usize,
    at: usize,
    plan: &[Operation],
    direct: &Transcript,
    proxied: &Transcript,
) -> String {
    let context = setting("DIFFERENTIAL_CONTEXT", 8) as usize;
    let before = plan[at.saturating_sub(context)..at].iter().map(|step| format!("    {step:?}\n"));
    format!(
        "session {number}, operation {at}: {:?}\n  directly: {}\n  proxied:  {}\n  after\n{}",
        plan[at],
        direct.at(at),
        proxied.at(at),
        before.collect::<String>()
    )
}
