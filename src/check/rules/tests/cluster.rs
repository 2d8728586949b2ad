//! What servers are to one another: lag, acknowledgements, settings, accounts, contents, surroundings.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{
    answering, examined, found, maria_primary, maria_replica, primary, replica, settings, told,
};
use crate::check::examined::{Answer, Examined, Settings};
use crate::check::finding::Finding;
use crate::check::part::Part;
use crate::check::proxy::{Contact, Face};
use crate::check::rules::judge;
use crate::facts::accounts::Entry;
use crate::facts::clock::{Lag, Skew};
use crate::facts::tables::Name;
use crate::facts::tests::semi_sync;
use crate::facts::{Account, privileges};
use crate::routing::semi_sync::SemiSync;

/// Changes what the primary and its replica answer.
type Change = fn(&mut Answer, &mut Answer);

fn judged(is_mysql: bool, change: Change, settings: Settings) -> Vec<Finding> {
    let states = match is_mysql {
        true => [primary(), replica("b", 2)],
        false => [maria_primary(), maria_replica()],
    };
    let mut servers = states.map(answering);
    let [first, second] = &mut servers;
    change(first.answer.as_mut().expect("it answers"), second.answer.as_mut().expect("it answers"));
    judge(&Examined::new(servers.into(), Vec::new(), settings))
}

fn set(answer: &mut Answer, name: &str, value: &str) {
    answer.state.variables.insert(name.to_owned(), value.to_owned());
}

fn both(a: &mut Answer, b: &mut Answer, name: &str, values: [&str; 2]) {
    set(a, name, values[0]);
    set(b, name, values[1]);
}

fn sides(a: &mut Answer, b: &mut Answer, source: bool, replica: bool) {
    let (first, second) = semi_sync(source, replica);
    a.state.semi_sync = SemiSync { source: first, replica: None };
    b.state.semi_sync = SemiSync { source: None, replica: second };
}

fn account(answer: &mut Answer, user: &str, host: &str, plugin: &str, login: u64, rights: u64) {
    let is_salted = plugin == "caching_sha2_password";
    let entry = Entry { plugin: plugin.to_owned(), login, rights, locked: false, is_salted };
    answer.accounts.insert((user.to_owned(), host.to_owned()), entry);
}

fn name(schema: &str, name: &str) -> Name {
    Name { schema: schema.to_owned(), name: name.to_owned() }
}

const NATIVE: &str = "mysql_native_password";
const CACHING: &str = "caching_sha2_password";

