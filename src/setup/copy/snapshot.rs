//! One moment of the source, and its position in the binary log.

use std::time::{Duration, Instant};

use super::definitions::{Definitions, Reading};
use super::quoting::qualified;
use super::session::{CopyError, Session, text};
use crate::administration::Endpoint;
use crate::wire::Flavour;

/// MySQL: how often the server is asked to hold still, for how long each time (writers wait behind
/// the question), and how long writers are then left alone.
const TRIES: u32 = 20;
const HOLD: u32 = 3;
const PAUSE: Duration = Duration::from_secs(5);

/// ER_LOCK_WAIT_TIMEOUT.
const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// A transaction that sees one moment.
#[derive(Debug)]
pub struct Snapshot {
    pub session: Session,
    /// What was executed at that moment, by GTID.
    pub position: String,
    /// Holds the tables that the transaction does not, if there are such.
    pub locks: Option<Locks>,
}

/// Tables that nobody may write, and the connection that alone reads them: others' reads would
/// come behind the writes that wait.
#[derive(Debug)]
pub struct Locks {
    pub session: Session,
    since: Instant,
}

impl Locks {
    /// Gives the tables free; how long they were held.
    pub async fn release(self) -> Duration {
        self.session.close().await;
        self.since.elapsed()
    }
}

impl Snapshot {
    pub async fn take(source: &Endpoint, definitions: &Definitions) -> Result<Self, CopyError> {
        let mut session = Session::reading(source).await?;
        let tables = lockable(definitions);
        match session.version.flavour {
            Flavour::MariaDb => {
                let locks = lock(source, &tables).await?;
                let position = begin_mariadb(&mut session).await?;
                Ok(Snapshot { session, position, locks })
            }
            Flavour::MySql => {
                let mut holder = Session::reading(source).await?;
                hold_still(&mut holder).await?;
                let locks = lock(source, &tables).await?;
                begin(&mut session).await?;
                let position = holder.value(MOMENT, "SELECT @@GLOBAL.gtid_executed").await?;
                holder.run(MOMENT, "UNLOCK TABLES").await?;
                holder.close().await;
                let position = position.replace('\n', "");
                Ok(Snapshot { session, position, locks })
            }
        }
    }
}

/// What errors say that their statement was about.
const MOMENT: &str = "a consistent snapshot";

fn lockable(definitions: &Definitions) -> Vec<String> {
    let tables = definitions.tables().filter(|(_, table)| table.reading() == Reading::Locked);
    tables.map(|(schema, table)| qualified(&schema.name, &table.name)).collect()
}

/// Has tables read only, by a connection of their own: LOCK TABLES would end the transaction, and
/// bars its connection from all other tables.
async fn lock(source: &Endpoint, tables: &[String]) -> Result<Option<Locks>, CopyError> {
    if tables.is_empty() {
        return Ok(None);
    }
    let mut session = Session::reading(source).await?;
    let sql = format!("LOCK TABLES {} READ", tables.join(" READ, "));
    session.run("tables without transactions", &sql).await?;
    Ok(Some(Locks { session, since: Instant::now() }))
}

async fn begin(session: &mut Session) -> Result<(), CopyError> {
    session.run(MOMENT, "START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
    Ok(())
}

/// MariaDB takes the snapshot between two commits of its binary log and tells where.
async fn begin_mariadb(session: &mut Session) -> Result<String, CopyError> {
    begin(session).await?;
    let rows = session.run(MOMENT, "SHOW STATUS LIKE 'binlog_snapshot_%'").await?;
    let find = |wanted: &str| {
        let row = (0..rows.len()).find(|&row| {
            rows.str(row, "Variable_name").is_some_and(|name| name.eq_ignore_ascii_case(wanted))
        });
        row.map(|row| text(rows.get(row, "Value"))).filter(|value| !value.is_empty())
    };
    let places = find("binlog_snapshot_file").zip(find("binlog_snapshot_position"));
    let Some((file, place)) = places else {
        return Err(session.unfit("there is no binary log: start it with --log-bin"));
    };
    let file = crate::administration::statements::quoted(&file);
    session.value(MOMENT, &format!("SELECT BINLOG_GTID_POS({file}, {place})")).await
}

/// Locks all of MySQL against commits. What runs for long keeps the lock away, and writers wait
/// behind the attempt: so it is given up soon, and tried again.
async fn hold_still(session: &mut Session) -> Result<(), CopyError> {
    session.run(MOMENT, &format!("SET SESSION lock_wait_timeout = {HOLD}")).await?;
    for attempt in 1..=TRIES {
        match session.run(MOMENT, "FLUSH TABLES WITH READ LOCK").await {
            Ok(_) => return Ok(()),
            Err(error) if error.code() == Some(LOCK_WAIT_TIMEOUT) && attempt < TRIES => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
    Err(session
        .unfit("statements run for so long that the server cannot be held still for a moment"))
}
