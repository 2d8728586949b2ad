//! What a client session is, pure: its settings, its pins, and what a connection must be brought
//! to before it may serve the session.

pub mod accounts;
pub mod characteristics;
pub mod id;
pub mod outcome;
pub mod pins;
pub mod plan;
mod prepared;
mod query;
pub mod read_only;
pub mod settings;
pub mod state;
pub mod statements;
mod switches;
pub mod text_kills;
pub mod told;
pub mod tracking;
pub mod user_variables;

pub use characteristics::Characteristics;
pub use id::SessionId;
pub use pins::Pins;
pub use settings::{Difference, Names, Settings};
pub use state::{Change, Observation, State};
pub use told::Told;
pub use tracking::Tracking;
