//! A client that speaks packet by packet: for what drivers hide, do not use, or never get wrong.

use std::net::SocketAddr;
use std::time::Duration;

use rwproxy::backend::{ConnectError, Connected, Credential, LoginOptions, connect};
use rwproxy::net::rsa::encrypt;
use rwproxy::net::tls::client::ClientTls;
use rwproxy::net::{PacketError, PacketStream};
use rwproxy::routing::topology::Address;
use rwproxy::wire::Capabilities;
use rwproxy::wire::auth::{CLEAR_PASSWORD, Nonce, Secret};
use rwproxy::wire::capabilities::Status;
use rwproxy::wire::columns::Columns;
use rwproxy::wire::handshake::ChangeUser;
use rwproxy::wire::login::to_server::{LoginError, LoginToServer, Step};
use rwproxy::wire::packet::Packet;
use rwproxy::wire::reply::{EOF, EOF_LIMIT, ERR, OK, OkPacket, put_ok};
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

/// What COM_CHANGE_USER is to begin.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    pub user: &'a str,
    pub password: &'a str,
    pub database: Option<&'a str>,
    pub collation: u16,
}

/// A client that is logged in.
pub struct Raw {
    pub stream: PacketStream,
    pub capabilities: Capabilities,
    /// The connection's id, as the greeting told it.
    pub id: u32,
    /// The last command has asked for a cursor: rows do not follow its columns.
    opens_cursor: bool,
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
        Self::login_over(&ClientTls::Disabled, address, user, password, database, capabilities)
            .await
    }

    pub async fn login_over(
        tls: &ClientTls,
        address: SocketAddr,
        user: &str,
        password: &str,
        database: Option<&str>,
        capabilities: Capabilities,
    ) -> Result<Raw, ConnectError> {
        let credential = Credential::new(user, Secret::from_password(password));
        let options = LoginOptions {
            tls,
            database: database.map(str::as_bytes),
            ..options(&credential, capabilities)
        };
        Self::login_as(address, &options).await
    }

    /// Logs in as `app` with these connection attributes, encoded.
    pub async fn telling(
        address: SocketAddr,
        capabilities: Capabilities,
        attributes: &[u8],
    ) -> Raw {
        let credential = Credential::new("app", Secret::from_password("app"));
        let options = LoginOptions {
            database: Some(b"app"),
            attributes,
            ..options(&credential, capabilities)
        };
        let login = Self::login_as(address, &options).await;
        login.unwrap_or_else(|error| panic!("app@{address}: {error}"))
    }

    async fn login_as(
        address: SocketAddr,
        options: &LoginOptions<'_>,
    ) -> Result<Raw, ConnectError> {
        let Connected { stream, greeting, capabilities, .. } =
            connect(&Address::Ip(address), options).await?;
        Ok(Raw { stream, capabilities, id: greeting.connection_id, opens_cursor: false })
    }

    pub async fn send(&mut self, payload: &[u8]) {
        // Flags stand behind the number of the statement.
        self.opens_cursor =
            payload[0] == 0x17 && payload.get(5).is_some_and(|flags| flags & 1 != 0);
        self.stream.begin_command();
        self.stream.write_packet(0, payload).await.expect("the command is sent");
    }

    /// The next packet; an error when the connection is closed.
    pub async fn packet(&mut self) -> Result<Packet, PacketError> {
        let read = self.stream.read_packet(LIMIT, None);
        timeout(PATIENCE, read).await.expect("an answer within a minute")
    }

    /// Reads on until an error, the end of a reply without rows, of the first result set, or of the
    /// connection.
    pub async fn outcome(&mut self) -> Outcome {
        let mut ends = 0;
        for number in 0.. {
            let Ok(packet) = self.packet().await else { return Outcome::Closed };
            match packet.payload[0] {
                ERR => {
                    let code = [packet.payload[1], packet.payload[2]];
                    return Outcome::Error(u16::from_le_bytes(code));
                }
                OK | EOF if number == 0 => return Outcome::Served,
                EOF if packet.payload.len() < EOF_LIMIT => ends += 1,
                _ => {}
            }
            if ends == 2 {
                break;
            }
        }
        Outcome::Served
    }

    /// COM_CHANGE_USER, by whatever plugin the server asks for; its last packet, as the first of a
    /// reply.
    pub async fn change_user(&mut self, login: Login<'_>) -> Packet {
        self.change_user_telling(login, &[]).await
    }

    /// The same with these connection attributes, encoded.
    pub async fn change_user_telling(&mut self, login: Login<'_>, attributes: &[u8]) -> Packet {
        let command = ChangeUser {
            user: login.user.as_bytes(),
            auth_response: &[],
            database: login.database.map(str::as_bytes),
            collation: Some(login.collation),
            // Of no account: the server asks for the right one, with a nonce of its own.
            plugin: Some(CLEAR_PASSWORD),
            attributes,
        };
        let mut payload = Vec::new();
        command.put(&mut payload, self.capabilities | Capabilities::PLUGIN_AUTH);
        self.send(&payload).await;
        let secret = Secret::from_password(login.password);
        let mut answers =
            LoginToServer::new(&secret, false, Nonce::from([0; Nonce::LENGTH]), b"", [0; 32]);
        loop {
            let packet = self.next().await;
            let sequence = packet.sequence.wrapping_add(1);
            let answer = match answers.receive(&packet.payload) {
                Ok(Step::Done) | Err(LoginError::Refused(_)) => {
                    return Packet { sequence: 1, ..packet };
                }
                Ok(Step::Read) => continue,
                Ok(Step::Send(answer)) => answer.to_vec(),
                Ok(Step::Encrypt { public_key, cleartext }) => {
                    encrypt(&public_key, &cleartext).expect("a public key")
                }
                Err(error) => panic!("COM_CHANGE_USER: {error}"),
            };
            self.stream.write_packet(sequence, &answer).await.expect("an answer is sent");
        }
    }

    /// COM_PING on a connection that may be closed.
    pub async fn ping(&mut self) -> Outcome {
        self.stream.begin_command();
        match self.stream.write_packet(0, &[0x0E]).await {
            Ok(_) => self.outcome().await,
            Err(_) => Outcome::Closed,
        }
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

    /// Sends a COM_QUERY that must succeed.
    pub async fn ok(&mut self, sql: &str) {
        assert_eq!(error_code(&self.query(sql).await), None, "{sql}");
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
                _ => match self.result(&first, &mut packets).await {
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
    async fn result(&mut self, first: &Packet, packets: &mut Vec<Packet>) -> Option<Status> {
        let columns = Columns::parse(&first.payload, self.capabilities).expect("columns");
        for _ in 0..columns.definitions {
            packets.push(self.next().await);
        }
        if !self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            let end = self.next().await;
            let status = self.status(&end);
            packets.push(end);
            if self.opens_cursor && status.contains(Status::CURSOR_EXISTS) {
                return Some(status);
            }
            // Behind a procedure's OUT parameters an OK follows; MySQL says so here alone.
            if status.contains(Status::OUT_PARAMETERS) {
                let status = self.rows(packets).await?;
                return Some(status | Status::MORE_RESULTS);
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
        let optional = self.capabilities.contains(Capabilities::OPTIONAL_RESULTSET_METADATA);
        let defined = u16::from(!optional || payload[12] == 1);
        for count in [parameters, columns] {
            if count > 0 {
                for _ in 0..count * defined + u16::from(ends) {
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
        match OkPacket::parse(&packet.payload, self.capabilities) {
            Ok(ok) => ok.status,
            Err(error) => panic!("{error}: {packet:?}"),
        }
    }

    async fn next(&mut self) -> Packet {
        self.packet().await.expect("a packet")
    }
}

/// How these clients log in, to no database.
fn options(credential: &Credential, capabilities: Capabilities) -> LoginOptions<'_> {
    LoginOptions {
        credential,
        capabilities,
        collation: 45,
        max_packet: 1 << 30,
        database: None,
        attributes: &[],
        announce: None,
        tls: &ClientTls::Disabled,
        deadline: Instant::now() + PATIENCE,
    }
}

/// The code of the error that ends a reply, if one does.
pub fn error_code(packets: &[Packet]) -> Option<u16> {
    let payload = &packets.last()?.payload;
    (payload[0] == ERR).then(|| u16::from_le_bytes([payload[1], payload[2]]))
}

/// How a command ended for a client that may have been cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The server's error.
    Error(u16),
    /// A reply without an error.
    Served,
    /// The connection was closed.
    Closed,
}

/// ER_UNKNOWN_STMT_HANDLER and ER_STMT_HAS_NO_OPEN_CURSOR name statements by number.
pub fn without_numbers(mut reply: Vec<Packet>) -> Vec<Packet> {
    if matches!(error_code(&reply), Some(1243 | 1421))
        && let Some(last) = reply.last_mut()
    {
        let mut payload = last.payload.to_vec();
        payload.retain(|byte| !byte.is_ascii_digit());
        last.payload = payload.into();
    }
    reply
}

/// The entries of session tracking by their bytes: MariaDB has them in an order of chance.
pub fn sorted_changes(packets: Vec<Packet>, capabilities: Capabilities) -> Vec<Packet> {
    packets.into_iter().map(|packet| in_order(packet, capabilities)).collect()
}

fn in_order(packet: Packet, capabilities: Capabilities) -> Packet {
    let ends = matches!(packet.payload[0], OK | EOF) && packet.payload.len() >= EOF_LIMIT;
    let Ok(ok) = OkPacket::parse(&packet.payload, capabilities) else { return packet };
    if !ends || ok.session_state.is_empty() {
        return packet;
    }
    let mut entries: Vec<Vec<u8>> = Vec::new();
    for change in ok.changes() {
        // A row may begin as an OK does.
        let Ok(change) = change else { return packet };
        let mut entry = Vec::new();
        change.put(&mut entry);
        entries.push(entry);
    }
    entries.sort();
    let ok = OkPacket { session_state: &entries.concat(), ..ok };
    let mut payload = Vec::new();
    put_ok(&mut payload, &ok, capabilities);
    Packet { payload: payload.into(), ..packet }
}

/// The first value of the first row of a text result that has one column.
pub fn value(packets: &[Packet], capabilities: Capabilities) -> String {
    let row = if capabilities.contains(Capabilities::DEPRECATE_EOF) { 2 } else { 3 };
    let payload = &packets[row].payload;
    String::from_utf8_lossy(&payload[1..1 + usize::from(payload[0])]).into_owned()
}
