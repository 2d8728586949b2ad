//! The packets of the connection phase that carry facts and no secrets' logic: greeting, TLS
//! request, the client's response, and COM_CHANGE_USER.
//!
//! Sources: "Protocol::HandshakeV10", "Protocol::SSLRequest", "Protocol::HandshakeResponse41" and
//! "COM_CHANGE_USER" of the MySQL source documentation, "Connection" of the MariaDB knowledge base
//! (extended capabilities).

use bytes::BufMut;

use super::auth::Nonce;
use super::capabilities::{Capabilities, Status};
use super::codec::{Malformed, Reader, Writer};
use super::version::{Flavour, ServerVersion};

/// The only protocol version since MySQL 3.21.
const PROTOCOL_VERSION: u8 = 10;
/// Bytes of the fixed part of a response, which is all of an SSLRequest.
pub const SSL_REQUEST: usize = 32;
/// Capabilities that the lower 32 bits of the fields carry.
const LOWER: u64 = 0xFFFF_FFFF;

/// The server's first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    pub version: ServerVersion,
    pub connection_id: u32,
    pub nonce: Nonce,
    /// With MariaDB's extended ones when it sends them.
    pub capabilities: Capabilities,
    /// The low byte of the server's default collation.
    pub collation: u8,
    pub status: Status,
    /// Empty when the server knows no plugins (before 5.5.7).
    pub plugin: Vec<u8>,
}

impl Greeting {
    /// Reads a greeting. An ERR packet may come in its place (1040, 1129): look at the first byte
    /// before.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.u8()? != PROTOCOL_VERSION {
            return Err(Malformed("a greeting of an unknown protocol version"));
        }
        let version = String::from_utf8_lossy(reader.null_terminated()?).into_owned();
        let version = ServerVersion::parse(&version);
        let connection_id = reader.u32()?;
        let mut nonce = [0; Nonce::LENGTH];
        nonce[..8].copy_from_slice(reader.bytes(8)?);
        reader.u8()?;
        let lower = reader.u16()?;
        let collation = reader.u8()?;
        let status = Status::from_bits_retain(reader.u16()?);
        let upper = reader.u16()?;
        let nonce_length = usize::from(reader.u8()?);
        reader.bytes(6)?;
        let extended = reader.u32()?;
        let mut bits = u64::from(lower) | u64::from(upper) << 16;
        if bits & Capabilities::MYSQL.bits() == 0 && version.flavour == Flavour::MariaDb {
            bits |= u64::from(extended) << 32;
        }
        let capabilities = Capabilities::from_bits_retain(bits);
        if !capabilities.contains(Capabilities::SECURE_CONNECTION) {
            return Err(Malformed("a server without secure authentication"));
        }
        let rest = reader.bytes(nonce_length.saturating_sub(8).max(13))?;
        nonce[8..].copy_from_slice(&rest[..12]);
        let plugin = if capabilities.contains(Capabilities::PLUGIN_AUTH) {
            // Early 5.5 servers left the terminator out.
            let name = reader.rest();
            name.split(|&byte| byte == 0).next().unwrap_or_default().to_vec()
        } else {
            Vec::new()
        };
        let nonce = Nonce::from(nonce);
        Ok(Greeting { version, connection_id, nonce, capabilities, collation, status, plugin })
    }

    pub fn put(&self, out: &mut impl BufMut) {
        let bits = self.capabilities.bits();
        let (first, second) = self.nonce.as_bytes().split_at(8);
        out.put_u8(PROTOCOL_VERSION);
        out.put_null_terminated(self.version.text.as_bytes());
        out.put_u32_le(self.connection_id);
        out.put_slice(first);
        out.put_u8(0);
        out.put_u16_le(bits as u16);
        out.put_u8(self.collation);
        out.put_u16_le(self.status.bits());
        out.put_u16_le((bits >> 16) as u16);
        out.put_u8(Nonce::LENGTH as u8 + 1);
        out.put_bytes(0, 6);
        out.put_u32_le(extended(self.capabilities));
        out.put_null_terminated(second);
        if self.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            out.put_null_terminated(&self.plugin);
        }
    }
}

/// The extended capabilities as they stand in the filler: zero beside `CLIENT_MYSQL`.
fn extended(capabilities: Capabilities) -> u32 {
    if capabilities.contains(Capabilities::MYSQL) { 0 } else { (capabilities.bits() >> 32) as u32 }
}

