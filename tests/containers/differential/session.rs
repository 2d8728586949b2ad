//! One session from login to its end, packet by packet.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rwproxy::wire::Capabilities;
use rwproxy::wire::capabilities::Status;
use rwproxy::wire::packet::Packet;
use rwproxy::wire::reply::{EOF, ERR, OK, OkPacket, StateChange, put_ok};
use tokio::sync::Mutex;

use super::operation::{Operation, SLOTS};
use super::schema::database;
use crate::support::raw::{OLD, Raw, sorted_changes, without_numbers};
use crate::support::{Cluster, Flavour};

/// The answers to a session's operations.
#[derive(Debug, Default, Clone)]
pub struct Transcript {
    answers: Vec<String>,
}

impl Transcript {
    pub fn first_difference(&self, other: &Transcript) -> Option<usize> {
        let both = self.answers.iter().zip(&other.answers);
        both.clone()
            .position(|(a, b)| a != b)
            .or_else(|| (self.answers.len() != other.answers.len()).then(|| both.count()))
    }

    pub fn truncate(&mut self, operations: usize) {
        self.answers.truncate(operations);
    }

    /// Ends this, of a proxied session, and `direct` before the first answer by which a READ ONLY
    /// transaction on a replica refuses what the primary alone may run, and says where that is: from
    /// there on the session has not done what it does directly.
    pub fn end_at_refusal(&mut self, direct: &mut Transcript) -> Option<usize> {
        let refused = |answer: &String| answer.contains("rwproxy: it runs on a replica and");
        let at = self.answers.iter().position(refused)?;
        self.answers.truncate(at);
        direct.answers.truncate(at);
        Some(at)
    }

    pub fn at(&self, number: usize) -> &str {
        self.answers.get(number).map_or("(nothing)", String::as_str)
    }
}

/// By their number, sessions differ in what they have agreed on.
fn capabilities(number: usize) -> Capabilities {
    let new = OLD | Capabilities::DEPRECATE_EOF;
    match number % 5 {
        0 => OLD,
        1 => new,
        2 => new | Capabilities::SESSION_TRACK,
        3 => new | Capabilities::OPTIONAL_RESULTSET_METADATA,
        _ => OLD | Capabilities::FOUND_ROWS,
    }
}

/// Runs a session; where it breaks off, the transcript ends with the reason.
pub async fn run(
    address: SocketAddr,
    number: usize,
    plan: &[Operation],
    settler: Option<&Settler>,
) -> Transcript {
    let mut transcript = Transcript::default();
    let database = database(number);
    let login = Raw::login(address, "app", "app", Some(&database), capabilities(number)).await;
    let mut client = match login {
        Ok(client) => client,
        Err(error) => {
            transcript.answers.push(format!("no login: {error}"));
            return transcript;
        }
    };
    let mut statements = [None; SLOTS];
    for operation in plan {
        let asked = AssertUnwindSafe(ask(&mut client, operation, &database, &mut statements));
        match asked.catch_unwind().await {
            Ok(packets) => {
                let packets = match operation.uses() {
                    true => sorted_changes(packets, client.capabilities),
                    false => without_schema(packets, client.capabilities, operation.begins()),
                };
                transcript.answers.push(text(&packets));
            }
            Err(_) => {
                transcript.answers.push("the connection broke".to_owned());
                return transcript;
            }
        }
        if let Some(settler) = settler
            && operation.writes()
        {
            settler.settle().await;
        }
    }
    transcript
}

async fn ask(
    client: &mut Raw,
    operation: &Operation,
    database: &str,
    statements: &mut [Option<[u8; 4]>; SLOTS],
) -> Vec<Packet> {
    let named = |sql: &str| sql.replace("{db}", database);
    let reply = match operation {
        Operation::Query(sql) => client.query(&named(sql)).await,
        Operation::Command(payload) => client.ask(payload).await,
        Operation::UseDatabase(name) => {
            client.ask(&[b"\x02", named(name).as_bytes()].concat()).await
        }
        Operation::File(sql, parts) => {
            let payload = client.query_payload(sql);
            client.send(&payload).await;
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            client.reply(payload[0], &parts).await
        }
        Operation::Prepare(slot, sql) => {
            let mut reply = client.ask(&[b"\x16", named(sql).as_bytes()].concat()).await;
            let mut payload = reply[0].payload.to_vec();
            statements[*slot] =
                (payload[0] != ERR).then(|| [payload[1], payload[2], payload[3], payload[4]]);
            if payload[0] != ERR {
                payload[1..5].fill(0);
                reply[0].payload = payload.into();
            }
            reply
        }
        Operation::Statement(slot, code, rest) => match statements[*slot] {
            None => return Vec::new(),
            Some(id) => {
                if *code == 0x19 {
                    statements[*slot] = None;
                }
                client.ask(&[&[*code][..], &id, rest].concat()).await
            }
        },
    };
    match operation {
        // MySQL tells the row count of the statement before, as ROW_COUNT() does.
        Operation::Query(sql) if sql.starts_with("CALL") => without_row_count(reply),
        Operation::Query(sql) if sql.starts_with("SHOW") => without_numbered_rows(reply),
        _ => without_numbers(reply),
    }
}

