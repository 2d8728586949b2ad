//! Notices that a file has changed.

use std::path::Path;
use std::time::SystemTime;

/// What of a file changes with its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    modified: SystemTime,
    length: u64,
}

impl Mark {
    /// `None` while there is no such file.
    pub fn of(path: &Path) -> Option<Mark> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Mark { modified: metadata.modified().ok()?, length: metadata.len() })
    }
}

/// A file that is looked at from time to time.
#[derive(Debug)]
pub struct Watched {
    /// When it was last read.
    read: Option<Mark>,
    /// At the last look.
    seen: Option<Mark>,
}

impl Watched {
    /// `mark`: of the file as it has been read.
    pub fn new(mark: Option<Mark>) -> Self {
        Watched { read: mark, seen: mark }
    }

    /// Whether the file is to be read again: it has changed since it was read, and not since the
    /// last look, so that nobody is in the middle of writing it.
    pub fn look(&mut self, mark: Option<Mark>) -> bool {
        let is_settled = self.seen == mark;
        self.seen = mark;
        let is_new = is_settled && mark.is_some() && self.read != mark;
        if is_new {
            self.read = mark;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_change_is_noticed_once_and_when_it_is_over() {
        let mark = |second, length| {
            Some(Mark { modified: SystemTime::UNIX_EPOCH + Duration::from_secs(second), length })
        };
        let mut file = Watched::new(mark(1, 10));
        let looks = [
            (mark(1, 10), false),
            // Being written.
            (mark(2, 5), false),
            (mark(2, 8), false),
            (mark(2, 8), true),
            (mark(2, 8), false),
            // Replaced: for a moment there is none.
            (None, false),
            (None, false),
            (mark(3, 8), false),
            (mark(3, 8), true),
            // Gone and back as it was.
            (None, false),
            (mark(3, 8), false),
            (mark(3, 8), false),
        ];
        for (index, (mark, expected)) in looks.into_iter().enumerate() {
            assert_eq!(file.look(mark), expected, "look {index}");
        }
    }
}
