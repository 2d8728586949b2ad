//! Behaviour on real servers in containers, MySQL and MariaDB: one file per behaviour.
//!
//! The servers judge: where a statement ran is read from their general logs and variables.

mod support;

mod accounts;
mod audit;
mod balance;
mod check;
mod clock;
mod consistency;
mod copying;
mod differential;
mod discovery;
mod drivers;
mod events;
mod failover;
mod failures;
mod galera;
mod groups;
mod hints;
mod lag;
mod load;
mod monitoring;
mod partitions;
mod prepared;
mod protocol;
mod proxy_protocol;
mod query_attributes;
mod readonly_transactions;
mod replication;
mod rescue;
mod rules;
mod semi_sync;
mod session_mode;
mod sessions;
mod setup;
mod spilling;
mod splitting;
mod statement_timeout;
mod statements;
mod switchover;
mod tracking;
mod user_variables;
