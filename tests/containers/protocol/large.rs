//! Payloads around the longest that one packet holds, and around two of them: in both directions
//! the same as directly.

use rwproxy::wire::Capabilities;
use rwproxy::wire::packet::{MAX_PAYLOAD, Packet};

use super::primary;
use super::step::{Script, Step};
use crate::support::raw::{OLD, Outcome, Raw, error_code, value};
use crate::support::{Cluster, Flavour, Proxy, marker};

crate::on_both_flavours!(long_statements);
crate::on_both_flavours!(long_rows);
crate::on_both_flavours!(long_parameters);
crate::on_both_flavours!(long_parameters_without_types);
crate::on_both_flavours!(a_statement_that_is_too_long);

/// Payloads of one packet, of one and an empty one, of two, of two and an empty one, of three.
pub const LENGTHS: [usize; 5] =
    [MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 2 * MAX_PAYLOAD, 2 * MAX_PAYLOAD + 1];

/// A COM_QUERY whose payload has this length, with a string in its middle that fills it.
fn filled(begin: &str, end: &str, length: usize) -> Vec<u8> {
    let filling = vec![b'x'; length - 1 - begin.len() - end.len()];
    [&[0x03], begin.as_bytes(), &filling, end.as_bytes()].concat()
}

async fn long_statements(flavour: Flavour) {
    let cluster = Cluster::unlogged(flavour);
    let proxy = Proxy::start(cluster, "");
    same_statements(cluster, &proxy, OLD).await;
}

/// `capabilities` are those of the client of the proxy.
pub async fn same_statements(cluster: &Cluster, proxy: &Proxy, capabilities: Capabilities) {
    cluster.run_on("primary", "CREATE TABLE IF NOT EXISTS app.lengths (n INT)").await;
    let mut direct = Raw::app(primary(cluster), OLD).await;
    let mut proxied = Raw::app(proxy.address, capabilities).await;
    for length in LENGTHS {
        let what = format!("SELECT, {length} bytes");
        let query = filled("SELECT LENGTH('", "')", length);
        let expected = direct.ask(&query).await;
        let length = length - 1 - "SELECT LENGTH('')".len();
        assert_eq!(value(&expected, OLD), length.to_string());
        assert_same(&proxied.ask(&query).await, &expected, &what);
    }
    let (begin, end) = ("INSERT INTO lengths VALUES (LENGTH('", "'))");
    let mut sum = 0;
    for length in [MAX_PAYLOAD, 2 * MAX_PAYLOAD + 1] {
        let what = format!("INSERT, {length} bytes");
        let query = filled(begin, end, length);
        assert_same(&proxied.ask(&query).await, &direct.ask(&query).await, &what);
        sum += 2 * (length - 1 - begin.len() - end.len());
    }
    let sums = direct.query("SELECT SUM(n) FROM lengths").await;
    assert_eq!(value(&sums, OLD), sum.to_string());
    proxied.query("DROP TABLE lengths").await;
}

async fn long_rows(flavour: Flavour) {
    let cluster = Cluster::unlogged(flavour);
    let proxy = Proxy::start(cluster, "");
    let new = OLD | Capabilities::DEPRECATE_EOF;
    for (capabilities, lengths) in [(OLD, &LENGTHS[..]), (new, &LENGTHS[..2])] {
        let direct = Raw::app(primary(cluster), capabilities).await;
        let proxied = Raw::app(proxy.address, capabilities).await;
        same_rows(direct, proxied, lengths).await;
    }
}

pub async fn same_rows(mut direct: Raw, mut proxied: Raw, lengths: &[usize]) {
    for &length in lengths {
        // Its only value stands behind its length: 3 bytes of it, or 8, and what they are.
        let value = length - if length - 4 < 1 << 24 { 4 } else { 9 };
        let sql = format!("SELECT REPEAT('x', {value}) UNION ALL SELECT 'end'");
        let expected = direct.query(&sql).await;
        assert!(expected.iter().any(|packet| packet.payload.len() == length), "{length}");
        assert_same(&proxied.query(&sql).await, &expected, &format!("a row of {length} bytes"));
    }
}

async fn long_parameters(flavour: Flavour) {
    let cluster = Cluster::unlogged(flavour);
    let proxy = Proxy::start(cluster, "");
    // As part of the statement's execution; behind its number 13 bytes, and 4 of the length.
    let inline = |length: usize| {
        let text = length - 5 - 13;
        let size = &u32::try_from(text).expect("three bytes").to_le_bytes()[..3];
        let filling = vec![b'x'; text];
        [&[0, 1, 0, 0, 0, 0, 1, 0xFD, 0, 0xFD], size, &filling].concat()
    };
    // Ahead of it; behind the statement's number the parameter's.
    let long_data = |length: usize| [&[0, 0][..], &vec![b'x'; length - 5 - 2]].concat();
    let mut script = vec![Step::Prepare("SELECT LENGTH(?)")];
    for length in [MAX_PAYLOAD, MAX_PAYLOAD + 1] {
        script.push(Step::Statement(0x17, inline(length)));
        script.push(Step::Statement(0x18, long_data(length)));
        script.push(Step::Statement(0x18, long_data(length)));
        script.push(Step::Statement(0x17, vec![0, 1, 0, 0, 0, 0, 1, 0xFC, 0]));
        script.push(Step::Statement(0x1A, vec![]));
    }
    let mut direct = Script::new(Raw::app(primary(cluster), OLD).await);
    let mut proxied = Script::new(Raw::app(proxy.address, OLD).await);
    for (number, step) in script.iter().enumerate() {
        let expected = direct.take(step).await;
        assert_eq!(error_code(&expected), None, "step {number}, directly");
        assert_same(&proxied.take(step).await, &expected, &format!("step {number}"));
    }
}

