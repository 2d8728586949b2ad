//! Clusters, proxies and clients for the tests of behaviour.

pub mod chaos;
pub mod clock;
pub mod cluster;
pub mod docker;
pub mod partition;
pub mod proxy;
pub mod random;
pub mod raw;
pub mod tag;
pub mod writers;

use std::time::{Duration, Instant};

pub use cluster::{Cluster, Flavour, Server};
pub use proxy::Proxy;

/// Runs a test on both flavours, on the clusters that undemanding tests share.
#[macro_export]
macro_rules! on_both_flavours {
    ($(#[$attribute:meta])* $name:ident) => {
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$attribute])*
            async fn mysql() {
                let test = super::$name($crate::support::Flavour::MySql);
                $crate::support::in_time(test).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$attribute])*
            async fn mariadb() {
                let test = super::$name($crate::support::Flavour::MariaDb);
                $crate::support::in_time(test).await;
            }
        }
    };
}

/// What no test takes, not even on a busy machine, in seconds: the longest takes three minutes on a quiet one.
/// `RWPROXY_TEST_LIMIT` is another limit, for those that are told to go on for long.
const LIMIT: u64 = 15 * 60;

/// A test that waits in vain fails, by its name, and the others go on.
pub async fn in_time(test: impl Future<Output = ()>) {
    let limit = std::env::var("RWPROXY_TEST_LIMIT").ok();
    let limit = limit.map_or(LIMIT, |text| text.parse().expect("RWPROXY_TEST_LIMIT in seconds"));
    let ended = tokio::time::timeout(Duration::from_secs(limit), test).await;
    assert!(ended.is_ok(), "it has not ended after {limit} s");
}

/// A text that no other test and no other run has put into a statement.
pub fn marker(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{name}-{:x}", now.expect("a clock after 1970").as_nanos())
}

/// Waits until `ready` gives something; panics with `what` after `patience`.
pub async fn eventually<T>(
    what: &str,
    patience: Duration,
    mut ready: impl AsyncFnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = ready().await {
            return value;
        }
        assert!(started.elapsed() < patience, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
