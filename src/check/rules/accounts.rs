//! Who may log in where. Hashes are compared by digests, and never shown.

use std::net::IpAddr;
use std::sync::Arc;

use super::some_of;
use crate::administration::Statement;
use crate::administration::statements;
use crate::check::examined::{Answer, Examined, Server};
use crate::check::finding::{Check, Copied, Finding, Remedy, Severity};
use crate::check::part::Part;
use crate::facts::accounts::{Entry, in_words};

static DIFFER: Check = Check {
    name: "accounts-differ",
    why: "Clients log in by the primary's accounts: where a replica has others, their reads fail there.",
};
static HOST: Check = Check {
    name: "account-host",
    why: "Servers see the proxy's address, not the client's: who may not come from there is refused.",
};
static PASSWORD: Check = Check {
    name: "replication-password",
    why: "Once the source is restarted, the replica's password is refused: replication stops.",
};

pub static CHECKS: [&Check; 3] = [&DIFFER, &HOST, &PASSWORD];

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    let Some((primary, first)) = examined.primary() else { return };
    if !first.told(Part::Accounts) {
        return;
    }
    hosts(primary, first, findings);
    for (server, answer) in examined.replicas() {
        password(first, server, answer, findings);
        if answer.told(Part::Accounts) {
            differ(examined, (primary, first), (server, answer), findings);
        }
    }
}

type Key = (String, String);

/// Those by which somebody can come over the network.
fn is_of_interest((_, host): &Key) -> bool {
    !matches!(&**host, "localhost" | "127.0.0.1" | "::1" | "")
}

fn keys(answer: &Answer) -> impl Iterator<Item = (&Key, &Entry)> {
    answer.accounts.iter().filter(|(key, _)| is_of_interest(key))
}

fn differ(
    examined: &Examined,
    (primary, first): (&Server, &Answer),
    (server, answer): (&Server, &Answer),
    findings: &mut Vec<Finding>,
) {
    let version = |answer: &Answer| {
        let version = &answer.state.version;
        (version.flavour, version.major, version.minor)
    };
    // Other versions have other tables.
    let is_comparable = version(first) == version(answer);
    let (mut missing, mut logins, mut salts, mut rights) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (key, wanted) in keys(first) {
        let Some(own) = answer.accounts.get(key) else {
            missing.push(in_words(key));
            continue;
        };
        // Who asks has just logged in to both by one password.
        let has_asked = key.0 == examined.settings.asker;
        if own.login != wanted.login && !has_asked {
            let is_salted = own.is_salted && own.plugin == wanted.plugin;
            if is_salted { &mut salts } else { &mut logins }.push(in_words(key));
        }
        if is_comparable && own.rights != wanted.rights {
            rights.push(in_words(key));
        }
    }
    let more: Vec<String> = keys(answer)
        .filter(|(key, _)| !first.accounts.contains_key(*key))
        .map(|(key, _)| in_words(key))
        .collect();
    let (name, source) = (server.name(), primary.name());
    let mut found = |severity, what: &str, all: &[String], remedies: Vec<Remedy>| {
        if !all.is_empty() {
            let mut finding = DIFFER.of(name, severity, format!("{what}: {}", some_of(all)));
            finding.remedies = remedies;
            findings.push(finding);
        }
    };
    let copied = |is_new, all: &[String]| copied((source, first), (name, answer), is_new, all);
    let anew = |all: &[String]| -> Vec<Statement> {
        let told = |account: &String| {
            format!("ALTER USER {account} IDENTIFIED BY '<its password>'").into()
        };
        all.iter().take(super::NAMED).map(told).collect()
    };
    found(
        Severity::Warning,
        "it lacks accounts that the primary has",
        &missing,
        vec![copied(true, &missing), Remedy::copy_anew(name)],
    );
    found(
        Severity::Warning,
        "these have another password there, or are locked or checked otherwise",
        &logins,
        vec![Remedy::deliberate(source, anew(&logins))],
    );
    found(
        Severity::Notice,
        "these have another password there, or the same with another salt",
        &salts,
        vec![Remedy::deliberate(source, anew(&salts))],
    );
    found(
        Severity::Warning,
        "these may do something else there",
        &rights,
        vec![copied(false, &rights), Remedy::copy_anew(name)],
    );
    found(
        Severity::Warning,
        "it has accounts that the primary does not have",
        &more,
        vec![Remedy::deliberate(name, drop(answer, &more))],
    );
}

/// What opens a server for statements that it alone is to have, and what closes it again.
fn opened(answer: &Answer) -> (Vec<Statement>, Vec<Statement>) {
    let is_shut = answer.state.is_on("super_read_only");
    let shut = |to: &str| is_shut.then(|| format!("SET GLOBAL super_read_only = {to}").into());
    let mut before: Vec<Statement> = vec!["SET SESSION sql_log_bin = 0".into()];
    before.extend(shut("OFF"));
    (before, shut("ON").into_iter().collect())
}

fn drop(answer: &Answer, accounts: &[String]) -> Vec<Statement> {
    let (mut told, after) = opened(answer);
    told.extend(accounts.iter().take(super::NAMED).map(|it| format!("DROP USER {it}").into()));
    told.extend(after);
    told
}

