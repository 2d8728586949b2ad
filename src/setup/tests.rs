//! Servers as they would answer, and the plans made of them.

use std::collections::BTreeSet;

use super::options::{Accounts, Credentials, Options, SemiSyncOptions, WaitPoint};
use super::plan::{Action, Obstacle, Plan, Situation, plan};
use crate::config::{RoleSetting, Secret};
use crate::facts::tests::{
    executed, filled, following, mariadb, mysql, positions, semi_sync, with,
};
use crate::facts::{Account, Container, Login, Origin, State};
use crate::routing::semi_sync::Replica;
use crate::routing::topology::Thread;
use crate::wire::{Flavour, ServerVersion};

fn accounts() -> Accounts {
    let account = |user: &str| Credentials {
        user: user.to_owned(),
        password: Secret::new("geheim".to_owned()),
        kept: format!("{user}.secret"),
    };
    Accounts {
        administrator: account("root"),
        replication: account("replication"),
        monitor: account("rwproxy"),
    }
}

fn options() -> Options {
    Options { semi_sync: Some(SemiSyncOptions::default()), ..Options::default() }
}

fn situation(states: &[State]) -> Situation {
    Situation { states: states.to_vec(), absent: Vec::new(), prefix: "rwproxy".to_owned() }
}

fn planned(states: &[State], options: &Options) -> Result<Plan, Vec<Obstacle>> {
    plan(&situation(states), options, &accounts())
}

/// The steps in words; no password among them.
fn steps(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for step in &plan.steps {
        for line in step.action.shown() {
            assert!(!line.contains("geheim"), "{line}");
            lines.push(format!("{}: {line}", step.server));
        }
    }
    lines
}

