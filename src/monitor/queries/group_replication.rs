//! Group Replication: what a server is asked, and how its answers are read.

use std::sync::Arc;

use super::{Unreadable, is_on, value};
use crate::backend::sql_client::Rows;
use crate::gtid::GtidSet;
use crate::routing::membership::group::{FlowControl, Member, Peer, Role, State, View};

/// The settings that [`read`] wants.
pub const SETTINGS: [&str; 5] = [
    "group_replication_group_name",
    "group_replication_single_primary_mode",
    "group_replication_flow_control_mode",
    "group_replication_flow_control_certifier_threshold",
    "group_replication_flow_control_applier_threshold",
];

/// The members as a server sees them, one row each, with what they have told of their queues. A
/// server that is out of its group has a row for itself.
pub const MEMBERS: &str = "SELECT m.*, s.VIEW_ID, s.COUNT_TRANSACTIONS_IN_QUEUE, \
    s.COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE \
    FROM performance_schema.replication_group_members m \
    LEFT JOIN performance_schema.replication_group_member_stats s USING (MEMBER_ID)";

/// What was certified and came to a server to be applied. Asked for behind [`MEMBERS`]: when no
/// transaction waited to be certified then, this has all that had come.
pub const RECEIVED: &str = "SELECT RECEIVED_TRANSACTION_SET \
    FROM performance_schema.replication_connection_status \
    WHERE CHANNEL_NAME = 'group_replication_applier'";

/// The statements that give the monitor's account what the queries above need.
pub fn grants(user: &str) -> String {
    let tables = [
        "replication_group_members",
        "replication_group_member_stats",
        "replication_connection_status",
    ];
    let grant = |table| format!("GRANT SELECT ON performance_schema.{table} TO '{user}'@'%'");
    tables.map(grant).join("; ")
}

/// The group that a server is set up for, by its settings.
pub fn group(settings: &Rows) -> Option<&str> {
    value(settings, SETTINGS[0]).filter(|name| !name.is_empty())
}

/// What the server with this uuid says of `group`.
pub fn read(
    group: &str,
    settings: &Rows,
    members: &Rows,
    uuid: &str,
) -> Result<Member, Unreadable> {
    let read_peer = |row: usize| -> Result<Peer, Unreadable> {
        let state = members.str(row, "MEMBER_STATE").unwrap_or_default();
        Ok(Peer {
            id: members.str(row, "MEMBER_ID").unwrap_or_default().to_ascii_lowercase().into(),
            state: State::parse(state)
                .ok_or_else(|| Unreadable(format!("MEMBER_STATE {state:?}")))?,
            role: members.str(row, "MEMBER_ROLE").and_then(Role::parse),
        })
    };
    let peers = (0..members.len()).map(read_peer).collect::<Result<Vec<Peer>, _>>()?;
    // A server that was never in a group has a row without a uuid, or none.
    let own = peers.iter().position(|peer| *peer.id == *uuid);
    let count = |column: &str| own.and_then(|row| members.u64(row, column)).unwrap_or(0);
    let threshold = |name: &str| value(settings, name).and_then(|text| text.parse().ok());
    let flow_control = match value(settings, SETTINGS[2]) {
        Some("QUOTA") => threshold(SETTINGS[3])
            .zip(threshold(SETTINGS[4]))
            .map(|(certifier, applier)| FlowControl { certifier, applier }),
        _ => None,
    };
    Ok(Member {
        group: group.into(),
        single_primary: value(settings, SETTINGS[1]).is_none_or(is_on),
        state: own.map_or(State::Offline, |row| peers[row].state),
        role: own.and_then(|row| peers[row].role),
        view: own.and_then(|row| members.str(row, "VIEW_ID")).and_then(View::parse),
        certifier_queue: count("COUNT_TRANSACTIONS_IN_QUEUE"),
        applier_queue: count("COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE"),
        flow_control,
        peers,
    })
}

/// What [`RECEIVED`] answered.
pub fn read_received(rows: &Rows) -> Result<Arc<GtidSet>, Unreadable> {
    let set = GtidSet::parse(rows.str(0, "RECEIVED_TRANSACTION_SET").unwrap_or_default());
    set.map(Arc::new).map_err(|error| Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{pairs, table};
    use super::*;

    const A: &str = "1859523c-e96e-11f1-bebe-0242ac1a0004";
    const B: &str = "18B06997-E96E-11F1-8528-0242AC1A0002";

    fn settings() -> Rows {
        pairs(&[
            ("group_replication_flow_control_applier_threshold", "25000"),
            ("group_replication_flow_control_certifier_threshold", "20000"),
            ("group_replication_flow_control_mode", "QUOTA"),
            ("group_replication_group_name", "5fe82f1a-e2ad-6bac-b064-ff351534ec1b"),
            ("group_replication_single_primary_mode", "ON"),
        ])
    }

    fn members(rows: &[[&str; 6]]) -> Rows {
        table(
            &[
                "MEMBER_ID",
                "MEMBER_STATE",
                "MEMBER_ROLE",
                "VIEW_ID",
                "COUNT_TRANSACTIONS_IN_QUEUE",
                "COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE",
            ],
            rows,
        )
    }

    /// As MySQL 9.7 answers.
    #[test]
    fn a_member_and_what_it_sees() {
        let settings = settings();
        let group = group(&settings).expect("it is set up");
        let rows = members(&[
            [A, "ONLINE", "SECONDARY", "17956794535024076:6", "2", "7"],
            [B, "UNREACHABLE", "PRIMARY", "17956794535024076:6", "0", "0"],
        ]);
        let member = read(group, &settings, &rows, A).expect("it can be read");
        assert_eq!((member.state, member.role), (State::Online, Some(Role::Secondary)));
        assert_eq!((member.certifier_queue, member.applier_queue), (2, 7));
        assert_eq!(member.view.map(|view| view.number), Some(6));
        assert_eq!(member.flow_control, Some(FlowControl { certifier: 20_000, applier: 25_000 }));
        assert!(member.single_primary && !member.has_majority());
        let other = member.peer(&B.to_ascii_lowercase()).expect("uuids are compared in lower case");
        assert_eq!((other.state, other.role), (State::Unreachable, Some(Role::Primary)));
    }

    #[test]
    fn one_that_is_out() {
        let settings = settings();
        let out = members(&[[A, "OFFLINE", "", "", "0", "0"]]);
        for rows in [out, members(&[["", "OFFLINE", "", "", "", ""]]), members(&[])] {
            let member = read("g", &settings, &rows, A).expect("it can be read");
            assert_eq!((member.state, member.role, member.view), (State::Offline, None, None));
            assert!(!member.is_active());
        }
        let odd = members(&[[A, "ASLEEP", "", "", "", ""]]);
        assert!(read("g", &settings, &odd, A).is_err());
    }

    #[test]
    fn servers_without_it_are_not_asked() {
        assert_eq!(group(&pairs(&[])), None);
        assert_eq!(group(&pairs(&[("group_replication_group_name", "")])), None);
    }
}
