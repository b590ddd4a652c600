//! Counts the system calls of a server of another project with the tracepoint
//! raw_syscalls:sys_enter of the kernel (perf_event_open(2)).
//!
//! As long as such a counter exists, every system call of the machine takes a slower path in the
//! kernel. It therefore exists only in a slice of its own, in which nothing else is measured.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::namespace::sysctl;

/// The directories at which tracefs is mounted, if it is.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// The file with the number of the tracepoint, in tracefs.
const ID_FILE: &str = "events/raw_syscalls/sys_enter/id";

/// Finds the tracepoint, for which tracefs is mounted where no other process sees it, if it is not
/// mounted yet.
///
/// # Errors
/// Returns the reason if this kernel has no such tracepoint, or this user may not read it.
pub fn find_tracepoint() -> Result<Tracepoint, String> {
    if let Some(found) = TRACEFS.iter().find_map(|directory| read_id(Path::new(directory)).ok()) {
        return Ok(found);
    }
    // unshare(2) affects the calling thread alone, and its mounts end with it.
    let mounted = thread::spawn(mount_and_read).join();
    mounted.unwrap_or_else(|_| Err("tracefs cannot be read".to_owned()))
}

fn read_id(tracefs: &Path) -> io::Result<Tracepoint> {
    let text = fs::read_to_string(tracefs.join(ID_FILE))?;
    let id = text.trim().parse().map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
    Ok(Tracepoint::with_id(id))
}

fn mount_and_read() -> Result<Tracepoint, String> {
    let [directory, _] = TRACEFS;
    if !Path::new(directory).exists() {
        return Err("this kernel has no tracefs (CONFIG_TRACING)".to_owned());
    }
    let refused = |error: io::Error| {
        format!("tracefs cannot be read, and cannot be mounted ({error}). Try it as root")
    };
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| refused(error.into()))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|error| refused(error.into()))?;
    mount("tracefs", directory, "tracefs", MountFlags::RDONLY, None)
        .map_err(|error| refused(error.into()))?;
    read_id(Path::new(directory)).map_err(|error| {
        format!(
            "this kernel has no tracepoint raw_syscalls:sys_enter (CONFIG_FTRACE_SYSCALLS): {error}"
        )
    })
}

/// The number of system calls of threads since it was opened, and of the threads and processes
/// that they have started since.
pub struct SystemCallCounter {
    /// One for each thread, because perf_event_open(2) has no counter of a process.
    counters: Vec<Counter>,
}

impl SystemCallCounter {
    /// Starts to count. None of the threads should start another one meanwhile, because that one
    /// would not be counted: they should have no work.
    ///
    /// # Errors
    /// Returns the reason if this is not permitted, or if a thread cannot be counted.
    pub fn open(tracepoint: Tracepoint, threads: &[u32]) -> Result<Self, String> {
        let mut builder = Builder::new(tracepoint);
        // The tracepoint is in the kernel.
        builder.include_kernel().inherit(true);
        let mut counters = Vec::with_capacity(threads.len());
        for &thread in threads {
            match builder.observe_pid(thread as i32).build() {
                Ok(counter) => counters.push(counter),
                // It has exited.
                Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
                Err(error) => return Err(reason(&error, threads.len())),
            }
        }
        for counter in &mut counters {
            counter.enable().map_err(|error| reason(&error, threads.len()))?;
        }
        Ok(Self { counters })
    }

    /// Returns the number since it was opened.
    ///
    /// # Errors
    /// Returns the reason if it cannot be read.
    pub fn count(mut self) -> Result<u64, String> {
        let threads = self.counters.len();
        let counts = self.counters.iter_mut().map(Counter::read);
        counts.sum::<io::Result<u64>>().map_err(|error| reason(&error, threads))
    }
}

/// Explains an error of perf_event_open(2).
fn reason(error: &io::Error, threads: usize) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS | Errno::PERM) => format!(
            "perf_event_open: {error}, kernel.perf_event_paranoid is {}. Try it as root, or set it \
             to 1",
            sysctl("kernel.perf_event_paranoid").unwrap_or_else(|| "unknown".to_owned())
        ),
        Some(Errno::MFILE | Errno::NFILE) => format!(
            "each of its {threads} threads needs a descriptor: {error}. Try a higher `ulimit -n`"
        ),
        Some(Errno::NOSYS | Errno::NOENT | Errno::OPNOTSUPP | Errno::NODEV) => {
            format!("this kernel does not count it (CONFIG_PERF_EVENTS): {error}")
        }
        _ => format!("perf_event_open: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::gettid;
    use std::sync::mpsc;

    /// Runs as root only: others may not read tracefs.
    #[test]
    fn each_call_of_a_thread_and_of_the_threads_that_it_starts_is_counted() {
        let tracepoint = match find_tracepoint() {
            Ok(tracepoint) => tracepoint,
            Err(reason) => {
                assert!(!rustix::process::geteuid().is_root(), "{reason}");
                assert!(reason.contains("as root"), "{reason}");
                return;
            }
        };
        const CALLS: u64 = 1000;
        let (send_id, receive_id) = mpsc::channel();
        let (start, started) = mpsc::channel();
        let call = || (0..CALLS).for_each(|_| _ = rustix::process::getppid());
        let thread = thread::spawn(move || {
            send_id.send(gettid().as_raw_pid() as u32).unwrap();
            started.recv().unwrap();
            call();
            thread::spawn(call).join().unwrap();
        });
        let counter = SystemCallCounter::open(tracepoint, &[receive_id.recv().unwrap()]);
        let counter = counter.expect("root may count");
        start.send(()).unwrap();
        thread.join().unwrap();
        let count = counter.count().unwrap();
        // Starting and ending the threads takes some too.
        assert!((2 * CALLS..2 * CALLS + 200).contains(&count), "{count}");
    }

    #[test]
    fn reasons_name_what_to_try() {
        let of = |errno: Errno| reason(&errno.into(), 70);
        assert!(of(Errno::ACCESS).contains("kernel.perf_event_paranoid is "));
        assert!(of(Errno::MFILE).contains("each of its 70 threads needs a descriptor"));
        assert!(of(Errno::NOENT).contains("CONFIG_PERF_EVENTS"));
    }
}
