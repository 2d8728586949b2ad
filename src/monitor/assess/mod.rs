//! From servers and what they say to the topology. Pure: time is an argument, and what is
//! remembered between two assessments is in the [`Assessor`].
//!
//! | part | its question |
//! |---|---|
//! | `member` | what is known of one server, and in what state it is |
//! | `sources` | which of ours does it replicate from |
//! | `groups` | what follows from its part in a group |
//! | `primary` | where may writes go |
//! | `takeover` | may a group's next writer be written yet |
//! | `hold` | must the primary not be written all the same |
//! | `reads` | may reads go there: reasons, hysteresis, slow start |
//! | `errant` | has it transactions that the primary lacks |
//! | `show` | what is an operator told of it |

mod errant;
mod groups;
mod hold;
mod member;
mod primary;
pub mod reads;
mod show;
mod sources;
mod takeover;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Monitor, Routing};
use crate::discovery::Catalog;
use crate::routing::topology::{
    Address, Backend, BackendId, Epoch, Lag, Replication, Role, SampleNumber, Topology, Writes,
};

use super::hold::Hold;
use super::observation::{Observation, Outcome};
use super::timeline::{Measured, Timeline};
use member::{Contact, Member};
use primary::{Unknowns, Verdict};
use sources::{Departed, Source, Sources};
use takeover::Writer;

/// What the assessment goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub max_lag: Duration,
    /// A replica returns below its `max_lag` times this.
    pub return_ratio: f64,
    pub slow_start: Duration,
    /// Writes stop while commits of the primary are not semi-synchronous.
    pub require_semi_sync: bool,
    /// Without a sample of the primary for this long, lag is frozen and stale.
    pub stale_after: Duration,
}

impl Policy {
    pub fn new(routing: &Routing, monitor: &Monitor) -> Self {
        Policy {
            max_lag: routing.max_lag,
            return_ratio: routing.return_ratio,
            slow_start: routing.slow_start,
            require_semi_sync: routing.require_semi_sync,
            stale_after: monitor.interval * 3,
        }
    }
}

/// What is remembered from one assessment to the next.
#[derive(Debug)]
pub struct Assessor {
    policy: Policy,
    /// In the order of the catalog.
    members: Vec<Member>,
    /// Who was a member once, for replicas that outlive their source's container.
    departed: Vec<Departed>,
    catalog_is_complete: bool,
    problems: Vec<Arc<str>>,
    next_id: u32,
    epoch: Epoch,
    primary: primary::Memory,
    /// Where writes go.
    writing: Option<BackendId>,
    /// Why it must not be written now.
    held: Option<Arc<str>>,
    timeline: Timeline,
    /// Whose samples the timeline holds: the primary's, or the last one's.
    sampled: Option<BackendId>,
    last_sample: SampleNumber,
    /// The server that writes wait for, by its key, and why they wait.
    switching: Option<(Arc<str>, Arc<str>)>,
}

impl Assessor {
    pub fn new(policy: Policy) -> Self {
        Assessor {
            policy,
            members: Vec::new(),
            departed: Vec::new(),
            catalog_is_complete: false,
            problems: Vec::new(),
            next_id: 1,
            epoch: Epoch(0),
            primary: primary::Memory::default(),
            writing: None,
            held: None,
            timeline: Timeline::default(),
            sampled: None,
            last_sample: SampleNumber(0),
            switching: None,
        }
    }

    /// Holds writes back from every server but one, or no longer.
    pub fn set_hold(&mut self, hold: Option<&Hold>) {
        self.switching = hold.map(|hold| {
            let target = self.members.iter().find(|member| member.id == hold.target);
            // Of a server that has gone in the meantime nothing is to be awaited: until the hold
            // ends, nobody takes writes.
            let key = target.map_or_else(|| Arc::from(""), |member| member.server.key.clone());
            (key, hold.reason.clone())
        });
    }

    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Takes over a new list of servers. A server whose container was restarted, or whose address
    /// has changed, gets a new id and is asked afresh.
    pub fn set_servers(&mut self, catalog: &Catalog) {
        let mut before = std::mem::take(&mut self.members);
        for server in catalog.servers() {
            let known = before.iter().position(|member| member.server.key == server.key);
            let member = match known {
                Some(index) => {
                    let mut member = before.swap_remove(index);
                    if member.update(server) {
                        member.id = self.new_id();
                    }
                    member
                }
                None => Member::new(self.new_id(), server),
            };
            self.members.push(member);
        }
        sources::remember(&mut self.departed, before);
        self.catalog_is_complete = catalog.is_complete();
        self.problems = catalog.problems().cloned().collect();
    }

    fn new_id(&mut self) -> BackendId {
        let id = BackendId(self.next_id);
        self.next_id += 1;
        id
    }

