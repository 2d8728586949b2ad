//! A group's next writer is written when it has applied what the last one has written, so that
//! nobody misses there what was acknowledged.
//!
//! What the last writer has acknowledged, all members have received, or will have by the time that
//! their view changes. But neither Group Replication nor Galera waits by itself until the next
//! writer has applied it (Group Replication's `group_replication_consistency` can be set so).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::groups;
use super::member::{Contact, Member};
use crate::gtid::GtidSet;
use crate::monitor::observation::{Gtids, Observation};
use crate::routing::membership::{GroupId, Membership};
use crate::routing::topology::BackendId;

/// How long a last writer that does not answer, and has not left the others' view, is waited for:
/// longer than a group takes to part with a member that is lost (some 6 s with Galera, 22 s with
/// Group Replication, by default). Afterwards it is only we who do not reach it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The writer of a group, and what was known when it was last.
#[derive(Debug)]
pub struct Writer {
    /// By its key in the catalog.
    pub key: Arc<str>,
    group: GroupId,
    /// What a node of Galera numbered its view.
    view: Option<u64>,
}

/// A takeover that is waited for.
#[derive(Debug)]
pub struct Takeover {
    next: BackendId,
    since: Instant,
    /// What had come to the next writer, by when all of the last one's had.
    wanted: Option<Arc<GtidSet>>,
}

impl Writer {
    /// `None` for a server that is in no group.
    pub fn of(member: &Member) -> Option<Writer> {
        let said = member.last.as_deref()?;
        let view = match &said.membership {
            Membership::Galera(node) => Some(node.view),
            _ => None,
        };
        Some(Writer { key: member.server.key.clone(), group: said.membership.active()?, view })
    }
}

/// What is still awaited of `next` before it is written instead of `last`; `None` when nothing is.
pub fn awaited(
    next: &Member,
    last: Option<&Writer>,
    members: &[Member],
    takeover: &mut Option<Takeover>,
    now: Instant,
) -> Option<Arc<str>> {
    let last = last.filter(|last| {
        last.key != next.server.key && groups::active(next).as_ref() == Some(&last.group)
    });
    let (Some(last), Some(said)) = (last, next.last.as_deref()) else {
        *takeover = None;
        return None;
    };
    if takeover.as_ref().is_none_or(|takeover| takeover.next != next.id) {
        *takeover = Some(Takeover { next: next.id, since: now, wanted: None });
    }
    let takeover = takeover.as_mut().expect("just set");
    let name = &next.server.name;
    let is_late = now.saturating_duration_since(takeover.since) >= PATIENCE;
    if takeover.wanted.is_none() {
        let has_all = said.started >= takeover.since
            && (is_late
                || (unordered(said) == 0 && let_go(next, said, last, members, takeover.since)));
        if !has_all {
            return Some(format!("{name} is to be written next, once its group says that it has got all that was written before").into());
        }
        takeover.wanted = Some(said.received.clone().unwrap_or_default());
    }
    let lacks = match (&takeover.wanted, &said.gtids) {
        (Some(wanted), Gtids::MySql(executed)) => !executed.contains(wanted),
        _ => false,
    };
    // What has come and will never be applied (it was skipped, or rolled back) is no reason to stop
    // writes for good.
    let lacks = lacks && !(is_late && is_idle(said));
    lacks.then(|| {
        format!("{name} is to be written next, once it has applied what was written before").into()
    })
}

/// How many transactions have come to a member and have no place in the order of all yet, or (Galera)
/// are not applied.
fn unordered(said: &Observation) -> u64 {
    match &said.membership {
        Membership::Group(own) => own.certifier_queue,
        Membership::Galera(node) => node.receive_queue,
        Membership::Alone => 0,
    }
}

/// Nothing waits there.
fn is_idle(said: &Observation) -> bool {
    said.membership.queues().iter().all(|(_, length)| *length == 0)
}

/// Whether all that the last writer has written has come to the next: its view has changed since,
/// which has its place among the transactions, or the last one has said where it stands, and the
/// next is as far.
fn let_go(
    next: &Member,
    said: &Observation,
    last: &Writer,
    members: &[Member],
    since: Instant,
) -> bool {
    let former = members.iter().find(|member| member.server.key == last.key);
    let left = match &said.membership {
        // The group itself has chosen the next one, behind all that the last has written.
        Membership::Group(own) if own.single_primary => true,
        Membership::Group(own) => former
            .and_then(|former| former.identity.as_ref())
            .is_none_or(|former| own.peer(&former.instance).is_none()),
        Membership::Galera(node) => last.view.is_some_and(|view| node.view > view),
        Membership::Alone => true,
    };
    let is_as_far = || {
        let former = former.filter(|former| former.contact == Contact::Answering)?;
        let stood = former.voice().filter(|stood| stood.started >= since)?;
        if next.id == former.id || !groups::together(stood, said) {
            return None;
        }
        stood.position()?.is_applied(&said.applied(None))
    };
    left || is_as_far() == Some(true)
}
