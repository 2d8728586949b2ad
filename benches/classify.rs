//! The cost of judging a statement, from the shortest to a long one, and of a full parse for
//! comparison. `cargo bench --bench classify`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rwproxy::sql::{Dialect, classify, deep, digest};

fn statements() -> Vec<(&'static str, String)> {
    let list = (0..200).map(|n| (1_000_000 + 7 * n).to_string()).collect::<Vec<_>>().join(", ");
    let columns = ["orders.customer_name AS name, COALESCE(a.total, b.total) AS t"; 31].join(", ");
    vec![
        ("point_select", "SELECT c FROM sbtest1 WHERE id=50123".into()),
        ("range_select", "SELECT c FROM sbtest1 WHERE id BETWEEN 50 AND 149 ORDER BY c".into()),
        ("update", "UPDATE sbtest1 SET k=k+1 WHERE id=50123".into()),
        ("begin", "BEGIN".into()),
        ("set_names", "SET NAMES utf8mb4".into()),
        ("select_2k_of_words", format!("SELECT {columns} FROM t")),
        ("select_2k_of_numbers", format!("SELECT * FROM t WHERE id IN ({list})")),
        ("insert_64k_string", format!("INSERT INTO t VALUES (1, '{}')", "x".repeat(65_536))),
    ]
}

fn classification(criterion: &mut Criterion) {
    let dialect = Dialect { version: 90_704, ..Dialect::default() };
    let mut group = criterion.benchmark_group("classify");
    for (name, sql) in statements() {
        group.throughput(Throughput::Bytes(sql.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| classify(black_box(sql.as_bytes()), black_box(dialect)));
        });
    }
    group.finish();
}

fn off_the_hot_path(criterion: &mut Criterion) {
    let dialect = Dialect { version: 90_704, ..Dialect::default() };
    let sql = b"SELECT c FROM sbtest1 WHERE id=50123";
    criterion.bench_function("parse/point_select", |bencher| {
        bencher.iter(|| deep::parse(black_box(sql), black_box(dialect)));
    });
    criterion.bench_function("digest_text/point_select", |bencher| {
        bencher.iter(|| digest::text(black_box(sql), black_box(dialect), 200));
    });
}

criterion_group!(benches, classification, off_the_hot_path);
criterion_main!(benches);
