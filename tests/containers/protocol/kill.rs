//! KILL by the ids that the proxy gives ends what it ends on a server, and nobody else's.

mod expressions;
mod others;
mod strangers;

use tokio::time::timeout;

use super::{PATIENCE, primary, runs};
use crate::support::raw::{OLD, Outcome, Raw, error_code, value};
use crate::support::{Cluster, Flavour, Proxy, marker};

crate::on_both_flavours!(a_kill_ends_a_session_or_its_statement);
crate::on_both_flavours!(every_kill_of_a_statement_counts);
crate::on_both_flavours!(a_killed_transaction_is_rolled_back);
crate::on_both_flavours!(a_kill_that_is_refused);
crate::on_both_flavours!(a_kill_of_oneself);
crate::on_both_flavours!(an_id_of_a_server_goes_to_the_primary);

/// How long killed statements would run.
const LONG: u32 = 300;

/// What a KILL is to end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Target {
    Statement,
    Connection,
}

/// The commands that end something, with the payload for an id.
type Way = (Target, fn(u32) -> Vec<u8>);

const WAYS: [Way; 4] = [
    (Target::Statement, |id| query(&format!("KILL QUERY {id}"))),
    (Target::Connection, |id| query(&format!("KILL {id}"))),
    (Target::Connection, |id| query(&format!("kill connection {id};"))),
    (Target::Connection, process_kill),
];

fn query(sql: &str) -> Vec<u8> {
    [&[0x03], sql.as_bytes()].concat()
}

/// COM_PROCESS_KILL.
fn process_kill(id: u32) -> Vec<u8> {
    [&[0x0C], &id.to_le_bytes()[..]].concat()
}

/// A statement that runs until it is killed, and then fails (`SELECT SLEEP()` alone does not).
fn endless(place: &str, mark: &str) -> Vec<u8> {
    let lock = if place == "the primary" { "FOR UPDATE" } else { "" };
    query(&format!(
        "SELECT n FROM (SELECT 1 AS n) AS d WHERE SLEEP({LONG}) = n {lock} /* {mark} */"
    ))
}

async fn a_kill_ends_a_session_or_its_statement(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let mut bystander = Raw::app(proxy.address, OLD).await;
    bystander.send(&query("SELECT SLEEP(3)")).await;
    let mut killer = Raw::app(proxy.address, OLD).await;
    for (target, kill) in WAYS {
        for place in ["a replica", "the primary"] {
            let what = format!("{target:?} on {place}");
            let mut victim = Raw::app(proxy.address, OLD).await;
            let id: u32 =
                value(&victim.query("SELECT CONNECTION_ID()").await, OLD).parse().unwrap();
            assert_eq!(id, victim.id, "the greeting's");
            let mark = marker("killed");
            victim.send(&endless(place, &mark)).await;
            runs(cluster, &mark, true).await;
            assert_eq!(error_code(&killer.ask(&kill(id)).await), None, "{what}");
            match target {
                Target::Statement => {
                    assert_eq!(outcome(&mut victim).await, Outcome::Error(1317), "{what}");
                    assert_eq!(value(&victim.query("SELECT 7").await, OLD), "7", "{what}");
                }
                Target::Connection => {
                    // An error or not: the connection ends.
                    if outcome(&mut victim).await != Outcome::Closed {
                        assert_eq!(outcome(&mut victim).await, Outcome::Closed, "{what}");
                    }
                }
            }
            runs(cluster, &mark, false).await;
        }
    }
    // Without a statement that runs there is nothing to end, now or later.
    let mut idle = Raw::app(proxy.address, OLD).await;
    let reply = killer.query(&format!("KILL QUERY {}", idle.id)).await;
    assert_eq!(error_code(&reply), None);
    assert_eq!(value(&idle.query("SELECT 8").await, OLD), "8");
    assert_eq!(error_code(&killer.ask(&process_kill(idle.id)).await), None);
    assert_eq!(outcome(&mut idle).await, Outcome::Closed);
    assert_eq!(value(&bystander.reply(0x03, &[]).await, OLD), "0");
}

