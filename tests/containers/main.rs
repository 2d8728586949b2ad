//! Behaviour on real servers in containers, MySQL and MariaDB: one file per behaviour.
//!
//! The servers judge: where a statement ran is read from their general logs and variables.

mod support;

mod accounts;
mod consistency;
mod differential;
mod discovery;
mod drivers;
mod failures;
mod hints;
mod load;
mod monitoring;
mod prepared;
mod protocol;
mod proxy_protocol;
mod query_attributes;
mod replication;
mod rescue;
mod sessions;
mod splitting;
mod statements;
mod tracking;
mod user_variables;
