use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::wire::packet::{HEADER, Header, MAX_PAYLOAD, put_packet};

const WAYS: [Algorithm; 2] = [Algorithm::Zlib, Algorithm::Zstd { level: Level(3) }];

/// Packets of these lengths, of bytes that compress but not to nothing.
fn packets(first_sequence: u8, lengths: &[usize]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let mut sequence = first_sequence;
    for &length in lengths {
        let payload: Vec<u8> = (0..length).map(|at| (at * at / 7) as u8 & 0x3F).collect();
        sequence = put_packet(&mut out, sequence, &payload);
    }
    out.to_vec()
}

fn framed(frames: &mut Frames, mut bytes: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    while !bytes.is_empty() {
        let count = frames.write(bytes, &mut out);
        bytes = &bytes[count..];
    }
    out
}

/// Reads all that there is, arriving in pieces of `piece` bytes into targets of `room` bytes.
fn read(frames: &mut Frames, raw: &[u8], piece: usize, room: usize) -> Result<Vec<u8>, FrameError> {
    let mut found = Vec::new();
    let mut arrived = BytesMut::new();
    let mut target = vec![0; room];
    for piece in raw.chunks(piece) {
        arrived.extend_from_slice(piece);
        loop {
            let count = frames.read(&mut arrived, &mut target)?;
            if count == 0 {
                break;
            }
            found.extend_from_slice(&target[..count]);
        }
    }
    Ok(found)
}

