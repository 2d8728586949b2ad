//! `rwproxy setup`: the plan is shown, agreed to, and carried out.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rwproxy::config::{Account, Config, Secret};
use rwproxy::monitor;
use rwproxy::setup::{
    Accounts, Credentials, Event, Obstacle, Options, Plan, Setup, Step, Stopped, secrets, written,
};
use tokio::sync::watch;
use tokio::time::sleep;

use super::access::access;
use super::consent::asked;
use super::screen::Screen;

/// Between two looks whether servers have been started with the options that they lacked.
const LOOK: Duration = Duration::from_secs(1);

/// What was asked for on the command line.
#[derive(Debug)]
pub struct Wishes {
    pub options: Options,
    pub agreed: bool,
    pub dry_run: bool,
    pub wait: Duration,
}

/// A password that was made, and is to be kept in this file.
type New = (PathBuf, Secret);

/// Whether all is as it is to be.
pub fn run(path: Option<&Path>, wishes: Wishes) -> Result<bool, Box<dyn Error>> {
    let (config, new, accounts) = configured(path)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let administrator = &accounts.administrator;
        let access = access(&config, &administrator.user, &administrator.password)?;
        let prefix = config.docker.label_prefix.clone();
        let (_sender, config) = watch::channel(Arc::new(config));
        let (catalog, _tasks) = monitor::discover(config);
        let Wishes { options, agreed, dry_run, wait } = wishes;
        let setup = Setup { catalog, access, accounts, options, prefix, wait };
        carry_out(&setup, &new, agreed, dry_run).await
    })
}

