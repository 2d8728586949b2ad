//! A server replicates from the primary through the proxy, and tools read its binary log there.

use std::net::SocketAddr;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::support::chaos::docker;
use crate::support::cluster::connect;
use crate::support::raw::{OLD, Raw, error_code};
use crate::support::{Cluster, Flavour, Proxy, Server, eventually};

crate::on_both_flavours!(a_replica_follows_through_the_proxy);
crate::on_both_flavours!(a_compressed_replica_acknowledges);
crate::on_both_flavours!(a_dump_ends_as_on_a_server);
crate::on_both_flavours!(a_tool_reads_the_binary_log);

const PATIENCE: Duration = Duration::from_secs(40);
/// Larger than a packet.
const LARGE: usize = 20 << 20;
const COM_BINLOG_DUMP: u8 = 0x12;
/// The server is to end the stream at the end of the log (BINLOG_DUMP_NON_BLOCK).
const DUMP_NON_BLOCK: u16 = 1;

async fn a_replica_follows_through_the_proxy(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &["REPLICAS=1"]);
    let (proxy, within) = Proxy::start_within(&cluster, "");
    let mut primary = cluster.root("primary").await;
    let before = standing(&proxy);
    let server = cluster.bare("further").await;
    let mut follower = Follower::start(flavour, server, within).await;

    run(&mut primary, "CREATE TABLE app.follow (n INT PRIMARY KEY, t LONGTEXT)").await;
    run(&mut primary, "INSERT INTO app.follow VALUES (1, 'first')").await;
    follower.awaits("SELECT t FROM app.follow WHERE n = 1", "first").await;
    let dumps = dumps_through(&mut primary, within).await;
    assert_eq!(dumps.len(), 1, "one thread sends to it");

    // It hears of the primary while nothing is written.
    let heard = follower.heartbeats().await;
    eventually("heartbeats arrive", PATIENCE, async || {
        (follower.heartbeats().await >= heard + 2).then_some(())
    })
    .await;
    let large = format!("INSERT INTO app.follow VALUES (2, REPEAT('x', {LARGE}))");
    run(&mut primary, &large).await;
    follower.awaits("SELECT CHAR_LENGTH(t) FROM app.follow WHERE n = 2", &LARGE.to_string()).await;

    // The primary waits for its word, for there is no other.
    let semi_sync = flavour.semi_sync();
    run(&mut primary, &format!("SET GLOBAL {semi_sync}_timeout = 60000")).await;
    cluster.run_on("replica1", flavour.stop()).await;
    eventually("it alone is there", PATIENCE, async || {
        (status(&mut primary, &format!("{semi_sync}_clients")).await == 1).then_some(())
    })
    .await;
    let acknowledged = status(&mut primary, &format!("{semi_sync}_yes_tx")).await;
    let unheard = status(&mut primary, &format!("{semi_sync}_no_tx")).await;
    for n in 10..20 {
        run(&mut primary, &format!("INSERT INTO app.follow VALUES ({n}, 'heard')")).await;
    }
    assert_eq!(status(&mut primary, &format!("{semi_sync}_no_tx")).await, unheard);
    assert_eq!(status(&mut primary, &format!("{semi_sync}_yes_tx")).await, acknowledged + 10);
    cluster.run_on("replica1", flavour.start()).await;

    // Its connection is nobody else's, and the account's other sessions have theirs.
    let place = (cluster.primary().container.clone(), "user_variable, connection_option".into());
    assert_eq!(sessions(&proxy).await, [place]);
    for _ in 0..5 {
        let mut other =
            connect("127.0.0.1", proxy.address.port(), "replication", "replication", None).await;
        let id: Option<u32> = other.query_first("SELECT @@server_id").await.expect("an id");
        assert_eq!(id, Some(1));
        let _ = other.disconnect().await;
    }
    assert_eq!(dumps_through(&mut primary, within).await, dumps, "the same thread still");

    // It stops and goes on.
    follower.run(flavour.stop()).await;
    no_dump_is_left(&mut primary, within).await;
    run(&mut primary, "INSERT INTO app.follow VALUES (3, 'missed')").await;
    follower.run(flavour.start()).await;
    follower.awaits("SELECT t FROM app.follow WHERE n = 3", "missed").await;

    // Nobody takes it for a part of the cluster, or anything in it for broken.
    proxy.wait_until("all is as it was", |_| standing(&proxy) == before);
    docker(&["kill", &follower.server.container]).await;
    no_dump_is_left(&mut primary, within).await;
    eventually("the proxy's session ends", PATIENCE, async || {
        sessions(&proxy).await.is_empty().then_some(())
    })
    .await;
}

