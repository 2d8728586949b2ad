//! `rwproxy check --data`: whether the replicas hold what the primary holds.

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rwproxy::check::audit::find::{Found, LeftOut, find};
use rwproxy::check::audit::keep::{Keeper, Subject};
use rwproxy::check::audit::{AuditError, Checkpoint, Difference, Options, audit};
use rwproxy::config::{Account, Config, Secret};
use rwproxy::monitor;
use rwproxy::setup::progress::Progress;
use serde::Serialize;
use tokio::sync::watch;

use super::access::access;
use super::arguments::CheckArguments;
use super::screen::Screen;
use super::signals::End;

/// How it came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Equal,
    /// No difference was found, and not everything was compared.
    Undecided,
    Different,
    Failed,
}

impl Verdict {
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Verdict::Equal => 0,
            Verdict::Undecided => 1,
            Verdict::Different | Verdict::Failed => 2,
        })
    }

    fn of(state: &Checkpoint, left_out: &[LeftOut], ended: Option<&AuditError>) -> Self {
        let is_whole = state.undecided == 0 && state.skipped.is_empty() && left_out.is_empty();
        match ended {
            _ if !state.is_clean() => Verdict::Different,
            Some(AuditError::Interrupted) => Verdict::Undecided,
            Some(_) => Verdict::Failed,
            None if is_whole => Verdict::Equal,
            None => Verdict::Undecided,
        }
    }
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Report<'a> {
    result: Verdict,
    /// Why it did not come to its end.
    problem: Option<String>,
    primary: Option<&'a str>,
    replicas: Vec<&'a str>,
    /// Servers that were not compared.
    left_out: Vec<String>,
    tables: u64,
    tables_compared: u64,
    rows: u64,
    differences: &'a [Difference],
    /// Rows that were written whenever they were looked at.
    undecided: u64,
    /// Tables that were not compared, and why.
    skipped: &'a [String],
}

pub fn run(config: &Config, arguments: CheckArguments) -> Result<Verdict, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(check(config, arguments))
}

async fn check(config: &Config, arguments: CheckArguments) -> Result<Verdict, Box<dyn Error>> {
    let CheckArguments { load, patience, resume, table: only, json, .. } = arguments;
    let (user, password) = account(config)?;
    let access = access(config, user, password)?;
    let (_sender, settings) = watch::channel(Arc::new(config.clone()));
    let (catalog, _tasks) = monitor::discover(settings);
    let found = match find(&catalog, &access, &config.docker.label_prefix).await {
        Ok(found) => found,
        Err(unfit) => {
            let result = Verdict::Failed;
            let problem = Some(unfit.problem);
            print_result(json, result, problem, None, &unfit.left_out, &Checkpoint::default());
            return Ok(result);
        }
    };
    let subject = Subject {
        cluster: config.docker.cluster.clone(),
        primary: found.identities.0.clone(),
        replicas: found.identities.1.clone(),
        only: only.iter().map(ToString::to_string).collect(),
    };
    if !json {
        print!("{}", cast(&found));
    }
    let options = Options { load, patience, only };
    let (state, ended) = compare(&found, options, resume.as_deref(), subject).await?;
    let result = Verdict::of(&state, &found.left_out, ended.as_ref());
    let problem = ended.map(|error| error.to_string());
    print_result(json, result, problem, Some(&found), &found.left_out, &state);
    Ok(result)
}