    /// Which servers are to be probed, and where.
    pub fn targets(&self) -> impl Iterator<Item = Target<'_>> {
        self.members.iter().filter_map(|member| {
            let address = member.server.standing.address()?;
            Some(Target { id: member.id, name: &member.server.name, address })
        })
    }

    /// Takes over how a probe ended. That of a server that has gone or was restarted since is
    /// ignored.
    pub fn probed(&mut self, id: BackendId, outcome: Outcome) {
        let Some(member) = self.members.iter_mut().find(|member| member.id == id) else {
            return;
        };
        member.probed(outcome);
        if member.contact != Contact::Answering {
            return;
        }
        let observation = member.last.clone().expect("it has just answered");
        if self.sampled == Some(id) {
            self.sample(&observation);
        }
        if self.writing == Some(id) {
            for replica in self.members.iter_mut().filter(|member| member.id != id) {
                replica.compare_history(&observation);
            }
        }
    }

    /// Adds an observation of the primary to the timeline.
    fn sample(&mut self, observation: &Observation) {
        if let Some(position) = observation.position()
            && observation.number > self.last_sample
        {
            self.last_sample = observation.number;
            self.timeline.push(observation.started, observation.number, position);
        }
    }

    /// The topology at `now`.
    pub fn assess(&mut self, now: Instant) -> Topology {
        member::mark_duplicates(&mut self.members);
        let sources = Sources::new(&self.members, &self.departed);
        let unknowns = Unknowns { is_complete: self.catalog_is_complete, problems: &self.problems };
        let verdict = primary::decide(&self.members, sources, unknowns, &mut self.primary, now);
        let verdict = self.switched(verdict);
        let hold = hold::reason(&verdict, &self.members, &self.policy);
        self.follow(&verdict, hold);

        let clock = self.clock(now);
        let findings: Vec<Finding> =
            self.members.iter().map(|member| self.find(member, clock, now)).collect();
        let slow_start = self.policy.slow_start;
        let seasoned = self.members.iter().any(|member| member.reads.has_served(slow_start, now));
        let backends = self
            .members
            .iter_mut()
            .zip(findings)
            .map(|(member, finding)| {
                let policy = &self.policy;
                let reads =
                    member.judge_reads(finding.obstacle, finding.measured, policy, seasoned, now);
                let share = member.share(policy, now);
                let stale = clock < now;
                let (lag, applied) = match finding.measured {
                    Measured::Behind { lag, applied } => {
                        (Lag::Measured { behind: lag, stale }, Some(applied))
                    }
                    Measured::BeforeFirstSample | Measured::Incomparable => (Lag::Unknown, None),
                };
                let said = member.last.as_deref();
                Backend {
                    id: member.id,
                    name: member.server.name.clone(),
                    origin: member.server.origin.clone(),
                    address: member.server.standing.address().cloned(),
                    state: member.state(),
                    role: finding.role,
                    role_reason: finding.role_reason,
                    version: said.map(|said| said.version.clone()),
                    reads,
                    configured_weight: member.server.spec.weight,
                    weight: share,
                    lag,
                    applied,
                    has_gtids: said.is_some_and(Observation::has_gtids),
                    replication: finding.replication,
                    semi_sync: said.map(|said| said.semi_sync).unwrap_or_default(),
                    membership: said.map(|said| said.membership.clone()).unwrap_or_default(),
                    max_connections: said.map(|said| said.max_connections),
                    warnings: finding.warnings,
                }
            })
            .collect();
        Topology { epoch: self.epoch, writes: self.writes(verdict), backends }
    }

    /// The verdict as far as a switchover allows it.
    fn switched(&self, verdict: Verdict) -> Verdict {
        let Some((target, reason)) = &self.switching else { return verdict };
        let is_target = matches!(verdict, Verdict::Primary(id)
            if self.members.iter().any(|member| member.id == id && member.server.key == *target));
        if is_target { verdict } else { Verdict::Stopped(reason.clone()) }
    }

    fn writes(&self, verdict: Verdict) -> Writes {
        let id = match verdict {
            Verdict::Primary(id) => id,
            Verdict::Stopped(reason) => return Writes::Stopped(reason),
        };
        let index = self.members.iter().position(|member| member.id == id);
        let primary = index.expect("the verdict names a member");
        match self.held.clone() {
            Some(reason) => Writes::Held { primary, reason },
            None => Writes::To(primary),
        }
    }

    /// Takes note of where writes go: the epoch, and whose position is sampled.
    fn follow(&mut self, verdict: &Verdict, held: Option<Arc<str>>) {
        let target = match verdict {
            Verdict::Primary(id) => Some(*id),
            Verdict::Stopped(_) => None,
        };
        if (target, held.is_some()) != (self.writing, self.held.is_some()) {
            self.epoch.0 += 1;
        }
        (self.writing, self.held) = (target, held);
        let Some(member) = self.members.iter_mut().find(|member| Some(member.id) == target) else {
            return;
        };
        self.primary.established = Some(member.server.key.clone());
        self.primary.writer = Writer::of(member);
        member.errant.become_primary();
        if self.sampled != target {
            // Another server's positions: what was lost with the old one must not be waited for.
            self.sampled = target;
            self.timeline = Timeline::default();
            if let Some(observation) = member.last.clone() {
                self.sample(&observation);
            }
        }
    }

    /// The time by which lag is told: it stands still while the primary gives no samples.
    fn clock(&self, now: Instant) -> Instant {
        match self.timeline.newest() {
            Some(newest) => now.min(newest + self.policy.stale_after),
            None => now,
        }
    }

    fn find(&self, member: &Member, clock: Instant, now: Instant) -> Finding {
        let sources = Sources::new(&self.members, &self.departed);
        let (role, role_reason) = self.role(member, sources);
        let obstacle = reads::obstacle(member, role, &role_reason, sources, &self.policy, now)
            .or_else(|| {
                let writer = self.writer().and_then(|writer| writer.last.as_deref());
                groups::bars_reads(member.last.as_deref()?, writer, &self.members)
            });
        Finding {
            obstacle,
            measured: self.measure(member, sources, clock),
            replication: show::replication(member, sources),
            warnings: show::warnings(member, role, sources),
            role,
            role_reason,
        }
    }

    fn measure(&self, member: &Member, sources: Sources<'_>, clock: Instant) -> Measured {
        let Some(said) = member.last.as_deref() else { return Measured::BeforeFirstSample };
        if self.sampled == Some(member.id) && !self.timeline.is_empty() {
            if !said.is_committing() {
                return Measured::Behind { lag: Duration::ZERO, applied: self.last_sample };
            }
            // Its sample has what it commits, which it may not show yet.
            return match self.timeline.measure(&said.applied(None), clock) {
                Measured::Behind { applied, .. } => {
                    Measured::Behind { lag: Duration::ZERO, applied }
                }
                other => other,
            };
        }
        // File positions compare only for a direct replica of whose samples these are.
        let direct = sources.channels(member).find(|(_, source)| {
            matches!(source, Source::Member(source) if Some(source.id) == self.sampled)
        });
        self.timeline.measure(&said.applied(direct.map(|(channel, _)| channel)), clock)
    }

    /// Where writes go.
    fn writer(&self) -> Option<&Member> {
        self.members.iter().find(|member| Some(member.id) == self.writing)
    }

    /// What a server is, and why.
    fn role(&self, member: &Member, sources: Sources<'_>) -> (Role, Arc<str>) {
        if self.writing == Some(member.id) {
            let reason = match &self.held {
                None => "it is the one server that takes writes".into(),
                Some(reason) => {
                    format!("it takes writes, and is not to be written: {reason}").into()
                }
            };
            return (Role::Primary, reason);
        }
        let was_primary =
            self.writing.is_none() && self.primary.established.as_ref() == Some(&member.server.key);
        let Some(said) = member.last.as_deref() else {
            return match was_primary {
                true => (Role::Primary, "it was the primary last".into()),
                false => (Role::Unknown, "it has not answered yet".into()),
            };
        };
        let may_go_on = was_primary
            && said.is_writable()
            && groups::bars_writes(member, &self.members).is_none();
        let writer = self.writer();
        let writer = writer.and_then(|it| Some((&it.server.name, it.last.as_deref()?)));
        if let Some(found) = groups::role(said, writer).filter(|_| !may_go_on) {
            return found;
        }
        if let Some(source) =
            sources.channels(member).find_map(|(_, source)| source.name().cloned())
        {
            return (Role::Replica, format!("it replicates from {source}").into());
        }
        match (was_primary, said.is_writable(), said.channels.first()) {
            (true, true, _) => (Role::Primary, "it was the primary last".into()),
            // For a switchover or for maintenance; it has all the data.
            (true, false, _) if self.sampled == Some(member.id) => {
                (Role::Replica, "it was the primary last, and is read-only now".into())
            }
            (_, _, Some(channel)) => {
                let source = format!("{}:{}", channel.host, channel.port);
                (Role::Unknown, format!("it replicates from {source}, which is not listed").into())
            }
            (_, true, None) if self.writing.is_none() => {
                (Role::Unknown, "it is writable, and the primary is not decided".into())
            }
            (_, true, None) => (Role::Unknown, "it is writable, and not the primary".into()),
            (_, false, None) => (Role::Unknown, "it replicates from nobody".into()),
        }
    }
}

/// A server to be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    pub id: BackendId,
    pub name: &'a Arc<str>,
    pub address: &'a Address,
}

/// What an assessment finds of one server before it judges.
struct Finding {
    role: Role,
    role_reason: Arc<str>,
    /// Why it takes no reads, whatever its lag.
    obstacle: Option<Arc<str>>,
    measured: Measured,
    replication: Vec<Replication>,
    warnings: Vec<Arc<str>>,
}
