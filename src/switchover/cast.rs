//! Who takes part in a switchover, and why one is refused before anything is touched.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Refused, Switchover};
use crate::administration::{Access, Login, Place, Server};
use crate::backend::Credential;
use crate::backend::sql_client::Rows;
use crate::config::{Account, Secret};
use crate::monitor::queries;
use crate::routing::membership::Membership;
use crate::routing::topology::{Backend, Role, State, Thread, Topology};
use crate::wire::Flavour;
use crate::wire::auth;

/// The servers and what is known of them.
#[derive(Debug)]
pub struct Cast {
    /// The primary that is to become a replica.
    pub former: Server,
    /// The replica that is to become the primary.
    pub next: Server,
    /// The other replicas of the primary.
    pub others: Vec<Server>,
    /// Replicas of the primary that cannot be reached, and why.
    pub absent: Vec<(Arc<str>, String)>,
    /// How the former primary will replicate.
    pub login: Login,
    /// The switches of semi-synchronous replication, if the primary uses it.
    pub semi_sync: Option<SemiSync>,
    /// The former primary was read-only before anything was begun, and is so again if it fails.
    pub former_was_closed: bool,
}

/// What is to be done, by the roles that servers have now.
#[derive(Debug)]
pub enum Roles<'a> {
    /// The next primary takes over from the former one.
    Exchange { former: &'a Backend, next: &'a Backend, former_is_closed: bool },
    /// There is no primary, and this server replicates from nobody: it takes writes again.
    Reopening(&'a Backend),
}

/// The variables that switch semi-synchronous replication on, and whether the server that needs
/// one lacks it: MySQL has them by plugins, one for each side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SemiSync {
    pub source: String,
    pub next_lacks_source: bool,
    pub replica: String,
    pub former_lacks_replica: bool,
}

impl Switchover {
    /// Asks everybody. Nothing is changed.
    pub(super) async fn cast(
        &self,
        topology: &Topology,
        former: &Backend,
        next: &Backend,
        former_was_closed: bool,
    ) -> Result<Cast, Refused> {
        let access = self.access()?;
        let connect = |backend: &Backend, kind: Option<bool>| {
            let places = self.places(&backend.name, kind);
            let (id, name, access) = (backend.id, backend.name.clone(), access.clone());
            let address = backend.address.clone();
            async move {
                let address = address.ok_or_else(|| format!("{name}: its address is not known"))?;
                Server::connect(id, name, address, places, access).await
            }
        };
        let mut candidate = connect(next, None).await.map_err(Refused)?;
        let channel = channel(&mut candidate).await.map_err(Refused)?;
        let by_address = channel.host.parse::<IpAddr>().is_ok();
        candidate.places = self.places(&candidate.name, Some(by_address));
        if candidate.places.is_empty() {
            let name = &candidate.name;
            return Err(Refused(format!("{name}: no host name is known that others could dial")));
        }
        can_be_source(&mut candidate).await.map_err(Refused)?;
        let mut former_server = connect(former, Some(by_address)).await.map_err(Refused)?;
        let login = self.login(&channel, &mut candidate).await.map_err(Refused)?;
        let semi_sync = semi_sync(&mut former_server, &mut candidate).await.map_err(Refused)?;
        let (mut others, mut absent) = (Vec::new(), Vec::new());
        for backend in &topology.backends {
            let follows = backend.replication.iter().any(|it| it.source == former.name);
            if backend.id == next.id || backend.id == former.id || !follows {
                continue;
            }
            match connect(backend, Some(by_address)).await {
                Ok(server) => others.push(server),
                Err(error) => absent.push((backend.name.clone(), error)),
            }
        }
        Ok(Cast {
            former: former_server,
            next: candidate,
            others,
            absent,
            login,
            semi_sync,
            former_was_closed,
        })
    }

    pub(super) fn access(&self) -> Result<Access, Refused> {
        let config = self.config.borrow();
        let Account { user: Some(user), password, .. } = &config.administrator else {
            return Err(Refused(
                "[administrator] in proxy.toml names no account that may change the servers"
                    .to_owned(),
            ));
        };
        let secret = auth::Secret::from_password(password.as_ref().map_or("", Secret::expose));
        Ok(Access {
            credential: Credential::new(user.as_bytes(), secret),
            tls: self.tls.clone(),
            announce: config.listen.announces_itself(),
        })
    }

