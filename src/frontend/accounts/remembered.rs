//! An account that the primary has let in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Account;
use crate::session::accounts::Fingerprint;
use crate::wire::capabilities::Status;

/// Most databases that are remembered of one account.
const MOST_DATABASES: usize = 16;
/// How long a database that the primary accepted for an account counts as accepted. When it is
/// dropped meanwhile, the session's first statement says so instead of its login.
pub(super) const DATABASE_LIFE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Remembered {
    pub account: Arc<Account>,
    /// Of the account's rows when the primary last let it in.
    pub fingerprint: Fingerprint,
    /// Its secret may be taken as proof; false once anything that logs in has changed.
    pub trusted: bool,
    pub status: Status,
    /// That with which the login began that the primary has last let in.
    pub revision: u64,
    pub databases: Vec<(Vec<u8>, Instant)>,
}

impl Remembered {
    pub fn accept(&mut self, database: &[u8], now: Instant) {
        self.databases.retain(|(name, _)| name != database);
        if self.databases.len() == MOST_DATABASES {
            self.databases.remove(0);
        }
        self.databases.push((database.to_vec(), now));
    }

    /// Whether the primary has lately accepted this database.
    pub fn accepts(&self, database: &[u8], now: Instant) -> bool {
        self.databases.iter().any(|(name, since)| {
            name == database && now.saturating_duration_since(*since) < DATABASE_LIFE
        })
    }
}
