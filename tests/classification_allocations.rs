//! Classification is on the path of every statement and must not allocate, whatever the text.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use rwproxy::sql::{Dialect, classify};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of GlobalAlloc.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of GlobalAlloc.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn classification_allocates_nothing() {
    let statements = include_str!("classification/statements.txt");
    let dialect = Dialect { version: 90_704, ..Dialect::default() };
    let before = ALLOCATIONS.with(Cell::get);
    let mut digests = 0u64;
    for line in statements.lines() {
        let sql = line.split_once('|').map_or(line, |(_, sql)| sql);
        digests ^= classify(sql.as_bytes(), dialect).digest;
    }
    let after = ALLOCATIONS.with(Cell::get);
    assert_ne!(digests, 0);
    assert_eq!(after - before, 0);
}
