//! Requests from outside: SIGTERM and SIGINT end the server in two steps; SIGHUP, or a change of the
//! file, reads it again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rwproxy::config::{Config, diff};
use rwproxy::server::Phase;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::logging::LevelHandle;
use super::watched::{Mark, Watched};

/// Between two looks at the file.
const LOOK: Duration = Duration::from_secs(2);

/// Starts to listen for signals and to look at the file. The first SIGTERM or SIGINT starts the drain, its time-out or a
/// second signal ends it. Must be called within a runtime.
pub fn watch(
    path: Option<PathBuf>,
    config: watch::Sender<Arc<Config>>,
    log: LevelHandle,
) -> io::Result<watch::Receiver<Phase>> {
    let mut end = End::listen()?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let (sender, receiver) = watch::channel(Phase::Serving);
    tokio::spawn(async move {
        let mark = || path.as_deref().and_then(Mark::of);
        let mut file = Watched::new(mark());
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let asked = loop {
            tokio::select! {
                asked = end.asked() => break asked,
                _ = hang_up.recv() => {
                    file = Watched::new(mark());
                    reload(path.as_deref(), &config, &log);
                }
                _ = look.tick() => {
                    if file.look(mark()) {
                        reload(path.as_deref(), &config, &log);
                    }
                }
            }
        };
        let timeout = config.borrow().shutdown.drain_timeout;
        tracing::info!(signal = asked, timeout = ?timeout, "draining");
        sender.send_replace(Phase::Draining);
        tokio::select! {
            asked = end.asked() => tracing::info!(signal = asked, "the drain is cut short"),
            () = sleep(timeout) => {
                tracing::info!("the time for the drain is over");
            }
        }
        sender.send_replace(Phase::Killing);
        // Keeps `config` alive: its receivers take a closed channel for the end of the process.
        std::future::pending::<()>().await;
    });
    Ok(receiver)
}

/// SIGTERM and SIGINT.
pub struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl End {
    /// From here on they no longer end the process. Must be called within a runtime.
    pub fn listen() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(End { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The name of the next signal to end. Cancel safe.
    pub async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Publishes the file's hot keys; a bad file changes nothing.
fn reload(path: Option<&Path>, config: &watch::Sender<Arc<Config>>, log: &LevelHandle) {
    let Some(path) = path else {
        tracing::warn!("there is no configuration file to read again");
        return;
    };
    let new = match Config::load(path) {
        Ok(new) => new,
        Err(error) => {
            tracing::error!("the configuration stays as it is: {error}");
            return;
        }
    };
    let running = config.borrow().clone();
    let changes = diff::diff(&running, &new);
    if !changes.restart.is_empty() {
        tracing::warn!(keys = changes.restart.join(", "), "these changes need a restart");
    }
    if changes == diff::Diff::default() {
        tracing::info!("the configuration was read again and says the same");
        return;
    }
    tracing::info!(keys = changes.hot.join(", "), "the configuration was read again");
    log.set(new.log.level);
    config.send_replace(Arc::new(diff::apply(&running, new)));
}
