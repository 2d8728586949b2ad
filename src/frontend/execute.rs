//! Runs one command on a server: choose, lease, restore, send, relay, and once more elsewhere
//! where that is safe.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::acquire::Refusal;
use super::errors;
use super::kill::{Kill, limited};
use super::loss::Loss;
use super::mailbox::Mail;
use super::relay::{Relay, RelayError, Reply};
use super::rescue::{
    CONNECTION_KILLED, INTERRUPTED, NO_SUCH_THREAD, Rescued, TOO_LARGE, TOO_MANY, UNPARSED,
    is_farewell, is_read_only, remembered_for,
};
use super::session::{End, Incoming, Session};
use super::upstream::{copy_run, copy_spliced, send};
use crate::backend::connection::Access;
use crate::backend::pool::Lease;
use crate::metrics::{Destination, Label};
use crate::routing::{BackendId, Request};
use crate::session::outcome::Ending;
use crate::session::plan::{KillScope, Plan, Then, TrackingUse, Why};
use crate::session::tracking::TransactionState;
use crate::session::{Observation, Tracking};
use crate::sql::{Reason, digest};
use crate::wire::Capabilities;
use crate::wire::amend::Encoding;
use crate::wire::capabilities::Status;
use crate::wire::packet::HEADER;
use crate::wire::query;
use crate::wire::reply::ServerError;
use crate::wire::run::RunEnd;
use crate::wire::scanner::Expect;
use crate::wire::splice::Splice;

/// On how many servers a read is tried before its client hears of a failure.
const TRIES: usize = 4;
/// Most bytes of a statement's shape in the log.
const LONGEST_SHAPE: usize = 512;
const COM_QUERY: u8 = 0x03;
/// Errors of statements that were not even begun: no privilege, not understood, not known.
const REFUSED: [u16; 6] = [1044, 1047, 1064, 1142, 1227, 1290];

/// A command as it is sent.
pub(super) enum Text {
    /// All of it: it can be sent again.
    Whole(BytesMut),
    /// It passes through as it arrives, with this put in.
    Streamed(Incoming, Option<Splice>),
}

/// How an attempt to serve a command ended that did not end in a reply.
pub(super) enum Failure {
    /// This connection is of no further use, and the command has not been sent.
    Unsent,
    /// The same on another server: nothing of a reply has reached the client, and nobody can
    /// tell if the first had done it.
    Elsewhere,
    /// A replica has refused it with this error: the primary decides.
    Refused(u16),
    /// The primary has become read-only, and has done nothing of it: whoever is the primary next
    /// may.
    ReadOnly(ServerError),
    End(End),
}

