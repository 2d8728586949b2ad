//! How sessions fare when servers misbehave.

use std::time::Duration;

use super::scripted::{Front, OK, Say, Server, reply};
use crate::frontend::mailbox::Mail;
use crate::frontend::session::End;
use crate::routing::topology::{State, Writes};

fn code(payload: &[u8]) -> Option<u16> {
    (payload.first() == Some(&0xFF)).then(|| u16::from_le_bytes([payload[1], payload[2]]))
}

#[tokio::test]
async fn a_reply_is_relayed_as_it_is() {
    let server = Server::start(|_| Say::Bytes(reply(&[OK]))).await;
    let mut front = Front::new(&[&server]).await;
    assert_eq!(front.query("UPDATE t SET a = 1").await.as_deref(), Some(OK));
    assert_eq!(front.query("UPDATE t SET a = 2").await.as_deref(), Some(OK));
    assert_eq!(server.heard(), ["UPDATE t SET a = 1", "UPDATE t SET a = 2"]);
    assert_eq!(server.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_write_whose_server_dies_is_never_sent_twice() {
    let server = Server::start(|_| Say::Die(Vec::new())).await;
    let mut front = Front::new(&[&server]).await;
    let answer = front.query("UPDATE t SET a = 1").await.unwrap();
    assert_eq!(code(&answer), Some(1317), "{answer:?}");
    assert_eq!(server.heard(), ["UPDATE t SET a = 1"]);
    // The session lives.
    assert_eq!(front.query("UPDATE t SET a = 2").await.as_deref().and_then(code), Some(1317));
}

#[tokio::test]
async fn half_a_reply_ends_the_session() {
    let server = Server::start(|_| Say::Die(reply(&[&[1]]))).await;
    let mut front = Front::new(&[&server]).await;
    assert_eq!(front.query("SELECT f()").await.as_deref(), Some(&[1][..]));
    assert_eq!(front.packet().await, None);
}

#[tokio::test]
async fn nonsense_of_a_server_reaches_nobody() {
    let server = Server::start(|_| Say::Bytes(reply(&[b"\x05hello"]))).await;
    let mut front = Front::new(&[&server]).await;
    front.send(0x0E, "").await;
    assert_eq!(front.packet().await.as_deref(), Some(OK), "a ping is answered by the proxy");
    let answer = front.query("UPDATE t SET a = 1").await.unwrap();
    // "\x05hello" announces five columns; nothing more comes.
    assert_eq!(answer, b"\x05hello");
}

#[tokio::test]
async fn a_pinned_session_ends_with_its_server() {
    let server = Server::start(|command| match command[0] {
        0x1B => Say::Bytes(reply(&[&[0xFE, 0, 0, 2, 0]])),
        _ => Say::Die(Vec::new()),
    })
    .await;
    let mut front = Front::new(&[&server]).await;
    front.send(0x1B, "\0\0").await;
    assert!(front.packet().await.is_some());
    let answer = front.query("SELECT 1").await.unwrap();
    assert_eq!(code(&answer), Some(1053));
    assert_eq!(front.packet().await, None);
}

#[tokio::test]
async fn without_a_primary_a_write_waits_and_then_fails() {
    let server = Server::start(|_| Say::Bytes(reply(&[OK]))).await;
    let mut front = Front::new(&[&server]).await;
    let mut topology = (*front.context.topology.load_full()).clone();
    let whole = topology.clone();
    topology.writes = Writes::Stopped("none is writable".into());
    front.context.topology.publish(topology);
    let answer = front.query("UPDATE t SET a = 1").await.unwrap();
    assert_eq!(code(&answer), Some(1290));
    assert!(server.heard().is_empty());
    // One that returns within the time is used.
    front.send(3, "UPDATE t SET a = 2").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    front.context.topology.publish(whole);
    assert_eq!(front.packet().await.as_deref(), Some(OK));
}

#[tokio::test]
async fn a_command_with_a_wrong_sequence_number_is_refused() {
    use tokio::io::AsyncWriteExt;
    let server = Server::start(|_| Say::Bytes(reply(&[OK]))).await;
    let mut front = Front::new(&[&server]).await;
    front.client.write_all(&[1, 0, 0, 5, 0x0E]).await.unwrap();
    assert_eq!(front.packet().await.as_deref().and_then(code), Some(1156));
    assert_eq!(front.packet().await, None);
}

/// A server on which `SLEEP` never ends, and everything else is OK.
async fn sleepy() -> Server {
    Server::start(|command| match command.ends_with(b"SLEEP") {
        true => Say::Nothing,
        false => Say::Bytes(reply(&[OK])),
    })
    .await
}

async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    for _ in 0..200 {
        if happened() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_statement_along() {
    let server = sleepy().await;
    let mut front = Front::new(&[&server]).await;
    front.send(3, "SLEEP").await;
    until("the statement runs", || server.heard() == ["SLEEP"]).await;
    drop(front.client);
    until("KILL QUERY", || server.heard().contains(&"KILL QUERY 7".to_owned())).await;
    let end = front.ended.await.unwrap();
    assert!(matches!(end, End::Client(_)), "{end:?}");
}

#[tokio::test]
async fn kill_query_ends_the_statement_and_not_the_session() {
    let server = sleepy().await;
    let mut front = Front::new(&[&server]).await;
    front.send(3, "SLEEP").await;
    until("the statement runs", || server.heard() == ["SLEEP"]).await;
    front.context.registry.broadcast(Mail::KILL_QUERY);
    until("KILL QUERY", || server.heard().contains(&"KILL QUERY 7".to_owned())).await;
    assert!(!front.ended.is_finished());
}

#[tokio::test]
async fn kill_ends_a_session_at_every_blocking_point() {
    let server = sleepy().await;
    // While it waits for a command.
    let front = Front::new(&[&server]).await;
    front.context.registry.broadcast(Mail::KILL_CONNECTION);
    assert!(matches!(front.ended.await.unwrap(), End::Killed));
    // While a statement runs.
    let mut front = Front::new(&[&server]).await;
    front.send(3, "SLEEP").await;
    until("the statement runs", || server.heard().contains(&"SLEEP".to_owned())).await;
    front.context.registry.broadcast(Mail::KILL_CONNECTION);
    assert!(matches!(front.ended.await.unwrap(), End::Killed));
    // While it waits for a primary.
    let mut front = Front::new(&[&server]).await;
    let mut topology = (*front.context.topology.load_full()).clone();
    topology.writes = Writes::Stopped("none".into());
    front.context.topology.publish(topology);
    front.send(3, "UPDATE t SET a = 1").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    front.context.registry.broadcast(Mail::KILL_CONNECTION);
    assert!(matches!(front.ended.await.unwrap(), End::Killed));
}

#[tokio::test]
async fn a_drain_ends_idle_sessions_with_a_word_and_spares_transactions() {
    const BEGUN: &[u8] = &[0, 0, 0, 3, 0, 0, 0];
    let server = Server::start(|command| match command.ends_with(b"BEGIN") {
        true => Say::Bytes(reply(&[BEGUN])),
        false => Say::Bytes(reply(&[OK])),
    })
    .await;
    let mut front = Front::new(&[&server]).await;
    assert_eq!(front.query("BEGIN").await.as_deref(), Some(BEGUN));
    front.context.registry.broadcast(Mail::DRAIN);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(front.query("COMMIT").await.as_deref(), Some(OK));
    assert_eq!(front.packet().await.as_deref().and_then(code), Some(1053));
    assert!(matches!(front.ended.await.unwrap(), End::Drained));
}

#[tokio::test]
async fn a_backend_that_vanishes_while_a_write_runs_leaves_its_outcome_unknown() {
    let server = sleepy().await;
    let mut front = Front::new(&[&server]).await;
    front.send(3, "SLEEP").await;
    until("the statement runs", || server.heard() == ["SLEEP"]).await;
    front.context.topology.publish(crate::routing::Topology::empty());
    front.context.registry.broadcast(Mail::BACKEND);
    assert_eq!(front.packet().await.as_deref().and_then(code), Some(1317));
}

/// Answers everything with OK.
async fn obliging() -> Server {
    Server::start(|_| Say::Bytes(reply(&[OK]))).await
}

#[tokio::test]
async fn a_read_moves_on_when_its_server_is_declared_down() {
    let (primary, stuck) = (obliging().await, sleepy().await);
    let sound = obliging().await;
    let mut front = Front::new(&[&primary, &stuck, &sound]).await;
    front.send(3, "SELECT SLEEP").await;
    let read = || "SELECT SLEEP".to_owned();
    until("the read runs", || stuck.heard().contains(&read())).await;
    let mut topology = (*front.context.topology.load_full()).clone();
    topology.backends[1].state = State::Down("paused".into());
    topology.backends[1].reads = Err("down".into());
    front.context.topology.publish(topology);
    front.context.registry.broadcast(Mail::BACKEND);
    assert_eq!(front.packet().await.as_deref(), Some(OK));
    assert!(sound.heard().contains(&read()) && primary.heard().is_empty());
}

#[tokio::test]
async fn a_read_moves_on_when_its_server_shuts_down() {
    const SHUTDOWN: &[u8] = b"\xFF\x1D\x04#08S01Server shutdown in progress";
    let leaving = Server::start(|command| match command.starts_with(b"\x03SELECT") {
        true => Say::Die(reply(&[SHUTDOWN])),
        false => Say::Bytes(reply(&[OK])),
    })
    .await;
    let (primary, sound) = (obliging().await, obliging().await);
    let mut front = Front::new(&[&primary, &leaving, &sound]).await;
    for _ in 0..2 {
        assert_eq!(front.query("SELECT 1").await.as_deref(), Some(OK));
    }
    assert!(leaving.heard().contains(&"SELECT 1".to_owned()));
    assert!(primary.heard().is_empty());
}

#[tokio::test]
async fn an_insert_id_is_asked_for_before_its_connection_is_given_up() {
    const INSERTED: &[u8] = &[0, 1, 42, 2, 0, 0, 0];
    const COLUMN: &[u8] = b"\x03def\0\0\0\x011\0\x0c\x3f\0\x15\0\0\0\x08\x81\0\0\0\0";
    let server = Server::start(|command| match &command[1..] {
        b"INSERT" => Say::Bytes(reply(&[INSERTED])),
        b"SELECT LAST_INSERT_ID()" => {
            Say::Bytes(reply(&[&[1], COLUMN, b"\x0242", &[0xFE, 0, 0, 2, 0, 0, 0]]))
        }
        _ => Say::Bytes(reply(&[OK])),
    })
    .await;
    let mut front = Front::new(&[&server]).await;
    assert_eq!(front.query("INSERT").await.as_deref(), Some(INSERTED));
    front.context.registry.broadcast(Mail::RELEASE);
    until("the question", || server.heard().last().unwrap() == "SELECT LAST_INSERT_ID()").await;
    assert_eq!(front.query("UPDATE t").await.as_deref(), Some(OK));
}
