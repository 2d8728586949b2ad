//! What follows from a server's part in a group: Group Replication, Galera.

use std::sync::Arc;

use super::member::{Contact, Member};
use crate::config::RoleSetting;
use crate::monitor::observation::Observation;
use crate::routing::membership::galera::{Node, State as NodeState};
use crate::routing::membership::group::{Member as GroupMember, Role as GroupRole, State};
use crate::routing::membership::{GroupId, Membership};
use crate::routing::topology::Role;

/// The group in which a server takes part, as far as it can be counted on.
pub fn active(member: &Member) -> Option<GroupId> {
    member.voice().and_then(|said| said.membership.active())
}

/// Whether two servers take part in one group.
pub fn together(one: &Observation, other: &Observation) -> bool {
    one.membership.active().is_some_and(|group| other.membership.active() == Some(group))
}

/// Why its group does not let a server be the primary, though it may be writable.
pub fn bars_writes(member: &Member, members: &[Member]) -> Option<String> {
    let said = member.last.as_deref()?;
    match &said.membership {
        Membership::Alone => None,
        Membership::Group(own) => {
            if let Some(reason) = out_of_group(own).or_else(|| cut_off(said, own, members)) {
                return Some(reason);
            }
            match own.role {
                Some(GroupRole::Secondary) => {
                    Some(format!("it is a secondary of the group {}", own.group))
                }
                Some(GroupRole::Primary) | None => None,
            }
        }
        Membership::Galera(node) => closed(node)
            .or_else(|| left_behind(member, node, members))
            .or_else(|| match node.state {
                NodeState::Synced | NodeState::Donor if !node.replicates => Some(
                    "wsrep_on is OFF: what is written there does not reach the others".to_owned(),
                ),
                NodeState::Synced | NodeState::Donor => None,
                state => Some(not_synced(state)),
            }),
    }
}

/// Why it takes no reads, of a member that is a replica. `writer`: what the primary says, if there
/// is one.
pub fn bars_reads(
    said: &Observation,
    writer: Option<&Observation>,
    members: &[Member],
) -> Option<Arc<str>> {
    let reason = match &said.membership {
        Membership::Alone => return None,
        Membership::Group(own) => match own.state {
            State::Recovering => {
                Some("it is recovering: it fetches what it has missed of its group".to_owned())
            }
            State::Online => cut_off(said, own, members).filter(|_| {
                // Of a group of which no member is known to have a majority, nobody is known to go
                // on: what there is is as good as it gets.
                let goes_on = |other: &Observation| match &other.membership {
                    Membership::Group(other) => {
                        other.group == own.group
                            && other.state == State::Online
                            && other.has_majority()
                    }
                    _ => false,
                };
                writer.is_some() || members.iter().filter_map(Member::voice).any(goes_on)
            }),
            _ => None,
        },
        Membership::Galera(node) => closed(node).or_else(|| match node.state {
            NodeState::Synced => None,
            state => Some(not_synced(state)),
        }),
    };
    reason.map(Into::into)
}

/// What a server is by its part in a group; `None` where that says nothing. `writer`: the primary's
/// name and what it says, if there is one.
pub fn role(
    said: &Observation,
    writer: Option<(&Arc<str>, &Observation)>,
) -> Option<(Role, Arc<str>)> {
    let led_by = writer.filter(|(_, writer)| together(said, writer)).map(|(name, _)| name);
    let (role, reason) = match &said.membership {
        Membership::Alone => return None,
        Membership::Group(own) => {
            let group = &own.group;
            match (out_of_group(own), own.role, led_by) {
                // It may replicate by a channel.
                (Some(_), ..) if own.state == State::Offline && !said.channels.is_empty() => {
                    return None;
                }
                (Some(reason), ..) => (Role::Unknown, reason),
                (None, Some(GroupRole::Primary), Some(name)) => (
                    Role::Replica,
                    format!("it is a primary of the group {group}, which is written at {name}"),
                ),
                (None, Some(GroupRole::Primary), None) => (
                    Role::Replica,
                    format!("it is a primary of the group {group}, and not to be written"),
                ),
                (None, _, Some(name)) => (
                    Role::Replica,
                    format!("it is a secondary of the group {group}, whose primary is {name}"),
                ),
                (None, _, None) => {
                    (Role::Replica, format!("it is a secondary of the group {group}"))
                }
            }
        }
        Membership::Galera(node) => match (closed(node), led_by) {
            (Some(reason), _) => (Role::Unknown, reason),
            (None, Some(name)) => (
                Role::Replica,
                format!("it is a node of the cluster {}, which is written at {name}", node.cluster),
            ),
            (None, None) => {
                (Role::Replica, format!("it is a node of the cluster {}", node.cluster))
            }
        },
    };
    Some((role, reason.into()))
}

/// What an operator should know of a member though it may serve.
pub fn warnings(said: &Observation) -> Vec<Arc<str>> {
    match &said.membership {
        Membership::Group(own) if own.throttles() => {
            let limit = own.flow_control.expect("it throttles by its limits");
            let longest = if own.certifier_queue > limit.certifier {
                format!("more than {} transactions wait there to be certified", limit.certifier)
            } else {
                format!("more than {} transactions wait there to be applied", limit.applier)
            };
            vec![format!("flow control slows its group down: {longest}").into()]
        }
        Membership::Galera(node) if node.is_in_component() && !node.replicates => {
            vec!["wsrep_on is OFF: what is written there does not reach the others".into()]
        }
        _ => Vec::new(),
    }
}

