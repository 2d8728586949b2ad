//! A container's labels. They are read strictly: one that is unknown or has a bad value keeps the
//! container out with a reason, for a typing error must not change where data goes.

use std::time::Duration;

use crate::config::{DEFAULT_CLUSTER, RoleSetting, parse_duration};

use super::servers::Spec;

/// Where a server listens unless its label says otherwise.
pub const DEFAULT_PORT: u16 = 3306;

/// Labels that a container may carry, without the prefix.
const KNOWN: [&str; 8] =
    ["enable", "cluster", "role", "port", "network", "weight", "max_lag", "drain"];

/// What the labels of one container say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labelled {
    /// No label of ours, or those of another cluster.
    NotOurs,
    /// Ours, but it is to be left out for this reason.
    LeftOut(String),
    Ours(Labels),
}

/// Labels without fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    pub spec: Spec,
    /// The port inside the container, 3306 by default.
    pub port: u16,
    /// The network on which to reach it.
    pub network: Option<String>,
}

/// Reads the labels that begin with `prefix` and a dot. The order of the labels does not matter.
pub fn read<'a>(
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    prefix: &str,
    cluster: &str,
) -> Labelled {
    let mut ours: Vec<(&str, &str)> = labels
        .into_iter()
        .filter_map(|(name, value)| match name.strip_prefix(prefix)? {
            "" => Some(("", value)),
            rest => Some((rest.strip_prefix('.')?, value)),
        })
        .collect();
    if ours.is_empty() {
        return Labelled::NotOurs;
    }
    ours.sort_unstable();
    let value = |wanted: &str| ours.iter().find(|(name, _)| *name == wanted).map(|(_, v)| v.trim());
    if value("cluster").unwrap_or(DEFAULT_CLUSTER) != cluster {
        return Labelled::NotOurs;
    }

    let mut faults = Vec::new();
    for (name, value) in &ours {
        if !KNOWN.contains(name) {
            faults.push(unknown(prefix, name, value));
        }
    }
    let mut check = |name: &str, read: Result<(), String>| {
        if let Err(fault) = read {
            faults.push(format!("label {prefix}.{name}: {fault}"));
        }
    };
    let mut labels = Labels { spec: Spec::default(), port: DEFAULT_PORT, network: None };
    let mut enabled = None;
    for (name, value) in &ours {
        let value = value.trim();
        let spec = &mut labels.spec;
        let read = match *name {
            "enable" => boolean(value).map(|on| enabled = Some(on)),
            "role" => role(value).map(|role| spec.role = role),
            "port" => number(value, 1, 65_535).map(|port| labels.port = port as u16),
            "network" => network(value).map(|network| labels.network = Some(network)),
            "weight" => number(value, 0, 1000).map(|weight| spec.weight = weight),
            "max_lag" => max_lag(value).map(|lag| spec.max_lag = Some(lag)),
            "drain" => boolean(value).map(|drain| spec.drain = drain),
            _ => Ok(()),
        };
        check(name, read);
    }
    match (faults.is_empty(), enabled) {
        (false, _) => Labelled::LeftOut(faults.join("; ")),
        (true, None) => Labelled::LeftOut(format!("label {prefix}.enable=true is missing")),
        (true, Some(false)) => Labelled::LeftOut(format!("label {prefix}.enable is false")),
        (true, Some(true)) => Labelled::Ours(labels),
    }
}

/// What is proposed is a whole label: it keeps the value.
fn unknown(prefix: &str, name: &str, value: &str) -> String {
    if name.is_empty() {
        return format!("unknown label {prefix}: did you mean {prefix}.enable={value}?");
    }
    match closest(name, &KNOWN) {
        Some(known) => {
            format!("unknown label {prefix}.{name}: did you mean {prefix}.{known}={value}?")
        }
        None => format!("unknown label {prefix}.{name}: known are {}", KNOWN.join(", ")),
    }
}

/// The candidate that `text` was most likely meant to be.
fn closest<'a>(text: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let text = text.to_lowercase().replace('-', "_");
    candidates
        .iter()
        .map(|candidate| (strsim::jaro_winkler(&text, candidate), *candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn choice(value: &str, choices: &[&str]) -> String {
    let hint = closest(value, choices)
        .map_or_else(String::new, |choice| format!(" (did you mean {choice:?}?)"));
    let choices: Vec<_> = choices.iter().map(|choice| format!("{choice:?}")).collect();
    format!("{value:?} is none of {}{hint}", choices.join(", "))
}

fn boolean(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(choice(value, &["true", "false"])),
    }
}

fn role(value: &str) -> Result<RoleSetting, String> {
    match value {
        "auto" => Ok(RoleSetting::Auto),
        "primary" => Ok(RoleSetting::Primary),
        "replica" => Ok(RoleSetting::Replica),
        _ => Err(choice(value, &["auto", "primary", "replica"])),
    }
}

fn number(value: &str, least: u32, most: u32) -> Result<u32, String> {
    value
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number) && !value.starts_with('+'))
        .ok_or_else(|| format!("{value:?} is not a number from {least} to {most}"))
}

