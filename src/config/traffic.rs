//! `[routing]`, `[pool]`: where statements go, and on which connections.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::value;

/// `[routing]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Routing {
    /// A replica further behind takes no reads; at least 1ms. Default 2s.
    #[serde(deserialize_with = "value::duration::<_, 1>", serialize_with = "value::show_duration")]
    pub max_lag: Duration,
    pub balance: Balance,
    pub consistency: Consistency,
    /// How long a read may wait on a replica before it goes to the primary; 0s: not at all.
    /// Default 50ms.
    #[serde(deserialize_with = "value::duration::<_, 0>", serialize_with = "value::show_duration")]
    pub wait: Duration,
    /// A session never sees time run backwards between two replicas. Default true.
    pub monotonic: bool,
    pub no_replica: NoReplica,
    /// Most reads at once on the primary for want of replicas. Default 0: no limit (`None`).
    #[serde(
        deserialize_with = "value::number_or_none",
        serialize_with = "value::show_number_or_none"
    )]
    pub spill_limit: Option<u32>,
    /// A replica returns below `max_lag` times this; above 0, at most 1. Default 0.5.
    #[serde(deserialize_with = "value::ratio")]
    pub return_ratio: f64,
    /// Over how long a returned replica's share of reads grows to its weight; 0s: at once.
    /// Default 5s.
    #[serde(deserialize_with = "value::duration::<_, 0>", serialize_with = "value::show_duration")]
    pub slow_start: Duration,
    pub token_scope: TokenScope,
    /// How long a write waits for a primary; 0s: not at all. Default 10s.
    #[serde(deserialize_with = "value::duration::<_, 0>", serialize_with = "value::show_duration")]
    pub write_hold: Duration,
    /// Writes stop while the primary does not replicate semi-synchronously. Default false.
    pub require_semi_sync: bool,
}

impl Default for Routing {
    fn default() -> Self {
        Routing {
            max_lag: Duration::from_secs(2),
            balance: Balance::default(),
            consistency: Consistency::default(),
            wait: Duration::from_millis(50),
            monotonic: true,
            no_replica: NoReplica::default(),
            spill_limit: None,
            return_ratio: 0.5,
            slow_start: Duration::from_secs(5),
            token_scope: TokenScope::default(),
            write_hold: Duration::from_secs(10),
            require_semi_sync: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    #[default]
    RoundRobin,
    LeastBusy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    Eventual,
    /// A session sees its own writes.
    #[default]
    Session,
    /// A read sees every write that was acknowledged through this proxy.
    Global,
}

/// What a read does when no replica may take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoReplica {
    #[default]
    Primary,
    Error,
    Wait,
}

/// Whose writes a read must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenScope {
    #[default]
    Session,
    User,
    Database,
    Application,
}

/// `[pool]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    pub mode: PoolMode,
    pub max_per_backend: MaxPerBackend,
    /// How connections to the servers are compressed that offer it. Default `none`.
    pub compression: PoolCompression,
    /// An unused connection is closed after this, at least 1s. Default 5m.
    #[serde(
        deserialize_with = "value::duration::<_, 1_000>",
        serialize_with = "value::show_duration"
    )]
    pub idle_timeout: Duration,
    /// How long a statement waits for a connection, at least 1ms. Default 5s.
    #[serde(deserialize_with = "value::duration::<_, 1>", serialize_with = "value::show_duration")]
    pub lease_timeout: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Pool {
            mode: PoolMode::default(),
            max_per_backend: MaxPerBackend::Auto,
            compression: PoolCompression::default(),
            idle_timeout: Duration::from_secs(300),
            lease_timeout: Duration::from_secs(5),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolMode {
    /// Connections are shared between statements of different clients.
    #[default]
    Statement,
    /// Each client has connections of its own.
    Session,
}

/// How connections to the servers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolCompression {
    #[default]
    None,
    Zlib,
    Zstd,
}

/// Connections to one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxPerBackend {
    /// The server's `max_connections` less a reserve.
    Auto,
    /// 1 to 100,000.
    Fixed(u32),
}

const MOST_PER_BACKEND: i64 = 100_000;

impl<'de> Deserialize<'de> for MaxPerBackend {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AutoOrNumber;
        impl Visitor<'_> for AutoOrNumber {
            type Value = MaxPerBackend;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"auto\" or a number from 1 to {MOST_PER_BACKEND}")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<MaxPerBackend, E> {
                match text {
                    "auto" => Ok(MaxPerBackend::Auto),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<MaxPerBackend, E> {
                match u32::try_from(value) {
                    Ok(number) if (1..=MOST_PER_BACKEND).contains(&value) => {
                        Ok(MaxPerBackend::Fixed(number))
                    }
                    _ => Err(E::invalid_value(serde::de::Unexpected::Signed(value), &self)),
                }
            }
        }
        deserializer.deserialize_any(AutoOrNumber)
    }
}

impl Serialize for MaxPerBackend {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            MaxPerBackend::Auto => serializer.serialize_str("auto"),
            MaxPerBackend::Fixed(number) => serializer.serialize_u32(*number),
        }
    }
}
