//! A small client for our own queries: the monitor's probes, kills, captures. Results are held
//! whole, and bounded; what may be larger is [`stream`](SqlClient::stream)ed and
//! [written gradually](SqlClient::begin).

mod gradual;
mod streamed;

use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Instant, timeout, timeout_at};

use super::authenticate::{ConnectError, LoginOptions, MAX_PACKET, connect};
use super::credential::Credential;
use crate::net::tls::client::ClientTls;
use crate::net::{PacketError, PacketStream};
use crate::routing::topology::Address;
use crate::wire::capabilities::Status;
use crate::wire::codec::{Malformed, Reader};
use crate::wire::handshake::Greeting;
use crate::wire::packet::{Packet, put_packet};
use crate::wire::proxy_header::Source;
use crate::wire::reply::{self, EOF_LIMIT, EofPacket, ErrPacket, OkPacket, ServerError};
use crate::wire::{Capabilities, ServerVersion};

/// The most that one result may hold, bytes.
const RESULT_LIMIT: usize = 16 * 1024 * 1024;
/// utf8mb4_general_ci, which every server knows.
const COLLATION: u8 = 45;
/// For the courtesy of saying goodbye.
const QUIT_TIMEOUT: Duration = Duration::from_millis(100);

pub use gradual::{Done, Gradual};
pub use streamed::Streamed;

const COM_QUIT: u8 = 0x01;
const COM_QUERY: u8 = 0x03;
/// First byte of a request for a local file.
const LOCAL_INFILE: u8 = 0xFB;

/// A connection for text queries.
#[derive(Debug)]
pub struct SqlClient {
    /// `None` after an error that leaves the stream at an unknown place, and while a query runs:
    /// a dropped query closes the connection.
    stream: Option<PacketStream>,
    capabilities: Capabilities,
    greeting: Greeting,
}

/// The result of a query; no columns for a statement that returns none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    pub columns: Vec<String>,
    /// Values in the order of the columns, as text; `None` for NULL.
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
    pub affected_rows: u64,
}

/// Why a query has no result.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The server's answer; the connection goes on.
    #[error("{0}")]
    Server(ServerError),
    #[error("no answer in time")]
    TimedOut,
    #[error("a result of more than {RESULT_LIMIT} bytes")]
    TooLarge,
    #[error(transparent)]
    Packet(PacketError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the connection was closed after an earlier error")]
    Closed,
}

impl From<PacketError> for QueryError {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::TooLong { .. } => QueryError::TooLarge,
            other => QueryError::Packet(other),
        }
    }
}

impl SqlClient {
    /// Dials and logs in by `deadline`. `announce` as in [`LoginOptions`].
    pub async fn connect(
        address: &Address,
        credential: &Credential,
        tls: &ClientTls,
        announce: Option<Source>,
        deadline: Instant,
    ) -> Result<Self, ConnectError> {
        let options = LoginOptions {
            credential,
            capabilities: Capabilities::empty(),
            collation: COLLATION,
            max_packet: MAX_PACKET,
            database: None,
            attributes: b"\x0cprogram_name\x07rwproxy",
            announce,
            tls,
            deadline,
        };
        let connected = connect(address, &options).await?;
        Ok(SqlClient {
            stream: Some(connected.stream),
            capabilities: connected.capabilities,
            greeting: connected.greeting,
        })
    }

    pub fn version(&self) -> &ServerVersion {
        &self.greeting.version
    }

