//! A stream of packets to frames and back.

use bytes::{Buf, BytesMut};

use super::deflate::{Deflater, deflate};
use super::events::Events;
use super::inflate::Inflater;
use super::{Algorithm, FRAME_HEADER, FrameError, FrameHeader, LEAST_COMPRESSED, MOST_PAYLOAD};
use crate::wire::numbering::{Mark, Position};

/// Packets up to this size are put whole into one frame, which is closed once it holds as much: it
/// is compressed in one go, and no other session of the thread should have to wait long for that.
const SHORT: usize = 32 * 1024;
/// A longer packet has a frame of its own, which grows to this size compressed; the rest of the
/// packet follows as it is.
const MOST_COMPRESSED: usize = 512 * 1024;
/// Most bytes that one call takes of a longer packet.
const PIECE: usize = 64 * 1024;
/// A frame's payload is looked at once this much of it is there, or the rest of it: so the end of
/// one is never left over when the packets in it have been read.
const WINDOW: usize = 16 * 1024;
/// The decoder of a frame that was longer than this, uncompressed, is not kept.
const KEEP: usize = 256 * 1024;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Client,
    Server,
}

/// The frames of one connection, both ways.
///
/// Both kinds of sequence numbers are kept here. A frame's goes on from the last frame, whoever sent it,
/// and begins at 0 with each command. The packets' own are of no consequence to peers that
/// compress, and jump (`net_flush` sets them to the frames'): the packets that come out of here are
/// numbered as they would be without compression.
///
/// A packet is cut in two at most, as servers do it: mysql-connector-python reads no more than two frames
/// for one. Nobody can do anything with a part of one, so short ones wait here for their end.
#[derive(Debug)]
pub struct Frames {
    algorithm: Algorithm,
    peer: Peer,
    /// Of the next frame, read or written.
    sequence: u8,
    /// What the next frame read may be numbered besides that.
    also: Also,
    /// Of the next packet, read or written.
    packet_sequence: u8,
    incoming: Position,
    outgoing: Position,
    sending: Sending,
    /// The server streams its binary log.
    events: Option<Events>,
    /// An event has ended behind which its source's numbers begin anew.
    restarts: bool,
    /// The beginning of a short packet, or of a header.
    held: BytesMut,
    frame: Option<Frame>,
    inflater: Option<Inflater>,
}

/// What is being written.
#[derive(Debug)]
enum Sending {
    /// Frames of whole packets.
    Packets,
    /// A long packet, compressed.
    Long(Box<Long>),
    /// The rest of one as it is; so many bytes.
    Rest(usize),
}

/// A frame that is not complete.
#[derive(Debug)]
struct Long {
    deflater: Deflater,
    payload: BytesMut,
    /// Its bytes before compression.
    size: usize,
}

/// Other numbers that a frame may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Also {
    None,
    /// 0: a client has put two commands into one frame, and the second goes on in this.
    Zero,
    /// A server answers what it has read so far of a command: it objects to the rest.
    Any,
}

/// The frame that is being read.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Bytes of it that are still to come.
    left: usize,
    /// The same uncompressed; `None` for one that is not compressed.
    uncompressed_left: Option<usize>,
    /// All of it, uncompressed.
    size: usize,
    /// Of a compressed one.
    ended: bool,
}

impl Frames {
    pub fn new(algorithm: Algorithm, peer: Peer) -> Self {
        Frames {
            algorithm,
            peer,
            sequence: 0,
            also: Also::None,
            packet_sequence: 0,
            incoming: Position::default(),
            outgoing: Position::default(),
            sending: Sending::Packets,
            events: None,
            restarts: false,
            held: BytesMut::new(),
            frame: None,
            inflater: None,
        }
    }

    /// Begins a command: both sequences start anew.
    pub fn begin_command(&mut self) {
        self.packet_sequence = 0;
        self.events = None;
        self.restarts = false;
        // A second command out of one frame: the numbers of the reply go on from the one before,
        // as a server's do.
        if self.frame.is_some() {
            self.also = Also::Zero;
        } else {
            self.also = Also::None;
            self.sequence = 0;
        }
    }

