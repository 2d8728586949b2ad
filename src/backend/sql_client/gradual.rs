//! A statement that is sent as it is made.

use tokio::time::{Instant, timeout_at};

use super::{COM_QUERY, QueryError, RESULT_LIMIT, Replies, SqlClient};
use crate::net::{PacketError, PacketStream};
use crate::wire::codec::Malformed;
use crate::wire::packet::{HEADER, Header, MAX_PAYLOAD};
use crate::wire::reply::{self, OkPacket};

/// A statement that has been begun. Dropped before it is finished, the connection is closed.
#[derive(Debug)]
pub struct Gradual<'a> {
    client: &'a mut SqlClient,
    stream: PacketStream,
    sequence: u8,
    /// What has not been sent: a packet's length stands ahead of it, so that much of a statement
    /// is held as one packet may have, 16 MiB, and no more.
    packet: Vec<u8>,
}

/// What a statement without rows has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    pub affected_rows: u64,
    pub warnings: u16,
}

impl SqlClient {
    /// Begins a statement whose text is given piece by piece.
    pub fn begin(&mut self) -> Result<Gradual<'_>, QueryError> {
        let stream = self.stream.take().ok_or(QueryError::Closed)?;
        let packet = vec![0, 0, 0, 0, COM_QUERY];
        Ok(Gradual { client: self, stream, sequence: 0, packet })
    }
}

impl Gradual<'_> {
    /// More of the statement's text.
    pub async fn write(&mut self, mut text: &[u8], deadline: Instant) -> Result<(), QueryError> {
        loop {
            let room = HEADER + MAX_PAYLOAD - self.packet.len();
            if text.len() < room {
                self.packet.extend_from_slice(text);
                return Ok(());
            }
            let (head, tail) = text.split_at(room);
            self.packet.extend_from_slice(head);
            text = tail;
            self.send(deadline).await?;
        }
    }

    /// Ends the statement, whose answer has no rows.
    pub async fn finish(mut self, deadline: Instant) -> Result<Done, QueryError> {
        self.send(deadline).await?;
        match self.answer(deadline).await {
            Ok(done) => {
                self.client.stream = Some(self.stream);
                Ok(done)
            }
            Err(error) => {
                if matches!(error, QueryError::Server(_)) {
                    self.client.stream = Some(self.stream);
                }
                Err(error)
            }
        }
    }

    /// Sends a packet.
    async fn send(&mut self, deadline: Instant) -> Result<(), QueryError> {
        let header = Header { length: self.packet.len() - HEADER, sequence: self.sequence };
        header.put(&mut &mut self.packet[..HEADER]);
        self.sequence = self.sequence.wrapping_add(1);
        let sent = timeout_at(deadline, self.stream.write(&self.packet)).await;
        self.packet.truncate(HEADER);
        match sent.map_err(|_| QueryError::TimedOut)? {
            Ok(()) => Ok(()),
            // Servers say why before they close the connection, as of a statement too long.
            Err(error) => match self.answer(deadline).await {
                Err(QueryError::Server(said)) => Err(QueryError::Server(said)),
                _ => Err(QueryError::Packet(PacketError::Io(error))),
            },
        }
    }

    async fn answer(&mut self, deadline: Instant) -> Result<Done, QueryError> {
        let mut replies = Replies {
            stream: &mut self.stream,
            capabilities: self.client.capabilities,
            sequence: self.sequence,
            left: RESULT_LIMIT,
        };
        let packet = timeout_at(deadline, replies.packet()).await;
        let packet = packet.map_err(|_| QueryError::TimedOut)??;
        if packet.payload[0] != reply::OK {
            return Err(Malformed("rows for a statement that returns none").into());
        }
        let ok = OkPacket::parse(&packet.payload, self.client.capabilities)?;
        Ok(Done { affected_rows: ok.affected_rows, warnings: ok.warnings })
    }
}
