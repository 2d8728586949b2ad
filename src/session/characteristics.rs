//! What SET TRANSACTION has said of the next transaction alone.

use crate::sql::set::Isolation;

/// Isolation level and access mode of one transaction; `None` leaves it to the session's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Characteristics {
    pub isolation: Option<Isolation>,
    pub read_only: Option<bool>,
}

impl Characteristics {
    /// After one more SET TRANSACTION: what it leaves out stays as it was said before.
    #[must_use]
    pub fn and(self, more: Characteristics) -> Self {
        Characteristics {
            isolation: more.isolation.or(self.isolation),
            read_only: more.read_only.or(self.read_only),
        }
    }

    /// Says it to another connection; `None` when nothing was said.
    pub fn statement(self) -> Option<String> {
        let isolation = self.isolation.map(|isolation| match isolation {
            Isolation::ReadUncommitted => "ISOLATION LEVEL READ UNCOMMITTED",
            Isolation::ReadCommitted => "ISOLATION LEVEL READ COMMITTED",
            Isolation::RepeatableRead => "ISOLATION LEVEL REPEATABLE READ",
            Isolation::Serializable => "ISOLATION LEVEL SERIALIZABLE",
        });
        let access = self.read_only.map(|only| if only { "READ ONLY" } else { "READ WRITE" });
        let said: Vec<_> = isolation.into_iter().chain(access).collect();
        (!said.is_empty()).then(|| format!("SET TRANSACTION {}", said.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_adds_up() {
        let nothing = Characteristics::default();
        assert_eq!(nothing.statement(), None);
        let level = Characteristics { isolation: Some(Isolation::ReadCommitted), ..nothing };
        let access = Characteristics { read_only: Some(true), ..nothing };
        let both = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY";
        assert_eq!(level.and(access).statement().as_deref(), Some(both));
        let writes = access.and(Characteristics { read_only: Some(false), ..nothing });
        assert_eq!(writes.statement().as_deref(), Some("SET TRANSACTION READ WRITE"));
    }
}
