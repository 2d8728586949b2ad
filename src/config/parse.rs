//! From text to [`Config`], with all errors at once.
//!
//! The type checks stop at the first error. So the offending entry is taken out of the document
//! and what is left is tried again, until nothing is wrong.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::error::{ConfigError, Place, Problem};
use super::secret::Secret;
use super::servers::check_endpoint;
use super::{Config, check, error_text};

/// Where a configuration gets what is not in its text.
pub struct Environment<'a> {
    /// What relative paths are relative to.
    pub base: &'a Path,
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The content of a file.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
}

impl Environment<'static> {
    /// That of this process; relative paths are relative to its working directory.
    pub fn of_process() -> Self {
        fn variable(name: &str) -> Option<String> {
            std::env::var(name).ok()
        }
        fn read(path: &Path) -> io::Result<String> {
            std::fs::read_to_string(path)
        }
        Environment { base: Path::new(""), variable: &variable, read: &read }
    }
}

/// More errors than this are not shown.
const MOST_PROBLEMS: usize = 20;

pub fn parse(text: &str, name: &str, environment: &Environment<'_>) -> Result<Config, ConfigError> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut found: Vec<Found> = errors
        .into_iter()
        .map(|error| match error.span().and_then(|span| error_text::unquoted(text, span.start)) {
            Some((message, span)) => Found { message, span: Some(span) },
            None => Found { message: error.message().to_owned(), span: error.span() },
        })
        .collect();
    // The parser may stumble twice over one value.
    found.dedup_by(|b, a| a.span == b.span);
    if found.is_empty() {
        let mut document = Document { root };
        let (config, pruned) = document.deserialize(&mut found);
        if let Some(mut config) = config {
            complete(&mut config, &document, environment, &mut found);
            check::check(&config, &mut |path, message| {
                // What was taken out of a section would give errors that are none.
                if !pruned.iter().any(|entry| entry.section() == path.split('.').next()) {
                    found.push(Found { message, span: document.span_of(path) });
                }
            });
            if found.is_empty() {
                return Ok(config);
            }
        }
    }
    found.sort_by_key(|found| found.span.as_ref().map_or(usize::MAX, |span| span.start));
    found.truncate(MOST_PROBLEMS);
    let problems = found
        .into_iter()
        .map(|found| Problem {
            message: found.message,
            place: found.span.map(|span| Place::of(text, &span)),
        })
        .collect();
    Err(ConfigError::Invalid { name: name.to_owned(), problems })
}

/// An error and its place in the text.
struct Found {
    message: String,
    span: Option<Range<usize>>,
}

/// An entry that was taken out because of an error.
struct Pruned {
    /// From the root, the entry's own key last; an element of a list adds none.
    keys: Vec<String>,
    span: Range<usize>,
    was_table: bool,
}

impl Pruned {
    fn section(&self) -> Option<&str> {
        self.keys.first().map(String::as_str)
    }
}

struct Document<'i> {
    root: Spanned<DeTable<'i>>,
}

impl Document<'_> {
    /// Reads the types, taking out what is wrong. `None` when an error could not be attributed.
    fn deserialize(&mut self, found: &mut Vec<Found>) -> (Option<Config>, Vec<Pruned>) {
        let mut pruned: Vec<Pruned> = Vec::new();
        loop {
            let error = match Config::deserialize(Deserializer::from(self.root.clone())) {
                Ok(config) => return (Some(config), pruned),
                Err(error) => error,
            };
            let span = error.span();
            let Some(entry) =
                span.as_ref().and_then(|span| prune(self.root.get_mut(), span, &mut Vec::new()))
            else {
                found.push(Found { message: error.message().to_owned(), span });
                return (None, pruned);
            };
            // The key is missing because it was taken out before.
            let is_echo = missing_field(error.message()).is_some_and(|field| {
                pruned.iter().any(|before| {
                    before.keys.last().is_some_and(|key| key == field)
                        && before.keys[..before.keys.len() - 1] == entry.keys
                })
            });
            if !is_echo {
                let message = error_text::explain(error.message(), &entry.keys, entry.was_table);
                found.push(Found { message, span: Some(entry.span.clone()) });
            }
            pruned.push(entry);
        }
    }

    /// The place of a value, by a path such as `auth.users.0.name`; else that of the nearest
    /// table around it.
    fn span_of(&self, path: &str) -> Option<Range<usize>> {
        let mut span = None;
        let mut steps = path.split('.');
        let mut value = self.root.get_ref().get(steps.next()?)?;
        loop {
            span = Some(value.span()).or(span);
            let next = steps.next().and_then(|step| match value.get_ref() {
                DeValue::Table(table) => table.get(step),
                DeValue::Array(list) => list.get(step.parse::<usize>().ok()?),
                _ => None,
            });
            match next {
                Some(inner) => value = inner,
                None => return span,
            }
        }
    }

    /// Whether the file has this key.
    fn has(&self, section: &str, key: &str) -> bool {
        let table = self.root.get_ref().get(section).and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => None,
        });
        table.is_some_and(|table| table.contains_key(key))
    }
}

