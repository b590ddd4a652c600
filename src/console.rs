//! Output to standard output and standard error: `println!` and `eprintln!` panic on an error.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::failure::Failure;

/// Writes a line to standard error. Errors are ignored, since they cannot be reported.
pub fn eprint_line(line: impl Display) {
    // One write, so that lines of several threads and processes do not mix.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Writes text to standard output.
///
/// # Errors
/// Returns a failure as [`check_printed`] does.
pub fn print_text(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    check_printed(output.write_all(text.as_ref()).and_then(|()| output.flush()))
}

/// Checks the result of writing to standard output.
///
/// # Errors
/// Returns a failure for every error but EPIPE: the reader of a pipe may close it when it has read
/// enough.
pub fn check_printed(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Run(format!("ringpoll: cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Returns the maximum width of tables: that of the terminal on standard output, or the value of
/// `COLUMNS`. `None` is unlimited, for a file or a pipe.
pub fn terminal_width() -> Option<u16> {
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok();
    size.map(|it| it.ws_col).filter(|&it| it > 0).or_else(columns)
}
