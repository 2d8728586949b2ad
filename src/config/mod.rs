//! `proxy.toml`: its types, defaults and checks.
//!
//! Every key has a default, so an empty file is valid and serves labelled containers of the local
//! Docker daemon. A bad file gives all its errors at once, each with file, line, column and, where
//! one can be guessed, a suggestion ([`ConfigError`]).
//!
//! | part | what it holds |
//! |---|---|
//! | `listen`, `servers`, `traffic`, `rule`, `operation` | the sections of the file |
//! | `value` | durations, addresses, numbers in a range |
//! | `secret` | passwords, and the places they come from |
//! | `parse` | text to [`Config`], collecting errors; `error` shows them |
//! | `check` | what two keys say together |
//! | [`diff`] | which changed keys take effect at a reload |
//!
//! Parsing is pure: files and environment variables are read through an [`Environment`].

mod check;
pub mod diff;
mod error;
mod error_text;
mod listen;
mod operation;
mod parse;
mod rule;
mod secret;
mod servers;
mod traffic;
mod value;

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use error::{ConfigError, Problem};
pub use listen::{Auth, AuthMode, ClientTlsMode, Compression, Listen, ListenTls, StaticUser};
pub use operation::{Admin, Check, Http, Level, Limits, Log, LogFormat, Shutdown};
pub use parse::Environment;
pub use rule::{Digest, Pattern, Rule, RuleTarget};
pub use secret::Secret;
pub use servers::{
    Account, Backend, BackendTls, BackendTlsMode, DEFAULT_CLUSTER, Docker, DockerAddress, Monitor,
    RoleSetting,
};
pub use traffic::{
    Balance, Consistency, MaxPerBackend, NoReplica, Pool, PoolCompression, PoolMode, Routing,
    TokenScope,
};
pub use value::{HostPort, ListenAddress, parse_duration};

/// All of `proxy.toml`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub listen: Listen,
    pub auth: Auth,
    pub docker: Docker,
    pub backends: Vec<Backend>,
    pub backend_tls: BackendTls,
    pub monitor: Monitor,
    pub administrator: Account,
    pub replication: Account,
    pub routing: Routing,
    pub rules: Vec<Rule>,
    pub pool: Pool,
    pub limits: Limits,
    pub check: Check,
    pub admin: Admin,
    pub http: Http,
    pub log: Log,
    pub shutdown: Shutdown,
}

impl Config {
    /// Reads a file, and the environment variables and files that it names. Relative paths in it
    /// are relative to its directory.
    ///
    /// # Errors
    /// The file cannot be read, or what it says is wrong.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { name: name.clone(), error })?;
        let base = path.parent().unwrap_or(Path::new(""));
        Config::parse(&text, &name, &Environment { base, ..Environment::of_process() })
    }

    /// Reads a file as [`load`](Self::load) does, but takes password files that are not there yet
    /// for empty ones, and names them: they may be about to be made.
    ///
    /// # Errors
    /// As `load`, for everything else.
    pub fn load_without_passwords(path: &Path) -> Result<(Config, Vec<PathBuf>), ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { name: name.clone(), error })?;
        let base = path.parent().unwrap_or(Path::new(""));
        let missing = RefCell::new(Vec::new());
        let read = |path: &Path| match std::fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing.borrow_mut().push(path.to_owned());
                Ok(String::new())
            }
            other => other,
        };
        let environment = Environment { base, read: &read, ..Environment::of_process() };
        let config = Config::parse(&text, &name, &environment)?;
        Ok((config, missing.into_inner()))
    }

    /// The defaults, with what the environment says of Docker and of the monitor's password.
    ///
    /// # Errors
    /// An environment variable has a value that cannot be used (`DOCKER_HOST`).
    pub fn without_file() -> Result<Config, ConfigError> {
        Config::parse("", "the environment", &Environment::of_process())
    }

    /// Reads the text of a file; `name` is what errors call it.
    ///
    /// # Errors
    /// All that is wrong, in the order of the file.
    pub fn parse(
        text: &str,
        name: &str,
        environment: &Environment<'_>,
    ) -> Result<Config, ConfigError> {
        parse::parse(text, name, environment)
    }
}

#[cfg(test)]
mod tests;
