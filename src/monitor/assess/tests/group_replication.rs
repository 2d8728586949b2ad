//! Members of Group Replication.

use proptest::prelude::*;

use super::world::*;
use super::*;
use crate::monitor::observation::ReadOnly;
use crate::routing::membership::Membership;
use crate::routing::membership::group::tests::member;
use crate::routing::membership::group::{Member as GroupMember, Role as GroupRole, State as Seen};

/// Number of the uuid under which a group numbers its transactions.
const GROUP: u8 = 200;

use GroupRole::{Primary, Secondary};
use Seen::{Error, Offline, Online, Recovering, Unreachable};

/// What the first of these says: how it sees itself and the others, in the view of this number.
fn of_group(view: u64, executed: u64, peers: &[(u8, Seen, GroupRole)]) -> Said {
    let ids: Vec<String> = peers.iter().map(|(number, ..)| uuid(*number)).collect();
    let seen: Vec<(&str, Seen, GroupRole)> =
        ids.iter().zip(peers).map(|(id, (_, state, role))| (&**id, *state, *role)).collect();
    let own = GroupMember { group: uuid(GROUP).into(), ..member(&seen, view) };
    let is_primary = own.role == Some(Primary);
    let said = primary(&[(GROUP, executed)]);
    Said {
        read_only: if is_primary { ReadOnly::Off } else { ReadOnly::Super },
        received: vec![(GROUP, executed)],
        membership: Membership::Group(Arc::new(own)),
        ..said
    }
}

/// All three see each other; `first` is the primary of view `view`.
fn whole(number: u8, first: u8, view: u64, executed: u64) -> Said {
    let others = (1..=3).filter(|other| *other != number);
    let peers: Vec<_> = [number]
        .into_iter()
        .chain(others)
        .map(|it| (it, Online, if it == first { Primary } else { Secondary }))
        .collect();
    of_group(view, executed, &peers)
}

fn edit(said: &mut Said, change: impl FnOnce(&mut GroupMember)) {
    let Membership::Group(member) = &mut said.membership else { panic!("no member") };
    change(Arc::make_mut(member));
}

fn change(mut said: Said, edited: impl FnOnce(&mut GroupMember)) -> Said {
    edit(&mut said, edited);
    said
}

/// Several may be written.
fn multi(number: u8, view: u64, executed: u64) -> Said {
    let said = change(whole(number, number, view, executed), |member| {
        member.single_primary = false;
        for peer in &mut member.peers {
            peer.role = Some(Primary);
        }
    });
    said.writable()
}

/// A primary and two secondaries that serve.
fn group() -> World {
    let said: Vec<Said> = (1..=3).map(|number| whole(number, 1, 3, 10)).collect();
    let mut world = World::new(&said);
    world.ticks(3);
    world.writes_to(1);
    world.reads(2);
    world.reads(3);
    world
}

#[test]
fn secondaries_are_replicas_without_a_channel() {
    let world = group();
    assert_eq!(world.backend(1).role, Role::Primary);
    for number in [2, 3] {
        let backend = world.backend(number);
        assert_eq!(backend.role, Role::Replica);
        assert!(backend.role_reason.contains("whose primary is db1"), "{}", backend.role_reason);
        assert!(backend.warnings.is_empty(), "{:?}", backend.warnings);
    }
    assert!(world.backend(1).has_gtids);
}

#[test]
fn lag_is_measured_by_the_group_s_transactions() {
    let mut world = group();
    world.says(1, whole(1, 1, 3, 20));
    world.says(3, whole(3, 1, 3, 20));
    world.ticks(30);
    world.no_reads(2, "lags more than max_lag");
    world.reads(3);
    world.says(2, whole(2, 1, 3, 20));
    world.ticks(3);
    world.reads(2);
}

#[test]
fn one_that_has_applied_more_than_the_primary_is_not_errant() {
    let mut world = group();
    // The primary is slow to commit what the others have applied.
    world.says(2, whole(2, 1, 3, 15));
    world.ticks(400);
    world.reads(2);
}

