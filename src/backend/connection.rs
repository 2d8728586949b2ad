//! One connection to a server, and the private commands that the proxy itself runs on it.

pub mod diagnostics;

use std::io;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::timeout;

use super::authenticate::Connected;
use super::statements::ServerStatements;
use crate::net::{PacketError, PacketStream};
use crate::session::SessionId;
use crate::session::settings::{Difference, Restore, Settings};
use crate::session::statements::PreparedText;
use crate::session::tracking::{
    self, Further, GtidTracking, Tracking, TransactionState, UNKNOWN_VARIABLE,
};
use crate::sql::Dialect;
use crate::wire::amend::text_rows;
use crate::wire::capabilities::Status;
use crate::wire::codec::{Malformed, Reader};
use crate::wire::packet::{Packet, put_packet};
use crate::wire::query::NO_ATTRIBUTES;
use crate::wire::reply::{ERR, ErrPacket, OkPacket, ServerError};
use crate::wire::scanner::{Expect, Scanner, Significant};
use crate::wire::{Capabilities, Flavour};

/// Longest reply to a private command.
const MAX_PRIVATE_REPLY: usize = 1024 * 1024;
/// Longest reply to a question: room for some thousand warnings.
const MAX_ROWS: usize = 1024 * 1024;

const COM_INIT_DB: u8 = 0x02;
const COM_QUERY: u8 = 0x03;
const COM_STMT_PREPARE: u8 = 0x16;
/// What every connection to a replica begins with.
const READ_ONLY: &str = "SET SESSION TRANSACTION READ ONLY";
/// A whole COM_QUIT packet.
const QUIT: [u8; 5] = [1, 0, 0, 0, 1];

/// Whether a connection may ever write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// To the primary.
    ReadWrite,
    /// To a replica: the server itself refuses writes on it (`SET SESSION TRANSACTION READ ONLY`),
    /// whatever the proxy misjudges.
    ReadOnly,
}

/// An authenticated connection to a server.
#[derive(Debug)]
pub struct Connection {
    pub packets: PacketStream,
    /// Proxy-wide number, never used twice.
    pub number: u64,
    /// The server's id of the connection, for KILL.
    pub thread: u32,
    /// What was agreed on with the server.
    pub capabilities: Capabilities,
    /// Whether it may ever write.
    pub access: Access,
    /// Status flags of the last reply.
    pub status: Status,
    /// What it has last told of its transaction.
    pub transaction: TransactionState,
    /// What is prepared on it.
    pub statements: ServerStatements,
    /// Since the last reply something was sent that has none, but to which the server may object
    /// (data longer than its max_allowed_packet): its word would be taken for the next reply.
    pub awaits_word: bool,
    /// SHOW WARNINGS may list something here.
    has_diagnostics: bool,
    /// What the server remembers of those who used the connection.
    present: Settings,
    /// Session and version of its settings that `present` is known to equal.
    settled: Option<(SessionId, u64)>,
    /// What LAST_INSERT_ID() gives here; `None` when a statement may have changed it.
    insert_id: Option<u64>,
    /// What the server's session tracking tells of beyond what it tells for the proxy's sake;
    /// `None` before what every connection begins with has been done.
    tracks: Option<Further>,
    /// Its server has been told to tell the GTIDs of what is written.
    pub tells_gtids: bool,
    /// Which variables the server has.
    dialect: Dialect,
}

/// Why a private command failed. The connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    #[error("the server refused to restore the session: {0}")]
    Refused(ServerError),
    #[error("the connection cannot be brought to the session's state")]
    Impossible,
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Packet(#[from] PacketError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl From<io::Error> for PrivateError {
    fn from(error: io::Error) -> Self {
        PrivateError::Packet(error.into())
    }
}

