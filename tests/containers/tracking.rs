//! What session tracking is for on both sides: a session whose variables the servers tell goes on
//! splitting, and a client hears of changes what it would hear directly.

use std::net::SocketAddr;

use rwproxy::wire::Capabilities;
use rwproxy::wire::capabilities::Status;
use rwproxy::wire::packet::Packet;
use rwproxy::wire::reply::OkPacket;

use crate::support::raw::{OLD, Raw, error_code, sorted_changes};
use crate::support::{Cluster, Flavour, Proxy};

crate::on_both_flavours!(sessions_with_told_variables_split);
crate::on_both_flavours!(what_is_said_of_the_next_transaction_ends_with_it);
crate::on_both_flavours!(roles_stay_with_their_sessions);
crate::on_both_flavours!(clients_hear_what_they_have_asked_for);
crate::on_both_flavours!(clients_hear_of_their_transactions);

/// Each session has to share one connection to each server.
const POOL: &str =
    "[pool]\nmax_per_backend = 1\n[routing]\nslow_start = \"0s\"\nconsistency = \"eventual\"";

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
    ("SET CHARACTER SET latin1", "SELECT 'x', COLLATION('x'), @@character_set_client"),
    ("SET CHARACTER SET DEFAULT", "SELECT 'x', COLLATION('x'), @@character_set_results"),
    ("SET ROLE NONE", "SELECT 1"),
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

/// Each is one SET TRANSACTION, what follows it, and whether that session is split again.
const NEXT: &[(&[&str], bool)] = &[
    (&["BEGIN", "SELECT COUNT(*) FROM next", "COMMIT"], true),
    (&["START TRANSACTION", "INSERT INTO next VALUES (1)", "ROLLBACK"], true),
    (&["START TRANSACTION READ WRITE", "DELETE FROM next WHERE id = 9", "COMMIT"], true),
    (&["BEGIN", "COMMIT AND CHAIN", "INSERT INTO next VALUES (1)", "COMMIT"], true),
    (&["COMMIT"], true),
    (&["ROLLBACK"], true),
    (&["SELECT 1", "INSERT INTO next VALUES (1)"], false),
    (&["SELECT * FROM missing", "INSERT INTO next VALUES (1)"], false),
    (&["BEGIN", "SET TRANSACTION READ WRITE", "COMMIT"], true),
];

async fn what_is_said_of_the_next_transaction_ends_with_it(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, POOL);
    for table in ["next", "others"] {
        let drop = format!("DROP TABLE IF EXISTS app.{table}");
        cluster.run_on("primary", &drop).await;
        let make = format!("CREATE TABLE app.{table} (id INT PRIMARY KEY)");
        cluster.run_on("primary", &make).await;
    }
    cluster.settle().await;
    for (statements, split_again) in NEXT {
        let mut direct = Raw::app(address(cluster), OLD).await;
        let mut proxied = Raw::app(proxy.address, OLD).await;
        let mut other = Raw::app(proxy.address, OLD).await;
        let mut open = false;
        for sql in [&["SET TRANSACTION READ ONLY"][..], statements].concat() {
            let expected = texts(direct.query(sql).await, OLD);
            assert_eq!(texts(proxied.query(sql).await, OLD), expected, "{statements:?}: {sql}");
            open = match sql.split(' ').next() {
                Some("BEGIN" | "START") => true,
                Some("COMMIT" | "ROLLBACK") => sql.ends_with("CHAIN"),
                _ => open,
            };
            if open {
                // It may have the one connection there is.
                continue;
            }
            let inserted = other.query("INSERT INTO others VALUES (5)").await;
            assert_eq!(error_code(&inserted), None, "another's transaction is read-only");
            other.query("DELETE FROM others WHERE id = 5").await;
        }
        let before = proxy.reads_on_replicas();
        // With a table: MariaDB keeps the warnings of before over other statements.
        proxied.query("SELECT COUNT(*) FROM others").await;
        assert_eq!(proxy.reads_on_replicas() > before, *split_again, "{statements:?}");
        proxied.query("DELETE FROM next").await;
    }
}