#[test]
fn faults_between_servers_of_mysql() {
    let table: &[(Change, &str, &[&str])] = &[
        (|_, b| b.lag = Some(Lag::Within(Duration::from_secs(1))), "", &[]),
        (
            |_, b| b.lag = Some(Lag::Beyond(Duration::from_secs(2))),
            "b replication-lag warning",
            &[],
        ),
        (|_, b| b.state.follows[0].channel.seconds_behind = Some(2), "", &[]),
        (
            |_, b| {
                b.state.follows[0].channel.seconds_behind = Some(3);
                set(b, "replica_parallel_workers", "1");
            },
            "b replication-lag warning",
            &[
                "STOP REPLICA SQL_THREAD",
                "SET PERSIST replica_parallel_workers = 4",
                "START REPLICA SQL_THREAD",
            ],
        ),
        (|a, b| sides(a, b, false, false), "", &[]),
        (|a, b| sides(a, b, true, true), "", &[]),
        (
            |a, b| sides(a, b, false, true),
            "a semi-sync-source warning",
            &["SET PERSIST rpl_semi_sync_source_enabled = ON"],
        ),
        (
            |a, b| {
                sides(a, b, false, true);
                a.state.semi_sync.source = None;
            },
            "a semi-sync-source warning",
            &[
                "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
                "SET PERSIST rpl_semi_sync_source_enabled = ON",
            ],
        ),
        (
            |a, b| sides(a, b, true, false),
            "b semi-sync-replica warning",
            &[
                "SET PERSIST rpl_semi_sync_replica_enabled = ON",
                "STOP REPLICA IO_THREAD",
                "START REPLICA IO_THREAD",
            ],
        ),
        (
            |a, b| {
                sides(a, b, true, true);
                b.state.semi_sync.replica = None;
            },
            "b semi-sync-replica warning",
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
            |a, b| {
                sides(a, b, true, true);
                a.state.semi_sync.source.as_mut().expect("it is there").active = false;
            },
            "a semi-sync-fallen-back warning",
            &[],
        ),
        (
            |a, b| {
                sides(a, b, true, true);
                a.state.semi_sync.source.as_mut().expect("it is there").clients = 0;
            },
            "a semi-sync-fallen-back warning",
            &[],
        ),
        (
            |a, b| {
                sides(a, b, true, true);
                a.state.semi_sync.source.as_mut().expect("it is there").fallbacks = 2;
            },
            "a semi-sync-fallen-back notice",
            &[],
        ),
        (
            |a, b| both(a, b, "sql_mode", ["ANSI", ""]),
            "b sql-mode-differs warning",
            &["SET PERSIST sql_mode = 'ANSI'"],
        ),
        (|a, b| both(a, b, "sql_mode", ["ANSI", "ANSI"]), "", &[]),
        (
            |a, b| both(a, b, "time_zone", ["+00:00", "SYSTEM"]),
            "b time-zone-differs warning",
            &["SET PERSIST time_zone = '+00:00'"],
        ),
        (
            |a, b| {
                both(a, b, "time_zone", ["SYSTEM"; 2]);
                both(a, b, "system_time_zone", ["UTC", "CET"]);
            },
            "b time-zone-differs warning",
            &[],
        ),
        (
            |a, b| {
                both(a, b, "time_zone", ["+00:00"; 2]);
                both(a, b, "system_time_zone", ["UTC", "CET"]);
            },
            "",
            &[],
        ),
        (
            |a, b| both(a, b, "collation_server", ["utf8mb4_bin", "latin1_bin"]),
            "b character-set-differs warning",
            &["SET PERSIST collation_server = 'utf8mb4_bin'"],
        ),
        (
            |a, b| both(a, b, "lower_case_table_names", ["0", "1"]),
            "b lower-case-table-names-differ error",
            &[],
        ),
        (
            |a, b| both(a, b, "max_allowed_packet", ["2048", "1024"]),
            "b packet-limit-smaller warning",
            &["SET PERSIST max_allowed_packet = 2048"],
        ),
        (|a, b| both(a, b, "max_allowed_packet", ["1024", "2048"]), "", &[]),
        (
            |a, b| both(a, b, "group_concat_max_len", ["2048", "1024"]),
            "b setting-differs warning",
            &["SET PERSIST group_concat_max_len = 2048"],
        ),
        (|a, _| account(a, "app", "%", NATIVE, 1, 1), "b accounts-differ warning", &[]),
        (|a, _| account(a, "app", "localhost", NATIVE, 1, 1), "", &[]),
        (
            |a, b| {
                account(a, "app", "%", NATIVE, 1, 1);
                account(b, "app", "%", NATIVE, 2, 1);
            },
            "b accounts-differ warning",
            &["ALTER USER 'app'@'%' IDENTIFIED BY '<its password>'"],
        ),
        (
            |a, b| {
                account(a, "app", "%", CACHING, 1, 1);
                account(b, "app", "%", CACHING, 2, 1);
            },
            "b accounts-differ notice",
            &["ALTER USER 'app'@'%' IDENTIFIED BY '<its password>'"],
        ),
        (
            |a, b| {
                // Who asks has logged in to both.
                account(a, "root", "%", CACHING, 1, 1);
                account(b, "root", "%", CACHING, 2, 1);
            },
            "",
            &[],
        ),
        (
            |a, b| {
                account(a, "app", "%", NATIVE, 1, 1);
                account(b, "app", "%", NATIVE, 1, 2);
            },
            "b accounts-differ warning",
            &[],
        ),
        (
            |_, b| account(b, "own", "10.%", NATIVE, 1, 1),
            "b accounts-differ warning",
            &[
                "SET SESSION sql_log_bin = 0",
                "SET GLOBAL super_read_only = OFF",
                "DROP USER 'own'@'10.%'",
                "SET GLOBAL super_read_only = ON",
            ],
        ),
        (
            |a, b| {
                a.seen_from = Some("172.17.0.1".to_owned());
                for answer in [a, b] {
                    account(answer, "app", "10.%", NATIVE, 1, 1);
                    account(answer, "web", "10.%", NATIVE, 1, 1);
                    account(answer, "web", "172.17.%", NATIVE, 1, 1);
                }
            },
            "a account-host notice",
            &["RENAME USER 'app'@'10.%' TO 'app'@'%'"],
        ),
        (
            |a, b| {
                for answer in [a, &mut *b] {
                    account(answer, "replication", "%", CACHING, 1, 1);
                }
                b.state.follows[0].has_public_key = false;
            },
            "b replication-password warning",
            &[
                "STOP REPLICA",
                "CHANGE REPLICATION SOURCE TO GET_SOURCE_PUBLIC_KEY = 1",
                "START REPLICA",
            ],
        ),
        (
            |_, b| {
                b.state.follows[0].filters =
                    vec![("replicate_ignore_db".to_owned(), "logs".to_owned())];
            },
            "b replication-filters warning",
            &[
                "STOP REPLICA SQL_THREAD",
                "CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = ()",
                "START REPLICA SQL_THREAD",
            ],
        ),
        (
            |a, _| a.left_out = vec![("binlog_ignore_db".to_owned(), "logs".to_owned())],
            "a replication-filters warning",
            &[],
        ),
        (
            |a, _| a.troublesome.keyless = vec![name("app", "we`ird")],
            "a table-without-primary-key warning",
            &["ALTER TABLE `app`.`we``ird` ADD COLUMN row_id BIGINT UNSIGNED NOT NULL \
               AUTO_INCREMENT INVISIBLE PRIMARY KEY"],
        ),
        (
            |a, _| {
                a.troublesome.without_transactions =
                    vec![(name("app", "old"), "MyISAM".to_owned())];
            },
            "a table-not-transactional warning",
            &["ALTER TABLE `app`.`old` ENGINE = InnoDB"],
        ),
        (
            |_, b| {
                b.events = vec![name("app", "nightly")];
                set(b, "event_scheduler", "ON");
            },
            "b event-on-replica warning",
            &["SET PERSIST event_scheduler = OFF"],
        ),
        (
            |a, _| {
                a.events = vec![name("app", "nightly")];
                set(a, "event_scheduler", "ON");
            },
            "",
            &[],
        ),
        (|_, b| b.skew = Some(Skew { ahead: 1500, uncertainty: 600 }), "", &[]),
        (
            |_, b| b.skew = Some(Skew { ahead: -1700, uncertainty: 600 }),
            "b clock-skew warning",
            &[],
        ),
        (
            |_, b| {
                b.state.variables.remove("session_track_gtids");
            },
            "b session-trackers error",
            &[],
        ),
        (
            |a, _| a.grants.administrator_lacks = vec!["CLONE_ADMIN"],
            "a administrator-grants warning",
            &["GRANT CLONE_ADMIN ON *.* TO 'root'@'%' WITH GRANT OPTION"],
        ),
        (
            |a, _| {
                let global = ["REPLICATION SLAVE", "SUPER"].map(str::to_owned).into();
                a.grants.replication = Some(Account { global, ..Account::default() });
            },
            "a replication-grants warning",
            &[
                "GRANT REPLICATION SLAVE ON *.* TO 'replication'@'%'",
                "REVOKE SUPER ON *.* FROM 'replication'@'%'",
            ],
        ),
        (
            |a, _| a.grants.replication = Some(Account::default()),
            "a replication-grants error",
            &["GRANT REPLICATION SLAVE ON *.* TO 'replication'@'%'"],
        ),
    ];
    for (change, expected, statements) in table {
        let findings = judged(true, *change, settings());
        let expected: Vec<&str> = [*expected].into_iter().filter(|it| !it.is_empty()).collect();
        assert_eq!(found(&findings), expected);
        assert_eq!(findings.first().map(told).unwrap_or_default(), *statements, "{expected:?}");
    }
}

