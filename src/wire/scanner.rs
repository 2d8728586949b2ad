//! Follows a server's reply through the bytes of its stream, without decoding rows.
//!
//! The scanner is fed whatever has arrived. It tells how far the bytes can be forwarded as they
//! are, stops at the few packets that mean something (OK, EOF, ERR, a LOCAL INFILE request, the
//! answer to PREPARE), and knows when the reply has ended. Rows and column definitions cost four
//! header bytes and one payload byte each, however long they are.
//!
//! Sources: MySQL source documentation, "Command Phase"; quirks are marked where they are met.

use super::capabilities::{Capabilities, Status};
use super::codec::{Malformed, Reader};
use super::columns::{Columns, metadata_follows};
use super::packet::{HEADER, Header, MAX_PAYLOAD};

/// The shape of a reply, by the command that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// One OK, EOF or ERR.
    One,
    /// COM_QUERY, COM_STMT_EXECUTE: any number of OKs and result sets, or ERR.
    Results,
    /// COM_STMT_EXECUTE that asks for a cursor: the rows of a result set may be left out.
    Cursor,
    /// COM_STMT_PREPARE: the statement's header, then definitions of parameters and columns.
    Prepare,
    /// COM_FIELD_LIST: column definitions up to an EOF.
    Fields,
    /// COM_STMT_FETCH: rows up to an EOF.
    Rows,
    /// COM_STATISTICS: one packet of text.
    Text,
    /// COM_BINLOG_DUMP: packets until EOF or ERR.
    Stream,
}

/// A packet that means something to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Significant {
    /// An OK, by either header byte (0x00, or 0xFE closing rows under DEPRECATE_EOF).
    Ok(Status),
    /// A legacy EOF that closes rows or answers a command.
    Eof(Status),
    /// The EOF between columns and rows, where it announces a change of the session's state.
    ColumnsEof,
    Err,
    /// The server wants the client's file; the exchange goes on with the client's packets.
    LocalInfile,
    /// The header of the answer to COM_STMT_PREPARE.
    PrepareOk {
        statement: u32,
        columns: u16,
        parameters: u16,
        warnings: u16,
    },
    /// COM_STATISTICS' text.
    Text,
}

/// What one call of [`Scanner::scan`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// Bytes from the start of the input that can be forwarded as they are.
    pub forward: usize,
    /// The significant packet that lies whole behind them, with its length in bytes (header
    /// included). The next call's input starts behind it. `None`: more bytes are needed.
    pub packet: Option<(Significant, usize)>,
}

/// Longest significant packet: an OK with session tracking. Servers stay far below it.
const MAX_SIGNIFICANT: usize = 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// At the first packet of a result.
    First,
    /// `left` column definitions of a result set are still to come.
    Columns {
        left: u64,
    },
    /// The legacy EOF between column definitions and rows.
    ColumnsEof,
    Rows {
        /// They are a procedure's OUT parameters.
        out_parameters: bool,
    },
    /// Packets behind a prepare header that are still to come: definitions of parameters and of
    /// columns, and without DEPRECATE_EOF an EOF behind each group that is not empty.
    Definitions {
        left: u32,
    },
    Done,
}

#[derive(Debug, Clone)]
pub struct Scanner {
    expect: Expect,
    phase: Phase,
    /// Bytes of the current packet that are still to be forwarded unseen.
    skip: usize,
    /// The current payload goes on in the next packet, whose first byte means nothing.
    continued: bool,
    capabilities: Capabilities,
    /// Rows of the result set at hand, or of the last one.
    rows: u64,
}

impl Scanner {
    /// `capabilities` are those that the connection to the server has agreed on.
    pub fn new(expect: Expect, capabilities: Capabilities) -> Self {
        Scanner { expect, phase: Phase::First, skip: 0, continued: false, rows: 0, capabilities }
    }

    fn deprecate_eof(&self) -> bool {
        self.capabilities.contains(Capabilities::DEPRECATE_EOF)
    }

    /// MariaDB may tell how far a statement has come, in packets that begin as an ERR does.
    fn progress(&self) -> bool {
        self.capabilities.contains(Capabilities::MARIADB_PROGRESS)
    }

