//! A kill never hits whoever has the victim's connection next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::raw::{OLD, Raw, error_code};
use crate::support::{Cluster, Flavour, Proxy};

crate::on_both_flavours!(strangers_are_never_hit);

const ROUNDS: u32 = 150;
/// So few that every connection changes hands all the time.
const POOL: &str = "[pool]\nmax_per_backend = 2\nlease_timeout = \"30s\"";
const DEADLINE: Duration = Duration::from_secs(30);

async fn strangers_are_never_hit(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, POOL);
    let ended = Arc::new(AtomicBool::new(false));
    let mut strangers = JoinSet::new();
    for statement in
        ["SELECT n FROM (SELECT 5 AS n) AS d WHERE SLEEP(0.002) = 0", "DO SLEEP(0.002)"]
    {
        for _ in 0..2 {
            strangers.spawn(stranger(proxy.app_options(), statement, ended.clone()));
        }
    }
    for round in 0..ROUNDS {
        kill_in_round(&proxy, round).await;
    }
    ended.store(true, Ordering::Relaxed);
    let served: u32 = strangers.join_all().await.into_iter().sum();
    assert!(served > ROUNDS, "strangers had only {served} answers");
}

/// Kills a statement close to its end: before it, at the same time, or just too late.
async fn kill_in_round(proxy: &Proxy, round: u32) {
    let mut victim = Raw::app(proxy.address, OLD).await;
    let mut killer = Raw::app(proxy.address, OLD).await;
    let milliseconds = round % 12;
    let statement = match round % 2 {
        0 => format!("SELECT 1 FROM (SELECT 1) AS d WHERE SLEEP(0.{milliseconds:03}) = 0"),
        _ => format!("DO SLEEP(0.{milliseconds:03})"),
    };
    let statement = victim.query_payload(&statement);
    victim.send(&statement).await;
    sleep(Duration::from_millis((round % 5).into())).await;
    let connection = round.is_multiple_of(3);
    let kill = if connection { "KILL" } else { "KILL QUERY" };
    let reply = killer.query(&format!("{kill} {}", victim.id)).await;
    assert_eq!(error_code(&reply), None);
    if !connection {
        let end = timeout(DEADLINE, victim.outcome()).await;
        end.expect("the victim's statement ends");
    }
}

/// Runs a statement again and again; how often it was served, and never anything but that.
async fn stranger(options: Opts, statement: &str, ended: Arc<AtomicBool>) -> u32 {
    let mut conn = Conn::new(options).await.expect("a stranger logs in");
    let mut served = 0;
    while !ended.load(Ordering::Relaxed) {
        let rows: Vec<u32> = conn.query(statement).await.expect("a stranger is served");
        assert!(rows.is_empty() || rows == [5], "{rows:?}");
        assert_eq!(rows.is_empty(), statement.starts_with("DO"), "{statement}");
        served += 1;
    }
    served
}
