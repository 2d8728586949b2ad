//! The command as it is typed: what it says of a bad configuration, and of a daemon it may not ask.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_rwproxy");
/// `nobody`: root may open every socket.
const NOBODY: u32 = 65534;

fn check(directory: &Path, text: &str) -> Output {
    let config = directory.join("proxy.toml");
    std::fs::write(&config, text).expect("the configuration");
    let mut command = Command::new(BINARY);
    command.arg("--config").arg(&config).args(["config", "check"]);
    command.env("RWPROXY_MONITOR_PASSWORD", "x").output().expect("it runs")
}

#[test]
fn a_bad_configuration_is_told_with_file_line_and_a_suggestion() {
    let directory = tempfile::tempdir().expect("a directory");
    for (text, said) in [
        (
            "[routing]\nmax_lagg = \"2s\"\n",
            "proxy.toml:2:1: unknown key `max_lagg` in [routing]; did you mean `max_lag`?",
        ),
        ("[pool]\n\nlease_timeout = \"5\"\n", "proxy.toml:3:17: "),
        ("[listen\n", "proxy.toml:1:"),
    ] {
        let output = check(directory.path(), text);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(said), "{text}: {error}");
        assert_eq!(output.status.code(), Some(1), "{text}");
    }
    let output = check(directory.path(), "[routing]\nmax_lag = \"3s\"\n");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn explain_knows_the_rules_of_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("proxy.toml");
    let rule = "[[rules]]\nname = 'reports'\nuser = 'report'\nmatch = '^select'\n\
                target = 'primary'\n";
    std::fs::write(&config, rule).expect("the configuration");
    for (user, first) in [("report", "the primary"), ("app", "a replica")] {
        let mut command = Command::new(BINARY);
        command.arg("--config").arg(&config).args(["explain", "SELECT 1", "--user", user]);
        let output = command.output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.lines().next().is_some_and(|line| line.ends_with(first)), "{user}: {text}");
        assert_eq!(text.contains("\nrule         reports\n"), user == "report", "{text}");
    }
}

#[test]
fn a_socket_without_permission_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let allow = |path: &Path, mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).expect("our own file");
    };
    let _listener = UnixListener::bind(path("docker.sock")).expect("a fresh path");
    allow(&path("docker.sock"), 0o600);
    // Where the user that may not ask can reach it.
    std::fs::copy(BINARY, path("rwproxy")).expect("a copy of the binary");
    let nowhere = "address = \"127.0.0.1:0\"\n";
    let text = format!(
        "[listen]\n{nowhere}[admin]\n{nowhere}[http]\n{nowhere}[docker]\nendpoint = \"unix://{}\"\n",
        path("docker.sock").display()
    );
    std::fs::write(path("proxy.toml"), text).expect("the configuration");
    allow(directory.path(), 0o755);
    allow(&path("rwproxy"), 0o755);
    allow(&path("proxy.toml"), 0o644);

    let mut command = Command::new(path("rwproxy"));
    command.arg("--config").arg(path("proxy.toml")).env("RWPROXY_MONITOR_PASSWORD", "x");
    if std::fs::metadata(path("proxy.toml")).expect("our own file").uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    } else {
        allow(&path("docker.sock"), 0o000);
    }
    let mut proxy = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let log = BufReader::new(proxy.stderr.take().expect("it is piped"));
    let (sender, said) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = log.lines().map_while(Result::ok);
        sender.send(lines.find(|line| line.contains("no permission for")))
    });
    let said = said.recv_timeout(Duration::from_secs(20));
    proxy.kill().expect("it runs");
    proxy.wait().expect("it ends");
    let line = said.expect("it says so at its start").expect("it says so before it ends");
    assert!(line.contains("docker.sock") && line.contains("--group-add"), "{line}");
}