/// The types come with a short execution, on a replica. The long one runs in a transaction on the
/// primary, which must be told them: with some lengths that takes one packet more.
async fn long_parameters_without_types(flavour: Flavour) {
    let cluster = Cluster::unlogged(flavour);
    let proxy = Proxy::start(cluster, "[routing]\nconsistency = \"eventual\"");
    let new = OLD | Capabilities::DEPRECATE_EOF;
    let attributes = OLD | Capabilities::QUERY_ATTRIBUTES;
    let clients = match flavour {
        Flavour::MySql => &[OLD, attributes][..],
        Flavour::MariaDb => &[OLD, new],
    };
    for &capabilities in clients {
        let mut direct = Script::new(Raw::app(primary(cluster), capabilities).await);
        let mut proxied = Script::new(Raw::app(proxy.address, capabilities).await);
        for length in [MAX_PAYLOAD - 4, MAX_PAYLOAD - 2, MAX_PAYLOAD - 1, MAX_PAYLOAD]
            .into_iter()
            .chain([2 * MAX_PAYLOAD - 3, 2 * MAX_PAYLOAD - 1, 2 * MAX_PAYLOAD])
        {
            // A text that no connection has been told of.
            let select = marker("length");
            let script = [
                Step::Prepare(Box::leak(format!("SELECT ?, '{select}'").into_boxed_str())),
                Step::Statement(0x17, short_execution(capabilities)),
                Step::Query("BEGIN"),
                Step::Statement(0x17, long_execution(length, capabilities)),
                Step::Query("ROLLBACK"),
                Step::Statement(0x17, long_execution(100, capabilities)),
            ];
            for (number, step) in script.iter().enumerate() {
                let what = format!("{length} bytes, {capabilities:?}, step {number}");
                let expected = direct.take(step).await;
                assert_eq!(error_code(&expected), None, "{what}, directly");
                assert_same(&proxied.take(step).await, &expected, &what);
            }
        }
    }
}

/// What stands behind a statement's number up to the NULL bitmap.
fn begin_execution(capabilities: Capabilities) -> Vec<u8> {
    let mut begin = vec![0, 1, 0, 0, 0];
    if capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
        begin.push(1);
    }
    begin
}

/// Of one short string, with its type.
fn short_execution(capabilities: Capabilities) -> Vec<u8> {
    let name: &[u8] = match capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
        true => &[0],
        false => &[],
    };
    [&begin_execution(capabilities)[..], &[0, 1, 0xFD, 0], name, b"\x05short"].concat()
}

/// Of one string, without its type; all of the payload has this length.
fn long_execution(length: usize, capabilities: Capabilities) -> Vec<u8> {
    let begin = [&begin_execution(capabilities)[..], &[0, 0]].concat();
    let rest = length - 5 - begin.len();
    let (prefix, size) = match rest {
        0..=250 => (vec![], 1),
        251..=0x100_0002 => (vec![0xFD], 3),
        _ => (vec![0xFE], 8),
    };
    let text = rest - prefix.len() - size;
    let size = text.to_le_bytes()[..size].to_vec();
    [begin, prefix, size, vec![b'x'; text]].concat()
}

/// Beyond the servers' max_allowed_packet.
async fn a_statement_that_is_too_long(flavour: Flavour) {
    let cluster = Cluster::unlogged(flavour);
    let proxy = Proxy::start(cluster, "");
    let query = filled("SELECT LENGTH('", "')", (64 << 20) + 1);
    for address in [primary(cluster), proxy.address] {
        let mut client = Raw::app(address, OLD).await;
        client.send(&query).await;
        assert_eq!(client.outcome().await, Outcome::Error(1153), "{address}");
        // The server closes the connection; the proxy has others.
        let after = if address == proxy.address { Outcome::Served } else { Outcome::Closed };
        assert_eq!(client.ping().await, after, "{address}");
    }
}

fn assert_same(proxied: &[Packet], direct: &[Packet], what: &str) {
    let form = |packets: &[Packet]| -> Vec<_> {
        packets.iter().map(|packet| (packet.sequence, packet.payload.len())).collect()
    };
    assert_eq!(form(proxied), form(direct), "{what}: sequence numbers and lengths");
    assert!(proxied == direct, "{what}: other bytes");
}
