//! A server that closes a connection while its client says nothing: the client of a session that is
//! bound to that connection learns of it at once, by the same words or none, as it would directly.

use mysql_async::prelude::Queryable;

use super::primary;
use crate::support::raw::{OLD, Raw, value};
use crate::support::{Cluster, Flavour, Proxy, marker};

crate::on_both_flavours!(a_connection_that_is_killed_at_its_server);
crate::on_both_flavours!(a_transaction_that_releases_its_connection);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_are_idle_for_too_long() {
    // MySQL has no such time-outs.
    let cluster = Cluster::shared(Flavour::MariaDb);
    let table = "CREATE TABLE IF NOT EXISTS app.idle (i INT); INSERT INTO app.idle VALUES (1)";
    cluster.run_on("primary", table).await;
    cluster.settle().await;
    let proxy = Proxy::start(cluster, "");
    let cases: &[&[&str]] = &[
        &["SET idle_transaction_timeout = 1", "BEGIN", "SELECT i FROM idle"],
        &["SET idle_transaction_timeout = 1", "SET autocommit = 0", "SELECT i FROM idle"],
        &["BEGIN", "INSERT INTO idle VALUES (2)", "SET idle_write_transaction_timeout = 1"],
        &[
            "SET idle_transaction_timeout = 60, idle_readonly_transaction_timeout = 1",
            "START TRANSACTION READ ONLY",
            "SELECT i FROM idle",
        ],
    ];
    for statements in cases {
        let mut ends = Vec::new();
        for address in [primary(cluster), proxy.address] {
            let mut client = Raw::app(address, OLD).await;
            for statement in *statements {
                client.ok(statement).await;
            }
            ends.push(end(&mut client).await);
        }
        assert_eq!(ends[0], ends[1], "{statements:?}");
    }
    // Outside a transaction there is no such limit.
    let mut client = Raw::app(proxy.address, OLD).await;
    client.ok("SET idle_transaction_timeout = 1").await;
    client.ok("SELECT i FROM idle").await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    client.ok("SELECT i FROM idle").await;
    let rows = client.query("SELECT COUNT(*) FROM idle WHERE i = 2").await;
    assert_eq!(value(&rows, OLD), "0", "they are rolled back");
    cluster.run_on("primary", "DROP TABLE app.idle").await;
}

async fn a_connection_that_is_killed_at_its_server(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let mut root = cluster.root("primary").await;
    let mut ends = Vec::new();
    for address in [primary(cluster), proxy.address] {
        let lock = marker("lock");
        let mut client = Raw::app(address, OLD).await;
        client.ok(&format!("SELECT GET_LOCK('{lock}', 0)")).await;
        let sql = format!("SELECT IS_USED_LOCK('{lock}')");
        let thread: Option<u64> = root.query_first(sql).await.unwrap();
        root.query_drop(format!("KILL {}", thread.expect("it has the lock"))).await.unwrap();
        ends.push(end(&mut client).await);
    }
    assert_eq!(ends[0], ends[1]);
}

/// The server closes it behind its OK; nobody else is given it.
async fn a_transaction_that_releases_its_connection(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "[pool]\nmax_per_backend = 2\nlease_timeout = \"30s\"");
    let mut bystander = Raw::app(proxy.address, OLD).await;
    for round in 0..5 {
        for statements in [
            &["COMMIT RELEASE"][..],
            &["BEGIN", "ROLLBACK WORK AND NO CHAIN RELEASE"],
            &["BEGIN", "DO 1", "commit /* now */ release"],
            &["SET completion_type = 2", "BEGIN", "COMMIT"],
        ] {
            let mut ends = Vec::new();
            for address in [primary(cluster), proxy.address] {
                let mut client = Raw::app(address, OLD).await;
                for statement in statements {
                    client.ok(statement).await;
                }
                ends.push(end(&mut client).await);
            }
            assert_eq!(ends[0], ends[1], "{statements:?}");
            bystander.ok(&format!("DO {round}")).await;
        }
    }
    let mut client = Raw::app(proxy.address, OLD).await;
    client.ok("COMMIT NO RELEASE").await;
    client.ok("DO 1").await;
}

/// What the client hears, unasked, until its connection is closed.
async fn end(client: &mut Raw) -> Vec<Vec<u8>> {
    let mut said = Vec::new();
    while let Ok(packet) = client.packet().await {
        said.push(packet.payload.to_vec());
    }
    said
}