fn frame(sequence: u8, uncompressed: usize, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { length: payload.len(), sequence, uncompressed };
    [&header.to_bytes()[..], payload].concat()
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Where frames and packets end in the stream of packets.
fn ends(mut raw: &[u8], packets: &[u8]) -> (Vec<usize>, Vec<usize>) {
    let (mut frames, mut at) = (Vec::new(), 0);
    while let Some(header) = FrameHeader::peek(raw) {
        at += if header.uncompressed > 0 { header.uncompressed } else { header.length };
        frames.push(at);
        raw = &raw[FRAME_HEADER + header.length..];
    }
    let (mut ends, mut at) = (Vec::new(), 0);
    while let Some(header) = Header::peek(&packets[at..]) {
        at += HEADER + header.length;
        ends.push(at);
    }
    (frames, ends)
}

/// As servers and drivers compress: in one go.
fn compressed(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    let mut target = vec![0; bytes.len() + 1024];
    let count = deflate::deflate(algorithm, bytes, &mut target).unwrap();
    target.truncate(count);
    target
}

#[test]
fn what_is_agreed() {
    let both = Capabilities::COMPRESS | Capabilities::ZSTD_COMPRESSION;
    assert_eq!(Algorithm::agreed(Capabilities::empty(), Some(3)), None);
    assert_eq!(Algorithm::agreed(both, Some(3)), Some(Algorithm::Zlib));
    for (byte, level) in [(None, 3), (Some(0), 3), (Some(1), 1), (Some(22), 9), (Some(23), 3)] {
        let way = Algorithm::agreed(Capabilities::ZSTD_COMPRESSION, byte);
        assert_eq!(way, Some(Algorithm::Zstd { level: Level(level) }), "{byte:?}");
    }
}

#[test]
fn short_payloads_are_not_compressed() {
    for (length, is_compressed) in [(4, false), (49, false), (50, true), (51, true)] {
        for way in WAYS {
            let mut frames = Frames::new(way, Peer::Client);
            let mut bytes = BytesMut::new();
            put_packet(&mut bytes, 0, &vec![b'x'; length - 4]);
            let mut out = BytesMut::new();
            assert_eq!(frames.write(&bytes, &mut out), length);
            let header = FrameHeader::peek(&out).unwrap();
            assert_eq!(header.uncompressed > 0, is_compressed, "{length}");
            assert_eq!(header.length + FRAME_HEADER, out.len());
        }
    }
}

#[test]
fn what_does_not_get_shorter_goes_as_it_is() {
    let mut packet = BytesMut::new();
    put_packet(&mut packet, 0, &noise(296));
    for way in WAYS {
        let mut out = BytesMut::new();
        Frames::new(way, Peer::Client).write(&packet, &mut out);
        assert_eq!(out[..FRAME_HEADER], [0x2C, 1, 0, 0, 0, 0, 0]);
        assert_eq!(out[FRAME_HEADER..], packet);
    }
}

#[test]
fn packets_of_all_sizes_there_and_back() {
    let lengths = [0, 1, 49, 50, 51, 5_000, 70_000, 0, 200_000];
    let bytes = packets(0, &lengths);
    for way in WAYS {
        let out = framed(&mut Frames::new(way, Peer::Server), &bytes);
        assert!(out.len() < bytes.len() / 2, "{way:?}: {} of {}", out.len(), bytes.len());
        for (piece, room) in [(1, 3), (7, 16_384), (16_384, 2_048), (out.len(), bytes.len())] {
            let mut frames = Frames::new(way, Peer::Client);
            assert_eq!(read(&mut frames, &out, piece, room).as_ref(), Ok(&bytes), "{way:?}");
            assert!(frames.is_between());
        }
    }
}

#[test]
fn a_packet_is_in_two_frames_at_most() {
    let lengths = [5, 40_000, 10, 32_764, 32_765, 2_000_000, 3, 70_000, 31_000, 31_000, 500];
    let mut bytes = packets(0, &lengths);
    let mut longest = BytesMut::new();
    put_packet(&mut longest, 0, &noise(2_000_000));
    put_packet(&mut longest, 0, &vec![7; MAX_PAYLOAD]);
    bytes.extend_from_slice(&longest);
    for way in WAYS {
        for piece in [1_000, 16_384, 40_001, bytes.len()] {
            let mut writer = Frames::new(way, Peer::Client);
            let mut out = BytesMut::new();
            for piece in bytes.chunks(piece) {
                let framed = framed(&mut writer, piece);
                assert!(framed.len() < 1 << 20 || piece.len() > 1 << 20);
                out.extend_from_slice(&framed);
            }
            let (frames, ends) = ends(&out, &bytes);
            assert_eq!(frames.last(), Some(&bytes.len()), "nothing is held back");
            let mut start = 0;
            for end in ends {
                let cuts = frames.iter().filter(|&&at| start < at && at < end).count();
                assert!(cuts < 2, "{way:?}, pieces of {piece}: {cuts} cuts in {start}..{end}");
                start = end;
            }
            let mut reader = Frames::new(way, Peer::Server);
            let found = read(&mut reader, &out, 16_384, 16_384).unwrap();
            assert_eq!(found.len(), bytes.len());
        }
    }
}

#[test]
fn long_packets_are_compressed_as_a_whole() {
    let bytes = packets(0, &[5_000_000]);
    for way in WAYS {
        let out = framed(&mut Frames::new(way, Peer::Client), &bytes);
        let (frames, _) = ends(&out, &bytes);
        assert_eq!(frames, [bytes.len()], "{way:?}");
        assert!(out.len() < bytes.len() / 4);
    }
}

#[test]
fn the_longest_payload() {
    // A client frames as much as three bytes can say.
    let bytes = packets(0, &[MAX_PAYLOAD, 10]);
    let (first, second) = bytes.split_at(MOST_PAYLOAD);
    for way in WAYS {
        let raw = [frame(0, first.len(), &compressed(way, first)), frame(1, 0, second)].concat();
        let mut frames = Frames::new(way, Peer::Client);
        assert!(read(&mut frames, &raw, 16_384, 16_384).unwrap() == bytes);
    }
}

#[test]
fn a_clients_commands_come_out_one_by_one() {
    // Two in one frame, and the second goes on in the next.
    let bytes = [packets(0, &[60]), packets(0, &[60])].concat();
    for way in WAYS {
        let (first, second) = bytes.split_at(80);
        let mut raw = BytesMut::new();
        raw.extend_from_slice(&frame(0, first.len(), &compressed(way, first)));
        let mut frames = Frames::new(way, Peer::Client);
        let mut target = [0; 200];
        frames.begin_command();
        assert_eq!(frames.read(&mut raw, &mut target), Ok(64));
        let mut reply = BytesMut::new();
        frames.write(&packets(1, &[3]), &mut reply);
        assert_eq!(reply[3], 1, "behind the command's frame");
        frames.begin_command();
        assert_eq!(frames.read(&mut raw, &mut target), Ok(16));
        assert_eq!(target[3], 0, "a command begins with 0");
        raw.extend_from_slice(&frame(0, 0, second));
        assert_eq!(frames.read(&mut raw, &mut target), Ok(48));
        reply.clear();
        frames.write(&packets(1, &[3]), &mut reply);
        assert_eq!(reply[3], 1);
    }
}

#[test]
fn frames_are_numbered_anew_with_each_command() {
    let mut frames = Frames::new(Algorithm::Zlib, Peer::Client);
    let mut raw = BytesMut::new();
    let mut target = [0; 100];
    for _ in 0..2 {
        frames.begin_command();
        raw.extend_from_slice(&frame(0, 0, &packets(0, &[5])));
        assert_eq!(frames.read(&mut raw, &mut target), Ok(9));
        let mut out = BytesMut::new();
        frames.write(&packets(1, &[5]), &mut out);
        frames.write(&packets(2, &[5]), &mut out);
        assert_eq!((out[3], out[FRAME_HEADER + 9 + 3]), (1, 2));
    }
    for wrong in [1, 3] {
        frames.begin_command();
        raw.clear();
        raw.extend_from_slice(&frame(wrong, 0, &packets(0, &[5])));
        let error = FrameError::OutOfOrder { expected: 0, got: wrong };
        assert_eq!(frames.read(&mut raw, &mut target), Err(error));
    }
}

#[test]
fn a_servers_packets_are_numbered_as_without_compression() {
    // Behind each flush a server numbers packets by its frames: two results, 1 to 3 and 2 to 4.
    let (first, second) = (packets(1, &[5, 6, 7]), packets(2, &[5, 6, 7]));
    let raw = [frame(1, 0, &first), frame(2, 0, &second)].concat();
    let mut frames = Frames::new(Algorithm::Zlib, Peer::Server);
    frames.begin_command();
    framed(&mut frames, &packets(0, &[9]));
    let found = read(&mut frames, &raw, 100, 100).unwrap();
    assert_eq!(found, packets(1, &[5, 6, 7, 5, 6, 7]));
}

#[test]
fn a_clients_file_is_numbered_behind_the_request_for_it() {
    // The request was the fourth packet of the reply, in the first frame of it.
    let mut frames = Frames::new(Algorithm::Zlib, Peer::Client);
    frames.begin_command();
    read(&mut frames, &frame(0, 0, &packets(0, &[9])), 100, 100).unwrap();
    framed(&mut frames, &packets(1, &[5, 6, 7, 8]));
    let file = frame(2, 0, &packets(2, &[20, 0]));
    assert_eq!(read(&mut frames, &file, 100, 100).unwrap(), packets(5, &[20, 0]));
}

#[test]
fn a_frame_that_holds_more_than_it_says_is_refused() {
    let bomb = vec![0; 4 << 20];
    for way in WAYS {
        let payload = compressed(way, &bomb);
        assert!(payload.len() < 8_192);
        for said in [1, 100, 4_096, bomb.len() - 1, bomb.len() + 1, MOST_PAYLOAD] {
            let raw = frame(0, said, &payload);
            let mut frames = Frames::new(way, Peer::Server);
            let mut arrived = BytesMut::from(&raw[..]);
            let mut target = [0; 4_096];
            let mut found = 0;
            let error = loop {
                match frames.read(&mut arrived, &mut target) {
                    Ok(count) => found += count,
                    Err(error) => break error,
                }
            };
            assert_eq!(error, FrameError::Uncompress);
            assert!(found <= said, "{found} of {said}");
        }
    }
}

#[test]
fn payloads_that_cannot_be_uncompressed() {
    let bytes = packets(0, &[1_000]);
    for way in WAYS {
        let good = compressed(way, &bytes);
        let mut bad_end = good.clone();
        *bad_end.last_mut().unwrap() ^= 1;
        let table: [(&str, Vec<u8>); 5] = [
            ("nothing", Vec::new()),
            ("noise", vec![0xA5; 60]),
            ("cut off", good[..good.len() - 1].to_vec()),
            ("too long", [&good[..], b"x"].concat()),
            (
                "another way",
                match way {
                    Algorithm::Zlib => compressed(WAYS[1], &bytes),
                    Algorithm::Zstd { .. } => compressed(WAYS[0], &bytes),
                },
            ),
        ];
        for (name, payload) in table {
            let raw = frame(0, bytes.len(), &payload);
            let result = read(&mut Frames::new(way, Peer::Client), &raw, 50, 300);
            assert_eq!(result, Err(FrameError::Uncompress), "{way:?} {name}");
        }
        if way == Algorithm::Zlib {
            let raw = frame(0, bytes.len(), &bad_end);
            let result = read(&mut Frames::new(way, Peer::Client), &raw, 50, 300);
            assert_eq!(result, Err(FrameError::Uncompress), "a wrong checksum");
        }
    }
}

#[test]
fn a_frame_of_nothing_is_passed_over() {
    let raw = [frame(0, 0, b""), frame(1, 0, &packets(0, &[5]))].concat();
    let mut frames = Frames::new(Algorithm::Zlib, Peer::Client);
    assert_eq!(read(&mut frames, &raw, 3, 100).unwrap(), packets(0, &[5]));
}

#[test]
fn zstd_of_a_stream_without_its_length() {
    // Not in one go, as some drivers do it: the decoder needs a window of its own.
    let bytes = packets(0, &[300_000]);
    for level in [1, 3, 19] {
        let payload = zstd::stream::encode_all(&bytes[..], level).unwrap();
        let raw = frame(0, bytes.len(), &payload);
        let way = Algorithm::Zstd { level: Level::default() };
        let mut frames = Frames::new(way, Peer::Client);
        assert!(read(&mut frames, &raw, 1_000, 16_384).unwrap() == bytes, "{level}");
    }
}

#[test]
fn a_decoder_does_not_allocate_a_window_that_no_frame_fills() {
    // A frame of zstd's with a window of 2 GiB: magic, descriptor, window, an empty last block.
    let payload = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xA8, 0x01, 0, 0];
    let way = Algorithm::Zstd { level: Level::default() };
    let raw = frame(0, 5, &payload);
    let result = read(&mut Frames::new(way, Peer::Client), &raw, 100, 3);
    assert_eq!(result, Err(FrameError::Uncompress));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(zstd: bool, server: bool, raw: Vec<u8>, head: [u8; 3]) {
        let way = WAYS[usize::from(zstd)];
        let peer = if server { Peer::Server } else { Peer::Client };
        let _ = read(&mut Frames::new(way, peer), &raw, 5, 7);
        let [a, b, c] = head;
        let raw = frame(0, usize::from(a) + 1, &[&[b, c], &raw[..]].concat());
        let _ = read(&mut Frames::new(way, peer), &raw, 5, 7);
    }

    #[test]
    fn any_packets_come_out_as_they_went_in(
        zstd: bool,
        lengths in proptest::collection::vec(0usize..600, 1..20),
        piece in 1usize..400,
        room in 1usize..400,
    ) {
        let way = WAYS[usize::from(zstd)];
        let bytes = packets(0, &lengths);
        let mut out = BytesMut::new();
        let mut writer = Frames::new(way, Peer::Server);
        for part in bytes.chunks(piece * 3) {
            out.put_slice(&framed(&mut writer, part));
        }
        prop_assert_eq!(read(&mut Frames::new(way, Peer::Client), &out, piece, room), Ok(bytes));
    }
}

