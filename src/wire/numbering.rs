//! Where in a stream of packets the sequence numbers stand, and where packets end.

use crate::wire::packet::{HEADER, MAX_PAYLOAD};

/// A position in a stream of packets that is cut anywhere.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::wire) struct Position {
    /// Bytes of the present header that have passed; [`HEADER`] within a payload.
    seen: usize,
    /// The payload's length, as far as it was seen.
    length: usize,
    /// Bytes of the payload that are still to come.
    left: usize,
    /// The packet before goes on in the next.
    continued: bool,
}

/// What [`Position::next`] has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::wire) enum Mark {
    /// Past the sequence number that stands at this place, which ends a header.
    Number(usize),
    /// The end of a packet.
    End,
}

impl Position {
    /// Goes on in `bytes` from `at` to the next mark; `None` at their end.
    pub fn next(&mut self, bytes: &[u8], at: &mut usize) -> Option<Mark> {
        while self.seen < HEADER - 1 {
            let &byte = bytes.get(*at)?;
            *at += 1;
            self.length |= usize::from(byte) << (8 * self.seen);
            self.seen += 1;
        }
        if self.seen < HEADER {
            bytes.get(*at)?;
            *at += 1;
            self.seen = HEADER;
            self.left = self.length;
            return Some(Mark::Number(*at - 1));
        }
        let passed = self.left.min(bytes.len() - *at);
        *at += passed;
        self.left -= passed;
        if self.left > 0 {
            return None;
        }
        *self = Position { continued: self.length == MAX_PAYLOAD, ..Position::default() };
        Some(Mark::End)
    }

    /// True behind a header and before the end of its payload.
    pub fn is_within(&self) -> bool {
        self.seen == HEADER
    }

    /// True between two logical packets.
    pub fn is_between(&self) -> bool {
        self.seen == 0 && !self.continued
    }

    /// Bytes up to the end of the present header or payload.
    pub fn until_boundary(&self) -> usize {
        if self.seen == HEADER { self.left } else { HEADER - self.seen }
    }

    /// Bytes of the present packet with its header, once that has been seen.
    pub fn size(&self) -> Option<usize> {
        (self.seen == HEADER).then_some(HEADER + self.length)
    }
}
