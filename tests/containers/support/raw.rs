//! A client that speaks packet by packet: for what drivers hide, do not use, or never get wrong.

use std::net::SocketAddr;
use std::time::Duration;

use rwproxy::backend::{ConnectError, Connected, Credential, LoginOptions, connect};
use rwproxy::net::tls::client::ClientTls;
use rwproxy::net::{PacketError, PacketStream};
use rwproxy::routing::topology::Address;
use rwproxy::wire::Capabilities;
use rwproxy::wire::auth::Secret;
use rwproxy::wire::capabilities::Status;
use rwproxy::wire::packet::Packet;
use rwproxy::wire::reply::{EOF, EOF_LIMIT, ERR, OK, OkPacket};
use tokio::time::{Instant, timeout};

/// For whatever a server does.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest packet that is read.
const LIMIT: usize = 300 << 20;
/// First byte of a request for a local file.
const FILE: u8 = 0xFB;

/// What all clients of the last twenty years ask for, and none of what came later: no
/// DEPRECATE_EOF, no SESSION_TRACK, no QUERY_ATTRIBUTES.
pub const OLD: Capabilities = Capabilities::MULTI_STATEMENTS
    .union(Capabilities::MULTI_RESULTS)
    .union(Capabilities::PS_MULTI_RESULTS)
    .union(Capabilities::LOCAL_FILES);

/// A client that is logged in.
pub struct Raw {
    pub stream: PacketStream,
    pub capabilities: Capabilities,
    /// The connection's id, as the greeting told it.
    pub id: u32,
}

impl Raw {
    /// Logs in as `app`.
    pub async fn app(address: SocketAddr, capabilities: Capabilities) -> Raw {
        Self::login(address, "app", "app", Some("app"), capabilities)
            .await
            .unwrap_or_else(|error| panic!("app@{address}: {error}"))
    }

    pub async fn login(
        address: SocketAddr,
        user: &str,
        password: &str,
        database: Option<&str>,
        capabilities: Capabilities,
    ) -> Result<Raw, ConnectError> {
        let credential = Credential::new(user, Secret::from_password(password));
        let options = LoginOptions {
            credential: &credential,
            capabilities,
            collation: 45,
            max_packet: 1 << 30,
            database: database.map(str::as_bytes),
            attributes: &[],
            tls: &ClientTls::Disabled,
            deadline: Instant::now() + PATIENCE,
        };
        let Connected { stream, greeting, capabilities, .. } =
            connect(&Address::Ip(address), &options).await?;
        Ok(Raw { stream, capabilities, id: greeting.connection_id })
    }

    pub async fn send(&mut self, payload: &[u8]) {
        self.stream.write_packet(0, payload).await.expect("the command is sent");
    }

    /// The next packet; an error when the connection is closed.
    pub async fn packet(&mut self) -> Result<Packet, PacketError> {
        let read = self.stream.read_packet(LIMIT, None);
        timeout(PATIENCE, read).await.expect("an answer within a minute")
    }

    /// Sends a command and reads its whole reply.
    pub async fn ask(&mut self, payload: &[u8]) -> Vec<Packet> {
        self.send(payload).await;
        self.reply(payload[0], &[]).await
    }

    /// Sends a COM_QUERY; its whole reply.
    pub async fn query(&mut self, sql: &str) -> Vec<Packet> {
        let payload = self.query_payload(sql);
        self.ask(&payload).await
    }

