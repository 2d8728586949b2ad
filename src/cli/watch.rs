//! `rwproxy check --watch`: a look now and again, shown when there is something new to see.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use rwproxy::check::{Asker, Report};
use serde_json::Value;
use tokio::time::sleep;

use super::signals::End;

/// Looks until somebody ends it; what was found at last, if anything was.
pub async fn look_on(
    asker: &Asker,
    interval: Duration,
    form: Form,
) -> Result<Option<Report>, io::Error> {
    let mut page = Page { out: io::stdout(), form, last: None };
    let mut end = End::listen()?;
    loop {
        let report = tokio::select! {
            examined = asker.look() => Report::new(&examined),
            _ = end.asked() => break,
        };
        page.show(report, SystemTime::now())?;
        tokio::select! {
            () = sleep(interval) => {}
            _ = end.asked() => break,
        }
    }
    Ok(page.last)
}

/// How reports are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A table that is drawn over the last one.
    Redrawn { with_colour: bool },
    /// Tables one below the other, where something has changed.
    Listed,
    /// JSON, one document a line, where something has changed.
    Json,
}

impl Form {
    pub fn new(json: bool, with_colour: bool) -> Self {
        match json {
            true => Form::Json,
            false if io::stdout().is_terminal() => Form::Redrawn { with_colour },
            false => Form::Listed,
        }
    }
}

struct Page<Out> {
    out: Out,
    form: Form,
    last: Option<Report>,
}

impl<Out: Write> Page<Out> {
    /// An error of writing is the end: nobody looks on any more.
    fn show(&mut self, report: Report, now: SystemTime) -> io::Result<()> {
        let is_new = self.last.as_ref() != Some(&report);
        let time = humantime::format_rfc3339_seconds(now).to_string();
        match self.form {
            Form::Redrawn { with_colour } => {
                let clear = if self.last.is_none() { "\u{1b}[2J" } else { "" };
                write!(self.out, "{clear}\u{1b}[H")?;
                // Each line's rest is cleared, and what was below: all at once would flicker.
                for line in format!("{time}\n\n{}", report.table(with_colour)).lines() {
                    writeln!(self.out, "{line}\u{1b}[K")?;
                }
                write!(self.out, "\u{1b}[J")?;
            }
            Form::Listed if is_new => {
                let between = if self.last.is_some() { "\n" } else { "" };
                write!(self.out, "{between}{time}\n\n{}", report.table(false))?;
            }
            Form::Json if is_new => {
                let mut json = report.json();
                json["time"] = Value::from(time);
                writeln!(self.out, "{json}")?;
            }
            Form::Listed | Form::Json => {}
        }
        self.last = Some(report);
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(errors: usize) -> Report {
        Report { servers: Vec::new(), findings: Vec::new(), errors, warnings: 0, notices: 0 }
    }

    fn shown(form: Form) -> String {
        let mut page = Page { out: Vec::new(), form, last: None };
        for (second, errors) in [1, 1, 2].into_iter().enumerate() {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(second as u64);
            page.show(report(errors), now).expect("memory takes everything");
        }
        assert_eq!(page.last, Some(report(2)));
        String::from_utf8(page.out).expect("text")
    }

    #[test]
    fn only_changes_are_listed() {
        let text = shown(Form::Listed);
        let times: Vec<&str> = text.lines().filter(|line| line.ends_with('Z')).collect();
        assert_eq!(times, ["1970-01-01T00:00:00Z", "1970-01-01T00:00:02Z"]);
        assert!(text.contains("1 error(s)") && text.contains("2 error(s)"));
        assert!(!text.contains('\u{1b}'));

        let text = shown(Form::Json);
        let documents: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[1]["errors"], 2);
        assert_eq!(documents[1]["time"], "1970-01-01T00:00:02Z");
    }

    #[test]
    fn a_terminal_shows_every_look_in_one_place() {
        let text = shown(Form::Redrawn { with_colour: false });
        assert_eq!(text.matches("\u{1b}[H").count(), 3);
        assert_eq!(text.matches("\u{1b}[2J").count(), 1);
        assert!(text.contains("1970-01-01T00:00:01Z\u{1b}[K\n"));
        assert!(text.ends_with("2 error(s), 0 warning(s), 0 notice(s)\u{1b}[K\n\u{1b}[J"));
    }
}
