//! Servers as they would answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Cloning, Container, Follows, Gtids, Origin, Schema, State};
use crate::administration::Place;
use crate::config::RoleSetting;
use crate::gtid::{BinlogState, DomainPositions, GtidSet};
use crate::monitor::observation::Channel;
use crate::routing::semi_sync::{Replica, SemiSync, Source};
use crate::routing::topology::Thread;
use crate::wire::ServerVersion;

/// All but the last digit.
pub const UUID: &str = "00000000-0000-0000-0000-00000000000";

/// A container that was just started, with nothing in it.
pub fn bare(name: &str, id: u32, version: &str, gtids: Gtids) -> State {
    let place = Place { host: name.to_owned(), port: 3306 };
    let id = id.to_string();
    let variables = [
        ("server_id", &*id),
        ("log_bin", "ON"),
        ("log_slave_updates", "ON"),
        ("read_only", "OFF"),
        ("have_ssl", "YES"),
        ("session_track_schema", "ON"),
        ("session_track_system_variables", "autocommit"),
        ("session_track_gtids", "OFF"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    State {
        name: name.into(),
        role: RoleSetting::Auto,
        places: vec![place],
        container: Some(Container { restart: "unless-stopped".to_owned(), ..Container::default() }),
        version: ServerVersion::parse(version),
        variables: variables.into(),
        origins: BTreeMap::new(),
        plugins: BTreeSet::new(),
        follows: Vec::new(),
        gtids,
        uuid: None,
        schemas: Vec::new(),
        half_copied: false,
        cloning: Cloning::None,
        semi_sync: SemiSync::default(),
        is_member: false,
        lacking: Vec::new(),
        replication: None,
        monitor: None,
    }
}

pub fn mysql(name: &str, id: u32) -> State {
    let gtids = Gtids::MySql { executed: GtidSet::default(), purged: GtidSet::default() };
    let mut state = bare(name, id, "9.7.4", gtids);
    state.uuid = Some(format!("{UUID}{}", name.as_bytes()[0] % 10).into());
    with(
        state,
        &[("gtid_mode", "ON"), ("enforce_gtid_consistency", "ON"), ("super_read_only", "OFF")],
    )
}

pub fn mariadb(name: &str, id: u32) -> State {
    let gtids = Gtids::MariaDb {
        state: BinlogState::parse("").expect("legal"),
        logged: DomainPositions::parse("").expect("legal"),
        replicated: DomainPositions::parse("").expect("legal"),
    };
    let mut state = bare(name, id, "10.11.6-MariaDB", gtids);
    let sides = semi_sync(false, false);
    state.semi_sync = SemiSync { source: sides.0, replica: sides.1 };
    for option in [
        "server_id",
        "gtid_strict_mode",
        "binlog_format",
        "rpl_semi_sync_slave_enabled",
        "rpl_semi_sync_master_enabled",
        "rpl_semi_sync_master_wait_no_slave",
        "read_only",
    ] {
        state.origins.insert(option.to_owned(), Origin::Kept);
    }
    state
}

pub fn with(mut state: State, variables: &[(&str, &str)]) -> State {
    for (name, value) in variables {
        state.variables.insert((*name).to_owned(), (*value).to_owned());
    }
    state
}

pub fn filled(mut state: State) -> State {
    state.schemas = vec![Schema { name: "app".to_owned(), objects: 2, bytes: 1_000_000 }];
    state
}

pub fn following(mut state: State, source: &State) -> State {
    let channel = Channel {
        host: source.places[0].host.as_str().into(),
        port: 3306,
        source_uuid: source.uuid.clone(),
        source_id: Some(source.server_id()),
        receiver: Thread::Running,
        receiver_error: None,
        applier: Thread::Running,
        applier_error: None,
        seconds_behind: Some(0),
        delay: 0,
        applied_file: None,
    };
    state.follows = vec![Follows {
        channel,
        by_gtid: true,
        tls: false,
        user: "replication".into(),
        has_public_key: true,
        filters: Vec::new(),
        receiver_code: 0,
        applier_code: 0,
    }];
    state
}

/// The transactions 1 to `last` of the server `a`, and what is said beside them.
pub fn executed(mut state: State, last: u64, more: &str, purged: &str) -> State {
    let uuid = format!("{UUID}7");
    let set = |text: &str| GtidSet::parse(text).expect("legal");
    let first = if last > 0 { format!("{uuid}:1-{last}") } else { String::new() };
    state.gtids = Gtids::MySql { executed: set(&format!("{first},{more}")), purged: set(purged) };
    state
}

pub fn positions(mut state: State, binlog: &str, replicated: &str) -> State {
    state.gtids = Gtids::MariaDb {
        state: BinlogState::parse(binlog).expect("legal"),
        logged: DomainPositions::parse(binlog).expect("legal"),
        replicated: DomainPositions::parse(replicated).expect("legal"),
    };
    state
}

pub fn semi_sync(source: bool, replica: bool) -> (Option<Source>, Option<Replica>) {
    let source = Source {
        enabled: source,
        active: source,
        clients: 1,
        wait_for: 1,
        timeout: Duration::from_secs(10),
        fallbacks: 0,
        acknowledged: 0,
        unacknowledged: 0,
        waiting: 0,
        clock_failures: 0,
    };
    (Some(source), Some(Replica { enabled: replica, active: replica }))
}
