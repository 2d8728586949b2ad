//! Puts another answer in the place of a server's, in a reply that is there in whole.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::BytesMut;

use super::capabilities::Capabilities;
use super::codec::{Malformed, Reader, Writer};
use super::columns::Columns;
use super::packet::{HEADER, Header, MAX_PAYLOAD, put_packet};
use super::reply::{EOF, EOF_LIMIT, ERR, OK};

/// What becomes of the rows of a result set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amendment {
    /// Its only column, an integer of 4 or 8 bytes, has this value in every row.
    Number(i64),
    /// It has these rows.
    Rows(Arc<[TextRow]>),
    /// The OK or EOF tells of so many warnings.
    Warnings(u16),
}

/// A row of SHOW WARNINGS in the text protocol: level, code, message.
pub type TextRow = Box<[u8]>;

/// How a reply is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Rows of COM_STMT_EXECUTE.
    pub binary: bool,
    /// Those of the connection that it came over.
    pub capabilities: Capabilities,
}

impl Encoding {
    fn deprecate_eof(self) -> bool {
        self.capabilities.contains(Capabilities::DEPRECATE_EOF)
    }

    /// How many packets stand between the first of a result set and its rows.
    fn before_rows(self, first: &[u8]) -> Result<u64, Malformed> {
        let columns = Columns::parse(first, self.capabilities)?;
        Ok(columns.definitions + u64::from(!self.deprecate_eof()))
    }
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
    for _ in 0..encoding.before_rows(first)? {
        let (_, packet) = packets.next()?.ok_or(Malformed("a result set without its columns"))?;
        sequence = put_packet(&mut out, sequence, packet);
    }
    let mut ended = false;
    while let Some((_, packet)) = packets.next()? {
        ended |= ends_rows(packet, encoding);
        match amendment {
            Amendment::Rows(rows) if ended => {
                for row in rows.iter() {
                    sequence = put_packet(&mut out, sequence, &encoded(row, encoding)?);
                }
                sequence = put_packet(&mut out, sequence, packet);
            }
            Amendment::Rows(_) => {}
            Amendment::Number(value) if !ended => {
                sequence = put_packet(&mut out, sequence, &number(*value, packet, encoding)?);
            }
            _ => sequence = put_packet(&mut out, sequence, packet),
        }
    }
    Ok(out)
}

fn ends_rows(packet: &[u8], encoding: Encoding) -> bool {
    match packet.first() {
        Some(&ERR) => true,
        Some(&EOF) => encoding.deprecate_eof() || packet.len() < EOF_LIMIT,
        _ => false,
    }
}

/// A row with this value in the place of that of `row`.
fn number(value: i64, row: &[u8], encoding: Encoding) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    if !encoding.binary {
        out.put_lenenc_bytes(value.to_string().as_bytes());
        return Ok(out);
    }
    // The header and the bitmap of NULLs. How long the value is the definitions need not tell.
    out.extend_from_slice(&[0, 0]);
    match row.len().saturating_sub(out.len()) {
        4 => out.extend_from_slice(&(value as i32).to_le_bytes()),
        8 => out.extend_from_slice(&value.to_le_bytes()),
        _ => return Err(Malformed("a count that is no integer")),
    }
    Ok(out)
}

/// One condition as SHOW WARNINGS lists it.
pub fn diagnostic(level: &str, code: u16, message: &[u8]) -> TextRow {
    let mut row = Vec::new();
    row.put_lenenc_bytes(level.as_bytes());
    row.put_lenenc_bytes(code.to_string().as_bytes());
    row.put_lenenc_bytes(message);
    row.into()
}

fn encoded(row: &TextRow, encoding: Encoding) -> Result<Cow<'_, [u8]>, Malformed> {
    if !encoding.binary {
        return Ok(Cow::Borrowed(row));
    }
    let mut reader = Reader::new(row);
    let (level, code) = (reader.lenenc_bytes()?, reader.lenenc_bytes()?);
    let code: Option<u32> = std::str::from_utf8(code).ok().and_then(|code| code.parse().ok());
    let mut out = vec![0, 0];
    out.put_lenenc_bytes(level);
    out.extend_from_slice(&code.ok_or(Malformed("a code that is no number"))?.to_le_bytes());
    out.put_lenenc_bytes(reader.lenenc_bytes()?);
    Ok(Cow::Owned(out))
}

