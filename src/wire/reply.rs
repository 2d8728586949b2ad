//! The three packets that end or refuse something: OK, ERR and EOF.
//!
//! Sources: "OK_Packet", "ERR_Packet", "EOF_Packet" of the MySQL source documentation and of the
//! MariaDB knowledge base. One point differs from those pages: they say that `info` is
//! `string<EOF>` when `CLIENT_SESSION_TRACK` was not agreed, but every server writes it
//! length-encoded in both cases, and the clients read it so. Seen on MySQL 9.7.4 and MariaDB
//! 10.11.18: an `UPDATE` without the capability ends in 0x28 and the 40 bytes of
//! `Rows matched: 2  Changed: 2  Warnings: 0`.

use bytes::BufMut;

use super::capabilities::{Capabilities, Status};
use super::codec::{Malformed, Reader, Writer};

/// First byte of an OK packet.
pub const OK: u8 = 0x00;
/// First byte of an EOF packet, and of the OK packet that stands in its place under
/// `CLIENT_DEPRECATE_EOF`.
pub const EOF: u8 = 0xFE;
/// First byte of an ERR packet.
pub const ERR: u8 = 0xFF;

/// An EOF packet is shorter than this; a row that begins with 0xFE is longer.
pub const EOF_LIMIT: usize = 9;

/// An OK packet, borrowed from its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OkPacket<'a> {
    /// [`OK`], or [`EOF`] where it ends a result set under `CLIENT_DEPRECATE_EOF`.
    pub header: u8,
    pub affected_rows: u64,
    /// Not the value of `LAST_INSERT_ID()`: an explicit id stands here too.
    pub last_insert_id: u64,
    pub status: Status,
    pub warnings: u16,
    pub info: &'a [u8],
    /// The session-track entries, still encoded; see [`changes`](Self::changes).
    pub session_state: &'a [u8],
}

impl Default for OkPacket<'_> {
    fn default() -> Self {
        OkPacket {
            header: OK,
            affected_rows: 0,
            last_insert_id: 0,
            status: Status::AUTOCOMMIT,
            warnings: 0,
            info: b"",
            session_state: b"",
        }
    }
}

impl<'a> OkPacket<'a> {
    /// Reads an OK packet from a connection that agreed on `capabilities`.
    pub fn parse(payload: &'a [u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let header = reader.u8()?;
        if header != OK && header != EOF {
            return Err(Malformed("not an OK packet"));
        }
        let affected_rows = reader.lenenc_int()?;
        let last_insert_id = reader.lenenc_int()?;
        let status = Status::from_bits_retain(reader.u16()?);
        let warnings = reader.u16()?;
        // Both servers leave the field out when there is nothing to say.
        let info = if reader.is_empty() { &b""[..] } else { reader.lenenc_bytes()? };
        let session_state = if capabilities.contains(Capabilities::SESSION_TRACK)
            && status.contains(Status::SESSION_STATE_CHANGED)
            && !reader.is_empty()
        {
            reader.lenenc_bytes()?
        } else {
            b""
        };
        Ok(OkPacket {
            header,
            affected_rows,
            last_insert_id,
            status,
            warnings,
            info,
            session_state,
        })
    }

    /// What the server reports to have changed in the session, in its order.
    pub fn changes(&self) -> StateChanges<'a> {
        StateChanges { reader: Reader::new(self.session_state) }
    }
}

/// Appends the payload of an OK packet for a client with `capabilities`. The flag
/// `SESSION_STATE_CHANGED` is set exactly when session state is written.
pub fn put_ok(out: &mut impl BufMut, packet: &OkPacket<'_>, capabilities: Capabilities) {
    let tracks =
        capabilities.contains(Capabilities::SESSION_TRACK) && !packet.session_state.is_empty();
    let mut status = packet.status;
    status.set(Status::SESSION_STATE_CHANGED, tracks);
    out.put_u8(packet.header);
    out.put_lenenc_int(packet.affected_rows);
    out.put_lenenc_int(packet.last_insert_id);
    out.put_u16_le(status.bits());
    out.put_u16_le(packet.warnings);
    if tracks || !packet.info.is_empty() {
        out.put_lenenc_bytes(packet.info);
    }
    if tracks {
        out.put_lenenc_bytes(packet.session_state);
    }
}

