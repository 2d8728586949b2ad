//! Docker, labels, what runs, and what answers.

use crate::check::examined::{Examined, Server, Silence};
use crate::check::finding::{Check, Finding, Remedy, Severity};
use crate::config::DEFAULT_CLUSTER;
use crate::discovery::{Ended, Run, Standing};

static DOCKER: Check = Check {
    name: "docker-unreachable",
    why: "Servers are found by their labels: without Docker's word none is found, and none that has gone.",
};
static NO_SERVERS: Check =
    Check { name: "no-servers", why: "There is nothing that the proxy could send statements to." };
static NOT_RUNNING: Check = Check {
    name: "container-not-running",
    why: "The server takes no part: fewer copies of the data, and fewer servers for reads.",
};
static UNHEALTHY: Check = Check {
    name: "container-unhealthy",
    why: "The proxy sends nothing to a server whose health check fails (docker.respect_health).",
};
static LEFT_OUT: Check = Check {
    name: "container-left-out",
    why: "The proxy never guesses: what it does not understand it does not use.",
};
static RESTART: Check = Check {
    name: "restart-policy",
    why: "A server that has ended, or whose machine was started anew, stays down until somebody notices.",
};
static UNREACHABLE: Check = Check {
    name: "server-unreachable",
    why: "What cannot be logged in to cannot be judged here, nor watched by the proxy.",
};

pub static CHECKS: [&Check; 7] =
    [&DOCKER, &NO_SERVERS, &NOT_RUNNING, &UNHEALTHY, &LEFT_OUT, &RESTART, &UNREACHABLE];

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    for problem in &examined.problems {
        findings.push(
            DOCKER
                .general(Severity::Error, problem.to_string())
                .mended_by(Remedy::setting("[docker] endpoint, or enabled = false without Docker")),
        );
    }
    let prefix = &examined.settings.prefix;
    if examined.servers.is_empty() && examined.problems.is_empty() {
        let cluster = &examined.settings.cluster;
        let mut labels = format!("{prefix}.enable=true");
        if cluster != DEFAULT_CLUSTER {
            labels += &format!(" {prefix}.cluster={cluster}");
        }
        findings.push(
            NO_SERVERS
                .general(
                    Severity::Error,
                    format!(
                        "no container is labelled {prefix}.enable=true for the cluster {cluster}"
                    ),
                )
                .mended_by(Remedy::label(&"each server".into(), labels))
                .mended_by(Remedy::setting("[[backends]] with name and address of each server")),
        );
    }
    for server in &examined.servers {
        findings.extend(standing(server, prefix));
        findings.extend(restart(server));
        findings.extend(unreachable(server, examined));
    }
}

fn standing(server: &Server, prefix: &str) -> Option<Finding> {
    let name = server.name();
    let run = server.known.run.as_ref();
    let is_ill = run.is_some_and(|run| &*run.state == "unhealthy");
    match &server.known.standing {
        Standing::NotRunning(reason) => Some(match run {
            Some(run) => not_running(server, run),
            None => NOT_RUNNING.of(name, Severity::Error, reason.to_string()),
        }),
        Standing::LeftOut(reason) => Some(
            LEFT_OUT
                .of(name, Severity::Error, reason.to_string())
                .mended_by(mended_label(reason).map(|label| Remedy::label(name, label)))
                .mended_by(Remedy::advice(format!(
                    "mend what is named here in compose.yaml or the container's labels, and make the \
                     container anew (docker compose up -d); or take {prefix}.enable away"
                ))),
        ),
        Standing::Unhealthy(_) | Standing::Running(_) if is_ill => {
            let severity = match server.known.standing {
                Standing::Unhealthy(_) => Severity::Error,
                // It is told not to mind.
                _ => Severity::Warning,
            };
            let illness = run.and_then(|run| run.illness.as_deref());
            let evidence = match illness {
                Some(illness) => format!("Docker's health check fails: {illness}"),
                None => "Docker's health check fails".to_owned(),
            };
            Some(
                UNHEALTHY
                    .of(name, severity, evidence)
                    .mended_by(Remedy::command(format!("docker logs --tail 50 {name}"))),
            )
        }
        Standing::Unhealthy(_) | Standing::Running(_) => None,
    }
}

fn not_running(server: &Server, run: &Run) -> Finding {
    let name = server.name();
    let found = |evidence: String| NOT_RUNNING.of(name, Severity::Error, evidence);
    let logs = || Remedy::command(format!("docker logs --tail 50 {name}"));
    let Ended { exit_code, out_of_memory } = run.ended.unwrap_or_default();
    let end = match (exit_code, out_of_memory) {
        (_, true) => format!("exit code {exit_code}: it was killed for want of memory"),
        (137, false) => "exit code 137: it was killed".to_owned(),
        (code, false) => format!("exit code {code}"),
    };
    match &*run.state {
        "paused" => found("its container is paused".to_owned())
            .mended_by(Remedy::command(format!("docker unpause {name}"))),
        "restarting" => {
            found(format!("its container is started again and again ({end})")).mended_by(logs())
        }
        _ if run.ended.is_none() => found("its container is stopped".to_owned())
            .mended_by(Remedy::command(format!("docker start {name}"))),
        _ => found(format!("its container is stopped ({end})"))
            .mended_by(Remedy::command(format!("docker start {name}")))
            .mended_by(logs()),
    }
}

/// The label that a reason proposes in place of the one that is not understood.
fn mended_label(reason: &str) -> Option<String> {
    let (_, proposed) = reason.split_once("did you mean ")?;
    let proposed = proposed.split('?').next()?;
    (!proposed.starts_with('"')).then(|| proposed.to_owned())
}

fn restart(server: &Server) -> Option<Finding> {
    let run = server.known.run.as_ref()?;
    let name = server.name();
    (&*run.restart == "no").then(|| {
        RESTART
            .of(name, Severity::Notice, "Docker does not start its container again".to_owned())
            .mended_by(Remedy::command(format!("docker update --restart unless-stopped {name}")))
    })
}

fn unreachable(server: &Server, examined: &Examined) -> Option<Finding> {
    let Err(Silence::Failed(problem)) = &server.answer else { return None };
    let finding = UNREACHABLE.of(server.name(), Severity::Error, problem.clone());
    let user = &examined.settings.asker;
    let section = if examined.settings.is_administrator { "administrator" } else { "monitor" };
    Some(if problem.contains("ERROR 1045") {
        finding
            .mended_by(Remedy::setting(format!(
                "[{section}]: the name and the password of an account that every server knows"
            )))
            .mended_by((!examined.settings.is_administrator).then(Remedy::setup))
    } else if problem.contains("ERROR 1040") {
        finding.mended_by(Remedy::advice(format!(
            "all its connections are in use: raise max_connections, or close some; with the privilege \
             CONNECTION_ADMIN (MariaDB: CONNECTION ADMIN) {user} gets in all the same"
        )))
    } else {
        finding.mended_by(Remedy::advice(
            "see whether the server runs (docker logs), listens (bind_address, port), and can be reached \
             from here",
        ))
    })
}
