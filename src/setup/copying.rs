//! Data over SQL, from the primary to a replica.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use super::Setup;
use super::copy;
use super::perform::{Event, Teller};
use super::progress::Progress;
use super::survey::Survey;
use crate::administration::Endpoint;

const LOOK: Duration = Duration::from_millis(500);

/// Copies all that the primary has. `loses`: what the replica has may go.
pub async fn copy(
    setup: &Setup,
    survey: &Survey,
    primary: &str,
    replica: &str,
    loses: bool,
    tell: Teller<'_>,
) -> Result<(), String> {
    let endpoint = |name: &str| {
        let known = survey.server(name).ok_or_else(|| format!("{name} is gone"))?;
        let address =
            known.standing.address().cloned().ok_or_else(|| format!("{name} does not run"))?;
        Ok::<Endpoint, String>(Endpoint {
            name: known.name.clone(),
            address,
            access: setup.access.clone(),
        })
    };
    let (source, target) = (endpoint(primary)?, endpoint(replica)?);
    let options = copy::Options { overwrite: loses, ..copy::Options::default() };
    let (sender, progress) = watch::channel(copy::Progress::default());
    let began = Instant::now();
    let copying = copy::copy(&source, &target, options, &sender);
    let telling = async {
        loop {
            sleep(LOOK).await;
            // A server that is silent might be waited for, one that cannot answer is not.
            if let Some(down) = [primary, replica].iter().find_map(|name| setup.down(name)) {
                return down.in_words();
            }
            let now = progress.borrow().clone();
            tell(Event::Progress(in_words(&now, began.elapsed())));
        }
    };
    let copied = tokio::select! {
        copied = copying => copied,
        down = telling => return Err(down),
    };
    let copied = copied.map_err(|error| error.to_string())?;
    for note in copied.notes {
        tell(Event::Note(format!("{replica}: {note}")));
    }
    Ok(())
}

fn in_words(progress: &copy::Progress, elapsed: Duration) -> String {
    // What is stored and what is sent differ: the rest is judged by what has come of it.
    let done = progress.bytes_done;
    let fraction = progress.fraction();
    let total = match fraction > 0.01 {
        true => (done as f64 / fraction) as u64,
        false => progress.bytes,
    };
    let words = Progress { done, total, elapsed }.in_words();
    match &progress.doing {
        Some(table) => format!("{words}; {table}"),
        None => words,
    }
}
