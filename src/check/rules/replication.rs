//! The threads of replication, and from whom they fetch.

use super::causes;
use crate::administration::statements;
use crate::check::examined::{Answer, Examined, Role, Server};
use crate::check::finding::{Check, Finding, Remedy, Severity};
use crate::facts::Follows;
use crate::monitor::observation::Channel;
use crate::routing::topology::Thread;

static RECEIVER: Check = Check {
    name: "replication-receiver",
    why: "The replica gets nothing from the primary any more: it grows old, and serves no reads.",
};
static APPLIER: Check = Check {
    name: "replication-applier",
    why: "The replica applies nothing any more: it grows old, and serves no reads.",
};
static FOREIGN: Check = Check {
    name: "replication-source",
    why: "A replica of somebody else does not hold the primary's data: it serves no reads.",
};
static DELAYED: Check = Check {
    name: "replication-delayed",
    why: "A replica that is told to stay behind by more than max_lag serves no reads.",
};
static BY_FILE: Check = Check {
    name: "replication-by-file",
    why: "Without GTIDs nobody can tell what the replica lacks, nor point it at another primary.",
};
static HALF: Check = Check {
    name: "copy-unfinished",
    why: "A copy of the primary's data was begun and did not end: parts of the data are missing.",
};

pub static CHECKS: [&Check; 6] = [&RECEIVER, &APPLIER, &FOREIGN, &DELAYED, &BY_FILE, &HALF];

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    for (server, answer) in examined.answers() {
        if answer.state.half_copied {
            let evidence =
                format!("the schema {} is there, which marks it", crate::facts::UNFINISHED);
            let finding = HALF.of(server.name(), Severity::Error, evidence);
            findings.push(finding.mended_by(Remedy::setup()));
        }
        for follows in answer.follows().unwrap_or_default() {
            channel(examined, server, answer, follows, findings);
        }
    }
}

fn channel(
    examined: &Examined,
    server: &Server,
    answer: &Answer,
    follows: &Follows,
    findings: &mut Vec<Finding>,
) {
    findings.extend(foreign(examined, server, &follows.channel));
    findings.extend(receiver(server, answer, follows));
    findings.extend(applier(server, answer, follows));
    findings.extend(delayed(examined, server, answer, &follows.channel));
    findings.extend(by_file(server, answer, follows));
}

fn foreign(examined: &Examined, server: &Server, channel: &Channel) -> Option<Finding> {
    // Of the primary itself it is another matter: a cluster may replicate from another one.
    if server.role == Role::Primary || examined.source_of(server).is_some() {
        return None;
    }
    // A server that has not answered may be the one that is meant.
    let severity = if examined.is_certain() { Severity::Error } else { Severity::Warning };
    let Channel { host, port, .. } = channel;
    let evidence = format!("it replicates from {host}:{port}, which is none of these servers");
    Some(FOREIGN.of(server.name(), severity, evidence).mended_by(Remedy::setup()).mended_by(
        Remedy::advice(
            "or label that server, too; or give it, as a server of its own, to another cluster",
        ),
    ))
}

fn receiver(server: &Server, answer: &Answer, follows: &Follows) -> Option<Finding> {
    let Channel { receiver, receiver_error, host, port, .. } = &follows.channel;
    let error = receiver_error.as_deref();
    let (severity, what) = match (receiver, error) {
        (Thread::Running, _) => return None,
        (Thread::Connecting, None) => (Severity::Warning, "is connecting".to_owned()),
        (Thread::Connecting, Some(error)) => {
            (Severity::Error, format!("does not reach {host}:{port}: {error}"))
        }
        (Thread::Stopped, None) => {
            (Severity::Error, "is stopped, and not by an error: somebody has stopped it".to_owned())
        }
        (Thread::Stopped, Some(error)) => (Severity::Error, format!("has stopped: {error}")),
    };
    let finding = RECEIVER.of(server.name(), severity, format!("its receiver (IO thread) {what}"));
    Some(match (receiver, error) {
        (_, Some(error)) => {
            causes::explain(finding, server, answer, follows, follows.receiver_code, error)
        }
        (Thread::Stopped, None) => finding.mended_by(start(server, answer, "IO_THREAD")),
        _ => finding.mended_by(Remedy::advice("look again in a few seconds")),
    })
}

fn applier(server: &Server, answer: &Answer, follows: &Follows) -> Option<Finding> {
    let Channel { applier: Thread::Stopped, applier_error, .. } = &follows.channel else {
        return None;
    };
    let found = |what: String| {
        APPLIER.of(server.name(), Severity::Error, format!("its applier (SQL thread) {what}"))
    };
    // The coordinator only says that a worker has failed.
    let worker = answer.worker_errors.first();
    let (code, error) = match (worker, applier_error.as_deref()) {
        (Some((code, text)), Some(_)) => (*code, text.as_str()),
        (_, Some(error)) => (follows.applier_code, error),
        (_, None) => {
            return Some(
                found("is stopped, and not by an error: somebody has stopped it".to_owned())
                    .mended_by(start(server, answer, "SQL_THREAD")),
            );
        }
    };
    let finding = found(format!("has stopped: {error}"));
    Some(causes::explain(finding, server, answer, follows, code, error))
}

fn start(server: &Server, answer: &Answer, thread: &str) -> Remedy {
    let started = statements::replica("START", thread, &answer.state.version);
    Remedy::safe(server.name(), vec![started])
}

fn delayed(
    examined: &Examined,
    server: &Server,
    answer: &Answer,
    channel: &Channel,
) -> Option<Finding> {
    let limit = server.known.spec.max_lag.unwrap_or(examined.settings.max_lag);
    let is_within = u128::from(channel.delay) * 1000 <= limit.as_millis();
    // Of one that is to have no reads somebody has meant it.
    if channel.delay == 0 || is_within || server.known.spec.weight == 0 {
        return None;
    }
    let version = &answer.state.version;
    let prefix = &examined.settings.prefix;
    let evidence = format!(
        "it is told to stay {} s behind, and max_lag is {}",
        channel.delay,
        humantime::format_duration(limit)
    );
    Some(
        DELAYED
            .of(server.name(), Severity::Warning, evidence)
            .mended_by(Remedy::deliberate(
                server.name(),
                vec![
                    statements::replica("STOP", "", version),
                    statements::change(&[("DELAY", "0")], version),
                    statements::replica("START", "", version),
                ],
            ))
            .mended_by(server.known.run.is_some().then(|| {
                // It is there for accidents, not for reads.
                Remedy::label(server.name(), format!("{prefix}.weight=0"))
            })),
    )
}

fn by_file(server: &Server, answer: &Answer, follows: &Follows) -> Option<Finding> {
    if follows.by_gtid || server.role == Role::Primary {
        return None;
    }
    let version = &answer.state.version;
    let finding = BY_FILE.of(
        server.name(),
        Severity::Warning,
        "it fetches by file and offset, not by GTID".to_owned(),
    );
    let has_gtids = !answer.is_mysql() || answer.state.variable("gtid_mode") == Some("ON");
    // A MariaDB that was only ever told files has its GTID position all the same.
    let told = vec![
        statements::replica("STOP", "", version),
        statements::by_gtid(version),
        statements::replica("START", "", version),
    ];
    let finding = match has_gtids {
        true => finding.mended_by(Remedy::safe(server.name(), told)),
        false => finding,
    };
    Some(finding.mended_by(Remedy::setup()))
}
