//! Connections to servers: dialling, logging in, private queries, pooling, and bringing
//! connections to a session's state.

pub mod authenticate;
pub mod connection;
pub mod credential;
pub mod dial;
pub mod idle;
pub mod pool;
pub mod pools;
pub mod sql_client;
pub mod statements;

pub use authenticate::{ConnectError, Connected, LoginOptions, connect};
pub use connection::Connection;
pub use credential::Credential;

#[cfg(test)]
mod tests;