/// The fixed first [`SSL_REQUEST`] bytes of a response; alone they ask for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prelude {
    /// With MariaDB's extended ones when the client sends them.
    pub capabilities: Capabilities,
    /// The client's `max_allowed_packet`, bytes.
    pub max_packet: u32,
    /// The low byte of the collation that the client wants.
    pub collation: u8,
}

impl Prelude {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let lower = reader.u32()?;
        let max_packet = reader.u32()?;
        let collation = reader.u8()?;
        reader.bytes(19)?;
        let extended = reader.u32()?;
        let mut bits = u64::from(lower);
        if bits & Capabilities::MYSQL.bits() == 0 {
            bits |= u64::from(extended) << 32;
        }
        let capabilities = Capabilities::from_bits_retain(bits);
        Ok(Prelude { capabilities, max_packet, collation })
    }

    /// Appends the fixed part: an SSLRequest, or the beginning of a response.
    pub fn put(&self, out: &mut impl BufMut) {
        out.put_u32_le((self.capabilities.bits() & LOWER) as u32);
        out.put_u32_le(self.max_packet);
        out.put_u8(self.collation);
        out.put_bytes(0, 19);
        out.put_u32_le(extended(self.capabilities));
    }
}

/// What a client's packet after the greeting (or after the TLS handshake) is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientHello<'a> {
    /// The client begins TLS with its next byte.
    SslRequest(Prelude),
    Response(Response<'a>),
    /// A client from before 4.1, which nothing here can serve.
    BeforeProtocol41,
}

impl<'a> ClientHello<'a> {
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let flags = payload.first_chunk::<2>().ok_or(Malformed("a login packet of a byte"))?;
        let flags = u64::from(u16::from_le_bytes(*flags));
        if flags & Capabilities::PROTOCOL_41.bits() == 0 {
            return Ok(ClientHello::BeforeProtocol41);
        }
        let mut reader = Reader::new(payload);
        let prelude = Prelude::read(&mut reader)?;
        if payload.len() == SSL_REQUEST && prelude.capabilities.contains(Capabilities::SSL) {
            return Ok(ClientHello::SslRequest(prelude));
        }
        Response::read(prelude, reader).map(ClientHello::Response)
    }
}

/// `HandshakeResponse41`, borrowed from its payload.
#[derive(Clone, PartialEq, Eq)]
pub struct Response<'a> {
    pub prelude: Prelude,
    pub user: &'a [u8],
    pub auth_response: &'a [u8],
    /// `None` also for an empty name, which servers take for none.
    pub database: Option<&'a [u8]>,
    /// `None` when the client knows no plugins.
    pub plugin: Option<&'a [u8]>,
    /// The connection attributes, still encoded: pairs of `string<lenenc>`.
    pub attributes: &'a [u8],
    pub zstd_level: Option<u8>,
}

impl std::fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("prelude", &self.prelude)
            .field("user", &String::from_utf8_lossy(self.user))
            .field("database", &self.database.map(String::from_utf8_lossy))
            .field("plugin", &self.plugin.map(String::from_utf8_lossy))
            .finish_non_exhaustive()
    }
}

impl<'a> Response<'a> {
    fn read(prelude: Prelude, mut reader: Reader<'a>) -> Result<Self, Malformed> {
        let capabilities = prelude.capabilities;
        let user = reader.null_terminated()?;
        let auth_response = if capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC) {
            reader.lenenc_bytes()?
        } else if capabilities.contains(Capabilities::SECURE_CONNECTION) {
            let length = reader.u8()?;
            reader.bytes(usize::from(length))?
        } else {
            reader.null_terminated()?
        };
        // Servers take a packet that ends early for one without the remaining fields, and some
        // drivers count on it: they set CONNECT_WITH_DB and send no name.
        let database = if capabilities.contains(Capabilities::CONNECT_WITH_DB) {
            trailing_string(&mut reader)
        } else {
            None
        };
        let plugin = if capabilities.contains(Capabilities::PLUGIN_AUTH) {
            trailing_string(&mut reader)
        } else {
            None
        };
        let attributes = if capabilities.contains(Capabilities::CONNECT_ATTRS) && !reader.is_empty()
        {
            reader.lenenc_bytes()?
        } else {
            b""
        };
        let zstd_level = if capabilities.contains(Capabilities::ZSTD_COMPRESSION) {
            reader.u8().ok()
        } else {
            None
        };
        Ok(Response { prelude, user, auth_response, database, plugin, attributes, zstd_level })
    }

    /// Appends the payload. Which fields are written follows the prelude's capabilities.
    pub fn put(&self, out: &mut impl BufMut) {
        let capabilities = self.prelude.capabilities;
        self.prelude.put(out);
        out.put_null_terminated(self.user);
        if capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC) {
            out.put_lenenc_bytes(self.auth_response);
        } else {
            put_short_bytes(out, self.auth_response);
        }
        if capabilities.contains(Capabilities::CONNECT_WITH_DB) {
            out.put_null_terminated(self.database.unwrap_or_default());
        }
        if capabilities.contains(Capabilities::PLUGIN_AUTH) {
            out.put_null_terminated(self.plugin.unwrap_or_default());
        }
        if capabilities.contains(Capabilities::CONNECT_ATTRS) {
            out.put_lenenc_bytes(self.attributes);
        }
        if capabilities.contains(Capabilities::ZSTD_COMPRESSION) {
            out.put_u8(self.zstd_level.unwrap_or(3));
        }
    }
}

