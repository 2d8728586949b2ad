//! What is prepared on one connection to a server: texts and the numbers that the server gave
//! them. Pure bookkeeping.
//!
//! Sessions that prepare the same text share its statement here. One that has a cursor open or
//! long data waiting is its session's alone. A statement stays after its client has closed it, for
//! the next one that prepares its text; the longest unused goes when there are too many.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;

use crate::session::SessionId;
use crate::session::statements::PreparedText;

/// Whose a statement is: everybody's, or that of one session's statement of this number.
pub type Owner = Option<(SessionId, u32)>;

/// Most statements that stay prepared on all connections to a server together: less than the servers'
/// default `max_prepared_stmt_count` of 16382, with room for others'.
const TOGETHER: usize = 16_382 * 3 / 4;
/// Most on one connection.
const MOST: usize = 256;
/// What each connection may keep in any case.
const LEAST: usize = 8;

/// Room for what stays prepared on the connections to one server. Each takes what it needs as long as
/// there is some, and after that has its share.
#[derive(Debug)]
pub struct StatementRoom {
    kept: AtomicUsize,
    share: usize,
}

impl StatementRoom {
    /// Of as many connections at most.
    pub fn new(connections: usize) -> Self {
        let share = (TOGETHER / connections.max(1)).clamp(LEAST, MOST);
        StatementRoom { kept: AtomicUsize::new(0), share }
    }

    /// How many statements one connection may keep now.
    fn capacity(&self) -> usize {
        if self.kept.load(Ordering::Relaxed) <= TOGETHER { MOST } else { self.share }
    }
}

/// One statement's place; given back when it is dropped.
#[derive(Debug)]
struct Kept(Arc<StatementRoom>);

impl Kept {
    fn new(room: &Arc<StatementRoom>) -> Self {
        room.kept.fetch_add(1, Ordering::Relaxed);
        Kept(room.clone())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.kept.fetch_sub(1, Ordering::Relaxed);
    }
}

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
    _kept: Kept,
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

    /// Notes that a text was prepared under this number. The longest unused ones go for which there is
    /// no room.
    pub fn insert(
        &mut self,
        text: &Arc<PreparedText>,
        owner: Owner,
        id: u32,
        room: &Arc<StatementRoom>,
    ) {
        self.uses += 1;
        let (_text, _kept) = (text.clone(), Kept::new(room));
        let entry = Entry { id, _text, _kept, types: Vec::new(), used: self.uses };
        if let Some(before) = self.entries.insert((text.number, owner), entry) {
            self.closing.push(before.id);
        }
        while self.entries.len() > room.capacity() {
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
        // Others have taken all there was.
        let room = Arc::new(StatementRoom { kept: AtomicUsize::new(TOGETHER), share: 3 });
        let mut statements = ServerStatements::default();
        statements.insert(&a, own, 1, &room);
        statements.insert(&a, None, 2, &room);
        statements.insert(&b, None, 3, &room);
        assert_eq!(statements.find(&a, None), Some(2));
        statements.insert(&c, None, 4, &room);
        assert_eq!((statements.find(&b, None), statements.take_closing()), (None, vec![3]));
        assert_eq!(statements.find(&a, own), Some(1));
        // Prepared once more: the older statement of the two goes.
        statements.insert(&c, None, 6, &room);
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

    #[test]
    fn a_connection_has_all_it_needs_while_there_is_room() {
        let texts = Texts::default();
        let settings = Settings::at_login(None, 255, true);
        let texts: Vec<_> = (0..MOST + 10)
            .map(|number| format!("SELECT {number}"))
            .map(|sql| texts.intern(sql.as_bytes(), &settings, Dialect::default()))
            .map(|text| text.expect("it is short"))
            .collect();
        // Thousands of connections may be opened, few are.
        let room = Arc::new(StatementRoom::new(6000));
        let mut connections: Vec<ServerStatements> =
            (0..100).map(|_| ServerStatements::default()).collect();
        for (id, text) in (1..).zip(&texts) {
            connections[0].insert(text, None, id, &room);
        }
        assert_eq!(connections[0].entries.len(), MOST);
        assert_eq!(connections[0].take_closing().len(), 10);
        for connection in &mut connections[1..] {
            for (id, text) in (1..).zip(&texts) {
                connection.insert(text, None, id, &room);
            }
        }
        let kept = || room.kept.load(Ordering::Relaxed);
        assert_eq!(kept(), connections.iter().map(|it| it.entries.len()).sum::<usize>());
        assert!((TOGETHER - MOST..=TOGETHER + 100 * LEAST).contains(&kept()), "{}", kept());
        assert_eq!(connections[99].entries.len(), LEAST);
        connections.truncate(1);
        connections[0].retire_shared();
        assert_eq!(kept(), 0);
    }
}
