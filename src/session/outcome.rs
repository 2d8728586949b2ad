//! What a client may ask about the statement before: how many rows it had or changed, and its
//! warnings and errors. The servers keep it with the connection; a session that changes
//! connections must know it, or keep the one that does.
//!
//! What statements do to it was tried on MySQL 9.7 and MariaDB 10.11, statement by statement.

use std::sync::Arc;

use crate::wire::Flavour;
use crate::wire::amend::{TextRow, diagnostic};
use crate::wire::reply::ServerError;

/// How a reply ended, apart from its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// It had no OK and no rows.
    #[default]
    Neither,
    Ok {
        affected: u64,
    },
    Rows {
        count: u64,
    },
    /// Rows that stand for the OKs of a bulk execution's units.
    Units,
}

/// What a command does to the outcome of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    /// It runs or prepares a statement: the count of its warnings is the last one.
    pub is_statement: bool,
    pub found_rows: FoundRowsAfter,
    pub diagnostics: DiagnosticsAfter,
    /// ROW_COUNT() stays as it was where the table that it is about does not exist.
    pub row_count_outlives_no_table: bool,
}

/// ER_NO_SUCH_TABLE.
const NO_SUCH_TABLE: u16 = 1146;

fn is_no_such_table(error: Option<&ServerError>) -> bool {
    error.is_some_and(|error| error.code == NO_SUCH_TABLE)
}

impl After {
    /// Of a command that nobody has looked at.
    pub const UNKNOWN: After = After {
        is_statement: false,
        found_rows: FoundRowsAfter::Unknown,
        diagnostics: DiagnosticsAfter::Kept,
        row_count_outlives_no_table: false,
    };
}

/// What a command does to the warnings and errors that the one before has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiagnosticsAfter {
    /// It leaves them alone, unless it has some of its own: those take their place.
    Kept,
    /// They are gone.
    Replaced,
    /// Its own stand behind them; one of them may be a warning that its reply does not count.
    Added { unsaid: Option<Warning> },
    /// It runs what nobody has looked at, which may leave them alone or clear them.
    Unknown,
}

impl DiagnosticsAfter {
    /// Of code that nobody has looked at. MySQL clears them with whatever runs it.
    pub fn of_unseen_code(flavour: Flavour) -> Self {
        match flavour {
            Flavour::MySql => DiagnosticsAfter::Replaced,
            Flavour::MariaDb => DiagnosticsAfter::Unknown,
        }
    }

    /// Of a command that is no statement, or is refused before it becomes one.
    pub fn beside_statements(flavour: Flavour, unsaid: Option<Warning>) -> Self {
        match flavour {
            Flavour::MySql => DiagnosticsAfter::Added { unsaid },
            Flavour::MariaDb => DiagnosticsAfter::Kept,
        }
    }

    /// Whether those of the statement before may be asked for behind it.
    pub fn may_keep(self) -> bool {
        self != DiagnosticsAfter::Replaced
    }

    /// The warning that is there without a word of it in the reply.
    fn unsaid(self) -> Option<Warning> {
        match self {
            DiagnosticsAfter::Added { unsaid } => unsaid,
            _ => None,
        }
    }

    /// Whether a command of this kind has left something of its own.
    pub fn leaves(self, failed: bool, has_warnings: bool) -> bool {
        failed || has_warnings || self.unsaid().is_some()
    }
}

/// A server's warning whose text is always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warning {
    pub code: u16,
    pub message: &'static str,
}

/// What a successful statement does to FOUND_ROWS().
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundRowsAfter {
    Kept,
    /// It is the number of rows that were sent.
    Sent,
    /// The server counts more than it sends: SQL_CALC_FOUND_ROWS.
    Counted,
    Unknown,
}

/// What is known of FOUND_ROWS().
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundRows {
    Known(u64),
    /// The connection that ran the statement before knows it, and is kept for that.
    OnConnection,
    /// The connection that ran the statement before may know it.
    Unknown,
}

/// Where warnings and errors of an earlier statement are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diagnostics {
    /// There are none.
    None,
    /// On the connection that ran it, which is kept for that.
    OnConnection,
    /// That connection was given up and asked before, or the proxy refused the command by itself.
    Known(Arc<Report>),
}

