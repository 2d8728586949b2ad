//! One client's session: the task that owns its socket, its state and at most one connection to a
//! server.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout_at;

use super::accounts::Account;
use super::client::{Client, ClientError, Heard, Patience};
use super::context::Context;
use super::errors;
use super::hold::InsertId;
use super::login::{LoginFailure, Ownership};
use super::mailbox::Mail;
use super::parked::Parked;
use super::registry::{Principal, Registration};
use super::scopes::Membership;
use crate::backend::Credential;
use crate::backend::connection::Access;
use crate::backend::pool::{Lease, PoolKey};
use crate::metrics::{Destination, ErrorKind};
use crate::routing::{BackendId, Demand};
use crate::session::plan::{Action, Situation, Why, plan};
use crate::session::{SessionId, State};
use crate::sql::{Dialect, Reason};
use crate::wire::auth::Nonce;
use crate::wire::capabilities::Status;
use crate::wire::command::Command;
use crate::wire::packet::{HEADER, Header};
use crate::wire::proxy_header::Source;
use crate::wire::reply::ServerError;
use crate::wire::{Capabilities, Flavour};

/// A command of at most this many bytes is read whole before anything is done with it: it can be
/// classified to its end, and sent again elsewhere. A longer one is streamed to the primary.
const WHOLE: usize = 1024 * 1024;

/// Capabilities that concern the client's own stream and login alone (I2).
const STREAM_ONLY: Capabilities = Capabilities::SSL
    .union(Capabilities::COMPRESS)
    .union(Capabilities::ZSTD_COMPRESSION)
    .union(Capabilities::CONNECT_WITH_DB)
    .union(Capabilities::CONNECT_ATTRS)
    .union(Capabilities::PLUGIN_AUTH)
    .union(Capabilities::PLUGIN_AUTH_LENENC)
    .union(Capabilities::SESSION_TRACK);

/// How a session ended.
#[derive(Debug)]
pub enum End {
    /// COM_QUIT.
    Quit,
    /// A stream of the binary log is over, behind which servers close the connection.
    Streamed,
    /// COMMIT RELEASE has been answered, or its like.
    Released,
    /// The client left, stalled, or its connection broke.
    Client(ClientError),
    /// By KILL, or the proxy stops.
    Killed,
    Drained,
    Idle,
    /// The client has said nothing for the session's own `wait_timeout`.
    WaitTimeout,
    /// Its server has closed the connection that it could not do without, after a time-out or a KILL
    /// there: with these words, if any.
    ByServer(Option<ServerError>),
    /// The server went away in the middle of a reply, or with state that cannot be rebuilt.
    BackendLost,
    /// COM_CHANGE_USER was refused.
    Refused(LoginFailure),
    /// The client broke the protocol.
    Protocol(&'static str),
}

impl End {
    /// As which error an end is counted; `None` for those that the client wanted.
    pub fn label(&self) -> Option<ErrorKind> {
        match self {
            End::Quit | End::Streamed | End::Released | End::Refused(_) => None,
            End::Client(ClientError::Stalled) | End::Idle | End::WaitTimeout => {
                Some(ErrorKind::ClientTimeout)
            }
            End::Client(ClientError::Frames(_)) => Some(ErrorKind::ClientProtocol),
            End::Client(_) => None,
            End::Killed | End::ByServer(_) => Some(ErrorKind::Killed),
            End::Drained => Some(ErrorKind::Shutdown),
            End::BackendLost => Some(ErrorKind::BackendLost),
            End::Protocol(_) => Some(ErrorKind::ClientProtocol),
        }
    }
}

impl From<ClientError> for End {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Interrupted(_) => End::Killed,
            other => End::Client(other),
        }
    }
}