impl Session {
    /// Runs a command and leaves the session ready for the next.
    pub(super) async fn execute(
        &mut self,
        plan: &mut Plan,
        incoming: Incoming,
    ) -> Result<Destination, End> {
        let started = Instant::now();
        let received = HEADER + incoming.header.length;
        self.context.metrics.sessions.received.add(received as u64);
        let mut text = if incoming.whole {
            Text::Whole(self.client.packets.take(HEADER + incoming.header.length))
        } else {
            Text::Streamed(incoming, None)
        };
        if self.was_rescued(plan, started) {
            to_primary(plan);
        }
        let mut avoid: Vec<BackendId> = Vec::new();
        loop {
            let (lease, _turn) = match self.connection_for(plan, &avoid).await {
                Ok(found) => found,
                Err(Refusal::End(end)) => return Err(end),
                Err(Refusal::Error(error)) => {
                    if let Text::Streamed(incoming, _) = text {
                        self.discard(incoming).await?;
                    }
                    self.context.metrics.errors.increment(errors::label(&error));
                    self.no_server_asked(plan, &error);
                    if plan.expect.is_some() {
                        self.answer_error(1, &error).await?;
                    }
                    return Ok(Destination::Local);
                }
            };
            let backend = lease.backend();
            let destination = destination(&lease);
            let metrics = self.context.metrics.clone();
            metrics.statements.count(destination, plan.why.index());
            if let Some(rule) = &plan.rule {
                rule.statements.increment();
            }
            match self.attempt(lease, plan, &mut text, avoid.len() < TRIES).await {
                Err(Failure::Unsent) => {
                    self.held_lost();
                    if self.state.keeps_connection() {
                        self.lost = self.context.pools.get(backend).map(|pool| pool.name.clone());
                    } else if avoid.len() < TRIES {
                        avoid.push(backend);
                    } else {
                        return Err(End::BackendLost);
                    }
                }
                Ok(()) => {
                    let took = started.elapsed();
                    metrics.statements.took(destination, took);
                    self.log_if_slow(plan, &text, took, destination);
                    return Ok(destination);
                }
                Err(Failure::End(end)) => return Err(end),
                Err(Failure::Refused(code)) => {
                    self.remember_rescue(plan, code);
                    to_primary(plan);
                }
                Err(Failure::Elsewhere) => {
                    self.held_lost();
                    avoid.push(backend);
                }
                Err(Failure::ReadOnly(error)) => {
                    let patience = self.context.traffic.load().write_hold;
                    let left = patience.saturating_sub(started.elapsed());
                    if left.is_zero() {
                        metrics.errors.increment(errors::label(&error));
                        self.answer_error(1, &error).await?;
                        return Ok(destination);
                    }
                    // The monitor sees it within moments, and then it waits as all writes do.
                    if let Err(Refusal::End(end)) = self.await_topology(&mut None, left).await {
                        return Err(end);
                    }
                }
            }
            metrics.retries.increment();
            // Who waits for another server is not in the way of this one's switchover.
            self.publish_state();
        }
    }

    /// Whether a replica has refused a read like this one lately. Without a primary a replica is
    /// asked all the same.
    fn was_rescued(&self, plan: &Plan, now: Instant) -> bool {
        let may_move = match plan.request {
            Request::Read | Request::ReadAt(_) => true,
            Request::Previous(_) => plan.repeatable && self.may_move(),
            Request::Primary => false,
        };
        may_move
            && plan
                .digest
                .is_some_and(|digest| self.context.rescues.remembers(digest, self.database(), now))
            && self.context.topology.load().write_target().is_some()
    }

    /// Whether the open transaction is one on a replica that can still be begun on the primary.
    fn may_move(&self) -> bool {
        self.state.on_replica().is_some_and(|transaction| !transaction.anchored)
    }

    fn remember_rescue(&self, plan: &Plan, code: u16) {
        let Some(digest) = plan.digest else { return };
        let time = remembered_for(code, self.context.traffic.load().max_lag);
        self.context.rescues.remember(digest, self.database(), Instant::now(), time);
    }

    /// The session's default database; empty if there is none.
    fn database(&self) -> &[u8] {
        self.state.settings().database.as_deref().unwrap_or_default()
    }

    /// Notes a slow statement by its shape: literals may be secrets.
    fn log_if_slow(&self, plan: &Plan, text: &Text, took: Duration, ran: Destination) {
        let Some(limit) = self.context.traffic.load().slow else { return };
        if took < limit {
            return;
        }
        let shape = match text {
            Text::Whole(packet) => packet
                .get(HEADER + 1..)
                .filter(|_| packet.get(HEADER) == Some(&COM_QUERY))
                .and_then(|arguments| query::text(arguments, self.client.capabilities).ok())
                .map(|sql| digest::text(sql, self.dialect, LONGEST_SHAPE)),
            Text::Streamed(..) => None,
        };
        tracing::warn!(
            session = %self.client.handle.id,
            backend = self.places.previous_name(&self.context),
            milliseconds = took.as_millis() as u64,
            destination = ran.name(),
            reason = plan.why.name(),
            rule = plan.rule.as_ref().map(|rule| &*rule.name),
            statement = shape,
            "slow"
        );
    }