/// Of several candidates in one group that all may be written, the one that is: writes to a group
/// are checked against each other only when they commit, so that two writers get in each other's
/// way, and a session that moves between them does not see what it has written.
///
/// A node that keeps up comes before a donor, one that is labelled primary before the one that was
/// written last (`established`), one that is labelled replica after all others, and the first by
/// name before the rest.
pub fn one_writer_each<'a>(
    candidates: Vec<&'a Member>,
    established: Option<&Arc<str>>,
) -> Vec<&'a Member> {
    let rank = |member: &Member| {
        let label = member.server.spec.role;
        let was_writer = established == Some(&member.server.key);
        (
            !keeps_up(member),
            label != RoleSetting::Primary,
            !was_writer,
            label == RoleSetting::Replica,
            member.server.name.clone(),
        )
    };
    let mut chosen: Vec<&Member> = Vec::new();
    for candidate in &candidates {
        let rivals: Vec<&Member> =
            candidates.iter().copied().filter(|other| is_rival(candidate, other)).collect();
        let first = match splits_up(&rivals) {
            true => candidate,
            false => rivals.iter().min_by_key(|rival| rank(rival)).unwrap_or(candidate),
        };
        if !chosen.iter().any(|one| one.id == first.id) {
            chosen.push(first);
        }
    }
    chosen
}

/// Whether two candidates are members of one group that takes writes at both, or one and the same.
fn is_rival(one: &Member, other: &Member) -> bool {
    one.id == other.id
        || match (one.voice(), other.voice()) {
            (Some(one), Some(other)) => together(one, other) && one.membership.is_multi_writer(),
            _ => false,
        }
}

/// More nodes say that they are in a Galera cluster's primary component than any of them counts
/// there: somebody has made a second component go on, and their transactions differ.
fn splits_up(nodes: &[&Member]) -> bool {
    let size = |member: &&Member| match &member.voice()?.membership {
        Membership::Galera(node) => Some(node.size),
        _ => None,
    };
    nodes.iter().filter_map(size).max().is_some_and(|largest| nodes.len() as u64 > largest)
}

/// Others wait for it when it falls behind.
fn keeps_up(member: &Member) -> bool {
    !matches!(member.voice().map(|said| &said.membership),
        Some(Membership::Galera(node)) if node.state != NodeState::Synced)
}

fn out_of_group(own: &GroupMember) -> Option<String> {
    let GroupMember { group, state, .. } = own;
    match state {
        State::Online | State::Recovering => None,
        State::Offline => Some(format!(
            "it is set up for the group {group}, and not in it (START GROUP_REPLICATION joins it)"
        )),
        State::Error | State::Unreachable => Some(format!(
            "it has left the group {group} by an error, which its own log tells: STOP and START \
             GROUP_REPLICATION joins it again"
        )),
    }
}

/// Why an active member does not belong to the part of its group that can go on.
fn cut_off(said: &Observation, own: &GroupMember, members: &[Member]) -> Option<String> {
    let GroupMember { group, peers, .. } = own;
    if own.state == State::Recovering {
        return Some("it is recovering: it fetches what it has missed of its group".to_owned());
    }
    if !own.has_majority() {
        let (reached, all) = (own.reachable(), peers.len());
        return Some(format!(
            "it reaches {reached} of {all} members of the group {group}, itself included, and \
             without a majority nothing can be committed"
        ));
    }
    // One that was cut off, or asleep, takes a while to hear that the others have gone on.
    let id = &said.identity.instance;
    let goes_on_without = |other: &Observation| match &other.membership {
        Membership::Group(other) if other.is_ahead_of(own) => {
            let is_counted = other.peer(id).is_some_and(|peer| {
                own.role != Some(GroupRole::Primary) || peer.role == Some(GroupRole::Primary)
            });
            other.state == State::Online && other.has_majority() && !is_counted
        }
        _ => false,
    };
    members.iter().filter_map(Member::voice).any(goes_on_without).then(|| {
        let role = if own.role == Some(GroupRole::Primary) { "primary" } else { "member" };
        format!("the group {group} has gone on without it as a {role}")
    })
}

/// Why a node of Galera takes no statements.
fn closed(node: &Node) -> Option<String> {
    if !node.in_primary_component {
        return Some(
            "it is not in the primary component of its cluster (wsrep_cluster_status)".to_owned(),
        );
    }
    let closed = match node {
        Node { is_connected: false, .. } => "it is not connected to its cluster (wsrep_connected)",
        Node { is_ready: false, .. } => "it is not ready for statements (wsrep_ready)",
        Node { rejects_queries: true, .. } => "wsrep_reject_queries keeps statements out",
        _ => return None,
    };
    Some(closed.to_owned())
}

/// The cluster has gone on without a node that does not answer: what that one has said is old.
fn left_behind(member: &Member, node: &Node, members: &[Member]) -> Option<String> {
    let goes_on = |other: &Member| {
        other.contact == Contact::Answering
            && matches!(other.voice().map(|said| &said.membership),
                Some(Membership::Galera(other)) if other.is_in_component()
                    && other.cluster == node.cluster && other.view > node.view)
    };
    (member.contact != Contact::Answering && members.iter().any(goes_on))
        .then(|| "it does not answer, and its cluster has gone on without it".to_owned())
}

fn not_synced(state: NodeState) -> String {
    match state {
        NodeState::Donor => "it is a donor, or desynced (wsrep_desync): its cluster does not wait \
                             for it when it falls behind"
            .to_owned(),
        state => format!("it is not in step with its cluster yet: {}", state.name()),
    }
}
