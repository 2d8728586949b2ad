//! Puts another answer in the place of a server's, in a reply that is there in whole.

use std::sync::Arc;

use bytes::BytesMut;

use super::codec::{Malformed, Reader, Writer};
use super::packet::{HEADER, Header, MAX_PAYLOAD, put_packet};
use super::reply::{EOF, EOF_LIMIT, ERR, OK, ServerError};

/// What becomes of the rows of a result set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amendment {
    /// Its only column, an integer of 4 or 8 bytes, has this value in every row.
    Number(i64),
    /// Only these of its rows are left.
    Rows { offset: u64, count: u64 },
    /// In their place stands this error, as `SHOW ERRORS` tells it.
    Error(Arc<ServerError>),
    /// The OK tells of so many warnings.
    Warnings(u16),
}

/// Column types: 4 and 8 bytes.
const LONG: u8 = 0x03;
const LONGLONG: u8 = 0x08;

/// How a reply is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Rows of COM_STMT_EXECUTE.
    pub binary: bool,
    pub deprecate_eof: bool,
}

/// The reply with its amendment. One that is no result set is left as it is.
pub fn amend(
    reply: &[u8],
    amendment: &Amendment,
    encoding: Encoding,
) -> Result<BytesMut, Malformed> {
    let mut out = BytesMut::with_capacity(reply.len() + 32);
    let mut packets = Packets { rest: reply };
    let Some((mut sequence, first)) = packets.next()? else {
        return Ok(out);
    };
    if matches!(first.first(), None | Some(&(ERR | OK | EOF))) {
        out.extend_from_slice(reply);
        return Ok(out);
    }
    sequence = put_packet(&mut out, sequence, first);
    let columns = Reader::new(first).lenenc_int()?;
    let mut kind = 0;
    for index in 0..columns + u64::from(!encoding.deprecate_eof) {
        let (_, packet) = packets.next()?.ok_or(Malformed("a result set without its columns"))?;
        if index < columns {
            kind = column_type(packet)?;
        }
        sequence = put_packet(&mut out, sequence, packet);
    }
    let mut row = 0;
    let mut ended = false;
    while let Some((_, packet)) = packets.next()? {
        ended |= ends_rows(packet, encoding);
        match *amendment {
            Amendment::Error(ref error) if ended => {
                sequence = put_packet(&mut out, sequence, &error_row(error, encoding));
                sequence = put_packet(&mut out, sequence, packet);
            }
            _ if ended => sequence = put_packet(&mut out, sequence, packet),
            Amendment::Error(_) => {}
            Amendment::Warnings(_) => sequence = put_packet(&mut out, sequence, packet),
            Amendment::Number(value) => {
                sequence = put_packet(&mut out, sequence, &number(value, kind, encoding)?);
            }
            Amendment::Rows { offset, count } => {
                if row >= offset && row - offset < count {
                    sequence = put_packet(&mut out, sequence, packet);
                }
                row += 1;
            }
        }
    }
    Ok(out)
}

fn ends_rows(packet: &[u8], encoding: Encoding) -> bool {
    match packet.first() {
        Some(&ERR) => true,
        Some(&EOF) => encoding.deprecate_eof || packet.len() < EOF_LIMIT,
        _ => false,
    }
}

/// The type in a column's definition: it stands before flags, decimals and two bytes of filler.
fn column_type(definition: &[u8]) -> Result<u8, Malformed> {
    let at = definition.len().checked_sub(6).ok_or(Malformed("half a column definition"))?;
    Ok(definition[at])
}

fn number(value: i64, kind: u8, encoding: Encoding) -> Result<Vec<u8>, Malformed> {
    let mut row = Vec::new();
    if !encoding.binary {
        row.put_lenenc_bytes(value.to_string().as_bytes());
        return Ok(row);
    }
    // The header and the bitmap of NULLs.
    row.extend_from_slice(&[0, 0]);
    match kind {
        LONG => row.extend_from_slice(&(value as i32).to_le_bytes()),
        LONGLONG => row.extend_from_slice(&value.to_le_bytes()),
        _ => return Err(Malformed("a count that is no integer")),
    }
    Ok(row)
}

/// Level, code, message.
fn error_row(error: &ServerError, encoding: Encoding) -> Vec<u8> {
    let mut row = Vec::new();
    if encoding.binary {
        row.extend_from_slice(&[0, 0]);
        row.put_lenenc_bytes(b"Error");
        row.extend_from_slice(&u32::from(error.code).to_le_bytes());
    } else {
        row.put_lenenc_bytes(b"Error");
        row.put_lenenc_bytes(error.code.to_string().as_bytes());
    }
    row.put_lenenc_bytes(&error.message);
    row
}

