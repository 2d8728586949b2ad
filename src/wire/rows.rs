//! The rows of a text result, taken apart as their bytes come: no row and no value is ever held
//! whole, whatever its size.

use super::codec::Malformed;
use super::packet::{HEADER, Header};
use super::reply::{EOF, EOF_LIMIT, ERR};

/// The first byte of a NULL.
const NULL: u8 = 0xFB;

/// What comes next in the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    Null,
    /// A value of so many bytes, which follow as [`Bytes`](Item::Bytes); none for an empty one.
    Value(u64),
    /// A part of the value begun last, not empty.
    Bytes(&'a [u8]),
    /// The row has no more values.
    RowEnd,
    /// A packet begins here that is no row: the EOF or ERR that ends the result. It is not
    /// consumed; it carries the sequence number [`Rows::sequence`].
    End,
}

/// Where in the rows the bytes are. Stays as it was after an error.
#[derive(Debug)]
pub struct Rows {
    columns: u64,
    /// How many values of the row begun are still to begin.
    values: u64,
    /// How many bytes of the value begun are still to come.
    value: u64,
    /// A row's first packet was begun and its [`Item::RowEnd`] not given yet.
    in_row: bool,
    /// How many bytes of the packet begun are still to come.
    packet: usize,
    is_continued: bool,
    /// A length that was cut by the end of the input or of a packet.
    length: [u8; 9],
    length_bytes: usize,
    sequence: u8,
}

impl Rows {
    /// `sequence` is that of the first row's packet.
    pub fn new(columns: u64, sequence: u8) -> Self {
        Rows {
            columns,
            values: 0,
            value: 0,
            in_row: false,
            packet: 0,
            is_continued: false,
            length: [0; 9],
            length_bytes: 0,
            sequence,
        }
    }

    /// The sequence number that the next packet must have.
    pub fn sequence(&self) -> u8 {
        self.sequence
    }

