//! Every error that the proxy itself gives to a client, in one place: code, SQL state, words.
//!
//! The codes are the servers' own, chosen by what drivers do with them.

use crate::metrics::ErrorKind;
use crate::routing::wish::UnknownBackend;
use crate::wire::Flavour;
use crate::wire::compression::FrameError;
use crate::wire::reply::ServerError;

/// As which an error of this file is counted.
pub fn label(error: &ServerError) -> ErrorKind {
    match error.code {
        1290 => ErrorKind::WritesStopped,
        1040 | 1203 | 1226 => ErrorKind::LeaseTimeout,
        1213 | 1317 | 1053 => ErrorKind::BackendLost,
        1105 => ErrorKind::NoBackend,
        1045 => ErrorKind::Dial,
        _ => ErrorKind::Restore,
    }
}

fn error(code: u16, state: &[u8; 5], message: String) -> ServerError {
    ServerError::new(code, state, message)
}

/// ER_OPTION_PREVENTS_STATEMENT: drivers and pools take it for "this server became read-only",
/// and try again.
pub fn no_primary(reason: &str) -> ServerError {
    error(
        1290,
        b"HY000",
        format!(
            "The MySQL server is running with the --read-only option so it cannot execute this \
             statement (rwproxy: {reason})"
        ),
    )
}

pub fn no_replica() -> ServerError {
    error(1105, b"HY000", "rwproxy: no replica takes reads now (routing.no_replica)".into())
}

pub fn unknown_backend(cause: &UnknownBackend) -> ServerError {
    error(1105, b"HY000", format!("rwproxy: {cause}"))
}

/// ER_CON_COUNT_ERROR.
pub fn no_connection(backend: &str) -> ServerError {
    error(1040, b"08004", format!("Too many connections (rwproxy: all to {backend} are in use)"))
}

/// The same for a read that no replica takes.
pub fn too_many_spills(primary: &str) -> ServerError {
    error(
        1040,
        b"08004",
        format!(
            "Too many connections (rwproxy: no replica takes reads, and {primary} runs as many as \
             routing.spill_limit lets it)"
        ),
    )
}

pub fn unreachable(backend: &str, cause: &dyn std::fmt::Display) -> ServerError {
    error(1105, b"HY000", format!("rwproxy: no connection to {backend}: {cause}"))
}

/// The client has agreed with the primary of its login on something that changes packets.
pub fn of_another_version(backend: &str) -> ServerError {
    unreachable(backend, &"its version lacks a capability of the protocol that the client uses")
}

/// ER_ACCESS_DENIED_ERROR: the account's secret is no longer what the session logged in with.
pub fn account_refused(user: &[u8]) -> ServerError {
    let user = String::from_utf8_lossy(user);
    error(
        1045,
        b"28000",
        format!(
            "Access denied for user '{user}' (rwproxy: its password has changed; log in again)"
        ),
    )
}

/// ER_LOCK_DEADLOCK: the code by which drivers know that a transaction was rolled back and can be
/// tried again from its beginning.
pub fn transaction_lost(backend: &str) -> ServerError {
    error(
        1213,
        b"40001",
        format!(
            "rwproxy: {backend}, which ran the transaction, was lost and the transaction is \
             rolled back; try restarting transaction"
        ),
    )
}

/// ER_QUERY_INTERRUPTED.
pub fn outcome_unknown(backend: &str) -> ServerError {
    error(
        1317,
        b"70100",
        format!(
            "rwproxy: {backend} was lost while it ran the statement; whether it took effect is \
             unknown"
        ),
    )
}

/// ER_SERVER_SHUTDOWN; sent before a connection is closed that lost what tied it to its server.
pub fn state_lost(backend: &str, causes: &str) -> ServerError {
    error(
        1053,
        b"08S01",
        format!("rwproxy: {backend} was lost, and with it what the session kept there: {causes}"),
    )
}

/// ER_SERVER_SHUTDOWN.
pub fn shutdown() -> ServerError {
    error(1053, b"08S01", "Server shutdown in progress".into())
}

/// ER_NET_PACKETS_OUT_OF_ORDER.
pub fn out_of_order() -> ServerError {
    error(1156, b"08S01", "Got packets out of order".into())
}

/// What servers say to frames of the compressed protocol that they cannot read.
pub fn frames(cause: FrameError) -> ServerError {
    match cause {
        FrameError::OutOfOrder { .. } => out_of_order(),
        // ER_NET_UNCOMPRESS_ERROR.
        FrameError::Uncompress => {
            error(1157, b"08S01", "Couldn't uncompress communication packet".into())
        }
    }
}

/// ER_NO_SUCH_THREAD.
pub fn no_such_session(id: u64) -> ServerError {
    error(1094, b"HY000", format!("Unknown thread id: {id}"))
}

/// ER_KILL_DENIED_ERROR.
pub fn not_owner(id: u64) -> ServerError {
    error(1095, b"HY000", format!("You are not owner of thread {id}"))
}

/// Nobody could be asked whether this session may be ended.
pub fn kill_undecided(id: u64) -> ServerError {
    let message = format!(
        "rwproxy: whether thread {id} may be killed could not be asked: its account lets no \
         connection be opened to the primary now"
    );
    error(1105, b"HY000", message)
}

/// ER_QUERY_INTERRUPTED, of a statement that a KILL has ended.
pub fn interrupted() -> ServerError {
    error(1317, b"70100", "Query execution was interrupted".into())
}

/// What a session answers that has killed its own connection.
pub fn connection_killed(flavour: Flavour) -> ServerError {
    match flavour {
        Flavour::MySql => interrupted(),
        // ER_CONNECTION_KILLED.
        Flavour::MariaDb => error(1927, b"70100", "Connection was killed".into()),
    }
}

/// ER_CLIENT_INTERACTION_TIMEOUT of MySQL 8.0.24 and later.
pub fn idle_too_long() -> ServerError {
    error(
        4031,
        b"HY000",
        "The client was disconnected by the server because of inactivity. See wait_timeout and \
         interactive_timeout for configuring this behavior."
            .into(),
    )
}

/// ER_WRONG_ARGUMENTS, as the servers say it to an execution without types that were never sent.
pub fn no_types() -> ServerError {
    error(1210, b"HY000", "Incorrect arguments to mysqld_stmt_execute".into())
}

/// ER_UNKNOWN_COM_ERROR, as MariaDB says it to a COM_CHANGE_USER after too many refusals.
pub fn unknown_command() -> ServerError {
    error(1047, b"08S01", "Unknown command".into())
}

/// ER_MALFORMED_PACKET.
pub fn malformed() -> ServerError {
    error(1835, b"HY000", "Malformed communication packet.".into())
}
