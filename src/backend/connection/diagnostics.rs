//! What SHOW WARNINGS and SHOW ERRORS list on a connection.

use std::time::Duration;

use super::{Connection, PrivateError, number};
use crate::session::outcome::Report;
use crate::wire::amend::{TextRow, diagnostic, text_rows};
use crate::wire::codec::Reader;
use crate::wire::reply::ServerError;

/// A condition that nothing else leaves: ER_SIGNAL_WARN, and its text.
const UNMISTAKABLE: (u16, &str) = (1642, "rwproxy: has the next statement cleared this?");
/// Of warnings that a SIGNAL leaves.
const WARNING: &[u8; 5] = b"01000";
/// Most bytes of a message in a SIGNAL.
const LONGEST: usize = 128;

/// One condition that a connection was made to list.
#[derive(Debug)]
pub struct Mark(TextRow);

impl Mark {
    /// Whether it is still there, and nothing else.
    pub fn is_all_of(&self, report: &Report) -> bool {
        matches!(&*report.warnings, [row] if *row == self.0)
    }
}

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

    /// Gives the connection an error that its session was told of without it: for SHOW WARNINGS and
    /// ROW_COUNT(). False where the error cannot be said so. After an error the connection must be
    /// closed.
    pub async fn take_over_error(
        &mut self,
        error: &ServerError,
        deadline: Duration,
    ) -> Result<bool, PrivateError> {
        if !can_be_said(error) {
            return Ok(false);
        }
        match self.statement(&signal(error), deadline).await {
            Err(PrivateError::Refused(refused)) => {
                self.has_diagnostics = true;
                Ok(refused.code == error.code)
            }
            other => other.map(|()| false),
        }
    }

    /// Makes SHOW WARNINGS list one condition, by which it shows afterwards whether a statement has
    /// cleared the list: the one that is `listed`, if it is alone and can be said by a SIGNAL. After
    /// an error other than a refusal the connection must be closed.
    pub async fn mark_diagnostics(
        &mut self,
        listed: &Report,
        deadline: Duration,
    ) -> Result<Mark, PrivateError> {
        let alone = match &*listed.warnings {
            [row] => warning_of(row).filter(can_be_said),
            _ => None,
        };
        let (code, message) = UNMISTAKABLE;
        let said = alone.unwrap_or_else(|| ServerError::new(code, WARNING, message));
        self.has_diagnostics = true;
        self.statement(&signal(&said), deadline).await?;
        Ok(Mark(diagnostic("Warning", said.code, &said.message)))
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

/// A listed condition as a warning.
fn warning_of(row: &TextRow) -> Option<ServerError> {
    let mut row = Reader::new(row);
    let (_level, code) = (row.lenenc_bytes().ok()?, row.lenenc_bytes().ok()?);
    let code = std::str::from_utf8(code).ok()?.parse().ok()?;
    Some(ServerError::new(code, WARNING, row.lenenc_bytes().ok()?))
}

/// Whether a SIGNAL can leave this condition: its text must be short enough, and the same under
/// every `sql_mode` and character set.
fn can_be_said(said: &ServerError) -> bool {
    let tame = |byte: &u8| (b' '..=b'~').contains(byte) && !matches!(byte, b'\'' | b'\\');
    said.message.len() <= LONGEST && said.message.iter().chain(&said.state).all(tame)
}

fn signal(said: &ServerError) -> String {
    let ServerError { code, state, message } = said;
    let (state, message) = (String::from_utf8_lossy(state), String::from_utf8_lossy(message));
    format!("SIGNAL SQLSTATE '{state}' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = '{message}'")
}
