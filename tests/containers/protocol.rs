//! Every kind of command is answered through the proxy as the server itself answers it.

mod bad_input;
mod bulk;
mod commands;
mod compression;
mod farewells;
mod files;
mod kill;
mod large;
mod memory;
mod metadata;
mod progress;
mod sessions;
mod step;

use std::net::SocketAddr;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::support::{Cluster, eventually};

/// For what happens soon.
const PATIENCE: Duration = Duration::from_secs(20);

/// The primary's own address.
fn primary(cluster: &Cluster) -> SocketAddr {
    let primary = cluster.primary();
    SocketAddr::new(primary.ip.parse().expect("an address"), primary.port)
}

/// Waits until a statement with this mark runs on some server, or on none any more.
async fn runs(cluster: &Cluster, mark: &str, wanted: bool) {
    let mut servers = Vec::new();
    for server in &cluster.servers {
        servers.push(cluster.root(&server.server).await);
    }
    let what = if wanted { "the statement runs" } else { "the statement is gone" };
    eventually(what, PATIENCE, async || {
        let mut found = false;
        for server in &mut servers {
            found |= shows(server, mark).await;
        }
        (found == wanted).then_some(())
    })
    .await;
    for server in servers {
        let _ = server.disconnect().await;
    }
}

async fn shows(server: &mut Conn, mark: &str) -> bool {
    let rows: Vec<Row> = server.query("SHOW FULL PROCESSLIST").await.expect("a list");
    rows.iter().any(|row| {
        let statement: Option<String> = row.get("Info").expect("a column of this name");
        statement.is_some_and(|statement| statement.contains(mark))
    })
}
