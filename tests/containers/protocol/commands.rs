//! The same packets as directly: each command, with each set of capabilities that clients have.

use rwproxy::wire::Capabilities;
use rwproxy::wire::packet::Packet;

use super::primary;
use super::step::{Script, Step, command, describe, execute};
use crate::support::raw::{OLD, Raw, error_code, value};
use crate::support::{Cluster, Flavour, Proxy};

crate::on_both_flavours!(the_same_packets_as_directly);
crate::on_both_flavours!(commands_sent_at_once_are_answered_in_order);
crate::on_both_flavours!(query_attributes_reach_the_server);
crate::on_both_flavours!(statistics_come_from_a_server);

/// What clients differ in that changes bytes.
pub fn kinds() -> [(&'static str, Capabilities); 6] {
    let new = OLD | Capabilities::DEPRECATE_EOF;
    [
        ("old", OLD),
        ("old, found rows", OLD | Capabilities::FOUND_ROWS),
        ("no EOF", new),
        ("session tracking", OLD | Capabilities::SESSION_TRACK),
        ("no EOF, session tracking", new | Capabilities::SESSION_TRACK),
        ("query attributes", new | Capabilities::SESSION_TRACK | Capabilities::QUERY_ATTRIBUTES),
    ]
}

pub fn script() -> Vec<Step> {
    use Step::*;
    vec![
        command(0x0E, b""),
        command(0x02, b"protocol"),
        Query("SELECT DATABASE()"),
        command(0x02, b"missing_database"),
        Query("SELECT DATABASE(), 1 AS n, NULL AS nothing, 'x' AS text"),
        Query("SELECT * FROM items WHERE id < 3 ORDER BY id"),
        Query("SELECT * FROM items WHERE id < 0"),
        Query("SELECT 1/0"),
        Query("SHOW WARNINGS"),
        Query("SELECT * FROM missing"),
        Query("SELEC 1"),
        Query(""),
        Query("UPDATE items SET name = name WHERE id = 1"),
        Query("UPDATE items SET name = 'other' WHERE id = 1"),
        Query("INSERT INTO items (name) VALUES ('new'), ('newer')"),
        Query("DELETE FROM items WHERE id > 3"),
        Query("SELECT 1; UPDATE items SET name = 'one' WHERE id = 1; SELECT 2 AS two"),
        Query("SELECT 1; SELECT * FROM missing; SELECT 3"),
        Query("SELECT 4; SELEC 5"),
        Query("CALL results(2)"),
        Query("CALL fails_in_the_middle()"),
        Query("SELECT 'after the errors'"),
        Query("SET @a = 1"),
        Query("BEGIN"),
        Query("INSERT INTO items (id, name) VALUES (50, 'x')"),
        Query("INSERT INTO items (id, name) VALUES (50, 'x')"),
        Query("ROLLBACK"),
        Query("SET NAMES latin1"),
        Query("SELECT 'ä'"),
        Query("USE app"),
        Query("SELECT DATABASE()"),
        command(0x02, b"protocol"),
        // Of old: list of columns, options, kills, the unknown.
        command(0x04, b"items\0%"),
        command(0x04, b"missing\0"),
        command(0x1B, &[1, 0]),
        Query("SELECT 1; SELECT 2"),
        command(0x1B, &[0, 0]),
        Query("SELECT 1; SELECT 2"),
        command(0x1B, &[9, 0]),
        command(0x0D, b""),
        command(0x7F, b"?"),
        command(0x00, b""),
        command(0x0C, &[0xFF, 0xFF, 0xFF, 0x3F]),
        // Prepared statements.
        Prepare("SELECT ? + 1, ?, name FROM items WHERE id = 1"),
        execute(0, &[0b01, 1, 0xFD, 0, 0xFD, 0, 2, b'h', b'i']),
        execute(0, &[0b10, 1, 0x08, 0, 0xFD, 0, 41, 0, 0, 0, 0, 0, 0, 0]),
        // The types of last time.
        execute(0, &[0b10, 0, 42, 0, 0, 0, 0, 0, 0, 0]),
        Statement(0x18, vec![1, 0, b'l', b'o', b'n', b'g']),
        Statement(0x18, vec![1, 0, b'e', b'r']),
        execute(0, &[0b00, 1, 0x08, 0, 0xFC, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        Statement(0x1A, vec![]),
        execute(0, &[0b11, 0]),
        Statement(0x19, vec![]),
        execute(0, &[0b11, 0]),
        Statement(0x1A, vec![]),
        Statement(0x1C, vec![1, 0, 0, 0]),
        Statement(0x18, vec![0, 0, b'x']),
        Statement(0x19, vec![]),
        Prepare("SELECT id FROM items ORDER BY id"),
        // With a cursor. (Executed without one afterwards, MySQL 9.7 sends half a result.)
        execute(1, &[]),
        Statement(0x1C, vec![2, 0, 0, 0]),
        Statement(0x1C, vec![9, 0, 0, 0]),
        Statement(0x1C, vec![9, 0, 0, 0]),
        Statement(0x19, vec![]),
        Prepare("SELEC ?"),
        Prepare("SELECT * FROM missing"),
        Prepare("INSERT INTO items (id, name) VALUES (60, 'prepared')"),
        execute(0, &[]),
        execute(0, &[]),
        Statement(0x19, vec![]),
        Prepare("CALL results(3)"),
        execute(0, &[]),
        Statement(0x19, vec![]),
        Query("SELECT COUNT(*) FROM items"),
        // Files.
        File("LOAD DATA LOCAL INFILE 'f' INTO TABLE files", vec![b"1\tone\n2\t", b"two\n"]),
        File("LOAD DATA LOCAL INFILE 'f' INTO TABLE files", vec![]),
        File("LOAD DATA LOCAL INFILE 'f' INTO TABLE files", vec![b"x\n", b"7\n", b"8\ty\tz\n"]),
        File("LOAD DATA LOCAL INFILE 'f' INTO TABLE missing", vec![b"1\n"]),
        File("LOAD DATA LOCAL INFILE 'f' INTO TABLE files (missing)", vec![b"1\n"]),
        File("LOAD DATA LOCAL INFILE 'f' INTO TABLE refuses (id)", vec![b"1\n2\n", b"3\n"]),
        File(
            "SELECT 1; LOAD DATA LOCAL INFILE 'f' INTO TABLE files; SELECT COUNT(*) FROM files",
            vec![b"100\tlast\n"],
        ),
        Query("SELECT * FROM files ORDER BY id, text"),
        // And a new beginning.
        Query("SET @b = 5, sql_mode = 'ANSI'"),
        command(0x1F, b""),
        Query("SELECT @a, @b, @@sql_mode, @@character_set_client, DATABASE(), LAST_INSERT_ID()"),
        command(0x0E, b""),
    ]
}

const SETUP: &str = "DROP DATABASE IF EXISTS protocol; CREATE DATABASE protocol; USE protocol; \
    GRANT ALL ON protocol.* TO app; \
    CREATE TABLE items (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20)); \
    INSERT INTO items (name) VALUES ('one'), ('two'), ('three'); \
    CREATE TABLE files (id INT, text VARCHAR(20)); \
    CREATE TABLE refuses (id INT); \
    CREATE TRIGGER no BEFORE INSERT ON refuses FOR EACH ROW \
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused'; \
    CREATE PROCEDURE results(IN n INT) BEGIN SELECT n; SELECT n + 1 AS more, 'x'; END; \
    CREATE PROCEDURE fails_in_the_middle() BEGIN SELECT 1; SELECT * FROM missing; END";

async fn the_same_packets_as_directly(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    same_packets(cluster, &proxy, &kinds(), Capabilities::empty(), script).await;
}

/// Through the proxy clients ask for these capabilities `besides`.
pub async fn same_packets(
    cluster: &Cluster,
    proxy: &Proxy,
    kinds: &[(&str, Capabilities)],
    besides: Capabilities,
    script: fn() -> Vec<Step>,
) {
    let mut differences = Vec::new();
    for &(name, capabilities) in kinds {
        let mut answers = Vec::new();
        for (address, besides) in
            [(primary(cluster), Capabilities::empty()), (proxy.address, besides)]
        {
            cluster.run_on("primary", SETUP).await;
            cluster.settle().await;
            let client = Raw::app(address, capabilities | besides).await;
            assert!(client.capabilities.contains(besides), "{besides:?}");
            answers.push(run(client, cluster, script()).await);
        }
        let steps = script();
        assert_eq!(answers[0].len(), steps.len());
        for ((step, direct), proxied) in steps.iter().zip(&answers[0]).zip(&answers[1]) {
            if direct != proxied {
                differences.push(format!(
                    "{name}, {}:\n  directly: {}\n  proxied:  {}",
                    step.describe(),
                    describe(direct),
                    describe(proxied)
                ));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The replies to the script's steps.
async fn run(client: Raw, cluster: &Cluster, script: Vec<Step>) -> Vec<Vec<Packet>> {
    let mut client = Script::new(client);
    let mut replies = Vec::new();
    for step in script {
        replies.push(client.take(&step).await);
        // Reads of replicas are compared with reads of the primary.
        cluster.settle().await;
    }
    replies
}

async fn commands_sent_at_once_are_answered_in_order(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    commands_at_once(Raw::app(proxy.address, OLD).await).await;
}

pub async fn commands_at_once(mut client: Raw) {
    let table = "CREATE TABLE IF NOT EXISTS app.pipelined (n INT)".to_owned();
    let mut statements = vec![table, "DELETE FROM app.pipelined".to_owned()];
    for n in 0..50 {
        statements.push(format!("INSERT INTO app.pipelined VALUES ({n})"));
        statements.push(format!("SELECT {n} + 1000"));
        statements.push(format!("BEGIN; SELECT MAX(n) FROM app.pipelined WHERE n = {n}; COMMIT"));
    }
    let mut out = bytes::BytesMut::new();
    for statement in &statements {
        rwproxy::wire::packet::put_packet(&mut out, 0, &client.query_payload(statement));
    }
    client.stream.write(&out).await.expect("all commands are sent");
    for statement in &statements {
        let reply = client.reply(0x03, &[]).await;
        assert_eq!(error_code(&reply), None, "{statement}");
        let number = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        if let Some(n) = statement.strip_prefix("SELECT ") {
            let n: u32 = n.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(value(&reply, OLD), (n + 1000).to_string());
        } else if statement.starts_with("BEGIN") {
            assert_eq!(value(&reply[1..], OLD), number(statement));
        }
    }
}

async fn query_attributes_reach_the_server(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let mut client = Raw::app(proxy.address, OLD | Capabilities::QUERY_ATTRIBUTES).await;
    // MariaDB has none.
    let knows = client.capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
    assert_eq!(knows, flavour == Flavour::MySql);
    if !knows {
        return;
    }
    // Two attributes: a string, and a NULL; then the text.
    let attributes = b"\x02\x01\x02\x01\xfe\x00\x05trace\xfe\x00\x04none\x03abc";
    for (sql, expected) in
        [("SELECT 40 + 2", "42"), ("SELECT COUNT(*) FROM app.attributed", "0"), ("SELECT @x", "5")]
    {
        let statements = ["CREATE TABLE IF NOT EXISTS app.attributed (n INT)", "SET @x = 5", sql];
        for statement in statements {
            let payload = [&[0x03], &attributes[..], statement.as_bytes()].concat();
            let reply = client.ask(&payload).await;
            assert_eq!(error_code(&reply), None, "{statement}");
            cluster.settle().await;
            if statement == sql {
                assert_eq!(value(&reply, client.capabilities), expected);
            }
        }
    }
}

async fn statistics_come_from_a_server(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let mut client = Raw::app(proxy.address, OLD).await;
    let reply = client.ask(&[0x09]).await;
    assert!(reply[0].payload.starts_with(b"Uptime: "), "{}", describe(&reply));
    assert_eq!(value(&client.query("SELECT 7").await, OLD), "7");
    client.send(&[0x01]).await;
    assert!(client.packet().await.is_err(), "COM_QUIT closes the connection");
}
