//! Counters of things that have names and come and go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counters by name. Takes a lock: to be asked when a thing appears, not for each statement;
/// whoever counts holds the `Arc`.
#[derive(Debug)]
pub struct Named<T>(Mutex<BTreeMap<Arc<str>, Arc<T>>>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Named(Mutex::default())
    }
}

impl<T: Default> Named<T> {
    /// The counters of this name, made at first use.
    pub fn of(&self, name: &str) -> Arc<T> {
        let mut all = self.lock();
        if let Some(known) = all.get(name) {
            return Arc::clone(known);
        }
        Arc::clone(all.entry(name.into()).or_default())
    }

    /// The counters of this name, if there are any yet.
    pub fn get(&self, name: &str) -> Option<Arc<T>> {
        self.lock().get(name).cloned()
    }

    /// Shows no more those whose names are not `kept`, so that names which come and go take no room.
    pub fn retain(&self, kept: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| kept(name));
    }

    /// All counters, by name.
    pub fn all(&self) -> Vec<(Arc<str>, Arc<T>)> {
        self.lock().iter().map(|(name, it)| (Arc::clone(name), Arc::clone(it))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Counter;
    use super::*;

    #[test]
    fn a_name_keeps_its_counter_until_it_is_forgotten() {
        let named = Named::<Counter>::default();
        assert!(named.get("db1").is_none());
        named.of("db1").add(2);
        named.of("db2").add(1);
        assert_eq!(named.of("db1").get(), 2);
        named.retain(|name| name != "db1");
        let left: Vec<_> = named.all().into_iter().map(|(name, it)| (name, it.get())).collect();
        assert_eq!(left, [("db2".into(), 1)]);
    }
}
