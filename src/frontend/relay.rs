//! Relays one reply from a server to the client: a byte copy guided by the scanner.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;

use super::client::{Client, ClientError};
use super::mailbox::Mail;
use super::upstream::{copy_run, receive, send};
use crate::backend::connection::Connection;
use crate::backend::dial::SILENCE;
use crate::gtid::Transactions;
use crate::monitor::Samples;
use crate::net::PacketError;
use crate::routing::SharedDemand;
use crate::session::outcome::Ending;
use crate::session::tracking::LAST_GTID;
use crate::session::{Told, Tracking};
use crate::wire::amend::{Amendment, Encoding, amend};
use crate::wire::capabilities::Status;
use crate::wire::codec::Malformed;
use crate::wire::execute::put_statement_id;
use crate::wire::packet::{HEADER, Header, put_packet};
use crate::wire::reply::{EOF, ErrPacket, OkPacket, ServerError, StateChange, put_ok};
use crate::wire::run::RunEnd;
use crate::wire::scanner::{Expect, Scanner, Significant};
use crate::wire::splice::Renumbering;
use crate::wire::{Capabilities, Flavour};

/// What a reply, seen whole, has told.
#[derive(Debug, Default)]
pub struct Reply {
    /// The last status flags; `None` when the reply had none (ERR, COM_STATISTICS).
    pub status: Option<Status>,
    /// The error that ended it.
    pub error: Option<ServerError>,
    /// The default database that a statement changed to.
    pub database: Option<Box<[u8]>>,
    /// Session variables that the server reports as changed.
    pub told: Told,
    /// What was written by it, as far as it was told by GTID.
    pub written: Option<Transactions>,
    /// One of its results ended in a way that has no room for GTIDs, or in one that is not
    /// understood.
    pub hides_gtids: bool,
    /// The last insert id other than 0 that was reported.
    pub insert_id: Option<u64>,
    /// It had a result set.
    pub has_rows: bool,
    /// How its last result ended.
    pub ending: Ending,
    /// Warnings of the last result.
    pub warnings: u16,
    /// One of its results had warnings.
    pub has_warnings: bool,
    /// The server's number of the statement that was prepared, and that of its parameters.
    pub prepared: Option<(u32, u16)>,
    /// How many bytes the client was sent.
    pub bytes: u64,
    /// How many buffered bytes belong to it that were not sent, since they are to be amended.
    pub collected: usize,
}

impl Reply {
    pub fn failed_with(&self, code: u16) -> bool {
        self.error.as_ref().is_some_and(|error| error.code == code)
    }
}

/// Why a relay stopped in the middle. The connection to the server is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The server closed, or sent something that is no reply.
    #[error("the server was lost: {cause}")]
    Server { cause: PacketError, forwarded: bool },
    #[error("the server's reply makes no sense: {cause}")]
    Malformed { cause: Malformed, forwarded: bool },
    /// The client is gone, stalled, or to be ended.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server that runs the statement was declared down.
    #[error("the server was declared down")]
    BackendDown { forwarded: bool },
}

/// What the session wants of the relay besides the copy.
pub struct Relay<'a> {
    pub client: &'a mut Client,
    pub server: &'a mut Connection,
    /// True for an error that the session will answer in another way: if nothing of the reply has
    /// reached the client yet, all of it is kept from it.
    pub keep_back: &'a (dyn Fn(u16) -> bool + Sync),
    /// What the client is to call the statement that is prepared.
    pub statement_id: Option<u32>,
    /// What the client hears of its session's changes.
    pub tracking: &'a Tracking,
    /// False when what an EOF announces is most probably nothing that the client hears of.
    pub announces: bool,
    /// What it is told instead of what the server says.
    pub amendment: Option<(&'a Amendment, Encoding)>,
    /// Who else must see what is written.
    pub writes: Option<WriteWatch>,
    /// The command has had one packet more than the client has sent.
    pub renumbering: Option<Renumbering>,
    pub on_mail: &'a mut OnMail<'a>,
}

/// Notes for others what a statement has written, before its client can tell them.
pub struct WriteWatch {
    pub shared: Arc<SharedDemand>,
    pub samples: Samples,
    /// It may write.
    pub may_write: bool,
    /// But not if it ends in an error.
    pub undone_by_error: bool,
    /// An OK tells what was written.
    pub tells: bool,
}

impl WriteWatch {
    /// A result has ended, and this is what it has told; `silent`: without room for it.
    fn note(&self, told: Option<&Transactions>, silent: bool) {
        if told.is_some() {
            self.shared.wrote(told.cloned(), self.samples.next());
        }
        if self.may_write && (silent || !self.tells) {
            self.shared.wrote(None, self.samples.next());
        }
    }
}

