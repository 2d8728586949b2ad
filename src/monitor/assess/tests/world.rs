//! A cluster that says what a test wants, watched by an assessor.

use std::collections::BTreeMap;

use super::super::*;
use crate::discovery::servers::Source as Listed;
use crate::discovery::{Server, Spec, Standing};
use crate::gtid::GtidSet;
use crate::monitor::observation::{Channel, Failure, Gtids, Identity, ReadOnly};
use crate::routing::membership::Membership;
use crate::routing::semi_sync::SemiSync;
use crate::routing::topology::Thread;
use crate::wire::ServerVersion;

/// The uuid of the server `db<number>`.
pub fn uuid(number: u8) -> String {
    format!("3e11fa47-71ca-11e1-9e33-c80aa94295{number:02x}")
}

/// What a server would say.
#[derive(Debug, Clone)]
pub struct Said {
    pub read_only: ReadOnly,
    /// `(uuid of this server, last transaction)`, from 1.
    pub executed: Vec<(u8, u64)>,
    /// The same, of single transactions.
    pub committing: Vec<(u8, u64)>,
    pub channels: Vec<Channel>,
    pub semi_sync: SemiSync,
    pub membership: Membership,
    /// What its group has certified for it, like `executed`.
    pub received: Vec<(u8, u64)>,
}

pub fn primary(executed: &[(u8, u64)]) -> Said {
    Said {
        read_only: ReadOnly::Off,
        executed: executed.to_vec(),
        committing: Vec::new(),
        channels: Vec::new(),
        semi_sync: SemiSync::default(),
        membership: Membership::Alone,
        received: Vec::new(),
    }
}

pub fn replica(of: u8, executed: &[(u8, u64)]) -> Said {
    let channel = Channel {
        host: format!("db{of}").into(),
        port: 3306,
        source_uuid: Some(uuid(of).into()),
        source_id: Some(u32::from(of)),
        receiver: Thread::Running,
        receiver_error: None,
        applier: Thread::Running,
        applier_error: None,
        seconds_behind: Some(0),
        delay: 0,
        applied_file: None,
    };
    Said {
        read_only: ReadOnly::Super,
        executed: executed.to_vec(),
        committing: Vec::new(),
        channels: vec![channel],
        semi_sync: SemiSync::default(),
        membership: Membership::Alone,
        received: Vec::new(),
    }
}

impl Said {
    pub fn writable(mut self) -> Self {
        self.read_only = ReadOnly::Off;
        self
    }

    pub fn read_only(mut self) -> Self {
        self.read_only = ReadOnly::Super;
        self
    }

    pub fn receiver(mut self, receiver: Thread) -> Self {
        self.channels[0].receiver = receiver;
        self
    }

    pub fn applier_stopped(mut self, error: &str) -> Self {
        self.channels[0].applier = Thread::Stopped;
        self.channels[0].applier_error = Some(error.into());
        self
    }

    /// Replicates from a server that nobody knows.
    pub fn of_stranger(mut self) -> Self {
        self.channels[0].host = "10.9.9.9".into();
        self.channels[0].source_uuid = Some(uuid(99).into());
        self.channels[0].source_id = Some(99);
        self
    }
}

/// A cluster of `db1`, `db2` … and a proxy that watches it every 100 ms.
pub struct World {
    pub assessor: Assessor,
    pub catalog: Catalog,
    pub said: BTreeMap<String, Outcome>,
    pub wanted: BTreeMap<String, Said>,
    pub now: Instant,
    pub number: u64,
    pub topology: Topology,
}

pub fn policy() -> Policy {
    Policy {
        max_lag: Duration::from_secs(2),
        return_ratio: 0.5,
        slow_start: Duration::from_secs(5),
        require_semi_sync: false,
        stale_after: Duration::from_millis(300),
    }
}

pub fn server(number: u8) -> Server {
    let name: Arc<str> = format!("db{number}").into();
    Server {
        key: format!("container {name}").into(),
        origin: "docker".into(),
        started: "1".into(),
        aliases: vec![name.clone()],
        name,
        port: 3306,
        spec: Spec::default(),
        run: None,
        standing: running(number),
    }
}

pub fn running(number: u8) -> Standing {
    Standing::Running(Address::Ip(([172, 18, 0, number], 3306).into()))
}

impl World {
    pub fn new(said: &[Said]) -> World {
        let mut world = World {
            assessor: Assessor::new(policy()),
            catalog: Catalog { expected: 1, ..Catalog::default() },
            said: BTreeMap::new(),
            wanted: BTreeMap::new(),
            now: Instant::now(),
            number: 0,
            topology: Topology::empty(),
        };
        world.catalog.sources.insert("docker".into(), Listed::default());
        for (number, said) in (1..).zip(said) {
            world.add(number, said.clone());
        }
        world
    }

    pub fn add(&mut self, number: u8, said: Said) {
        self.listed().push(server(number));
        self.relist();
        self.says(number, said);
    }

    pub fn listed(&mut self) -> &mut Vec<Server> {
        &mut self.catalog.sources.get_mut("docker").expect("it is listed").servers
    }

    pub fn relist(&mut self) {
        self.assessor.set_servers(&self.catalog);
    }

