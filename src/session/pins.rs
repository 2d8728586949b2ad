//! Why a session must stay on the connection it has.

use bitflags::bitflags;

use crate::sql::Effects;

bitflags! {
    /// Causes that tie a session to its primary connection until they have provably ended. Each
    /// stands for state on the server that cannot be brought to another connection.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
    pub struct Pins: u32 {
        const TEMPORARY_TABLE = 1;
        const USER_VARIABLE = 1 << 1;
        const NAMED_LOCK = 1 << 2;
        const TABLE_LOCK = 1 << 3;
        /// FLUSH TABLES … WITH READ LOCK; ends with UNLOCK TABLES, too.
        const GLOBAL_LOCK = 1 << 4;
        const HANDLER = 1 << 5;
        /// A statement prepared by COM_STMT_PREPARE whose text is too long to be prepared elsewhere.
        const PREPARED_STATEMENT = 1 << 6;
        /// Statements prepared by the text `PREPARE`.
        const TEXT_PREPARE = 1 << 7;
        /// CALL, calls of stored functions, and other statements whose effects nobody can see.
        const UNKNOWN_EFFECTS = 1 << 8;
        const XA = 1 << 9;
        /// A session variable that cannot be replayed elsewhere.
        const SESSION_VARIABLE = 1 << 10;
        /// SET TRANSACTION for the next transaction.
        const NEXT_TRANSACTION = 1 << 11;
        const ROLE = 1 << 12;
        /// COM_SET_OPTION, COM_REGISTER_SLAVE and other commands that change the connection.
        const CONNECTION_OPTION = 1 << 13;
        /// A cursor that COM_STMT_FETCH reads.
        const CURSOR = 1 << 15;
        /// COM_STMT_SEND_LONG_DATA for an execution to come.
        const LONG_DATA = 1 << 16;
        /// LOCK INSTANCE FOR BACKUP.
        const INSTANCE_LOCK = 1 << 17;
        /// BACKUP LOCK, of one table.
        const BACKUP_LOCK = 1 << 18;
        const BACKUP_STAGE = 1 << 19;
        /// SAVEPOINT with autocommit off, before the first statement: the server tells of no
        /// transaction yet. Ends with the transaction, or when the server tells of it.
        const SAVEPOINT = 1 << 20;
    }
}

impl Pins {
    /// The pins that a statement's text announces. Reading user variables is none: those that are
    /// known are there, and with unknown ones the session is pinned already.
    pub fn from_effects(effects: Effects) -> Pins {
        const TABLE: [(Effects, Pins); 15] = [
            (Effects::TEMPORARY_TABLE, Pins::TEMPORARY_TABLE),
            (Effects::SETS_USER_VARIABLE, Pins::USER_VARIABLE),
            (Effects::NAMED_LOCK, Pins::NAMED_LOCK),
            (Effects::TABLE_LOCK, Pins::TABLE_LOCK),
            (Effects::GLOBAL_LOCK, Pins::GLOBAL_LOCK),
            (Effects::INSTANCE_LOCK, Pins::INSTANCE_LOCK),
            (Effects::BACKUP_LOCK, Pins::BACKUP_LOCK),
            (Effects::BACKUP_STAGE, Pins::BACKUP_STAGE),
            (Effects::HANDLER, Pins::HANDLER),
            (Effects::TEXT_PREPARE, Pins::TEXT_PREPARE),
            (Effects::UNKNOWN, Pins::UNKNOWN_EFFECTS),
            (Effects::CALLS_ROUTINE, Pins::UNKNOWN_EFFECTS),
            (Effects::XA, Pins::XA),
            (Effects::SETS_ROLE, Pins::ROLE),
            (Effects::SETS_TRANSACTION, Pins::NEXT_TRANSACTION),
        ];
        TABLE
            .iter()
            .filter(|(effect, _)| effects.intersects(*effect))
            .fold(Pins::empty(), |pins, (_, pin)| pins | *pin)
    }

    /// The causes by name, for an operator: `temporary_table, named_lock`.
    pub fn names(self) -> impl Iterator<Item = String> {
        self.iter_names().map(|(name, _)| name.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_become_pins() {
        let pins = Pins::from_effects(Effects::TEMPORARY_TABLE | Effects::NAMED_LOCK);
        assert_eq!(pins, Pins::TEMPORARY_TABLE | Pins::NAMED_LOCK);
        assert_eq!(Pins::from_effects(Effects::IMPLICIT_COMMIT), Pins::empty());
        assert_eq!(Pins::from_effects(Effects::CALLS_ROUTINE), Pins::UNKNOWN_EFFECTS);
        for effect in Effects::all().iter() {
            let binds = !Pins::from_effects(effect).is_empty();
            let expected = Effects::BINDING - Effects::READS_USER_VARIABLE;
            assert_eq!(binds, expected.contains(effect), "{effect:?}");
        }
        let names: Vec<_> = pins.names().collect();
        assert_eq!(names, ["temporary_table", "named_lock"]);
    }
}
