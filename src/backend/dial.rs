//! Opening a TCP connection to a server.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::net::stream::limit_silence;
use crate::routing::topology::Address;

/// Of a name with more addresses than this only the first are tried.
const MOST_ADDRESSES: usize = 8;

/// How long the server's system may leave what was sent without a word. It says that it has it though
/// the server itself be busy, or stopped.
pub const SILENCE: Duration = Duration::from_secs(30);

/// Finds connections whose other end vanished without a word (a host that lost power, a firewall
/// that forgot) within two minutes, also when nothing is sent.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(10))
    .with_retries(6);

/// Why no connection could be opened.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("the name {host} cannot be resolved: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("{address}: {source}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("no answer from {0} in time")]
    TimedOut(String),
}

/// Connects to a server by `deadline`. A name is resolved anew at each call, and its addresses are
/// tried in turn, each for its share of the time that is left. Cancel safe.
pub async fn dial(address: &Address, deadline: Instant) -> Result<TcpStream, DialError> {
    let candidates = resolve(address, deadline).await?;
    let mut failure = DialError::TimedOut(describe(address));
    for (index, &candidate) in candidates.iter().enumerate() {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let share = left / (candidates.len() - index) as u32;
        match timeout_at(now + share, TcpStream::connect(candidate)).await {
            Ok(Ok(stream)) => match prepare(&stream) {
                Ok(()) => return Ok(stream),
                Err(source) => failure = DialError::Connect { address: candidate, source },
            },
            Ok(Err(source)) => failure = DialError::Connect { address: candidate, source },
            Err(_) => failure = DialError::TimedOut(candidate.to_string()),
        }
    }
    Err(failure)
}

async fn resolve(address: &Address, deadline: Instant) -> Result<Vec<SocketAddr>, DialError> {
    let (host, port) = match address {
        Address::Ip(address) => return Ok(vec![*address]),
        Address::Name { host, port } => (host, *port),
    };
    let failed = |source| DialError::Resolve { host: host.to_string(), source };
    let found = timeout_at(deadline, lookup_host((&**host, port)))
        .await
        .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
        .map_err(failed)?;
    let found: Vec<_> = found.take(MOST_ADDRESSES).collect();
    if found.is_empty() {
        return Err(failed(io::Error::other("it has no address")));
    }
    Ok(found)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    limit_silence(stream, Some(SILENCE))?;
    SockRef::from(stream).set_tcp_keepalive(&KEEPALIVE)
}

/// The address in words.
pub fn describe(address: &Address) -> String {
    match address {
        Address::Ip(address) => address.to_string(),
        Address::Name { host, port } => format!("{host}:{port}"),
    }
}