#[test]
fn faults_between_servers_of_mariadb() {
    let table: &[(Change, &str, &[&str])] = &[
        (
            |_, b| {
                b.state.follows[0].filters = vec![("replicate_do_db".to_owned(), "app".to_owned())];
            },
            "b replication-filters warning",
            &["STOP SLAVE SQL_THREAD", "SET GLOBAL replicate_do_db = ''", "START SLAVE SQL_THREAD"],
        ),
        (
            |a, b| sides(a, b, true, false),
            "b semi-sync-replica warning",
            &[
                "SET GLOBAL rpl_semi_sync_slave_enabled = ON",
                "STOP SLAVE IO_THREAD",
                "START SLAVE IO_THREAD",
            ],
        ),
        (
            |a, b| both(a, b, "sql_mode", ["ANSI", ""]),
            "b sql-mode-differs warning",
            &["SET GLOBAL sql_mode = 'ANSI'"],
        ),
    ];
    for (change, expected, statements) in table {
        let findings = judged(false, *change, settings());
        assert_eq!(found(&findings), [*expected]);
        assert_eq!(told(&findings[0]), *statements);
    }
}

#[test]
fn what_the_configuration_asks_for() {
    let required = Settings { require_semi_sync: true, ..settings() };
    let findings = judged(true, |a, b| sides(a, b, false, true), required);
    assert_eq!(found(&findings), ["a semi-sync-source error"]);

    let change: Change = |a, b| both(a, b, "max_connections", ["200", "110"]);
    let of = |max_per_backend| judged(true, change, Settings { max_per_backend, ..settings() });
    assert_eq!(found(&of(None)), [""; 0]);
    assert_eq!(found(&of(Some(99))), [""; 0]);
    let findings = of(Some(100));
    assert_eq!(found(&findings), ["b connections-too-few warning"]);
    assert_eq!(told(&findings[0]), ["SET PERSIST max_connections = 111"]);
}