/// Source and replica number frames of the compressed protocol anew behind each event that is
/// acknowledged: on either side of the proxy, on both, in every way.
async fn a_compressed_replica_acknowledges(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &["REPLICAS=0"]);
    let mut primary = cluster.root("primary").await;
    let server = cluster.bare("further").await;
    let root = connect(&server.ip, server.port, "root", "root", None).await;
    let mut follower = Follower { flavour, server, root };
    // How the replica asks for it, and how the proxy does.
    let ways: &[[&str; 2]] = match flavour {
        Flavour::MySql => {
            &[["uncompressed", "zlib"], ["zlib", "none"], ["zstd", "zlib"], ["zlib", "zstd"]]
        }
        Flavour::MariaDb => &[["0", "zlib"], ["1", "none"], ["1", "zlib"]],
    };
    let mut number = 0;
    for [replica, pool] in ways {
        let what = format!("{replica} to the proxy, {pool} to the primary");
        let pool = format!("[pool]\ncompression = \"{pool}\"");
        let (_proxy, within) = Proxy::start_within(&cluster, &pool);
        if number == 0 {
            follower.follow(within).await;
        }
        follower.run(flavour.stop()).await;
        let (host, port) = (within.ip(), within.port());
        match flavour {
            Flavour::MySql => {
                follower
                    .run(&format!(
                        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{host}', \
                         SOURCE_PORT = {port}, SOURCE_COMPRESSION_ALGORITHMS = '{replica}', \
                         SOURCE_HEARTBEAT_PERIOD = 1"
                    ))
                    .await;
            }
            Flavour::MariaDb => {
                follower.run(&format!("SET GLOBAL slave_compressed_protocol = {replica}")).await;
                run(&mut primary, "SET GLOBAL slave_compressed_protocol = 1").await;
                follower
                    .run(&format!(
                        "CHANGE MASTER TO MASTER_HOST = '{host}', MASTER_PORT = {port}, \
                         MASTER_HEARTBEAT_PERIOD = 1"
                    ))
                    .await;
            }
        }
        follower.run(flavour.start()).await;
        let semi_sync = flavour.semi_sync();
        run(&mut primary, &format!("SET GLOBAL {semi_sync}_timeout = 30000")).await;
        run(&mut primary, &format!("SET GLOBAL {semi_sync}_enabled = ON")).await;
        run(&mut primary, "CREATE TABLE IF NOT EXISTS app.heard (n INT, t LONGTEXT)").await;
        run(&mut primary, &format!("INSERT INTO app.heard VALUES ({number}, 'begun')")).await;
        let begun = format!("SELECT t FROM app.heard WHERE n = {number}");
        follower.awaits(&begun, "begun").await;
        eventually("it has caught up", PATIENCE, async || {
            let on = format!("SHOW GLOBAL STATUS LIKE '{semi_sync}_status'");
            let row: Option<(String, String)> = primary.query_first(on).await.expect("a status");
            row.is_some_and(|(_, on)| on == "ON").then_some(())
        })
        .await;
        let acknowledged = status(&mut primary, &format!("{semi_sync}_yes_tx")).await;
        let unheard = status(&mut primary, &format!("{semi_sync}_no_tx")).await;
        let heard = follower.heartbeats().await;
        for size in [1, 100, 40_000, LARGE, 17, 1 << 20, 1] {
            number += 1;
            let insert = format!("INSERT INTO app.heard VALUES ({number}, REPEAT('x', {size}))");
            run(&mut primary, &insert).await;
            if size == 17 {
                eventually("heartbeats arrive", PATIENCE, async || {
                    (follower.heartbeats().await >= heard + 2).then_some(())
                })
                .await;
            }
        }
        let counted = status(&mut primary, &format!("{semi_sync}_no_tx")).await;
        assert_eq!(counted, unheard, "{what}");
        let counted = status(&mut primary, &format!("{semi_sync}_yes_tx")).await;
        assert_eq!(counted, acknowledged + 7, "{what}");
        let last = format!("SELECT t FROM app.heard WHERE n = {number}");
        follower.awaits(&last, "x").await;
        assert_eq!(dumps_through(&mut primary, within).await.len(), 1, "{what}");
        number += 1;
    }
}

