//! Writes reach the primary, reads spread evenly over the replicas.

use mysql_async::prelude::Queryable;

use crate::support::{Cluster, Flavour, Proxy, marker};

crate::on_both_flavours!(reads_spread_and_writes_do_not);
crate::on_both_flavours!(what_is_refused_unread_does_not_pin);

async fn reads_spread_and_writes_do_not(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    cluster.log_statements().await;
    let (read, write) = (marker("read"), marker("write"));
    let proxy = Proxy::start(cluster, "[routing]\nslow_start = \"0s\"\nconsistency = \"eventual\"");
    let mut conn = proxy.app().await;
    conn.query_drop("CREATE TABLE IF NOT EXISTS splitting (id INT PRIMARY KEY, v INT)")
        .await
        .unwrap();
    conn.query_drop("DELETE FROM splitting").await.unwrap();
    for id in 0..10 {
        conn.query_drop(format!("INSERT INTO splitting VALUES ({id}, 1) /* {write} */"))
            .await
            .unwrap();
    }
    for _ in 0..100 {
        conn.query_drop(format!("SELECT COUNT(*) FROM splitting /* {read} */")).await.unwrap();
    }
    assert_eq!(cluster.count_logged("primary", &write).await, 10);
    assert_eq!(cluster.count_logged("primary", &read).await, 0);
    for replica in ["replica1", "replica2"] {
        assert_eq!(cluster.count_logged(replica, &write).await, 0);
        assert_eq!(cluster.count_logged(replica, &read).await, 50, "{replica}");
    }
}

/// Drivers try what the other flavour knows, and go on without it.
async fn what_is_refused_unread_does_not_pin(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    cluster.log_statements().await;
    let read = marker("unread");
    let proxy = Proxy::start(cluster, "");
    let mut conn = proxy.app().await;
    for refused in [
        "SELEC 1",
        "SET nonsense = 1",
        "SELECT GET_LOCK('unread', 0) FRM t",
        "CREATE TEMPORARY TABEL unread (a INT)",
    ] {
        conn.query_drop(refused).await.expect_err(refused);
        // One that uses no table would leave MariaDB's errors to be asked for.
        let sql = format!("SELECT COUNT(*) FROM (SELECT 1) AS one /* {read} */");
        conn.query_drop(sql).await.unwrap();
    }
    assert_eq!(cluster.count_logged("primary", &read).await, 0);
    let mut on_replicas = 0;
    for replica in ["replica1", "replica2"] {
        on_replicas += cluster.count_logged(replica, &read).await;
    }
    assert_eq!(on_replicas, 4);
}
