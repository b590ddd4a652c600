//! What a server uses, all its processes and tasks together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::report::result::ServerUse;

/// What a server had used at a moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    processes: BTreeMap<u32, ProcessSample>,
}

#[derive(Clone, Debug, Default)]
struct ProcessSample {
    cpu_ns: u64,
    user_ticks: u64,
    system_ticks: u64,
    /// Voluntary and involuntary context switches of each task.
    switches: BTreeMap<u32, (u64, u64)>,
    io_uring_tasks: u32,
}

/// The kernel counts the time of a process in these (times(2)): 100 a second on every machine
/// that Linux runs on today.
const TICK_NS: u64 = 10_000_000;

impl Sample {
    /// Looks at the process `leader`, and with `family` at all of its group and its descendants.
    pub fn take(leader: u32, family: bool) -> Self {
        let members = if family { family_of(leader) } else { BTreeSet::from([leader]) };
        let processes = members
            .into_iter()
            .filter_map(|process| Some((process, ProcessSample::take(process)?)))
            .collect();
        Self { processes }
    }

    /// What was used between `earlier` and this. A process that has ended meanwhile is lost; a
    /// task is not.
    pub fn since(&self, earlier: &Self) -> ServerUse {
        let mut used = ServerUse::default();
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
        for task in numbered_entries(&format!("/proc/{process}/task")) {
            let directory = format!("/proc/{process}/task/{task}");
            let Ok(status) = fs::read_to_string(format!("{directory}/status")) else { continue };
            let count = |name: &str| -> u64 {
                let value = status.lines().find_map(|line| line.strip_prefix(name));
                value.and_then(|it| it.trim().parse().ok()).unwrap_or(0)
            };
            let switches =
                (count("voluntary_ctxt_switches:"), count("nonvoluntary_ctxt_switches:"));
            sample.switches.insert(task, switches);
            // The kernel's own threads for io_uring: iou-wrk-PID and iou-sqp-PID.
            sample.io_uring_tasks += u32::from(status.starts_with("Name:\tiou-"));
        }
        Some(sample)
    }
}

/// The CPU-time clock of a process (clock_getcpuclockid(3)): nanoseconds, all its tasks, those
/// that have ended and the kernel's io-wq and SQPOLL threads included, which are tasks of the
/// process since Linux 5.12.
fn cpu_time_ns(process: u32) -> Option<u64> {
    let process = Pid::from_raw(i32::try_from(process).ok()?);
    let clock = clock_getcpuclockid(process).ok()?;
    let time = clock_gettime(clock).ok()?;
    Some(u64::try_from(time.tv_sec()).ok()? * 1_000_000_000 + u64::try_from(time.tv_nsec()).ok()?)
}

/// The fields of /proc/PID/stat that are needed (proc_pid_stat(5)).
struct Stat {
    parent: u32,
    group: u32,
    user_ticks: u64,
    system_ticks: u64,
}

impl Stat {
    fn read(path: &str) -> Option<Self> {
        // The name of the program stands in brackets and can contain anything, brackets too.
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

/// All processes of the group that `leader` leads, and all descendants of any of them.
fn family_of(leader: u32) -> BTreeSet<u32> {
    let all: Vec<(u32, Stat)> = numbered_entries("/proc")
        .into_iter()
        .filter_map(|process| Some((process, Stat::read(&format!("/proc/{process}/stat"))?)))
        .collect();
    let mut family = BTreeSet::from([leader]);
    loop {
        let before = family.len();
        for (process, stat) in &all {
            if stat.group == leader || family.contains(&stat.parent) {
                family.insert(*process);
            }
        }
        if family.len() == before {
            return family;
        }
    }
}

/// The processes of a server that were there, to find those that its end has left behind.
pub fn processes_of_group(leader: u32) -> Vec<u32> {
    numbered_entries("/proc")
        .into_iter()
        .filter(|process| {
            Stat::read(&format!("/proc/{process}/stat")).is_some_and(|stat| stat.group == leader)
        })
        .collect()
}

fn numbered_entries(directory: &str) -> Vec<u32> {
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
    fn cpu_time_of_threads_that_have_ended_is_counted() {
        let process = std::process::id();
        let before = Sample::take(process, false);
        std::thread::spawn(|| burn(Duration::from_millis(50))).join().unwrap();
        let used = Sample::take(process, false).since(&before);
        // Other tests may add to it; a busy machine may keep some of the 50 ms from us.
        assert!(used.cpu_ns > 1_000_000, "{used:?}");
        assert!(used.tasks >= 1);
    }

    #[test]
    fn waiting_is_a_voluntary_switch() {
        let process = std::process::id();
        let before = Sample::take(process, false);
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let used = Sample::take(process, false).since(&before);
        assert!(used.voluntary_switches >= 10, "{used:?}");
    }

    #[test]
    fn a_family_is_the_group_and_all_descendants() {
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
        let family = family_of(leader.id());
        let group = processes_of_group(leader.id());
        let sample = Sample::take(leader.id(), true);
        for process in &family {
            let process = rustix::process::Pid::from_raw(*process as i32).unwrap();
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
        leader.wait().unwrap();
        assert_eq!(family.len(), 3, "the shell and two others");
        assert_eq!(group.len(), 3);
        assert_eq!(sample.processes.len(), 3);
        assert!(!family.contains(&std::process::id()));
    }
}
