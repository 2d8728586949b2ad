//! EXPLAIN ROUTE: where a statement would go now, and why.

use std::sync::Arc;

use super::Admin;
use super::table::{Cell, Table, text};
use crate::routing::candidates::{Nobody, candidates};
use crate::routing::{Choice, Policy, Request, Rules, Sender, Topology, Unavailable};
use crate::sql::{Dialect, Reason, classify};

/// The route of a statement in a session that has just logged in, without a default database. Rules
/// for one user or database do not hold there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// primary, replica or previous (where the session's previous statement ran).
    pub destination: &'static str,
    pub reason: Reason,
    /// The name of the rule that has chosen.
    pub rule: Option<Arc<str>>,
    /// The servers among which it is balanced; else why there is none now.
    pub servers: Result<Vec<Arc<str>>, String>,
    pub digest: u64,
}

/// The route of `sql` under this topology. Statements are read as the primary reads them
/// without ANSI_QUOTES and NO_BACKSLASH_ESCAPES.
pub fn route(sql: &[u8], topology: &Topology, policy: &Policy, rules: &Rules) -> Route {
    let mut dialect = Dialect::default();
    if let Some(version) = topology.primary().and_then(|primary| primary.version.as_ref()) {
        dialect.flavour = version.flavour;
        dialect.version = version.comment_number();
    }
    let statement = classify(sql, dialect);
    let Choice { request, reason, wish, rule } =
        Choice::new(sql, &statement, rules, Sender::default());
    let destination = match request {
        Request::Read | Request::ReadAt(_) => "replica",
        Request::Primary => "primary",
        Request::Previous(_) => "previous",
    };
    let servers = candidates(request, &wish, topology, policy).map_err(|nobody| match nobody {
        Nobody::UnknownBackend(unknown) => unknown.to_string(),
        Nobody::Unavailable(Unavailable::NoPrimary(reason)) => {
            format!("writes are stopped: {reason}")
        }
        Nobody::Unavailable(Unavailable::NoReplica | Unavailable::AwaitReplica) => {
            "no replica takes reads".to_owned()
        }
    });
    let rule = rule.map(|rule| Arc::clone(&rule.name));
    Route { destination, reason, rule, servers, digest: statement.digest }
}

impl Admin {
    pub(super) fn route_table(&self, sql: &str) -> Table {
        let no_replica = self.config.borrow().routing.no_replica;
        let policy = Policy { no_replica, ..Policy::default() };
        let route = self.view.route(sql.as_bytes(), &policy);
        let (servers, why_none) = match route.servers {
            Ok(names) => (Cell::Text(names.join(", ")), Cell::Null),
            Err(reason) => (Cell::Null, reason.into()),
        };
        let columns = [
            text("destination"),
            text("servers"),
            text("why_none"),
            text("reason"),
            text("because"),
            text("rule"),
            text("digest"),
        ];
        let row = vec![
            route.destination.into(),
            servers,
            why_none,
            route.reason.name().into(),
            route.reason.sentence().into(),
            route.rule.into(),
            format!("{:016x}", route.digest).into(),
        ];
        Table::new(&columns, std::iter::once(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NoReplica;
    use crate::routing::rules::tests::rules;
    use crate::routing::topology::tests::topology;

    #[test]
    fn statements_and_where_they_would_go() {
        let mut topology = topology(2);
        topology.backends[1].reads = Err("lags".into());
        let policy = Policy { no_replica: NoReplica::Error, ..Policy::default() };
        let rules = rules(
            r#"
            [[rules]]
            name = "one-user"
            user = "report"
            target = "primary"
            [[rules]]
            name = "facts"
            match = "facts"
            target = "primary"
            "#,
        );
        let table = [
            ("SELECT 1", "replica", "read", "db2"),
            ("SELECT * FROM facts", "primary", "rule", "db0"),
            ("DELETE FROM facts", "primary", "write", "db0"),
            ("DELETE FROM t", "primary", "write", "db0"),
            ("SELECT 1 /* rwproxy: primary */", "primary", "hint", "db0"),
            ("SELECT 1 /* rwproxy: after=0-1-2 */", "primary", "hint", "db0"),
            ("SELECT 1 /* rwproxy: backend=db1 */", "replica", "hint", "no replica takes reads"),
            ("SHOW WARNINGS", "previous", "diagnostics", "db0"),
        ];
        for (sql, destination, reason, servers) in table {
            let route = route(sql.as_bytes(), &topology, &policy, &rules);
            let names = route.servers.map_or_else(|why| why, |names| names.join(" "));
            let found = (route.destination, route.reason.name(), names.as_str());
            assert_eq!(found, (destination, reason, servers), "{sql}");
            assert_eq!(route.rule.as_deref(), (reason == "rule").then_some("facts"), "{sql}");
        }
    }
}
