//! The header of the PROXY protocol, versions 1 and 2: for whom a proxy in front of us speaks, and, of
//! version 2, for whom we speak to a server.
//!
//! Source: "The PROXY protocol, versions 1 & 2" (`doc/proxy-protocol.txt` of haproxy).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use bytes::BufMut;

use super::codec::Malformed;

/// The longest header of version 1, with its line end.
const LONGEST_TEXT: usize = 107;
/// The longest header of version 2 that is read: what the protocol asks every receiver to take.
const LONGEST_BINARY: usize = 536;
/// No header is shorter: `PROXY UNKNOWN` and its line end.
const SHORTEST: usize = 15;
const TEXT: &[u8] = b"PROXY ";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 ahead of the addresses.
const BINARY_HEAD: usize = 16;

/// The commands of version 2.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// AF_INET and AF_INET6, as streams.
const STREAM_4: u8 = 0x11;
const STREAM_6: u8 = 0x21;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A client with this address.
    Client(SocketAddr),
    /// The proxy itself (LOCAL, as its health checks), or a client of whom it knows no IP address:
    /// the connection is what it seems.
    Connection,
}

/// What is known after some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes more belong to the header in any case.
    Need(usize),
    /// The header is whole.
    Done(Source),
}

/// Looks at the bytes that a connection has begun with.
///
/// # Errors
/// They are no header, however they go on.
pub fn parse(bytes: &[u8]) -> Result<Progress, Malformed> {
    let begins = |signature: &[u8]| {
        let length = bytes.len().min(signature.len());
        bytes[..length] == signature[..length]
    };
    if !begins(TEXT) && !begins(BINARY) {
        return Err(Malformed("no PROXY header"));
    }
    if bytes.len() < SHORTEST {
        return Ok(Progress::Need(SHORTEST - bytes.len()));
    }
    if begins(TEXT) { parse_text(bytes) } else { parse_binary(bytes) }
}

fn parse_text(bytes: &[u8]) -> Result<Progress, Malformed> {
    let line = match bytes {
        [line @ .., b'\r', b'\n'] => line,
        [.., b'\r'] => return Ok(Progress::Need(1)),
        _ if bytes.len() + 2 > LONGEST_TEXT => return Err(Malformed("a PROXY line without end")),
        _ if bytes.contains(&b'\n') => return Err(Malformed("a PROXY line that ends early")),
        _ => return Ok(Progress::Need(2)),
    };
    let line = std::str::from_utf8(line).map_err(|_| Malformed("a PROXY line that is no text"))?;
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        // Whatever follows is to be ignored.
        return Ok(Progress::Done(Source::Connection));
    }
    let mut pair = || [words.next(), words.next()];
    let (addresses, ports) = (pair(), pair().map(|port| port.and_then(text_port)));
    let ([Some(port), Some(_)], None) = (ports, words.next()) else {
        return Err(Malformed("a PROXY line with other words"));
    };
    let client = match family {
        Some("TCP4") => text_address::<Ipv4Addr>(addresses),
        Some("TCP6") => text_address::<Ipv6Addr>(addresses),
        _ => None,
    };
    client
        .map(|client| Progress::Done(Source::Client((client.to_canonical(), port).into())))
        .ok_or(Malformed("a PROXY line with wrong addresses"))
}

/// The first of two addresses of one family.
fn text_address<A: FromStr + Into<IpAddr>>([from, to]: [Option<&str>; 2]) -> Option<IpAddr> {
    let (from, _to) = (from?.parse::<A>().ok()?, to?.parse::<A>().ok()?);
    Some(from.into())
}

/// 0 to 65535, without signs or leading zeros.
fn text_port(text: &str) -> Option<u16> {
    text.parse::<u16>().ok().filter(|port| port.to_string() == text)
}

