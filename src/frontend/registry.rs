//! The sessions that are alive, by connection id: for KILL, for broadcasts, for `SHOW SESSIONS`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::accounts::Account;
use super::mailbox::{Mail, Mailbox};
use crate::routing::topology::BackendId;
use crate::session::{Pins, SessionId};

/// How long a client may say nothing before its buffers are given back.
const QUIET: Duration = Duration::from_secs(2);

/// What others may know of a session and do to it.
#[derive(Debug)]
pub struct Handle {
    /// The connection id that the client was greeted with.
    pub id: SessionId,
    pub mailbox: Mailbox,
    /// `None` for a client on a Unix socket.
    pub peer: Option<SocketAddr>,
    pub since: Instant,
    /// What `SHOW SESSIONS` shows and statements do not change often.
    profile: Mutex<Profile>,
    /// As whom it acts; `None` before it has logged in.
    principal: Mutex<Option<Principal>>,
    /// It keeps a connection that others may have.
    holds: AtomicBool,
    activity: Activity,
}

/// As whom a session acts on the servers: its account, and the roles that it has set.
#[derive(Debug, Clone)]
pub struct Principal {
    pub account: Arc<Account>,
    /// What stood behind SET ROLE; `None`: those of the login.
    pub role: Option<Arc<str>>,
}

impl Principal {
    /// True when it is the same account with the same roles.
    pub fn is(&self, other: &Principal) -> bool {
        self.account.user == other.account.user && self.role == other.role
    }
}

/// Slowly changing facts of a session.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// Empty until the client has logged in.
    pub user: String,
    pub database: String,
}

/// Facts that change with every statement, written by the session alone.
#[derive(Debug, Default)]
struct Activity {
    /// `BackendId + 1` of the leased connection, 0 for none.
    backend: AtomicU32,
    pins: AtomicU32,
    in_transaction: AtomicU32,
    statements: AtomicU64,
    reads_on_replicas: AtomicU64,
    /// 1 from a command's arrival to the end of its reply.
    busy: AtomicU32,
    /// For [`Registry::look_for_idle`]: the count of statements when it last looked and saw a change,
    /// and when that was, in milliseconds since the session's beginning.
    seen: AtomicU64,
    seen_at: AtomicU64,
    /// 1 once the session was told that it is quiet.
    quiet: AtomicU32,
}

/// A session as it was at one moment.
#[derive(Debug, Clone)]
pub struct SessionView {
    pub id: SessionId,
    pub peer: Option<SocketAddr>,
    pub since: Instant,
    pub profile: Profile,
    /// The backend whose connection it holds right now.
    pub backend: Option<BackendId>,
    pub pins: Pins,
    pub in_transaction: bool,
    /// From a command's arrival to the end of its reply.
    pub is_busy: bool,
    pub statements: u64,
    pub reads_on_replicas: u64,
}

