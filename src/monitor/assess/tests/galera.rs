//! Nodes of a Galera cluster.

use super::world::*;
use super::*;
use crate::routing::membership::Membership;
use crate::routing::membership::galera::tests::node;
use crate::routing::membership::galera::{Node, State as NodeState};

fn of(node: Node) -> Said {
    Said { membership: Membership::Galera(Arc::new(node)), ..primary(&[]) }
}

/// One of three that is well.
fn well(last_committed: u64) -> Said {
    of(node(last_committed))
}

fn in_state(state: NodeState) -> Said {
    of(Node { state, ..node(10) })
}

fn cut_off() -> Said {
    of(Node {
        in_primary_component: false,
        view: u64::MAX,
        size: 1,
        is_ready: false,
        state: NodeState::Initialized,
        ..node(10)
    })
}

/// Three nodes, of which the first is written.
fn galera() -> World {
    let mut world = World::new(&[well(10), well(10), well(10)]);
    world.ticks(3);
    world.writes_to(1);
    world.reads(2);
    world.reads(3);
    world
}

#[test]
fn one_node_is_written_and_the_others_read() {
    let world = galera();
    for number in [2, 3] {
        let backend = world.backend(number);
        assert_eq!(backend.role, Role::Replica);
        assert!(backend.role_reason.contains("which is written at db1"), "{}", backend.role_reason);
        assert!(backend.warnings.is_empty(), "{:?}", backend.warnings);
        assert!(!backend.has_gtids, "its GTIDs are its own");
    }
    world.no_reads(1, "it is the primary");
}

#[test]
fn the_label_chooses_the_writer() {
    let mut world = World::new(&[well(10), well(10), well(10)]);
    world.change(3, |server| server.spec.role = RoleSetting::Primary);
    world.change(1, |server| server.spec.role = RoleSetting::Replica);
    world.ticks(3);
    world.writes_to(3);
    world.change(3, |server| server.standing = Standing::NotRunning("stopped".into()));
    for number in [1, 2] {
        world.says(number, of(Node { view: 4, size: 2, ..node(10) }));
    }
    world.ticks(2);
    world.writes_to(2);
}

#[test]
fn lag_is_measured_by_the_cluster_s_numbers() {
    let mut world = galera();
    world.says(1, well(20));
    world.says(3, well(20));
    world.ticks(30);
    world.no_reads(2, "lags more than max_lag");
    world.reads(3);
    let applied = world.backend(3).applied.expect("it has applied a sample");
    assert!(world.backend(2).applied < Some(applied));
    world.says(2, well(25));
    world.ticks(3);
    world.reads(2);
}

#[test]
fn the_next_writer_waits_for_the_others_to_part_with_the_last() {
    let mut world = galera();
    world.change(1, |server| server.standing = Standing::NotRunning("killed".into()));
    world.ticks(20);
    world.writes_stopped(&["db2 is to be written next", "got all that was written"]);
    world.reads(3);
    let left = |queue| of(Node { view: 4, size: 2, receive_queue: queue, ..node(12) });
    world.says(2, left(3));
    world.says(3, left(0));
    world.ticks(2);
    world.writes_stopped(&["db2 is to be written next"]);
    world.says(2, left(0));
    world.tick();
    world.writes_to(2);
    world.ticks(3);
    world.reads(3);

    world.change(1, |server| {
        server.started = "2".into();
        server.standing = running(1);
    });
    world.says(1, of(Node { view: 5, state: NodeState::Joining, is_ready: false, ..node(12) }));
    for number in [2, 3] {
        world.says(number, of(Node { view: 5, ..node(12) }));
    }
    world.ticks(3);
    world.no_reads(1, "not ready");
    world.writes_to(2);
    world.says(1, of(Node { view: 5, ..node(12) }));
    world.ticks(3);
    world.writes_to(2);
    world.reads(1);
}

#[test]
fn a_writer_that_hangs_is_parted_with_by_its_cluster() {
    let mut world = galera();
    world.fails(1, Failure::Silent("late".into()));
    world.ticks(10);
    world.writes_to(1);
    for number in [2, 3] {
        world.says(number, of(Node { view: 4, size: 2, ..node(10) }));
    }
    world.ticks(2);
    world.writes_to(2);
}

#[test]
fn a_donor_is_not_read_and_only_written_for_want_of_another() {
    let mut world = galera();
    world.says(2, in_state(NodeState::Donor));
    world.tick();
    world.no_reads(2, "a donor, or desynced");
    world.says(2, well(10));
    world.ticks(3);
    world.reads(2);

    world.says(1, in_state(NodeState::Donor));
    world.ticks(2);
    world.writes_to(2);
    world.says(2, in_state(NodeState::Donor));
    world.says(3, in_state(NodeState::Donor));
    world.ticks(3);
    world.writes_to(2);
    world.says(1, well(10));
    world.ticks(3);
    world.writes_to(1);
}

#[test]
fn the_next_writer_is_as_far_as_a_last_one_that_answers() {
    let mut world = galera();
    world.says(1, of(Node { state: NodeState::Donor, ..node(20) }));
    world.ticks(5);
    world.writes_stopped(&["db2 is to be written next"]);
    world.says(2, well(20));
    world.tick();
    world.writes_to(2);
}

#[test]
fn only_the_primary_component_serves() {
    let mut world = galera();
    world.says(3, cut_off());
    world.tick();
    world.no_reads(3, "not in the primary component");
    assert_eq!(world.backend(3).role, Role::Unknown);
    world.writes_to(1);
    world.says(1, cut_off());
    world.says(2, cut_off());
    world.tick();
    world.writes_stopped(&["db1: it is not in the primary component"]);
    world.no_reads(2, "not in the primary component");
}

#[test]
fn two_components_that_both_go_on_stop_writes() {
    let mut world = galera();
    world.says(1, of(Node { view: 4, size: 1, ..node(10) }));
    for number in [2, 3] {
        world.says(number, of(Node { view: 4, size: 2, ..node(10) }));
    }
    world.tick();
    world.writes_stopped(&["db1, db2, db3 are all writable"]);
}

#[test]
fn nodes_that_take_no_statements_take_none() {
    let table = [
        (Node { is_ready: false, ..node(10) }, "wsrep_ready"),
        (Node { is_connected: false, ..node(10) }, "wsrep_connected"),
        (Node { rejects_queries: true, ..node(10) }, "wsrep_reject_queries"),
        (Node { state: NodeState::Joined, ..node(10) }, "not in step"),
    ];
    for (said, reason) in table {
        let mut world = galera();
        world.says(2, of(said.clone()));
        world.tick();
        world.no_reads(2, reason);
        world.writes_to(1);
        let mut alone = World::new(&[of(said)]);
        alone.ticks(3);
        alone.writes_stopped(&[reason]);
    }
}

#[test]
fn what_does_not_reach_the_others_is_not_written() {
    let mut world = galera();
    world.says(1, of(Node { replicates: false, ..node(10) }));
    world.ticks(3);
    world.writes_to(2);
    world.warns(1, "wsrep_on is OFF");
}
