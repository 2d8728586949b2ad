//! `[docker]`, `[[backends]]`, `[backend_tls]`, `[monitor]`: which servers, and how they are watched.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::parse::MONITOR_PASSWORD_VARIABLE;
use super::secret::Secret;
use super::value::{self, HostPort};

/// Whose a container is that has no label of a cluster.
pub const DEFAULT_CLUSTER: &str = "default";

/// `[docker]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Docker {
    /// Whether containers are looked for. Default true.
    pub enabled: bool,
    /// One daemon or a list: `unix://`, `tcp://`, `http://`, `https://`, `npipe://`. When the key
    /// is absent `DOCKER_HOST` is honoured. Default `unix:///var/run/docker.sock`.
    #[serde(deserialize_with = "endpoints")]
    pub endpoint: Vec<String>,
    /// What the labels begin with (`rwproxy.enable`). Default `rwproxy`.
    #[serde(deserialize_with = "value::word")]
    pub label_prefix: String,
    /// Which containers are ours, by their label `rwproxy.cluster`. Default `default`.
    #[serde(deserialize_with = "value::word")]
    pub cluster: String,
    pub address: DockerAddress,
    /// An unhealthy container takes no traffic. Default true.
    pub respect_health: bool,
    /// Certificate authority, client certificate and key (PEM) for `tcp://` and `https://`
    /// daemons. `DOCKER_TLS_VERIFY` with `DOCKER_CERT_PATH` sets them when DOCKER_HOST is used.
    pub tls_ca: Option<PathBuf>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
}

impl Default for Docker {
    fn default() -> Self {
        Docker {
            enabled: true,
            endpoint: vec!["unix:///var/run/docker.sock".to_owned()],
            label_prefix: "rwproxy".to_owned(),
            cluster: DEFAULT_CLUSTER.to_owned(),
            address: DockerAddress::Auto,
            respect_health: true,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
        }
    }
}

/// Which of a container's addresses is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DockerAddress {
    /// The container's own where it can be reached, else the published port.
    #[default]
    Auto,
    Ip,
    Published,
}

/// The ways to a daemon that are served.
const SCHEMES: [&str; 5] = ["unix://", "tcp://", "http://", "https://", "npipe://"];

/// Whether `endpoint` is one that can be dialled, or why not.
pub fn check_endpoint(endpoint: &str) -> Result<(), String> {
    let served = SCHEMES
        .iter()
        .any(|scheme| endpoint.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    if served {
        return Ok(());
    }
    Err(format!("{endpoint:?} is not a Docker endpoint: give one of {}…", SCHEMES.join("…, ")))
}

fn endpoints<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(try_from = "String")]
    struct Endpoint(String);
    impl std::str::FromStr for Endpoint {
        type Err = String;
        fn from_str(text: &str) -> Result<Self, String> {
            check_endpoint(text).map(|()| Endpoint(text.to_owned()))
        }
    }
    impl TryFrom<String> for Endpoint {
        type Error = String;
        fn try_from(text: String) -> Result<Self, String> {
            text.parse()
        }
    }
    let list = value::one_or_list::<D, Endpoint>(deserializer)?;
    Ok(list.into_iter().map(|endpoint| endpoint.0).collect())
}

/// `[[backends]]`: a server by address.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    #[serde(deserialize_with = "value::word")]
    pub name: String,
    pub address: HostPort,
    #[serde(default)]
    pub role: RoleSetting,
    /// Share of reads, 0 (none) to 1000. Default 1.
    #[serde(default = "one", deserialize_with = "value::number::<_, 0, 1_000>")]
    pub weight: u32,
    /// In place of `routing.max_lag`, at least 1ms.
    #[serde(
        default,
        deserialize_with = "value::optional_duration::<_, 1>",
        serialize_with = "value::show_optional_duration"
    )]
    pub max_lag: Option<Duration>,
}

fn one() -> u32 {
    1
}

/// What a label or `[[backends]]` says of a server's role; the server's own word beats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleSetting {
    #[default]
    Auto,
    Primary,
    Replica,
}

/// `[backend_tls]`
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackendTls {
    pub mode: BackendTlsMode,
    /// Certificate authorities (PEM) for the modes that verify.
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendTlsMode {
    #[default]
    Disabled,
    /// Where the server offers it; any certificate.
    Preferred,
    /// Any certificate.
    Required,
    /// A certificate of `ca`.
    VerifyCa,
    /// A certificate of `ca` with the server's name.
    VerifyIdentity,
}

/// `[administrator]` and `[replication]`: an account on the servers.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Account {
    /// `None`: there is no such account.
    pub user: Option<String>,
    /// After loading this is set, wherever it came from; `None` when nothing gave one.
    pub password: Option<Secret>,
    pub password_file: Option<PathBuf>,
    pub password_env: Option<String>,
}

/// `[monitor]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Monitor {
    /// The account of the probes. Default `rwproxy`.
    #[serde(deserialize_with = "value::word")]
    pub user: String,
    /// After loading this is set, wherever it came from; `None` when nothing gave one.
    pub password: Option<Secret>,
    pub password_file: Option<PathBuf>,
    /// Default `RWPROXY_MONITOR_PASSWORD`, which may be unset.
    pub password_env: Option<String>,
    /// Between two probes of a server, at least 10ms. Default 100ms.
    #[serde(
        deserialize_with = "value::duration::<_, 10>",
        serialize_with = "value::show_duration"
    )]
    pub interval: Duration,
    /// How long a probe may take, at least 10ms. Default 1s.
    #[serde(
        deserialize_with = "value::duration::<_, 10>",
        serialize_with = "value::show_duration"
    )]
    pub timeout: Duration,
}

impl Default for Monitor {
    fn default() -> Self {
        Monitor {
            user: "rwproxy".to_owned(),
            password: None,
            password_file: None,
            password_env: Some(MONITOR_PASSWORD_VARIABLE.to_owned()),
            interval: Duration::from_millis(100),
            timeout: Duration::from_secs(1),
        }
    }
}
