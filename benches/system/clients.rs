//! Many clients in one thread: point selects, each client's next when the last is answered. For loads of more clients
//! than a program with a thread for each can carry without being what is measured.
//!
//! `clients ADDRESS CLIENTS SECONDS`: user, password and database are `app`, the table is sysbench's. Prints the figures
//! as JSON.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use rwproxy::backend::Credential;
use rwproxy::backend::sql_client::{QueryError, SqlClient};
use rwproxy::net::tls::client::ClientTls;
use rwproxy::routing::topology::Address;
use rwproxy::wire::auth::Secret;
use tokio::time::Instant;

/// How many log in at the same time.
const LOGINS: usize = 16;
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);
/// Of the table.
const ROWS: u32 = 10_000;

#[derive(Parser)]
struct Arguments {
    address: SocketAddr,
    clients: u32,
    seconds: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { address, clients, seconds } = Arguments::parse();
    let address = Address::Ip(address);
    let logins = (0..clients).map(|_| log_in(&address));
    let connected: Vec<SqlClient> = stream::iter(logins).buffered(LOGINS).try_collect().await?;
    let began = Instant::now();
    let end = began + Duration::from_secs(seconds);
    let running = (0..).zip(connected).map(|(number, client)| select(client, number, end));
    let mut latencies = try_join_all(running).await?.concat();
    let took = began.elapsed();
    latencies.sort_unstable();
    let p99 = latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default();
    let figures = serde_json::json!({
        "queries": latencies.len(),
        "queries_per_second": latencies.len() as f64 / took.as_secs_f64(),
        "p99_ms": f64::from(p99) / 1e3,
    });
    println!("{figures}");
    Ok(())
}

async fn log_in(address: &Address) -> Result<SqlClient, Box<dyn Error>> {
    let credential = Credential::new("app", Secret::from_password("app"));
    let deadline = Instant::now() + LOGIN_TIMEOUT;
    Ok(SqlClient::connect(address, &credential, &ClientTls::Disabled, None, deadline).await?)
}

/// Selects until `end`; how long each took, in microseconds.
async fn select(mut client: SqlClient, number: u32, end: Instant) -> Result<Vec<u32>, QueryError> {
    let mut latencies = Vec::new();
    // Knuth's multiplicative hash: another row each time, and others than the other clients.
    let mut row = number.wrapping_mul(2_654_435_761);
    loop {
        let began = Instant::now();
        if began >= end {
            client.close().await;
            return Ok(latencies);
        }
        row = row.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let sql = format!("SELECT c FROM app.sbtest1 WHERE id={}", 1 + (row >> 8) % ROWS);
        client.query(&sql, began + QUERY_TIMEOUT).await?;
        latencies.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}
