//! MariaDB tells clients that want to hear it how far a long statement has come.

use rwproxy::wire::Capabilities;

use super::primary;
use crate::support::raw::{OLD, Raw, error_code, value};
use crate::support::{Cluster, Flavour, Proxy};

/// Long enough for a report each second.
const SLOW: &str = "ALTER TABLE app.progress ADD c INT AS \
                    (LENGTH(SHA2(REPEAT('x', 1000000 + n), 512))) STORED, ALGORITHM=COPY";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_of_progress_reach_who_wants_them() {
    let cluster = Cluster::shared(Flavour::MariaDb);
    let proxy = Proxy::start(cluster, "");
    let mut seen = Vec::new();
    for (address, wanted) in
        [(primary(cluster), true), (proxy.address, true), (proxy.address, false)]
    {
        let asked = if wanted { OLD | Capabilities::MARIADB_PROGRESS } else { OLD };
        let mut client = Raw::app(address, asked).await;
        assert_eq!(client.capabilities.contains(Capabilities::MARIADB_PROGRESS), wanted);
        for statement in [
            "DROP TABLE IF EXISTS progress",
            "CREATE TABLE progress (n INT PRIMARY KEY)",
            "INSERT INTO progress SELECT seq FROM seq_1_to_1000",
            "SET progress_report_time = 1",
        ] {
            assert_eq!(error_code(&client.query(statement).await), None, "{statement}");
        }
        let statement = client.query_payload(SLOW);
        client.send(&statement).await;
        let mut reports = 0;
        let last = loop {
            let packet = client.packet().await.expect("a packet");
            if !packet.payload.starts_with(&[0xFF, 0xFF, 0xFF]) {
                break packet;
            }
            reports += 1;
        };
        assert_eq!(last.payload[0], 0, "{:?}", String::from_utf8_lossy(&last.payload));
        assert_eq!(value(&client.query("SELECT COUNT(*) FROM progress").await, OLD), "1000");
        assert_eq!(error_code(&client.query("DROP TABLE progress").await), None);
        seen.push(reports > 0);
    }
    assert_eq!(seen, [true, true, false]);
}
