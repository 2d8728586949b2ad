//! Reading the header of the PROXY protocol off a fresh connection.

use std::io;

use tokio::io::AsyncReadExt;

use super::stream::Socket;
use crate::wire::codec::Malformed;
use crate::wire::proxy_header::{Progress, Source, parse};

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// Nothing came: a check whether the port is open.
    #[error("the peer closed the connection before a PROXY header")]
    Silent,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the header that a connection begins with, and not a byte beyond it. Not cancel safe.
pub async fn read(socket: &mut Socket) -> Result<Source, HeaderError> {
    let mut header = Vec::new();
    loop {
        let count = match parse(&header)? {
            Progress::Done(source) => return Ok(source),
            Progress::Need(count) => count,
        };
        let begin = header.len();
        header.resize(begin + count, 0);
        // As it comes: what cannot be a header is noticed at its first bytes.
        let count = socket.read(&mut header[begin..]).await?;
        header.truncate(begin + count);
        match (count, begin) {
            (0, 0) => return Err(HeaderError::Silent),
            (0, _) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn not_a_byte_beyond_the_header() {
        let line: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 3306\r\n";
        for at_once in [true, false] {
            let (mut peer, socket) = UnixStream::pair().unwrap();
            let writes = tokio::spawn(async move {
                let bytes = [line, b"rest"].concat();
                for piece in bytes.chunks(if at_once { bytes.len() } else { 1 }) {
                    peer.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
            let mut socket = Socket::Unix(socket);
            let source = read(&mut socket).await.unwrap();
            assert_eq!(source, Source::Client("203.0.113.7:56324".parse().unwrap()));
            let mut rest = String::new();
            socket.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "rest");
            writes.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_ends_too_early() {
        for (bytes, silent) in [(&b""[..], true), (b"PROXY TCP4", false), (b"\r\n\r\n", false)] {
            let (mut peer, socket) = UnixStream::pair().unwrap();
            peer.write_all(bytes).await.unwrap();
            drop(peer);
            let error = read(&mut Socket::Unix(socket)).await.unwrap_err();
            assert_eq!(matches!(error, HeaderError::Silent), silent, "{error}");
        }
    }
}