    /// A COM_QUERY as this client writes it.
    pub fn query_payload(&self, sql: &str) -> Vec<u8> {
        let mut payload = vec![0x03];
        if self.capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
            payload.extend([0, 1]);
        }
        payload.extend(sql.as_bytes());
        payload
    }

    /// Reads the whole reply to a command. When a file is asked for, `file` is sent, a packet for
    /// each part, and the empty one behind them.
    pub async fn reply(&mut self, command: u8, file: &[&[u8]]) -> Vec<Packet> {
        let mut packets = Vec::new();
        // COM_STATISTICS has a text for an answer, COM_STMT_CLOSE and COM_STMT_SEND_LONG_DATA none.
        match command {
            0x09 => {
                packets.push(self.next().await);
                return packets;
            }
            0x18 | 0x19 => return packets,
            0x16 => {
                self.prepared(&mut packets).await;
                return packets;
            }
            // COM_STMT_FETCH and COM_FIELD_LIST.
            0x1C | 0x04 => {
                self.rows(&mut packets).await;
                return packets;
            }
            _ => {}
        }
        loop {
            let first = self.next().await;
            let kind = first.payload[0];
            packets.push(first.clone());
            let status = match kind {
                ERR => return packets,
                OK => self.status(&first),
                FILE => {
                    let mut sequence = first.sequence.wrapping_add(1);
                    for part in file.iter().chain([&&b""[..]]) {
                        let sent = self.stream.write_packet(sequence, part).await;
                        sequence = sent.expect("a part of the file is sent");
                    }
                    continue;
                }
                // COM_SET_OPTION answers with EOF on its own.
                EOF if first.payload.len() < EOF_LIMIT => self.status(&first),
                columns => match self.result(columns, &mut packets).await {
                    Some(status) => status,
                    None => return packets,
                },
            };
            if !status.contains(Status::MORE_RESULTS) {
                return packets;
            }
        }
    }

    /// Columns and rows; the status behind them, or `None` after an error.
    async fn result(&mut self, columns: u8, packets: &mut Vec<Packet>) -> Option<Status> {
        for _ in 0..columns {
            packets.push(self.next().await);
        }
        if !self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            let end = self.next().await;
            let status = self.status(&end);
            packets.push(end);
            if status.contains(Status::CURSOR_EXISTS) {
                return Some(status);
            }
        }
        self.rows(packets).await
    }

    /// Rows up to their end; the status there, or `None` after an error.
    async fn rows(&mut self, packets: &mut Vec<Packet>) -> Option<Status> {
        loop {
            let row = self.next().await;
            let kind = row.payload[0];
            let is_end = kind == EOF && row.payload.len() < 0xFF_FFFF;
            packets.push(row.clone());
            match kind {
                ERR => return None,
                _ if is_end => return Some(self.status(&row)),
                _ => {}
            }
        }
    }

    async fn prepared(&mut self, packets: &mut Vec<Packet>) {
        let first = self.next().await;
        let payload = first.payload.clone();
        packets.push(first);
        if payload[0] == ERR {
            return;
        }
        let columns = u16::from_le_bytes([payload[5], payload[6]]);
        let parameters = u16::from_le_bytes([payload[7], payload[8]]);
        let ends = !self.capabilities.contains(Capabilities::DEPRECATE_EOF);
        for count in [parameters, columns] {
            if count > 0 {
                for _ in 0..count + u16::from(ends) {
                    packets.push(self.next().await);
                }
            }
        }
    }

    fn status(&self, packet: &Packet) -> Status {
        if packet.payload[0] == EOF && !self.capabilities.contains(Capabilities::DEPRECATE_EOF)
            || packet.payload.len() == 5
        {
            return Status::from_bits_retain(u16::from_le_bytes([
                packet.payload[3],
                packet.payload[4],
            ]));
        }
        OkPacket::parse(&packet.payload, self.capabilities).expect("an OK packet").status
    }

    async fn next(&mut self) -> Packet {
        self.packet().await.expect("a packet")
    }
}

/// The code of the error that ends a reply, if one does.
pub fn error_code(packets: &[Packet]) -> Option<u16> {
    let payload = &packets.last()?.payload;
    (payload[0] == ERR).then(|| u16::from_le_bytes([payload[1], payload[2]]))
}

/// The first value of the first row of a text result that has one column.
pub fn value(packets: &[Packet], capabilities: Capabilities) -> String {
    let row = if capabilities.contains(Capabilities::DEPRECATE_EOF) { 2 } else { 3 };
    let payload = &packets[row].payload;
    String::from_utf8_lossy(&payload[1..1 + usize::from(payload[0])]).into_owned()
}
