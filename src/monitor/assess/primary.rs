//! Where writes may go: to the one server that is writable and replicates from none of the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::RoleSetting;
use crate::routing::topology::BackendId;

use super::groups;
use super::member::Member;
use super::sources::{Source, Sources};
use super::takeover::{self, Takeover, Writer};
use crate::monitor::position::History;
use crate::routing::membership::Membership;

/// How long a second writable server must be seen to hold all that the first has before writes
/// move to it. They stop meanwhile.
const SETTLE: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Primary(BackendId),
    /// The reason names the servers, in words for an operator.
    Stopped(Arc<str>),
}

/// What is remembered between two verdicts.
#[derive(Debug, Default)]
pub struct Memory {
    /// The server (by its key) to which writes went last.
    pub established: Option<Arc<str>>,
    /// The same, if it is in a group.
    pub writer: Option<Writer>,
    /// The next writer of that group.
    takeover: Option<Takeover>,
    /// Since when another server's history has been ahead of all the other candidates'.
    ahead_since: Option<(BackendId, Instant)>,
}

/// What discovery cannot tell yet.
#[derive(Debug, Clone, Copy)]
pub struct Unknowns<'a> {
    /// Every origin has been listed or has failed.
    pub is_complete: bool,
    /// What is wrong with the origins.
    pub problems: &'a [Arc<str>],
}

pub fn decide(
    members: &[Member],
    sources: Sources<'_>,
    unknowns: Unknowns<'_>,
    memory: &mut Memory,
    now: Instant,
) -> Verdict {
    let candidates: Vec<&Member> =
        members.iter().filter(|member| obstacle(member, members, sources).is_none()).collect();
    let candidates = without_newcomers(candidates);
    let established = candidates
        .iter()
        .copied()
        .find(|member| memory.established.as_ref() == Some(&member.server.key));
    let candidates = groups::one_writer_each(candidates, memory.established.as_ref());
    if established.is_none() {
        // Who has not spoken yet may be the primary: the first to answer is not therefore right.
        if let Some(reason) = waiting(members, unknowns) {
            return Verdict::Stopped(reason);
        }
    }
    match &candidates[..] {
        [] => Verdict::Stopped(nobody(members, sources, unknowns, memory)),
        [one] => {
            memory.ahead_since = None;
            let Memory { writer, takeover, .. } = memory;
            match takeover::awaited(one, writer.as_ref(), members, takeover, now) {
                Some(reason) => Verdict::Stopped(reason),
                None => Verdict::Primary(one.id),
            }
        }
        several => among(several, established, memory, now),
    }
}

/// Why a server is no candidate; `None` when it is one.
fn obstacle(member: &Member, members: &[Member], sources: Sources<'_>) -> Option<String> {
    let name = &member.server.name;
    let Some(said) = member.voice() else {
        return Some(format!("{name}: {}", member.silence()));
    };
    if let Some(reason) = groups::bars_writes(member, members) {
        return Some(format!("{name}: {reason}"));
    }
    if !said.is_writable() {
        return Some(format!("{name} is read-only"));
    }
    sources.channels(member).find_map(|(channel, source)| match source {
        Source::Member(source) if is_circle(member, source, sources) => None,
        Source::Stranger if member.server.spec.role == RoleSetting::Primary => None,
        Source::Stranger => Some(format!(
            "{name} is writable but replicates from {}:{}, which is not listed \
             (the label role=primary would make it the primary)",
            channel.host, channel.port
        )),
        Source::Member(_) | Source::Departed(_) => Some(format!(
            "{name} is writable but set up as a replica of {} \
             (STOP REPLICA and RESET REPLICA ALL would make it the primary)",
            source.name().expect("it is one of ours")
        )),
    })
}

/// Two servers that replicate from each other: the source does not make the member a replica if
/// it is itself read-only.
fn is_circle(member: &Member, source: &Member, sources: Sources<'_>) -> bool {
    source.last.as_deref().is_some_and(|said| !said.is_writable())
        && sources
            .channels(source)
            .any(|(_, back)| matches!(back, Source::Member(target) if target.id == member.id))
}

