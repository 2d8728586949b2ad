//! Servers that are asked and told by the administrator's account.
//!
//! | part | what it does |
//! |---|---|
//! | [`server`] | one server: connected to, asked and told, each within a time |
//! | [`statements`] | what servers are told, by flavour and version (pure) |

pub mod server;
pub mod statements;

pub use server::{Access, Endpoint, Failed, PATIENCE, Server};
pub use statements::{Login, Place, Statement};
