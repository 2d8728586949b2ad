//! COM_STMT_EXECUTE and MariaDB's COM_STMT_BULK_EXECUTE: where a statement's number and its
//! parameters' types stand.
//!
//! A client sends the types with the first execution and may leave them out afterwards: the server
//! remembers them with the statement. Another server, or another connection, does not, so they
//! must be put in again.
//!
//! Sources: MySQL source documentation, "COM_STMT_EXECUTE"; MariaDB's protocol documentation,
//! "COM_STMT_BULK_EXECUTE".

use super::codec::{Malformed, Reader};
use super::command::Command;
use super::packet::HEADER;
use super::splice::Splice;
use super::{Capabilities, attributes};

/// COM_STMT_EXECUTE's flag that asks for a cursor of any kind.
const CURSOR: u8 = 0x07;
/// COM_STMT_EXECUTE's flag: the number of parameters is told, query attributes are among them.
const PARAMETER_COUNT_AVAILABLE: u8 = 0x08;
/// COM_STMT_BULK_EXECUTE's flag: the types are sent.
const SEND_TYPES: u16 = 128;
/// COM_STMT_BULK_EXECUTE's flag: each unit's result is wanted.
const SEND_UNIT_RESULTS: u16 = 64;

/// The statement number in the arguments of a command of the COM_STMT family.
pub fn statement_id(arguments: &[u8]) -> Option<u32> {
    arguments.first_chunk().map(|id| u32::from_le_bytes(*id))
}

/// Writes another statement number into a whole packet, or the first part of one.
pub fn put_statement_id(packet: &mut [u8], id: u32) {
    if let Some(place) = packet.get_mut(HEADER + 1..HEADER + 5) {
        place.copy_from_slice(&id.to_le_bytes());
    }
}

/// True when an execution asks for a cursor.
pub fn asks_for_cursor(command: Command, arguments: &[u8]) -> bool {
    command == Command::StmtExecute && arguments.get(4).is_some_and(|flags| flags & CURSOR != 0)
}

/// True when a bulk execution asks for a result set with the insert id and the count of each of its
/// units, in the place of an OK. (MariaDB 11.8 gives it to clients without the capability, too.)
pub fn asks_for_unit_results(command: Command, arguments: &[u8]) -> bool {
    let flags = arguments.get(4..).and_then(|rest| rest.first_chunk());
    command == Command::StmtBulkExecute
        && flags.is_some_and(|flags| u16::from_le_bytes(*flags) & SEND_UNIT_RESULTS != 0)
}

/// The string that a query attribute of this name has in the arguments of a whole execution. The
/// attributes stand behind the statement's `parameters`; long data must not have been sent for any
/// of these, for then its value is not there.
pub fn attribute<'a>(
    command: Command,
    arguments: &'a [u8],
    parameters: u16,
    capabilities: Capabilities,
    name: &[u8],
) -> Option<&'a [u8]> {
    let mut reader = Reader::new(arguments.get(4..)?);
    let flags = reader.u8().ok()?;
    if command != Command::StmtExecute || !tells_count(flags, parameters, capabilities) {
        return None;
    }
    reader.u32().ok()?;
    let count = reader.lenenc_int().ok()?;
    if count <= parameters.into() {
        return None;
    }
    attributes::pass(&mut reader, count, parameters.into(), name).ok()?
}

/// True when an execution tells how many parameters and attributes follow: that of a statement with
/// parameters does so whatever its flag says, as tried with MySQL 9.7.
fn tells_count(flags: u8, parameters: u16, capabilities: Capabilities) -> bool {
    capabilities.contains(Capabilities::QUERY_ATTRIBUTES)
        && (parameters > 0 || flags & PARAMETER_COUNT_AVAILABLE != 0)
}

/// Where the types of an execution's parameters are, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Types<'a> {
    /// The execution has no parameters.
    None,
    /// They are sent.
    Sent(&'a [u8]),
    /// They are left out. The payload, command byte included, tells so at this place.
    LeftOut { at: usize },
}

/// Finds the types in an execution's payload (command byte included), of which the beginning may
/// suffice. `parameters` is their number as the server told it.
pub fn types(
    command: Command,
    payload: &[u8],
    parameters: u16,
    capabilities: Capabilities,
) -> Result<Types<'_>, Malformed> {
    find_types(command, payload, 5, parameters, capabilities)
}