/// Takes out the entry whose key or value stands at `span`.
fn prune(table: &mut DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) -> Option<Pruned> {
    let at_key = table.iter().find(|(key, _)| key.span() == *span).map(|(key, _)| key.clone());
    if let Some(key) = at_key {
        return remove(table, key.get_ref(), span, path);
    }
    for (key, value) in table.iter_mut() {
        path.push(key.get_ref().to_string());
        let inner = match value.get_mut() {
            DeValue::Table(inner) => prune(inner, span, path),
            DeValue::Array(list) => prune_list(list, span, path),
            _ => None,
        };
        if inner.is_some() {
            return inner;
        }
        path.pop();
    }
    let at_value =
        table.iter().find(|(_, value)| value.span() == *span).map(|(key, _)| key.clone())?;
    remove(table, at_value.get_ref(), span, path)
}

fn remove(
    table: &mut DeTable<'_>,
    key: &str,
    span: &Range<usize>,
    path: &[String],
) -> Option<Pruned> {
    let value = table.remove(key)?;
    let was_table = match value.get_ref() {
        DeValue::Table(_) => true,
        DeValue::Array(list) => {
            matches!(list.first().map(Spanned::get_ref), Some(DeValue::Table(_)))
        }
        _ => false,
    };
    let keys = path.iter().cloned().chain([key.to_owned()]).collect();
    Some(Pruned { keys, span: span.clone(), was_table })
}

fn prune_list(
    list: &mut toml::de::DeArray<'_>,
    span: &Range<usize>,
    path: &mut Vec<String>,
) -> Option<Pruned> {
    for value in list.iter_mut() {
        if let DeValue::Table(inner) = value.get_mut()
            && let Some(pruned) = prune(inner, span, path)
        {
            return Some(pruned);
        }
    }
    let index = list.iter().position(|value| value.span() == *span)?;
    let was_table = matches!(list[index].get_ref(), DeValue::Table(_));
    let whole = std::mem::replace(list, toml::de::DeArray::new());
    *list = whole
        .into_iter()
        .enumerate()
        .filter_map(|(position, value)| (position != index).then_some(value))
        .collect();
    Some(Pruned { keys: path.clone(), span: span.clone(), was_table })
}

/// What serde says of a key that has no default.
fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// Fills in what comes from outside the text: secrets, Docker's variables, the base of paths.
fn complete(
    config: &mut Config,
    document: &Document<'_>,
    environment: &Environment<'_>,
    found: &mut Vec<Found>,
) {
    docker_variables(config, document, environment, found);
    for path in relative_paths(config) {
        *path = environment.base.join(&*path);
    }
    let Config { monitor, administrator, replication, admin, auth, .. } = config;
    if document.has("monitor", "password") || document.has("monitor", "password_file") {
        // The default gives way to what was written.
        monitor.password_env =
            monitor.password_env.take().filter(|_| document.has("monitor", "password_env"));
    }
    let mut secrets = vec![
        (
            "monitor".to_owned(),
            &mut monitor.password,
            &monitor.password_file,
            &monitor.password_env,
        ),
        (
            "administrator".to_owned(),
            &mut administrator.password,
            &administrator.password_file,
            &administrator.password_env,
        ),
        (
            "replication".to_owned(),
            &mut replication.password,
            &replication.password_file,
            &replication.password_env,
        ),
        ("admin".to_owned(), &mut admin.password, &admin.password_file, &admin.password_env),
    ];
    secrets.extend(auth.users.iter_mut().enumerate().map(|(index, user)| {
        let place = format!("auth.users.{index}");
        (place, &mut user.password, &user.password_file, &user.password_env)
    }));
    for (place, password, file, variable) in secrets {
        match resolve(password.take(), file, variable, environment) {
            Ok(secret) => *password = secret,
            Err((key, message)) => {
                found.push(Found { message, span: document.span_of(&format!("{place}.{key}")) });
            }
        }
    }
}

