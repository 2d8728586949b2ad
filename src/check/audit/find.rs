//! Which server is the primary, and which of the others can be compared with it: as `setup` finds
//! them, with an account that may read.

use std::sync::Arc;

use tokio::sync::watch;

use super::keep::Identity;
use crate::administration::{Access, Endpoint, Server};
use crate::discovery::Catalog;
use crate::facts::{self, State, lines};
use crate::routing::topology::Thread;
use crate::setup::plan::Absent;
use crate::setup::primary::{self, Choice};
use crate::setup::survey::{listed, reach};

/// Who takes part.
#[derive(Debug)]
pub struct Found {
    pub primary: Endpoint,
    /// Why it.
    pub because: String,
    pub replicas: Vec<Endpoint>,
    /// The primary, and the replicas in their order.
    pub identities: (Identity, Vec<Identity>),
    pub left_out: Vec<LeftOut>,
}

/// A server that is not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub server: Arc<str>,
    pub problem: String,
    pub remedy: String,
}

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct Unfit {
    pub problem: String,
    pub left_out: Vec<LeftOut>,
}

/// Asks all servers. `prefix` is that of the labels.
///
/// # Errors
/// When no server is the primary, none can be compared with it, or the account may not read
/// everything.
pub async fn find(
    catalog: &watch::Receiver<Catalog>,
    access: &Access,
    prefix: &str,
) -> Result<Found, Unfit> {
    let (servers, absent) = listed(catalog).await;
    let mut left_out: Vec<LeftOut> = absent.into_iter().map(LeftOut::from).collect();
    let mut states = Vec::new();
    let mut endpoints = Vec::new();
    for known in servers {
        let answered = match reach(&known, access, prefix).await {
            Ok(mut server) => ask(&mut server, &known).await,
            Err(absent) => Err(absent.into()),
        };
        match (answered, known.standing.address()) {
            (Ok(state), Some(address)) => {
                let (name, address) = (known.name.clone(), address.clone());
                endpoints.push(Endpoint { name, address, access: access.clone() });
                states.push(state);
            }
            (Err(problem), _) => left_out.push(problem),
            (Ok(_), None) => {}
        }
    }
    let chosen = match choose(&states, prefix) {
        Ok(chosen) => chosen,
        Err(problem) => return Err(Unfit { problem, left_out }),
    };
    left_out.extend(chosen.left_out);
    let name = &states[chosen.primary].name;
    if chosen.replicas.is_empty() {
        let problem = format!("there is no server to compare with the primary, {name}");
        return Err(Unfit { problem, left_out });
    }
    let identity = |index: usize| Identity::of(&states[index]);
    Ok(Found {
        primary: endpoints[chosen.primary].clone(),
        because: chosen.because,
        replicas: chosen.replicas.iter().map(|index| endpoints[*index].clone()).collect(),
        identities: (
            identity(chosen.primary),
            chosen.replicas.iter().map(|index| identity(*index)).collect(),
        ),
        left_out,
    })
}

impl From<Absent> for LeftOut {
    fn from(absent: Absent) -> Self {
        let Absent { name, problem, remedy } = absent;
        LeftOut { server: name, problem, remedy }
    }
}

/// What a server says of replication, if the account may read everything there: of what it may not
/// read nothing would be heard, and all would seem to be well.
async fn ask(server: &mut Server, known: &crate::discovery::Server) -> Result<State, LeftOut> {
    let left_out =
        |problem: String, remedy: String| LeftOut { server: known.name.clone(), problem, remedy };
    let see = |problem| left_out(problem, "see what the server says".to_owned());
    let grants = server.ask("SHOW GRANTS").await.map_err(see)?;
    let grants: Vec<&str> =
        (0..grants.len()).filter_map(|row| grants.str(row, &grants.columns[0])).collect();
    if !reads_everything(&grants) {
        let user = server.value("SELECT CURRENT_USER()").await.map_err(see)?.unwrap_or_default();
        let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
        return Err(left_out(
            format!("the account {user} may not read all tables"),
            format!(
                "GRANT SELECT ON *.* TO '{name}'@'{host}', or name an account that may, such as \
                 root, in [administrator]"
            ),
        ));
    }
    let mut state = facts::state(server, known).await.map_err(see)?;
    state.follows = facts::follows(server).await.map_err(see)?;
    Ok(state)
}

/// Whether what `SHOW GRANTS` lists lets an account read every table.
fn reads_everything(grants: &[&str]) -> bool {
    let is_global = |grant: &&str| {
        let privileges =
            grant.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON *.* TO "));
        privileges.is_some_and(|(privileges, _)| {
            privileges.split(", ").any(|one| matches!(one, "SELECT" | "ALL PRIVILEGES" | "ALL"))
        })
    };
    // MySQL's partial_revokes.
    let takes = |grant: &&str| grant.starts_with("REVOKE ") && grant.contains("SELECT");
    grants.iter().any(is_global) && !grants.iter().any(takes)
}

#[derive(Debug, PartialEq, Eq)]
struct Chosen {
    primary: usize,
    because: String,
    replicas: Vec<usize>,
    left_out: Vec<LeftOut>,
}