pub struct Session {
    pub(super) client: Client,
    pub(super) context: Arc<Context>,
    pub(super) account: Arc<Account>,
    /// With which connections are opened now.
    pub(super) credential: Arc<Credential>,
    pub(super) state: State,
    /// The connection that the session keeps between commands: pinned, or in a transaction.
    pub(super) lease: Option<Lease>,
    /// Those that are its own besides; `None`: it shares them with others.
    pub(super) parked: Option<Parked>,
    /// The open transaction may have written.
    pub(super) transaction_wrote: bool,
    /// The backend with which a connection was lost that the session could not do without; the
    /// client has not been told yet.
    pub(super) lost: Option<Arc<str>>,
    pub(super) places: Places,
    /// The newest statement and where it was prepared, until it is executed.
    pub(super) prepared_at: Option<(u32, BackendId)>,
    pub(super) insert_id: InsertId,
    /// What its reads must see. It stays when the account changes: who asks is the same.
    pub(super) demand: Demand,
    /// Whose writes its reads must see besides.
    pub(super) membership: Option<Membership>,
    /// The connection attribute `program_name`.
    pub(super) application: Option<Arc<[u8]>>,
    /// The client's connection attributes, encoded, for servers to be told; empty for none.
    pub(super) attributes: Vec<u8>,
    pub(super) dialect: Dialect,
    /// What a new session on the server has.
    server_dialect: Dialect,
    /// Of what `dialect` and the client's patience have come.
    judged_by: Option<(u64, Status)>,
    pub(super) keys: Keys,
    /// For COM_CHANGE_USER.
    pub(super) nonce: Nonce,
    /// How often that was refused.
    pub(super) refused_changes: u32,
    pub(super) max_packet: u32,
    pub(super) registration: Registration,
}

/// The pool identities of a session, one for each kind of access.
#[derive(Debug)]
pub(super) struct Keys {
    write: PoolKey,
    read: PoolKey,
}

impl Keys {
    fn new(
        credential: &Credential,
        revision: u64,
        capabilities: Capabilities,
        state: &State,
    ) -> Self {
        let key = |access| PoolKey {
            user: credential.user.clone(),
            generation: credential.generation,
            revision,
            capabilities: capabilities - STREAM_ONLY,
            access,
            has_database: state.settings().database.is_some(),
            role: state.settings().role.clone(),
        };
        Keys { write: key(Access::ReadWrite), read: key(Access::ReadOnly) }
    }

    pub fn of(&self, access: Access) -> &PoolKey {
        match access {
            Access::ReadWrite => &self.write,
            Access::ReadOnly => &self.read,
        }
    }
}

/// Which connections the session has used last: one for each backend, and the very last.
#[derive(Debug, Default)]
pub(super) struct Places {
    numbers: Vec<(BackendId, u64)>,
    previous: Option<BackendId>,
}

impl Places {
    pub fn number(&self, backend: BackendId) -> Option<u64> {
        self.numbers.iter().find(|(id, _)| *id == backend).map(|(_, number)| *number)
    }

    pub fn previous(&self) -> Option<BackendId> {
        self.previous
    }

    /// The name of the backend that served the previous statement, for people.
    pub fn previous_name(&self, context: &Context) -> Option<String> {
        let topology = context.topology.load();
        Some(topology.backend(self.previous?)?.name.to_string())
    }

    pub fn note(&mut self, backend: BackendId, number: u64) {
        self.previous = Some(backend);
        match self.numbers.iter_mut().find(|(id, _)| *id == backend) {
            Some(place) => place.1 = number,
            None => {
                // Backends come and go; nobody has this many.
                self.numbers.truncate(63);
                self.numbers.insert(0, (backend, number));
            }
        }
    }
}

/// A command's first packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Incoming {
    pub command: Command,
    pub header: Header,
    /// All of it is buffered, and nothing follows it.
    pub whole: bool,
}