/// What a client gets that dumps the log to its end, or may not, and what it can do afterwards.
async fn a_dump_ends_as_on_a_server(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let proxy = Proxy::start(cluster, "");
    let mut primary = cluster.root("primary").await;
    let logs: Vec<Row> = primary.query("SHOW BINARY LOGS").await.expect("the logs");
    let log: String = logs[0].get(0).expect("a name");
    for (user, log) in [("replication", &log[..]), ("replication", "nothing.000001"), ("app", &log)]
    {
        let mut ends = Vec::new();
        for address in [cluster.primary_address(), proxy.address] {
            let mut client = Raw::login(address, user, user, None, OLD).await.expect("a login");
            let reply = client.query("SET @master_binlog_checksum = 'NONE'").await;
            assert_eq!(error_code(&reply), None);
            let reply = client.query("SET @source_binlog_checksum = 'NONE'").await;
            assert_eq!(error_code(&reply), None);
            client.send(&dump(log)).await;
            let (events, code) = stream(&mut client).await;
            ends.push((events, code, client.ping().await));
        }
        assert_eq!(ends[1], ends[0], "{user} {log}");
        assert_eq!(ends[0].0 > 2, user == "replication" && log.starts_with("binlog"), "{ends:?}");
    }
}

async fn a_tool_reads_the_binary_log(flavour: Flavour) {
    let cluster = Cluster::start(flavour, &["REPLICAS=0"]);
    let (_proxy, within) = Proxy::start_within(&cluster, "");
    let mut primary = cluster.root("primary").await;
    run(&mut primary, "CREATE TABLE app.logged (n INT PRIMARY KEY, t LONGTEXT)").await;
    run(&mut primary, &format!("INSERT INTO app.logged VALUES (2, REPEAT('x', {LARGE}))")).await;
    run(&mut primary, "INSERT INTO app.logged VALUES (1, 'logged')").await;
    run(&mut primary, "FLUSH BINARY LOGS").await;
    let container = &cluster.primary().container;
    let mut read = Vec::new();
    for (host, port) in [("primary".to_owned(), 3306), (within.ip().to_string(), within.port())] {
        let (tool, more) = match flavour {
            Flavour::MySql => ("mysqlbinlog", "--get-server-public-key"),
            Flavour::MariaDb => ("mariadb-binlog", "--verbose"),
        };
        let (host, port) = (format!("--host={host}"), format!("--port={port}"));
        read.push(
            docker(&[
                "exec",
                container,
                tool,
                more,
                "--read-from-remote-server",
                &host,
                &port,
                "--protocol=tcp",
                "--user=root",
                "--password=root",
                "binlog.000001",
            ])
            .await,
        );
    }
    assert!(read[0].contains("CREATE TABLE app.logged"));
    assert!(read[0].len() > LARGE);
    assert!(read[0] == read[1], "through the proxy it reads something else");
}

/// A server that replicates through the proxy.
struct Follower {
    flavour: Flavour,
    server: Server,
    root: Conn,
}

impl Follower {
    async fn start(flavour: Flavour, server: Server, source: SocketAddr) -> Self {
        let root = connect(&server.ip, server.port, "root", "root", None).await;
        let mut follower = Follower { flavour, server, root };
        follower.follow(source).await;
        follower
    }

    /// Begins to replicate from this source.
    async fn follow(&mut self, source: SocketAddr) {
        let (host, port) = (source.ip(), source.port());
        let statements = match self.flavour {
            Flavour::MySql => vec![
                "INSTALL PLUGIN rpl_semi_sync_replica SONAME 'semisync_replica.so'".to_owned(),
                "SET GLOBAL rpl_semi_sync_replica_enabled = ON".to_owned(),
                "RESET BINARY LOGS AND GTIDS".to_owned(),
                format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{host}', SOURCE_PORT = {port}, \
                     SOURCE_USER = 'replication', SOURCE_PASSWORD = 'replication', \
                     SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, \
                     SOURCE_CONNECT_RETRY = 1, SOURCE_HEARTBEAT_PERIOD = 1"
                ),
            ],
            Flavour::MariaDb => vec![
                "RESET MASTER".to_owned(),
                "SET GLOBAL gtid_slave_pos = ''".to_owned(),
                format!(
                    "CHANGE MASTER TO MASTER_HOST = '{host}', MASTER_PORT = {port}, \
                     MASTER_USER = 'replication', MASTER_PASSWORD = 'replication', \
                     MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, \
                     MASTER_HEARTBEAT_PERIOD = 1"
                ),
            ],
        };
        for statement in statements {
            self.run(&statement).await;
        }
        self.run(self.flavour.start()).await;
    }

    async fn run(&mut self, statement: &str) {
        run(&mut self.root, statement).await;
    }

    /// Waits until it has what was written to the primary.
    async fn awaits(&mut self, query: &str, wanted: &str) {
        let Follower { flavour, root, .. } = self;
        let started = std::time::Instant::now();
        loop {
            let value: Result<Option<String>, _> = root.query_first(query).await;
            if value.as_ref().is_ok_and(|value| value.as_deref() == Some(wanted)) {
                return;
            }
            if started.elapsed() > PATIENCE {
                let state: Vec<Row> = root.query(flavour.show()).await.expect("a status");
                panic!("{query} gives {value:?}, not {wanted}: {state:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn heartbeats(&mut self) -> u64 {
        match self.flavour {
            Flavour::MySql => {
                let count = "SELECT COUNT_RECEIVED_HEARTBEATS \
                             FROM performance_schema.replication_connection_status";
                self.root.query_first(count).await.expect("a count").expect("a channel")
            }
            Flavour::MariaDb => status(&mut self.root, "Slave_received_heartbeats").await,
        }
    }
}

impl Flavour {
    fn start(self) -> &'static str {
        match self {
            Flavour::MySql => "START REPLICA",
            Flavour::MariaDb => "START SLAVE",
        }
    }

    fn stop(self) -> &'static str {
        match self {
            Flavour::MySql => "STOP REPLICA",
            Flavour::MariaDb => "STOP SLAVE",
        }
    }

    fn show(self) -> &'static str {
        match self {
            Flavour::MySql => "SHOW REPLICA STATUS",
            Flavour::MariaDb => "SHOW SLAVE STATUS",
        }
    }

    /// What the primary's variables of semi-synchronous replication begin with.
    fn semi_sync(self) -> &'static str {
        match self {
            Flavour::MySql => "rpl_semi_sync_source",
            Flavour::MariaDb => "rpl_semi_sync_master",
        }
    }
}

