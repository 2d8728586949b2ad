//! Following replies: a point select, a result of many rows, many small statements' OKs.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rwproxy::wire::Capabilities;
use rwproxy::wire::packet::put_packet;
use rwproxy::wire::scanner::{Expect, Scanner};

/// What a server's socket gives at a time.
const CHUNK: usize = 16 * 1024;
const COLUMN: &[u8] =
    b"\x03def\x03app\x07sbtest1\x07sbtest1\x01c\x01c\x0c\xff\x00\xe0\x01\x00\x00\xfe\0\0\0\0\0";
const OK: &[u8] = &[0x00, 1, 0, 2, 0, 0, 0];
const OK_BEHIND_ROWS: &[u8] = &[0xFE, 0, 0, 2, 0, 0, 0];

fn reply(payloads: impl IntoIterator<Item = impl AsRef<[u8]>>) -> BytesMut {
    let (mut out, mut sequence) = (BytesMut::new(), 1);
    for payload in payloads {
        sequence = put_packet(&mut out, sequence, payload.as_ref());
    }
    out
}

/// A result set of one column.
fn result_set(rows: usize, value: usize) -> BytesMut {
    let mut row = vec![value as u8];
    row.resize(1 + value, b'x');
    let mut payloads = vec![vec![1], COLUMN.to_vec()];
    payloads.resize(2 + rows, row);
    payloads.push(OK_BEHIND_ROWS.to_vec());
    reply(payloads)
}

/// Scans a whole reply that arrives in chunks; how many significant packets it has.
fn scan(expect: Expect, bytes: &[u8]) -> usize {
    let mut scanner = Scanner::new(expect, Capabilities::DEPRECATE_EOF);
    let (mut at, mut seen, mut found) = (0, 0, 0);
    while !scanner.is_done() {
        seen = (seen + CHUNK).min(bytes.len());
        loop {
            let scan = scanner.scan(&bytes[at..seen]).expect("a well-formed reply");
            at += scan.forward;
            let Some((_, length)) = scan.packet else { break };
            at += length;
            found += 1;
            if scanner.is_done() {
                break;
            }
        }
    }
    found
}

fn scanner(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scanner");

    let point_select = result_set(1, 119);
    group.bench_function("point select", |bench| {
        bench.iter(|| scan(Expect::Results, black_box(&point_select)));
    });
    let ok = reply([OK]);
    group.bench_function("OK", |bench| bench.iter(|| scan(Expect::Results, black_box(&ok))));

    for (name, rows, value) in [("10000 short rows", 10_000, 8), ("10000 rows", 10_000, 200)] {
        let bytes = result_set(rows, value);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| scan(Expect::Results, black_box(&bytes)));
        });
    }
    group.finish();
}

criterion_group!(benches, scanner);
criterion_main!(benches);