    /// Where replicas may find a server: first by what they use now, addresses or names.
    fn places(&self, name: &str, by_address: Option<bool>) -> Vec<Place> {
        let catalog = self.catalog.borrow();
        let Some(server) = catalog.servers().into_iter().find(|server| *server.name == *name)
        else {
            return Vec::new();
        };
        let place = |alias: &Arc<str>| Place { host: alias.to_string(), port: server.port };
        let mut places: Vec<Place> = server.aliases.iter().map(place).collect();
        places.sort_by_key(|place| by_address != Some(place.host.parse::<IpAddr>().is_ok()));
        places
    }

    /// The account by which the former primary will replicate: as configured, else the one that
    /// the next primary has used, which MySQL tells.
    async fn login(&self, channel: &Channel, next: &mut Server) -> Result<Login, String> {
        let configured = self.config.borrow().replication.clone();
        let (user, password) = match configured {
            Account { user: Some(user), password, .. } => {
                let password = password.as_ref().map_or("", Secret::expose).to_owned();
                (user, password)
            }
            _ if next.version.flavour == Flavour::MySql => {
                let rows = next
                    .ask(
                        "SELECT User_name, User_password FROM mysql.slave_master_info \
                         WHERE Channel_name = ''",
                    )
                    .await?;
                let text = |column| rows.str(0, column).unwrap_or_default().to_owned();
                (text("User_name"), text("User_password"))
            }
            _ => (String::new(), String::new()),
        };
        if user.is_empty() {
            return Err(format!(
                "{}: [replication] in proxy.toml must name the account by which replicas \
                 replicate",
                next.name
            ));
        }
        let Channel { tls, asks_public_key, .. } = *channel;
        Ok(Login { user, password, tls, asks_public_key })
    }
}

/// Who is what, or why there can be no switchover to this server.
pub fn roles<'a>(topology: &'a Topology, target: &str) -> Result<Roles<'a>, String> {
    let primary = topology.primary();
    let mut named = topology.backends.iter().filter(|backend| *backend.name == *target);
    let next = match (named.next(), named.next()) {
        (Some(next), None) => next,
        (Some(_), Some(_)) => return Err(format!("several servers are called {target}")),
        (None, _) => {
            let names: Vec<&str> = topology.backends.iter().map(|it| &*it.name).collect();
            return Err(format!("no server is called {target}; there are {}", names.join(", ")));
        }
    };
    let name = &next.name;
    if primary.is_some_and(|primary| primary.id == next.id) {
        return Err(format!("{name} is the primary already"));
    }
    if let State::Down(reason) | State::NoAccess(reason) | State::LeftOut(reason) = &next.state {
        return Err(format!("{name}: {reason}"));
    }
    if let Some(reason) = group_decides(next) {
        return Err(reason);
    }
    if primary.is_none() && stands_alone(next) {
        return Ok(Roles::Reopening(next));
    }
    let Some(former) = primary.or_else(|| closed_source(topology, next)) else {
        let reason = topology.writes.stopped().map_or("", |reason| reason);
        return Err(format!("there is no primary to take over from: {reason}"));
    };
    if primary.is_some() && next.role != Role::Replica {
        return Err(format!("{name} is no replica: {}", next.role_reason));
    }
    let [channel] = &next.replication[..] else {
        return Err(format!("{name} does not replicate from one source alone"));
    };
    if channel.source != former.name {
        let (source, former) = (&channel.source, &former.name);
        return Err(format!("{name} replicates from {source}, not from the primary, {former}"));
    }
    if channel.receiver != Thread::Running || channel.applier != Thread::Running {
        let error = channel.error.as_deref().unwrap_or("a thread does not run");
        return Err(format!("{name} does not replicate: {error}"));
    }
    if channel.delay > 0 {
        return Err(format!("{name} is told to stay {} s behind", channel.delay));
    }
    if !(former.has_gtids && next.has_gtids) {
        return Err("a switchover needs GTIDs, and a binary log, on both servers".to_owned());
    }
    Ok(Roles::Exchange { former, next, former_is_closed: primary.is_none() })
}

/// A server that answers and follows nobody.
fn stands_alone(backend: &Backend) -> bool {
    backend.state == State::Up && backend.replication.is_empty()
}

