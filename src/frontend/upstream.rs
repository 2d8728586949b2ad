//! What passes from the client to the server: a command, a file, and mail that comes meanwhile.

use std::future::poll_fn;
use std::task::Poll;

use bytes::BytesMut;

use super::client::{Client, ClientError};
use super::mailbox::Mail;
use super::relay::{OnMail, RelayError, WHILE_RUNNING};
use crate::backend::connection::Connection;
use crate::wire::run::{PacketRun, RunEnd};
use crate::wire::splice::{Renumbering, Splice, Spliced};

/// Deals with mail while a command is under way.
pub(super) fn receive(
    client: &Client,
    on_mail: &mut OnMail<'_>,
    mail: Mail,
    forwarded: bool,
) -> Result<(), RelayError> {
    if mail.intersects(Mail::KILL_CONNECTION | Mail::SHUTDOWN | Mail::DRAIN) {
        return Err(ClientError::Interrupted(mail).into());
    }
    client.handle.mailbox.take(mail);
    if on_mail(mail) {
        return Err(RelayError::BackendDown { forwarded });
    }
    Ok(())
}

/// Writes to the server, watching the mailbox: one that is paused takes nothing for ever.
pub async fn send(
    client: &Client,
    server: &mut Connection,
    bytes: &[u8],
    on_mail: &mut OnMail<'_>,
) -> Result<(), RelayError> {
    let mut written = 0;
    loop {
        let mail = poll_fn(|context| {
            if let Poll::Ready(done) = server.packets.poll_write(context, bytes, &mut written) {
                return Poll::Ready(done.map(|()| Mail::empty()));
            }
            let mail = client.handle.mailbox.poll(context, WHILE_RUNNING);
            if mail.is_empty() { Poll::Pending } else { Poll::Ready(Ok(mail)) }
        })
        .await
        .map_err(|error| RelayError::Server { cause: error.into(), forwarded: false })?;
        if mail.is_empty() {
            return Ok(());
        }
        receive(client, on_mail, mail, false)?;
    }
}

/// Copies a run of the client's packets to the server as they arrive, buffering no more than a
/// read at a time.
pub async fn copy_run(
    client: &mut Client,
    server: &mut Connection,
    end: RunEnd,
    on_mail: &mut OnMail<'_>,
) -> Result<(), RelayError> {
    let mut run = PacketRun::new(end);
    loop {
        let count = run.advance(client.packets.buffered());
        if count > 0 {
            let bytes = &client.packets.buffered()[..count];
            send(client, server, bytes, on_mail).await?;
            client.packets.consume(count);
        }
        if run.is_done() {
            return Ok(());
        }
        more(client, on_mail).await?;
    }
}

/// The same for a command into which something is put. How its reply is to be numbered, if in
/// another way than it comes.
pub async fn copy_spliced(
    client: &mut Client,
    server: &mut Connection,
    splice: &Splice,
    on_mail: &mut OnMail<'_>,
) -> Result<Option<Renumbering>, RelayError> {
    let mut run = Spliced::new(splice);
    let mut out = BytesMut::new();
    loop {
        let count = run.advance(client.packets.buffered(), &mut out);
        client.packets.consume(count);
        send(client, server, &out, on_mail).await?;
        out.clear();
        if run.is_done() {
            return Ok(run.adds_packet().then(Renumbering::default));
        }
        more(client, on_mail).await?;
    }
}

/// Waits for more of the client's command.
async fn more(client: &mut Client, on_mail: &mut OnMail<'_>) -> Result<(), RelayError> {
    match client.fill_in_time(Mail::BACKEND).await {
        Err(ClientError::Interrupted(mail)) => receive(client, on_mail, mail, false),
        filled => Ok(filled?),
    }
}
