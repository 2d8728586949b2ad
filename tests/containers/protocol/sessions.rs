//! Sessions that share two connections to each server, in turn: each gets the packets that it
//! would get directly, and nothing of another's.

use std::net::SocketAddr;

use rwproxy::wire::Capabilities;
use rwproxy::wire::packet::Packet;

use super::primary;
use super::step::{Script, Step, command, describe, execute};
use crate::support::raw::{Login, OLD, Outcome, Raw, error_code};
use crate::support::{Cluster, Flavour, Proxy};

crate::on_both_flavours!(in_turn_the_same_packets_as_directly);
crate::on_both_flavours!(a_wrong_password_for_another_user);
crate::on_both_flavours!(a_wait_timeout_of_the_sessions_own);

const POOL: &str = "[pool]\nmax_per_backend = 2\n[routing]\nslow_start = \"0s\"";

/// Who takes a step. No more than one of them is pinned while others need the primary.
#[derive(Debug, Clone, Copy)]
enum Who {
    Anna,
    Ben,
    Cleo,
}

use Who::{Anna, Ben, Cleo};

type Turn = (Who, Step);

const RESET: &[u8] = b"\x1f";
/// All that COM_INIT_DB, SET, reset and COM_CHANGE_USER change.
const LOOK: &str = "SELECT DATABASE(), CURRENT_USER(), @@character_set_client, \
    @@character_set_results, @@collation_connection, @@sql_mode, @@time_zone, @@autocommit, \
    @@sql_select_limit";

fn query(who: Who, sql: &'static str) -> Turn {
    (who, Step::Query(sql))
}

fn reset(who: Who) -> Turn {
    (who, Step::Command(RESET.to_vec()))
}

fn all_look() -> Vec<Turn> {
    [Anna, Ben, Cleo].into_iter().map(|who| query(who, LOOK)).collect()
}

fn databases() -> Vec<Turn> {
    let init = |who, name: &[u8]| (who, command(0x02, name));
    let mut turns = vec![init(Anna, b"turn1"), init(Ben, b"turn2"), init(Ben, b"missing")];
    turns.extend(all_look());
    turns.extend([
        query(Anna, "SELECT * FROM t"),
        query(Ben, "SELECT * FROM t"),
        query(Cleo, "SELECT * FROM t"),
        query(Ben, "INSERT INTO t VALUES (3)"),
        query(Anna, "SELECT * FROM t"),
        query(Ben, "SELECT * FROM t"),
        query(Anna, "USE turn2"),
        query(Anna, "SELECT * FROM t"),
        query(Ben, "SELECT * FROM t"),
        init(Anna, b"turn1"),
    ]);
    turns
}

fn several_results() -> Vec<Turn> {
    vec![
        query(Anna, "SELECT 1; SELECT * FROM t; DELETE FROM t WHERE n = 100; SELECT 'last'"),
        query(Ben, "SELECT 1; SELECT * FROM missing; SELECT 2"),
        query(Cleo, "SELECT 5; USE turn2; SELECT DATABASE()"),
        query(Anna, "SELECT * FROM t"),
        query(Cleo, "SELECT * FROM t"),
        reset(Cleo),
        query(Anna, "CALL results(3)"),
        query(Anna, "CALL doubled(4, @d)"),
        query(Anna, "SELECT @d"),
        query(Ben, "SELECT DATABASE()"),
        (Anna, Step::Prepare("CALL doubled(?, ?)")),
        (Anna, execute(0, &[0b10, 1, 0x08, 0, 0x08, 0, 21, 0, 0, 0, 0, 0, 0, 0])),
        (Anna, execute(0, &[0b10, 0, 22, 0, 0, 0, 0, 0, 0, 0])),
        (Anna, Step::Statement(0x19, vec![])),
        reset(Anna),
        query(Anna, "SELECT @d"),
        reset(Anna),
        query(Ben, "SELECT @d"),
        reset(Ben),
    ]
}

