//! What an operator is told of a server.

use std::sync::Arc;

use super::groups;
use super::member::Member;
use super::sources::{Source, Sources};
use crate::config::RoleSetting;
use crate::monitor::observation::Channel;
use crate::routing::topology::{Replication, Role};

/// What the operator is shown of a server's replication.
pub fn replication(member: &Member, sources: Sources<'_>) -> Vec<Replication> {
    let show = |(channel, source): (&Channel, Source<'_>)| Replication {
        source: source.name().cloned().unwrap_or_else(|| dialled(channel)),
        receiver: channel.receiver,
        applier: channel.applier,
        seconds_behind: channel.seconds_behind,
        delay: channel.delay,
        error: channel.applier_error.clone().or_else(|| channel.receiver_error.clone()),
    };
    sources.channels(member).map(show).collect()
}

/// A channel's source as the replica dials it.
pub fn dialled(channel: &Channel) -> Arc<str> {
    format!("{}:{}", channel.host, channel.port).into()
}

/// What is wrong with a server though it may serve.
pub fn warnings(member: &Member, role: Role, sources: Sources<'_>) -> Vec<Arc<str>> {
    let mut warnings: Vec<Arc<str>> = Vec::new();
    let Some(said) = member.last.as_deref() else { return warnings };
    if role == Role::Replica && said.is_writable() && !said.membership.may_be_written() {
        let statement = member.read_only_statement();
        warnings.push(format!("a replica that is writable: {statement} mends it").into());
    }
    match (member.server.spec.role, role) {
        (RoleSetting::Primary, Role::Replica) => {
            warnings.push("labelled primary, but it is a replica".into());
        }
        (RoleSetting::Primary, Role::Unknown) if !said.is_writable() => {
            warnings.push("labelled primary, but it is read-only".into());
        }
        (RoleSetting::Replica, Role::Primary) => {
            warnings.push("labelled replica, but it is the primary".into());
        }
        _ => {}
    }
    for (channel, source) in sources.channels(member) {
        if matches!(source, Source::Stranger) && role != Role::Unknown {
            let source = dialled(channel);
            warnings.push(format!("it replicates from {source} too, which is not listed").into());
        }
    }
    warnings.extend(groups::warnings(said));
    if role == Role::Replica {
        warnings.extend(member.errant.warning());
    }
    warnings
}
