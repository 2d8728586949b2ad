//! COM_QUERY: the statement's text, behind the query attributes where these were agreed on.
//!
//! Source: MySQL source documentation, "COM_QUERY". With `CLIENT_QUERY_ATTRIBUTES` the text is
//! preceded by the number of parameters, the number of parameter sets (always 1) and, if there are
//! parameters, by a NULL bitmap, the flag new-params-bound, types with names, and values.

use super::Capabilities;
use super::codec::{Malformed, Reader};

/// What stands in front of a statement that has no attributes.
pub const NO_ATTRIBUTES: [u8; 2] = [0, 1];

/// The statement's text in the arguments of a COM_QUERY.
pub fn text(arguments: &[u8], capabilities: Capabilities) -> Result<&[u8], Malformed> {
    if !capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
        return Ok(arguments);
    }
    let mut reader = Reader::new(arguments);
    let count = reader.lenenc_int()?;
    if reader.lenenc_int()? != 1 {
        return Err(Malformed("several sets of query attributes"));
    }
    if count > 0 {
        skip_attributes(&mut reader, count)?;
    }
    Ok(reader.rest())
}

fn skip_attributes(reader: &mut Reader<'_>, count: u64) -> Result<(), Malformed> {
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= reader.remaining())
        .ok_or(Malformed("an absurd number of query attributes"))?;
    let nulls = reader.bytes(count.div_ceil(8))?;
    if reader.u8()? != 1 {
        return Err(Malformed("query attributes without types"));
    }
    let mut types = Vec::with_capacity(count);
    for _ in 0..count {
        types.push(reader.u16()?);
        reader.lenenc_bytes()?;
    }
    for (index, kind) in types.iter().enumerate() {
        if nulls[index / 8] & (1 << (index % 8)) == 0 {
            skip_value(reader, *kind as u8)?;
        }
    }
    Ok(())
}

/// Skips a value in the binary protocol (`enum_field_types`).
fn skip_value(reader: &mut Reader<'_>, kind: u8) -> Result<(), Malformed> {
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
        _ => {
            reader.lenenc_bytes()?;
            return Ok(());
        }
    };
    reader.bytes(length).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WITH: Capabilities = Capabilities::QUERY_ATTRIBUTES;

    #[test]
    fn attributes_stand_before_the_text() {
        assert_eq!(text(b"SELECT 1", Capabilities::empty()), Ok(&b"SELECT 1"[..]));
        assert_eq!(text(b"\0\x01SELECT 1", WITH), Ok(&b"SELECT 1"[..]));
        // Two attributes: a NULL and a string.
        let bytes = b"\x02\x01\x01\x01\x06\0\x01a\xfe\0\x01b\x03xyzSELECT 1";
        assert_eq!(text(bytes, WITH), Ok(&b"SELECT 1"[..]));
        // An integer and a date.
        let bytes = b"\x02\x01\0\x01\x08\0\x01a\x0a\0\x01b12345678\x04\xe8\x07\x01\x02SELECT 2";
        assert_eq!(text(bytes, WITH), Ok(&b"SELECT 2"[..]));
        for bad in [&b""[..], b"\x01", b"\x01\x02", b"\x05\x01\0", b"\xff\x01x", b"\x01\x01\0\x00"]
        {
            assert!(text(bad, WITH).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = text(&bytes, WITH);
        }
    }
}
