//! CPU time and context switches of a server, summed over all its processes and threads.

use std::collections::BTreeMap;
use std::fs;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use super::process_tree::{GroupCpu, Stat, numeric_entries};
use super::supervised::Supervised;
use crate::result::ServerUsage;

/// The resource usage of a server at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    processes: BTreeMap<u32, ProcessSample>,
    /// CPU time of exited descendants of the processes, in ticks.
    exited_ticks: u64,
    /// CPU time as a control group counts it, exited processes included.
    group: Option<GroupCpu>,
}

#[derive(Clone, Debug, Default)]
struct ProcessSample {
    cpu_ns: u64,
    user_ticks: u64,
    system_ticks: u64,
    exited_ticks: u64,
    /// Voluntary and involuntary context switches of each thread.
    switches: BTreeMap<u32, (u64, u64)>,
    io_uring_tasks: u32,
    /// CPU time of each io-wq worker.
    io_wq_cpu_ns: BTreeMap<u32, u64>,
    /// Peak resident set since its start.
    peak_resident_bytes: u64,
}

/// The clock tick of proc_pid_stat(5): USER_HZ is 100 on all common architectures.
const TICK_NS: u64 = 10_000_000;

impl Sample {
    /// Samples one process.
    pub fn of_process(process: u32) -> Self {
        let sample = ProcessSample::take(process).map(|sample| (process, sample));
        Self { processes: sample.into_iter().collect(), ..Self::default() }
    }

    /// Samples all processes of a supervised command.
    pub fn of_tree(tree: &Supervised) -> Self {
        let sample = |process| Some((process, ProcessSample::take(process)?));
        let processes: BTreeMap<_, _> = tree.processes().into_iter().filter_map(sample).collect();
        let supervisor = Stat::of(tree.id()).map_or(0, |stat| stat.exited_ticks);
        let exited_ticks = processes.values().map(|it| it.exited_ticks).sum::<u64>() + supervisor;
        Self { processes, exited_ticks, group: tree.group_cpu() }
    }

    /// Returns the usage since `earlier`. It includes the CPU time of threads that have exited, and
    /// of processes that have exited; without a control group, the latter in ticks, and only if
    /// their parents have waited for them. It does not include their context switches.
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
            used.peak_resident_bytes += now.peak_resident_bytes;
            used.io_wq_workers += now.io_wq_cpu_ns.len() as u32;
            for (task, now) in &now.io_wq_cpu_ns {
                let before = before.io_wq_cpu_ns.get(task).copied().unwrap_or(0);
                used.io_wq_cpu_ns += now.saturating_sub(before);
            }
        }
        match (&self.group, &earlier.group) {
            (Some(now), Some(before)) => {
                used.cpu_ns = now.total_ns.saturating_sub(before.total_ns);
                used.user_ns = now.user_ns.saturating_sub(before.user_ns);
                used.system_ns = now.system_ns.saturating_sub(before.system_ns);
            }
            _ => used.cpu_ns += self.exited_ns_since(earlier),
        }
        used
    }

    /// Returns the CPU time that processes have used since `earlier` and that have exited since.
    /// Their parents have their whole CPU time, of which `earlier` has a part.
    fn exited_ns_since(&self, earlier: &Self) -> u64 {
        let exited = earlier.processes.iter().filter(|(id, _)| !self.processes.contains_key(id));
        let before: u64 = exited.map(|(_, it)| it.cpu_ns).sum();
        let all = self.exited_ticks.saturating_sub(earlier.exited_ticks) * TICK_NS;
        all.saturating_sub(before)
    }
}

impl ProcessSample {
    fn take(process: u32) -> Option<Self> {
        let cpu_ns = cpu_time_ns(process)?;
        let stat = Stat::of(process)?;
        let mut sample = Self {
            cpu_ns,
            user_ticks: stat.user_ticks,
            system_ticks: stat.system_ticks,
            exited_ticks: stat.exited_ticks,
            ..Self::default()
        };
        for task in numeric_entries(&format!("/proc/{process}/task")) {
            let directory = format!("/proc/{process}/task/{task}");
            let Ok(status) = fs::read_to_string(format!("{directory}/status")) else { continue };
            let count = |name: &str| -> u64 {
                let value = status.lines().find_map(|line| line.strip_prefix(name));
                value.and_then(|it| it.split_whitespace().next()?.parse().ok()).unwrap_or(0)
            };
            let switches =
                (count("voluntary_ctxt_switches:"), count("nonvoluntary_ctxt_switches:"));
            sample.switches.insert(task, switches);
            // In KiB, and the same in all threads: they share their memory.
            sample.peak_resident_bytes = sample.peak_resident_bytes.max(count("VmHWM:") * 1024);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;
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
        let before = Sample::of_process(process);
        std::thread::spawn(|| burn(Duration::from_millis(50))).join().unwrap();
        let used = Sample::of_process(process).since(&before);
        // Other tests add to it, and on a busy machine the thread gets less than 50 ms.
        assert!(used.cpu_ns > 1_000_000, "{used:?}");
        assert!(used.tasks >= 1);
    }

    #[test]
    fn peak_of_resident_memory_includes_memory_that_is_freed() {
        let peak = || {
            let used = Sample::of_process(std::process::id()).since(&Sample::default());
            used.peak_resident_bytes
        };
        let before = peak();
        // More than this process has ever used.
        drop(black_box(vec![1_u8; before as usize + (1 << 20)]));
        let after = peak();
        assert!(after > before && after < 100 * before, "{before} and {after} bytes");
    }

    #[test]
    fn sleeping_is_a_voluntary_switch() {
        let process = std::process::id();
        let before = Sample::of_process(process);
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let used = Sample::of_process(process).since(&before);
        assert!(used.voluntary_switches >= 10, "{used:?}");
    }

    #[test]
    fn cpu_time_of_exited_processes_is_that_since_the_earlier_sample() {
        let process =
            |cpu_ms: u64| ProcessSample { cpu_ns: cpu_ms * 1_000_000, ..Default::default() };
        let sample = |processes: &[(u32, u64)], exited_ticks| Sample {
            processes: processes.iter().map(|&(id, cpu)| (id, process(cpu))).collect(),
            exited_ticks,
            group: None,
        };
        // Process 2 has used 50 ms, uses 20 ms more and exits; its parent has all 70 ms.
        let before = sample(&[(1, 10), (2, 50)], 3);
        let used_ms = |after: Sample| after.since(&before).cpu_ns / 1_000_000;
        assert_eq!(used_ms(sample(&[(1, 15)], 10)), 5 + 20);
        // Its parent ignores SIGCHLD.
        assert_eq!(used_ms(sample(&[(1, 15)], 3)), 5);
        // Process 3 starts and exits in between.
        assert_eq!(used_ms(sample(&[(1, 15), (2, 50)], 5)), 5 + 20);
        let group = |total_ns| Some(GroupCpu { total_ns, user_ns: total_ns, system_ns: 0 });
        let with_group = |cpu| Sample { group: group(cpu), ..sample(&[(1, 15)], 10) };
        assert_eq!(with_group(9).since(&with_group(4)).cpu_ns, 5);
    }
}
