//! What is known of the open transaction and of the next one.

use super::State;
use crate::session::characteristics::Characteristics;
use crate::session::pins::Pins;
use crate::session::read_only::OnReplica;
use crate::session::statements::Statements;
use crate::sql::set::Isolation;
use crate::sql::variables::ACCESS_MODE;
use crate::wire::capabilities::Status;

impl State {
    pub fn in_transaction(&self) -> bool {
        self.status.contains(Status::IN_TRANSACTION)
    }

    /// A reply has told that a transaction is open, and none since that it is not.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// The open transaction, if it is a READ ONLY one on a replica.
    pub fn on_replica(&self) -> Option<OnReplica> {
        self.on_replica
    }

    /// Notes where the command before has run. `reading`: on a connection that is held to reading.
    /// `ends`: it ends a transaction, if with the begin of another one. `anchors`: what it has told or
    /// set another transaction would not have. `said`: what was said of the one that it begins.
    pub fn ran(&mut self, reading: bool, ends: bool, anchors: bool, said: Option<Characteristics>) {
        if !reading || !self.in_transaction() {
            self.on_replica = None;
            return;
        }
        let before = self.on_replica;
        let anchored = before.is_some_and(|it| it.anchored && !ends) || (anchors && self.begun);
        // One that is chained is like the one before.
        let characteristics = said.or(before.map(|it| it.characteristics)).unwrap_or_default();
        self.on_replica = Some(OnReplica { anchored, characteristics });
    }

    /// The transaction on the replica has ended there, and is begun on the primary.
    pub fn moved_to_primary(&mut self) {
        self.on_replica = None;
    }

    /// Ends what a connection to a replica cannot keep for the session beyond its transaction.
    pub fn leave_replica(&mut self) {
        self.with_statements(Statements::abandon);
    }

    /// A statement may have used a table: outside a transaction that was one of its own, of which
    /// SET TRANSACTION had spoken. Whether so the server knows alone.
    pub fn may_have_used_a_table(&mut self) {
        self.next = None;
    }

    /// What is said of the next transaction; `None` when that is not known.
    pub fn next_transaction(&self) -> Option<Characteristics> {
        match self.pins.contains(Pins::NEXT_TRANSACTION) {
            true => self.next,
            false => Some(Characteristics::default()),
        }
    }

    /// Transactions are READ ONLY unless something else is said of one.
    pub fn reads_only(&self) -> bool {
        let is_on = |name: &&str| self.settings.variables.get(*name).is_some_and(|it| &**it == "1");
        ACCESS_MODE.iter().any(is_on)
    }

    /// What is said of the transaction that a BEGIN would open now, or a START TRANSACTION with this
    /// access mode: if that is READ ONLY, and all of it may run on a replica.
    pub fn begins_on_replica(&self, read_only: Option<bool>) -> Option<Characteristics> {
        let is_open = self.in_transaction() && self.on_replica.is_none();
        if is_open || !(self.pins - Pins::NEXT_TRANSACTION).is_empty() {
            return None;
        }
        let next = self.next_transaction()?;
        let locks = match next.isolation {
            Some(level) => level == Isolation::Serializable,
            None => self.is_serializable(),
        };
        let reads = read_only.or(next.read_only).unwrap_or(self.reads_only());
        (reads && !locks).then_some(next)
    }

    /// True while reads may leave the primary: each statement is a transaction of its own.
    pub fn is_autocommit(&self) -> bool {
        self.status.contains(Status::AUTOCOMMIT) && !self.in_transaction()
    }

    /// True with autocommit off while no statement has begun a transaction that the server tells of.
    pub fn is_between_transactions(&self) -> bool {
        !self.settings.autocommit && !self.in_transaction()
    }

    /// True when the session must keep the connection it has.
    pub fn keeps_connection(&self) -> bool {
        self.in_transaction() || !self.pins.is_empty()
    }

    /// True under isolation level SERIALIZABLE: reads lock, and belong on the primary.
    pub fn is_serializable(&self) -> bool {
        ["transaction_isolation", "tx_isolation"].iter().any(|name| {
            let value = self.settings.variables.get(*name);
            value.is_some_and(|value| value.to_ascii_uppercase().contains("SERIALIZABLE"))
        })
    }
}
