//! Whether reads may go to a server: leaving at once, returning with care.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Policy;
use super::member::{Contact, Member, UNHEALTHY};
use super::sources::{Source, Sources};
use crate::discovery::Standing;
use crate::monitor::observation::{Channel, Failure};
use crate::monitor::timeline::Measured;
use crate::routing::topology::{Role, State, Thread};

/// So many observations with a small lag bring a replica back.
const GOOD_ENOUGH: u8 = 2;

/// Reasons that pass by themselves when all is well.
pub const AWAITED: &str = "it has not answered yet";
pub const BEFORE_FIRST_SAMPLE: &str =
    "it has not applied the first sample of the primary's position";
pub const RETURNING: &str = "one more good observation is awaited";

/// How the reason of a replica that lags too far begins.
const LAGS: &str = "it lags more than max_lag";

/// What is remembered of a server's part in reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    Out {
        /// How many observations in a row were good.
        good: u8,
        /// When the last of them ended: each counts once.
        counted: Option<Instant>,
    },
    In {
        since: Instant,
        /// Others were serving already, so its share grows slowly.
        slowly: bool,
    },
}

impl Default for Reads {
    fn default() -> Self {
        Reads::Out { good: 0, counted: None }
    }
}

impl Reads {
    /// True once it has taken reads for this long.
    pub fn has_served(self, duration: Duration, now: Instant) -> bool {
        match self {
            Reads::Out { .. } => false,
            Reads::In { since, .. } => now.saturating_duration_since(since) >= duration,
        }
    }
}

/// Why a server takes no reads, whatever its lag.
pub fn obstacle(
    member: &Member,
    role: Role,
    role_reason: &Arc<str>,
    sources: Sources<'_>,
    policy: &Policy,
    now: Instant,
) -> Option<Arc<str>> {
    match member.state() {
        State::New => return Some(AWAITED.into()),
        State::Down(reason) | State::NoAccess(reason) | State::LeftOut(reason) => {
            return Some(reason);
        }
        State::Up => {}
    }
    if let Standing::Unhealthy(_) = member.server.standing {
        return Some(UNHEALTHY.into());
    }
    match role {
        Role::Primary => return Some("it is the primary".into()),
        Role::Unknown => return Some(role_reason.clone()),
        Role::Replica => {}
    }
    if member.server.spec.drain {
        return Some("its label says drain".into());
    }
    if member.server.spec.weight == 0 {
        return Some("its weight is 0".into());
    }
    if let Contact::Failed(Failure::Silent(reason)) = &member.contact {
        return Some(reason.clone());
    }
    sources
        .channels(member)
        .filter(|(_, source)| !matches!(source, Source::Stranger))
        .find_map(|(channel, source)| stopped(member, channel, source, policy, now))
        .or_else(|| member.errant.bars())
}

/// Whether one of the threads does not run though it could.
fn stopped(
    member: &Member,
    channel: &Channel,
    source: Source<'_>,
    policy: &Policy,
    now: Instant,
) -> Option<Arc<str>> {
    let with = |what: &str, error: &Option<Arc<str>>| match error {
        Some(error) => Some(format!("{what}: {error}").into()),
        None => Some(what.into()),
    };
    if channel.applier != Thread::Running {
        return with("its SQL thread is stopped", &channel.applier_error);
    }
    // With the source gone nobody can receive from it: reads go on, with what there is.
    let Source::Member(source) = source else { return None };
    source.voice()?;
    match channel.receiver {
        Thread::Running => None,
        Thread::Stopped => with("its IO thread is stopped", &channel.receiver_error),
        // A replica finds its restarted source only at its next attempt; its lag is known
        // meanwhile, so it need not leave at once.
        Thread::Connecting => {
            let patience = member.server.spec.max_lag.unwrap_or(policy.max_lag);
            let since = member.connecting_since?;
            if now.saturating_duration_since(since) > patience {
                with("its IO thread cannot reach the source", &channel.receiver_error)
            } else {
                None
            }
        }
    }
}

impl Member {
    /// Decides about reads by the lag and by what it was before. `seasoned`: others serve already.
    pub fn judge_reads(
        &mut self,
        obstacle: Option<Arc<str>>,
        measured: Measured,
        policy: &Policy,
        seasoned: bool,
        now: Instant,
    ) -> Result<(), Arc<str>> {
        if let Some(reason) = obstacle {
            self.reads = Reads::default();
            return Err(reason);
        }
        let lag = match measured {
            Measured::Behind { lag, .. } => lag,
            Measured::BeforeFirstSample => {
                self.reads = Reads::default();
                return Err(BEFORE_FIRST_SAMPLE.into());
            }
            Measured::Incomparable => {
                self.reads = Reads::default();
                return Err("its position cannot be compared with the primary's".into());
            }
        };
        let max_lag = self.server.spec.max_lag.unwrap_or(policy.max_lag);
        match self.reads {
            Reads::In { .. } if lag <= max_lag => Ok(()),
            Reads::In { .. } => {
                self.reads = Reads::default();
                Err(too_far(max_lag))
            }
            Reads::Out { .. } if lag > max_lag.mul_f64(policy.return_ratio) => {
                self.reads = Reads::default();
                Err(too_far(max_lag))
            }
            Reads::Out { good, counted } => {
                let finished = self.last.as_ref().map(|observation| observation.finished);
                let good = if finished == counted { good } else { good + 1 };
                if good >= GOOD_ENOUGH {
                    self.reads = Reads::In { since: now, slowly: seasoned };
                    return Ok(());
                }
                self.reads = Reads::Out { good, counted: finished };
                Err(RETURNING.into())
            }
        }
    }

    /// Its share of reads in hundredths of its weight; a tenth at first when it starts slowly.
    pub fn share(&self, policy: &Policy, now: Instant) -> u32 {
        let full = self.server.spec.weight * 100;
        match self.reads {
            Reads::In { since, slowly: true } if !self.reads.has_served(policy.slow_start, now) => {
                let elapsed = now.saturating_duration_since(since).as_secs_f64();
                let tenths = (10.0 * elapsed / policy.slow_start.as_secs_f64()) as u32;
                full / 10 * tenths.clamp(1, 10)
            }
            _ => full,
        }
    }
}

fn too_far(max_lag: Duration) -> Arc<str> {
    format!("{LAGS} ({})", humantime::format_duration(max_lag)).into()
}

/// Whether a reason is that the replica lags too far.
pub fn is_lag(reason: &str) -> bool {
    reason.starts_with(LAGS)
}
