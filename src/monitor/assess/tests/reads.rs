//! Who takes reads.

use super::world::*;
use super::*;

#[test]
fn a_failed_probe_is_an_answer_too() {
    let mut world = World::new(&[primary(&[(1, 10)]), replica(1, &[(1, 10)])]);
    world.fails(2, unreachable());
    world.tick();
    world.writes_to(1);
    world.no_reads(2, "connection refused");
    assert_eq!(world.backend(2).state, State::Down("connection refused".into()));
}

#[test]
fn replicas_join_after_two_good_observations() {
    let at = [(1, 10)];
    let mut world = World::new(&[primary(&at), replica(1, &at), replica(1, &[(1, 4)])]);
    world.tick();
    world.no_reads(2, "one more good");
    world.tick();
    world.reads(2);
    world.no_reads(3, "first sample");
    assert_eq!(world.backend(3).lag, Lag::Unknown);
    assert_eq!(world.backend(2).replication[0].source, "db1".into());
    world.no_reads(1, "primary");
}

/// Before its number counts as executed others can read what it has written.
#[test]
fn who_lacks_what_is_being_committed_has_not_applied_the_sample() {
    let at = [(1, 10)];
    let mut world = World::new(&[primary(&at), replica(1, &at), replica(1, &at)]);
    world.ticks(2);
    let before = world.backend(2).applied;
    // The second is another server's: it is held from its transaction's beginning.
    let committing = vec![(1, 11), (3, 5)];
    world.says(1, Said { committing, ..primary(&at) });
    world.says(3, replica(1, &[(1, 11)]));
    world.tick();
    assert_eq!(world.backend(2).applied, before);
    assert!(world.backend(3).applied > before);
    // The primary itself does not show it yet.
    assert_eq!(world.backend(1).applied, before);
    world.says(2, replica(1, &[(1, 11)]));
    world.tick();
    assert!(world.backend(2).applied > before);
    assert!(world.backend(1).applied == before);
    world.says(1, primary(&[(1, 11)]));
    world.tick();
    assert!(world.backend(1).applied > before);
    assert_eq!(world.backend(1).lag, Lag::Measured { behind: Duration::ZERO, stale: false });
}

#[test]
fn lag_leaves_at_max_lag_and_returns_below_a_share_of_it() {
    let mut world = cluster();
    for step in 1..=40 {
        let ahead = [(1, 10 + step)];
        world.write(1, &ahead);
        world.write(2, &ahead);
        world.tick();
        world.reads(2);
        let Lag::Measured { behind, stale: false } = world.backend(3).lag else { panic!() };
        let expected = 50 + 100 * (step - 1);
        assert!(behind.as_millis().abs_diff(expected.into()) <= 10, "{behind:?} at {step}");
        if behind > Duration::from_secs(2) {
            world.no_reads(3, "it lags more than max_lag (2s)");
        } else {
            world.reads(3);
        }
    }
    // It catches up to 1.55 s: not enough to return.
    world.write(3, &[(1, 34)]);
    world.ticks(1);
    world.no_reads(3, "lags");
    // To less than a second, twice.
    world.write(3, &[(1, 48)]);
    world.tick();
    world.no_reads(3, "one more good");
    world.tick();
    world.reads(3);
}

#[test]
fn a_servers_own_max_lag_counts() {
    let mut world = cluster();
    world.change(3, |server| server.spec.max_lag = Some(Duration::from_millis(200)));
    for step in 1..=4 {
        world.write(1, &[(1, 10 + step)]);
        world.tick();
    }
    world.no_reads(3, "max_lag (200ms)");
    world.reads(2);
}

#[test]
fn an_idle_primary_makes_no_lag() {
    let mut world = cluster();
    world.ticks(100);
    assert_eq!(world.backend(2).lag, Lag::Measured { behind: Duration::ZERO, stale: false });
}