fn variables() -> Vec<Turn> {
    let mut turns = vec![
        query(Anna, "SET NAMES latin1"),
        query(Anna, "SET sql_mode = 'ANSI', time_zone = '+03:00'"),
        query(Ben, "SET sql_select_limit = 1"),
        query(Cleo, "SET autocommit = 0"),
        query(Anna, "SELECT \"n\", 'ä' FROM t"),
        query(Ben, "SELECT \"n\", 'ä' FROM t"),
    ];
    turns.extend(all_look());
    turns.extend([
        query(Cleo, "COMMIT"),
        query(Ben, "UPDATE t SET n = n"),
        query(Cleo, "UPDATE t SET n = n + 1"),
        query(Ben, "SELECT n FROM t"),
        query(Cleo, "ROLLBACK"),
        query(Cleo, "SET autocommit = 1"),
        reset(Anna),
        query(Anna, LOOK),
        reset(Ben),
    ]);
    turns.extend(all_look());
    turns
}

/// What pins: from here to the reset others have one connection to the primary.
fn pinned() -> Vec<Turn> {
    vec![
        query(Anna, "SET @a = 5, @b = 'x'"),
        query(Anna, "CREATE TEMPORARY TABLE passing (n INT)"),
        query(Anna, "INSERT INTO passing VALUES (6)"),
        query(Anna, "SELECT GET_LOCK('turn', 0)"),
        query(Ben, "SELECT * FROM passing"),
        query(Ben, "INSERT INTO passing VALUES (7)"),
        query(Cleo, "SELECT GET_LOCK('turn', 0)"),
        reset(Cleo),
        query(Anna, "SELECT @a, @b, n FROM passing"),
        reset(Anna),
        query(Anna, "SELECT * FROM passing"),
        query(Cleo, "SELECT GET_LOCK('turn', 0)"),
        reset(Cleo),
        query(Ben, "SELECT @a, @b"),
        reset(Ben),
        query(Anna, "SELECT @a, @b"),
        reset(Anna),
    ]
}

fn prepared() -> Vec<Turn> {
    let statement = "SELECT n + ?, DATABASE() FROM t ORDER BY n";
    let bound: &[u8] = &[0, 1, 0x03, 0, 10, 0, 0, 0];
    vec![
        (Anna, Step::Prepare(statement)),
        (Ben, Step::Prepare(statement)),
        query(Cleo, "SELECT * FROM t"),
        // Before any number is bound: MariaDB 10.11 then takes long data for an address.
        (Anna, Step::Statement(0x18, b"\0\x00700".to_vec())),
        query(Ben, "SELECT * FROM t"),
        (Anna, execute(0, &[0, 1, 0xFC, 0])),
        (Anna, execute(0, bound)),
        (Ben, execute(0, bound)),
        (Ben, execute(0, &[0, 0, 20, 0, 0, 0])),
        (Anna, Step::Statement(0x1A, vec![])),
        (Ben, Step::Statement(0x19, vec![])),
        (Ben, execute(0, bound)),
        // The number of a statement is its own session's.
        (Cleo, Step::Command(b"\x17\x01\0\0\0\0\x01\0\0\0".to_vec())),
        (Anna, execute(1, &[0, 1, 0x03, 0, 10, 0, 0, 0])),
        (Anna, Step::Statement(0x1C, vec![1, 0, 0, 0])),
        query(Ben, "INSERT INTO t VALUES (8)"),
        query(Ben, "DELETE FROM t WHERE n = 8"),
        (Anna, Step::Statement(0x1C, vec![5, 0, 0, 0])),
        (Anna, Step::Statement(0x19, vec![])),
    ]
}

