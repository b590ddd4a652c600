//! Programs on a pseudo-terminal, and the screens that they show.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use vt100::Parser;

/// The line on the screen before the program starts, as of a shell.
const PROMPT: &str = "$ ringpoll";

/// The output of a program on a terminal.
pub struct TerminalOutput {
    /// The exit status, and standard output, which is a pipe.
    pub output: Output,
    /// The text of the screen after each change, without trailing spaces.
    pub screens: Vec<String>,
    parser: Parser,
    bytes: Vec<u8>,
}

/// Runs a program whose standard error is a terminal of this many columns. Sends SIGINT once a
/// screen fulfils `is_last`.
///
/// # Panics
/// If there are no pseudo-terminals, or the program cannot be started.
pub fn run_on_terminal(
    mut command: Command,
    columns: u16,
    is_last: impl Fn(&str) -> bool,
) -> TerminalOutput {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    unlockpt(&controller).expect("it is new");
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let terminal = ioctl_tiocgptpeer(&controller, flags).expect("it is unlocked");
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).expect("it is a terminal");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(terminal);
    let child = command.spawn().expect("the program starts");
    // It has the terminal, whose last descriptor must be that of the program.
    drop(command);

    let mut parser = Parser::new(size.ws_row, columns, 0);
    parser.process(format!("{PROMPT}\r\n").as_bytes());
    let (mut bytes, mut screens, mut is_stopped) = (Vec::new(), Vec::new(), false);
    let (mut controller, mut buffer) = (File::from(controller), [0; 4096]);
    // EIO is the end: all other descriptors are closed.
    while let Ok(count) = controller.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
        parser.process(&buffer[..count]);
        let screen = parser.screen().contents();
        if !is_stopped && is_last(&screen) {
            kill_process(Pid::from_child(&child), Signal::INT).expect("it has not been waited for");
            is_stopped = true;
        }
        screens.push(screen);
    }
    let output = child.wait_with_output().expect("it ends");
    TerminalOutput { output, screens, parser, bytes }
}

impl TerminalOutput {
    /// Returns standard error.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Checks that the screen is as before the program, and that there were no colors.
    ///
    /// # Panics
    /// If it is not.
    pub fn assert_nothing_is_left(&self) {
        let screen = self.parser.screen();
        assert_eq!(screen.contents(), PROMPT);
        assert_eq!(screen.cursor_position(), (1, 0));
        assert!(!screen.hide_cursor() && !screen.alternate_screen());
        let text = self.text();
        let is_color =
            |it: &str| it.trim_start_matches(|c: char| !c.is_alphabetic()).starts_with('m');
        assert!(!text.split("\x1b[").skip(1).any(is_color), "{text:?}");
    }
}