#[test]
fn stopped_threads_are_reasons() {
    let mut world = cluster();
    world.says(2, replica(1, &[(1, 10)]).applier_stopped("Duplicate entry '5'"));
    world.says(3, replica(1, &[(1, 10)]).receiver(Thread::Stopped));
    world.tick();
    world.no_reads(2, "SQL thread is stopped: Duplicate entry '5'");
    world.no_reads(3, "IO thread is stopped");
    world.says(2, replica(1, &[(1, 10)]));
    world.says(3, replica(1, &[(1, 10)]));
    world.ticks(2);
    world.reads(2);
    world.reads(3);
}

#[test]
fn a_connecting_receiver_has_until_max_lag() {
    let mut world = cluster();
    world.says(2, replica(1, &[(1, 10)]).receiver(Thread::Connecting));
    world.ticks(20);
    world.reads(2);
    world.ticks(3);
    world.no_reads(2, "IO thread cannot reach the source");
}

#[test]
fn primary_gone_reads_go_on() {
    let mut world = cluster();
    world.write(1, &[(1, 11)]);
    world.tick();
    let epoch = world.topology.epoch;
    world.fails(1, unreachable());
    world.says(2, replica(1, &[(1, 11)]).receiver(Thread::Connecting));
    world.says(3, replica(1, &[(1, 10)]).receiver(Thread::Stopped));
    world.tick();
    world.writes_stopped(&["no server takes writes: db1: connection refused", "db2 is read-only"]);
    assert!(world.topology.epoch > epoch);
    world.ticks(600);
    world.reads(2);
    world.reads(3);
    assert_eq!(world.backend(2).lag, Lag::Measured { behind: Duration::ZERO, stale: true });
    // Frozen, not growing.
    let Lag::Measured { behind, stale: true } = world.backend(3).lag else { panic!() };
    assert!(behind < Duration::from_secs(1), "{behind:?}");
    assert_eq!(world.backend(1).role, Role::Primary);

    // It comes back: the same server takes writes again.
    world.says(1, primary(&[(1, 11)]));
    world.tick();
    world.writes_to(1);
    world.no_reads(3, "IO thread is stopped");
    // The other was merely reconnecting, since a minute.
    world.no_reads(2, "cannot reach the source");
}

#[test]
fn a_stopped_or_paused_container_is_out_at_once() {
    let mut world = cluster();
    let id = world.backend(2).id;
    let paused = || Standing::NotRunning("the container is paused".into());
    world.change(2, |server| server.standing = paused());
    world.no_reads(2, "paused");
    assert_eq!(world.backend(2).state, State::Down("the container is paused".into()));
    world.change(1, |server| server.standing = paused());
    world.writes_stopped(&["db1: the container is paused"]);
    world.reads(3);

    // Back: the same process, but it must be asked before it counts.
    world.change(1, |server| server.standing = running(1));
    world.writes_stopped(&["not every server has answered yet"]);
    world.change(2, |server| server.standing = running(2));
    world.no_reads(2, "not answered");
    world.tick();
    world.writes_to(1);
    world.ticks(2);
    world.reads(2);
    assert_eq!(world.backend(2).id, id);
}

#[test]
fn drain_weight_and_health() {
    let mut world = cluster();
    world.change(2, |server| server.spec.drain = true);
    world.change(3, |server| server.spec.weight = 0);
    world.no_reads(2, "drain");
    world.no_reads(3, "weight is 0");
    world.change(2, |server| {
        server.spec.drain = false;
        server.standing = Standing::Unhealthy(Address::Ip(([172, 18, 0, 2], 3306).into()));
    });
    world.no_reads(2, "health check");
    world.tick();
    world.no_reads(2, "health check");
    world.change(2, |server| server.standing = running(2));
    world.ticks(2);
    world.reads(2);
    world.change(1, |server| {
        server.standing = Standing::Unhealthy(Address::Ip(([172, 18, 0, 1], 3306).into()));
    });
    world.writes_stopped(&["db1: Docker's health check fails"]);
}

#[test]
fn a_left_out_server_is_shown_with_its_reason() {
    let mut world = cluster();
    world.change(3, |server| server.standing = Standing::LeftOut("unknown label".into()));
    world.no_reads(3, "unknown label");
    assert_eq!(world.backend(3).state, State::LeftOut("unknown label".into()));
    assert_eq!(world.backend(3).address, None);
    assert_eq!(world.assessor.targets().count(), 2);
}

