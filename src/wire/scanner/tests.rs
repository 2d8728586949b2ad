//! Replies as servers send them, cut at every place.

use proptest::prelude::*;

use super::*;
use crate::wire::codec::Writer;
use crate::wire::packet::put_packet;
use bytes::BytesMut;

const OK: &[u8] = &[0x00, 1, 0, 2, 0, 0, 0];
const OK_MORE: &[u8] = &[0x00, 1, 0, 0x0A, 0, 0, 0];
const OK_END: &[u8] = &[0xFE, 0, 0, 2, 0, 0, 0];
const EOF: &[u8] = &[0xFE, 0, 0, 2, 0];
const EOF_MORE: &[u8] = &[0xFE, 0, 0, 0x0A, 0];
const EOF_CURSOR: &[u8] = &[0xFE, 0, 0, 0x42, 0];
const EOF_OUT: &[u8] = &[0xFE, 0, 0, 0x02, 0x10];
const ERR: &[u8] = b"\xFF\x28\x04#42000no";
const ROW: &[u8] = b"\x011";
const COLUMN: &[u8] = b"\x03def\0\0\0\x011\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0";

fn stream(payloads: &[&[u8]]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let mut sequence = 1;
    for payload in payloads {
        sequence = put_packet(&mut out, sequence, payload);
    }
    out.to_vec()
}

fn capabilities(deprecate_eof: bool) -> Capabilities {
    if deprecate_eof { Capabilities::DEPRECATE_EOF } else { Capabilities::empty() }
}

/// Scans `bytes` in pieces that end at `cuts`; what was found, and how many bytes the reply has.
fn scan_all(
    expect: Expect,
    capabilities: Capabilities,
    bytes: &[u8],
    cuts: &[usize],
) -> Result<(Vec<Significant>, usize), Malformed> {
    let mut scanner = Scanner::new(expect, capabilities);
    let mut found = Vec::new();
    let mut start = 0;
    for &end in cuts.iter().chain([&bytes.len()]) {
        loop {
            if scanner.is_done() {
                return Ok((found, start));
            }
            let scan = scanner.scan(&bytes[start..end])?;
            start += scan.forward;
            let Some((significant, length)) = scan.packet else { break };
            found.push(significant);
            start += length;
        }
    }
    assert!(scanner.is_done(), "the reply did not end: {scanner:?}");
    Ok((found, start))
}

struct Case {
    name: &'static str,
    expect: Expect,
    deprecate_eof: bool,
    payloads: Vec<&'static [u8]>,
    found: Vec<Significant>,
}

fn status(bits: u16) -> Status {
    Status::from_bits_retain(bits)
}

fn cases() -> Vec<Case> {
    use Significant as S;
    let case = |name, expect, deprecate_eof, payloads: &[&'static [u8]], found: &[Significant]| {
        Case { name, expect, deprecate_eof, payloads: payloads.to_vec(), found: found.to_vec() }
    };
    vec![
        case("ping", Expect::One, false, &[OK], &[S::Ok(status(2))]),
        case("error", Expect::One, true, &[ERR], &[S::Err]),
        case("set option", Expect::One, true, &[EOF], &[S::Eof(status(2))]),
        case("insert", Expect::Results, true, &[OK], &[S::Ok(status(2))]),
        case("select", Expect::Results, true, &[&[1], COLUMN, ROW, OK_END], &[S::Ok(status(2))]),
        case("no rows", Expect::Results, true, &[&[1], COLUMN, OK_END], &[S::Ok(status(2))]),
        case(
            "legacy select",
            Expect::Results,
            false,
            &[&[2], COLUMN, COLUMN, EOF, ROW, ROW, EOF],
            &[S::Eof(status(2))],
        ),
        case("error in rows", Expect::Results, true, &[&[1], COLUMN, ROW, ERR], &[S::Err]),
        case(
            "several results",
            Expect::Results,
            false,
            &[&[1], COLUMN, EOF, ROW, EOF_MORE, OK_MORE, OK],
            &[S::Eof(status(0x0A)), S::Ok(status(0x0A)), S::Ok(status(2))],
        ),
        case(
            "error in the second result",
            Expect::Results,
            true,
            &[OK_MORE, ERR],
            &[S::Ok(status(0x0A)), S::Err],
        ),
        case(
            "legacy cursor",
            Expect::Cursor,
            false,
            &[&[1], COLUMN, EOF_CURSOR],
            &[S::Eof(status(0x42))],
        ),
        case(
            "legacy rows, and a cursor within a routine",
            Expect::Results,
            false,
            &[&[1], COLUMN, EOF_CURSOR, ROW, EOF_MORE, OK],
            &[S::Eof(status(0x0A)), S::Ok(status(2))],
        ),
        case(
            "legacy OUT parameters end without MORE_RESULTS",
            Expect::Results,
            false,
            &[&[1], COLUMN, EOF, ROW, EOF_OUT, OK],
            &[S::Eof(status(0x1002)), S::Ok(status(2))],
        ),
        case(
            "legacy OUT parameters are announced in front of their row alone",
            Expect::Results,
            false,
            &[&[1], COLUMN, &[0xFE, 0, 0, 0x0A, 0x10], ROW, EOF, OK],
            &[S::Eof(status(2)), S::Ok(status(2))],
        ),
        case(
            "prepare with both groups",
            Expect::Prepare,
            false,
            &[&[0, 7, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0], COLUMN, COLUMN, EOF, COLUMN, EOF],
            &[S::PrepareOk { statement: 7, columns: 1, parameters: 2, warnings: 0 }],
        ),
        case(
            "prepare under DEPRECATE_EOF",
            Expect::Prepare,
            true,
            &[&[0, 7, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0], COLUMN, COLUMN, COLUMN],
            &[S::PrepareOk { statement: 7, columns: 1, parameters: 2, warnings: 0 }],
        ),
        case(
            "prepare without parameters and columns",
            Expect::Prepare,
            false,
            &[&[0, 9, 1, 0, 0, 0, 0, 0, 0, 0, 3, 1]],
            &[S::PrepareOk { statement: 265, columns: 0, parameters: 0, warnings: 259 }],
        ),
        case("fetch", Expect::Rows, false, &[b"\0\0\x01", EOF], &[S::Eof(status(2))]),
        case("field list", Expect::Fields, false, &[COLUMN, COLUMN, EOF], &[S::Eof(status(2))]),
        case("statistics", Expect::Text, true, &[b"Uptime: 1"], &[S::Text]),
        case(
            "a row value that begins with 0xFB or 0xFE-like bytes in the middle",
            Expect::Results,
            true,
            &[&[1], COLUMN, &[0xFB], b"\x03\xFE\xFF\0", OK_END],
            &[S::Ok(status(2))],
        ),
    ]
}