/// A string that may end with the packet instead of a NUL; `None` when it is empty.
fn trailing_string<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let text = match reader.null_terminated() {
        Ok(text) => text,
        Err(_) => {
            let rest = reader.rest();
            *reader = Reader::new(b"");
            rest
        }
    };
    (!text.is_empty()).then_some(text)
}

/// A byte of length and the bytes. What we send never exceeds 255 bytes (a scramble, or nothing).
fn put_short_bytes(out: &mut impl BufMut, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(255)];
    out.put_u8(bytes.len() as u8);
    out.put_slice(bytes);
}

/// COM_CHANGE_USER, borrowed from its payload.
#[derive(Clone, PartialEq, Eq)]
pub struct ChangeUser<'a> {
    pub user: &'a [u8],
    pub auth_response: &'a [u8],
    pub database: Option<&'a [u8]>,
    /// All 16 bits of the collation; `None` when the packet ends before it.
    pub collation: Option<u16>,
    pub plugin: Option<&'a [u8]>,
    /// The connection attributes, still encoded.
    pub attributes: &'a [u8],
}

impl std::fmt::Debug for ChangeUser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangeUser")
            .field("user", &String::from_utf8_lossy(self.user))
            .field("database", &self.database.map(String::from_utf8_lossy))
            .field("collation", &self.collation)
            .finish_non_exhaustive()
    }
}

/// First byte of the command.
const COM_CHANGE_USER: u8 = 0x11;

