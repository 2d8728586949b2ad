//! Bookkeeping of idle connections, pure: who may take which, and which goes first.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

use crate::session::SessionId;

/// One idle connection.
#[derive(Debug)]
pub struct Idle<C> {
    pub connection: C,
    /// Proxy-wide number of the connection.
    pub number: u64,
    /// The session that used it last: what the server remembers of a previous statement
    /// (diagnostics, insert id) is that session's.
    pub owner: SessionId,
    /// When it became idle, in milliseconds of a clock of the caller's.
    pub since: u64,
}

/// Idle connections of one backend, a stack for each pool identity. The most recently used is
/// taken first: it is warm, and what is not needed grows old and is closed.
#[derive(Debug)]
pub struct IdleSet<K, C> {
    stacks: HashMap<K, Vec<Idle<C>>, RandomState>,
    count: usize,
}

impl<K: Eq + Hash + Clone, C> IdleSet<K, C> {
    pub fn new() -> Self {
        IdleSet { stacks: HashMap::default(), count: 0 }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn put(&mut self, key: &K, idle: Idle<C>) {
        match self.stacks.get_mut(key) {
            Some(stack) => stack.push(idle),
            None => drop(self.stacks.insert(key.clone(), vec![idle])),
        }
        self.count += 1;
    }

    /// The connection `number`, if `owner` was the last to use it.
    pub fn take_own(&mut self, key: &K, number: u64, owner: SessionId) -> Option<Idle<C>> {
        let stack = self.stacks.get_mut(key)?;
        let index = stack.iter().rposition(|idle| idle.number == number && idle.owner == owner)?;
        self.count -= 1;
        Some(stack.remove(index))
    }

    /// The connection of this identity that became idle last.
    pub fn take(&mut self, key: &K) -> Option<Idle<C>> {
        let idle = self.stacks.get_mut(key)?.pop()?;
        self.count -= 1;
        Some(idle)
    }

    /// The connection that has been idle longest, of whatever identity.
    pub fn take_oldest(&mut self) -> Option<Idle<C>> {
        let key = self
            .stacks
            .iter()
            .filter_map(|(key, stack)| Some((stack.first()?.since, key)))
            .min_by_key(|(since, _)| *since)
            .map(|(_, key)| key.clone())?;
        let stack = self.stacks.get_mut(&key)?;
        let idle = stack.remove(0);
        if stack.is_empty() {
            self.stacks.remove(&key);
        }
        self.count -= 1;
        Some(idle)
    }

    /// Every idle connection.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Idle<C>> {
        self.stacks.values_mut().flatten()
    }

    /// Takes out every connection that `gone` names, with its identity and its entry.
    pub fn drain_where(&mut self, mut gone: impl FnMut(&K, &Idle<C>) -> bool) -> Vec<Idle<C>> {
        let mut taken = Vec::new();
        self.stacks.retain(|key, stack| {
            taken.extend(stack.extract_if(.., |idle| gone(key, idle)));
            !stack.is_empty()
        });
        self.count -= taken.len();
        taken
    }
}

impl<K: Eq + Hash + Clone, C> Default for IdleSet<K, C> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn idle(number: u64, owner: u32, since: u64) -> Idle<()> {
        Idle { connection: (), number, owner: SessionId::numbered(owner), since }
    }

    #[test]
    fn last_in_first_out_and_own_first() {
        let mut set = IdleSet::new();
        set.put(&"a", idle(1, 10, 1));
        set.put(&"a", idle(2, 20, 2));
        set.put(&"b", idle(3, 10, 3));
        assert_eq!(
            set.take_own(&"a", 1, SessionId::numbered(20)).map(|idle| idle.number),
            None,
            "another's"
        );
        assert_eq!(set.take_own(&"a", 1, SessionId::numbered(10)).map(|idle| idle.number), Some(1));
        set.put(&"a", idle(1, 10, 4));
        assert_eq!(set.take(&"a").map(|idle| idle.number), Some(1));
        assert_eq!(set.take_oldest().map(|idle| idle.number), Some(2));
        assert_eq!(set.take_oldest().map(|idle| idle.number), Some(3));
        assert!(set.take_oldest().is_none() && set.is_empty());
    }

    proptest! {
        /// Nothing is lost and nothing is handed out twice.
        #[test]
        fn conservation(operations in proptest::collection::vec((0u8..5, 0u8..3, 0u64..20), 0..200)) {
            let mut set = IdleSet::new();
            let mut held: Vec<u64> = Vec::new();
            let mut next = 0;
            for (time, (operation, key, number)) in (0u64..).zip(operations) {
                let taken: Vec<u64> = match operation {
                    0 => {
                        set.put(&key, idle(next, 0, time));
                        held.push(next);
                        next += 1;
                        continue;
                    }
                    1 => set.take(&key).into_iter().map(|idle| idle.number).collect(),
                    2 => set.take_own(&key, number, SessionId::numbered(0)).into_iter().map(|idle| idle.number).collect(),
                    3 => set.take_oldest().into_iter().map(|idle| idle.number).collect(),
                    _ => set.drain_where(|_, idle| idle.number % 3 == number % 3).into_iter().map(|idle| idle.number).collect(),
                };
                for number in taken {
                    let index = held.iter().position(|held| *held == number);
                    prop_assert!(index.is_some(), "handed out twice");
                    held.remove(index.unwrap());
                }
                prop_assert_eq!(set.len(), held.len());
            }
        }
    }
}
