//! What errors of replication usually mean, and what mends them.

use crate::administration::Statement;
use crate::administration::statements;
use crate::check::examined::{Answer, Server};
use crate::check::finding::{Finding, Remedy};
use crate::facts::Follows;

/// A kind of error: its numbers, words of which one must stand in its text if there are any, and what
/// it usually means.
struct Cause {
    codes: &'static [u32],
    words: &'static [&'static str],
    means: &'static str,
    kind: Kind,
}

/// What mends it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The replica's data are not the primary's.
    Differs,
    /// Only a copy helps.
    CopyAnew,
    Password,
    Network,
    /// The password cannot be sent in the clear.
    PublicKey,
    ServerId,
    /// What it has received is broken, and can be fetched again.
    RelayLog,
    /// It was a moment's trouble.
    Again,
    Gtids,
}

/// The first that fits; the sources' own numbers stand within the text of 13114 and 1236.
const CAUSES: [Cause; 11] = [
    Cause {
        codes: &[1236, 13114, 13121, 13124],
        words: &[
            "purged",
            "Could not find first log file",
            "could not find next log",
            "not in the master's binlog",
        ],
        means: "the source no longer has the binary logs that this replica needs: it was away longer \
                than they are kept",
        kind: Kind::CopyAnew,
    },
    Cause {
        codes: &[1236, 13114, 1593, 13117],
        words: &[
            "server_uuid/server_id",
            "equal MySQL server ids",
            "equal MySQL server UUIDs",
            "same server_id",
            "server_uuid",
        ],
        means: "two servers have the same server_id or server_uuid",
        kind: Kind::ServerId,
    },
    Cause {
        codes: &[1236, 13114],
        words: &[
            "has no equivalent",
            "out-of-order",
            "diverged",
            "more transactions",
            "which is not in the",
            "errant",
        ],
        means: "the replica has transactions that the source does not have",
        kind: Kind::Differs,
    },
    Cause {
        codes: &[2061],
        words: &["requires secure connection"],
        means: "the account's plugin, caching_sha2_password, sends no password in the clear: it needs TLS \
                or the source's public key",
        kind: Kind::PublicKey,
    },
    Cause {
        codes: &[1045, 1044, 1227, 1862, 3118],
        words: &["Access denied", "denied", "locked", "expired"],
        means: "the source does not let the replication account in: another password, no such account, \
                or no REPLICATION SLAVE",
        kind: Kind::Password,
    },
    Cause {
        codes: &[2002, 2003, 2005, 2013, 1130, 1129, 2026],
        words: &[],
        means: "the replica does not reach the source by that name and port, or is not let in from there: \
                another network, a name that changed, or the source is down",
        kind: Kind::Network,
    },
    Cause {
        codes: &[1594, 1595, 13121, 13122, 13123, 1872, 13119, 13120],
        words: &[],
        means: "what the replica has received is damaged on its disk: a crash, or a full disk",
        kind: Kind::RelayLog,
    },
    Cause {
        codes: &[1205, 1213, 3058],
        words: &[],
        means: "it has waited too long for locks that somebody else holds on the replica",
        kind: Kind::Again,
    },
    Cause {
        codes: &[
            1062, 1032, 1007, 1008, 1050, 1051, 1146, 1049, 1054, 1060, 1091, 1396, 1451, 1452,
            1677, 13146, 1305,
        ],
        words: &[],
        means: "somebody has written on the replica, or it was no copy of the primary: its data differ",
        kind: Kind::Differs,
    },
    Cause {
        codes: &[1950, 1837],
        words: &[],
        means: "somebody has written on the replica: its transactions are numbered otherwise than the \
                primary's",
        kind: Kind::Differs,
    },
    Cause {
        codes: &[1785, 1782, 1784, 13115],
        words: &[],
        means: "the replica's gtid_mode does not fit the source's",
        kind: Kind::Gtids,
    },
];