fn files() -> Vec<Turn> {
    let load = "LOAD DATA LOCAL INFILE 'f' INTO TABLE t";
    vec![
        (Anna, Step::File(load, vec![b"10\n", b"11\n"])),
        (Ben, Step::File(load, vec![b"20\nx\n"])),
        query(Ben, "SHOW WARNINGS"),
        query(Anna, "SHOW WARNINGS"),
        (Cleo, Step::File(load, vec![b"30\n"])),
        query(Anna, "SELECT n FROM t ORDER BY n"),
        query(Ben, "SELECT n FROM t ORDER BY n"),
    ]
}

fn options() -> Vec<Turn> {
    let multi = "SELECT 1; SELECT 2";
    vec![
        (Cleo, command(0x1B, &[1, 0])),
        query(Cleo, multi),
        query(Anna, multi),
        query(Ben, multi),
        reset(Cleo),
        query(Cleo, multi),
        query(Anna, multi),
    ]
}

/// A collation whose number needs more than a byte.
fn high_collation(flavour: Flavour) -> u16 {
    match flavour {
        // utf8mb4_ja_0900_as_cs, utf8mb4_unicode_520_nopad_ci.
        Flavour::MySql => 303,
        Flavour::MariaDb => 1270,
    }
}

fn users(flavour: Flavour) -> Vec<Turn> {
    let login = |who, user, database, collation| {
        (who, Step::Login(Login { user, password: user, database, collation }))
    };
    let mut turns = vec![
        query(Anna, "SET @a = 5"),
        query(Anna, "SET NAMES latin1"),
        query(Anna, "CREATE TEMPORARY TABLE passing (n INT)"),
        query(Anna, "BEGIN"),
        query(Anna, "INSERT INTO t VALUES (99)"),
        login(Anna, "app", Some("turn2"), 45),
        query(Anna, "SELECT * FROM passing"),
        query(Anna, "SELECT COUNT(*) FROM turn1.t WHERE n = 99"),
        query(Anna, LOOK),
        login(Anna, "app", None, 45),
        query(Anna, LOOK),
        query(Anna, "SELECT @a"),
        login(Anna, "visitor", Some("turn1"), 8),
        query(Anna, "SELECT n FROM t ORDER BY n"),
        query(Anna, "INSERT INTO t VALUES (50)"),
        query(Anna, "SELECT * FROM turn2.t"),
    ];
    turns.extend(all_look());
    turns.extend([
        query(Ben, "SELECT n FROM t ORDER BY n"),
        login(Cleo, "visitor", Some("turn1"), high_collation(flavour)),
        query(Cleo, LOOK),
        query(Cleo, "SELECT 'あ' AS text, LENGTH('あ')"),
        login(Anna, "app", Some("turn1"), high_collation(flavour)),
        query(Anna, "SELECT 'あ' AS text, LENGTH('あ')"),
        query(Anna, "DELETE FROM t WHERE n = 50"),
        // It has switched several statements off, for whatever user it becomes.
        query(Cleo, "SELECT 1; SELECT 2"),
    ]);
    turns.extend(all_look());
    turns
}

