//! Packets to and from a client that is not logged in yet, bounded and in order.

use bytes::{Bytes, BytesMut};
use tokio::time::{Duration, timeout};

use super::failure::LoginFailure;
use crate::net::{PacketError, PacketStream};
use crate::wire::Capabilities;
use crate::wire::capabilities::Status;
use crate::wire::packet::put_packet;
use crate::wire::reply::{OkPacket, StateChange, put_err, put_ok};

/// Most bytes of the client's response: connection attributes are its longest part, and servers
/// take 64 KiB of them.
pub const FIRST_PACKET: usize = 64 * 1024;
/// Most bytes of every later packet: the ciphertext of a key of 8192 bits has 1024.
const LATER_PACKET: usize = 4 * 1024;
/// How long a client that is turned away may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);
/// Most bytes that are read from it meanwhile, and thrown away.
const FAREWELL_BYTES: usize = 1024 * 1024;

/// A conversation: the stream, and the sequence number of the next packet on it.
#[derive(Debug)]
pub struct Dialogue<'a> {
    stream: &'a mut PacketStream,
    pub sequence: u8,
    /// A Unix socket.
    local: bool,
    /// Packets that go out together with the next one.
    pending: BytesMut,
}

impl<'a> Dialogue<'a> {
    pub fn new(stream: &'a mut PacketStream, sequence: u8, local: bool) -> Self {
        Dialogue { stream, sequence, local, pending: BytesMut::new() }
    }

    pub fn is_tls(&self) -> bool {
        self.stream.stream().is_tls()
    }

    /// Whether nobody between us and the client can read what is sent: clients then send
    /// passwords as they are.
    pub fn is_secure(&self) -> bool {
        self.local || self.is_tls()
    }

    pub async fn write(&mut self, payload: &[u8]) -> Result<(), LoginFailure> {
        self.write_later(payload);
        self.stream.write(&self.pending).await?;
        self.pending.clear();
        Ok(())
    }

    /// Writes a packet that nobody answers together with the next one.
    pub fn write_later(&mut self, payload: &[u8]) {
        self.sequence = put_packet(&mut self.pending, self.sequence, payload);
    }

    /// Reads the client's next packet.
    pub async fn read(&mut self) -> Result<Bytes, LoginFailure> {
        self.read_up_to(LATER_PACKET).await
    }

    pub async fn read_up_to(&mut self, limit: usize) -> Result<Bytes, LoginFailure> {
        let expected = self.advance();
        Ok(self.stream.read_packet(limit, Some(expected)).await?.payload)
    }

    /// Reads the client's first packet, and not a byte beyond it that may be of TLS.
    pub async fn read_alone(&mut self) -> Result<Bytes, LoginFailure> {
        let expected = self.advance();
        match self.stream.read_first_packet(FIRST_PACKET, expected).await {
            Ok(packet) => Ok(packet.payload),
            Err(PacketError::Closed) => Err(LoginFailure::Silent),
            Err(error) => Err(error.into()),
        }
    }

    /// The sequence number expected of the client's next packet; an answer to it, be it only that
    /// it is wrong, has the one behind.
    fn advance(&mut self) -> u8 {
        let expected = self.sequence;
        self.sequence = expected.wrapping_add(1);
        expected
    }

    /// Tells the client that it is logged in. As servers do, the OK packet reports the database.
    pub async fn welcome(
        &mut self,
        capabilities: Capabilities,
        status: Status,
        database: Option<&[u8]>,
        info: &[u8],
    ) -> Result<(), LoginFailure> {
        let mut session_state = Vec::new();
        if let Some(database) = database {
            StateChange::Schema(database).put(&mut session_state);
        }
        let packet =
            OkPacket { status, info, session_state: &session_state, ..OkPacket::default() };
        let mut payload = Vec::new();
        put_ok(&mut payload, &packet, capabilities);
        self.write(&payload).await
    }

    /// Tells the client why it does not get in, and closes the connection. What the client is
    /// still sending is read and dropped for a moment: closing over unread bytes would take the
    /// message from it.
    pub async fn turn_away(&mut self, failure: &LoginFailure) {
        let Some(error) = failure.reply() else { return };
        let mut payload = Vec::new();
        put_err(&mut payload, &error.as_packet());
        let farewell = async {
            self.write(&payload).await.ok()?;
            self.stream.shutdown().await.ok()?;
            let mut dropped = 0;
            while dropped < FAREWELL_BYTES {
                let count = self.stream.fill().await.ok().filter(|&count| count > 0)?;
                dropped += count;
                self.stream.consume(self.stream.buffered().len());
            }
            Some(())
        };
        let _ = timeout(FAREWELL, farewell).await;
    }
}
