//! What SHOW WARNINGS and SHOW ERRORS list on a connection.

use std::time::Duration;

use super::{Connection, PrivateError, number};
use crate::session::outcome::Report;
use crate::wire::amend::{diagnostic, text_rows};

/// A condition that nothing else leaves.
const MARK: (u16, &str) = (1642, "rwproxy: has the next statement cleared this?");

impl Connection {
    /// Notes whether a statement has `left` warnings or errors, and whether it has surely cleared
    /// those that were there.
    pub fn note_diagnostics(&mut self, left: bool, cleared: bool) {
        self.has_diagnostics = left || (self.has_diagnostics && !cleared);
    }

    /// True when SHOW WARNINGS may list something here.
    pub fn has_diagnostics(&self) -> bool {
        self.has_diagnostics
    }

    /// Makes SHOW WARNINGS list nothing. After an error the connection must be closed.
    pub async fn clear_diagnostics(&mut self, deadline: Duration) -> Result<(), PrivateError> {
        // MariaDB clears them with statements that use a table.
        self.statement("DO (SELECT 1 FROM (SELECT 1) AS one)", deadline).await?;
        self.has_diagnostics = false;
        Ok(())
    }

    /// Makes SHOW WARNINGS list one condition by which [`marked`] is told whether the next statement
    /// has cleared it. After an error other than a refusal the connection must be closed.
    pub async fn mark_diagnostics(&mut self, deadline: Duration) -> Result<(), PrivateError> {
        let (code, message) = MARK;
        self.has_diagnostics = true;
        let signal =
            format!("SIGNAL SQLSTATE '01000' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = '{message}'");
        self.statement(&signal, deadline).await
    }

    /// The warnings and errors of the last statement, as the server shows them. After an error the
    /// connection must be closed.
    pub async fn capture(&mut self, deadline: Duration) -> Result<Report, PrivateError> {
        let warnings = self.rows("SHOW WARNINGS", deadline).await?;
        let errors = self.rows("SHOW ERRORS", deadline).await?;
        // This one clears them.
        let [warning_count, error_count] =
            self.ask("SELECT @@warning_count, @@error_count", deadline).await?;
        Ok(Report {
            warnings: text_rows(&warnings, self.capabilities)?.into(),
            errors: text_rows(&errors, self.capabilities)?.into(),
            warning_count: number(&warning_count)?,
            error_count: number(&error_count)?,
        })
    }
}

/// Whether this is what [`Connection::mark_diagnostics`] has left, and nothing else.
pub fn marked(report: &Report) -> bool {
    let (code, message) = MARK;
    *report.warnings == [diagnostic("Warning", code, message.as_bytes())]
}