fn problems(obstacles: &[Obstacle]) -> String {
    let one = |it: &Obstacle| {
        format!("{}: {} -> {}", it.server.as_deref().unwrap_or(""), it.problem, it.remedy)
    };
    obstacles.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// A primary on which everything is as it is to be.
fn settled_primary() -> State {
    let mut primary = executed(filled(mysql("a", 1)), 9, "", "");
    primary.role = RoleSetting::Primary;
    let needs = crate::facts::privileges::of_monitor(&primary.version);
    let account = |global: &[&str], tables: &[&str]| {
        Some(Account {
            global: global.iter().map(|it| (*it).to_owned()).collect(),
            tables: tables.iter().map(|it| (*it).to_owned()).collect(),
            requires_tls: false,
            login: Login::LetIn,
        })
    };
    primary.replication = account(&["REPLICATION SLAVE"], &[]);
    primary.monitor = account(needs.global, needs.tables);
    primary.plugins = ["clone", "rpl_semi_sync_source"].map(str::to_owned).into();
    primary.semi_sync.source = semi_sync(true, false).0;
    with(primary, &[("rpl_semi_sync_source_enabled", "ON")])
}

fn settled_replica(name: &str, id: u32, primary: &State) -> State {
    let state = following(executed(filled(mysql(name, id)), 9, "", ""), primary);
    let mut state = with(state, &[("read_only", "ON"), ("super_read_only", "ON")]);
    state.origins.insert("super_read_only".to_owned(), Origin::Kept);
    state.plugins = ["rpl_semi_sync_replica"].map(str::to_owned).into();
    state.semi_sync.replica = semi_sync(false, true).1;
    state
}

#[test]
fn bare_servers_of_mysql() {
    let primary = State { role: RoleSetting::Primary, ..mysql("a", 1) };
    let plan = planned(&[primary, mysql("b", 1)], &options()).expect("a plan");
    let lines = steps(&plan);
    let grants = lines.iter().filter(|line| line.contains("GRANT SELECT")).count();
    assert_eq!(grants, 9);
    let rest: Vec<&str> =
        lines.iter().filter(|line| !line.contains("GRANT SELECT")).map(String::as_str).collect();
    assert_eq!(
        rest,
        [
            "b: SET PERSIST read_only = ON",
            "b: SET PERSIST server_id = 2",
            "a: CREATE USER IF NOT EXISTS 'replication'@'%' IDENTIFIED BY '***'",
            "a: GRANT REPLICATION SLAVE ON *.* TO 'replication'@'%'",
            "a: CREATE USER IF NOT EXISTS 'rwproxy'@'%' IDENTIFIED BY '***'",
            "a: GRANT REPLICATION CLIENT, CONNECTION_ADMIN ON *.* TO 'rwproxy'@'%'",
            "a: INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
            "a: INSTALL PLUGIN clone SONAME 'mysql_clone.so'",
            "b: INSTALL PLUGIN clone SONAME 'mysql_clone.so'",
            "b: SET GLOBAL clone_valid_donor_list = 'a:3306'",
            "b: CLONE INSTANCE FROM 'root'@'a':3306 IDENTIFIED BY '***'",
            "b: INSTALL PLUGIN rpl_semi_sync_replica SONAME 'semisync_replica.so'",
            "b: SET PERSIST rpl_semi_sync_replica_enabled = ON",
            "b: CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'a', SOURCE_PORT = 3306, SOURCE_USER = \
             'replication', SOURCE_PASSWORD = '***', SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1, \
             SOURCE_AUTO_POSITION = 1, SOURCE_CONNECT_RETRY = 5, SOURCE_RETRY_COUNT = 0",
            "b: START REPLICA",
            "b: SET PERSIST super_read_only = ON",
            "a: SET PERSIST rpl_semi_sync_source_enabled = ON",
        ]
    );
}

#[test]
fn bare_servers_of_mariadb() {
    let primary = State { role: RoleSetting::Primary, ..mariadb("a", 1) };
    let replica = with(mariadb("b", 2), &[("read_only", "ON")]);
    let plan = planned(&[primary, replica], &options()).expect("a plan");
    let lines = steps(&plan);
    let rest: Vec<&str> =
        lines.iter().filter(|line| !line.contains("GRANT")).map(String::as_str).collect();
    assert_eq!(
        rest,
        [
            "a: CREATE USER IF NOT EXISTS 'replication'@'%' IDENTIFIED BY '***'",
            "a: CREATE USER IF NOT EXISTS 'rwproxy'@'%' IDENTIFIED BY '***'",
            "b: its schemas are dropped, and those of the primary copied by SELECT and INSERT",
            "b: SET GLOBAL rpl_semi_sync_slave_enabled = ON",
            "b: CHANGE MASTER TO MASTER_HOST = 'a', MASTER_PORT = 3306, MASTER_USER = 'replication', \
             MASTER_PASSWORD = '***', MASTER_SSL = 0, MASTER_USE_GTID = slave_pos, \
             MASTER_CONNECT_RETRY = 5",
            "b: START SLAVE",
            "a: SET GLOBAL rpl_semi_sync_master_enabled = ON",
        ]
    );
}

#[test]
fn what_is_set_up_stays_as_it_is() {
    let primary = settled_primary();
    let replica = settled_replica("b", 2, &primary);
    let plan = planned(&[primary.clone(), replica.clone()], &options()).expect("a plan");
    assert_eq!(steps(&plan), [""; 0]);

    // Each thing that is missing, and what is then done.
    type Change = fn(&mut State);
    let table: [(Change, &[&str]); 8] = [
        (
            |it| {
                it.follows[0].channel.receiver = Thread::Connecting;
                it.follows[0].channel.receiver_error = Some("Access denied".into());
            },
            &["STOP REPLICA", "CHANGE REPLICATION SOURCE", "START REPLICA"],
        ),
        (|it| it.follows[0].channel.applier = Thread::Stopped, &["START REPLICA"]),
        (
            |it| drop(it.variables.insert("super_read_only".to_owned(), "OFF".to_owned())),
            &["SET PERSIST super_read_only = ON"],
        ),
        (
            |it| {
                it.origins.insert("super_read_only".to_owned(), Origin::Running);
            },
            &["SET PERSIST super_read_only = ON"],
        ),
        (
            |it| it.semi_sync.replica = None,
            &[
                "SET GLOBAL super_read_only = OFF",
                "INSTALL PLUGIN rpl_semi_sync_replica SONAME 'semisync_replica.so'",
                "SET GLOBAL super_read_only = ON",
                "SET PERSIST rpl_semi_sync_replica_enabled = ON",
                "STOP REPLICA IO_THREAD",
                "START REPLICA IO_THREAD",
            ],
        ),
        (
            |it| it.semi_sync.replica = Some(Replica { enabled: true, active: false }),
            &["STOP REPLICA IO_THREAD", "START REPLICA IO_THREAD"],
        ),
        (|it| it.follows.clear(), &["CHANGE REPLICATION SOURCE", "START REPLICA"]),
        (
            |it| it.follows[0].by_gtid = false,
            &["STOP REPLICA", "CHANGE REPLICATION SOURCE", "START REPLICA"],
        ),
    ];
    for (change, expected) in table {
        let mut replica = replica.clone();
        change(&mut replica);
        let plan = planned(&[primary.clone(), replica], &options()).expect("a plan");
        let lines = steps(&plan);
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(&format!("b: {expected}")), "{line}");
        }
    }
}

