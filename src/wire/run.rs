//! Follows a run of packets that is forwarded without being understood: a command of several
//! packets, or a file that a client sends for LOCAL INFILE.

use super::packet::{HEADER, Header};

/// What ends the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// A packet shorter than the maximum: the payload is complete.
    Payload,
    /// An empty packet that does not continue a full one: the file is complete.
    EmptyPacket,
}

/// The position in a run of packets.
#[derive(Debug, Clone)]
pub struct PacketRun {
    end: RunEnd,
    /// Bytes of the current packet, header included, that are still to come.
    skip: usize,
    /// The current packet is continued by the next.
    continued: bool,
    last: bool,
}

impl PacketRun {
    pub fn new(end: RunEnd) -> Self {
        PacketRun { end, skip: 0, continued: false, last: false }
    }

    /// True once the run's last byte was counted.
    pub fn is_done(&self) -> bool {
        self.last && self.skip == 0
    }

    /// How many bytes at the front of `input` belong to the run. Less than all of it when the run
    /// ends there, or when a header is not whole yet.
    pub fn advance(&mut self, input: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let step = self.skip.min(input.len() - at);
            self.skip -= step;
            at += step;
            if self.skip > 0 || self.last {
                return at;
            }
            let Some(header) = Header::peek(&input[at..]) else {
                return at;
            };
            self.skip = HEADER + header.length;
            self.last = match self.end {
                RunEnd::Payload => !header.is_continued(),
                RunEnd::EmptyPacket => header.length == 0 && !self.continued,
            };
            self.continued = header.is_continued();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::{MAX_PAYLOAD, put_packet};
    use bytes::BytesMut;

    fn length(end: RunEnd, bytes: &[u8], step: usize) -> usize {
        let mut run = PacketRun::new(end);
        let (mut at, mut seen) = (0, 0);
        while !run.is_done() {
            assert!(seen < bytes.len() || at < seen, "the run did not end");
            seen = (seen + step).min(bytes.len());
            at += run.advance(&bytes[at..seen]);
        }
        at
    }

    #[test]
    fn a_run_ends_where_its_payload_or_file_does() {
        let mut bytes = BytesMut::new();
        put_packet(&mut bytes, 0, &vec![7; 2 * MAX_PAYLOAD]);
        let whole = bytes.len();
        put_packet(&mut bytes, 0, b"next command");
        assert_eq!(length(RunEnd::Payload, &bytes, 1 << 20), whole);

        let mut file = BytesMut::new();
        put_packet(&mut file, 2, b"line\n");
        put_packet(&mut file, 3, b"");
        let whole = file.len();
        put_packet(&mut file, 0, b"next command");
        for step in 1..file.len() {
            assert_eq!(length(RunEnd::EmptyPacket, &file, step), whole);
        }

        // A part that fills its packet is continued by an empty one: the file goes on.
        let mut file = BytesMut::new();
        put_packet(&mut file, 2, &vec![7; MAX_PAYLOAD]);
        put_packet(&mut file, 4, b"line\n");
        put_packet(&mut file, 5, b"");
        let whole = file.len();
        put_packet(&mut file, 0, b"next command");
        assert_eq!(length(RunEnd::EmptyPacket, &file, 1 << 20), whole);
    }
}