fn parse_binary(bytes: &[u8]) -> Result<Progress, Malformed> {
    let Some((head, body)) = bytes.split_first_chunk::<BINARY_HEAD>() else {
        return Ok(Progress::Need(BINARY_HEAD - bytes.len()));
    };
    let [.., command, family, length_high, length_low] = *head;
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    if !matches!(command, LOCAL | PROXY) {
        return Err(Malformed("a PROXY header of an unknown version or command"));
    }
    if BINARY_HEAD + length > LONGEST_BINARY {
        return Err(Malformed("a PROXY header that is too long"));
    }
    if body.len() < length {
        return Ok(Progress::Need(length - body.len()));
    }
    // AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX, each unspecified, as a stream, as datagrams.
    if family >> 4 > 3 || family & 0xF > 2 {
        return Err(Malformed("a PROXY header of an unknown family"));
    }
    // Behind the addresses stand more fields (TLVs), which nobody here needs.
    let client = match (command, family) {
        (PROXY, STREAM_4) => {
            let both: &[u8; 12] = body.first_chunk().ok_or(SHORT)?;
            let [a, b, c, d, _, _, _, _, high, low, ..] = *both;
            SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])))
        }
        (PROXY, STREAM_6) => {
            let both: &[u8; 36] = body.first_chunk().ok_or(SHORT)?;
            let (client, rest) = both.split_first_chunk::<16>().ok_or(SHORT)?;
            let port = u16::from_be_bytes([rest[16], rest[17]]);
            SocketAddr::from((IpAddr::from(*client).to_canonical(), port))
        }
        _ => return Ok(Progress::Done(Source::Connection)),
    };
    Ok(Progress::Done(Source::Client(client)))
}

/// Writes a header of version 2. `destination` is where the connection goes; it is made of the
/// client's family, as the protocol wants it, if it is not.
pub fn put(out: &mut impl BufMut, source: Source, destination: SocketAddr) {
    out.put_slice(BINARY);
    let Source::Client(client) = source else {
        out.put_slice(&[LOCAL, 0, 0, 0]);
        return;
    };
    match (client.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.put_slice(&[PROXY, STREAM_4, 0, 12]);
            out.put_slice(&from.octets());
            out.put_slice(&to.octets());
        }
        (from, to) => {
            out.put_slice(&[PROXY, STREAM_6, 0, 36]);
            out.put_slice(&six(from).octets());
            out.put_slice(&six(to).octets());
        }
    }
    out.put_u16(client.port());
    out.put_u16(destination.port());
}

