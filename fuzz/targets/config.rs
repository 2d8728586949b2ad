//! No text makes the reading of `proxy.toml` panic, and an error can always be shown with its
//! place. The environment is a fixed one: no file is opened.
#![no_main]

use std::io;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use rwproxy::config::diff::{apply, diff};
use rwproxy::config::{Config, ConfigError, Environment};

fn variable(name: &str) -> Option<String> {
    match name {
        "EMPTY" => Some(String::new()),
        "DOCKER_HOST" => None,
        name if name.starts_with("RW") => Some("secret".to_owned()),
        _ => None,
    }
}

fn read(path: &Path) -> io::Result<String> {
    match path.extension() {
        Some(_) => Ok("secret\n".to_owned()),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

fuzz_target!(|text: &str| {
    let environment =
        Environment { base: Path::new("/etc/rwproxy"), variable: &variable, read: &read };
    match Config::parse(text, "proxy.toml", &environment) {
        Ok(config) => {
            let same = diff(&config, &config);
            assert!(same.hot.is_empty() && same.restart.is_empty(), "{same:?}");
            // What takes effect at a reload leaves nothing that needs a restart.
            let reloaded = apply(&Config::default(), config);
            assert_eq!(diff(&Config::default(), &reloaded).restart, Vec::<String>::new());
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let ConfigError::Invalid { problems, .. } = error else {
                panic!("a text cannot be unreadable")
            };
            assert!(!problems.is_empty());
            let lines = text.lines().count().max(1);
            for place in problems.iter().filter_map(|problem| problem.place.as_ref()) {
                // A file that ends in a newline may miss something on the line behind it.
                assert!((1..=lines + 1).contains(&place.line) && place.column >= 1);
            }
        }
    }
});
