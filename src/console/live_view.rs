//! The state of a measurement while it runs, on standard error: a few lines that are redrawn in
//! place on a terminal, and otherwise a plain line now and then.
//!
//! The cursor stays visible, and is at the start of the line below the view whenever nothing is
//! being drawn. No mode of the terminal is changed. So there is nothing to restore, whether a
//! signal, an error or a panic ends the program. There are no colors.

use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The minimum interval of updates on a terminal. Each costs CPU time, also that of the terminal,
/// which may run on a CPU that is measured.
pub const REDRAW_INTERVAL: Duration = Duration::from_millis(250);

/// The minimum interval of plain lines.
pub const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// The size of a terminal that does not tell its own.
const DEFAULT_COLUMNS: usize = 80;
const DEFAULT_ROWS: usize = 24;

const SEPARATOR: &str = " · ";

/// A view on standard error.
#[derive(Debug)]
pub struct LiveView {
    is_terminal: bool,
    /// The start of each plain line.
    prefix: &'static str,
    next_update: Instant,
    /// The width of each line on the screen.
    drawn: Vec<usize>,
}

impl LiveView {
    /// Creates a view that is due at once on a terminal, and otherwise after `first_line`.
    pub fn new(prefix: &'static str, first_line: Duration) -> Self {
        let is_dumb = env::var_os("TERM").is_none_or(|it| it.is_empty() || it == "dumb");
        let is_terminal = io::stderr().is_terminal() && !is_dumb;
        let wait = if is_terminal { Duration::ZERO } else { first_line };
        Self { is_terminal, prefix, next_update: Instant::now() + wait, drawn: Vec::new() }
    }

    /// Returns true if the view is redrawn in place.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Returns true if the next update is due within this time.
    pub fn is_due_within(&self, time: Duration) -> bool {
        Instant::now() + time >= self.next_update
    }

    /// Draws the fields. Each group of them starts a new line, and continues on further lines of a
    /// narrow terminal.
    pub fn draw(&mut self, groups: &[Vec<String>]) {
        let now = Instant::now();
        if !self.is_terminal {
            self.next_update = now + PLAIN_INTERVAL;
            super::eprint_line(format_args!(
                "{}: {}",
                self.prefix,
                groups.concat().join(SEPARATOR)
            ));
            return;
        }
        self.next_update = now + REDRAW_INTERVAL;
        // At each update, since the terminal may have been resized.
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
        let size = size.map_or((0, 0), |it| (usize::from(it.ws_col), usize::from(it.ws_row)));
        let columns = if size.0 == 0 { DEFAULT_COLUMNS } else { size.0 };
        let rows = if size.1 == 0 { DEFAULT_ROWS } else { size.1 };
        // A full line would leave the cursor in the last column, and some terminals then erase the
        // last character. The last row is that of the cursor.
        let mut lines = lay_out(groups, columns.saturating_sub(1).max(1));
        lines.truncate(rows.saturating_sub(1).max(1));
        self.write(&lines, columns);
    }

    /// Replaces the lines on the screen. One write, so that no terminal shows half of it.
    fn write(&mut self, lines: &[String], columns: usize) {
        let mut text = String::from("\r");
        // Terminals differ in what they do with lines that no longer fit after a resize. So these
        // stay, rather than that lines of others are overwritten.
        if self.drawn.iter().all(|&width| width < columns) && !self.drawn.is_empty() {
            let _ = write!(text, "\x1b[{}A", self.drawn.len());
        }
        for line in lines {
            text += line;
            text += "\x1b[K\n";
        }
        text += "\x1b[J";
        // Errors are ignored, since they cannot be reported.
        let _ = io::stderr().write_all(text.as_bytes());
        self.drawn = lines.iter().map(|line| line.width()).collect();
    }

    /// Removes the view from the screen.
    pub fn clear(&mut self) {
        if !self.drawn.is_empty() {
            let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
            let columns = size.map_or(0, |it| usize::from(it.ws_col));
            self.write(&[], if columns == 0 { DEFAULT_COLUMNS } else { columns });
        }
    }
}

impl Drop for LiveView {
    /// After a panic the view stays: the lines below it are the message.
    fn drop(&mut self) {
        if !thread::panicking() {
            self.clear();
        }
    }
}

/// Returns lines of at most this width. A field that is longer is cut.
fn lay_out(groups: &[Vec<String>], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for group in groups {
        let mut line = String::new();
        for field in group {
            let field = cut(field, width);
            if line.is_empty() {
                line = field;
            } else if line.width() + SEPARATOR.width() + field.width() <= width {
                line += SEPARATOR;
                line += &field;
            } else {
                lines.push(std::mem::replace(&mut line, field));
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

/// Cuts text to this width, and leaves out control characters, which names of arms may have.
fn cut(text: &str, width: usize) -> String {
    let text: String = text.chars().filter(|it| !it.is_control()).collect();
    if text.width() <= width {
        return text;
    }
    let mut used = 1;
    let fits = |it: &char| {
        used += it.width().unwrap_or(0);
        used <= width
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(groups: &[&[&str]], width: usize) -> Vec<String> {
        let owned = |group: &&[&str]| group.iter().map(|&it| it.to_owned()).collect();
        lay_out(&groups.iter().map(owned).collect::<Vec<_>>(), width)
    }

    #[test]
    fn groups_start_lines_and_continue_where_they_do_not_fit() {
        let groups: [&[&str]; 3] = [&["one", "two", "three"], &[], &["four"]];
        assert_eq!(laid_out(&groups, 80), ["one · two · three", "four"]);
        assert_eq!(laid_out(&groups, 9), ["one · two", "three", "four"]);
        assert_eq!(laid_out(&groups, 8), ["one", "two", "three", "four"]);
    }

    #[test]
    fn fields_are_cut_to_the_width_of_the_terminal() {
        assert_eq!(laid_out(&[&["throughput", "p99"]], 5), ["thro…", "p99"]);
        assert_eq!(laid_out(&[&["a\x1b[31m\nb"]], 80), ["a[31mb"]);
        // Characters of two columns.
        assert_eq!(laid_out(&[&["漢字漢字"]], 6), ["漢字…"]);
        assert_eq!(laid_out(&[&["漢字漢字"]], 8), ["漢字漢字"]);
        assert!(laid_out(&[&["µ"]], 1) == ["µ"] && laid_out(&[&["漢"]], 1) == ["…"]);
    }
}