/// Compares, and keeps how far it has come. What it was at last, and why it ended early.
async fn compare(
    found: &Found,
    options: Options,
    file: Option<&Path>,
    subject: Subject,
) -> Result<(Checkpoint, Option<AuditError>), Box<dyn Error>> {
    let screen = Screen::of(io::stderr());
    let (mut keeper, begun) = match file {
        Some(file) => {
            let (keeper, begun) = Keeper::open(file, subject)?;
            (Some((file, keeper)), begun)
        }
        None => (None, Checkpoint::default()),
    };
    if let Some((file, keeper)) = keeper.as_ref().filter(|_| begun != Checkpoint::default()) {
        let (file, since) = (file.display(), keeper.begun());
        screen.line(&format!("Going on from {file}, which was begun at {since}."));
    }
    let (began, before) = (Instant::now(), begun.rows);
    let mut latest = begun.clone();
    let mut told = |state: &Checkpoint| {
        latest.clone_from(state);
        screen.progress(&in_words(state, before, began.elapsed()));
        if let Some((file, keeper)) = &mut keeper
            && let Err(error) = keeper.pass(state)
        {
            screen.line(&format!("{}: {error}: how far it has come is not kept", file.display()));
        }
    };
    let mut end = End::listen()?;
    let stop = async {
        end.asked().await;
    };
    let compared = audit(&found.primary, &found.replicas, options, begun, &mut told, stop).await;
    screen.end_line();
    match compared {
        Ok(state) => {
            if let Some((file, keeper)) = keeper {
                keeper.remove().map_err(|error| format!("{}: {error}", file.display()))?;
            }
            Ok((state, None))
        }
        Err(error) => {
            if let Some((file, mut keeper)) = keeper {
                let kept = keeper.keep(&latest);
                kept.map_err(|error| format!("{}: {error}", file.display()))?;
                let file = file.display();
                screen.line(&format!("It goes on from here with --resume {file}"));
            }
            Ok((latest, Some(error)))
        }
    }
}

/// The account that reads: it needs no more than that.
fn account(config: &Config) -> Result<(&str, &Secret), String> {
    if let Account { user: Some(user), password: Some(password), .. } = &config.administrator {
        return Ok((user, password));
    }
    match &config.monitor.password {
        Some(password) => Ok((&config.monitor.user, password)),
        None => {
            Err("[administrator] in proxy.toml must name an account that may read all tables, \
                     with its password"
                .to_owned())
        }
    }
}

/// Who is compared with whom.
fn cast(found: &Found) -> String {
    let mut text = format!("primary  {}: {}\n", found.primary.name, found.because);
    for replica in &found.replicas {
        text += &format!("replica  {}\n", replica.name);
    }
    text + &not_compared(&found.left_out)
}

fn not_compared(left_out: &[LeftOut]) -> String {
    let line = |it: &LeftOut| {
        let LeftOut { server, problem, remedy } = it;
        format!("not compared: {server}: {problem}\n    {remedy}\n")
    };
    left_out.iter().map(line).collect()
}

fn in_words(state: &Checkpoint, before: u64, elapsed: Duration) -> String {
    let Checkpoint { tables, done, rows, differences, .. } = state;
    let rate = Progress { done: rows.saturating_sub(before), total: 0, elapsed }.rate();
    let mut words = format!("{} of {tables} tables, {rows} rows, {rate} rows/s", done.len());
    if !differences.is_empty() {
        words += &format!(", {} differences", differences.len());
    }
    if let Some(current) = &state.current {
        words += &format!("; {}.{}", current.schema, current.table);
    }
    words
}

fn print_result(
    json: bool,
    result: Verdict,
    problem: Option<String>,
    found: Option<&Found>,
    left_out: &[LeftOut],
    state: &Checkpoint,
) {
    if !json {
        if found.is_none() {
            print!("{}", not_compared(left_out));
        }
        print!("{}", told(result, problem.as_deref(), left_out, state));
        return;
    }
    let report = Report {
        result,
        problem,
        primary: found.map(|found| &*found.primary.name),
        replicas: found
            .map(|found| found.replicas.iter().map(|replica| &*replica.name).collect())
            .unwrap_or_default(),
        left_out: left_out.iter().map(|it| format!("{}: {}", it.server, it.problem)).collect(),
        tables: state.tables,
        tables_compared: state.done.len() as u64,
        rows: state.rows,
        differences: &state.differences,
        undecided: state.undecided,
        skipped: &state.skipped,
    };
    match serde_json::to_string_pretty(&report) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("{error}"),
    }
}

