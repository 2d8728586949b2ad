//! `[limits]`, `[check]`, `[admin]`, `[http]`, `[log]`, `[shutdown]`: running it.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::value::{self, ListenAddress};

/// `[limits]`; `None` is no limit, written as 0.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// A longer statement is killed. Default 0s: none.
    #[serde(
        deserialize_with = "value::duration_or_none",
        serialize_with = "value::show_duration_or_none"
    )]
    pub statement_timeout: Option<Duration>,
    /// A client that sends nothing for this long is disconnected. Default 8h.
    #[serde(
        deserialize_with = "value::duration_or_none",
        serialize_with = "value::show_duration_or_none"
    )]
    pub idle_timeout: Option<Duration>,
    /// Connections of one account. Default 0: no limit.
    #[serde(
        deserialize_with = "value::number_or_none",
        serialize_with = "value::show_number_or_none"
    )]
    pub per_user_connections: Option<u32>,
    /// Connections from one IP address. Default 0: no limit.
    #[serde(
        deserialize_with = "value::number_or_none",
        serialize_with = "value::show_number_or_none"
    )]
    pub per_address_connections: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            statement_timeout: None,
            idle_timeout: Some(Duration::from_secs(8 * 3600)),
            per_user_connections: None,
            per_address_connections: None,
        }
    }
}

/// `[check]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Check {
    /// Between two looks at what is wrong with the cluster; 0s: none (`None`). Default 60s.
    #[serde(
        deserialize_with = "value::duration_or_none",
        serialize_with = "value::show_duration_or_none"
    )]
    pub interval: Option<Duration>,
}

impl Default for Check {
    fn default() -> Self {
        Check { interval: Some(Duration::from_secs(60)) }
    }
}

/// `[admin]`: the console, by any MySQL client.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// One address or a list; an empty list is no console. Default `127.0.0.1:6032`.
    #[serde(deserialize_with = "value::one_or_list")]
    pub address: Vec<ListenAddress>,
    /// Default `admin`.
    #[serde(deserialize_with = "value::word")]
    pub user: String,
    /// After loading this is set, wherever it came from. Without one the console admits only
    /// clients on this machine, with an empty password; other addresses are then refused.
    pub password: Option<Secret>,
    pub password_file: Option<PathBuf>,
    pub password_env: Option<String>,
}

impl Default for Admin {
    fn default() -> Self {
        Admin {
            address: vec![ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 6032).into())],
            user: "admin".to_owned(),
            password: None,
            password_file: None,
            password_env: None,
        }
    }
}

/// `[http]`: metrics and health.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// One address or a list; an empty list is no HTTP. Default `127.0.0.1:6080`.
    #[serde(deserialize_with = "value::one_or_list")]
    pub address: Vec<ListenAddress>,
}

impl Default for Http {
    fn default() -> Self {
        Http { address: vec![ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 6080).into())] }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub format: LogFormat,
    pub level: Level,
    /// Statements that take longer are logged; 0s: none are (`None`). Default 1s.
    #[serde(
        deserialize_with = "value::duration_or_none",
        serialize_with = "value::show_duration_or_none"
    )]
    pub slow: Option<Duration>,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            format: LogFormat::default(),
            level: Level::default(),
            slow: Some(Duration::from_secs(1)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// `[shutdown]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// How long sessions may finish; 0s: not at all. Default 8s, inside the 10s that
    /// `docker stop` grants.
    #[serde(deserialize_with = "value::duration::<_, 0>", serialize_with = "value::show_duration")]
    pub drain_timeout: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown { drain_timeout: Duration::from_secs(8) }
    }
}
