//! Reading and writing the protocol's basic types: little-endian integers, length-encoded
//! integers, and the three kinds of strings.

use bytes::BufMut;

/// A payload ended before the value did, or holds a byte that cannot stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed packet: {0}")]
pub struct Malformed(pub &'static str);

/// Reads basic types from the front of a payload.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(payload: &'a [u8]) -> Self {
        Reader { rest: payload }
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything not read yet (`string<EOF>`).
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) =
            self.rest.split_at_checked(count).ok_or(Malformed("fewer bytes than announced"))?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) =
            self.rest.split_first_chunk::<N>().ok_or(Malformed("fewer bytes than announced"))?;
        self.rest = tail;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u24(&mut self) -> Result<u32, Malformed> {
        self.array::<3>().map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// `int<lenenc>`. The first bytes 0xFB (NULL) and 0xFF (error) are malformed here.
    pub fn lenenc_int(&mut self) -> Result<u64, Malformed> {
        match self.u8()? {
            small @ 0..=0xFA => Ok(u64::from(small)),
            0xFC => self.u16().map(u64::from),
            0xFD => self.u24().map(u64::from),
            0xFE => self.u64(),
            _ => Err(Malformed("not a length-encoded integer")),
        }
    }

    /// `string<lenenc>`.
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.lenenc_int()?;
        let length = usize::try_from(length).map_err(|_| Malformed("absurd length"))?;
        self.bytes(length)
    }

    /// A value of a text result row: `string<lenenc>`, or `None` for NULL (0xFB).
    pub fn nullable_lenenc_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        if self.rest.first() == Some(&0xFB) {
            self.rest = &self.rest[1..];
            return Ok(None);
        }
        self.lenenc_bytes().map(Some)
    }

    /// `string<NUL>`, without its terminator.
    pub fn null_terminated(&mut self) -> Result<&'a [u8], Malformed> {
        let end = memchr::memchr(0, self.rest).ok_or(Malformed("string without terminator"))?;
        let (head, tail) = self.rest.split_at(end);
        self.rest = &tail[1..];
        Ok(head)
    }
}

/// Writes basic types to the end of a payload. Fixed integers are `BufMut`'s `put_*_le`.
pub trait Writer: BufMut {
    fn put_u24_le(&mut self, value: u32) {
        self.put_slice(&value.to_le_bytes()[..3]);
    }

    fn put_lenenc_int(&mut self, value: u64) {
        match value {
            0..=0xFA => self.put_u8(value as u8),
            0xFB..=0xFFFF => {
                self.put_u8(0xFC);
                self.put_u16_le(value as u16);
            }
            0x1_0000..=0xFF_FFFF => {
                self.put_u8(0xFD);
                self.put_u24_le(value as u32);
            }
            _ => {
                self.put_u8(0xFE);
                self.put_u64_le(value);
            }
        }
    }

    fn put_lenenc_bytes(&mut self, bytes: &[u8]) {
        self.put_lenenc_int(bytes.len() as u64);
        self.put_slice(bytes);
    }

    fn put_null_terminated(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
        self.put_u8(0);
    }
}

impl<B: BufMut + ?Sized> Writer for B {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lenenc_int_boundaries() {
        let table: [(u64, &[u8]); 7] = [
            (0, &[0]),
            (250, &[250]),
            (251, &[0xFC, 251, 0]),
            (0xFFFF, &[0xFC, 0xFF, 0xFF]),
            (0x1_0000, &[0xFD, 0, 0, 1]),
            (0xFF_FFFF, &[0xFD, 0xFF, 0xFF, 0xFF]),
            (0x100_0000, &[0xFE, 0, 0, 0, 1, 0, 0, 0, 0]),
        ];
        for (value, bytes) in table {
            let mut out = Vec::new();
            out.put_lenenc_int(value);
            assert_eq!(out, bytes);
            assert_eq!(Reader::new(bytes).lenenc_int(), Ok(value));
        }
    }

    #[test]
    fn truncated_values_are_errors() {
        assert!(Reader::new(&[0xFC, 1]).lenenc_int().is_err());
        assert!(Reader::new(&[0xFB]).lenenc_int().is_err());
        assert!(Reader::new(&[5, b'a']).lenenc_bytes().is_err());
        assert!(Reader::new(b"abc").null_terminated().is_err());
        assert!(
            Reader::new(&[0xFE, 255, 255, 255, 255, 255, 255, 255, 255]).lenenc_bytes().is_err()
        );
    }

    proptest! {
        #[test]
        fn lenenc_round_trip(value: u64, text: Vec<u8>) {
            let mut out = Vec::new();
            out.put_lenenc_int(value);
            out.put_lenenc_bytes(&text);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.lenenc_int(), Ok(value));
            prop_assert_eq!(reader.lenenc_bytes(), Ok(&text[..]));
            prop_assert!(reader.is_empty());
        }
    }
}
