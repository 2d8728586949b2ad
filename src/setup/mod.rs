//! Brings servers from nothing to replication.

pub mod copy;
