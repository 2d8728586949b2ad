//! Where writes go.

use super::world::*;
use super::*;

#[test]
fn nobody_is_primary_before_everybody_has_spoken() {
    let mut world = World::new(&[primary(&[(1, 10)]), primary(&[(1, 10), (2, 3)])]);
    world.catalog.expected = 2;
    world.relist();
    world.look();
    world.writes_stopped(&["still being listed"]);
    world.catalog.expected = 1;
    world.relist();
    world.look();
    world.writes_stopped(&["not every server has answered yet"]);

    // db1 answers first, but db2 is ahead of it.
    let id = world.backend(1).id;
    let outcome = world.observe("db1", Duration::ZERO);
    world.assessor.probed(id, outcome);
    world.look();
    world.writes_stopped(&["not every server has answered yet"]);
    world.ticks(1);
    world.writes_stopped(&["db1, db2 are all writable; db2 seems to hold all"]);
    world.ticks(5);
    world.writes_to(2);
    assert_eq!(world.backend(1).role, Role::Unknown);
    world.no_reads(1, "writable, and not the primary");
}

#[test]
fn a_restart_is_another_incarnation() {
    let mut world = cluster();
    let (id, epoch) = (world.backend(1).id, world.topology.epoch);
    world.change(1, |server| server.started = "2".into());
    world.writes_stopped(&["not every server has answered yet"]);
    let renewed = world.backend(1).id;
    assert_ne!(renewed, id);
    // A late probe of the old incarnation says nothing.
    let outcome = world.observe("db1", Duration::ZERO);
    world.assessor.probed(id, outcome);
    world.look();
    world.writes_stopped(&["not every server"]);
    world.tick();
    world.writes_to(1);
    assert_eq!(world.topology.epoch, Epoch(epoch.0 + 2));

    // Another address is another incarnation too.
    world.change(2, |server| server.standing = running(77));
    world.no_reads(2, "not answered");
    world.ticks(2);
    world.reads(2);
    assert_ne!(world.backend(2).id, renewed);
}

#[test]
fn two_writable_servers_stop_writes() {
    let at = [(1, 10)];
    let mut world = World::new(&[primary(&[(1, 10), (9, 1)]), primary(&[(1, 10), (8, 1)])]);
    world.add(3, replica(1, &at));
    world.ticks(20);
    world.writes_stopped(&["db1, db2 are all writable", "none of them holds all"]);
    world.says(2, primary(&[(1, 10), (8, 1)]).read_only());
    world.tick();
    world.writes_to(1);
}

#[test]
fn of_two_writable_servers_the_established_one_stays_if_it_lacks_nothing() {
    let mut world = cluster();
    let epoch = world.topology.epoch;
    // Promoted by mistake, level with the primary.
    world.says(2, primary(&[(1, 10)]));
    world.ticks(20);
    world.writes_to(1);
    assert_eq!(world.topology.epoch, epoch);
    world.no_reads(2, "writable, and not the primary");
    // The primary goes on.
    world.write(1, &[(1, 12)]);
    world.tick();
    world.writes_to(1);
    // Somebody writes to the other: neither holds all.
    world.write(2, &[(1, 10), (2, 1)]);
    world.tick();
    world.writes_stopped(&["db1, db2", "none of them holds all"]);
    assert_eq!(world.topology.epoch, Epoch(epoch.0 + 1));
}

#[test]
fn writes_move_to_a_writable_server_that_is_ahead_after_a_pause() {
    let mut world = cluster();
    world.says(2, primary(&[(1, 10), (2, 4)]));
    world.tick();
    world.writes_stopped(&["db2 seems to hold all"]);
    world.ticks(4);
    world.writes_stopped(&["db2 seems to hold all"]);
    world.ticks(1);
    world.writes_to(2);
    world.no_reads(1, "writable, and not the primary");
    // db3 still replicates from db1.
    world.ticks(3);
    world.no_reads(3, "first sample");
}

