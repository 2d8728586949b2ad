//! Labels of containers: none makes the reader panic, their order does not matter, and a server
//! that is taken says nothing that its labels do not.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rwproxy::discovery::labels::{Labelled, read};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    cluster: Option<&'a str>,
    labels: Vec<Label<'a>>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Label<'a> {
    Enable(bool),
    Known { name: u8, value: Value<'a> },
    Ours { name: &'a str, value: &'a str },
    Other { name: &'a str, value: &'a str },
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Value<'a> {
    Number(u32),
    Milliseconds(u32),
    Switch(bool),
    Role(bool),
    Text(&'a str),
}

const NAMES: [&str; 8] =
    ["enable", "cluster", "role", "port", "network", "weight", "max_lag", "drain"];

fn written(label: &Label<'_>) -> (String, String) {
    match *label {
        Label::Enable(on) => ("rwproxy.enable".into(), on.to_string()),
        Label::Known { name, value } => {
            let value = match value {
                Value::Number(number) => number.to_string(),
                Value::Milliseconds(number) => format!("{number}ms"),
                Value::Switch(on) => on.to_string(),
                Value::Role(true) => "primary".into(),
                Value::Role(false) => "replica".into(),
                Value::Text(text) => text.into(),
            };
            (format!("rwproxy.{}", NAMES[usize::from(name) % NAMES.len()]), value)
        }
        Label::Ours { name, value } => (format!("rwproxy.{name}"), value.into()),
        Label::Other { name, value } => (name.into(), value.into()),
    }
}

fuzz_target!(|input: Input<'_>| {
    let cluster = input.cluster.unwrap_or("default");
    let mut labels: Vec<_> = input.labels.iter().map(written).collect();
    // A container has one label of a name.
    labels.sort();
    labels.dedup_by(|a, b| a.0 == b.0);
    let pairs = || labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let found = read(pairs(), "rwproxy", cluster);
    assert_eq!(read(pairs().rev(), "rwproxy", cluster), found);
    let value = |wanted: &str| pairs().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    match found {
        Labelled::NotOurs => {}
        Labelled::LeftOut(reason) => assert!(!reason.is_empty()),
        Labelled::Ours(taken) => {
            assert_eq!(value("rwproxy.enable").map(str::trim), Some("true"));
            assert_eq!(value("rwproxy.cluster").map_or("default", str::trim), cluster);
            assert!(taken.port > 0 && taken.spec.weight <= 1000);
            assert_eq!(taken.network.as_deref(), value("rwproxy.network").map(str::trim));
        }
    }
});