#[test]
fn only_members_that_are_online_serve() {
    let table = [
        (Recovering, Role::Replica, "it is recovering"),
        (Error, Role::Unknown, "has left the group"),
        (Offline, Role::Unknown, "START GROUP_REPLICATION"),
    ];
    for (state, role, reason) in table {
        let mut world = group();
        world.says(2, of_group(3, 10, &[(2, state, Secondary)]));
        world.tick();
        world.no_reads(2, reason);
        assert_eq!(world.backend(2).role, role, "{state:?}");
        world.writes_to(1);
        world.says(2, whole(2, 1, 4, 10));
        world.ticks(3);
        world.reads(2);
    }
}

#[test]
fn one_that_is_out_and_writable_is_no_primary() {
    let out = |number| of_group(3, 10, &[(number, Offline, Secondary)]).writable();
    let mut world = World::new(&[out(1), out(2)]);
    world.ticks(10);
    world.writes_stopped(&["db1: it is set up for the group", "db2: it is set up for the group"]);
}

#[test]
fn one_that_is_out_may_replicate_by_a_channel() {
    let mut world = group();
    let out = of_group(3, 10, &[(2, Offline, Secondary)]);
    world.says(2, Said { channels: replica(1, &[]).channels, ..out });
    world.ticks(3);
    world.reads(2);
    assert!(world.backend(2).role_reason.contains("replicates from db1"));
}

#[test]
fn the_next_primary_is_written_once_it_has_applied_what_the_last_one_wrote() {
    let mut world = group();
    let epoch = world.topology.epoch;
    world.change(1, |server| server.standing = Standing::NotRunning("killed".into()));
    world.writes_stopped(&["db1: killed", "db2: it is a secondary"]);
    world.reads(2);
    world.reads(3);

    let seen = [(2, Online, Primary), (3, Online, Secondary)];
    let elected = |executed| of_group(4, executed, &seen);
    world.says(3, of_group(4, 10, &[(3, Online, Secondary), (2, Online, Primary)]));
    world.says(2, change(elected(10), |member| member.certifier_queue = 2));
    world.ticks(5);
    world.writes_stopped(&["db2 is to be written next", "all that was written before"]);
    world.says(2, Said { received: vec![(GROUP, 12)], ..elected(10) });
    world.ticks(5);
    world.writes_stopped(&["db2 is to be written next", "once it has applied"]);
    // What others write meanwhile need not be waited for.
    world.says(2, Said { received: vec![(GROUP, 15)], ..elected(12) });
    world.tick();
    world.writes_to(2);
    assert!(world.topology.epoch > epoch);
    world.says(3, of_group(4, 12, &[(3, Online, Secondary), (2, Online, Primary)]));
    world.ticks(3);
    world.reads(3);

    // The former one joins again.
    world.change(1, |server| {
        server.started = "2".into();
        server.standing = running(1);
    });
    world.says(1, of_group(3, 10, &[(1, Offline, Secondary)]));
    world.tick();
    world.writes_to(2);
    world.no_reads(1, "START GROUP_REPLICATION");
    for number in 1..=3 {
        world.says(number, whole(number, 2, 5, 12));
    }
    world.ticks(3);
    world.writes_to(2);
    world.reads(1);
}

#[test]
fn what_is_never_applied_is_not_waited_for_without_end() {
    let mut world = group();
    world.change(1, |server| server.standing = Standing::NotRunning("killed".into()));
    let seen = [(2, Online, Primary), (3, Online, Secondary)];
    let elected = Said { received: vec![(GROUP, 12)], ..of_group(4, 10, &seen) };
    world.says(2, change(elected.clone(), |member| member.applier_queue = 2));
    world.ticks(400);
    world.writes_stopped(&["db2 is to be written next", "once it has applied"]);
    world.says(2, elected);
    world.tick();
    world.writes_to(2);
}

#[test]
fn a_planned_change_of_the_primary_is_followed() {
    let mut world = group();
    for number in 1..=3 {
        world.says(number, whole(number, 2, 3, 10));
    }
    world.ticks(2);
    world.writes_to(2);
    world.ticks(2);
    world.reads(1);
    world.no_reads(2, "it is the primary");
}

#[test]
fn a_lost_majority_stops_writes_and_no_reads() {
    let mut world = group();
    for number in [2, 3] {
        world.change(number, |server| server.standing = Standing::NotRunning("killed".into()));
    }
    world.says(
        1,
        of_group(
            3,
            10,
            &[(1, Online, Primary), (2, Unreachable, Secondary), (3, Unreachable, Secondary)],
        ),
    );
    world.tick();
    world.writes_stopped(&["db1: it reaches 1 of 3 members", "without a majority"]);
    world.ticks(3);
    // Nobody is known to go on without it.
    world.reads(1);
    world.says(1, of_group(4, 10, &[(1, Online, Primary)]));
    world.tick();
    world.writes_to(1);
    world.no_reads(1, "it is the primary");
}

