//! The parts of the command that are no part of the library.

pub mod arguments;
pub mod explain;
pub mod healthcheck;
pub mod logging;
pub mod runtime;
pub mod setup;
pub mod signals;
pub mod switchover;
mod watched;
