//! The file that keeps a checkpoint, for an audit that was cut off to go on from.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use crate::facts::State;

/// Between two writes.
const RHYTHM: Duration = Duration::from_secs(1);
/// Of what the file holds; another number is another program's.
const FORMAT: u32 = 1;

/// Which server it is, across restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub name: String,
    /// MySQL's `server_uuid`, and where there is none `server_id`.
    pub id: String,
}

impl Identity {
    pub fn of(state: &State) -> Self {
        let id = match &state.uuid {
            Some(uuid) => uuid.to_string(),
            None => format!("server_id {}", state.server_id()),
        };
        Identity { name: state.name.to_string(), id }
    }
}

/// What an audit compares. Only the same can be gone on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    pub cluster: String,
    pub primary: Identity,
    pub replicas: Vec<Identity>,
    /// Schemas and tables that were asked for; empty: all.
    pub only: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: u32,
    /// When the audit was begun, as RFC 3339.
    begun: String,
    subject: Subject,
    audit: Checkpoint,
}

#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error(
        "{}: this is no audit that was cut off ({problem}); name another file, or remove it to begin \
         anew",
        path.display()
    )]
    Unreadable { path: PathBuf, problem: String },
    #[error("{}: {difference}; remove it to begin anew", path.display())]
    Other { path: PathBuf, difference: String },
}

/// Keeps the checkpoints of one audit.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    begun: String,
    subject: Subject,
    written: Option<Instant>,
}

impl Keeper {
    /// Reads what an earlier audit of this subject has left, if there is a file, and makes sure
    /// that it can be written.
    ///
    /// # Errors
    /// The file cannot be read or written, or belongs to something else; it is then as it was.
    pub fn open(path: &Path, subject: Subject) -> Result<(Self, Checkpoint), KeepError> {
        let failed = |error| KeepError::File { path: path.to_owned(), error };
        let (begun, checkpoint) = match fs::read(path) {
            Ok(text) => resumed(&text, &subject, path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let now = humantime::format_rfc3339_seconds(SystemTime::now());
                (now.to_string(), Checkpoint::default())
            }
            Err(error) => return Err(failed(error)),
        };
        let mut keeper = Keeper { path: path.to_owned(), begun, subject, written: None };
        keeper.keep(&checkpoint).map_err(failed)?;
        Ok((keeper, checkpoint))
    }

    /// When the audit was begun.
    pub fn begun(&self) -> &str {
        &self.begun
    }

    /// Keeps this unless the last one is kept for less than a second.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    pub fn pass(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        match self.written {
            Some(written) if written.elapsed() < RHYTHM => Ok(()),
            _ => self.keep(checkpoint),
        }
    }

    /// Keeps this, in place of what was kept: whoever reads finds one of the two as a whole. Keys
    /// are data, so the file is for its owner alone.
    ///
    /// # Errors
    /// It cannot be written; what was kept before still is.
    pub fn keep(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        // Also after a failure, which is told once a second then.
        self.written = Some(Instant::now());
        let kept = Kept {
            format: FORMAT,
            begun: self.begun.clone(),
            subject: self.subject.clone(),
            audit: checkpoint.clone(),
        };
        let text = serde_json::to_vec_pretty(&kept)?;
        let new = beside(&self.path);
        write(&new, &text).and_then(|()| fs::rename(&new, &self.path)).inspect_err(|_| {
            // Half of a file is of no use; that it stays harms nobody.
            let _ = fs::remove_file(&new);
        })
    }

    /// The audit has come to its end.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = File::options();
    // New: nobody else has it open, or has put a link there.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn resumed(text: &[u8], subject: &Subject, path: &Path) -> Result<(String, Checkpoint), KeepError> {
    let unreadable = |problem| KeepError::Unreadable { path: path.to_owned(), problem };
    let kept: Kept = serde_json::from_slice(text).map_err(|error| unreadable(error.to_string()))?;
    if kept.format != FORMAT {
        return Err(unreadable(format!("its format is {}, and not {FORMAT}", kept.format)));
    }
    match difference(&kept.subject, subject) {
        Some(difference) => Err(KeepError::Other { path: path.to_owned(), difference }),
        None => Ok((kept.begun, kept.audit)),
    }
}

