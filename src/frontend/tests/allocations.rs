//! Steady traffic allocates nothing: a point select and a long result are relayed in buffers that
//! are there already.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::scripted::{Front, Say, Server, reply};

/// The system's allocator, which counts for the threads that are watched.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    fn note(&self) {
        // The variable is gone while a thread ends; what is allocated then does not matter.
        if WATCHED.try_with(Cell::get).unwrap_or(false) {
            COUNT.fetch_add(1, Ordering::SeqCst);
        }
    }
}

// SAFETY: everything is the system allocator's work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.note();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.note();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

/// A client whose session is the only work of a watched thread.
fn session_on_a_watched_thread(primary: Server, replica: Server) -> TcpStream {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let Front { client, ended, .. } = Front::new(&[&primary, &replica]).await;
            let client = client.into_std().unwrap();
            client.set_nonblocking(false).unwrap();
            // The runtime's list of tasks that yield grows when the first one does: under load the
            // session does, when its budget is used up.
            tokio::task::yield_now().await;
            sender.send(client).unwrap();
            WATCHED.set(true);
            let _ = ended.await;
            WATCHED.set(false);
        });
    });
    receiver.recv().unwrap()
}

fn result_set(rows: usize) -> Vec<u8> {
    const COLUMN: &[u8] = b"\x03def\0\0\0\x01c\0\x0c\xFF\0\xE0\x01\0\0\xFE\0\0\0\0\0";
    let row = [&[119][..], &[b'x'; 119]].concat();
    let mut payloads = vec![&[1][..], COLUMN];
    payloads.extend(std::iter::repeat_n(&row[..], rows));
    payloads.push(&[0xFE, 0, 0, 2, 0, 0, 0]);
    reply(&payloads)
}

/// Allocations of the session while it serves `statement` so many times.
fn allocations(client: &mut TcpStream, statement: &[u8], reply: &[u8], times: usize) -> usize {
    let mut received = vec![0; reply.len()];
    let before = COUNT.load(Ordering::SeqCst);
    for _ in 0..times {
        client.write_all(statement).unwrap();
        client.read_exact(&mut received).unwrap();
        assert!(received == reply, "the reply is relayed as it is");
    }
    // What follows the reply's last byte belongs to its statement, too.
    std::thread::sleep(Duration::from_millis(50));
    COUNT.load(Ordering::SeqCst) - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steady_traffic_allocates_nothing() {
    let (short, long) = (result_set(1), result_set(10_000));
    let (say_short, say_long) = (short.clone(), long.clone());
    let script = move |command: &[u8]| {
        if command[0] == 0x16 {
            Say::Bytes(super::prepared::prepared(1, 1))
        } else if command.ends_with(b"= 1") || command[0] == 0x17 {
            Say::Bytes(say_short.clone())
        } else if command.ends_with(b"FROM t") {
            Say::Bytes(say_long.clone())
        } else {
            Say::Bytes(reply(&[super::scripted::OK]))
        }
    };
    let primary = Server::start(script.clone()).await;
    let replica = Server::start(script).await;
    let mut client = session_on_a_watched_thread(primary, replica);
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for (name, sql, reply, times) in [
        ("point select on a replica", &b"\x03SELECT c FROM t WHERE id = 1"[..], &short, 1000),
        ("point select on the primary", b"\x03SELECT c FROM t WHERE f() = 1", &short, 1000),
        ("10,000 rows", b"\x03SELECT c FROM t", &long, 20),
    ] {
        let statement = [&[sql.len() as u8, 0, 0, 0][..], sql].concat();
        allocations(&mut client, &statement, reply, 3);
        let count = allocations(&mut client, &statement, reply, times);
        assert_eq!(count, 0, "allocations in {times} times {name}");
    }
    let prepare = b"\x16SELECT c FROM t WHERE id = ? /* prepared */";
    let prepare = [&[prepare.len() as u8, 0, 0, 0][..], prepare].concat();
    client.write_all(&prepare).unwrap();
    client.read_exact(&mut vec![0; super::prepared::prepared(1, 1).len()]).unwrap();
    let execute = |types: &[u8]| {
        let command = [b"\x17\x01\0\0\0\0\x01\0\0\0\0", types].concat();
        [&[command.len() as u8, 0, 0, 0][..], &command].concat()
    };
    allocations(&mut client, &execute(b"\x01\x03\0\x07\0\0\0"), &short, 3);
    let count = allocations(&mut client, &execute(b"\x01\x03\0\x07\0\0\0"), &short, 1000);
    assert_eq!(count, 0, "allocations in 1000 times a prepared point select");
    let count = allocations(&mut client, &execute(b"\0\x07\0\0\0"), &short, 1000);
    assert_eq!(count, 0, "allocations in 1000 times the same without types");
    assert!(COUNT.load(Ordering::SeqCst) > 0, "connecting allocates, and is counted");
}
