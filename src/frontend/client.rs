//! The client's side of a session: waiting for commands, writing replies, noticing that it left.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Sleep, sleep, timeout};

use super::mailbox::Mail;
use super::registry::Handle;
use crate::net::PacketStream;
use crate::net::compressed::frame_error;
use crate::session::tracking::TransactionState;
use crate::wire::Capabilities;
use crate::wire::compression::FrameError;
use crate::wire::packet::{HEADER, Header, put_packet};

/// How long a client may keep its session waiting in the middle of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// With the rest of a command, or of a file: `net_read_timeout`.
    pub read: Duration,
    /// Without taking a byte of what is written to it: `net_write_timeout`.
    pub write: Duration,
}

/// The servers' defaults.
impl Default for Patience {
    fn default() -> Self {
        Patience { read: Duration::from_secs(30), write: Duration::from_secs(60) }
    }
}

/// Mail that ends a session wherever it is.
const ENDING: Mail = Mail::KILL_CONNECTION.union(Mail::SHUTDOWN);

/// Why the client's side ended.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the client closed its connection")]
    Closed,
    #[error("the client takes nothing of what is sent to it")]
    Stalled,
    #[error("interrupted")]
    Interrupted(Mail),
    /// Its frames make no sense.
    #[error(transparent)]
    Frames(#[from] FrameError),
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        match frame_error(&error) {
            Some(error) => ClientError::Frames(error),
            None => ClientError::Io(error),
        }
    }
}

/// Of whom something has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Client,
    /// The server has said something, or closed.
    Server,
}

#[derive(Debug)]
pub struct Client {
    pub packets: PacketStream,
    pub handle: Arc<Handle>,
    /// What was agreed on with the client.
    pub capabilities: Capabilities,
    pub patience: Patience,
    /// What it was last told of its transaction.
    pub transaction: TransactionState,
}

impl Client {
    /// Waits until more bytes of the client are buffered. Ends early with mail of the kinds
    /// `wanted`. Cancel safe.
    pub async fn fill(&mut self, wanted: Mail) -> Result<(), ClientError> {
        poll_fn(|context| self.poll_filled(context, wanted)).await
    }

    /// The same, watching a connection to a server that has nothing to say, unless it closes. Cancel
    /// safe.
    pub async fn fill_beside(
        &mut self,
        mut server: Option<&mut PacketStream>,
        wanted: Mail,
    ) -> Result<Heard, ClientError> {
        poll_fn(|context| {
            if let Poll::Ready(filled) = self.poll_filled(context, wanted) {
                return Poll::Ready(filled.map(|()| Heard::Client));
            }
            match &mut server {
                Some(server) => server.poll_fill(context).map(|_| Ok(Heard::Server)),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn poll_filled(
        &mut self,
        context: &mut Context<'_>,
        wanted: Mail,
    ) -> Poll<Result<(), ClientError>> {
        // Bytes first: a command that is there already is served before a drain ends it.
        if let Poll::Ready(count) = self.packets.poll_fill(context) {
            return Poll::Ready(match count? {
                0 => Err(ClientError::Closed),
                _ => Ok(()),
            });
        }
        let mail = self.handle.mailbox.poll(context, wanted | ENDING);
        if !mail.is_empty() {
            return Poll::Ready(Err(ClientError::Interrupted(mail)));
        }
        Poll::Pending
    }

    /// [`fill`](Self::fill) for the rest of a command, which a client may not keep back for long.
    pub async fn fill_in_time(&mut self, wanted: Mail) -> Result<(), ClientError> {
        timeout(self.patience.read, self.fill(wanted)).await.unwrap_or(Err(ClientError::Stalled))
    }

    /// The header of the next packet and the part of its payload that has arrived, once there are
    /// `enough` payload bytes or all of them.
    pub fn peek(&self, enough: usize) -> Option<(Header, &[u8])> {
        let bytes = self.packets.buffered();
        let header = Header::peek(bytes)?;
        let payload = &bytes[HEADER..];
        let payload = &payload[..payload.len().min(header.length)];
        (payload.len() >= header.length.min(enough)).then_some((header, payload))
    }

    /// Ready when the client has closed its side while nothing of it is waiting to be read.
    pub fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.packets.buffered().is_empty() {
            return Poll::Pending;
        }
        if let Some(closed) = self.packets.stream_mut().poll_peer_closed(context) {
            return closed;
        }
        // Only reading tells; what comes is the next command, and then there is no more reading.
        match self.packets.poll_fill(context) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// Writes to the client; waits as long as it takes something in time. Not cancel safe.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let Client { packets, handle, patience, .. } = self;
        let mut written = 0;
        // Armed only when the peer stalls; in place, since a slow reader makes it stall often.
        let mut stalled: Pin<&mut Option<Sleep>> = pin!(None);
        poll_fn(|context| {
            let before = written;
            if let Poll::Ready(done) = packets.poll_write(context, bytes, &mut written) {
                return Poll::Ready(done.map_err(|error| match error.kind() {
                    io::ErrorKind::WriteZero => ClientError::Closed,
                    _ => error.into(),
                }));
            }
            let mail = handle.mailbox.poll(context, ENDING);
            if !mail.is_empty() {
                return Poll::Ready(Err(ClientError::Interrupted(mail)));
            }
            if written > before || stalled.is_none() {
                stalled.set(Some(sleep(patience.write)));
            }
            match stalled.as_mut().as_pin_mut() {
                Some(timer) => timer.poll(context).map(|()| Err(ClientError::Stalled)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Writes one packet. Not cancel safe.
    pub async fn write_packet(&mut self, sequence: u8, payload: &[u8]) -> Result<(), ClientError> {
        let mut out = BytesMut::with_capacity(HEADER + payload.len());
        put_packet(&mut out, sequence, payload);
        self.write(&out).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::registry::Registry;
    use crate::net::Stream;
    use crate::net::stream::Socket;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_client_is_waited_for_as_its_session_wants() {
        let registration = Arc::new(Registry::new()).register(None);
        let (near, _far) = tokio::net::UnixStream::pair().unwrap();
        let mut client = Client {
            packets: PacketStream::new(Stream::Plain(Socket::Unix(near))),
            handle: registration.handle.clone(),
            capabilities: Capabilities::empty(),
            patience: Patience::default(),
            transaction: TransactionState::default(),
        };
        for (read, write) in [(30, 60), (3600, 600), (1, 2)] {
            client.patience =
                Patience { read: Duration::from_secs(read), write: Duration::from_secs(write) };
            let started = Instant::now();
            let stalled = client.write(&vec![0; 4 << 20]).await;
            assert!(matches!(stalled, Err(ClientError::Stalled)), "{stalled:?}");
            assert_eq!(started.elapsed().as_secs(), write);
            let started = Instant::now();
            let unfinished = client.fill_in_time(Mail::empty()).await;
            assert!(matches!(unfinished, Err(ClientError::Stalled)), "{unfinished:?}");
            assert_eq!(started.elapsed().as_secs(), read);
        }
    }
}
