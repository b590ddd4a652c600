//! The processes of a server of another project: the descendants of its supervisor, and their
//! control group.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The fields of /proc/PID/stat (proc_pid_stat(5)).
pub struct Stat {
    /// The process ID of the parent.
    pub parent: u32,
    /// CPU time in user mode, in ticks.
    pub user_ticks: u64,
    /// CPU time in kernel mode, in ticks.
    pub system_ticks: u64,
    /// CPU time of the children that have been waited for, and of theirs, in ticks.
    pub exited_ticks: u64,
}

impl Stat {
    /// Reads the `stat` file of a process or a task.
    pub fn read(path: &str) -> Option<Self> {
        // The program name is in parentheses and may itself contain parentheses.
        let text = fs::read_to_string(path).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: number(1)? as u32,
            user_ticks: number(11)?,
            system_ticks: number(12)?,
            exited_ticks: number(13)? + number(14)?,
        })
    }

    /// Reads that of a process.
    pub fn of(process: u32) -> Option<Self> {
        Self::read(&format!("/proc/{process}/stat"))
    }
}

/// Returns the entries of a directory that are numbers, such as those of /proc.
pub fn numeric_entries(directory: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Finds all descendants of a process.
pub fn descendants(ancestor: u32) -> BTreeSet<u32> {
    let parents: Vec<(u32, u32)> = numeric_entries("/proc")
        .into_iter()
        .filter_map(|process| Some((process, Stat::of(process)?.parent)))
        .collect();
    let mut found = BTreeSet::new();
    loop {
        let before = found.len();
        for &(process, parent) in &parents {
            if parent == ancestor || found.contains(&parent) {
                found.insert(process);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// Returns the children of a process.
pub fn children(parent: u32) -> Vec<u32> {
    let is_child = |process: &u32| Stat::of(*process).is_some_and(|stat| stat.parent == parent);
    numeric_entries("/proc").into_iter().filter(is_child).collect()
}

/// Sends a signal to all descendants of a process.
pub fn signal(ancestor: u32, signal: Signal) {
    for process in descendants(ancestor) {
        signal_one(process, signal);
    }
}

/// Sends a signal to a process that has just been found. A process that has ended since, and whose
/// number another program has now, does not receive it: the parent is compared again.
pub fn signal_one(process: u32, signal: Signal) {
    let parent = |process| Stat::of(process).map(|stat| stat.parent);
    let before = parent(process);
    let Some(id) = Pid::from_raw(process as i32) else { return };
    let Ok(descriptor) = pidfd_open(id, PidfdFlags::empty()) else { return };
    if before.is_some() && parent(process) == before {
        // One that has exited needs no signal.
        let _ = pidfd_send_signal(&descriptor, signal);
    }
}

/// A control group (cgroups(7), version 2) with the processes of one server. No controller is
/// needed: each group counts CPU time.
#[derive(Debug)]
pub struct ControlGroup {
    directory: PathBuf,
}

/// CPU time of a control group: the lines of `cpu.stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupCpu {
    /// All of it, in nanoseconds.
    pub total_ns: u64,
    /// That in user mode.
    pub user_ns: u64,
    /// That in kernel mode.
    pub system_ns: u64,
}

impl ControlGroup {
    /// Creates an empty group below that of this process.
    ///
    /// # Errors
    /// Returns the reason if there is no such hierarchy, or this user may not create groups.
    pub fn create() -> Result<Self, String> {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let own = own_directory().ok_or("there is no hierarchy of version 2")?;
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let directory = own.join(format!("ringpoll-{}-{number}", std::process::id()));
        fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        Ok(Self { directory })
    }

    /// Returns its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns its processes.
    pub fn processes(&self) -> BTreeSet<u32> {
        let text = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Reads the CPU time of all processes that are or were in the group.
    pub fn cpu(&self) -> Option<GroupCpu> {
        let text = fs::read_to_string(self.directory.join("cpu.stat")).ok()?;
        let in_ns = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value?.parse::<u64>().ok().map(|microseconds| microseconds * 1000)
        };
        Some(GroupCpu {
            total_ns: in_ns("usage_usec")?,
            user_ns: in_ns("user_usec")?,
            system_ns: in_ns("system_usec")?,
        })
    }
}

impl Drop for ControlGroup {
    /// Kills what is left in the group, and removes it.
    fn drop(&mut self) {
        // Since Linux 5.14. Before, the supervisor has killed them.
        let _ = fs::write(self.directory.join("cgroup.kill"), "1");
        for _ in 0..1000 {
            // The supervisor has removed it, unless it was killed itself. The group is busy until
            // the killed processes have been waited for.
            if !self.directory.exists() || fs::remove_dir(&self.directory).is_ok() {
                return;
            }
            sleep(Duration::from_millis(1));
        }
    }
}

/// Moves this process, the last one of a group, to the parent of the group, and removes the group.
/// That is done here because ringpoll may have been killed.
pub fn leave(group: &Path) {
    if let Some(parent) = group.parent() {
        let _ = fs::write(parent.join("cgroup.procs"), "0");
    }
    let _ = fs::remove_dir(group);
}

/// Returns the directory of this process's group in the hierarchy of version 2.
fn own_directory() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let root = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let root = fields.nth(1)?;
        (fields.next()? == "cgroup2").then_some(root)
    })?;
    Some(Path::new(root).join(group))
}