/// What SHOW WARNINGS and SHOW ERRORS list, and how many there were: servers list only so many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub warnings: Arc<[TextRow]>,
    pub errors: Arc<[TextRow]>,
    pub warning_count: u64,
    pub error_count: u64,
}

impl Report {
    fn of_error(error: &ServerError) -> Self {
        let mut report = Report {
            warnings: Arc::default(),
            errors: Arc::default(),
            warning_count: 0,
            error_count: 0,
        };
        report.add_error(error);
        report
    }

    pub fn is_empty(&self) -> bool {
        self.warning_count == 0
    }

    fn add_error(&mut self, error: &ServerError) {
        let row = diagnostic("Error", error.code, &error.message);
        add(&mut self.warnings, &mut self.warning_count, &row);
        add(&mut self.errors, &mut self.error_count, &row);
    }

    fn add_warning(&mut self, warning: Warning) {
        let row = diagnostic("Warning", warning.code, warning.message.as_bytes());
        add(&mut self.warnings, &mut self.warning_count, &row);
    }
}

/// Adds a condition to a list of so many. One that is cut off stays as it is.
fn add(rows: &mut Arc<[TextRow]>, count: &mut u64, row: &TextRow) {
    if rows.len() as u64 == *count {
        *rows = rows.iter().chain([row]).cloned().collect();
    }
    *count += 1;
}

/// The outcome of a session's previous statement, so far as others may ask for it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What ROW_COUNT() gives; `None` when only the server knows.
    pub row_count: Option<i64>,
    pub found_rows: FoundRows,
    pub diagnostics: Diagnostics,
    /// How many warnings the last statement had; MySQL repeats it in the OKs of some commands.
    pub warnings: u16,
}

impl Default for Outcome {
    /// That of a login: its OK is one like any other.
    fn default() -> Self {
        Outcome {
            row_count: Some(0),
            found_rows: FoundRows::Unknown,
            diagnostics: Diagnostics::None,
            warnings: 0,
        }
    }
}

impl Outcome {
    /// True while the connection alone knows something that may be asked for next.
    pub fn is_on_connection(&self) -> bool {
        self.diagnostics == Diagnostics::OnConnection || self.found_rows == FoundRows::OnConnection
    }

    /// Warnings or errors that are known, and on no connection.
    pub fn reported_elsewhere(&self) -> Option<&Arc<Report>> {
        match &self.diagnostics {
            Diagnostics::Known(report) if !report.is_empty() => Some(report),
            _ => None,
        }
    }

    /// Takes over what a command has left: how its reply `ended`, or with which `error`, with how
    /// many `warnings`, and whether it `left` warnings or an error of its own.
    pub fn note(
        &mut self,
        after: After,
        ended: Ending,
        warnings: u16,
        error: Option<&ServerError>,
        left: bool,
    ) {
        let failed = error.is_some();
        match ended {
            _ if after.row_count_outlives_no_table && is_no_such_table(error) => {}
            _ if failed => self.row_count = Some(-1),
            Ending::Ok { affected } => self.row_count = i64::try_from(affected).ok(),
            Ending::Rows { .. } => self.row_count = Some(-1),
            // MariaDB 11.8 gives the count of all units for an INSERT, for others what not.
            Ending::Units => self.row_count = None,
            Ending::Neither => {}
        }
        self.found_rows = match (after.found_rows, ended) {
            (FoundRowsAfter::Kept, _) => self.found_rows,
            // What is refused counts nothing.
            (FoundRowsAfter::Sent, Ending::Neither) if failed => self.found_rows,
            (FoundRowsAfter::Sent, Ending::Rows { count }) if !failed => FoundRows::Known(count),
            (FoundRowsAfter::Counted, Ending::Rows { .. }) if !failed => FoundRows::OnConnection,
            _ => FoundRows::Unknown,
        };
        match (after.is_statement, failed) {
            (true, true) => self.warnings = 1,
            (true, false) => self.warnings = warnings,
            // Its error is one more.
            (false, true) => self.warnings = self.warnings.saturating_add(1),
            (false, false) => {}
        }
        match (after.diagnostics, &mut self.diagnostics) {
            // It ran on a connection that had none of those.
            (DiagnosticsAfter::Added { unsaid }, Diagnostics::Known(report))
                if failed || unsaid.is_some() =>
            {
                let report = Arc::make_mut(report);
                unsaid.into_iter().for_each(|warning| report.add_warning(warning));
                error.into_iter().for_each(|error| report.add_error(error));
            }
            (_, diagnostics) if left => *diagnostics = Diagnostics::OnConnection,
            (DiagnosticsAfter::Replaced, diagnostics) => *diagnostics = Diagnostics::None,
            // The connection may have some without a word, and is asked.
            (DiagnosticsAfter::Unknown, Diagnostics::Known(report)) if report.is_empty() => {
                self.diagnostics = Diagnostics::None;
            }
            _ => {}
        }
    }