/// A semi-synchronous replica, a proxy and a source: events go down, what the replica says up.
#[test]
fn a_stream_whose_events_are_acknowledged() {
    let event = |out: &mut BytesMut, sequence, wants: u8, length: usize| {
        let payload = [&[0, 0xEF, wants, 0, 0, 0, 0][..], &noise(length)].concat();
        put_packet(out, sequence, &payload)
    };
    // MySQL numbers from 0 behind what is to be acknowledged, MariaDB from 1.
    for (way, first) in [(WAYS[0], 0), (WAYS[1], 0), (WAYS[0], 1)] {
        for (piece, room) in [(1, 9), (70, 100), (100_000, 4096)] {
            let [mut source, mut down] =
                [Peer::Client, Peer::Server].map(|it| Frames::new(way, it));
            let [mut up, mut replica] = [Peer::Client, Peer::Server].map(|it| Frames::new(way, it));
            // The command.
            let command = packets(0, &[30]);
            let asked = read(&mut up, &framed(&mut replica, &command), 4096, 4096).unwrap();
            read(&mut source, &framed(&mut down, &asked), 4096, 4096).unwrap();
            for frames in [&mut source, &mut down, &mut up, &mut replica] {
                frames.begin_stream();
            }
            let mut sequence = 1;
            for (lengths, wait) in
                [(&[40, 20][..], true), (&[200], false), (&[100_000, 9], true), (&[70], true)]
            {
                let mut events = BytesMut::new();
                for (at, length) in lengths.iter().enumerate() {
                    let wants = u8::from(at + 1 == lengths.len());
                    sequence = event(&mut events, sequence, wants, *length);
                }
                sequence = first;
                let relayed = read(&mut down, &framed(&mut source, &events), piece, room).unwrap();
                assert!(relayed == events[..], "as they are numbered without compression");
                let frames = framed(&mut up, &relayed);
                assert_eq!(frames[3], events[3], "a frame has the number of its first packet");
                let received = read(&mut replica, &frames, piece, room).unwrap();
                assert!(received == events[..]);
                if !wait {
                    // The source goes on meanwhile.
                    continue;
                }
                let word = packets(0, &[22]);
                for _ in 0..2 {
                    let frames = framed(&mut replica, &word);
                    let said = read(&mut up, &frames, piece, room).unwrap();
                    let frames = framed(&mut down, &said);
                    assert_eq!((said == word, frames[3]), (true, 0));
                    assert_eq!(read(&mut source, &frames, piece, room).unwrap(), word);
                }
            }
        }
    }
}