    /// Begins the reply to a command that asks for a stream of the binary log.
    pub fn begin_stream(&mut self) {
        self.events = Some(Events::default());
    }

    /// True for what a replica says while events stream to it: it has numbers of its own.
    fn is_word(&self, by: Peer) -> bool {
        self.events.is_some() && self.peer == by
    }

    /// True when no frame has been read in part.
    pub fn is_between(&self) -> bool {
        self.frame.is_none()
    }

    /// Gives back what is only needed while frames are read.
    pub fn give_back(&mut self) {
        if self.frame.is_none() {
            self.inflater = None;
        }
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// True when what takes room has been given back.
    #[cfg(test)]
    pub fn holds_nothing(&self) -> bool {
        self.inflater.is_none()
            && self.held.capacity() == 0
            && matches!(self.sending, Sending::Packets)
    }

    /// Takes frames off the front of `raw` and puts the packets' bytes into `target`; how many. 0:
    /// more must be there in `raw`. Of a client's no more than up to the end of one logical packet,
    /// so that what follows is numbered as its own command.
    ///
    /// # Errors
    /// Nothing more can be read.
    pub fn read(&mut self, raw: &mut BytesMut, target: &mut [u8]) -> Result<usize, FrameError> {
        let mut filled = 0;
        while filled < target.len() {
            let Some(mut frame) = self.next_frame(raw)? else { break };
            if raw.len() < frame.left.min(WINDOW) {
                break;
            }
            let mut room = target.len() - filled;
            if self.peer == Peer::Client {
                room = room.min(self.incoming.until_boundary());
            }
            let target = &mut target[filled..filled + room];
            let count = match frame.uncompressed_left {
                None => copy(&mut frame, raw, target),
                Some(_) => self.uncompress(&mut frame, raw, target)?,
            };
            self.frame = (!frame.is_over()).then_some(frame);
            if self.frame.is_none() && frame.size > KEEP {
                self.inflater = None;
            }
            self.renumber(&mut target[..count]);
            filled += count;
            if self.peer == Peer::Client && count > 0 && self.incoming.is_between() {
                break;
            }
        }
        Ok(filled)
    }

    /// The frame that is being read, or the next whose header is there.
    fn next_frame(&mut self, raw: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        while self.frame.is_none() {
            let Some(header) = FrameHeader::peek(raw) else { return Ok(None) };
            raw.advance(FRAME_HEADER);
            let expected = self.sequence;
            let got = header.sequence;
            let is_word = self.is_word(Peer::Client);
            if !is_word && std::mem::take(&mut self.restarts) {
                self.packet_sequence = got;
                self.also = Also::Any;
            }
            let fits = match std::mem::replace(&mut self.also, Also::None) {
                Also::None => got == expected,
                Also::Zero => got == expected || got == 0,
                Also::Any => true,
            };
            if !is_word {
                self.sequence = got.wrapping_add(1);
            }
            if !fits && !is_word {
                return Err(FrameError::OutOfOrder { expected, got });
            }
            if header.uncompressed > 0 {
                if header.length == 0 {
                    return Err(FrameError::Uncompress);
                }
                match &mut self.inflater {
                    Some(inflater) => inflater.begin()?,
                    none => *none = Some(Inflater::new(self.algorithm)?),
                }
            }
            let frame = Frame {
                left: header.length,
                uncompressed_left: (header.uncompressed > 0).then_some(header.uncompressed),
                size: header.uncompressed,
                ended: false,
            };
            // One of no bytes at all is nothing to servers, too.
            self.frame = (!frame.is_over()).then_some(frame);
        }
        Ok(self.frame)
    }

    /// Uncompresses a piece. What a frame says it gives it must give, and no byte more: that is
    /// never asked for.
    fn uncompress(
        &mut self,
        frame: &mut Frame,
        raw: &mut BytesMut,
        target: &mut [u8],
    ) -> Result<usize, FrameError> {
        let inflater = self.inflater.as_mut().ok_or(FrameError::Uncompress)?;
        let mut left = frame.uncompressed_left.unwrap_or_default();
        let mut filled = 0;
        // Once more behind the last byte, for the checksum.
        while !frame.ended && (filled < target.len() || left == 0) {
            let input = &raw[..raw.len().min(frame.left)];
            let room = left.min(target.len() - filled);
            let step = inflater.step(input, &mut target[filled..filled + room])?;
            raw.advance(step.consumed);
            frame.left -= step.consumed;
            filled += step.produced;
            left -= step.produced;
            frame.ended = step.ended;
            if step.consumed == 0 && step.produced == 0 && !step.ended {
                // All that is there has been taken in.
                if frame.left == 0 || !raw.is_empty() {
                    return Err(FrameError::Uncompress);
                }
                break;
            }
        }
        frame.uncompressed_left = Some(left);
        if frame.ended && (left > 0 || frame.left > 0) {
            return Err(FrameError::Uncompress);
        }
        Ok(filled)
    }

    fn renumber(&mut self, bytes: &mut [u8]) {
        if let (Peer::Server, Some(events)) = (self.peer, &mut self.events) {
            let mut at = 0;
            while at < bytes.len() {
                let (count, restarts) = events.pass(&bytes[at..]);
                at += count;
                self.restarts = restarts;
            }
        }
        let is_word = self.is_word(Peer::Client);
        let mut at = 0;
        while let Some(mark) = self.incoming.next(bytes, &mut at) {
            if let Mark::Number(place) = mark {
                if is_word {
                    bytes[place] = 0;
                    continue;
                }
                bytes[place] = self.packet_sequence;
                self.packet_sequence = self.packet_sequence.wrapping_add(1);
            }
        }
    }

    /// Takes some of `bytes`, at least one, and appends what can be sent of them and of those
    /// before to `out`; how many were taken. At the end of a packet nothing is held back.
    pub fn write(&mut self, bytes: &[u8], out: &mut BytesMut) -> usize {
        if self.is_word(Peer::Server) {
            let numbers = (self.sequence, self.packet_sequence, self.restarts);
            (self.sequence, self.restarts) = (0, false);
            let count = self.write_some(bytes, out);
            (self.sequence, self.packet_sequence, self.restarts) = numbers;
            return count;
        }
        if self.peer == Peer::Server {
            self.also = Also::Any;
        }
        let Some(events) = self.events else { return self.write_some(bytes, out) };
        // An event that is to be acknowledged ends its frame.
        let mut ahead = events;
        let (end, _) = ahead.pass(bytes);
        let count = self.write_some(&bytes[..end], out);
        if let Some(events) = &mut self.events {
            self.restarts |= events.pass(&bytes[..count]).1;
        }
        count
    }

    fn write_some(&mut self, bytes: &[u8], out: &mut BytesMut) -> usize {
        match self.sending {
            Sending::Packets => self.write_packets(bytes, out),
            Sending::Long(_) => self.write_long(bytes, out),
            Sending::Rest(_) => self.write_rest(bytes, out),
        }
    }

    fn write_packets(&mut self, bytes: &[u8], out: &mut BytesMut) -> usize {
        let mut here = self.outgoing;
        let mut sequence = self.packet_sequence;
        let mut at = 0;
        let mut whole = 0;
        while let Some(mark) = here.next(bytes, &mut at) {
            match mark {
                Mark::Number(place) => {
                    if std::mem::take(&mut self.restarts) {
                        self.sequence = bytes[place];
                    }
                    if here.size().is_some_and(|size| size > SHORT) {
                        if whole > 0 {
                            break;
                        }
                        self.outgoing = here;
                        self.packet_sequence = bytes[place].wrapping_add(1);
                        self.begin_long(&bytes[..at], out);
                        return at;
                    }
                    sequence = bytes[place].wrapping_add(1);
                }
                Mark::End => {
                    whole = at;
                    (self.outgoing, self.packet_sequence) = (here, sequence);
                    if self.held.len() + whole >= SHORT {
                        break;
                    }
                }
            }
        }
        if whole == 0 {
            (self.outgoing, self.packet_sequence) = (here, sequence);
            self.held.extend_from_slice(bytes);
            return bytes.len();
        }
        if self.held.is_empty() {
            self.put_frame(&bytes[..whole], out);
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(&bytes[..whole]);
            self.put_frame(&held, out);
            held.clear();
            self.held = held;
        }
        whole
    }

    /// Begins a long packet, of which the end of the header has come.
    fn begin_long(&mut self, header: &[u8], out: &mut BytesMut) {
        let begin = [&self.held, header].concat();
        self.held.clear();
        match Deflater::new(self.algorithm) {
            Some(deflater) => {
                self.sending =
                    Sending::Long(Box::new(Long { deflater, payload: BytesMut::new(), size: 0 }));
                self.feed_long(&begin, false, out);
            }
            None => {
                self.put_frame(&begin, out);
                self.begin_rest(out);
            }
        }
    }

    fn write_long(&mut self, bytes: &[u8], out: &mut BytesMut) -> usize {
        let Sending::Long(long) = &self.sending else { return 0 };
        let left = self.outgoing.until_boundary();
        let count = bytes.len().min(left).min(MOST_PAYLOAD - long.size).min(PIECE);
        let is_full = long.payload.len() >= MOST_COMPRESSED;
        let end = count == left || long.size + count == MOST_PAYLOAD || is_full;
        self.outgoing.next(&bytes[..count], &mut 0);
        self.feed_long(&bytes[..count], end, out);
        count
    }

    fn feed_long(&mut self, piece: &[u8], end: bool, out: &mut BytesMut) {
        let Sending::Long(long) = &mut self.sending else { return };
        long.deflater
            .feed(piece, end, &mut long.payload)
            .expect("compressing fails only for want of memory");
        long.size += piece.len();
        if !end {
            return;
        }
        let header = FrameHeader {
            length: long.payload.len(),
            sequence: self.sequence,
            uncompressed: long.size,
        };
        out.extend_from_slice(&header.to_bytes());
        out.extend_from_slice(&long.payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.begin_rest(out);
    }

    /// Goes on behind the first frame of a long packet.
    fn begin_rest(&mut self, out: &mut BytesMut) {
        let left = match self.outgoing.size() {
            Some(_) => self.outgoing.until_boundary(),
            None => 0,
        };
        self.sending = Sending::Packets;
        if left > SHORT {
            let header = FrameHeader { length: left, sequence: self.sequence, uncompressed: 0 };
            out.extend_from_slice(&header.to_bytes());
            self.sequence = self.sequence.wrapping_add(1);
            self.sending = Sending::Rest(left);
        }
    }

    fn write_rest(&mut self, bytes: &[u8], out: &mut BytesMut) -> usize {
        let Sending::Rest(left) = self.sending else { return 0 };
        let count = bytes.len().min(left).min(PIECE);
        out.extend_from_slice(&bytes[..count]);
        self.outgoing.next(&bytes[..count], &mut 0);
        self.sending = match left - count {
            0 => Sending::Packets,
            left => Sending::Rest(left),
        };
        count
    }

    /// Appends a frame, compressed if that makes it shorter.
    fn put_frame(&mut self, bytes: &[u8], out: &mut BytesMut) {
        let start = out.len();
        let payload = start + FRAME_HEADER;
        let mut header =
            FrameHeader { length: bytes.len(), sequence: self.sequence, uncompressed: 0 };
        self.sequence = self.sequence.wrapping_add(1);
        out.resize(payload + bytes.len(), 0);
        let compressed = if bytes.len() < LEAST_COMPRESSED {
            None
        } else {
            deflate(self.algorithm, bytes, &mut out[payload..payload + bytes.len() - 1])
        };
        match compressed {
            Some(length) => {
                header.length = length;
                header.uncompressed = bytes.len();
                out.truncate(payload + length);
            }
            None => out[payload..].copy_from_slice(bytes),
        }
        out[start..payload].copy_from_slice(&header.to_bytes());
    }
}

impl Frame {
    fn is_over(&self) -> bool {
        match self.uncompressed_left {
            None => self.left == 0,
            Some(_) => self.ended,
        }
    }
}

fn copy(frame: &mut Frame, raw: &mut BytesMut, target: &mut [u8]) -> usize {
    let count = frame.left.min(raw.len()).min(target.len());
    target[..count].copy_from_slice(&raw[..count]);
    raw.advance(count);
    frame.left -= count;
    count
}