    /// Sends the command over a connection that is ready for it, and relays the reply.
    async fn attempt(
        &mut self,
        mut lease: Lease,
        plan: &Plan,
        text: &mut Text,
        may_retry: bool,
    ) -> Result<(), Failure> {
        let backend = lease.backend();
        self.client.handle.set_backend(Some(backend));
        let kept = self.state.keeps_connection();
        let pinned_before = self.state.pins();
        // On the primary a read may write unseen, by a view or a function of the server's.
        let reads = plan.repeatable && lease.access == Access::ReadOnly;
        let repeatable = reads && !kept;
        // What the primary itself says of a read is the answer.
        let may_be_rescued = reads && (!kept || self.may_move()) && !self.is_primary(backend);
        self.tell_characteristics(&mut lease, plan).await?;
        let Ok(mark) = self.bring_along(&mut lease, plan).await.map_err(Failure::End)? else {
            // Nothing was sent yet: another connection will do, if another may.
            return Err(match may_retry && !kept {
                true => Failure::Elsewhere,
                false => Failure::End(End::BackendLost),
            });
        };
        // I5: leasing and restoring have waited; nothing may be written to a former primary.
        if lease.access == Access::ReadWrite && !kept && !self.is_write_target(backend) {
            return Err(match may_retry {
                true => Failure::Elsewhere,
                false => Failure::End(End::BackendLost),
            });
        }
        let may_be_held = plan.undone_when_refused
            && !kept
            && lease.access == Access::ReadWrite
            && matches!(text, Text::Whole(_));
        let rescued = match (may_be_rescued, may_be_held) {
            (true, _) => Rescued::READ,
            (false, true) => Rescued::WRITE,
            (false, false) => Rescued::NOTHING,
        };
        let no_such_thread = plan.kills.is_some() || plan.kill_in.is_some();
        let rescued = Rescued { no_such_thread, ..rescued };
        if let Some(usage) = &plan.statement
            && let Err(error) = self.ready_statement(&mut lease, usage, text).await?
        {
            return self.not_prepared(lease, plan, text, error, rescued).await;
        }
        self.close_statements(&mut lease).await?;
        if plan.tracking != TrackingUse::None {
            self.show_tracking(&mut lease).await?;
        }
        self.state.pin(plan.pins);
        let mut kill = self.kill_of(&lease);
        let may_make_room = plan.prepares.is_some()
            && matches!(text, Text::Whole(_))
            && lease.statements.has_shared();
        let kept_back = Rescued { too_many: may_make_room, ..rescued };
        let revisions = &self.context.login.accounts.revisions;
        let change = plan.concerns_logins.then(|| revisions.begin());
        let revision = (plan.then == Then::Reset).then(|| revisions.current());
        let mut result = self.round_trip(&mut lease, plan, text, kept_back, &mut kill).await;
        if matches!(&result, Ok(Reply { bytes: 0, error: Some(error), .. }) if error.code == TOO_MANY)
        {
            // What is kept there for later is ours to give up.
            lease.statements.retire_shared();
            self.close_statements(&mut lease).await?;
            result = self.round_trip(&mut lease, plan, text, rescued, &mut kill).await;
        }
        if let Some(change) = change
            && plan.why != Why::Text(Reason::MultiStatement)
            && let Ok(Reply { error: Some(error), .. }) = &result
            && REFUSED.contains(&error.code)
        {
            change.withdraw();
        }
        match result {
            Ok(Reply { bytes: 0, error: Some(error), .. }) if is_farewell(error.code) => {
                drop(lease);
                Err(if may_retry { Failure::Elsewhere } else { Failure::End(End::BackendLost) })
            }
            Ok(mut reply) => {
                let kept_back = reply.error.clone().filter(|_| reply.bytes == 0);
                let hit = reply.error.as_ref().is_some_and(|error| error.code == INTERRUPTED);
                let suicide = plan.kills == Some(KillScope::Connection)
                    && (hit || reply.failed_with(CONNECTION_KILLED));
                if suicide && !kill.was_sent() {
                    // The client has the server's word, behind which that closes the connection.
                    return Err(Failure::End(End::Killed));
                }
                // What it was told of the transaction that has not begun must reach no other.
                let told = plan.characteristics.is_some() && reply.error.is_some();
                let released = plan.then == Then::Released && reply.error.is_none();
                let clean = kill.settled(hit).await && !suicide && !told && !released;
                let unread = reply.error.as_ref().is_some_and(|error| error.code == TOO_LARGE);
                let nonsense = is_nonsense(plan, &reply);
                if unread || nonsense || (reply.error.is_some() && plan.prepares.is_some()) {
                    // It was not even read, or not understood, or prepared nothing.
                    self.state.unpin(plan.pins - pinned_before);
                }
                if unread && lease.awaits_word {
                    // The word about data before it: its own reply is still to come.
                    self.lose_quietly(lease);
                    return Ok(());
                }
                if plan.tracking != TrackingUse::None
                    && !self.hide_tracking(&mut lease, plan.tracking).await?
                {
                    self.lose_quietly(lease);
                    return Ok(());
                }
                if !plan.changes.is_empty()
                    && !self.ask_untold(&mut lease, plan, &mut reply).await?
                {
                    self.lose_quietly(lease);
                    return Ok(());
                }
                if let Some(revision) = revision.filter(|_| reply.error.is_none()) {
                    self.begin_revision(revision);
                }
                let over = plan.expect == Some(Expect::Stream)
                    && reply.error.as_ref().is_none_or(|error| !REFUSED.contains(&error.code));
                self.settle(lease, plan, reply, clean);
                self.follow_mark(plan, mark).await.map_err(Failure::End)?;
                if over || released {
                    return Err(Failure::End(if over { End::Streamed } else { End::Released }));
                }
                match kept_back {
                    None => Ok(()),
                    Some(error) if error.code == NO_SUCH_THREAD => {
                        let killing = Box::pin(self.kill_unknown(plan, &error));
                        killing.await.map_err(Failure::End)
                    }
                    Some(error) if may_be_rescued => Err(Failure::Refused(error.code)),
                    Some(error) if is_read_only(&error) => Err(Failure::ReadOnly(error)),
                    // Another option than read_only prevents it: that is the answer.
                    Some(error) => self.answer_error(1, &error).await.map_err(Failure::End),
                }
            }
            Err(RelayError::Client(error)) => {
                // Its statement may still run.
                kill.send();
                drop(lease);
                Err(Failure::End(error.into()))
            }
            Err(error) => {
                let lost = Loss { pinned_before, repeatable: repeatable && may_retry };
                self.lost(lease, plan, text, error, lost).await
            }
        }
    }

