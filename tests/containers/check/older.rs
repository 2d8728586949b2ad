//! A server as it was before it told what a session has set: what lies between it and who asks takes those variables
//! out of its lists. No image has one that is so old.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::alone::{is_found, listed, tells};
use super::doctor::{Doctor, address};
use crate::support::{Cluster, Flavour};

/// Of one length.
const HIDDEN: (&[u8], &[u8]) = (b"session_track_", b"unheard_of_yet");

pub async fn without_trackers(cluster: &Cluster) {
    let server = address(&cluster.server("replica1").container);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let between = listener.local_addr().expect("an address").to_string();
    let to: SocketAddr = format!("{server}:3306").parse().expect("an address");
    let relay = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, to));
        }
    });

    let doctor = Doctor::new(&listed(&[("older", &between, "")]));
    let old = is_found(&doctor, "session-trackers", Some("older"), "error").await;
    tells(&old, "it has no session_track_schema, session_track_system_variables");
    let evidence = old["evidence"].as_str().expect("a text");
    let is_mysql = cluster.flavour == Flavour::MySql;
    assert_eq!(evidence.ends_with(", session_track_gtids"), is_mysql, "{evidence}");
    // Another server in its place, as is advised.
    doctor.configure(&listed(&[("older", &server, "")]));
    doctor.is_mended("session-trackers", Some("older")).await;
    doctor.is_mended("server-unreachable", Some("older")).await;
    relay.abort();
}

async fn pass(client: TcpStream, to: SocketAddr) {
    let server = TcpStream::connect(to).await.expect("the server");
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let _ = hide(from_server, to_client).await;
}

/// A row is a packet of its own: a length of three bytes, a number, and the content.
async fn hide(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
    let (name, instead) = HIDDEN;
    loop {
        let mut packet = vec![0; 4];
        from.read_exact(&mut packet).await?;
        let length = usize::from(packet[0]) | usize::from(packet[1]) << 8;
        packet.resize(4 + (length | usize::from(packet[2]) << 16), 0);
        from.read_exact(&mut packet[4..]).await?;
        while let Some(at) = packet.windows(name.len()).position(|part| part == name) {
            packet[at..at + name.len()].copy_from_slice(instead);
        }
        to.write_all(&packet).await?;
    }
}
