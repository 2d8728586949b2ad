//! Connection ids as clients know them.

use std::fmt;

/// The id that a client was greeted with: from 2^30 on, so that the id of a connection on a server
/// is never taken for one of ours, and below 2^31, since Connector/J (2.7) reads greater ones as
/// negative numbers and then cancels statements by `KILL QUERY -2147483647`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u32);

const FIRST: u32 = 1 << 30;
const LAST: u32 = (1 << 31) - 1;

impl SessionId {
    /// The id with this running number; numbers from 2^30 on begin anew.
    pub fn numbered(number: u32) -> Self {
        SessionId((number | FIRST) & LAST)
    }

    /// The session that a KILL means, or `None` when the id is a server's.
    pub fn from_kill(id: u64) -> Option<Self> {
        u32::try_from(id).ok().filter(|id| (FIRST..=LAST).contains(id)).map(SessionId)
    }

    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_servers_are_not_ours() {
        assert_eq!(SessionId::from_kill(17), None);
        assert_eq!(
            SessionId::from_kill(u64::from(SessionId::numbered(17).get())),
            Some(SessionId::numbered(17))
        );
        for id in [1 << 31, 1 << 40, u64::MAX] {
            assert_eq!(SessionId::from_kill(id), None);
        }
    }

    #[test]
    fn ids_are_positive_for_those_who_read_them_with_a_sign() {
        for number in [0, 1, 1 << 30, (1 << 31) + 5, u32::MAX] {
            let id = SessionId::numbered(number).get();
            assert!(id >= FIRST && i32::try_from(id).is_ok(), "{number}");
        }
    }
}
