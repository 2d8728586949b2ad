//! Packets over a stream: a read buffer that fills in whole or in part, and writes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::Stream;
use super::chunk::{Chunk, FIRST};
use super::compressed::Compressed;
use crate::wire::compression::{Algorithm, Frames, Peer};
use crate::wire::handshake::SSL_REQUEST;
use crate::wire::packet::{HEADER, Header, Packet, put_packet};

/// Why a packet could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    #[error("the peer closed the connection")]
    Closed,
    #[error("the peer closed the connection in the middle of a packet")]
    Truncated,
    #[error("packets out of order: expected sequence {expected}, got {got}")]
    OutOfOrder { expected: u8, got: u8 },
    #[error("a packet of {length} bytes where at most {limit} are allowed")]
    TooLong { length: usize, limit: usize },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A buffer larger than this is given back once it is empty.
const KEEP: usize = 64 * 1024;

/// A stream and the bytes read from it that nobody has consumed yet.
#[derive(Debug)]
pub struct PacketStream {
    stream: Stream,
    buffer: BytesMut,
    chunk: Chunk,
}

impl PacketStream {
    pub fn new(stream: Stream) -> Self {
        PacketStream { stream, buffer: BytesMut::new(), chunk: Chunk::default() }
    }

    /// The stream from here on compressed, as agreed on in the login that has just ended. Bytes
    /// that are buffered count as compressed.
    pub fn compressed(self, algorithm: Algorithm, peer: Peer) -> Self {
        let frames = Frames::new(algorithm, peer);
        let compressed = Compressed::new(self.stream, frames, self.buffer);
        PacketStream::new(Stream::Compressed(Box::new(compressed)))
    }

    /// Begins a command, ours or the peer's: of no consequence unless the stream is compressed.
    pub fn begin_command(&mut self) {
        self.stream.begin_command();
    }

    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    pub fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The bytes read and not consumed.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Mutable view of the same bytes, for patching an id in place.
    pub fn buffered_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Drops the first `count` buffered bytes.
    pub fn consume(&mut self, count: usize) {
        if count == self.buffer.len() {
            // Advancing to the end of a full buffer would leave one without room, as if there were none.
            self.buffer.clear();
        } else {
            self.buffer.advance(count);
        }
        self.trim();
    }

