//! `rwproxy check`: what is wrong with the cluster.

pub mod audit;
