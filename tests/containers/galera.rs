//! Galera, with real clusters of three nodes: one of them is written, and what happens when nodes
//! fail. The long ones run in `make cluster`.

use mysql_async::prelude::Queryable;
use serde_json::Value;

use crate::groups::{
    assert_no_switchover, assert_split, await_out, await_primary, kill, read_what_was_written,
    shown,
};
use crate::support::chaos::docker;
use crate::support::writers::{self, Writers};
use crate::support::{Cluster, Flavour, Proxy, Server};

/// Longer than a cluster takes to part with a node that is lost.
const PATIENT: &str = "[routing]\nwrite_hold = \"1m\"\nslow_start = \"0s\"";

/// What a node answers that loses its cluster while it commits: whether the others have got the
/// transaction it cannot know.
const ERROR_DURING_COMMIT: u16 = 1180;

async fn start() -> Cluster {
    let cluster = Cluster::start(Flavour::MariaDb, &["KIND=galera"]);
    cluster.run_on("primary", writers::TABLE).await;
    in_step(&cluster).await;
    cluster.log_statements().await;
    cluster
}

/// Waits until every node has what was written on any.
async fn in_step(cluster: &Cluster) {
    for server in &cluster.servers {
        let mut conn = cluster.root(&server.server).await;
        conn.query_drop("SET SESSION wsrep_sync_wait = 1").await.expect("a session variable");
        conn.query_drop("SELECT id FROM app.written LIMIT 1").await.expect("it is in step");
    }
}