/// The number in the only row of a reply in the text protocol.
pub fn only_number(reply: &[u8], deprecate_eof: bool) -> Option<i64> {
    let mut packets = Packets { rest: reply };
    let columns = packets.next().ok()??.1.first().copied()?;
    for _ in 0..u64::from(columns) + u64::from(!deprecate_eof) {
        packets.next().ok()??;
    }
    let text = Reader::new(packets.next().ok()??.1).lenenc_bytes().ok()?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Packets<'a> {
    fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let header = Header::peek(self.rest).ok_or(Malformed("half a packet header"))?;
        if header.length == MAX_PAYLOAD || self.rest.len() < HEADER + header.length {
            return Err(Malformed("a packet that is too long to be amended"));
        }
        let (packet, rest) = self.rest[HEADER..].split_at(header.length);
        self.rest = rest;
        Ok(Some((header.sequence, packet)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMN: &[u8] = &[0x3F, 0, 21, 0, 0, 0, LONGLONG, 0x81, 0, 0, 0, 0];
    const TEXT: Encoding = Encoding { binary: false, deprecate_eof: true };

    fn reply(packets: &[&[u8]]) -> BytesMut {
        let mut out = BytesMut::new();
        let mut sequence = 1;
        for packet in packets {
            sequence = put_packet(&mut out, sequence, packet);
        }
        out
    }

    #[test]
    fn a_number_takes_the_place_of_another() {
        let legacy = Encoding { deprecate_eof: false, ..TEXT };
        let eof = [EOF, 0, 0, 2, 0];
        let before = reply(&[&[1], COLUMN, &eof, b"\x013", &eof]);
        let after = reply(&[&[1], COLUMN, &eof, b"\x02-1", &eof]);
        assert_eq!(amend(&before, &Amendment::Number(-1), legacy).unwrap(), after);

        let end = [EOF, 0, 0, 2, 0, 1, 0];
        let before = reply(&[&[1], COLUMN, &[0, 0, 9, 0, 0, 0, 0, 0, 0, 0], &end]);
        let after = reply(&[&[1], COLUMN, &[0, 0, 5, 1, 0, 0, 0, 0, 0, 0], &end]);
        let binary = Encoding { binary: true, ..TEXT };
        assert_eq!(amend(&before, &Amendment::Number(0x105), binary).unwrap(), after);
    }

    #[test]
    fn rows_are_cut_and_what_follows_is_numbered_anew() {
        let end = [EOF, 0, 0, 2, 0, 0, 0];
        let before = reply(&[&[1], COLUMN, b"\x01a", b"\x01b", b"\x01c", &end]);
        let rows =
            |offset, count| amend(&before, &Amendment::Rows { offset, count }, TEXT).unwrap();
        assert_eq!(rows(0, 0), reply(&[&[1], COLUMN, &end]));
        assert_eq!(rows(1, 1), reply(&[&[1], COLUMN, b"\x01b", &end]));
        assert_eq!(rows(2, u64::MAX), reply(&[&[1], COLUMN, b"\x01c", &end]));
    }

    #[test]
    fn an_error_of_the_proxys_own_is_told() {
        let end = [EOF, 0, 0, 2, 0, 0, 0];
        let before = reply(&[&[1], COLUMN, b"a stranger's", &end]);
        let after = reply(&[&[1], COLUMN, b"\x05Error\x041836\x02no", &end]);
        let error = Arc::new(ServerError::new(1836, b"HY000", "no"));
        assert_eq!(amend(&before, &Amendment::Error(error), TEXT).unwrap(), after);
    }

    #[test]
    fn what_is_no_result_set_stays_and_what_is_cut_off_is_refused() {
        for packet in [&[ERR, 1, 0][..], &[OK, 0, 0, 2, 0, 0, 0]] {
            let before = reply(&[packet]);
            assert_eq!(amend(&before, &Amendment::Number(1), TEXT).unwrap(), before);
        }
        let whole = reply(&[&[1], COLUMN, b"\x013", &[EOF, 0, 0, 2, 0, 0, 0]]);
        for end in 1..HEADER + 1 + HEADER + COLUMN.len() {
            assert!(amend(&whole[..end], &Amendment::Number(1), TEXT).is_err(), "{end}");
        }
    }
}
