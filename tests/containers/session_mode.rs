//! `pool.mode = "session"`: each client has its own connections to the servers, which know whose they
//! are. The servers judge: by the connections that their general logs name, by what they show of
//! each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use rwproxy::backend::ConnectError;
use rwproxy::wire::Capabilities;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::support::cluster::options;
use crate::support::proxy::readers;
use crate::support::raw::{Login, OLD, Raw, error_code};
use crate::support::{Cluster, Flavour, Proxy, eventually, marker};

crate::on_both_flavours!(no_two_sessions_share_a_connection);
crate::on_both_flavours!(servers_know_what_clients_say_of_themselves);
crate::on_both_flavours!(there_are_as_many_sessions_as_connections);
crate::on_both_flavours!(a_session_outlives_its_connections);
crate::on_both_flavours!(servers_know_where_clients_are);

const SOON: Duration = Duration::from_secs(20);
const OWN: &str = "[pool]\nmode = \"session\"";
const SERVERS: [&str; 3] = ["primary", "replica1", "replica2"];
/// What tells GTIDs even behind a write.
const NEW: Capabilities = OLD.union(Capabilities::DEPRECATE_EOF);

/// The server's connections on which clients have sent statements with this marker.
async fn threads(cluster: &Cluster, server: &str, marker: &str) -> BTreeSet<u64> {
    let mut conn = cluster.root(server).await;
    let threads: Vec<u64> = conn
        .exec(
            "SELECT DISTINCT thread_id FROM mysql.general_log \
             WHERE CONVERT(argument USING utf8mb4) LIKE ? \
             AND CONVERT(argument USING utf8mb4) NOT LIKE '%mysql.general_log%'",
            (format!("%{marker}%"),),
        )
        .await
        .expect("the general log");
    let _ = conn.disconnect().await;
    threads.into_iter().collect()
}

async fn no_two_sessions_share_a_connection(flavour: Flavour) {
    const SESSIONS: usize = 6;
    let cluster = Cluster::shared(flavour);
    cluster.log_statements().await;
    let proxy = Proxy::start(cluster, OWN);
    let run = marker("own");
    let table = format!("own_{}", flavour.name());
    let mut conn = proxy.app().await;
    conn.query_drop(format!("CREATE TABLE IF NOT EXISTS {table} (id INT PRIMARY KEY, v INT)"))
        .await
        .expect("a table");
    conn.query_drop(format!("DELETE FROM {table}")).await.expect("an empty table");
    drop(conn);
    cluster.settle().await;
    let mut sessions = JoinSet::new();
    for number in 0..SESSIONS {
        let (options, mark, table) =
            (proxy.app_options(), format!("{run}-{number}:"), table.clone());
        let everywhere = SERVERS.map(|server| on(cluster, server, "SELECT 1"));
        sessions.spawn(async move {
            let mut conn = Conn::new(options).await.expect("a connection");
            let run = |text: &str| format!("{text} /* {mark} */");
            for round in 0..20u32 {
                let write = format!("REPLACE INTO {table} VALUES ({number}, {round})");
                conn.query_drop(run(&write)).await.expect("a write");
                let read = format!("SELECT v FROM {table} WHERE id = {number}");
                for _ in 0..4 {
                    let seen: Option<u32> = conn.query_first(run(&read)).await.expect("a read");
                    assert_eq!(seen, Some(round), "its own write");
                }
                match round {
                    // State comes along to each of them.
                    5 => conn.query_drop("SET @@group_concat_max_len = 77, @a = 5").await.unwrap(),
                    6..12 => {
                        let seen: Option<(u64, u32)> = conn
                            .query_first(run("SELECT @@group_concat_max_len, @a"))
                            .await
                            .expect("a read");
                        assert_eq!(seen, Some((77, 5)));
                    }
                    12 => conn.reset().await.map(drop).expect("COM_RESET_CONNECTION"),
                    13 => {
                        let seen: Option<Option<u32>> =
                            conn.query_first(run("SELECT @a")).await.expect("a read");
                        assert_eq!(seen, Some(None));
                    }
                    14 => {
                        let table = "CREATE TEMPORARY TABLE mine SELECT 7 AS v";
                        conn.query_drop(run(table)).await.expect("a temporary table");
                        let seen: Option<u32> =
                            conn.query_first(run("SELECT v FROM mine")).await.expect("a read");
                        assert_eq!(seen, Some(7));
                        conn.reset().await.map(drop).expect("COM_RESET_CONNECTION");
                        conn.query_drop("USE app").await.expect("the database");
                    }
                    _ => {}
                }
                let prepared = format!("SELECT v FROM {table} WHERE id = ?");
                let seen: Option<u32> =
                    conn.exec_first(run(&prepared), (number,)).await.expect("an execution");
                assert_eq!(seen, Some(round));
            }
            for read in everywhere {
                conn.query_drop(run(&read)).await.expect("a read");
            }
            conn
        });
    }
    let connections = sessions.join_all().await;
    for server in SERVERS {
        let mut all = BTreeSet::new();
        for number in 0..SESSIONS {
            let of_session = threads(cluster, server, &format!("{run}-{number}:")).await;
            assert!(of_session.len() <= 1, "{server}, session {number}: {of_session:?}");
            let expected = all.len() + of_session.len();
            all.extend(of_session);
            assert_eq!(all.len(), expected, "{server}: sessions share a connection");
        }
        assert_eq!(all.len(), SESSIONS, "{server} has served all of them");
    }
    let pools = pools(&proxy);
    for server in SERVERS {
        let (leased, idle) = pools[server];
        assert_eq!(leased + idle, SESSIONS as u64, "on {server}");
    }
    drop(connections);
    eventually("all are closed", SOON, async || {
        self::pools(&proxy).values().all(|counts| *counts == (0, 0)).then_some(())
    })
    .await;
}

