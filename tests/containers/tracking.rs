//! What session tracking is for on both sides: a session whose variables the servers tell goes on
//! splitting, and a client hears of changes what it would hear directly.

use std::net::SocketAddr;

use rwproxy::wire::Capabilities;
use rwproxy::wire::packet::Packet;

use crate::support::raw::{OLD, Raw, sorted_changes};
use crate::support::{Cluster, Flavour, Proxy};

crate::on_both_flavours!(sessions_with_told_variables_split);
crate::on_both_flavours!(clients_hear_what_they_have_asked_for);

/// Each session has to share one connection to each server.
const POOL: &str = "[pool]\nmax_per_backend = 1\n[routing]\nslow_start = \"0s\"";

/// What drivers and frameworks say first, and how what they set looks then.
const GREETINGS: &[(&str, &str)] = &[
    (
        "SET @@SESSION.sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), \
         @@SESSION.sql_auto_is_null = 0, @@SESSION.wait_timeout = 2147483",
        "SELECT 1, @@sql_mode, @@sql_auto_is_null",
    ),
    (
        "SET character_set_results = NULL, autocommit = 1, \
         sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')",
        "SELECT 'a\\b', @@sql_mode, @@character_set_results",
    ),
    ("SET time_zone = @@global.time_zone", "SELECT 1, @@time_zone"),
    ("SET SESSION div_precision_increment = 3 + 4", "SELECT 1/3"),
    ("SET @@group_concat_max_len = 4 + 4", "SELECT @@group_concat_max_len"),
    ("SET sql_mode = ''", "SELECT 1, @@sql_mode"),
    ("SET SESSION max_sort_length = 1000 * 2, sql_safe_updates = 1 - 1", "SELECT 1"),
    ("SET sql_select_limit = 1 + 1", "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3"),
    ("SET sql_mode = CONCAT('ANSI', '_QUOTES')", "SELECT 'x' AS \"abc\""),
    ("SET character_set_connection = @@global.character_set_client", "SELECT COLLATION('x')"),
    ("SET foreign_key_checks = DEFAULT, unique_checks = 1 - 1", "SELECT @@unique_checks"),
];

fn address(cluster: &Cluster) -> SocketAddr {
    let primary = cluster.primary();
    SocketAddr::new(primary.ip.parse().expect("an address"), primary.port)
}

/// Packets with the entries of session tracking in one order: MariaDB's depends on chance.
fn texts(packets: Vec<Packet>, capabilities: Capabilities) -> Vec<String> {
    sorted_changes(packets, capabilities)
        .iter()
        .map(|packet| packet.payload.escape_ascii().to_string())
        .collect()
}

async fn sessions_with_told_variables_split(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, POOL);
    for (set, look) in GREETINGS {
        let mut direct = Raw::app(address(cluster), OLD).await;
        let mut proxied = Raw::app(proxy.address, OLD).await;
        // Takes the same connections in between, with settings of its own.
        let mut other = Raw::app(proxy.address, OLD).await;
        other.query("SET sql_mode = 'PIPES_AS_CONCAT', time_zone = '+09:00'").await;
        let expected = [direct.query(set).await, direct.query(look).await];
        let (expected, look_again) = (expected.map(|packets| texts(packets, OLD)), look);
        assert_eq!(texts(proxied.query(set).await, OLD), expected[0], "{set}");
        let before = proxy.reads_on_replicas();
        for _ in 0..4 {
            other.query("SELECT 1, @@time_zone").await;
            assert_eq!(texts(proxied.query(look_again).await, OLD), expected[1], "{set}; {look}");
        }
        let split = proxy.reads_on_replicas() - before;
        assert!(split >= 8, "{split} reads split behind {set}: {:#?}", proxy.status()["sessions"]);
    }
}

/// Each with the capability, on the server itself and through the proxy.
const HEARD: &[&str] = &[
    "SET NAMES latin1",
    "SET NAMES utf8mb4",
    "SET sql_mode = CONCAT(@@sql_mode, '')",
    "SET sql_mode = '', time_zone = '+01:00', wait_timeout = 100",
    "SET autocommit = 1",
    "USE mysql",
    "USE app",
    "SELECT 1; SET time_zone = '+02:00', wait_timeout = 99; SET wait_timeout = 98; SELECT 2",
    "SELECT @@session_track_schema, @@session_track_system_variables",
    "SHOW VARIABLES LIKE 'session_track%'",
    "SHOW VARIABLES WHERE Variable_name = 'session_track_system_variables'",
    "SET session_track_system_variables = 'sql_mode,Time_Zone'",
    "SET sql_mode = 'ANSI', time_zone = '+03:00', character_set_results = utf8mb4",
    "SHOW VARIABLES LIKE 'session_track%'",
    "USE app",
    "SET session_track_schema = 0",
    "USE mysql",
    "SELECT DATABASE()",
    "USE app",
    "SELECT DATABASE(), @@session_track_schema",
    "SET session_track_schema = 1, session_track_system_variables = 'autocommit,rand_seed1'",
    "SET rand_seed1 = 5",
    "SET session_track_state_change = 1",
    "SET sql_mode = ''",
    "SELECT @@session_track_state_change, @@session_track_system_variables",
    "BEGIN",
    "SELECT @@session_track_schema",
    "COMMIT",
    "SET session_track_state_change = DEFAULT, session_track_system_variables = DEFAULT",
    "SET sql_mode = 'ANSI', time_zone = '+03:00'",
    "SELECT 1; SET session_track_system_variables = 'sql_mode'; SET sql_mode = ''",
    "SET sql_mode = 'ANSI', time_zone = '+03:00'",
    "SET session_track_system_variables = nonsense",
];

async fn clients_hear_what_they_have_asked_for(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, POOL);
    for deprecates in [Capabilities::empty(), Capabilities::DEPRECATE_EOF] {
        let capabilities = OLD | deprecates | Capabilities::SESSION_TRACK;
        let mut direct = Raw::app(address(cluster), capabilities).await;
        let mut proxied = Raw::app(proxy.address, capabilities).await;
        let mut other = Raw::app(proxy.address, capabilities).await;
        for sql in HEARD {
            let mut expected = texts(direct.query(sql).await, capabilities);
            let mut heard = texts(proxied.query(sql).await, capabilities);
            if sql.starts_with("SHOW VARIABLES LIKE") && flavour == Flavour::MariaDb {
                expected.sort();
                heard.sort();
            }
            assert_eq!(heard, expected, "{sql}");
            let seen = other.query("SELECT @@session_track_schema").await;
            assert_eq!(seen.last().map(|last| last.payload[0]), Some(0xFE), "{seen:?}");
        }
        for client in [&mut direct, &mut proxied] {
            client.ask(b"\x1f").await;
        }
        let look = "SELECT DATABASE(), @@session_track_schema, @@session_track_system_variables";
        let expected = texts(direct.query(look).await, capabilities);
        assert_eq!(texts(proxied.query(look).await, capabilities), expected);
        // A client that has asked for much is still split.
        proxied.query("SET session_track_system_variables = '*'").await;
        let before = proxy.reads_on_replicas();
        for _ in 0..4 {
            other.query("SELECT 2").await;
            proxied.query("SELECT 3").await;
        }
        assert!(proxy.reads_on_replicas() >= before + 8, "not split");
    }
}
