//! Errant transactions: on a server, and not on the primary.

use std::sync::Arc;
use std::time::Instant;

use super::member::Member;
use crate::monitor::observation::Observation;
use crate::monitor::position::History;

/// A finding counts when two observations in a row have it.
const CERTAIN: u8 = 2;

/// What is remembered of a server's errant transactions.
#[derive(Debug, Default)]
pub struct Errant {
    /// There when we first compared: from an image's first boot, or from before our time. Shown,
    /// and no reason to keep reads away.
    baseline: Option<Option<History>>,
    /// It took writes of clients, so that none of its errant transactions is harmless.
    was_primary: bool,
    /// Beyond the baseline, and in how many observations in a row.
    found: Option<(History, u8)>,
    /// Until when the replica's last compared observation lasted.
    compared: Option<Instant>,
}

impl Errant {
    /// The server takes writes now: what it has then is the cluster's data.
    pub fn become_primary(&mut self) {
        *self = Errant { was_primary: true, ..Errant::default() };
    }

    /// Why reads must stay away.
    pub fn bars(&self) -> Option<Arc<str>> {
        match &self.found {
            Some((extra, CERTAIN..)) => {
                Some(format!("it has transactions that the primary has not: {extra}").into())
            }
            _ => None,
        }
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
        let errant = &mut self.errant;
        if own.finished > primary.started || errant.compared == Some(own.finished) {
            return;
        }
        let (Some(ours), Some(theirs)) = (own.history(), primary.history()) else { return };
        errant.compared = Some(own.finished);
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
        errant.found = fresh.map(|fresh| {
            let times = errant.found.as_ref().map_or(0, |(_, times)| *times);
            (fresh, times.saturating_add(1))
        });
    }
}
