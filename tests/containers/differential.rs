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

/// Sessions at once.
const SESSIONS: usize = 64;

/// How a proxy keeps connections.
struct Pools {
    settings: &'static str,
    /// The same for four sessions, that they disturb each other as much as they can.
    narrow: &'static str,
}

const SHARED: Pools =
    Pools { settings: "[pool]\nmax_per_backend = 8", narrow: "[pool]\nmax_per_backend = 1" };
/// On one thread, which is another runtime than several.
const OWN: Pools = Pools {
    settings: "[listen]\nthreads = 1\n[pool]\nmode = \"session\"",
    narrow: "[pool]\nmode = \"session\"",
};
/// The part of the operations that is run with connections of each session's own, too.
const OWN_SHARE: usize = 4;
/// Sessions that run directly at once: the primary alone serves them.
const DIRECT: usize = 16;
/// Differences that are looked into.
const MOST: u64 = 3;

async fn random_sessions(flavour: Flavour) {
    // A table that leaves MySQL's cache forgets which auto-increment values were set aside, and slow
    // statements are flagged.
    let options = [
        "--",
        "--table-open-cache=4000",
        "--table-definition-cache=4000",
        "--long-query-time=3600",
    ];
    let cluster = Cluster::start(flavour, &options);
    let total = setting("DIFFERENTIAL_OPERATIONS", 4_000);
    let seed = setting("DIFFERENTIAL_SEED", 1);
    let each = total as usize / SESSIONS;
    let plans: Vec<Arc<Vec<Operation>>> = (0..SESSIONS)
        .map(|number| Arc::new(operations(flavour, seed * 1_000_003 + number as u64, each)))
        .collect();
    let settler = Settler::connect(&cluster).await;

    schema::make(&cluster, SESSIONS).await;
    let mut direct = all(&plans, cluster.primary_address(), None, DIRECT).await;
    compare(&cluster, &SHARED, &plans, &direct, &settler).await;

    // What is a session's own is given up and brought back less often: fewer tell as much.
    let beginning = |plan: &Arc<Vec<Operation>>| Arc::new(plan[..each / OWN_SHARE].to_vec());
    let plans: Vec<_> = plans.iter().map(beginning).collect();
    direct.iter_mut().for_each(|transcript| transcript.truncate(each / OWN_SHARE));
    compare(&cluster, &OWN, &plans, &direct, &settler).await;
}

/// Runs all sessions through a proxy with these pools, and fails if any answer is another.
async fn compare(
    cluster: &Cluster,
    pools: &Pools,
    plans: &[Arc<Vec<Operation>>],
    direct: &[Transcript],
    settler: &Arc<Settler>,
) {
    schema::make(cluster, SESSIONS).await;
    cluster.settle().await;
    let proxy = Proxy::start(cluster, pools.settings);
    let mut proxied = all(plans, proxy.address, Some(settler.clone()), SESSIONS).await;
    let mut direct = direct.to_vec();
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
        "{} operations in {SESSIONS} sessions, {:?}; {reads} statements on replicas; {refused} \
         sessions ended by a refusal; {} with a difference",
        plans.iter().map(|plan| plan.len()).sum::<usize>(),
        pools.settings,
        found.len()
    );
    if std::env::var_os("DIFFERENTIAL_METRICS").is_some() {
        eprintln!("{}", proxy.get("/metrics"));
    }
    for (number, at) in found.iter().take(setting("DIFFERENTIAL_SHRINK", MOST) as usize) {
        let shortest =
            shrink::shrink(cluster, pools.narrow, settler, &plans[*number][..=*at]).await;
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
