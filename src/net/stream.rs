//! A connection's byte stream: TCP or Unix socket, in the clear or under TLS, perhaps compressed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use super::compressed::Compressed;

/// The socket below any encryption.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What packets are read from and written to.
#[derive(Debug)]
pub enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
    /// Over one of the others.
    Compressed(Box<Compressed>),
}

/// How long the peer's system may leave what was sent without a word, or without room for it, before
/// the connection counts as broken. `None`: a quarter of an hour or so by default (`tcp_retries2`), and
/// without room for ever. Elsewhere than on Linux that is so in any case.
pub fn limit_silence(stream: &TcpStream, limit: Option<Duration>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_user_timeout(limit)?;
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, limit);
    Ok(())
}

impl Stream {
    pub fn is_tls(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(_) => true,
            Stream::Compressed(compressed) => compressed.below().is_tls(),
        }
    }

    fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.get_ref().0,
            Stream::Compressed(compressed) => compressed.below().socket(),
        }
    }

    /// Has what the peer has not yet got never sent, when this is dropped: the peer may not get it
    /// minutes later, from the system, when a broken network is whole again. It may not hear of the
    /// end either.
    pub fn forget_unsent(&self) {
        if let Socket::Tcp(stream) = self.socket() {
            // It fails only for a socket that is closed already.
            let _ = stream.set_zero_linger();
        }
    }

    /// As the function of this name, for the socket below.
    pub fn limit_silence(&self, limit: Option<Duration>) {
        if let Socket::Tcp(stream) = self.socket() {
            // It fails only for a socket that is closed already.
            let _ = limit_silence(stream, limit);
        }
    }

    /// Begins a command: frames are numbered anew.
    pub fn begin_command(&mut self) {
        if let Stream::Compressed(compressed) = self {
            compressed.begin_command();
        }
    }

    /// The reply is a stream of the binary log: frames are numbered as there.
    pub fn begin_stream(&mut self) {
        if let Stream::Compressed(compressed) = self {
            compressed.begin_stream();
        }
    }

    /// Gives back what is not needed while nothing is read or written.
    pub fn give_back(&mut self) {
        if let Stream::Compressed(compressed) = self {
            compressed.give_back();
        }
    }

    /// Ready once the peer has closed its side, or broken off; pending while bytes are waiting or
    /// none have come. Reads nothing. Registers the task for read readiness. `None` where only
    /// reading can tell: TLS says goodbye in bytes of its own, and a Unix socket cannot be peeked
    /// at by tokio.
    pub fn poll_peer_closed(&mut self, context: &mut Context<'_>) -> Option<Poll<()>> {
        let stream = match self {
            Stream::Plain(Socket::Tcp(stream)) => stream,
            Stream::Compressed(compressed) => return Some(compressed.poll_peer_closed(context)),
            Stream::Plain(Socket::Unix(_)) | Stream::Tls(_) => return None,
        };
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        Some(match stream.poll_peek(context, &mut buffer) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            // Pipelined bytes are waiting: a close behind them is noticed when they are read.
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        })
    }

    /// Reads without waiting, straight from the socket's readiness. `WouldBlock` when nothing is
    /// there, without a system call where readiness is known to be clear.
    pub fn try_read_socket(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if matches!(self, Stream::Compressed(compressed) if !compressed.is_drained()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is left over"));
        }
        match self.socket() {
            Socket::Tcp(stream) => stream.try_read(buffer),
            Socket::Unix(stream) => stream.try_read(buffer),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Socket::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Stream::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
            Stream::Compressed(compressed) => compressed.poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
            Stream::Compressed(compressed) => compressed.poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(context),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(context),
            Stream::Compressed(compressed) => compressed.poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(context),
            Stream::Compressed(compressed) => compressed.poll_shutdown(context),
        }
    }
}
