//! The client's side of a session: waiting for commands, writing replies, noticing that it left.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::time::{Sleep, sleep};

use super::mailbox::Mail;
use super::registry::Handle;
use crate::net::PacketStream;
use crate::wire::Capabilities;
use crate::wire::packet::{HEADER, Header, put_packet};

/// How long a client may take no byte of what is written to it: the servers' default
/// `net_write_timeout`.
const STALLED: Duration = Duration::from_secs(60);

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
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Debug)]
pub struct Client {
    pub packets: PacketStream,
    pub handle: Arc<Handle>,
    /// What was agreed on with the client.
    pub capabilities: Capabilities,
}

impl Client {
    /// Waits until more bytes of the client are buffered. Ends early with mail of the kinds
    /// `wanted`. Cancel safe.
    pub async fn fill(&mut self, wanted: Mail) -> Result<(), ClientError> {
        let wanted = wanted | ENDING;
        poll_fn(|context| {
            // Bytes first: a command that is there already is served before a drain ends it.
            if let Poll::Ready(count) = self.packets.poll_fill(context) {
                return Poll::Ready(match count? {
                    0 => Err(ClientError::Closed),
                    _ => Ok(()),
                });
            }
            let mail = self.handle.mailbox.poll(context, wanted);
            if !mail.is_empty() {
                return Poll::Ready(Err(ClientError::Interrupted(mail)));
            }
            Poll::Pending
        })
        .await
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
    pub fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.packets.buffered().is_empty() {
            return Poll::Pending;
        }
        self.packets.stream().poll_peer_closed(context).map(|_| ())
    }

    /// Writes to the client; waits as long as it takes something at least once a minute. Not
    /// cancel safe.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        write_watched(self.packets.stream_mut(), bytes, &self.handle).await
    }

    /// Writes one packet. Not cancel safe.
    pub async fn write_packet(&mut self, sequence: u8, payload: &[u8]) -> Result<(), ClientError> {
        let mut out = BytesMut::with_capacity(HEADER + payload.len());
        put_packet(&mut out, sequence, payload);
        self.write(&out).await
    }
}

/// Writes `bytes`, watching the session's mailbox. Arms its timer only when the peer stalls.
async fn write_watched<S: AsyncWrite + Unpin>(
    stream: &mut S,
    bytes: &[u8],
    handle: &Handle,
) -> Result<(), ClientError> {
    let mut written = 0;
    let mut stalled: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        loop {
            let step = if written < bytes.len() {
                Pin::new(&mut *stream).poll_write(context, &bytes[written..])
            } else {
                Pin::new(&mut *stream).poll_flush(context).map_ok(|()| 0)
            };
            match step {
                Poll::Ready(Ok(_)) if written == bytes.len() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ClientError::Closed)),
                Poll::Ready(Ok(count)) => {
                    written += count;
                    stalled = None;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => break,
            }
        }
        let mail = handle.mailbox.poll(context, ENDING);
        if !mail.is_empty() {
            return Poll::Ready(Err(ClientError::Interrupted(mail)));
        }
        stalled
            .get_or_insert_with(|| Box::pin(sleep(STALLED)))
            .as_mut()
            .poll(context)
            .map(|()| Err(ClientError::Stalled))
    })
    .await
}