/// The server from which the next primary replicates, when nobody takes writes: a switchover, or
/// whoever was at it, has gone before its end.
fn closed_source<'a>(topology: &'a Topology, next: &Backend) -> Option<&'a Backend> {
    let [channel] = &next.replication[..] else { return None };
    let source = topology.backends.iter().find(|backend| backend.name == channel.source)?;
    stands_alone(source).then_some(source)
}

/// Where it is not for a switchover to make a server the primary.
fn group_decides(next: &Backend) -> Option<String> {
    let name = &next.name;
    match &next.membership {
        Membership::Group(member) if member.is_active() && member.single_primary => Some(format!(
            "{name} is a member of the group {}, which changes its primary itself: SELECT \
             group_replication_set_as_primary(@@server_uuid) there makes it the primary, and the \
             proxy follows",
            member.group
        )),
        membership if membership.active().is_some() => Some(format!(
            "{name} is in a group whose members all take writes: the one whose role is labelled \
             primary is written"
        )),
        _ => None,
    }
}

/// How a replica replicates now.
#[derive(Debug)]
struct Channel {
    host: String,
    tls: bool,
    asks_public_key: bool,
}

async fn channel(server: &mut Server) -> Result<Channel, String> {
    let sql = queries::replication(&server.version);
    read_channel(&server.ask(sql).await?).map_err(|error| format!("{}: {error}", server.name))
}

fn read_channel(rows: &Rows) -> Result<Channel, String> {
    let text = |new: &str, old: &str| rows.str(0, new).or_else(|| rows.str(0, old));
    if rows.len() != 1 {
        return Err(format!("it replicates over {} channels", rows.len()));
    }
    let name = text("Channel_Name", "Connection_name").unwrap_or_default();
    if !name.is_empty() {
        return Err(format!("it replicates over a channel with a name, {name}"));
    }
    let is_on = |value: Option<&str>| matches!(value, Some("Yes" | "1"));
    Ok(Channel {
        host: text("Source_Host", "Master_Host").unwrap_or_default().to_owned(),
        tls: is_on(text("Source_SSL_Allowed", "Master_SSL_Allowed")),
        asks_public_key: is_on(text("Get_Source_public_key", "Get_master_public_key")),
    })
}

/// Others can replicate from a server only if it writes down what it has replicated itself.
async fn can_be_source(server: &mut Server) -> Result<(), String> {
    let rows = server
        .ask(
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
             ('log_bin', 'log_replica_updates', 'log_slave_updates')",
        )
        .await?;
    let off = (0..rows.len()).find(|row| rows.str(*row, "Value") == Some("OFF"));
    match off.and_then(|row| rows.str(row, "Variable_name")) {
        Some(variable) => Err(format!(
            "{}: {variable} is OFF, so that nobody could replicate from it",
            server.name
        )),
        None => Ok(()),
    }
}

/// The switches of semi-synchronous replication, if the primary has it on.
async fn semi_sync(former: &mut Server, next: &mut Server) -> Result<Option<SemiSync>, String> {
    let there = switches(&former.ask(queries::semi_sync::VARIABLES).await?);
    let is_source = |name: &str| name.contains("_source_") || name.contains("_master_");
    let Some((source, _)) = there.iter().find(|(name, is_on)| *is_on && is_source(name)) else {
        return Ok(None);
    };
    let replica = source.replace("_source_", "_replica_").replace("_master_", "_slave_");
    let of_next = switches(&next.ask(queries::semi_sync::VARIABLES).await?);
    let has = |switches: &[(String, bool)], name: &str| switches.iter().any(|(it, _)| it == name);
    Ok(Some(SemiSync {
        next_lacks_source: !has(&of_next, source),
        former_lacks_replica: !has(&there, &replica),
        source: source.clone(),
        replica,
    }))
}