fn six(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

const SHORT: Malformed = Malformed("a PROXY header without its addresses");

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [BINARY, &[command, family], &length, body].concat()
    }

    fn four(tail: &[u8]) -> Vec<u8> {
        [&[203, 0, 113, 7, 10, 0, 0, 1, 0xD4, 0x31, 0x0C, 0xEA], tail].concat()
    }

    fn six_body() -> Vec<u8> {
        let address: Ipv6Addr = "2001:db8::7".parse().unwrap();
        [&address.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &[1, 2, 3, 4]].concat()
    }

    fn client(text: &str, port: u16) -> Source {
        Source::Client((text.parse::<IpAddr>().unwrap(), port).into())
    }

    /// Byte by byte: each `Need` is right, and nothing behind the header is asked for.
    fn read(bytes: &[u8]) -> Result<Source, Malformed> {
        let mut end = 0;
        loop {
            for earlier in 0..end {
                match parse(&bytes[..earlier])? {
                    Progress::Need(count) => assert!(earlier + count <= bytes.len()),
                    done => panic!("{earlier} bytes are enough: {done:?}"),
                }
            }
            match parse(&bytes[..end])? {
                Progress::Done(source) => {
                    assert_eq!(end, bytes.len());
                    return Ok(source);
                }
                Progress::Need(count) => {
                    assert!(count > 0);
                    end += count;
                    if end > bytes.len() {
                        return Err(Malformed("more is needed"));
                    }
                }
            }
        }
    }

    #[test]
    fn headers_and_what_they_say() {
        let text = "PROXY TCP4 203.0.113.7 10.0.0.1 56324 3306\r\n";
        let longest = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
            ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        assert_eq!(longest.len(), LONGEST_TEXT);
        let mut mapped = six_body();
        mapped[..16].copy_from_slice(&Ipv4Addr::new(203, 0, 113, 7).to_ipv6_mapped().octets());
        let table: [(Vec<u8>, Source); 15] = [
            (text.into(), client("203.0.113.7", 56324)),
            ("PROXY TCP6 2001:db8::7 ::1 1 0\r\n".into(), client("2001:db8::7", 1)),
            ("PROXY TCP6 ::ffff:203.0.113.7 ::1 1 0\r\n".into(), client("203.0.113.7", 1)),
            ("PROXY UNKNOWN\r\n".into(), Source::Connection),
            ("PROXY UNKNOWN what ever\r\n".into(), Source::Connection),
            (longest.into(), Source::Connection),
            (binary(0x21, 0x11, &four(b"")), client("203.0.113.7", 54321)),
            // TLVs: a checksum, an authority.
            (binary(0x21, 0x11, &four(b"\x03\0\x04abcd\x02\0\x01x")), client("203.0.113.7", 54321)),
            (binary(0x21, 0x11, &four(&[4; 508])), client("203.0.113.7", 54321)),
            (binary(0x21, 0x21, &six_body()), client("2001:db8::7", 0x102)),
            (binary(0x21, 0x21, &mapped), client("203.0.113.7", 0x102)),
            (binary(0x20, 0x11, &four(b"")), Source::Connection),
            (binary(0x20, 0x00, b""), Source::Connection),
            (binary(0x21, 0x00, b"\x03\0\x04abcd"), Source::Connection),
            (binary(0x21, 0x31, &[b'/'; 216]), Source::Connection),
        ];
        for (bytes, source) in table {
            assert_eq!(read(&bytes), Ok(source), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let (four, six) = ("10.0.0.1:3306".parse().unwrap(), "[::1]:3306".parse().unwrap());
        let sources = [Source::Connection, client("203.0.113.7", 54321), client("2001:db8::7", 1)];
        for (source, destination) in sources.into_iter().flat_map(|it| [(it, four), (it, six)]) {
            let mut header = Vec::new();
            put(&mut header, source, destination);
            assert_eq!(read(&header), Ok(source), "{}", header.escape_ascii());
        }
        let mut header = Vec::new();
        put(&mut header, client("203.0.113.7", 54321), four);
        let body = [203, 0, 113, 7, 10, 0, 0, 1, 0xD4, 0x31, 0x0C, 0xEA];
        assert_eq!(header, binary(0x21, 0x11, &body));
    }

    #[test]
    fn what_is_no_header() {
        let table: [Vec<u8>; 20] = [
            b"GET / HTTP/1.1\r\n\r\n".into(),
            b"\x20\0\0\x01\x8d\xa6\xff\x01".into(),
            b"PROXX ".into(),
            b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n".into(),
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n".into(),
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n".into(),
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n".into(),
            b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n".into(),
            b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n".into(),
            b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n".into(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".into(),
            b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n".into(),
            b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n".into(),
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\nmore".into(),
            [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat(),
            binary(0x11, 0x11, &four(b"")),
            binary(0x22, 0x11, &four(b"")),
            binary(0x21, 0x41, &four(b"")),
            binary(0x21, 0x11, &four(b"")[..8]).to_vec(),
            binary(0x21, 0x11, &four(&[4; 509])),
        ];
        for bytes in table {
            assert!(read(&bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text: bool) {
            let _ = parse(&bytes);
            let head = if text { TEXT } else { BINARY };
            let _ = parse(&[head, &bytes].concat());
            let _ = parse(&[head, b"\x21\x11", &bytes].concat());
        }
    }
}