#[test]
fn data_of_its_own_are_lost_only_when_that_was_said() {
    let primary = settled_primary();
    let other = "00000000-0000-0000-0000-000000000009:1-3";
    // A server, and a part of why it is refused; `None`: it is not.
    let table = [
        (filled(mysql("b", 2)), Some("data of its own: app (2 objects, 1.0 MB)")),
        (executed(filled(mysql("b", 2)), 5, other, ""), Some("000000000009:1-3")),
        (executed(filled(mysql("b", 2)), 5, "", ""), None),
        (mysql("b", 2), None),
        (executed(mysql("b", 2), 0, other, ""), None),
        (State { half_copied: true, ..filled(mysql("b", 2)) }, None),
        (State { half_copied: true, ..following(filled(mysql("b", 2)), &primary) }, None),
        (following(filled(mysql("b", 2)), &mysql("x", 9)), Some("replicates from x:3306")),
        (
            State { half_copied: true, ..following(filled(mysql("b", 2)), &mysql("x", 9)) },
            Some("replicates from x:3306"),
        ),
    ];
    for (state, refused) in table {
        let found = planned(&[primary.clone(), state.clone()], &options());
        match (found, refused) {
            (Ok(plan), None) => assert!(!plan.steps.is_empty()),
            (Err(obstacles), Some(part)) => {
                let told = problems(&obstacles);
                assert!(told.contains(part) && told.contains("--overwrite b"), "{told}");
                let overwrite =
                    Options { overwrite: BTreeSet::from(["b".to_owned()]), ..options() };
                let plan = planned(&[primary.clone(), state], &overwrite).expect("it may");
                assert!(plan.replicas[0].1.contains("LOSES"), "{:?}", plan.replicas);
                assert!(plan.steps.iter().any(|step| matches!(step.action, Action::Clone(_))));
            }
            (found, refused) => panic!("{refused:?}: {found:?}"),
        }
    }
    // What the primary cannot send any more.
    let purged = executed(primary.clone(), 9, "", "00000000-0000-0000-0000-000000000007:1-7");
    let behind = executed(filled(mysql("b", 2)), 5, "", "");
    let told = problems(&planned(&[purged, behind], &options()).expect_err("it is gone"));
    assert!(told.contains("000000000007:6-7"), "{told}");
}