    /// The proxy has refused a command by itself.
    pub fn refused(&mut self, error: &ServerError) {
        self.row_count = Some(-1);
        self.warnings = 1;
        self.diagnostics = Diagnostics::Known(Arc::new(Report::of_error(error)));
    }

    /// The proxy has refused a command that is no statement: its error is added to what the one
    /// before has left, as far as that is known.
    pub fn refused_besides(&mut self, error: &ServerError) {
        self.row_count = Some(-1);
        self.warnings = 1;
        match &mut self.diagnostics {
            Diagnostics::Known(report) => Arc::make_mut(report).add_error(error),
            none => *none = Diagnostics::Known(Arc::new(Report::of_error(error))),
        }
    }

    /// An OK of the proxy's own has been sent, for a command that leaves the list of warnings and
    /// errors alone, and counts its own or not.
    pub fn answered_ok(&mut self, is_statement: bool) {
        self.row_count = Some(0);
        if is_statement {
            self.warnings = 0;
        }
    }

    /// The connection that knew warnings and errors has been asked for them, which has changed what
    /// it gives for FOUND_ROWS().
    pub fn reported(&mut self, report: Report) {
        self.lost();
        self.diagnostics = Diagnostics::Known(Arc::new(report));
    }

    /// The connection that knew more is gone.
    pub fn lost(&mut self) {
        if self.diagnostics == Diagnostics::OnConnection {
            self.diagnostics = Diagnostics::None;
        }
        if self.found_rows == FoundRows::OnConnection {
            self.found_rows = FoundRows::Unknown;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> ServerError {
        ServerError::new(1146, b"42S02", "there is no such table")
    }

    /// Of a connection that was given up in between, the list is remembered.
    #[test]
    fn errors_add_up_to_those_that_are_known() {
        let mut outcome = Outcome::default();
        let mut listed = |diagnostics| {
            outcome.refused(&error());
            let after = After { diagnostics, ..After::UNKNOWN };
            outcome.note(after, Ending::Neither, 0, Some(&error()), true);
            match &outcome.diagnostics {
                Diagnostics::Known(report) => {
                    let Report { warnings, errors, warning_count, error_count } = &**report;
                    Some((warnings.len(), *warning_count, errors.len(), *error_count))
                }
                _ => None,
            }
        };
        let deprecated = Warning { code: 1287, message: "deprecated" };
        let added = |unsaid| DiagnosticsAfter::Added { unsaid };
        assert_eq!(listed(added(None)), Some((2, 2, 2, 2)));
        assert_eq!(listed(added(Some(deprecated))), Some((3, 3, 2, 2)));
        assert_eq!(listed(DiagnosticsAfter::Kept), None);
    }

    /// Code that nobody has looked at leaves what is known to who asks what it has done.
    #[test]
    fn code_unseen_leaves_what_is_known() {
        let mut outcome = Outcome::default();
        let after = |outcome: &mut Outcome| {
            let after = After { diagnostics: DiagnosticsAfter::Unknown, ..After::UNKNOWN };
            outcome.note(after, Ending::Ok { affected: 0 }, 0, None, false);
            outcome.diagnostics.clone()
        };
        assert_eq!(after(&mut outcome), Diagnostics::None);
        outcome.refused(&error());
        assert!(matches!(after(&mut outcome), Diagnostics::Known(_)));
        outcome.reported(Report {
            warnings: Arc::default(),
            errors: Arc::default(),
            warning_count: 0,
            error_count: 0,
        });
        assert_eq!(after(&mut outcome), Diagnostics::None);
    }

    #[test]
    fn a_statement_leaves_its_counts() {
        let mut outcome = Outcome::default();
        let error = error();
        let mut after = |ended, failed: bool, found_rows| {
            let after = After {
                is_statement: true,
                found_rows,
                diagnostics: DiagnosticsAfter::Replaced,
                ..After::UNKNOWN
            };
            outcome.note(after, ended, 0, failed.then_some(&error), false);
            (outcome.row_count, outcome.found_rows)
        };
        let known = FoundRows::Known;
        let rows = Ending::Rows { count: 5 };
        assert_eq!(after(rows, false, FoundRowsAfter::Sent), (Some(-1), known(5)));
        let ok = Ending::Ok { affected: 2 };
        assert_eq!(after(ok, false, FoundRowsAfter::Kept), (Some(2), known(5)));
        assert_eq!(after(Ending::Neither, false, FoundRowsAfter::Kept), (Some(2), known(5)));
        assert_eq!(after(Ending::Neither, true, FoundRowsAfter::Sent), (Some(-1), known(5)));
        let unknown = (None, FoundRows::Unknown);
        assert_eq!(after(Ending::Units, false, FoundRowsAfter::Unknown), unknown);
        assert_eq!(
            after(rows, false, FoundRowsAfter::Counted),
            (Some(-1), FoundRows::OnConnection)
        );
        outcome.lost();
        assert_eq!(outcome.found_rows, FoundRows::Unknown);
    }

    /// Tried on MySQL 9.7.
    #[test]
    fn errors_of_other_commands_are_added() {
        let mut outcome = Outcome::default();
        let error = error();
        let mut failed = |after| {
            outcome.note(after, Ending::Neither, 0, Some(&error), true);
            outcome.warnings
        };
        let statement = After { is_statement: true, ..After::UNKNOWN };
        assert_eq!(failed(After::UNKNOWN), 1);
        assert_eq!(failed(After::UNKNOWN), 2);
        assert_eq!(failed(statement), 1);
    }

    #[test]
    fn further_errors_are_added() {
        let error = |code| ServerError::new(code, b"HY000", "no");
        let known = |outcome: &Outcome| match &outcome.diagnostics {
            Diagnostics::Known(report) => {
                let Report { warnings, errors, warning_count, error_count } = &**report;
                (warnings.len(), errors.len(), *warning_count, *error_count)
            }
            other => panic!("{other:?}"),
        };
        let mut outcome = Outcome::default();
        outcome.refused_besides(&error(1243));
        assert_eq!((known(&outcome), outcome.warnings), ((1, 1, 1, 1), 1));
        outcome.refused_besides(&error(1421));
        assert_eq!((known(&outcome), outcome.warnings), ((2, 2, 2, 2), 1));
        // Of many warnings only some are listed.
        let row = diagnostic("Warning", 1365, b"Division by 0");
        let report = Report {
            warnings: [row].into(),
            errors: Arc::default(),
            warning_count: 70,
            error_count: 0,
        };
        outcome.diagnostics = Diagnostics::Known(Arc::new(report));
        outcome.refused_besides(&error(1243));
        assert_eq!(known(&outcome), (1, 1, 71, 1));
        outcome.refused(&error(1105));
        assert_eq!((known(&outcome), outcome.warnings), ((1, 1, 1, 1), 1));
    }

    #[test]
    fn diagnostics_stay_until_they_are_cleared() {
        let mut outcome = Outcome::default();
        let (kept, replaced) = (DiagnosticsAfter::Kept, DiagnosticsAfter::Replaced);
        let mut after = |left, diagnostics| {
            let after = After { diagnostics, ..After::UNKNOWN };
            outcome.note(after, Ending::Ok { affected: 0 }, 0, None, left);
            outcome.is_on_connection()
        };
        assert!(after(true, replaced));
        assert!(after(false, kept));
        assert!(after(false, DiagnosticsAfter::Unknown));
        assert!(!after(false, replaced));
        assert!(!after(false, kept));
    }
}