/// A read that is to run on this server.
fn on(cluster: &Cluster, server: &str, read: &str) -> String {
    format!("/* rwproxy: backend={} */ {read}", cluster.server(server).container)
}

/// By server: connections in use, and idle ones.
fn pools(proxy: &Proxy) -> BTreeMap<String, (u64, u64)> {
    let status = proxy.status();
    let pools = status["pools"].as_array().expect("a list of pools");
    let count = |pool: &serde_json::Value, name: &str| pool[name].as_u64().expect("a number");
    let short = |name: &str| name.rsplit_once('-').map_or(name, |(_, server)| server).to_owned();
    pools
        .iter()
        .map(|pool| {
            let name = pool["backend"].as_str().expect("a name");
            (short(name), (count(pool, "leased"), count(pool, "idle")))
        })
        .collect()
}

/// The values that the clients of a server's connections have given to an attribute.
async fn attribute(cluster: &Cluster, server: &str, name: &str) -> Vec<String> {
    let mut conn = cluster.root(server).await;
    let values = conn
        .exec(
            "SELECT attr_value FROM performance_schema.session_connect_attrs \
             WHERE attr_name = ? AND attr_value IS NOT NULL",
            (name,),
        )
        .await
        .expect("attributes");
    let _ = conn.disconnect().await;
    values
}

/// Names and values as a login has them; none is longer than 250 bytes.
fn encoded(attributes: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    attributes.iter().flat_map(|(name, value)| [text(name), text(value)].concat()).collect()
}

