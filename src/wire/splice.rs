//! Puts bytes into a command that passes through as it arrives, and numbers the reply as if they
//! were not there.
//!
//! Packets of the greatest length stay as long as they are: what is too much for one goes on in the
//! next. So a command may come to have one packet more.

use bytes::{BufMut, BytesMut};

use super::numbering::{Mark, Position};
use super::packet::{HEADER, Header, MAX_PAYLOAD};

/// Bytes that take the place of fewer others in the first packet of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    /// Where in its payload, command byte included.
    pub at: usize,
    /// How many give way.
    pub replaced: usize,
    /// What is there instead.
    pub bytes: Vec<u8>,
}

impl Splice {
    /// The command with it, all of which is there.
    pub fn applied(&self, packet: &[u8]) -> BytesMut {
        let mut out = BytesMut::with_capacity(packet.len() + self.bytes.len() + HEADER);
        Spliced::new(self).advance(packet, &mut out);
        out
    }
}

/// A command on its way through.
#[derive(Debug)]
pub struct Spliced<'a> {
    splice: &'a Splice,
    /// What begins the next packet.
    carried: BytesMut,
    /// Payload bytes that pass now.
    passing: usize,
    /// Payload bytes behind them that are to be carried into the next packet.
    carrying: usize,
    /// A packet that the client has not sent, and which ends the command.
    further: Option<Header>,
    begun: bool,
    last: bool,
    adds_packet: bool,
}

impl<'a> Spliced<'a> {
    pub fn new(splice: &'a Splice) -> Self {
        Spliced {
            splice,
            carried: BytesMut::new(),
            passing: 0,
            carrying: 0,
            further: None,
            begun: false,
            last: false,
            adds_packet: false,
        }
    }

    /// True once the command's last byte has passed.
    pub fn is_done(&self) -> bool {
        self.last && self.passing == 0 && self.further.is_none()
    }

    /// True when it has one packet more than the client has sent.
    pub fn adds_packet(&self) -> bool {
        self.adds_packet
    }

    /// Takes bytes off the front of `input` and appends what becomes of them to `out`; how many.
    /// None of a beginning that does not reach to behind the place, or of half a header.
    pub fn advance(&mut self, input: &[u8], out: &mut BytesMut) -> usize {
        let mut at = 0;
        loop {
            let step = self.passing.min(input.len() - at);
            out.put_slice(&input[at..at + step]);
            self.passing -= step;
            at += step;
            if self.passing > 0 {
                return at;
            }
            if let Some(header) = self.further.take() {
                header.put(out);
                self.passing = header.length;
                continue;
            }
            let step = self.carrying.min(input.len() - at);
            self.carried.put_slice(&input[at..at + step]);
            self.carrying -= step;
            at += step;
            if self.carrying > 0 || self.last {
                return at;
            }
            let Some(header) = Header::peek(&input[at..]) else { return at };
            let mut left = header.length;
            at += HEADER;
            if !self.begun {
                let Splice { at: place, replaced, bytes } = self.splice;
                let Some(before) = input.get(at..at + place + replaced) else {
                    return at - HEADER;
                };
                self.carried.put_slice(&before[..*place]);
                self.carried.put_slice(bytes);
                at += before.len();
                left = left.saturating_sub(before.len());
                self.begun = true;
            }
            self.begin_packet(header, left, out);
        }
    }

    /// `left` bytes of the client's packet are still to come.
    fn begin_packet(&mut self, header: Header, left: usize, out: &mut BytesMut) {
        let total = self.carried.len() + left;
        let length = total.min(MAX_PAYLOAD);
        Header { length, ..header }.put(out);
        let whole = self.carried.split_to(self.carried.len().min(length));
        out.put_slice(&whole);
        self.passing = length - whole.len();
        self.last = !header.is_continued();
        match self.last {
            false => self.carrying = left - self.passing,
            true if length < MAX_PAYLOAD => {}
            true => {
                let sequence = header.sequence.wrapping_add(1);
                self.further = Some(Header { length: total - length, sequence });
                self.adds_packet = true;
            }
        }
    }
}

/// Numbers the packets of a reply one lower than they come.
#[derive(Debug, Default)]
pub struct Renumbering {
    position: Position,
}

impl Renumbering {
    /// Goes on with these bytes of the reply.
    pub fn renumber(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while let Some(mark) = self.position.next(bytes, &mut at) {
            if let Mark::Number(place) = mark {
                bytes[place] = bytes[place].wrapping_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::put_packet;
    use bytes::Buf;

    /// A command of this length, spliced in steps: it is what `put_packet` makes of the payload.
    fn check(length: usize, splice: &Splice, step: usize) {
        let pattern: Vec<u8> = (0..251).collect();
        let mut payload = pattern.repeat(length / pattern.len() + 1);
        payload.truncate(length);
        let mut client = BytesMut::new();
        let packets = put_packet(&mut client, 0, &payload);
        put_packet(&mut client, 0, b"next command");
        let (before, behind) = payload.split_at(splice.at);
        let mut expected = BytesMut::new();
        let whole = [before, &splice.bytes, &behind[splice.replaced..]].concat();
        let expected_packets = put_packet(&mut expected, 0, &whole);

        let mut run = Spliced::new(splice);
        let (mut out, mut seen) = (BytesMut::new(), step.max(100));
        while !run.is_done() {
            let count = run.advance(&client[..seen.min(client.len())], &mut out);
            assert!(count > 0 || seen < client.len(), "it did not end");
            client.advance(count);
            seen = seen - count + step;
        }
        assert!(out == expected, "{length} bytes in steps of {step}");
        assert_eq!(run.adds_packet(), expected_packets != packets, "{length}");
        assert_eq!(&client[HEADER..], b"next command");
    }

    #[test]
    fn a_command_of_any_length_is_as_if_it_had_been_sent_so() {
        let splice = Splice { at: 11, replaced: 1, bytes: vec![1, 0xFD, 0, 0xFE, 0] };
        for length in [12, 13, 100, 5000] {
            for step in [1, 7, 10_000] {
                check(length, &splice, step);
            }
        }
        for beyond in [1, 4, 5, 6] {
            check(MAX_PAYLOAD - beyond, &splice, 16 * 1024);
            check(2 * MAX_PAYLOAD - beyond, &splice, 64 * 1024);
        }
        check(MAX_PAYLOAD + 1, &splice, 16 * 1024);
        let long = Splice { at: 20, replaced: 2, bytes: vec![7; 100_000] };
        for length in [MAX_PAYLOAD - 99_999, MAX_PAYLOAD - 99_997, MAX_PAYLOAD, 2 * MAX_PAYLOAD] {
            check(length, &long, 40_000);
        }
    }

    #[test]
    fn a_reply_is_numbered_one_lower() {
        let reply = |first| {
            let mut out = BytesMut::new();
            let next = put_packet(&mut out, first, &vec![3; MAX_PAYLOAD]);
            put_packet(&mut out, next, b"end");
            out
        };
        for step in [1000, 1 << 20] {
            let (mut got, mut renumbering) = (reply(0), Renumbering::default());
            got.chunks_mut(step).for_each(|part| renumbering.renumber(part));
            assert!(got == reply(255));
        }
    }
}
