//! A run of packets ends at the same byte however it arrives, and where its headers say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rwproxy::wire::packet::{HEADER, Header};
use rwproxy::wire::run::{PacketRun, RunEnd};
use rwproxy_fuzz::{arrivals, head_and_stream};

/// Bytes of the run, and whether its end is among them.
fn advance(end: RunEnd, stream: &[u8], steps: &[u8]) -> (usize, bool) {
    let mut run = PacketRun::new(end);
    let mut start = 0;
    for arrived in arrivals(steps, stream.len()) {
        let taken = run.advance(&stream[start..arrived]);
        assert!(taken <= arrived - start, "takes more than there is");
        start += taken;
    }
    (start, run.is_done())
}

/// The same by looking at whole packets.
fn walk(end: RunEnd, stream: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let header = Header::peek(stream.get(at..)?)?;
        at += HEADER + header.length;
        let last = match end {
            RunEnd::Payload => !header.is_continued(),
            RunEnd::EmptyPacket => header.length == 0,
        };
        if last {
            return (at <= stream.len()).then_some(at);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((head, steps, stream)) = head_and_stream(data) else { return };
    let end = if head & 1 == 0 { RunEnd::Payload } else { RunEnd::EmptyPacket };
    let whole = advance(end, stream, &[]);
    assert_eq!(advance(end, stream, steps), whole);
    assert_eq!(advance(end, stream, &vec![1; stream.len()]), whole);
    assert_eq!(whole.1.then_some(whole.0), walk(end, stream));
});
