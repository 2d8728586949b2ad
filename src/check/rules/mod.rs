//! From a look to findings: one file a subject, each a pure function.
//!
//! | part | what it judges |
//! |---|---|
//! | `containers` | Docker, labels, what runs, what answers |
//! | `identity` | server ids, uuids, versions |
//! | `roles` | the primary, roles against labels |
//! | `writable` | who takes writes that should not |
//! | `replication`, `causes` | the threads of replication, and why they stop |
//! | `durability` | the binary log, and what a crash loses |
//! | `gtids` | GTIDs, and transactions that only one server has |
//! | `keeping` | settings that a restart forgets |
//! | `untold` | what the account may not ask |

mod causes;
mod containers;
mod durability;
mod gtids;
mod identity;
mod keeping;
mod replication;
mod roles;
#[cfg(test)]
pub(super) mod tests;
mod untold;
mod writable;

use super::examined::Examined;
use super::finding::{Check, Finding};

pub use keeping::FORGOTTEN;

const RULES: [fn(&Examined, &mut Vec<Finding>); 9] = [
    containers::judge,
    identity::judge,
    roles::judge,
    writable::judge,
    replication::judge,
    gtids::judge,
    durability::judge,
    keeping::judge,
    untold::judge,
];

/// All checks, in the order in which the README lists them.
pub const CHECKS: [&[&Check]; 9] = [
    &containers::CHECKS,
    &identity::CHECKS,
    &roles::CHECKS,
    &writable::CHECKS,
    &replication::CHECKS,
    &gtids::CHECKS,
    &durability::CHECKS,
    &keeping::CHECKS,
    &untold::CHECKS,
];

/// All that is wrong: by server, the worst first, and what is of no server ahead.
pub fn judge(examined: &Examined) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in RULES {
        rule(examined, &mut findings);
    }
    findings.sort_by(|a, b| {
        a.server
            .cmp(&b.server)
            .then(b.severity.cmp(&a.severity))
            .then(a.check.name.cmp(b.check.name))
    });
    findings
}
