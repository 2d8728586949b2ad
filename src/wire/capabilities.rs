//! Capability and status flags.

use bitflags::bitflags;

bitflags! {
    /// Capability flags of the handshake. The upper 32 bits are MariaDB's extended capabilities,
    /// sent in the last four filler bytes of greeting and response when `MYSQL` is unset
    /// (MariaDB knowledge base, "Connection": "server capabilities").
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Capabilities: u64 {
        /// `CLIENT_LONG_PASSWORD` of old; MariaDB calls it `CLIENT_MYSQL`: set by MySQL peers,
        /// unset by MariaDB peers that speak the extended capabilities.
        const MYSQL = 1;
        const FOUND_ROWS = 1 << 1;
        const LONG_FLAG = 1 << 2;
        const CONNECT_WITH_DB = 1 << 3;
        const NO_SCHEMA = 1 << 4;
        const COMPRESS = 1 << 5;
        const ODBC = 1 << 6;
        const LOCAL_FILES = 1 << 7;
        const IGNORE_SPACE = 1 << 8;
        const PROTOCOL_41 = 1 << 9;
        const INTERACTIVE = 1 << 10;
        const SSL = 1 << 11;
        const IGNORE_SIGPIPE = 1 << 12;
        const TRANSACTIONS = 1 << 13;
        const RESERVED = 1 << 14;
        /// `CLIENT_RESERVED2` / `CLIENT_SECURE_CONNECTION`.
        const SECURE_CONNECTION = 1 << 15;
        const MULTI_STATEMENTS = 1 << 16;
        const MULTI_RESULTS = 1 << 17;
        const PS_MULTI_RESULTS = 1 << 18;
        const PLUGIN_AUTH = 1 << 19;
        const CONNECT_ATTRS = 1 << 20;
        const PLUGIN_AUTH_LENENC = 1 << 21;
        const CAN_HANDLE_EXPIRED_PASSWORDS = 1 << 22;
        const SESSION_TRACK = 1 << 23;
        const DEPRECATE_EOF = 1 << 24;
        const OPTIONAL_RESULTSET_METADATA = 1 << 25;
        const ZSTD_COMPRESSION = 1 << 26;
        const QUERY_ATTRIBUTES = 1 << 27;
        const MULTI_FACTOR_AUTHENTICATION = 1 << 28;
        const CAPABILITY_EXTENSION = 1 << 29;
        const SSL_VERIFY_SERVER_CERT = 1 << 30;
        const REMEMBER_OPTIONS = 1 << 31;

        const MARIADB_PROGRESS = 1 << 32;
        const MARIADB_COM_MULTI = 1 << 33;
        const MARIADB_STMT_BULK_OPERATIONS = 1 << 34;
        const MARIADB_EXTENDED_METADATA = 1 << 35;
        const MARIADB_CACHE_METADATA = 1 << 36;
        const MARIADB_BULK_UNIT_RESULTS = 1 << 37;

        const _ = !0;
    }
}

/// The capabilities of which each changes what a command or a reply looks like.
pub const FORMATS: Capabilities = Capabilities::DEPRECATE_EOF
    .union(Capabilities::OPTIONAL_RESULTSET_METADATA)
    .union(Capabilities::QUERY_ATTRIBUTES)
    .union(Capabilities::MARIADB_EXTENDED_METADATA)
    .union(Capabilities::MARIADB_CACHE_METADATA)
    .union(Capabilities::MARIADB_BULK_UNIT_RESULTS);

bitflags! {
    /// Status flags of OK and EOF packets (`SERVER_STATUS_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Status: u16 {
        const IN_TRANSACTION = 0x0001;
        const AUTOCOMMIT = 0x0002;
        const MORE_RESULTS = 0x0008;
        const NO_GOOD_INDEX = 0x0010;
        const NO_INDEX = 0x0020;
        const CURSOR_EXISTS = 0x0040;
        const LAST_ROW_SENT = 0x0080;
        const DATABASE_DROPPED = 0x0100;
        const NO_BACKSLASH_ESCAPES = 0x0200;
        const METADATA_CHANGED = 0x0400;
        const QUERY_WAS_SLOW = 0x0800;
        const OUT_PARAMETERS = 0x1000;
        const IN_READ_ONLY_TRANSACTION = 0x2000;
        const SESSION_STATE_CHANGED = 0x4000;
        /// MariaDB only: `SERVER_STATUS_ANSI_QUOTES`.
        const ANSI_QUOTES = 0x8000;

        const _ = !0;
    }
}