/// The rows of a result set in the text protocol.
pub fn text_rows(reply: &[u8], capabilities: Capabilities) -> Result<Vec<TextRow>, Malformed> {
    let encoding = Encoding { binary: false, capabilities };
    let mut packets = Packets { rest: reply };
    let (_, first) = packets.next()?.ok_or(Malformed("an empty reply"))?;
    for _ in 0..encoding.before_rows(first)? {
        packets.next()?.ok_or(Malformed("a result set without its columns"))?;
    }
    let mut rows = Vec::new();
    while let Some((_, packet)) = packets.next()? {
        if ends_rows(packet, encoding) {
            break;
        }
        rows.push(packet.into());
    }
    Ok(rows)
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

    const COLUMN: &[u8] = &[0x3F, 0, 21, 0, 0, 0, 0x08, 0x81, 0, 0, 0, 0];
    const TEXT: Encoding = Encoding { binary: false, capabilities: Capabilities::DEPRECATE_EOF };

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
        let legacy = Encoding { capabilities: Capabilities::empty(), ..TEXT };
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
    fn definitions_may_be_left_out() {
        let optional = Capabilities::OPTIONAL_RESULTSET_METADATA;
        let eof = [EOF, 0, 0, 2, 0];
        let legacy = Encoding { binary: true, capabilities: optional };
        let before = reply(&[&[1, 0], &eof, &[0, 0, 9, 0, 0, 0], &eof]);
        let after = reply(&[&[1, 0], &eof, &[0, 0, 5, 1, 0, 0], &eof]);
        assert_eq!(amend(&before, &Amendment::Number(0x105), legacy).unwrap(), after);

        let end = [EOF, 0, 0, 2, 0, 0, 0];
        let text = Encoding { binary: false, capabilities: TEXT.capabilities | optional };
        let before = reply(&[&[3, 0], b"a stranger's", &end]);
        let row = diagnostic("Error", 1836, b"no");
        let after = reply(&[&[3, 0], &row, &end]);
        let rows = Amendment::Rows([row.clone()].into());
        assert_eq!(amend(&before, &rows, text).unwrap(), after);
        assert_eq!(text_rows(&after, text.capabilities).unwrap(), [row]);
        let full = reply(&[&[3, 1], COLUMN, COLUMN, COLUMN, b"\x03one", &end]);
        assert_eq!(text_rows(&full, text.capabilities).unwrap(), [(*b"\x03one").into()]);
        let lost = reply(&[&[1, 0], &[0, 0], &end]);
        assert!(amend(&lost, &Amendment::Number(1), Encoding { binary: true, ..text }).is_err());
    }

    #[test]
    fn rows_take_the_place_of_others_and_what_follows_is_numbered_anew() {
        let end = [EOF, 0, 0, 2, 0, 0, 0];
        let before = reply(&[&[3], COLUMN, COLUMN, COLUMN, b"a stranger's", &end]);
        let row = diagnostic("Error", 1836, b"no");
        let after = |rows: &[TextRow], encoding| {
            amend(&before, &Amendment::Rows(rows.into()), encoding).unwrap()
        };
        let none = reply(&[&[3], COLUMN, COLUMN, COLUMN, &end]);
        assert_eq!(after(&[], TEXT), none);
        let text = b"\x05Error\x041836\x02no";
        let two = reply(&[&[3], COLUMN, COLUMN, COLUMN, text, text, &end]);
        assert_eq!(after(&[row.clone(), row.clone()], TEXT), two);
        let binary = b"\0\0\x05Error\x2C\x07\0\0\x02no";
        let one = reply(&[&[3], COLUMN, COLUMN, COLUMN, binary, &end]);
        assert_eq!(after(&[row], Encoding { binary: true, ..TEXT }), one);
        assert_eq!(text_rows(&two, TEXT.capabilities).unwrap(), [&text[..], text].map(Box::from));
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
