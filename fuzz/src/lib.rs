//! What several fuzz targets share.

use rwproxy::sql::{ClientCharset, Dialect};
use rwproxy::wire::codec::Malformed;
use rwproxy::wire::scanner::{Expect, Scanner, Significant};
use rwproxy::wire::{Capabilities, Flavour};

/// Every shape of reply.
pub const SHAPES: [Expect; 7] = [
    Expect::One,
    Expect::Results,
    Expect::Prepare,
    Expect::Fields,
    Expect::Rows,
    Expect::Text,
    Expect::Stream,
];

pub fn deprecate_eof(on: bool) -> Capabilities {
    if on { Capabilities::DEPRECATE_EOF } else { Capabilities::empty() }
}

/// A head of an input: one byte, how many steps follow, and the steps; then the rest. In this form
/// a seed is a recorded stream with a few bytes before it.
pub fn head_and_stream(data: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[head, steps], rest) = data.split_first_chunk::<2>()?;
    let (steps, stream) = rest.split_at_checked(usize::from(steps))?;
    Some((head, steps, stream))
}

/// The ends of the pieces in which `length` bytes arrive, piece after piece as long as a step says.
pub fn arrivals(steps: &[u8], length: usize) -> impl Iterator<Item = usize> {
    let mut at = 0;
    let ends = steps.iter().map(move |step| {
        at = (at + usize::from(*step)).min(length);
        at
    });
    ends.chain([length])
}

/// What a scanner made of a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Scanned {
    pub found: Vec<Significant>,
    /// Bytes taken and whether the reply has ended there, or why it cannot be one.
    pub end: Result<(usize, bool), Malformed>,
}

/// Feeds a scanner as the relay does: each time with what has arrived and was not taken yet.
pub fn scan(mut scanner: Scanner, stream: &[u8], steps: &[u8]) -> Scanned {
    let mut found = Vec::new();
    let mut start = 0;
    for end in arrivals(steps, stream.len()) {
        while !scanner.is_done() {
            let scan = match scanner.scan(&stream[start..end]) {
                Ok(scan) => scan,
                Err(error) => return Scanned { found, end: Err(error) },
            };
            assert!(scan.forward <= end - start, "forwards more than there is");
            start += scan.forward;
            let Some((significant, length)) = scan.packet else { break };
            assert!(length <= end - start, "a packet that is not there in whole");
            found.push(significant);
            start += length;
        }
    }
    Scanned { found, end: Ok((start, scanner.is_done())) }
}

/// Splits off the byte that says how the rest is to be read.
pub fn split_head(data: &[u8]) -> Option<(u8, &[u8])> {
    let (&head, rest) = data.split_first()?;
    Some((head, rest))
}

/// One of the ways in which servers read SQL; 0 is MySQL's default.
pub fn dialect(head: u8) -> Dialect {
    let mariadb = head & 1 != 0;
    Dialect {
        flavour: if mariadb { Flavour::MariaDb } else { Flavour::MySql },
        version: match (head >> 1 & 1, mariadb) {
            (0, _) => 0,
            (_, false) => 90_704,
            (_, true) => 101_119,
        },
        no_backslash_escapes: head & 4 != 0,
        ansi_quotes: head & 8 != 0,
        charset: match head >> 4 & 3 {
            0 | 3 => ClientCharset::Utf8,
            1 => ClientCharset::SingleByte,
            _ => ClientCharset::Multibyte,
        },
    }
}
