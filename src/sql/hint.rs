//! Hints to the proxy in comments: `/* rwproxy: replica, max_lag=500ms */`, `-- rwproxy: primary`.
//!
//! | hint | meaning |
//! |---|---|
//! | `primary` | run on the primary; wins over all others |
//! | `replica` | a replica, also for reads whose answers differ from server to server |
//! | `backend=NAME` | that server, for the same statements as `replica` |
//! | `max_lag=500ms` | leave out replicas that lag more |
//! | `after=GTID` | only a server that has applied this |
//!
//! `replica` and `backend` overrule four reasons and no other: `server_function`,
//! `server_variable`, `system_table` and `server_show` ([`Reason::hint_may_overrule`]). A write, a
//! lock, INTO, an unknown function, a user variable, the last insert id, diagnostics, the
//! connection's own state and anything not understood go where they must all the same. A read with a
//! word among its hints that is none runs on the primary (`unknown_hint`): it may have asked for that. Comments
//! inside strings and executable comments are no hints, nor are optimizer hints.
//!
//! [`Reason::hint_may_overrule`]: super::Reason::hint_may_overrule

use std::time::Duration;

/// A range of bytes of the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// The bytes meant. Empty when `sql` is not the statement that the span was taken from.
    pub fn of<'a>(&self, sql: &'a [u8]) -> &'a [u8] {
        sql.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// Where a hint wants its statement to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HintTarget {
    Primary,
    Replica,
    /// The backend of this name.
    Backend(Span),
}

/// All hints of a statement. Of two that contradict each other `primary` wins, else the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Hints {
    pub target: Option<HintTarget>,
    /// `max_lag=500ms`: leave out replicas that lag more.
    pub max_lag: Option<Duration>,
    /// `after=GTID`: the server must have applied this.
    pub after: Option<Span>,
    /// There was a word that is no hint.
    pub unknown: bool,
}

impl Hints {
    /// Whether only the primary will do. Which replicas have applied a GTID is not known here; the
    /// primary has its own.
    pub fn ask_for_primary(&self) -> bool {
        self.target == Some(HintTarget::Primary) || self.after.is_some()
    }

    /// Whether a replica is asked for where the answer differs from server to server.
    pub fn asks_for_replica(&self) -> bool {
        matches!(self.target, Some(HintTarget::Replica | HintTarget::Backend(_)))
    }

    /// Whether some of the servers that take reads are asked for, and others not.
    pub fn narrow(&self) -> bool {
        self.max_lag.is_some() || matches!(self.target, Some(HintTarget::Backend(_)))
    }

    /// The hints of a text as it would stand behind `rwproxy:` in a comment.
    pub fn of(text: &[u8]) -> Self {
        let mut hints = Hints::default();
        hints.read(text, 0);
        hints
    }

    /// Reads the text behind `rwproxy:`, which begins at `offset` of the statement.
    pub(super) fn read(&mut self, text: &[u8], offset: usize) {
        let separator = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b';');
        let mut at = 0;
        while at < text.len() {
            if separator(text[at]) {
                at += 1;
                continue;
            }
            let length = text[at..].iter().take_while(|byte| !separator(**byte)).count();
            self.item(&text[at..at + length], offset + at);
            at += length;
        }
    }

    fn item(&mut self, item: &[u8], offset: usize) {
        let equals = item.iter().position(|byte| *byte == b'=').unwrap_or(item.len());
        let (key, value) = (&item[..equals], item.get(equals + 1..).unwrap_or_default());
        let is = |name: &str| key.eq_ignore_ascii_case(name.as_bytes());
        let span = || {
            let start = u32::try_from(offset + equals + 1).ok()?;
            let end = u32::try_from(offset + item.len()).ok()?;
            (start < end).then_some(Span { start, end })
        };
        if is("primary") && value.is_empty() {
            self.target = Some(HintTarget::Primary);
        } else if is("replica") && value.is_empty() {
            self.aim(HintTarget::Replica);
        } else if let (true, Some(span)) = (is("backend"), span()) {
            self.aim(HintTarget::Backend(span));
        } else if let (true, Some(span)) = (is("after"), span()) {
            self.after = Some(span);
        } else if let (true, Some(lag)) = (is("max_lag"), duration(value)) {
            self.max_lag = Some(lag);
        } else {
            self.unknown = true;
        }
    }

    fn aim(&mut self, target: HintTarget) {
        if self.target != Some(HintTarget::Primary) {
            self.target = Some(target);
        }
    }
}

/// `500ms`, `2s`, `1m`, `1h`; a bare number is in milliseconds. None when it is nothing of that kind or
/// more than a day.
fn duration(text: &[u8]) -> Option<Duration> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    let scale = match unit {
        b"" | b"ms" => 1,
        b"s" => 1000,
        b"m" => 60_000,
        b"h" => 3_600_000,
        _ => return None,
    };
    let milliseconds = number.checked_mul(scale).filter(|total| *total <= 86_400_000)?;
    Some(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read() {
        let read = |text: &str| Hints::of(text.as_bytes());
        assert_eq!(read(" primary ").target, Some(HintTarget::Primary));
        assert_eq!(read("REPLICA").target, Some(HintTarget::Replica));
        assert_eq!(read("primary, replica").target, Some(HintTarget::Primary));
        let hints = read(" backend=db-2 ; max_lag=500ms");
        assert_eq!(hints.target, Some(HintTarget::Backend(Span { start: 9, end: 13 })));
        assert_eq!(hints.max_lag, Some(Duration::from_millis(500)));
        assert!(!hints.unknown);
        assert_eq!(read("max_lag=2s").max_lag, Some(Duration::from_secs(2)));
        assert_eq!(read("max_lag=1h").max_lag, Some(Duration::from_secs(3600)));
        assert_eq!(read("max_lag=1500").max_lag, Some(Duration::from_millis(1500)));
        let after = read("after=3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5").after;
        assert_eq!(after.map(|span| span.end - span.start), Some(40));
        for wrong in ["master", "backend=", "max_lag=fast", "max_lag=99999999999999999999", "after"]
        {
            let hints = read(wrong);
            assert!(hints.unknown, "{wrong}");
            assert_eq!(hints.target, None, "{wrong}");
        }
    }
}
