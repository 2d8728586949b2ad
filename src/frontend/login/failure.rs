//! Why a client did not get in, and what it is told.

use std::io;

use crate::metrics::LoginFailure as Label;
use crate::net::PacketError;
use crate::net::proxy_header::HeaderError;
use crate::wire::codec::Malformed;
use crate::wire::reply::ServerError;

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginFailure {
    /// The client closed the connection before it said anything: a health check, a port scan.
    #[error("the client said nothing")]
    Silent,
    #[error("the client closed the connection during the login")]
    Closed,
    #[error("the login took too long")]
    TimedOut,
    #[error("the connection broke: {0}")]
    Io(io::Error),
    /// A proxy in front of us has not said as it should for whom it speaks.
    #[error("{0}")]
    ProxyHeader(Malformed),
    /// What came is no login.
    #[error("no MySQL login: {0}")]
    Protocol(String),
    #[error("TLS handshake: {0}")]
    Tls(io::Error),
    #[error("the client did not ask for TLS, which is required")]
    TlsRequired,
    /// The client knows neither protocol 4.1 nor the account's plugin.
    #[error("the client is too old for the account's authentication plugin")]
    OldClient,
    /// Wrong password, unknown user, locked, unknown database …: the servers' word, or ours in
    /// their words.
    #[error("{0}")]
    Denied(ServerError),
    /// The account's plugin needs the password, and clients of it never send that.
    #[error("account {user} uses the authentication plugin {plugin} and is not listed")]
    NotListed { user: String, plugin: String },
    /// The account's plugin asks for what the proxy cannot have.
    #[error("account {user} uses the authentication plugin {plugin}, which is out of reach")]
    OutOfReach { user: String, plugin: String },
    /// Nobody can say whether the client may come in, or what to greet it with.
    #[error("no primary to ask: {0}")]
    NoPrimary(String),
}

impl LoginFailure {
    /// As which it is counted.
    pub fn label(&self) -> Label {
        match self {
            LoginFailure::Silent | LoginFailure::Closed | LoginFailure::Io(_) => Label::Closed,
            LoginFailure::TimedOut => Label::Timeout,
            LoginFailure::ProxyHeader(_) => Label::ProxyHeader,
            LoginFailure::Protocol(_) => Label::Malformed,
            LoginFailure::Tls(_) | LoginFailure::TlsRequired => Label::Tls,
            LoginFailure::OldClient
            | LoginFailure::NotListed { .. }
            | LoginFailure::OutOfReach { .. } => Label::Plugin,
            LoginFailure::Denied(_) => Label::AccessDenied,
            LoginFailure::NoPrimary(_) => Label::Backend,
        }
    }

    /// The client has kept to the protocol, and is not let in.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            LoginFailure::Denied(_)
                | LoginFailure::OldClient
                | LoginFailure::NotListed { .. }
                | LoginFailure::OutOfReach { .. }
                | LoginFailure::NoPrimary(_)
        )
    }

    /// What the client is told; `None` where nobody is there to read it.
    pub fn reply(&self) -> Option<ServerError> {
        Some(match self {
            LoginFailure::Silent
            | LoginFailure::Closed
            | LoginFailure::Io(_)
            | LoginFailure::Tls(_)
            | LoginFailure::ProxyHeader(_)
            | LoginFailure::TimedOut => return None,
            // ER_HANDSHAKE_ERROR.
            LoginFailure::Protocol(_) => ServerError::new(1043, b"08S01", "Bad handshake"),
            // ER_SECURE_TRANSPORT_REQUIRED.
            LoginFailure::TlsRequired => ServerError::new(
                3159,
                b"HY000",
                "Connections using insecure transport are prohibited while TLS is required \
                 (rwproxy: listen.tls.mode = \"required\")",
            ),
            // ER_NOT_SUPPORTED_AUTH_MODE.
            LoginFailure::OldClient => ServerError::new(
                1251,
                b"08004",
                "Client does not support authentication protocol requested by server; consider \
                 upgrading MySQL client",
            ),
            LoginFailure::Denied(error) => error.clone(),
            // ER_PLUGIN_IS_NOT_LOADED.
            LoginFailure::NotListed { user, plugin } => ServerError::new(
                1524,
                b"HY000",
                format!(
                    "rwproxy cannot log in as '{user}': the account uses the authentication \
                     plugin '{plugin}', which never shows the password. List the user with its \
                     password under [[auth.users]] in proxy.toml"
                ),
            ),
            LoginFailure::OutOfReach { user, plugin } => ServerError::new(
                1524,
                b"HY000",
                format!(
                    "rwproxy cannot log in as '{user}': the account uses the authentication \
                     plugin '{plugin}', which no password satisfies. Use an account with \
                     caching_sha2_password or mysql_native_password"
                ),
            ),
            // CR_CONN_HOST_ERROR in the class of connection failures, which drivers retry.
            LoginFailure::NoPrimary(reason) => ServerError::new(
                2003,
                b"08S01",
                format!("rwproxy has no primary that could let this client in: {reason}"),
            ),
        })
    }

    /// The servers' words for a wrong password or an unknown user.
    pub fn access_denied(user: &[u8], host: &str, with_password: bool) -> Self {
        let mut message = b"Access denied for user '".to_vec();
        message.extend_from_slice(user);
        let rest =
            format!("'@'{host}' (using password: {})", if with_password { "YES" } else { "NO" });
        message.extend_from_slice(rest.as_bytes());
        LoginFailure::Denied(ServerError::new(1045, b"28000", message))
    }
}

impl From<HeaderError> for LoginFailure {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Silent => LoginFailure::Silent,
            HeaderError::Malformed(error) => LoginFailure::ProxyHeader(error),
            HeaderError::Io(error) => error.into(),
        }
    }
}

impl From<PacketError> for LoginFailure {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::Closed => LoginFailure::Closed,
            PacketError::Io(error) => error.into(),
            other => LoginFailure::Protocol(other.to_string()),
        }
    }
}

impl From<io::Error> for LoginFailure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Clients that do not like our certificate go without a word, also one of TLS.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => LoginFailure::Closed,
            _ => LoginFailure::Io(error),
        }
    }
}

impl From<Malformed> for LoginFailure {
    fn from(error: Malformed) -> Self {
        LoginFailure::Protocol(error.to_string())
    }
}
