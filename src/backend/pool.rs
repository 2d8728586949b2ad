//! The connections of one backend: how many there may be, who has one, which are idle.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use super::connection::{Access, Connection};
use super::idle::{Idle, IdleSet};
use super::statements::StatementRoom;
use crate::metrics::BackendMetrics;
use crate::routing::BackendId;
use crate::session::SessionId;
use crate::wire::Capabilities;

/// What a connection that was idle for this long needs to be used again, it makes anew.
const QUIET: Duration = Duration::from_secs(2);

/// Everything about a connection that changes bytes or meaning and cannot be restored (I2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolKey {
    pub user: Arc<[u8]>,
    /// The credential that logged in; a new one when the account changes.
    pub generation: u64,
    /// What the client has agreed on, less what concerns its own stream alone.
    pub capabilities: Capabilities,
    pub access: Access,
    /// Of the accounts and global variables that its session found when it began: a connection
    /// keeps what a server had when it was opened.
    pub revision: u64,
    /// A connection cannot lose its default database again.
    pub has_database: bool,
    /// Nor can it go back from a SET ROLE to what the login gave.
    pub role: Option<Arc<str>>,
}

/// A pool of connections to one incarnation of a server.
#[derive(Debug)]
pub struct Pool {
    pub backend: BackendId,
    pub name: Arc<str>,
    limit: usize,
    permits: Arc<Semaphore>,
    /// For connections that pinned sessions keep, beyond the limit.
    pinned: Arc<Semaphore>,
    idle: Mutex<IdleSet<PoolKey, Box<Connection>>>,
    retired: AtomicBool,
    clock: Instant,
    in_flight: AtomicU32,
    /// How many wait for a connection, or are about to.
    waiting: AtomicUsize,
    pub counters: PoolCounters,
    /// Statements that ran on its connections.
    pub statements: Arc<BackendMetrics>,
    /// For what stays prepared on its connections.
    pub statement_room: Arc<StatementRoom>,
}

/// What a pool has done, for metrics and `SHOW POOLS`.
#[derive(Debug, Default)]
pub struct PoolCounters {
    /// Connections opened or tried, those that came from a login included.
    pub dials: AtomicU64,
    pub dial_errors: AtomicU64,
    /// Leases that found the session's own last connection.
    pub affine: AtomicU64,
    /// Leases that took another idle connection.
    pub reused: AtomicU64,
    /// Leases that had to wait for a permit.
    pub waits: AtomicU64,
    pub timeouts: AtomicU64,
    leased: AtomicUsize,
    pinned: AtomicUsize,
    /// Leased ones that their session does not need now.
    parked: AtomicUsize,
}

/// A pool as it was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolView {
    pub limit: usize,
    /// In use, pinned ones included.
    pub leased: usize,
    /// Kept by pinned sessions, beyond the limit.
    pub pinned: usize,
    /// Those that a session keeps for itself among them.
    pub idle: usize,
}

/// The right to one connection of a backend, and the connection once there is one. Dropped, it
/// closes the connection (I1): only [`Lease::release`] gives it back.
#[derive(Debug)]
pub struct Lease {
    connection: Box<Connection>,
    place: Place,
}

/// A permit without a connection yet.
#[derive(Debug)]
pub struct Place {
    pool: Arc<Pool>,
    permit: OwnedSemaphorePermit,
    /// The permit is one for pinned connections.
    pinned: bool,
    /// Its session does not need it now.
    parked: bool,
}

