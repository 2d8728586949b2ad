//! Looks as they would be taken, and what is found in them.

mod cluster;

use std::time::Duration;

use super::judge;
use crate::administration::Statement;
use crate::check::examined::{Answer, Examined, Role, Server, Settings, Silence};
use crate::check::finding::{Finding, Remedy, Severity};
use crate::check::part::Part;
use crate::config::RoleSetting;
use crate::discovery::{self, Ended, Run, Spec, Standing};
use crate::facts::State;
use crate::facts::tests::{executed, filled, following, mariadb, mysql, positions, with};
use crate::routing::topology::{Address, Thread};

fn settings() -> Settings {
    Settings {
        prefix: "rwproxy".to_owned(),
        cluster: "default".to_owned(),
        max_lag: Duration::from_secs(2),
        asker: "root".to_owned(),
        is_administrator: true,
        monitor: "rwproxy".to_owned(),
        replication: Some("replication".to_owned()),
        max_per_backend: None,
        require_semi_sync: false,
    }
}

pub fn known(name: &str) -> discovery::Server {
    discovery::Server {
        key: name.into(),
        name: name.into(),
        origin: "docker".into(),
        started: "".into(),
        aliases: [name.into()].into(),
        port: 3306,
        run: Some(Run {
            restart: "unless-stopped".into(),
            state: "running".into(),
            image: "mysql:8.4".into(),
            ..Run::default()
        }),
        spec: Spec::default(),
        standing: Standing::Running(Address::Ip(([127, 0, 0, 1], 3306).into())),
    }
}

pub fn answering(state: State) -> Server {
    let known = discovery::Server {
        spec: Spec { role: state.role, ..Spec::default() },
        ..known(&state.name)
    };
    Server { known, role: Role::Unknown, answer: Ok(Box::new(Answer::new(state))) }
}

pub fn silent(known: discovery::Server) -> Server {
    Server { known, role: Role::Unknown, answer: Err(Silence::NotAsked) }
}

pub fn examined(servers: Vec<Server>) -> Examined {
    Examined::new(servers, Vec::new(), settings())
}

/// A server on which all is well.
fn sound(state: State) -> State {
    with(
        filled(state),
        &[
            ("binlog_format", "ROW"),
            ("sync_binlog", "1"),
            ("innodb_flush_log_at_trx_commit", "1"),
            ("binlog_expire_logs_seconds", "2592000"),
            ("gtid_strict_mode", "ON"),
        ],
    )
}

fn closed(state: State) -> State {
    match state.uuid.is_some() {
        true => with(state, &[("read_only", "ON"), ("super_read_only", "ON")]),
        false => with(state, &[("read_only", "ON")]),
    }
}

fn primary() -> State {
    executed(sound(mysql("a", 1)), 9, "", "")
}

fn replica(name: &str, id: u32) -> State {
    following(executed(closed(sound(mysql(name, id))), 9, "", ""), &primary())
}

fn maria_primary() -> State {
    positions(sound(mariadb("a", 1)), "0-1-9", "")
}

fn maria_replica() -> State {
    following(positions(closed(sound(mariadb("b", 2))), "0-1-9", "0-1-9"), &maria_primary())
}

/// What is found, as `SERVER CHECK SEVERITY`.
fn found(findings: &[Finding]) -> Vec<String> {
    let words = |finding: &Finding| {
        let server = finding.server.as_deref().unwrap_or("-");
        format!("{server} {} {}", finding.check.name, finding.severity.name())
    };
    findings.iter().map(words).collect()
}

fn find(states: Vec<State>) -> Vec<Finding> {
    judge(&examined(states.into_iter().map(answering).collect()))
}

/// The statements that are proposed first.
fn told(finding: &Finding) -> Vec<String> {
    let statements = finding.remedies.iter().find_map(|remedy| match remedy {
        Remedy::Statements { statements, .. } => Some(statements.as_slice()),
        _ => None,
    });
    statements.unwrap_or_default().iter().map(|Statement { shown, .. }| shown.clone()).collect()
}

#[test]
fn a_sound_cluster_has_no_findings() {
    assert_eq!(found(&find(vec![primary(), replica("b", 2), replica("c", 3)])), [""; 0]);
    assert_eq!(found(&find(vec![maria_primary(), maria_replica()])), [""; 0]);
    assert_eq!(found(&find(vec![primary()])), [""; 0]);
}

/// Changes a state.
type Change = fn(&mut State);