/// Rows of SHOW WARNINGS that tell of a statement by its number.
fn without_numbered_rows(mut reply: Vec<Packet>) -> Vec<Packet> {
    for packet in &mut reply {
        if ["\u{4}1243", "\u{4}1421"].iter().any(|code| contains(&packet.payload, code.as_bytes()))
        {
            packet.payload = b"a statement by its number".to_vec().into();
        }
    }
    reply
}

fn contains(payload: &[u8], part: &[u8]) -> bool {
    payload.windows(part.len()).any(|window| window == part)
}

fn without_row_count(mut reply: Vec<Packet>) -> Vec<Packet> {
    if let Some(last) = reply.last_mut()
        && last.payload[0] == OK
    {
        let mut payload = last.payload.to_vec();
        payload[1] = 0;
        last.payload = payload.into();
    }
    reply
}

/// MariaDB tells of the default database whenever a connection loads a routine for the first time,
/// and announces that with an EOF, too. MySQL announces something and tells nothing where a
/// transaction that has written ends with the begin of the next; which of several causes it has
/// cannot be told, see the limits in README.md.
///
/// A BEGIN that ends a READ ONLY transaction on a replica is told by the primary, of which the state
/// of transactions has not changed: see the limits, too.
fn without_schema(packets: Vec<Packet>, capabilities: Capabilities, begins: bool) -> Vec<Packet> {
    let mut packets = sorted_changes(packets, capabilities);
    for packet in &mut packets {
        let mut payload = packet.payload.to_vec();
        if payload[0] == EOF && payload.len() == 5 {
            payload[4] &= !0x40;
        } else if matches!(payload[0], OK | EOF)
            && let Ok(ok) = OkPacket::parse(&packet.payload, capabilities)
            && ok.status.contains(Status::SESSION_STATE_CHANGED)
        {
            let mut session_state = Vec::new();
            for change in ok.changes().flatten() {
                let is_left = match change {
                    StateChange::Schema(_) => false,
                    StateChange::TransactionState(_) => !begins,
                    _ => true,
                };
                if is_left {
                    change.put(&mut session_state);
                }
            }
            payload.clear();
            let mut ok = OkPacket { session_state: &session_state, ..ok };
            if begins && session_state.is_empty() {
                ok.status.remove(Status::SESSION_STATE_CHANGED);
            }
            put_ok(&mut payload, &ok, capabilities);
        }
        packet.payload = payload.into();
    }
    packets
}

fn text(packets: &[Packet]) -> String {
    let packets = packets
        .iter()
        .map(|packet| format!("\n    {} {}", packet.sequence, packet.payload.escape_ascii()));
    packets.collect()
}

/// Waits until the replicas have what the primary has; one wait serves all who ask meanwhile.
pub struct Settler {
    flavour: Flavour,
    asked: AtomicU64,
    servers: Mutex<Servers>,
}

struct Servers {
    primary: Conn,
    replicas: Vec<Conn>,
    done: u64,
}

impl Settler {
    pub async fn connect(cluster: &Cluster) -> Arc<Self> {
        let mut replicas = Vec::new();
        for replica in cluster.replicas() {
            replicas.push(cluster.root(&replica.server).await);
        }
        let primary = cluster.root("primary").await;
        let servers = Mutex::new(Servers { primary, replicas, done: 0 });
        Arc::new(Settler { flavour: cluster.flavour, asked: AtomicU64::new(0), servers })
    }

    pub async fn settle(&self) {
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut servers = self.servers.lock().await;
        if servers.done >= ticket {
            return;
        }
        let upto = self.asked.load(Ordering::SeqCst);
        let (position, wait) = match self.flavour {
            Flavour::MySql => ("SELECT @@GLOBAL.gtid_executed", "WAIT_FOR_EXECUTED_GTID_SET"),
            Flavour::MariaDb => ("SELECT @@GLOBAL.gtid_binlog_pos", "MASTER_GTID_WAIT"),
        };
        let position: Option<String> =
            servers.primary.query_first(position).await.expect("a position");
        for replica in &mut servers.replicas {
            let wait = format!("SELECT {wait}(?, 30)");
            let applied: Option<i64> =
                replica.exec_first(wait, (&position,)).await.expect("a wait");
            assert_eq!(applied, Some(0), "a replica does not catch up");
        }
        servers.done = upto;
    }
}
