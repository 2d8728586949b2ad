//! What the servers say of themselves, and what follows from it: role, lag, who may serve.
//!
//! ```text
//! discovery ─> catalog ─> supervisor ─> assess ─> topology store
//!                             ^ │
//!                  outcomes   │ v  one task a server
//!                             probe ─> queries
//! ```
//!
//! | part | what it holds |
//! |---|---|
//! | [`position`] | which transactions a server has (pure) |
//! | [`samples`] | their numbers |
//! | [`abandoned`] | connections that were given up, to be ended |
//! | [`timeline`] | lag, by samples of the primary's position over time (pure) |
//! | [`observation`] | what one probe has learned (pure) |
//! | [`queries`] | what a server is asked, and how its answers are read (pure) |
//! | [`assess`] | from all that to the topology (pure) |
//! | [`changes`] | what has changed from one topology to the next (pure) |
//! | [`events`] | the list of that: logged, counted, kept for the console |
//! | [`hold`] | writes held back on purpose |
//! | [`probe`], [`supervisor`] | the tasks |
//! | [`accounts`] | the accounts of the primary, and how it greets |
//! | [`start`](start()) | starts it all |

pub mod abandoned;
pub mod accounts;
pub mod assess;
pub mod changes;
pub mod events;
pub mod hold;
pub mod observation;
pub mod position;
pub mod probe;
pub mod queries;
pub mod samples;
mod start;
pub mod supervisor;
pub mod timeline;

pub use abandoned::Abandoned;
pub use hold::Hold;
pub use samples::Samples;
pub use start::{Handles, discover, start};