#[test]
fn every_reply_cut_at_every_byte() {
    for case in cases() {
        let bytes = stream(&case.payloads);
        for cut in 0..=bytes.len() {
            let (found, length) =
                scan_all(case.expect, capabilities(case.deprecate_eof), &bytes, &[cut])
                    .expect(case.name);
            assert_eq!(found, case.found, "{} cut at {cut}", case.name);
            assert_eq!(length, bytes.len(), "{} cut at {cut}", case.name);
        }
        let every: Vec<usize> = (0..bytes.len()).collect();
        let (found, _) =
            scan_all(case.expect, capabilities(case.deprecate_eof), &bytes, &every).unwrap();
        assert_eq!(found, case.found, "{} byte by byte", case.name);
    }
}

#[test]
fn what_follows_a_reply_is_not_looked_at() {
    for case in cases() {
        let reply = stream(&case.payloads);
        let bytes = [&reply[..], &stream(&[OK]), b"\xFF"].concat();
        let (found, length) =
            scan_all(case.expect, capabilities(case.deprecate_eof), &bytes, &[]).expect(case.name);
        assert_eq!((found, length), (case.found, reply.len()), "{}", case.name);
    }
}

#[test]
fn definitions_may_be_left_out() {
    const PREPARED: &[u8] = &[0, 7, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0];
    const PREPARED_FULL: &[u8] = &[0, 7, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 1];
    let prepared = Significant::PrepareOk { statement: 7, columns: 1, parameters: 2, warnings: 0 };
    let (ok, eof) = (Significant::Ok(status(2)), Significant::Eof(status(2)));
    let cursor = Significant::Eof(status(0x42));
    let table: [(Expect, bool, &[&[u8]], Significant); 10] = [
        (Expect::Results, true, &[&[2, 0], ROW, ROW, OK_END], ok),
        (Expect::Results, true, &[&[2, 0], OK_END], ok),
        (Expect::Results, true, &[&[2, 1], COLUMN, COLUMN, ROW, OK_END], ok),
        (Expect::Results, false, &[&[2, 0], EOF, ROW, EOF], eof),
        (Expect::Results, false, &[&[1, 1], COLUMN, EOF, ROW, EOF], eof),
        (Expect::Cursor, false, &[&[2, 0], EOF_CURSOR], cursor),
        (Expect::Prepare, true, &[PREPARED], prepared),
        (Expect::Prepare, true, &[PREPARED_FULL, COLUMN, COLUMN, COLUMN], prepared),
        (Expect::Prepare, false, &[PREPARED, EOF, EOF], prepared),
        (Expect::Prepare, false, &[PREPARED_FULL, COLUMN, COLUMN, EOF, COLUMN, EOF], prepared),
    ];
    for (expect, deprecate_eof, payloads, expected) in table {
        let capabilities = capabilities(deprecate_eof) | Capabilities::OPTIONAL_RESULTSET_METADATA;
        let bytes = stream(payloads);
        for cut in 0..=bytes.len() {
            let (found, length) = scan_all(expect, capabilities, &bytes, &[cut]).unwrap();
            assert_eq!((&found[..], length), (&[expected][..], bytes.len()), "{payloads:?}");
        }
    }
}

