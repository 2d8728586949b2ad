//! Tasks on the control runtime that carry news to sessions and pools.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::build;
use crate::config::Config;
use crate::frontend::context::{Collations, Context};
use crate::frontend::mailbox::Mail;
use crate::monitor::Handles;
use crate::monitor::accounts::{PrimaryProfile, SessionDefaults};
use crate::routing::Topology;
use crate::session::accounts::Directory;
use crate::sql::sql_mode::{has_ansi_quotes, has_no_backslash_escapes};
use crate::sql::{ClientCharset, Dialect};

/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

pub(super) fn start(
    control: &Handle,
    config: watch::Receiver<Arc<Config>>,
    context: &Arc<Context>,
    observed: &Arc<Handles>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let mut spawn = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        tasks.spawn_on(task, control);
    };
    spawn(Box::pin(follow_config(config.clone(), context.clone())));
    spawn(Box::pin(follow_topology(context.clone())));
    spawn(Box::pin(announce_ready(observed.profile.clone(), context.clone())));
    let (profile, directory) = (observed.profile.clone(), observed.directory.clone());
    spawn(Box::pin(follow_primary(profile, directory, context.clone())));
    spawn(Box::pin(sweep(config, context.clone())));
    tasks
}

async fn follow_config(mut config: watch::Receiver<Arc<Config>>, context: Arc<Context>) {
    let mut spill_limit = config.borrow().routing.spill_limit;
    while config.changed().await.is_ok() {
        let config = config.borrow_and_update().clone();
        let mut traffic = build::traffic(&config, &context.metrics);
        if config.routing.spill_limit == spill_limit {
            // Who runs or waits goes on counting. After a change it does not: for as long as those
            // reads last there may be as many as both limits together.
            traffic.spills = context.traffic.load().spills.clone();
        }
        spill_limit = config.routing.spill_limit;
        context.traffic.store(Arc::new(traffic));
        context.login.write_hold.store(Arc::new(config.routing.write_hold));
        context.login.accounts.list(build::listed_users(&config));
    }
}

/// Retires pools of servers that are gone, and wakes the sessions that may be concerned.
async fn follow_topology(context: Arc<Context>) {
    let mut published = context.topology.subscribe();
    let mut before = context.topology.load_full();
    while published.changed().await.is_ok() {
        published.borrow_and_update();
        let topology = context.topology.load_full();
        context.pools.follow(&topology);
        context.abandoned.retain(|id| topology.backend(id).is_some());
        let lost = before
            .backends
            .iter()
            .any(|known| topology.is_lost(known.id) && !before.is_lost(known.id));
        if lost || topology.epoch != before.epoch {
            context.registry.broadcast(Mail::BACKEND);
        }
        let knows =
            |known: &Topology, name: &str| known.backends.iter().any(|it| *it.name == *name);
        let is_gone = |name: &str| knows(&before, name) && !knows(&topology, name);
        context.metrics.backends.retain(|name| !is_gone(name));
        before = topology;
    }
}

/// Says in the log, once, that clients can be served: there is a primary, and it has been greeted.
/// Either may come last.
async fn announce_ready(
    mut profile: watch::Receiver<Option<Arc<PrimaryProfile>>>,
    context: Arc<Context>,
) {
    let mut published = context.topology.subscribe();
    while context.topology.load().primary().is_none() || context.login.greeting.load().is_none() {
        let changed = tokio::select! {
            changed = published.changed() => changed,
            changed = profile.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
    tracing::info!("ready");
}

/// Hands on what the primary has for new sessions: its defaults, and then its accounts, for which
/// logins wait. The watcher publishes them in the same order.
async fn follow_primary(
    mut profile: watch::Receiver<Option<Arc<PrimaryProfile>>>,
    mut directory: watch::Receiver<Arc<Directory>>,
    context: Arc<Context>,
) {
    let mut defaults = None;
    loop {
        // Taken first, so that what comes with it is not missed below.
        let accounts = directory.borrow_and_update().clone();
        if let Some(profile) = profile.borrow_and_update().clone() {
            take_over(&profile, &mut defaults, &context);
        }
        // Connections of accounts that have changed are closed.
        context.login.accounts.follow(&accounts, |changed| {
            for pool in context.pools.all() {
                pool.close_account(&changed.user, changed.generation);
            }
        });
        let changed = tokio::select! {
            changed = profile.changed() => changed,
            changed = directory.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

fn take_over(profile: &PrimaryProfile, defaults: &mut Option<SessionDefaults>, context: &Context) {
    let version = &profile.greeting.version;
    context.dialect.store(Arc::new(Dialect {
        flavour: version.flavour,
        version: version.comment_number(),
        no_backslash_escapes: has_no_backslash_escapes(&profile.defaults.sql_mode),
        ansi_quotes: has_ansi_quotes(&profile.defaults.sql_mode),
        charset: ClientCharset::of_name(profile.defaults.character_set.as_bytes()),
    }));
    context.collations.store(Arc::new(Collations(profile.collations.clone())));
    if defaults.replace(profile.defaults.clone()).as_ref() != Some(&profile.defaults) {
        // Connections keep the defaults that they were opened with. Those that are in use at this
        // moment return with the old ones: whoever changes a server's globals under load has
        // clients of both kinds without a proxy, too.
        for pool in context.pools.all() {
            pool.sweep(Duration::ZERO);
        }
    }
}

async fn sweep(config: watch::Receiver<Arc<Config>>, context: Arc<Context>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let limit = config.borrow().pool.idle_timeout;
        for pool in context.pools.all() {
            pool.sweep(limit);
        }
        context.registry.look_for_idle(context.traffic.load().idle_timeout);
    }
}
