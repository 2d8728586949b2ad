//! What no single key can tell: keys that contradict or need each other.

use std::collections::HashMap;

use super::{AuthMode, BackendTlsMode, Config, ListenAddress, PoolMode, RuleTarget};

/// Reports each contradiction by the path of the value to blame.
pub fn check(config: &Config, report: &mut dyn FnMut(&str, String)) {
    addresses(config, report);
    certificates(config, report);
    names(config, report);
    servers(config, report);
    if config.auth.mode == AuthMode::Static && config.auth.users.is_empty() {
        let message = "nobody could log in: there is no [[auth.users]]";
        report("auth.mode", message.to_owned());
    }
    for (index, user) in config.auth.users.iter().enumerate() {
        if user.password.is_none() && user.password_file.is_none() && user.password_env.is_none() {
            report(
                &format!("auth.users.{index}"),
                format!(
                    "`{}` has no password: give `password`, `password_file` or `password_env`",
                    user.name
                ),
            );
        }
    }
    for (section, account) in
        [("administrator", &config.administrator), ("replication", &config.replication)]
    {
        let is_nameless = account.user.as_ref().is_none_or(|user| user.is_empty());
        if is_nameless && (account.user.is_some() || account.password.is_some()) {
            report(section, "an account needs a `user`".to_owned());
        }
    }
    for (index, rule) in config.rules.iter().enumerate() {
        if rule.max_lag.is_some() && rule.target == RuleTarget::Primary {
            let message = "has no meaning with target = \"primary\"";
            report(&format!("rules.{index}.max_lag"), message.to_owned());
        }
    }
    if config.listen.proxy_protocol_out && config.pool.mode != PoolMode::Session {
        let message = "needs pool.mode = \"session\": a shared connection has no one client";
        report("listen.proxy_protocol_out", message.to_owned());
    }
}

fn addresses(config: &Config, report: &mut dyn FnMut(&str, String)) {
    if config.listen.address.is_empty() {
        report("listen.address", "at least one address is needed".to_owned());
    }
    let mut seen: HashMap<String, &str> = HashMap::new();
    let listeners = [
        ("listen", &config.listen.address),
        ("admin", &config.admin.address),
        ("http", &config.http.address),
    ];
    for (section, addresses) in listeners {
        for address in addresses {
            let is_any_port = matches!(address, ListenAddress::Tcp(tcp) if tcp.port() == 0);
            let before = seen.insert(address.to_string(), section).filter(|_| !is_any_port);
            if let Some(other) = before {
                report(
                    &format!("{section}.address"),
                    format!("{address} is also an address of [{other}]"),
                );
            }
        }
    }
    let has_password = config.admin.password.is_some()
        || config.admin.password_file.is_some()
        || config.admin.password_env.is_some();
    let remote = config
        .admin
        .address
        .iter()
        .find(|address| matches!(address, ListenAddress::Tcp(tcp) if !tcp.ip().is_loopback()));
    if let (false, Some(address)) = (has_password, remote) {
        report(
            "admin.address",
            format!(
                "{address} can be reached from other machines: \
                 give `password_file`, `password_env` or `password`"
            ),
        );
    }
}

fn certificates(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let tls = &config.listen.tls;
    let docker = &config.docker;
    let pairs = [
        ("listen.tls", "cert", &tls.cert, "key", &tls.key),
        ("docker", "tls_cert", &docker.tls_cert, "tls_key", &docker.tls_key),
    ];
    for (section, cert, cert_path, key, key_path) in pairs {
        let (given, lacking) = match (cert_path, key_path) {
            (Some(_), None) => (cert, key),
            (None, Some(_)) => (key, cert),
            _ => continue,
        };
        report(&format!("{section}.{given}"), format!("`{given}` needs `{lacking}` beside it"));
    }
    let verifies = matches!(
        config.backend_tls.mode,
        BackendTlsMode::VerifyCa | BackendTlsMode::VerifyIdentity
    );
    if verifies && config.backend_tls.ca.is_none() {
        report("backend_tls.mode", "to verify certificates `ca` is needed".to_owned());
    }
}

fn names(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let lists: [(&str, &str, Vec<String>); 4] = [
        ("backends", "name", config.backends.iter().map(|b| b.name.clone()).collect()),
        ("backends", "address", config.backends.iter().map(|b| b.address.to_string()).collect()),
        ("rules", "name", config.rules.iter().map(|r| r.name.clone()).collect()),
        ("auth.users", "name", config.auth.users.iter().map(|u| u.name.clone()).collect()),
    ];
    for (list, key, values) in lists {
        let mut seen = HashMap::new();
        for (index, value) in values.iter().enumerate() {
            if let Some(first) = seen.insert(value, index) {
                report(
                    &format!("{list}.{index}.{key}"),
                    format!("`{value}` is also the {key} of entry {} of [[{list}]]", first + 1),
                );
            }
        }
    }
}

fn servers(config: &Config, report: &mut dyn FnMut(&str, String)) {
    if !config.docker.enabled && config.backends.is_empty() {
        let message = "no servers: with Docker disabled at least one [[backends]] is needed";
        report("docker.enabled", message.to_owned());
    }
    if config.docker.enabled && config.docker.endpoint.is_empty() {
        let message = "at least one endpoint is needed (or `enabled = false`)";
        report("docker.endpoint", message.to_owned());
    }
}
