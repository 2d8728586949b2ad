//! The parts of the command that are no part of the library.

mod access;
pub mod arguments;
pub mod audit;
pub mod check;
mod consent;
pub mod explain;
mod fix;
pub mod logging;
pub mod runtime;
mod screen;
pub mod setup;
pub mod signals;
pub mod switchover;
mod watch;
mod watched;
