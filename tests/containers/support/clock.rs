//! A clock that is wrong: of a process that preloads a library.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/containers/support/clock.c");

/// The variable that names the file which makes the clock wrong, of a process that preloads the library.
pub const WRONG: &str = "CLOCK_IS_WRONG";

/// The library, made here, which sets the clock so many seconds ahead. It needs nothing that only some versions of the
/// C library have.
pub fn library(directory: &Path, ahead: u32) -> PathBuf {
    let library = directory.join("clock.so");
    let mut compiler = Command::new("gcc");
    compiler.args(["-O2", "-shared", "-fPIC", "-nostdlib", &format!("-DAHEAD={ahead}"), "-o"]);
    let output = compiler.arg(&library).arg(SOURCE).output().expect("gcc starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}
