//! The layers of the crate: modules import downwards only, and the pure ones stay pure.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules by layer, as the crate's documentation lists them.
const LAYERS: [(&str, u8); 19] = [
    ("wire", 0),
    ("sql", 0),
    ("gtid", 0),
    ("session", 1),
    ("routing", 1),
    ("config", 1),
    ("metrics", 1),
    ("net", 2),
    ("backend", 3),
    ("monitor", 3),
    ("discovery", 3),
    ("frontend", 4),
    ("administration", 4),
    ("facts", 4),
    ("switchover", 5),
    ("check", 5),
    ("setup", 5),
    ("admin", 5),
    ("server", 5),
];

/// Crates that may be named in one place only.
const CONFINED: [(&str, &[&str]); 3] = [
    ("sqlparser::", &["src/sql/deep.rs", "src/sql/deep/"]),
    ("opensrv_mysql::", &["src/admin/"]),
    ("bollard::", &["src/discovery/docker.rs", "src/discovery/docker/"]),
];

/// What layers 0 and 1 must not contain.
const IMPURE: [&str; 6] = [
    "tokio::",
    "async fn",
    "Instant::now",
    "SystemTime::now",
    "std::net::TcpStream",
    "thread::spawn",
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// The module directly below the crate's root that a file belongs to.
fn module_of(path: &Path) -> String {
    let first = path.components().nth(1).expect("a path below src");
    Path::new(first.as_os_str()).file_stem().expect("a name").to_string_lossy().into_owned()
}

/// The product's part of a file: without the tests at its end.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

#[test]
fn imports_go_down_and_pure_layers_are_pure() {
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).expect("the crate's directory");
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    assert!(files.len() > 30, "only {} files found", files.len());
    let mut breaches = Vec::new();
    for file in &files {
        let name = file.to_string_lossy();
        if name.ends_with("tests.rs") || name.contains("/tests/") {
            continue;
        }
        let text = fs::read_to_string(file).expect("a source file");
        let text = product(&text);
        let Some(own) = layer(&module_of(file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            for part in code.split("crate::").skip(1) {
                let module: String =
                    part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if layer(&module).is_some_and(|other| other > own) {
                    breaches.push(format!("{name}:{}: reaches up to {module}", number + 1));
                }
            }
            for impure in IMPURE {
                if own <= 1 && code.contains(impure) && !confined_thread(&name, impure) {
                    breaches.push(format!("{name}:{}: {impure} in a pure layer", number + 1));
                }
            }
            for (owner, places) in CONFINED {
                if code.contains(owner) && !places.iter().any(|place| name.starts_with(place)) {
                    breaches.push(format!("{name}:{}: {owner} outside {places:?}", number + 1));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

/// sqlparser runs on a thread of its own, which its cache starts.
fn confined_thread(name: &str, impure: &str) -> bool {
    impure == "thread::spawn" && name == "src/sql/cache.rs"
}
