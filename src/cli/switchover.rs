//! `rwproxy switchover`: one statement to the console of the running proxy.

use std::io;
use std::time::Duration;

use rwproxy::backend::sql_client::{QueryError, Rows, SqlClient};
use rwproxy::backend::{ConnectError, Credential};
use rwproxy::check::readiness::reachable;
use rwproxy::config::{Config, ListenAddress, Secret};
use rwproxy::net::tls::client::ClientTls;
use rwproxy::routing::topology::Address;
use rwproxy::wire::auth;
use tokio::time::Instant;

/// For connecting to the console, and for a switchover from its beginning to its end: it bounds its
/// own steps, and `write_hold` the longest of them.
const CONNECT: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(600);

#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("admin.address names no address of TCP: there is no console to ask")]
    NoAddress,
    #[error("the console at {address}: {error}")]
    Unreachable { address: std::net::SocketAddr, error: ConnectError },
    #[error("{0}")]
    Answer(#[from] QueryError),
    #[error(transparent)]
    Runtime(#[from] io::Error),
}

/// What was done, in lines to print, and whether all of it succeeded.
pub fn ask(config: &Config, server: &str, force: bool) -> Result<(String, bool), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rows = runtime.block_on(run(config, server, force))?;
    Ok((listed(&rows), (0..rows.len()).all(|row| rows.str(row, "problem").is_none())))
}

async fn run(config: &Config, server: &str, force: bool) -> Result<Rows, Failed> {
    let address = config.admin.address.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(reachable(*address)),
        ListenAddress::Unix(_) => None,
    });
    let address = address.ok_or(Failed::NoAddress)?;
    let password = config.admin.password.as_ref().map_or("", Secret::expose);
    let secret = auth::Secret::from_password(password);
    let credential = Credential::new(config.admin.user.as_bytes(), secret);
    // The console's certificate is one that it has made for itself.
    let tls = ClientTls::preferred().unwrap_or(ClientTls::Disabled);
    let deadline = Instant::now() + CONNECT;
    let mut client = SqlClient::connect(&Address::Ip(address), &credential, &tls, None, deadline)
        .await
        .map_err(|error| Failed::Unreachable { address, error })?;
    let name = server.replace('\\', "\\\\").replace('\'', "''");
    let force = if force { " FORCE" } else { "" };
    let statement = format!("SWITCHOVER TO '{name}'{force}");
    Ok(client.query(&statement, Instant::now() + LONGEST).await?)
}

fn listed(rows: &Rows) -> String {
    let text = |row: usize, column: &str| rows.str(row, column).unwrap_or_default().to_owned();
    let servers: Vec<String> = (0..rows.len())
        .map(|row| rows.str(row, "server").unwrap_or("(proxy)").to_owned())
        .collect();
    let width = servers.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut lines = String::new();
    for (row, server) in servers.iter().enumerate() {
        let milliseconds = text(row, "milliseconds");
        lines += &format!("{server:<width$}  {milliseconds:>6} ms  {}\n", text(row, "step"));
        if let Some(problem) = rows.str(row, "problem") {
            lines += &format!("{:<width$}             failed: {problem}\n", "");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_lines() {
        let row = |cells: [Option<&str>; 4]| cells.map(|cell| cell.map(Into::into)).to_vec();
        let rows = Rows {
            columns: ["server", "step", "milliseconds", "problem"].map(Into::into).to_vec(),
            rows: vec![
                row([None, Some("hold writes"), Some("12"), None]),
                row([Some("shop-db-2"), Some("STOP REPLICA"), Some("3"), Some("no answer")]),
            ],
            affected_rows: 0,
        };
        assert_eq!(
            listed(&rows),
            "(proxy)        12 ms  hold writes\n\
             shop-db-2       3 ms  STOP REPLICA\n\
             \u{20}                     failed: no answer\n"
        );
    }
}