fn told(
    result: Verdict,
    problem: Option<&str>,
    left_out: &[LeftOut],
    state: &Checkpoint,
) -> String {
    let Checkpoint { tables, done, rows, differences, undecided, skipped, .. } = state;
    let mut text = String::new();
    for difference in differences {
        text += &format!("{difference}\n");
    }
    for table in skipped {
        text += &format!("not compared: {table}\n");
    }
    if *undecided > 0 {
        text += &format!(
            "undecided: {undecided} rows were written whenever they were looked at; run this again\n"
        );
    }
    if let Some(problem) = problem {
        text += &format!("Stopped: {problem}\n");
    }
    text += &format!("{} of {tables} tables, {rows} rows compared: ", done.len());
    text += match result {
        Verdict::Equal => "the replicas hold what the primary holds.\n",
        Verdict::Different => "there are differences.\n",
        Verdict::Undecided | Verdict::Failed if problem.is_some() => "no difference so far.\n",
        Verdict::Undecided if !left_out.is_empty() => {
            "no difference, but not all servers were compared.\n"
        }
        Verdict::Undecided | Verdict::Failed => "no difference, but not all was compared.\n",
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rwproxy::check::audit::What;

    fn state() -> Checkpoint {
        Checkpoint {
            tables: 2,
            done: vec![("s".to_owned(), "t".to_owned())],
            rows: 1000,
            ..Checkpoint::default()
        }
    }

    fn different() -> Checkpoint {
        let what = What::MissingRow { row: "`id` = 1".to_owned() };
        let (server, schema, table) = ("b".to_owned(), "s".to_owned(), "t".to_owned());
        let differences = vec![Difference { server, schema, table, what }];
        Checkpoint { differences, ..state() }
    }

    #[test]
    fn how_it_comes_out() {
        let left_out = [LeftOut {
            server: "c".into(),
            problem: "it is down".to_owned(),
            remedy: "docker start c".to_owned(),
        }];
        let broken = AuditError::NoGtids { server: "b".into() };
        let skipped = || Checkpoint { skipped: vec!["s.u: gone".to_owned()], ..state() };
        let undecided = || Checkpoint { undecided: 3, ..state() };
        type Case<'a> = (Checkpoint, &'a [LeftOut], Option<&'a AuditError>, Verdict, &'a str);
        let table: [Case<'_>; 8] = [
            (state(), &[], None, Verdict::Equal, "the replicas hold"),
            (state(), &left_out, None, Verdict::Undecided, "not all servers"),
            (skipped(), &[], None, Verdict::Undecided, "not compared: s.u: gone"),
            (undecided(), &[], None, Verdict::Undecided, "undecided: 3 rows"),
            (
                different(),
                &left_out,
                None,
                Verdict::Different,
                "b: s.t: the row `id` = 1 is missing",
            ),
            (
                state(),
                &[],
                Some(&AuditError::Interrupted),
                Verdict::Undecided,
                "no difference so far",
            ),
            (different(), &[], Some(&AuditError::Interrupted), Verdict::Different, "Stopped: "),
            (state(), &[], Some(&broken), Verdict::Failed, "there are no GTIDs"),
        ];
        for (state, left_out, ended, verdict, part) in table {
            assert_eq!(Verdict::of(&state, left_out, ended), verdict, "{state:?}");
            let problem = ended.map(ToString::to_string);
            let text = told(verdict, problem.as_deref(), left_out, &state);
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_account_that_reads() {
        let secret = |text: &str| Some(Secret::new(text.to_owned()));
        let mut config = Config::default();
        account(&config).expect_err("there is none");
        config.monitor.password = secret("m");
        assert_eq!(account(&config).expect("the monitor's").0, "rwproxy");
        config.administrator.user = Some("root".to_owned());
        config.administrator.password = secret("r");
        assert_eq!(account(&config).expect("the administrator's").0, "root");
    }

    #[test]
    fn progress_in_words() {
        assert_eq!(
            in_words(&different(), 500, Duration::from_secs(5)),
            "1 of 2 tables, 1000 rows, 100 rows/s, 1 differences"
        );
    }
}
