//! COM_QUERY: the statement's text, behind the query attributes where these were agreed on.
//!
//! Source: MySQL source documentation, "COM_QUERY". With `CLIENT_QUERY_ATTRIBUTES` the text is
//! preceded by the number of parameters, the number of parameter sets (always 1) and, if there are
//! parameters, by a NULL bitmap, the flag new-params-bound, types with names, and values.

use super::codec::{Malformed, Reader};
use super::{Capabilities, attributes};

/// What stands in front of a statement that has no attributes.
pub const NO_ATTRIBUTES: [u8; 2] = [0, 1];

/// The statement's text in the arguments of a COM_QUERY.
pub fn text(arguments: &[u8], capabilities: Capabilities) -> Result<&[u8], Malformed> {
    text_and_attribute(arguments, capabilities, b"").map(|(text, _)| text)
}

/// The statement's text, and the string that the attribute of this name has, if there is one.
pub fn text_and_attribute<'a>(
    arguments: &'a [u8],
    capabilities: Capabilities,
    name: &[u8],
) -> Result<(&'a [u8], Option<&'a [u8]>), Malformed> {
    if !capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
        return Ok((arguments, None));
    }
    let mut reader = Reader::new(arguments);
    let count = reader.lenenc_int()?;
    if reader.lenenc_int()? != 1 {
        return Err(Malformed("several sets of query attributes"));
    }
    let found = match count {
        0 => None,
        _ => attributes::pass(&mut reader, count, 0, name)?,
    };
    Ok((reader.rest(), found))
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
        let found = |name| text_and_attribute(bytes, WITH, name).unwrap().1;
        assert_eq!((found(b"B"), found(b"a"), found(b"c")), (Some(&b"xyz"[..]), None, None));
        // An integer and a date.
        let bytes = b"\x02\x01\0\x01\x08\0\x01a\x0a\0\x01b12345678\x04\xe8\x07\x01\x02SELECT 2";
        assert_eq!(text(bytes, WITH), Ok(&b"SELECT 2"[..]));
        // Neither is a string.
        assert_eq!(text_and_attribute(bytes, WITH, b"a").unwrap().1, None);
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