/// MySQL goes on behind a SLEEP that was killed: the next statement must be killed, too.
async fn every_kill_of_a_statement_counts(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let mut ends = Vec::new();
    for address in [primary(cluster), proxy.address] {
        let mut victim = Raw::app(address, OLD).await;
        let mut killer = Raw::app(address, OLD).await;
        let marks = [marker("first"), marker("second")];
        let [first, second] =
            marks.each_ref().map(|mark| format!("SELECT SLEEP({LONG}) /* {mark} */"));
        victim.send(&query(&format!("{first}; {second}"))).await;
        let mut seen = Vec::new();
        for mark in &marks {
            runs(cluster, mark, true).await;
            let reply = killer.query(&format!("KILL QUERY {}", victim.id)).await;
            assert_eq!(error_code(&reply), None, "{address}");
            seen.push(outcome(&mut victim).await);
            if seen.last() != Some(&Outcome::Served) {
                break;
            }
        }
        runs(cluster, &marks[1], false).await;
        ends.push(seen);
    }
    assert_eq!(ends[1], ends[0]);
}

async fn a_killed_transaction_is_rolled_back(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let mut other = Raw::app(proxy.address, OLD).await;
    other.query("DROP TABLE IF EXISTS app.killed_rows").await;
    other.query("CREATE TABLE app.killed_rows (n INT)").await;
    other.query("INSERT INTO app.killed_rows VALUES (1)").await;
    let mut victim = Raw::app(proxy.address, OLD).await;
    victim.query("BEGIN").await;
    assert_eq!(error_code(&victim.query("UPDATE app.killed_rows SET n = 10").await), None);
    let reply = other.query(&format!("KILL {}", victim.id)).await;
    assert_eq!(error_code(&reply), None);
    assert_eq!(outcome(&mut victim).await, Outcome::Closed);
    // Its lock is gone, too.
    let update = timeout(PATIENCE, other.query("UPDATE app.killed_rows SET n = n + 1"));
    assert_eq!(error_code(&update.await.expect("no lock is left")), None);
    other.query("BEGIN").await;
    assert_eq!(value(&other.query("SELECT n FROM app.killed_rows").await, OLD), "2");
    other.query("ROLLBACK").await;
    other.query("DROP TABLE app.killed_rows").await;
}

async fn a_kill_that_is_refused(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let root = Raw::login(proxy.address, "root", "root", None, OLD).await;
    let mut root = root.expect("root may log in");
    let mut app = Raw::app(proxy.address, OLD).await;
    root.send(&query("SELECT SLEEP(2)")).await;
    for (_, kill) in WAYS {
        assert_eq!(error_code(&app.ask(&kill(root.id)).await), Some(1095));
        // In the proxy's range, and nobody's.
        assert_eq!(error_code(&app.ask(&kill(root.id + 100_000)).await), Some(1094));
    }
    assert_eq!(value(&root.reply(0x03, &[]).await, OLD), "0");
    assert_eq!(value(&root.query("SELECT 9").await, OLD), "9");
}

async fn a_kill_of_oneself(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    for (target, kill) in WAYS {
        let mut outcomes = Vec::new();
        for address in [primary(cluster), proxy.address] {
            let mut client = Raw::app(address, OLD).await;
            let kill = kill(client.id);
            client.send(&kill).await;
            let answer = outcome(&mut client).await;
            let after = match answer {
                Outcome::Closed => Outcome::Closed,
                _ => client.ping().await,
            };
            outcomes.push((answer, after));
        }
        if flavour == Flavour::MySql && kill(0) == process_kill(0) {
            // MySQL 9 has it no more, the proxy serves clients that are older.
            outcomes[0] = (Outcome::Error(1317), Outcome::Closed);
        }
        assert_eq!(outcomes[1], outcomes[0], "{target:?}");
    }
}

async fn an_id_of_a_server_goes_to_the_primary(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let mut killer = Raw::app(proxy.address, OLD).await;
    for (target, kill) in WAYS {
        if flavour == Flavour::MySql && kill(0) == process_kill(0) {
            assert_eq!(error_code(&killer.ask(&kill(5)).await), Some(1047));
            continue;
        }
        let mut victim = Raw::app(primary(cluster), OLD).await;
        let mark = marker("direct");
        victim.send(&endless("the primary", &mark)).await;
        runs(cluster, &mark, true).await;
        assert_eq!(error_code(&killer.ask(&kill(victim.id)).await), None);
        let end = outcome(&mut victim).await;
        match target {
            Target::Statement => assert_eq!(end, Outcome::Error(1317)),
            Target::Connection => {
                assert!(matches!(end, Outcome::Closed | Outcome::Error(_)), "{end:?}");
            }
        }
        runs(cluster, &mark, false).await;
        // Of an id that no server has, the primary says so.
        assert_eq!(error_code(&killer.ask(&kill(900_000_000)).await), Some(1094));
    }
}

async fn outcome(client: &mut Raw) -> Outcome {
    timeout(PATIENCE, client.outcome()).await.expect("an end in time")
}
