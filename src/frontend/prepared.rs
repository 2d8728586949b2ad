//! Prepared statements on the connection that a command runs on: prepared there if they are not,
//! called by the server's number, with their parameters' types.

use std::sync::Arc;

use bytes::BytesMut;

use super::acquire::{Refusal, Trouble};
use super::errors;
use super::execute::{Failure, Text};
use super::relay::Reply;
use super::rescue::{
    MALFORMED, Rescued, TOO_LARGE, TOO_MANY, WRONG_ARGUMENTS, is_read_only, is_rescued,
};
use super::session::Session;
use super::watched::{attempted, watched};
use crate::backend::pool::Lease;
use crate::backend::statements::Owner;
use crate::session::Pins;
use crate::session::outcome::{Diagnostics, DiagnosticsAfter};
use crate::session::plan::{Plan, Prepares, StatementUse};
use crate::session::statements::{Home, PreparedText, Statements};
use crate::sql::Kind;
use crate::wire::Capabilities;
use crate::wire::capabilities::Status;
use crate::wire::command::Command;
use crate::wire::execute::{Types, put_in, put_statement_id, types};
use crate::wire::packet::{HEADER, put_packet};
use crate::wire::reply::ServerError;
use crate::wire::scanner::Expect;

const COM_PING: u8 = 0x0E;
const COM_STMT_CLOSE: u8 = 0x19;
const COM_STMT_RESET: u8 = 0x1A;
/// So many are sent together: a server takes several commands out of one compressed frame, but not
/// one out of two that begins in the first.
const CLOSED_AT_ONCE: usize = 1024;

fn executes(usage: &StatementUse) -> bool {
    matches!(usage.command, Command::StmtExecute | Command::StmtBulkExecute)
}

impl Session {
    fn owner(&self, usage: &StatementUse) -> Owner {
        usage.exclusive.then_some((self.client.handle.id, usage.id))
    }

    /// Prepares the statement on this connection if it is not, and writes its number there into
    /// the command. The server's refusal to prepare it is the answer to the command.
    pub(super) async fn ready_statement(
        &mut self,
        lease: &mut Lease,
        usage: &StatementUse,
        text: &mut Text,
    ) -> Result<Result<(), ServerError>, Failure> {
        if let Text::Streamed(_, put_in) = text {
            *put_in = None;
        }
        if usage.untyped {
            self.shun_strangers_types(lease, usage);
        }
        if usage.command == Command::StmtReset
            && let (Home::Anywhere(prepared), Text::Whole(packet)) = (&usage.home, &mut *text)
        {
            let number = lease.statements.find(prepared, self.owner(usage));
            packet.clear();
            match number.map(u32::to_le_bytes) {
                Some([a, b, c, d]) => put_packet(packet, 0, &[COM_STMT_RESET, a, b, c, d]),
                // There is nothing to reset, but how the server stands is to be told.
                None => put_packet(packet, 0, &[COM_PING]),
            };
            return Ok(Ok(()));
        }
        let number = match &usage.home {
            Home::Here(number) => *number,
            Home::Anywhere(prepared) => match self.number_here(lease, usage, prepared).await? {
                Ok(number) => number,
                // Where it was prepared before, it is the execution that is refused.
                Err(_) if usage.untyped && self.says_types_are_missing() => {
                    return Ok(Err(errors::no_types()));
                }
                Err(error) => {
                    self.remember_types(usage, text);
                    return Ok(Err(error));
                }
            },
        };
        self.bring_types(lease, usage, text);
        match text {
            Text::Whole(packet) => put_statement_id(packet, number),
            Text::Streamed(..) => put_statement_id(self.client.packets.buffered_mut(), number),
        }
        Ok(Ok(()))
    }

    /// With query attributes MySQL calls the packet malformed.
    fn says_types_are_missing(&self) -> bool {
        !self.client.capabilities.contains(Capabilities::QUERY_ATTRIBUTES)
    }

    /// A client that has never sent types must not find those of another on the statement that
    /// they share: it gets one of its own, and the server's error.
    fn shun_strangers_types(&self, lease: &mut Lease, usage: &StatementUse) {
        let Home::Anywhere(shared) = &usage.home else { return };
        let owner = self.owner(usage);
        if !lease.statements.types(shared, owner).is_empty() {
            lease.statements.retire(shared, owner);
        }
    }

    async fn number_here(
        &mut self,
        lease: &mut Lease,
        usage: &StatementUse,
        text: &Arc<PreparedText>,
    ) -> Result<Result<u32, ServerError>, Failure> {
        let owner = self.owner(usage);
        if let Some(number) = lease.statements.find(text, owner) {
            return Ok(Ok(number));
        }
        // Preparing a statement clears the list of warnings and errors, which a command that does not
        // come to run it leaves alone.
        let runs = executes(usage) && !usage.untyped;
        if !runs
            && self.state.outcome.diagnostics == Diagnostics::OnConnection
            && !self.take_diagnostics(lease).await.map_err(Failure::End)?
        {
            return Err(Failure::Unsent);
        }
        let mut answer = self.prepare_on(lease, text).await?;
        if matches!(&answer, Err(error) if error.code == TOO_MANY) {
            // Those that are kept for later are ours to give up.
            lease.statements.retire_shared();
            self.close_statements(lease).await?;
            answer = self.prepare_on(lease, text).await?;
        }
        if let Ok(number) = answer {
            let room = lease.pool().statement_room.clone();
            lease.statements.insert(text, owner, number, &room);
        }
        Ok(answer)
    }

