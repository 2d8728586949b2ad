//! Listening sockets.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::stream::Socket;
use crate::config::ListenAddress;

/// How many connections the kernel completes before they are accepted.
const BACKLOG: i32 = 4096;

/// One bound address.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    /// The path is removed when the listener goes.
    Unix {
        listener: UnixListener,
        path: PathBuf,
    },
}

/// Why an address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub struct BindError {
    address: String,
    cause: io::Error,
}

impl Listener {
    /// Binds an address. `[::]` takes IPv4 connections too. A socket file that nobody listens on
    /// any more is replaced. Must be called within a runtime.
    pub fn bind(address: &ListenAddress) -> Result<Self, BindError> {
        let failed = |address: String| move |cause| BindError { address, cause };
        match address {
            ListenAddress::Tcp(address) => {
                bind_tcp(*address).map(Listener::Tcp).map_err(failed(address.to_string()))
            }
            ListenAddress::Unix(path) => bind_unix(path)
                .map(|listener| Listener::Unix { listener, path: path.clone() })
                .map_err(failed(path.display().to_string())),
        }
    }

    /// The bound address; `None` for a Unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix { .. } => None,
        }
    }

    /// The next connection, and its peer's address if it has one. Cancel safe.
    pub async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Linux hands the listener's on.
                #[cfg(not(target_os = "linux"))]
                stream.set_nodelay(true)?;
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                Ok((Socket::Tcp(stream), Some(peer)))
            }
            Listener::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), None))
            }
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = RawSocket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    // A small reply must not wait for the acknowledgement of the one before.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            // Somebody listens, or a process died without removing its file.
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix { path, .. } = self {
            // Somebody else may have removed it already.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_families_on_the_unspecified_address() {
        let any = SocketAddr::from(([0u16; 8], 0));
        let listener = Listener::bind(&ListenAddress::Tcp(any)).unwrap();
        let port = listener.local_address().unwrap().port();
        let client = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().ok());
    }

    #[tokio::test]
    async fn a_socket_file_left_behind_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rwproxy.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let address = ListenAddress::Unix(path.clone());
        let listener = Listener::bind(&address).unwrap();
        let error = Listener::bind(&address).unwrap_err().to_string();
        assert!(error.starts_with("cannot listen on "), "{error}");
        drop(listener);
        assert!(!path.exists());
    }
}
