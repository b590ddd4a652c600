//! Counters of the kernel (perf_event_open(2)): the instructions and cycles of a server, and the
//! system calls of a server of another project, by the tracepoint raw_syscalls:sys_enter.
//!
//! As long as a tracepoint is in use, every system call of the machine takes a slower path in the
//! kernel, and hardware counters are saved at each context switch. Both therefore exist only in
//! slices of their own, in which nothing else is measured.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use perf_event::events::{Event, Hardware, Tracepoint};
use perf_event::{Builder, Counter};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::namespace::sysctl;

/// The directories at which tracefs is mounted, if it is.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// The file with the number of the tracepoint, in tracefs.
const ID_FILE: &str = "events/raw_syscalls/sys_enter/id";

/// Instructions and cycles.
pub const HARDWARE: [Hardware; 2] = [Hardware::INSTRUCTIONS, Hardware::CPU_CYCLES];

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

/// Tries to count instructions and cycles, of this thread.
///
/// # Errors
/// Returns the reason if that is not possible.
pub fn probe_hardware_counters() -> Result<(), String> {
    for event in HARDWARE {
        let counter = Builder::new(event).include_kernel().build();
        counter.map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::OPNOTSUPP | Errno::NODEV) => {
                "this CPU or virtual machine has no hardware counters".to_owned()
            }
            _ => reason(&error, 1),
        })?;
    }
    Ok(())
}

/// The number of events of threads since it was opened, and of the threads and processes that they
/// have started since.
pub struct ThreadCounters {
    /// One for each thread, because perf_event_open(2) has no counter of a process.
    counters: Vec<Counter>,
}

impl ThreadCounters {
    /// Starts to count. None of the threads should start another one meanwhile, because that one
    /// would not be counted: they should have no work.
    ///
    /// # Errors
    /// Returns the reason if this is not permitted, or if a thread cannot be counted.
    pub fn open(event: impl Event, threads: &[u32]) -> Result<Self, String> {
        let mut builder = Builder::new(event);
        // A tracepoint is in the kernel, as is most of the work of a server.
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

    /// Returns the number since it was opened. Counters that share hardware with others count only
    /// a part of the time, and are scaled to all of it.
    ///
    /// # Errors
    /// Returns the reason if it cannot be read.
    pub fn count(mut self) -> Result<u64, String> {
        let threads = self.counters.len();
        let scaled = |counter: &mut Counter| {
            let data = counter.read_full()?;
            let time = |time: Option<Duration>| time.map_or(1.0, |it| it.as_secs_f64());
            let (enabled, running) = (time(data.time_enabled()), time(data.time_running()));
            let scale = if running > 0.0 { enabled / running } else { 1.0 };
            Ok((data.count() as f64 * scale) as u64)
        };
        let counts = self.counters.iter_mut().map(scaled);
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
    use perf_event::events::Software;
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
        let counter = ThreadCounters::open(tracepoint, &[receive_id.recv().unwrap()]);
        let counter = counter.expect("root may count");
        start.send(()).unwrap();
        thread.join().unwrap();
        let count = counter.count().unwrap();
        // Starting and ending the threads takes some too.
        assert!((2 * CALLS..2 * CALLS + 200).contains(&count), "{count}");
    }

    /// A software event stands for the hardware ones, which many virtual machines do not have.
    #[test]
    fn events_of_software_are_counted_in_the_same_way() {
        const PAGES: usize = 1000;
        let (send_id, receive_id) = mpsc::channel();
        let (start, started) = mpsc::channel();
        let thread = thread::spawn(move || {
            send_id.send(gettid().as_raw_pid() as u32).unwrap();
            started.recv().unwrap();
            // Larger than the threshold of mmap, so that each page is a fault.
            std::hint::black_box(vec![1_u8; PAGES * 4096]);
        });
        let opened = ThreadCounters::open(Software::PAGE_FAULTS, &[receive_id.recv().unwrap()]);
        start.send(()).unwrap();
        thread.join().unwrap();
        match opened {
            // Pages may be huge.
            Ok(counter) => assert!((1..2 * PAGES as u64).contains(&counter.count().unwrap())),
            Err(reason) => assert!(reason.contains("perf_event"), "{reason}"),
        }
    }

    #[test]
    fn hardware_counters_are_found_or_the_reason_is_named() {
        if let Err(reason) = probe_hardware_counters() {
            let expected = ["no hardware counters", "perf_event"];
            assert!(expected.iter().any(|it| reason.contains(it)), "{reason}");
        }
    }

    #[test]
    fn reasons_name_what_to_try() {
        let of = |errno: Errno| reason(&errno.into(), 70);
        assert!(of(Errno::ACCESS).contains("kernel.perf_event_paranoid is "));
        assert!(of(Errno::MFILE).contains("each of its 70 threads needs a descriptor"));
        assert!(of(Errno::NOENT).contains("CONFIG_PERF_EVENTS"));
    }
}
