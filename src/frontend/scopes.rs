//! Whose writes a session's reads must see beside its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::routing::SharedDemand;

/// Most scopes that are kept apart. The sessions of further ones see each other's writes, and those
/// of everybody in `global` consistency.
const MOST_SCOPES: usize = 1024;

/// What makes two sessions share a scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    Everybody,
    User(Arc<[u8]>),
    /// The default database.
    Database(Option<Box<[u8]>>),
    /// The connection attribute `program_name`.
    Application(Option<Arc<[u8]>>),
}

/// All scopes in which something was written.
#[derive(Debug, Default)]
pub struct Scopes {
    everybody: Arc<SharedDemand>,
    others: Mutex<HashMap<Scope, Arc<SharedDemand>>>,
}

impl Scopes {
    /// What the sessions of a scope must see.
    pub fn of(&self, scope: &Scope) -> Arc<SharedDemand> {
        if *scope == Scope::Everybody {
            return self.everybody.clone();
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = others.get(scope) {
            return shared.clone();
        }
        if others.len() >= MOST_SCOPES {
            return self.everybody.clone();
        }
        others.entry(scope.clone()).or_default().clone()
    }
}

/// A session's membership in a scope.
#[derive(Debug)]
pub struct Membership {
    pub scope: Scope,
    pub shared: Arc<SharedDemand>,
    /// The version of it that the session has taken over; `None` before the first.
    pub seen: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_kept_apart_up_to_a_bound() {
        let scopes = Scopes::default();
        let user = |number: usize| Scope::User(number.to_string().into_bytes().into());
        let first = scopes.of(&user(0));
        assert!(Arc::ptr_eq(&first, &scopes.of(&user(0))));
        assert!(!Arc::ptr_eq(&first, &scopes.of(&user(1))));
        assert!(!Arc::ptr_eq(&first, &scopes.of(&Scope::Database(None))));
        for number in 0..MOST_SCOPES {
            scopes.of(&user(number));
        }
        let beyond = scopes.of(&user(MOST_SCOPES + 1));
        assert!(Arc::ptr_eq(&beyond, &scopes.of(&Scope::Everybody)));
        assert!(Arc::ptr_eq(&first, &scopes.of(&user(0))));
    }
}