/// Sorts those that answer.
fn choose(states: &[State], prefix: &str) -> Result<Chosen, String> {
    if !states.iter().any(|state| lines::source(state, states).is_some()) {
        let groups = match states.iter().any(|state| state.is_member) {
            true => "; members of groups (Group Replication, Galera) are not compared",
            false => "",
        };
        return Err(format!("no server that answers replicates from another one{groups}"));
    }
    let Choice { primary, because, .. } = primary::choose(states, prefix).map_err(|obstacles| {
        let problems = obstacles.iter().map(|obstacle| obstacle.problem.as_str());
        problems.collect::<Vec<_>>().join("; ")
    })?;
    let (mut replicas, mut left_out) = (Vec::new(), Vec::new());
    for index in (0..states.len()).filter(|index| *index != primary) {
        match follows(states, index, primary) {
            Ok(()) => replicas.push(index),
            Err(left) => left_out.push(left),
        }
    }
    Ok(Chosen { primary, because, replicas, left_out })
}

/// Whether a server will come to where the primary is, directly or behind others.
fn follows(states: &[State], index: usize, primary: usize) -> Result<(), LeftOut> {
    let state = &states[index];
    let left_out = |problem: String, remedy: String| {
        Err(LeftOut { server: state.name.clone(), problem, remedy })
    };
    let mut at = index;
    // None is behind more servers than there are.
    for _ in 0..states.len() {
        at = match lines::source(&states[at], states) {
            Some(source) => source,
            None => break,
        };
    }
    let name = &states[primary].name;
    if at != primary {
        return left_out(
            format!("it does not replicate from the primary, {name}"),
            "`rwproxy setup` makes a replica of it".to_owned(),
        );
    }
    if state.flavour() != states[primary].flavour() {
        return left_out(
            format!("it is of another flavour than the primary, {name}"),
            "compare by a tool that knows both".to_owned(),
        );
    }
    let channels = state.follows.iter().map(|follows| &follows.channel);
    for channel in channels {
        for (what, thread, error) in [
            ("receive", channel.receiver, &channel.receiver_error),
            ("apply", channel.applier, &channel.applier_error),
        ] {
            if thread == Thread::Stopped {
                let error = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
                return left_out(
                    format!("its thread that is to {what} has stopped{error}"),
                    "START REPLICA, when that is mended".to_owned(),
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::{following, mariadb, mysql};

    #[test]
    fn who_may_read_everything() {
        let table: [(&[&str], bool); 8] = [
            (&["GRANT USAGE ON *.* TO `a`@`%`"], false),
            (&["GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION"], true),
            (&["GRANT INSERT, SELECT ON *.* TO `a`@`%`"], true),
            (&["GRANT SELECT ON `mysql`.* TO `a`@`%`"], false),
            (
                &["GRANT SELECT (`a`) ON `b`.`c` TO `a`@`%`", "GRANT PROCESS ON *.* TO `a`@`%`"],
                false,
            ),
            (&["GRANT USAGE ON *.* TO `a`@`%`", "GRANT SELECT ON *.* TO `readers`"], true),
            (&["GRANT SELECT ON *.* TO `a`@`%`", "REVOKE SELECT ON `b`.* FROM `a`@`%`"], false),
            (&["GRANT SELECT ON *.* TO `a`@`%`", "REVOKE INSERT ON `b`.* FROM `a`@`%`"], true),
        ];
        for (grants, expected) in table {
            assert_eq!(reads_everything(grants), expected, "{grants:?}");
        }
    }

    #[test]
    fn who_is_compared() {
        let (a, b) = (mysql("a", 1), following(mysql("b", 2), &mysql("a", 1)));
        let mut stopped = following(mysql("d", 4), &a);
        stopped.follows[0].channel.applier = Thread::Stopped;
        stopped.follows[0].channel.applier_error = Some("no such row".into());
        let states = [
            a.clone(),
            b.clone(),
            following(mysql("c", 3), &b),
            stopped,
            mysql("e", 5),
            following(mariadb("f", 6), &a),
        ];
        let chosen = choose(&states, "rwproxy").expect("a is the primary");
        assert_eq!((chosen.primary, chosen.replicas), (0, vec![1, 2]));
        let left_out: Vec<String> =
            chosen.left_out.iter().map(|it| format!("{}: {}", it.server, it.problem)).collect();
        assert_eq!(
            left_out,
            [
                "d: its thread that is to apply has stopped: no such row",
                "e: it does not replicate from the primary, a",
                "f: it is of another flavour than the primary, a",
            ]
        );
        for (states, part) in [
            (vec![a.clone(), mysql("e", 5)], "no server that answers replicates"),
            (vec![State { is_member: true, ..a.clone() }, mysql("e", 5)], "members of groups"),
            (vec![following(a.clone(), &b), b], "in a circle"),
        ] {
            let problem = choose(&states, "rwproxy").expect_err("nobody is the primary");
            assert!(problem.contains(part), "{problem}");
        }
    }
}
