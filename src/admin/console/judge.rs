//! Whether a client's command may reach the library.

use bytes::{Bytes, BytesMut};

use crate::wire::command::Command;
use crate::wire::packet::{HEADER, Header, put_packet};
use crate::wire::reply::ServerError;

/// The longest packet: statements for the console are short.
pub const LONGEST: usize = 64 * 1024;

/// What becomes of the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// More bytes are needed.
    Incomplete,
    /// The library gets these bytes, one whole packet, instead of the first `length` ones.
    Pass { length: usize, packet: Bytes },
    /// The first `length` bytes are a command without reply that the console has no use for.
    Skip { length: usize },
    /// The client gets this error and is disconnected.
    Refuse(ServerError),
}

/// Judges the packet at the front of `bytes`.
pub fn judge(bytes: &[u8]) -> Verdict {
    let Some(header) = Header::peek(bytes) else {
        return Verdict::Incomplete;
    };
    if header.sequence != 0 {
        return Verdict::Refuse(ServerError::new(1156, b"08S01", "Got packets out of order"));
    }
    if header.length > LONGEST {
        let message = "Got a packet bigger than the 65536 bytes that the console takes";
        return Verdict::Refuse(ServerError::new(1153, b"08S01", message));
    }
    let length = HEADER + header.length;
    match bytes.get(HEADER..length) {
        Some(payload) => command(payload, length),
        None => Verdict::Incomplete,
    }
}

fn command(payload: &[u8], length: usize) -> Verdict {
    let Some((&byte, argument)) = payload.split_first() else {
        return Verdict::Refuse(ServerError::new(1835, b"HY000", "Malformed communication packet"));
    };
    match Command::from_byte(byte) {
        Command::Query | Command::InitDb if str::from_utf8(argument).is_err() => {
            pass_refusal(length, Refusal::NotUtf8)
        }
        Command::Query | Command::InitDb | Command::FieldList => pass(length, payload),
        // Without what may stand behind the command byte.
        Command::Ping | Command::Quit => pass(length, &payload[..1]),
        // An answer to one of these would be taken for that to the next command.
        Command::StmtClose | Command::StmtSendLongData => Verdict::Skip { length },
        _ => pass_refusal(length, Refusal::UnknownCommand),
    }
}

fn pass(length: usize, payload: &[u8]) -> Verdict {
    let mut packet = BytesMut::with_capacity(HEADER + payload.len());
    put_packet(&mut packet, 0, payload);
    Verdict::Pass { length, packet: packet.freeze() }
}

/// A command that gets an error from us, in its turn, and the client goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    UnknownCommand,
    NotUtf8,
}

/// Statements with this first character stand for commands that may not pass. A client that sends
/// such a statement itself gets an error, which it would anyway.
const MARK: char = '\0';

/// The library gets a statement instead of the command, so that the answer comes in its turn and
/// with the right sequence number.
fn pass_refusal(length: usize, refusal: Refusal) -> Verdict {
    let statement = match refusal {
        Refusal::UnknownCommand => b"\x03\0c",
        Refusal::NotUtf8 => b"\x03\0u",
    };
    pass(length, statement)
}

/// The refusal that a statement stands for.
pub fn refused(statement: &str) -> Option<Refusal> {
    match statement.strip_prefix(MARK)? {
        "u" => Some(Refusal::NotUtf8),
        _ => Some(Refusal::UnknownCommand),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        put_packet(&mut out, sequence, payload);
        out.to_vec()
    }

    fn code(verdict: Verdict) -> u16 {
        match verdict {
            Verdict::Refuse(error) => error.code,
            other => panic!("{other:?}"),
        }
    }

    fn passed(verdict: Verdict) -> (usize, Vec<u8>) {
        match verdict {
            Verdict::Pass { length, packet } => (length, packet[HEADER..].to_vec()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands() {
        let query = packet(0, b"\x03SHOW POOLS");
        assert_eq!(judge(&query[..3]), Verdict::Incomplete);
        assert_eq!(judge(&query[..query.len() - 1]), Verdict::Incomplete);
        assert_eq!(passed(judge(&query)), (15, b"\x03SHOW POOLS".to_vec()));
        // A packet behind it stays where it is.
        let two = [query.clone(), query].concat();
        assert_eq!(passed(judge(&two)).0, 15);
        assert_eq!(passed(judge(&packet(0, b"\x0Ejunk"))), (9, vec![0x0E]));
        let skipped = judge(&packet(0, b"\x19\x01\0\0\0"));
        assert_eq!(skipped, Verdict::Skip { length: 9 });
        // Every other command, known or not, becomes a refusal.
        for byte in 0..=u8::MAX {
            if !matches!(byte, 0x01..=0x04 | 0x0E | 0x18 | 0x19) {
                let (_, payload) = passed(judge(&packet(0, &[byte, 1, 2])));
                assert_eq!(payload, b"\x03\0c");
            }
        }
        let (_, payload) = passed(judge(&packet(0, b"\x03\xFF")));
        assert_eq!(payload, b"\x03\0u");
    }

    #[test]
    fn what_ends_the_connection() {
        assert_eq!(code(judge(&packet(1, b"\x0E"))), 1156);
        assert_eq!(code(judge(&packet(0, b""))), 1835);
        assert_eq!(code(judge(&[0xFF, 0xFF, 0xFF, 0])), 1153);
        assert_eq!(code(judge(&[1, 0, 1, 0])), 1153);
    }

    proptest! {
        /// Whatever comes, what passes is one whole packet that the library can read.
        #[test]
        fn only_whole_packets_pass(bytes: Vec<u8>) {
            for bytes in [packet(0, &bytes), bytes] {
                if let Verdict::Pass { length, packet } = judge(&bytes) {
                    prop_assert!(length <= bytes.len());
                    let header = Header::peek(&packet).unwrap();
                    prop_assert_eq!(header.length + HEADER, packet.len());
                    prop_assert_eq!(header.sequence, 0);
                }
            }
        }
    }
}
