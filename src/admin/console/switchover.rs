//! `SWITCHOVER TO`: done, and answered with its steps.

use std::time::Duration;

use opensrv_mysql::ErrorKind;

use super::answer::Answer;
use crate::admin::Admin;
use crate::admin::table::{Cell, Table, number, text};
use crate::switchover::Report;
use crate::switchover::report::Outcome;

/// Runs a switchover to its end.
pub async fn run(admin: &Admin, target: &str, force: bool) -> Answer {
    let report = match admin.switchover.run(target, force).await {
        Ok(report) => report,
        Err(refused) => return failed(format!("nothing was changed: {refused}")),
    };
    match &report.outcome {
        Outcome::Done { .. } => Answer::Table(report_table(&report)),
        Outcome::Undone { reason } => failed(format!("everything is as before: {reason}")),
        Outcome::Stuck { reason } => failed(format!("this needs you: {reason}")),
    }
}

fn failed(message: String) -> Answer {
    Answer::Error(ErrorKind::ER_UNKNOWN_ERROR, message)
}

/// The steps, and how long writes have waited.
fn report_table(report: &Report) -> Table {
    let milliseconds = |took: Duration| Cell::from(took.as_millis() as u64);
    let mut rows: Vec<Vec<Cell>> = report
        .steps
        .iter()
        .map(|step| {
            let server = step.server.as_deref().map_or(Cell::Null, Cell::from);
            let problem = step.problem.as_deref().map_or(Cell::Null, Cell::from);
            vec![server, step.action.as_str().into(), milliseconds(step.took), problem]
        })
        .collect();
    if let Outcome::Done { pause } = report.outcome {
        rows.push(vec![Cell::Null, "writes have waited".into(), milliseconds(pause), Cell::Null]);
    }
    let columns = [text("server"), text("step"), number("milliseconds"), text("problem")];
    Table::new(&columns, rows.into_iter())
}