impl<'a> ChangeUser<'a> {
    /// Reads the whole command, its first byte included.
    pub fn parse(payload: &'a [u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.u8()? != COM_CHANGE_USER {
            return Err(Malformed("not COM_CHANGE_USER"));
        }
        let user = reader.null_terminated()?;
        let length = reader.u8()?;
        let auth_response = reader.bytes(usize::from(length))?;
        let database = trailing_string(&mut reader);
        let collation = reader.u16().ok();
        let plugin = if capabilities.contains(Capabilities::PLUGIN_AUTH) {
            trailing_string(&mut reader)
        } else {
            None
        };
        let attributes = if capabilities.contains(Capabilities::CONNECT_ATTRS) && !reader.is_empty()
        {
            reader.lenenc_bytes()?
        } else {
            b""
        };
        Ok(ChangeUser { user, auth_response, database, collation, plugin, attributes })
    }

    /// Appends the whole command for a connection with `capabilities`.
    pub fn put(&self, out: &mut impl BufMut, capabilities: Capabilities) {
        out.put_u8(COM_CHANGE_USER);
        out.put_null_terminated(self.user);
        put_short_bytes(out, self.auth_response);
        out.put_null_terminated(self.database.unwrap_or_default());
        let Some(collation) = self.collation else { return };
        out.put_u16_le(collation);
        if capabilities.contains(Capabilities::PLUGIN_AUTH) {
            out.put_null_terminated(self.plugin.unwrap_or_default());
        }
        if capabilities.contains(Capabilities::CONNECT_ATTRS) {
            out.put_lenenc_bytes(self.attributes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_common::constants::CapabilityFlags;
    use mysql_common::io::ParseBuf;
    use mysql_common::packets as theirs;
    use mysql_common::proto::{MyDeserialize, MySerialize};
    use proptest::prelude::*;

    /// "Protocol::HandshakeV10", the example of the MySQL internals manual (5.5.2).
    const OLD: &[u8] = b"\x0a5.5.2-m2\0\x0b\0\0\0\x64\x76\x48\x40\x49\x2d\x43\x4a\0\xff\xf7\x08\
        \x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x2a\x34\x64\x7c\x63\x5a\x77\x6b\x34\x5e\x5d\x3a\0";

    fn greeting() -> Greeting {
        Greeting {
            version: ServerVersion::parse("5.5.5-10.11.18-MariaDB-0+deb12u1"),
            connection_id: 0x8000_0001,
            nonce: Nonce::from(*b"0123456789abcdefghij"),
            capabilities: Capabilities::PROTOCOL_41
                | Capabilities::SECURE_CONNECTION
                | Capabilities::PLUGIN_AUTH
                | Capabilities::DEPRECATE_EOF
                | Capabilities::MARIADB_CACHE_METADATA,
            collation: 8,
            status: Status::AUTOCOMMIT,
            plugin: b"mysql_native_password".to_vec(),
        }
    }

    fn encode(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out);
        out
    }

    #[test]
    fn a_greeting_without_plugins() {
        let greeting = Greeting::parse(OLD).unwrap();
        assert_eq!(greeting.version.text, "5.5.2-m2");
        assert_eq!(greeting.connection_id, 11);
        assert_eq!(greeting.nonce.as_bytes(), b"dvH@I-CJ*4d|cZwk4^]:");
        assert!(greeting.plugin.is_empty());
    }

    #[test]
    fn a_greeting_survives_encoding() {
        let ours = greeting();
        let payload = encode(|out| ours.put(out));
        assert_eq!(Greeting::parse(&payload).unwrap(), ours);
        let read = theirs::HandshakePacket::deserialize((), &mut ParseBuf(&payload)).unwrap();
        assert_eq!(read.connection_id(), ours.connection_id);
        assert_eq!(read.nonce(), ours.nonce.as_bytes());
        assert_eq!(read.auth_plugin_name_ref(), Some(&ours.plugin[..]));
        assert_eq!(u64::from(read.capabilities().bits()), ours.capabilities.bits() & LOWER);
        assert_eq!(
            u64::from(read.mariadb_ext_capabilities().bits()) << 32,
            ours.capabilities.bits() & !LOWER
        );
    }

    #[test]
    fn mysql_sends_no_extended_capabilities() {
        let mut ours = greeting();
        ours.version = ServerVersion::parse("9.7.4");
        ours.capabilities.insert(Capabilities::MYSQL);
        let read = Greeting::parse(&encode(|out| ours.put(out))).unwrap();
        assert_eq!(read.capabilities.bits(), ours.capabilities.bits() & LOWER);
    }

    #[test]
    fn what_is_no_greeting() {
        let table: [&[u8]; 4] = [b"", b"\x09old", b"HTTP/1.1 400", &OLD[..OLD.len() - 1]];
        for payload in table {
            assert!(Greeting::parse(payload).is_err(), "{payload:?}");
        }
    }

    #[test]
    fn a_request_for_tls() {
        let prelude = Prelude {
            capabilities: Capabilities::PROTOCOL_41 | Capabilities::SSL | Capabilities::MYSQL,
            max_packet: 1 << 24,
            collation: 45,
        };
        let payload = encode(|out| prelude.put(out));
        assert_eq!(ClientHello::parse(&payload), Ok(ClientHello::SslRequest(prelude)));
        // Without the flag it is a response that ends before the user's name.
        let prelude = Prelude { capabilities: Capabilities::PROTOCOL_41, ..prelude };
        assert!(ClientHello::parse(&encode(|out| prelude.put(out))).is_err());
    }

    #[test]
    fn clients_from_before_protocol_41() {
        assert_eq!(ClientHello::parse(b"\x05\0\0\0\0me\0"), Ok(ClientHello::BeforeProtocol41));
    }

    fn parse_response(payload: &[u8]) -> Response<'_> {
        match ClientHello::parse(payload) {
            Ok(ClientHello::Response(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn responses_in_their_variants() {
        let base =
            Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION | Capabilities::MYSQL;
        let table = [
            base,
            base | Capabilities::PLUGIN_AUTH,
            base | Capabilities::PLUGIN_AUTH | Capabilities::PLUGIN_AUTH_LENENC,
            base | Capabilities::CONNECT_WITH_DB,
            base | Capabilities::CONNECT_WITH_DB
                | Capabilities::PLUGIN_AUTH
                | Capabilities::CONNECT_ATTRS,
            (base - Capabilities::MYSQL)
                | Capabilities::MARIADB_PROGRESS
                | Capabilities::CONNECT_WITH_DB
                | Capabilities::PLUGIN_AUTH
                | Capabilities::CONNECT_ATTRS
                | Capabilities::ZSTD_COMPRESSION,
        ];
        for capabilities in table {
            let text = |flag, text: &'static [u8]| capabilities.contains(flag).then_some(text);
            let response = Response {
                prelude: Prelude { capabilities, max_packet: 1 << 30, collation: 255 },
                user: b"app",
                auth_response: &[7; 20],
                database: text(Capabilities::CONNECT_WITH_DB, b"shop"),
                plugin: text(Capabilities::PLUGIN_AUTH, b"mysql_native_password"),
                attributes: text(Capabilities::CONNECT_ATTRS, b"\x04_pid\x011").unwrap_or_default(),
                zstd_level: text(Capabilities::ZSTD_COMPRESSION, b"").map(|_| 9),
            };
            let payload = encode(|out| response.put(out));
            assert_eq!(parse_response(&payload), response, "{capabilities:?}");
        }
    }

    #[test]
    fn another_implementation_writes_what_we_read() {
        let attributes = [("_client_name".to_owned(), "x".to_owned())].into_iter().collect();
        let written = theirs::HandshakeResponse::new(
            Some(&[9u8; 32][..]),
            (8, 0, 35),
            Some(&b"app"[..]),
            Some(&b"shop"[..]),
            Some(theirs::AuthPlugin::CachingSha2Password),
            CapabilityFlags::CLIENT_PROTOCOL_41
                | CapabilityFlags::CLIENT_SECURE_CONNECTION
                | CapabilityFlags::CLIENT_PLUGIN_AUTH
                | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
                | CapabilityFlags::CLIENT_CONNECT_WITH_DB,
            Some(attributes),
            1 << 24,
        );
        let payload = encode(|out| written.serialize(out));
        let response = parse_response(&payload);
        assert_eq!(response.user, b"app");
        assert_eq!(response.auth_response, [9; 32]);
        assert_eq!(response.database, Some(&b"shop"[..]));
        assert_eq!(response.plugin, Some(&b"caching_sha2_password"[..]));
        assert_eq!(response.attributes, b"\x0c_client_name\x01x");
        assert_eq!(response.prelude.max_packet, 1 << 24);
    }

    #[test]
    fn fields_that_a_driver_announces_and_leaves_out() {
        let capabilities = Capabilities::PROTOCOL_41
            | Capabilities::SECURE_CONNECTION
            | Capabilities::CONNECT_WITH_DB
            | Capabilities::PLUGIN_AUTH
            | Capabilities::CONNECT_ATTRS;
        let mut payload = encode(|out| {
            Prelude { capabilities, max_packet: 0, collation: 33 }.put(out);
            out.put_null_terminated(b"app");
            out.put_u8(0);
        });
        let response = parse_response(&payload);
        assert_eq!((response.database, response.plugin), (None, None));
        assert!(response.attributes.is_empty());
        payload.put_null_terminated(b"");
        payload.extend_from_slice(b"mysql_native_password");
        let response = parse_response(&payload);
        assert_eq!(response.database, None);
        assert_eq!(response.plugin, Some(&b"mysql_native_password"[..]));
    }

    #[test]
    fn changing_the_user() {
        let capabilities = Capabilities::PLUGIN_AUTH | Capabilities::CONNECT_ATTRS;
        let command = ChangeUser {
            user: b"app",
            auth_response: &[1; 20],
            database: Some(b"shop"),
            collation: Some(309),
            plugin: Some(b"mysql_native_password"),
            attributes: b"\x01a\x01b",
        };
        let payload = encode(|out| command.put(out, capabilities));
        assert_eq!(ChangeUser::parse(&payload, capabilities), Ok(command.clone()));
        let short = ChangeUser { collation: None, plugin: None, attributes: b"", ..command };
        let payload = encode(|out| short.put(out, capabilities));
        assert_eq!(ChangeUser::parse(&payload, capabilities), Ok(short));
        assert!(ChangeUser::parse(b"\x11app\0\x14xx", capabilities).is_err());
        assert!(ChangeUser::parse(b"\x11app", capabilities).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(payload: Vec<u8>, bits: u64) {
            let _ = Greeting::parse(&payload);
            let _ = Greeting::parse(&[&b"\x0a8\0"[..], &payload].concat());
            let _ = ClientHello::parse(&payload);
            let mut flagged = Capabilities::from_bits_retain(bits | 0x200);
            flagged.remove(Capabilities::SSL);
            let prelude = Prelude { capabilities: flagged, max_packet: 0, collation: 0 };
            let _ = ClientHello::parse(&encode(|out| { prelude.put(out); out.put_slice(&payload); }));
            let change = [&b"\x11"[..], &payload].concat();
            let _ = ChangeUser::parse(&change, Capabilities::from_bits_retain(bits));
        }
    }
}
