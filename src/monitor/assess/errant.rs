//! Errant transactions: on a server, and not on the primary.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::member::Member;
use crate::monitor::observation::Observation;
use crate::monitor::position::History;
use crate::routing::membership::GroupId;

/// Transactions count as errant when so many comparisons in a row find the same ones.
const CERTAIN: u8 = 2;
/// How long transactions that bear the primary's own mark may be on a replica only: the primary
/// sends what it has written to its log before it has committed it, and under semi-synchronous
/// replication commits it only when replicas have acknowledged it.
const IN_FLIGHT: Duration = Duration::from_secs(30);

/// What is remembered of a server's errant transactions.
#[derive(Debug, Default)]
pub struct Errant {
    /// There when we first compared: from an image's first boot, or from before our time. Shown,
    /// and no reason to keep reads away.
    baseline: Option<Option<History>>,
    /// It took writes of clients, so that none of its errant transactions is harmless.
    was_primary: bool,
    /// Beyond the baseline, of other servers than the primary.
    foreign: Option<Found>,
    /// Beyond the baseline, of the primary itself.
    in_flight: Option<Found>,
    /// Until when the replica's last compared observation lasted.
    compared: Option<Instant>,
}

/// Transactions that the replica has and the primary has not.
#[derive(Debug)]
struct Found {
    transactions: History,
    since: Instant,
    /// How many comparisons in a row have found them.
    times: u8,
}

impl Found {
    /// What of `extra` was there before, if anything was; else `extra`, for the first time.
    fn follow(
        before: Option<Found>,
        extra: Option<History>,
        theirs: &History,
        now: Instant,
    ) -> Option<Found> {
        let extra = extra?;
        let still = before.and_then(|before| {
            let transactions = before.transactions.beyond(theirs)?;
            Some(Found { transactions, times: before.times.saturating_add(1), ..before })
        });
        Some(still.unwrap_or(Found { transactions: extra, since: now, times: 1 }))
    }
}

impl Errant {
    /// The server takes writes now: what it has then is the cluster's data.
    pub fn become_primary(&mut self) {
        *self = Errant { was_primary: true, ..Errant::default() };
    }

    /// Why reads must stay away.
    pub fn bars(&self) -> Option<Arc<str>> {
        let certain = self.foreign.as_ref().filter(|found| found.times >= CERTAIN);
        let lost = || {
            let compared = self.compared?;
            self.in_flight
                .as_ref()
                .filter(|found| compared.saturating_duration_since(found.since) >= IN_FLIGHT)
        };
        let extra = &certain.or_else(lost)?.transactions;
        Some(format!("it has transactions that the primary has not: {extra}").into())
    }

    /// What an operator should know of it though it serves.
    pub fn warning(&self) -> Option<Arc<str>> {
        let extra = self.baseline.as_ref()?.as_ref()?;
        Some(
            format!(
                "it had transactions that the primary has not when it was first seen: {extra}; \
                 set it up anew from the primary, or commit empty transactions of these numbers \
                 there"
            )
            .into(),
        )
    }
}

impl Member {
    /// Compares with an observation of the primary that was begun after our own latest had ended:
    /// only so is a transaction that is here and not there no matter of timing.
    pub fn compare_history(&mut self, primary: &Observation) {
        let Some(own) = self.last.as_deref() else { return };
        // What one has, all others of its group have or will have: it was certified for all.
        if own.membership.active().is_some_and(|group| primary.membership.active() == Some(group)) {
            return;
        }
        let errant = &mut self.errant;
        if own.finished > primary.started || errant.compared == Some(own.finished) {
            return;
        }
        let (Some(ours), Some(theirs)) = (own.history(), primary.history()) else { return };
        let own_finished = own.finished;
        errant.compared = Some(own_finished);
        let extra = ours.beyond(&theirs);
        if errant.baseline.is_none() && !errant.was_primary {
            errant.baseline = Some(extra);
            return;
        }
        let known = errant.baseline.as_ref().and_then(Option::as_ref);
        let fresh = extra.and_then(|extra| match known {
            Some(known) => extra.beyond(known),
            None => Some(extra),
        });
        let group = match primary.membership.active() {
            Some(GroupId::Group(name)) => Some(name),
            _ => None,
        };
        let own = fresh.as_ref().and_then(|fresh| fresh.of(&primary.identity, group.as_deref()));
        let foreign = match (&fresh, &own) {
            (Some(fresh), Some(own)) => fresh.beyond(own),
            _ => fresh,
        };
        errant.foreign = Found::follow(errant.foreign.take(), foreign, &theirs, own_finished);
        errant.in_flight = Found::follow(errant.in_flight.take(), own, &theirs, own_finished);
    }
}
