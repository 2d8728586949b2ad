//! Makes a sequence that shows a difference as short as it gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::operation::{Operation, operations};
use super::schema::make_one;
use super::session::{Settler, run};
use crate::support::{Cluster, Proxy};

/// How long to try.
const PATIENCE: Duration = Duration::from_secs(90);
/// The session whose database serves, and those that disturb it.
const NUMBER: usize = 0;
const OTHERS: std::ops::Range<usize> = 60..63;

/// A shorter sequence that differs still, as far as one is found in time, with all its answers. A
/// shared connection to each server passes from hand to hand meanwhile.
pub async fn shrink(
    cluster: &Cluster,
    settings: &str,
    settler: &Arc<Settler>,
    plan: &[Operation],
) -> String {
    let proxy = Proxy::start(cluster, settings);
    let stop = Arc::new(AtomicBool::new(false));
    let mut others = JoinSet::new();
    for number in OTHERS {
        let (stop, address, flavour) = (stop.clone(), proxy.address, cluster.flavour);
        others.spawn(async move {
            for round in 0.. {
                let plan = operations(flavour, round * 100 + number as u64, 50);
                run(address, number, &plan, None).await;
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
    }
    let began = Instant::now();
    let mut shortest = plan.to_vec();
    let mut shown = "it differs only in company".to_owned();
    let mut chunk = shortest.len() / 2;
    while chunk > 0 && began.elapsed() < PATIENCE {
        let mut at = 0;
        while at < shortest.len() && began.elapsed() < PATIENCE {
            let end = (at + chunk).min(shortest.len());
            let candidate = [&shortest[..at], &shortest[end..]].concat();
            match difference(cluster, settler, &proxy, &candidate).await {
                Some((last, answers)) => {
                    shortest = candidate[..=last].to_vec();
                    shown = answers;
                }
                None => at = end,
            }
        }
        chunk /= 2;
    }
    stop.store(true, Ordering::Relaxed);
    while others.join_next().await.is_some() {}
    shown
}

async fn difference(
    cluster: &Cluster,
    settler: &Settler,
    proxy: &Proxy,
    plan: &[Operation],
) -> Option<(usize, String)> {
    make_one(cluster, NUMBER).await;
    let mut direct = run(cluster.primary_address(), NUMBER, plan, None).await;
    make_one(cluster, NUMBER).await;
    settler.settle().await;
    let mut proxied = run(proxy.address, NUMBER, plan, Some(settler)).await;
    proxied.end_at_refusal(&mut direct);
    let last = direct.first_difference(&proxied).filter(|at| *at < plan.len())?;
    let steps = plan[..=last].iter().enumerate().map(|(at, operation)| {
        let (direct, proxied) = (direct.at(at), proxied.at(at));
        match direct == proxied {
            true => format!("    {operation:?}\n      both: {direct}\n"),
            false => {
                format!("    {operation:?}\n      directly: {direct}\n      proxied: {proxied}\n")
            }
        }
    });
    Some((last, steps.collect()))
}
