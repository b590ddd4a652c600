//! Disturbances by the rest of the machine during a round: time stolen by the hypervisor, CPU
//! throttling of the cgroup, and other work on the same CPUs.

use std::fs;

/// The time of a set of CPUs, in ticks (proc_stat(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTicks {
    /// The total.
    pub all: u64,
    /// User, system and interrupt time.
    pub busy: u64,
    /// Time in which the hypervisor ran other guests.
    pub stolen: u64,
}

impl CpuTicks {
    /// Reads the current values.
    pub fn read(cpus: &[usize]) -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default(), cpus)
    }

    fn parse(text: &str, cpus: &[usize]) -> Self {
        let mut sum = Self::default();
        for line in text.lines() {
            let mut columns = line.split_whitespace();
            let number = columns.next().and_then(|name| name.strip_prefix("cpu")?.parse().ok());
            if !number.is_some_and(|number: usize| cpus.contains(&number)) {
                continue;
            }
            // user nice system idle iowait irq softirq steal; user and nice include guest time.
            let ticks: Vec<u64> = columns.take(8).filter_map(|it| it.parse().ok()).collect();
            let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks[..] else {
                continue;
            };
            let busy = user + nice + system + irq + softirq;
            sum.busy += busy;
            sum.stolen += steal;
            sum.all += busy + idle + iowait + steal;
        }
        sum
    }

    /// Returns the ticks since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            all: self.all.saturating_sub(earlier.all),
            busy: self.busy.saturating_sub(earlier.busy),
            stolen: self.stolen.saturating_sub(earlier.stolen),
        }
    }

    /// Returns the stolen fraction of the time.
    pub fn stolen_share(self) -> f64 {
        self.stolen as f64 / self.all.max(1) as f64
    }

    /// Returns the busy fraction of the time.
    pub fn busy_share(self) -> f64 {
        self.busy as f64 / self.all.max(1) as f64
    }
}

/// Returns for how long the cgroups of this process have been throttled, summed over all levels of
/// the hierarchy.
pub fn throttled_ns() -> u64 {
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    cgroups
        .lines()
        .filter_map(cpu_cgroup_directory)
        .map(|directory| throttled_on_all_levels(&directory))
        .sum()
}

/// Returns the conventional mount point (cgroups(7)) of the CPU controller of a line of
/// /proc/self/cgroup: `0::/path` is version 2, a line that names `cpu` is version 1.
fn cpu_cgroup_directory(line: &str) -> Option<String> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let path = path.trim_end_matches('/');
    if controllers.is_empty() {
        Some(format!("/sys/fs/cgroup{path}"))
    } else if controllers.split(',').any(|controller| controller == "cpu") {
        Some(format!("/sys/fs/cgroup/{controllers}{path}"))
    } else {
        None
    }
}

fn throttled_on_all_levels(directory: &str) -> u64 {
    let mut levels = std::path::Path::new(directory).ancestors();
    let mut sum = 0;
    while let Some(level) = levels.next().filter(|level| level.starts_with("/sys/fs/cgroup")) {
        let text = fs::read_to_string(level.join("cpu.stat")).unwrap_or_default();
        sum += throttled(&text);
    }
    sum
}

/// Reads `throttled_usec` of cgroup version 2, or `throttled_time` (nanoseconds) of version 1.
fn throttled(text: &str) -> u64 {
    let value = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    value("throttled_usec ")
        .map(|microseconds| microseconds * 1000)
        .or_else(|| value("throttled_time "))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 10 0 5 80 0 1 2 2 0 0\n\
                        cpu1 20 0 0 70 10 0 0 0 0 0\ncpu10 1 2 3 4 5 6 7 8 0 0\nintr 5 4\n";

    #[test]
    fn ticks_of_selected_cpus_are_summed() {
        let ticks = CpuTicks::parse(STAT, &[0, 1]);
        assert_eq!(ticks, CpuTicks { all: 200, busy: 38, stolen: 2 });
        let since = ticks.since(CpuTicks { all: 100, busy: 18, stolen: 0 });
        assert_eq!((since.stolen_share(), since.busy_share()), (0.02, 0.2));
        assert_eq!(CpuTicks::parse(STAT, &[3]).stolen_share(), 0.0);
    }

    #[test]
    fn this_machine_has_cpu_ticks() {
        let ticks = CpuTicks::read(&crate::compare::topology::allowed_cpus());
        assert!(ticks.all > 0 && ticks.busy > 0, "{ticks:?}");
    }

    #[test]
    fn throttling_is_read_from_both_cgroup_versions() {
        assert_eq!(throttled("usage_usec 5\nnr_throttled 2\nthrottled_usec 30\n"), 30_000);
        assert_eq!(throttled("nr_periods 0\nthrottled_time 77\n"), 77);
        assert_eq!(throttled(""), 0);
        assert_eq!(cpu_cgroup_directory("0::/a/b").as_deref(), Some("/sys/fs/cgroup/a/b"));
        assert_eq!(
            cpu_cgroup_directory("4:cpu,cpuacct:/c").as_deref(),
            Some("/sys/fs/cgroup/cpu,cpuacct/c")
        );
        assert_eq!(cpu_cgroup_directory("2:cpuacct:/c"), None);
    }
}
