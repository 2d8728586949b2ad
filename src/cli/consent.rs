//! Somebody is asked whether a plan may be carried out.

use std::io::{self, BufRead, IsTerminal, Write};

/// Whether somebody at the terminal says yes.
pub fn asked() -> Result<bool, io::Error> {
    if !io::stdin().is_terminal() {
        eprintln!("There is nobody to ask: --yes agrees to the plan.");
        return Ok(false);
    }
    print!("Do this? Type yes: ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
