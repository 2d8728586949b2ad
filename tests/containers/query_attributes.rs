//! Query attributes reach the server that runs the statement, and no other statement.
//!
//! MariaDB has none. A view calls the function that reads them, so that replicas can be asked, too.

use mysql_async::prelude::Queryable;
use rwproxy::wire::Capabilities;
use rwproxy::wire::codec::Reader;
use rwproxy::wire::packet::Packet;

use crate::support::raw::{OLD, Raw, error_code};
use crate::support::{Cluster, Flavour, Proxy, marker};

const CAPABILITIES: Capabilities =
    OLD.union(Capabilities::QUERY_ATTRIBUTES).union(Capabilities::DEPRECATE_EOF);
/// MYSQL_TYPE_STRING.
const STRING: u16 = 0xFE;
/// COM_STMT_EXECUTE's flag: the number of parameters is told, query attributes are among them.
const PARAMETER_COUNT_AVAILABLE: u8 = 8;

type Attributes<'a> = &'a [(&'a str, &'a str)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_are_those_of_their_statement() {
    let cluster = cluster().await;
    // So few that the clients share each connection.
    let proxy = Proxy::start(&cluster, "[pool]\nmax_per_backend = 1\nlease_timeout = \"30s\"");
    let mut first = Raw::app(proxy.address, CAPABILITIES).await;
    let mut second = Raw::app(proxy.address, CAPABILITIES).await;
    // Whoever comes next must be given other settings.
    assert_eq!(error_code(&query(&mut second, "SET SESSION sql_mode = ''", &[]).await), None);
    for (place, lock) in [("replica1", ""), ("primary", "FOR UPDATE")] {
        let mark = marker("attributes");
        let ask = format!("SELECT a, b FROM app.told {lock} /* {mark} */");
        for round in 0..5 {
            let (a, b) = (format!("one-{round}"), format!("two-{round}"));
            let rows = query(&mut first, &ask, &[("a", &a)]).await;
            assert_eq!(text(&rows, 2), [Some(a), None], "{place}");
            let rows = query(&mut second, &ask, &[("x", "unread"), ("b", &b)]).await;
            assert_eq!(text(&rows, 2), [None, Some(b)], "{place}");
            assert_eq!(text(&query(&mut first, &ask, &[]).await, 2), [None, None], "{place}");
        }
        assert_eq!(cluster.count_logged(place, &mark).await, 15);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_of_executions_are_theirs() {
    let cluster = cluster().await;
    let proxy = Proxy::start(&cluster, "[pool]\nmax_per_backend = 1\nlease_timeout = \"30s\"");
    let mut first = Raw::app(proxy.address, CAPABILITIES).await;
    let mut second = Raw::app(proxy.address, CAPABILITIES).await;
    for (place, lock) in [("replica1", ""), ("primary", "FOR UPDATE")] {
        let mark = marker("executed");
        let sql = format!("SELECT a, b, ? FROM app.told {lock} /* {mark} */");
        let mut numbers = Vec::new();
        for client in [&mut first, &mut second] {
            let reply = client.ask(&[&[0x16], sql.as_bytes()].concat()).await;
            assert_eq!(error_code(&reply), None);
            numbers.push([1, 2, 3, 4].map(|at| reply[0].payload[at]));
        }
        for round in 0..5 {
            let (a, p) = (format!("one-{round}"), format!("value-{round}"));
            let rows = first.ask(&execute(numbers[0], Some(&p), &[("a", &a)])).await;
            assert_eq!(binary(&rows, 3), [Some(a), None, Some(p.clone())], "{place}");
            let rows = second.ask(&execute(numbers[1], Some(&p), &[])).await;
            assert_eq!(binary(&rows, 3), [None, None, Some(p.clone())], "{place}");
            // The parameter's type is known; the attribute must not be taken for one.
            let rows = first.ask(&execute(numbers[0], None, &[])).await;
            assert_eq!(binary(&rows, 3), [None, None, Some("untyped".to_owned())], "{place}");
        }
        assert_eq!(cluster.count_logged(place, &mark).await, 15);
    }
}

/// The function itself is a loadable one: nobody knows what it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_function_that_reads_them_is_a_users() {
    let cluster = cluster().await;
    let proxy = Proxy::start(&cluster, "");
    let mut client = Raw::app(proxy.address, CAPABILITIES).await;
    let [before, asked, after] = ["before", "asked", "after"].map(marker);
    query(&mut client, &format!("SELECT 1 /* {before} */"), &[]).await;
    let ask = format!("SELECT mysql_query_attribute_string('a') /* {asked} */");
    assert_eq!(text(&query(&mut client, &ask, &[("a", "here")]).await, 1), [Some("here".into())]);
    assert_eq!(text(&query(&mut client, &ask, &[]).await, 1), [None]);
    query(&mut client, &format!("SELECT 1 /* {after} */"), &[]).await;
    assert_eq!(cluster.count_logged("replica1", &before).await, 1);
    assert_eq!(cluster.count_logged("primary", &asked).await, 2);
    assert_eq!(cluster.count_logged("primary", &after).await, 1, "the session is pinned");
}

/// A cluster whose servers have the functions that read attributes.
async fn cluster() -> Cluster {
    let cluster = Cluster::start(Flavour::MySql, &["REPLICAS=1"]);
    for server in ["primary", "replica1"] {
        let mut conn = cluster.root(server).await;
        let install = "INSTALL COMPONENT 'file://component_query_attributes'";
        for statement in ["SET GLOBAL super_read_only = OFF", install] {
            conn.query_drop(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        if server != "primary" {
            conn.query_drop("SET GLOBAL super_read_only = ON").await.expect("it is a replica");
        }
        let _ = conn.disconnect().await;
    }
    let view = "CREATE VIEW app.told AS SELECT mysql_query_attribute_string('a') AS a, \
                mysql_query_attribute_string('b') AS b";
    cluster.run_on("primary", view).await;
    cluster.settle().await;
    cluster.log_statements().await;
    cluster
}

async fn query(client: &mut Raw, sql: &str, attributes: Attributes<'_>) -> Vec<Packet> {
    let mut payload = vec![0x03, attributes.len() as u8, 1];
    put(&mut payload, None, attributes);
    payload.extend(sql.as_bytes());
    client.ask(&payload).await
}

/// COM_STMT_EXECUTE of a statement with one parameter; without a value its type is left out.
fn execute(number: [u8; 4], value: Option<&str>, attributes: Attributes<'_>) -> Vec<u8> {
    let mut payload = vec![0x17];
    payload.extend(number);
    payload.push(if attributes.is_empty() { 0 } else { PARAMETER_COUNT_AVAILABLE });
    payload.extend(1u32.to_le_bytes());
    // It is told of a statement with parameters, whatever the flag says.
    payload.push(1 + attributes.len() as u8);
    let Some(value) = value else {
        payload.extend([0, 0]);
        put_string(&mut payload, "untyped");
        return payload;
    };
    put(&mut payload, Some(value), attributes);
    payload
}

/// A NULL bitmap, types with names, and values: of a parameter, which has no name, and of
/// attributes.
fn put(payload: &mut Vec<u8>, parameter: Option<&str>, attributes: Attributes<'_>) {
    let all: Vec<_> =
        parameter.map(|value| ("", value)).into_iter().chain(attributes.to_vec()).collect();
    if all.is_empty() {
        return;
    }
    payload.extend([0, 1]);
    for (name, _) in &all {
        payload.extend(STRING.to_le_bytes());
        put_string(payload, name);
    }
    for (_, value) in &all {
        put_string(payload, value);
    }
}

fn put_string(payload: &mut Vec<u8>, text: &str) {
    payload.push(text.len() as u8);
    payload.extend(text.as_bytes());
}

/// The values of the one row of a text result.
fn text(reply: &[Packet], columns: usize) -> Vec<Option<String>> {
    assert_eq!(error_code(reply), None);
    let mut row = Reader::new(&reply[1 + columns].payload);
    let mut value = || row.nullable_lenenc_bytes().expect("a value").map(owned);
    (0..columns).map(|_| value()).collect()
}

/// The same of a binary result of strings.
fn binary(reply: &[Packet], columns: usize) -> Vec<Option<String>> {
    assert_eq!(error_code(reply), None);
    let mut row = Reader::new(&reply[1 + columns].payload);
    row.u8().expect("a header");
    // Its first two bits stand for nothing.
    let nulls = row.bytes((columns + 9) / 8).expect("a bitmap").to_vec();
    let is_null = |column: usize| nulls[(column + 2) / 8] & (1 << ((column + 2) % 8)) != 0;
    let mut value =
        |column| (!is_null(column)).then(|| owned(row.lenenc_bytes().expect("a value")));
    (0..columns).map(&mut value).collect()
}

fn owned(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