#[test]
fn of_two_parts_the_one_with_the_majority_goes_on() {
    let mut world = group();
    let cut_off = [(1, Online, Primary), (2, Unreachable, Secondary), (3, Unreachable, Secondary)];
    world.says(1, of_group(3, 10, &cut_off));
    world.tick();
    world.writes_stopped(&["db1: it reaches 1 of 3 members"]);
    world.says(2, of_group(4, 10, &[(2, Online, Primary), (3, Online, Secondary)]));
    world.says(3, of_group(4, 10, &[(3, Online, Secondary), (2, Online, Primary)]));
    world.ticks(2);
    world.writes_to(2);
    world.ticks(3);
    world.no_reads(1, "without a majority nothing can be committed");
    world.reads(3);
}

#[test]
fn one_that_slept_while_the_others_went_on_is_no_primary() {
    let mut world = group();
    world.fails(1, Failure::Silent("late".into()));
    world.says(2, of_group(5, 10, &[(2, Online, Primary), (3, Online, Secondary)]));
    world.says(3, of_group(5, 10, &[(3, Online, Secondary), (2, Online, Primary)]));
    world.ticks(3);
    world.writes_to(2);
    // It wakes, and has not heard yet.
    world.says(1, whole(1, 1, 3, 10));
    world.tick();
    world.writes_to(2);
    world.ticks(3);
    world.no_reads(1, "has gone on without it");
}

#[test]
fn a_group_of_several_primaries_has_one_writer() {
    let said: Vec<Said> = (1..=3).map(|number| multi(number, 3, 10)).collect();
    let mut world = World::new(&said);
    world.ticks(4);
    world.writes_to(1);
    world.reads(2);
    world.reads(3);
    let backend = world.backend(2);
    assert!(backend.role_reason.contains("which is written at db1"), "{}", backend.role_reason);
    assert!(backend.warnings.is_empty(), "{:?}", backend.warnings);

    world.change(1, |server| server.standing = Standing::NotRunning("killed".into()));
    world.ticks(50);
    world.writes_stopped(&["db2 is to be written next", "got all"]);
    for number in [2, 3] {
        let without = change(multi(number, 4, 10), |member| {
            member.peers.retain(|peer| *peer.id != *uuid(1));
        });
        world.says(number, without);
    }
    world.ticks(2);
    world.writes_to(2);

    // It stays there when the first returns.
    world.change(1, |server| {
        server.started = "2".into();
        server.standing = running(1);
    });
    for number in 1..=3 {
        world.says(number, multi(number, 5, 10));
    }
    world.ticks(5);
    world.writes_to(2);
    world.reads(1);
}

#[test]
fn a_label_moves_the_writer_of_several_once_the_next_is_as_far() {
    let said: Vec<Said> = (1..=3).map(|number| multi(number, 3, 10)).collect();
    let mut world = World::new(&said);
    world.ticks(4);
    world.says(1, multi(1, 3, 20));
    world.change(3, |server| server.spec.role = RoleSetting::Primary);
    world.ticks(3);
    world.writes_stopped(&["db3 is to be written next"]);
    world.says(3, multi(3, 3, 20));
    world.ticks(2);
    world.writes_to(3);
}

#[test]
fn a_last_writer_that_only_we_have_lost_is_not_waited_for_without_end() {
    let said: Vec<Said> = (1..=3).map(|number| multi(number, 3, 10)).collect();
    let mut world = World::new(&said);
    world.ticks(4);
    world.fails(1, unreachable());
    world.ticks(290);
    world.writes_stopped(&["db2 is to be written next"]);
    world.ticks(20);
    world.writes_to(2);
}

#[test]
fn a_replica_outside_a_group_is_a_replica() {
    let mut world = group();
    world.add(4, replica(2, &[(GROUP, 10)]));
    world.ticks(3);
    world.reads(4);
    // It has got from a secondary what the primary is about to commit.
    world.says(4, replica(2, &[(GROUP, 12)]));
    world.ticks(20);
    world.reads(4);
    // And what nobody in the group has.
    world.says(4, replica(2, &[(GROUP, 12), (9, 1)]));
    world.ticks(5);
    world.no_reads(4, "transactions that the primary has not");
}