#[test]
fn an_old_primary_of_mariadb_comes_back() {
    let mut primary = positions(filled(mariadb("a", 1)), "0-2-500,0-1-600", "0-2-500");
    primary.role = RoleSetting::Primary;
    let old = with(positions(filled(mariadb("b", 2)), "0-2-500", ""), &[("read_only", "ON")]);
    let plan = planned(&[primary.clone(), old], &options()).expect("it has nothing of its own");
    let lines = steps(&plan);
    assert!(
        lines.iter().any(|line| line == "b: SET GLOBAL gtid_slave_pos = '0-2-500'"),
        "{lines:?}"
    );
    let errant = with(positions(filled(mariadb("b", 2)), "0-2-501", ""), &[("read_only", "ON")]);
    let told =
        problems(&planned(&[primary.clone(), errant], &options()).expect_err("it has one more"));
    assert!(told.contains("0-2-501"), "{told}");
    // Made under the number that is the primary's now.
    let twin = with(positions(filled(mariadb("b", 2)), "0-1-3", ""), &[("read_only", "ON")]);
    let told = problems(&planned(&[primary.clone(), twin], &options()).expect_err("another's"));
    assert!(told.contains("under the primary's server_id, 1"), "{told}");
    // A copy of a primary without data is whole, too, and is not made again.
    let replica = |binlog, replicated| {
        with(positions(mariadb("b", 2), binlog, replicated), &[("read_only", "ON")])
    };
    for (state, copies) in [(replica("", "0-1-600"), false), (replica("0-1-3", ""), true)] {
        let plan = planned(&[primary.clone(), state], &options()).expect("it is empty");
        assert_eq!(steps(&plan).iter().any(|line| line.contains("are dropped")), copies);
    }
}

#[test]
fn options_that_are_missing_are_named() {
    let primary = State { role: RoleSetting::Primary, ..mariadb("a", 1) };
    let mut replica = with(mariadb("b", 1), &[("log_bin", "OFF"), ("log_slave_updates", "OFF")]);
    replica.origins.clear();
    let obstacles = planned(&[primary.clone(), replica], &options()).expect_err("options");
    let [obstacle] = &obstacles[..] else { panic!("{obstacles:?}") };
    let text = super::written(obstacle.options.as_deref().into_iter());
    assert_eq!(
        text,
        "services:\n  b:\n    restart: unless-stopped\n    command:\n      - --log-bin=binlog\n      \
         - --log-slave-updates=ON\n      - --server-id=2\n      - --read-only=ON\n      \
         - --gtid-strict-mode=ON\n      - --binlog-format=ROW\n      \
         - --rpl-semi-sync-slave-enabled=ON\n"
    );
    // MySQL needs none.
    let obstacles = planned(&[with(mysql("a", 1), &[("log_bin", "OFF")])], &options());
    assert!(problems(&obstacles.expect_err("one")).contains("no binary log"));
}