#[test]
fn failover_by_others_and_the_old_primary_returns() {
    let mut world = cluster();
    world.change(1, |server| server.standing = Standing::NotRunning("stopped".into()));
    world.says(2, primary(&[(1, 10)]));
    world.says(3, replica(2, &[(1, 10)]));
    world.tick();
    world.writes_to(2);
    // db3 never left: it had all that the new primary has.
    world.reads(3);
    world.write(2, &[(1, 10), (2, 3)]);
    world.write(3, &[(1, 10), (2, 3)]);
    world.ticks(3);
    world.reads(3);

    // The old primary returns, writable, with nothing of its own.
    world.says(1, primary(&[(1, 10)]));
    world.change(1, |server| {
        server.started = "2".into();
        server.standing = running(1);
    });
    world.writes_to(2);
    world.ticks(3);
    world.writes_to(2);
    world.no_reads(1, "writable, and not the primary");

    // With a transaction that the new primary lacks.
    world.write(1, &[(1, 11)]);
    world.ticks(10);
    world.writes_stopped(&["db1, db2", "none of them holds all"]);

    // Made a replica: no reads from it, for it holds what was lost.
    world.says(1, replica(2, &[(1, 11), (2, 3)]));
    world.ticks(4);
    world.writes_to(2);
    world.no_reads(
        1,
        "transactions that the primary has not: 3e11fa47-71ca-11e1-9e33-c80aa9429501:11",
    );
}

#[test]
fn a_hand_made_replica_is_writable_and_no_primary() {
    let at = [(1, 10)];
    let mut world = World::new(&[primary(&at), replica(1, &at).writable()]);
    world.ticks(3);
    world.writes_to(1);
    world.reads(2);
    world.warns(2, "SET PERSIST super_read_only=ON");
    // Nor when its source stops, nor when that container is removed.
    world.says(2, replica(1, &at).writable().receiver(Thread::Connecting));
    world.fails(1, unreachable());
    world.ticks(30);
    world.writes_stopped(&["db2 is writable but set up as a replica of db1", "RESET REPLICA ALL"]);
    world.reads(2);
    world.remove(1);
    world.ticks(30);
    world.writes_stopped(&["db2 is writable but set up as a replica of db1"]);
    world.reads(2);
    // The operator promotes it.
    world.says(2, primary(&at));
    world.tick();
    world.writes_to(2);
}

#[test]
fn of_two_that_replicate_from_each_other_the_writable_one_is_primary() {
    let at = [(1, 10)];
    let mut world = World::new(&[replica(2, &at).writable(), replica(1, &at)]);
    world.ticks(3);
    world.writes_to(1);
    world.reads(2);
    // Its own replication is no matter to the primary.
    world.says(1, replica(2, &at).writable().receiver(Thread::Stopped));
    world.fails(2, unreachable());
    world.ticks(3);
    world.writes_to(1);
    // Both writable: nobody knows.
    world.says(2, replica(1, &at).writable());
    world.tick();
    world.writes_stopped(&["db1 is writable but set up as a replica of db2"]);
}

#[test]
fn replicas_of_strangers() {
    let at = [(1, 10)];
    let mut world = cluster();
    world.says(2, replica(1, &at).of_stranger());
    world.tick();
    world.no_reads(2, "replicates from 10.9.9.9:3306, which is not listed");
    world.says(3, primary(&at).read_only());
    world.tick();
    world.no_reads(3, "replicates from nobody");

    // A writable one is a primary only if its label says so too.
    let mut world = World::new(&[replica(1, &at).of_stranger().writable()]);
    world.ticks(2);
    world.writes_stopped(&["db1 is writable but replicates from 10.9.9.9:3306", "role=primary"]);
    world.change(1, |server| server.spec.role = RoleSetting::Primary);
    world.writes_to(1);
    world.warns(1, "10.9.9.9:3306");
}

#[test]
fn the_servers_word_beats_the_label() {
    let mut world = cluster();
    world.change(1, |server| server.spec.role = RoleSetting::Replica);
    world.change(2, |server| server.spec.role = RoleSetting::Primary);
    world.tick();
    world.writes_to(1);
    world.reads(2);
    world.warns(1, "labelled replica, but it is the primary");
    world.warns(2, "labelled primary, but it is a replica");
    world.says(2, primary(&[(1, 10)]).read_only());
    world.tick();
    world.warns(2, "labelled primary, but it is read-only");
    world.writes_to(1);
}

#[test]
fn a_new_bare_server_labelled_replica_stops_nobody() {
    let mut world = cluster();
    world.add(4, primary(&[(4, 3)]));
    world.change(4, |server| server.spec.role = RoleSetting::Replica);
    world.ticks(3);
    world.writes_to(1);
    world.no_reads(4, "writable, and not the primary");
    // Without the label there is no telling.
    world.change(4, |server| server.spec.role = RoleSetting::Auto);
    world.writes_stopped(&["db1, db4"]);
    // A promoted replica shares the history: its label does not hide it.
    world.change(4, |server| server.spec.role = RoleSetting::Replica);
    world.write(4, &[(1, 9), (4, 3)]);
    world.tick();
    world.writes_stopped(&["db1, db4"]);
}

