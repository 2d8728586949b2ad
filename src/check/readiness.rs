//! One request to the running proxy: `rwproxy healthcheck`, for a container's HEALTHCHECK, and `rwproxy check`.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::config::{Http, ListenAddress};

/// For each of connect, write and read; Docker's own limit is 30s by default.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The answer is one line.
const LONGEST_ANSWER: u64 = 16 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    #[error("http.address is empty: there is nothing to ask")]
    NoAddress,
    #[error("{address}: {error}")]
    Unreachable { address: ListenAddress, error: io::Error },
    #[error("not ready: {0}")]
    NotReady(String),
}

/// What the proxy says when it is ready.
pub fn ask(http: &Http) -> Result<String, Unhealthy> {
    let address = http.address.first().ok_or(Unhealthy::NoAddress)?;
    let answer = request(address)
        .map_err(|error| Unhealthy::Unreachable { address: address.clone(), error })?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim().to_owned();
    // "HTTP/1.1 200 OK"
    match answer.split(' ').nth(1) {
        Some("200") => Ok(body),
        _ => Err(Unhealthy::NotReady(body)),
    }
}

fn request(address: &ListenAddress) -> io::Result<String> {
    match address {
        ListenAddress::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&reachable(*address), TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            exchange(stream)
        }
        ListenAddress::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            exchange(stream)
        }
    }
}

fn exchange(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: rwproxy\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

/// An unspecified address listens everywhere, also on loopback.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answer_with(answer: &'static str) -> Result<String, Unhealthy> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let http = Http { address: vec![ListenAddress::Tcp(([0, 0, 0, 0], port).into())] };
        let result = ask(&http);
        served.join().unwrap();
        result
    }

    #[test]
    fn the_status_line_decides() {
        assert_eq!(answer_with("HTTP/1.1 200 OK\r\n\r\nready\n").unwrap(), "ready");
        let error = answer_with("HTTP/1.1 503 Service Unavailable\r\n\r\nno primary\n");
        assert_eq!(error.unwrap_err().to_string(), "not ready: no primary");
        assert!(answer_with("garbage").is_err());
    }

    #[test]
    fn no_address_is_an_error() {
        assert!(matches!(ask(&Http { address: Vec::new() }), Err(Unhealthy::NoAddress)));
    }
}