/// One entry of an OK packet's session state (`SESSION_TRACK_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateChange<'a> {
    /// A tracked system variable has been set, perhaps to the value that it had.
    SystemVariable {
        name: &'a [u8],
        value: &'a [u8],
    },
    /// The default database is now this one.
    Schema(&'a [u8]),
    /// Something of the session's state changed; `true` when the server tracks it at all.
    State(bool),
    /// GTIDs, in MySQL's textual form (encoding 0). MariaDB reports `last_gtid` as a variable.
    Gtids {
        encoding: u8,
        text: &'a [u8],
    },
    /// The statements that would bring the next transaction to the same characteristics.
    TransactionCharacteristics(&'a [u8]),
    /// Eight letters, see "SESSION_TRACK_TRANSACTION_STATE" of the MySQL manual.
    TransactionState(&'a [u8]),
    Unknown {
        kind: u8,
        data: &'a [u8],
    },
}

impl<'a> StateChange<'a> {
    fn parse(kind: u8, data: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(data);
        Ok(match kind {
            0 => StateChange::SystemVariable {
                name: reader.lenenc_bytes()?,
                value: reader.lenenc_bytes()?,
            },
            1 => StateChange::Schema(reader.lenenc_bytes()?),
            // Without a length of its own, other than the rest [seen on both servers].
            2 => StateChange::State(data == b"1"),
            3 => StateChange::Gtids { encoding: reader.u8()?, text: reader.lenenc_bytes()? },
            4 => StateChange::TransactionCharacteristics(reader.lenenc_bytes()?),
            5 => StateChange::TransactionState(reader.lenenc_bytes()?),
            _ => StateChange::Unknown { kind, data },
        })
    }

    /// Appends the entry as it stands in an OK packet's session state.
    pub fn put(&self, out: &mut impl BufMut) {
        let mut data = Vec::new();
        let kind = match *self {
            StateChange::SystemVariable { name, value } => {
                data.put_lenenc_bytes(name);
                data.put_lenenc_bytes(value);
                0
            }
            StateChange::Schema(name) => {
                data.put_lenenc_bytes(name);
                1
            }
            StateChange::State(changed) => {
                data.put_slice(if changed { b"1" } else { b"0" });
                2
            }
            StateChange::Gtids { encoding, text } => {
                data.put_u8(encoding);
                data.put_lenenc_bytes(text);
                3
            }
            StateChange::TransactionCharacteristics(text) => {
                data.put_lenenc_bytes(text);
                4
            }
            StateChange::TransactionState(text) => {
                data.put_lenenc_bytes(text);
                5
            }
            StateChange::Unknown { kind, data: raw } => {
                data.put_slice(raw);
                kind
            }
        };
        out.put_u8(kind);
        out.put_lenenc_bytes(&data);
    }
}

/// Iterates over the entries of a session state; ends at the first malformed one.
#[derive(Debug, Clone)]
pub struct StateChanges<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for StateChanges<'a> {
    type Item = Result<StateChange<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let mut read = || {
            let kind = self.reader.u8()?;
            StateChange::parse(kind, self.reader.lenenc_bytes()?)
        };
        let entry = read();
        if entry.is_err() {
            self.reader = Reader::new(b"");
        }
        Some(entry)
    }
}

/// An ERR packet, borrowed from its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrPacket<'a> {
    pub code: u16,
    /// `HY000` where the packet has none: errors sent before the login is read carry no state.
    pub state: [u8; 5],
    pub message: &'a [u8],
}

/// The code of MariaDB's progress reports, which look like errors but end nothing.
pub const PROGRESS_REPORT: u16 = 0xFFFF;

impl<'a> ErrPacket<'a> {
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.u8()? != ERR {
            return Err(Malformed("not an ERR packet"));
        }
        let code = reader.u16()?;
        let rest = reader.rest();
        if let Some((&state, message)) =
            rest.strip_prefix(b"#").and_then(|rest| rest.split_first_chunk::<5>())
        {
            return Ok(ErrPacket { code, state, message });
        }
        Ok(ErrPacket { code, state: *b"HY000", message: rest })
    }

    pub fn to_owned(&self) -> ServerError {
        ServerError { code: self.code, state: self.state, message: self.message.to_vec() }
    }
}

/// Appends the payload of an ERR packet. Every client since 4.1 reads the SQL state.
pub fn put_err(out: &mut impl BufMut, packet: &ErrPacket<'_>) {
    out.put_u8(ERR);
    out.put_u16_le(packet.code);
    out.put_u8(b'#');
    out.put_slice(&packet.state);
    out.put_slice(packet.message);
}

/// An error that a server sent, kept.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerError {
    pub code: u16,
    pub state: [u8; 5],
    /// In the character set of the connection's results.
    pub message: Vec<u8>,
}

impl ServerError {
    pub fn new(code: u16, state: &[u8; 5], message: impl Into<Vec<u8>>) -> Self {
        ServerError { code, state: *state, message: message.into() }
    }