/// A statement that is on its way to a server, or runs there.
#[derive(Debug)]
pub struct InFlight(Arc<Pool>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Somebody waits for a connection of the pool, until this is dropped.
#[derive(Debug)]
pub struct Waiting(Arc<Pool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What [`Pool::lease`] gives.
#[derive(Debug)]
pub enum Leased {
    /// An idle connection of the identity asked for.
    Connection(Lease),
    /// Nothing fits: dial, then [`Place::fill`].
    Empty(Place),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    #[error("all connections to the server are in use")]
    TimedOut,
    #[error("the server is gone")]
    Retired,
}

impl Pool {
    /// `limit`: most connections at once, leased and idle together; at least 1. `pinned`: how many
    /// more pinned sessions may keep.
    pub fn new(
        backend: BackendId,
        name: Arc<str>,
        limit: usize,
        pinned: usize,
        statements: Arc<BackendMetrics>,
    ) -> Arc<Self> {
        let limit = limit.max(1);
        Arc::new(Pool {
            backend,
            name,
            limit,
            permits: Arc::new(Semaphore::new(limit)),
            pinned: Arc::new(Semaphore::new(pinned)),
            idle: Mutex::default(),
            retired: AtomicBool::new(false),
            clock: Instant::now(),
            in_flight: AtomicU32::new(0),
            waiting: AtomicUsize::new(0),
            counters: PoolCounters::default(),
            statements,
            statement_room: Arc::new(StatementRoom::new(limit + pinned)),
        })
    }

    /// The session's own last connection, if it is idle and nobody else has used it since.
    /// Takes no time: `None` when it cannot be had at once.
    pub fn lease_own(
        self: &Arc<Self>,
        key: &PoolKey,
        number: u64,
        owner: SessionId,
    ) -> Option<Lease> {
        let permit = self.permits.clone().try_acquire_owned().ok()?;
        let idle = self.idle().take_own(key, number, owner)?;
        let lease = self.lend(idle, permit)?;
        self.counters.affine.fetch_add(1, Ordering::Relaxed);
        Some(lease)
    }

    /// A connection of this identity, or the right to dial one. Waits its turn until `deadline`
    /// when all are in use. Cancel safe: a dropped future gives its place up.
    pub async fn lease(
        self: &Arc<Self>,
        key: &PoolKey,
        deadline: Instant,
    ) -> Result<Leased, LeaseError> {
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait_for_permit(deadline).await?,
        };
        // Outside the loop's condition, so that no guard lives on into its body (I4).
        let mut next = self.idle().take(key);
        let mut permit = Some(permit);
        while let Some(idle) = next {
            if idle.connection.is_quiet() {
                self.counters.reused.fetch_add(1, Ordering::Relaxed);
                let permit = permit.take().expect("taken only here, and this returns");
                return Ok(Leased::Connection(self.lease_with(idle.connection, permit)));
            }
            next = self.idle().take(key);
        }
        if self.retired.load(Ordering::Acquire) {
            return Err(LeaseError::Retired);
        }
        self.make_room();
        let permit = permit.expect("not taken: no idle connection was found");
        Ok(Leased::Empty(self.place(permit)))
    }

    /// Counts a statement until what this gives is dropped. Only those are counted by which others
    /// are balanced.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    /// The statements that are counted now.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// True when all connections are leased: whoever comes now must wait.
    pub fn is_exhausted(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// Announces one who waits. What others keep without need is to be looked for behind this: they
    /// look for those who wait once they have said what they keep, so that one sees the other.
    pub fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self.clone())
    }

    /// Whether somebody waits.
    pub fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    async fn wait_for_permit(
        self: &Arc<Self>,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, LeaseError> {
        self.counters.waits.fetch_add(1, Ordering::Relaxed);
        match timeout_at(deadline.into(), self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(LeaseError::Retired),
            Err(_) => {
                self.counters.timeouts.fetch_add(1, Ordering::Relaxed);
                Err(LeaseError::TimedOut)
            }
        }
    }

    /// True when one more idle connection would be one too many.
    fn is_full(&self) -> bool {
        let leased = self.limit - self.permits.available_permits().min(self.limit);
        leased + self.idle().len() >= self.limit
    }

    /// Closes the oldest idle connection when a new one would be one too many. The permit is held
    /// already, so leased connections count it.
    fn make_room(&self) {
        let leased = self.limit - self.permits.available_permits().min(self.limit);
        let evicted = {
            let mut idle = self.idle();
            (leased + idle.len() > self.limit).then(|| idle.take_oldest()).flatten()
        };
        if let Some(idle) = evicted {
            idle.connection.close();
        }
    }

    fn lend(
        self: &Arc<Self>,
        idle: Idle<Box<Connection>>,
        permit: OwnedSemaphorePermit,
    ) -> Option<Lease> {
        idle.connection.is_quiet().then(|| self.lease_with(idle.connection, permit))
    }

    fn lease_with(
        self: &Arc<Self>,
        connection: Box<Connection>,
        permit: OwnedSemaphorePermit,
    ) -> Lease {
        Lease { connection, place: self.place(permit) }
    }

    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        self.counters.leased.fetch_add(1, Ordering::Relaxed);
        Place { pool: self.clone(), permit, pinned: false, parked: false }
    }

    /// Takes in a connection that was opened outside the pool; closes it when there is no room.
    pub fn adopt(self: &Arc<Self>, connection: Connection) -> Option<Lease> {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            connection.close();
            return None;
        };
        self.make_room();
        self.counters.dials.fetch_add(1, Ordering::Relaxed);
        Some(self.place(permit).fill(connection))
    }

    /// No connection is handed out or taken back any more; idle ones close now, leased ones when
    /// they are given back.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.permits.close();
        self.close_idle(|_, _| true);
    }

    /// Closes idle connections of an account that has changed.
    pub fn close_account(&self, user: &[u8], current: u64) {
        self.close_idle(|key, _| *key.user == *user && key.generation != current);
    }

    /// Closes connections that have been idle for longer than `limit`, or that have died. The
    /// others give back what they do not need meanwhile.
    pub fn sweep(&self, limit: Duration) {
        let oldest = self.now().saturating_sub(limit.as_millis() as u64);
        self.close_idle(|_, idle| idle.since < oldest || !idle.connection.is_quiet());
        let quiet = self.now().saturating_sub(QUIET.as_millis() as u64);
        for idle in self.idle().iter_mut().filter(|idle| idle.since < quiet) {
            idle.connection.packets.give_back();
        }
    }

    fn close_idle(&self, gone: impl FnMut(&PoolKey, &Idle<Box<Connection>>) -> bool) {
        let taken = self.idle().drain_where(gone);
        for idle in taken {
            idle.connection.close();
        }
    }

    pub fn view(&self) -> PoolView {
        let parked = self.counters.parked.load(Ordering::Relaxed);
        PoolView {
            limit: self.limit,
            leased: self.counters.leased.load(Ordering::Relaxed).saturating_sub(parked),
            pinned: self.counters.pinned.load(Ordering::Relaxed),
            idle: self.idle().len() + parked,
        }
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    fn idle(&self) -> MutexGuard<'_, IdleSet<PoolKey, Box<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub fn fill(self, connection: Connection) -> Lease {
        Lease { connection: Box::new(connection), place: self }
    }

    /// Counts an attempt to open the connection that belongs here.
    pub fn count_dial(&self, succeeded: bool) {
        self.pool.counters.dials.fetch_add(1, Ordering::Relaxed);
        if !succeeded {
            self.pool.counters.dial_errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Moves out of the limit, into the budget of pinned connections, if that has room.
    fn pin(&mut self) {
        if !self.pinned
            && let Ok(permit) = self.pool.pinned.clone().try_acquire_owned()
        {
            self.permit = permit;
            self.pinned = true;
            self.pool.counters.pinned.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts it as idle, or as in use.
    fn park(&mut self, parked: bool) {
        let count = &self.pool.counters.parked;
        if parked && !self.parked {
            count.fetch_add(1, Ordering::Relaxed);
        } else if !parked && self.parked {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        self.parked = parked;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.park(false);
        self.pool.counters.leased.fetch_sub(1, Ordering::Relaxed);
        if self.pinned {
            self.pool.counters.pinned.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Lease {
    /// Closes the connection with a goodbye to the server.
    pub fn close(self) {
        self.connection.close();
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.place.pool
    }

    pub fn backend(&self) -> BackendId {
        self.place.pool.backend
    }

    /// Notes that the session keeps the connection for as long as a pin stands: it makes room for
    /// others' where the server has room for both.
    pub fn pin(&mut self) {
        self.place.pin();
    }

    /// Notes whether the session that keeps the connection for itself needs it now: only the
    /// counts differ.
    pub fn park(&mut self, parked: bool) {
        self.place.park(parked);
    }

    /// Closes the connection and keeps its place, for another one.
    pub fn vacate(self) -> Place {
        let Lease { connection, mut place } = self;
        place.park(false);
        connection.close();
        place
    }

    /// Gives the connection back, for its last user `owner` to find again. The caller vouches
    /// that the last reply was seen whole and that no pin stands (I1).
    pub fn release(self, key: &PoolKey, owner: SessionId) {
        let Lease { connection, place } = self;
        let pool = &place.pool;
        if place.pinned && pool.is_full() {
            return connection.close();
        }
        if !pool.retired.load(Ordering::Acquire) {
            let idle = Idle { number: connection.number, connection, owner, since: pool.now() };
            pool.idle().put(key, idle);
            // `retire` may have emptied the set in between; then this one must go too.
            if pool.retired.load(Ordering::Acquire) {
                pool.close_idle(|_, _| true);
            }
        }
    }
}

impl std::ops::Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl std::ops::DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
