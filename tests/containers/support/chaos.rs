//! What is done to containers from outside.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::docker::client;
use super::tag::now;

/// Runs `docker` with these arguments; its output.
pub async fn docker(arguments: &[&str]) -> String {
    let output = Command::from(client())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("docker can be run");
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `docker COMMAND CONTAINER`; when the daemon announced `event` of it, since 1970.
pub async fn docker_event(command: &[&str], container: &str, event: &str) -> Duration {
    let since = now();
    let mut arguments = command.to_vec();
    arguments.push(container);
    docker(&arguments).await;
    let name = format!("container={container}");
    let event = format!("event={event}");
    let [since, until] = [since, now()].map(|time| format!("{:.9}", time.as_secs_f64()));
    let times = docker(&[
        "events",
        "--since",
        &since,
        "--until",
        &until,
        "--filter",
        &name,
        "--filter",
        &event,
        "--format",
        "{{.TimeNano}}",
    ])
    .await;
    let nanoseconds = times.lines().next().unwrap_or_else(|| panic!("no {event} of {container}"));
    Duration::from_nanos(nanoseconds.parse().expect("a number"))
}
