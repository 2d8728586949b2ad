//! Connections to a daemon, and what their errors mean to an operator.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use tokio_rustls::rustls::crypto::aws_lc_rs;

use crate::config;

/// How long a daemon may take to begin an answer, seconds.
const PATIENCE: u64 = 10;

/// One daemon, as `[docker]` gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `unix:///var/run/docker.sock`, `tcp://host:2376` …
    pub url: Arc<str>,
    /// For TCP; without it connections are in the clear.
    pub tls: Option<Tls>,
}

/// The files that a TLS connection needs, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Endpoint {
    /// The daemons of `[docker]`.
    pub fn all(settings: &config::Docker) -> Vec<Endpoint> {
        let tls = match (&settings.tls_ca, &settings.tls_cert, &settings.tls_key) {
            (Some(ca), Some(cert), Some(key)) => {
                Some(Tls { ca: ca.clone(), cert: cert.clone(), key: key.clone() })
            }
            _ => None,
        };
        let endpoint = |url: &String| Endpoint { url: url.as_str().into(), tls: tls.clone() };
        settings.endpoint.iter().map(endpoint).collect()
    }

    /// The daemon's host when it is another machine, as far as the address tells.
    pub fn remote_host(&self) -> Option<&str> {
        let (scheme, rest) = self.url.split_once("://")?;
        if !matches!(scheme, "tcp" | "http" | "https") {
            return None;
        }
        let authority = rest.split('/').next()?;
        let host = match authority.strip_prefix('[') {
            Some(ipv6) => ipv6.split(']').next()?,
            None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
        };
        let is_here = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        (!is_here).then_some(host)
    }

    /// Prepares a client and asks the daemon for its version.
    pub async fn connect(&self) -> Result<Docker, Problem> {
        let docker = self.client().map_err(|error| self.explain(&error))?;
        let negotiated =
            tokio::time::timeout(Duration::from_secs(PATIENCE), docker.clone().negotiate_version());
        match negotiated.await {
            Ok(Ok(docker)) => Ok(docker),
            // A socket proxy that forbids /version serves the rest all the same.
            Ok(Err(Error::DockerResponseServerError { status_code: 403, .. })) => Ok(docker),
            Ok(Err(error)) => Err(self.explain(&error)),
            Err(_) => Err(self.explain(&Error::RequestTimeoutError)),
        }
    }

    fn client(&self) -> Result<Docker, Error> {
        let url = &*self.url;
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        match (scheme, &self.tls) {
            #[cfg(unix)]
            ("unix", _) => Docker::connect_with_unix(url, PATIENCE, API_DEFAULT_VERSION),
            #[cfg(windows)]
            ("npipe", _) => Docker::connect_with_named_pipe(url, PATIENCE, API_DEFAULT_VERSION),
            ("tcp" | "https", Some(tls)) => {
                // bollard takes the process's provider and panics without one. That it was
                // installed before is no error.
                let _ = aws_lc_rs::default_provider().install_default();
                let Tls { ca, cert, key } = tls;
                Docker::connect_with_ssl(url, key, cert, ca, PATIENCE, API_DEFAULT_VERSION)
            }
            ("tcp" | "http", _) => Docker::connect_with_http(url, PATIENCE, API_DEFAULT_VERSION),
            _ => Err(Error::UnsupportedURISchemeError { uri: url.to_owned() }),
        }
    }

    /// What an error means.
    pub fn explain(&self, error: &Error) -> Problem {
        let url = &self.url;
        let text = match error {
            Error::SocketNotFoundError(path) => no_socket(path),
            Error::UnsupportedURISchemeError { .. } if url.starts_with("https") => {
                format!("{url} needs docker.tls_ca, docker.tls_cert and docker.tls_key")
            }
            Error::UnsupportedURISchemeError { .. } => {
                format!("{url} cannot be used on this system")
            }
            Error::RequestTimeoutError => {
                format!("the Docker daemon at {url} does not answer within {PATIENCE} s")
            }
            Error::DockerResponseServerError { status_code: 403, message } => format!(
                "{url} forbids the request ({}): a socket proxy must allow containers and events \
                 (CONTAINERS=1 EVENTS=1)",
                message.trim()
            ),
            Error::DockerResponseServerError { status_code, message } => format!(
                "{url} answers with HTTP status {status_code}: {}",
                shortened(message.trim())
            ),
            Error::JsonDataError { .. }
            | Error::JsonSerdeError { .. }
            | Error::APIVersionParseError {} => {
                format!("what answers at {url} is no Docker daemon: {error}")
            }
            _ => match io_kind(error) {
                Some(io::ErrorKind::PermissionDenied) => {
                    let path = url.trim_start_matches("unix://");
                    format!(
                        "no permission for {url}: the proxy's user must be in the group of the \
                         socket (in a container: --group-add $(stat -c %g {path}), or group_add \
                         in compose), or a socket proxy be used"
                    )
                }
                Some(io::ErrorKind::ConnectionRefused) => {
                    format!("nothing listens at {url}: is the Docker daemon running?")
                }
                Some(io::ErrorKind::NotFound) => no_socket(url.trim_start_matches("unix://")),
                _ => format!("{url}: {}", innermost(error)),
            },
        };
        Problem(text.into())
    }
}

