//! The compressed protocol over a stream: packets' bytes in and out, frames below.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncWrite, ReadBuf};

use super::chunk::Chunk;
use super::packets::poll_fill;
use super::stream::Stream;
use crate::wire::compression::{FrameError, Frames};

/// A stream that carries frames.
#[derive(Debug)]
pub struct Compressed {
    below: Stream,
    frames: Frames,
    /// Frames, or parts of them, that were read and not taken apart yet.
    raw: BytesMut,
    chunk: Chunk,
    /// Frames that are not written yet.
    out: BytesMut,
}

impl Compressed {
    /// `read`: what has been read of the frames already.
    pub fn new(below: Stream, frames: Frames, read: BytesMut) -> Self {
        Compressed { below, frames, raw: read, chunk: Chunk::default(), out: BytesMut::new() }
    }

    pub fn below(&self) -> &Stream {
        &self.below
    }

    /// What passes here is not framed.
    pub fn below_mut(&mut self) -> &mut Stream {
        &mut self.below
    }

    pub fn begin_command(&mut self) {
        self.frames.begin_command();
    }

    pub fn begin_stream(&mut self) {
        self.frames.begin_stream();
    }

    /// True when everything that was read has been taken.
    pub fn is_drained(&self) -> bool {
        self.raw.is_empty() && self.frames.is_between()
    }

    /// Gives back what a stream on which nothing happens does not need.
    pub fn give_back(&mut self) {
        self.frames.give_back();
        if self.raw.is_empty() {
            self.raw = BytesMut::new();
            self.chunk = Chunk::default();
        }
        if self.out.is_empty() {
            self.out = BytesMut::new();
        }
    }

    /// Ready once the peer has closed its side while nothing of it waits to be taken. What comes
    /// stays as it is: it belongs to a command that is not served yet.
    pub fn poll_peer_closed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_drained() {
            return Poll::Pending;
        }
        if let Some(closed) = self.below.poll_peer_closed(context) {
            return closed;
        }
        match poll_fill(&mut self.below, &mut self.raw, &mut self.chunk, context) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        }
    }

    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let room = target.initialize_unfilled();
            let count = self.frames.read(&mut self.raw, room).map_err(invalid)?;
            if count > 0 {
                target.advance(count);
                return Poll::Ready(Ok(()));
            }
            let Compressed { below, raw, chunk, .. } = &mut *self;
            if ready!(poll_fill(below, raw, chunk, context))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Takes bytes once all frames before them are written.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(context))?;
        let count = self.frames.write(bytes, &mut self.out);
        // What is not written now is by the next call.
        if let Poll::Ready(Err(error)) = self.poll_drain(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(count))
    }

    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.below).poll_flush(context)
    }

    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.below).poll_shutdown(context)
    }

    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            match ready!(Pin::new(&mut self.below).poll_write(context, &self.out))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.out.advance(count),
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn invalid(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// What is wrong with the peer's frames, if that is why reading failed.
pub fn frame_error(error: &io::Error) -> Option<FrameError> {
    error.get_ref()?.downcast_ref().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::PacketStream;
    use crate::net::stream::Socket;
    use crate::wire::compression::{Algorithm, Level, Peer};

    fn pair(algorithm: Algorithm) -> (PacketStream, PacketStream) {
        let (near, far) = tokio::net::UnixStream::pair().unwrap();
        let end = |socket, peer| {
            PacketStream::new(Stream::Plain(Socket::Unix(socket))).compressed(algorithm, peer)
        };
        (end(near, Peer::Server), end(far, Peer::Client))
    }

    #[tokio::test]
    async fn what_is_idle_holds_no_buffers() {
        for algorithm in [Algorithm::Zlib, Algorithm::Zstd { level: Level::default() }] {
            let (mut client, mut server) = pair(algorithm);
            for _ in 0..2 {
                client.begin_command();
                server.begin_command();
                client.write_packet(0, &[b'x'; 20_000]).await.unwrap();
                server.read_packet(100_000, Some(0)).await.unwrap();
                server.write_packet(1, &[b'y'; 20_000]).await.unwrap();
                client.read_packet(100_000, Some(1)).await.unwrap();
                for stream in [&mut client, &mut server] {
                    stream.give_back();
                    let Stream::Compressed(compressed) = stream.stream() else { panic!() };
                    assert!(compressed.is_drained());
                    assert_eq!((compressed.raw.capacity(), compressed.out.capacity()), (0, 0));
                    assert!(compressed.frames.holds_nothing());
                }
            }
        }
    }

    #[tokio::test]
    async fn a_peer_that_leaves_is_noticed_and_what_it_has_sent_is_not_lost() {
        let (mut client, mut server) = pair(Algorithm::Zlib);
        let gone = async |stream: &mut PacketStream| {
            std::future::poll_fn(|context| {
                Poll::Ready(stream.stream_mut().poll_peer_closed(context).unwrap().is_ready())
            })
            .await
        };
        assert!(!gone(&mut server).await);
        client.write_packet(0, &[b'x'; 100]).await.unwrap();
        drop(client);
        assert!(!gone(&mut server).await, "a command waits to be read");
        assert_eq!(server.read_packet(1000, Some(0)).await.unwrap().payload.len(), 100);
        assert!(gone(&mut server).await);
    }
}
