//! Values that several sections use: durations, addresses, numbers in a range.
//!
//! Ranges are checked while a value is read, so that its place in the file is known to the error.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The longest duration: far above any use, far below where adding it to a time overflows.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads `500ms`, `2s`, `1m 30s`, `8h`; at most a year.
///
/// # Errors
/// Why it is not a duration, in words.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| {
        format!("{text:?} is not a duration such as \"500ms\" or \"2s\": {error}")
    })?;
    if duration > LONGEST {
        return Err(format!("{text:?} is longer than a year"));
    }
    Ok(duration)
}

/// A duration of at least `MIN` milliseconds.
pub fn duration<'de, D: Deserializer<'de>, const MIN: u64>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = Duration;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as \"500ms\" or \"2s\"")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            parse_duration(text).map_err(E::custom)
        }
    }
    let value = deserializer.deserialize_str(Text)?;
    if value < Duration::from_millis(MIN) {
        let least = humantime::format_duration(Duration::from_millis(MIN));
        return Err(D::Error::custom(format!("must be at least {least}")));
    }
    Ok(value)
}

/// A duration of which `0s` means none.
pub fn duration_or_none<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let value = duration::<D, 0>(deserializer)?;
    Ok((!value.is_zero()).then_some(value))
}

/// A duration that may be left out, of at least `MIN` milliseconds.
pub fn optional_duration<'de, D: Deserializer<'de>, const MIN: u64>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration::<D, MIN>(deserializer).map(Some)
}

pub fn show_duration<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*value))
}

pub fn show_duration_or_none<S: Serializer>(
    value: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    show_duration(&value.unwrap_or_default(), serializer)
}

pub fn show_optional_duration<S: Serializer>(
    value: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => show_duration(value, serializer),
        None => serializer.serialize_none(),
    }
}

/// A whole number from `MIN` to `MAX`.
pub fn number<'de, D: Deserializer<'de>, const MIN: u32, const MAX: u32>(
    deserializer: D,
) -> Result<u32, D::Error> {
    struct Whole<const MIN: u32, const MAX: u32>;
    impl<const MIN: u32, const MAX: u32> Visitor<'_> for Whole<MIN, MAX> {
        type Value = u32;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a number from {MIN} to {MAX}")
        }
        fn visit_i64<E: Error>(self, value: i64) -> Result<u32, E> {
            u32::try_from(value)
                .ok()
                .filter(|value| (MIN..=MAX).contains(value))
                .ok_or_else(|| E::custom(format!("must be from {MIN} to {MAX}")))
        }
    }
    deserializer.deserialize_i64(Whole::<MIN, MAX>)
}

/// A number of which 0 means no limit.
pub fn number_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let value = number::<D, 0, { u32::MAX }>(deserializer)?;
    Ok((value > 0).then_some(value))
}

pub fn show_number_or_none<S: Serializer>(
    value: &Option<u32>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(value.unwrap_or(0))
}

/// A share above 0, at most 1.
pub fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    if value > 0.0 && value <= 1.0 {
        Ok(value)
    } else {
        Err(D::Error::custom("must be above 0.0 and at most 1.0"))
    }
}

/// A non-empty string without white space or control characters: names, users, label prefixes.
pub fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Err(D::Error::custom("must not be empty"));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(D::Error::custom("must not contain white space"));
    }
    Ok(text)
}

/// Where the proxy listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// `[::]` takes IPv4 connections too.
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err("no path after `unix:`".to_owned())
            } else {
                Ok(ListenAddress::Unix(path.into()))
            };
        }
        text.parse().map(ListenAddress::Tcp).map_err(|_| {
            format!(
                "{text:?} is not an address to listen on: \
                 give \"IP:PORT\", \"[IPv6]:PORT\" or \"unix:/path\""
            )
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A server's address: an IP address or a host name, which is resolved at each dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
}

/// MySQL's registered port.
const MYSQL_PORT: u16 = 3306;

impl FromStr for HostPort {
    type Err = String;

    /// `host`, `host:port`, `ip:port` or `[ipv6]:port`.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a server's address such as \"db1:3306\"");
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(HostPort { host: address.ip().to_string(), port: address.port() });
        }
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
            return Ok(HostPort { host: ip.to_string(), port: MYSQL_PORT });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
            None => (text, MYSQL_PORT),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if port == 0 || host.is_empty() || !host.chars().all(is_name) {
            return Err(bad());
        }
        Ok(HostPort { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

macro_rules! as_string {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

as_string!(ListenAddress);
as_string!(HostPort);

/// One string or a list of strings, each read by `T`.
pub fn one_or_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + FromStr<Err = String>,
{
    struct OneOrList<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de> + FromStr<Err = String>> Visitor<'de> for OneOrList<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a list of strings")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
            text.parse().map(|one| vec![one]).map_err(E::custom)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = list.next_element()? {
                all.push(one);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_any(OneOrList(std::marker::PhantomData))
}

/// Networks; a bare address is a network of one.
pub fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    #[derive(Deserialize)]
    #[serde(try_from = "String")]
    struct Network(IpNet);
    impl TryFrom<String> for Network {
        type Error = String;
        fn try_from(text: String) -> Result<Self, String> {
            text.parse()
                .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
                .map(Network)
                .map_err(|_| format!("{text:?} is not a network such as \"10.0.0.0/8\""))
        }
    }
    Ok(Vec::<Network>::deserialize(deserializer)?.into_iter().map(|network| network.0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let table = [("500ms", 500), ("2s", 2_000), ("1m", 60_000), ("8h", 28_800_000), ("0s", 0)];
        for (text, millis) in table {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "2", "2 parsecs", "-1s", "2 years", "s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn server_addresses() {
        let table = [
            ("10.0.0.5:3307", "10.0.0.5:3307"),
            ("db-1.example.org:3306", "db-1.example.org:3306"),
            ("db1", "db1:3306"),
            ("[2001:db8::1]:3306", "[2001:db8::1]:3306"),
            ("2001:db8::1", "[2001:db8::1]:3306"),
        ];
        for (text, shown) in table {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), shown);
        }
        for text in ["", ":3306", "db1:", "db1:0", "db1:99999", "mysql://db1", "a b"] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
