//! Prepared statements against servers that count them.

use std::sync::atomic::{AtomicU32, Ordering};

use super::scripted::{Front, OK, Say, Server, reply};

const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
const LONG_DATA: u8 = 0x18;
const CLOSE: u8 = 0x19;

/// The answer to COM_STMT_PREPARE: this number, no columns, so many parameters.
pub fn prepared(number: u32, parameters: u8) -> Vec<u8> {
    const PARAMETER: &[u8] = b"\x03def\0\0\0\x01?\0\x0c\x3f\0\0\0\0\0\xfd\x80\0\0\0\0";
    let [a, b, c, d] = number.to_le_bytes();
    let header = [0, a, b, c, d, 0, 0, parameters, 0, 0, 0, 0];
    let definitions = std::iter::repeat_n(PARAMETER, parameters.into());
    let payloads: Vec<&[u8]> = std::iter::once(&header[..]).chain(definitions).collect();
    reply(&payloads)
}

/// A server that gives every text the next number from `first` on, with a parameter each.
async fn preparing(first: u32) -> Server {
    let next = AtomicU32::new(first);
    Server::start(move |command| match command[0] {
        PREPARE => Say::Bytes(prepared(next.fetch_add(1, Ordering::SeqCst), 1)),
        CLOSE | LONG_DATA => Say::Bytes(Vec::new()),
        _ => Say::Bytes(reply(&[OK])),
    })
    .await
}

/// Sends a command about a statement: its number, and what stands behind it.
async fn about(front: &mut Front, command: u8, number: u32, rest: &[u8]) {
    let payload = [&number.to_le_bytes()[..], rest].concat();
    front.send_bytes(command, &payload).await;
}

async fn prepare(front: &mut Front, sql: &str) -> u32 {
    front.send(PREPARE, sql).await;
    let answer = front.packet().await.unwrap();
    assert_eq!(answer[0], 0, "{answer:?}");
    front.packet().await.expect("the parameter's definition");
    u32::from_le_bytes([answer[1], answer[2], answer[3], answer[4]])
}

/// No flags, one iteration; then NULL bitmap, and whether types follow.
const WITH_TYPES: &[u8] = b"\0\x01\0\0\0\0\x01\x01\0\x07";
const WITHOUT_TYPES: &[u8] = b"\0\x01\0\0\0\0\0\x08";

#[tokio::test]
async fn each_server_is_asked_under_its_own_number_and_told_the_types() {
    let primary = preparing(100).await;
    let (one, two) = (preparing(200).await, preparing(300).await);
    let mut front = Front::new(&[&primary, &one, &two]).await;
    let number = prepare(&mut front, "SELECT ? AS a").await;
    assert_eq!(number, 1, "a number of the proxy's own");
    about(&mut front, EXECUTE, number, WITH_TYPES).await;
    assert_eq!(front.packet().await.as_deref(), Some(OK));
    for _ in 0..4 {
        about(&mut front, EXECUTE, number, WITHOUT_TYPES).await;
        assert_eq!(front.packet().await.as_deref(), Some(OK));
    }
    for (server, first) in [(&one, 200u32), (&two, 300)] {
        let heard = server.heard_bytes();
        assert_eq!(heard[0], b"SELECT ? AS a", "prepared before it is executed, once");
        let executed = &heard[1..];
        assert!(executed.len() >= 2, "{heard:?}");
        assert!(executed.iter().all(|command| command[..4] == first.to_le_bytes()), "{heard:?}");
        // The first that this server hears has the types, whoever sent them.
        assert_eq!(executed[0][9..13], [0, 1, 1, 0], "{heard:?}");
        assert!(executed[2..].iter().all(|command| command[9..] == [0, 0, 8]), "{heard:?}");
    }
    assert!(primary.heard().is_empty());
}

#[tokio::test]
async fn statements_that_are_kept_for_later_make_room() {
    const FULL: &[u8] = b"\xFF\xB5\x05#42000Can't create more than max_prepared_stmt_count";
    let open = AtomicU32::new(0);
    let server = Server::start(move |command| match command[0] {
        PREPARE if open.load(Ordering::SeqCst) >= 2 => Say::Bytes(reply(&[FULL])),
        PREPARE => Say::Bytes(prepared(open.fetch_add(1, Ordering::SeqCst) + 1, 1)),
        CLOSE => {
            open.fetch_sub(1, Ordering::SeqCst);
            Say::Bytes(Vec::new())
        }
        0x1F => {
            open.store(0, Ordering::SeqCst);
            Say::Bytes(reply(&[OK]))
        }
        _ => Say::Bytes(reply(&[OK])),
    })
    .await;
    let mut front = Front::new(&[&server]).await;
    let one = prepare(&mut front, "UPDATE t SET a = ?").await;
    let two = prepare(&mut front, "UPDATE t SET b = ?").await;
    about(&mut front, CLOSE, one, b"").await;
    about(&mut front, CLOSE, two, b"").await;
    // Closed by the client, and kept here: they go when the server wants no more.
    front.send(PREPARE, "UPDATE t SET c = ?").await;
    let answer = front.packet().await.unwrap();
    assert_eq!(answer[0], 0, "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn long_data_that_went_nowhere_is_told_at_the_execution() {
    use crate::routing::topology::Writes;
    let (primary, replica) = (preparing(1).await, preparing(1).await);
    let mut front = Front::new(&[&primary, &replica]).await;
    let number = prepare(&mut front, "SELECT ? AS a").await;
    let whole = (*front.context.topology.load_full()).clone();
    let mut stopped = whole.clone();
    stopped.writes = Writes::Stopped("none".into());
    front.context.topology.publish(stopped);
    about(&mut front, LONG_DATA, number, b"\0\0lost").await;
    about(&mut front, EXECUTE, number, WITH_TYPES).await;
    let answer = front.packet().await.unwrap();
    assert_eq!((answer[0], u16::from_le_bytes([answer[1], answer[2]])), (0xFF, 1290));
    // Told once.
    front.context.topology.publish(whole);
    about(&mut front, EXECUTE, number, WITH_TYPES).await;
    assert_eq!(front.packet().await.as_deref(), Some(OK));
}

#[tokio::test]
async fn unknown_statements_are_refused_and_nobody_is_asked() {
    let server = preparing(1).await;
    let mut front = Front::new(&[&server]).await;
    about(&mut front, EXECUTE, 77, WITH_TYPES).await;
    let answer = front.packet().await.unwrap();
    assert_eq!(u16::from_le_bytes([answer[1], answer[2]]), 1243);
    // They have no reply.
    about(&mut front, CLOSE, 77, b"").await;
    about(&mut front, LONG_DATA, 77, b"\0\0x").await;
    about(&mut front, 0x1C, 77, b"\x01\0\0\0").await;
    let answer = front.packet().await.unwrap();
    assert_eq!(u16::from_le_bytes([answer[1], answer[2]]), 1243);
    assert!(server.heard().is_empty());
}