impl Session {
    pub fn new(
        client: Client,
        context: Arc<Context>,
        (account, credential): (Arc<Account>, Arc<Credential>),
        state: State,
        server_dialect: Dialect,
        registration: Registration,
    ) -> Self {
        Session {
            keys: Keys::new(&credential, 0, client.capabilities, &state),
            account,
            nonce: Nonce::from([0; Nonce::LENGTH]),
            refused_changes: 0,
            transaction_wrote: false,
            max_packet: 0,
            client,
            parked: match context.login.ownership {
                Ownership::Shared => None,
                Ownership::Session { .. } => Some(Parked::default()),
            },
            context,
            credential,
            lease: None,
            lost: None,
            places: Places::default(),
            prepared_at: None,
            insert_id: InsertId::Known(0),
            demand: Demand::default(),
            membership: None,
            application: None,
            attributes: Vec::new(),
            dialect: state.dialect(server_dialect),
            server_dialect,
            judged_by: None,
            state,
            registration,
        }
    }

    /// The connection id that the client was greeted with.
    pub fn id(&self) -> SessionId {
        self.client.handle.id
    }

    /// Serves the client until one side ends it. What this waits for is kept small: its future is
    /// most of what an idle client takes, so the rare ways are boxed.
    pub async fn run(&mut self) -> End {
        let end = loop {
            let result = match self.next_command().await {
                Ok(incoming) => self.serve(incoming).await,
                Err(end) => Err(end),
            };
            if let Err(end) = result {
                break end;
            }
        };
        self.say_goodbye(&end).await;
        if let Some(lease) = self.lease.take() {
            lease.close();
        }
        end
    }

    /// Tells a client that is still there why it is sent away.
    async fn say_goodbye(&mut self, end: &End) {
        let error = match end {
            End::Drained => errors::shutdown(),
            End::Idle => errors::idle_too_long(),
            // MariaDB goes without a word.
            End::WaitTimeout if self.dialect.flavour == Flavour::MySql => errors::idle_too_long(),
            End::ByServer(Some(words)) => words.clone(),
            End::Protocol(_) => errors::malformed(),
            End::Client(ClientError::Frames(error)) => errors::frames(*error),
            _ => return,
        };
        // It may have left at the same moment; nothing is lost by that.
        let _ = self.answer_error(0, &error).await;
    }

    /// Uses the account's present credential for what is opened from now on. False when a server
    /// has refused it: the client must log in anew.
    pub(super) fn refresh_credential(&mut self) -> bool {
        let Some(current) = self.account.credential() else {
            return false;
        };
        if current.generation != self.credential.generation {
            self.credential = current;
            let revision = self.keys.write.revision;
            let capabilities = self.client.capabilities;
            self.keys = Keys::new(&self.credential, revision, capabilities, &self.state);
        }
        true
    }

    /// What servers are told of where the client is.
    pub(super) fn announces(&self) -> Option<Source> {
        self.context.login.ownership.announces(self.client.handle.peer)
    }

    /// Begins anew as another account: nothing of the one before is left.
    pub(super) fn become_user(
        &mut self,
        account: Arc<Account>,
        credential: Arc<Credential>,
        revision: u64,
        state: State,
    ) {
        self.keys = Keys::new(&credential, revision, self.client.capabilities, &state);
        self.server_dialect = **self.context.dialect.load();
        self.judged_by = None;
        self.account = account;
        self.credential = credential;
        self.state = state.succeeding(&self.state);
        self.publish_principal();
        self.forget_connections();
    }

    /// Forgets what it has left on connections.
    pub(super) fn forget_connections(&mut self) {
        self.insert_id = InsertId::Known(0);
        self.lost = None;
        self.prepared_at = None;
        self.places = Places::default();
        if let Some(parked) = &mut self.parked {
            parked.close();
        }
    }

    /// Goes on with connections of this revision alone: the session is as a new one.
    pub(super) fn begin_revision(&mut self, revision: u64) {
        self.keys.write.revision = revision;
        self.keys.read.revision = revision;
        self.server_dialect = **self.context.dialect.load();
        self.judged_by = None;
    }