fn script(flavour: Flavour) -> Vec<Turn> {
    [
        databases(),
        several_results(),
        variables(),
        pinned(),
        prepared(),
        files(),
        options(),
        users(flavour),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const SETUP: &str = "DROP DATABASE IF EXISTS turn1; DROP DATABASE IF EXISTS turn2; \
    CREATE DATABASE turn1; CREATE DATABASE turn2; \
    CREATE TABLE turn1.t (n INT); INSERT INTO turn1.t VALUES (1); \
    CREATE TABLE turn2.t (n INT); INSERT INTO turn2.t VALUES (2); \
    GRANT ALL ON turn1.* TO app; GRANT ALL ON turn2.* TO app; \
    CREATE USER IF NOT EXISTS visitor IDENTIFIED BY 'visitor'; \
    GRANT SELECT, INSERT ON turn1.* TO visitor; \
    CREATE PROCEDURE turn1.results(IN n INT) BEGIN SELECT n; SELECT n + 1 AS more, 'x'; END; \
    CREATE PROCEDURE turn1.doubled(IN n INT, OUT result INT) \
        BEGIN SELECT n; SET result = n * 2; END";

async fn in_turn_the_same_packets_as_directly(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, POOL);
    let new = OLD | Capabilities::DEPRECATE_EOF | Capabilities::SESSION_TRACK;
    let mut differences = Vec::new();
    for (name, capabilities) in [("old", OLD), ("new", new)] {
        let mut answers = Vec::new();
        for address in [primary(cluster), proxy.address] {
            cluster.run_on("primary", SETUP).await;
            cluster.settle().await;
            let mut clients = Vec::new();
            for _ in 0..3 {
                clients.push(Script::new(Raw::app(address, capabilities).await));
            }
            answers.push(run(clients, cluster).await);
        }
        for (((who, step), direct), proxied) in
            script(flavour).iter().zip(&answers[0]).zip(&answers[1])
        {
            if direct != proxied {
                differences.push(format!(
                    "{name}, {who:?}, {}:\n  directly: {}\n  proxied:  {}",
                    step.describe(),
                    describe(direct),
                    describe(proxied)
                ));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(proxy.reads_on_replicas() > 20, "the proxy has split nothing");
    let end = "DROP DATABASE turn1; DROP DATABASE turn2; DROP USER visitor";
    cluster.run_on("primary", end).await;
}

async fn run(mut clients: Vec<Script>, cluster: &Cluster) -> Vec<Vec<Packet>> {
    let mut replies = Vec::new();
    for (who, step) in script(cluster.flavour) {
        replies.push(clients[who as usize].take(&step).await);
        // Reads of replicas are compared with reads of the primary.
        cluster.settle().await;
    }
    replies
}

async fn a_wrong_password_for_another_user(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    for user in ["app", "root", "nobody"] {
        let mut ends = Vec::new();
        for address in [primary(cluster), proxy.address] {
            ends.push(refused(address, user).await);
        }
        assert_eq!(ends[1], ends[0], "{user}");
    }
}

/// What a client gets that tries to become somebody else with a wrong password, again and again,
/// and what is left of its session in between.
async fn refused(address: SocketAddr, user: &str) -> Vec<String> {
    let mut client = Raw::app(address, OLD).await;
    let mut answers = Vec::new();
    for statement in [
        "USE information_schema",
        "SET @a = 5, sql_select_limit = 7, autocommit = 0",
        "SET NAMES greek",
        "CREATE TEMPORARY TABLE app.passing (n INT)",
    ] {
        assert_eq!(error_code(&client.query(statement).await), None, "{statement}");
    }
    let login = Login { user, password: "wrong", database: Some("app"), collation: 8 };
    let right = Login { user: "app", password: "app", database: None, collation: 45 };
    for login in [login, right, login, login, login, right] {
        let answer = client.change_user(login).await;
        answers.push(describe(&[answer]));
        if client.ping().await == Outcome::Closed {
            answers.push("closed".to_owned());
            return answers;
        }
        for statement in [LOOK, "SELECT @a", "SELECT * FROM app.passing"] {
            answers.push(describe(&client.query(statement).await));
        }
    }
    answers
}

async fn a_wait_timeout_of_the_sessions_own(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let statements: [&[&str]; 3] = [
        &["SET wait_timeout = 1"],
        // By value of an expression, and pinned in a transaction.
        &["SET SESSION wait_timeout = 3 - 2", "BEGIN"],
        &["SET wait_timeout = 1", "SET wait_timeout = DEFAULT"],
    ];
    for statements in statements {
        let mut ends = Vec::new();
        for address in [primary(cluster), proxy.address] {
            let mut client = Raw::app(address, OLD).await;
            for statement in statements {
                assert_eq!(error_code(&client.query(statement).await), None, "{statement}");
            }
            tokio::time::sleep(std::time::Duration::from_millis(1800)).await;
            ends.push(client.ping().await);
        }
        assert_eq!(ends[1], ends[0], "{statements:?}");
    }
}
