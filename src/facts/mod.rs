//! What a server says of itself, and Docker of its container: asked in one place, for setup and check.
//!
//! | part | what it holds |
//! |---|---|
//! | [`state`](mod@state) | what is known of a server (pure) |
//! | [`lines`] | who replicates from whom (pure) |
//! | [`privileges`] | what accounts must be able to do (pure) |
//! | [`reach`] | servers found, and connected to |
//! | [`read`] | a server asked for it |
//! | [`accounts`] | who may log in, by digests |
//! | [`tables`] | tables and events that replication has trouble with |
//! | [`clock`] | a server's clock, and how soon it has what the primary has |

pub mod accounts;
pub mod clock;
pub mod lines;
pub mod privileges;
pub mod reach;
pub mod read;
pub mod state;
pub mod tables;

pub use reach::{Listed, connect, listed};
pub use read::{
    CLONE_STATUS, UNFINISHED, account, cloning, follows, have_sizes_read_anew, lacking, left_out,
    origins, places, schemas, semi_sync, state, transactions, worker_errors,
};
pub use state::{Account, Cloning, Container, Follows, Gtids, Login, Origin, Schema, State};

#[cfg(test)]
pub(crate) mod tests;
