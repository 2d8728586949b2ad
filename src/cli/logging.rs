//! Logs: text or JSON lines on standard error.

use std::io::{self, IsTerminal};
use std::panic;

use rwproxy::config::{Level, Log, LogFormat};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, reload};

/// Changes the level of the running process.
pub struct LevelHandle(reload::Handle<Targets, Registry>);

impl LevelHandle {
    pub fn set(&self, level: Level) {
        // It fails only when the subscriber is gone, and then nothing is logged at all.
        let _ = self.0.reload(filter(level));
    }
}

/// From here on everything is logged. Call once.
pub fn start(log: &Log) -> LevelHandle {
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed(),
        LogFormat::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            fmt::layer().with_ansi(colours).with_writer(io::stderr).boxed()
        }
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a task has panicked")));
    LevelHandle(handle)
}

/// The level is that of the proxy itself; of the libraries only warnings are of interest.
fn filter(level: Level) -> Targets {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("rwproxy", level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quiet() {
        use tracing::Level as Severity;
        let debug = filter(Level::Debug);
        assert!(debug.would_enable("rwproxy::monitor", &Severity::DEBUG));
        assert!(!debug.would_enable("hyper", &Severity::INFO));
        assert!(debug.would_enable("hyper", &Severity::WARN));
        assert!(!filter(Level::Error).would_enable("hyper", &Severity::WARN));
    }
}
