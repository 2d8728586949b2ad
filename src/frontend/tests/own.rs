//! Sessions whose connections are their own.

use std::sync::atomic::Ordering;

use super::scripted::{Front, OK, Say, Server, reply};
use super::sessions::until;
use crate::backend::pool::PoolView;
use crate::frontend::login::Ownership;
use crate::frontend::mailbox::Mail;
use crate::routing::topology::{State, Topology};

const OWN: Ownership = Ownership::Session { announced: false };

/// A server that says OK to everything, and leaves at "LEAVE".
async fn obliging() -> Server {
    Server::start(|command| match &command[1..] {
        b"/* LEAVE */ SELECT 1" => Say::Die(reply(&[OK])),
        _ => Say::Bytes(reply(&[OK])),
    })
    .await
}

fn opened(servers: &[&Server]) -> Vec<usize> {
    servers.iter().map(|server| server.connections.load(Ordering::SeqCst)).collect()
}

#[tokio::test]
async fn each_session_has_one_connection_to_each_server_that_it_uses() {
    let (primary, replica) = (obliging().await, obliging().await);
    let servers = [&primary, &replica];
    let context = Front::context(&servers, OWN);
    let mut fronts = Vec::new();
    for expected in [1, 2, 3] {
        let mut front = Front::enter(context.clone()).await;
        assert_eq!(opened(&servers), [expected - 1; 2], "none before it is needed");
        for _ in 0..3 {
            assert_eq!(front.query("SELECT 1").await.as_deref(), Some(OK));
        }
        // Reads behind it are the primary's, which tells no GTIDs.
        for _ in 0..3 {
            assert_eq!(front.query("UPDATE t").await.as_deref(), Some(OK));
        }
        assert_eq!(opened(&servers), [expected; 2]);
        fronts.push(front);
    }
    let idle = |idle| PoolView { limit: 4, leased: 0, pinned: 0, idle };
    let views = || context.pools.all().iter().map(|pool| pool.view()).collect::<Vec<_>>();
    until("all are idle", || views() == [idle(3); 2]).await;
    drop(fronts.pop());
    until("they end with their session", || views() == [idle(2); 2]).await;
    until("and are closed", || [primary.open(), replica.open()] == [2, 2]).await;
    assert_eq!(opened(&servers), [3, 3]);
}

#[tokio::test]
async fn who_finds_all_in_use_waits_for_a_session_to_end() {
    let primary = obliging().await;
    let context = Front::context(&[&primary], OWN);
    let mut fronts = Vec::new();
    for _ in 0..4 {
        let mut front = Front::enter(context.clone()).await;
        assert_eq!(front.query("UPDATE t").await.as_deref(), Some(OK));
        fronts.push(front);
    }
    let mut one_more = Front::enter(context.clone()).await;
    let refused = one_more.query("UPDATE t").await.unwrap();
    assert_eq!(refused[..3], [0xFF, 0x10, 0x04], "1040 after lease_timeout");
    // Its session lives, and has its turn.
    drop(fronts.pop());
    assert_eq!(one_more.query("UPDATE t").await.as_deref(), Some(OK));
    assert_eq!(opened(&[&primary]), [5]);
}

#[tokio::test]
async fn what_a_server_has_closed_is_replaced_in_its_place() {
    let (primary, replica) = (obliging().await, obliging().await);
    let context = Front::context(&[&primary, &replica], OWN);
    let mut front = Front::enter(context.clone()).await;
    assert_eq!(front.query("/* LEAVE */ SELECT 1").await.as_deref(), Some(OK));
    until("it is closed", || replica.open() == 0).await;
    assert_eq!(front.query("SELECT 2").await.as_deref(), Some(OK));
    assert_eq!(opened(&[&primary, &replica]), [0, 2]);
    let pool = &context.pools.all()[0];
    until("one place alone is taken", || pool.view().idle == 1 && pool.view().leased == 0).await;
    // A quiet session gives up what is closed at once.
    assert_eq!(front.query("/* LEAVE */ SELECT 1").await.as_deref(), Some(OK));
    until("it is closed", || replica.open() == 0).await;
    context.registry.broadcast(Mail::QUIET);
    until("its place is free", || pool.view().idle == 0).await;
}

#[tokio::test]
async fn what_is_the_sessions_own_at_a_lost_server_is_closed() {
    let (primary, replica) = (obliging().await, obliging().await);
    let context = Front::context(&[&primary, &replica], OWN);
    let mut front = Front::enter(context.clone()).await;
    for statement in ["UPDATE t", "SELECT 1"] {
        assert_eq!(front.query(statement).await.as_deref(), Some(OK));
    }
    let mut topology = Topology::clone(&context.topology.load_full());
    topology.backends[1].state = State::Down("test".into());
    context.topology.publish(topology);
    context.registry.broadcast(Mail::BACKEND);
    until("it is closed", || replica.open() == 0).await;
    assert_eq!(primary.open(), 1);
}
