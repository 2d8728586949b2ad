//! Answers that the proxy gives by itself.

use bytes::{BufMut, BytesMut};

use super::session::{End, Session};
use crate::wire::codec::Writer;
use crate::wire::packet::put_packet;
use crate::wire::reply::{EofPacket, OkPacket, ServerError, put_eof, put_err, put_ok};
use crate::wire::{Capabilities, Flavour};

/// The collation number of binary data and numbers.
const BINARY: u16 = 63;
/// NOT NULL, UNSIGNED, BINARY.
const ID_FLAGS: u16 = 0x0001 | 0x0020 | 0x0080;

impl Session {
    pub(super) async fn answer_ok(&mut self) -> Result<(), End> {
        let ok = OkPacket { status: self.state.status(), ..OkPacket::default() };
        let mut payload = Vec::with_capacity(16);
        put_ok(&mut payload, &ok, self.client.capabilities);
        Ok(self.client.write_packet(1, &payload).await?)
    }

    pub(super) async fn answer_error(
        &mut self,
        sequence: u8,
        error: &ServerError,
    ) -> Result<(), End> {
        let mut payload = Vec::with_capacity(16 + error.message.len());
        put_err(&mut payload, &error.as_packet());
        Ok(self.client.write_packet(sequence, &payload).await?)
    }

    /// The result of a bare `SELECT CONNECTION_ID()`, whose column is called as the client wrote
    /// it; with the metadata that MySQL 9.7 and MariaDB 10.11 give.
    pub(super) async fn answer_connection_id(&mut self, name: &[u8]) -> Result<(), End> {
        let (kind, length) = match self.dialect.flavour {
            Flavour::MySql => (0x08, 21),
            Flavour::MariaDb => (0x03, 10),
        };
        let capabilities = self.client.capabilities;
        let mut column = Vec::new();
        column.put_lenenc_bytes(b"def");
        for name in [&b""[..], b"", b"", name, b""] {
            column.put_lenenc_bytes(name);
        }
        if capabilities.contains(Capabilities::MARIADB_EXTENDED_METADATA) {
            column.put_lenenc_bytes(b"");
        }
        column.put_u8(0x0C);
        column.put_u16_le(BINARY);
        column.put_u32_le(length);
        column.put_u8(kind);
        column.put_u16_le(ID_FLAGS);
        column.put_slice(&[0, 0, 0]);
        let mut row = Vec::new();
        row.put_lenenc_bytes(self.client.handle.id.to_string().as_bytes());
        let mut end = Vec::new();
        let eof = EofPacket { warnings: 0, status: self.state.status() };
        put_eof(&mut end, &eof, capabilities);

        let legacy = !capabilities.contains(Capabilities::DEPRECATE_EOF);
        let mut out = BytesMut::new();
        let mut sequence = 1;
        let packets = [&[1][..], &column, &end, &row, &end];
        for (index, payload) in packets.into_iter().enumerate() {
            if index != 2 || legacy {
                sequence = put_packet(&mut out, sequence, payload);
            }
        }
        Ok(self.client.write(&out).await?)
    }
}
