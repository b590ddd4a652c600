//! CPU time and context switches of a server, summed over all its processes and threads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::result::ServerUsage;

/// The resource usage of a server at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    processes: BTreeMap<u32, ProcessSample>,
}

#[derive(Clone, Debug, Default)]
struct ProcessSample {
    cpu_ns: u64,
    user_ticks: u64,
    system_ticks: u64,
    /// Voluntary and involuntary context switches of each thread.
    switches: BTreeMap<u32, (u64, u64)>,
    io_uring_tasks: u32,
    /// CPU time of each io-wq worker.
    io_wq_cpu_ns: BTreeMap<u32, u64>,
}

/// The clock tick of proc_pid_stat(5): USER_HZ is 100 on all common architectures.
const TICK_NS: u64 = 10_000_000;

impl Sample {
    /// Samples the process `leader`; `include_tree` adds its process group and all descendants.
    pub fn take(leader: u32, include_tree: bool) -> Self {
        let members = if include_tree { process_tree(leader) } else { BTreeSet::from([leader]) };
        let processes = members
            .into_iter()
            .filter_map(|process| Some((process, ProcessSample::take(process)?)))
            .collect();
        Self { processes }
    }

    /// Returns the usage since `earlier`. It includes the CPU time of threads that have exited, but
    /// not that of processes.
    pub fn since(&self, earlier: &Self) -> ServerUsage {
        let mut used = ServerUsage::default();
        let nothing = ProcessSample::default();
        for (process, now) in &self.processes {
            let before = earlier.processes.get(process).unwrap_or(&nothing);
            used.cpu_ns += now.cpu_ns.saturating_sub(before.cpu_ns);
            used.user_ns += now.user_ticks.saturating_sub(before.user_ticks) * TICK_NS;
            used.system_ns += now.system_ticks.saturating_sub(before.system_ticks) * TICK_NS;
            for (task, now) in &now.switches {
                let before = before.switches.get(task).copied().unwrap_or_default();
                used.voluntary_switches += now.0.saturating_sub(before.0);
                used.involuntary_switches += now.1.saturating_sub(before.1);
            }
            used.tasks += now.switches.len() as u32;
            used.io_uring_tasks += now.io_uring_tasks;
            used.io_wq_workers += now.io_wq_cpu_ns.len() as u32;
            for (task, now) in &now.io_wq_cpu_ns {
                let before = before.io_wq_cpu_ns.get(task).copied().unwrap_or(0);
                used.io_wq_cpu_ns += now.saturating_sub(before);
            }
        }
        used
    }
}

impl ProcessSample {
    fn take(process: u32) -> Option<Self> {
        let cpu_ns = cpu_time_ns(process)?;
        let stat = Stat::read(&format!("/proc/{process}/stat"))?;
        let mut sample = Self {
            cpu_ns,
            user_ticks: stat.user_ticks,
            system_ticks: stat.system_ticks,
            ..Self::default()
        };
        for task in numeric_entries(&format!("/proc/{process}/task")) {
            let directory = format!("/proc/{process}/task/{task}");
            let Ok(status) = fs::read_to_string(format!("{directory}/status")) else { continue };
            let count = |name: &str| -> u64 {
                let value = status.lines().find_map(|line| line.strip_prefix(name));
                value.and_then(|it| it.trim().parse().ok()).unwrap_or(0)
            };
            let switches =
                (count("voluntary_ctxt_switches:"), count("nonvoluntary_ctxt_switches:"));
            sample.switches.insert(task, switches);
            // Kernel threads of io_uring: iou-wrk-PID (io-wq) and iou-sqp-PID (SQPOLL).
            sample.io_uring_tasks += u32::from(status.starts_with("Name:\tiou-"));
            if status.starts_with("Name:\tiou-wrk-") {
                sample.io_wq_cpu_ns.insert(task, task_cpu_time_ns(&directory));
            }
        }
        Some(sample)
    }
}

