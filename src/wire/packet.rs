//! Packet framing: a 3-byte payload length, a sequence number, the payload.
//!
//! A payload of 0xFFFFFF bytes continues in the next packet; the last part of a payload is shorter
//! (possibly empty).

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::Writer;

/// Bytes of a packet header.
pub const HEADER: usize = 4;
/// The longest payload of one packet; a payload of this length is continued in the next.
pub const MAX_PAYLOAD: usize = 0xFF_FFFF;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Payload length, 0 to [`MAX_PAYLOAD`].
    pub length: usize,
    pub sequence: u8,
}

impl Header {
    /// The header at the front of `bytes`, or `None` when fewer than [`HEADER`] bytes are there.
    pub fn peek(bytes: &[u8]) -> Option<Header> {
        let &[a, b, c, sequence] = bytes.first_chunk::<HEADER>()?;
        Some(Header { length: u32::from_le_bytes([a, b, c, 0]) as usize, sequence })
    }

    /// True when the payload goes on in the next packet.
    pub fn is_continued(self) -> bool {
        self.length == MAX_PAYLOAD
    }

    pub fn put(self, out: &mut impl BufMut) {
        out.put_u24_le(self.length as u32);
        out.put_u8(self.sequence);
    }
}

/// One whole logical packet: the joined payload and the sequence number of its last part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub sequence: u8,
    pub payload: Bytes,
}

/// Appends `payload` as one packet, or as several when it is long. Returns the sequence number
/// that the next packet carries.
pub fn put_packet(out: &mut BytesMut, mut sequence: u8, payload: &[u8]) -> u8 {
    let mut rest = payload;
    loop {
        let length = rest.len().min(MAX_PAYLOAD);
        let header = Header { length, sequence };
        header.put(out);
        out.put_slice(&rest[..length]);
        rest = &rest[length..];
        sequence = sequence.wrapping_add(1);
        if !header.is_continued() {
            return sequence;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_needs_four_bytes() {
        assert_eq!(Header::peek(&[1, 0, 0]), None);
        assert_eq!(Header::peek(&[1, 2, 0, 7, 9]), Some(Header { length: 513, sequence: 7 }));
    }

    #[test]
    fn a_payload_of_the_maximum_is_followed_by_an_empty_packet() {
        let mut out = BytesMut::new();
        let next = put_packet(&mut out, 255, &vec![0; MAX_PAYLOAD]);
        assert_eq!(next, 1);
        assert_eq!(out.len(), MAX_PAYLOAD + 2 * HEADER);
        let second = Header::peek(&out[HEADER + MAX_PAYLOAD..]).unwrap();
        assert_eq!(second, Header { length: 0, sequence: 0 });
    }
}