async fn roles_stay_with_their_sessions(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let mut statements = vec![
        "CREATE ROLE IF NOT EXISTS track_a, track_b".to_owned(),
        "CREATE USER IF NOT EXISTS track_user IDENTIFIED BY 'x'".to_owned(),
        "GRANT track_a TO track_user".to_owned(),
        "GRANT track_b TO track_user".to_owned(),
        "GRANT SELECT ON app.* TO track_a".to_owned(),
    ];
    if flavour == Flavour::MariaDb {
        // Without GRANT, MariaDB lets nobody into the database.
        statements.push("GRANT CREATE TEMPORARY TABLES ON app.* TO track_user".to_owned());
    } else {
        statements.push("GRANT EXECUTE ON app.* TO track_user".to_owned());
    }
    cluster.run_all("primary", &statements).await;
    cluster.settle().await;
    let proxy = Proxy::start(cluster, POOL);
    let login = |address| async move {
        Raw::login(address, "track_user", "x", Some("app"), OLD).await.expect("a login")
    };
    let mut direct = login(address(cluster)).await;
    let mut proxied = login(proxy.address).await;
    let mut other = login(proxy.address).await;
    const LOOK: &str = "SELECT CURRENT_ROLE()";
    const READ: &str = "SELECT 1, COUNT(*) FROM information_schema.tables WHERE table_schema = 'app' AND table_name = 'nothing'";
    let nobody = texts(direct.query(LOOK).await, OLD);
    for step in [
        "SET ROLE track_a",
        READ,
        "SET ROLE track_b",
        "SET ROLE missing",
        READ,
        "SET ROLE NONE",
        "SET ROLE track_a",
        "RESET",
        READ,
    ] {
        let ask = async |client: &mut Raw| match step {
            "RESET" => client.ask(b"\x1f").await,
            sql => client.query(sql).await,
        };
        let expected = texts(ask(&mut direct).await, OLD);
        assert_eq!(texts(ask(&mut proxied).await, OLD), expected, "{step}");
        assert_eq!(texts(other.query(LOOK).await, OLD), nobody, "{step}");
        let expected = texts(direct.query(LOOK).await, OLD);
        assert_eq!(texts(proxied.query(LOOK).await, OLD), expected, "{step}");
    }
    let before = proxy.reads_on_replicas();
    proxied.query(READ).await;
    assert!(proxy.reads_on_replicas() > before, "not split behind SET ROLE");
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

/// Among them ends that are an error, which has no room to tell of it, and ends that are told again.
const TRANSACTIONS: &[&str] = &[
    "BEGIN",
    "DELETE FROM heard WHERE id = 7",
    "TRUNCATE missing",
    "SELECT * FROM missing",
    "SELECT 1",
    "BEGIN",
    "DELETE FROM heard WHERE id = 7",
    "COMMIT",
    "SET autocommit = 0",
    "CREATE TABLE IF NOT EXISTS heard (id INT PRIMARY KEY)",
    "SELECT 1",
    "SELECT * FROM heard",
    "DROP TABLE missing",
    "SET autocommit = 1",
    "SELECT * FROM heard",
];

async fn clients_hear_of_their_transactions(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    cluster.run_on("primary", "CREATE TABLE IF NOT EXISTS app.heard (id INT PRIMARY KEY)").await;
    cluster.settle().await;
    let proxy = Proxy::start(cluster, POOL);
    let capabilities = OLD | Capabilities::DEPRECATE_EOF | Capabilities::SESSION_TRACK;
    let mut direct = Raw::app(address(cluster), capabilities).await;
    let mut proxied = Raw::app(proxy.address, capabilities).await;
    let mut other = Raw::app(proxy.address, capabilities).await;
    for client in [&mut direct, &mut proxied] {
        client.ok("SET session_track_transaction_info = 'STATE'").await;
    }
    for sql in TRANSACTIONS {
        let expected = direct.query(sql).await;
        let last = expected.last().expect("an answer").payload.clone();
        // An error does not tell: the proxy finds out at the next statement.
        let is_over = OkPacket::parse(&last, capabilities)
            .is_ok_and(|ok| !ok.status.contains(Status::IN_TRANSACTION));
        let expected = texts(expected, capabilities);
        assert_eq!(texts(proxied.query(sql).await, capabilities), expected, "{sql}");
        if is_over {
            // By the one connection that there is.
            let told = texts(other.query("DELETE FROM heard WHERE id = 9").await, capabilities);
            assert!(told[0].ends_with("\\x02\\x00\\x00\\x00"), "behind {sql}: {told:?}");
        }
    }
}
