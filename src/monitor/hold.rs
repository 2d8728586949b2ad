//! Writes held back on purpose.

use std::sync::Arc;

use crate::routing::topology::BackendId;

/// While it stands, writes go to one server or to nobody: to the next primary, once it is that.
/// What was begun on the present one may end there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The next primary.
    pub target: BackendId,
    /// Why writes wait, in words for an operator.
    pub reason: Arc<str>,
}
