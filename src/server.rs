//! Wires everything together: listeners, discovery and monitor, sessions, console, shutdown.

mod build;
mod follow;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::admin::{self, Admin, Live};
use crate::check::{Patrol, Patrolled};
use crate::config::{Config, ListenAddress};
use crate::frontend::accept::accept;
use crate::frontend::context::Context;
use crate::frontend::mailbox::Mail;
use crate::metrics::Metrics;
use crate::monitor;
use crate::net::Listener;
use crate::net::listener::BindError;
use crate::net::rsa::RsaKeyError;
use crate::net::tls::TlsError;
use crate::session::plan::Why;
use crate::switchover::Switchover;

pub use build::backend_tls;

/// How long sessions that were told to end now may take to do so.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How often the number of sessions is looked at while draining.
const LOOK: Duration = Duration::from_millis(20);

/// How long a switchover that is under way may take to end at a shutdown.
const SWITCHOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the server is asked to do, in this order and never back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// No new clients; sessions end at their next transaction end.
    Draining,
    /// Everything ends now.
    Killing,
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
    #[error("listen.rsa_key: {0}")]
    RsaKey(#[from] RsaKeyError),
}

/// Serves until `phase` says otherwise and all sessions have ended. Runs on the data runtime;
/// monitor, discovery and admin run on `control`. `config` changes at a reload, in its hot keys.
pub async fn run(
    config: watch::Receiver<Arc<Config>>,
    mut phase: watch::Receiver<Phase>,
    control: Handle,
) -> Result<(), Error> {
    let started = Instant::now();
    let settings = config.borrow().clone();
    let listeners =
        settings.listen.address.iter().map(Listener::bind).collect::<Result<Vec<_>, _>>()?;
    let tls = build::backend_tls(&settings.backend_tls)?;
    let accepts = Arc::new(AtomicBool::new(true));
    let encryption = build::encryption(&settings.listen.tls)?;
    let console_tls = encryption.tls().cloned();
    let rsa_key = build::rsa_key(&settings.listen)?;
    let metrics = Arc::new(Metrics::new(Why::names().leak()));
    let observed = Arc::new(monitor::start(&control, config.clone(), tls.clone(), metrics.clone()));
    let context =
        Arc::new(build::context(&settings, &observed, metrics.clone(), tls, encryption, rsa_key)?);

    let mut control_tasks = follow::start(&control, config.clone(), &context, &observed);
    let switchover = Arc::new(Switchover {
        topology: context.topology.clone(),
        catalog: observed.catalog.clone(),
        hold: observed.hold.clone(),
        registry: context.registry.clone(),
        events: observed.events.clone(),
        config: config.clone(),
        tls: context.backend_tls.clone(),
        running: Mutex::new(()),
    });
    let (found, checks) = watch::channel(Arc::new(Patrolled::default()));
    let patrol = Patrol {
        config: config.clone(),
        catalog: observed.catalog.clone(),
        tls: context.backend_tls.clone(),
        events: observed.events.clone(),
        found,
    };
    control_tasks.spawn_on(patrol.run(), &control);
    let admin = Arc::new(Admin {
        switchover: switchover.clone(),
        view: Arc::new(Live {
            topology: context.topology.clone(),
            pools: context.pools.clone(),
            registry: context.registry.clone(),
            accepts: accepts.clone(),
            rules: {
                let context = context.clone();
                Box::new(move || context.traffic.load().rules.clone())
            },
        }),
        metrics,
        events: observed.events.clone(),
        checks,
        config,
        tls: console_tls,
        started,
    });
    serve_admin(&mut control_tasks, &control, &settings, &admin)?;

    let mut accepting = JoinSet::new();
    for listener in listeners {
        announce("clients", listener.local_address());
        accepting.spawn(accept(listener, context.clone()));
    }
    // An error means that nobody can ask any more.
    let _ = phase.wait_for(|phase| *phase > Phase::Serving).await;
    accepts.store(false, Ordering::Relaxed);
    drop(accepting);
    // Half a switchover helps nobody, and a second one does not begin.
    let _switched = timeout(SWITCHOVER_TIMEOUT, switchover.finished()).await;
    end_sessions(&context, phase).await;
    Ok(())
}

fn serve_admin(
    tasks: &mut JoinSet<()>,
    control: &Handle,
    settings: &Config,
    admin: &Arc<Admin>,
) -> Result<(), Error> {
    for address in &settings.admin.address {
        let listener = bind_on(control, address)?;
        announce("admin", listener.local_address());
        let admin = admin.clone();
        tasks.spawn_on(async { match admin::console::serve(listener, admin).await {} }, control);
    }
    for address in &settings.http.address {
        let listener = bind_on(control, address)?;
        announce("http", listener.local_address());
        let admin = admin.clone();
        tasks.spawn_on(async { match admin::http::serve(listener, admin).await {} }, control);
    }
    Ok(())
}

/// A socket belongs to the runtime that it is bound in.
fn bind_on(control: &Handle, address: &ListenAddress) -> Result<Listener, BindError> {
    let _entered = control.enter();
    Listener::bind(address)
}

fn announce(what: &str, address: Option<std::net::SocketAddr>) {
    let address = address.map(|address| address.to_string());
    tracing::info!(what, address, "listening");
}

/// Lets sessions end where they can, and then ends them.
async fn end_sessions(context: &Context, mut phase: watch::Receiver<Phase>) {
    tracing::info!(sessions = context.registry.len(), "no new clients; sessions drain");
    while *phase.borrow_and_update() < Phase::Killing && !context.registry.is_empty() {
        // Again and again: a session may have begun its login before.
        context.registry.broadcast(Mail::DRAIN);
        tokio::select! {
            changed = phase.changed() => if changed.is_err() { break },
            () = sleep(LOOK) => {}
        }
    }
    let deadline = Instant::now() + LAST_WORDS;
    while !context.registry.is_empty() && Instant::now() < deadline {
        context.registry.broadcast(Mail::SHUTDOWN);
        sleep(LOOK).await;
    }
    for pool in context.pools.all() {
        pool.retire();
    }
    let left = context.registry.len();
    if left > 0 {
        tracing::warn!(sessions = left, "some sessions did not end");
    }
}