async fn servers_know_what_clients_say_of_themselves(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    for (settings, told) in [(OWN, true), ("", false)] {
        let proxy = Proxy::start(cluster, settings);
        let [first, second] = ["first", "second"].map(marker);
        let attributes = encoded(&[("program_name", &first), ("release", "blue")]);
        let mut client = Raw::telling(proxy.address, NEW, &attributes).await;
        for server in SERVERS {
            client.query(&on(cluster, server, "SELECT 1")).await;
            let names = attribute(cluster, server, "program_name").await;
            assert_eq!(names.contains(&first), told, "{server}: {names:?}");
            let releases = attribute(cluster, server, "release").await;
            assert_eq!(releases.contains(&"blue".to_owned()), told, "{server}: {releases:?}");
        }
        // COM_CHANGE_USER brings its own, and what was is gone.
        let login = Login { user: "app", password: "app", database: Some("app"), collation: 45 };
        let attributes = encoded(&[("program_name", &second)]);
        client.change_user_telling(login, &attributes).await;
        for server in SERVERS {
            client.query(&on(cluster, server, "SELECT 1")).await;
            eventually("the new attributes alone", SOON, async || {
                let names = attribute(cluster, server, "program_name").await;
                (names.contains(&second) == told && !names.contains(&first)).then_some(())
            })
            .await;
        }
    }
}

async fn there_are_as_many_sessions_as_connections(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    let settings = format!("{OWN}\nmax_per_backend = 2\nlease_timeout = \"600ms\"");
    let proxy = Proxy::start(cluster, &settings);
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Raw::app(proxy.address, NEW).await;
        assert_eq!(error_code(&client.query("DO 1").await), None, "on the primary");
        clients.push(client);
    }
    let mut late = Raw::app(proxy.address, NEW).await;
    let began = Instant::now();
    assert_eq!(error_code(&late.query("DO 2").await), Some(1040), "a third on the primary");
    assert!(began.elapsed() >= Duration::from_millis(600), "it has waited its turn");
    // Reads have connections elsewhere.
    assert_eq!(error_code(&late.query("SELECT 1").await), None);
    {
        let mut waiting = Box::pin(late.query("DO 3"));
        let soon = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
        assert!(soon.is_err(), "it waits");
        clients.pop();
        assert_eq!(error_code(&waiting.await), None, "the place of one that has left");
    }
    // Pinned or not, a session has no second one.
    clients.push(late);
    for client in &mut clients {
        let pin = client.query("CREATE TEMPORARY TABLE pins SELECT 1 AS v").await;
        assert_eq!(error_code(&pin), None);
    }
    let mut another = Raw::app(proxy.address, NEW).await;
    assert_eq!(error_code(&another.query("DO 4").await), Some(1040));
    assert_eq!(pools(&proxy)["primary"], (2, 0));
}

async fn a_session_outlives_its_connections(flavour: Flavour) {
    let mut cluster = Cluster::breakable(flavour).await;
    cluster.repair().await;
    let proxy = Proxy::start(&cluster, OWN);
    let mut conn = proxy.app().await;
    let table = "CREATE TABLE IF NOT EXISTS outlives (id INT PRIMARY KEY, v INT)";
    conn.query_drop(table).await.expect("a table");
    conn.query_drop("SET @@group_concat_max_len = 99").await.expect("a setting");
    let mut rounds = 0;
    let mut run = async |conn: &mut Conn, what: &str| {
        rounds += 1;
        let write = format!("REPLACE INTO outlives VALUES (1, {rounds})");
        conn.query_drop(write).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        for _ in 0..4 {
            let read = "SELECT v, @@group_concat_max_len FROM outlives WHERE id = 1";
            let seen: Option<(u32, u64)> =
                conn.query_first(read).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(seen, Some((rounds, 99)), "{what}");
        }
    };
    run(&mut conn, "at first").await;
    for server in SERVERS {
        conn.query_drop(on(&cluster, server, "SELECT 1")).await.expect("a read");
    }
    // What an operator, or wait_timeout, closes.
    for server in SERVERS {
        let mut root = cluster.root(server).await;
        let ids: Vec<u64> = root
            .query("SELECT id FROM information_schema.processlist WHERE user = 'app'")
            .await
            .expect("a list");
        assert!(!ids.is_empty(), "{server} has served it");
        for id in ids {
            root.query_drop(format!("KILL {id}")).await.expect("KILL");
        }
        eventually("they are closed", SOON, async || {
            let list = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'";
            let count: Option<u64> = root.query_first(list).await.expect("a count");
            (count == Some(0)).then_some(())
        })
        .await;
        let _ = root.disconnect().await;
    }
    run(&mut conn, "after KILL").await;
    // Open transactions end as in any mode.
    conn.query_drop("BEGIN").await.expect("BEGIN");
    conn.query_drop("REPLACE INTO outlives VALUES (2, 2)").await.expect("a write");
    for server in SERVERS {
        let container = cluster.server(server).container.clone();
        crate::support::chaos::docker(&["restart", "--time", "10", &container]).await;
    }
    cluster.repair().await;
    proxy.wait_until("the proxy has them back", |status| readers(status) == 2);
    let Err(Error::Server(error)) = conn.query_drop("SELECT 1").await else {
        panic!("the transaction is lost")
    };
    assert_eq!(error.code, 1213, "{error}");
    let _ = conn.query_drop("ROLLBACK").await;
    eventually("a primary", SOON, async || conn.query_drop("DO 1").await.ok()).await;
    run(&mut conn, "after a restart").await;
}