    /// Changes what discovery says of a server, and assesses at once.
    pub fn change(&mut self, number: u8, change: impl FnOnce(&mut Server)) {
        let name = format!("db{number}");
        change(self.listed().iter_mut().find(|server| *server.name == *name).expect("listed"));
        self.relist();
        self.look();
    }

    pub fn remove(&mut self, number: u8) {
        let name = format!("db{number}");
        self.listed().retain(|server| *server.name != *name);
        self.relist();
        self.look();
    }

    /// From now on a server says this.
    pub fn says(&mut self, number: u8, said: Said) {
        self.said.remove(&format!("db{number}"));
        self.wanted.insert(format!("db{number}"), said);
    }

    /// From now on the probes of a server fail.
    pub fn fails(&mut self, number: u8, failure: Failure) {
        self.said.insert(format!("db{number}"), Outcome::Failed(failure));
    }

    pub fn write(&mut self, number: u8, executed: &[(u8, u64)]) {
        self.wanted.get_mut(&format!("db{number}")).expect("it says something").executed =
            executed.to_vec();
    }

    /// Everybody is probed once, in the order of names, and the topology assessed.
    pub fn tick(&mut self) {
        self.now += Duration::from_millis(100);
        let targets: Vec<(BackendId, Arc<str>)> =
            self.assessor.targets().map(|target| (target.id, target.name.clone())).collect();
        // Replicas first, so that what the primary is asked later includes what they had.
        for (at, (id, name)) in targets.into_iter().rev().enumerate() {
            let outcome = match self.said.get(&*name) {
                Some(outcome) => outcome.clone(),
                None => self.observe(&name, Duration::from_millis(at as u64)),
            };
            self.assessor.probed(id, outcome);
        }
        self.look();
    }

    pub fn observe(&mut self, name: &str, offset: Duration) -> Outcome {
        self.number += 1;
        let number: u8 = name[2..].parse().expect("names are db and a number");
        let said = &self.wanted[name];
        let set = |executed: &[(u8, u64)]| {
            let each = executed.iter().map(|(by, last)| format!("{}:1-{last}", uuid(*by)));
            let text = each.collect::<Vec<String>>().join(",");
            Arc::new(GtidSet::parse(&text).expect("a legal set"))
        };
        let committing = said.committing.iter().map(|(by, last)| format!("{}:{last}#7", uuid(*by)));
        let committing: Vec<String> = committing.collect();
        let started = self.now - Duration::from_millis(50) + offset;
        Outcome::Answered(Arc::new(Observation {
            number: SampleNumber(self.number),
            started,
            finished: started,
            version: ServerVersion::parse("8.4.0"),
            identity: Identity { instance: uuid(number).into(), server_id: u32::from(number) },
            read_only: said.read_only,
            gtids: Gtids::MySql(set(&said.executed)),
            committing: GtidSet::parse(&committing.join(",")).expect("a legal set"),
            log: None,
            channels: said.channels.clone(),
            max_connections: 151,
            semi_sync: said.semi_sync,
            membership: said.membership.clone(),
            received: Some(set(&said.received)),
        }))
    }

    pub fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.tick();
        }
    }

    pub fn look(&mut self) {
        self.topology = self.assessor.assess(self.now);
    }

    pub fn backend(&self, number: u8) -> &Backend {
        let name = format!("db{number}");
        let mut backends = self.topology.backends.iter();
        backends.find(|backend| *backend.name == *name).expect("it is in the topology")
    }

    /// The name of the primary, or why there is none.
    pub fn writes(&self) -> Result<String, String> {
        match &self.topology.writes {
            Writes::To(index) => Ok(self.topology.backends[*index].name.to_string()),
            Writes::Held { reason, .. } | Writes::Stopped(reason) => Err(reason.to_string()),
        }
    }

    #[track_caller]
    pub fn writes_to(&self, number: u8) {
        assert_eq!(self.writes(), Ok(format!("db{number}")));
    }

    #[track_caller]
    pub fn writes_stopped(&self, parts: &[&str]) {
        let reason = self.writes().expect_err("writes go on");
        for part in parts {
            assert!(reason.contains(part), "{part}: {reason}");
        }
    }

    #[track_caller]
    pub fn reads(&self, number: u8) {
        assert_eq!(self.backend(number).reads, Ok(()), "db{number}");
    }

    #[track_caller]
    pub fn no_reads(&self, number: u8, part: &str) {
        let reason = self.backend(number).reads.clone().expect_err("it takes reads");
        assert!(reason.contains(part), "db{number}: {reason}");
    }

    #[track_caller]
    pub fn warns(&self, number: u8, part: &str) {
        let warnings = &self.backend(number).warnings;
        assert!(warnings.iter().any(|warning| warning.contains(part)), "{warnings:?}");
    }
}

/// A primary and two replicas that serve.
pub fn cluster() -> World {
    let at = [(1, 10)];
    let mut world = World::new(&[primary(&at), replica(1, &at), replica(1, &at)]);
    world.ticks(3);
    world.writes_to(1);
    world.reads(2);
    world.reads(3);
    world
}

pub fn unreachable() -> Failure {
    Failure::Unreachable("connection refused".into())
}
