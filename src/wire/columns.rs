//! The packet that begins a result set: how many columns it has, and whether their definitions
//! follow.
//!
//! Under `CLIENT_OPTIONAL_RESULTSET_METADATA` a byte says the latter, and in the answer to
//! COM_STMT_PREPARE another. The MySQL source documentation ("Text Resultset") puts it in front of
//! the number; servers and clients have it behind (seen on MySQL 9.7.4, `resultset_metadata=NONE`:
//! `02 00`). Without DEPRECATE_EOF the EOF behind the definitions is there in any case.

use super::capabilities::Capabilities;
use super::codec::{Malformed, Reader};

/// The most columns that a result set has.
const MOST: u64 = 0xFFFF;

/// What the first packet of a result set tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    pub count: u64,
    /// How many definitions follow: one for each column, or none.
    pub definitions: u64,
}

impl Columns {
    pub fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let count = reader.lenenc_int()?;
        if count == 0 || count > MOST {
            return Err(Malformed("an absurd number of columns"));
        }
        let definitions = if metadata_follows(&mut reader, capabilities)? { count } else { 0 };
        Ok(Columns { count, definitions })
    }
}

/// Reads `metadata_follows`, where the capabilities have it.
pub fn metadata_follows(
    reader: &mut Reader<'_>,
    capabilities: Capabilities,
) -> Result<bool, Malformed> {
    if !capabilities.contains(Capabilities::OPTIONAL_RESULTSET_METADATA) {
        return Ok(true);
    }
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed("neither all metadata nor none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_follow_or_not() {
        let optional = Capabilities::OPTIONAL_RESULTSET_METADATA;
        let none = Capabilities::empty();
        let columns = |count, definitions| Ok(Columns { count, definitions });
        let absurd = Err(Malformed("an absurd number of columns"));
        let table: [(&[u8], Capabilities, Result<Columns, Malformed>); 9] = [
            (b"\x02", none, columns(2, 2)),
            (b"\x02\x01", optional, columns(2, 2)),
            (b"\x02\x00", optional, columns(2, 0)),
            (b"\xfc\x2c\x01\x00", optional, columns(300, 0)),
            (b"\x02", optional, Err(Malformed("fewer bytes than announced"))),
            (b"\x02\x07", optional, Err(Malformed("neither all metadata nor none"))),
            (b"\x00", none, absurd),
            (b"\xfd\x00\x00\x01", none, absurd),
            (b"", none, Err(Malformed("fewer bytes than announced"))),
        ];
        for (payload, capabilities, expected) in table {
            assert_eq!(Columns::parse(payload, capabilities), expected, "{payload:?}");
        }
    }
}
