//! A client's life: login, commands, relay.

pub mod accept;
pub mod accounts;
mod acquire;
mod change_user;
pub mod client;
pub mod context;
mod diagnostics;
pub mod errors;
mod execute;
mod freshness;
mod hold;
mod kill;
mod kill_session;
pub mod limits;
mod local;
pub mod login;
mod loss;
pub mod mailbox;
mod parked;
pub mod prepared;
mod read_only;
pub mod registry;
mod relay;
mod rescue;
pub mod scopes;
pub mod session;
mod tracking;
mod turn;
mod upstream;
mod watched;

#[cfg(test)]
mod tests;
