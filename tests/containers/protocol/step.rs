//! Commands in a row, as a script: the same for a server and for the proxy.

use std::time::Duration;

use rwproxy::wire::packet::Packet;
use rwproxy::wire::reply::ERR;
use tokio::time::timeout;

use crate::support::raw::{Login, Raw, sorted_changes, without_numbers};

/// For each step.
const PATIENCE: Duration = Duration::from_secs(20);

/// One command of a script.
pub enum Step {
    /// Its payload.
    Command(Vec<u8>),
    Query(&'static str),
    /// COM_STMT_PREPARE; later steps are about its statement.
    Prepare(&'static str),
    /// A command about the statement prepared last: its first byte and what stands behind the
    /// statement's id.
    Statement(u8, Vec<u8>),
    /// A query that asks for a file, and the file's packets.
    File(&'static str, Vec<&'static [u8]>),
    /// COM_CHANGE_USER.
    Login(Login<'static>),
}

pub fn command(code: u8, arguments: &[u8]) -> Step {
    Step::Command([&[code], arguments].concat())
}

/// COM_STMT_EXECUTE: `rest` is the NULL bitmap, whether types are bound, types, values.
pub fn execute(flags: u8, rest: &[u8]) -> Step {
    // The iteration count is always 1.
    Step::Statement(0x17, [&[flags, 1, 0, 0, 0], rest].concat())
}

impl Step {
    pub fn describe(&self) -> String {
        match self {
            Step::Command(payload) => format!("command {:#04x} {:?}", payload[0], &payload[1..]),
            Step::Query(sql) | Step::Prepare(sql) | Step::File(sql, _) => format!("{sql:?}"),
            Step::Login(login) => format!("{login:?}"),
            Step::Statement(code, rest) => format!("statement command {code:#04x} {rest:?}"),
        }
    }
}

/// A client that takes a script's steps.
pub struct Script {
    pub client: Raw,
    /// The number of the statement prepared last.
    statement: [u8; 4],
}

impl Script {
    pub fn new(client: Raw) -> Self {
        Script { client, statement: [0; 4] }
    }

    /// The reply, with the numbers of prepared statements left out and changes in one order.
    pub async fn take(&mut self, step: &Step) -> Vec<Packet> {
        let reply = timeout(PATIENCE, self.ask(step)).await;
        reply.unwrap_or_else(|_| panic!("no answer to {}", step.describe()))
    }

    async fn ask(&mut self, step: &Step) -> Vec<Packet> {
        let client = &mut self.client;
        let reply = match step {
            Step::Command(payload) => client.ask(payload).await,
            Step::Query(sql) => client.query(sql).await,
            Step::Prepare(sql) => {
                let mut reply = client.ask(&[&[0x16], sql.as_bytes()].concat()).await;
                if reply[0].payload[0] != ERR {
                    let mut payload = reply[0].payload.to_vec();
                    self.statement.copy_from_slice(&payload[1..5]);
                    payload[1..5].fill(0);
                    reply[0].payload = payload.into();
                }
                reply
            }
            Step::Statement(code, rest) => {
                client.ask(&[&[*code], &self.statement[..], &rest[..]].concat()).await
            }
            Step::File(sql, file) => {
                let payload = client.query_payload(sql);
                client.send(&payload).await;
                client.reply(payload[0], file).await
            }
            Step::Login(login) => vec![client.change_user(*login).await],
        };
        sorted_changes(without_numbers(reply), self.client.capabilities)
    }
}

pub fn describe(packets: &[Packet]) -> String {
    let packets = packets
        .iter()
        .map(|packet| format!("\n    {} {}", packet.sequence, packet.payload.escape_ascii()));
    packets.collect()
}