    /// Gives back what is not needed while nothing happens, the buffer if it is empty.
    pub fn give_back(&mut self) {
        self.stream.give_back();
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.chunk = Chunk::default();
        }
    }

    /// Gives a large buffer back once it is empty.
    pub fn trim(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP {
            self.buffer = BytesMut::new();
        }
    }

    /// Takes the first `count` buffered bytes out.
    pub fn take(&mut self, count: usize) -> BytesMut {
        self.buffer.split_to(count)
    }

    /// The stream itself, for an upgrade to TLS. `None` when bytes are buffered that would be
    /// lost or, worse, taken for encrypted ones.
    pub fn into_stream(self) -> Option<Stream> {
        self.buffer.is_empty().then_some(self.stream)
    }

    /// Reads what is there into the buffer; the number of bytes, 0 at the end of the stream.
    /// The buffer grows by at most one chunk. Cancel safe: bytes read are in the buffer.
    pub fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        poll_fill(&mut self.stream, &mut self.buffer, &mut self.chunk, context)
    }

    /// [`poll_fill`](Self::poll_fill) as a future. Cancel safe.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|context| self.poll_fill(context)).await
    }

    /// Reads one whole logical packet of at most `limit` bytes, for login and private commands.
    /// With `expected`, its sequence number must be that. Cancel safe: a packet that is not whole
    /// yet stays in the buffer.
    pub async fn read_packet(
        &mut self,
        limit: usize,
        expected: Option<u8>,
    ) -> Result<Packet, PacketError> {
        loop {
            if let Some(packet) = self.buffered_packet(limit, expected)? {
                return Ok(packet);
            }
            if self.fill().await? == 0 {
                return Err(self.ended());
            }
        }
    }

    /// Reads a client's first packet, of at most `limit` bytes. If that asks for TLS, not a byte
    /// beyond it is read: a handshake may follow at once. So what is read first goes no further than
    /// to the end of such a request, and on only if it is none. Cancel safe.
    pub async fn read_first_packet(
        &mut self,
        limit: usize,
        expected: u8,
    ) -> Result<Packet, PacketError> {
        const REQUEST: usize = HEADER + SSL_REQUEST;
        while self.buffer.len() < REQUEST {
            if let Some(packet) = self.buffered_packet(limit, Some(expected))? {
                return Ok(packet);
            }
            let mut first = [0; REQUEST];
            let count = self.stream.read(&mut first[..REQUEST - self.buffer.len()]).await?;
            if count == 0 {
                return Err(self.ended());
            }
            self.buffer.reserve(self.chunk.bytes());
            self.buffer.extend_from_slice(&first[..count]);
        }
        self.read_packet(limit, Some(expected)).await
    }

    /// What the end of the stream is, where a packet is awaited.
    fn ended(&self) -> PacketError {
        match self.buffer.is_empty() {
            true => PacketError::Closed,
            false => PacketError::Truncated,
        }
    }

    /// The packet at the front of the buffer if it is whole. Lengths and order are judged by the
    /// header alone, before its payload is there.
    fn buffered_packet(
        &mut self,
        limit: usize,
        expected: Option<u8>,
    ) -> Result<Option<Packet>, PacketError> {
        let mut end = 0;
        let mut length = 0;
        let mut parts = 0u8;
        loop {
            let Some(header) = Header::peek(&self.buffer[end..]) else {
                return Ok(None);
            };
            if let Some(first) = expected {
                let expected = first.wrapping_add(parts);
                if header.sequence != expected {
                    return Err(PacketError::OutOfOrder { expected, got: header.sequence });
                }
            }
            length += header.length;
            if length > limit {
                return Err(PacketError::TooLong { length, limit });
            }
            end += HEADER + header.length;
            if self.buffer.len() < end {
                return Ok(None);
            }
            parts = parts.wrapping_add(1);
            if header.is_continued() {
                continue;
            }
            return Ok(Some(self.split_packet(end, parts, header.sequence)));
        }
    }

    fn split_packet(&mut self, end: usize, parts: u8, sequence: u8) -> Packet {
        let mut raw = self.buffer.split_to(end);
        if parts == 1 {
            raw.advance(HEADER);
            return Packet { sequence, payload: raw.freeze() };
        }
        let mut payload = BytesMut::with_capacity(end);
        while let Some(header) = Header::peek(&raw) {
            raw.advance(HEADER);
            payload.extend_from_slice(&raw.split_to(header.length));
        }
        Packet { sequence, payload: payload.freeze() }
    }

    /// Writes one logical packet; the sequence number that the next one carries. Not cancel safe:
    /// a dropped future may have written a part.
    pub async fn write_packet(&mut self, sequence: u8, payload: &[u8]) -> io::Result<u8> {
        let mut out = BytesMut::with_capacity(HEADER + payload.len());
        let next = put_packet(&mut out, sequence, payload);
        self.write(&out).await?;
        Ok(next)
    }

    /// Writes raw bytes and flushes. Not cancel safe.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        // A plain socket has nothing to flush; rustls does.
        self.stream.flush().await
    }

    /// Writes raw bytes from `written` on, as far as the peer takes them now, and flushes once all
    /// are written. `written` tells how far it came; `WriteZero` that the peer takes nothing any
    /// more. Cancel safe as long as `written` and `bytes` are kept.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
        written: &mut usize,
    ) -> Poll<io::Result<()>> {
        while *written < bytes.len() {
            let stream = Pin::new(&mut self.stream);
            match std::task::ready!(stream.poll_write(context, &bytes[*written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => *written += count,
            }
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Closes the writing side; best effort.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

/// Reads what is there; the number of bytes, 0 at the end of the stream. The buffer grows by at
/// most one chunk. Cancel safe: bytes read are in the buffer.
pub(super) fn poll_fill(
    stream: &mut Stream,
    buffer: &mut BytesMut,
    chunk: &mut Chunk,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if buffer.capacity() == 0 {
        return poll_first_fill(stream, buffer, chunk, context);
    }
    buffer.reserve(if buffer.is_empty() { chunk.bytes() } else { chunk.bytes() / 2 });
    let mut target = ReadBuf::uninit(buffer.spare_capacity_mut());
    std::task::ready!(Pin::new(stream).poll_read(context, &mut target))?;
    let count = target.filled().len();
    chunk.note(count, target.capacity());
    let length = buffer.len() + count;
    // SAFETY: `poll_read` has initialised the first `count` bytes of the spare capacity.
    unsafe { buffer.set_len(length) };
    Poll::Ready(Ok(count))
}

/// Fills a buffer that has no room yet by way of the stack, so that a stream on which nothing
/// arrives costs no buffer.
fn poll_first_fill(
    stream: &mut Stream,
    buffer: &mut BytesMut,
    chunk: &mut Chunk,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut first = [std::mem::MaybeUninit::uninit(); FIRST];
    let mut target = ReadBuf::uninit(&mut first);
    std::task::ready!(Pin::new(stream).poll_read(context, &mut target))?;
    if !target.filled().is_empty() {
        chunk.note(target.filled().len(), FIRST);
        buffer.reserve(chunk.bytes().max(target.filled().len()));
        buffer.extend_from_slice(target.filled());
    }
    Poll::Ready(Ok(target.filled().len()))
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::super::stream::Socket;
    use super::*;

    /// A stream on which these bytes come, and then its end.
    async fn stream(bytes: &[u8]) -> PacketStream {
        let (mut client, server) = UnixStream::pair().expect("a pair");
        client.write_all(bytes).await.expect("room for them");
        PacketStream::new(Stream::Plain(Socket::Unix(server)))
    }

    fn packet(sequence: u8, length: usize) -> Vec<u8> {
        let mut out = BytesMut::new();
        put_packet(&mut out, sequence, &vec![7; length]);
        out.to_vec()
    }

    #[tokio::test]
    async fn nothing_is_read_behind_a_request_for_tls() {
        let request = packet(1, SSL_REQUEST);
        let mut stream = stream(&[&request[..], b"\x16\x03\x01 and more"].concat()).await;
        let first = stream.read_first_packet(100, 1).await.expect("a packet");
        assert_eq!((first.payload.len(), first.sequence), (SSL_REQUEST, 1));
        let mut left = stream.into_stream().expect("nothing is buffered");
        let mut next = [0; 3];
        left.read_exact(&mut next).await.expect("the handshake");
        assert_eq!(next, *b"\x16\x03\x01");
    }

    #[tokio::test]
    async fn a_first_packet_of_any_length_is_read_and_what_follows_it_kept() {
        for length in [1, 5, SSL_REQUEST - 1, SSL_REQUEST + 1, 200, 1000] {
            let mut stream = stream(&[packet(1, length), packet(0, 9)].concat()).await;
            let first = stream.read_first_packet(1000, 1).await.expect("a packet");
            assert_eq!(first.payload.len(), length);
            let second = stream.read_packet(100, Some(0)).await.expect("the next");
            assert_eq!(second.payload.len(), 9, "behind {length}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_first_packet_is_told() {
        let whole = packet(1, 100);
        let table = [
            (&whole[..0], "closed the connection"),
            (&whole[..3], "middle of a packet"),
            (&whole[..50], "middle of a packet"),
            (&packet(2, 100), "expected sequence 1, got 2"),
            (&packet(1, 101), "101 bytes where at most 100"),
        ];
        for (bytes, expected) in table {
            let error = stream(bytes).await.read_first_packet(100, 1).await.expect_err("no packet");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
