//! Output to standard output and standard error: `println!` and `eprintln!` panic on an error.
//! Tables for a terminal, and the live view of a measurement.

mod live_view;

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::ops::RangeInclusive;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Row, Table, TableStyle};

pub use live_view::{LiveView, PLAIN_INTERVAL, REDRAW_INTERVAL};

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

/// Formats a number as in `1,234,567`.
pub fn with_commas(number: u64) -> String {
    let mut text = number.to_string();
    let digits = text.len();
    for at in (1..digits).rev().filter(|at| (digits - at).is_multiple_of(3)) {
        text.insert(at, ',');
    }
    text
}

/// Returns the maximum width of tables: that of the terminal on standard output, or the value of
/// `COLUMNS`. `None` is unlimited, for a file or a pipe.
pub fn terminal_width() -> Option<u16> {
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok();
    size.map(|it| it.ws_col).filter(|&it| it > 0).or_else(columns)
}

/// Returns a table with a rule below its header, without rows. It is at most `width` columns wide;
/// `None` is as wide as its content.
pub fn table(header: impl Into<Row>, width: Option<u16>) -> Table {
    let mut table = Table::new();
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(line));
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table.set_header(header);
    table
}

/// Aligns columns of numbers.
pub fn align_right(table: &mut Table, columns: RangeInclusive<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