fn network(value: &str) -> Result<String, String> {
    if value.is_empty() { Err("is empty".to_owned()) } else { Ok(value.to_owned()) }
}

fn max_lag(value: &str) -> Result<Duration, String> {
    match parse_duration(value)? {
        Duration::ZERO => Err("must be more than 0".to_owned()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labelled {
        read(pairs.iter().copied(), "rwproxy", "default")
    }

    #[test]
    fn good_labels() {
        let all = [
            ("rwproxy.enable", "true"),
            ("rwproxy.cluster", "default"),
            ("rwproxy.role", "replica"),
            ("rwproxy.port", "3307"),
            ("rwproxy.network", "back"),
            ("rwproxy.weight", "0"),
            ("rwproxy.max_lag", "500ms"),
            ("rwproxy.drain", "true"),
            ("com.docker.compose.project", "shop"),
        ];
        let spec = Spec {
            role: RoleSetting::Replica,
            weight: 0,
            max_lag: Some(Duration::from_millis(500)),
            drain: true,
        };
        let expected = Labels { spec, port: 3307, network: Some("back".to_owned()) };
        assert_eq!(labels(&all), Labelled::Ours(expected));

        let default = Labels { spec: Spec::default(), port: 3306, network: None };
        assert_eq!(labels(&[("rwproxy.enable", "true")]), Labelled::Ours(default));
    }

    #[test]
    fn others_are_not_ours() {
        let table: [&[(&str, &str)]; 5] = [
            &[],
            &[("traefik.enable", "true")],
            &[("rwproxyx.enable", "true")],
            &[("rwproxy.enable", "true"), ("rwproxy.cluster", "other")],
            // Not ours, so its faults are not our business.
            &[("rwproxy.cluster", "other"), ("rwproxy.rolle", "x")],
        ];
        for pairs in table {
            assert_eq!(labels(pairs), Labelled::NotOurs, "{pairs:?}");
        }
        let prefixed = read([("db.proxy.enable", "true")], "db.proxy", "default");
        assert!(matches!(prefixed, Labelled::Ours(_)));
    }

    #[test]
    fn faults_are_named_with_a_suggestion() {
        type Pairs = &'static [(&'static str, &'static str)];
        let table: [(Pairs, &[&str]); 14] = [
            (&[("rwproxy.role", "replica")], &["rwproxy.enable=true is missing"]),
            (&[("rwproxy.enable", "false")], &["rwproxy.enable is false"]),
            (&[("rwproxy.enable", "yes")], &["rwproxy.enable: \"yes\" is none of \"true\""]),
            (&[("rwproxy.enable", "True")], &["did you mean \"true\"?"]),
            (&[("rwproxy.enabel", "true")], &["rwproxy.enabel: did you mean rwproxy.enable=true?"]),
            (&[("rwproxy.max-lag", "1s")], &["rwproxy.max-lag: did you mean rwproxy.max_lag=1s?"]),
            (&[("rwproxy.zzz", "1s")], &["unknown label rwproxy.zzz: known are enable"]),
            (&[("rwproxy", "true")], &["unknown label rwproxy: did you mean rwproxy.enable=true?"]),
            (&[("rwproxy.role", "replcia")], &["did you mean \"replica\"?"]),
            (&[("rwproxy.port", "0")], &["rwproxy.port: \"0\" is not a number from 1 to 65535"]),
            (&[("rwproxy.weight", "1001")], &["rwproxy.weight", "from 0 to 1000"]),
            (&[("rwproxy.max_lag", "2")], &["rwproxy.max_lag: \"2\" is not a duration"]),
            (&[("rwproxy.network", " ")], &["rwproxy.network: is empty"]),
            (
                &[("rwproxy.enable", "true"), ("rwproxy.port", "x"), ("rwproxy.drian", "true")],
                &["rwproxy.port", "; ", "rwproxy.drian: did you mean rwproxy.drain=true?"],
            ),
        ];
        for (pairs, parts) in table {
            let Labelled::LeftOut(reason) = labels(pairs) else { panic!("{pairs:?}") };
            for part in parts.iter().filter(|part| **part != "; ") {
                assert!(reason.contains(part), "{pairs:?}: {reason}");
            }
        }
    }
}
