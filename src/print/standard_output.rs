//! Standard output that never blocks the writer.
//!
//! `O_NONBLOCK` is a flag of the open file description (open(2)), so setting it on the inherited
//! descriptor would change it for all processes that share it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fcntl_setfl, fstat, open};
use rustix::io::Errno;
use rustix::pipe::{PIPE_BUF, PipeFlags, pipe_with};
use rustix::stdio::{dup2_stdout, stdout};
use rustix::termios::isatty;

/// Standard output with a bounded buffer for the rest of the last text.
#[derive(Debug)]
pub struct StandardOutput {
    /// Rest of a text that was written in part. It holds at most one text.
    pending: Vec<u8>,
    /// Receives a message when the copy thread, if there is one, has copied everything.
    copied: Option<Receiver<()>>,
}

impl StandardOutput {
    /// Returns the size of a text with `max_bytes` of a request.
    pub(super) const fn buffer_bytes(max_bytes: usize) -> usize {
        // The dashes, the dots after a truncated text, and the newline.
        max_bytes + 64
    }

    /// Leaves descriptor 1 unchanged, for a single report.
    pub const fn unchanged() -> Self {
        Self { pending: Vec::new(), copied: None }
    }

    /// Makes descriptor 1 non-blocking, for texts with up to `max_bytes` of a request.
    ///
    /// Regular files and block devices never block on a reader. A pipe or a terminal is opened
    /// again with `O_NONBLOCK`. Anything that cannot be opened again, such as a socket, is replaced
    /// by a pipe whose content a thread copies to it.
    ///
    /// # Errors
    /// Returns an error if the process cannot create descriptors or threads.
    pub fn nonblocking(max_bytes: usize) -> io::Result<Self> {
        let pending = Vec::with_capacity(Self::buffer_bytes(max_bytes));
        let copied = match fstat(stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::RegularFile | FileType::BlockDevice) => None,
            Ok(FileType::CharacterDevice) if !isatty(stdout()) => None,
            _ if reopen_nonblocking().is_ok() => None,
            _ => Some(insert_pipe()?),
        };
        Ok(Self { pending, copied })
    }

    /// Writes `text` and, with a second system call like the reference programs, a newline. Returns
    /// false if the text was dropped because the reader is too slow or has closed its end.
    pub(super) fn print(&mut self, text: &[u8]) -> bool {
        if !self.flush() {
            return false;
        }
        let Ok(written) = write(text) else { return false };
        if written < text.len() || !matches!(write(b"\n"), Ok(1)) {
            self.pending.extend_from_slice(&text[written..]);
            self.pending.push(b'\n');
        }
        true
    }

    /// Writes the rest of the last text. Returns true if nothing is left.
    fn flush(&mut self) -> bool {
        if self.pending.is_empty() {
            return true;
        }
        match write(&self.pending) {
            Ok(written) => {
                self.pending.drain(..written);
            }
            Err(Errno::AGAIN) => {}
            Err(_) => self.pending.clear(),
        }
        self.pending.is_empty()
    }

    /// Writes the rest of the last text and `last`, waiting up to `timeout` for the reader.
    ///
    /// # Errors
    /// Returns `TimedOut` if the reader was too slow, or an error of write(2).
    pub fn finish(mut self, last: &[u8], timeout: Duration) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        self.pending.extend_from_slice(last);
        let mut rest = self.pending.as_slice();
        while !rest.is_empty() {
            wait_until_writable(deadline)?;
            // A write of up to PIPE_BUF bytes to a writable pipe does not block (pipe(7)), even if
            // descriptor 1 is blocking.
            match write(&rest[..rest.len().min(PIPE_BUF)]) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let Some(copied) = self.copied else { return Ok(()) };
        // The thread ends when the last write end of its pipe is closed.
        dup2_stdout(File::options().write(true).open("/dev/null")?)?;
        let left = deadline.saturating_duration_since(Instant::now());
        copied.recv_timeout(left).map_err(|_| io::ErrorKind::TimedOut.into())
    }
}

fn write(bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::write(stdout(), bytes) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

fn wait_until_writable(deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&stdout(), PollFlags::OUT)], Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn reopen_nonblocking() -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    dup2_stdout(open("/proc/self/fd/1", flags, Mode::empty())?)?;
    Ok(())
}

fn insert_pipe() -> io::Result<Receiver<()>> {
    let original = rustix::io::fcntl_dupfd_cloexec(stdout(), 3)?;
    let (read_end, write_end) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&write_end, OFlags::NONBLOCK)?;
    let (copied, receiver) = channel();
    thread::Builder::new()
        .name("standard output".to_owned())
        .spawn(move || copy(File::from(read_end), &original, &copied))?;
    dup2_stdout(write_end)?;
    Ok(receiver)
}

/// Copies until the write end is closed or writing fails. Then the read end is closed, so the
/// writer gets EPIPE and drops its texts.
fn copy(mut from: File, to: &OwnedFd, copied: &Sender<()>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                if write_all(to, &buffer[..length]).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
    // The receiver is gone if `finish` has timed out.
    let _ = copied.send(());
}

fn write_all(to: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Another process has made the open file description non-blocking.
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(to, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