impl Connection {
    /// A connection that has just logged in and has these settings.
    pub fn new(connected: Connected, access: Access, present: Settings) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let version = &connected.greeting.version;
        let dialect = Dialect {
            flavour: version.flavour,
            version: version.comment_number(),
            ..Dialect::default()
        };
        Connection {
            status: connected.ok.packet().status,
            packets: connected.stream,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            thread: connected.greeting.connection_id,
            capabilities: connected.capabilities,
            access,
            transaction: TransactionState::default(),
            statements: ServerStatements::default(),
            present,
            settled: None,
            insert_id: Some(0),
            tracks: None,
            tells_gtids: false,
            dialect,
            awaits_word: false,
            has_diagnostics: false,
        }
    }

    /// True once what every connection begins with has been done, for a client that wants to hear
    /// of these variables.
    pub fn is_set_up(&self, further: &Further) -> bool {
        self.tracks.as_ref() == Some(further)
    }

    /// Does what every connection begins with. After an error the connection must be closed.
    pub async fn set_up(
        &mut self,
        further: &Further,
        deadline: Duration,
    ) -> Result<(), PrivateError> {
        if self.access == Access::ReadOnly && self.tracks.is_none() {
            self.statement(READ_ONLY, deadline).await?;
        }
        self.track(further, deadline).await
    }

    /// Has the server tell what the proxy must know, and these variables. After an error the
    /// connection must be closed.
    pub async fn track(
        &mut self,
        further: &Further,
        deadline: Duration,
    ) -> Result<(), PrivateError> {
        let gtids = self.gtid_tracking();
        let statement = tracking::set_up(self.dialect, further, gtids);
        match self.statement(&statement, deadline).await {
            // Variables come and go with versions. What is not told pins.
            Err(PrivateError::Refused(error)) if error.code == UNKNOWN_VARIABLE => {
                self.statement(tracking::SET_UP_BY_DEFAULT, deadline).await?;
                self.tells_gtids = false;
                self.tracks = Some(further.clone());
                return Ok(());
            }
            done => done?,
        }
        // MariaDB's is one of the variables.
        let set = gtids == GtidTracking::Settable || self.dialect.flavour == Flavour::MariaDb;
        self.tells_gtids |= set;
        // What could not be set now is to be set before the next session is served.
        self.tracks = self.tells_gtids.then(|| further.clone());
        Ok(())
    }

    /// Has the server track what a client has asked for, and nothing for the proxy's sake. After
    /// an error the connection must be closed.
    pub async fn track_as(
        &mut self,
        tracking: &Tracking,
        deadline: Duration,
    ) -> Result<(), PrivateError> {
        let gtids = self.gtid_tracking();
        if gtids == GtidTracking::Settable {
            self.tells_gtids = false;
        }
        self.statement(&tracking.statement(gtids), deadline).await
    }

    fn gtid_tracking(&self) -> GtidTracking {
        GtidTracking::of(self.dialect.flavour, self.status.contains(Status::IN_TRANSACTION))
    }

    /// Notes that COM_RESET_CONNECTION has undone what the connection began with, and what
    /// LAST_INSERT_ID() gives then.
    pub fn was_reset(&mut self) {
        self.tracks = None;
        self.tells_gtids = false;
        self.insert_id = Some(0);
        self.statements.clear();
    }

    /// Notes that a statement may have changed LAST_INSERT_ID() on this connection.
    pub fn insert_id_may_have_changed(&mut self) {
        self.insert_id = None;
    }

    /// Makes LAST_INSERT_ID() give this. After an error the connection must be closed.
    pub async fn set_insert_id(
        &mut self,
        value: u64,
        deadline: Duration,
    ) -> Result<(), PrivateError> {
        if self.insert_id != Some(value) {
            let statement = format!("SET @@session.last_insert_id={value}");
            self.statement(&statement, deadline).await?;
            self.insert_id = Some(value);
        }
        Ok(())
    }

    /// What LAST_INSERT_ID() gives; asks the server where that is not known. After an error the
    /// connection must be closed.
    pub async fn insert_id(&mut self, deadline: Duration) -> Result<u64, PrivateError> {
        if let Some(value) = self.insert_id {
            return Ok(value);
        }
        let value = self.number("SELECT LAST_INSERT_ID()", deadline).await?;
        self.insert_id = Some(value);
        Ok(value)
    }

    /// Asks for one row of so many values, none of them NULL, by a SELECT without LIMIT. After an
    /// error the connection must be closed.
    pub async fn ask<const COLUMNS: usize>(
        &mut self,
        question: &str,
        deadline: Duration,
    ) -> Result<[Vec<u8>; COLUMNS], PrivateError> {
        let reply = self.rows(&limited(question), deadline).await?;
        let rows = text_rows(&reply, self.capabilities)?;
        let mut row = Reader::new(rows.first().ok_or(Malformed("a reply without a row"))?);
        let mut values = [const { Vec::new() }; COLUMNS];
        for value in &mut values {
            *value = row.lenenc_bytes()?.to_vec();
        }
        Ok(values)
    }

    /// What ROW_COUNT() gives, if nothing else was asked before. After an error the connection must
    /// be closed.
    pub async fn row_count(&mut self, deadline: Duration) -> Result<i64, PrivateError> {
        let [value] = self.ask("SELECT ROW_COUNT()", deadline).await?;
        Ok(number(&value)?)
    }

    /// What FOUND_ROWS() gives. After an error the connection must be closed.
    pub async fn found_rows(&mut self, deadline: Duration) -> Result<u64, PrivateError> {
        self.number("SELECT FOUND_ROWS()", deadline).await
    }

    async fn number(&mut self, question: &str, deadline: Duration) -> Result<u64, PrivateError> {
        let [value] = self.ask(question, deadline).await?;
        Ok(number(&value)?)
    }

    /// The reply to a question of the proxy's own, as it came.
    async fn rows(
        &mut self,
        question: &str,
        deadline: Duration,
    ) -> Result<Box<[u8]>, PrivateError> {
        let asked = async {
            let mut out = BytesMut::new();
            put_packet(&mut out, 0, &self.encode(&Restore::Statement(question.to_owned())));
            self.write_command(&out).await?;
            let mut scanner = Scanner::new(Expect::Results, self.capabilities);
            let mut reply = BytesMut::new();
            let mut sequence = 1;
            while !scanner.is_done() {
                let left = MAX_ROWS.saturating_sub(reply.len());
                let packet = self.packets.read_packet(left, Some(sequence)).await?;
                if packet.payload.first() == Some(&ERR) {
                    let error = ErrPacket::parse(&packet.payload)?.to_owned();
                    return Err(PrivateError::Refused(error));
                }
                let at = reply.len();
                sequence = put_packet(&mut reply, sequence, &packet.payload);
                let mut unseen = &reply[at..];
                while !unseen.is_empty() {
                    let scan = scanner.scan(unseen)?;
                    unseen = &unseen[scan.forward + scan.packet.map_or(0, |(_, length)| length)..];
                }
            }
            Ok(reply[..].into())
        };
        timeout(deadline, asked).await.unwrap_or(Err(PrivateError::TimedOut(deadline)))
    }

    /// True when nothing waits to be read: an idle server says nothing, unless it is about to
    /// close (MySQL announces that with ERR 4031) or has closed.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0];
        self.packets.buffered().is_empty()
            && matches!(
                self.packets.stream().try_read_socket(&mut byte),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock
            )
    }

    /// Notes that the connection has exactly these settings of this session.
    pub fn settle(&mut self, session: SessionId, version: u64, settings: &Settings) {
        if self.settled != Some((session, version)) {
            self.present = settings.clone();
            self.settled = Some((session, version));
        }
    }

    /// True when the connection has exactly these settings of this session.
    pub fn is_settled(&self, session: SessionId, version: u64) -> bool {
        self.settled == Some((session, version))
    }

    /// Brings the connection to a session's settings; no round trip when it has them already.
    /// Every command is answered before this returns. After an error the connection must be
    /// closed. Not cancel safe, for the same reason.
    pub async fn restore(
        &mut self,
        session: SessionId,
        version: u64,
        wanted: &Settings,
        set_names: impl Fn(u16) -> Option<String>,
        deadline: Duration,
    ) -> Result<(), PrivateError> {
        if self.settled == Some((session, version)) {
            return Ok(());
        }
        self.adapt(wanted, set_names, deadline).await?;
        self.settle(session, version, wanted);
        Ok(())
    }

    async fn adapt(
        &mut self,
        wanted: &Settings,
        set_names: impl Fn(u16) -> Option<String>,
        deadline: Duration,
    ) -> Result<(), PrivateError> {
        match wanted.difference(&self.present, set_names, self.access == Access::ReadOnly) {
            Difference::Nothing => Ok(()),
            Difference::Impossible => Err(PrivateError::Impossible),
            Difference::Commands(commands) => {
                for command in &commands {
                    self.private(&self.encode(command), deadline).await?;
                }
                Ok(())
            }
        }
    }

    /// Prepares a text under the settings that it was first prepared under, and goes back to the
    /// session's; under these if the connection is to stay `as_it_is`. The number that the server gives it, or its refusal. After an error the
    /// connection must be closed. Not cancel safe, for the same reason.
    pub async fn prepare(
        &mut self,
        text: &PreparedText,
        as_it_is: bool,
        set_names: impl Fn(u16) -> Option<String>,
        deadline: Duration,
    ) -> Result<Result<u32, ServerError>, PrivateError> {
        let session = self.present.clone();
        let mut wanted = if as_it_is { session.clone() } else { text.settings.clone() };
        wanted.autocommit = session.autocommit;
        wanted.role = session.role.clone();
        wanted.user_variables = session.user_variables.clone();
        // Without a default database the text has named every one that it needs.
        wanted.database = text.settings.database.clone().or(session.database.clone());
        match self.adapt(&wanted, &set_names, deadline).await {
            // The database is gone, and with it the statement.
            Err(PrivateError::Refused(error)) if as_it_is => return Ok(Err(error)),
            adapted => adapted?,
        }
        self.present = wanted;
        let answer = self.ask_to_prepare(&text.sql).await?;
        self.adapt(&session, &set_names, deadline).await?;
        self.present = session;
        Ok(answer)
    }

    /// Without a deadline, as a running statement: it may wait for a lock on its tables. It ends
    /// with its caller, who watches the client and the server.
    async fn ask_to_prepare(
        &mut self,
        sql: &[u8],
    ) -> Result<Result<u32, ServerError>, PrivateError> {
        let mut out = BytesMut::new();
        put_packet(&mut out, 0, &[&[COM_STMT_PREPARE], sql].concat());
        self.write_command(&out).await?;
        let mut scanner = Scanner::new(Expect::Prepare, self.capabilities);
        let mut answer = None;
        let mut sequence = 1;
        while !scanner.is_done() {
            let Packet { payload, sequence: last } =
                self.packets.read_packet(MAX_PRIVATE_REPLY, Some(sequence)).await?;
            sequence = last.wrapping_add(1);
            let mut packet = BytesMut::new();
            put_packet(&mut packet, 0, &payload);
            match scanner.scan(&packet)?.packet {
                Some((Significant::Err, _)) => {
                    answer = Some(Err(ErrPacket::parse(&payload)?.to_owned()));
                }
                Some((Significant::PrepareOk { statement, .. }, _)) => answer = Some(Ok(statement)),
                _ => {}
            }
        }
        answer.ok_or(PrivateError::Malformed(Malformed("no answer to PREPARE")))
    }

    /// Runs a statement of the proxy's own that answers with OK.
    pub async fn statement(&mut self, sql: &str, deadline: Duration) -> Result<(), PrivateError> {
        self.private(&self.encode(&Restore::Statement(sql.to_owned())), deadline).await
    }

    async fn private(&mut self, payload: &[u8], deadline: Duration) -> Result<(), PrivateError> {
        match timeout(deadline, self.round_trip(payload)).await {
            Ok(result) => result,
            Err(_) => Err(PrivateError::TimedOut(deadline)),
        }
    }

    async fn round_trip(&mut self, payload: &[u8]) -> Result<(), PrivateError> {
        let mut out = BytesMut::new();
        put_packet(&mut out, 0, payload);
        self.write_command(&out).await?;
        let reply = self.packets.read_packet(MAX_PRIVATE_REPLY, Some(1)).await?;
        if reply.payload.first() == Some(&ERR) {
            return Err(PrivateError::Refused(ErrPacket::parse(&reply.payload)?.to_owned()));
        }
        self.status = OkPacket::parse(&reply.payload, self.capabilities)?.status;
        if !self.status.contains(Status::IN_TRANSACTION) {
            // It was told now, if it was not before.
            self.transaction = TransactionState::default();
        }
        Ok(())
    }

    /// Writes a command whole, or several that have no reply. Not cancel safe.
    pub async fn write_command(&mut self, packets: &[u8]) -> io::Result<()> {
        self.packets.begin_command();
        self.packets.write(packets).await
    }

    /// Says goodbye and closes, without waiting for anything.
    pub fn close(mut self) {
        use std::pin::Pin;
        use std::task::Context;
        use tokio::io::AsyncWrite;
        // A server logs a warning for clients that leave without COM_QUIT. What cannot be sent at
        // once is not worth waiting for.
        let mut context = Context::from_waker(std::task::Waker::noop());
        self.packets.begin_command();
        let stream = self.packets.stream_mut();
        if Pin::new(&mut *stream).poll_write(&mut context, &QUIT).is_ready() {
            let _ = Pin::new(stream).poll_flush(&mut context);
        }
    }

    fn encode(&self, command: &Restore) -> Vec<u8> {
        let (code, text) = match command {
            Restore::Database(name) => (COM_INIT_DB, &name[..]),
            Restore::Statement(text) => (COM_QUERY, text.as_bytes()),
        };
        let mut payload = Vec::with_capacity(3 + text.len());
        payload.push(code);
        if code == COM_QUERY && self.capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
            payload.extend_from_slice(&NO_ATTRIBUTES);
        }
        payload.extend_from_slice(text);
        payload
    }
}

fn number<Number: FromStr>(text: &[u8]) -> Result<Number, Malformed> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or(Malformed("a number was asked for"))
}

/// A SELECT that gives its row whatever the session's `sql_select_limit` is.
fn limited(question: &str) -> String {
    format!("{question} LIMIT 1")
}