    pub fn as_packet(&self) -> ErrPacket<'_> {
        ErrPacket { code: self.code, state: self.state, message: &self.message }
    }
}

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = String::from_utf8_lossy(&self.state);
        let message = String::from_utf8_lossy(&self.message);
        write!(f, "ERROR {} ({state}): {message}", self.code)
    }
}

impl std::fmt::Debug for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ServerError {}

/// An EOF packet (only without `CLIENT_DEPRECATE_EOF`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EofPacket {
    pub warnings: u16,
    pub status: Status,
}

impl EofPacket {
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if payload.len() >= EOF_LIMIT || reader.u8()? != EOF {
            return Err(Malformed("not an EOF packet"));
        }
        let warnings = reader.u16()?;
        Ok(EofPacket { warnings, status: Status::from_bits_retain(reader.u16()?) })
    }
}

/// Appends what ends a list of columns or rows for a client with `capabilities`: an EOF packet, or
/// under `CLIENT_DEPRECATE_EOF` an OK packet with its header. (Under that capability nothing
/// stands between columns and rows: do not call this there.)
pub fn put_eof(out: &mut impl BufMut, packet: &EofPacket, capabilities: Capabilities) {
    if capabilities.contains(Capabilities::DEPRECATE_EOF) {
        let ok = OkPacket {
            header: EOF,
            status: packet.status,
            warnings: packet.warnings,
            ..OkPacket::default()
        };
        return put_ok(out, &ok, capabilities);
    }
    out.put_u8(EOF);
    out.put_u16_le(packet.warnings);
    out.put_u16_le(packet.status.bits());
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_common::constants::CapabilityFlags;
    use mysql_common::io::ParseBuf;
    use mysql_common::packets::{CommonOkPacket, OkPacketDeserializer};
    use mysql_common::proto::MyDeserialize;
    use proptest::prelude::*;

    const TRACKS: Capabilities = Capabilities::SESSION_TRACK;
    const NONE: Capabilities = Capabilities::empty();

    /// `UPDATE x.t SET b = b + 1` on MySQL 9.7.4 and MariaDB 10.11.18, the same bytes with
    /// CLIENT_SESSION_TRACK and without.
    const UPDATED: &[u8] = b"\0\x02\0\x22\0\0\0\x28Rows matched: 2  Changed: 2  Warnings: 0";
    /// `USE x` on both.
    const USED: &[u8] = b"\0\0\0\x02\x40\0\0\0\x04\x01\x02\x01x";
    /// `SET autocommit = 1` on both.
    const SET: &[u8] = b"\0\0\0\x02\x40\0\0\0\x10\0\x0e\nautocommit\x02ON";

    /// `SET session_track_state_change = 1` on both.
    const CHANGED: &[u8] = b"\0\0\0\x02\x40\0\0\0\x03\x02\x011";

    fn changes<'a>(packet: &OkPacket<'a>) -> Vec<StateChange<'a>> {
        packet.changes().map(Result::unwrap).collect()
    }

    fn encode(packet: &OkPacket<'_>, capabilities: Capabilities) -> Vec<u8> {
        let mut out = Vec::new();
        put_ok(&mut out, packet, capabilities);
        out
    }

    #[test]
    fn info_has_its_length_with_session_tracking_and_without() {
        for capabilities in [NONE, TRACKS] {
            let packet = OkPacket::parse(UPDATED, capabilities).unwrap();
            assert_eq!(packet.info, b"Rows matched: 2  Changed: 2  Warnings: 0");
            assert_eq!(packet.affected_rows, 2);
            assert_eq!(packet.status, Status::AUTOCOMMIT | Status::NO_INDEX);
            assert_eq!(encode(&packet, capabilities), UPDATED);
        }
    }

    #[test]
    fn session_state_comes_and_goes_with_the_capability() {
        let packet = OkPacket::parse(USED, TRACKS).unwrap();
        assert_eq!(changes(&packet), [StateChange::Schema(b"x")]);
        assert_eq!(encode(&packet, TRACKS), USED);
        assert_eq!(encode(&packet, NONE), b"\0\0\0\x02\0\0\0");
        let packet = OkPacket::parse(CHANGED, TRACKS).unwrap();
        assert_eq!(changes(&packet), [StateChange::State(true)]);
        assert_eq!(encode(&packet, TRACKS), CHANGED);
        let packet = OkPacket::parse(SET, TRACKS).unwrap();
        let autocommit = StateChange::SystemVariable { name: b"autocommit", value: b"ON" };
        assert_eq!(changes(&packet), [autocommit]);
    }

    #[test]
    fn every_kind_of_change_survives_encoding() {
        let all = [
            StateChange::SystemVariable { name: b"time_zone", value: b"" },
            StateChange::Schema(b"shop"),
            StateChange::State(true),
            StateChange::State(false),
            StateChange::Gtids { encoding: 0, text: b"3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5" },
            StateChange::TransactionCharacteristics(b"START TRANSACTION READ ONLY;"),
            StateChange::TransactionState(b"T_______"),
            StateChange::Unknown { kind: 77, data: b"\x01\x02" },
        ];
        let mut session_state = Vec::new();
        for change in &all {
            change.put(&mut session_state);
        }
        let packet = OkPacket { session_state: &session_state, ..OkPacket::default() };
        let payload = encode(&packet, TRACKS);
        assert_eq!(changes(&OkPacket::parse(&payload, TRACKS).unwrap()), all);
    }

    #[test]
    fn malformed_session_state_ends_the_iteration() {
        let packet = OkPacket { session_state: b"\x01\x02\x05x\x00", ..OkPacket::default() };
        let entries: Vec<_> = packet.changes().collect();
        assert_eq!(entries.len(), 1);
        assert!(entries[0].is_err());
    }

    #[test]
    fn errors_with_a_state_and_without() {
        let denied = ErrPacket::parse(b"\xff\x15\x04#28000Access denied").unwrap();
        assert_eq!((denied.code, &denied.state), (1045, b"28000"));
        assert_eq!(denied.message, b"Access denied");
        let mut out = Vec::new();
        put_err(&mut out, &denied);
        assert_eq!(out, b"\xff\x15\x04#28000Access denied");
        // Sent in place of a greeting.
        let full = ErrPacket::parse(b"\xff\x10\x04Too many connections").unwrap();
        assert_eq!((full.code, &full.state), (1040, b"HY000"));
        assert_eq!(full.to_owned().to_string(), "ERROR 1040 (HY000): Too many connections");
        assert!(ErrPacket::parse(b"\xff\x10").is_err());
        assert!(ErrPacket::parse(b"").is_err());
    }

    #[test]
    fn eof_in_both_forms() {
        let packet = EofPacket { warnings: 1, status: Status::AUTOCOMMIT };
        let mut out = Vec::new();
        put_eof(&mut out, &packet, NONE);
        assert_eq!(out, [0xFE, 1, 0, 2, 0]);
        assert_eq!(EofPacket::parse(&out), Ok(packet));
        out.clear();
        put_eof(&mut out, &packet, Capabilities::DEPRECATE_EOF);
        assert_eq!(out, [0xFE, 0, 0, 2, 0, 1, 0]);
        assert_eq!(OkPacket::parse(&out, Capabilities::DEPRECATE_EOF).unwrap().warnings, 1);
        assert!(EofPacket::parse(b"\xfe\x01\0\x02\0\0\0\0\0").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(payload: Vec<u8>, tracks: bool) {
            let capabilities = if tracks { TRACKS } else { NONE };
            if let Ok(packet) = OkPacket::parse(&payload, capabilities) {
                let _ = packet.changes().count();
            }
            let _ = ErrPacket::parse(&payload);
            let _ = EofPacket::parse(&payload);
        }

        #[test]
        fn another_implementation_reads_the_same(
            affected_rows: u64,
            last_insert_id: u64,
            warnings: u16,
            info in proptest::collection::vec(any::<u8>(), 0..300),
            schema in proptest::collection::vec(any::<u8>(), 0..300),
            tracks: bool,
        ) {
            let mut session_state = Vec::new();
            StateChange::Schema(&schema).put(&mut session_state);
            let packet = OkPacket {
                affected_rows,
                last_insert_id,
                warnings,
                info: &info,
                session_state: &session_state,
                ..OkPacket::default()
            };
            let (ours, theirs) = if tracks {
                (TRACKS, CapabilityFlags::CLIENT_SESSION_TRACK)
            } else {
                (NONE, CapabilityFlags::empty())
            };
            let payload = encode(&packet, ours);
            let read = OkPacketDeserializer::<CommonOkPacket>::deserialize(
                theirs,
                &mut ParseBuf(&payload),
            );
            let read = read.unwrap().into_inner();
            prop_assert_eq!(read.affected_rows(), affected_rows);
            prop_assert_eq!(read.last_insert_id().unwrap_or(0), last_insert_id);
            prop_assert_eq!(read.warnings(), warnings);
            prop_assert_eq!(read.info_ref().unwrap_or_default(), &info[..]);
            let expected = if tracks { &session_state[..] } else { b"" };
            prop_assert_eq!(read.session_state_info_ref().unwrap_or_default(), expected);
            let parsed = OkPacket::parse(&payload, ours).unwrap();
            prop_assert_eq!(parsed.session_state, expected);
            prop_assert_eq!(parsed.info, &info[..]);
        }
    }
}
