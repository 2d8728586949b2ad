//! Why the primary must not be written although it takes writes.

use std::sync::Arc;

use humantime::format_duration;

use super::Policy;
use super::member::Member;
use super::primary::Verdict;
use crate::routing::semi_sync::{Asynchronous, Source};
use crate::wire::{Flavour, ServerVersion};

/// `require_semi_sync`: while commits there would not wait for replicas, or in vain.
pub fn reason(verdict: &Verdict, members: &[Member], policy: &Policy) -> Option<Arc<str>> {
    let Verdict::Primary(id) = verdict else { return None };
    if !policy.require_semi_sync {
        return None;
    }
    let member = members.iter().find(|member| member.id == *id)?;
    let said = member.last.as_deref()?;
    let text = missing(&member.server.name, said.semi_sync.source.as_ref(), &said.version)?;
    Some(format!("routing.require_semi_sync: {text}").into())
}

fn missing(name: &str, source: Option<&Source>, version: &ServerVersion) -> Option<String> {
    let Some(source) = source else {
        return Some(format!("{name} has no semi-synchronous replication (a plugin of MySQL)"));
    };
    let switch = match version.flavour {
        Flavour::MySql if (version.major, version.minor, version.patch) >= (8, 0, 26) => {
            "rpl_semi_sync_source_enabled"
        }
        _ => "rpl_semi_sync_master_enabled",
    };
    let Source { clients, wait_for, timeout, .. } = source;
    let timeout = format_duration(*timeout);
    Some(match source.asynchronous()? {
        Asynchronous::SwitchedOff => format!(
            "semi-synchronous replication is switched off on {name} (SET GLOBAL {switch} = ON \
             mends it)"
        ),
        Asynchronous::FallenBack if clients >= wait_for => format!(
            "{name} has fallen back to asynchronous replication: no acknowledgement within \
             {timeout}. It goes on when a replica acknowledges what it has missed; where none \
             misses anything, SET GLOBAL {switch} = OFF and then ON mends it"
        ),
        Asynchronous::FallenBack => format!(
            "{name} has fallen back to asynchronous replication, and {clients} of {wait_for} \
             acknowledging replicas are connected"
        ),
        Asynchronous::TooFewReplicas => {
            format!("{clients} of {wait_for} acknowledging replicas are connected to {name}")
        }
    })
}
