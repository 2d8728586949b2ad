//! What follows the proof: the primary's word, when it is needed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::exchange::{Proof, requires_tls};
use super::failure::LoginFailure;
use super::{LoginContext, Ownership, SERVED, announced};
use crate::backend::{ConnectError, Connected, Credential, LoginOptions, connect};
use crate::frontend::accounts::{Account, Known, Welcome, Who};
use crate::frontend::acquire::PAUSE;
use crate::routing::topology::BackendId;
use crate::wire::Capabilities;
use crate::wire::auth::Secret;
use crate::wire::capabilities::Status;
use crate::wire::login::to_server::LoginError;
use crate::wire::proxy_header::Source;
use crate::wire::reply::ServerError;

/// How long the primary may take to let a client in.
const PRIMARY_TIMEOUT: Duration = Duration::from_secs(5);

/// ER_ACCESS_DENIED_ERROR.
const ACCESS_DENIED: u16 = 1045;

/// What a client wants beyond being let in; it goes to the primary as it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wishes<'a> {
    /// What was agreed on with the client.
    pub capabilities: Capabilities,
    pub collation: u8,
    pub max_packet: u32,
    pub database: Option<&'a [u8]>,
    /// Connection attributes, encoded.
    pub attributes: &'a [u8],
    pub tls: bool,
    /// With which the session begins.
    pub revision: u64,
    /// How the client's host is called in messages.
    pub host: &'a str,
    /// What the primary is told of where the client is.
    pub announce: Option<Source>,
    /// Until when it waits for a primary, where only that can judge it.
    pub patience: Instant,
}

impl<'a> Wishes<'a> {
    fn who(&self, user: &'a [u8]) -> Who<'a> {
        Who { user, from: announced(self.announce) }
    }

    fn welcome(&self, status: Status, now: std::time::Instant) -> Welcome<'a> {
        Welcome { status, database: self.database, revision: self.revision, now }
    }
}

/// A client that is let in.
#[derive(Debug)]
pub(super) struct Admission {
    pub account: Arc<Account>,
    /// With which its session begins.
    pub status: Status,
    pub opened: Option<Opened>,
}

/// A connection to the primary in the client's name, made because of its login.
#[derive(Debug)]
pub struct Opened {
    pub backend: BackendId,
    pub connected: Connected,
    /// With which it was opened.
    pub credential: Arc<Credential>,
}

/// Decides on a client that has shown this proof.
pub(super) async fn admit(
    context: &LoginContext,
    user: &[u8],
    proof: Proof,
    wishes: Wishes<'_>,
) -> Result<Admission, LoginFailure> {
    match proof {
        Proof::Known(known) => admit_known(context, known, wishes).await,
        Proof::Presented(secret) if context.accounts.decides(user) => {
            let with_password = secret != Secret::Empty;
            Err(LoginFailure::access_denied(user, wishes.host, with_password))
        }
        Proof::Wrong if context.accounts.decides(user) => {
            Err(LoginFailure::access_denied(user, wishes.host, true))
        }
        Proof::Presented(secret) => admit_presented(context, user, secret, wishes).await,
        Proof::Wrong => Err(refuse(context, user, wishes).await),
    }
}

/// The client knows the secret. The primary is asked only for a database that it has not lately
/// accepted, for an account that it has not seen yet, and after accounts were changed through us; without a primary the client comes in
/// all the same, for reads go on.
async fn admit_known(
    context: &LoginContext,
    known: Known,
    wishes: Wishes<'_>,
) -> Result<Admission, LoginFailure> {
    let Known { account, status, revision, .. } = known;
    let denied = || LoginFailure::access_denied(&account.user, wishes.host, true);
    // Of a listed user, a server may have refused the configured secret.
    let credential = account.credential().ok_or_else(denied)?;
    if requires_tls(context, &account) && !wishes.tls {
        return Err(denied());
    }
    let now = std::time::Instant::now();
    let accepted = wishes
        .database
        .is_none_or(|database| context.accounts.accepts(wishes.who(&account.user), database, now));
    // A server that is told of hosts goes by them.
    let accepted = accepted && revision >= wishes.revision && wishes.announce.is_none();
    if let (Some(status), true) = (status, accepted) {
        return Ok(Admission { account, status, opened: None });
    }
    match open(context, credential.clone(), wishes).await {
        Ok(opened) => {
            let status = opened.connected.ok.packet().status;
            let secret = credential.secret.clone();
            let who = wishes.who(&account.user);
            let account = context.accounts.remember(who, secret, wishes.welcome(status, now));
            Ok(Admission { account, status, opened: Some(opened) })
        }
        Err(OpenError::Connect(ConnectError::Refused(error))) if !is_full(&error) => {
            if error.code == ACCESS_DENIED {
                context.accounts.reject(&account, &credential);
            }
            Err(LoginFailure::Denied(error))
        }
        Err(error) if error.may_be_overlooked() => {
            let status = status.unwrap_or(Status::AUTOCOMMIT);
            Ok(Admission { account, status, opened: None })
        }
        Err(error) => Err(error.into_failure(&account.user, wishes)),
    }
}