/// Called with mail that came while a statement runs; true when the server is to be given up.
pub type OnMail<'a> = dyn FnMut(Mail) -> bool + Send + 'a;

/// Mail that a running statement is to notice. KILL QUERY and a changed topology are dealt with
/// while it goes on.
pub(super) const WHILE_RUNNING: Mail =
    Mail::KILL_CONNECTION.union(Mail::SHUTDOWN).union(Mail::KILL_QUERY).union(Mail::BACKEND);

/// Most bytes of a reply that is amended.
const MAX_AMENDED: usize = 4 * 1024 * 1024;

enum Event {
    Bytes,
    End,
    ClientGone,
    /// It has sent something that belongs to a stream.
    ClientBytes,
    Mail(Mail),
}

impl Relay<'_> {
    /// Copies the reply to a command that was just sent. A running statement has no deadline: it
    /// ends with its server, its client, or mail.
    pub async fn run(&mut self, expect: Expect) -> Result<Reply, RelayError> {
        if expect == Expect::Stream {
            self.client.packets.stream_mut().begin_stream();
            self.server.packets.stream_mut().begin_stream();
        }
        let mut scanner = Scanner::new(expect, self.server.capabilities);
        let mut reply = Reply::default();
        loop {
            match self.amendment {
                None | Some((Amendment::Warnings(_), _)) => {
                    self.forward(&mut scanner, &mut reply).await?;
                }
                Some((amendment, encoding)) => {
                    self.collect(&mut scanner, &mut reply)?;
                    if scanner.is_done() {
                        self.amend(amendment, encoding, &mut reply).await?;
                    }
                }
            }
            if scanner.is_done() {
                return self.finish(reply);
            }
            self.await_bytes(expect, reply.bytes > 0).await?;
        }
    }

    fn finish(&mut self, reply: Reply) -> Result<Reply, RelayError> {
        if let Some(status) = reply.status {
            self.server.status = status;
        }
        if !self.server.packets.buffered().is_empty() {
            let cause = Malformed("bytes behind the end of a reply");
            return Err(RelayError::Malformed { cause, forwarded: true });
        }
        Ok(reply)
    }

    /// Scans what is buffered and leaves it there. Nothing of the reply is sent yet.
    fn collect(&mut self, scanner: &mut Scanner, reply: &mut Reply) -> Result<(), RelayError> {
        const TOO_LONG: Malformed = Malformed("a long answer to a small question");
        let malformed = |cause| RelayError::Malformed { cause, forwarded: false };
        loop {
            let buffered = &self.server.packets.buffered()[reply.collected..];
            let scan = scanner.scan(buffered).map_err(malformed)?;
            reply.collected += scan.forward;
            if reply.collected > MAX_AMENDED {
                return Err(malformed(TOO_LONG));
            }
            let Some((significant, length)) = scan.packet else { return Ok(()) };
            self.judge(significant, reply.collected, length, scanner.rows(), reply)?;
            reply.collected += length;
        }
    }

    async fn amend(
        &mut self,
        amendment: &Amendment,
        encoding: Encoding,
        reply: &mut Reply,
    ) -> Result<(), RelayError> {
        let collected = &self.server.packets.buffered()[..reply.collected];
        let amended = amend(collected, amendment, encoding)
            .map_err(|cause| RelayError::Malformed { cause, forwarded: false })?;
        self.client.write(&amended).await?;
        reply.bytes = amended.len() as u64;
        self.server.packets.consume(reply.collected);
        Ok(())
    }

    /// Forwards everything of the reply that is buffered.
    async fn forward(
        &mut self,
        scanner: &mut Scanner,
        reply: &mut Reply,
    ) -> Result<(), RelayError> {
        let mut ready = 0;
        while !scanner.is_done() {
            let buffered = &self.server.packets.buffered()[ready..];
            let scan = scanner
                .scan(buffered)
                .map_err(|cause| RelayError::Malformed { cause, forwarded: reply.bytes > 0 })?;
            ready += scan.forward;
            let Some((significant, length)) = scan.packet else { break };
            match self.judge(significant, ready, length, scanner.rows(), reply)? {
                Verbatim::Yes => ready += length,
                Verbatim::KeepBack => {
                    self.server.packets.consume(ready + length);
                    return Ok(());
                }
                Verbatim::Instead(packet) => {
                    self.send(ready, reply).await?;
                    self.server.packets.consume(length);
                    self.client.write(&packet).await?;
                    reply.bytes += packet.len() as u64;
                    ready = 0;
                }
            }
            if significant == Significant::LocalInfile {
                self.send(ready, reply).await?;
                ready = 0;
                self.upload().await?;
            }
        }
        self.send(ready, reply).await
    }

    /// Sends the first `count` buffered bytes.
    async fn send(&mut self, count: usize, reply: &mut Reply) -> Result<(), RelayError> {
        if count > 0 {
            self.client.write(&self.server.packets.buffered()[..count]).await?;
            self.server.packets.consume(count);
            reply.bytes += count as u64;
        }
        Ok(())
    }

    /// Reads what a significant packet says, and decides whether the client gets it as it is.
    fn judge(
        &mut self,
        significant: Significant,
        at: usize,
        length: usize,
        rows: u64,
        reply: &mut Reply,
    ) -> Result<Verbatim, RelayError> {
        let packet = &self.server.packets.buffered()[at..at + length];
        let payload = &packet[HEADER..];
        let forwarded = reply.bytes > 0;
        let malformed = |cause| RelayError::Malformed { cause, forwarded };
        match significant {
            Significant::Err => {
                let error = ErrPacket::parse(payload).map_err(malformed)?.to_owned();
                // Column definitions before it have not been sent yet, if they came together.
                let keep = reply.bytes == 0 && (self.keep_back)(error.code);
                if !keep
                    && let Some(writes) = &self.writes
                    && !writes.undone_by_error
                {
                    writes.note(None, true);
                }
                reply.error = Some(error);
                return Ok(if keep { Verbatim::KeepBack } else { Verbatim::Yes });
            }
            Significant::Ok(status) => {
                reply.status = Some(status);
                reply.has_rows |= payload.first() == Some(&EOF);
                let mut ok =
                    OkPacket::parse(payload, self.server.capabilities).map_err(malformed)?;
                if ok.last_insert_id != 0 {
                    reply.insert_id = Some(ok.last_insert_id);
                }
                let mut as_it_is = true;
                let session_state;
                let mut told = None;
                if let Some((&Amendment::Warnings(warnings), _)) = self.amendment {
                    // It has none itself.
                    ok.warnings = warnings;
                    as_it_is = false;
                } else {
                    reply.has_warnings |= ok.warnings > 0;
                }
                reply.warnings = ok.warnings;
                reply.ending = match ok.header {
                    EOF => Ending::Rows { count: rows },
                    _ => Ending::Ok { affected: ok.affected_rows },
                };
                let (client, server) = (&mut self.client.transaction, &mut self.server.transaction);
                let is_behind = client.is_left_behind(server, status);
                if is_behind
                    || !ok.session_state.is_empty()
                    || status.contains(Status::SESSION_STATE_CHANGED)
                {
                    note_changes(&ok, reply).map_err(malformed)?;
                    told = reply.written.as_ref();
                    let wanted =
                        match self.client.capabilities.contains(Capabilities::SESSION_TRACK) {
                            true => self
                                .tracking
                                .filtered(ok.changes(), status, client, server)
                                .map_err(malformed)?,
                            false => Some(Vec::new()),
                        };
                    if let Some(wanted) = wanted {
                        session_state = wanted;
                        ok.session_state = &session_state;
                        as_it_is = false;
                    }
                }
                if let Some(writes) = &self.writes {
                    writes.note(told, reply.hides_gtids);
                }
                if !as_it_is {
                    let sequence = Header::peek(packet).map_or(0, |header| header.sequence);
                    let packet = encoded(&ok, sequence, self.client.capabilities);
                    return Ok(Verbatim::Instead(packet));
                }
            }
            Significant::Eof(status) => {
                reply.status = Some(status);
                reply.has_rows = true;
                reply.warnings = u16::from_le_bytes([payload[1], payload[2]]);
                if let Some((&Amendment::Warnings(warnings), _)) = self.amendment {
                    reply.warnings = warnings;
                    let at = at + HEADER + 1;
                    self.server.packets.buffered_mut()[at..at + 2]
                        .copy_from_slice(&warnings.to_le_bytes());
                } else {
                    reply.has_warnings |= reply.warnings > 0;
                }
                if status.contains(Status::SESSION_STATE_CHANGED) {
                    self.announce(at);
                }
                reply.ending = Ending::Rows { count: rows };
                reply.hides_gtids = true;
                if let Some(writes) = &self.writes {
                    writes.note(None, true);
                }
            }
            Significant::ColumnsEof => self.announce(at),
            Significant::PrepareOk { statement, parameters, warnings, .. } => {
                reply.prepared = Some((statement, parameters));
                reply.warnings = warnings;
                reply.has_warnings |= warnings > 0;
                if let Some(id) = self.statement_id {
                    put_statement_id(&mut self.server.packets.buffered_mut()[at..], id);
                }
            }
            Significant::LocalInfile | Significant::Text => {}
        }
        Ok(Verbatim::Yes)
    }

    /// An EOF announces a change and does not say which: perhaps none that the client wants to
    /// hear of.
    fn announce(&mut self, at: usize) {
        if !self.announces {
            const HIGH: u8 = (Status::SESSION_STATE_CHANGED.bits() >> 8) as u8;
            let flags = at + HEADER + 4;
            self.server.packets.buffered_mut()[flags] &= !HIGH;
        }
    }

    /// Waits for more of the server's reply, watching the client and the mailbox.
    async fn await_bytes(&mut self, expect: Expect, forwarded: bool) -> Result<(), RelayError> {
        // Before its first event the primary may refuse, and what the client has sent is a command.
        let streams = expect == Expect::Stream && forwarded;
        // A stream has no end of its own.
        let wanted = if streams { WHILE_RUNNING | Mail::DRAIN } else { WHILE_RUNNING };
        loop {
            if streams && !self.client.packets.buffered().is_empty() {
                self.pass_on().await?;
            }
            let (client, server) = (&mut *self.client, &mut *self.server);
            let before = server.packets.buffered().len();
            let event = poll_fn(|context| {
                if let Poll::Ready(count) = server.packets.poll_fill(context) {
                    return Poll::Ready(count.map(|count| match count {
                        0 => Event::End,
                        _ => Event::Bytes,
                    }));
                }
                let mail = client.handle.mailbox.poll(context, wanted);
                if !mail.is_empty() {
                    return Poll::Ready(Ok(Event::Mail(mail)));
                }
                if !streams {
                    return client.poll_gone(context).map(|()| Ok(Event::ClientGone));
                }
                client.packets.poll_fill(context).map(|filled| match filled {
                    Ok(0) | Err(_) => Ok(Event::ClientGone),
                    Ok(_) => Ok(Event::ClientBytes),
                })
            })
            .await;
            match event {
                Ok(Event::Bytes) => {
                    if let Some(renumbering) = &mut self.renumbering {
                        renumbering.renumber(&mut self.server.packets.buffered_mut()[before..]);
                    }
                    return Ok(());
                }
                Ok(Event::End) => {
                    return Err(RelayError::Server { cause: PacketError::Closed, forwarded });
                }
                Ok(Event::ClientGone) => return Err(ClientError::Closed.into()),
                Ok(Event::ClientBytes) => {}
                Ok(Event::Mail(mail)) => self.receive(mail, forwarded)?,
                Err(error) => {
                    return Err(RelayError::Server { cause: error.into(), forwarded });
                }
            }
        }
    }

    /// Passes on what a replica says while the primary's events stream to it: that it has received
    /// one (semi-synchronous replication). Nothing answers that.
    async fn pass_on(&mut self) -> Result<(), RelayError> {
        let count = self.client.packets.buffered().len();
        let said = self.client.packets.take(count);
        send(self.client, self.server, &said, self.on_mail).await
    }

    fn receive(&mut self, mail: Mail, forwarded: bool) -> Result<(), RelayError> {
        receive(self.client, self.on_mail, mail, forwarded)
    }

    /// Passes the client's file on to the server, up to its closing empty packet. A server that waits
    /// for a lock in the middle of it has no room for more, and is well.
    async fn upload(&mut self) -> Result<(), RelayError> {
        self.server.packets.stream().limit_silence(None);
        copy_run(self.client, self.server, RunEnd::EmptyPacket, self.on_mail).await?;
        self.server.packets.stream().limit_silence(Some(SILENCE));
        Ok(())
    }
}

