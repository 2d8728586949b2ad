//! How many clients there may be: in all, of one address, of one user.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts what is alive by key, and refuses more than a limit.
#[derive(Debug)]
struct Counted<K> {
    counts: Mutex<HashMap<K, u32>>,
}

/// One of those counted; its place is free again when this is dropped.
#[derive(Debug)]
pub struct Place<K: Eq + Hash> {
    counted: Arc<Counted<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Counted<K> {
    fn new() -> Arc<Self> {
        Arc::new(Counted { counts: Mutex::default() })
    }

    /// `None` when `limit` are alive already.
    fn enter(self: &Arc<Self>, key: K, limit: Option<u32>) -> Option<Place<K>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.clone()).or_default();
        if limit.is_some_and(|limit| *count >= limit) {
            return None;
        }
        *count += 1;
        Some(Place { counted: self.clone(), key })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut counts = self.counted.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// The counts of a proxy.
#[derive(Debug)]
pub struct Limits {
    total: Arc<Counted<()>>,
    addresses: Arc<Counted<IpAddr>>,
    users: Arc<Counted<Arc<[u8]>>>,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Total,
    Address,
}

impl Limits {
    pub fn new() -> Self {
        Limits { total: Counted::new(), addresses: Counted::new(), users: Counted::new() }
    }

    /// Counts a client that has just connected.
    pub fn admit(&self, limit: u32) -> Result<Place<()>, Full> {
        self.total.enter((), Some(limit)).ok_or(Full::Total)
    }

    /// Counts a client of an address; there is none on a Unix socket.
    pub fn admit_address(
        &self,
        peer: Option<IpAddr>,
        limit: Option<u32>,
    ) -> Result<Option<Place<IpAddr>>, Full> {
        peer.map(|peer| self.addresses.enter(peer, limit).ok_or(Full::Address)).transpose()
    }

    /// Counts a session of a user; `None` when it has as many as it may.
    pub fn admit_user(&self, user: Arc<[u8]>, limit: Option<u32>) -> Option<Place<Arc<[u8]>>> {
        self.users.enter(user, limit)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_free_again_when_dropped() {
        let limits = Limits::new();
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        let first = (limits.admit(2).unwrap(), limits.admit_address(here, Some(1)).unwrap());
        assert_eq!(limits.admit_address(here, Some(1)).unwrap_err(), Full::Address);
        let second = (limits.admit(2).unwrap(), limits.admit_address(None, Some(1)).unwrap());
        assert_eq!(limits.admit(2).unwrap_err(), Full::Total);
        drop((first, second));
        assert!(limits.admit(2).is_ok() && limits.admit_address(here, Some(1)).is_ok());
        let user: Arc<[u8]> = (*b"app").into();
        let place = limits.admit_user(user.clone(), Some(1));
        assert!(place.is_some() && limits.admit_user(user.clone(), Some(1)).is_none());
        drop(place);
        assert!(limits.admit_user(user, Some(1)).is_some());
    }
}
