//! The file as a whole: defaults, and what bad files are answered.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

/// Parses with these environment variables and files, and nothing else of the machine.
fn parse_with(
    text: &str,
    variables: &[(&str, &str)],
    files: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    let files: HashMap<PathBuf, &str> =
        files.iter().map(|(path, text)| (PathBuf::from(path), *text)).collect();
    let variable = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let read = |path: &Path| {
        files
            .get(path)
            .map(|text| (*text).to_owned())
            .ok_or(io::Error::from(io::ErrorKind::NotFound))
    };
    let environment =
        Environment { base: Path::new("/etc/rwproxy"), variable: &variable, read: &read };
    Config::parse(text, "proxy.toml", &environment)
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_with(text, &[], &[])
}

fn error(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn the_example_spells_out_the_defaults() {
    let text = include_str!("../../proxy.toml");
    assert_eq!(parse(text).unwrap(), Config::default());
    // Every key that has a default stands in it with that default, not only some of them.
    let written = toml::from_str::<serde_json::Value>(text).unwrap();
    for (path, value) in diff::settings(&Config::default()) {
        let at = format!("/{}", path.replace('.', "/"));
        match written.pointer(&at) {
            Some(_) => {}
            None if value.is_null() || value.as_array().is_some_and(Vec::is_empty) => {
                let (_, key) = path.rsplit_once('.').unwrap_or(("", &path));
                let is_shown = text.lines().any(|line| {
                    line.starts_with(&format!("# {key} =")) || line == format!("# [[{path}]]")
                }) || text.contains(&format!("`{key}`"));
                assert!(is_shown, "{path} is not shown in a comment");
            }
            None => panic!("{path} is missing"),
        }
    }
}

/// The commented lines of the example are meant to be used: with their `# ` taken away they parse.
#[test]
fn the_comments_of_the_example_parse() {
    let text: String = include_str!("../../proxy.toml")
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| is_toml(rest)).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let files = [("/etc/rwproxy/admin.secret", "x"), ("/etc/rwproxy/replication.secret", "y")];
    let variables = [("APP_PASSWORD", "secret"), ("RWPROXY_ADMINISTRATOR_PASSWORD", "z")];
    let config = parse_with(&text, &variables, &files).unwrap();
    assert_eq!(config.administrator.user.as_deref(), Some("root"));
    assert_eq!(config.backends.len(), 1);
    assert_eq!(config.rules.len(), 1);
    assert_eq!(config.auth.users.len(), 1);
}

fn is_toml(line: &str) -> bool {
    let is_key = |key: &str| key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    line.starts_with("[[") || line.split_once(" = ").is_some_and(|(key, _)| is_key(key))
}

#[test]
fn values_of_every_kind() {
    let config = parse_with(
        r#"
        [listen]
        address = ["0.0.0.0:3306", "unix:/run/rwproxy.sock"]
        proxy_protocol_from = ["10.0.0.0/8", "::1"]
        tls = { mode = "required", cert = "server.pem", key = "/keys/server.key" }
        [[backends]]
        name = "db1"
        address = "db1.internal"
        weight = 0
        max_lag = "5s"
        [pool]
        max_per_backend = 50
        [limits]
        statement_timeout = "30s"
        idle_timeout = "0s"
        per_user_connections = 7
        [log]
        slow = "0s"
        "#,
        &[],
        &[],
    )
    .unwrap();
    assert_eq!(config.listen.address[0].to_string(), "0.0.0.0:3306");
    assert_eq!(config.listen.address[1], ListenAddress::Unix("/run/rwproxy.sock".into()));
    assert_eq!(config.listen.proxy_protocol_from[1].to_string(), "::1/128");
    assert_eq!(config.listen.tls.cert.as_deref(), Some(Path::new("/etc/rwproxy/server.pem")));
    assert_eq!(config.listen.tls.key.as_deref(), Some(Path::new("/keys/server.key")));
    assert_eq!(config.backends[0].address.to_string(), "db1.internal:3306");
    assert_eq!(config.backends[0].weight, 0);
    assert_eq!(config.backends[0].max_lag, Some(Duration::from_secs(5)));
    assert_eq!(config.pool.max_per_backend, MaxPerBackend::Fixed(50));
    assert_eq!(config.limits.statement_timeout, Some(Duration::from_secs(30)));
    assert_eq!(config.limits.idle_timeout, None);
    assert_eq!(config.limits.per_user_connections, Some(7));
    assert_eq!(config.log.slow, None);
}

