//! Servers' errors that the proxy itself acts on.

use std::time::Duration;

use crate::session::tracking::UNKNOWN_VARIABLE;
use crate::wire::reply::ServerError;

/// Errors that are kept from the client because the command is tried once more in another way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rescued {
    /// A replica's refusals, and a server's last words.
    pub read: bool,
    /// That there are too many prepared statements.
    pub too_many: bool,
    /// That the server has become read-only, or has lost its cluster.
    pub read_only: bool,
    /// That it has no connection of an id that a KILL has named.
    pub no_such_thread: bool,
}

impl Rescued {
    pub const NOTHING: Rescued =
        Rescued { read: false, too_many: false, read_only: false, no_such_thread: false };
    pub const READ: Rescued = Rescued { read: true, ..Rescued::NOTHING };
    pub const WRITE: Rescued = Rescued { read_only: true, ..Rescued::NOTHING };

    pub fn holds(self, code: u16) -> bool {
        (self.read && (is_rescued(code) || is_farewell(code)))
            || (self.too_many && code == TOO_MANY)
            || (self.read_only && (is_option(code) || code == NOT_READY))
            || (self.no_such_thread && code == NO_SUCH_THREAD)
    }
}

/// ER_NO_SUCH_THREAD.
pub(super) const NO_SUCH_THREAD: u16 = 1094;

/// ER_CONNECTION_KILLED.
pub(super) const CONNECTION_KILLED: u16 = 1927;

/// ER_MAX_PREPARED_STMT_COUNT_REACHED.
pub(super) const TOO_MANY: u16 = 1461;

/// ER_UNKNOWN_COM_ERROR: what a node of Galera answers to every statement that looks at a table
/// while it is not in the primary component. It has done nothing then.
const NOT_READY: u16 = 1047;

/// ER_PARSE_ERROR and ER_UNKNOWN_SYSTEM_VARIABLE: nothing has run when the statement itself has them.
pub(super) const UNPARSED: [u16; 2] = [1064, UNKNOWN_VARIABLE];

/// ER_NET_PACKET_TOO_LARGE.
pub(super) const TOO_LARGE: u16 = 1153;

/// ER_WRONG_ARGUMENTS.
pub(super) const WRONG_ARGUMENTS: u16 = 1210;

/// ER_MALFORMED_PACKET.
pub(super) const MALFORMED: u16 = 1835;

/// ER_QUERY_INTERRUPTED: what a statement answers that KILL QUERY has hit.
pub(super) const INTERRUPTED: u16 = 1317;

/// ER_SERVER_SHUTDOWN: MySQL's last words to those whose statements it ends when it is stopped.
pub(super) fn is_farewell(code: u16) -> bool {
    code == 1053
}

/// Errors by which a replica says that it must not or cannot run a statement that the primary
/// may: refused writes, objects that it does not know (yet), and that it is cut off from its cluster.
pub(super) fn is_rescued(code: u16) -> bool {
    is_option(code) || code == 1792 || code == NOT_READY || is_unknown_object(code)
}

/// ER_OPTION_PREVENTS_STATEMENT, ER_READ_ONLY_MODE. The first is for other options, too.
fn is_option(code: u16) -> bool {
    matches!(code, 1290 | 1836)
}

/// True when a server says that it takes no writes: it has just become a replica, or will be one,
/// or it has lost its cluster.
/// The option's name is the same in every language of messages.
pub(super) fn is_read_only(error: &ServerError) -> bool {
    let named = |name: &[u8]| error.message.windows(name.len()).any(|part| part == name);
    (is_option(error.code) && (named(b"read-only") || named(b"read_only")))
        || (error.code == NOT_READY && named(b"WSREP"))
}

/// ER_NO_SUCH_TABLE, ER_BAD_DB_ERROR, ER_BAD_FIELD_ERROR, ER_SP_DOES_NOT_EXIST.
fn is_unknown_object(code: u16) -> bool {
    matches!(code, 1146 | 1049 | 1054 | 1305)
}

/// What writes by a view or a function does so until somebody changes these.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// How long reads like one that a replica has answered with this error go to the primary at once.
/// An object that it does not know is there as soon as it has caught up, or it takes no reads; one
/// that is cut off takes none.
pub(super) fn remembered_for(code: u16, max_lag: Duration) -> Duration {
    match is_unknown_object(code) || code == NOT_READY {
        true => max_lag.min(REFUSED_FOR),
        false => REFUSED_FOR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_take_no_writes() {
        let cut_off = "WSREP has not yet prepared node for application use";
        let table = [
            (1290, "running with the --super-read-only option", true),
            (1290, "running with the --skip-grant-tables option", false),
            (1836, "Running in read-only mode", true),
            (NOT_READY, cut_off, true),
            (NOT_READY, "Unknown command", false),
            (1213, cut_off, false),
        ];
        for (code, message, expected) in table {
            let error = ServerError::new(code, b"HY000", message);
            assert_eq!(is_read_only(&error), expected, "{code} {message}");
            if expected {
                assert!(Rescued::WRITE.holds(code) && Rescued::READ.holds(code), "{code}");
            }
            assert!(!Rescued::NOTHING.holds(code), "{code}");
        }
    }
}