/// Adds the usual cause of an error, and what mends it.
pub fn explain(
    mut finding: Finding,
    server: &Server,
    answer: &Answer,
    follows: &Follows,
    code: u32,
    error: &str,
) -> Finding {
    let fits = |cause: &&Cause| {
        cause.codes.contains(&code)
            && (cause.words.is_empty() || cause.words.iter().any(|word| error.contains(word)))
    };
    let version = &answer.state.version;
    let name = server.name();
    let restart = |thread: &str| statements::replica("START", thread, version);
    let Some(cause) = CAUSES.iter().find(fits) else {
        return finding
            .mended_by(Remedy::advice("mend what the server names"))
            .mended_by(Remedy::deliberate(name, vec![restart("")]));
    };
    finding.evidence += " — usually because ";
    finding.evidence += cause.means;
    match cause.kind {
        Kind::Differs => finding
            .mended_by(Remedy::copy_anew(name))
            .mended_by(skip(answer, follows, error).map(|told| Remedy::deliberate(name, told))),
        Kind::CopyAnew => finding.mended_by(Remedy::copy_anew(name)),
        Kind::Password => {
            let user = &follows.user;
            let change = statements::change(&[("USER", &statements::quoted(user)), ("PASSWORD", "'…'")], version);
            finding.mended_by(Remedy::setup()).mended_by(Remedy::advice(format!(
                "or give the replica the account's password: STOP and START around {}",
                change.shown
            )))
        }
        Kind::Network => finding.mended_by(Remedy::advice(format!(
            "put both containers on one network of their own, where names are known (docker network \
             create), and see that {}:{} is the source",
            follows.channel.host, follows.channel.port
        ))),
        Kind::PublicKey => {
            let told = vec![
                statements::replica("STOP", "", version),
                statements::ask_public_key(version),
                restart(""),
            ];
            finding.mended_by(Remedy::safe(name, told)).mended_by(Remedy::command("rwproxy setup --tls"))
        }
        Kind::ServerId => finding
            .mended_by(Remedy::advice(
                "mend server-id-duplicate or server-uuid-duplicate, and start replication again",
            ))
            .mended_by(Remedy::deliberate(name, vec![restart("")])),
        Kind::RelayLog if follows.by_gtid => {
            let reset = statements::replica("RESET", "", version);
            let told = vec![statements::replica("STOP", "", version), reset, restart("")];
            finding.mended_by(Remedy::safe(name, told))
        }
        Kind::RelayLog => finding.mended_by(Remedy::copy_anew(name)),
        Kind::Again => finding.mended_by(Remedy::safe(name, vec![restart("SQL_THREAD")])),
        Kind::Gtids => finding.mended_by(Remedy::setup()),
    }
}

/// Leaves the transaction out that fails; what it has changed is then missing for good.
fn skip(answer: &Answer, follows: &Follows, error: &str) -> Option<Vec<Statement>> {
    let version = &answer.state.version;
    let start = statements::replica("START", "", version);
    if !answer.is_mysql() {
        return Some(vec!["SET GLOBAL sql_slave_skip_counter = 1".into(), start]);
    }
    if !follows.by_gtid {
        return Some(vec!["SET GLOBAL sql_replica_skip_counter = 1".into(), start]);
    }
    let gtid = failed_transaction(error)?;
    Some(vec![
        statements::replica("STOP", "", version),
        format!("SET SESSION gtid_next = '{gtid}'").into(),
        "BEGIN".into(),
        "COMMIT".into(),
        "SET SESSION gtid_next = 'AUTOMATIC'".into(),
        start,
    ])
}

/// `Worker 1 failed executing transaction 'UUID:7' at …`
fn failed_transaction(error: &str) -> Option<&str> {
    let (_, rest) = error.split_once("transaction '")?;
    let gtid = rest.split('\'').next()?;
    let is_gtid = |c: char| c.is_ascii_hexdigit() || matches!(c, '-' | ':');
    (gtid.contains(':') && gtid.chars().all(is_gtid)).then_some(gtid)
}