    /// What the server said when the connection was made: its default collation and plugin, its
    /// capabilities.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// False once an error other than [`QueryError::Server`] has closed the connection.
    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Runs one statement. Of several results (a procedure's) the first with columns is kept.
    /// After an error other than [`QueryError::Server`], and when the future is dropped, the
    /// connection is closed and every later query is [`QueryError::Closed`].
    pub async fn query(&mut self, sql: &str, deadline: Instant) -> Result<Rows, QueryError> {
        self.query_bytes(sql.as_bytes(), deadline).await
    }

    /// The same for a statement whose text is in the connection's character set, whichever that is.
    pub async fn query_bytes(&mut self, sql: &[u8], deadline: Instant) -> Result<Rows, QueryError> {
        let mut results = self.exchange(&[sql], deadline).await?;
        Ok(results.pop().unwrap_or_default())
    }

    /// Runs several short statements, sent together, so that the server begins each when it has
    /// answered the one before. Their results in order, or the first error: the others have run.
    /// Otherwise as [`query`](Self::query).
    pub async fn query_all(
        &mut self,
        statements: &[&str],
        deadline: Instant,
    ) -> Result<Vec<Rows>, QueryError> {
        let statements: Vec<&[u8]> = statements.iter().map(|sql| sql.as_bytes()).collect();
        self.exchange(&statements, deadline).await
    }

    async fn exchange(
        &mut self,
        statements: &[&[u8]],
        deadline: Instant,
    ) -> Result<Vec<Rows>, QueryError> {
        let mut stream = self.stream.take().ok_or(QueryError::Closed)?;
        let exchange = exchange(&mut stream, statements, self.capabilities);
        match timeout_at(deadline, exchange).await.unwrap_or(Err(QueryError::TimedOut)) {
            Ok(results) => {
                self.stream = Some(stream);
                results.map_err(QueryError::Server)
            }
            Err(error) => Err(error),
        }
    }

    /// Says goodbye, so that the server does not count an aborted connection. Takes 100 ms at
    /// most.
    pub async fn close(mut self) {
        if let Some(mut stream) = self.stream.take() {
            let _ = timeout(QUIT_TIMEOUT, async {
                stream.write_packet(0, &[COM_QUIT]).await?;
                stream.shutdown().await
            })
            .await;
        }
    }
}

/// Sends all statements and reads all that answers them. The inner error is the first of the
/// server's.
async fn exchange(
    stream: &mut PacketStream,
    statements: &[&[u8]],
    capabilities: Capabilities,
) -> Result<Result<Vec<Rows>, ServerError>, QueryError> {
    let mut commands = BytesMut::new();
    let sequences: Vec<u8> = statements.iter().map(|sql| put_query(&mut commands, sql)).collect();
    stream.write(&commands).await.map_err(PacketError::Io)?;
    let mut results = Ok(Vec::with_capacity(statements.len()));
    for sequence in sequences {
        let mut replies = Replies { stream, capabilities, sequence, left: RESULT_LIMIT };
        match (replies.first_with_columns().await, &mut results) {
            (Ok(rows), Ok(results)) => results.push(rows),
            (Err(QueryError::Server(error)), Ok(_)) => results = Err(error),
            (Ok(_) | Err(QueryError::Server(_)), Err(_)) => {}
            (Err(error), _) => return Err(error),
        }
    }
    Ok(results)
}

/// Appends the packet of a statement; the sequence number of what answers it.
fn put_query(out: &mut BytesMut, sql: &[u8]) -> u8 {
    let mut command = Vec::with_capacity(sql.len() + 1);
    command.push(COM_QUERY);
    command.extend_from_slice(sql);
    put_packet(out, 0, &command)
}

/// Sends a statement; the sequence number of what answers it.
async fn send(stream: &mut PacketStream, sql: &[u8]) -> Result<u8, QueryError> {
    let mut out = BytesMut::new();
    let sequence = put_query(&mut out, sql);
    stream.write(&out).await.map_err(PacketError::Io)?;
    Ok(sequence)
}

/// The packets that answer one command.
struct Replies<'a> {
    stream: &'a mut PacketStream,
    capabilities: Capabilities,
    sequence: u8,
    /// How many bytes more may come.
    left: usize,
}

