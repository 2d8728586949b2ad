//! Hints in comments and query attributes: which server a read asks for.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};

use crate::support::raw::{OLD, Raw, error_code, value};
use crate::support::{Cluster, Flavour, Proxy, marker};
use rwproxy::wire::Capabilities;

crate::on_both_flavours!(a_read_runs_on_the_server_that_it_names);
crate::on_both_flavours!(a_read_runs_where_the_lag_is_as_low_as_it_asks);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_attribute_is_a_hint() {
    // MariaDB has no query attributes.
    let cluster = Cluster::shared(Flavour::MySql);
    cluster.log_statements().await;
    let proxy = Proxy::start(cluster, "[routing]\nslow_start = \"0s\"\nconsistency = \"eventual\"");
    let mut client = Raw::app(proxy.address, OLD | Capabilities::QUERY_ATTRIBUTES).await;
    let name = |server: &str| format!("backend={}", cluster.server(server).container);
    let (read, write) =
        ("SELECT COUNT(*) FROM by_attribute", "INSERT INTO by_attribute VALUES (1)");
    client.query("CREATE TABLE IF NOT EXISTS by_attribute (n INT)").await;
    cluster.settle().await;
    let table = [
        ("primary".into(), read, [4, 0, 0]),
        (name("replica2"), read, [0, 0, 4]),
        (name("replica1"), "SELECT @@hostname", [0, 4, 0]),
        (name("replica1"), write, [4, 0, 0]),
        ("primray".into(), read, [4, 0, 0]),
        ("max_lag=1m".into(), read, [0, 2, 2]),
    ];
    for (hint, sql, expected) in table {
        let mark = marker("hint");
        let sql = format!("{sql} /* {mark} */");
        for _ in 0..4 {
            let payload = [&[0x03, 1, 1][..], &attribute(&hint), sql.as_bytes()].concat();
            let reply = client.ask(&payload).await;
            assert_eq!(error_code(&reply), None, "{hint}: {sql}");
        }
        assert_eq!(logged(cluster, &mark).await, expected, "{hint}: {sql}");
    }
    // An execution of a prepared statement, with a parameter in front of the attribute.
    let mark = marker("hint");
    let prepare = format!("\x16SELECT COUNT(*) + ? FROM by_attribute /* {mark} */");
    let prepared = client.ask(prepare.as_bytes()).await;
    let number = &prepared[0].payload[1..5];
    for _ in 0..4 {
        let hint = name("replica2");
        let length = u8::try_from(hint.len()).unwrap();
        let payload = [
            &[0x17][..],
            number,
            // The number of parameters is told, one iteration; two values, none NULL, types.
            b"\x08\x01\0\0\0\x02\0\x01",
            b"\x08\0\0\xfe\0\x07rwproxy",
            b"\x05\0\0\0\0\0\0\0",
            &[length],
            hint.as_bytes(),
        ]
        .concat();
        let reply = client.ask(&payload).await;
        assert_eq!(error_code(&reply), None);
    }
    let [primary, replica1, replica2] = logged(cluster, &mark).await;
    assert!(primary + replica1 == 0 && replica2 >= 4, "{primary} {replica1} {replica2}");
    // The server is told the attribute as it was.
    cluster.run_on("primary", "INSTALL COMPONENT 'file://component_query_attributes'").await;
    let sql = b"SELECT mysql_query_attribute_string('rwproxy')";
    let payload = [&[0x03, 1, 1][..], &attribute("primary"), sql].concat();
    let reply = client.ask(&payload).await;
    cluster.run_on("primary", "UNINSTALL COMPONENT 'file://component_query_attributes'").await;
    assert_eq!(value(&reply, client.capabilities), "primary");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mysql_client_gives_hints_as_attributes() {
    let cluster = Cluster::shared(Flavour::MySql);
    cluster.log_statements().await;
    let proxy = Proxy::start(cluster, "[routing]\nslow_start = \"0s\"\nconsistency = \"eventual\"");
    let mark = marker("hint");
    // The attributes hold for the one statement behind them.
    let hint = format!("backend={}", cluster.server("replica2").container);
    let script = format!(
        "query_attributes rwproxy primary\nSELECT '{mark}-one';\n\
         query_attributes rwproxy {hint}\nSELECT '{mark}-two';\n"
    );
    let port = proxy.address.port().to_string();
    let mut client = std::process::Command::new("docker");
    client.args(["run", "--rm", "--interactive", "--network", "host", "--entrypoint", "mysql"]);
    client.args(["rwproxy-test/mysql:9.7", "--no-defaults", "-h127.0.0.1", "-uapp", "-papp"]);
    client.args(["--ssl-mode=REQUIRED", "--commands", "-P", &port, "app"]);
    client.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = client.spawn().expect("docker runs");
    let mut input = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut input, script.as_bytes()).expect("the client reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(logged(cluster, &format!("{mark}-one")).await, [1, 0, 0]);
    assert_eq!(logged(cluster, &format!("{mark}-two")).await, [0, 0, 1]);
}

/// An attribute `rwproxy` with this value: no NULL, types, name, value.
fn attribute(value: &str) -> Vec<u8> {
    let length = u8::try_from(value.len()).expect("a short one");
    [&b"\0\x01\xfe\0\x07rwproxy"[..], &[length], value.as_bytes()].concat()
}

/// How many statements with this marker each server had: primary, replica1, replica2.
async fn logged(cluster: &Cluster, mark: &str) -> [u64; 3] {
    let mut counts = [0; 3];
    for (count, server) in counts.iter_mut().zip(["primary", "replica1", "replica2"]) {
        *count = cluster.count_logged(server, mark).await;
    }
    counts
}

/// Runs the statement ten times with the hint, and tells how many of these each server had:
/// primary, replica1, replica2.
async fn spread(cluster: &Cluster, conn: &mut Conn, hint: &str, sql: &str) -> [u64; 3] {
    let mark = marker("hint");
    for _ in 0..10 {
        conn.query_drop(format!("/* rwproxy: {hint} */ {sql} /* {mark} */")).await.unwrap();
    }
    logged(cluster, &mark).await
}

async fn a_read_runs_on_the_server_that_it_names(flavour: Flavour) {
    let cluster = Cluster::shared(flavour);
    cluster.log_statements().await;
    let proxy = Proxy::start(cluster, "[routing]\nslow_start = \"0s\"\nconsistency = \"eventual\"");
    let mut conn = proxy.app().await;
    conn.query_drop("CREATE TABLE IF NOT EXISTS hinted (n INT)").await.unwrap();
    cluster.settle().await;
    let name = |server: &str| format!("backend={}", cluster.server(server).container);
    let (read, write) = ("SELECT COUNT(*) FROM hinted", "INSERT INTO hinted VALUES (1)");
    let table = [
        (name("replica1"), read, [0, 10, 0]),
        (name("replica2"), "SELECT @@hostname", [0, 0, 10]),
        (name("primary"), read, [10, 0, 0]),
        (name("replica1"), write, [10, 0, 0]),
        ("max_lag=1m".into(), read, [0, 5, 5]),
        ("primray".into(), read, [10, 0, 0]),
        ("after=0-1-1".into(), read, [10, 0, 0]),
    ];
    for (hint, sql, expected) in table {
        assert_eq!(spread(cluster, &mut conn, &hint, sql).await, expected, "{hint}: {sql}");
    }
    // Prepared, the same hint holds at each execution.
    let hint = name("replica2");
    let mark = marker("hint");
    let sql = format!("SELECT n + ? FROM hinted /* rwproxy: {hint} */ /* {mark} */");
    let statement = conn.prep(&sql).await.unwrap();
    for n in 0..4 {
        conn.exec_drop(&statement, (n,)).await.unwrap();
    }
    assert_eq!(cluster.count_logged("replica1", &mark).await, 0);
    assert_eq!(cluster.count_logged("primary", &mark).await, 0);
    // A name that is not known is an error, and the session goes on.
    let wrong = conn.query_drop("SELECT 1 /* rwproxy: backend=nobody */").await;
    let Err(Error::Server(error)) = wrong else { panic!("{wrong:?}") };
    assert_eq!(error.code, 1105);
    assert!(error.message.contains("nobody"), "{error}");
    let one: Option<u32> = conn.query_first("SELECT 1").await.unwrap();
    assert_eq!(one, Some(1));
}

async fn a_read_runs_where_the_lag_is_as_low_as_it_asks(flavour: Flavour) {
    let mut cluster = Cluster::breakable(flavour).await;
    cluster.repair().await;
    cluster.log_statements().await;
    let proxy = Proxy::start(
        &cluster,
        "[routing]\nslow_start = \"0s\"\nmax_lag = \"1h\"\nconsistency = \"eventual\"",
    );
    let mut conn = proxy.app().await;
    conn.query_drop("CREATE TABLE IF NOT EXISTS hinted (n INT)").await.unwrap();
    cluster.settle().await;
    // The applier waits for the lock; its threads run, and the lag grows.
    let mut lock = cluster.root("replica1").await;
    lock.query_drop("LOCK TABLES app.hinted READ").await.unwrap();
    conn.query_drop("INSERT INTO hinted VALUES (1)").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let read = "SELECT 7";
    assert_eq!(spread(&cluster, &mut conn, "max_lag=500ms", read).await, [0, 0, 10]);
    assert_eq!(spread(&cluster, &mut conn, "max_lag=1h", read).await, [0, 5, 5]);
    let both = format!("max_lag=500ms, backend={}", cluster.server("replica1").container);
    assert_eq!(spread(&cluster, &mut conn, &both, read).await, [10, 0, 0]);
    lock.query_drop("UNLOCK TABLES").await.unwrap();
    cluster.settle().await;
}
