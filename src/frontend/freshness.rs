//! What the session's reads must see: noted after each statement, asked for before a read.

use std::time::{Duration, Instant};

use super::acquire::{Refusal, Trouble};
use super::context::Traffic;
use super::execute::may_have_written;
use super::relay::{Reply, WriteWatch};
use super::scopes::{Membership, Scope};
use super::session::Session;
use super::watched::attempted;
use crate::backend::connection::Access;
use crate::backend::pool::Lease;
use crate::config::{Consistency, TokenScope};
use crate::gtid::{Transactions, committed_query, readable_query};
use crate::metrics::FreshRead;
use crate::routing::topology::{Backend, Role};
use crate::routing::{Request, Topology};
use crate::session::plan::{Plan, TrackingUse, Why};

impl Session {
    /// Takes over what others have written in the session's scope.
    pub(super) fn join_scope(&mut self, traffic: &Traffic) {
        let Some(scope) = self.scope(traffic) else {
            if self.membership.take().is_some() {
                self.demand.leave();
            }
            return;
        };
        let membership = match &mut self.membership {
            Some(membership) if membership.scope == scope => membership,
            other => {
                self.demand.leave();
                other.insert(Membership {
                    shared: self.context.scopes.of(&scope),
                    scope,
                    seen: None,
                })
            }
        };
        self.demand.join(&membership.shared, &mut membership.seen);
    }

    /// Whether its reads must see what other sessions write.
    pub(super) fn shares_writes(&self, traffic: &Traffic) -> bool {
        match traffic.consistency {
            Consistency::Eventual => false,
            Consistency::Global => true,
            Consistency::Session => traffic.token_scope != TokenScope::Session,
        }
    }

    fn scope(&self, traffic: &Traffic) -> Option<Scope> {
        if !self.shares_writes(traffic) {
            return None;
        }
        Some(match (traffic.consistency, traffic.token_scope) {
            (Consistency::Session, TokenScope::User) => Scope::User(self.account.user.clone()),
            (Consistency::Session, TokenScope::Database) => {
                Scope::Database(self.state.settings().database.clone())
            }
            (Consistency::Session, TokenScope::Application) => {
                Scope::Application(self.application.clone())
            }
            _ => Scope::Everybody,
        })
    }

    /// How the relay notes what a statement writes before its client hears of it: others must see
    /// it from then on.
    pub(super) fn watch_writes(&mut self, lease: &Lease, plan: &Plan) -> Option<WriteWatch> {
        if lease.access != Access::ReadWrite || self.scope(&self.context.traffic.load()).is_none() {
            return None;
        }
        let traffic = self.context.traffic.load_full();
        self.join_scope(&traffic);
        let shared = self.membership.as_ref()?.shared.clone();
        let may_end = self.state.in_transaction();
        Some(WriteWatch {
            shared,
            samples: self.context.samples.clone(),
            may_write: plan.may_write || may_end,
            undone_by_error: plan.undone_by_error,
            tells: self.may_tell_writes(lease, plan),
        })
    }

    /// Notes what a statement that has ended means for the reads behind it.
    /// `was_in_transaction`: one was open when it began.
    pub(super) fn follow_freshness(
        &mut self,
        lease: &Lease,
        plan: &Plan,
        reply: &mut Reply,
        was_in_transaction: bool,
    ) {
        let traffic = self.context.traffic.load();
        if traffic.consistency == Consistency::Eventual {
            return;
        }
        if lease.access == Access::ReadWrite {
            let ended = was_in_transaction && !self.state.in_transaction();
            let untold =
                (may_have_written(plan, reply) || ended) && !self.tells_writes(lease, plan, reply);
            let written = reply.written.take();
            if written.is_some() || untold {
                let sample = self.context.samples.next();
                if written.is_some() {
                    self.demand.wrote(written, sample);
                }
                if untold {
                    self.demand.wrote(None, sample);
                }
                return;
            }
        }
        // What belongs on the primary by itself, in a transaction or under locks, is left aside:
        // its session would read nothing on replicas for a while.
        let why = matches!(plan.why, Why::Text(_) | Why::Rescue | Why::ReadOnlyTransaction);
        let may_leave = plan.only_reads && why;
        if traffic.monotonic && may_leave && plan.reads_tables && reply.has_rows {
            self.demand.read(lease.backend(), self.context.samples.next());
        }
    }

    /// A write was sent, and nobody knows what has become of it.
    pub(super) fn may_have_written(&mut self, plan: &Plan) {
        if self.state.on_replica().is_some() {
            return;
        }
        if plan.may_write || self.state.in_transaction() {
            let sample = self.context.samples.next();
            self.demand.wrote(None, sample);
            if let Some(membership) = &self.membership {
                membership.shared.wrote(None, sample);
            }
        }
    }

