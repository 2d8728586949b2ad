//! README.md keeps step with what it documents: the configuration, metrics, and privileges.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rwproxy::metrics::{
    self, BackendState, CheckState, Destination, FindingState, Metrics, PoolState,
};
use rwproxy::routing::membership::galera::State;
use rwproxy::routing::membership::{Membership, Node};
use rwproxy::routing::semi_sync::Source;

const README: &str = include_str!("../README.md");
const EXAMPLE: &str = include_str!("../proxy.toml");

/// Keys by section and name, with their defaults as TOML, where they have one.
type Keys = BTreeMap<(String, String), Option<String>>;

/// The keys of proxy.toml by section: `key = value`, or `# key = value` where there is no default.
fn example() -> Keys {
    let mut keys = Keys::new();
    let mut section = String::new();
    for line in EXAMPLE.lines() {
        let text = line.trim_start_matches("# ");
        if text.starts_with('[') && text.ends_with(']') {
            section = text.to_owned();
        } else if let Some((key, value)) = assignment(text) {
            let default = (!line.starts_with('#')).then(|| value.to_owned());
            keys.insert((section.clone(), key.to_owned()), default);
        }
    }
    keys
}

fn assignment(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once(" = ")?;
    let is_key = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_key.then_some((key, value))
}

/// The rows of the tables under headings that name a section.
fn readme() -> Keys {
    let mut keys = Keys::new();
    let mut section = None;
    for line in README.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            let name = heading.trim_start_matches('#').trim().trim_matches('`');
            section = name.starts_with('[').then(|| name.to_owned());
        }
        let (Some(section), true) = (&section, line.starts_with("| `")) else { continue };
        let cells: Vec<&str> = line.split(" | ").collect();
        let key = cells[0].trim_start_matches("| ").trim_matches('`').to_owned();
        let is_toml = |text: &&str| text.starts_with('`');
        let default = Some(cells[1]).filter(is_toml).map(|text| text.trim_matches('`').to_owned());
        keys.insert((section.clone(), key), default);
    }
    keys
}

#[test]
fn every_key_stands_in_the_readme_with_its_default() {
    let (example, readme) = (example(), readme());
    assert!(example.len() > 50, "{example:?}");
    let mut wrong = String::new();
    for (place, expected) in &example {
        let Some(found) = readme.get(place) else {
            wrong += &format!("{place:?} is missing\n");
            continue;
        };
        // Without a default in the file the README may say what holds.
        if expected.is_some() && found != expected {
            wrong += &format!("{place:?}: {found:?} instead of {expected:?}\n");
        }
    }
    for place in readme.keys().filter(|place| !example.contains_key(*place)) {
        wrong += &format!("{place:?} is not in proxy.toml\n");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Whether the README names this, and not only something longer.
fn mentions(word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    README.match_indices(word).any(|(at, _)| {
        !README[..at].ends_with(is_part) && !README[at + word.len()..].starts_with(is_part)
    })
}

#[test]
fn metrics_of_the_readme_exist() {
    let metrics = Arc::new(Metrics::new(&["read"]));
    metrics.statements.count(Destination::Replica, 0);
    metrics.rules.of("reports").increment();
    metrics.backends.of("db1").reads.add(1);
    let backend = BackendState {
        name: "db1".into(),
        role: "replica",
        takes_reads: true,
        lag: Some(Duration::ZERO),
        semi_sync: Some(Source {
            enabled: true,
            active: true,
            clients: 1,
            wait_for: 1,
            timeout: Duration::from_secs(10),
            fallbacks: 0,
            acknowledged: 0,
            unacknowledged: 0,
            waiting: 0,
            clock_failures: 0,
        }),
        membership: Membership::Galera(Arc::new(Node {
            cluster: "c".into(),
            in_primary_component: true,
            view: 1,
            size: 1,
            state: State::Synced,
            is_ready: true,
            is_connected: true,
            replicates: true,
            rejects_queries: false,
            last_committed: 1,
            receive_queue: 0,
            send_queue: 0,
            is_throttled: false,
        })),
    };
    let pool = PoolState { backend: "db1".into(), ..Default::default() };
    let look = Some((Duration::from_secs(1), Duration::from_secs(1)));
    let findings = vec![FindingState {
        check: "sync-binlog",
        server: "db1".into(),
        severity: "warning",
        count: 1,
    }];
    let checks = CheckState { findings, look };
    let text = metrics::text(&metrics, vec![backend], vec![pool], checks);
    let named = README.split('`').filter(|text| text.starts_with("rwproxy_"));
    let names: Vec<&str> = named.map(|text| text.split('{').next().unwrap_or(text)).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in\n{text}");
    }
}

#[test]
fn accounts_are_granted_what_the_compose_file_grants() {
    let script = include_str!("../compose/replication.sh");
    for line in script.lines().filter(|line| line.starts_with("GRANT ") && line.contains("rwproxy"))
    {
        assert!(README.contains(line), "{line}");
    }
    for tables in script.lines().filter_map(|line| line.strip_prefix("$(grant_select ")) {
        for table in tables.trim_end_matches(')').split(' ') {
            assert!(mentions(&format!("mysql.{table}")), "mysql.{table}");
        }
    }
}

/// The checks of the section about `rwproxy check`, in the first cells of its table.
#[test]
fn every_check_stands_in_the_readme() {
    let section = README.split("\n## Is everything right?").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("a section");
    let cells = section.lines().filter(|line| line.starts_with("| `"));
    let cells = cells.filter_map(|line| line.split(" | ").next());
    let listed: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let checks = rwproxy::check::rules::CHECKS.iter().flat_map(|checks| checks.iter());
    let mut names: Vec<&str> = checks.map(|check| check.name).collect();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    names.sort_unstable();
    assert_eq!(sorted, names);
}
