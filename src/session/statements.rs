//! Statements prepared by COM_STMT_PREPARE, as a session knows them: by their text. Which number a
//! server gives such a text is a connection's affair.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use foldhash::fast::RandomState;

use super::plan::KillScope;
use super::settings::Settings;
use super::user_variables::UserVariables;
use crate::sql::{Dialect, Statement, classify};
use crate::wire::reply::ServerError;

/// A longer text is not kept: its statement stays on the connection that has prepared it.
const LONGEST: usize = 64 * 1024;
/// Most bytes of texts that are kept for one session; further ones stay on their connection.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Most statements of one session: the servers' default `max_prepared_stmt_count`, for all.
const MOST: usize = 16_382;
/// How MariaDB's clients call the statement that was prepared last.
const LAST: u32 = u32::MAX;

/// A text and what it was prepared under, one for all sessions that prepare the same.
#[derive(Debug)]
pub struct PreparedText {
    /// Never given twice.
    pub number: u64,
    pub sql: Box<[u8]>,
    /// Under which servers have read it. `autocommit` and `role` mean nothing here, and no user
    /// variables are kept.
    pub settings: Settings,
    pub dialect: Dialect,
    /// What it says.
    pub statement: Statement,
}

/// The texts that are prepared somewhere.
#[derive(Debug, Default)]
pub struct Texts {
    known: Mutex<Known>,
    next: AtomicU64,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Known {
    /// By hash; those of one hash are told apart by comparing.
    texts: HashMap<u64, Vec<Weak<PreparedText>>>,
    /// At how many hashes the dead are buried.
    sweep_at: usize,
}

impl Texts {
    /// The text as it is kept for all; `None` for one that is too long to be kept.
    pub fn intern(
        &self,
        sql: &[u8],
        settings: &Settings,
        dialect: Dialect,
    ) -> Option<Arc<PreparedText>> {
        if sql.len() > LONGEST {
            return None;
        }
        let Settings { database, names, variables, .. } = settings;
        let hash = self.hasher.hash_one((sql, database, names, variables, dialect));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.texts.len() > known.sweep_at {
            known.texts.retain(|_, texts| texts.iter().any(|text| text.strong_count() > 0));
            known.sweep_at = (2 * known.texts.len()).max(1024);
        }
        let texts = known.texts.entry(hash).or_default();
        texts.retain(|text| text.strong_count() > 0);
        let same = |text: &Arc<PreparedText>| {
            *text.sql == *sql
                && text.dialect == dialect
                && text.settings.database == *database
                && text.settings.names == *names
                && text.settings.variables == *variables
        };
        if let Some(text) = texts.iter().filter_map(Weak::upgrade).find(same) {
            return Some(text);
        }
        let text = Arc::new(PreparedText {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            sql: sql.into(),
            settings: Settings { user_variables: UserVariables::default(), ..settings.clone() },
            dialect,
            statement: classify(sql, dialect),
        });
        texts.push(Arc::downgrade(&text));
        Some(text)
    }
}

/// Where a statement can be executed.
#[derive(Debug, Clone)]
pub enum Home {
    /// Wherever its text is prepared.
    Anywhere(Arc<PreparedText>),
    /// On the session's pinned connection alone, under the server's own number.
    Here(u32),
}

/// One statement that the client has prepared and not closed.
#[derive(Debug)]
pub struct Prepared {
    pub home: Home,
    /// Number of its parameters.
    pub parameters: u16,
    /// The parameters' types as they were sent last; empty when they never were.
    pub types: Vec<u8>,
    /// It runs a routine: no cursor is opened for it, though its routine may have cursors.
    pub runs_routine: bool,
    /// It is a KILL whose text is not kept.
    pub kills: Option<KillScope>,
    /// A cursor is open for it on the pinned connection.
    pub cursor: bool,
    /// Long data was sent for it to the pinned connection.
    pub long_data: bool,
    /// Why long data did not get there; the next execution says so.
    pub failed: Option<ServerError>,
}

/// The statements of one session, by the numbers that its client was given.
#[derive(Debug, Default)]
pub struct Statements {
    open: HashMap<u32, Prepared, RandomState>,
    /// The number given last.
    newest: u32,
    /// The statement that MariaDB's clients call the last one.
    last: Option<u32>,
    bytes: usize,
}

impl Statements {
    /// The number that the next statement gets.
    pub fn next_id(&self) -> u32 {
        let mut id = self.newest;
        loop {
            id = id.wrapping_add(1);
            if id != 0 && id != LAST && !self.open.contains_key(&id) {
                return id;
            }
        }
    }

    /// False when the session has more statements than a server would let it have.
    pub fn has_room(&self) -> bool {
        self.open.len() < MOST
    }

