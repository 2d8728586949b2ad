//! Rows from one server to the other, a bounded piece at a time: one task reads and makes
//! statements, one sends them.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Options;
use super::definitions::{Definitions, Reading, Schema, Table};
use super::insert::{Insert, Piece};
use super::progress::Progress;
use super::quoting::qualified;
use super::session::{CopyError, Session, text};
use super::target::{self, LIMIT};
use crate::administration::Endpoint;
use crate::backend::sql_client::Done;

/// Pieces that wait to be sent.
const PIECES: usize = 4;
/// How long a server may be silent in the middle of rows, or work on one statement of them.
const PATIENCE: Duration = Duration::from_secs(600);
/// WARN_DATA_TRUNCATED.
const TRUNCATED: u16 = 1265;
/// What the target's connection may send in one statement, bytes: as much as any server allows.
const MAX_ALLOWED_PACKET: &str = "1073741824";

#[derive(Debug)]
pub struct Pump<'a> {
    pub target: &'a Endpoint,
    pub options: Options,
    pub progress: &'a watch::Sender<Progress>,
}

impl Pump<'_> {
    /// Copies the rows of the tables that are read so, by `session`; their names.
    pub async fn tables(
        &mut self,
        definitions: &Definitions,
        reading: Reading,
        session: &mut Session,
    ) -> Result<Vec<String>, CopyError> {
        let mut writer = self.writer().await?;
        let mut copied = Vec::new();
        for (schema, table) in definitions.tables().filter(|(_, t)| t.reading() == reading) {
            let about = format!("{}.{}", schema.name, table.name);
            self.progress.send_modify(|p| p.begin(about.clone(), table.rows, table.bytes));
            // The transaction gives the table free for those who want to alter it.
            let free = reading == Reading::Snapshot;
            if free {
                session.run(&about, "SAVEPOINT rwproxy_table").await?;
            }
            self.table(&about, schema, table, session, &mut writer).await?;
            if free {
                session.run(&about, "ROLLBACK TO SAVEPOINT rwproxy_table").await?;
            }
            copied.push(about);
            self.progress.send_modify(Progress::end);
        }
        writer.close().await;
        Ok(copied)
    }

    /// A connection that sends statements of any length. A connection has the limit that was
    /// global when it was made, and who cannot change that keeps what there is. The copy may be cut
    /// off while it is changed: what it was before is therefore written down until it is so again.
    async fn writer(&self) -> Result<Session, CopyError> {
        let mut first = Session::writing(self.target).await?;
        let before = target::keep_limit(&mut first).await?;
        let set = |limit: &str| format!("SET GLOBAL {LIMIT} = {limit}");
        let writer = match first.run(LIMIT, &set(MAX_ALLOWED_PACKET)).await {
            Ok(_) => {
                let writer = Session::writing(self.target).await;
                first.run(LIMIT, &set(&before)).await?;
                Some(writer?)
            }
            Err(_) => None,
        };
        target::forget_limit(&mut first).await?;
        match writer {
            Some(writer) => {
                first.close().await;
                Ok(writer)
            }
            None => Ok(first),
        }
    }

    async fn table(
        &self,
        about: &str,
        schema: &Schema,
        table: &Table,
        source: &mut Session,
        writer: &mut Session,
    ) -> Result<(), CopyError> {
        let insert = Insert::new(&schema.name, &table.name, &table.columns);
        let shown = insert.shown().to_owned();
        let (sender, receiver) = mpsc::channel(PIECES);
        let reading = self.read(about, select(schema, table), source, insert, sender);
        let writing = self.write(about, &shown, table, writer, receiver);
        tokio::try_join!(reading, writing)?;
        Ok(())
    }

    async fn read(
        &self,
        about: &str,
        select: String,
        source: &mut Session,
        mut insert: Insert,
        sender: mpsc::Sender<Piece>,
    ) -> Result<(), CopyError> {
        let server = source.server.clone();
        let failed = |cause| CopyError::Failed {
            server: server.clone(),
            about: about.to_owned(),
            statement: select.clone(),
            cause,
        };
        let began = Instant::now();
        let mut total = 0;
        let mut rows = source.client.stream(&select, PATIENCE).await.map_err(failed)?;
        loop {
            let goes_on = rows.advance(|item| insert.take(item)).await.map_err(failed)?;
            if !goes_on {
                insert.finish();
            }
            let (pieces, read) = insert.take_ready();
            total += read;
            self.progress.send_if_modified(|progress| {
                progress.add(0, read);
                !pieces.is_empty()
            });
            for piece in pieces {
                if sender.send(piece).await.is_err() {
                    // The other task says why.
                    return Ok(());
                }
            }
            if !goes_on {
                return Ok(());
            }
            if let Some(limit) = self.options.bytes_per_second {
                tokio::time::sleep_until(began + due(total, limit)).await;
            }
        }
    }

    async fn write(
        &self,
        about: &str,
        shown: &str,
        table: &Table,
        writer: &mut Session,
        mut receiver: mpsc::Receiver<Piece>,
    ) -> Result<(), CopyError> {
        while let Some(first) = receiver.recv().await {
            let (done, rows) = match send(writer, first, &mut receiver).await {
                Ok(Some(sent)) => sent,
                // The other task says why.
                Ok(None) => return Ok(()),
                Err(cause) => return Err(writer.failed(about, shown, cause)),
            };
            let server = writer.server.clone();
            let lossy = |problem| CopyError::Lossy { server, about: about.to_owned(), problem };
            if done.affected_rows != rows {
                return Err(lossy(format!("{} of {rows} rows were taken", done.affected_rows)));
            }
            self.progress.send_modify(|progress| progress.add(rows, 0));
            if done.warnings > 0
                && let Some(warning) = worst_warning(writer, about, table).await?
            {
                return Err(lossy(warning));
            }
        }
        Ok(())
    }
}

