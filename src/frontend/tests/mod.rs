//! Sessions against scripted servers: what real ones will not do on demand. They die at any byte,
//! stall, and send nonsense.

mod allocations;
mod own;
mod prepared;
mod scripted;
mod sessions;
