//! A relay between a driver and a server that notes whether the client asks for TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use rwproxy::wire::handshake::ClientHello;
use rwproxy::wire::packet::{HEADER, Header};

pub struct Tap {
    /// Where the driver connects.
    pub address: SocketAddr,
    greeted: Arc<Mutex<Vec<bool>>>,
    task: AbortHandle,
}

impl Tap {
    /// Listens on a free port of `listen`, and passes on what comes.
    pub async fn new(listen: IpAddr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind((listen, 0)).await.expect("a port to listen on");
        let address = listener.local_addr().expect("an address");
        let greeted = Arc::new(Mutex::new(Vec::new()));
        let notes = greeted.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // An error is the driver's or the server's: they notice it themselves.
                let notes = notes.clone();
                tokio::spawn(async move { relay(client, server, &notes).await.ok() });
            }
        });
        Tap { address, greeted, task: task.abort_handle() }
    }

    /// Of each client that answered the greeting, whether it asked for TLS.
    pub fn greeted(&self) -> Vec<bool> {
        self.greeted.lock().expect("no panic while it is held").clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(
    mut client: TcpStream,
    server: SocketAddr,
    notes: &Mutex<Vec<bool>>,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (mut greeting, mut hello) = ([0; 4096], Vec::new());
    let length = server.read(&mut greeting).await?;
    client.write_all(&greeting[..length]).await?;
    while !is_whole(&hello) {
        if client.read_buf(&mut hello).await? == 0 {
            return Ok(());
        }
    }
    let asks = matches!(ClientHello::parse(first(&hello)), Ok(ClientHello::SslRequest(_)));
    notes.lock().expect("no panic while it is held").push(asks);
    server.write_all(&hello).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

fn is_whole(bytes: &[u8]) -> bool {
    Header::peek(bytes).is_some_and(|header| bytes.len() >= HEADER + header.length)
}

/// The payload of the first packet.
fn first(bytes: &[u8]) -> &[u8] {
    let length = Header::peek(bytes).map_or(0, |header| header.length);
    &bytes[HEADER..HEADER + length]
}