#[test]
fn how_probes_fail() {
    let mut world = cluster();
    // Full: busy, not down.
    world.fails(1, Failure::Full("Too many connections".into()));
    world.fails(2, Failure::Full("Too many connections".into()));
    world.ticks(3);
    world.writes_to(1);
    world.reads(2);
    assert_eq!(world.backend(1).state, State::Up);
    // Late: no reads from it; that it is down is not certain yet.
    world.fails(1, Failure::Silent("no answer".into()));
    world.fails(2, Failure::Silent("no answer".into()));
    world.tick();
    world.writes_to(1);
    world.no_reads(2, "no answer");
    // Denied.
    world.fails(2, Failure::Denied("Access denied for user 'rwproxy'".into()));
    world.tick();
    world.no_reads(2, "Access denied");
    assert!(matches!(world.backend(2).state, State::NoAccess(_)));
    world.fails(1, unreachable());
    world.tick();
    world.writes_stopped(&["db1: connection refused", "db2: Access denied"]);
}

#[test]
fn a_returned_replica_starts_slowly() {
    let mut world = cluster();
    assert_eq!(world.backend(2).weight, 100);
    world.ticks(60);
    world.says(2, replica(1, &[(1, 10)]).applier_stopped("x"));
    world.tick();
    world.says(2, replica(1, &[(1, 10)]));
    world.ticks(2);
    world.reads(2);
    assert_eq!(world.backend(2).weight, 10);
    world.ticks(25);
    assert_eq!(world.backend(2).weight, 50);
    world.ticks(25);
    assert_eq!(world.backend(2).weight, 100);
    assert_eq!(world.backend(2).configured_weight, 1);
}

#[test]
fn errant_transactions_bar_reads_unless_they_were_there_before() {
    let at = [(1, 10)];
    let mut world = World::new(&[primary(&at), replica(1, &[(1, 10), (2, 3)]), replica(1, &at)]);
    world.ticks(4);
    world.reads(2);
    world.warns(2, "when it was first seen: 3e11fa47-71ca-11e1-9e33-c80aa9429502:1-3");
    world.write(2, &[(1, 10), (2, 4)]);
    world.write(3, &[(1, 10), (3, 1)]);
    world.tick();
    world.reads(2);
    world.tick();
    world.no_reads(
        2,
        "transactions that the primary has not: 3e11fa47-71ca-11e1-9e33-c80aa9429502:4",
    );
    world.no_reads(3, "3e11fa47-71ca-11e1-9e33-c80aa9429503:1");
    // Empty transactions of these numbers on the primary mend it.
    world.write(1, &[(1, 10), (2, 4), (3, 1)]);
    world.write(2, &[(1, 10), (2, 4), (3, 1)]);
    world.write(3, &[(1, 10), (2, 4), (3, 1)]);
    world.ticks(3);
    world.reads(2);
    world.reads(3);
}

#[test]
fn what_the_primary_has_sent_and_not_yet_committed_is_not_errant() {
    let mut world = cluster();
    world.ticks(3);
    world.reads(2);
    // A busy primary: each look finds other transactions that are on the replica first.
    for last in 11..20 {
        world.write(2, &[(1, last)]);
        world.write(1, &[(1, last - 1)]);
        world.tick();
        world.reads(2);
    }
    // One that waits for a replica's acknowledgement.
    world.ticks(100);
    world.reads(2);
    // One that was lost when the primary crashed.
    world.ticks(250);
    world.no_reads(
        2,
        "transactions that the primary has not: 3e11fa47-71ca-11e1-9e33-c80aa9429501:19",
    );
    // Different errant ones in a row are errant each time.
    let mut world = cluster();
    world.ticks(3);
    world.write(2, &[(1, 10), (2, 1)]);
    world.ticks(2);
    world.write(2, &[(1, 10), (2, 2)]);
    world.tick();
    world.no_reads(2, "3e11fa47-71ca-11e1-9e33-c80aa9429502:1");
}
