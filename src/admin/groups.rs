//! The table of Group Replication's members and Galera's nodes.

use super::Admin;
use super::table::{Cell, Column, Table, number, text};
use super::view::BackendRow;
use crate::routing::membership::group::Role;
use crate::routing::membership::{Member, Membership, Node};

impl Admin {
    pub(super) fn group_table(&self) -> Table {
        let rows = self.view.backends().into_iter().filter_map(|row| match &row.membership {
            Membership::Alone => None,
            Membership::Group(member) => Some(member_row(&row, member)),
            Membership::Galera(node) => Some(node_row(&row, node)),
        });
        let columns: &[Column] = &[
            text("name"),
            text("role"),
            text("kind"),
            text("group_name"),
            text("member_state"),
            text("member_role"),
            text("view"),
            number("members"),
            number("reachable"),
            number("certifier_queue"),
            number("apply_queue"),
            number("send_queue"),
            text("flow_control"),
        ];
        Table::new(columns, rows)
    }
}

fn member_row(row: &BackendRow, member: &Member) -> Vec<Cell> {
    let role = member.role.map(|role| match role {
        Role::Primary => "PRIMARY",
        Role::Secondary => "SECONDARY",
    });
    let flow_control = match member.flow_control {
        None => "off",
        Some(_) if member.throttles() => "throttles",
        Some(_) => "on",
    };
    vec![
        row.name.clone().into(),
        row.role.into(),
        if member.single_primary {
            "group_replication"
        } else {
            "group_replication, multi-primary"
        }
        .into(),
        member.group.clone().into(),
        member.state.name().into(),
        role.into(),
        member.view.map(|view| format!("{}:{}", view.incarnation, view.number)).into(),
        (member.peers.len() as u64).into(),
        (member.reachable() as u64).into(),
        member.certifier_queue.into(),
        member.applier_queue.into(),
        Cell::Null,
        flow_control.into(),
    ]
}

fn node_row(row: &BackendRow, node: &Node) -> Vec<Cell> {
    vec![
        row.name.clone().into(),
        row.role.into(),
        "galera".into(),
        node.cluster.clone().into(),
        node.state_name().into(),
        Cell::Null,
        node.in_primary_component.then(|| node.view.to_string()).into(),
        node.size.into(),
        Cell::Null,
        Cell::Null,
        node.receive_queue.into(),
        node.send_queue.into(),
        if node.is_throttled { "throttles" } else { "on" }.into(),
    ]
}
