//! Finds the connection that a command runs on: the one that is kept, or one that the topology
//! and the pools give, in the session's state.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::ClientError;
use super::errors;
use super::parked::Own;
use super::session::{End, Session};
use super::turn::{Spill, Turn};
use super::watched::{attempted, watched};
use crate::backend::connection::Access;
use crate::backend::connection::PrivateError;
use crate::backend::pool::{Lease, LeaseError, Leased};
use crate::backend::{ConnectError, Connection, LoginOptions, connect};
use crate::config::{Balance, Consistency};
use crate::routing::topology::{Backend, BackendId, Topology, Writes};
use crate::routing::{Attempt, Decision, Demand, Request, Unavailable, decide, spills_over};
use crate::session::Pins;
use crate::session::plan::{Plan, Then};
use crate::session::settings::{Names, Settings};
use crate::wire::Capabilities;
use crate::wire::amend::Amendment;
use crate::wire::capabilities::Status;
use crate::wire::reply::ServerError;

/// `utf8mb4_general_ci`, which every server knows: for connections whose character set is set by
/// statement anyway.
const DEFAULT_COLLATION: u16 = 45;

/// How long to wait before a server that could not be reached is tried again, unless the topology
/// changes first.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Tells that another topology was published.
pub(super) type Published = tokio::sync::watch::Receiver<u64>;

/// What a kept connection is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Serves,
    /// No primary is certain: a new write must wait.
    Waits,
    /// Its server is lost, or another one is the primary.
    Gone,
}

/// Why a command has no connection to run on.
pub(super) enum Refusal {
    /// The client is told, and its session goes on.
    Error(ServerError),
    /// The session ends.
    End(End),
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        Refusal::End(error.into())
    }
}

/// ER_ACCESS_DENIED_ERROR.
const ACCESS_DENIED: u16 = 1045;

impl Session {
    /// The connection that the session keeps, or one that the topology and the pools give.
    pub(super) async fn connection_for(
        &mut self,
        plan: &Plan,
        avoid: &[BackendId],
    ) -> Result<(Lease, Turn), Refusal> {
        if plan.characteristics.is_some() && self.state.pins() == Pins::NEXT_TRANSACTION {
            self.take_characteristics(plan).await?;
        }
        match (self.state.on_replica(), plan.request) {
            (Some(_), Request::Primary) => return Box::pin(self.move_to_primary(plan)).await,
            // It begins another one.
            (Some(_), Request::Read) => {
                self.end_on_replica(plan).await?;
                self.state.transaction_lost();
            }
            _ if self.state.keeps_connection() => {
                return Ok((self.kept(plan).await?, Turn::default()));
            }
            _ => {}
        }
        if let Some(lease) = self.lease.take() {
            if !lease.is_quiet() || self.standing(&lease, plan) != Standing::Serves {
                self.held_lost();
                drop(lease);
            } else if Self::suits(&lease, plan.request) {
                return Ok((lease, Turn::default()));
            } else {
                let keeps_diagnostics = plan.after.diagnostics.may_keep();
                self.let_go(lease, keeps_diagnostics).await.map_err(Refusal::End)?;
            }
        }
        self.acquire(plan, avoid, Self::wants_spotless(plan)).await
    }

    /// Whether nobody else's warnings and errors may be listed on the connection: those go with every
    /// statement of MySQL's, and with many of MariaDB's.
    pub(super) fn wants_spotless(plan: &Plan) -> bool {
        let is_known = matches!(&plan.amendment, Some(Amendment::Rows(_) | Amendment::Number(_)));
        plan.after.diagnostics.may_keep() && !is_known
    }

