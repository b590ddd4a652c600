//! Output to standard output and standard error that ignores errors: `println!` and `eprintln!`
//! panic if the reader has closed its end.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line to standard error.
pub fn eprint_line(line: impl Display) {
    // One write, so that lines of several threads and processes do not mix.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Writes text to standard output.
pub fn print_text(text: impl AsRef<[u8]>) {
    let mut output = io::stdout().lock();
    let _ = output.write_all(text.as_ref()).and_then(|()| output.flush());
}
