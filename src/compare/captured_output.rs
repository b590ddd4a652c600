//! The output of a server, in memory. Writing to it never blocks the server.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Stdio;

use rustix::fs::{MemfdFlags, OFlags, fcntl_getfl, fcntl_setfl, memfd_create};

/// The length at which the output is discarded, between slices.
const MAX_BYTES: u64 = 16 << 20;
/// The end of the output that is searched for its last lines.
const TAIL_BYTES: u64 = 16 << 10;
/// The number of last lines that a failure quotes.
const MAX_LINES: usize = 20;

/// An output file in memory, which all processes of a server append to.
pub struct CapturedOutput {
    file: File,
    /// The start of the first line that has not been read.
    position: u64,
}

impl CapturedOutput {
    /// Creates an empty one.
    ///
    /// # Errors
    /// Returns the error of memfd_create(2) or fcntl(2).
    pub fn new() -> std::io::Result<Self> {
        let file = memfd_create("output", MemfdFlags::CLOEXEC)?;
        // Several processes write, and it may be truncated at any time.
        fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::APPEND)?;
        Ok(Self { file: File::from(file), position: 0 })
    }

    /// Returns it as standard output or standard error of a process.
    ///
    /// # Errors
    /// Returns the error of fcntl(2).
    pub fn stdio(&self) -> std::io::Result<Stdio> {
        self.file.try_clone().map(Stdio::from)
    }

    /// Returns the next complete line.
    pub fn next_line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            let mut piece = [0; 4096];
            let length = self.file.read_at(&mut piece, self.position + line.len() as u64).ok()?;
            let piece = &piece[..length];
            if let Some(end) = piece.iter().position(|&byte| byte == b'\n') {
                line.extend_from_slice(&piece[..end]);
                self.position += line.len() as u64 + 1;
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            if length == 0 {
                return None;
            }
            line.extend_from_slice(piece);
        }
    }

    /// Returns all of it.
    pub fn text(&self) -> String {
        self.text_from(0)
    }

    /// Returns its last lines, each after a line break and two spaces.
    pub fn last_lines(&self) -> String {
        let text = self.text_from(self.length().saturating_sub(TAIL_BYTES));
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(MAX_LINES);
        lines[first..].iter().map(|line| format!("\n  {line}")).collect()
    }

    /// Discards a long output.
    pub fn limit(&mut self) {
        if self.length() > MAX_BYTES && self.file.set_len(0).is_ok() {
            self.position = 0;
        }
    }

    fn length(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    fn text_from(&self, start: u64) -> String {
        let mut bytes = vec![0; self.length().saturating_sub(start) as usize];
        let length = self.file.read_at(&mut bytes, start).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn run(output: &CapturedOutput, script: &str) {
        let (one, two) = (output.stdio().unwrap(), output.stdio().unwrap());
        let status = Command::new("sh").args(["-c", script]).stdout(one).stderr(two).status();
        assert!(status.unwrap().success());
    }

    #[test]
    fn lines_of_both_streams_are_read_once_they_are_complete() {
        let mut output = CapturedOutput::new().unwrap();
        run(&output, "echo one; echo two >&2; printf thr");
        assert_eq!(output.next_line().as_deref(), Some("one"));
        assert_eq!(output.next_line().as_deref(), Some("two"));
        assert_eq!(output.next_line(), None);
        run(&output, "echo ee");
        assert_eq!(output.next_line().as_deref(), Some("three"));
        assert_eq!(output.text(), "one\ntwo\nthree\n");
        assert_eq!(output.last_lines(), "\n  one\n  two\n  three");
    }

    #[test]
    fn long_output_is_discarded_and_the_rest_appended() {
        let mut output = CapturedOutput::new().unwrap();
        run(&output, "seq 100");
        output.limit();
        assert_eq!(output.last_lines().lines().count(), 1 + MAX_LINES);
        run(&output, &format!("head -c {MAX_BYTES} /dev/zero"));
        output.limit();
        assert_eq!(output.length(), 0);
        run(&output, "echo next");
        assert_eq!(output.next_line().as_deref(), Some("next"));
    }
}