async fn run(conn: &mut Conn, statement: &str) {
    conn.query_drop(statement).await.unwrap_or_else(|error| panic!("{statement:.200}: {error}"));
}

/// A server's status variable.
async fn status(conn: &mut Conn, name: &str) -> u64 {
    let row: Option<(String, u64)> =
        conn.query_first(format!("SHOW GLOBAL STATUS LIKE '{name}'")).await.expect("a status");
    row.unwrap_or_else(|| panic!("no status variable {name}")).1
}

/// The primary's threads that send its binary log to `replication` at the proxy's address.
async fn dumps_through(primary: &mut Conn, proxy: SocketAddr) -> Vec<u64> {
    let list = format!(
        "SELECT ID FROM information_schema.processlist WHERE USER = 'replication' \
         AND HOST LIKE '{}:%' AND COMMAND LIKE 'Binlog Dump%'",
        proxy.ip()
    );
    primary.query(list).await.expect("a list")
}

async fn no_dump_is_left(primary: &mut Conn, proxy: SocketAddr) {
    eventually("the primary sends nothing to it any more", PATIENCE, async || {
        dumps_through(primary, proxy).await.is_empty().then_some(())
    })
    .await;
}

/// The proxy's sessions of `replication`: to which server each is bound, and why.
async fn sessions(proxy: &Proxy) -> Vec<(String, String)> {
    let mut console = connect("127.0.0.1", proxy.admin.port(), "admin", "", None).await;
    let rows: Vec<Row> = console.query("SHOW SESSIONS").await.expect("a list");
    let text = |row: &Row, column: &str| {
        row.get::<Option<String>, _>(column).expect("a column of this name").unwrap_or_default()
    };
    let its = rows.iter().filter(|row| text(row, "user") == "replication");
    its.map(|row| (text(row, "backend"), text(row, "pins"))).collect()
}

/// What the proxy makes of the cluster's servers.
fn standing(proxy: &Proxy) -> Vec<[serde_json::Value; 4]> {
    let status = proxy.status();
    let backends = status["backends"].as_array().expect("a list of backends");
    let facts = ["name", "role", "state", "warnings"];
    backends.iter().map(|backend| facts.map(|fact| backend[fact].clone())).collect()
}

/// COM_BINLOG_DUMP up to the end of this log.
fn dump(log: &str) -> Vec<u8> {
    let mut payload = vec![COM_BINLOG_DUMP];
    payload.extend(4u32.to_le_bytes());
    payload.extend(DUMP_NON_BLOCK.to_le_bytes());
    payload.extend(4711u32.to_le_bytes());
    payload.extend(log.as_bytes());
    payload
}

/// Events up to the end of the stream: how many, and the error that ended it.
async fn stream(client: &mut Raw) -> (u32, Option<u16>) {
    let mut events = 0;
    loop {
        let Ok(packet) = client.packet().await else { return (events, None) };
        match packet.payload[0] {
            0xFF => {
                return (events, Some(u16::from_le_bytes([packet.payload[1], packet.payload[2]])));
            }
            0xFE => return (events, None),
            _ => events += 1,
        }
    }
}