/// Only one node was written by clients of the proxy.
async fn assert_written(cluster: &Cluster, writers: &[&str]) {
    for server in &cluster.servers {
        let count = cluster.count_logged(&server.server, "INSERT INTO app.written").await;
        let expected = writers.contains(&&*server.server);
        assert_eq!(count > 0, expected, "{}: {count} writes", server.server);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_is_written() {
    let cluster = start().await;
    let proxy = Proxy::start(&cluster, PATIENT).ready();
    await_primary(&proxy, &cluster, "primary");
    let status = proxy.status();
    for node in status["groups"].as_array().expect("a list") {
        assert_eq!((&node["members"], &node["member_state"]), (&3.into(), &"Synced".into()));
    }
    assert_split(&proxy, &cluster, "primary").await;
    read_what_was_written(&proxy, 300).await;
    let writers = Writers::start(&proxy, true);
    writers.go_on().await;
    let outcome = writers.end().await;
    outcome.assert_no_errors();
    assert_written(&cluster, &["primary"]).await;
    assert_no_switchover(&proxy, &cluster, "labelled primary").await;
    // Whatever is misjudged, a node that is not the writer refuses it.
    for server in ["replica1", "replica2"] {
        let closed = cluster.count_logged(server, "SET SESSION TRANSACTION READ ONLY").await;
        assert!(closed > 0, "{server} takes reads on connections that could write");
    }

    cluster.run_on("replica1", "SET GLOBAL wsrep_desync = ON").await;
    await_out(&proxy, &cluster, "replica1", "a donor, or desynced");
    cluster.run_on("replica1", "SET GLOBAL wsrep_desync = OFF").await;
    await_primary(&proxy, &cluster, "primary");

    // A writer that refuses all statements at once (1047), before the proxy has noticed: what it
    // refuses waits, and is done by the next one.
    let writers = again(&proxy, false).await;
    writers.go_on().await;
    cluster.run_on("primary", "SET GLOBAL wsrep_reject_queries = 'ALL'").await;
    await_out(&proxy, &cluster, "primary", "wsrep_reject_queries");
    writers.go_on().await;
    cluster.run_on("primary", "SET GLOBAL wsrep_reject_queries = 'NONE'").await;
    await_primary(&proxy, &cluster, "replica1");
    let outcome = writers.end().await;
    outcome.assert_unknown_at_most();
    in_step(&cluster).await;
    outcome.assert_on(&cluster, "primary").await;

    // A desynced writer loses its part, too: nobody waits for it.
    let writers = again(&proxy, false).await;
    writers.go_on().await;
    cluster.run_on("replica1", "SET GLOBAL wsrep_desync = ON").await;
    proxy.wait_until("another node is written", |status| {
        shown(status, &cluster, "primary")["role"] == "primary"
    });
    writers.go_on().await;
    let outcome = writers.end().await;
    outcome.assert_unknown_at_most();
    in_step(&cluster).await;
    outcome.assert_on(&cluster, "primary").await;
}

/// Clients that write what was written before by others.
async fn again(proxy: &Proxy, transactions: bool) -> Writers {
    proxy.app().await.query_drop("DELETE FROM app.written").await.expect("a write");
    Writers::start(proxy, transactions)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute of waiting for nodes: make cluster"]
async fn a_killed_writer_is_replaced() {
    let mut cluster = start().await;
    let proxy = Proxy::start(&cluster, PATIENT).ready();
    await_primary(&proxy, &cluster, "primary");
    let writers = Writers::start(&proxy, false);
    writers.go_on().await;
    kill(&cluster, "primary").await;
    proxy.wait_until("another node is written", |status| {
        ["replica1", "replica2"].iter().any(|it| shown(status, &cluster, it)["role"] == "primary")
    });
    writers.go_on().await;
    let outcome = writers.end().await;
    outcome.assert_unknown_at_most();
    assert!(outcome.most_unknown <= 1, "{} unknown outcomes in one session", outcome.most_unknown);
    outcome.assert_on(&cluster, "replica1").await;

    // It comes back, and is not written again. The one that gives it what it has missed is a donor,
    // so that the third may be the writer by now.
    docker(&["start", &cluster.primary().container.clone()]).await;
    cluster.refresh();
    let serve = all_serve(&cluster);
    proxy.wait_until("it takes reads, as another one does", |status| {
        serve(status) && shown(status, &cluster, "primary")["takes_reads"] == 1
    });
    cluster.log_statements().await;
    let writers = again(&proxy, true).await;
    writers.go_on().await;
    let outcome = writers.end().await;
    outcome.assert_no_errors();
    in_step(&cluster).await;
    outcome.assert_on(&cluster, "primary").await;

    // The last one of three goes on neither with writes nor with reads.
    for server in ["replica1", "replica2"] {
        kill(&cluster, server).await;
    }
    await_out(&proxy, &cluster, "primary", "not in the primary component");
    proxy.wait_until("writes are stopped", |status| {
        status["writes"]["stopped"].to_string().contains("not in the primary component")
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute of waiting for nodes: make cluster"]
async fn a_writer_that_leaves_is_replaced() {
    let cluster = start().await;
    let proxy = Proxy::start(&cluster, PATIENT).ready();
    await_primary(&proxy, &cluster, "primary");
    let writers = Writers::start_beside(&proxy, false, &[ERROR_DURING_COMMIT]);
    writers.go_on().await;

    // Cut off from the others, and from nobody else.
    let isolate = |how| format!("SET GLOBAL wsrep_provider_options = 'gmcast.isolate={how}'");
    cluster.run_on("primary", &isolate(1)).await;
    await_out(&proxy, &cluster, "primary", "not in the primary component");
    proxy.wait_until("another node is written", |status| {
        shown(status, &cluster, "replica1")["role"] == "primary"
    });
    writers.go_on().await;
    cluster.run_on("primary", &isolate(0)).await;
    proxy.wait_until("all nodes serve", all_serve(&cluster));
    writers.go_on().await;
    let outcome = writers.end().await;
    outcome.assert_unknown_at_most();
    in_step(&cluster).await;
    for server in &cluster.servers {
        outcome.assert_on(&cluster, &server.server).await;
    }

    // Told to stop.
    let writers = again(&proxy, false).await;
    writers.go_on().await;
    let status = proxy.status();
    let mut servers = cluster.servers.iter();
    let writer = servers.find(|it| shown(&status, &cluster, &it.server)["role"] == "primary");
    let writer = writer.expect("one is written");
    docker(&["stop", &writer.container]).await;
    writers.go_on().await;
    let outcome = writers.end().await;
    outcome.assert_unknown_at_most();
    let left = cluster.servers.iter().find(|it| it.server != writer.server).expect("others");
    outcome.assert_on(&cluster, &left.server).await;
}

/// One node is written, the others take reads.
fn all_serve(cluster: &Cluster) -> impl Fn(&Value) -> bool {
    |status| {
        let reads = |it: &&Server| shown(status, cluster, &it.server)["takes_reads"] == 1;
        cluster.servers.iter().filter(reads).count() == 2 && status["writes"]["to"].is_string()
    }
}
