//! A node of a Galera cluster, by its `wsrep_…` status variables.

use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `wsrep_cluster_state_uuid`; all zeros before it was ever in the primary component.
    pub cluster: Arc<str>,
    /// `wsrep_cluster_status` is `Primary`: it is among those that may go on. Others refuse every
    /// statement that looks at a table (error 1047).
    pub in_primary_component: bool,
    /// `wsrep_cluster_conf_id`: the number of the component's present membership.
    pub view: u64,
    /// `wsrep_cluster_size`.
    pub size: u64,
    pub state: State,
    /// `wsrep_ready`: it takes statements.
    pub is_ready: bool,
    /// `wsrep_connected`.
    pub is_connected: bool,
    /// `wsrep_on`: what is written there reaches the others.
    pub replicates: bool,
    /// `wsrep_reject_queries` is not `NONE`: an operator keeps statements out.
    pub rejects_queries: bool,
    /// `wsrep_last_committed`: every transaction of the cluster up to this number is there.
    pub last_committed: u64,
    /// Transactions that wait to be applied there (`wsrep_local_recv_queue`).
    pub receive_queue: u64,
    /// `wsrep_local_send_queue`.
    pub send_queue: u64,
    /// The cluster's writers are stopped now until some node has caught up
    /// (`wsrep_flow_control_active`, `wsrep_flow_control_status`).
    pub is_throttled: bool,
}

/// `wsrep_local_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has joined nobody.
    Initialized,
    /// It asks for what it lacks, or is given it.
    Joining,
    /// It gives its data to another node, or was told not to keep up (`wsrep_desync`): nobody
    /// waits for it.
    Donor,
    /// It has the data, and applies what was written meanwhile.
    Joined,
    Synced,
}

impl State {
    /// `None` for a number that is not known.
    pub fn parse(text: &str) -> Option<State> {
        Some(match text {
            "0" => State::Initialized,
            "1" => State::Joining,
            "2" => State::Donor,
            "3" => State::Joined,
            "4" => State::Synced,
            _ => return None,
        })
    }

    /// As `wsrep_local_state_comment` has it.
    pub fn name(self) -> &'static str {
        match self {
            State::Initialized => "Initialized",
            State::Joining => "Joining",
            State::Donor => "Donor/Desynced",
            State::Joined => "Joined",
            State::Synced => "Synced",
        }
    }
}

impl Node {
    /// Among those that may go on, and open to statements.
    pub fn is_in_component(&self) -> bool {
        self.in_primary_component && self.is_connected && self.is_ready
    }

    /// What says most, for a table.
    pub fn state_name(&self) -> &'static str {
        if self.in_primary_component { self.state.name() } else { "non-Primary" }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One of three that is well.
    pub fn node(last_committed: u64) -> Node {
        Node {
            cluster: "20e35691-e96e-11f1-bab6-13a7f1f13c84".into(),
            in_primary_component: true,
            view: 3,
            size: 3,
            state: State::Synced,
            is_ready: true,
            is_connected: true,
            replicates: true,
            rejects_queries: false,
            last_committed,
            receive_queue: 0,
            send_queue: 0,
            is_throttled: false,
        }
    }

    #[test]
    fn who_may_go_on() {
        assert!(node(1).is_in_component());
        assert!(!Node { is_ready: false, ..node(1) }.is_in_component());
        assert!(!Node { is_connected: false, ..node(1) }.is_in_component());
        let cut_off = Node { in_primary_component: false, ..node(1) };
        assert!(!cut_off.is_in_component());
        assert_eq!((node(1).state_name(), cut_off.state_name()), ("Synced", "non-Primary"));
    }
}
