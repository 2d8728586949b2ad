//! The connections that a session has for itself (`pool.mode = "session"`): to each server the one
//! that it has last used there. They are opened when they are first needed, and end with the
//! session; nobody else is given them. Each counts among its pool's connections all the while.

use crate::backend::pool::{Lease, Place, PoolKey};
use crate::routing::BackendId;

/// Those that the session does not need at the moment.
#[derive(Debug, Default)]
pub(super) struct Parked {
    leases: Vec<(PoolKey, Lease)>,
}

/// What the session has at a server.
pub(super) enum Own {
    /// A connection of the identity asked for.
    Connection(Lease),
    /// None that is of use any more: the right to another one.
    Place(Place),
    /// It has not been there.
    Nothing,
}

impl Parked {
    /// Keeps a connection. The caller vouches that its last reply was seen whole and that no pin
    /// stands (I1).
    pub fn put(&mut self, key: PoolKey, mut lease: Lease) {
        lease.park(true);
        self.leases.push((key, lease));
    }

    /// The connection to a server, if it is of this identity and its server has not closed it.
    pub fn take(&mut self, backend: BackendId, key: &PoolKey) -> Own {
        let Some(index) = self.leases.iter().position(|(_, lease)| lease.backend() == backend)
        else {
            return Own::Nothing;
        };
        let (identity, mut lease) = self.leases.swap_remove(index);
        if identity != *key || !lease.is_quiet() {
            return Own::Place(lease.vacate());
        }
        lease.park(false);
        Own::Connection(lease)
    }

    /// Closes those that are of no use any more, and has the others give back what they do not need
    /// while nothing happens.
    pub fn tidy(&mut self, mut is_of_use: impl FnMut(&Lease) -> bool) {
        let gone = self.leases.extract_if(.., |(_, lease)| !lease.is_quiet() || !is_of_use(lease));
        gone.for_each(|(_, lease)| lease.close());
        for (_, lease) in &mut self.leases {
            lease.packets.give_back();
        }
    }

    /// Closes all of them.
    pub fn close(&mut self) {
        self.leases.drain(..).for_each(|(_, lease)| lease.close());
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.close();
    }
}