    /// Whether a text of this length may be kept for the session.
    pub fn may_keep(&self, length: usize) -> bool {
        self.bytes + length <= MOST_BYTES
    }

    pub fn add(&mut self, id: u32, home: Home, parameters: u16) {
        if let Home::Anywhere(text) = &home {
            self.bytes += text.sql.len();
        }
        self.newest = id;
        self.last = Some(id);
        let prepared = Prepared {
            home,
            parameters,
            types: Vec::new(),
            runs_routine: false,
            kills: None,
            cursor: false,
            long_data: false,
            failed: None,
        };
        self.open.insert(id, prepared);
    }

    /// The statement that a client calls so, and its number.
    pub fn find(&self, id: u32) -> Option<(u32, &Prepared)> {
        let id = if id == LAST { self.last? } else { id };
        Some((id, self.open.get(&id)?))
    }

    pub fn get_mut(&mut self, id: u32) -> Option<&mut Prepared> {
        self.open.get_mut(&id)
    }

    /// A statement could not be prepared: there is no last one.
    pub fn none_prepared(&mut self) {
        self.last = None;
    }

    pub fn remove(&mut self, id: u32) {
        self.last.take_if(|last| *last == id);
        if let Some(Prepared { home: Home::Anywhere(text), .. }) = self.open.remove(&id) {
            self.bytes -= text.sql.len();
        }
    }

    pub fn any(&self, fits: impl Fn(&Prepared) -> bool) -> bool {
        self.open.values().any(fits)
    }

    /// The failure of long data for this statement was told.
    pub fn forget_failure(&mut self, id: u32) {
        if let Some(prepared) = self.open.get_mut(&id) {
            prepared.failed = None;
        }
    }

    /// The connection that had their cursors and long data is given up.
    pub fn abandon(&mut self) {
        for prepared in self.open.values_mut() {
            prepared.cursor = false;
            if std::mem::take(&mut prepared.long_data) {
                prepared.failed = Some(data_lost());
            }
        }
    }

    /// The server has closed them all. Their numbers are not given again: a client that has missed
    /// it must not find another statement under an old number.
    pub fn clear(&mut self) {
        self.open.clear();
        self.last = None;
        self.bytes = 0;
    }
}

/// ER_WRONG_ARGUMENTS: what servers say to an execution for which something is missing.
fn data_lost() -> ServerError {
    let message = "Incorrect arguments to mysqld_stmt_execute (rwproxy: data that was sent for it \
                   in a READ ONLY transaction ended with that)";
    ServerError::new(1210, b"HY000", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::at_login(Some((*b"app").into()), 255, true)
    }

    #[test]
    fn the_same_text_under_the_same_settings_is_one() {
        let texts = Texts::default();
        let dialect = Dialect::default();
        let intern = |sql: &[u8], settings| texts.intern(sql, &settings, dialect).unwrap();
        let one = intern(b"SELECT ?", settings());
        assert_eq!(intern(b"SELECT ?", settings()).number, one.number);
        let off = Settings { autocommit: false, ..settings() };
        assert_eq!(intern(b"SELECT ?", off).number, one.number);
        assert_ne!(intern(b"SELECT 1", settings()).number, one.number);
        let mut ansi = settings();
        ansi.set_variable("sql_mode", "'ANSI'");
        assert_ne!(intern(b"SELECT ?", ansi).number, one.number);
        let number = one.number;
        drop(one);
        assert_ne!(intern(b"SELECT ?", settings()).number, number, "nobody had it any more");
        assert!(texts.intern(&vec![b'x'; LONGEST + 1], &settings(), dialect).is_none());
    }

    #[test]
    fn texts_that_nobody_has_are_forgotten() {
        let texts = Texts::default();
        for number in 0..10_000 {
            let sql = format!("SELECT {number}");
            texts.intern(sql.as_bytes(), &settings(), Dialect::default());
        }
        assert!(texts.known.lock().unwrap().texts.len() <= 1025);
    }

    #[test]
    fn numbers_are_given_once_and_the_last_has_a_name() {
        let mut statements = Statements::default();
        assert!(statements.find(LAST).is_none());
        statements.add(1, Home::Here(9), 0);
        assert_eq!(statements.next_id(), 2);
        assert_eq!(statements.find(LAST).map(|(id, _)| id), Some(1));
        statements.none_prepared();
        assert!(statements.find(LAST).is_none());
        statements.newest = LAST - 1;
        assert_eq!(statements.next_id(), 2, "1 is taken, 0 and the last are no numbers");
        statements.remove(1);
        assert!(statements.find(1).is_none() && statements.next_id() == 1);
        let mut statements = Statements::default();
        statements.add(1, Home::Here(9), 0);
        statements.clear();
        assert!(statements.find(1).is_none() && statements.next_id() == 2);
    }
}