#[test]
fn local_infile_goes_on_with_the_servers_last_word() {
    let request = stream(&[b"\xFB/tmp/x"]);
    let mut scanner = Scanner::new(Expect::Results, Capabilities::empty());
    let scan = scanner.scan(&request).unwrap();
    assert_eq!(scan.packet, Some((Significant::LocalInfile, request.len())));
    assert!(!scanner.is_done());
    let scan = scanner.scan(&stream(&[OK])).unwrap();
    assert_eq!(scan.packet, Some((Significant::Ok(status(2)), 11)));
    assert!(scanner.is_done());
}

#[test]
fn a_row_of_several_packets_is_passed_whatever_its_bytes() {
    // A first packet of the full length is no end of rows although it begins with 0xFE, and its
    // continuation is no error although it begins with 0xFF.
    let mut row = vec![0xFE];
    row.put_u24_le(0);
    row.resize(MAX_PAYLOAD, b'x');
    row.extend_from_slice(&[0xFF, 0xFE, 0x00]);
    let bytes = stream(&[&[1], COLUMN, &row, OK_END]);
    let (found, length) =
        scan_all(Expect::Results, capabilities(true), &bytes, &[100, 70_000]).unwrap();
    assert_eq!(found, [Significant::Ok(status(2))]);
    assert_eq!(length, bytes.len());
}

#[test]
fn a_row_of_exactly_the_maximum_ends_with_an_empty_packet() {
    let row = vec![b'x'; MAX_PAYLOAD];
    let bytes = stream(&[&[1], COLUMN, &row, OK_END]);
    let (found, length) = scan_all(Expect::Results, capabilities(true), &bytes, &[]).unwrap();
    assert_eq!(found, [Significant::Ok(status(2))]);
    assert_eq!(length, bytes.len());
}

#[test]
fn what_is_no_reply_is_malformed() {
    let table: [(&str, Expect, Vec<u8>); 6] = [
        ("empty first packet", Expect::Results, vec![0, 0, 0, 1]),
        ("an OK without its fields", Expect::One, stream(&[&[0]])),
        ("row data as an answer to ping", Expect::One, stream(&[b"\x05hello"])),
        ("no columns", Expect::Results, stream(&[&[0xFC, 0, 0]])),
        ("an absurd OK", Expect::One, {
            let mut bytes = vec![0xFF, 0xFF, 0x20, 1];
            bytes.resize(100, 0);
            bytes
        }),
        ("rows instead of the EOF behind columns", Expect::Results, stream(&[&[1], COLUMN, ROW])),
    ];
    for (name, expect, bytes) in table {
        let mut scanner = Scanner::new(expect, Capabilities::empty());
        let mut rest = &bytes[..];
        let failed = loop {
            match scanner.scan(rest) {
                Err(_) => break true,
                Ok(Scan { packet: None, .. }) => break false,
                Ok(Scan { forward, packet: Some((_, length)) }) => rest = &rest[forward + length..],
            }
        };
        assert!(failed, "{name}");
    }
}

proptest! {
    /// However garbage is cut, the scanner says the same and never panics.
    #[test]
    fn any_bytes_any_cuts(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..200, which in 0usize..7, deprecate: bool) {
        let expect = [Expect::One, Expect::Results, Expect::Prepare, Expect::Fields, Expect::Rows, Expect::Text, Expect::Stream][which];
        let run = |cuts: &[usize]| {
            let mut scanner = Scanner::new(expect, capabilities(deprecate));
            let mut found = Vec::new();
            let mut start = 0;
            for &end in cuts.iter().chain([&bytes.len()]) {
                while !scanner.is_done() {
                    match scanner.scan(&bytes[start..end]) {
                        Err(error) => return (found, Err(error)),
                        Ok(scan) => {
                            start += scan.forward;
                            let Some((significant, length)) = scan.packet else { break };
                            found.push(significant);
                            start += length;
                        }
                    }
                }
            }
            (found, Ok((start, scanner.is_done())))
        };
        prop_assert_eq!(run(&[]), run(&[cut.min(bytes.len())]));
    }
}

#[test]
fn reports_of_progress_are_no_end() {
    const PROGRESS: &[u8] = b"\xFF\xFF\xFF\x01\x01\x02\x10\x27\0\x05stage";
    let replies: [&[&[u8]]; 3] = [&[OK], &[ERR], &[b"\x01", COLUMN, EOF, ROW, EOF]];
    for reply in replies {
        let payloads = [&[PROGRESS, PROGRESS], reply].concat();
        let bytes = stream(&payloads);
        let mut scanner = Scanner::new(Expect::Results, Capabilities::MARIADB_PROGRESS);
        let (mut at, mut found) = (0, 0);
        while !scanner.is_done() {
            let scan = scanner.scan(&bytes[at..]).unwrap();
            found += usize::from(scan.packet.is_some());
            at += scan.forward + scan.packet.map_or(0, |(_, length)| length);
        }
        assert_eq!((at, found), (bytes.len(), 1), "{reply:?}");
        // To who has not asked for them it is an error.
        let mut scanner = Scanner::new(Expect::Results, Capabilities::empty());
        let scan = scanner.scan(&bytes).unwrap();
        assert!(matches!(scan.packet, Some((Significant::Err, _))) && scanner.is_done());
    }
}
