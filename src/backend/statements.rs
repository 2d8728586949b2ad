//! What is prepared on one connection to a server: texts and the numbers that the server gave
//! them. Pure bookkeeping.
//!
//! Sessions that prepare the same text share its statement here. One that has a cursor open or
//! long data waiting is its session's alone. A statement stays after its client has closed it, for
//! the next one that prepares its text; the longest unused goes when there are too many.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::session::SessionId;
use crate::session::statements::PreparedText;

/// Whose a statement is: everybody's, or that of one session's statement of this number.
pub type Owner = Option<(SessionId, u32)>;

#[derive(Debug, Default)]
pub struct ServerStatements {
    entries: HashMap<(u64, Owner), Entry, RandomState>,
    /// Counts uses, to find the longest unused.
    uses: u64,
    /// Numbers that are to be closed with the next command.
    closing: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    id: u32,
    /// Keeps the text, and so its number, alive.
    _text: Arc<PreparedText>,
    /// The parameters' types as this statement has them.
    types: Vec<u8>,
    used: u64,
}

impl ServerStatements {
    /// The server's number of a text that is prepared here.
    pub fn find(&mut self, text: &PreparedText, owner: Owner) -> Option<u32> {
        let entry = self.entries.get_mut(&(text.number, owner))?;
        self.uses += 1;
        entry.used = self.uses;
        Some(entry.id)
    }

    /// Notes that a text was prepared under this number. At most `capacity` statements stay.
    pub fn insert(&mut self, text: &Arc<PreparedText>, owner: Owner, id: u32, capacity: usize) {
        self.uses += 1;
        let entry = Entry { id, _text: text.clone(), types: Vec::new(), used: self.uses };
        if let Some(before) = self.entries.insert((text.number, owner), entry) {
            self.closing.push(before.id);
        }
        while self.entries.len() > capacity.max(1) {
            let shared = self.entries.iter().filter(|((_, owner), _)| owner.is_none());
            let Some(key) = shared.min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key) else {
                return;
            };
            self.close(key);
        }
    }

    /// Has a statement closed with the next command.
    pub fn retire(&mut self, text: &PreparedText, owner: Owner) {
        self.close((text.number, owner));
    }

    /// Notes that the client's own command closes it.
    pub fn forget(&mut self, text: &PreparedText, owner: Owner) {
        self.entries.remove(&(text.number, owner));
    }

    fn close(&mut self, key: (u64, Owner)) {
        if let Some(entry) = self.entries.remove(&key) {
            self.closing.push(entry.id);
        }
    }

    /// Whether there are statements that are nobody's own.
    pub fn has_shared(&self) -> bool {
        self.entries.keys().any(|(_, owner)| owner.is_none())
    }

    /// Has all statements closed that are nobody's own: the server wants no more of them.
    pub fn retire_shared(&mut self) {
        let shared = self.entries.extract_if(|(_, owner), _| owner.is_none());
        self.closing.extend(shared.map(|(_, entry)| entry.id));
    }

    /// The numbers to close now; they are given once.
    pub fn take_closing(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.closing)
    }

    /// The types that the statement has; empty when it has none.
    pub fn types(&self, text: &PreparedText, owner: Owner) -> &[u8] {
        self.entries.get(&(text.number, owner)).map_or(&[], |entry| &entry.types)
    }

    /// Notes the types that the statement now has.
    pub fn set_types(&mut self, text: &PreparedText, owner: Owner, types: &[u8]) {
        if let Some(entry) = self.entries.get_mut(&(text.number, owner))
            && entry.types != types
        {
            entry.types = types.to_vec();
        }
    }

    /// The server has closed them all.
    pub fn clear(&mut self) {
        *self = ServerStatements::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Settings;
    use crate::session::statements::Texts;
    use crate::sql::Dialect;

    #[test]
    fn the_longest_unused_goes_and_what_is_somebodys_own_stays() {
        let texts = Texts::default();
        let settings = Settings::at_login(None, 255, true);
        let text = |sql: &str| {
            texts.intern(sql.as_bytes(), &settings, Dialect::default()).expect("it is short")
        };
        let (a, b, c) = (text("SELECT 1"), text("SELECT 2"), text("SELECT 3"));
        let own = Some((SessionId::numbered(1), 5));
        let mut statements = ServerStatements::default();
        statements.insert(&a, own, 1, 3);
        statements.insert(&a, None, 2, 3);
        statements.insert(&b, None, 3, 3);
        assert_eq!(statements.find(&a, None), Some(2));
        statements.insert(&c, None, 4, 3);
        assert_eq!((statements.find(&b, None), statements.take_closing()), (None, vec![3]));
        assert_eq!(statements.find(&a, own), Some(1));
        // Prepared once more: the older statement of the two goes.
        statements.insert(&c, None, 6, 3);
        assert_eq!((statements.find(&c, None), statements.take_closing()), (Some(6), vec![4]));
        statements.set_types(&c, None, b"\x03\0");
        assert_eq!(
            (statements.types(&c, None), statements.types(&b, None)),
            (&b"\x03\0"[..], &b""[..])
        );
        statements.retire_shared();
        let mut closing = statements.take_closing();
        closing.sort_unstable();
        assert_eq!(closing, [2, 6]);
        statements.forget(&a, own);
        assert_eq!((statements.find(&a, own), statements.take_closing()), (None, Vec::new()));
    }
}