/// When so many bytes may have been read, counted from the beginning.
fn due(bytes: u64, per_second: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / per_second.max(1) as f64)
}

/// Sends the statement that begins with `piece`; `None` when its end does not come.
async fn send(
    writer: &mut Session,
    mut piece: Piece,
    receiver: &mut mpsc::Receiver<Piece>,
) -> Result<Option<(Done, u64)>, crate::backend::sql_client::QueryError> {
    let mut statement = writer.client.begin()?;
    loop {
        let deadline = Instant::now() + PATIENCE;
        statement.write(&piece.text, deadline).await?;
        if let Some(rows) = piece.ends {
            return Ok(Some((statement.finish(deadline).await?, rows)));
        }
        match receiver.recv().await {
            Some(next) => piece = next,
            None => return Ok(None),
        }
    }
}

fn select(schema: &Schema, table: &Table) -> String {
    let columns: Vec<String> =
        table.columns.iter().map(|column| column.form.read(&column.name)).collect();
    let columns = if columns.is_empty() { "1".to_owned() } else { columns.join(",") };
    let history = if table.has_history { " FOR SYSTEM_TIME ALL" } else { "" };
    format!("SELECT {columns} FROM {}{history}", qualified(&schema.name, &table.name))
}

/// A warning by which a value is not what it was. An ENUM's invalid value warns and is taken.
async fn worst_warning(
    writer: &mut Session,
    about: &str,
    table: &Table,
) -> Result<Option<String>, CopyError> {
    let warnings = writer.run(about, "SHOW WARNINGS").await?;
    let harmless = |row: usize| {
        let message = text(warnings.get(row, "Message"));
        warnings.u64(row, "Code") == Some(u64::from(TRUNCATED))
            && table.columns.iter().any(|column| {
                column.form == super::columns::Form::Numbered
                    && message.contains(&format!("'{}'", column.name))
            })
    };
    let worst = (0..warnings.len()).find(|&row| !harmless(row));
    Ok(worst.map(|row| text(warnings.get(row, "Message"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept() {
        assert_eq!(due(5_000_000, 1_000_000), Duration::from_secs(5));
        assert_eq!(due(0, 0), Duration::ZERO);
    }
}