/// True when an execution does not say of what types its parameters are. `arguments` is what stands
/// behind its first byte, possibly only the beginning of it.
pub fn leaves_types_out(
    command: Command,
    arguments: &[u8],
    parameters: u16,
    capabilities: Capabilities,
) -> bool {
    let executes = matches!(command, Command::StmtExecute | Command::StmtBulkExecute);
    let found = || find_types(command, arguments, 4, parameters, capabilities);
    executes && !matches!(found(), Ok(Types::Sent(_) | Types::None))
}

/// `ahead` bytes stand before the execution's flags.
fn find_types(
    command: Command,
    bytes: &[u8],
    ahead: usize,
    parameters: u16,
    capabilities: Capabilities,
) -> Result<Types<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    let at = |reader: &Reader<'_>| bytes.len() - reader.remaining();
    reader.bytes(ahead)?;
    if command == Command::StmtBulkExecute {
        let place = at(&reader);
        if parameters == 0 {
            return Ok(Types::None);
        }
        if reader.u16()? & SEND_TYPES == 0 {
            return Ok(Types::LeftOut { at: place });
        }
        return Ok(Types::Sent(reader.bytes(2 * usize::from(parameters))?));
    }
    let flags = reader.u8()?;
    reader.u32()?;
    let attributes = tells_count(flags, parameters, capabilities);
    let count = match attributes {
        true => usize::try_from(reader.lenenc_int()?).map_err(|_| Malformed("absurd count"))?,
        false => usize::from(parameters),
    };
    if count == 0 {
        return Ok(Types::None);
    }
    reader.bytes(count.div_ceil(8))?;
    let place = at(&reader);
    if reader.u8()? == 0 {
        if count > usize::from(parameters) {
            return Err(Malformed("query attributes without types"));
        }
        return Ok(Types::LeftOut { at: place });
    }
    // Query attributes stand behind the parameters; they are this execution's alone.
    let begin = at(&reader);
    for _ in 0..count.min(parameters.into()) {
        reader.u16()?;
        if attributes {
            reader.lenenc_bytes()?;
        }
    }
    Ok(Types::Sent(&bytes[begin..at(&reader)]))
}