    /// The next item; `None` when that takes more input. `input` is moved behind what was
    /// consumed, which may be something also when there is no item yet.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Item<'a>>, Malformed> {
        loop {
            if self.in_row && self.value == 0 && self.values == 0 && self.length_bytes == 0 {
                return self.end_row(input);
            }
            if self.packet == 0 {
                match self.begin_packet(input)? {
                    Some(true) => return Ok(Some(Item::End)),
                    Some(false) => {}
                    None => return Ok(None),
                }
                if self.packet == 0 {
                    return Err(Malformed("a row ends before its values do"));
                }
            }
            if self.value > 0 {
                let count = input.len().min(self.packet);
                let count = usize::try_from(self.value).map_or(count, |left| left.min(count));
                if count == 0 {
                    return Ok(None);
                }
                let bytes = self.take(input, count);
                self.value -= count as u64;
                return Ok(Some(Item::Bytes(bytes)));
            }
            match self.begin_value(input)? {
                Some(item) => return Ok(Some(item)),
                None if input.is_empty() => return Ok(None),
                // The packet ended within a length.
                None => {}
            }
        }
    }

    /// Behind the last value of a row nothing may follow but an empty packet, where the one before
    /// was as long as can be.
    fn end_row<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Item<'a>>, Malformed> {
        if self.packet == 0 && self.is_continued {
            match self.begin_packet(input)? {
                Some(_) => {}
                None => return Ok(None),
            }
        }
        if self.packet > 0 || self.is_continued {
            return Err(Malformed("a row goes on after its values"));
        }
        self.in_row = false;
        Ok(Some(Item::RowEnd))
    }

    /// Reads a packet's header: whether it is no row, `None` if that takes more input.
    fn begin_packet(&mut self, input: &mut &[u8]) -> Result<Option<bool>, Malformed> {
        let Some(header) = Header::peek(input) else { return Ok(None) };
        if header.sequence != self.sequence {
            return Err(Malformed("packets out of order"));
        }
        if !self.in_row {
            if header.length == 0 {
                return Err(Malformed("an empty packet in a result"));
            }
            let Some(&first) = input.get(HEADER) else { return Ok(None) };
            if first == ERR || (first == EOF && header.length < EOF_LIMIT) {
                return Ok(Some(true));
            }
            self.in_row = true;
            self.values = self.columns;
        } else if !self.is_continued {
            return Err(Malformed("a row ends before its values do"));
        }
        *input = &input[HEADER..];
        self.packet = header.length;
        self.is_continued = header.is_continued();
        self.sequence = self.sequence.wrapping_add(1);
        Ok(Some(false))
    }

    /// Reads a value's length; `None` if that takes more input, or the next packet.
    fn begin_value<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Item<'a>>, Malformed> {
        loop {
            if input.is_empty() || self.packet == 0 {
                return Ok(None);
            }
            self.length[self.length_bytes] = self.take(input, 1)[0];
            self.length_bytes += 1;
            let wanted = match self.length[0] {
                0..=NULL => 1,
                0xFC => 3,
                0xFD => 4,
                0xFE => 9,
                0xFF => return Err(Malformed("not a length-encoded integer")),
            };
            if self.length_bytes < wanted {
                continue;
            }
            self.length_bytes = 0;
            self.values -= 1;
            if self.length[0] == NULL {
                return Ok(Some(Item::Null));
            }
            self.value = match wanted {
                1 => u64::from(self.length[0]),
                _ => self.length[1..wanted]
                    .iter()
                    .rev()
                    .fold(0, |value, &byte| value << 8 | u64::from(byte)),
            };
            return Ok(Some(Item::Value(self.value)));
        }
    }

    fn take<'a>(&mut self, input: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (taken, rest) = input.split_at(count);
        *input = rest;
        self.packet -= count;
        taken
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::codec::Writer;
    use crate::wire::packet::{MAX_PAYLOAD, put_packet};

    type Row = Vec<Option<Vec<u8>>>;

    fn encode(rows: &[Row]) -> (BytesMut, u8) {
        let mut out = BytesMut::new();
        let mut sequence = 7;
        for row in rows {
            let mut payload = Vec::new();
            for value in row {
                match value {
                    Some(bytes) => payload.put_lenenc_bytes(bytes),
                    None => payload.push(NULL),
                }
            }
            sequence = put_packet(&mut out, sequence, &payload);
        }
        let next = put_packet(&mut out, sequence, &[EOF, 0, 0, 2, 0]);
        (out, next)
    }

    /// Reads the rows with no more than `step` bytes of input at a time beyond what is kept.
    fn decode(bytes: &[u8], columns: u64, step: usize) -> Result<Vec<Row>, Malformed> {
        let mut rows = Rows::new(columns, 7);
        let (mut found, mut row): (Vec<Row>, Row) = (Vec::new(), Vec::new());
        let (mut start, mut end) = (0, 0);
        loop {
            let mut input = &bytes[start..end];
            let item = rows.next(&mut input)?;
            start = end - input.len();
            match item {
                None if end == bytes.len() => return Err(Malformed("the test's input ended")),
                None => end = (end + step).min(bytes.len()),
                Some(Item::Null) => row.push(None),
                Some(Item::Value(_)) => row.push(Some(Vec::new())),
                Some(Item::Bytes(bytes)) => {
                    row.last_mut().and_then(Option::as_mut).expect("begun").extend(bytes);
                }
                Some(Item::RowEnd) => found.push(std::mem::take(&mut row)),
                Some(Item::End) => return Ok(found),
            }
        }
    }

    #[test]
    fn values_longer_than_a_packet() {
        // The last length of the second row is cut by the packet's end, the third row's last packet
        // is empty.
        let rows = [
            vec![Some(vec![b'a'; 2 * MAX_PAYLOAD + 5]), None],
            vec![Some(vec![b'b'; MAX_PAYLOAD - 11]), Some(vec![b'c'; 70_000])],
            vec![Some(vec![b'd'; MAX_PAYLOAD - 10]), None],
        ];
        let (bytes, _) = encode(&rows);
        assert!(decode(&bytes, 2, 1 << 20).unwrap() == rows);
        assert!(decode(&bytes, 2, 4099).unwrap() == rows);
    }

    #[test]
    fn what_is_no_row_is_refused() {
        let mut short = BytesMut::new();
        put_packet(&mut short, 7, b"\x01a");
        assert!(decode(&short, 2, 100).is_err());
        let mut long = BytesMut::new();
        put_packet(&mut long, 7, b"\x01a\x01b");
        assert!(decode(&long, 1, 100).is_err());
        let mut order = BytesMut::new();
        put_packet(&mut order, 8, b"\x01a");
        assert!(decode(&order, 1, 100).is_err());
    }

    proptest! {
        #[test]
        fn rows_come_back_however_they_are_cut(
            rows in prop::collection::vec(
                prop::collection::vec(
                    prop::option::of(prop::collection::vec(any::<u8>(), 0..300)), 3),
                0..20),
            step in 1usize..40,
        ) {
            let (bytes, _) = encode(&rows);
            prop_assert_eq!(decode(&bytes, 3, step).unwrap(), rows);
        }

        #[test]
        fn never_panics(bytes: Vec<u8>, columns in 1u64..5, step in 1usize..9) {
            let _ = decode(&bytes, columns, step);
        }
    }
}