/// The client has a secret that only the primary can judge.
async fn admit_presented<'a>(
    context: &LoginContext,
    user: &'a [u8],
    secret: Secret,
    wishes: Wishes<'a>,
) -> Result<Admission, LoginFailure> {
    let credential = Arc::new(Credential::new(user, secret));
    let mut opened = open_in_time(context, credential.clone(), wishes)
        .await
        .map_err(|error| error.into_failure(user, wishes))?;
    let status = opened.connected.ok.packet().status;
    let now = std::time::Instant::now();
    let secret = credential.secret.clone();
    let account = context.accounts.remember(wishes.who(user), secret, wishes.welcome(status, now));
    if requires_tls(context, &account) && !wishes.tls {
        return Err(LoginFailure::access_denied(user, wishes.host, true));
    }
    if let Some(current) = account.credential() {
        opened.credential = current;
    }
    Ok(Admission { account, status, opened: Some(opened) })
}

/// Lets the primary refuse a client whose answer fits nothing that is known, by logging in with
/// what is certainly wrong: so the client reads the server's own words, for an unknown user and a
/// wrong password alike, and the server counts the attempt.
async fn refuse(context: &LoginContext, user: &[u8], wishes: Wishes<'_>) -> LoginFailure {
    let denied = LoginFailure::access_denied(user, wishes.host, true);
    let mut nonsense = [0; 24];
    if aws_lc_rs::rand::fill(&mut nonsense).is_err() {
        return denied;
    }
    let secret = Secret::from_password(nonsense);
    let credential = Arc::new(Credential::new(user, secret));
    match open(context, credential, wishes).await {
        Err(OpenError::Connect(ConnectError::Refused(error))) => LoginFailure::Denied(error),
        // Whoever the server would have let in with that, it was not this client.
        _ => denied,
    }
}

/// Why there is no connection to the primary.
#[derive(Debug)]
enum OpenError {
    NoPrimary(String),
    Crowded,
    Connect(ConnectError),
}

/// Opens a connection to the primary in the client's name. While there is none, or none that can be
/// reached, it waits as a write does.
async fn open_in_time(
    context: &LoginContext,
    credential: Arc<Credential>,
    wishes: Wishes<'_>,
) -> Result<Opened, OpenError> {
    let mut published = context.topology.subscribe();
    loop {
        let failed = match open(context, credential.clone(), wishes).await {
            Err(error) if error.may_pass() => error,
            decided => return decided,
        };
        let now = Instant::now();
        if now >= wishes.patience {
            return Err(failed);
        }
        // Whether another one is published or not: the one that there is may be reached again.
        let _ = timeout_at(wishes.patience.min(now + PAUSE), published.changed()).await;
    }
}

/// Opens a connection to the primary in the client's name.
async fn open(
    context: &LoginContext,
    credential: Arc<Credential>,
    wishes: Wishes<'_>,
) -> Result<Opened, OpenError> {
    let topology = context.topology.load_full();
    let Some(primary) = topology.primary() else {
        let reason = match topology.writes.stopped() {
            Some(reason) => reason.to_string(),
            None => "it has just gone".into(),
        };
        return Err(OpenError::NoPrimary(reason));
    };
    let Some(address) = &primary.address else {
        return Err(OpenError::NoPrimary(format!("the address of {} is not known", primary.name)));
    };
    let deadline = Instant::now() + PRIMARY_TIMEOUT;
    let permit = timeout_at(deadline, context.openings.acquire()).await;
    let Ok(Ok(_permit)) = permit else {
        return Err(OpenError::Crowded);
    };
    let tls = context.backend_tls.load();
    let options = LoginOptions {
        credential: &credential,
        capabilities: (wishes.capabilities & SERVED)
            | Capabilities::SESSION_TRACK
            | context.backend_compression,
        collation: wishes.collation,
        max_packet: wishes.max_packet,
        database: wishes.database,
        attributes: match context.ownership {
            Ownership::Shared => b"",
            Ownership::Session { .. } => wishes.attributes,
        },
        announce: wishes.announce,
        tls: &tls,
        deadline,
    };
    let connected = connect(address, &options).await.map_err(OpenError::Connect)?;
    Ok(Opened { backend: primary.id, connected, credential })
}

fn is_full(error: &ServerError) -> bool {
    matches!(error.code, 1040 | 1203 | 1226)
}

impl OpenError {
    /// The primary could not be asked, which is no reason against a client that is known.
    fn may_be_overlooked(&self) -> bool {
        match self {
            OpenError::NoPrimary(_) | OpenError::Crowded => true,
            OpenError::Connect(error) => error.is_unreachable() || error.is_full(),
        }
    }

    /// It may be otherwise in a moment.
    fn may_pass(&self) -> bool {
        match self {
            OpenError::NoPrimary(_) => true,
            OpenError::Crowded => false,
            OpenError::Connect(error) => error.is_unreachable(),
        }
    }

    fn into_failure(self, user: &[u8], wishes: Wishes<'_>) -> LoginFailure {
        let error = match self {
            OpenError::NoPrimary(reason) => return LoginFailure::NoPrimary(reason),
            OpenError::Crowded => {
                return LoginFailure::NoPrimary("too many clients are logging in at once".into());
            }
            OpenError::Connect(error) => error,
        };
        match error {
            ConnectError::Refused(error) => LoginFailure::Denied(error),
            ConnectError::UnsupportedPlugin(plugin) => {
                let user = String::from_utf8_lossy(user).into_owned();
                LoginFailure::OutOfReach { user, plugin }
            }
            // A hash where the account has moved on to another plugin, a password too long for
            // the server's key: a server asked directly would deny it.
            ConnectError::Encrypt(_)
            | ConnectError::InsufficientSecret(LoginError::NeedsPassword(_)) => {
                LoginFailure::access_denied(user, wishes.host, true)
            }
            other => LoginFailure::NoPrimary(other.to_string()),
        }
    }
}
