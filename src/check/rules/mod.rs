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
//! | `lag` | how far behind replicas are |
//! | `semi_sync` | whether commits wait for replicas, on both sides |
//! | `settings` | variables that should be equal |
//! | `accounts` | who may log in where |
//! | `grants` | what the proxy's accounts may do |
//! | `contents` | tables, events and filters that replication has trouble with |
//! | `surroundings` | clocks, connections, the proxy itself |
//! | `gtids` | GTIDs, and transactions that only one server has |
//! | `keeping` | settings that a restart forgets |
//! | `untold` | what the account may not ask |

mod accounts;
mod causes;
mod containers;
mod contents;
mod durability;
mod grants;
mod gtids;
mod identity;
mod keeping;
mod lag;
mod replication;
mod roles;
mod semi_sync;
mod settings;
mod surroundings;
#[cfg(test)]
pub(super) mod tests;
mod untold;
mod writable;

use super::examined::Examined;
use super::finding::{Check, Finding};

pub use keeping::FORGOTTEN;

const RULES: [fn(&Examined, &mut Vec<Finding>); 16] = [
    containers::judge,
    identity::judge,
    roles::judge,
    writable::judge,
    replication::judge,
    gtids::judge,
    durability::judge,
    keeping::judge,
    lag::judge,
    semi_sync::judge,
    settings::judge,
    accounts::judge,
    grants::judge,
    contents::judge,
    surroundings::judge,
    untold::judge,
];

/// All checks, in the order in which the README lists them.
pub const CHECKS: [&[&Check]; 16] = [
    &containers::CHECKS,
    &identity::CHECKS,
    &roles::CHECKS,
    &writable::CHECKS,
    &replication::CHECKS,
    &gtids::CHECKS,
    &durability::CHECKS,
    &keeping::CHECKS,
    &lag::CHECKS,
    &semi_sync::CHECKS,
    &settings::CHECKS,
    &accounts::CHECKS,
    &grants::CHECKS,
    &contents::CHECKS,
    &surroundings::CHECKS,
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

/// So many are named; of the others it is said how many they are.
const NAMED: usize = 5;

fn some_of<T: std::fmt::Display>(all: &[T]) -> String {
    let mut text: Vec<String> = all.iter().take(NAMED).map(T::to_string).collect();
    let more = all.len().saturating_sub(NAMED);
    if more > 0 {
        let least = if all.len() >= crate::facts::tables::MOST { "at least " } else { "" };
        text.push(format!("and {least}{more} more"));
    }
    text.join(", ")
}
