//! Containers that only sleep, by the docker command, for what needs no server inside.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// There wherever these tests run; what it contains does not matter.
pub const IMAGE: &str = "rwproxy-test/mariadb:10.11";

/// `docker`, which ends in time: what waits for it could not be ended.
pub fn client() -> Command {
    let mut client = Command::new("timeout");
    client.args(["120", "docker"]);
    client
}

/// Runs `docker` with these arguments; what it prints, without the last line's end.
pub fn docker(arguments: &[&str]) -> String {
    let output = client().args(arguments).output().expect("docker starts");
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("docker prints text").trim_end().to_owned()
}

/// A container that sleeps; removed when dropped.
#[derive(Debug)]
pub struct Sleeper {
    pub name: String,
}

impl Sleeper {
    /// `name` is made unique for this run of tests. `options` are those of `docker run`.
    pub fn start(name: &str, options: &[&str]) -> Self {
        let label = label(name);
        let name = unique(name);
        let mut arguments = vec!["run", "--detach", "--init", "--name", &name, "--label", &label];
        arguments.extend(options);
        arguments.extend(["--entrypoint", "sleep", IMAGE, "infinity"]);
        docker(&arguments);
        Sleeper { name }
    }

    /// `docker ACTION … NAME`, beside what else the test does.
    pub async fn act(&self, action: &str) {
        let mut arguments: Vec<String> = action.split(' ').map(str::to_owned).collect();
        arguments.push(self.name.clone());
        let run = move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            docker(&arguments);
        };
        tokio::task::spawn_blocking(run).await.expect("docker did as told");
    }

    /// Its address on a network.
    pub fn ip(&self, network: &str) -> String {
        let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        docker(&["inspect", "--format", &format, &self.name])
    }

    /// When the daemon told of the container's latest event of this kind.
    pub fn told(&self, event: &str) -> SystemTime {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
        let since = (now - Duration::from_secs(60)).as_secs().to_string();
        let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
        let container = format!("container={}", self.name);
        let event = format!("event={event}");
        let printed = docker(&[
            "events",
            "--since",
            &since,
            "--until",
            &until,
            "--filter",
            &container,
            "--filter",
            &event,
            "--format",
            "{{.TimeNano}}",
        ]);
        let nanoseconds = printed.lines().last().expect("there was such an event");
        UNIX_EPOCH + Duration::from_nanos(nanoseconds.parse().expect("a number"))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = client().args(["rm", "--force", "--volumes", &self.name]).output();
    }
}

/// A network; removed when dropped, after its containers.
#[derive(Debug)]
pub struct Network {
    pub name: String,
}

impl Network {
    pub fn create(name: &str) -> Self {
        let label = label(name);
        let name = unique(name);
        docker(&["network", "create", "--label", &label, &name]);
        Network { name }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = client().args(["network", "rm", &self.name]).output();
    }
}

/// By which `cluster.sh down --all-of-run` finds what tests that were killed have left.
pub fn label(name: &str) -> String {
    format!("rwproxy-test={}-{name}", super::cluster::run())
}

/// A name that no other run of tests has.
pub fn unique(name: &str) -> String {
    format!("rwproxy-{}-{name}", super::cluster::run())
}
