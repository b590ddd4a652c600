//! Standard output that never makes its writer wait, and leaves the caller's own descriptor as it
//! was: a flag set on an inherited descriptor would be set for everybody who shares it.

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

/// Standard output, with a bounded buffer for what it has not yet taken of the last print.
#[derive(Debug)]
pub struct StandardOutput {
    /// The rest of a print that went out in part; it never grows beyond one print.
    unsent: Vec<u8>,
    /// Says when everything has been copied, where a thread does that.
    copied: Option<Receiver<()>>,
}

impl StandardOutput {
    /// How much memory one print of `longest_bytes` of request can take, in bytes.
    pub(super) const fn room_bytes(longest_bytes: usize) -> usize {
        // The dashes, the dots of a cut, the newline.
        longest_bytes + 64
    }

    /// Standard output as it is, for a single report.
    pub const fn as_it_is() -> Self {
        Self { unsent: Vec::new(), copied: None }
    }

    /// Makes descriptor 1 one that never waits, for prints of up to `longest_bytes` of request.
    ///
    /// Files take what they are given without waiting for anybody. A pipe or a terminal is opened
    /// a second time, since the flag `O_NONBLOCK` belongs to the open file and not to the
    /// descriptor. What cannot be opened again, such as a socket, gets a pipe of ours in front of
    /// it, and a thread that copies.
    ///
    /// # Errors
    /// When the process is out of descriptors or threads.
    pub fn without_waiting(longest_bytes: usize) -> io::Result<Self> {
        let unsent = Vec::with_capacity(Self::room_bytes(longest_bytes));
        let copied = match fstat(stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::RegularFile | FileType::BlockDevice) => None,
            Ok(FileType::CharacterDevice) if !isatty(stdout()) => None,
            _ if open_again().is_ok() => None,
            _ => Some(put_a_pipe_in_front()?),
        };
        Ok(Self { unsent, copied })
    }

    /// Prints `text`, and a newline with a call of its own, as the documents do. Returns false if
    /// the text was dropped: somebody reads too slowly, or not at all.
    pub(super) fn print(&mut self, text: &[u8]) -> bool {
        if !self.take_unsent() {
            return false;
        }
        let Ok(written) = write(text) else { return false };
        if written < text.len() || !matches!(write(b"\n"), Ok(1)) {
            self.unsent.extend_from_slice(&text[written..]);
            self.unsent.push(b'\n');
        }
        true
    }

    /// Tries to get rid of the rest of the last print.
    fn take_unsent(&mut self) -> bool {
        if self.unsent.is_empty() {
            return true;
        }
        match write(&self.unsent) {
            Ok(written) => {
                self.unsent.drain(..written);
            }
            Err(Errno::AGAIN) => {}
            Err(_) => self.unsent.clear(),
        }
        self.unsent.is_empty()
    }

    /// Writes what is left and `last` behind it, and waits up to `patience` for the reader.
    ///
    /// # Errors
    /// `TimedOut` when the reader was not fast enough; otherwise those of write(2).
    pub fn finish(mut self, last: &[u8], patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        self.unsent.extend_from_slice(last);
        let mut rest = self.unsent.as_slice();
        while !rest.is_empty() {
            wait_for_room(deadline)?;
            // No more than a pipe is sure to take at once: descriptor 1 may be one that waits.
            match write(&rest[..rest.len().min(PIPE_BUF)]) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let Some(copied) = self.copied else { return Ok(()) };
        // The thread ends when nobody can write to its pipe any more.
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

fn wait_for_room(deadline: Instant) -> io::Result<()> {
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

fn open_again() -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    dup2_stdout(open("/proc/self/fd/1", flags, Mode::empty())?)?;
    Ok(())
}

fn put_a_pipe_in_front() -> io::Result<Receiver<()>> {
    let reader_of_old = rustix::io::fcntl_dupfd_cloexec(stdout(), 3)?;
    let (ours, standard_output) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&standard_output, OFlags::NONBLOCK)?;
    let (copied, receiver) = channel();
    thread::Builder::new()
        .name("standard output".to_owned())
        .spawn(move || copy(File::from(ours), &reader_of_old, &copied))?;
    dup2_stdout(standard_output)?;
    Ok(receiver)
}

/// Copies until nobody can write any more, or until nobody reads: then our end is closed, which
/// the writer sees as an error and drops what it prints.
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
    // Whoever waited for it may have lost patience.
    let _ = copied.send(());
}

fn write_all(to: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Whoever else holds the open file has made it one that does not wait.
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(to, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
