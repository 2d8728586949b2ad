//! MariaDB's bulk executions: many sets of parameters in one command, and the results of each.

use rwproxy::wire::Capabilities;
use rwproxy::wire::packet::Packet;

use super::commands::same_packets;
use super::step::{Script, Step};
use crate::support::raw::{OLD, Raw, error_code};
use crate::support::{Cluster, Flavour, Proxy};

const BULK: Capabilities = OLD.union(Capabilities::MARIADB_STMT_BULK_OPERATIONS);
const UNITS: Capabilities = BULK.union(Capabilities::MARIADB_BULK_UNIT_RESULTS);
/// Flags of COM_STMT_BULK_EXECUTE.
const TYPES: u16 = 128;
const RESULTS: u16 = 64;

/// COM_STMT_BULK_EXECUTE with one LONG for each unit.
fn bulk(flags: u16, values: &[i32]) -> Step {
    let mut rest = flags.to_le_bytes().to_vec();
    if flags & TYPES != 0 {
        rest.extend([0x03, 0]);
    }
    for value in values {
        // An indicator: neither NULL nor DEFAULT.
        rest.push(0);
        rest.extend(value.to_le_bytes());
    }
    Step::Statement(0xFA, rest)
}

fn script() -> Vec<Step> {
    use Step::*;
    const COUNTS: &str = "SELECT ROW_COUNT()";
    const LAST: &str = "SELECT LAST_INSERT_ID()";
    vec![
        Query("CREATE OR REPLACE TABLE bulk (id INT PRIMARY KEY AUTO_INCREMENT, n INT UNIQUE)"),
        Prepare("INSERT INTO bulk (n) VALUES (?)"),
        bulk(TYPES | RESULTS, &[1, 2, 3]),
        Query(COUNTS),
        Query(LAST),
        Query("SELECT id, n FROM bulk ORDER BY id"),
        // The types of last time.
        bulk(RESULTS, &[4, 5]),
        Query(LAST),
        bulk(TYPES, &[21, 22, 23]),
        Query(COUNTS),
        Query(LAST),
        // The second is there already.
        bulk(TYPES | RESULTS, &[31, 2, 33]),
        Query("SHOW WARNINGS"),
        Query("SELECT id, n FROM bulk ORDER BY id"),
        Query("BEGIN"),
        bulk(TYPES | RESULTS, &[41, 42]),
        Query(LAST),
        Query("ROLLBACK"),
        Prepare("UPDATE bulk SET n = n + 100 WHERE n = ?"),
        bulk(TYPES | RESULTS, &[1, 2, 77]),
        Query(COUNTS),
        Query(LAST),
        Prepare("INSERT IGNORE INTO bulk (n) VALUES (?)"),
        bulk(TYPES | RESULTS, &[101, 600]),
        Query("SHOW WARNINGS"),
        Prepare("INSERT INTO bulk (n) VALUES (?) RETURNING id"),
        bulk(TYPES | RESULTS, &[701, 702]),
        Query(LAST),
        bulk(TYPES, &[711, 712]),
        Query(LAST),
        Prepare("DELETE FROM bulk WHERE n = ?"),
        bulk(TYPES | RESULTS, &[701, 702, 1]),
        Query(COUNTS),
        Prepare("SELECT id FROM bulk WHERE n = ?"),
        bulk(TYPES | RESULTS, &[701]),
        Query("SELECT COUNT(*), SUM(n) FROM bulk"),
        Query("DROP TABLE bulk"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_executions_are_answered_as_directly() {
    let cluster = Cluster::shared(Flavour::MariaDb);
    let proxy = Proxy::start(cluster, "");
    let kinds = [("bulk", BULK), ("no EOF, bulk", BULK | Capabilities::DEPRECATE_EOF)];
    same_packets(cluster, &proxy, &kinds, Capabilities::empty(), script).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_unit_has_a_result_for_who_wants_it() {
    let cluster = Cluster::start(Flavour::MariaDb, &["FLAVOUR=mariadb-11.8", "REPLICAS=1"]);
    let proxy = Proxy::start(&cluster, "[pool]\nmax_per_backend = 2");
    let new = UNITS | Capabilities::DEPRECATE_EOF | Capabilities::SESSION_TRACK;
    let kinds = [("units", UNITS), ("no EOF, session tracking, units", new), ("none", BULK)];
    same_packets(&cluster, &proxy, &kinds, Capabilities::empty(), script).await;
    let client = Raw::app(proxy.address, UNITS).await;
    assert!(client.capabilities.contains(UNITS), "it is offered");

    // Two sessions in turn on one connection: what it alone knows goes with its session.
    let shared = Proxy::start(&cluster, "[pool]\nmax_per_backend = 1\nlease_timeout = \"30s\"");
    for capabilities in [UNITS, new] {
        let mut turns = [
            Script::new(Raw::app(shared.address, capabilities).await),
            Script::new(Raw::app(shared.address, capabilities).await),
        ];
        for (number, client) in turns.iter_mut().enumerate() {
            let table = format!(
                "CREATE OR REPLACE TABLE app.turn{number} (id INT PRIMARY KEY AUTO_INCREMENT, n INT)"
            );
            client.client.ok(&table).await;
        }
        turns[0].take(&Step::Prepare("INSERT INTO app.turn0 (n) VALUES (?)")).await;
        turns[1].take(&Step::Prepare("INSERT INTO app.turn1 (n) VALUES (?)")).await;
        for round in 0..5 {
            // The one inserts two rows a round, the other three.
            let units = [&[7, 8][..], &[7, 8, 9]];
            let mut ids = Vec::new();
            for (client, units) in turns.iter_mut().zip(units) {
                let reply = client.take(&bulk(TYPES | RESULTS, units)).await;
                assert_eq!(error_code(&reply), None);
                ids.push(first_id(&reply, capabilities));
            }
            for ((client, units), first) in turns.iter_mut().zip(units).zip(ids) {
                let count = client.take(&Step::Query("SELECT ROW_COUNT()")).await;
                assert_eq!(text(&count, capabilities), units.len().to_string());
                let id = client.take(&Step::Query("SELECT LAST_INSERT_ID()")).await;
                assert_eq!(text(&id, capabilities), first.to_string());
            }
            // Its own write is there for the session that has made it, on the replica, too.
            for (number, (client, units)) in turns.iter_mut().zip(units).enumerate() {
                let count = format!("SELECT COUNT(*) FROM app.turn{number}");
                let count = client.client.query(&count).await;
                assert_eq!(text(&count, capabilities), ((round + 1) * units.len()).to_string());
            }
        }
    }
}

/// The first unit's, of a result set with two columns of eight bytes.
fn first_id(reply: &[Packet], capabilities: Capabilities) -> u64 {
    let row = if capabilities.contains(Capabilities::DEPRECATE_EOF) { 3 } else { 4 };
    let id = reply[row].payload[2..10].try_into().expect("eight bytes");
    u64::from_le_bytes(id)
}

fn text(reply: &[Packet], capabilities: Capabilities) -> String {
    assert_eq!(error_code(reply), None);
    crate::support::raw::value(reply, capabilities)
}
