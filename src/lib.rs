//! A read/write-splitting proxy for MySQL and MariaDB.
//!
//! Applications connect to one address; writes go to the primary, reads spread over the replicas,
//! replicas that lag or are broken are left out, and the servers are found by their Docker labels.
//!
//! The map of the crate, lowest layer first (a module imports only from layers below its own):
//!
//! | layer | module | what it holds |
//! |---|---|---|
//! | 0 | [`wire`] | the MySQL protocol over bytes: packets, commands, handshake, replies, the reply scanner |
//! | 0 | [`sql`] | SQL text: lexer, classification, statement details |
//! | 0 | [`gtid`] | global transaction identifiers of both flavours |
//! | 1 | [`session`] | what a client session is: state, pins, what a connection must be brought to |
//! | 1 | [`routing`] | the topology snapshot and the decision which backend serves a command |
//! | 1 | [`config`] | `proxy.toml`: types, validation, durations and sizes |
//! | 1 | [`metrics`] | counters and histograms |
//! | 2 | [`net`] | streams (plain, TLS), packets over streams, listeners |
//! | 3 | [`backend`] | dialling, logging in to servers, connections, pools and leases |
//! | 3 | [`monitor`] | probes: role, replication, lag, accounts |
//! | 3 | [`discovery`] | which servers there are: Docker labels, static list; the published topology |
//! | 4 | [`frontend`] | a client's life: login, commands, relay |
//! | 4 | [`administration`] | servers asked and told by the administrator's account |
//! | 4 | [`facts`] | what a server says of itself, and Docker of its container |
//! | 5 | [`switchover`] | makes a replica the primary, on purpose |
//! | 5 | [`check`] | what is wrong with the cluster |
//! | 5 | [`setup`] | from bare servers to replication |
//! | 5 | [`admin`] | the admin console and HTTP endpoints |
//! | 5 | [`server`] | wires everything together |
//!
//! Layers 0 and 1 are pure: no sockets, no clock, no tasks.

pub mod admin;
pub mod administration;
pub mod backend;
pub mod check;
pub mod config;
pub mod discovery;
pub mod facts;
pub mod frontend;
pub mod gtid;
pub mod metrics;
pub mod monitor;
pub mod net;
pub mod routing;
pub mod server;
pub mod session;
pub mod setup;
pub mod sql;
pub mod switchover;
pub mod wire;