    /// How many rows the last result set had so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// True once the whole reply has been scanned.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done && self.skip == 0 && !self.continued
    }

    /// Looks at bytes that follow those already scanned. An error means that this is no MySQL
    /// reply: the stream is of no further use.
    pub fn scan(&mut self, input: &[u8]) -> Result<Scan, Malformed> {
        let mut at = 0;
        loop {
            let skipped = self.skip.min(input.len() - at);
            self.skip -= skipped;
            at += skipped;
            let rest = &input[at..];
            if self.skip > 0 || rest.is_empty() {
                return Ok(Scan { forward: at, packet: None });
            }
            let Some(header) = Header::peek(rest) else {
                return Ok(Scan { forward: at, packet: None });
            };
            if self.continued {
                self.pass(header);
                continue;
            }
            if self.phase == Phase::Done {
                // The reply has ended with a packet that was passed just now; what follows is not
                // its part, as when the whole of the input was.
                return match at {
                    0 => Err(Malformed("bytes behind the end of a reply")),
                    _ => Ok(Scan { forward: at, packet: None }),
                };
            }
            let Some(payload) = Self::known_part(rest, header) else {
                return Ok(Scan { forward: at, packet: None });
            };
            match self.judge(header, payload)? {
                Judgement::Pass => self.pass(header),
                Judgement::NeedsWhole => {
                    if header.length > MAX_SIGNIFICANT {
                        return Err(Malformed("an OK, EOF or ERR of absurd length"));
                    }
                    if payload.len() < header.length {
                        return Ok(Scan { forward: at, packet: None });
                    }
                    match self.significant(payload)? {
                        Some(significant) => {
                            let length = HEADER + header.length;
                            return Ok(Scan { forward: at, packet: Some((significant, length)) });
                        }
                        None => self.pass(header),
                    }
                }
            }
        }
    }

    /// The part of the packet's payload that has arrived; `None` while its first byte, which
    /// decides what it is, has not.
    fn known_part(rest: &[u8], header: Header) -> Option<&[u8]> {
        let payload = &rest[HEADER..];
        if payload.is_empty() && header.length > 0 {
            return None;
        }
        Some(&payload[..payload.len().min(header.length)])
    }

    fn pass(&mut self, header: Header) {
        self.skip = HEADER + header.length;
        self.continued = header.is_continued();
    }

    /// Decides by the first byte alone whether a packet matters, and moves on past those that
    /// do not.
    fn judge(&mut self, header: Header, payload: &[u8]) -> Result<Judgement, Malformed> {
        let first = payload.first().copied();
        match self.phase {
            Phase::First => match self.expect {
                Expect::Fields => Ok(self.judge_row(header, first)),
                Expect::Rows => {
                    self.phase = Phase::Rows { out_parameters: false };
                    Ok(self.judge_row(header, first))
                }
                Expect::Stream => match first {
                    Some(0xFF) => Ok(Judgement::NeedsWhole),
                    Some(0xFE) if header.length < 9 => Ok(Judgement::NeedsWhole),
                    Some(_) => Ok(Judgement::Pass),
                    None => Err(Malformed("an empty packet in a stream")),
                },
                Expect::One | Expect::Results | Expect::Cursor | Expect::Prepare | Expect::Text => {
                    if header.length == 0 {
                        return Err(Malformed("an empty packet begins a reply"));
                    }
                    Ok(Judgement::NeedsWhole)
                }
            },
            Phase::Columns { left } => {
                if first == Some(0xFF) {
                    return Ok(Judgement::NeedsWhole);
                }
                self.phase = self.behind_columns(left - 1);
                Ok(Judgement::Pass)
            }
            Phase::ColumnsEof => Ok(Judgement::NeedsWhole),
            Phase::Rows { .. } => Ok(self.judge_row(header, first)),
            Phase::Definitions { left } => {
                self.phase = match left - 1 {
                    0 => Phase::Done,
                    left => Phase::Definitions { left },
                };
                Ok(Judgement::Pass)
            }
            Phase::Done => Err(Malformed("bytes behind the end of a reply")),
        }
    }

    /// What comes when `left` column definitions are still to come.
    fn behind_columns(&self, left: u64) -> Phase {
        match left {
            0 if self.deprecate_eof() => Phase::Rows { out_parameters: false },
            0 => Phase::ColumnsEof,
            left => Phase::Columns { left },
        }
    }

    fn judge_row(&mut self, header: Header, first: Option<u8>) -> Judgement {
        match first {
            // 0xFE opens a text value of 16 MiB and more too, but then the packet is a full one.
            Some(0xFE) if self.deprecate_eof() && header.length < MAX_PAYLOAD => {
                Judgement::NeedsWhole
            }
            Some(0xFE) if header.length < 9 => Judgement::NeedsWhole,
            Some(0xFF) => Judgement::NeedsWhole,
            _ => {
                self.rows += 1;
                Judgement::Pass
            }
        }
    }

    /// Reads a packet that is there in whole and moves on. `None` for one that turns out not to
    /// matter (a column count, the EOF between columns and rows, a report of progress).
    fn significant(&mut self, payload: &[u8]) -> Result<Option<Significant>, Malformed> {
        let first = payload.first().copied().ok_or(Malformed("an empty packet"))?;
        if self.expect == Expect::Text {
            self.phase = Phase::Done;
            return Ok(Some(Significant::Text));
        }
        match (first, self.phase) {
            // ("ERR_Packet" of the MariaDB knowledge base: the error code 0xFFFF.)
            (0xFF, _) if self.progress() && payload[1..].starts_with(&[0xFF, 0xFF]) => Ok(None),
            (0xFF, _) => {
                self.phase = Phase::Done;
                Ok(Some(Significant::Err))
            }
            (0xFE, Phase::ColumnsEof) => {
                let status = eof_status(payload)?;
                // MariaDB sets the flag for a cursor within a procedure, too, and sends rows.
                if self.expect == Expect::Cursor && status.contains(Status::CURSOR_EXISTS) {
                    // A cursor was opened: rows come by COM_STMT_FETCH.
                    return Ok(Some(self.end_of_result(Significant::Eof(status), status)));
                }
                let out_parameters = status.contains(Status::OUT_PARAMETERS);
                self.phase = Phase::Rows { out_parameters };
                let announces = status.contains(Status::SESSION_STATE_CHANGED);
                Ok(announces.then_some(Significant::ColumnsEof))
            }
            (_, Phase::ColumnsEof) => Err(Malformed("no EOF behind the column definitions")),
            (0x00, Phase::First) if self.expect == Expect::Prepare => {
                self.prepare_header(payload).map(Some)
            }
            (0x00, Phase::First) => {
                let status = ok_status(payload)?;
                Ok(Some(self.end_of_result(Significant::Ok(status), status)))
            }
            (0xFB, Phase::First) if self.has_results() => Ok(Some(Significant::LocalInfile)),
            (0xFE, Phase::First | Phase::Rows { .. })
                if payload.len() < 9 && !self.ok_shaped(payload) =>
            {
                let status = eof_status(payload)?;
                Ok(Some(self.end_of_result(Significant::Eof(status), status)))
            }
            (0xFE, Phase::First | Phase::Rows { .. }) => {
                let status = ok_status(payload)?;
                Ok(Some(self.end_of_result(Significant::Ok(status), status)))
            }
            (_, Phase::First) if self.has_results() => {
                let columns = Columns::parse(payload, self.capabilities)?;
                self.phase = self.behind_columns(columns.definitions);
                self.rows = 0;
                Ok(None)
            }
            _ => Err(Malformed("a packet that no reply can hold here")),
        }
    }

    /// Under DEPRECATE_EOF rows end with an OK whose header is 0xFE; a legacy EOF has exactly
    /// five bytes (MySQL sends that still, to COM_SET_OPTION and COM_DEBUG).
    fn ok_shaped(&self, payload: &[u8]) -> bool {
        self.deprecate_eof() && payload.len() != 5
    }

    fn prepare_header(&mut self, payload: &[u8]) -> Result<Significant, Malformed> {
        let mut reader = Reader::new(&payload[1..]);
        let statement = reader.u32()?;
        let columns = reader.u16()?;
        let parameters = reader.u16()?;
        // A filler.
        reader.bytes(1)?;
        let warnings = reader.u16()?;
        let defined = u32::from(metadata_follows(&mut reader, self.capabilities)?);
        let group = |count: u16| match count {
            0 => 0,
            _ => u32::from(count) * defined + u32::from(!self.deprecate_eof()),
        };
        self.phase = match group(parameters) + group(columns) {
            0 => Phase::Done,
            left => Phase::Definitions { left },
        };
        Ok(Significant::PrepareOk { statement, columns, parameters, warnings })
    }

    fn end_of_result(&mut self, significant: Significant, status: Status) -> Significant {
        // MySQL 9.7 without DEPRECATE_EOF closes the result set of OUT parameters without
        // MORE_RESULTS although an OK follows; which result set that is its closing EOF may say,
        // or only the one in front of its row.
        let more = Status::MORE_RESULTS.union(Status::OUT_PARAMETERS);
        let announced = self.phase == Phase::Rows { out_parameters: true };
        self.phase = match self.has_results() && (announced || status.intersects(more)) {
            true => Phase::First,
            false => Phase::Done,
        };
        significant
    }

    fn has_results(&self) -> bool {
        matches!(self.expect, Expect::Results | Expect::Cursor)
    }
}

enum Judgement {
    /// The packet is forwarded unseen.
    Pass,
    /// The packet may matter; it must be there in whole.
    NeedsWhole,
}

/// Status flags of a legacy EOF: header, warnings, status.
fn eof_status(payload: &[u8]) -> Result<Status, Malformed> {
    let mut reader = Reader::new(&payload[1..]);
    reader.u16()?;
    reader.u16().map(Status::from_bits_retain)
}

/// Status flags of an OK: header, affected rows, insert id, status.
fn ok_status(payload: &[u8]) -> Result<Status, Malformed> {
    let mut reader = Reader::new(&payload[1..]);
    reader.lenenc_int()?;
    reader.lenenc_int()?;
    reader.u16().map(Status::from_bits_retain)
}

#[cfg(test)]
mod tests;
