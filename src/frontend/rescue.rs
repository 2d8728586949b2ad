//! Servers' errors that the proxy itself acts on.

/// Errors that are kept from the client because the command is tried once more in another way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rescued {
    /// A replica's refusals, and a server's last words.
    pub read: bool,
    /// That there are too many prepared statements.
    pub too_many: bool,
}

impl Rescued {
    pub const READ: Rescued = Rescued { read: true, too_many: false };
    pub const NOTHING: Rescued = Rescued { read: false, too_many: false };

    pub fn holds(self, code: u16) -> bool {
        (self.read && (is_rescued(code) || is_farewell(code)))
            || (self.too_many && code == TOO_MANY)
    }
}

/// ER_MAX_PREPARED_STMT_COUNT_REACHED.
pub(super) const TOO_MANY: u16 = 1461;

/// ER_PARSE_ERROR.
pub(super) const PARSE_ERROR: u16 = 1064;

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
/// may: refused writes, and objects that it does not know (yet).
pub(super) fn is_rescued(code: u16) -> bool {
    matches!(code, 1290 | 1792 | 1836 | 1146 | 1049 | 1054 | 1305)
}
