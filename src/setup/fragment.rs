//! What only an option can do: found missing, and written as a piece of `compose.yaml`. Pure.

use std::fmt::Write as _;
use std::sync::Arc;

use super::options::Options as Wishes;
use super::plan::Obstacle;
use super::replica::{Condition, can_clone};
use crate::facts::State;
use crate::wire::Flavour;

/// What a server is to be started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub server: Arc<str>,
    /// Its service in `compose.yaml`, if it has one.
    pub service: Option<String>,
    pub options: Vec<String>,
}

/// Options that a server lacks and cannot do without; those that are good to have come along, since it
/// must be started anew in any case. `id`: the number that it is to have, if another than now.
pub fn needed(state: &State, is_primary: bool, id: Option<u32>, tls: bool) -> Option<Obstacle> {
    let mut options = Vec::new();
    let mut reasons = Vec::new();
    let mut need = |option: String, reason: &str| {
        options.push(option);
        reasons.push(reason.to_owned());
    };
    if !state.has_binary_log() {
        need("--log-bin=binlog".to_owned(), "it has no binary log");
    }
    if !state.logs_what_it_replicates() {
        let name = match state.flavour() {
            Flavour::MySql if state.version.at_least(8, 0) => "replica",
            _ => "slave",
        };
        need(
            format!("--log-{name}-updates=ON"),
            "it does not write down what it replicates, so that nobody could replicate from it",
        );
    }
    if !state.persists() {
        if let Some(id) = id {
            need(format!("--server-id={id}"), "its server_id is that of another server, or none");
        }
        if !is_primary && state.forgets("read_only") {
            need("--read-only=ON".to_owned(), "it would take writes after a restart");
        }
        if state.flavour() == Flavour::MySql && state.variable("gtid_mode") != Some("ON") {
            need("--gtid-mode=ON".to_owned(), "its transactions have no GTIDs");
            options.push("--enforce-gtid-consistency=ON".to_owned());
        }
    }
    if reasons.is_empty() {
        return no_tls(state, tls);
    }
    options.extend(advisable(state, is_primary));
    let server = state.name.clone();
    let service = state.container.as_ref().and_then(|container| container.service.clone());
    Some(Obstacle {
        options: Some(Box::new(Options { server, service, options })),
        ..Obstacle::of(state, reasons.join("; "), "start it with the options below".to_owned())
    })
}

fn no_tls(state: &State, tls: bool) -> Option<Obstacle> {
    (tls && !state.has_tls()).then(|| {
        Obstacle::of(
            state,
            "it has no certificate, so that nobody can connect to it by TLS".to_owned(),
            "start it with --ssl-cert, --ssl-key and --ssl-ca, or leave --tls out".to_owned(),
        )
    })
}

/// What a server forgets at a restart unless an option says it.
fn advisable(state: &State, is_primary: bool) -> Vec<String> {
    if state.persists() {
        return Vec::new();
    }
    let mut options = Vec::new();
    if state.flavour() == Flavour::MariaDb {
        options.extend(["--gtid-strict-mode=ON", "--binlog-format=ROW"]);
        options.push("--rpl-semi-sync-slave-enabled=ON");
        if is_primary {
            // Without a replica nothing waits for one.
            options.extend([
                "--rpl-semi-sync-master-enabled=ON",
                "--rpl-semi-sync-master-wait-no-slave=OFF",
            ]);
        }
    }
    let variable = |option: &str| {
        let name = option.trim_start_matches("--").split('=').next().unwrap_or_default();
        name.replace('-', "_")
    };
    options.retain(|option| state.forgets(&variable(option)));
    options.into_iter().map(str::to_owned).collect()
}

/// What is worth knowing before the plan is carried out.
pub fn notes(primary: &State, conditions: &[(&State, Condition)], wishes: &Wishes) -> Vec<String> {
    let mut notes = Vec::new();
    for (state, condition) in conditions {
        let clones = condition.needs_data() && can_clone(state, primary);
        let Some(container) = state.container.as_ref().filter(|_| clones) else { continue };
        if !container.comes_back() {
            let name = &state.name;
            notes.push(format!(
                "{name} stops when it has got its data, and its restart policy ({}) does not start \
                 it again: `docker update --restart unless-stopped {name}` now, or `docker start \
                 {name}` when you are asked to",
                container.restart
            ));
        }
    }
    if wishes.semi_sync.is_some() {
        let others = conditions.iter().map(|(state, _)| (*state, false));
        for (state, is_primary) in [(primary, true)].into_iter().chain(others) {
            let missing = advisable(state, is_primary);
            if !missing.is_empty() {
                notes.push(format!(
                    "{} keeps this after a restart only with options: {}",
                    state.name,
                    missing.join(" ")
                ));
            }
        }
    }
    notes
}

/// As a piece of `compose.yaml`, and for `docker run`.
pub fn written<'a>(all: impl Iterator<Item = &'a Options>) -> String {
    let mut text = "services:\n".to_owned();
    for Options { server, service, options } in all {
        let name = service.as_deref().unwrap_or(server);
        let _ = writeln!(text, "  {name}:");
        let _ = writeln!(text, "    restart: unless-stopped");
        let _ = writeln!(text, "    command:");
        for option in options {
            let _ = writeln!(text, "      - {option}");
        }
    }
    text
}

/// There is nothing yet: how it begins.
pub fn nobody(prefix: &str) -> Obstacle {
    Obstacle::general(
        format!("no container is labelled {prefix}.enable=true, and [[backends]] is empty"),
        format!(
            "start the servers, on one network of their own, with these labels and options:\n\n\
             services:\n\
             \x20 primary:\n\
             \x20   labels: {{{prefix}.enable: \"true\", {prefix}.role: primary}}\n\
             \x20   restart: unless-stopped\n\
             \x20   # MariaDB alone: MySQL needs no options\n\
             \x20   command: [--log-bin=binlog, --log-slave-updates=ON, --server-id=1, --gtid-strict-mode=ON,\n\
             \x20     --binlog-format=ROW, --rpl-semi-sync-slave-enabled=ON, --rpl-semi-sync-master-enabled=ON,\n\
             \x20     --rpl-semi-sync-master-wait-no-slave=OFF]\n\
             \x20 replica1:    # and so on, each with a server-id of its own\n\
             \x20   labels: {{{prefix}.enable: \"true\", {prefix}.role: replica}}\n\
             \x20   restart: unless-stopped\n\
             \x20   command: [--log-bin=binlog, --log-slave-updates=ON, --server-id=2, --read-only=ON,\n\
             \x20     --gtid-strict-mode=ON, --binlog-format=ROW, --rpl-semi-sync-slave-enabled=ON]"
        ),
    )
}
