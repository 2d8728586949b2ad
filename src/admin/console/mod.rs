//! The console: statements about the proxy itself, for any MySQL client.
//!
//! `opensrv-mysql` runs the statements' part of the protocol. Its released version reads freed
//! memory when a second packet has arrived behind the one that it is working on, answers commands
//! that it does not know with OK, panics at gaps in the sequence, and knows neither TLS nor the
//! whole of caching_sha2_password. So it never sees a client's bytes: the login is ours, and then
//! the gate hands it one whole packet at a time, checked or written anew.
//!
//! | part | what it does |
//! |---|---|
//! | `entrance` | greeting, login, and the login that the library gets to see |
//! | `login` | who may come in, pure |
//! | `gate` | the stream as the library sees it |
//! | `judge` | whether a command may pass, pure |
//! | `shim` | answers the library's calls |
//! | `statement`, `tokens` | text to statements, pure |
//! | `answer`, `variables`, `switchover` | a statement's table, OK or error |

mod answer;
mod entrance;
mod gate;
mod judge;
mod login;
mod shim;
mod statement;
mod switchover;
mod tokens;
mod variables;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use opensrv_mysql::AsyncMysqlIntermediary;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Admin, next_client};
use crate::net::Listener;
use crate::wire::packet::put_packet;
use crate::wire::reply::{ServerError, put_err};
use entrance::Entered;
use shim::Shim;

/// Clients at once; one more gets error 1040.
const MOST_CLIENTS: usize = 32;
/// From the connection to the end of the login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client that is turned away may take to read why, and how much of what it is still
/// sending is thrown away meanwhile.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: u64 = 1024 * 1024;

/// Serves for ever; dropped, it ends with the clients that it has accepted still being served.
pub async fn serve(listener: Listener, admin: Arc<Admin>) -> Infallible {
    let places = Arc::new(Semaphore::new(MOST_CLIENTS));
    // The console numbers its own clients; their ids say nothing of sessions.
    let next_id = AtomicU32::new(1);
    loop {
        let (stream, peer) = next_client(&listener).await;
        let place = Arc::clone(&places).try_acquire_owned();
        let id = next_id.fetch_add(1, Ordering::Relaxed);
        let admin = Arc::clone(&admin);
        tokio::spawn(async move {
            let Ok(_place) = place else {
                let error = ServerError::new(1040, b"08004", "Too many connections");
                return turn_away(stream, 0, &error).await;
            };
            match timeout(LOGIN_TIMEOUT, entrance::enter(stream, peer, id, &admin)).await {
                Ok(Ok(entered)) => serve_client(entered, admin).await,
                Ok(Err(Some(refused))) => {
                    tracing::info!(?peer, error = %refused.error, "a login at the console failed");
                    turn_away(refused.stream, refused.sequence, &refused.error).await;
                }
                // The client has gone, or has said nothing for too long.
                Ok(Err(None)) | Err(_) => {}
            }
        });
    }
}

async fn serve_client(entered: Entered, admin: Arc<Admin>) {
    let Entered { client, stream, login, buffered } = entered;
    let peer = client.peer;
    let (mut read, mut write) = gate::gates(stream, login, buffered);
    let shim = Shim { admin, client };
    let ended = AsyncMysqlIntermediary::run_on(shim, &mut read, &mut write).await;
    // What the library has to say of an error is not for clients; the gate knows better. After
    // anything else the client is gone.
    if let Some(error) = read.refusal().cloned() {
        tracing::info!(?peer, %error, "a client of the console was disconnected");
        let stream = read.into_inner().unsplit(write.into_inner());
        turn_away(stream, 1, &error).await;
    } else if let Err(error) = ended {
        tracing::debug!(?peer, %error, "a client of the console has gone");
    }
}

/// Sends an error as the last packet. What the client is still sending is read for a moment:
/// closing over unread bytes would take the message from it.
async fn turn_away(stream: impl AsyncRead + AsyncWrite, sequence: u8, error: &ServerError) {
    let (read, mut write) = tokio::io::split(stream);
    let mut payload = BytesMut::new();
    put_err(&mut payload, &error.as_packet());
    let mut packet = BytesMut::new();
    put_packet(&mut packet, sequence, &payload);
    let _ = timeout(FAREWELL, async {
        write.write_all(&packet).await?;
        write.shutdown().await?;
        tokio::io::copy(&mut read.take(FAREWELL_BYTES), &mut tokio::io::sink()).await
    })
    .await;
}