    /// Whether the reply has told the GTIDs of what was written.
    fn tells_writes(&self, lease: &Lease, plan: &Plan, reply: &Reply) -> bool {
        reply.error.is_none() && !reply.hides_gtids && self.may_tell_writes(lease, plan)
    }

    /// Whether an OK tells the GTIDs of what was written.
    fn may_tell_writes(&self, lease: &Lease, plan: &Plan) -> bool {
        lease.tells_gtids
            && plan.tracking == TrackingUse::None
            && self.context.topology.load().backend(lease.backend()).is_some_and(|it| it.has_gtids)
    }

    /// Counts a read that the primary serves though replicas take reads: none of them is known to
    /// have what it must see.
    pub(super) fn count_unfresh(&self, request: Request, lease: &Lease, topology: &Topology) {
        if matches!(request, Request::Read | Request::ReadAt(_))
            && lease.access == Access::ReadWrite
            && topology.backends.iter().any(|backend| backend.reads.is_ok())
        {
            self.context.metrics.fresh_reads.increment(FreshRead::Primary);
        }
    }

    /// Waits until a primary shows what it is committing, if it can be asked for that. After
    /// `patience` it serves the read all the same: it may wait for replicas that are gone. `None`:
    /// no answer comes, and the connection is closed.
    pub(super) async fn settled(
        &mut self,
        mut lease: Lease,
        primary: &Backend,
        patience: Duration,
    ) -> Result<Option<Lease>, Trouble> {
        let version = primary.version.as_ref();
        let Some(question) = version.and_then(|version| committed_query(version, patience)) else {
            return Ok(Some(lease));
        };
        let in_time = self.comes_in_time(&mut lease, &question, patience).await?;
        if in_time == Some(false) {
            tracing::debug!(backend = %primary.name, "a commit does not end");
        }
        Ok(in_time.map(|_| lease))
    }

    /// Asks the server that the session reads on where it stands, so that another one can be asked
    /// whether it has got as far. Without an answer the session stays for a while longer.
    pub(super) async fn locate(
        &mut self,
        topology: &Topology,
        index: usize,
    ) -> Result<(), Refusal> {
        let traffic = self.context.traffic.load_full();
        let backend = &topology.backends[index];
        let flavour = self.dialect.flavour;
        let question = readable_query(flavour, backend.role == Role::Primary);
        let deadline = Instant::now() + traffic.lease_timeout;
        let answer = match self.open(topology, index, deadline, false).await {
            Ok(mut lease) => {
                let asked = lease.ask(question, traffic.connect_timeout);
                match attempted(&mut self.client, &self.context, backend.id, asked).await {
                    Ok(Ok([answer])) => {
                        self.put_away(lease);
                        Ok(Transactions::parse(flavour, &answer))
                    }
                    Ok(Err(_)) => Ok(None),
                    Err(trouble) => Err(trouble),
                }
            }
            Err(trouble) => Err(trouble),
        };
        let position = match answer {
            Ok(position) => position,
            Err(Trouble::Refusal(Refusal::End(end))) => return Err(Refusal::End(end)),
            Err(_) => None,
        };
        self.demand.located(position, self.context.samples.next());
        Ok(())
    }

    /// Asks a replica for what the session's reads must see, and waits for it there. `None` when
    /// it does not come in time, or no answer does: the connection is then given back, or closed.
    pub(super) async fn fresh(
        &mut self,
        mut lease: Lease,
        patience: Duration,
    ) -> Result<Option<Lease>, Trouble> {
        let Some(question) = self.demand.question(patience) else { return Ok(None) };
        let in_time = self.comes_in_time(&mut lease, &question, patience).await?;
        self.context.metrics.fresh_reads.increment(match in_time {
            Some(true) => FreshRead::Waited,
            Some(false) => FreshRead::TimedOut,
            None => FreshRead::NoAnswer,
        });
        match in_time {
            Some(true) => {
                self.demand.has(lease.backend());
                if let Some(Membership { shared, seen: Some(seen), .. }) = &self.membership {
                    shared.has(lease.backend(), *seen);
                }
                return Ok(Some(lease));
            }
            Some(false) => self.put_away(lease),
            None => {}
        }
        Ok(None)
    }

    /// Whether the answer to a question for something that is awaited is that it has come, within
    /// `patience`. `None`: no answer, and the connection is of no further use.
    async fn comes_in_time(
        &mut self,
        lease: &mut Lease,
        question: &str,
        patience: Duration,
    ) -> Result<Option<bool>, Trouble> {
        let deadline = self.context.traffic.load().connect_timeout + patience;
        let backend = lease.backend();
        let asked = lease.ask(question, deadline);
        match attempted(&mut self.client, &self.context, backend, asked).await? {
            Ok([answer]) => Ok(Some(answer == b"0")),
            Err(error) => {
                let name = &lease.pool().name;
                tracing::debug!(backend = %name, %error, "a server did not say what it has");
                Ok(None)
            }
        }
    }
}