/// A proxy that tells of each client that it has this address.
struct Teller {
    address: SocketAddr,
    task: AbortHandle,
}

impl Teller {
    async fn start(to: SocketAddr, client: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let header = format!("PROXY TCP4 {} 10.0.0.1 {} 3306\r\n", client.ip(), client.port());
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let header = header.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(to).await?;
                    server.write_all(header.as_bytes()).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Teller { address, task: task.abort_handle() }
    }

    async fn log_in(&self, user: &str, password: &str) -> Result<Conn, Error> {
        let (host, port) = (self.address.ip().to_string(), self.address.port());
        Conn::new(options(&host, port, user, password, Some("app"))).await
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn code<T>(result: &Result<T, Error>) -> u16 {
    match result {
        Ok(_) => 0,
        Err(Error::Server(error)) => error.code,
        Err(other) => panic!("{other}"),
    }
}

async fn servers_know_where_clients_are(flavour: Flavour) {
    let settings = "[listen]\nproxy_protocol_from = ['127.0.0.1']\nproxy_protocol_out = true\n\
        [pool]\nmode = \"session\"";
    if flavour == Flavour::MySql {
        return left_out(settings).await;
    }
    let cluster = Cluster::start(flavour, &["--", "--proxy-protocol-networks=*"]);
    for statement in [
        "CREATE USER 'placed'@'203.0.113.7' IDENTIFIED BY 'seven'",
        "CREATE USER 'placed'@'203.0.113.8' IDENTIFIED BY 'eight'",
        "GRANT ALL ON app.* TO 'placed'@'203.0.113.7'",
        "GRANT SELECT ON app.* TO 'placed'@'203.0.113.8'",
    ] {
        cluster.run_on("primary", statement).await;
    }
    cluster.settle().await;
    let proxy = Proxy::start(&cluster, settings);
    let at = |last: u8| SocketAddr::from(([203, 0, 113, last], 50_000 + u16::from(last)));
    let [seven, eight, nine] = [
        Teller::start(proxy.address, at(7)).await,
        Teller::start(proxy.address, at(8)).await,
        Teller::start(proxy.address, at(9)).await,
    ];
    let mut conn = seven.log_in("placed", "seven").await.expect("from where it may");
    for server in SERVERS {
        conn.query_drop(on(&cluster, server, "SELECT 1")).await.expect("a read");
    }
    let seen: Option<(String, String)> =
        conn.query_first("SELECT USER(), CURRENT_USER()").await.expect("a row");
    let expected = ("placed@203.0.113.7".to_owned(), "placed@203.0.113.7".to_owned());
    assert_eq!(seen, Some(expected));
    for server in SERVERS {
        let mut root = cluster.root(server).await;
        let hosts: Vec<String> = root
            .query("SELECT host FROM information_schema.processlist WHERE user = 'placed'")
            .await
            .expect("a list");
        assert_eq!(hosts, [at(7).to_string()], "{server}");
        let monitor: Vec<String> = root
            .query(
                "SELECT DISTINCT SUBSTRING_INDEX(host, ':', 1) \
                    FROM information_schema.processlist WHERE user = 'rwproxy'",
            )
            .await
            .expect("a list");
        assert_eq!(monitor, [cluster.gateway()], "{server}");
        let _ = root.disconnect().await;
    }
    // The same name elsewhere is another account, with its own password and rights; or none.
    for _ in 0..2 {
        for (teller, right, wrong) in [(&eight, "eight", "seven"), (&seven, "seven", "eight")] {
            assert_eq!(code(&teller.log_in("placed", wrong).await), 1045, "{right}");
            let mut there = teller.log_in("placed", right).await.expect("the right password");
            let write = there.query_drop("CREATE TABLE IF NOT EXISTS placed (v INT)").await;
            assert_eq!(code(&write), if right == "seven" { 0 } else { 1142 });
            there.query_drop("SELECT 1").await.expect("a read");
        }
        for password in ["seven", "eight"] {
            assert_eq!(code(&nine.log_in("placed", password).await), 1045, "from nowhere");
        }
    }
    conn.query_drop("DO 1").await.expect("nobody has spoilt it");
    // A statement is killed by a connection that comes from the same place.
    let id = conn.id();
    let began = Instant::now();
    let sleeps = tokio::spawn(async move {
        let slept: Option<u32> = conn.query_first("SELECT SLEEP(30)").await.unwrap_or(None);
        (conn, slept)
    });
    let mut killer = seven.log_in("placed", "seven").await.expect("once more");
    eventually("the statement runs", SOON, async || {
        let mut found = 0;
        for server in SERVERS {
            let mut root = cluster.root(server).await;
            let count: Option<u64> = root
                .query_first(
                    "SELECT COUNT(*) FROM information_schema.processlist \
                     WHERE user = 'placed' AND info LIKE 'SELECT SLEEP%'",
                )
                .await
                .expect("a list");
            found += count.unwrap_or(0);
            let _ = root.disconnect().await;
        }
        (found == 1).then_some(())
    })
    .await;
    killer.query_drop(format!("KILL QUERY {id}")).await.expect("KILL QUERY");
    let (mut conn, _) = sleeps.await.expect("it ends");
    assert!(began.elapsed() < Duration::from_secs(25), "by the KILL");
    conn.query_drop("DO 1").await.expect("the session lives");
    // Without a header, the connection's own address counts.
    let direct = Proxy::start(&cluster, &settings.replace("['127.0.0.1']", "[]"));
    let mut conn = direct.app().await;
    let seen: Option<String> = conn.query_first("SELECT USER()").await.expect("a row");
    assert_eq!(seen.as_deref(), Some("app@127.0.0.1"));
}

/// MySQL takes no headers, and the proxy says so.
async fn left_out(settings: &str) {
    let cluster = Cluster::shared(Flavour::MySql);
    let text = format!("[docker]\ncluster = \"{}\"\n{settings}\n", cluster.name);
    let proxy = Proxy::start_with(&text);
    proxy.wait_until("the reason", |status| {
        let backends = status["backends"].as_array().expect("a list");
        let advised = |backend: &serde_json::Value| backend.to_string().contains("proxy_protocol");
        backends.len() == 3 && backends.iter().all(advised)
    });
    let refused = Raw::login(proxy.address, "app", "app", None, OLD).await;
    assert!(!matches!(refused, Ok(_) | Err(ConnectError::TimedOut(_))), "nobody gets in");
}
