//! A result that is read as it comes.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{QueryError, RESULT_LIMIT, Replies, SqlClient, send};
use crate::net::{PacketError, PacketStream};
use crate::wire::codec::Malformed;
use crate::wire::reply::{self, EofPacket, ErrPacket};
use crate::wire::rows::{Item, Rows};

/// The rows of one result. Dropped before the end of them, the connection is closed.
#[derive(Debug)]
pub struct Streamed<'a> {
    client: &'a mut SqlClient,
    /// `None` at the end.
    stream: Option<PacketStream>,
    rows: Rows,
    patience: Duration,
}

impl SqlClient {
    /// Runs a statement that returns rows, for a result of any size: it is held in memory by no
    /// more than a read at a time, and the server goes on as it is read. `patience` is for the
    /// result's beginning, and for each wait for more of it.
    ///
    /// # Errors
    /// As of [`query`](Self::query), and for a statement that returns none or several results.
    pub async fn stream(
        &mut self,
        sql: &str,
        patience: Duration,
    ) -> Result<Streamed<'_>, QueryError> {
        let mut stream = self.stream.take().ok_or(QueryError::Closed)?;
        let capabilities = self.capabilities;
        let begin = async {
            let sequence = send(&mut stream, sql.as_bytes()).await?;
            let mut replies =
                Replies { stream: &mut stream, capabilities, sequence, left: RESULT_LIMIT };
            let first = replies.packet().await?;
            if matches!(first.payload[0], reply::OK | super::LOCAL_INFILE) {
                return Err(Malformed("a statement without rows").into());
            }
            let columns = replies.columns(&first).await?;
            Ok(Rows::new(columns.len() as u64, replies.sequence))
        };
        let begun = timeout_at(Instant::now() + patience, begin).await;
        match begun.unwrap_or(Err(QueryError::TimedOut)) {
            Ok(rows) => Ok(Streamed { client: self, stream: Some(stream), rows, patience }),
            Err(error) => {
                if matches!(error, QueryError::Server(_)) {
                    self.stream = Some(stream);
                }
                Err(error)
            }
        }
    }
}

impl Streamed<'_> {
    /// Waits until something has come and gives all of it to `take`, some ten kilobytes at most;
    /// false at the end, when the connection is ready for the next query.
    pub async fn advance(&mut self, mut take: impl FnMut(Item<'_>)) -> Result<bool, QueryError> {
        let Some(mut stream) = self.stream.take() else { return Ok(false) };
        let mut given = false;
        loop {
            let mut input = stream.buffered();
            let length = input.len();
            let mut is_end = false;
            while let Some(item) = self.rows.next(&mut input)? {
                if item == Item::End {
                    is_end = true;
                    break;
                }
                given = true;
                take(item);
            }
            let consumed = length - input.len();
            stream.consume(consumed);
            if is_end {
                return self.end(stream).await;
            }
            if given {
                self.stream = Some(stream);
                return Ok(true);
            }
            let filled = timeout_at(Instant::now() + self.patience, stream.fill()).await;
            match filled.map_err(|_| QueryError::TimedOut)? {
                Ok(0) => return Err(QueryError::Packet(PacketError::Truncated)),
                Ok(_) => {}
                Err(error) => return Err(QueryError::Packet(PacketError::Io(error))),
            }
        }
    }

    /// Reads the packet that ends the rows, and gives the connection back.
    async fn end(&mut self, mut stream: PacketStream) -> Result<bool, QueryError> {
        let packet = stream.read_packet(RESULT_LIMIT, Some(self.rows.sequence()));
        let packet = timeout_at(Instant::now() + self.patience, packet).await;
        let packet = packet.map_err(|_| QueryError::TimedOut)??;
        if packet.payload[0] == reply::ERR {
            let error = ErrPacket::parse(&packet.payload)?.to_owned();
            self.client.stream = Some(stream);
            return Err(QueryError::Server(error));
        }
        let eof = EofPacket::parse(&packet.payload)?;
        if eof.status.contains(crate::wire::capabilities::Status::MORE_RESULTS) {
            return Err(Malformed("several results where one is expected").into());
        }
        self.client.stream = Some(stream);
        Ok(false)
    }
}
