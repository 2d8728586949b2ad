//! Group Replication, with real groups of three: who is the primary, what reads see, and what
//! happens when members fail. The long ones run in `make cluster`.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use serde_json::Value;

use crate::support::chaos::docker;
use crate::support::partition::Partition;
use crate::support::writers::{self, Writers};
use crate::support::{Cluster, Flavour, Proxy, Server, eventually, marker};

/// Longer than a group takes to elect another primary.
const PATIENT: &str = "[routing]\nwrite_hold = \"1m\"\nslow_start = \"0s\"";
/// Patience for a group to part with a member, and for that to join again.
const ELECTION: Duration = Duration::from_secs(90);
/// A lost member is expelled as soon as it is noticed, not five to fifteen seconds later.
const QUICK: &str = "--loose-group-replication-member-expel-timeout=0";

/// What the proxy shows of a server.
pub fn shown<'a>(status: &'a Value, cluster: &Cluster, server: &str) -> &'a Value {
    let container = &cluster.server(server).container;
    let mut backends = status["backends"].as_array().expect("a list").iter();
    backends.find(|backend| backend["name"] == container.as_str()).expect("it is listed")
}

/// Waits until a server is the primary, and the others take reads.
pub fn await_primary(proxy: &Proxy, cluster: &Cluster, primary: &str) {
    proxy.wait_until(&format!("{primary} is the primary, the others take reads"), |status| {
        cluster.servers.iter().all(|it| {
            let shown = shown(status, cluster, &it.server);
            match it.server == primary {
                true => shown["role"] == "primary",
                false => shown["role"] == "replica" && shown["takes_reads"] == 1,
            }
        })
    });
}

/// Waits until a server takes no reads, for this reason.
pub fn await_out(proxy: &Proxy, cluster: &Cluster, server: &str, reason: &str) {
    proxy.wait_until(&format!("{server} takes no reads: {reason}"), |status| {
        let shown = shown(status, cluster, server);
        shown["takes_reads"] == 0 && shown["why_not"].to_string().contains(reason)
    });
}

/// Reads are served by all servers but one, which is told by their own logs.
pub async fn assert_split(proxy: &Proxy, cluster: &Cluster, primary: &str) {
    let marker = marker("split");
    for _ in 0..6 {
        let mut conn = proxy.app().await;
        // An odd number: a session stays where it reads, and the next one begins elsewhere.
        for _ in 0..5 {
            let text = format!("SELECT '{marker}' FROM app.written LIMIT 1");
            conn.query_drop(text).await.expect("a read");
        }
    }
    for server in &cluster.servers {
        let count = cluster.count_logged(&server.server, &marker).await;
        assert_eq!(count == 0, server.server == primary, "{}: {count} reads", server.server);
    }
}

/// Whoever writes reads it, and replicas serve these reads. Gives how many they have served.
pub async fn read_what_was_written(proxy: &Proxy, rounds: u64) -> u64 {
    let before = proxy.reads_on_replicas();
    let mut conn = proxy.app().await;
    conn.query_drop("CREATE TABLE IF NOT EXISTS app.own (id INT PRIMARY KEY, v BIGINT)")
        .await
        .expect("a table");
    conn.query_drop("REPLACE INTO app.own VALUES (1, 0)").await.expect("a row");
    for round in 1..=rounds {
        let write = format!("UPDATE app.own SET v = {round} WHERE id = 1");
        conn.query_drop(write).await.expect("a write");
        let seen: Option<u64> =
            conn.query_first("SELECT v FROM app.own WHERE id = 1").await.expect("a read");
        assert_eq!(seen, Some(round));
    }
    proxy.reads_on_replicas() - before
}

/// Who is the primary is not for the proxy to say.
pub async fn assert_no_switchover(proxy: &Proxy, cluster: &Cluster, reason: &str) {
    let statement = format!("SWITCHOVER TO {}", cluster.server("replica1").container);
    let refused = proxy.console().await.query_drop(statement).await.expect_err("it is refused");
    assert!(refused.to_string().contains(reason), "{refused}");
}