#[test]
fn what_stands_in_the_way() {
    let primary = settled_primary;
    let replica = || settled_replica("b", 2, &primary());
    let old = |version: &str| State { version: ServerVersion::parse(version), ..mysql("b", 2) };
    let refusing = Account { login: Login::Refused("1045".to_owned()), ..Account::default() };
    let wishes = |replicas| Options {
        semi_sync: Some(SemiSyncOptions { replicas: Some(replicas), ..Default::default() }),
        ..options()
    };
    let tls = Options { tls: true, ..options() };
    let overwrite = Options { overwrite: BTreeSet::from(["nobody".to_owned()]), ..options() };
    let table = [
        (vec![], options(), "no container is labelled rwproxy.enable=true"),
        (vec![primary(), old("5.6.51")], options(), "too old"),
        (vec![primary(), old("8.4.0")], options(), "older than the primary's"),
        (vec![primary(), mariadb("b", 2)], options(), "it is MariaDB, and the primary MySQL"),
        (vec![primary(), State { is_member: true, ..replica() }], options(), "a group"),
        (
            vec![primary(), State { lacking: vec!["RELOAD"], ..replica() }],
            options(),
            "GRANT RELOAD ON *.* TO 'root'@'%'",
        ),
        (
            vec![State { replication: Some(refusing), ..primary() }, replica()],
            options(),
            "another password than replication.secret: 1045",
        ),
        (vec![primary(), replica()], wishes(2), "cannot wait for 2 replicas: there are 1"),
        (vec![with(primary(), &[("have_ssl", "DISABLED")]), replica()], tls, "no certificate"),
        (vec![primary(), replica()], overwrite, "--overwrite nobody: no server"),
    ];
    for (states, options, part) in table {
        let told = problems(&planned(&states, &options).expect_err(part));
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn who_is_away_stops_what_is_new_and_nothing_else() {
    let absent = super::plan::Absent {
        name: "c".into(),
        problem: "exited".to_owned(),
        remedy: "docker start c".to_owned(),
    };
    let primary = settled_primary();
    let with_absent =
        |states: &[State]| Situation { absent: vec![absent.clone()], ..situation(states) };
    let replica = settled_replica("b", 2, &primary);
    let plan_of = |states: &[State]| plan(&with_absent(states), &options(), &accounts());
    let running = plan_of(&[primary.clone(), replica]).expect("it works");
    assert!(running.notes[0].contains("c is left as it is: exited"), "{:?}", running.notes);
    let told = problems(&plan_of(&[primary, mysql("b", 2)]).expect_err("who knows what it has"));
    assert_eq!(told, "c: exited -> docker start c");
}

#[test]
fn semi_sync_as_wished() {
    let primary = settled_primary();
    let replica = settled_replica("b", 2, &primary);
    let wishes = |semi_sync| Options { semi_sync, ..options() };
    let wish = SemiSyncOptions {
        timeout: Some(std::time::Duration::from_millis(2500)),
        wait_point: Some(WaitPoint::AfterCommit),
        replicas: Some(1),
    };
    let of = |options: &Options| {
        steps(&planned(&[primary.clone(), replica.clone()], options).expect("a plan"))
    };
    assert_eq!(
        of(&wishes(Some(wish))),
        [
            "a: SET PERSIST rpl_semi_sync_source_timeout = 2500",
            "a: SET PERSIST rpl_semi_sync_source_wait_point = AFTER_COMMIT",
            "a: SET PERSIST rpl_semi_sync_source_wait_for_replica_count = 1",
        ]
    );
    assert_eq!(of(&wishes(None)), [""; 0]);
    // The plugins of before 8.0.26 go on.
    let mut old = primary.clone();
    old.plugins = ["clone", "rpl_semi_sync_master"].map(str::to_owned).into();
    let old = with(old, &[("rpl_semi_sync_master_enabled", "OFF")]);
    let lines = steps(&planned(&[old, replica.clone()], &options()).expect("a plan"));
    assert_eq!(lines, ["a: SET PERSIST rpl_semi_sync_master_enabled = ON"]);
}

#[test]
fn tls_comes_to_all_before_it_is_required() {
    let primary = settled_primary();
    let replica = settled_replica("b", 2, &primary);
    let options = Options { tls: true, ..options() };
    let lines = steps(&planned(&[primary, replica], &options).expect("a plan"));
    assert_eq!(lines[0], "b: STOP REPLICA");
    assert!(lines[1].contains("SOURCE_SSL = 1, SOURCE_AUTO_POSITION"), "{}", lines[1]);
    assert_eq!(lines[2..], ["b: START REPLICA", "a: ALTER USER 'replication'@'%' REQUIRE SSL"]);
}

#[test]
fn what_a_container_does_when_its_server_ends() {
    let primary = settled_primary();
    let mut replica = mysql("b", 2);
    replica.container = Some(Container { restart: "no".to_owned(), ..Container::default() });
    let plan = planned(&[primary, replica], &options()).expect("a plan");
    let told = plan.notes.join("\n");
    assert!(told.contains("docker update --restart unless-stopped b"), "{told}");
    assert_eq!(plan.replicas[0].1, "is empty: it gets the primary's data");
    let flavours = [mysql("a", 1).flavour(), mariadb("a", 1).flavour()];
    assert_eq!(flavours, [Flavour::MySql, Flavour::MariaDb]);
}
