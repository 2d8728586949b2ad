//! Clusters, proxies and clients for the tests of behaviour.

pub mod chaos;
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
                super::$name($crate::support::Flavour::MySql).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$attribute])*
            async fn mariadb() {
                super::$name($crate::support::Flavour::MariaDb).await;
            }
        }
    };
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
