//! Idle connections: none is lost, none handed out twice, and the order is that of the model.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rwproxy::backend::idle::{Idle, IdleSet};
use rwproxy::session::SessionId;

#[derive(Debug, Arbitrary)]
enum Operation {
    Put { key: u8, owner: u8 },
    Take { key: u8 },
    TakeOwn { key: u8, number: u8, owner: u8 },
    TakeOldest,
    Drain { modulus: u8 },
}

/// What the model knows of an idle connection: its key, number and owner, oldest first.
type Model = Vec<(u8, u64, SessionId)>;

fn remove(model: &mut Model, position: Option<usize>) -> Option<u64> {
    position.map(|position| model.remove(position).1)
}

fuzz_target!(|operations: Vec<Operation>| {
    let mut set = IdleSet::<u8, u64>::new();
    let mut model = Model::new();
    for (time, operation) in (0u64..).zip(operations) {
        match operation {
            Operation::Put { key, owner } => {
                let (key, owner) = (key % 4, SessionId::numbered(u32::from(owner % 4)));
                set.put(&key, Idle { connection: time, number: time, owner, since: time });
                model.push((key, time, owner));
            }
            Operation::Take { key } => {
                let last = model.iter().rposition(|(of, ..)| *of == key % 4);
                let expected = remove(&mut model, last);
                assert_eq!(set.take(&(key % 4)).map(|idle| idle.connection), expected);
            }
            Operation::TakeOwn { key, number, owner } => {
                let wanted =
                    (key % 4, u64::from(number), SessionId::numbered(u32::from(owner % 4)));
                let position = model.iter().position(|entry| *entry == wanted);
                let expected = remove(&mut model, position);
                let taken = set.take_own(&wanted.0, wanted.1, wanted.2);
                assert_eq!(taken.map(|idle| idle.connection), expected);
            }
            Operation::TakeOldest => {
                let oldest = (!model.is_empty()).then_some(0);
                let expected = remove(&mut model, oldest);
                assert_eq!(set.take_oldest().map(|idle| idle.connection), expected);
            }
            Operation::Drain { modulus } => {
                let modulus = u64::from(modulus).max(1);
                let mut gone: Vec<_> =
                    set.drain_where(|_, idle| idle.number % modulus == 0).into_iter().collect();
                gone.sort_by_key(|idle| idle.number);
                let expected: Vec<_> =
                    model.extract_if(.., |(_, number, _)| *number % modulus == 0).collect();
                let gone: Vec<_> = gone.iter().map(|idle| idle.connection).collect();
                let expected: Vec<_> = expected.iter().map(|(_, number, _)| *number).collect();
                assert_eq!(gone, expected);
            }
        }
        assert_eq!(set.len(), model.len());
        assert_eq!(set.is_empty(), model.is_empty());
    }
});
