//! Result sets whose columns' definitions their client does not want.

use rwproxy::wire::Capabilities;
use rwproxy::wire::columns::Columns;
use rwproxy::wire::packet::Packet;
use rwproxy::wire::reply::OkPacket;

use super::commands::same_packets;
use super::step::{Step, command, execute};
use crate::support::raw::{OLD, Raw, error_code};
use crate::support::{Cluster, Flavour, Proxy, marker};

crate::on_both_flavours!(clients_hear_what_the_server_offers);

const OPTIONAL: Capabilities = Capabilities::OPTIONAL_RESULTSET_METADATA;
const NEW: Capabilities = OLD.union(Capabilities::DEPRECATE_EOF);
/// Whoever comes next gets the connection of whoever was before.
const SHARED: &str = "[pool]\nmax_per_backend = 1\nlease_timeout = \"30s\"\n\
                      [routing]\nslow_start = \"0s\"";

async fn clients_hear_what_the_server_offers(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    for address in [cluster.primary_address(), proxy.address] {
        let client = Raw::app(address, NEW | OPTIONAL).await;
        assert_eq!(client.capabilities.contains(OPTIONAL), flavour == Flavour::MySql);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_with_metadata_and_without() {
    let cluster = Cluster::shared(Flavour::MySql);
    let proxy = Proxy::start(cluster, SHARED);
    let kinds = [
        ("old, optional metadata", OLD | OPTIONAL),
        ("no EOF, optional metadata", NEW | OPTIONAL | Capabilities::SESSION_TRACK),
    ];
    same_packets(cluster, &proxy, &kinds, Capabilities::empty(), super::commands::script).await;
    same_packets(cluster, &proxy, &kinds, Capabilities::empty(), script).await;
}

fn script() -> Vec<Step> {
    use Step::*;
    vec![
        Prepare("SELECT ? + 1 AS a, name FROM items WHERE id = 1"),
        Query("SET resultset_metadata = NONE"),
        Query("SELECT 1 FROM (SELECT 1) AS one"),
        command(0x02, b"protocol"),
        Query("SELECT id, name FROM items WHERE id < 3 ORDER BY id"),
        Query("SELECT FOUND_ROWS()"),
        Query("SELECT id FROM items WHERE id < 0"),
        Query("SELECT @@resultset_metadata"),
        Query("SHOW VARIABLES LIKE 'resultset_metadata'"),
        Query("UPDATE items SET name = 'other' WHERE id = 1"),
        Query("SELECT ROW_COUNT()"),
        Query("INSERT INTO items (name) VALUES ('new'), ('newer')"),
        Query("SELECT LAST_INSERT_ID()"),
        Query("SELECT 1/0"),
        Query("SELECT 'x' + 1"),
        Query("SHOW WARNINGS"),
        Query("SELECT 1; SELECT * FROM items WHERE id = 1; SELECT 2"),
        Query("CALL results(2)"),
        Query("CALL fails_in_the_middle()"),
        // Of before.
        execute(0, &[0, 1, 0x08, 0, 41, 0, 0, 0, 0, 0, 0, 0]),
        execute(1, &[0, 0, 41, 0, 0, 0, 0, 0, 0, 0]),
        Statement(0x1C, vec![2, 0, 0, 0]),
        Statement(0x1A, vec![]),
        Prepare("SELECT ? + 1 AS a, name FROM items WHERE id = 1"),
        execute(0, &[0, 1, 0x08, 0, 41, 0, 0, 0, 0, 0, 0, 0]),
        Query("SET resultset_metadata = FULL"),
        execute(0, &[0, 0, 41, 0, 0, 0, 0, 0, 0, 0]),
        Query("SET resultset_metadata = CONCAT('NO', 'NE')"),
        Prepare("SELECT ROW_COUNT()"),
        execute(0, &[]),
        Prepare("SELECT id FROM items ORDER BY id"),
        execute(1, &[]),
        Statement(0x1C, vec![2, 0, 0, 0]),
        Statement(0x1C, vec![9, 0, 0, 0]),
        Prepare("CALL results(3)"),
        execute(0, &[]),
        Prepare("DELETE FROM items WHERE id > ?"),
        command(0x04, b"items\0%"),
        Query("DESCRIBE items"),
        Query("SET resultset_metadata = DEFAULT"),
        Query("SELECT id FROM items WHERE id = 1"),
        Query("SET resultset_metadata = NONE"),
        command(0x1F, b""),
        Query("SELECT 1, @@resultset_metadata"),
    ]
}

/// Two sessions take turns on one connection to each server: what one has asked for the other
/// does not get, and what the proxy asks on its own behalf it understands either way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_session_gets_the_metadata_that_it_wants() {
    let cluster = Cluster::shared(Flavour::MySql);
    let proxy = Proxy::start(cluster, SHARED);
    for capabilities in [OLD | OPTIONAL, NEW | OPTIONAL] {
        let table = marker("metadata").replace('-', "_");
        let mut clients = [
            Raw::app(proxy.address, capabilities).await,
            Raw::app(proxy.address, capabilities).await,
        ];
        clients[0].ok("SET resultset_metadata = NONE").await;
        clients[1]
            .ok(&format!("CREATE TABLE {table} (id INT PRIMARY KEY AUTO_INCREMENT, n INT)"))
            .await;
        cluster.settle().await;
        let mut numbers = Vec::new();
        for (client, follows) in clients.iter_mut().zip([0, 1]) {
            let text = format!("SELECT id, n FROM {table} WHERE id = ?");
            let reply = client.ask(&[b"\x16", text.as_bytes()].concat()).await;
            assert_eq!(reply[0].payload[12], follows);
            numbers.push([1, 2, 3, 4].map(|at| reply[0].payload[at]));
        }
        for _ in 0..5 {
            let mut ids = Vec::new();
            for client in &mut clients {
                let insert = format!("INSERT IGNORE INTO {table} (n) VALUES ('5x')");
                let reply = client.query(&insert).await;
                let ok = OkPacket::parse(&reply[0].payload, capabilities).expect("an OK");
                assert_eq!(ok.warnings, 1);
                ids.push(ok.last_insert_id);
            }
            for (number, client) in clients.iter_mut().enumerate() {
                let defined = number as u64;
                // Those of its own connection were taken along when the other session got it.
                let warnings = client.query("SHOW WARNINGS").await;
                assert_eq!(rows(&warnings, 3 * defined, capabilities).len(), 1);
                let id = client.query("SELECT LAST_INSERT_ID()").await;
                let id = text(rows(&id, defined, capabilities));
                assert_eq!(id, ids[number].to_string());
                for lock in ["", "FOR UPDATE"] {
                    let one =
                        client.query(&format!("SELECT n FROM {table} WHERE id = 1 {lock}")).await;
                    assert_eq!(text(rows(&one, defined, capabilities)), "5");
                }
                let execute =
                    [&[0x17], &numbers[number][..], b"\0\x01\0\0\0\0\x01\x03\0\x01\0\0\0"].concat();
                let one = client.ask(&execute).await;
                let one = rows(&one, 2 * defined, capabilities);
                assert_eq!(one[0].payload[..], *b"\0\0\x01\0\0\0\x05\0\0\0");
            }
        }
        clients[1].ok(&format!("DROP TABLE {table}")).await;
    }
}

/// The rows of a result set with so many definitions.
fn rows(reply: &[Packet], definitions: u64, capabilities: Capabilities) -> &[Packet] {
    assert_eq!(error_code(reply), None);
    let columns = Columns::parse(&reply[0].payload, capabilities).expect("a result set");
    assert_eq!(columns.definitions, definitions);
    let eof = usize::from(!capabilities.contains(Capabilities::DEPRECATE_EOF));
    &reply[1 + definitions as usize + eof..reply.len() - 1]
}

/// The only value of one text row.
fn text(rows: &[Packet]) -> String {
    assert_eq!(rows.len(), 1);
    String::from_utf8_lossy(&rows[0].payload[1..]).into_owned()
}
