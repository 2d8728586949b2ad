//! What a statement takes up from the choice of its server to the end of its reply.

use crate::backend::pool::InFlight;

/// Given up when dropped.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Its place among the statements on its server, where these are counted.
    pub _in_flight: Option<InFlight>,
}