    /// Keeps the pool identities and the registry in step with the state.
    pub(super) fn publish_state(&mut self) {
        self.refresh_keys();
        let judged_by = Some((self.state.version(), self.state.status()));
        if self.judged_by != judged_by {
            self.judged_by = judged_by;
            self.dialect = self.state.dialect(self.server_dialect);
            self.client.patience = self.patience();
        }
        self.tell_of_hold();
        self.client.handle.set_state(self.state.pins(), self.state.in_transaction());
        self.client.handle.set_backend(self.lease.as_ref().map(Lease::backend));
    }

    fn patience(&self) -> Patience {
        let default = Patience::default();
        let own = |seconds: Option<u64>, default| seconds.map_or(default, Duration::from_secs);
        Patience {
            read: own(self.state.net_read_timeout(), default.read),
            write: own(self.state.net_write_timeout(), default.write),
        }
    }

    /// Keeps the pool identities in step with the state.
    pub(super) fn refresh_keys(&mut self) {
        let has_database = self.state.settings().database.is_some();
        if has_database != self.keys.write.has_database {
            self.keys.write.has_database = has_database;
            self.keys.read.has_database = has_database;
        }
        let role = &self.state.settings().role;
        if *role != self.keys.write.role {
            self.keys.write.role = role.clone();
            self.keys.read.role = role.clone();
            self.publish_principal();
        }
    }

    /// Lets others know as whom the session acts.
    fn publish_principal(&self) {
        let role = self.state.settings().role.clone();
        self.client.handle.set_principal(Principal { account: self.account.clone(), role });
    }

