//! The MySQL client/server protocol over bytes: no sockets, no clock, no tasks.
//!
//! Sources: the "MySQL Client/Server Protocol" pages of the MySQL source documentation and the
//! "Clients & Utilities: protocol" pages of the MariaDB knowledge base; where the two differ the
//! doc comment says which server does what.

pub mod amend;
mod attributes;
pub mod auth;
pub mod capabilities;
pub mod codec;
pub mod columns;
pub mod command;
pub mod compression;
pub mod execute;
pub mod handshake;
pub mod login;
mod numbering;
pub mod packet;
pub mod proxy_header;
pub mod query;
pub mod reply;
pub mod rows;
pub mod run;
pub mod scanner;
pub mod splice;
pub mod version;

pub use capabilities::Capabilities;
pub use version::{Flavour, ServerVersion};
