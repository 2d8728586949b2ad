//! Which of our servers a channel leads to.

use std::sync::Arc;

use super::member::Member;
use crate::monitor::observation::{Channel, Identity};

/// Most servers remembered after they are no longer listed.
const MOST_DEPARTED: usize = 64;

/// A server that was listed once. Its replicas are not replicas of a stranger: a container is
/// removed and made anew at every `compose up --force-recreate`.
#[derive(Debug)]
pub struct Departed {
    name: Arc<str>,
    identity: Identity,
    aliases: Vec<Arc<str>>,
    port: u16,
}

/// Remembers servers that have gone from the list.
pub fn remember(departed: &mut Vec<Departed>, gone: Vec<Member>) {
    for member in gone {
        let Some(identity) = member.identity else { continue };
        departed.retain(|known| known.identity != identity);
        departed.push(Departed {
            name: member.server.name,
            identity,
            aliases: member.server.aliases,
            port: member.server.port,
        });
    }
    let excess = departed.len().saturating_sub(MOST_DEPARTED);
    departed.drain(..excess);
}

/// Where a channel leads.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    Member(&'a Member),
    Departed(&'a Departed),
    /// None of ours, as far as can be told.
    Stranger,
}

impl Source<'_> {
    /// The name of a server that is ours.
    pub fn name(&self) -> Option<&Arc<str>> {
        match self {
            Source::Member(member) => Some(&member.server.name),
            Source::Departed(departed) => Some(&departed.name),
            Source::Stranger => None,
        }
    }
}

/// All whom a channel could lead to.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    members: &'a [Member],
    departed: &'a [Departed],
}

impl<'a> Sources<'a> {
    pub fn new(members: &'a [Member], departed: &'a [Departed]) -> Self {
        Sources { members, departed }
    }

    /// Where `channel` of `member` leads: by the source's uuid; else by the name and port that the
    /// replica dials; else by the source's server id, if only one of ours has that.
    pub fn of(self, member: &Member, channel: &Channel) -> Source<'a> {
        let others = || self.members.iter().filter(|other| other.id != member.id);
        if let Some(uuid) = &channel.source_uuid {
            let is_it = |identity: &Identity| identity.instance == *uuid;
            if let Some(found) = others().find(|other| other.identity.as_ref().is_some_and(is_it)) {
                return Source::Member(found);
            }
            if let Some(found) = self.departed.iter().find(|gone| is_it(&gone.identity)) {
                return Source::Departed(found);
            }
        }
        let host = channel.host.to_lowercase();
        let is_named = |aliases: &[Arc<str>], port: u16| {
            port == channel.port && aliases.iter().any(|alias| **alias == *host)
        };
        // A name leads to a server whose uuid is known to be another only if that was made anew.
        let named = others().find(|other| is_named(&other.server.aliases, other.server.port));
        if let Some(found) = named {
            return Source::Member(found);
        }
        let named = self.departed.iter().find(|gone| is_named(&gone.aliases, gone.port));
        if let Some(found) = named {
            return Source::Departed(found);
        }
        if let (None, Some(id)) = (&channel.source_uuid, channel.source_id) {
            let mut same =
                others().filter(|other| other.identity.as_ref().is_some_and(|i| i.server_id == id));
            if let (Some(found), None) = (same.next(), same.next()) {
                return Source::Member(found);
            }
            let gone = self.departed.iter().find(|gone| gone.identity.server_id == id);
            if let Some(found) = gone {
                return Source::Departed(found);
            }
        }
        Source::Stranger
    }

    /// Each channel of a server with where it leads.
    pub fn channels(self, member: &'a Member) -> impl Iterator<Item = (&'a Channel, Source<'a>)> {
        let channels = member.last.as_deref().map_or(&[][..], |last| &last.channels[..]);
        channels.iter().map(move |channel| (channel, self.of(member, channel)))
    }
}