    /// Gives up a connection whose answer the client has got, and which is of no further use.
    pub(super) fn lose_quietly(&mut self, lease: Lease) {
        if self.state.keeps_connection() {
            self.lost = Some(lease.pool().name.clone());
        }
        self.held_lost();
        drop(lease);
        self.publish_state();
    }

    fn is_primary(&self, backend: BackendId) -> bool {
        let topology = self.context.topology.load();
        topology.primary().is_some_and(|primary| primary.id == backend)
    }

    pub(super) fn is_write_target(&self, backend: BackendId) -> bool {
        let topology = self.context.topology.load();
        topology.write_target().is_some_and(|primary| primary.id == backend)
    }

    async fn round_trip(
        &mut self,
        lease: &mut Lease,
        plan: &Plan,
        text: &Text,
        kept_back: Rescued,
        kill: &mut Kill,
    ) -> Result<Reply, RelayError> {
        let context = self.context.clone();
        let writes = self.watch_writes(lease, plan);
        let (backend, access) = (lease.backend(), lease.access);
        let mut on_mail = |mail: Mail| {
            if mail.contains(Mail::KILL_QUERY) {
                kill.send();
            }
            let gone = mail.contains(Mail::BACKEND)
                && !context.topology.load().may_finish(backend, access == Access::ReadWrite);
            if gone {
                // A former primary that still runs must not go on with it.
                kill.send();
            }
            gone
        };
        lease.packets.begin_command();
        let mut renumbering = None;
        match text {
            Text::Whole(bytes) => send(&self.client, lease, bytes, &mut on_mail).await?,
            Text::Streamed(_, None) => {
                copy_run(&mut self.client, lease, RunEnd::Payload, &mut on_mail).await?;
            }
            Text::Streamed(_, Some(splice)) => {
                renumbering = copy_spliced(&mut self.client, lease, splice, &mut on_mail).await?;
            }
        }
        let Some(expect) = plan.expect else {
            return Ok(Reply::default());
        };
        let keep_back = |code| kept_back.holds(code);
        let statement_id = plan.prepares.as_ref().map(|(id, _)| *id);
        // In a transaction MySQL's connection goes on telling GTIDs to the proxy.
        let everything =
            Tracking::everything(!lease.tells_gtids || self.state.tracking().tells_gtids());
        let tracking = match plan.tracking {
            TrackingUse::None => self.state.tracking(),
            // The server itself keeps to what the client has asked for.
            _ => &everything,
        };
        let announces = match plan.tracking {
            // A statement of these can write, and so have a GTID, which the proxy has asked for.
            TrackingUse::None => plan.folds && tracking.tells_schema() && !plan.undone_by_error,
            _ => true,
        };
        let amendment = plan.amendment.as_ref().map(|amendment| {
            let capabilities = lease.capabilities;
            (amendment, Encoding { binary: plan.statement.is_some(), capabilities })
        });
        // A replication client's stream ends with its client.
        let limit = context.traffic.load().statement_timeout.filter(|_| expect != Expect::Stream);
        let limit = limit.map(|limit| (limit, self.client.handle.clone()));
        let (client, on_mail) = (&mut self.client, &mut on_mail);
        let keep_back = &keep_back;
        let server = lease;
        let mut relay = Relay {
            client,
            server,
            keep_back,
            statement_id,
            tracking,
            announces,
            amendment,
            writes,
            renumbering,
            on_mail,
        };
        limited(limit, pin!(relay.run(expect))).await
    }

