//! `[listen]` and `[auth]`: how clients come in.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::value::{self, ListenAddress};
use crate::wire::proxy_header::Source;

/// `[listen]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// One address or a list; `[::]` takes both families. Default `[::]:3306`.
    #[serde(deserialize_with = "value::one_or_list")]
    pub address: Vec<ListenAddress>,
    /// Client connections in all, 1 to 1,000,000; one more gets error 1040. Default 10,000.
    #[serde(deserialize_with = "value::number::<_, 1, 1_000_000>")]
    pub max_connections: u32,
    /// Threads that carry clients, at most 1,024. Default 0: one for each processor.
    #[serde(deserialize_with = "value::number::<_, 0, 1024>")]
    pub threads: u32,
    /// From the first byte to the end of the login, at least 100ms. Default 10s.
    #[serde(
        deserialize_with = "value::duration::<_, 100>",
        serialize_with = "value::show_duration"
    )]
    pub login_timeout: Duration,
    /// Networks from which connections begin with a PROXY header. Default none.
    #[serde(deserialize_with = "value::networks")]
    pub proxy_protocol_from: Vec<IpNet>,
    /// Send a PROXY header to servers; needs `pool.mode = "session"`. Default false.
    pub proxy_protocol_out: bool,
    /// How clients may compress, where the primary offers it, too. Default zlib and zstd.
    pub compression: Vec<Compression>,
    /// RSA private key (PEM) for passwords of clients without TLS. Default: one made at start.
    pub rsa_key: Option<PathBuf>,
    pub tls: ListenTls,
}

impl Listen {
    /// What stands ahead of the proxy's own connections to servers.
    pub fn announces_itself(&self) -> Option<Source> {
        self.proxy_protocol_out.then_some(Source::Connection)
    }
}

impl Default for Listen {
    fn default() -> Self {
        Listen {
            address: vec![ListenAddress::Tcp((std::net::Ipv6Addr::UNSPECIFIED, 3306).into())],
            max_connections: 10_000,
            threads: 0,
            login_timeout: Duration::from_secs(10),
            proxy_protocol_from: Vec::new(),
            proxy_protocol_out: false,
            compression: vec![Compression::Zlib, Compression::Zstd],
            rsa_key: None,
            tls: ListenTls::default(),
        }
    }
}

/// A way to compress connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    Zlib,
    Zstd,
}

/// `[listen.tls]`
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenTls {
    pub mode: ClientTlsMode,
    /// Certificate chain (PEM); with `key`. Default: a self-signed one made at start.
    pub cert: Option<PathBuf>,
    /// Private key (PEM).
    pub key: Option<PathBuf>,
    /// Certificate authorities (PEM) of client certificates. Default: none are asked for.
    pub client_ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientTlsMode {
    /// TLS is not offered.
    Disabled,
    #[default]
    Preferred,
    /// A login in the clear is refused.
    Required,
}

/// `[auth]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    pub mode: AuthMode,
    /// How soon changed accounts, grants and roles take effect, at least 100ms. Default 1s.
    #[serde(
        deserialize_with = "value::duration::<_, 100>",
        serialize_with = "value::show_duration"
    )]
    pub refresh: Duration,
    /// Accounts whose password the proxy is told.
    pub users: Vec<StaticUser>,
}

impl Default for Auth {
    fn default() -> Self {
        Auth { mode: AuthMode::default(), refresh: Duration::from_secs(1), users: Vec::new() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// Accounts live in the database; `[[auth.users]]` are known beside them.
    #[default]
    Backend,
    /// Only `[[auth.users]]` may log in.
    Static,
}

/// `[[auth.users]]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StaticUser {
    #[serde(deserialize_with = "value::word")]
    pub name: String,
    /// After loading this is set, wherever it came from.
    pub password: Option<Secret>,
    pub password_file: Option<PathBuf>,
    pub password_env: Option<String>,
}
