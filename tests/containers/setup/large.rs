//! A gigabyte on the primary, copied while it is written: no row differs afterwards, by the audit and by the
//! servers' own counts and checksums.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;

use super::fleet::{Fleet, VOLUME};
use super::{Load, NAMES, fill};
use crate::support::Flavour;

crate::on_both_flavours!(
    #[ignore = "a gigabyte: make soak"]
    a_gigabyte_under_load
);

/// Rows of some 240 bytes that are added at once, and how often: a gigabyte in all.
const ADDED: u32 = 65_536;
const TIMES: u32 = 64;
/// For each of the commands, by a build that is not optimized.
const LONGEST: Duration = Duration::from_secs(1200);

async fn a_gigabyte_under_load(flavour: Flavour) {
    let mut fleet = Fleet::new(flavour, "large");
    for (server, number) in NAMES.into_iter().zip(1..) {
        let mut options = fleet.needed(number);
        options.extend(["--innodb-buffer-pool-size=512M", "--max-binlog-size=256M"]);
        if flavour == Flavour::MySql {
            options.push("--innodb-redo-log-capacity=512M");
        }
        let role = if number == 1 { "primary" } else { "replica" };
        fleet.launch(server, role, VOLUME, &options);
    }
    for server in NAMES {
        fleet.await_server(server).await;
    }
    fill(&fleet).await;
    fill_up(&fleet).await;
    let bytes = bytes(&fleet).await;
    assert!(bytes > 1_000_000_000, "{bytes} bytes are no gigabyte");

    let load = Load::start(&fleet);
    let changes = Load::of(&fleet, |id| {
        vec![
            "BEGIN".to_owned(),
            format!(
                "INSERT INTO mixed (d, b, j, e) VALUES ({id}.5, UNHEX(SHA2({id}, 256)), '{{}}', 'b')"
            ),
            format!("UPDATE mixed SET d = d + 1, t = NOW(6) WHERE id = {}", id * 13),
            "COMMIT".to_owned(),
            format!("DELETE FROM mixed WHERE id = {}", id * 17),
            format!("UPDATE filled SET t = REVERSE(t) WHERE id BETWEEN {id} AND {id} + 5"),
        ]
    });
    let began = Instant::now();
    let done = fleet.setup_within(LONGEST, &["--yes"]).await;
    assert!(done.code == 0 && done.text.contains("Done: all of this is so."), "{done:?}");
    let took = began.elapsed();
    let written = [load.end().await, changes.end().await];
    assert!(written.iter().all(|count| *count > 1000), "{written:?} writes");
    eprintln!("{flavour:?}: {bytes} bytes in {took:.1?}, turns written meanwhile: {written:?}");

    for table in ["app.filled", "app.written", "app.mixed"] {
        fleet.alike(&NAMES, table).await;
    }
    let began = Instant::now();
    let audit = fleet.audit(LONGEST).await;
    assert!(audit.code == 0, "{audit:?}");
    assert!(audit.text.contains("the replicas hold what the primary holds"), "{audit:?}");
    eprintln!("{flavour:?}: compared in {:.1?}: {audit:?}", began.elapsed());

    // Neither way of comparing is blind.
    let mut root = fleet.unlogged_root("replica2").await;
    if flavour == Flavour::MySql {
        root.query_drop("SET GLOBAL super_read_only = OFF").await.expect("root may write");
    }
    root.query_drop("UPDATE app.mixed SET b = 'x' WHERE id = 4242").await.expect("damage");
    let audit = fleet.audit(LONGEST).await;
    let found = audit.text.contains("app.mixed: the row `id` = 4242 differs");
    assert!(audit.code == 2 && found, "{audit:?}");
}

/// Rows of several types, and many of `filled`'s.
async fn fill_up(fleet: &Fleet) {
    let mut root = fleet.root("primary").await;
    for statement in [
        "CREATE TABLE app.mixed (id BIGINT AUTO_INCREMENT PRIMARY KEY, d DECIMAL(20, 6), \
         b VARBINARY(64), j JSON, t TIMESTAMP(6) DEFAULT NOW(6), e ENUM('a', 'b'), f DOUBLE)",
        "INSERT INTO app.mixed (d, b, j, e, f) SELECT id / 7, UNHEX(SHA2(t, 256)), \
         CONCAT('[', id, ']'), 'a', SQRT(id) FROM app.filled",
    ] {
        root.query_drop(statement).await.expect("data");
    }
    for _ in 0..TIMES {
        let add = format!(
            "INSERT INTO app.filled (t) SELECT CONCAT(RAND(), LEFT(t, 200)) FROM app.filled \
             LIMIT {ADDED}"
        );
        root.query_drop(add).await.expect("data");
    }
}

/// What the primary's own statistics, made anew, say that the schema takes.
async fn bytes(fleet: &Fleet) -> u64 {
    let mut root = fleet.root("primary").await;
    root.query_drop("ANALYZE TABLE app.filled, app.mixed").await.expect("statistics");
    // MySQL shows those of a day ago otherwise, and MariaDB knows no such variable.
    let _ = root.query_drop("SET SESSION information_schema_stats_expiry = 0").await;
    let sql = "SELECT CAST(SUM(DATA_LENGTH) AS UNSIGNED) FROM information_schema.TABLES \
               WHERE TABLE_SCHEMA = 'app'";
    root.query_first(sql).await.expect("statistics").expect("a sum")
}
