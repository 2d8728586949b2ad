//! Taking a connection from the pool and giving it back.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use rwproxy::backend::authenticate::LoginOk;
use rwproxy::backend::connection::Access;
use rwproxy::backend::idle::{Idle, IdleSet};
use rwproxy::backend::pool::{Leased, Pool, PoolKey};
use rwproxy::backend::{Connected, Connection};
use rwproxy::net::{PacketStream, Stream, stream::Socket};
use rwproxy::routing::BackendId;
use rwproxy::session::{SessionId, Settings};
use rwproxy::wire::capabilities::Status;
use rwproxy::wire::handshake::Greeting;
use rwproxy::wire::{Capabilities, ServerVersion};
use tokio::net::UnixStream;

const CONNECTIONS: u32 = 100;

fn key(user: &str) -> PoolKey {
    PoolKey {
        user: Arc::from(user.as_bytes()),
        generation: 1,
        revision: 0,
        capabilities: Capabilities::DEPRECATE_EOF,
        access: Access::ReadWrite,
        has_database: true,
        role: None,
    }
}

fn idle_set(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("idle");
    let keys = ["app", "web", "report", "cron"].map(key);
    let mut set = IdleSet::new();
    for (number, owner) in (0..CONNECTIONS).enumerate() {
        let key = &keys[number % keys.len()];
        let owner = SessionId::numbered(owner);
        set.put(key, Idle { connection: (), number: number as u64, owner, since: 0 });
    }
    group.bench_function("own connection of 100", |bench| {
        let mut session = 0;
        bench.iter(|| {
            session = (session + 1) % CONNECTIONS;
            let key = &keys[session as usize % keys.len()];
            let owner = SessionId::numbered(session);
            let idle = set.take_own(black_box(key), u64::from(session), owner).expect("is idle");
            set.put(key, idle);
        });
    });
    group.bench_function("latest of 100", |bench| {
        bench.iter(|| {
            let idle = set.take(black_box(&keys[0])).expect("is idle");
            set.put(&keys[0], idle);
        });
    });
    group.bench_function("oldest of 100", |bench| {
        bench.iter(|| {
            let idle = set.take_oldest().expect("is idle");
            set.put(&keys[idle.number as usize % keys.len()], idle);
        });
    });
    group.finish();
}

/// A connection whose server says nothing; the server's end is kept so that it stays open.
fn connection() -> (Connection, UnixStream) {
    let (ours, servers) = UnixStream::pair().expect("a pair of sockets");
    let capabilities = Capabilities::DEPRECATE_EOF;
    let ok = LoginOk::new((&b"\0\0\0\x02\0\0\0"[..]).into(), capabilities).expect("an OK packet");
    let connected = Connected {
        stream: PacketStream::new(Stream::Plain(Socket::Unix(ours))),
        greeting: Greeting {
            version: ServerVersion::parse("9.7.4"),
            connection_id: 1,
            nonce: [1; 20].into(),
            capabilities,
            collation: 255,
            status: Status::AUTOCOMMIT,
            plugin: Vec::new(),
        },
        capabilities,
        ok,
    };
    let settings = Settings::at_login(Some(b"app".as_slice().into()), 255, true);
    let connection = Connection::new(connected, Access::ReadWrite, settings);
    (connection, servers)
}

fn lease(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lease");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let pool = Pool::new(BackendId(1), "db1".into(), CONNECTIONS as usize, 0, Arc::default());
    let key = key("app");
    let deadline = || Instant::now() + Duration::from_secs(5);
    let owner = SessionId::numbered(1);
    let (number, _servers) = runtime.block_on(async {
        let (connection, servers) = connection();
        let number = connection.number;
        match pool.lease(&key, deadline()).await {
            Ok(Leased::Empty(place)) => place.fill(connection).release(&key, owner),
            other => panic!("a pool without connections gave {other:?}"),
        }
        (number, servers)
    });
    group.bench_function("own, and back", |bench| {
        let _entered = runtime.enter();
        bench.iter(|| {
            let lease = pool.lease_own(black_box(&key), number, owner).expect("is idle");
            lease.release(&key, owner);
        });
    });
    group.bench_function("any, and back", |bench| {
        bench.iter(|| {
            runtime.block_on(async {
                match pool.lease(black_box(&key), deadline()).await {
                    Ok(Leased::Connection(lease)) => lease.release(&key, owner),
                    other => panic!("instead of the idle connection: {other:?}"),
                }
            });
        });
    });
    group.finish();
}

criterion_group!(benches, idle_set, lease);
criterion_main!(benches);