#[test]
fn two_groups_do_not_share_a_primary() {
    let mut world = group();
    let mut stranger = of_group(7, 5, &[(4, Online, Primary)]);
    edit(&mut stranger, |member| member.group = uuid(201).into());
    stranger.executed = vec![(201, 5)];
    world.add(4, stranger);
    world.ticks(20);
    world.writes_stopped(&["db1, db4 are all writable", "none of them holds all"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever members say in whatever order: nobody is written who is out of the group, without
    /// a majority, or behind the latest view, and nobody is read who is cut off from a primary.
    #[test]
    fn never(events in proptest::collection::vec((1..=3u8, event(), 1..8usize), 1..40)) {
        let mut world = group();
        for (number, event, ticks) in events {
            happen(&mut world, number, event);
            for _ in 0..ticks {
                let before = world.topology.clone();
                world.tick();
                check(&world, &before)?;
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Event {
    /// How it sees itself and the two others, in which view, what it has and what has come to it.
    Says {
        seen: [(Seen, GroupRole); 3],
        view: u64,
        executed: u64,
        received: u64,
        single: bool,
    },
    Fails,
    Stops,
    Starts,
}

fn event() -> impl Strategy<Value = Event> {
    let state = || {
        prop_oneof![
            5 => Just(Online),
            1 => Just(Recovering),
            1 => Just(Offline),
            1 => Just(Error),
            2 => Just(Unreachable),
        ]
    };
    let role = || prop_oneof![Just(Primary), Just(Secondary)];
    let seen = || (state(), role());
    let says = ([seen(), seen(), seen()], 3..7u64, 8..14u64, 8..14u64, prop::bool::weighted(0.8));
    prop_oneof![
        8 => says.prop_map(|(seen, view, executed, received, single)| {
            Event::Says { seen, view, executed, received, single }
        }),
        1 => Just(Event::Fails),
        1 => Just(Event::Stops),
        1 => Just(Event::Starts),
    ]
}

fn happen(world: &mut World, number: u8, event: Event) {
    match event {
        Event::Says { seen, view, executed, received, single } => {
            let order = [number, number % 3 + 1, (number + 1) % 3 + 1];
            let peers: Vec<_> = order
                .iter()
                .zip(seen)
                .map(|(number, (state, role))| (*number, state, role))
                .collect();
            let said =
                Said { received: vec![(GROUP, received)], ..of_group(view, executed, &peers) };
            world.says(number, change(said, |member| member.single_primary = single));
        }
        Event::Fails => world.fails(number, Failure::Silent("late".into())),
        Event::Stops => world.change(number, |server| {
            server.standing = Standing::NotRunning("stopped".into());
        }),
        Event::Starts => world.change(number, |server| server.standing = running(number)),
    }
}

fn check(world: &World, before: &Topology) -> Result<(), TestCaseError> {
    let now = &world.topology;
    let target = |topology: &Topology| topology.primary().map(|primary| primary.id);
    prop_assert!(target(before) == target(now) || now.epoch > before.epoch, "moved in an epoch");
    let member = |backend: &Backend| match &backend.membership {
        Membership::Group(member) => member.clone(),
        other => panic!("{other:?}"),
    };
    if let Some(primary) = now.primary() {
        let own = member(primary);
        prop_assert_eq!(own.state, Online);
        prop_assert!(own.has_majority() && own.role == Some(Primary));
        prop_assert_eq!(&primary.state, &State::Up);
    }
    for backend in now.backends.iter().filter(|backend| backend.reads.is_ok()) {
        let own = member(backend);
        prop_assert_eq!(own.state, Online);
        prop_assert!(own.has_majority() || now.primary().is_none(), "it is cut off");
    }
    Ok(())
}

#[test]
fn flow_control_is_a_warning() {
    let mut world = group();
    world.says(2, change(whole(2, 1, 3, 10), |member| member.applier_queue = 25_001));
    world.tick();
    world.warns(2, "more than 25000 transactions wait there to be applied");
    world.says(2, whole(2, 1, 3, 10));
    world.tick();
    assert!(world.backend(2).warnings.is_empty());
}
