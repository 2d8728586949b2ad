//! Galera: what a server is asked, and how its answers are read.

use super::{is_on, value};
use crate::backend::sql_client::Rows;
use crate::routing::membership::galera::{Node, State};

/// The settings that [`is_set_up`] and [`read`] want.
pub const SETTINGS: [&str; 3] = ["wsrep_on", "wsrep_provider", "wsrep_reject_queries"];

/// What a node says of itself and its cluster.
pub const STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_state_uuid', \
    'wsrep_cluster_status', 'wsrep_cluster_conf_id', 'wsrep_cluster_size', 'wsrep_local_state', \
    'wsrep_ready', 'wsrep_connected', 'wsrep_last_committed', 'wsrep_local_recv_queue', \
    'wsrep_local_send_queue', 'wsrep_flow_control_active', 'wsrep_flow_control_status')";

/// Whether a server is a node, by its settings: MariaDB has them all without being one.
pub fn is_set_up(settings: &Rows) -> bool {
    value(settings, SETTINGS[1]).is_some_and(|provider| !matches!(provider, "" | "none"))
}

pub fn read(settings: &Rows, status: &Rows) -> Node {
    let text = |name: &str| value(status, name).unwrap_or_default();
    let number = |name: &str| text(name).parse().unwrap_or(0);
    let is_true = |name: &str| matches!(text(name), "ON" | "true");
    Node {
        cluster: text("wsrep_cluster_state_uuid").to_ascii_lowercase().into(),
        in_primary_component: text("wsrep_cluster_status") == "Primary",
        view: number("wsrep_cluster_conf_id"),
        size: number("wsrep_cluster_size"),
        // What nobody knows is no state to read or write in.
        state: State::parse(text("wsrep_local_state")).unwrap_or(State::Initialized),
        is_ready: is_true("wsrep_ready"),
        is_connected: is_true("wsrep_connected"),
        replicates: value(settings, SETTINGS[0]).is_some_and(is_on),
        rejects_queries: value(settings, SETTINGS[2]).is_some_and(|value| value != "NONE"),
        last_committed: number("wsrep_last_committed"),
        receive_queue: number("wsrep_local_recv_queue"),
        send_queue: number("wsrep_local_send_queue"),
        is_throttled: is_true("wsrep_flow_control_active") || is_true("wsrep_flow_control_status"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::pairs;
    use super::*;
    use crate::routing::membership::galera::tests::node;

    fn settings(provider: &str) -> Rows {
        pairs(&[
            ("wsrep_on", if provider == "none" { "OFF" } else { "ON" }),
            ("wsrep_provider", provider),
            ("wsrep_reject_queries", "NONE"),
        ])
    }

    /// As MariaDB 10.11 with Galera 4 answers.
    fn status() -> Vec<(&'static str, &'static str)> {
        vec![
            ("wsrep_last_committed", "17"),
            ("wsrep_local_send_queue", "0"),
            ("wsrep_local_recv_queue", "2"),
            ("wsrep_flow_control_active", "false"),
            ("wsrep_local_state", "4"),
            ("wsrep_cluster_conf_id", "3"),
            ("wsrep_cluster_size", "3"),
            ("wsrep_cluster_state_uuid", "20e35691-e96e-11f1-bab6-13a7f1f13c84"),
            ("wsrep_cluster_status", "Primary"),
            ("wsrep_connected", "ON"),
            ("wsrep_ready", "ON"),
        ]
    }

    #[test]
    fn a_node_that_is_well_and_one_that_is_cut_off() {
        let settings = settings("/usr/lib/galera/libgalera_smm.so");
        assert!(is_set_up(&settings));
        let expected = Node { receive_queue: 2, ..node(17) };
        assert_eq!(read(&settings, &pairs(&status())), expected);

        let mut cut_off = status();
        for (name, value) in &mut cut_off {
            match *name {
                "wsrep_local_state" => *value = "0",
                "wsrep_cluster_conf_id" => *value = "18446744073709551615",
                "wsrep_cluster_size" => *value = "1",
                "wsrep_cluster_status" => *value = "non-Primary",
                "wsrep_ready" => *value = "OFF",
                _ => {}
            }
        }
        let node = read(&settings, &pairs(&cut_off));
        assert!(!node.is_in_component());
        assert_eq!((node.state, node.view), (State::Initialized, u64::MAX));
    }

    #[test]
    fn servers_without_it_are_not_asked() {
        assert!(!is_set_up(&settings("none")));
        assert!(!is_set_up(&pairs(&[])));
    }
}
