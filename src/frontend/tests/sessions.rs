//! How sessions fare when servers misbehave.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::scripted::{Front, OK, Say, Server, reply};
use crate::frontend::mailbox::Mail;
use crate::frontend::session::End;
use crate::routing::topology::{Address, Epoch, State, Topology, Writes};
use crate::wire::Capabilities;

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
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

/// The client has agreed on DEPRECATE_EOF.
#[tokio::test]
async fn a_server_whose_replies_look_otherwise_serves_nobody() {
    let old = Capabilities::from_bits_retain(0xDFFF_FFFF) - Capabilities::DEPRECATE_EOF;
    let replica = Server::offering(old, |_| Say::Bytes(reply(&[OK]))).await;
    let primary = Server::start(|_| Say::Bytes(reply(&[OK]))).await;
    let mut front = Front::new(&[&primary, &replica]).await;
    assert_eq!(front.query("SELECT 1").await.as_deref(), Some(OK));
    assert_eq!((primary.heard().len(), replica.heard().len()), (1, 0));
    assert!(replica.connections.load(Ordering::SeqCst) > 0);
    let mut front = Front::new(&[&replica]).await;
    let answer = front.query("UPDATE t SET a = 1").await.unwrap();
    assert_eq!(code(&answer), Some(1105), "{}", answer.escape_ascii());
    assert!(replica.heard().is_empty());
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

pub async fn until(what: &str, mut happened: impl FnMut() -> bool) {
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
    until("the statement runs", || server.heard().contains(&"SLEEP".to_owned())).await;
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
    until("the statement runs", || server.heard().contains(&"SLEEP".to_owned())).await;
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
    let server = scripted(&[("BEGIN", begun)]).await;
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
    until("the statement runs", || server.heard().contains(&"SLEEP".to_owned())).await;
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

/// Its connection was being prepared when writes were stopped.
#[tokio::test]
async fn a_write_that_waits_for_a_primary_is_in_nobodys_way() {
    let primary = Server::start(|command| {
        let answer = reply(&[OK]);
        match String::from_utf8_lossy(command).contains("sql_mode") {
            true => Say::Late(Duration::from_millis(100), answer),
            false => Say::Bytes(answer),
        }
    })
    .await;
    let restores =
        || primary.heard().iter().filter(|statement| statement.contains("sql_mode")).count();
    let mut front = Front::new(&[&primary]).await;
    assert_eq!(front.query("SET sql_mode = 'ANSI'").await.as_deref(), Some(OK));
    let mut other = Front::enter(front.context.clone()).await;
    assert_eq!(other.query("UPDATE t SET a = 1").await.as_deref(), Some(OK));
    let before = restores();
    front.send(3, "UPDATE t SET a = 2").await;
    until("the connection is prepared", || restores() > before).await;
    let mut topology = (*front.context.topology.load_full()).clone();
    topology.writes = Writes::Stopped("a switchover".into());
    front.context.topology.publish(topology);
    // The connection is ready, and is not used.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let sessions = front.context.registry.view();
    assert!(sessions.iter().all(|session| session.backend.is_none()), "{sessions:?}");
}

/// OK with a transaction open.
const BEGUN: &[u8] = &[0, 0, 0, 3, 0, 0, 0];

/// A statement, and what is said to it.
type Line = (&'static str, fn() -> Say);

/// Answers `script`'s statements so, and everything else with OK.
async fn scripted(script: &'static [Line]) -> Server {
    Server::start(move |command| {
        let text = String::from_utf8_lossy(&command[1..]);
        let found = script.iter().find(|(statement, _)| text == *statement);
        found.map_or_else(|| Say::Bytes(reply(&[OK])), |(_, say)| say())
    })
    .await
}

fn begun() -> Say {
    Say::Bytes(reply(&[BEGUN]))
}

fn death() -> Say {
    Say::Die(Vec::new())
}

fn refused() -> Say {
    Say::Bytes(reply(&[b"\xFF\x00\x07#25006Cannot execute statement in a READ ONLY transaction"]))
}

#[tokio::test]
async fn the_outcome_of_a_lost_commit_is_unknown() {
    let server = scripted(&[("BEGIN", begun), ("COMMIT", death), ("INSERT 1", death)]).await;
    let mut front = Front::new(&[&server]).await;
    assert_eq!(front.query("BEGIN").await.as_deref(), Some(BEGUN));
    assert_eq!(front.query("COMMIT").await.as_deref().and_then(code), Some(1317));
    // The session lives, without the transaction; one that had not come so far can be tried again.
    assert_eq!(front.query("BEGIN").await.as_deref(), Some(BEGUN));
    assert_eq!(front.query("INSERT 1").await.as_deref().and_then(code), Some(1213));
}

#[tokio::test]
async fn what_looks_like_a_read_is_not_repeated_once_the_primary_has_had_it() {
    // There is no replica.
    let primary = scripted(&[("SELECT v FROM writing_view", death)]).await;
    let mut front = Front::new(&[&primary]).await;
    let answer = front.query("SELECT v FROM writing_view").await.unwrap();
    assert_eq!(code(&answer), Some(1317));
    // The replica has refused it.
    let replica = scripted(&[("SELECT v FROM writing_view", refused)]).await;
    let mut front = Front::new(&[&primary, &replica]).await;
    let answer = front.query("SELECT v FROM writing_view").await.unwrap();
    assert_eq!(code(&answer), Some(1317));
    let times = primary.heard().iter().filter(|text| text.starts_with("SELECT v")).count();
    assert_eq!(times, 2, "once for each session");
}

#[tokio::test]
async fn what_a_replica_has_refused_goes_to_the_primary_the_next_time() {
    let primary = obliging().await;
    let replica = scripted(&[("SELECT v FROM writing_view WHERE a = 1", refused)]).await;
    let mut front = Front::new(&[&primary, &replica]).await;
    let read = |server: &Server| {
        let heard = server.heard();
        heard.iter().filter(|text| text.starts_with("SELECT v")).cloned().collect::<Vec<_>>()
    };
    for a in 1..=3 {
        let sql = format!("SELECT v FROM writing_view WHERE a = {a}");
        assert_eq!(front.query(&sql).await.as_deref(), Some(OK));
    }
    assert_eq!(front.query("SELECT v FROM t").await.as_deref(), Some(OK));
    let refused = "SELECT v FROM writing_view WHERE a = 1".to_owned();
    assert_eq!(read(&replica), [refused, "SELECT v FROM t".to_owned()]);
    assert_eq!(read(&primary).len(), 3);
    // Without a primary there is nothing to lose by asking the replica.
    let mut topology = (*front.context.topology.load_full()).clone();
    topology.writes = Writes::Stopped("none is writable".into());
    front.context.topology.publish(topology);
    let answer = front.query("SELECT v FROM writing_view WHERE a = 4").await;
    assert_eq!(answer.as_deref(), Some(OK));
    assert_eq!(read(&replica).len(), 3);
}

#[tokio::test]
async fn what_a_session_has_is_not_lost_in_silence() {
    let server = scripted(&[("DO SLEEP(20) + @a", death)]).await;
    let mut front = Front::new(&[&server]).await;
    assert_eq!(front.query("SET @a = 4 + 1").await.as_deref(), Some(OK));
    assert_eq!(front.query("DO SLEEP(20) + @a").await.as_deref().and_then(code), Some(1053));
    assert_eq!(front.packet().await, None);
}

fn begun_and_closed() -> Say {
    Say::Die(reply(&[BEGUN]))
}

#[tokio::test]
async fn what_a_living_server_closes_is_closed_to_the_client() {
    let server = scripted(&[("BEGIN", begun_and_closed)]).await;
    let mut front = Front::new(&[&server]).await;
    assert_eq!(front.query("BEGIN").await.as_deref(), Some(BEGUN));
    assert_eq!(front.packet().await, None);
    assert!(matches!(front.ended.await, Ok(End::ByServer(None))));
}

#[tokio::test]
async fn the_loss_of_a_server_is_told_when_the_client_asks() {
    let server = scripted(&[("BEGIN", begun_and_closed)]).await;
    let mut front = Front::new(&[&server]).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(front.query("SELECT 1").await.as_deref(), Some(OK));
    let mut topology = (*front.context.topology.load_full()).clone();
    topology.backends[0].address = Some(Address::Ip(nobody));
    front.context.topology.publish(topology);
    assert_eq!(front.query("BEGIN").await.as_deref(), Some(BEGUN));
    until("its connection is closed", || server.open() == 0).await;
    assert_eq!(front.query("INSERT 1").await.as_deref().and_then(code), Some(1213));
}

/// The second server is the primary from now on.
fn switch_over(front: &Front) {
    let mut topology = (*front.context.topology.load_full()).clone();
    topology.epoch.0 += 1;
    topology.writes = Writes::To(1);
    front.context.topology.publish(topology);
    front.context.registry.broadcast(Mail::BACKEND);
}

#[tokio::test]
async fn nothing_goes_on_at_a_former_primary() {
    let (old, new) = (sleepy().await, obliging().await);
    let mut front = Front::new(&[&old, &new]).await;
    front.send(3, "UPDATE SLEEP").await;
    until("the statement runs", || old.heard().contains(&"UPDATE SLEEP".to_owned())).await;
    switch_over(&front);
    assert_eq!(front.packet().await.as_deref().and_then(code), Some(1317));
    until("KILL QUERY", || old.heard().contains(&"KILL QUERY 7".to_owned())).await;
    assert_eq!(front.query("UPDATE 2").await.as_deref(), Some(OK));
    assert!(new.heard().contains(&"UPDATE 2".to_owned()));
}

#[tokio::test]
async fn an_open_transaction_at_a_former_primary_ends_before_its_client_asks() {
    let (old, new) = (scripted(&[("BEGIN", begun)]).await, obliging().await);
    let mut front = Front::new(&[&old, &new]).await;
    assert_eq!(front.query("BEGIN").await.as_deref(), Some(BEGUN));
    switch_over(&front);
    until("its connection is closed", || old.open() == 0).await;
    assert_eq!(front.query("INSERT 1").await.as_deref().and_then(code), Some(1213));
    assert_eq!(front.query("INSERT 2").await.as_deref(), Some(OK));
    assert!(new.heard().contains(&"INSERT 2".to_owned()));
}

#[tokio::test]
async fn while_writes_are_stopped_a_pinned_session_does_not_write_either() {
    let server = obliging().await;
    let mut front = Front::new(&[&server]).await;
    assert_eq!(front.query("SET @a = 4 + 1").await.as_deref(), Some(OK));
    let whole = (*front.context.topology.load_full()).clone();
    let mut stopped = whole.clone();
    stopped.writes = Writes::Stopped("two are writable".into());
    front.context.topology.publish(stopped);
    assert_eq!(front.query("INSERT 1").await.as_deref().and_then(code), Some(1290));
    for sql in ["SELECT 1", "SELECT @@hostname"] {
        assert!(front.query(sql).await.is_some_and(|answer| answer == OK), "reads go on: {sql}");
    }
    front.send(3, "INSERT 2").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    front.context.topology.publish(whole);
    assert_eq!(front.packet().await.as_deref(), Some(OK));
    assert!(!server.heard().contains(&"INSERT 1".to_owned()));
}

#[tokio::test]
async fn a_primary_that_must_not_be_written_serves_reads() {
    let server = scripted(&[("BEGIN", begun), ("INSERT 1", begun)]).await;
    let mut front = Front::new(&[&server]).await;
    let whole = (*front.context.topology.load_full()).clone();
    let mut held = whole.clone();
    held.epoch.0 += 1;
    held.writes = Writes::Held { primary: 0, reason: "no replica acknowledges".into() };
    assert_eq!(front.query("BEGIN").await.as_deref(), Some(BEGUN));
    front.context.topology.publish(held);
    front.context.registry.broadcast(Mail::BACKEND);
    // What was begun goes on, but is not committed.
    assert_eq!(front.query("INSERT 1").await.as_deref(), Some(BEGUN));
    assert_eq!(front.query("COMMIT").await.as_deref().and_then(code), Some(1290));
    assert_eq!(front.query("ROLLBACK").await.as_deref(), Some(OK));
    assert_eq!(front.query("INSERT 2").await.as_deref().and_then(code), Some(1290));
    // Not over a connection on which a write would be run.
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    assert_eq!(front.query("SELECT 1").await.as_deref(), Some(OK));
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
    // Drivers ask for such at their start.
    assert_eq!(front.query("SELECT @@max_allowed_packet").await.as_deref(), Some(OK));
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
    front.send(3, "INSERT 3").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    front.context.topology.publish(Topology { epoch: Epoch(whole.epoch.0 + 2), ..whole });
    assert_eq!(front.packet().await.as_deref(), Some(OK));
    assert!(!server.heard().contains(&"INSERT 2".to_owned()));
}

#[tokio::test]
async fn diagnostics_of_a_server_that_is_down_are_not_waited_for() {
    const WARNED: &[u8] = &[0, 0, 0, 2, 0, 1, 0];
    let primary = obliging().await;
    let replica = scripted(&[("SELECT 1/0", || Say::Bytes(reply(&[WARNED])))]).await;
    let mut front = Front::new(&[&primary, &replica]).await;
    assert_eq!(front.query("SELECT 1/0").await.as_deref(), Some(WARNED));
    let mut topology = (*front.context.topology.load_full()).clone();
    topology.backends[1].state = State::Down("stopped".into());
    topology.backends[1].reads = Err("stopped".into());
    topology.backends[1].address = None;
    front.context.topology.publish(topology);
    front.context.registry.broadcast(Mail::BACKEND);
    assert_eq!(front.query("SHOW WARNINGS").await.as_deref(), Some(OK));
    assert!(primary.heard().contains(&"SHOW WARNINGS".to_owned()));
}

/// A KILL QUERY that is still on its way would hit whatever runs next on the connection.
#[tokio::test]
async fn a_killed_statements_connection_serves_nobody_before_the_kill_is_answered() {
    let server = Server::start(|command| match &command[1..] {
        b"UPDATE LONG" => Say::Late(Duration::from_millis(300), reply(&[OK])),
        b"KILL QUERY 7" => Say::Late(Duration::from_millis(800), reply(&[OK])),
        _ => Say::Bytes(reply(&[OK])),
    })
    .await;
    let mut front = Front::new(&[&server]).await;
    front.send(3, "UPDATE LONG").await;
    until("the statement runs", || server.heard().contains(&"UPDATE LONG".to_owned())).await;
    front.context.registry.broadcast(Mail::KILL_QUERY);
    assert_eq!(front.packet().await.as_deref(), Some(OK), "the kill came too late");
    let pool = &front.context.pools.all()[0];
    assert_eq!((pool.view().leased, pool.view().idle), (1, 0), "it is not given back yet");
    assert_eq!(front.query("UPDATE 2").await.as_deref(), Some(OK));
    assert_eq!(server.connections.load(Ordering::SeqCst), 3, "two of the session, one for KILL");
}

/// A server may object to long data, which has no reply: the next session must not get its error.
#[tokio::test]
async fn a_connection_with_long_data_that_was_not_used_serves_nobody_else() {
    const PREPARED: &[u8] = &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let server = Server::start(|command| match command[0] {
        0x16 => Say::Bytes(reply(&[PREPARED])),
        0x18 => Say::Late(Duration::from_millis(50), reply(&[b"\xFF\x81\x04#08S01too long"])),
        0x19 => Say::Bytes(vec![]),
        _ => Say::Bytes(reply(&[OK])),
    })
    .await;
    let mut front = Front::new(&[&server]).await;
    front.send(0x16, "SELECT ?").await;
    assert_eq!(front.packet().await.as_deref(), Some(PREPARED));
    front.send(0x18, "\x01\0\0\0\0\0data").await;
    front.send(0x19, "\x01\0\0\0").await;
    assert_eq!(front.query("UPDATE 1").await.as_deref(), Some(OK));
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
    // Without the number of its statement there would be an error, too.
    front.send(0x19, "\x01").await;
    assert_eq!(front.packet().await.as_deref().and_then(code), Some(1835));
}

#[tokio::test]
async fn a_failed_statement_may_have_begun_a_transaction() {
    const AUTOCOMMIT_OFF: &[u8] = &[0, 0, 0, 0, 0, 0, 0];
    let server = scripted(&[
        ("SET autocommit=0", || Say::Bytes(reply(&[AUTOCOMMIT_OFF]))),
        ("INSERT 1", || Say::Bytes(reply(&[b"\xFF\x26\x04#23000Duplicate entry"]))),
    ])
    .await;
    let mut front = Front::new(&[&server]).await;
    assert_eq!(front.query("SET autocommit=0").await.as_deref(), Some(AUTOCOMMIT_OFF));
    assert_eq!(front.query("INSERT 1").await.as_deref().and_then(code), Some(1062));
    front.context.registry.broadcast(Mail::RELEASE);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(front.context.pools.all()[0].view().leased, 1, "its locks are still held");
}

#[tokio::test]
async fn a_replica_that_does_not_know_the_account_yet_is_passed_over() {
    let (primary, replica) = (obliging().await, Server::refusing().await);
    let mut front = Front::new(&[&primary, &replica]).await;
    assert_eq!(front.query("SELECT 1").await.as_deref(), Some(OK));
    assert_eq!(
        front.query("UPDATE 1").await.as_deref(),
        Some(OK),
        "the account is as good as ever"
    );
    assert!(primary.heard().contains(&"SELECT 1".to_owned()));
}

#[tokio::test]
async fn a_connection_is_given_the_sessions_insert_id_before_it_may_matter() {
    const INSERTED: &[u8] = &[0, 1, 42, 2, 0, 0, 0];
    let server = scripted(&[
        ("INSERT 1", || Say::Bytes(reply(&[INSERTED]))),
        ("SELECT LAST_INSERT_ID() LIMIT 1", || Say::Bytes(number(b"41"))),
    ])
    .await;
    let mut front = Front::new(&[&server]).await;
    // A fresh connection has 0, and so has the session.
    assert_eq!(front.query("INSERT 1").await.as_deref(), Some(INSERTED));
    front.context.registry.broadcast(Mail::RELEASE);
    until("the question", || server.heard().len() == 2).await;
    // Its own connection has it still.
    assert_eq!(front.query("INSERT 2").await.as_deref(), Some(OK));
    front.send(0x1F, "").await;
    assert_eq!(front.packet().await.as_deref(), Some(OK));
    // A reset connection has 0 again, and so has the session.
    assert_eq!(front.query("INSERT 3").await.as_deref(), Some(OK));
    assert_eq!(
        server.heard(),
        ["INSERT 1", "SELECT LAST_INSERT_ID() LIMIT 1", "INSERT 2", "", "INSERT 3"]
    );
}

/// A result set of one number.
fn number(text: &[u8]) -> Vec<u8> {
    const COLUMN: &[u8] = b"\x03def\0\0\0\x011\0\x0c\x3f\0\x15\0\0\0\x08\x81\0\0\0\0";
    let row = [&[text.len() as u8][..], text].concat();
    reply(&[&[1], COLUMN, &row, &[0xFE, 0, 0, 2, 0, 0, 0]])
}

/// As with `SELECT SLEEP(1)`, whose columns MySQL writes before it waits.
#[tokio::test]
async fn last_words_behind_column_definitions_are_kept_back_with_them() {
    const COLUMN: &[u8] = b"\x03def\0\0\0\x011\0\x0c\x3f\0\x15\0\0\0\x08\x81\0\0\0\0";
    const SHUTDOWN: &[u8] = b"\xFF\x1D\x04#08S01Server shutdown in progress";
    let leaving = scripted(&[("SELECT 1", || Say::Die(reply(&[&[1], COLUMN, SHUTDOWN])))]).await;
    let (primary, sound) = (obliging().await, obliging().await);
    let mut front = Front::new(&[&primary, &leaving, &sound]).await;
    for _ in 0..2 {
        assert_eq!(front.query("SELECT 1").await.as_deref(), Some(OK));
    }
    assert!(leaving.heard().contains(&"SELECT 1".to_owned()));
}

#[tokio::test]
async fn an_insert_id_is_asked_for_before_its_connection_is_given_up() {
    const INSERTED: &[u8] = &[0, 1, 42, 2, 0, 0, 0];
    let server = Server::start(|command| match &command[1..] {
        b"INSERT" => Say::Bytes(reply(&[INSERTED])),
        b"SELECT LAST_INSERT_ID() LIMIT 1" => Say::Bytes(number(b"42")),
        _ => Say::Bytes(reply(&[OK])),
    })
    .await;
    let mut front = Front::new(&[&server]).await;
    assert_eq!(front.query("INSERT").await.as_deref(), Some(INSERTED));
    front.context.registry.broadcast(Mail::RELEASE);
    until("the question", || server.heard().last().unwrap() == "SELECT LAST_INSERT_ID() LIMIT 1")
        .await;
    assert_eq!(front.query("UPDATE t").await.as_deref(), Some(OK));
}
