//! Choosing the backend of a statement, by the number of replicas and their weights.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rwproxy::routing::topology::{Address, Backend, Role, Writes};
use rwproxy::routing::{Attempt, BackendId, Epoch, Policy, Request, Topology, decide};

fn topology(replicas: usize, weight: impl Fn(usize) -> u32) -> Topology {
    let backend = |index: usize| Backend {
        address: Some(Address::Ip(([127, 0, 0, 1], 3306 + index as u16).into())),
        role: if index == 0 { Role::Primary } else { Role::Replica },
        reads: if index == 0 { Err("the primary".into()) } else { Ok(()) },
        weight: weight(index),
        ..Backend::new(BackendId(index as u32 + 1), format!("db{index}"))
    };
    Topology {
        epoch: Epoch(1),
        backends: (0..=replicas).map(backend).collect(),
        writes: Writes::To(0),
    }
}

fn route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    let policy = Policy::default();
    for replicas in [2, 16] {
        for (name, topology) in [
            ("read, equal weights", topology(replicas, |_| 1)),
            ("read, unequal weights", topology(replicas, |index| 1 + index as u32 % 3)),
        ] {
            group.bench_function(BenchmarkId::new(name, replicas), |bench| {
                let mut ticket = 0;
                bench.iter(|| {
                    ticket += 1;
                    decide(
                        Request::Read,
                        black_box(&topology),
                        &policy,
                        Attempt::undemanding(ticket, &[]),
                    )
                });
            });
        }
    }
    let topology = topology(2, |_| 1);
    group.bench_function("write", |bench| {
        bench.iter(|| {
            decide(Request::Primary, black_box(&topology), &policy, Attempt::undemanding(0, &[]))
        });
    });
    group.finish();
}

criterion_group!(benches, route);
criterion_main!(benches);