/// What one change to one of two servers makes of a sound cluster: the finding, and what is told first.
#[test]
fn each_fault_of_mysql_has_its_finding() {
    fn set(state: &mut State, name: &str, value: &str) {
        state.variables.insert(name.to_owned(), value.to_owned());
    }
    let table: &[(&str, Change, &str, &[&str])] = &[
        (
            "b",
            |it| set(it, "server_id", "1"),
            "b server-id-duplicate error",
            &["SET PERSIST server_id = 2", "STOP REPLICA", "START REPLICA"],
        ),
        (
            "b",
            |it| set(it, "server_id", "0"),
            "b server-id-unset error",
            &["SET PERSIST server_id = 2", "STOP REPLICA", "START REPLICA"],
        ),
        ("b", |it| it.uuid = primary().uuid, "b server-uuid-duplicate error", &[]),
        ("b", |it| it.version.minor = 6, "b version-older-than-primary error", &[]),
        ("b", |it| it.version.patch = 3, "b version-older-than-primary notice", &[]),
        (
            "a",
            |it| set(it, "read_only", "ON"),
            "a primary-read-only error",
            &["SET PERSIST super_read_only = OFF", "SET PERSIST read_only = OFF"],
        ),
        ("b", |it| it.role = RoleSetting::Primary, "b role-label warning", &[]),
        ("a", |it| it.role = RoleSetting::Replica, "a role-label warning", &[]),
        (
            "b",
            |it| {
                set(it, "read_only", "OFF");
                set(it, "super_read_only", "OFF");
            },
            "b replica-writable error",
            &["SET PERSIST super_read_only = ON"],
        ),
        (
            "b",
            |it| set(it, "super_read_only", "OFF"),
            "b super-read-only warning",
            &["SET PERSIST super_read_only = ON"],
        ),
        (
            "b",
            |it| {
                let running = crate::facts::Origin::Running;
                it.origins.insert("super_read_only".to_owned(), running);
            },
            "b read-only-after-restart warning",
            &["SET PERSIST super_read_only = ON"],
        ),
        (
            "b",
            |it| it.follows[0].channel.receiver = Thread::Stopped,
            "b replication-receiver error",
            &["START REPLICA IO_THREAD"],
        ),
        (
            "b",
            |it| it.follows[0].channel.receiver = Thread::Connecting,
            "b replication-receiver warning",
            &[],
        ),
        (
            "b",
            |it| it.follows[0].channel.applier = Thread::Stopped,
            "b replication-applier error",
            &["START REPLICA SQL_THREAD"],
        ),
        ("b", |it| it.follows[0].channel.delay = 2, "", &[]),
        (
            "b",
            |it| it.follows[0].channel.delay = 3,
            "b replication-delayed warning",
            &["STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 0", "START REPLICA"],
        ),
        (
            "b",
            |it| it.follows[0].by_gtid = false,
            "b replication-by-file warning",
            &[
                "STOP REPLICA",
                "CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 1",
                "START REPLICA",
            ],
        ),
        ("b", |it| it.half_copied = true, "b copy-unfinished error", &[]),
        (
            "b",
            |it| set(it, "gtid_mode", "ON_PERMISSIVE"),
            "b gtid-mode error",
            &["SET PERSIST enforce_gtid_consistency = ON", "SET PERSIST gtid_mode = ON"],
        ),
        (
            "b",
            |it| *it = executed(it.clone(), 9, "00000000-0000-0000-0000-000000000008:1-2", ""),
            "b errant-transactions error",
            &[
                "SET SESSION gtid_next = '00000000-0000-0000-0000-000000000008:1'",
                "BEGIN",
                "COMMIT",
                "SET SESSION gtid_next = '00000000-0000-0000-0000-000000000008:2'",
                "BEGIN",
                "COMMIT",
                "SET SESSION gtid_next = 'AUTOMATIC'",
            ],
        ),
        ("a", |it| set(it, "log_bin", "OFF"), "a binary-log-off error", &[]),
        ("b", |it| set(it, "log_bin", "OFF"), "b binary-log-off warning", &[]),
        ("b", |it| set(it, "log_slave_updates", "OFF"), "b binary-log-of-replica warning", &[]),
        (
            "b",
            |it| set(it, "binlog_format", "STATEMENT"),
            "b binary-log-format warning",
            &[
                "STOP REPLICA SQL_THREAD",
                "SET PERSIST binlog_format = ROW",
                "START REPLICA SQL_THREAD",
            ],
        ),
        (
            "b",
            |it| set(it, "binlog_format", "MIXED"),
            "b binary-log-format notice",
            &[
                "STOP REPLICA SQL_THREAD",
                "SET PERSIST binlog_format = ROW",
                "START REPLICA SQL_THREAD",
            ],
        ),
        (
            "a",
            |it| set(it, "binlog_expire_logs_seconds", "3600"),
            "a binary-log-retention warning",
            &["SET PERSIST binlog_expire_logs_seconds = 604800"],
        ),
        (
            "a",
            |it| set(it, "sync_binlog", "0"),
            "a sync-binlog warning",
            &["SET PERSIST sync_binlog = 1"],
        ),
        (
            "b",
            |it| set(it, "sync_binlog", "100"),
            "b sync-binlog notice",
            &["SET PERSIST sync_binlog = 1"],
        ),
        (
            "a",
            |it| set(it, "innodb_flush_log_at_trx_commit", "2"),
            "a flush-log-at-commit warning",
            &["SET PERSIST innodb_flush_log_at_trx_commit = 1"],
        ),
        (
            "a",
            |it| {
                let running = crate::facts::Origin::Running;
                it.origins.insert("sync_binlog".to_owned(), running);
                it.origins.insert("gtid_mode".to_owned(), running);
            },
            "a setting-forgotten warning",
            &["SET PERSIST gtid_mode = 'ON'", "SET PERSIST sync_binlog = 1"],
        ),
    ];
    for (server, change, expected, statements) in table {
        let mut states = vec![primary(), replica("b", 2)];
        let changed = states.iter_mut().find(|state| *state.name == **server);
        change(changed.expect("there is such a server"));
        let findings = find(states);
        let expected: Vec<&str> = [*expected].into_iter().filter(|it| !it.is_empty()).collect();
        assert_eq!(found(&findings), expected);
        assert_eq!(findings.first().map(told).unwrap_or_default(), *statements, "{expected:?}");
    }
}

