//! `rwproxy check --fix`: what is safe is shown, agreed to, and done; everything is looked at again
//! after each step.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use rwproxy::administration::{self, Statement};
use rwproxy::check::fix::{Course, Next, Repair};
use rwproxy::check::{Asker, Examined, Report};
use rwproxy::facts;
use tokio::time::sleep;

use super::consent::asked;
use super::screen::Screen;

/// For a statement: replication may have a transaction to end before it stops.
const STATEMENT: Duration = Duration::from_secs(60);
/// For a repair to show: threads of replication need a moment to run.
const SETTLING: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(300);
/// More looks than any run needs.
const MOST: usize = 300;

/// What was found at last, and whether something has failed.
pub struct Outcome {
    pub report: Report,
    pub has_failed: bool,
}

/// A repair that has ended in the middle.
struct Stopped {
    problem: String,
    repair: Repair,
    /// Statements of it that are done.
    done: usize,
}

pub async fn fix(asker: &Asker, is_agreed: bool) -> Result<Outcome, io::Error> {
    let screen = Screen::of(io::stdout());
    let mut course = Course::default();
    // Freed when its connection ends.
    let mut lock = None;
    let mut done = Vec::new();
    let (mut examined, mut report) = look(asker).await;
    let mut stopped = None;
    for _ in 0..MOST {
        match course.next(&report.findings) {
            Next::Nothing => {
                if done.is_empty() {
                    screen.line("There is nothing that can be mended while everything is in use.");
                }
                break;
            }
            Next::Ask(plan) => {
                screen.line(shown(&plan).trim_end());
                if !is_agreed && !asked_aside().await? {
                    let what = if done.is_empty() { "Nothing" } else { "Nothing else" };
                    screen.line(&format!("{what} was changed."));
                    break;
                }
                if lock.is_none() {
                    match locked(asker, &examined).await {
                        Ok(taken) => lock = taken,
                        Err(problem) => {
                            screen.line(&format!("Stopped: {problem}\nNothing was changed."));
                            return Ok(Outcome { report, has_failed: true });
                        }
                    }
                }
                course.agree(plan);
                // Meanwhile the servers may have become others.
                (examined, report) = look(asker).await;
            }
            Next::Run(repair) => {
                course.begin(repair.clone());
                screen.line(&begins(&repair));
                match carry_out(asker, &examined, repair.clone(), &mut done).await {
                    Ok(()) => (examined, report) = settled(asker, &repair).await,
                    Err(problem) => {
                        stopped = Some(problem);
                        report = look(asker).await.1;
                        break;
                    }
                }
                let helped = match repair.is_wanted(&report.findings) {
                    true => "done, and it is still found",
                    false => "done",
                };
                screen.line(&format!("    {helped}"));
            }
        }
    }
    if let Some(stopped) = &stopped {
        let left = match course.next(&report.findings) {
            Next::Nothing => Vec::new(),
            Next::Ask(plan) => plan,
            Next::Run(repair) => vec![repair],
        };
        eprint!("{}", in_words(stopped, &done, &left));
    }
    drop(lock);
    Ok(Outcome { report, has_failed: stopped.is_some() })
}

/// So that what Docker tells is heard meanwhile.
async fn asked_aside() -> Result<bool, io::Error> {
    tokio::task::spawn_blocking(asked).await?
}

async fn look(asker: &Asker) -> (Examined, Report) {
    let examined = asker.look().await;
    let report = Report::new(&examined);
    (examined, report)
}

/// Looks until what was mended is no longer found, or that has taken long enough.
async fn settled(asker: &Asker, repair: &Repair) -> (Examined, Report) {
    let began = Instant::now();
    loop {
        let (examined, report) = look(asker).await;
        if !repair.is_wanted(&report.findings) || began.elapsed() > SETTLING {
            return (examined, report);
        }
        sleep(LOOK).await;
    }
}