    /// The connection that the session cannot do without.
    pub(super) async fn kept(&mut self, plan: &Plan) -> Result<Lease, Refusal> {
        let began = Instant::now();
        let mut published = None;
        while let Some(lease) = self.lease.take() {
            let name = lease.pool().name.clone();
            let standing = match lease.is_quiet() {
                true => self.standing(&lease, plan),
                false => Standing::Gone,
            };
            match standing {
                Standing::Serves => return Ok(lease),
                Standing::Gone => {
                    self.abandon(lease);
                    self.lost = Some(name);
                }
                Standing::Waits => {
                    self.lease = Some(lease);
                    let Some(reason) = self.context.topology.load().writes.stopped().cloned()
                    else {
                        continue;
                    };
                    let patience = self.context.traffic.load().write_hold;
                    let left = patience.saturating_sub(began.elapsed());
                    if left.is_zero() {
                        return Err(Refusal::Error(errors::no_primary(&reason)));
                    }
                    self.await_topology(&mut published, left).await?;
                }
            }
        }
        Err(self.kept_is_lost(plan).await)
    }

    /// What the loss of the kept connection means to the client.
    async fn kept_is_lost(&mut self, plan: &Plan) -> Refusal {
        let name = self.lost.take().unwrap_or_else(|| "the server".into());
        self.held_lost();
        if plan.expect.is_none() {
            // The next command that has a reply is told.
            self.lost = Some(name.clone());
            return Refusal::Error(errors::transaction_lost(&name));
        }
        if self.state.pins().is_empty() {
            self.state.transaction_lost();
            self.publish_state();
            return Refusal::Error(errors::transaction_lost(&name));
        }
        let causes: Vec<_> = self.state.pins().names().collect();
        let told = self.answer_error(1, &errors::state_lost(&name, &causes.join(", "))).await;
        Refusal::End(told.err().unwrap_or(End::BackendLost))
    }

    /// Whether a kept connection may serve a statement now.
    fn standing(&self, lease: &Lease, plan: &Plan) -> Standing {
        let topology = self.context.topology.load();
        let writes = lease.access == Access::ReadWrite;
        if !topology.may_finish(lease.backend(), writes) {
            return Standing::Gone;
        }
        // While no primary is certain what was begun may end and reads may go on; new writes wait,
        // and if it must not be written, commits.
        let is_held = matches!(topology.writes, Writes::Held { .. });
        let commits =
            self.transaction_wrote && plan.may_commit && plan.then != Then::Reset && is_held;
        let may_go_on = !writes
            || plan.only_reads
            || plan.only_asks_the_primary()
            || (self.state.in_transaction() && !commits);
        match topology.write_target().is_some() || may_go_on {
            true => Standing::Serves,
            false => Standing::Waits,
        }
    }

    /// Closes a kept connection whose server is lost, or is no longer the primary: what was begun
    /// there ends now, not when the client asks for something.
    pub(super) fn leave_lost_backend(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let writes = lease.access == Access::ReadWrite;
        if self.context.topology.load().may_finish(lease.backend(), writes) {
            self.lease = Some(lease);
            return;
        }
        self.leave(lease);
    }

    /// Closes a kept connection that is lost; the client hears of it when it next asks for something.
    pub(super) fn leave(&mut self, lease: Lease) {
        if self.state.keeps_connection() {
            self.lost = Some(lease.pool().name.clone());
        }
        self.held_lost();
        self.abandon(lease);
        self.client.handle.set_backend(None);
    }

    /// Closes what is the session's own and cannot serve it any more.
    pub(super) fn tidy_parked(&mut self) {
        let Some(parked) = &mut self.parked else { return };
        let topology = self.context.topology.load();
        parked
            .tidy(|lease| topology.may_finish(lease.backend(), lease.access == Access::ReadWrite));
    }

    /// Waits until another topology is published, for a [`PAUSE`] at most. The receiver is made at
    /// the first wait: what was published before is loaded anew.
    pub(super) async fn await_topology(
        &mut self,
        published: &mut Option<Published>,
        left: Duration,
    ) -> Result<(), Refusal> {
        let receiver = published.get_or_insert_with(|| self.context.topology.subscribe());
        let change = tokio::time::timeout(left.min(PAUSE), receiver.changed());
        let _ = watched(&mut self.client, change).await?;
        Ok(())
    }