/// What puts types into an execution that has left them out `at` this place of its payload; `None`
/// when that is cut off.
pub fn put_in(command: Command, payload: &[u8], at: usize, types: &[u8]) -> Option<Splice> {
    let flag = payload.get(at..)?;
    let sent = match command {
        Command::StmtBulkExecute => {
            let flags = flag.first_chunk().map(|flags| u16::from_le_bytes(*flags))?;
            (flags | SEND_TYPES).to_le_bytes().to_vec()
        }
        _ => vec![1],
    };
    Some(Splice { at, replaced: sent.len(), bytes: [&sent, types].concat() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::put_packet;
    use bytes::BytesMut;
    use proptest::prelude::*;

    const EXECUTE: Command = Command::StmtExecute;
    const PLAIN: Capabilities = Capabilities::empty();
    const ATTRIBUTES: Capabilities = Capabilities::QUERY_ATTRIBUTES;

    fn packet(payload: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        put_packet(&mut out, 0, payload);
        out
    }

    fn with_types(command: Command, payload: &[u8], at: usize, types: &[u8]) -> BytesMut {
        put_in(command, payload, at, types).expect("a flag").applied(&packet(payload))
    }

    /// COM_STMT_EXECUTE of statement 7 with a LONG (3) of 42 and a NULL string.
    const SENT: &[u8] = b"\x17\x07\0\0\0\0\x01\0\0\0\x02\x01\x03\0\xfe\0\x2a\0\0\0";
    const LEFT_OUT: &[u8] = b"\x17\x07\0\0\0\0\x01\0\0\0\x02\0\x2a\0\0\0";

    #[test]
    fn types_are_found_and_put_in_again() {
        assert_eq!(types(EXECUTE, SENT, 2, PLAIN), Ok(Types::Sent(b"\x03\0\xfe\0")));
        assert_eq!(types(EXECUTE, LEFT_OUT, 2, PLAIN), Ok(Types::LeftOut { at: 11 }));
        assert_eq!(with_types(EXECUTE, LEFT_OUT, 11, b"\x03\0\xfe\0"), packet(SENT));
        assert_eq!(types(EXECUTE, b"\x17\x07\0\0\0\0\x01\0\0\0", 0, PLAIN), Ok(Types::None));
        assert_eq!(types(EXECUTE, b"\x17\x07\0\0\0\0\x01\0\0\0", 0, ATTRIBUTES), Ok(Types::None));
        assert!(types(EXECUTE, b"\x17\x07\0\0\0\0\x01\0", 1, PLAIN).is_err());
        let left_out = |sent: &[u8]| leaves_types_out(EXECUTE, &sent[1..], 2, PLAIN);
        assert_eq!([SENT, LEFT_OUT, &SENT[..9]].map(left_out), [false, true, true]);
        assert!(!leaves_types_out(EXECUTE, b"\x07\0\0\0\0\x01\0\0\0", 0, PLAIN));
        assert!(!leaves_types_out(Command::StmtFetch, &LEFT_OUT[1..], 2, PLAIN));
        assert_eq!(statement_id(&SENT[1..]), Some(7));
        let mut patched = packet(SENT);
        put_statement_id(&mut patched, 0x0102_0304);
        assert_eq!(patched[5..9], [4, 3, 2, 1]);
    }

    #[test]
    fn query_attributes_have_names_and_are_counted() {
        // One parameter, and the attribute `a`.
        let payload = b"\x17\x07\0\0\0\x08\x01\0\0\0\x02\0\x01\x03\0\0\xfe\0\x01a\x2a\0\0\0\x01x";
        let found = types(EXECUTE, payload, 1, ATTRIBUTES);
        assert_eq!(found, Ok(Types::Sent(b"\x03\0\0")));
        let find =
            |parameters, name| attribute(EXECUTE, &payload[1..], parameters, ATTRIBUTES, name);
        assert_eq!(find(1, b"A"), Some(&b"x"[..]));
        assert_eq!((find(1, b"b"), find(2, b"a")), (None, None));
        assert_eq!(attribute(EXECUTE, &payload[1..], 1, PLAIN, b"a"), None);
        // Without the flag the count is there, too.
        let payload = b"\x17\x07\0\0\0\0\x01\0\0\0\x01\0\x01\x03\0\0\x2a\0\0\0";
        assert_eq!(types(EXECUTE, payload, 1, ATTRIBUTES), Ok(Types::Sent(b"\x03\0\0")));
        let payload = b"\x17\x07\0\0\0\0\x01\0\0\0\x01\0\0\x2a\0\0\0";
        assert_eq!(types(EXECUTE, payload, 1, ATTRIBUTES), Ok(Types::LeftOut { at: 12 }));
        // The server remembers no types of attributes.
        let payload = b"\x17\x07\0\0\0\x08\x01\0\0\0\x02\0\0\x2a\0\0\0\x01x";
        assert!(types(EXECUTE, payload, 1, ATTRIBUTES).is_err());
    }

    #[test]
    fn bulk_executions() {
        let bulk = Command::StmtBulkExecute;
        let sent = b"\xfa\x07\0\0\0\x80\0\x03\0\0\x2a\0\0\0";
        assert_eq!(types(bulk, sent, 1, PLAIN), Ok(Types::Sent(b"\x03\0")));
        let left_out = b"\xfa\x07\0\0\0\0\0\0\x2a\0\0\0";
        assert_eq!(types(bulk, left_out, 1, PLAIN), Ok(Types::LeftOut { at: 5 }));
        assert_eq!(with_types(bulk, left_out, 5, b"\x03\0"), packet(sent));
        let asked = b"\x07\0\0\0\xc0\0\x03\0\0\x2a\0\0\0";
        assert!(asks_for_unit_results(bulk, asked));
        assert!(!asks_for_unit_results(bulk, &sent[1..]));
        assert!(!asks_for_unit_results(bulk, &asked[..5]));
        assert!(!asks_for_unit_results(EXECUTE, asked));
    }

    #[test]
    fn cursors_are_asked_for_by_flags() {
        assert!(!asks_for_cursor(EXECUTE, &SENT[1..]));
        assert!(asks_for_cursor(EXECUTE, b"\x07\0\0\0\x01\x01\0\0\0"));
        assert!(!asks_for_cursor(EXECUTE, b"\x07\0\0\0\x08\x01\0\0\0"));
        assert!(!asks_for_cursor(Command::StmtBulkExecute, b"\x07\0\0\0\x01"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(payload: Vec<u8>, parameters: u16, bulk: bool, attributes: bool) {
            let command = if bulk { Command::StmtBulkExecute } else { EXECUTE };
            let capabilities = if attributes { ATTRIBUTES } else { PLAIN };
            let _ = attribute(command, &payload, parameters, capabilities, b"a");
            if let Ok(Types::LeftOut { at }) = types(command, &payload, parameters, capabilities) {
                let _ = put_in(command, &payload, at, b"\x03\0");
            }
        }
    }
}
