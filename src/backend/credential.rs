//! With what a connection is opened.

use std::fmt;
use std::sync::Arc;

use crate::wire::auth::Secret;

/// An account and its secret. The secret is zeroed when the last holder drops it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub user: Arc<[u8]>,
    pub secret: Secret,
    /// Rises when the account's secret or rights change: connections opened under an older
    /// generation are retired.
    pub generation: u64,
}

impl Credential {
    pub fn new(user: impl Into<Vec<u8>>, secret: Secret) -> Self {
        Credential { user: user.into().into(), secret, generation: 0 }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = String::from_utf8_lossy(&self.user);
        write!(f, "Credential({user}, generation {})", self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_never_shown() {
        let credential = Credential::new("app", Secret::from_password("hunter2"));
        assert_eq!(format!("{credential:?}"), "Credential(app, generation 0)");
        assert_eq!(format!("{:?}", credential.secret), "Secret(..)");
    }
}