    /// Takes over what the reply told, and gives the connection back unless it must be kept.
    /// `clean` is false when the connection may serve nobody else.
    fn settle(&mut self, mut lease: Lease, plan: &Plan, mut reply: Reply, clean: bool) {
        let was_in_transaction = self.state.in_transaction();
        let succeeded = reply.error.is_none();
        let database = reply.database.clone();
        self.context.metrics.sessions.sent.add(reply.bytes);
        self.state.observe(&Observation { status: reply.status, database, failed: !succeeded });
        let reading = lease.access == Access::ReadOnly;
        let ends = succeeded && plan.ends_transaction();
        let anchors = plan.anchors && reply.bytes > 0;
        self.state.ran(reading, ends, anchors, plan.characteristics);
        let wrote = may_have_written(plan, &reply);
        self.transaction_wrote = self.state.in_transaction()
            && (wrote || (was_in_transaction && self.transaction_wrote));
        if plan.reads_tables || plan.only_reads || plan.may_write {
            self.state.may_have_used_a_table();
        }
        self.follow_freshness(&lease, plan, &mut reply, was_in_transaction);
        self.follow_insert_id(&mut lease, plan, &reply);
        self.follow_statements(&mut lease, plan, &reply);
        if succeeded {
            self.state.apply(&plan.changes, &reply.told);
            self.follow(&mut lease, plan);
        }
        if plan.folds && !reply.told.is_empty() {
            self.state.fold(&plan.changes, &reply.told);
        }
        match plan.then {
            Then::LongData => lease.awaits_word = true,
            _ if plan.expect.is_some() => lease.awaits_word = false,
            _ => {}
        }
        let clean = clean && !lease.awaits_word && self.leave_replica(&lease);
        let session = self.client.handle.id;
        lease.settle(session, self.state.version(), self.state.settings());
        self.places.note(lease.backend(), lease.number);
        let left = plan.after.diagnostics.leaves(!succeeded, reply.has_warnings);
        lease.note_diagnostics(left, !plan.after.diagnostics.may_keep());
        let ending = match reply.ending {
            Ending::Rows { .. } if plan.statement.as_ref().is_some_and(|it| it.unit_results) => {
                Ending::Units
            }
            ending => ending,
        };
        let error = reply.error.as_ref();
        self.state.outcome.note(plan.after, ending, reply.warnings, error, left);
        self.give_back(lease, clean);
        self.publish_state();
    }