    /// A connection for one attempt: chosen, leased, in the session's state; `spotless` if nobody's
    /// warnings and errors may be listed on it.
    pub(super) async fn acquire(
        &mut self,
        plan: &Plan,
        avoid: &[BackendId],
        spotless: bool,
    ) -> Result<(Lease, Turn), Refusal> {
        if !self.refresh_credential() {
            return Err(Refusal::Error(errors::account_refused(&self.account.user)));
        }
        let traffic = self.context.traffic.load_full();
        let started = Instant::now();
        let mut avoid = avoid.to_vec();
        let ticket = match plan.request {
            Request::Read | Request::ReadAt(_) => Some(self.context.next_ticket()),
            Request::Primary | Request::Previous(_) => None,
        };
        let mut published = None;
        let mut may_ask = true;
        let mut spill = Spill::None;
        if ticket.is_some() {
            self.join_scope(&traffic);
        }
        loop {
            let topology = self.context.topology.load_full();
            let (request, avoided) = match plan.wish.narrow(plan.request, &topology, &avoid) {
                Ok(narrowed) => narrowed,
                Err(unknown) => return Err(Refusal::Error(errors::unknown_backend(&unknown))),
            };
            // Who names a server wants to see what that one has.
            let anything =
                traffic.consistency == Consistency::Eventual || plan.wish.backend.is_some();
            let demand = if anything { &Demand::NOTHING } else { &self.demand };
            let counts = traffic.balance == Balance::LeastBusy && ticket.is_some();
            let busy = match counts {
                true => self.context.pools.in_flight(&topology),
                false => Vec::new(),
            };
            let attempt = Attempt {
                ticket: ticket.unwrap_or(0),
                busy: &busy,
                avoid: &avoided,
                demand,
                may_ask,
                next_sample: self.context.samples.next(),
            };
            let mut decision = decide(request, &topology, &traffic.policy, attempt);
            if let Writes::Held { primary, .. } = topology.writes
                && request == Request::Primary
                && plan.only_asks_the_primary()
            {
                decision = Decision::Backend(primary);
            }
            match (&traffic.spills, &decision) {
                (Some(places), Decision::Backend(index) | Decision::Settle(index))
                    if spills_over(request, &topology, attempt) =>
                {
                    if !spill.may_run(places) {
                        let left = traffic.lease_timeout.saturating_sub(started.elapsed());
                        if left.is_zero() {
                            let name = &topology.backends[*index].name;
                            return Err(Refusal::Error(errors::too_many_spills(name)));
                        }
                        let published =
                            published.get_or_insert_with(|| self.context.topology.subscribe());
                        watched(&mut self.client, spill.wait(published, left.min(PAUSE))).await?;
                        continue;
                    }
                }
                _ => spill = Spill::None,
            }
            let (error, patience) = match decision {
                Decision::Locate(index) => {
                    Box::pin(self.locate(&topology, index)).await?;
                    continue;
                }
                Decision::Backend(index) | Decision::Ask(index) | Decision::Settle(index) => {
                    let deadline = started + traffic.lease_timeout;
                    // Others that choose at the same moment do not see it yet: at worst they
                    // choose the same server.
                    let pool = counts.then(|| self.context.pools.of(&topology.backends[index]));
                    let in_flight = pool.map(|pool| pool.begin());
                    let opened = self.open(&topology, index, deadline, spotless).await;
                    let opened = match (opened, decision) {
                        (Ok(lease), Decision::Ask(_)) => {
                            self.fresh(lease, traffic.policy.wait).await
                        }
                        (Ok(lease), Decision::Settle(_)) => {
                            let left = traffic.lease_timeout.saturating_sub(started.elapsed());
                            self.settled(lease, &topology.backends[index], left).await
                        }
                        (opened, _) => opened.map(Some),
                    };
                    match opened {
                        Ok(Some(lease)) => {
                            self.count_unfresh(request, &lease, &topology);
                            return Ok((lease, Turn { _in_flight: in_flight, _spill: spill }));
                        }
                        Ok(None) => {
                            may_ask = false;
                            continue;
                        }
                        Err(Trouble::Refusal(refusal)) => return Err(refusal),
                        Err(Trouble::Changed) => {
                            let name = &topology.backends[index].name;
                            (errors::unreachable(name, &"it has changed"), traffic.write_hold)
                        }
                        Err(Trouble::Backend(error)) => {
                            let backend = &topology.backends[index];
                            if request != Request::Primary && !avoid.contains(&backend.id) {
                                avoid.push(backend.id);
                                continue;
                            }
                            (error, traffic.write_hold)
                        }
                    }
                }
                Decision::Unavailable(Unavailable::NoPrimary(reason)) => {
                    (errors::no_primary(&reason), traffic.write_hold)
                }
                Decision::Unavailable(Unavailable::NoReplica) => {
                    return Err(Refusal::Error(errors::no_replica()));
                }
                Decision::Unavailable(Unavailable::AwaitReplica) => {
                    (errors::no_replica(), traffic.lease_timeout)
                }
            };
            if !Arc::ptr_eq(&topology, &self.context.topology.load_full()) {
                // It is another one by now: no need to wait for that.
                avoid.clear();
                may_ask = true;
                if started.elapsed() < patience {
                    continue;
                }
            }
            let left = patience.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(Refusal::Error(error));
            }
            self.await_topology(&mut published, left).await?;
            avoid.clear();
            may_ask = true;
        }
    }

    /// A connection to this backend, in the session's state.
    pub(super) async fn open(
        &mut self,
        topology: &Topology,
        index: usize,
        deadline: Instant,
        spotless: bool,
    ) -> Result<Lease, Trouble> {
        let backend = &topology.backends[index];
        let access = match topology.write_target() {
            Some(primary) if primary.id == backend.id => Access::ReadWrite,
            _ => Access::ReadOnly,
        };
        let (connection, place) = match &mut self.parked {
            Some(parked) => match parked.take(backend.id, self.keys.of(access)) {
                Own::Connection(lease) => (Some(lease), None),
                Own::Place(place) => (None, Some(place)),
                Own::Nothing => (None, None),
            },
            None => (self.last_used(backend, access), None),
        };
        if let Some(lease) = connection {
            return self.restored(lease, spotless).await;
        }
        let leased = match place {
            Some(place) => Leased::Empty(place),
            None => self.lease(backend, access, deadline).await?,
        };
        let lease = match leased {
            Leased::Connection(lease) => lease,
            Leased::Empty(place) => {
                let connection = Box::pin(self.dial(backend, access)).await;
                place.count_dial(connection.is_ok());
                place.fill(connection?)
            }
        };
        // I5: the wait may have outlived the topology it began with.
        if access == Access::ReadWrite && self.context.topology.load().epoch != topology.epoch {
            return Err(Trouble::Changed);
        }
        self.restored(lease, spotless).await
    }

    /// The connection that the session has used last there, if nobody else has used it since.
    fn last_used(&self, backend: &Backend, access: Access) -> Option<Lease> {
        let number = self.places.number(backend.id)?;
        let pool = self.context.pools.of(backend);
        pool.lease_own(self.keys.of(access), number, self.client.handle.id)
    }

    /// A connection that anybody may have, or the right to open one, by `deadline`.
    async fn lease(
        &mut self,
        backend: &Backend,
        access: Access,
        deadline: Instant,
    ) -> Result<Leased, Trouble> {
        let pool = self.context.pools.of(backend);
        let mut _waiting = None;
        if pool.is_exhausted() && self.parked.is_none() {
            // Some may be kept only in case their session asks for warnings or an insert id.
            _waiting = Some(pool.wait());
            self.context.registry.ask_for_connections();
        }
        match watched(&mut self.client, pool.lease(self.keys.of(access), deadline)).await? {
            Ok(leased) => Ok(leased),
            Err(LeaseError::TimedOut) => {
                Err(Trouble::refusal(errors::no_connection(&backend.name)))
            }
            Err(LeaseError::Retired) => Err(Trouble::Changed),
        }
    }

    async fn restored(&mut self, mut lease: Lease, spotless: bool) -> Result<Lease, Trouble> {
        let traffic = self.context.traffic.load();
        let deadline = traffic.connect_timeout;
        let session = self.client.handle.id;
        let backend = lease.backend();
        let further = self.state.tracking().further();
        if !lease.is_set_up(further) {
            let set_up = lease.set_up(further, deadline);
            let done = attempted(&mut self.client, &self.context, backend, set_up).await?;
            done.map_err(|error| {
                Trouble::Backend(errors::unreachable(&lease.pool().name, &error))
            })?;
        }
        if spotless && lease.has_diagnostics() {
            let clear = lease.clear_diagnostics(deadline);
            let done = attempted(&mut self.client, &self.context, backend, clear).await?;
            done.map_err(|error| {
                Trouble::Backend(errors::unreachable(&lease.pool().name, &error))
            })?;
        }
        let (version, settings) = (self.state.version(), self.state.settings());
        if lease.is_settled(session, version) {
            return Ok(lease);
        }
        let collations = self.context.collations.load_full();
        let result = attempted(&mut self.client, &self.context, backend, async {
            let set_names = |id| collations.set_names(id);
            lease.restore(session, version, settings, set_names, deadline).await
        })
        .await?;
        match result {
            Ok(()) => Ok(lease),
            Err(PrivateError::Refused(error)) => Err(Trouble::Backend(error)),
            Err(error) => {
                let name = &lease.pool().name;
                Err(Trouble::Backend(errors::unreachable(name, &error)))
            }
        }
    }

    async fn dial(&mut self, backend: &Backend, access: Access) -> Result<Connection, Trouble> {
        let Some(address) = &backend.address else {
            return Err(Trouble::Changed);
        };
        let timeout = self.context.traffic.load().connect_timeout;
        let settings = self.state.settings();
        // A login has room for the low byte of a collation only.
        let collation = match settings.names {
            Names::Collation(id) if id <= u8::MAX.into() => id,
            _ => DEFAULT_COLLATION,
        };
        let options = LoginOptions {
            credential: &self.credential,
            capabilities: self.keys.of(access).capabilities
                | Capabilities::SESSION_TRACK
                | self.context.login.backend_compression,
            collation: collation as u8,
            max_packet: crate::backend::authenticate::MAX_PACKET,
            database: settings.database.as_deref(),
            attributes: &self.attributes,
            announce: self.announces(),
            tls: &self.context.backend_tls,
            deadline: tokio::time::Instant::now() + timeout,
        };
        let database = settings.database.clone();
        let dialling = connect(address, &options);
        let connected = attempted(&mut self.client, &self.context, backend.id, dialling).await?;
        let connected = connected.map_err(|error| self.dial_error(backend, access, error))?;
        if !connected.looks_alike(self.keys.of(access).capabilities) {
            return Err(Trouble::Backend(errors::of_another_version(&backend.name)));
        }
        let autocommit = connected.ok.packet().status.contains(Status::AUTOCOMMIT);
        let present = Settings::at_login(database, collation, autocommit);
        Ok(Connection::new(connected, access, present))
    }

    fn dial_error(&self, backend: &Backend, access: Access, error: ConnectError) -> Trouble {
        match error.server_error() {
            // A replica may not know yet what the primary knows of the account.
            Some(refused) if error.is_full() || access == Access::ReadOnly => {
                Trouble::Backend(refused.clone())
            }
            Some(refused) if refused.code == ACCESS_DENIED => {
                self.context.login.accounts.reject(&self.account, &self.credential);
                Trouble::refusal(refused.clone())
            }
            // The server's own word about the account or the database.
            Some(refused) => Trouble::refusal(refused.clone()),
            None => Trouble::Backend(errors::unreachable(&backend.name, &error)),
        }
    }
}

/// What kept a backend from serving an attempt.
pub(super) enum Trouble {
    /// The client is told this error, or the session ends.
    Refusal(Refusal),
    /// This backend cannot be used now; the error is for a client that has no other.
    Backend(ServerError),
    /// The topology is another one by now.
    Changed,
}

impl Trouble {
    fn refusal(error: ServerError) -> Self {
        Trouble::Refusal(Refusal::Error(error))
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        Trouble::Refusal(error.into())
    }
}
