//! COM_CHANGE_USER: the session begins anew, perhaps as somebody else.

use bytes::Buf;

use super::client::ClientError;
use super::login::{ChangingSession, LoginFailure, change_user};
use super::session::{End, Incoming, Session};
use crate::wire::handshake::ChangeUser;
use crate::wire::packet::HEADER;

impl Session {
    /// Serves the command as a login is served. What the session held ends first, as on a server:
    /// its transaction is rolled back, its locks are released.
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
        let session = ChangingSession {
            capabilities: self.client.capabilities,
            max_packet: self.max_packet,
            nonce: self.nonce,
            peer: self.client.handle.peer,
            sequence: 1,
        };
        let context = self.context.clone();
        let identity = change_user(&mut self.client.packets, session, &command, &context.login)
            .await
            .map_err(ended)?;
        self.begin_as(identity);
        Ok(())
    }
}

/// The client has been told; as with MySQL its connection is closed.
fn ended(failure: LoginFailure) -> End {
    match failure {
        LoginFailure::Io(error) => End::Client(ClientError::Io(error)),
        failure => End::Refused(failure),
    }
}