#[test]
fn the_monitor_may_do_what_it_needs_and_no_more() {
    let needs = privileges::of_monitor(&primary().version);
    let account = |more: &[&str], without: &str| {
        let global: BTreeSet<String> =
            needs.global.iter().chain(more).map(|it| (*it).to_owned()).collect();
        let tables = needs.tables.iter().filter(|table| **table != without);
        Account {
            global,
            tables: tables.map(|it| (*it).to_owned()).collect(),
            ..Account::default()
        }
    };
    let find = |account: Account| {
        let mut first = answering(primary());
        first.answer.as_mut().expect("it answers").grants.monitor = Some(account);
        judge(&examined(vec![first, answering(replica("b", 2))]))
    };
    assert_eq!(found(&find(account(&["USAGE", "PROCESS"], ""))), [""; 0]);
    let lacking = find(account(&[], "db"));
    assert_eq!(found(&lacking), ["a monitor-grants warning"]);
    assert_eq!(told(&lacking[0]), ["GRANT SELECT ON mysql.db TO 'rwproxy'@'%'"]);
    assert_eq!(found(&find(account(&["SELECT"], ""))), ["a monitor-grants notice"]);
    let more = find(account(&["INSERT"], ""));
    assert_eq!(found(&more), ["a monitor-grants warning"]);
    assert_eq!(
        told(&more[0]).last().map(String::as_str),
        Some("REVOKE INSERT ON *.* FROM 'rwproxy'@'%'")
    );
    assert_eq!(found(&find(Account::default())), ["a monitor-grants error"]);
}

#[test]
fn the_proxys_own_addresses() {
    let face = |key, contact| Face { key, address: "127.0.0.1:1".to_owned(), contact };
    let nobody = || Contact::Nobody("refused".to_owned());
    let table: [(Vec<Face>, &[&str]); 6] = [
        (vec![face("listen.address", Contact::Answers)], &[]),
        (vec![face("listen.address", Contact::Silent)], &["- proxy-unreachable warning"]),
        (
            vec![
                face("listen.address", Contact::Silent),
                face("http.address", Contact::NotReady("no primary".to_owned())),
            ],
            &["- proxy-unreachable warning"],
        ),
        (
            vec![face("listen.address", nobody()), face("http.address", nobody())],
            &["- proxy-unreachable notice"],
        ),
        (
            vec![face("listen.address", nobody()), face("http.address", Contact::Answers)],
            &["- proxy-unreachable warning"],
        ),
        (
            vec![
                face("listen.address", Contact::Answers),
                face("http.address", Contact::NotReady("no primary".to_owned())),
            ],
            &["- proxy-unreachable warning"],
        ),
    ];
    for (faces, expected) in table {
        let mut look = examined(vec![answering(primary()), answering(replica("b", 2))]);
        look.proxy = faces;
        assert_eq!(found(&judge(&look)), expected);
    }
}

#[test]
fn long_lists_end() {
    let change: Change = |a, _| {
        a.troublesome.keyless = (0..12).map(|at| name("app", &format!("t{at}"))).collect();
    };
    let findings = judged(true, change, settings());
    assert_eq!(findings[0].evidence, "app.t0, app.t1, app.t2, app.t3, app.t4, and 7 more");
    assert_eq!(told(&findings[0]).len(), 5);
}

#[test]
fn tables_that_are_not_seen_are_not_judged() {
    let change: Change = |a, _| {
        a.untold.insert(Part::Tables, "an account without SELECT sees only some".to_owned());
    };
    let findings = judged(true, change, settings());
    assert_eq!(found(&findings), ["a not-looked-at notice"]);
    assert_eq!(told(&findings[0]), ["GRANT SELECT ON *.* TO 'root'@'%'"]);
}
