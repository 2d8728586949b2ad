//! Connections that are kept though nothing forces it, because they alone know something that the
//! client may ask for next: warnings and errors of the last statement, and LAST_INSERT_ID().
//!
//! Unlike a pinned connection such a one can be given up: when the session goes elsewhere, or when
//! others wait for a connection. LAST_INSERT_ID() is then asked of it first. (The insert id in an
//! OK packet is not the function's value: an INSERT with an explicit id reports that id, and the
//! function keeps its older value.)

use super::acquire::watched;
use super::relay::Reply;
use super::session::{End, Session};
use crate::backend::connection::Access;
use crate::backend::connection::PrivateError;
use crate::backend::pool::Lease;
use crate::routing::Request;

/// What is known of the session's LAST_INSERT_ID().
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InsertId {
    Known(u64),
    /// The connection that is kept knows it. Should its value turn out to be a stranger's, it is
    /// `before`; `reported` are the ids that OKs on it have given.
    OnConnection {
        before: u64,
        reported: u64,
    },
}

impl InsertId {
    fn known(self) -> u64 {
        match self {
            InsertId::Known(value) => value,
            InsertId::OnConnection { before, .. } => before,
        }
    }
}

impl Session {
    /// True when the reply leaves something on the connection that the client may ask for next.
    ///
    /// The state must have taken over what the reply says of warnings and errors.
    pub(super) fn leaves_something(&mut self, lease: &mut Lease, reply: &Reply) -> bool {
        if let Some(reported) = reply.insert_id {
            let before = self.insert_id.known();
            self.insert_id = InsertId::OnConnection { before, reported };
            if !lease.insert_id_is_of(self.client.handle.id) {
                lease.set_insert_id_owner(None);
            }
        }
        let unread = matches!(self.insert_id, InsertId::OnConnection { .. });
        unread || self.state.has_diagnostics()
    }

    /// True when a connection that is kept without need serves this request too.
    pub(super) fn suits(lease: &Lease, request: Request) -> bool {
        match request {
            Request::Primary => lease.access == Access::ReadWrite,
            Request::Previous(_) => true,
            Request::Read => false,
        }
    }

    /// Gives up a connection that is kept without need, after asking it what only it knows. An
    /// error closes the connection; the insert id is then the last one known.
    pub(super) async fn let_go(&mut self, mut lease: Lease) -> Result<(), End> {
        match self.read_insert_id(&mut lease).await? {
            Ok(()) => {
                let access = lease.access;
                lease.release(self.key(access), self.client.handle.id);
            }
            Err(error) => {
                let backend = &lease.pool().name;
                tracing::debug!(%backend, %error, "the last insert id could not be read");
                self.insert_id = InsertId::Known(self.insert_id.known());
            }
        }
        Ok(())
    }

    async fn read_insert_id(&mut self, lease: &mut Lease) -> Result<Result<(), PrivateError>, End> {
        let InsertId::OnConnection { before, reported } = self.insert_id else {
            return Ok(Ok(()));
        };
        let deadline = self.context.traffic.load().connect_timeout;
        let session = self.client.handle.id;
        let value = match watched(&mut self.client, lease.last_insert_id(deadline)).await? {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        };
        let own = lease.insert_id_is_of(session) || value == reported;
        if own {
            lease.set_insert_id_owner(Some(session));
        }
        self.insert_id = InsertId::Known(if own { value } else { before });
        Ok(Ok(()))
    }

    /// Makes LAST_INSERT_ID() on this connection the session's own.
    pub(super) async fn bring_insert_id(
        &mut self,
        lease: &mut Lease,
    ) -> Result<Result<(), PrivateError>, End> {
        let session = self.client.handle.id;
        if lease.insert_id_is_of(session) {
            return Ok(Ok(()));
        }
        if let Err(error) = self.read_insert_id(lease).await? {
            return Ok(Err(error));
        }
        if !lease.insert_id_is_of(session) {
            let statement = format!("SET @@session.last_insert_id={}", self.insert_id.known());
            let deadline = self.context.traffic.load().connect_timeout;
            let done = watched(&mut self.client, lease.statement(&statement, deadline)).await?;
            if let Err(error) = done {
                return Ok(Err(error));
            }
            lease.set_insert_id_owner(Some(session));
        }
        Ok(Ok(()))
    }

    /// The function may have been given a value: `LAST_INSERT_ID(expr)`.
    pub(super) fn insert_id_may_have_changed(&mut self) {
        let before = self.insert_id.known();
        self.insert_id = InsertId::OnConnection { before, reported: before };
    }
}
