//! The two halves of a client's stream as the library sees them.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::judge::{LONGEST, Verdict, judge};
use crate::wire::packet::HEADER;
use crate::wire::reply::ServerError;

/// A client that says nothing for this long is disconnected.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// For the rest of a packet once its first bytes are there, and for a client to take some bytes.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
/// Read from the socket at once at most.
const CHUNK: usize = 4 * 1024;
/// Collected before it is written, unless the library flushes.
const WRITE_AT: usize = 16 * 1024;

/// Both halves of a client's stream whose login is over, for a library that has yet to see one.
///
/// `login` is one whole packet, the login as the library gets it; `buffered` is what the client has
/// sent behind its own.
pub fn gates<S: AsyncRead + AsyncWrite>(
    stream: S,
    login: Bytes,
    buffered: BytesMut,
) -> (ReadGate<ReadHalf<S>>, WriteGate<WriteHalf<S>>) {
    let (read, write) = tokio::io::split(stream);
    let is_logged_in = Arc::new(AtomicBool::new(false));
    let read = ReadGate {
        stream: read,
        buffer: buffered,
        passed: login,
        is_logged_in: Arc::clone(&is_logged_in),
        deadline: Box::pin(sleep_until(Instant::now() + IDLE_TIMEOUT)),
        refusal: None,
    };
    let write = WriteGate { stream: write, buffer: BytesMut::new(), is_logged_in, stalled: None };
    (read, write)
}

/// Gives the library one packet at a time. It works on one after the other and asks for bytes only
/// when it has answered the last one, so nothing more is needed for it to see the next packet
/// after the answer.
pub struct ReadGate<R> {
    stream: R,
    /// From the client, not judged yet.
    buffer: BytesMut,
    /// Of a packet that has passed, what the library has not taken yet.
    passed: Bytes,
    /// Set with the first command: what the library has written before is of its login.
    is_logged_in: Arc<AtomicBool>,
    deadline: Pin<Box<Sleep>>,
    refusal: Option<ServerError>,
}

impl<R> ReadGate<R> {
    /// Why the library was told that the stream has ended; `None` when it has indeed.
    pub fn refusal(&self) -> Option<&ServerError> {
        self.refusal.as_ref()
    }

    pub fn into_inner(self) -> R {
        self.stream
    }

    /// Judges what is in the buffer until a packet passes. `Ready` when one has, or when there
    /// will be no more.
    fn admit(&mut self) -> Poll<()> {
        loop {
            match judge(&self.buffer) {
                Verdict::Incomplete => return Poll::Pending,
                Verdict::Skip { length } => self.buffer.advance(length),
                Verdict::Pass { length, packet } => {
                    self.buffer.advance(length);
                    self.passed = packet;
                    self.is_logged_in.store(true, Ordering::Relaxed);
                    self.deadline.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
                    return Poll::Ready(());
                }
                Verdict::Refuse(error) => {
                    self.refusal = Some(error);
                    return Poll::Ready(());
                }
            }
        }
    }
}

impl<R: AsyncRead + Unpin> ReadGate<R> {
    /// Reads more from the client; the number of bytes.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let was_empty = self.buffer.is_empty();
        let mut chunk = [0; CHUNK];
        let mut target = ReadBuf::new(&mut chunk);
        match Pin::new(&mut self.stream).poll_read(context, &mut target) {
            Poll::Ready(result) => {
                result?;
                self.buffer.extend_from_slice(target.filled());
                if was_empty {
                    self.deadline.as_mut().reset(Instant::now() + PROGRESS_TIMEOUT);
                }
                Poll::Ready(Ok(target.filled().len()))
            }
            Poll::Pending => {
                ready!(self.deadline.as_mut().poll(context));
                self.refusal = Some(if self.buffer.is_empty() {
                    let message = "The client was disconnected because of inactivity";
                    ServerError::new(4031, b"HY000", message)
                } else {
                    let message = "Got timeout reading communication packets";
                    ServerError::new(1159, b"08S01", message)
                });
                Poll::Ready(Ok(0))
            }
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for ReadGate<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        while gate.passed.is_empty() {
            if gate.refusal.is_some() {
                return Poll::Ready(Ok(()));
            }
            if gate.admit().is_ready() {
                continue;
            }
            debug_assert!(gate.buffer.len() < LONGEST + HEADER, "such a packet would be whole");
            if ready!(gate.poll_fill(context))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let count = gate.passed.len().min(out.remaining());
        out.put_slice(&gate.passed.split_to(count));
        Poll::Ready(Ok(()))
    }
}

/// Collects what the library writes, and keeps its login from the client, which has had one.
pub struct WriteGate<W> {
    stream: W,
    buffer: BytesMut,
    is_logged_in: Arc<AtomicBool>,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<W: AsyncWrite + Unpin> WriteGate<W> {
    pub fn into_inner(self) -> W {
        self.stream
    }

    /// Writes until at most `rest` bytes are left.
    fn poll_drain(&mut self, context: &mut Context<'_>, rest: usize) -> Poll<io::Result<()>> {
        while self.buffer.len() > rest {
            match Pin::new(&mut self.stream).poll_write(context, &self.buffer) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.buffer.advance(count);
                    self.stalled = None;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    let stalled = self.stalled.get_or_insert_with(|| {
                        Box::pin(sleep_until(Instant::now() + PROGRESS_TIMEOUT))
                    });
                    ready!(stalled.as_mut().poll(context));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for WriteGate<W> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let count = slices.iter().map(|slice| slice.len()).sum();
        if gate.is_logged_in.load(Ordering::Relaxed) {
            ready!(gate.poll_drain(context, WRITE_AT))?;
            for slice in slices {
                gate.buffer.extend_from_slice(slice);
            }
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        ready!(gate.poll_drain(context, 0))?;
        Pin::new(&mut gate.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        ready!(gate.poll_drain(context, 0))?;
        Pin::new(&mut gate.stream).poll_shutdown(context)
    }
}