/// The primary's accounts as they are there, or only what they may do.
fn copied(
    (source, first): (&Arc<str>, &Answer),
    (name, answer): (&Arc<str>, &Answer),
    is_new: bool,
    accounts: &[String],
) -> Remedy {
    let mut printed_by: Vec<Statement> = Vec::new();
    let (mut before, after) = opened(answer);
    // A hash is no text otherwise.
    let version = &first.state.version;
    let is_hashed_in_bytes =
        first.is_mysql() && (version.major, version.minor, version.patch) >= (8, 0, 17);
    if is_new && is_hashed_in_bytes {
        printed_by.push("SET SESSION print_identified_with_as_hex = ON".into());
    }
    for account in accounts.iter().take(super::NAMED) {
        match is_new {
            true => printed_by.push(format!("SHOW CREATE USER {account}").into()),
            false => {
                before.push(format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {account}").into())
            }
        }
        printed_by.push(format!("SHOW GRANTS FOR {account}").into());
    }
    let (from, server) = (source.clone(), name.clone());
    Remedy::Copied(Box::new(Copied { from, printed_by, server, before, after }))
}

fn hosts(primary: &Server, first: &Answer, findings: &mut Vec<Finding>) {
    // A name would have to be looked up as the server does it.
    let Some(from) = first.seen_from.as_ref().and_then(|host| host.parse::<IpAddr>().ok()) else {
        return;
    };
    let admitted: Vec<&String> = keys(first)
        .filter(|((_, host), _)| admits(host, from))
        .map(|((user, _), _)| user)
        .collect();
    let shut_out: Vec<String> = keys(first)
        .filter(|((user, _), entry)| !entry.locked && !admitted.contains(&user))
        .map(|(key, _)| in_words(key))
        .collect();
    if shut_out.is_empty() {
        return;
    }
    let rename = |((user, host), _): (&Key, &Entry)| -> Statement {
        let to = (user.clone(), "%".to_owned());
        format!("RENAME USER {} TO {}", in_words(&(user.clone(), host.clone())), in_words(&to))
            .into()
    };
    let told: Vec<Statement> = keys(first)
        .filter(|((user, _), entry)| !entry.locked && !admitted.contains(&user))
        .take(super::NAMED)
        .map(rename)
        .collect();
    // Some are meant for others than the proxy's clients.
    let evidence =
        format!("from {from}, whence this is asked, these cannot log in: {}", some_of(&shut_out));
    findings.push(
        HOST.of(primary.name(), Severity::Notice, evidence)
            .mended_by(Remedy::deliberate(primary.name(), told)),
    );
}

/// Whether a host pattern lets this address in. A pattern of names may, which is not known here.
fn admits(pattern: &str, from: IpAddr) -> bool {
    let text = from.to_string();
    if let Some((network, mask)) = pattern.split_once('/') {
        let parsed = (network.parse::<IpAddr>(), mask.parse::<IpAddr>(), mask.parse::<u8>());
        return match (parsed, from) {
            ((Ok(IpAddr::V4(network)), Ok(IpAddr::V4(mask)), _), IpAddr::V4(from)) => {
                from.to_bits() & mask.to_bits() == network.to_bits()
            }
            ((Ok(network), Err(_), Ok(length)), from) => {
                ipnet::IpNet::new(network, length).is_ok_and(|network| network.contains(&from))
            }
            _ => false,
        };
    }
    like(pattern.as_bytes(), text.as_bytes())
}

/// `%` is any text, `_` any character.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut in_pattern) = (0, 0);
    // The last `%`, and how much of the text it takes.
    let mut last: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some(b'%') => {
                last = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(one) if *one == b'_' || one.eq_ignore_ascii_case(&text[at]) => {
                (at, in_pattern) = (at + 1, in_pattern + 1);
            }
            _ => {
                let Some((percent, taken)) = last else { return false };
                last = Some((percent, taken + 1));
                (at, in_pattern) = (taken + 1, percent + 1);
            }
        }
    }
    pattern[in_pattern..].iter().all(|rest| *rest == b'%')
}

/// The plugin sends no password in the clear; its cache, which needs none, is emptied by a restart.
fn password(first: &Answer, server: &Server, answer: &Answer, findings: &mut Vec<Finding>) {
    for follows in answer.follows().unwrap_or_default() {
        let user = &*follows.user;
        let is_encrypted = first
            .accounts
            .iter()
            .any(|((name, _), entry)| name == user && entry.plugin == "caching_sha2_password");
        if !is_encrypted || follows.tls || follows.has_public_key {
            continue;
        }
        let version = &answer.state.version;
        let evidence = format!(
            "the account '{user}' is one of caching_sha2_password, and it connects without TLS and \
             without the source's public key"
        );
        findings.push(PASSWORD.of(server.name(), Severity::Warning, evidence).mended_by(
            Remedy::safe(
                server.name(),
                vec![
                    statements::replica("STOP", "", version),
                    statements::ask_public_key(version),
                    statements::replica("START", "", version),
                ],
            ),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns() {
        let table = [
            ("%", "10.1.2.3", true),
            ("10.1.%", "10.1.2.3", true),
            ("10.2.%", "10.1.2.3", false),
            ("10.1.2._", "10.1.2.3", true),
            ("10.1.2._", "10.1.2.30", false),
            ("10.1.0.0/255.255.0.0", "10.1.2.3", true),
            ("10.1.0.0/255.255.0.0", "10.2.2.3", false),
            ("10.1.0.0/16", "10.1.2.3", true),
            ("10.1.0.0/16", "10.2.2.3", false),
            ("db.example", "10.1.2.3", false),
        ];
        for (pattern, from, expected) in table {
            let from = from.parse().expect("an address");
            assert_eq!(admits(pattern, from), expected, "{pattern} {from}");
        }
    }
}
