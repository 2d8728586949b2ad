//! The proxy's own addresses, as a client finds them. Nobody is logged in.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::readiness::{self, Unhealthy, reachable};
use crate::config::{Config, Http, ListenAddress};

/// For connecting and the first bytes.
const PATIENCE: Duration = Duration::from_secs(3);
/// Protocol version 10, or a packet that says why there is no greeting.
const GREETING: [u8; 2] = [0x0a, 0xff];

/// Where the proxy is to be found.
#[derive(Debug, Clone)]
pub struct Faces {
    listen: Vec<ListenAddress>,
    admin: Vec<ListenAddress>,
    http: Http,
    /// It greets only who sends a PROXY header first.
    expects_header: bool,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Face {
    /// The key of `proxy.toml`.
    pub key: &'static str,
    pub address: String,
    pub contact: Contact,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    Answers,
    /// Nothing listens.
    Nobody(String),
    /// Something is there, and says nothing: the proxy, too, has clients wait until it has servers.
    Silent,
    /// Something is there, and does not answer as the proxy does.
    Odd(String),
    /// The proxy is there, and says that it is not ready.
    NotReady(String),
}

impl Faces {
    pub fn of(config: &Config) -> Self {
        Faces {
            listen: config.listen.address.clone(),
            admin: config.admin.address.clone(),
            http: config.http.clone(),
            expects_header: !config.listen.proxy_protocol_from.is_empty(),
        }
    }

    pub async fn look(&self) -> Vec<Face> {
        let mut faces = Vec::new();
        let listen = self.listen.first().filter(|_| !self.expects_header);
        for (key, address) in [("listen.address", listen), ("admin.address", self.admin.first())] {
            let Some(address) = address else { continue };
            let contact = greets(address).await;
            faces.push(Face { key, address: address.to_string(), contact });
        }
        if let Some(address) = self.http.address.first() {
            let http = self.http.clone();
            let asked = tokio::task::spawn_blocking(move || readiness::ask(&http)).await;
            let contact = match asked {
                Ok(Ok(_)) => Contact::Answers,
                Ok(Err(Unhealthy::NotReady(said))) => Contact::NotReady(said),
                Ok(Err(problem)) => Contact::Nobody(problem.to_string()),
                Err(problem) => Contact::Odd(problem.to_string()),
            };
            faces.push(Face { key: "http.address", address: address.to_string(), contact });
        }
        faces
    }
}

async fn greets(address: &ListenAddress) -> Contact {
    let connected = timeout(PATIENCE, async {
        Ok::<Box<dyn AsyncRead + Unpin + Send>, std::io::Error>(match address {
            ListenAddress::Tcp(address) => Box::new(TcpStream::connect(reachable(*address)).await?),
            ListenAddress::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    })
    .await;
    let mut stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Contact::Nobody(error.to_string()),
        Err(_) => return Contact::Nobody("no answer in time".to_owned()),
    };
    // Length (3 bytes), sequence number, and the first byte of what is in the packet.
    let mut first = [0; 5];
    match timeout(PATIENCE, stream.read_exact(&mut first)).await {
        Ok(Ok(_)) if first[3] == 0 && GREETING.contains(&first[4]) => Contact::Answers,
        Ok(Ok(_)) => Contact::Odd("what answers speaks another protocol".to_owned()),
        Ok(Err(error)) => Contact::Odd(format!("the connection is closed: {error}")),
        Err(_) => Contact::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn contact(said: &'static [u8]) -> Contact {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = ListenAddress::Tcp(listener.local_addr().expect("an address"));
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            stream.write_all(said).await.expect("written");
        });
        let contact = greets(&address).await;
        served.await.expect("it ends");
        contact
    }

    #[tokio::test]
    async fn what_answers_is_told_apart() {
        assert_eq!(contact(b"\x4a\0\0\0\x0a9.7.0").await, Contact::Answers);
        assert_eq!(contact(b"\x17\0\0\0\xff\x10\x04").await, Contact::Answers);
        assert!(matches!(contact(b"SSH-2.0-x").await, Contact::Odd(_)));
        assert!(matches!(contact(b"").await, Contact::Odd(_)));
        let nobody = ListenAddress::Unix("/nowhere.sock".into());
        assert!(matches!(greets(&nobody).await, Contact::Nobody(_)));
    }
}
