//! Finding the ends of packets: the cost of framing per packet and per byte.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rwproxy::wire::packet::{HEADER, Header, MAX_PAYLOAD, put_packet};
use rwproxy::wire::run::{PacketRun, RunEnd};

/// What a client's socket gives at a time.
const CHUNK: usize = 16 * 1024;

fn packets(count: usize, payload: usize) -> BytesMut {
    let mut bytes = BytesMut::new();
    for sequence in 0..count {
        put_packet(&mut bytes, sequence as u8, &vec![b'x'; payload]);
    }
    bytes
}

fn walk(bytes: &[u8]) -> usize {
    let (mut at, mut count) = (0, 0);
    while let Some(header) = Header::peek(&bytes[at..]) {
        at += HEADER + header.length;
        count += 1;
    }
    count
}

fn framer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("framer");

    let commands = packets(1000, 40);
    group.throughput(Throughput::Elements(1000));
    group.bench_function("headers of 1000 packets", |bench| {
        bench.iter(|| walk(black_box(&commands)));
    });

    group.throughput(Throughput::Elements(1));
    group.bench_function("one command", |bench| {
        let mut out = BytesMut::with_capacity(CHUNK);
        bench.iter(|| {
            out.clear();
            put_packet(&mut out, 0, black_box(b"\x03SELECT c FROM sbtest1 WHERE id=5042"))
        });
    });

    let long = packets(1, MAX_PAYLOAD + 1000);
    group.throughput(Throughput::Bytes(long.len() as u64));
    group.bench_function("a command of 16 MiB in chunks", |bench| {
        bench.iter(|| {
            let mut run = PacketRun::new(RunEnd::Payload);
            let (mut at, mut seen) = (0, 0);
            while !run.is_done() {
                seen = (seen + CHUNK).min(long.len());
                at += run.advance(&long[at..seen]);
            }
            at
        });
    });
    group.finish();
}

criterion_group!(benches, framer);
criterion_main!(benches);
