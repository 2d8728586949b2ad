//! User variables that were set to literals come along: with their values, types, collations and
//! coercibilities, while other sessions use the same connections.

use rwproxy::wire::packet::Packet;

use crate::support::raw::{OLD, Raw};
use crate::support::{Cluster, Flavour, Proxy};

crate::on_both_flavours!(known_variables_come_along);
crate::on_both_flavours!(nobody_finds_anothers_variables);
crate::on_both_flavours!(strings_keep_their_character_set);

const POOL: &str =
    "[pool]\nmax_per_backend = 1\n[routing]\nslow_start = \"0s\"\nconsistency = \"eventual\"";

const LITERALS: [&str; 14] = [
    "5",
    "-5",
    "18446744073709551615",
    "99999999999999999999",
    "1.5",
    "-1e3",
    "'x'",
    "\"x y\"",
    "''",
    "0x41",
    "TRUE",
    "false",
    "NULL",
    "'5'",
];

/// What shows a variable's value and what it is.
const LOOKS: [&str; 4] = [
    "SELECT @v, @`V` FROM (SELECT 1) d",
    "SELECT COLLATION(@v), COERCIBILITY(@v), @v = 'X', @v + 0",
    "SELECT CONCAT(@v, 'a'), @v IS NULL, HEX(@v)",
    "SELECT UPPER(@v) UNION ALL SELECT @v",
];

fn text(packets: &[Packet]) -> Vec<String> {
    packets.iter().map(|packet| packet.payload.escape_ascii().to_string()).collect()
}

fn address(cluster: &Cluster) -> std::net::SocketAddr {
    let primary = cluster.primary();
    std::net::SocketAddr::new(primary.ip.parse().expect("an address"), primary.port)
}

/// What the variable makes of a table's column.
async fn column(client: &mut Raw, number: usize) -> Vec<String> {
    let table = format!("variables{number}");
    client.query(&format!("DROP TABLE IF EXISTS {table}")).await;
    client.query(&format!("CREATE TABLE {table} AS SELECT @v AS v")).await;
    let shown = client.query(&format!("SHOW CREATE TABLE {table} /* rwproxy: primary */")).await;
    client.query(&format!("DROP TABLE {table}")).await;
    text(&shown)
}

async fn known_variables_come_along(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, POOL);
    for (number, literal) in LITERALS.iter().enumerate() {
        let mut direct = Raw::app(address(cluster), OLD).await;
        let mut proxied = Raw::app(proxy.address, OLD).await;
        let mut other = Raw::app(proxy.address, OLD).await;
        let others = ["SET @v = 'of another', @w = 7", "SET NAMES latin1", "SET @v = 3.5"];
        other.query(others[number % 3]).await;
        let steps = [
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin".to_owned(),
            format!("SET @v = {literal}"),
            "LOOK".to_owned(),
            "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'".to_owned(),
            "LOOK".to_owned(),
            "SET @v = NULL".to_owned(),
            "LOOK".to_owned(),
        ];
        for step in &steps {
            let asked = match step.as_str() {
                "LOOK" => LOOKS.to_vec(),
                sql => vec![sql],
            };
            for sql in asked {
                let expected = text(&direct.query(sql).await);
                other.query("SELECT 1, @v FROM (SELECT 1) d").await;
                let before = proxy.reads_on_replicas();
                assert_eq!(text(&proxied.query(sql).await), expected, "{literal}: {sql}");
                if LOOKS.contains(&sql) {
                    assert!(proxy.reads_on_replicas() > before, "{literal}: {sql} is not split");
                }
                other.query("DO 1").await;
            }
            if step.starts_with("SET NAMES") {
                // A variable that was never set: here another session has had it.
                continue;
            }
            let expected = column(&mut direct, number).await;
            assert_eq!(column(&mut proxied, number).await, expected, "{literal}: {step}");
        }
    }
}

async fn nobody_finds_anothers_variables(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, POOL);
    let mut one = Raw::app(proxy.address, OLD).await;
    let mut other = Raw::app(proxy.address, OLD).await;
    const LOOK: &str = "SELECT CONCAT('[', IFNULL(@v, 'null'), ']')";
    for sql in ["SET @v = 5", "SET @v = 'x'", "SET @v = 1 + 1", "SET @v = 7", "SELECT @v := 8"] {
        one.query(sql).await;
        for look in [LOOK, "SELECT CONCAT('[', IFNULL(@v, 'null'), ']') /* rwproxy: primary */"] {
            let seen = text(&other.query(look).await).concat();
            assert!(seen.contains("[null]"), "{sql}: {seen}");
            let seen = text(&one.query(look).await).concat();
            assert!(!seen.contains("[null]"), "{sql}: {seen}");
        }
    }
    one.ask(b"\x1f").await;
    for look in [LOOK, "SELECT CONCAT('[', IFNULL(@v, 'null'), ']') /* rwproxy: primary */"] {
        assert!(text(&one.query(look).await).concat().contains("[null]"));
    }
}

/// Strings that were set before SET NAMES have the character set of before wherever the session goes,
/// also when it was changed in a transaction on a replica; and reads still spread.
async fn strings_keep_their_character_set(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, POOL);
    let mut direct = Raw::app(address(cluster), OLD).await;
    let mut proxied = Raw::app(proxy.address, OLD).await;
    let mut other = Raw::app(proxy.address, OLD).await;
    const LOOK: &str = "SELECT @v, CHARSET(@v), COLLATION(@v), @v = 'TEXT', CHARSET(@w), @w <=> 'x' \
                        FROM (SELECT 1) d";
    let steps = [
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        "SET @v = 'text', @w = 'y'",
        "SET @w = NULL",
        "SET NAMES latin1",
        LOOK,
        "START TRANSACTION READ ONLY",
        LOOK,
        "SET NAMES utf8mb4",
        "SET @w = 'x'",
        "SET NAMES latin1 COLLATE latin1_bin",
        LOOK,
        "ROLLBACK",
        "DO 1",
        LOOK,
        "SET @v = 'other', collation_connection = latin1_swedish_ci",
        LOOK,
        "SET @v = NULL",
        LOOK,
    ];
    for sql in steps {
        let expected = text(&direct.query(sql).await);
        let before = proxy.reads_on_replicas();
        assert_eq!(text(&proxied.query(sql).await), expected, "{sql}");
        if sql == LOOK {
            assert!(proxy.reads_on_replicas() > before, "{sql} is not split");
        }
        for taken in ["SELECT @v, @w FROM (SELECT 1) d", "SET @v = 'of another'", "DO 1"] {
            other.query(taken).await;
        }
    }
}
