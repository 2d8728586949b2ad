//! The command: arguments in, exit code out.

mod cli;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use rwproxy::config::{Config, ConfigError};
use rwproxy::routing::{Rules, Sender};
use rwproxy::server;
use tokio::sync::watch;

use cli::arguments::{Arguments, CheckArguments, Command, ConfigCommand, SetupArguments};
use cli::{audit, check, explain, logging, runtime, setup, signals, switchover};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let path = config_path(arguments.config);
    let done = match arguments.command {
        None => serve(path),
        Some(Command::Explain { sql, flavour, sql_mode, database, user }) => {
            let sender =
                Sender { user: user.as_bytes(), database: database.as_bytes(), hints: None };
            rules(path.as_deref()).map(|rules| {
                print!("{}", explain::explain(&sql, flavour, &sql_mode, sender, &rules));
                ExitCode::SUCCESS
            })
        }
        Some(Command::Setup(arguments)) => setup(path.as_deref(), arguments),
        Some(Command::Check(arguments)) => Ok(check(path.as_deref(), arguments)),
        Some(Command::Switchover { server, force }) => switchover(path.as_deref(), &server, force),
        Some(Command::Healthcheck) => healthcheck(path.as_deref()),
        Some(Command::Config { command: ConfigCommand::Check }) => check_config(path.as_deref()),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// An error is printed: it comes before there is a log, or belongs to a subcommand.
type Done = Result<ExitCode, Box<dyn Error>>;

/// Settings, logs, runtimes, serve, drain.
fn serve(path: Option<PathBuf>) -> Done {
    let config = Arc::new(load(path.as_deref())?);
    let log = logging::start(&config.log);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = path.as_deref().map(|path| path.display().to_string()),
        "starting"
    );
    let runtimes = runtime::build(config.listen.threads)?;
    let (config_sender, config) = watch::channel(config);
    let served = runtimes.data.block_on(async {
        let phase = signals::watch(path, config_sender, log)?;
        server::run(config, phase, runtimes.control.handle().clone()).await?;
        Ok::<(), Box<dyn Error>>(())
    });
    match served {
        Ok(()) => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            tracing::error!(%error, "stopped");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn check_config(path: Option<&Path>) -> Done {
    load(path)?;
    match path {
        Some(path) => println!("{}: ok", path.display()),
        None => println!("no proxy.toml here: the defaults, ok"),
    }
    Ok(ExitCode::SUCCESS)
}

fn healthcheck(path: Option<&Path>) -> Done {
    println!("{}", rwproxy::check::readiness::ask(&load(path)?.http)?);
    Ok(ExitCode::SUCCESS)
}

fn setup(path: Option<&Path>, arguments: SetupArguments) -> Done {
    let succeeded = setup::run(path, arguments.wishes())?;
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// 0: all is well; 1: warnings, or what could be compared is equal; 2: errors, or nothing could be
/// looked at.
fn check(path: Option<&Path>, arguments: CheckArguments) -> ExitCode {
    if !arguments.data {
        return check::run(path, &arguments);
    }
    let checked = load(path).map_err(Into::into).and_then(|config| audit::run(&config, arguments));
    match checked {
        Ok(verdict) => verdict.exit_code(),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn switchover(path: Option<&Path>, server: &str, force: bool) -> Done {
    let (steps, succeeded) = switchover::ask(&load(path)?, server, force)?;
    print!("{steps}");
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// The rules of the file; none without a file.
fn rules(path: Option<&Path>) -> Result<Rules, Box<dyn Error>> {
    let Some(path) = path else { return Ok(Rules::default()) };
    let config = Config::load(path)?;
    Ok(Rules::new(&config.rules, |_| Arc::default()))
}

/// The file that was named, else `proxy.toml` where there is one.
fn config_path(named: Option<PathBuf>) -> Option<PathBuf> {
    let here = || Some(PathBuf::from("proxy.toml")).filter(|path| path.exists());
    named.or_else(here)
}

/// The configuration: of a file, or without one.
fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
    match path {
        Some(path) => Config::load(path),
        None => Config::without_file(),
    }
}