    /// Keeps the connection where it must or should be kept, else gives it back. `clean` is false
    /// when it may serve nobody else.
    pub(super) fn give_back(&mut self, lease: Lease, clean: bool) {
        self.refresh_keys();
        if self.state.keeps_connection() || (clean && self.leaves_something()) {
            let mut lease = lease;
            // One that is its session's own counts as such.
            if !self.state.pins().is_empty() && self.parked.is_none() {
                lease.pin();
            }
            self.lease = Some(lease);
        } else if clean {
            self.put_away(lease);
        } else {
            self.held_lost();
            lease.close();
        }
        self.tell_of_hold();
    }

    /// Lets others know of a connection that is kept without need, and gives it up at the next
    /// occasion if somebody waits for one: who does so has asked before it was kept.
    pub(super) fn tell_of_hold(&self) {
        let held = self.lease.as_ref().filter(|_| !self.state.keeps_connection());
        self.registration.set_holds(held.is_some());
        if held.is_some_and(|lease| lease.pool().is_awaited()) {
            self.client.handle.mailbox.send(Mail::RELEASE);
        }
    }

    /// Lets go of a connection that the session does not need now. The caller vouches that its
    /// last reply was seen whole and that no pin stands (I1).
    pub(super) fn put_away(&mut self, lease: Lease) {
        let key = self.keys.of(lease.access);
        match &mut self.parked {
            Some(parked) => parked.put(key.clone(), lease),
            None => lease.release(key, self.client.handle.id),
        }
    }

    fn follow(&mut self, lease: &mut Lease, plan: &Plan) {
        match plan.then {
            Then::Nothing | Then::LongData | Then::Released => {}
            // On a server it outlives COM_CHANGE_USER, too, which here leaves the connection.
            Then::MultiStatements(on) => {
                self.client.capabilities.set(Capabilities::MULTI_STATEMENTS, on);
            }
            Then::Unlocked(pins) => self.state.unpin(pins),
            Then::Reset => {
                let autocommit = lease.status.contains(Status::AUTOCOMMIT);
                self.state.reset(self.dialect.flavour, autocommit);
                self.client.transaction = TransactionState::default();
                lease.was_reset();
                self.insert_id_was_reset();
            }
        }
    }
}

/// The server's parser has refused it.
fn is_nonsense(plan: &Plan, reply: &Reply) -> bool {
    plan.parsed_at_once
        && reply.ending == Ending::Neither
        && reply.error.as_ref().is_some_and(|error| UNPARSED.contains(&error.code))
}

/// Whether a statement that has ended so may have written what replicas are given.
pub(super) fn may_have_written(plan: &Plan, reply: &Reply) -> bool {
    let failed = reply.error.is_some();
    plan.may_write && !(failed && plan.undone_by_error) && !is_nonsense(plan, reply)
}

/// What a replica has refused may write after all.
fn to_primary(plan: &mut Plan) {
    plan.request = Request::Primary;
    plan.why = Why::Rescue;
    plan.rule = None;
    plan.repeatable = false;
}

fn destination(lease: &Lease) -> Destination {
    match lease.access {
        Access::ReadWrite => {
            lease.pool().statements.writes.increment();
            Destination::Primary
        }
        Access::ReadOnly => {
            lease.pool().statements.reads.increment();
            Destination::Replica
        }
    }
}
