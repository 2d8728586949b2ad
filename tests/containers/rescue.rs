//! What replicas refuse: the primary answers, and the next statement of that shape goes to it at
//! once.

use mysql_async::prelude::Queryable;

use crate::support::{Cluster, Flavour, Proxy, marker};

crate::on_both_flavours!(refused_reads_go_to_the_primary_the_next_time);

async fn refused_reads_go_to_the_primary_the_next_time(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let schema = [
        "CREATE TABLE IF NOT EXISTS rescued (n INT)",
        "DROP FUNCTION IF EXISTS rescued_next",
        "CREATE FUNCTION rescued_next() RETURNS INT DETERMINISTIC MODIFIES SQL DATA \
         BEGIN INSERT INTO rescued VALUES (1); RETURN 5; END",
        "CREATE OR REPLACE VIEW rescued_view AS SELECT rescued_next() AS n",
    ];
    let mut root = cluster.root("primary").await;
    root.query_drop("USE app").await.unwrap();
    for statement in schema {
        root.query_drop(statement).await.unwrap();
    }
    // The replicas do not hear of this table.
    for statement in [
        "SET sql_log_bin = 0",
        "CREATE TABLE IF NOT EXISTS rescued_unknown (n INT)",
        "REPLACE INTO rescued_unknown VALUES (7)",
    ] {
        root.query_drop(statement).await.unwrap();
    }
    cluster.settle().await;
    cluster.log_statements().await;
    let proxy = Proxy::start(cluster, "[routing]\nslow_start = \"0s\"\nmax_lag = \"4s\"");
    let mut conn = proxy.app().await;
    for (sql, expected) in [
        ("SELECT n FROM rescued_view WHERE n <> {n}", 5),
        ("SELECT n FROM rescued_unknown WHERE n <> {n} LIMIT 1", 7),
    ] {
        let mark = marker("rescue");
        for n in 100..110 {
            let sql = format!("{} /* {mark} */", sql.replace("{n}", &n.to_string()));
            let found: Option<u32> = conn.query_first(&sql).await.unwrap();
            assert_eq!(found, Some(expected), "{sql}");
        }
        let mut on_replicas = 0;
        for replica in ["replica1", "replica2"] {
            on_replicas += cluster.count_logged(replica, &mark).await;
        }
        assert_eq!(on_replicas, 1, "{sql}");
        assert_eq!(cluster.count_logged("primary", &mark).await, 10, "{sql}");
    }
    root.query_drop("DROP TABLE rescued_unknown").await.unwrap();
}
