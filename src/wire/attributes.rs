//! Values with types in front of them: query attributes, and the parameters of an execution, among
//! which the attributes stand.
//!
//! Source: MySQL source documentation, "COM_QUERY" and "COM_STMT_EXECUTE": a NULL bitmap, the flag
//! new-params-bound, the types with (under `CLIENT_QUERY_ATTRIBUTES`) the names, the values.

use super::codec::{Malformed, Reader};

/// `enum_field_types` of strings: VARCHAR, VAR_STRING, STRING.
const STRINGS: [u8; 3] = [0x0F, 0xFD, 0xFE];

/// Passes `count` values with their names, at least one. Gives the last that is a string and has the
/// `wanted` name, of any case, not counting the first `parameters`.
pub(super) fn pass<'a>(
    reader: &mut Reader<'a>,
    count: u64,
    parameters: usize,
    wanted: &[u8],
) -> Result<Option<&'a [u8]>, Malformed> {
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= reader.remaining())
        .ok_or(Malformed("an absurd number of query attributes"))?;
    let nulls = reader.bytes(count.div_ceil(8))?;
    if reader.u8()? != 1 {
        return Err(Malformed("query attributes without types"));
    }
    let mut types = Vec::with_capacity(count);
    for index in 0..count {
        let kind = reader.u16()? as u8;
        let has_name = reader.lenenc_bytes()?.eq_ignore_ascii_case(wanted);
        types.push((kind, has_name && index >= parameters));
    }
    let mut found = None;
    for (index, (kind, is_wanted)) in types.into_iter().enumerate() {
        if nulls[index / 8] & (1 << (index % 8)) != 0 {
            continue;
        }
        let value = value(reader, kind)?;
        if is_wanted && STRINGS.contains(&kind) {
            found = Some(value);
        }
    }
    Ok(found)
}

/// A value in the binary protocol (`enum_field_types`), without the length in front of it.
fn value<'a>(reader: &mut Reader<'a>, kind: u8) -> Result<&'a [u8], Malformed> {
    let length = match kind {
        // TINY, and BOOL of MySQL 8
        0x01 | 0xF4 => 1,
        // SHORT, YEAR
        0x02 | 0x0D => 2,
        // LONG, FLOAT, INT24
        0x03 | 0x04 | 0x09 => 4,
        // DOUBLE, LONGLONG
        0x05 | 0x08 => 8,
        // NULL
        0x06 => 0,
        // TIMESTAMP, DATE, TIME, DATETIME: a length byte
        0x07 | 0x0A | 0x0B | 0x0C => usize::from(reader.u8()?),
        _ => return reader.lenenc_bytes(),
    };
    reader.bytes(length)
}
