//! Lines for whoever started the program. A reader that has gone away ends nothing, so nothing
//! here fails: the standard library's own macros would panic.

use std::fmt::Display;
use std::io::{self, Write};

/// A line on standard error.
pub fn say(line: impl Display) {
    // In one piece, so that lines of several threads and processes do not mix.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// What was asked for, on standard output.
pub fn show(text: impl AsRef<[u8]>) {
    let mut output = io::stdout().lock();
    let _ = output.write_all(text.as_ref()).and_then(|()| output.flush());
}
