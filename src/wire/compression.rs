//! The compressed protocol: frames of bytes around the packets.
//!
//! A frame is a header of 7 bytes (length of its payload, 3; a sequence number of its own, 1;
//! length of the payload before compression, 3, or 0 for one that is not compressed) and the
//! payload: a piece of the stream of packets, cut anywhere. It begins behind the final OK of the
//! login. Sources: "Compressed Packet" of the MySQL source documentation, "Protocol differences:
//! compression" of the MariaDB knowledge base, and `net_serv.cc` of both servers.
//!
//! | part | what it holds |
//! |---|---|
//! | [`frames`] | a stream of packets to frames and back, with both kinds of sequence numbers |
//! | `inflate`, `deflate` | one payload |
//! | `events` | where numbers begin anew in a stream of the binary log |

mod deflate;
mod events;
pub mod frames;
mod inflate;
#[cfg(test)]
mod tests;

use super::Capabilities;
use super::codec::Writer;

pub use frames::{Frames, Peer};

/// Bytes of a frame's header.
pub const FRAME_HEADER: usize = 7;
/// The most bytes of a frame's payload, compressed or not: what three bytes can say.
pub const MOST_PAYLOAD: usize = 0xFF_FFFF;
/// Payloads below this many bytes are not compressed (`MIN_COMPRESS_LENGTH`).
const LEAST_COMPRESSED: usize = 50;

/// How payloads are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Zlib,
    Zstd { level: Level },
}

impl Algorithm {
    /// What a client gets that shares these capabilities with us. Both flags mean zlib, as
    /// with MySQL.
    pub fn agreed(capabilities: Capabilities, level: Option<u8>) -> Option<Self> {
        if capabilities.contains(Capabilities::COMPRESS) {
            Some(Algorithm::Zlib)
        } else if capabilities.contains(Capabilities::ZSTD_COMPRESSION) {
            Some(Algorithm::Zstd { level: Level::from_byte(level.unwrap_or_default()) })
        } else {
            None
        }
    }

    /// The flag that asks for it.
    pub fn capability(self) -> Capabilities {
        match self {
            Algorithm::Zlib => Capabilities::COMPRESS,
            Algorithm::Zstd { .. } => Capabilities::ZSTD_COMPRESSION,
        }
    }
}

/// How hard zstd tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(u8);

impl Level {
    /// A client may ask for 1 to 22. More than this keeps a thread for milliseconds that other
    /// sessions need, and gains next to nothing on payloads of our size; a client can read what was
    /// compressed at any level.
    const MOST: u8 = 9;

    /// The byte of a client's response; 0 and what no level is are the servers' default.
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            1..=22 => Level(byte.min(Self::MOST)),
            _ => Level::default(),
        }
    }

    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for Level {
    /// `DEFAULT_ZSTD_COMPRESSION_LEVEL`.
    fn default() -> Self {
        Level(3)
    }
}

/// Why frames cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("compressed packets out of order: expected sequence {expected}, got {got}")]
    OutOfOrder { expected: u8, got: u8 },
    /// It is not compressed in the way agreed on, or does not give as many bytes as it says.
    #[error("a compressed packet that cannot be uncompressed")]
    Uncompress,
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FrameHeader {
    /// Bytes that follow.
    length: usize,
    sequence: u8,
    /// What they become; 0: they are what they are.
    uncompressed: usize,
}

impl FrameHeader {
    fn peek(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, sequence, d, e, f] = bytes.first_chunk::<FRAME_HEADER>()?;
        let number = |bytes: [u8; 3]| {
            let [a, b, c] = bytes;
            u32::from_le_bytes([a, b, c, 0]) as usize
        };
        Some(FrameHeader { length: number([a, b, c]), sequence, uncompressed: number([d, e, f]) })
    }

    fn to_bytes(self) -> [u8; FRAME_HEADER] {
        let mut bytes = [0; FRAME_HEADER];
        let mut out = &mut bytes[..];
        out.put_u24_le(self.length as u32);
        bytes::BufMut::put_u8(&mut out, self.sequence);
        out.put_u24_le(self.uncompressed as u32);
        bytes
    }
}