async fn carry_out(
    setup: &Setup,
    new: &[New],
    agreed: bool,
    dry_run: bool,
) -> Result<bool, Box<dyn Error>> {
    let Some(plan) = possible(setup, dry_run).await else { return Ok(false) };
    print!("{}", shown(&plan, new));
    if dry_run {
        return Ok(true);
    }
    if !plan.steps.is_empty() && !agreed && !asked()? {
        println!("Nothing was changed.");
        return Ok(false);
    }
    if !plan.steps.is_empty() {
        // Before any server knows them.
        for (path, secret) in new {
            secrets::keep(path, secret).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    let (of, begun) = (plan.steps.len(), AtomicUsize::new(0));
    let steps = Steps { of, begun, screen: Screen::of(io::stdout()) };
    let performed = setup.perform(&|event| steps.show(&event)).await;
    steps.screen.end_line();
    match performed {
        Ok(()) => {
            println!("Done: all of this is so.");
            Ok(true)
        }
        Err(stopped) => {
            eprint!("{}", stopped_in_words(&stopped));
            Ok(false)
        }
    }
}

/// The plan, or `None` when something stands in the way: it is printed then, and if only options are
/// missing somebody at a terminal is waited for.
async fn possible(setup: &Setup, dry_run: bool) -> Option<Plan> {
    let deadline = Instant::now() + setup.wait;
    let mut was_told = false;
    loop {
        let survey = setup.survey().await;
        let obstacles = match setup.plan(&survey) {
            Ok(plan) => return Some(plan),
            Err(obstacles) => obstacles,
        };
        let waits = !dry_run
            && io::stdin().is_terminal()
            && Instant::now() < deadline
            && (was_told || obstacles.iter().all(|obstacle| obstacle.options.is_some()));
        if !was_told || !waits {
            eprint!("{}", obstacles_in_words(&obstacles));
        }
        if !waits {
            eprintln!("Nothing was changed.");
            return None;
        }
        if !was_told {
            let limit = humantime::format_duration(setup.wait);
            eprintln!(
                "Waiting for these servers, up to {limit}; run this again whenever you like."
            );
            was_told = true;
        }
        sleep(LOOK).await;
    }
}

/// The configuration, the passwords that are new, and the accounts.
fn configured(path: Option<&Path>) -> Result<(Config, Vec<New>, Accounts), Box<dyn Error>> {
    let (mut config, missing) = match path {
        Some(path) => Config::load_without_passwords(path)?,
        None => (Config::without_file()?, Vec::new()),
    };
    let mut new = Vec::new();
    let Config { monitor, replication, .. } = &mut config;
    for (file, password) in [
        (&monitor.password_file, &mut monitor.password),
        (&replication.password_file, &mut replication.password),
    ] {
        let Some(file) = file.as_ref().filter(|file| missing.contains(file)) else { continue };
        let known = new.iter().find(|(path, _): &&New| path == file);
        let secret = match known {
            Some((_, secret)) => secret.clone(),
            None => secrets::generate()?,
        };
        *password = Some(secret.clone());
        if known.is_none() {
            new.push((file.clone(), secret));
        }
    }
    if let Some(file) = missing.iter().find(|file| !new.iter().any(|(path, _)| path == *file)) {
        return Err(format!("{}: there is no such file", file.display()).into());
    }
    let accounts = Accounts {
        administrator: named(
            "administrator",
            &config.administrator,
            "the account by which the servers are set up, such as root, with its password",
        )?,
        replication: named(
            "replication",
            &config.replication,
            "the account by which replicas are to fetch, as user = \"replication\" and password_file \
             = \"replication.secret\": both are made if they are not there",
        )?,
        monitor: named(
            "monitor",
            &Account {
                user: Some(config.monitor.user.clone()),
                password: config.monitor.password.clone(),
                password_file: config.monitor.password_file.clone(),
                password_env: config.monitor.password_env.clone(),
            },
            "the password of the proxy's own account, as password_file = \"monitor.secret\", which is \
             made if it is not there, or in RWPROXY_MONITOR_PASSWORD",
        )?,
    };
    Ok((config, new, accounts))
}

fn named(section: &str, account: &Account, what: &str) -> Result<Credentials, String> {
    let (Some(user), Some(password)) = (&account.user, &account.password) else {
        return Err(format!("[{section}] in proxy.toml must name {what}"));
    };
    if password.expose().is_empty() && section != "administrator" {
        return Err(format!("[{section}]: the password is empty"));
    }
    let kept = match (&account.password_file, &account.password_env) {
        (Some(file), _) => file.display().to_string(),
        (None, Some(variable)) => variable.clone(),
        (None, None) => format!("{section}.password in proxy.toml"),
    };
    Ok(Credentials { user: user.clone(), password: password.clone(), kept })
}

fn shown(plan: &Plan, new: &[New]) -> String {
    let mut text = format!("primary  {}: {}\n", plan.primary, plan.because);
    for (name, what) in &plan.replicas {
        text += &format!("replica  {name}: {what}\n");
    }
    for note in &plan.notes {
        text += &format!("note     {note}\n");
    }
    if plan.steps.is_empty() {
        text += "There is nothing to change.\n";
        return text;
    }
    text += "\n";
    for (path, _) in new {
        text += &format!(" 0  {} is made, with a new password\n", path.display());
    }
    for (index, step) in plan.steps.iter().enumerate() {
        text += &format!("{:>2}  {}: {}\n", index + 1, step.server, step.reason);
        for line in step.action.shown() {
            text += &format!("      {line}\n");
        }
    }
    text + "\n"
}

fn obstacles_in_words(obstacles: &[Obstacle]) -> String {
    let mut text = String::new();
    for Obstacle { server, problem, remedy, .. } in obstacles {
        let server = server.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        text += &format!("{server}{problem}\n    {remedy}\n");
    }
    let options: Vec<_> = obstacles.iter().filter_map(|it| it.options.as_deref()).collect();
    if !options.is_empty() {
        text += &format!(
            "\nAs a part of compose.yaml (with docker run: the options behind the image's name):\n\n{}\n",
            written(options.into_iter())
        );
    }
    text
}

fn stopped_in_words(stopped: &Stopped) -> String {
    let Stopped { problem, done, left, obstacles } = stopped;
    let mut text = format!("\nStopped: {problem}\n{}", obstacles_in_words(obstacles));
    if !done.is_empty() {
        text += "Done, and to stay so:\n";
        for line in done {
            text += &format!("    {line}\n");
        }
    }
    if !left.is_empty() {
        text += "Not done:\n";
        for step in left {
            text += &format!("    {}: {}\n", step.server, step.action.shown().join("; "));
        }
    }
    text + "When that is mended, run this again: it goes on from here.\n"
}

/// What is written while it goes on.
struct Steps {
    of: usize,
    begun: AtomicUsize,
    screen: Screen,
}

impl Steps {
    fn show(&self, event: &Event<'_>) {
        let screen = &self.screen;
        match event {
            Event::Begins(step) => {
                let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
                screen.line(&begun(number, self.of, step));
                screen.tell_soon();
            }
            Event::Progress(text) => screen.progress(&format!("        {text}")),
            Event::Done(_, took) => {
                screen.line(&format!("        done in {} ms", took.as_millis()))
            }
            Event::Asks(text) => screen.line(&format!("    !   {text}")),
            Event::Note(text) => screen.line(&format!("        note: {text}")),
            Event::Verified(text) => screen.line(&format!("ok      {text}")),
        }
    }
}

fn begun(number: usize, of: usize, step: &Step) -> String {
    // A step may make others necessary that nobody could know of.
    let of = of.max(number);
    let shown = step.action.shown().join("; ");
    format!("{number:>2}/{of}  {}: {shown}", step.server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proxy_toml_must_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("proxy.toml");
        let with = |text: &str| {
            std::fs::write(&path, text).expect("a file");
            configured(Some(&path))
        };
        let administrator = "[administrator]\nuser = \"root\"\npassword = \"geheim\"\n";
        let replication = "[replication]\nuser = \"repl\"\npassword_file = \"repl.secret\"\n";
        let monitor = "[monitor]\npassword_file = \"monitor.secret\"\n";
        let refused = |text: &str| with(text).expect_err("something is missing").to_string();
        assert!(refused(&format!("{replication}{monitor}")).contains("[administrator]"));
        assert!(refused(&format!("{administrator}{monitor}")).contains("[replication]"));
        let other = "[admin]\npassword_file = \"admin.secret\"\n";
        let told = refused(&format!("{administrator}{replication}{monitor}{other}"));
        assert!(told.contains("admin.secret: there is no such file"), "{told}");

        let all = format!("{administrator}{replication}{monitor}");
        let (_, new, accounts) = with(&all).expect("all is named");
        assert_eq!(new.len(), 2);
        assert_ne!(new[0].1, new[1].1);
        assert_eq!(accounts.monitor.password, new[0].1);
        assert!(accounts.replication.kept.ends_with("repl.secret"));
        // What is there is taken.
        for (path, secret) in &new {
            secrets::keep(path, secret).expect("a new file");
        }
        let (_, none, again) = with(&all).expect("all is there");
        assert!(none.is_empty());
        assert_eq!(again, accounts);
    }

    #[test]
    fn a_stop_says_how_to_go_on() {
        let stopped = Stopped {
            problem: "b: no answer in time".to_owned(),
            done: vec!["a: SET PERSIST server_id = 1".to_owned()],
            left: Vec::new(),
            obstacles: vec![Obstacle::general("c is gone".to_owned(), "docker start c".to_owned())],
        };
        let text = stopped_in_words(&stopped);
        for part in ["Stopped: b: no answer", "c is gone", "docker start c", "server_id", "again"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