#[test]
fn faults_of_mariadb() {
    let table: &[(Change, &str, &[&str])] = &[
        (
            |it| *it = with(it.clone(), &[("read_only", "OFF")]),
            "b replica-writable error",
            &["SET GLOBAL read_only = ON"],
        ),
        (
            |it| *it = with(it.clone(), &[("gtid_strict_mode", "OFF")]),
            "b gtid-strict-mode warning",
            &["SET GLOBAL gtid_strict_mode = ON"],
        ),
        (
            |it| *it = positions(it.clone(), "0-1-9,0-2-10", "0-1-9"),
            "b errant-transactions error",
            &[],
        ),
        (
            |it| {
                let running = crate::facts::Origin::Running;
                it.origins.insert("read_only".to_owned(), running);
            },
            "b read-only-after-restart warning",
            &[],
        ),
        (
            |it| it.follows[0].by_gtid = false,
            "b replication-by-file warning",
            &["STOP SLAVE", "CHANGE MASTER TO MASTER_USE_GTID = slave_pos", "START SLAVE"],
        ),
    ];
    for (change, expected, statements) in table {
        let mut replica = maria_replica();
        change(&mut replica);
        let findings = find(vec![maria_primary(), replica]);
        assert_eq!(found(&findings), [*expected]);
        assert_eq!(told(&findings[0]), *statements);
    }
}

