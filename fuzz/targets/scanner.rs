//! However a stream is cut, the scanner finds the same packets and the same end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rwproxy::wire::scanner::Scanner;
use rwproxy_fuzz::{SHAPES, deprecate_eof, head_and_stream, scan};

fuzz_target!(|data: &[u8]| {
    let Some((head, steps, stream)) = head_and_stream(data) else { return };
    let expect = SHAPES[usize::from(head & 0x7F) % SHAPES.len()];
    let scanner = || Scanner::new(expect, deprecate_eof(head & 0x80 != 0));
    let whole = scan(scanner(), stream, &[]);
    assert_eq!(scan(scanner(), stream, steps), whole);
    assert_eq!(scan(scanner(), stream, &vec![1; stream.len()]), whole);
});
