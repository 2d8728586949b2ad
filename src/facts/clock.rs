//! A server's clock, and how soon it has what the primary has.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::read::ask;
use super::state::Gtids;
use crate::administration::Server;

/// How a server's clock differs from this host's; milliseconds, positive when it is ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    pub ahead: i64,
    /// It may be so much more or less: the time that the question has taken.
    pub uncertainty: i64,
}

/// How long a replica takes to have what the primary had when the question was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    Within(Duration),
    /// It was not waited for any longer.
    Beyond(Duration),
}

pub async fn skew(server: &mut Server) -> Result<Option<Skew>, String> {
    let before = now();
    let answer = server.value("SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000 AS SIGNED)").await?;
    let after = now();
    let theirs: Option<i64> = answer.and_then(|text| text.parse().ok());
    let middle = before + (after - before) / 2;
    Ok(theirs
        .map(|theirs| Skew { ahead: theirs - middle, uncertainty: (after - before).abs() / 2 + 1 }))
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(i64::MAX)
}

/// Waits until a replica has these transactions of its primary.
pub async fn lag(server: &mut Server, primary: &Gtids, longest: Duration) -> Result<Lag, String> {
    let seconds = longest.as_secs_f64();
    let sql = match primary {
        Gtids::MySql { executed, .. } => {
            format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', {seconds:.3}) AS missed")
        }
        Gtids::MariaDb { logged, .. } => {
            format!("SELECT MASTER_GTID_WAIT('{logged}', {seconds:.3}) AS missed")
        }
    };
    let began = Instant::now();
    let rows = ask(server, &sql).await?;
    Ok(match rows.str(0, "missed") {
        Some("0") => Lag::Within(began.elapsed()),
        _ => Lag::Beyond(longest),
    })
}
