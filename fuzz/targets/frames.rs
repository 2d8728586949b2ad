//! Frames of the compressed protocol give the same packets however they arrive, never more than
//! they say, and what was framed comes out again.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use rwproxy::wire::compression::{Algorithm, FRAME_HEADER, FrameError, Frames, Level, Peer};
use rwproxy_fuzz::{arrivals, head_and_stream};

/// What comes out, and why it ends if it does.
fn read(
    mut frames: Frames,
    stream: &[u8],
    steps: &[u8],
    room: usize,
) -> (Vec<u8>, Option<FrameError>) {
    let (mut raw, mut found) = (BytesMut::new(), Vec::new());
    let mut target = vec![0; room];
    let mut start = 0;
    for end in arrivals(steps, stream.len()) {
        raw.extend_from_slice(&stream[start..end]);
        start = end;
        loop {
            match frames.read(&mut raw, &mut target) {
                Ok(0) => break,
                Ok(count) => found.extend_from_slice(&target[..count]),
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

/// What the headers say that the frames hold, up to the end of the stream.
fn said(mut stream: &[u8]) -> usize {
    let mut sum = 0;
    while let Some((&[a, b, c, _, d, e, f], rest)) = stream.split_first_chunk::<FRAME_HEADER>() {
        let [length, uncompressed] =
            [[a, b, c], [d, e, f]].map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]) as usize);
        sum += if uncompressed == 0 { length } else { uncompressed };
        stream = rest.get(length..).unwrap_or_default();
    }
    sum
}

fuzz_target!(|data: &[u8]| {
    let Some((head, steps, stream)) = head_and_stream(data) else { return };
    let algorithm = match head & 1 {
        0 => Algorithm::Zlib,
        _ => Algorithm::Zstd { level: Level::from_byte(head >> 3) },
    };
    let peer = if head & 2 == 0 { Peer::Client } else { Peer::Server };
    if head & 4 == 0 {
        let whole = read(Frames::new(algorithm, peer), stream, &[], 65_536);
        assert!(whole.0.len() <= said(stream));
        let (found, error) = read(Frames::new(algorithm, peer), stream, steps, 7);
        // zstd needs no window, be it too large, where a target has room for all that a frame holds.
        if algorithm == Algorithm::Zlib {
            assert_eq!(error, whole.1);
        }
        // What comes before an error may come in part.
        assert!(whole.0.starts_with(&found) || found.starts_with(&whole.0));
        assert!(error.is_some() || whole.1.is_some() || found == whole.0);
        return;
    }
    // The bytes as they are would be numbered anew: one packet of them is right already.
    let stream = &stream[..stream.len().min(60_000)];
    let mut packet = BytesMut::new();
    rwproxy::wire::packet::put_packet(&mut packet, 0, stream);
    let mut framed = BytesMut::new();
    let mut writer = Frames::new(algorithm, peer);
    let mut start = 0;
    for end in arrivals(steps, packet.len()) {
        if end > start {
            assert_eq!(writer.write(&packet[start..end], &mut framed), end - start);
        }
        start = end;
    }
    let (found, error) = read(Frames::new(algorithm, peer), &framed, steps, 4096);
    assert_eq!((found.as_slice(), error), (&packet[..], None));
});
