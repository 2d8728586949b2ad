//! HTTP: metrics, health, and the state as JSON. Read only.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Admin, next_client};
use crate::metrics::{self, Destination, Label};
use crate::net::{Listener, Stream};

/// Clients at once; one more is disconnected.
const MOST_CLIENTS: usize = 64;
/// For the request's head to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For the whole exchange: one request a connection.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The latest events in `/status`.
const EVENTS_SHOWN: usize = 50;
/// Bytes of a request's head; hyper takes no less.
const LARGEST_HEAD: usize = 8 * 1024;

/// Serves for ever; dropped, it ends with what it has accepted still being answered.
pub async fn serve(listener: Listener, admin: Arc<Admin>) -> Infallible {
    let places = Arc::new(Semaphore::new(MOST_CLIENTS));
    loop {
        let (stream, _) = next_client(&listener).await;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let admin = Arc::clone(&admin);
        tokio::spawn(async move {
            // Neither a client that is too slow nor one that sends garbage is news.
            let _ = timeout(TIMEOUT, serve_client(stream, admin)).await;
            drop(place);
        });
    }
}

async fn serve_client(stream: Stream, admin: Arc<Admin>) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &admin);
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(LARGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// The answer to a request; hyper leaves the body out for HEAD.
fn answer(method: &Method, path: &str, admin: &Arc<Admin>) -> Response<Full<Bytes>> {
    let known: fn(&Arc<Admin>) -> Response<Full<Bytes>> = match path {
        "/" => index,
        "/metrics" => show_metrics,
        "/healthz" => |_| plain(StatusCode::OK, "ok"),
        "/readyz" => readiness,
        "/status" => status,
        _ => return plain(StatusCode::NOT_FOUND, "not found; see /"),
    };
    if method != Method::GET && method != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    known(admin)
}

fn index(_: &Arc<Admin>) -> Response<Full<Bytes>> {
    plain(
        StatusCode::OK,
        "rwproxy\n\n\
         /metrics  Prometheus metrics\n\
         /healthz  200 while the process lives\n\
         /readyz   200 while clients can be served, else 503 and why not\n\
         /status   the state as JSON",
    )
}

fn show_metrics(admin: &Arc<Admin>) -> Response<Full<Bytes>> {
    let text = metrics::text(
        &admin.metrics,
        admin.backend_states(),
        admin.view.pools(),
        admin.check_state(),
    );
    respond(StatusCode::OK, metrics::MEDIA_TYPE, text)
}

fn readiness(admin: &Arc<Admin>) -> Response<Full<Bytes>> {
    match admin.view.ready() {
        Ok(()) => plain(StatusCode::OK, "ready"),
        Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

fn status(admin: &Arc<Admin>) -> Response<Full<Bytes>> {
    let ready = admin.view.ready();
    let statements: serde_json::Map<_, _> = Destination::ALL
        .iter()
        .map(|&to| (to.name().to_owned(), admin.metrics.statements.total(to).into()))
        .collect();
    let status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": admin.started.elapsed().as_secs(),
        "ready": ready.is_ok(),
        "reason": ready.err(),
        "writes": match admin.view.writes() {
            Ok(backend) => json!({ "to": &*backend }),
            Err(reason) => json!({ "stopped": &*reason }),
        },
        "sessions": admin.metrics.sessions.current.get(),
        "statements": statements,
        "backends": admin.backend_table().to_json(),
        "pools": admin.pool_table().to_json(),
        "semi_sync": admin.semi_sync_table().to_json(),
        "groups": admin.group_table().to_json(),
        "checks": admin.check_table().to_json(),
        "events": admin.event_table(None, EVENTS_SHOWN).to_json(),
    });
    respond(StatusCode::OK, "application/json", format!("{status:#}\n"))
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn respond(status: StatusCode, media_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::test_support::{self, Fake};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// Sends these bytes and reads to the end.
    async fn exchange(admin: Arc<Admin>, request: &[u8]) -> String {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_address().unwrap();
        let served = tokio::spawn(serve(listener, admin));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let read = timeout(Duration::from_secs(10), client.read_to_end(&mut answer));
        let _ = read.await.expect("the server ends the connection");
        served.abort();
        String::from_utf8(answer).unwrap()
    }

    async fn get(path: &str) -> (String, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = exchange(test_support::admin(Fake::default()), request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn every_path() {
        assert_eq!(get("/healthz").await, ("HTTP/1.1 200 OK".into(), "ok\n".into()));
        assert_eq!(get("/readyz").await, ("HTTP/1.1 200 OK".into(), "ready\n".into()));
        let (head, body) = get("/metrics").await;
        assert_eq!(head, "HTTP/1.1 200 OK");
        assert!(body.contains("rwproxy_backend_lag_seconds{backend=\"db2\"} 0.25\n"), "{body}");
        assert!(body.contains("rwproxy_pool_connections{backend=\"db1\",state=\"idle\"} 2.0\n"));
        let finding =
            "rwproxy_check_findings{check=\"sync-binlog\",server=\"db1\",severity=\"warning\"}";
        assert!(body.contains(finding), "{body}");
        let queue = "rwproxy_backend_group_queue{backend=\"db2\",queue=\"applier\"} 0.0\n";
        assert!(body.contains(queue), "{body}");
        let fallbacks = "rwproxy_backend_semi_sync_fallbacks_total{backend=\"db1\"} 3\n";
        assert!(body.contains(fallbacks), "{body}");
        assert!(body.contains("rwproxy_events_total{kind=\"lag_in\"} 1\n"), "{body}");
        assert!(body.ends_with("# EOF\n"));
        let (head, body) = get("/status?x").await;
        assert_eq!(head, "HTTP/1.1 200 OK");
        let status: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status["ready"], true);
        assert_eq!(status["backends"][1]["name"], "db2");
        assert_eq!(status["backends"][1]["lag_ms"], 250);
        assert_eq!(status["writes"]["to"], "db1");
        assert_eq!(status["pools"][0]["open"], 3);
        assert_eq!(status["semi_sync"][0]["clients"], 2);
        assert_eq!(status["groups"][1]["reachable"], 2);
        assert_eq!(status["events"][2]["kind"], "lag_in");
        assert_eq!(status["checks"][0]["check"], "sync-binlog");
        assert!(get("/").await.1.contains("/readyz"));
        assert_eq!(get("/nothing").await.0, "HTTP/1.1 404 Not Found");
    }

    #[tokio::test]
    async fn not_ready_says_why() {
        let admin =
            test_support::admin(Fake { ready: Err("no primary".into()), ..Fake::default() });
        let answer = exchange(admin, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nno primary\n"), "{answer}");
    }

    #[tokio::test]
    async fn other_methods_are_refused() {
        let admin = test_support::admin(Fake::default());
        let request = b"POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
        let answer = exchange(Arc::clone(&admin), request).await;
        assert!(answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{answer}");
        assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
        let answer = exchange(admin, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"));
    }

    #[tokio::test]
    async fn garbage_and_endless_heads_end_the_connection() {
        let admin = test_support::admin(Fake::default());
        let answer = exchange(Arc::clone(&admin), b"\x16\x03\x01\x02\x00\x01\r\n\r\n").await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
        let mut endless = b"GET / HTTP/1.1\r\nX: ".to_vec();
        endless.resize(LARGEST_HEAD * 2, b'x');
        let answer = exchange(admin, &endless).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_disconnected() {
        let answer = exchange(test_support::admin(Fake::default()), b"GET / HT").await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}
