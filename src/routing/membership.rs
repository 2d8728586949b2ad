//! Groups of servers that agree on each transaction before it commits: Group Replication and
//! Galera. What a member says of itself and of the others.

pub mod galera;
pub mod group;

use std::sync::Arc;

pub use galera::Node;
pub use group::Member;

/// What a server belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Membership {
    /// No group: it stands alone, or replicates by channels.
    #[default]
    Alone,
    /// MySQL's Group Replication, also where InnoDB Cluster has set it up; a member that has left
    /// its group is set up for it still.
    Group(Arc<Member>),
    /// A node of a Galera or Percona XtraDB cluster, or one that should be.
    Galera(Arc<Node>),
}

/// Which group: servers of one id have the same transactions in the same order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupId {
    /// `group_replication_group_name`.
    Group(Arc<str>),
    /// `wsrep_cluster_state_uuid`.
    Galera(Arc<str>),
}

impl GroupId {
    /// As operators know it.
    pub fn name(&self) -> &Arc<str> {
        match self {
            GroupId::Group(name) | GroupId::Galera(name) => name,
        }
    }
}

impl Membership {
    /// The group in which it takes part now, up to date or not; `None` when it is out.
    pub fn active(&self) -> Option<GroupId> {
        match self {
            Membership::Group(member) if member.is_active() => {
                Some(GroupId::Group(member.group.clone()))
            }
            Membership::Galera(node) if node.is_in_component() => {
                Some(GroupId::Galera(node.cluster.clone()))
            }
            _ => None,
        }
    }

    /// Whether its group takes writes there, at it alone or at others, too.
    pub fn may_be_written(&self) -> bool {
        let is_primary = matches!(self, Membership::Group(member)
            if member.role == Some(group::Role::Primary));
        self.active().is_some() && (is_primary || self.is_multi_writer())
    }

    /// Whether several members of its group take writes at once.
    pub fn is_multi_writer(&self) -> bool {
        match self {
            Membership::Alone => false,
            Membership::Group(member) => !member.single_primary,
            Membership::Galera(_) => true,
        }
    }

    /// Whether it can commit, by what it sees; `None` where there is no group.
    pub fn can_commit(&self) -> Option<bool> {
        match self {
            Membership::Alone => None,
            Membership::Group(member) => {
                Some(member.state == group::State::Online && member.has_majority())
            }
            Membership::Galera(node) => Some(node.is_in_component()),
        }
    }

    /// What waits there, by the queues' names.
    pub fn queues(&self) -> Vec<(&'static str, u64)> {
        match self {
            Membership::Alone => Vec::new(),
            Membership::Group(member) => {
                vec![("certifier", member.certifier_queue), ("applier", member.applier_queue)]
            }
            Membership::Galera(node) => {
                vec![("receive", node.receive_queue), ("send", node.send_queue)]
            }
        }
    }

    /// The server's own words for its state, for a table.
    pub fn state(&self) -> Option<&str> {
        match self {
            Membership::Alone => None,
            Membership::Group(member) => Some(member.state.name()),
            Membership::Galera(node) => Some(node.state_name()),
        }
    }
}