#[test]
fn a_primary_made_read_only_goes_on_serving_reads() {
    let mut world = cluster();
    world.says(1, primary(&[(1, 12)]).read_only());
    world.ticks(3);
    world.writes_stopped(&["db1 is read-only"]);
    world.reads(1);
    // Its samples still tell the lag of the others.
    world.ticks(30);
    world.no_reads(2, "lags");
    world.write(2, &[(1, 12)]);
    world.ticks(2);
    world.reads(2);
    // Switchover.
    world.says(2, primary(&[(1, 12)]));
    world.says(1, replica(2, &[(1, 12)]));
    world.tick();
    world.writes_to(2);
    world.ticks(3);
    world.reads(1);
}

#[test]
fn one_server_listed_twice_counts_once() {
    let mut world = cluster();
    let mut double = server(1);
    double.name = "db1 again".into();
    double.key = "proxy.toml:db1 again".into();
    world.listed().push(double);
    world.relist();
    let said = world.wanted["db1"].clone();
    world.wanted.insert("db1 again".to_owned(), said);
    // Its name is not `db` and a number, so it is asked by hand.
    let id = world.assessor.targets().find(|t| &**t.name == "db1 again").expect("listed").id;
    let outcome = world.observe("db1", Duration::ZERO);
    world.said.insert("db1 again".to_owned(), outcome.clone());
    world.assessor.probed(id, outcome);
    world.ticks(3);
    world.writes_to(1);
    let double = world.topology.backend(id).expect("it is shown");
    let State::LeftOut(reason) = &double.state else { panic!("{:?}", double.state) };
    assert!(reason.contains("the same server as db1"), "{reason}");
}

#[test]
fn nothing_listed() {
    let mut world = World::new(&[]);
    world.relist();
    world.look();
    world.writes_stopped(&["no container has the labels"]);
    let source = Listed { servers: Vec::new(), problem: Some("no Docker socket".into()) };
    world.catalog.sources.insert("docker".into(), source);
    world.relist();
    world.look();
    world.writes_stopped(&["no server is known: no Docker socket"]);
}

#[test]
fn a_primary_that_must_be_semi_synchronous_is_not_written_while_it_is_not() {
    let mut world = cluster();
    let with = |source: Option<SemiSyncSource>| Said {
        semi_sync: SemiSync { source, replica: None },
        ..primary(&[(1, 10)])
    };
    let fallen = SemiSyncSource { active: false, ..WORKING };
    // Nobody asks for it.
    world.says(1, with(Some(fallen)));
    world.tick();
    world.writes_to(1);

    world.assessor.set_policy(Policy { require_semi_sync: true, ..policy() });
    world.says(1, with(Some(WORKING)));
    world.tick();
    world.writes_to(1);
    let mut epoch = world.topology.epoch;
    let steps = [
        (None, "db1 has no semi-synchronous replication"),
        (
            Some(SemiSyncSource { enabled: false, ..fallen }),
            "SET GLOBAL rpl_semi_sync_source_enabled = ON",
        ),
        (Some(fallen), "db1 has fallen back to asynchronous replication: no acknowledgement"),
        (Some(SemiSyncSource { clients: 0, ..fallen }), "0 of 1 acknowledging replicas"),
        (Some(SemiSyncSource { wait_for: 3, ..WORKING }), "2 of 3 acknowledging replicas"),
    ];
    for (source, part) in steps {
        world.says(1, with(source));
        world.tick();
        world.writes_stopped(&["routing.require_semi_sync: ", part]);
        // It is the primary all the same, and reads go on.
        assert!(matches!(world.topology.writes, Writes::Held { .. }));
        assert_eq!(world.topology.primary().map(|primary| &*primary.name), Some("db1"));
        assert_eq!(world.backend(1).role, Role::Primary);
        assert!(world.backend(1).role_reason.contains(part), "{}", world.backend(1).role_reason);
        world.reads(2);
        assert!(world.topology.epoch > epoch, "{part}");
        world.says(1, with(Some(WORKING)));
        world.tick();
        world.writes_to(1);
        assert!(world.topology.epoch.0 > epoch.0 + 1, "{part}");
        epoch = world.topology.epoch;
    }
}