async fn start(kind: &str) -> Cluster {
    let cluster = Cluster::start(Flavour::MySql, &[kind, "--", QUICK]);
    cluster.run_on("primary", writers::TABLE).await;
    cluster.settle().await;
    cluster.log_statements().await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_followed() {
    let mut cluster = start("KIND=group").await;
    let proxy = Proxy::start(&cluster, PATIENT).ready();
    await_primary(&proxy, &cluster, "primary");
    let status = proxy.status();
    for server in &cluster.servers {
        let shown = shown(&status, &cluster, &server.server);
        assert_eq!(shown["member_state"], "ONLINE", "{shown}");
        assert_eq!(shown["warnings"], Value::Null, "{shown}");
    }
    for member in status["groups"].as_array().expect("a list") {
        assert_eq!((&member["members"], &member["reachable"]), (&3.into(), &3.into()), "{member}");
    }
    assert_split(&proxy, &cluster, "primary").await;
    let served = read_what_was_written(&proxy, 300).await;
    assert!(served > 100, "replicas have served {served} of 300");

    // A member that is stopped, and joins again.
    cluster.run_on("replica2", "STOP GROUP_REPLICATION").await;
    await_out(&proxy, &cluster, "replica2", "START GROUP_REPLICATION joins it");
    cluster.run_on("replica2", "START GROUP_REPLICATION").await;
    await_primary(&proxy, &cluster, "primary");

    // The group is told to change its primary, under load.
    assert_no_switchover(&proxy, &cluster, "group_replication_set_as_primary").await;
    let writers = Writers::start(&proxy, false);
    writers.go_on().await;
    let change = "SELECT group_replication_set_as_primary(@@server_uuid)";
    cluster.run_on("replica1", change).await;
    await_primary(&proxy, &cluster, "replica1");
    writers.go_on().await;
    // It is told to stop.
    docker(&["stop", &cluster.server("replica1").container]).await;
    writers.go_on().await;
    let outcome = writers.end().await;
    outcome.assert_unknown_at_most();
    docker(&["start", &cluster.server("replica1").container]).await;
    cluster.refresh();
    cluster.await_server("replica1").await;
    cluster.run_on("replica1", "START GROUP_REPLICATION").await;
    let serves = |status: &Value, it: &Server| {
        let shown = shown(status, &cluster, &it.server);
        shown["role"] == "primary" || shown["takes_reads"] == 1
    };
    proxy.wait_until("all serve", |it| cluster.servers.iter().all(|server| serves(it, server)));
    for server in &cluster.servers {
        outcome.assert_on(&cluster, &server.server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half a minute of elections: make cluster"]
async fn a_killed_primary_is_replaced_by_its_group() {
    let mut cluster = start("KIND=group").await;
    let proxy = Proxy::start(&cluster, PATIENT).ready();
    await_primary(&proxy, &cluster, "primary");
    let writers = Writers::start(&proxy, false);
    writers.go_on().await;
    kill(&cluster, "primary").await;
    proxy.wait_until("the group has another primary", |status| {
        ["replica1", "replica2"].iter().any(|it| shown(status, &cluster, it)["role"] == "primary")
    });
    writers.go_on().await;
    let outcome = writers.end().await;
    outcome.assert_unknown_at_most();
    assert!(outcome.most_unknown <= 1, "{} unknown outcomes in one session", outcome.most_unknown);
    let is_next = |it: &str| shown(&proxy.status(), &cluster, it)["role"] == "primary";
    let (next, other) = match is_next("replica1") {
        true => ("replica1", "replica2"),
        false => ("replica2", "replica1"),
    };
    outcome.assert_on(&cluster, next).await;

    // The killed one joins again, as a secondary.
    docker(&["start", &cluster.primary().container.clone()]).await;
    cluster.refresh();
    cluster.await_server("primary").await;
    await_out(&proxy, &cluster, "primary", "START GROUP_REPLICATION joins it");
    cluster.run_on("primary", "START GROUP_REPLICATION").await;
    await_primary(&proxy, &cluster, next);
    outcome.assert_on(&cluster, "primary").await;

    // One that sleeps while the others go on, and wakes as the primary that it no longer is.
    let writers = again(&proxy).await;
    writers.go_on().await;
    docker(&["pause", &cluster.server(next).container]).await;
    proxy.wait_until("the group has another primary", |status| {
        ["primary", other].iter().any(|it| shown(status, &cluster, it)["role"] == "primary")
    });
    writers.go_on().await;
    docker(&["unpause", &cluster.server(next).container]).await;
    proxy.wait_until("it has joined again", |status| {
        shown(status, &cluster, next)["takes_reads"] == 1
    });
    writers.go_on().await;
    let outcome = writers.end().await;
    outcome.assert_unknown_at_most();
    for server in &cluster.servers {
        outcome.assert_on(&cluster, &server.server).await;
    }

    // Without a majority nothing is written, and reads go on.
    let mut conn = proxy.app().await;
    let writer = proxy.status()["writes"]["to"].to_string();
    for server in cluster.servers.iter().filter(|it| !writer.contains(&it.container)) {
        kill(&cluster, &server.server).await;
    }
    proxy.wait_until("writes are stopped for want of a majority", |status| {
        status["writes"]["stopped"].to_string().contains("without a majority")
    });
    let count: Option<u64> =
        conn.query_first("SELECT COUNT(*) FROM app.written").await.expect("a read");
    assert!(count > Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half a minute of elections: make cluster"]
async fn a_primary_that_its_group_has_lost_is_replaced() {
    let cluster = start("KIND=group").await;
    let proxy = Proxy::start(&cluster, PATIENT).ready();
    await_primary(&proxy, &cluster, "primary");
    let writers = Writers::start(&proxy, false);
    writers.go_on().await;
    // It lives, answers the proxy, and says that it is the primary.
    let others: Vec<&str> = cluster.replicas().map(|it| &*it.ip).collect();
    let partition = Partition::between(&cluster.primary().container, &others);
    let is_next = |status: &Value, it: &str| shown(status, &cluster, it)["role"] == "primary";
    eventually("the group has another primary", ELECTION, async || {
        let status = proxy.status();
        ["replica1", "replica2"].iter().any(|it| is_next(&status, it)).then_some(())
    })
    .await;
    assert_eq!(shown(&proxy.status(), &cluster, "primary")["takes_reads"], 0);
    writers.go_on().await;
    let written = cluster.count_logged("primary", "INSERT INTO app.written").await;
    writers.go_on().await;
    let now = cluster.count_logged("primary", "INSERT INTO app.written").await;
    assert_eq!(now, written, "two servers are written");
    partition.heal();
    let next = match is_next(&proxy.status(), "replica1") {
        true => "replica1",
        false => "replica2",
    };
    eventually("it has joined again by itself", ELECTION, async || {
        let status = proxy.status();
        (shown(&status, &cluster, "primary")["takes_reads"] == 1).then_some(())
    })
    .await;
    await_primary(&proxy, &cluster, next);
    let outcome = writers.end().await;
    outcome.assert_unknown_at_most();
    assert!(outcome.most_unknown <= 1, "{} unknown outcomes in one session", outcome.most_unknown);
    for server in &cluster.servers {
        eventually(&format!("{} is in step", server.server), ELECTION, async || {
            let queue = "SELECT SUM(COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE) FROM \
                performance_schema.replication_group_member_stats";
            let queue: Option<u64> =
                cluster.root(&server.server).await.query_first(queue).await.expect("a queue");
            (queue == Some(0)).then_some(())
        })
        .await;
        outcome.assert_on(&cluster, &server.server).await;
    }
}

/// Clients that write what was written before by others.
async fn again(proxy: &Proxy) -> Writers {
    proxy.app().await.query_drop("DELETE FROM app.written").await.expect("a write");
    Writers::start(proxy, false)
}

pub async fn kill(cluster: &Cluster, server: &str) {
    docker(&["kill", "--signal", "KILL", &cluster.server(server).container]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half a minute of elections: make cluster"]
async fn of_several_primaries_one_is_written() {
    let cluster = start("KIND=multi").await;
    let proxy = Proxy::start(&cluster, PATIENT).ready();
    let first = cluster.servers.iter().min_by_key(|it| it.container.clone()).expect("servers");
    let first = first.server.clone();
    await_primary(&proxy, &cluster, &first);
    assert_split(&proxy, &cluster, &first).await;
    let writers = Writers::start(&proxy, true);
    writers.go_on().await;
    kill(&cluster, &first).await;
    writers.go_on().await;
    let outcome = writers.end().await;
    let mut written = Vec::new();
    for server in cluster.servers.iter().filter(|it| it.server != first) {
        outcome.assert_on(&cluster, &server.server).await;
        if cluster.count_logged(&server.server, "INTO app.written").await > 0 {
            written.push(&server.server);
        }
    }
    assert_eq!(written.len(), 1, "written were {written:?}");
}
