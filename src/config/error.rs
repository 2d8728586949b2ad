//! What is wrong with a file, and where.

use std::fmt;
use std::io;
use std::ops::Range;

/// Why there is no [`Config`](super::Config).
#[derive(Debug)]
pub enum ConfigError {
    Unreadable {
        name: String,
        error: io::Error,
    },
    /// At least one problem, in the order of the file.
    Invalid {
        name: String,
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub message: String,
    /// `None` for what is not in the file but in the environment.
    pub place: Option<Place>,
}

/// A place in the file: one line, and a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// In characters, at least 1.
    pub width: usize,
    /// The whole line.
    pub text: String,
}

impl Place {
    /// The place of a byte range of `text`; only its first line is shown.
    pub(super) fn of(text: &str, span: &Range<usize>) -> Place {
        let start = boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..].lines().next().unwrap_or("");
        let end = boundary(text, span.end).clamp(start, (line_start + line.len()).max(start));
        Place {
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end].chars().count().max(1),
            text: line.to_owned(),
        }
    }
}

/// The character boundary at or before `at`.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unreadable { name, error } => write!(f, "{name}: {error}"),
            ConfigError::Invalid { name, problems } => {
                for (index, problem) in problems.iter().enumerate() {
                    if index > 0 {
                        f.write_str("\n")?;
                    }
                    problem.show(name, f)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConfigError::Unreadable { error, .. } => Some(error),
            ConfigError::Invalid { .. } => None,
        }
    }
}

impl Problem {
    fn show(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Place { line, column, width, text }) = &self.place else {
            return write!(f, "{name}: {}", self.message);
        };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        // A tab keeps its width, so that the caret stands below its character.
        let indent: String =
            text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, "{name}:{line}:{column}: {}", self.message)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {text}")?;
        write!(f, "{margin} | {indent}{}", "^".repeat(*width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let text = "a = 1\nläge = \"x\"\n";
        let at = text.find('"').unwrap();
        let place = Place::of(text, &(at..at + 3));
        assert_eq!((place.line, place.column, place.width), (2, 8, 3));
        assert_eq!(place.text, "läge = \"x\"");
        let end = Place::of(text, &(text.len()..text.len()));
        assert_eq!((end.line, end.column, end.width, end.text.as_str()), (3, 1, 1, ""));
        // Over several lines: only the first counts.
        assert_eq!(Place::of(text, &(0..text.len())).width, 5);
        assert_eq!(Place::of("", &(7..9)).line, 1);
    }
}