#[test]
fn errors_of_replication_have_causes() {
    // The receiver's or the applier's error, a part of the cause, and of what is proposed first.
    let table = [
        (
            false,
            13114,
            "Got fatal error 1236 from source: 'the source purged required binary logs'",
            "away longer",
            "type: rwproxy setup --overwrite b",
        ),
        (
            false,
            13117,
            "source and replica have equal MySQL server ids",
            "the same server_id",
            "server-id-duplicate",
        ),
        (
            false,
            1045,
            "Access denied for user 'replication'@'10.0.0.3'",
            "another password",
            "type: rwproxy setup",
        ),
        (
            false,
            2061,
            "Authentication requires secure connection.",
            "in the clear",
            "GET_SOURCE_PUBLIC_KEY = 1",
        ),
        (false, 2005, "Unknown MySQL server host 'a'", "does not reach", "one network"),
        (
            true,
            1062,
            "Could not execute Write_rows event; Duplicate entry '1'",
            "written on the replica",
            "type: rwproxy setup --overwrite b",
        ),
        (true, 1205, "Lock wait timeout exceeded", "too long", "START REPLICA SQL_THREAD"),
        (true, 13121, "Relay log read failure", "damaged", "RESET REPLICA"),
        (true, 1105, "Unknown error", "", "mend what the server names"),
        (true, 13123, "relay log is damaged", "damaged", "RESET REPLICA"),
    ];
    for (is_applier, code, error, cause, remedy) in table {
        let mut state = replica("b", 2);
        let follows = &mut state.follows[0];
        match is_applier {
            true => {
                follows.channel.applier = Thread::Stopped;
                follows.channel.applier_error = Some(error.into());
                follows.applier_code = code;
            }
            false => {
                follows.channel.receiver = Thread::Stopped;
                follows.channel.receiver_error = Some(error.into());
                follows.receiver_code = code;
            }
        }
        let findings = find(vec![primary(), state]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        let Finding { evidence, remedies, severity, .. } = &findings[0];
        assert_eq!(*severity, Severity::Error);
        assert!(evidence.contains(error) && evidence.contains(cause), "{evidence}");
        assert!(remedies[0].to_string().contains(remedy), "{error}: {remedies:?}");
    }
}

#[test]
fn a_workers_error_is_the_appliers() {
    let mut state = replica("b", 2);
    state.follows[0].channel.applier = Thread::Stopped;
    state.follows[0].channel.applier_error = Some("Coordinator stopped".into());
    let mut server = answering(state);
    let answer = server.answer.as_mut().expect("it answers");
    let uuid = "00000000-0000-0000-0000-000000000007";
    answer.worker_errors = vec![(
        1062,
        format!("Worker 1 failed executing transaction '{uuid}:5' at log x; Duplicate entry"),
    )];
    let findings = judge(&examined(vec![answering(primary()), server]));
    assert_eq!(found(&findings), ["b replication-applier error"]);
    assert_eq!(told(&findings[0])[1], format!("SET SESSION gtid_next = '{uuid}:5'"));
    assert_eq!(findings[0].repair(), None, "nothing is skipped without being asked for");
}

#[test]
fn what_does_not_answer() {
    let stopped = |state: &str, ended| {
        let mut server = known("b");
        server.standing = Standing::NotRunning("the container is stopped".into());
        let run = server.run.as_mut().expect("a container");
        run.state = state.into();
        run.ended = ended;
        silent(server)
    };
    let killed = Some(Ended { exit_code: 137, out_of_memory: true });
    let ended = Some(Ended { exit_code: 1, out_of_memory: false });
    let mut left_out = known("b");
    left_out.standing =
        Standing::LeftOut("unknown label rwproxy.enabel: did you mean rwproxy.enable?".into());
    let mut ill = known("b");
    ill.standing = Standing::Unhealthy(Address::Ip(([127, 0, 0, 1], 3306).into()));
    let run = ill.run.as_mut().expect("a container");
    run.state = "unhealthy".into();
    run.illness = Some("no answer".into());
    let unanswered = |problem: &str| Server {
        answer: Err(Silence::Failed(problem.to_owned())),
        ..silent(known("b"))
    };
    let table = [
        (stopped("paused", None), "container-not-running", "docker unpause b"),
        (stopped("exited", killed), "want of memory", "docker start b"),
        (stopped("exited", ended), "exit code 1", "docker start b"),
        (stopped("restarting", ended), "again and again", "docker logs"),
        (silent(left_out), "container-left-out", "rwproxy.enable"),
        (silent(ill), "no answer", "docker logs"),
        (unanswered("ERROR 1045 (28000): Access denied"), "server-unreachable", "[administrator]"),
        (unanswered("Connection refused"), "server-unreachable", "bind_address"),
    ];
    for (server, part, remedy) in table {
        let findings = judge(&examined(vec![answering(primary()), server]));
        assert_eq!(findings.len(), 1, "{findings:?}");
        let Finding { check, evidence, remedies, severity, .. } = &findings[0];
        assert_eq!(*severity, Severity::Error);
        assert!(format!("{} {evidence}", check.name).contains(part), "{check:?}: {evidence}");
        assert!(remedies[0].to_string().contains(remedy), "{remedies:?}");
    }
}

#[test]
fn who_is_the_primary() {
    // A primary that does not answer is still the one that its replica follows.
    let mut gone = known("a");
    gone.standing = Standing::NotRunning("the container is stopped".into());
    let mut state = replica("b", 2);
    state.follows[0].channel.source_uuid = None;
    let look = examined(vec![silent(gone), answering(state)]);
    assert_eq!(look.primary_name().map(|name| &**name), Some("a"));
    assert_eq!(found(&judge(&look)), ["a container-not-running error"]);

    let table: [(Vec<State>, &[&str]); 5] = [
        (vec![primary(), sound(mysql("b", 2))], &["- primary-ambiguous error"]),
        (vec![closed(primary()), closed(sound(mysql("b", 2)))], &["- primary-missing error"]),
        (vec![primary(), closed(sound(mysql("b", 2)))], &["b server-without-source error"]),
        (
            vec![primary(), following(closed(sound(mysql("b", 2))), &mysql("z", 9))],
            &["b replication-source error"],
        ),
        (
            vec![
                primary(),
                replica("b", 2),
                sound(mysql("d", 4)),
                following(closed(sound(mysql("e", 5))), &mysql("d", 4)),
            ],
            &["- primary-ambiguous error"],
        ),
    ];
    for (states, expected) in table {
        assert_eq!(found(&find(states)), expected);
    }
    assert_eq!(found(&judge(&examined(Vec::new()))), ["- no-servers error"]);
}

#[test]
fn a_copy_is_made_only_where_it_is_needed() {
    let gone = "00000000-0000-0000-0000-000000000003:1-5";
    for (own, command) in [("", "rwproxy setup"), (gone, "rwproxy setup --overwrite b")] {
        let stranger = executed(closed(sound(mysql("b", 2))), 5, own, "");
        let findings = find(vec![primary(), stranger]);
        let finding = findings.iter().find(|it| it.check.name == "server-without-source");
        let remedies = &finding.expect("it is found").remedies;
        assert_eq!(remedies[0], Remedy::command(command));
    }
}

#[test]
fn what_may_not_be_asked_is_said() {
    let mut server = answering(replica("b", 2));
    let answer = server.answer.as_mut().expect("it answers");
    answer.state.follows.clear();
    let refused = "ERROR 1227 (42000): Access denied; you need REPLICATION CLIENT";
    answer.untold.insert(Part::Channels, refused.to_owned());
    let findings = judge(&examined(vec![answering(primary()), server]));
    assert_eq!(found(&findings), ["b not-looked-at notice"]);
    assert_eq!(told(&findings[0]), ["GRANT REPLICATION CLIENT ON *.* TO 'root'@'%'"]);
}

#[test]
fn the_monitor_is_not_to_make_events() {
    for (is_administrator, grant) in
        [(true, Some("GRANT EVENT ON *.* TO 'root'@'%'")), (false, None)]
    {
        let mut server = answering(replica("b", 2));
        let answer = server.answer.as_mut().expect("it answers");
        let unseen = "an account without EVENT sees only some of the events";
        answer.untold.insert(Part::Events, unseen.to_owned());
        let servers = vec![answering(primary()), server];
        let settings = Settings { is_administrator, ..settings() };
        let findings = judge(&Examined::new(servers, Vec::new(), settings));
        assert_eq!(found(&findings), ["b not-looked-at notice"]);
        assert_eq!(told(&findings[0]), Vec::from_iter(grant));
        let setting = findings[0].remedies.iter().any(|it| matches!(it, Remedy::Setting { .. }));
        assert_eq!(setting, !is_administrator);
    }
}

#[test]
fn labels_are_proposed_whole() {
    let label = |look: &Examined| {
        let findings = judge(look);
        let label = findings[0].remedies.iter().find_map(|remedy| match remedy {
            Remedy::Label { label, .. } => Some(label.clone()),
            _ => None,
        });
        label.expect("a label")
    };
    let mut misspelt = known("b");
    let reason = "unknown label rwproxy.wieght: did you mean rwproxy.weight=2?";
    misspelt.standing = Standing::LeftOut(reason.into());
    assert_eq!(label(&examined(vec![silent(misspelt)])), "rwproxy.weight=2");

    assert_eq!(label(&examined(Vec::new())), "rwproxy.enable=true");
    let shop = Settings { cluster: "shop".to_owned(), ..settings() };
    let shop = Examined::new(Vec::new(), Vec::new(), shop);
    assert_eq!(label(&shop), "rwproxy.enable=true rwproxy.cluster=shop");

    let mut delayed = replica("b", 2);
    delayed.follows[0].channel.delay = 60;
    let mut server = answering(delayed);
    let look = examined(vec![answering(primary()), server.clone()]);
    assert_eq!(label(&look), "rwproxy.weight=0");
    server.known.spec.weight = 0;
    assert_eq!(found(&judge(&examined(vec![answering(primary()), server]))), [""; 0]);
}

#[test]
fn checks_have_names_of_their_own() {
    let mut names: Vec<&str> =
        super::CHECKS.iter().flat_map(|checks| checks.iter().map(|check| check.name)).collect();
    assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
