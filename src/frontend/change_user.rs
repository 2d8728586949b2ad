//! COM_CHANGE_USER: the session begins anew, perhaps as somebody else.

use std::time::Duration;

use bytes::Buf;
use tokio::time::sleep;

use super::client::ClientError;
use super::errors;
use super::login::{ChangingSession, LoginFailure, change_user};
use super::session::{End, Incoming, Session};
use super::watched::watched;
use crate::wire::Flavour;
use crate::wire::capabilities::Status;
use crate::wire::handshake::ChangeUser;
use crate::wire::packet::HEADER;
use crate::wire::reply::ServerError;

/// How often MariaDB lets a session try another user in vain. Successes in between do not count.
const MOST_REFUSALS: u32 = 3;
/// How long MariaDB waits before it says that it has refused.
const REFUSAL_PAUSE: Duration = Duration::from_secs(1);

impl Session {
    /// Serves the command as a login is served. What the session held ends first, as on a server:
    /// its transaction is rolled back, its locks are released. A refusal ends the session with
    /// MySQL; with MariaDB the session goes on as the user that it was.
    pub(super) async fn change_user(&mut self, incoming: Incoming) -> Result<(), End> {
        if !incoming.whole {
            return Err(End::Protocol("a COM_CHANGE_USER of absurd length"));
        }
        let mut packet = self.client.packets.take(HEADER + incoming.header.length);
        packet.advance(HEADER);
        let command = ChangeUser::parse(&packet, self.client.capabilities)
            .map_err(|_| End::Protocol("a COM_CHANGE_USER that is cut off"))?;
        if let Some(lease) = self.lease.take() {
            lease.close();
        }
        if self.refused_changes >= MOST_REFUSALS {
            return self.change_was_refused(1, &errors::unknown_command()).await;
        }
        let mut session = ChangingSession {
            capabilities: self.client.capabilities,
            max_packet: self.max_packet,
            nonce: self.nonce,
            peer: self.client.handle.peer,
            sequence: 1,
            outlives_refusal: self.dialect.flavour == Flavour::MariaDb,
        };
        let context = self.context.clone();
        let stream = &mut self.client.packets;
        match change_user(stream, &mut session, &command, &context.login).await {
            Ok(identity) => {
                self.begin_as(identity);
                Ok(())
            }
            Err(failure) => {
                let outlived = session.outlives_refusal && failure.is_refusal();
                match failure.reply().filter(|_| outlived) {
                    Some(error) => self.change_was_refused(session.sequence, &error).await,
                    None => Err(ended(failure)),
                }
            }
        }
    }

    /// Goes on as the same user, with nothing left of the session but its default database. As
    /// tried with MariaDB 10.11.
    async fn change_was_refused(&mut self, sequence: u8, error: &ServerError) -> Result<(), End> {
        self.refused_changes = self.refused_changes.saturating_add(1);
        watched(&mut self.client, sleep(REFUSAL_PAUSE)).await?;
        self.begin_revision(self.context.login.accounts.revisions.current());
        self.state.change_was_refused(self.default_status());
        self.forget_connections();
        self.publish_state();
        self.answer_error(sequence, error).await
    }

    /// The status flags of a new session.
    fn default_status(&self) -> Status {
        let greeting = self.context.login.greeting.load();
        let autocommit =
            greeting.as_ref().is_none_or(|greeting| greeting.status.contains(Status::AUTOCOMMIT));
        let mut status = Status::empty();
        status.set(Status::AUTOCOMMIT, autocommit);
        let dialect = self.context.dialect.load();
        status.set(Status::NO_BACKSLASH_ESCAPES, dialect.no_backslash_escapes);
        status.set(Status::ANSI_QUOTES, dialect.ansi_quotes);
        status
    }
}

/// The client has been told.
fn ended(failure: LoginFailure) -> End {
    match failure {
        LoginFailure::Io(error) => End::Client(ClientError::Io(error)),
        failure => End::Refused(failure),
    }
}
