//! What the accounts of `proxy.toml` may do: too little, or too much.

use std::sync::Arc;

use crate::administration::Statement;
use crate::check::examined::{Examined, Server};
use crate::check::finding::{Check, Finding, Remedy, Severity};
use crate::facts::Account;
use crate::facts::privileges::{self, Needs};
use crate::setup::accounts::at_any_host;
use crate::wire::ServerVersion;

static MONITOR: Check = Check {
    name: "monitor-grants",
    why: "What the monitor may not ask the proxy does not know; what it may do beside could be abused.",
};
static REPLICATION: Check = Check {
    name: "replication-grants",
    why: "Without REPLICATION SLAVE no replica gets anything; every replica's disk has this password.",
};
static ADMINISTRATOR: Check = Check {
    name: "administrator-grants",
    why: "Setup, and a switchover, would stop in the middle for want of a privilege.",
};

pub static CHECKS: [&Check; 3] = [&MONITOR, &REPLICATION, &ADMINISTRATOR];

/// Nothing is changed by these, and nothing is read that is the user's.
const HARMLESS: [&str; 7] = [
    "USAGE",
    "PROCESS",
    "SHOW DATABASES",
    "REPLICATION CLIENT",
    "BINLOG MONITOR",
    "SLAVE MONITOR",
    "REPLICA MONITOR",
];

pub fn judge(examined: &Examined, findings: &mut Vec<Finding>) {
    let Some((primary, answer)) = examined.primary() else { return };
    let (name, version) = (primary.name(), &answer.state.version);
    let settings = &examined.settings;
    // One account for everything is somebody's choice.
    let is_administrator = |user: &str| settings.is_administrator && user == settings.asker;
    if let Some(account) = &answer.grants.monitor {
        let needs = privileges::of_monitor(version);
        let is_own = !is_administrator(&settings.monitor);
        let user = &settings.monitor;
        findings.extend(
            Judged { check: &MONITOR, user, account, needs, is_own }.judge(primary, version),
        );
    }
    if let (Some(account), Some(user)) = (&answer.grants.replication, &settings.replication) {
        let needs = privileges::of_replication();
        let is_own = !is_administrator(user) && *user != settings.monitor;
        findings.extend(
            Judged { check: &REPLICATION, user, account, needs, is_own }.judge(primary, version),
        );
    }
    let lacking = &answer.grants.administrator_lacks;
    if !lacking.is_empty() {
        let evidence = format!("'{}' lacks {}", settings.asker, lacking.join(", "));
        let account = at_any_host(&settings.asker);
        let grant = format!("GRANT {} ON *.* TO {account} WITH GRANT OPTION", lacking.join(", "));
        findings.push(
            ADMINISTRATOR
                .of(name, Severity::Warning, evidence)
                .mended_by(Remedy::deliberate(name, vec![grant.into()])),
        );
    }
}

/// An account, as it is and as it should be.
struct Judged<'a> {
    check: &'static Check,
    user: &'a str,
    account: &'a Account,
    needs: Needs,
    /// Nobody uses it for anything else.
    is_own: bool,
}

impl Judged<'_> {
    fn judge(&self, primary: &Server, version: &ServerVersion) -> Vec<Finding> {
        let all = [self.too_little(primary.name(), version), self.too_much(primary.name())];
        all.into_iter().flatten().collect()
    }

    fn too_little(&self, server: &Arc<str>, version: &ServerVersion) -> Option<Finding> {
        let Judged { check, user, account, needs, .. } = self;
        let lacking: Vec<&str> =
            needs.global.iter().copied().filter(|it| !account.may(it, version)).collect();
        let reads =
            |table: &str| account.global.contains("SELECT") || account.tables.contains(table);
        let unread: Vec<&str> = needs.tables.iter().copied().filter(|it| !reads(it)).collect();
        let to = at_any_host(user);
        let mut told: Vec<Statement> = Vec::new();
        if !lacking.is_empty() {
            told.push(format!("GRANT {} ON *.* TO {to}", lacking.join(", ")).into());
        }
        told.extend(unread.iter().map(|it| format!("GRANT SELECT ON mysql.{it} TO {to}").into()));
        if told.is_empty() {
            return None;
        }
        let tables = unread.iter().map(|table| format!("SELECT on mysql.{table}"));
        let all: Vec<String> = lacking.iter().map(|it| (*it).to_owned()).chain(tables).collect();
        let evidence = format!("{to} lacks {}", super::some_of(&all));
        // Without what the account is for, nothing goes.
        let severity = if lacking.is_empty() { Severity::Warning } else { Severity::Error };
        Some(check.of(server, severity, evidence).mended_by(Remedy::safe(server, told)))
    }

    fn too_much(&self, server: &Arc<str>) -> Option<Finding> {
        let Judged { check, user, account, needs, is_own } = self;
        let to = at_any_host(user);
        let is_needed =
            |privilege: &str| needs.global.contains(&privilege) || HARMLESS.contains(&privilege);
        let more: Vec<&str> =
            account.global.iter().map(String::as_str).filter(|it| !is_needed(it)).collect();
        if !is_own || more.is_empty() {
            return None;
        }
        let evidence = format!("{to} needs none of {}", super::some_of(&more));
        // Reading is less than writing.
        let severity = match more == ["SELECT"] {
            true => Severity::Notice,
            false => Severity::Warning,
        };
        // What it needs must not hang on what is taken away.
        let mut told: Vec<Statement> = Vec::new();
        if !needs.global.is_empty() {
            told.push(format!("GRANT {} ON *.* TO {to}", needs.global.join(", ")).into());
        }
        let tables = needs.tables.iter().filter(|table| !account.tables.contains(**table));
        told.extend(tables.map(|it| format!("GRANT SELECT ON mysql.{it} TO {to}").into()));
        told.push(format!("REVOKE {} ON *.* FROM {to}", more.join(", ")).into());
        Some(check.of(server, severity, evidence).mended_by(Remedy::deliberate(server, told)))
    }
}