/// Reads the CPU-time clock of a process (clock_getcpuclockid(3)). It includes threads that have
/// exited, and the io-wq and SQPOLL threads, which are threads of the process since Linux 5.12.
fn cpu_time_ns(process: u32) -> Option<u64> {
    let process = Pid::from_raw(i32::try_from(process).ok()?);
    let clock = clock_getcpuclockid(process).ok()?;
    let time = clock_gettime(clock).ok()?;
    Some(u64::try_from(time.tv_sec()).ok()? * 1_000_000_000 + u64::try_from(time.tv_nsec()).ok()?)
}

/// Reads the CPU time of a task. Its directory has `schedstat` in nanoseconds if the kernel has
/// CONFIG_SCHED_INFO, and always `stat` in ticks.
fn task_cpu_time_ns(directory: &str) -> u64 {
    let schedstat = fs::read_to_string(format!("{directory}/schedstat")).ok();
    let exact = schedstat.and_then(|text| text.split_whitespace().next()?.parse().ok());
    let ticks = || Stat::read(&format!("{directory}/stat"));
    let in_ticks = || ticks().map_or(0, |it| (it.user_ticks + it.system_ticks) * TICK_NS);
    exact.unwrap_or_else(in_ticks)
}

/// Fields of /proc/PID/stat (proc_pid_stat(5)).
struct Stat {
    parent: u32,
    group: u32,
    user_ticks: u64,
    system_ticks: u64,
}

impl Stat {
    fn read(path: &str) -> Option<Self> {
        // The program name is in parentheses and may itself contain parentheses.
        let text = fs::read_to_string(path).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: number(1)? as u32,
            group: number(2)? as u32,
            user_ticks: number(11)?,
            system_ticks: number(12)?,
        })
    }
}

/// Finds the processes of the group that `leader` leads, and all their descendants.
fn process_tree(leader: u32) -> BTreeSet<u32> {
    let all: Vec<(u32, Stat)> = numeric_entries("/proc")
        .into_iter()
        .filter_map(|process| Some((process, Stat::read(&format!("/proc/{process}/stat"))?)))
        .collect();
    let mut tree = BTreeSet::from([leader]);
    loop {
        let before = tree.len();
        for (process, stat) in &all {
            if stat.group == leader || tree.contains(&stat.parent) {
                tree.insert(*process);
            }
        }
        if tree.len() == before {
            return tree;
        }
    }
}

/// Returns the processes of a group, to find those that outlive their leader.
pub fn group_members(leader: u32) -> Vec<u32> {
    numeric_entries("/proc")
        .into_iter()
        .filter(|process| {
            Stat::read(&format!("/proc/{process}/stat")).is_some_and(|stat| stat.group == leader)
        })
        .collect()
}

fn numeric_entries(directory: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    fn burn(duration: Duration) {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            black_box(0);
        }
    }

    #[test]
    fn cpu_time_of_exited_threads_is_included() {
        let process = std::process::id();
        let before = Sample::take(process, false);
        std::thread::spawn(|| burn(Duration::from_millis(50))).join().unwrap();
        let used = Sample::take(process, false).since(&before);
        // Other tests add to it, and on a busy machine the thread gets less than 50 ms.
        assert!(used.cpu_ns > 1_000_000, "{used:?}");
        assert!(used.tasks >= 1);
    }

    #[test]
    fn sleeping_is_a_voluntary_switch() {
        let process = std::process::id();
        let before = Sample::take(process, false);
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let used = Sample::take(process, false).since(&before);
        assert!(used.voluntary_switches >= 10, "{used:?}");
    }

    #[test]
    fn process_tree_has_the_group_and_all_descendants() {
        use std::os::unix::process::CommandExt;
        let mut leader = Command::new("sh")
            .args(["-c", "sleep 30 & sleep 30 & echo ready; wait"])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = leader.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
        let tree = process_tree(leader.id());
        let group = group_members(leader.id());
        let sample = Sample::take(leader.id(), true);
        for process in &tree {
            let process = rustix::process::Pid::from_raw(*process as i32).unwrap();
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
        leader.wait().unwrap();
        assert_eq!(tree.len(), 3, "the shell and its two children");
        assert_eq!(group.len(), 3);
        assert_eq!(sample.processes.len(), 3);
        assert!(!tree.contains(&std::process::id()));
    }
}
