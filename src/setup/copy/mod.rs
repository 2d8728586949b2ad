//! Copies everything that one server holds to a bare one, over SQL alone and while the first is
//! written: schemas, rows, sequences, views, routines, triggers, events, accounts with their grants
//! and roles; and puts the copy at the position that it has, so that replication goes on from there.
//!
//! | part | what it does |
//! |---|---|
//! | `session` | one connection, and what fails on it |
//! | `definitions` | what there is to copy: statements that make it, as the server prints them |
//! | `columns` | how a value is read and written again without loss, by its column's type (pure) |
//! | `insert` | INSERT statements out of the rows as they come (pure) |
//! | `snapshot` | one moment of the source, and its position |
//! | `quoting` | names and texts in statements (pure) |
//! | `rows` | from one server to the other, a bounded piece at a time |
//! | `objects` | views, routines, triggers, events, as they were made |
//! | `accounts` | accounts, roles, grants |
//! | `target` | whether the target may be written, and what is said to it at the end |
//!
//! **Consistency.** All rows are read in one transaction with a consistent snapshot whose position
//! in the binary log is known: MariaDB tells it for a snapshot; MySQL is locked for an instant. What
//! has no transactions (MyISAM, Aria …) is locked against writes from that moment until it is read,
//! first of all, and the answer says so. Definitions are read before the snapshot and after it: if
//! they differ, a new snapshot is taken. A table that is altered later, before it is read, ends the
//! copy with the server's own error.
//!
//! **Tables are streamed, not read in chunks by key.** A chunk's bounds are compared by collations,
//! index orders of ENUM, inexact numbers; a row lost in between would be lost for good. A stream
//! read in one transaction has no bounds, holds no more memory, and can be paced as well.
//!
//! **Unfinished copies.** The target's first change is a schema named [`UNFINISHED`], the last one
//! its removal. While it is there all else on that server is what an interrupted copy has left:
//! nothing takes it for data, and the next copy removes it and begins anew.

mod accounts;
mod columns;
mod definitions;
mod insert;
mod objects;
mod progress;
mod quoting;
mod rows;
mod session;
mod snapshot;
mod target;

use tokio::sync::watch;

use crate::administration::Endpoint;

pub use crate::facts::UNFINISHED;
pub use progress::Progress;
pub use session::CopyError;

use definitions::{Definitions, Reading};
use session::Session;
use snapshot::Snapshot;

/// What may be asked of a copy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// What the target holds is removed. Otherwise a target with data is refused.
    pub overwrite: bool,
    /// No more than so many bytes of rows a second are read, on average.
    pub bytes_per_second: Option<u64>,
}

/// A copy that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// What the target has executed, by GTID, as its flavour writes it.
    pub position: String,
    pub tables: u64,
    pub rows: u64,
    /// Of the rows as the server sent them.
    pub bytes: u64,
    /// What somebody should know: tables that were locked, grants that could not be given …
    pub notes: Vec<String>,
}

/// Definitions that change each time that they are read are given up on after so many.
const SNAPSHOTS: usize = 5;

/// Copies `source` to `target`, both by accounts that may do anything there. The target must be of the same flavour, must not replicate, and is
/// written without its binary log. `progress` is told as it goes.
///
/// # Errors
/// Says what failed, on which server, for which table or account, and by which statement. The target
/// is then marked as unfinished (see [`UNFINISHED`]) unless nothing was changed there. Dropping the
/// future is no different.
pub async fn copy(
    source: &Endpoint,
    target: &Endpoint,
    options: Options,
    progress: &watch::Sender<Progress>,
) -> Result<Copied, CopyError> {
    let mut catalog = Session::reading(source).await?;
    let mut destination = Session::writing(target).await?;
    target::refuse_unlike(&mut catalog, &mut destination).await?;
    target::clear(&mut destination, options.overwrite).await?;

    let mut notes = Vec::new();
    let (definitions, mut snapshot) = consistent(source, &mut catalog).await?;
    notes.extend(definitions.notes());
    progress.send_modify(|progress| progress.expect(&definitions));
    accounts::create(&definitions.accounts, &mut destination).await?;
    definitions.create_tables(&mut destination).await?;

    let mut pump = rows::Pump { target, options, progress };
    if let Some(mut locks) = snapshot.locks.take() {
        let locked = pump.tables(&definitions, Reading::Locked, &mut locks.session).await?;
        notes.push(format!(
            "{} could not be written for {:.1?} while they were copied: their engines know no \
             transactions",
            locked.join(", "),
            locks.release().await
        ));
    }
    pump.tables(&definitions, Reading::Snapshot, &mut snapshot.session).await?;
    definitions.set_sequences(&mut snapshot.session, &mut destination, &mut notes).await?;
    objects::create(&definitions, &mut catalog, &mut destination, &mut notes).await?;
    accounts::grant(&definitions.accounts, &mut destination, &mut notes).await?;
    target::finish(&mut destination, &snapshot.position).await?;
    progress.send_modify(|progress| progress.doing = None);
    let done = progress.borrow().clone();
    for session in [catalog, destination, snapshot.session] {
        session.close().await;
    }
    Ok(Copied {
        position: snapshot.position,
        tables: done.tables_done,
        rows: done.rows_done,
        bytes: done.bytes_done,
        notes,
    })
}

/// Definitions, and a snapshot of what they define.
async fn consistent(
    source: &Endpoint,
    catalog: &mut Session,
) -> Result<(Definitions, Snapshot), CopyError> {
    let mut before = Definitions::read(catalog).await?;
    for _ in 0..SNAPSHOTS {
        let snapshot = Snapshot::take(source, &before).await?;
        let after = Definitions::read(catalog).await?;
        if after == before {
            return Ok((after, snapshot));
        }
        before = after;
    }
    Err(CopyError::Changing { server: source.name.clone() })
}