    /// Waits for a command. Mail is dealt with in between.
    async fn next_command(&mut self) -> Result<Incoming, End> {
        self.client.packets.begin_command();
        let limit = self.state.wait_timeout().map(Duration::from_secs);
        let patience = limit.map(|limit| tokio::time::Instant::now() + limit);
        loop {
            if let Some((header, payload)) = self.client.peek(WHOLE) {
                if header.sequence != 0 {
                    self.answer_error(header.sequence.wrapping_add(1), &errors::out_of_order())
                        .await?;
                    return Err(End::Client(ClientError::Closed));
                }
                let Some(&code) = payload.first() else {
                    return Err(End::Protocol("a command without its first byte"));
                };
                let whole = payload.len() == header.length && !header.is_continued();
                return Ok(Incoming { command: Command::from_byte(code), header, whole });
            }
            let mut wanted = Mail::BACKEND | Mail::IDLE | Mail::QUIET;
            if !self.state.keeps_connection() {
                wanted |= Mail::DRAIN | Mail::ACCOUNT | Mail::RELEASE;
            }
            let begun = !self.client.packets.buffered().is_empty();
            // One that is kept without need can close as it likes; a server may have something to
            // say about data that were sent to it.
            let bound = self.state.keeps_connection() && !begun;
            let kept = self.lease.as_mut().filter(|lease| bound && !lease.awaits_word);
            let filling = self.client.fill_beside(kept.map(|lease| &mut lease.packets), wanted);
            let heard = match patience.filter(|_| !begun) {
                Some(patience) => match timeout_at(patience, filling).await {
                    Ok(heard) => heard,
                    Err(_) => return Err(End::WaitTimeout),
                },
                None => filling.await,
            };
            match heard {
                Ok(Heard::Client) => {}
                Ok(Heard::Server) => Box::pin(self.hear_farewell()).await?,
                Err(ClientError::Interrupted(mail)) => Box::pin(self.receive(mail)).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn receive(&mut self, mail: Mail) -> Result<(), End> {
        if mail.intersects(Mail::KILL_CONNECTION | Mail::SHUTDOWN) {
            return Err(End::Killed);
        }
        if mail.contains(Mail::IDLE) {
            return Err(End::Idle);
        }
        if mail.contains(Mail::QUIET) {
            self.client.handle.mailbox.take(Mail::QUIET);
            self.client.packets.give_back();
            self.tidy_parked();
        }
        if mail.intersects(Mail::DRAIN | Mail::ACCOUNT) {
            return Err(End::Drained);
        }
        if mail.contains(Mail::RELEASE) {
            self.client.handle.mailbox.take(Mail::RELEASE);
            if let Some(lease) = self.lease.take() {
                self.let_go(lease, true).await?;
                self.publish_state();
            }
        }
        if mail.contains(Mail::BACKEND) {
            self.client.handle.mailbox.take(Mail::BACKEND);
            // What the loss means to the client is said when it next asks for something.
            self.leave_lost_backend();
            self.tidy_parked();
        }
        Ok(())
    }

    async fn serve(&mut self, incoming: Incoming) -> Result<(), End> {
        self.client.handle.mailbox.take(Mail::KILL_QUERY | Mail::IDLE | Mail::QUIET);
        self.client.handle.begin_statement();
        let result = self.dispatch(incoming).await;
        let on_replica = matches!(result, Ok(Destination::Replica));
        self.client.handle.end_statement(on_replica);
        result.map(|_| ())
    }

    /// Answers one command; by whom it was answered.
    async fn dispatch(&mut self, incoming: Incoming) -> Result<Destination, End> {
        let mut action = {
            let (_, payload) =
                self.client.peek(WHOLE).ok_or(End::Protocol("a command that vanished"))?;
            let traffic = self.context.traffic.load();
            let situation = Situation {
                session: self.client.handle.id,
                user: &self.account.user,
                state: &self.state,
                dialect: self.dialect,
                rules: &traffic.rules,
                hints: None,
                texts: &self.context.texts,
                prepared_at: self.prepared_at,
                previous: self.places.previous(),
                has_primary: self.context.topology.load().primary().is_some(),
                capabilities: self.client.capabilities,
                shares_writes: self.shares_writes(&traffic),
                opinions: &self.context.opinions,
            };
            plan(incoming.command, &payload[1..], incoming.whole, situation)
        };
        let why = match action {
            // In place: a plan that is moved is held twice while the statement runs.
            Action::Run(ref mut plan) => return self.execute(plan, incoming).await,
            Action::Malformed => return Err(End::Protocol("a command that is cut off")),
            Action::Quit => return Err(End::Quit),
            Action::Ok { is_statement } => {
                self.discard(incoming).await?;
                self.answer_ok(is_statement).await?;
                Why::Command
            }
            Action::Ignore => {
                self.discard(incoming).await?;
                Why::Prepared
            }
            Action::Close(statement) => {
                self.discard(incoming).await?;
                self.state.with_statements(|statements| statements.remove(statement));
                self.publish_state();
                Why::Prepared
            }
            Action::Refuse { error, kept_for, why } => {
                self.discard(incoming).await?;
                if let Some(id) = kept_for {
                    self.state.with_statements(|statements| statements.forget_failure(id));
                }
                self.answer_error(1, &error).await?;
                self.tell_of_refusal(&error).await?;
                why
            }
            Action::RefuseBesides(error) => {
                self.discard(incoming).await?;
                self.answer_further_error(&error).await?;
                Why::Prepared
            }
            Action::ChangeUser => {
                Box::pin(self.change_user(incoming)).await?;
                Why::Command
            }
            Action::Kill { session, scope } => {
                self.discard(incoming).await?;
                Box::pin(self.kill(session, scope)).await?;
                Why::Text(Reason::Administration)
            }
        };
        self.context.metrics.statements.count(Destination::Local, why.index());
        Ok(Destination::Local)
    }

    /// Reads a command to its end and forgets it.
    pub(super) async fn discard(&mut self, incoming: Incoming) -> Result<(), End> {
        use crate::wire::run::{PacketRun, RunEnd};
        if incoming.whole {
            self.client.packets.consume(HEADER + incoming.header.length);
            return Ok(());
        }
        let mut run = PacketRun::new(RunEnd::Payload);
        loop {
            let count = run.advance(self.client.packets.buffered());
            self.client.packets.consume(count);
            if run.is_done() {
                return Ok(());
            }
            self.client.fill_in_time(Mail::empty()).await?;
        }
    }
}