/// Each variable, and whether it is on.
fn switches(rows: &Rows) -> Vec<(String, bool)> {
    let switch = |row| {
        let name = rows.str(row, "Variable_name")?.to_ascii_lowercase();
        name.ends_with("_enabled").then_some(())?;
        Some((name, rows.str(row, "Value") == Some("ON")))
    };
    (0..rows.len()).filter_map(switch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::membership::Member;
    use crate::routing::membership::galera::tests::node;
    use crate::routing::membership::group::Role::Secondary;
    use crate::routing::membership::group::State as Seen;
    use crate::routing::membership::group::tests::member;
    use crate::routing::topology::tests::topology;
    use crate::routing::topology::{Replication, Writes};

    fn cluster() -> Topology {
        let mut topology = topology(2);
        let source = topology.backends[0].name.clone();
        for backend in &mut topology.backends {
            backend.has_gtids = true;
        }
        for replica in &mut topology.backends[1..] {
            replica.replication = vec![Replication {
                source: source.clone(),
                receiver: Thread::Running,
                applier: Thread::Running,
                seconds_behind: Some(0),
                delay: 0,
                error: None,
            }];
        }
        topology
    }

    #[test]
    fn who_can_take_over() {
        let good = cluster();
        let Ok(Roles::Exchange { former, next, former_is_closed: false }) = roles(&good, "db1")
        else {
            panic!("it can");
        };
        assert_eq!((&*former.name, &*next.name), ("db0", "db1"));

        let refused = |change: &dyn Fn(&mut Topology), target: &str, why: &str| {
            let mut topology = cluster();
            change(&mut topology);
            let error = roles(&topology, target).expect_err(why);
            assert!(error.contains(why), "{error}");
        };
        refused(&|_| {}, "db7", "there are db0, db1, db2");
        refused(&|_| {}, "db0", "is the primary already");
        let two_writable = |it: &mut Topology| {
            it.writes = Writes::Stopped("two are writable".into());
            it.backends[0].replication = it.backends[1].replication.clone();
        };
        refused(&two_writable, "db1", "two are");
        refused(&|it| it.backends[1].state = State::Down("stopped".into()), "db1", "stopped");
        refused(&|it| it.backends[1].replication[0].source = "db2".into(), "db1", "from db2");
        refused(&|it| it.backends[1].replication[0].applier = Thread::Stopped, "db1", "thread");
        refused(&|it| it.backends[1].replication[0].delay = 30, "db1", "30 s behind");
        refused(&|it| it.backends[0].has_gtids = false, "db1", "needs GTIDs");
        let seen = [("a", Seen::Online, Secondary), ("b", Seen::Online, Secondary)];
        let of_group = |it: &mut Topology, single_primary| {
            let member = Member { single_primary, ..member(&seen, 3) };
            it.backends[1].membership = Membership::Group(Arc::new(member));
        };
        refused(&|it| of_group(it, true), "db1", "SELECT group_replication_set_as_primary");
        refused(&|it| of_group(it, false), "db1", "labelled primary");
        let node = |it: &mut Topology| {
            it.backends[1].membership = Membership::Galera(Arc::new(node(7)));
        };
        refused(&node, "db1", "labelled primary");
    }

    #[test]
    fn one_that_was_interrupted_goes_on_or_back() {
        let mut topology = cluster();
        topology.writes = Writes::Stopped("all are read-only".into());
        let goes_on = roles(&topology, "db1");
        assert!(matches!(goes_on, Ok(Roles::Exchange { former_is_closed: true, .. })));
        let goes_back = roles(&topology, "db0");
        assert!(matches!(goes_back, Ok(Roles::Reopening(server)) if &*server.name == "db0"));
        topology.backends[0].state = State::Down("stopped".into());
        for server in ["db0", "db1"] {
            let error = roles(&topology, server).expect_err("the former primary is down");
            assert!(error.contains("stopped") || error.contains("all are read-only"), "{error}");
        }
    }

    #[test]
    fn channels_of_both_flavours() {
        let rows = |columns: &[(&str, &str)]| Rows {
            columns: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            rows: vec![columns.iter().map(|(_, value)| Some((*value).into())).collect()],
            affected_rows: 0,
        };
        let mysql = rows(&[
            ("Source_Host", "db0"),
            ("Source_SSL_Allowed", "No"),
            ("Channel_Name", ""),
            ("Get_Source_public_key", "1"),
        ]);
        let channel = read_channel(&mysql).expect("one without a name");
        assert!(!channel.tls && channel.asks_public_key && channel.host == "db0");
        let mariadb = rows(&[("Master_Host", "db0"), ("Connection_name", "other")]);
        assert!(read_channel(&mariadb).expect_err("a name").contains("other"));
        assert!(read_channel(&Rows::default()).is_err());
    }
}
