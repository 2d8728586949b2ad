//! Lines for somebody who looks on. On a terminal those about the progress stand in one place;
//! elsewhere one comes now and then.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between two lines about the progress, where lines cannot be written over.
const QUIET: Duration = Duration::from_secs(5);

pub struct Screen {
    state: Mutex<State>,
    is_terminal: bool,
}

struct State {
    out: Box<dyn Write + Send>,
    /// A line about the progress stands there.
    is_open: bool,
    told: Option<Instant>,
}

impl Screen {
    /// Writes to standard output or standard error.
    pub fn of(out: impl Write + IsTerminal + Send + 'static) -> Self {
        let is_terminal = out.is_terminal();
        Screen::new(Box::new(out), is_terminal)
    }

    fn new(out: Box<dyn Write + Send>, is_terminal: bool) -> Self {
        Screen { state: Mutex::new(State { out, is_open: false, told: None }), is_terminal }
    }

    pub fn progress(&self, text: &str) {
        self.write(|state| {
            if self.is_terminal {
                state.is_open = true;
                return write!(state.out, "\r\u{1b}[K{text}");
            }
            if state.told.is_some_and(|told| told.elapsed() <= QUIET) {
                return Ok(());
            }
            state.told = Some(Instant::now());
            writeln!(state.out, "{text}")
        });
    }

    pub fn line(&self, text: &str) {
        self.write(|state| {
            state.end_line()?;
            writeln!(state.out, "{text}")
        });
    }

    /// The next progress is told at once: it is of something else.
    pub fn tell_soon(&self) {
        self.write(|state| {
            state.told = None;
            Ok(())
        });
    }

    pub fn end_line(&self) {
        self.write(State::end_line);
    }

    fn write(&self, write: impl FnOnce(&mut State) -> std::io::Result<()>) {
        let Ok(mut state) = self.state.lock() else { return };
        // Nobody looks on any more, which is no reason to stop.
        let _ = write(&mut state).and_then(|()| state.out.flush());
    }
}

impl State {
    fn end_line(&mut self) -> std::io::Result<()> {
        match std::mem::take(&mut self.is_open) {
            true => writeln!(self.out),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("one thread").extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn shown(is_terminal: bool) -> String {
        let paper = Paper::default();
        let screen = Screen::new(Box::new(paper.clone()), is_terminal);
        screen.line("first");
        screen.progress("1 %");
        screen.progress("2 %");
        screen.tell_soon();
        screen.progress("3 %");
        screen.line("last");
        screen.end_line();
        let text = paper.0.lock().expect("one thread").clone();
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn progress_stands_in_one_place_on_a_terminal_alone() {
        assert_eq!(shown(true), "first\n\r\u{1b}[K1 %\r\u{1b}[K2 %\r\u{1b}[K3 %\nlast\n");
        assert_eq!(shown(false), "first\n1 %\n3 %\nlast\n");
    }
}