/// Neither a setup nor another one of these is to be under way. Where there is no primary, there can
/// be no setup.
async fn locked(
    asker: &Asker,
    examined: &Examined,
) -> Result<Option<administration::Server>, String> {
    let Some((primary, _)) = examined.primary() else { return Ok(None) };
    let mut server = connected(asker, examined, primary.name()).await?;
    server.take_cluster().await?;
    Ok(Some(server))
}

async fn connected(
    asker: &Asker,
    examined: &Examined,
    name: &str,
) -> Result<administration::Server, String> {
    let known = examined.servers.iter().find(|server| **server.name() == *name);
    let known = &known.ok_or_else(|| format!("{name} is gone"))?.known;
    let address = known.standing.address().ok_or_else(|| format!("{name} does not run"))?;
    facts::connect(known, address, &asker.access).await
}

/// In one session, to the first failure.
async fn carry_out(
    asker: &Asker,
    examined: &Examined,
    repair: Repair,
    done: &mut Vec<String>,
) -> Result<(), Stopped> {
    let mut server = match connected(asker, examined, &repair.server).await {
        Ok(server) => server,
        Err(problem) => return Err(Stopped { problem, repair, done: 0 }),
    };
    for (index, statement) in repair.statements.iter().enumerate() {
        let Statement { sql, shown } = statement;
        if let Err(failed) = server.run(sql, STATEMENT).await {
            let uncertain = match failed.is_uncertain {
                true => " (it may have been done all the same)",
                false => "",
            };
            let problem = format!("{}: {shown}: {}{uncertain}", repair.server, failed.text);
            return Err(Stopped { problem, repair, done: index });
        }
        done.push(format!("{}: {shown}", repair.server));
    }
    Ok(())
}

fn shown(plan: &[Repair]) -> String {
    let mut text = "This can be mended while everything is in use:\n\n".to_owned();
    for (index, repair) in plan.iter().enumerate() {
        let Repair { check, server, evidence, statements } = repair;
        let _ = writeln!(text, "{:>2}  {server}: {check}: {evidence}", index + 1);
        for statement in statements {
            let _ = writeln!(text, "      {}", statement.shown);
        }
    }
    text
}

fn begins(repair: &Repair) -> String {
    format!("{}: {}", repair.server, joined(&repair.statements))
}

fn joined(statements: &[Statement]) -> String {
    let shown: Vec<&str> = statements.iter().map(|it| &*it.shown).collect();
    shown.join("; ")
}

fn in_words(stopped: &Stopped, done: &[String], left: &[Repair]) -> String {
    let Stopped { problem, repair, done: of_it } = stopped;
    let mut text = format!("\nStopped: {problem}\n");
    if !done.is_empty() {
        text += "Done, and to stay so:\n";
        for line in done {
            let _ = writeln!(text, "    {line}");
        }
    }
    text += "Not done:\n";
    let rest = &repair.statements[*of_it..];
    let _ = writeln!(text, "    {}: {}", repair.server, joined(rest));
    for repair in left {
        let _ = writeln!(text, "    {}", begins(repair));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repair(server: &str, statements: &[&str]) -> Repair {
        Repair {
            check: "example",
            server: server.into(),
            evidence: "x is 1".to_owned(),
            statements: statements.iter().map(|sql| Statement::from(*sql)).collect(),
        }
    }

    #[test]
    fn a_plan_and_its_end_in_words() {
        let plan = [repair("a", &["STOP SLAVE", "START SLAVE"]), repair("b", &["STOP SLAVE"])];
        let text = shown(&plan);
        assert!(
            text.contains("\n 1  a: example: x is 1\n      STOP SLAVE\n      START SLAVE\n 2  b")
        );

        let stopped = Stopped { problem: "a: gone".to_owned(), repair: plan[0].clone(), done: 1 };
        assert_eq!(
            in_words(&stopped, &["a: STOP SLAVE".to_owned()], &plan[1..]),
            "\nStopped: a: gone\nDone, and to stay so:\n    a: STOP SLAVE\n\
             Not done:\n    a: START SLAVE\n    b: STOP SLAVE\n"
        );
        let stopped = Stopped { done: 0, ..stopped };
        assert!(!in_words(&stopped, &[], &[]).contains("Done, and"));
    }
}