impl Handle {
    pub fn set_profile(&self, change: impl FnOnce(&mut Profile)) {
        change(&mut self.profile.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn set_principal(&self, principal: Principal) {
        *self.principal.lock().unwrap_or_else(PoisonError::into_inner) = Some(principal);
    }

    pub fn principal(&self) -> Option<Principal> {
        self.principal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_backend(&self, backend: Option<BackendId>) {
        self.activity.backend.store(backend.map_or(0, |id| id.0 + 1), Ordering::Relaxed);
    }

    pub fn set_state(&self, pins: Pins, in_transaction: bool) {
        self.activity.pins.store(pins.bits(), Ordering::Relaxed);
        self.activity.in_transaction.store(in_transaction.into(), Ordering::Relaxed);
    }

    pub fn begin_statement(&self) {
        self.activity.busy.store(1, Ordering::Relaxed);
    }

    /// Counts a statement. The session's task is the only writer, so no read-modify-write.
    pub fn end_statement(&self, on_replica: bool) {
        self.activity.busy.store(0, Ordering::Relaxed);
        let bump = |counter: &AtomicU64| {
            counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        };
        bump(&self.activity.statements);
        if on_replica {
            bump(&self.activity.reads_on_replicas);
        }
    }

    /// How long no statement has run or begun, as far as regular looks can tell.
    fn idle(&self) -> Duration {
        let now = self.since.elapsed();
        let count = self.activity.statements.load(Ordering::Relaxed);
        let busy = self.activity.busy.load(Ordering::Relaxed) != 0;
        if busy || count != self.activity.seen.load(Ordering::Relaxed) {
            self.activity.seen.store(count, Ordering::Relaxed);
            self.activity.seen_at.store(now.as_millis() as u64, Ordering::Relaxed);
            self.activity.quiet.store(0, Ordering::Relaxed);
            return Duration::ZERO;
        }
        let seen_at = Duration::from_millis(self.activity.seen_at.load(Ordering::Relaxed));
        now.saturating_sub(seen_at)
    }

    pub fn view(&self) -> SessionView {
        let backend = self.activity.backend.load(Ordering::Relaxed);
        SessionView {
            id: self.id,
            peer: self.peer,
            since: self.since,
            profile: self.profile.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            backend: backend.checked_sub(1).map(BackendId),
            pins: Pins::from_bits_truncate(self.activity.pins.load(Ordering::Relaxed)),
            in_transaction: self.activity.in_transaction.load(Ordering::Relaxed) != 0,
            is_busy: self.activity.busy.load(Ordering::Relaxed) != 0,
            statements: self.activity.statements.load(Ordering::Relaxed),
            reads_on_replicas: self.activity.reads_on_replicas.load(Ordering::Relaxed),
        }
    }
}

/// All sessions. Touched at their beginning and end, and by the rare broadcast.
#[derive(Debug)]
pub struct Registry {
    sessions: Mutex<HashMap<SessionId, Arc<Handle>>>,
    next: AtomicU32,
    /// How many keep a connection that others may have.
    holding: AtomicUsize,
}

/// A session's place in the registry, given up when dropped.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<Registry>,
    pub handle: Arc<Handle>,
}

impl Registry {
    pub fn new() -> Self {
        Registry {
            sessions: Mutex::default(),
            next: AtomicU32::new(1),
            holding: AtomicUsize::new(0),
        }
    }

    /// Enters a new session.
    pub fn register(self: &Arc<Self>, peer: Option<SocketAddr>) -> Registration {
        let mut sessions = self.lock();
        let id = loop {
            let id = SessionId::numbered(self.next.fetch_add(1, Ordering::Relaxed));
            if !sessions.contains_key(&id) {
                break id;
            }
        };
        let handle = Arc::new(Handle {
            id,
            mailbox: Mailbox::default(),
            peer,
            since: Instant::now(),
            profile: Mutex::default(),
            principal: Mutex::default(),
            holds: AtomicBool::new(false),
            activity: Activity::default(),
        });
        sessions.insert(id, handle.clone());
        Registration { registry: self.clone(), handle }
    }

    pub fn find(&self, id: SessionId) -> Option<Arc<Handle>> {
        self.lock().get(&id).cloned()
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Leaves mail for every session.
    pub fn broadcast(&self, mail: Mail) {
        for handle in self.lock().values() {
            handle.mailbox.send(mail);
        }
    }

    /// Asks those that keep a connection which others may have for it. Who waits for one does so
    /// for each of its statements: where nobody keeps any, no session is looked at.
    pub fn ask_for_connections(&self) {
        if self.holding.load(Ordering::SeqCst) == 0 {
            return;
        }
        for handle in self.lock().values() {
            if handle.holds.load(Ordering::Relaxed) {
                handle.mailbox.send(Mail::RELEASE);
            }
        }
    }

    /// Ends the sessions whose clients have said nothing for longer than `limit`, and has those
    /// that are quiet give their buffers back. To be called regularly: it measures by its own
    /// calls, so that statements need not look at a clock.
    pub fn look_for_idle(&self, limit: Option<Duration>) {
        for handle in self.lock().values() {
            let idle = handle.idle();
            if limit.is_some_and(|limit| idle > limit) {
                handle.mailbox.send(Mail::IDLE);
            } else if idle > QUIET && handle.activity.quiet.swap(1, Ordering::Relaxed) == 0 {
                handle.mailbox.send(Mail::QUIET);
            }
        }
    }

    /// All sessions, by id.
    pub fn view(&self) -> Vec<SessionView> {
        let mut views: Vec<_> = self.lock().values().map(|handle| handle.view()).collect();
        views.sort_by_key(|view| view.id);
        views
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Arc<Handle>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registration {
    /// Notes whether the session keeps a connection that others may have. It alone says so.
    pub fn set_holds(&self, holds: bool) {
        if self.handle.holds.load(Ordering::Relaxed) == holds {
            return;
        }
        self.handle.holds.store(holds, Ordering::Relaxed);
        match holds {
            true => self.registry.holding.fetch_add(1, Ordering::SeqCst),
            false => self.registry.holding.fetch_sub(1, Ordering::SeqCst),
        };
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.set_holds(false);
        self.registry.lock().remove(&self.handle.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_come_and_go() {
        let registry = Arc::new(Registry::new());
        let first = registry.register(None);
        let second = registry.register(None);
        assert_ne!(first.handle.id, second.handle.id);
        registry.broadcast(Mail::DRAIN);
        assert_eq!(second.handle.mailbox.peek(), Mail::DRAIN);
        let id = first.handle.id;
        drop(first);
        assert!(registry.find(id).is_none());
        assert_eq!(registry.len(), 1);
    }

    #[test]
    fn only_those_that_hold_a_connection_are_asked_for_it() {
        let registry = Arc::new(Registry::new());
        let [holder, other] = [registry.register(None), registry.register(None)];
        let asked = |registration: &Registration| {
            let mail = registration.handle.mailbox.peek();
            registration.handle.mailbox.take(Mail::RELEASE);
            mail == Mail::RELEASE
        };
        registry.ask_for_connections();
        assert!(!asked(&holder) && !asked(&other));
        holder.set_holds(true);
        holder.set_holds(true);
        registry.ask_for_connections();
        assert!(asked(&holder) && !asked(&other));
        holder.set_holds(false);
        registry.ask_for_connections();
        assert!(!asked(&holder));
        other.set_holds(true);
        drop(other);
        assert_eq!(registry.holding.load(Ordering::Relaxed), 0);
    }
}
