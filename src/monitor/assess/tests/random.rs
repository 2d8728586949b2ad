//! Whatever happens in whatever order: what must never be.

use std::collections::HashSet;

use proptest::prelude::*;

use super::world::*;
use super::*;
use crate::monitor::observation::ReadOnly;

/// Something that happens to one of three servers.
#[derive(Debug, Clone)]
enum Event {
    /// It replicates from this one of the others (if it is another), and is writable or not.
    Replicates {
        from: u8,
        writable: bool,
        running: bool,
    },
    /// It replicates from nobody.
    Stands {
        writable: bool,
    },
    /// It commits under its own uuid.
    Writes,
    /// It has applied all that another has.
    CatchesUp {
        from: u8,
    },
    Fails(Failure),
    Discovered(Standing),
    Restarts,
    Labelled(RoleSetting),
    /// Time goes on.
    Ticks(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let failure = prop_oneof![
        Just(Failure::Silent("late".into())),
        Just(Failure::Unreachable("refused".into())),
        Just(Failure::Full("full".into())),
        Just(Failure::Denied("denied".into())),
    ];
    let standing = prop_oneof![
        3 => Just(running(7)),
        1 => Just(Standing::NotRunning("paused".into())),
        1 => Just(Standing::LeftOut("a bad label".into())),
        1 => Just(Standing::Unhealthy(Address::Ip(([172, 18, 0, 7], 3306).into()))),
    ];
    let role = prop_oneof![
        Just(RoleSetting::Auto),
        Just(RoleSetting::Primary),
        Just(RoleSetting::Replica)
    ];
    prop_oneof![
        3 => (1..=3u8, any::<bool>(), any::<bool>())
            .prop_map(|(from, writable, running)| Event::Replicates { from, writable, running }),
        2 => any::<bool>().prop_map(|writable| Event::Stands { writable }),
        2 => Just(Event::Writes),
        3 => (1..=3u8).prop_map(|from| Event::CatchesUp { from }),
        1 => failure.prop_map(Event::Fails),
        2 => standing.prop_map(Event::Discovered),
        1 => Just(Event::Restarts),
        1 => role.prop_map(Event::Labelled),
        4 => (1..12usize).prop_map(Event::Ticks),
    ]
}

fn happen(world: &mut World, number: u8, event: Event) {
    let name = format!("db{number}");
    let said = world.wanted[&name].clone();
    match event {
        Event::Replicates { from, writable, running } if from != number => {
            let mut next = replica(from, &said.executed);
            if writable {
                next = next.writable();
            }
            if !running {
                next = next.receiver(Thread::Stopped).applier_stopped("stopped");
            }
            world.says(number, next);
        }
        Event::Replicates { .. } => {}
        Event::Stands { writable } => {
            let next = primary(&said.executed);
            world.says(number, if writable { next } else { next.read_only() });
        }
        Event::Writes => {
            let mut executed = said.executed;
            match executed.iter_mut().find(|(by, _)| *by == number) {
                Some((_, last)) => *last += 1,
                None => executed.push((number, 1)),
            }
            world.write(number, &executed);
        }
        Event::CatchesUp { from } => {
            let mut executed = said.executed;
            for (by, last) in world.wanted[&format!("db{from}")].executed.clone() {
                match executed.iter_mut().find(|(known, _)| *known == by) {
                    Some((_, known)) => *known = last.max(*known),
                    None => executed.push((by, last)),
                }
            }
            world.write(number, &executed);
        }
        Event::Fails(failure) => world.fails(number, failure),
        Event::Discovered(standing) => {
            world.said.remove(&name);
            world.change(number, |server| server.standing = standing);
        }
        Event::Restarts => {
            world.change(number, |server| server.started = format!("{}'", server.started).into());
        }
        Event::Labelled(role) => world.change(number, |server| server.spec.role = role),
        Event::Ticks(count) => world.ticks(count),
    }
}

fn check(world: &World, before: &Topology) -> Result<(), TestCaseError> {
    let now = &world.topology;
    let target = |topology: &Topology| topology.primary().map(|primary| primary.id);
    let rose = now.epoch.0 - before.epoch.0;
    prop_assert!(target(before) == target(now) || rose > 0, "writes moved within an epoch");

    let ids: HashSet<_> = now.backends.iter().map(|backend| backend.id).collect();
    prop_assert_eq!(ids.len(), now.backends.len(), "two backends with one id");

    let primaries = now.backends.iter().filter(|backend| backend.role == Role::Primary).count();
    prop_assert!(primaries <= 1, "{} primaries", primaries);

    if let Some(primary) = now.primary() {
        prop_assert_eq!(&primary.state, &State::Up);
        prop_assert!(primary.address.is_some());
        let mut members = world.assessor.members.iter();
        let said = members.find(|member| member.id == primary.id).and_then(|it| it.last.clone());
        let said = said.expect("a primary has answered");
        prop_assert_eq!(said.read_only, ReadOnly::Off);
    }
    for backend in &now.backends {
        if backend.reads.is_ok() {
            prop_assert_eq!(&backend.state, &State::Up);
            prop_assert_eq!(backend.role, Role::Replica);
            prop_assert!(backend.weight > 0 && backend.address.is_some());
            let applies = backend.replication.iter().all(|r| r.applier == Thread::Running);
            prop_assert!(applies, "reads from a replica whose SQL thread is stopped");
            let Lag::Measured { behind, .. } = backend.lag else {
                return Err(TestCaseError::fail("reads from a replica of unknown lag"));
            };
            prop_assert!(behind <= Duration::from_secs(2), "reads from one that lags {:?}", behind);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn never(events in proptest::collection::vec((1..=3u8, event()), 1..60)) {
        let at = [(1, 10)];
        let mut world = World::new(&[primary(&at), replica(1, &at), replica(1, &at)]);
        world.tick();
        for (number, event) in events {
            let before = world.topology.clone();
            happen(&mut world, number, event);
            check(&world, &before)?;
            let before = world.topology.clone();
            world.tick();
            check(&world, &before)?;
        }
    }
}
