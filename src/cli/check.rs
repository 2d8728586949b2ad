//! `rwproxy check`: a look at everything, printed.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use rwproxy::check::{Asker, Report, Severity};
use rwproxy::config::Config;
use rwproxy::{monitor, server};
use tokio::sync::watch;

use super::arguments::CheckArguments;
use super::fix::{self, Outcome};
use super::watch::{Form, look_on};

/// 0: nothing but notices, 1: warnings, 2: errors, or something has failed.
pub fn run(path: Option<&Path>, arguments: &CheckArguments) -> ExitCode {
    match carry_out(path, arguments) {
        Ok(worst) => code(worst),
        Err(error) => {
            eprintln!("{error}");
            code(Some(Severity::Error))
        }
    }
}

fn code(worst: Option<Severity>) -> ExitCode {
    ExitCode::from(match worst {
        None | Some(Severity::Notice) => 0,
        Some(Severity::Warning) => 1,
        Some(Severity::Error) => 2,
    })
}

/// The worst of what was found at last.
fn carry_out(
    path: Option<&Path>,
    arguments: &CheckArguments,
) -> Result<Option<Severity>, Box<dyn Error>> {
    // Before setup has made them there may be no passwords yet.
    let config = match path {
        Some(path) => Config::load_without_passwords(path)?.0,
        None => Config::without_file()?,
    };
    if arguments.fix && config.administrator.user.is_none() {
        return Err(
            "--fix needs [administrator] in proxy.toml: the account by which the servers are \
                    changed, such as root, with its password. Nothing was changed."
                .into(),
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tls = server::backend_tls(&config.backend_tls)?;
        let (_sender, configs) = watch::channel(Arc::new(config.clone()));
        let (catalog, _tasks) = monitor::discover(configs);
        let asker = Asker::new(&config, tls, catalog);
        if arguments.fix {
            let Outcome { report, has_failed } = fix::fix(&asker, arguments.yes).await?;
            print!("\n{}", shown(&report, arguments));
            return Ok(if has_failed { Some(Severity::Error) } else { report.worst() });
        }
        if let Some(interval) = arguments.watch {
            let form = Form::new(arguments.json, with_colour());
            let last = look_on(&asker, interval, form).await?;
            return Ok(last.map_or(Some(Severity::Error), |report| report.worst()));
        }
        let report = Report::new(&asker.look().await);
        print!("{}", shown(&report, arguments));
        Ok(report.worst())
    })
}

fn shown(report: &Report, arguments: &CheckArguments) -> String {
    if arguments.json {
        return format!("{:#}\n", report.json());
    }
    report.table(with_colour())
}

fn with_colour() -> bool {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !is_plain
}