/// Leaves out servers that are labelled replica and share no transaction with another candidate:
/// new ones, still to be set up. They cannot have succeeded a primary whose data they lack.
fn without_newcomers(candidates: Vec<&Member>) -> Vec<&Member> {
    let is_newcomer = |member: &&Member| {
        member.server.spec.role == RoleSetting::Replica
            && candidates.iter().any(|other| {
                other.server.spec.role != RoleSetting::Replica
                    && matches!(
                        (history(member), history(other)),
                        (Some(new), Some(old)) if new.is_disjoint(&old)
                    )
            })
    };
    candidates.iter().copied().filter(|member| !is_newcomer(member)).collect()
}

/// The nodes of Galera each number for themselves.
fn history(member: &Member) -> Option<History> {
    let said = member.voice().filter(|said| !matches!(said.membership, Membership::Galera(_)))?;
    said.history()
}

fn waiting(members: &[Member], unknowns: Unknowns<'_>) -> Option<Arc<str>> {
    if !unknowns.is_complete {
        return Some("the servers are still being listed".into());
    }
    let is_awaited = members.iter().any(Member::is_awaited);
    is_awaited.then(|| "not every server has answered yet".into())
}

/// Why there is no candidate at all.
fn nobody(
    members: &[Member],
    sources: Sources<'_>,
    unknowns: Unknowns<'_>,
    memory: &mut Memory,
) -> Arc<str> {
    memory.ahead_since = None;
    if members.is_empty() {
        let problems: Vec<&str> = unknowns.problems.iter().map(|problem| &**problem).collect();
        return match &problems[..] {
            [] => "no server is listed: no container has the labels, and there is no [[backends]]"
                .into(),
            problems => format!("no server is known: {}", problems.join("; ")).into(),
        };
    }
    let last =
        members.iter().find(|member| Some(&member.server.key) == memory.established.as_ref());
    let each = members.iter().filter(|member| last.is_none_or(|last| last.id != member.id));
    let reasons: Vec<_> = last
        .into_iter()
        .chain(each)
        .filter_map(|member| obstacle(member, members, sources))
        .collect();
    format!("no server takes writes: {}", reasons.join("; ")).into()
}

/// Of several candidates the one that holds all that the others have.
fn among(
    candidates: &[&Member],
    established: Option<&Member>,
    memory: &mut Memory,
    now: Instant,
) -> Verdict {
    let holds = |one: &Member, other: &Member| matches!((history(one), history(other)), (Some(one), Some(other)) if one.contains(&other));
    let holds_all = |one: &Member| candidates.iter().all(|other| holds(one, other));
    if let Some(established) = established.filter(|member| holds_all(member)) {
        memory.ahead_since = None;
        return Verdict::Primary(established.id);
    }
    let names = list(candidates.iter().copied());
    let mut ahead = candidates.iter().filter(|one| holds_all(one));
    let (Some(ahead), None) = (ahead.next(), ahead.next()) else {
        memory.ahead_since = None;
        return Verdict::Stopped(
            format!(
                "{names} are all writable, and none of them holds all that the others have: \
                 make all but one read-only"
            )
            .into(),
        );
    };
    match memory.ahead_since {
        Some((id, since)) if id == ahead.id => {
            if now.saturating_duration_since(since) >= SETTLE {
                return Verdict::Primary(ahead.id);
            }
        }
        _ => memory.ahead_since = Some((ahead.id, now)),
    }
    let name = &ahead.server.name;
    Verdict::Stopped(
        format!("{names} are all writable; {name} seems to hold all that the others have").into(),
    )
}

fn list<'a>(members: impl Iterator<Item = &'a Member>) -> String {
    let names: Vec<&str> = members.map(|member| &*member.server.name).collect();
    names.join(", ")
}
