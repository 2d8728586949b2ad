//! A stream of the binary log, of whose events a semi-synchronous replica is to acknowledge some.
//!
//! Behind an event that asks for it source and replica number frames and packets anew: MySQL from 0,
//! MariaDB from 1, as the source's next frame tells. The replica's word is numbered 0. Seen on
//! MySQL 9.7 and MariaDB 10.11; `net_clear` in their semi-synchronous replication does it.

use crate::wire::numbering::{Mark, Position};

/// What precedes each event for a semi-synchronous replica, behind the OK byte: this, and whether
/// its word is wanted.
const MAGIC: u8 = 0xEF;
const WANTED: u8 = 1;

/// A place in such a stream.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Events {
    position: Position,
    /// The first bytes of the present event.
    head: [u8; 3],
    known: usize,
    /// Whether the stream is for a semi-synchronous replica. The first event tells: others begin with
    /// the time, and it has none.
    semi_sync: Option<bool>,
}

impl Events {
    /// Goes on in `bytes` up to behind the end of an event that asks to be acknowledged, or to their
    /// end; how far, and whether there is such an event.
    pub fn pass(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        loop {
            let (before, within) = (at, self.position.is_within());
            if !within && self.position.is_between() {
                self.known = 0;
            }
            let mark = self.position.next(bytes, &mut at);
            if within {
                for byte in &bytes[before..at] {
                    let Some(place) = self.head.get_mut(self.known) else { break };
                    *place = *byte;
                    self.known += 1;
                }
            }
            match mark {
                None => return (at, false),
                Some(Mark::Number(_)) => {}
                Some(Mark::End) if !self.position.is_between() => {}
                Some(Mark::End) => {
                    let begins = self.known == self.head.len() && self.head[..2] == [0, MAGIC];
                    let semi_sync = *self.semi_sync.get_or_insert(begins);
                    if semi_sync && begins && self.head[2] == WANTED {
                        return (at, true);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::{MAX_PAYLOAD, put_packet};
    use bytes::BytesMut;

    fn stream(events: &[&[u8]]) -> BytesMut {
        let mut out = BytesMut::new();
        for event in events {
            put_packet(&mut out, 0, event);
        }
        out
    }

    /// Behind which bytes a word is wanted, if they come in such pieces.
    fn wanted(bytes: &[u8], step: usize) -> Vec<usize> {
        let (mut events, mut at, mut wanted) = (Events::default(), 0, Vec::new());
        for piece in bytes.chunks(step) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (count, asks) = events.pass(rest);
                at += count;
                rest = &rest[count..];
                if asks {
                    wanted.push(at);
                }
            }
        }
        wanted
    }

    #[test]
    fn events_that_want_a_word() {
        let long = [&b"\0\xEF\x01"[..], &vec![0; MAX_PAYLOAD]].concat();
        let bytes = stream(&[
            b"\0\xEF\0\0\0\0\0rotate",
            b"\0\xEF\x01\x05\x05\x05\x05first",
            b"\0\xEF\0\x05\x05\x05\x05second",
            &long,
            b"\0\xEF\x01\x05",
        ]);
        let expected = [33, 33 + 17 + long.len() + 8, bytes.len()];
        for step in [1, 5, 4096, bytes.len()] {
            assert_eq!(wanted(&bytes, step), expected, "{step}");
        }
        // The time may look like it.
        let bytes = stream(&[b"\0\0\0\0\0rotate", b"\0\xEF\x01\x05\x05event"]);
        assert!(wanted(&bytes, 7).is_empty());
    }
}
