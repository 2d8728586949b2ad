//! `rwproxy check`: what is wrong with the cluster, and what mends it.
//!
//! | part | what it holds |
//! |---|---|
//! | [`examined`] | one look at everything: answers, and what was not answered (pure) |
//! | [`part`] | what servers are asked, and what an account needs for it (pure) |
//! | [`ask`] | Docker and all servers asked at once |
//! | [`proxy`] | the proxy's own addresses |
//! | [`readiness`] | the running proxy asked whether it is ready |
//! | [`rules`] | from a look to findings, one file a subject (pure) |
//! | [`finding`] | what is wrong, how much, and what mends it (pure) |
//! | [`fix`] | what `--fix` does by itself, and in which order (pure) |
//! | [`report`] | findings as a table and as JSON (pure) |
//! | [`patrol`] | the looks that the running proxy takes by itself |
//! | [`audit`] | whether replicas hold what the primary holds |

pub mod ask;
pub mod audit;
pub mod examined;
pub mod finding;
pub mod fix;
pub mod part;
pub mod patrol;
pub mod proxy;
pub mod readiness;
pub mod report;
pub mod rules;

pub use ask::Asker;
pub use examined::{Examined, Settings};
pub use finding::{Check, Finding, Remedy, Severity};
pub use patrol::{Patrol, Patrolled};
pub use report::Report;