impl Replies<'_> {
    /// The next packet that is no error.
    async fn packet(&mut self) -> Result<Packet, QueryError> {
        let packet = self.stream.read_packet(self.left, Some(self.sequence)).await?;
        self.sequence = packet.sequence.wrapping_add(1);
        self.left -= packet.payload.len();
        match packet.payload.first() {
            Some(&reply::ERR) => {
                Err(QueryError::Server(ErrPacket::parse(&packet.payload)?.to_owned()))
            }
            Some(_) => Ok(packet),
            None => Err(Malformed("an empty packet in a result").into()),
        }
    }

    /// The names of a result's columns, whose number `first` tells, and the EOF behind them.
    async fn columns(&mut self, first: &Packet) -> Result<Vec<String>, QueryError> {
        let count = Reader::new(&first.payload).lenenc_int()?;
        let mut columns = Vec::new();
        for _ in 0..count {
            columns.push(column_name(&self.packet().await?.payload)?);
        }
        EofPacket::parse(&self.packet().await?.payload)?;
        Ok(columns)
    }

    /// The first of a statement's results that has columns, or the first.
    async fn first_with_columns(&mut self) -> Result<Rows, QueryError> {
        let mut kept = Rows::default();
        loop {
            let (rows, more) = self.result().await?;
            if kept.columns.is_empty() {
                kept = rows;
            }
            if !more {
                return Ok(kept);
            }
        }
    }

    /// One result, and whether another follows.
    async fn result(&mut self) -> Result<(Rows, bool), QueryError> {
        let first = self.packet().await?;
        match first.payload[0] {
            reply::OK => {
                let ok = OkPacket::parse(&first.payload, self.capabilities)?;
                let rows = Rows { affected_rows: ok.affected_rows, ..Rows::default() };
                return Ok((rows, ok.status.contains(Status::MORE_RESULTS)));
            }
            LOCAL_INFILE => return Err(Malformed("the server asks for a local file").into()),
            _ => {}
        }
        let mut rows = Rows { columns: self.columns(&first).await?, ..Rows::default() };
        let count = rows.columns.len();
        loop {
            let packet = self.packet().await?;
            if packet.payload[0] == reply::EOF && packet.payload.len() < EOF_LIMIT {
                let eof = EofPacket::parse(&packet.payload)?;
                return Ok((rows, eof.status.contains(Status::MORE_RESULTS)));
            }
            // Values are counted too: a row of NULLs takes much more room here than on the wire.
            let row_size = rows.columns.len() * size_of::<Option<Vec<u8>>>();
            self.left = self.left.checked_sub(row_size).ok_or(QueryError::TooLarge)?;
            let mut reader = Reader::new(&packet.payload);
            let mut row = Vec::with_capacity(rows.columns.len());
            for _ in 0..count {
                row.push(reader.nullable_lenenc_bytes()?.map(<[u8]>::to_vec));
            }
            rows.rows.push(row);
        }
    }
}

/// The name in a column definition ("Protocol::ColumnDefinition41").
fn column_name(payload: &[u8]) -> Result<String, Malformed> {
    let mut reader = Reader::new(payload);
    // catalog, schema, table, original table.
    for _ in 0..4 {
        reader.lenenc_bytes()?;
    }
    let name = reader.lenenc_bytes()?;
    Ok(match std::str::from_utf8(name) {
        Ok(name) => name.to_owned(),
        Err(_) => String::from_utf8_lossy(name).into_owned(),
    })
}

impl Rows {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether the result has a column of this name, in any case.
    pub fn has_column(&self, column: &str) -> bool {
        self.index(column).is_some()
    }

    /// The value in a row's column; `None` for NULL, and where there is no such row or column.
    /// Names are compared without regard to case.
    pub fn get(&self, row: usize, column: &str) -> Option<&[u8]> {
        self.rows.get(row)?.get(self.index(column)?)?.as_deref()
    }

    /// The value as text, if it is UTF-8.
    pub fn str(&self, row: usize, column: &str) -> Option<&str> {
        std::str::from_utf8(self.get(row, column)?).ok()
    }

    /// The value as a number that is not negative.
    pub fn u64(&self, row: usize, column: &str) -> Option<u64> {
        self.str(row, column)?.parse().ok()
    }

    fn index(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|name| name.eq_ignore_ascii_case(column))
    }
}