/// The default of `monitor.password_env`. It alone may be unset: the file that spells out the
/// defaults means the same as the empty one.
pub const MONITOR_PASSWORD_VARIABLE: &str = "RWPROXY_MONITOR_PASSWORD";

/// A secret from the one place that gives it, or the key that is wrong and why.
fn resolve(
    literal: Option<Secret>,
    file: &Option<PathBuf>,
    variable: &Option<String>,
    environment: &Environment<'_>,
) -> Result<Option<Secret>, (&'static str, String)> {
    match (literal, file, variable) {
        (secret, None, None) => Ok(secret),
        (None, Some(path), None) => {
            let text = (environment.read)(path)
                .map_err(|error| ("password_file", format!("{}: {error}", path.display())))?;
            let line_end = text.strip_suffix('\n').unwrap_or(&text);
            let line_end = line_end.strip_suffix('\r').unwrap_or(line_end).len();
            let mut text = text;
            text.truncate(line_end);
            Ok(Some(Secret::new(text)))
        }
        (None, None, Some(name)) => match (environment.variable)(name) {
            Some(value) => Ok(Some(Secret::new(value))),
            None if name == MONITOR_PASSWORD_VARIABLE => Ok(None),
            None => Err(("password_env", format!("the environment variable {name} is not set"))),
        },
        (_, Some(_), _) => Err((
            "password_file",
            "give only one of `password`, `password_file` and `password_env`".to_owned(),
        )),
        (Some(_), None, Some(_)) => Err((
            "password_env",
            "give only one of `password`, `password_file` and `password_env`".to_owned(),
        )),
    }
}

/// `DOCKER_HOST`, `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`, as Docker's own client reads them,
/// when the file names no endpoint.
fn docker_variables(
    config: &mut Config,
    document: &Document<'_>,
    environment: &Environment<'_>,
    found: &mut Vec<Found>,
) {
    let variable = |name| (environment.variable)(name).filter(|value| !value.is_empty());
    if !config.docker.enabled || document.has("docker", "endpoint") {
        return;
    }
    let Some(host) = variable("DOCKER_HOST") else {
        return;
    };
    if let Err(message) = check_endpoint(&host) {
        found.push(Found { message: format!("DOCKER_HOST: {message}"), span: None });
        return;
    }
    config.docker.endpoint = vec![host];
    if let Some(directory) =
        variable("DOCKER_TLS_VERIFY").and_then(|_| variable("DOCKER_CERT_PATH")).map(PathBuf::from)
    {
        let docker = &mut config.docker;
        docker.tls_ca.get_or_insert_with(|| directory.join("ca.pem"));
        docker.tls_cert.get_or_insert_with(|| directory.join("cert.pem"));
        docker.tls_key.get_or_insert_with(|| directory.join("key.pem"));
    }
}

fn relative_paths(config: &mut Config) -> impl Iterator<Item = &mut PathBuf> {
    let Config {
        listen,
        auth,
        docker,
        backend_tls,
        monitor,
        administrator,
        replication,
        admin,
        ..
    } = config;
    [
        &mut listen.rsa_key,
        &mut listen.tls.cert,
        &mut listen.tls.key,
        &mut listen.tls.client_ca,
        &mut docker.tls_ca,
        &mut docker.tls_cert,
        &mut docker.tls_key,
        &mut backend_tls.ca,
        &mut monitor.password_file,
        &mut administrator.password_file,
        &mut replication.password_file,
        &mut admin.password_file,
    ]
    .into_iter()
    .chain(auth.users.iter_mut().map(|user| &mut user.password_file))
    .flatten()
}