fn no_socket(path: &str) -> String {
    format!(
        "there is no Docker socket at {path}: is Docker running, and is the socket mounted into \
         the proxy's container? (docker.enabled = false does without Docker)"
    )
}

/// A web server's error page is long.
fn shortened(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    line.char_indices().nth(200).map_or(line, |(end, _)| &line[..end])
}

/// An error and what caused it, outermost first.
fn chain(error: &Error) -> Vec<&(dyn std::error::Error + 'static)> {
    let mut chain: Vec<&(dyn std::error::Error + 'static)> = vec![error];
    while let Some(cause) = chain.last().and_then(|error| error.source()) {
        chain.push(cause);
    }
    chain
}

fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    // A transparent error names not the one inside as its cause, but that one's cause.
    if let Error::IOError { err } = error {
        return Some(err.kind());
    }
    chain(error)
        .into_iter()
        .find_map(|error| error.downcast_ref::<io::Error>())
        .map(io::Error::kind)
}

fn innermost(error: &Error) -> String {
    chain(error).last().map_or_else(|| error.to_string(), |error| error.to_string())
}

/// Why a daemon cannot be watched now, in words for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(pub Arc<str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint { url: url.into(), tls: None }
    }

    #[test]
    fn hosts_of_endpoints() {
        let table = [
            ("unix:///var/run/docker.sock", None),
            ("tcp://127.0.0.1:2375", None),
            ("tcp://localhost:2375", None),
            ("tcp://[::1]:2375", None),
            ("tcp://10.0.0.7:2376", Some("10.0.0.7")),
            ("https://far.example:2376/", Some("far.example")),
            ("tcp://[2001:db8::1]:2376", Some("2001:db8::1")),
            ("npipe:////./pipe/docker_engine", None),
        ];
        for (url, host) in table {
            assert_eq!(endpoint(url).remote_host(), host, "{url}");
        }
    }

    #[tokio::test]
    async fn errors_say_what_to_do() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("docker.sock");
        let unix = format!("unix://{}", path.display());
        let problem = endpoint(&unix).connect().await.expect_err("there is nothing");
        assert!(problem.0.contains("there is no Docker socket at /"), "{problem}");

        // A socket that nobody serves any more.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a fresh path"));
        let problem = endpoint(&unix).connect().await.expect_err("nobody listens");
        assert!(problem.0.contains("is the Docker daemon running?"), "{problem}");

        let problem = endpoint("https://127.0.0.1:1").connect().await.expect_err("no TLS files");
        assert!(problem.0.contains("needs docker.tls_ca"), "{problem}");

        let denied: Error = io::Error::from(io::ErrorKind::PermissionDenied).into();
        let problem = endpoint("unix:///run/docker.sock").explain(&denied);
        assert!(problem.0.contains("stat -c %g /run/docker.sock"), "{problem}");

        let forbidden = Error::DockerResponseServerError {
            status_code: 403,
            message: "<html>Forbidden</html>\nmore".to_owned(),
        };
        let problem = endpoint("tcp://proxy:2375").explain(&forbidden);
        assert!(problem.0.contains("CONTAINERS=1 EVENTS=1"), "{problem}");
    }

    #[tokio::test]
    async fn what_is_no_daemon_is_told() {
        use tokio::io::AsyncWriteExt;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
            }
        });
        let problem =
            endpoint(&format!("tcp://{address}")).connect().await.expect_err("not HTTP at all");
        assert!(problem.0.starts_with(&format!("tcp://{address}")), "{problem}");
    }
}