enum Verbatim {
    Yes,
    /// The client gets nothing of this reply.
    KeepBack,
    Instead(BytesMut),
}

fn note_changes(ok: &OkPacket<'_>, reply: &mut Reply) -> Result<(), Malformed> {
    for change in ok.changes() {
        match change? {
            StateChange::Schema(name) => reply.database = Some(name.into()),
            StateChange::SystemVariable { name, value }
                if name.eq_ignore_ascii_case(LAST_GTID.as_bytes()) =>
            {
                note_gtids(reply, Flavour::MariaDb, value);
            }
            StateChange::SystemVariable { name, value } => reply.told.note(name, value),
            StateChange::Gtids { encoding: 0, text } => {
                note_gtids(reply, Flavour::MySql, text);
            }
            StateChange::Gtids { .. } => reply.hides_gtids = true,
            _ => {}
        }
    }
    Ok(())
}

fn note_gtids(reply: &mut Reply, flavour: Flavour, text: &[u8]) {
    match (Transactions::parse(flavour, text), &mut reply.written) {
        (Some(more), Some(before)) => before.add(more),
        (Some(more), none) => *none = Some(more),
        (None, _) => reply.hides_gtids = true,
    }
}

/// An OK packet with its header.
fn encoded(ok: &OkPacket<'_>, sequence: u8, capabilities: Capabilities) -> BytesMut {
    let mut payload = BytesMut::new();
    put_ok(&mut payload, ok, capabilities);
    let mut packet = BytesMut::with_capacity(HEADER + payload.len());
    put_packet(&mut packet, sequence, &payload);
    packet
}