/// Why one cannot be gone on with as the other.
fn difference(kept: &Subject, now: &Subject) -> Option<String> {
    let named = |it: &Identity| format!("{} ({})", it.name, it.id);
    let all = |of: &[Identity]| of.iter().map(named).collect::<Vec<_>>().join(", ");
    let asked = |of: &[String]| match of {
        [] => "(all)".to_owned(),
        some => some.join(", "),
    };
    let told = |what: &str, then: String, now: String| {
        Some(format!("this audit was begun with {what} {then}, and now it is {now}"))
    };
    if kept.cluster != now.cluster {
        return told("the cluster", kept.cluster.clone(), now.cluster.clone());
    }
    if kept.primary != now.primary {
        return told("the primary", named(&kept.primary), named(&now.primary));
    }
    if kept.replicas != now.replicas {
        return told("the replicas", all(&kept.replicas), all(&now.replicas));
    }
    if kept.only != now.only {
        return told("the tables", asked(&kept.only), asked(&now.only));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::audit::checkpoint::Current;

    fn identity(name: &str, id: &str) -> Identity {
        Identity { name: name.to_owned(), id: id.to_owned() }
    }

    fn subject() -> Subject {
        Subject {
            cluster: "default".to_owned(),
            primary: identity("a", "1"),
            replicas: vec![identity("b", "2")],
            only: Vec::new(),
        }
    }

    fn half() -> Checkpoint {
        Checkpoint {
            tables: 2,
            done: vec![("s".to_owned(), "t".to_owned())],
            current: Some(Current {
                schema: "s".to_owned(),
                table: "u".to_owned(),
                after: vec!["7".to_owned()],
            }),
            rows: 10,
            ..Checkpoint::default()
        }
    }

    #[test]
    fn what_was_kept_is_found_again_and_goes_at_the_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.json");
        let (mut keeper, begun) = Keeper::open(&path, subject()).expect("a new file");
        assert_eq!(begun, Checkpoint::default());
        assert!(path.exists(), "that it can be written is tried at once");
        keeper.pass(&half()).expect("nothing is written");
        let (_, kept) = Keeper::open(&path, subject()).expect("the file");
        assert_eq!(kept, Checkpoint::default(), "a second has not passed");
        keeper.keep(&half()).expect("it is written");
        let (again, kept) = Keeper::open(&path, subject()).expect("the file");
        assert_eq!((kept, again.begun()), (half(), keeper.begun()));
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().expect("a file"));
            assert_eq!(mode & 0o777, 0o600);
        }
        again.remove().expect("it goes");
        let left = fs::read_dir(directory.path()).expect("the directory").count();
        assert_eq!(left, 0, "nothing else was made");
    }

    #[test]
    fn it_is_written_again_a_second_later() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.json");
        let (mut keeper, _) = Keeper::open(&path, subject()).expect("a new file");
        keeper.written = Instant::now().checked_sub(RHYTHM);
        keeper.pass(&half()).expect("it is written");
        assert_eq!(Keeper::open(&path, subject()).expect("the file").1, half());
    }

    #[test]
    fn what_belongs_to_others_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.json");
        let (mut keeper, _) = Keeper::open(&path, subject()).expect("a new file");
        keeper.keep(&half()).expect("it is written");
        let before = fs::read(&path).expect("a file");
        let others = [
            (Subject { cluster: "other".to_owned(), ..subject() }, "the cluster default"),
            (Subject { primary: identity("a", "3"), ..subject() }, "the primary a (1)"),
            (Subject { replicas: Vec::new(), ..subject() }, "the replicas b (2)"),
            (Subject { only: vec!["s".to_owned()], ..subject() }, "the tables (all)"),
        ];
        for (other, said) in others {
            let refused = Keeper::open(&path, other).expect_err("it is another's").to_string();
            assert!(refused.contains(said) && refused.contains("remove it"), "{refused}");
        }
        assert_eq!(fs::read(&path).expect("a file"), before);
        for text in ["", "{}", "[]", "no JSON", "{\"format\":2}"] {
            fs::write(&path, text).expect("a file");
            let refused = Keeper::open(&path, subject()).expect_err("no audit").to_string();
            assert!(refused.contains("this is no audit"), "{refused}");
            assert_eq!(fs::read(&path).expect("a file"), text.as_bytes());
        }
        let nowhere = directory.path().join("no/such/directory");
        Keeper::open(&nowhere, subject()).expect_err("it cannot be written");
    }
}
