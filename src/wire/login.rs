//! Who proves what to whom while a connection is made: two state machines over payloads, one for
//! each side. They know no sockets and no randomness; who drives them frames, sends, and does the
//! RSA arithmetic.

pub mod from_client;
pub mod to_server;

use bytes::BufMut;

use super::auth::Nonce;
use super::auth::signature::CHALLENGE;
use super::codec::{Malformed, Reader, Writer};

/// First byte of AuthMoreData.
const MORE_DATA: u8 = 0x01;
/// First byte of AuthNextFactor (multi-factor authentication).
const NEXT_FACTOR: u8 = 0x02;
/// First byte of AuthSwitchRequest.
const AUTH_SWITCH: u8 = 0xFE;

/// caching_sha2_password: the scramble was right.
const FAST_OK: u8 = 0x03;
/// caching_sha2_password: the server wants the password itself.
const FULL: u8 = 0x04;
/// caching_sha2_password: the client asks for the RSA key.
const KEY_REQUEST: u8 = 0x02;
/// sha256_password: the same.
const KEY_REQUEST_SHA256: u8 = 0x01;

/// "Protocol::AuthSwitchRequest".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthSwitch<'a> {
    pub plugin: &'a [u8],
    /// Usually a nonce and a NUL.
    pub data: &'a [u8],
}

impl<'a> AuthSwitch<'a> {
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.u8()? != AUTH_SWITCH {
            return Err(Malformed("not an AuthSwitchRequest"));
        }
        if reader.is_empty() {
            // "Protocol::OldAuthSwitchRequest".
            return Ok(AuthSwitch { plugin: b"mysql_old_password", data: b"" });
        }
        Ok(AuthSwitch { plugin: reader.null_terminated()?, data: reader.rest() })
    }

    pub fn put(&self, out: &mut impl BufMut) {
        out.put_u8(AUTH_SWITCH);
        out.put_null_terminated(self.plugin);
        out.put_slice(self.data);
    }

    /// The nonce of the plugins that sign.
    fn challenge(&self) -> Result<[u8; CHALLENGE], Malformed> {
        self.data.first_chunk().copied().ok_or(Malformed("a nonce of fewer than 32 bytes"))
    }

    fn nonce(&self) -> Result<Nonce, Malformed> {
        let bytes = self.data.first_chunk::<{ Nonce::LENGTH }>();
        bytes.map(|bytes| Nonce::from(*bytes)).ok_or(Malformed("a nonce of fewer than 20 bytes"))
    }
}

/// The value of a connection attribute by its name, from the encoded list of a login: names and
/// values in turn, each `string<lenenc>`. What follows a malformed entry is not found.
pub fn attribute<'a>(attributes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut reader = Reader::new(attributes);
    loop {
        let key = reader.lenenc_bytes().ok()?;
        let value = reader.lenenc_bytes().ok()?;
        if key == name {
            return Some(value);
        }
    }
}