    async fn prepare_on(
        &mut self,
        lease: &mut Lease,
        text: &PreparedText,
    ) -> Result<Result<u32, ServerError>, Failure> {
        let deadline = self.context.traffic.load().connect_timeout;
        let collations = self.context.collations.load_full();
        let set_names = |id| collations.set_names(id);
        // A connection whose settings are not known in full cannot be brought back to them.
        let unknown = Pins::SESSION_VARIABLE | Pins::UNKNOWN_EFFECTS;
        let as_it_is = self.state.pins().intersects(unknown);
        let backend = lease.backend();
        let preparing = lease.prepare(text, as_it_is, set_names, deadline);
        match attempted(&mut self.client, &self.context, backend, preparing).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let backend = &lease.pool().name;
                tracing::info!(%backend, %error, "a statement could not be prepared");
                Err(Failure::Unsent)
            }
            Err(Trouble::Refusal(Refusal::End(end))) => Err(Failure::End(end)),
            Err(_) => Err(Failure::Unsent),
        }
    }

    /// Tells the server which statements nobody needs any more. There is no reply to that.
    pub(super) async fn close_statements(&mut self, lease: &mut Lease) -> Result<(), Failure> {
        let closing = lease.statements.take_closing();
        if closing.is_empty() {
            return Ok(());
        }
        for closing in closing.chunks(CLOSED_AT_ONCE) {
            let mut out = BytesMut::new();
            for number in closing {
                let [a, b, c, d] = number.to_le_bytes();
                put_packet(&mut out, 0, &[COM_STMT_CLOSE, a, b, c, d]);
            }
            let written = watched(&mut self.client, lease.write_command(&out)).await;
            if written.map_err(|error| Failure::End(error.into()))?.is_err() {
                return Err(Failure::Unsent);
            }
        }
        Ok(())
    }

    /// Takes note of the parameters' types that an execution sends. One that leaves them out gets
    /// them put in, where the statement on this connection has others or none.
    fn bring_types(&mut self, lease: &mut Lease, usage: &StatementUse, text: &mut Text) {
        if !executes(usage) {
            return;
        }
        let owner = self.owner(usage);
        let capabilities = self.client.capabilities;
        let packet = self.packet(text);
        let remembered = self.state.statements().find(usage.id);
        let Some((_, prepared)) = remembered else { return };
        let payload = packet.get(HEADER..).unwrap_or_default();
        match types(usage.command, payload, prepared.parameters, capabilities) {
            Ok(Types::Sent(sent)) => {
                if let Home::Anywhere(shared) = &usage.home {
                    lease.statements.set_types(shared, owner, sent);
                }
                if prepared.types != sent {
                    let sent = sent.to_vec();
                    self.set_types(usage.id, sent);
                }
            }
            Ok(Types::LeftOut { at }) => {
                let Home::Anywhere(shared) = &usage.home else { return };
                let there = lease.statements.types(shared, owner);
                if prepared.types.is_empty() || there == prepared.types {
                    return;
                }
                let Some(splice) = put_in(usage.command, payload, at, &prepared.types) else {
                    return;
                };
                lease.statements.set_types(shared, owner, &prepared.types);
                match text {
                    Text::Whole(packet) => *packet = splice.applied(packet),
                    Text::Streamed(_, put_in) => *put_in = Some(splice),
                }
            }
            // The server has the right error for it.
            Ok(Types::None) | Err(_) => {}
        }
    }

    /// A server keeps the types of an execution that it refuses, too.
    #[cold]
    fn remember_types(&mut self, usage: &StatementUse, text: &Text) {
        if !executes(usage) {
            return;
        }
        let Some((_, prepared)) = self.state.statements().find(usage.id) else { return };
        let payload = self.packet(text).get(HEADER..).unwrap_or_default();
        let capabilities = self.client.capabilities;
        if let Ok(Types::Sent(sent)) =
            types(usage.command, payload, prepared.parameters, capabilities)
        {
            let sent = sent.to_vec();
            self.set_types(usage.id, sent);
        }
    }

    /// The command's packet, or the beginning of it.
    fn packet<'a>(&'a self, text: &'a Text) -> &'a [u8] {
        match text {
            Text::Whole(packet) => packet,
            Text::Streamed(..) => self.client.packets.buffered(),
        }
    }

    fn set_types(&mut self, id: u32, types: Vec<u8>) {
        self.state.with_statements(|statements| {
            if let Some(prepared) = statements.get_mut(id) {
                prepared.types = types;
            }
        });
    }

    /// Takes over what a reply has told about prepared statements.
    pub(super) fn follow_statements(&mut self, lease: &mut Lease, plan: &Plan, reply: &Reply) {
        if let (Some((id, prepares)), Some((number, parameters))) = (&plan.prepares, reply.prepared)
        {
            let home = match prepares {
                Prepares::Here { .. } => Home::Here(number),
                Prepares::Text(text) => {
                    let room = lease.pool().statement_room.clone();
                    lease.statements.insert(text, None, number, &room);
                    Home::Anywhere(text.clone())
                }
            };
            let (runs_routine, kills) = match prepares {
                Prepares::Here { runs_routine, kills } => (*runs_routine, *kills),
                // What it kills its text tells.
                Prepares::Text(text) => (text.statement.kind == Kind::Call, None),
            };
            self.state.with_statements(|statements| {
                statements.add(*id, home, parameters);
                if let Some(prepared) = statements.get_mut(*id) {
                    prepared.runs_routine = runs_routine;
                    prepared.kills = kills;
                }
            });
            self.prepared_at = Some((*id, lease.backend()));
        }
        if plan.prepares.is_some() && reply.error.is_some() {
            self.state.with_statements(Statements::none_prepared);
        }
        let Some(usage) = &plan.statement else { return };
        let unread =
            reply.error.as_ref().is_some_and(|error| [TOO_LARGE, MALFORMED].contains(&error.code));
        if let (Home::Anywhere(text), true) = (&usage.home, unread) {
            lease.statements.set_types(text, self.owner(usage), b"");
        }
        if usage.command == Command::StmtReset && reply.error.is_none() {
            self.state.with_statements(|statements| statements.forget_failure(usage.id));
        }
        if self.prepared_at.is_some_and(|(id, _)| id == usage.id) {
            self.prepared_at = None;
        }
        let owner = self.owner(usage);
        let status = reply.status.unwrap_or(Status::empty());
        let cursor = match usage.command {
            Command::StmtExecute => {
                plan.expect == Some(Expect::Cursor) && status.contains(Status::CURSOR_EXISTS)
            }
            Command::StmtFetch => reply.error.is_none() && !status.contains(Status::LAST_ROW_SENT),
            _ => false,
        };
        // Servers keep long data for an execution that they could not read, and their refusal of
        // such data.
        let unread = usage.command == Command::StmtExecute
            && reply
                .error
                .as_ref()
                .is_some_and(|error| [MALFORMED, WRONG_ARGUMENTS].contains(&error.code))
            && self.state.statements().find(usage.id).is_some_and(|(_, it)| it.long_data);
        let long_data = usage.command == Command::StmtSendLongData || unread;
        let closed = usage.command == Command::StmtClose;
        if let (Home::Anywhere(text), true) = (&usage.home, usage.exclusive) {
            if closed {
                lease.statements.forget(text, owner);
            } else if !cursor && !long_data {
                lease.statements.retire(text, owner);
            }
        }
        let simple = !usage.exclusive && !cursor && !closed;
        if simple && matches!(usage.home, Home::Anywhere(_)) {
            return;
        }
        self.state.with_statements(|statements| {
            if closed {
                statements.remove(usage.id);
            } else if let Some(prepared) = statements.get_mut(usage.id) {
                prepared.cursor = cursor;
                prepared.long_data = long_data;
            }
        });
    }

    /// The server has refused to prepare the statement that the command is about: that is the
    /// answer.
    pub(super) async fn not_prepared(
        &mut self,
        lease: Lease,
        plan: &Plan,
        text: &Text,
        error: ServerError,
        rescued: Rescued,
    ) -> Result<(), Failure> {
        if rescued.read && is_rescued(error.code) {
            self.give_back(lease, true);
            return Err(Failure::Refused(error.code));
        }
        if rescued.read_only && is_read_only(&error) {
            self.give_back(lease, true);
            return Err(Failure::ReadOnly(error));
        }
        self.no_server_asked(plan, &error);
        if let Text::Streamed(incoming, _) = text {
            self.discard(*incoming).await.map_err(Failure::End)?;
        }
        if plan.expect.is_some() {
            let answered = match plan.after.diagnostics {
                DiagnosticsAfter::Added { .. } => self.answer_further_error(&error).await,
                _ => self.answer_error(1, &error).await,
            };
            answered.map_err(Failure::End)?;
        }
        self.give_back(lease, true);
        self.publish_state();
        Ok(())
    }

    /// What did not get to a server. Long data has no reply to say so: the next execution does.
    pub(super) fn no_server_asked(&mut self, plan: &Plan, error: &ServerError) {
        let Some(StatementUse { command, id, .. }) = plan.statement else { return };
        self.state.with_statements(|statements| match command {
            Command::StmtSendLongData => {
                if let Some(prepared) = statements.get_mut(id) {
                    prepared.failed = Some(error.clone());
                }
            }
            Command::StmtClose => statements.remove(id),
            _ => {}
        });
    }
}