#[test]
fn secrets_come_from_files_and_variables() {
    let config = parse_with(
        r#"
        [monitor]
        password = "plain"
        [admin]
        password_file = "admin.secret"
        [[auth.users]]
        name = "app"
        password_env = "APP_PASSWORD"
        "#,
        &[("APP_PASSWORD", " spaces stay ")],
        &[("/etc/rwproxy/admin.secret", "from a file\r\n")],
    )
    .unwrap();
    assert_eq!(config.monitor.password.as_ref().map(Secret::expose), Some("plain"));
    assert_eq!(config.admin.password.as_ref().map(Secret::expose), Some("from a file"));
    let user = &config.auth.users[0];
    assert_eq!(user.password.as_ref().map(Secret::expose), Some(" spaces stay "));
    for shown in [format!("{config:?}"), format!("{:?}", diff::settings(&config))] {
        for secret in ["plain", "from a file", "spaces"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn the_monitor_password_has_a_default_variable() {
    let variables = [("RWPROXY_MONITOR_PASSWORD", "secret")];
    let config = parse_with("", &variables, &[]).unwrap();
    assert_eq!(config.monitor.password.as_ref().map(Secret::expose), Some("secret"));
    let config = parse_with("monitor.password = 'mine'", &variables, &[]).unwrap();
    assert_eq!(config.monitor.password.as_ref().map(Secret::expose), Some("mine"));
}

#[test]
fn docker_host_counts_when_the_file_names_no_endpoint() {
    let variables = [
        ("DOCKER_HOST", "tcp://10.1.1.1:2376"),
        ("DOCKER_TLS_VERIFY", "1"),
        ("DOCKER_CERT_PATH", "/certs"),
    ];
    let config = parse_with("", &variables, &[]).unwrap();
    assert_eq!(config.docker.endpoint, ["tcp://10.1.1.1:2376"]);
    assert_eq!(config.docker.tls_ca.as_deref(), Some(Path::new("/certs/ca.pem")));
    let config = parse_with("docker.endpoint = 'unix:///x'", &variables, &[]).unwrap();
    assert_eq!(config.docker.endpoint, ["unix:///x"]);
    assert_eq!(config.docker.tls_ca, None);
    let wrong = parse_with("", &[("DOCKER_HOST", "ssh://me@there")], &[]).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "proxy.toml: DOCKER_HOST: \"ssh://me@there\" is not a Docker endpoint: \
         give one of unix://…, tcp://…, http://…, https://…, npipe://…"
    );
}

#[test]
fn all_errors_are_shown_in_the_order_of_the_file() {
    let text = "\
[listen]
adress = \"[::]:3306\"
max_connections = 0

[listen.tls]
mode = \"prefered\"

[routing]
max_lag = \"0s\"

[[backends]]
name = \"db1\"
address = \"db1:port\"
";
    let expected = "\
proxy.toml:2:1: unknown key `adress` in [listen]; did you mean `address`?
  |
2 | adress = \"[::]:3306\"
  | ^^^^^^
proxy.toml:3:19: must be from 1 to 1000000
  |
3 | max_connections = 0
  |                   ^
proxy.toml:6:8: unknown value `prefered`; did you mean `preferred`? (one of disabled, preferred, required)
  |
6 | mode = \"prefered\"
  |        ^^^^^^^^^^
proxy.toml:9:11: must be at least 1ms
  |
9 | max_lag = \"0s\"
  |           ^^^^
proxy.toml:13:11: \"db1:port\" is not a server's address such as \"db1:3306\"
   |
13 | address = \"db1:port\"
   |           ^^^^^^^^^^";
    assert_eq!(error(text), expected);
}

#[test]
fn bad_files() {
    // The text, and the first line of what is said about it.
    let table = [
        // Syntax.
        ("[listen", "1:8: unclosed table, expected `]`"),
        ("a = ", "1:5: string values must be quoted, expected literal string"),
        ("[log]\nlevel = info", "2:9: text needs quotes: \"info\""),
        ("[routing]\nmax_lag = 2s", "2:11: text needs quotes: \"2s\""),
        ("[listen]\naddress = [::]:3306", "2:11: text needs quotes: \"[::]:3306\""),
        ("[log]\n[log]", "2:2: duplicate key"),
        // Keys.
        ("[lisen]", "1:2: unknown section [lisen]; did you mean [listen]?"),
        (
            "[zzz]\n",
            "1:2: unknown section [zzz]; there are listen, auth, docker, backends, \
          backend_tls, monitor, administrator, replication, routing, rules, pool, limits, check, admin, http, log, shutdown",
        ),
        (
            "max_lag = '1s'",
            "1:1: unknown key `max_lag` outside of a section; `max_lag` belongs in [routing]",
        ),
        (
            "[pool]\nlogin_timeout = '1s'",
            "2:1: unknown key `login_timeout` in [pool]; `login_timeout` belongs in [listen]",
        ),
        (
            "[listen.tls]\ncertificate = 'x'",
            "2:1: unknown key `certificate` in [listen.tls]; did you mean `cert`?",
        ),
        (
            "[[backends]]\nname='a'\naddress='a'\nwieght=1",
            "4:1: unknown key `wieght` in [backends]; did you mean `weight`?",
        ),
        // Types.
        ("listen = 5", "1:10: invalid type: integer `5`, expected a section"),
        (
            "[routing]\nmax_lag = 5",
            "2:11: invalid type: integer `5`, expected a duration such as \"500ms\" or \"2s\"",
        ),
        (
            "[routing]\nmax_lag = '5'",
            "2:11: \"5\" is not a duration such as \"500ms\" or \"2s\": time unit needed, for example 5sec or 5ms",
        ),
        ("[routing]\nmonotonic = 'yes'", "2:13: invalid type: string \"yes\", expected a boolean"),
        ("[routing]\nreturn_ratio = 1.5", "2:16: must be above 0.0 and at most 1.0"),
        (
            "[listen]\nmax_connections = '10'",
            "2:19: invalid type: string \"10\", expected a number from 1 to 1000000",
        ),
        (
            "[listen]\naddress = 'localhost:3306'",
            "2:11: \"localhost:3306\" is not an address to listen on: give \"IP:PORT\", \"[IPv6]:PORT\" or \"unix:/path\"",
        ),
        (
            "[listen]\naddress = ['[::]:1', ':2']",
            "2:11: \":2\" is not an address to listen on: give \"IP:PORT\", \"[IPv6]:PORT\" or \"unix:/path\"",
        ),
        (
            "[listen]\nproxy_protocol_from = ['10.0.0.0/40']",
            "2:23: \"10.0.0.0/40\" is not a network such as \"10.0.0.0/8\"",
        ),
        (
            "[pool]\nmax_per_backend = 0",
            "2:19: invalid value: integer `0`, expected \"auto\" or a number from 1 to 100000",
        ),
        ("[docker]\nlabel_prefix = ''", "2:16: must not be empty"),
        (
            "[docker]\nendpoint = '/var/run/docker.sock'",
            "2:12: \"/var/run/docker.sock\" is not a Docker endpoint: give one of unix://…, tcp://…, http://…, https://…, npipe://…",
        ),
        ("[[backends]]\nname = 'a'\naddress = 'a'\nweight = 1001", "4:10: must be from 0 to 1000"),
        ("[[backends]]\nname = 'a'", "1:1: [[backends]] needs `address`"),
        (
            "[[rules]]\nname = 'a'\ntarget = 'primary'\nmatch = '^(a'",
            "4:9: \"^(a\" is not a regular expression: unclosed group",
        ),
        (
            "[[rules]]\nname = 'a'\ntarget = 'primary'\nmatch = '(a{1000}){1000}'",
            "4:9: \"(a{1000}){1000}\" is not a regular expression: Compiled regex exceeds size limit of 1048576 bytes.",
        ),
        (
            "[[rules]]\nname = 'a'\ntarget = 'primary'\ndigest = '6b16'",
            "4:10: \"6b16\" is not a digest: 16 hexadecimal digits, as `rwproxy explain` prints them",
        ),
        // Contradictions.
        ("[listen]\naddress = []", "2:11: at least one address is needed"),
        (
            "[http]\naddress = '127.0.0.1:6032'",
            "2:11: 127.0.0.1:6032 is also an address of [admin]",
        ),
        (
            "[admin]\naddress = '0.0.0.0:6032'",
            "2:11: 0.0.0.0:6032 can be reached from other machines: give `password_file`, `password_env` or `password`",
        ),
        ("[listen.tls]\ncert = 'a.pem'", "2:8: `cert` needs `key` beside it"),
        ("[backend_tls]\nmode = 'verify_ca'", "2:8: to verify certificates `ca` is needed"),
        (
            "[docker]\nenabled = false",
            "2:11: no servers: with Docker disabled at least one [[backends]] is needed",
        ),
        (
            "[listen]\nproxy_protocol_out = true",
            "2:22: needs pool.mode = \"session\": a shared connection has no one client",
        ),
        ("[auth]\nmode = 'static'", "2:8: nobody could log in: there is no [[auth.users]]"),
        (
            "[[auth.users]]\nname = 'app'",
            "1:1: `app` has no password: give `password`, `password_file` or `password_env`",
        ),
        (
            "[[rules]]\nname = 'a'\ntarget = 'primary'\nmax_lag = '1s'",
            "4:11: has no meaning with target = \"primary\"",
        ),
        (
            "[[auth.users]]\nname = 'app'\npassword_env = 'NONE'",
            "3:16: the environment variable NONE is not set",
        ),
        ("[admin]\npassword_file = 'none'", "2:17: /etc/rwproxy/none: entity not found"),
        (
            "[admin]\npassword = 'a'\npassword_file = 'none'",
            "3:17: give only one of `password`, `password_file` and `password_env`",
        ),
        (
            "[[backends]]\nname = 'a'\naddress = 'a'\n[[backends]]\nname = 'a'\naddress = 'b'",
            "5:8: `a` is also the name of entry 1 of [[backends]]",
        ),
    ];
    let mut wrong = String::new();
    for (text, expected) in table {
        let message = error(text);
        let first = message.lines().next().unwrap_or("");
        if first != format!("proxy.toml:{expected}") || message.matches("proxy.toml:").count() != 1
        {
            wrong += &format!("--- {text}\nexpected {expected}\n{message}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_bad_value_brings_no_second_error() {
    // The name is taken out for its error; that it is then missing is no error of the file.
    let text = "[[backends]]\nname = 5\naddress = 'a'\n[docker]\nenabled = false\n";
    let ConfigError::Invalid { problems, .. } = parse(text).unwrap_err() else { panic!() };
    assert_eq!(problems[0].message, "invalid type: integer `5`, expected a string");
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn files_that_cannot_be_read() {
    let error = Config::load(Path::new("/nonexistent/proxy.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nonexistent/proxy.toml: No such file or directory (os error 2)"
    );
}

proptest::proptest! {
    /// The example with a stretch of it replaced: an error or a configuration, never a panic.
    #[test]
    fn damaged_files(at in 0..5_000usize, length in 0..40usize, text in "\\PC{0,12}") {
        let example = include_str!("../../proxy.toml");
        let damaged: String = example
            .chars()
            .take(at)
            .chain(text.chars())
            .chain(example.chars().skip(at + length))
            .collect();
        if let Err(error) = parse(&damaged) {
            assert!(!error.to_string().is_empty());
        }
    }
}
