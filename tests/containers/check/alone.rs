//! Servers that no cluster knows of, and looks at servers that are listed.

use serde_json::Value;

use super::doctor::Doctor;
use crate::support::Cluster;
use crate::support::docker::{self, docker, label};

/// Servers that are listed: name, address with or without a port, and what else is said of them.
pub type Listed<'a> = (&'a str, &'a str, &'a str);

pub fn listed(servers: &[Listed]) -> String {
    let mut text = "[docker]\nenabled = false\n\
         [administrator]\nuser = \"root\"\npassword = \"root\"\n\
         [monitor]\npassword = \"rwproxy\"\n"
        .to_owned();
    for (name, address, more) in servers {
        let port = if address.contains(':') { "" } else { ":3306" };
        text +=
            &format!("[[backends]]\nname = \"{name}\"\naddress = \"{address}{port}\"\n{more}\n");
    }
    text
}

pub async fn is_found(doctor: &Doctor, check: &str, server: Option<&str>, severity: &str) -> Value {
    let finding = doctor.find(check, server).await;
    assert_eq!(finding["severity"], severity, "{finding:#}");
    finding
}

/// A part of what was seen.
pub fn tells(finding: &Value, part: &str) {
    let evidence = finding["evidence"].as_str().expect("a text");
    assert!(evidence.contains(part), "{finding:#}");
}

/// A server in a cluster's network; removed when dropped.
pub struct Alone(pub String);

impl Alone {
    /// `options` are those of `docker create`. What is copied into the container before it starts: where from, and
    /// where to.
    pub fn start(
        cluster: &Cluster,
        name: &str,
        options: &[&str],
        copied: &[(&str, &str)],
        command: &[&str],
    ) -> Self {
        // Each of the two flavours' clusters gets one at the same time.
        let network = format!("rwproxy-{}", cluster.name);
        let name = format!("{network}-{name}");
        let label = label("check-alone");
        let mut arguments = vec!["create", "--name", &name, "--label", &label];
        arguments.extend(["--network", &network]);
        arguments.extend(["--env", "MARIADB_ROOT_PASSWORD=root"]);
        arguments.extend(options);
        arguments.extend(command);
        arguments.extend(["--innodb-use-native-aio=OFF", "--innodb-flush-method=nosync"]);
        docker(&arguments);
        let alone = Alone(name);
        for (from, to) in copied {
            docker(&["cp", from, &format!("{}:{to}", alone.0)]);
        }
        docker(&["start", &alone.0]);
        alone
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = docker::client().args(["rm", "--force", "--volumes", &self.0]).output();
    }
}
