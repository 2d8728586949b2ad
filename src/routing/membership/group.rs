//! A member of Group Replication, by `performance_schema.replication_group_members` and
//! `replication_group_member_stats`.

use std::sync::Arc;

/// What a member says of its group. The others' states are how they look from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// `group_replication_group_name`.
    pub group: Arc<str>,
    /// `group_replication_single_primary_mode`.
    pub single_primary: bool,
    /// Its own.
    pub state: State,
    /// Its own; `None` while it is out of the group, and in 5.7, which does not tell it.
    pub role: Option<Role>,
    /// `None` while it is out of the group.
    pub view: Option<View>,
    /// All members of its view, itself among them.
    pub peers: Vec<Peer>,
    /// Transactions that wait to be certified there (`COUNT_TRANSACTIONS_IN_QUEUE`).
    pub certifier_queue: u64,
    /// Transactions of others that wait to be applied there
    /// (`COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE`).
    pub applier_queue: u64,
    /// Lengths of the two queues from which on the group slows its writers down; `None` where
    /// flow control is off.
    pub flow_control: Option<FlowControl>,
}

/// `MEMBER_STATE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Online,
    /// It fetches what it has missed.
    Recovering,
    /// It does not take part: never started, or stopped.
    Offline,
    /// It has failed, and left the group.
    Error,
    /// The one that tells it has lost touch with it.
    Unreachable,
}

/// `MEMBER_ROLE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Primary,
    Secondary,
}

/// `VIEW_ID`: who was a member at a time. `17956794535024076:3` has the group's incarnation before
/// the colon, and behind it a number that rises with each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    pub incarnation: u64,
    pub number: u64,
}

/// A member, as another one sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its `server_uuid`.
    pub id: Arc<str>,
    pub state: State,
    pub role: Option<Role>,
}

/// `group_replication_flow_control_certifier_threshold` and `…_applier_threshold`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowControl {
    pub certifier: u64,
    pub applier: u64,
}

impl State {
    /// `None` for a word that is not known.
    pub fn parse(text: &str) -> Option<State> {
        Some(match text {
            "ONLINE" => State::Online,
            "RECOVERING" => State::Recovering,
            "OFFLINE" => State::Offline,
            "ERROR" => State::Error,
            "UNREACHABLE" => State::Unreachable,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            State::Online => "ONLINE",
            State::Recovering => "RECOVERING",
            State::Offline => "OFFLINE",
            State::Error => "ERROR",
            State::Unreachable => "UNREACHABLE",
        }
    }
}

impl Role {
    /// `None` for an empty text, which is that of a member that is out.
    pub fn parse(text: &str) -> Option<Role> {
        match text {
            "PRIMARY" => Some(Role::Primary),
            "SECONDARY" => Some(Role::Secondary),
            _ => None,
        }
    }
}

impl View {
    pub fn parse(text: &str) -> Option<View> {
        let (incarnation, number) = text.split_once(':')?;
        Some(View { incarnation: incarnation.parse().ok()?, number: number.parse().ok()? })
    }
}

impl Member {
    pub fn is_active(&self) -> bool {
        matches!(self.state, State::Online | State::Recovering)
    }

    /// Members of its view with which it is in touch, itself among them.
    pub fn reachable(&self) -> usize {
        self.peers.iter().filter(|peer| peer.state != State::Unreachable).count()
    }

    /// With fewer nothing commits: a write waits until the majority is back.
    pub fn has_majority(&self) -> bool {
        self.reachable() * 2 > self.peers.len()
    }

    /// Whether it knows of a later change of the same group than `other` does.
    pub fn is_ahead_of(&self, other: &Member) -> bool {
        self.group == other.group
            && matches!((self.view, other.view), (Some(ours), Some(theirs))
                if ours.incarnation == theirs.incarnation && ours.number > theirs.number)
    }

    pub fn peer(&self, id: &str) -> Option<&Peer> {
        self.peers.iter().find(|peer| *peer.id == *id)
    }

    /// Whether the group slows its writers down for the sake of this member.
    pub fn throttles(&self) -> bool {
        self.flow_control.is_some_and(|limit| {
            self.certifier_queue > limit.certifier || self.applier_queue > limit.applier
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One of a group whose members look so from there; the first is itself.
    pub fn member(peers: &[(&str, State, Role)], number: u64) -> Member {
        let peer = |&(id, state, role): &(&str, State, Role)| Peer {
            id: id.into(),
            state,
            role: Some(role),
        };
        Member {
            group: "5fe82f1a-e2ad-6bac-b064-ff351534ec1b".into(),
            single_primary: true,
            state: peers[0].1,
            role: Some(peers[0].2),
            view: Some(View { incarnation: 17, number }),
            peers: peers.iter().map(peer).collect(),
            certifier_queue: 0,
            applier_queue: 0,
            flow_control: Some(FlowControl { certifier: 25_000, applier: 25_000 }),
        }
    }

    #[test]
    fn majorities() {
        let (up, gone) = (State::Online, State::Unreachable);
        let table: &[(&[State], bool)] = &[
            (&[up], true),
            (&[up, gone], false),
            (&[up, up, gone], true),
            (&[up, gone, gone], false),
            (&[up, up, gone, gone], false),
            (&[up, State::Recovering, up, gone, gone], true),
        ];
        for (states, expected) in table {
            let peers: Vec<_> = states.iter().map(|state| ("a", *state, Role::Secondary)).collect();
            assert_eq!(member(&peers, 1).has_majority(), *expected, "{states:?}");
        }
    }

    #[test]
    fn views_are_compared_within_one_incarnation() {
        let view = View::parse("17956794535024076:3").expect("a view");
        assert_eq!(view, View { incarnation: 17_956_794_535_024_076, number: 3 });
        for text in ["", "17", "a:1", "1:"] {
            assert_eq!(View::parse(text), None, "{text}");
        }
        let peers = [("a", State::Online, Role::Primary)];
        let (old, new) = (member(&peers, 3), member(&peers, 4));
        assert!(new.is_ahead_of(&old) && !old.is_ahead_of(&new) && !old.is_ahead_of(&old));
        let mut another = new.clone();
        another.view = Some(View { incarnation: 18, number: 9 });
        assert!(!another.is_ahead_of(&old));
        another.group = "another".into();
        another.view = Some(View { incarnation: 17, number: 9 });
        assert!(!another.is_ahead_of(&old));
    }

    #[test]
    fn flow_control_has_two_thresholds() {
        let mut one = member(&[("a", State::Online, Role::Primary)], 1);
        one.applier_queue = 25_000;
        assert!(!one.throttles());
        one.certifier_queue = 25_001;
        assert!(one.throttles());
        one.flow_control = None;
        assert!(!one.throttles());
    }
}
