//! What a reload changes, and how much of it can take effect at once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Config, Secret};

/// The keys whose values differ between two configurations, as written in the file
/// (`routing.max_lag`); a changed list of tables is one key (`backends`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// Take effect at the reload.
    pub hot: Vec<String>,
    /// Take effect at the next start.
    pub restart: Vec<String>,
}

/// What is fixed at start: listeners and certificates, the Docker connection, the sizes of pools, how
/// logs are written.
const RESTART: [&str; 16] = [
    "listen.address",
    "listen.threads",
    "listen.login_timeout",
    "listen.compression",
    "listen.rsa_key",
    "listen.proxy_protocol_out",
    "listen.tls.",
    "auth.mode",
    "docker.",
    "backend_tls.",
    "pool.mode",
    "pool.max_per_backend",
    "pool.compression",
    "admin.address",
    "http.address",
    "log.format",
];

/// Compares the running configuration with a new one.
pub fn diff(old: &Config, new: &Config) -> Diff {
    let (old_settings, new_settings) = (settings(old), settings(new));
    let paths: BTreeSet<&String> = old_settings.keys().chain(new_settings.keys()).collect();
    let mut changed: Vec<String> = paths
        .into_iter()
        .filter(|path| old_settings.get(*path) != new_settings.get(*path))
        .cloned()
        .collect();
    // Secrets look alike when shown.
    for (path, old, new) in [
        ("monitor.password", &old.monitor.password, &new.monitor.password),
        ("administrator.password", &old.administrator.password, &new.administrator.password),
        ("replication.password", &old.replication.password, &new.replication.password),
        ("admin.password", &old.admin.password, &new.admin.password),
    ] {
        if is_changed(old, new) {
            changed.push(path.to_owned());
        }
    }
    if old.auth.users != new.auth.users {
        changed.push("auth.users".to_owned());
    }
    changed.sort();
    changed.dedup();
    let (restart, hot) =
        changed.into_iter().partition(|path| RESTART.iter().any(|fixed| path.starts_with(fixed)));
    Diff { hot, restart }
}

/// The new configuration with what needs a restart left as it runs, so that no part of the server
/// sees half of such a change.
pub fn apply(running: &Config, mut new: Config) -> Config {
    let Config { listen, auth, docker, backend_tls, pool, admin, http, log, .. } = running.clone();
    new.listen.address = listen.address;
    new.listen.threads = listen.threads;
    new.listen.login_timeout = listen.login_timeout;
    new.listen.compression = listen.compression;
    new.listen.rsa_key = listen.rsa_key;
    new.listen.proxy_protocol_out = listen.proxy_protocol_out;
    new.listen.tls = listen.tls;
    new.auth.mode = auth.mode;
    new.docker = docker;
    new.backend_tls = backend_tls;
    new.pool.mode = pool.mode;
    new.pool.max_per_backend = pool.max_per_backend;
    new.pool.compression = pool.compression;
    new.admin.address = admin.address;
    new.http.address = http.address;
    new.log.format = log.format;
    new
}

fn is_changed(old: &Option<Secret>, new: &Option<Secret>) -> bool {
    matches!((old, new), (Some(old), Some(new)) if old != new)
}

/// Every key with its value as JSON, secrets hidden: `listen.max_connections` → `10000`. A list of
/// tables is one key.
pub fn settings(config: &Config) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let value = serde_json::to_value(config).expect("its keys are strings and its numbers finite");
    flatten("", value, &mut all);
    all
}

fn flatten(path: &str, value: Value, all: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                flatten(&path, value, all);
            }
        }
        value => {
            all.insert(path.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn hot_and_cold() {
        let old = Config::default();
        assert_eq!(diff(&old, &old), Diff::default());

        let mut new = old.clone();
        new.routing.max_lag = Duration::from_secs(9);
        new.docker.cluster = "other".to_owned();
        new.monitor.password = Some(Secret::new("a".to_owned()));
        let changes = diff(&old, &new);
        assert_eq!(changes.hot, ["monitor.password", "routing.max_lag"]);
        assert_eq!(changes.restart, ["docker.cluster"]);
    }

    #[test]
    fn what_needs_a_restart_stays() {
        let running = Config::default();
        let text = "
            listen = { address = 'unix:/a', rsa_key = 'b', proxy_protocol_out = true, \
                       compression = [], \
                       login_timeout = '1s', threads = 3, tls.mode = 'required', \
                       max_connections = 5 }
            auth.mode = 'static'
            docker = { enabled = false, cluster = 'other' }
            backends = [{ name = 'a', address = 'a' }]
            backend_tls.mode = 'required'
            pool = { mode = 'session', lease_timeout = '1s', max_per_backend = 5,
                     compression = 'zlib' }
            admin.address = []
            http.address = []
            log = { format = 'json', level = 'debug' }
        ";
        let new: Config = toml::from_str(text).unwrap();
        let changes = diff(&running, &new);
        for fixed in RESTART {
            let key = changes.restart.iter().any(|key| key.starts_with(fixed));
            assert!(key, "{fixed} is not in the text above");
        }
        let applied = apply(&running, new);
        let changes = diff(&running, &applied);
        assert!(changes.restart.is_empty(), "{changes:?}");
        assert_eq!(
            changes.hot,
            ["backends", "listen.max_connections", "log.level", "pool.lease_timeout"]
        );
    }

    #[test]
    fn a_changed_secret_is_a_change() {
        let mut old = Config::default();
        old.monitor.password = Some(Secret::new("a".to_owned()));
        let mut new = old.clone();
        new.monitor.password = Some(Secret::new("b".to_owned()));
        assert_eq!(diff(&old, &new).hot, ["monitor.password"]);
        assert_eq!(settings(&new)["monitor.password"], "***");
    }
}
