//! CPU time of the client itself, so that a client at its limit is not mistaken for the server's.

use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;
use rustix::io::Errno;

/// The utilization of one CPU above which a thread counts as saturated.
pub const SATURATION_THRESHOLD: f64 = 0.97;

/// CPU time and context switches of the client's threads in the measured phase.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClientCpu {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in kernel mode. On loopback it includes much of the server's network processing.
    pub system: Duration,
    /// Voluntary context switches: the thread waited.
    pub voluntary_switches: u64,
    /// Involuntary context switches: the thread was preempted.
    pub involuntary_switches: u64,
    /// Utilization of one CPU by the busiest thread, from 0 to 1.
    pub max_thread_utilization: f64,
}

impl ClientCpu {
    /// Returns the usage of the calling thread since it started.
    pub(super) fn of_current_thread() -> Result<Self, Errno> {
        let usage = getrusage(UsageWho::RUSAGE_THREAD)
            .map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
        Ok(Self::from(usage))
    }

    /// Returns the usage since `before`, over the wall-clock time `wall`.
    pub(super) fn since(self, before: Self, wall: Duration) -> Self {
        let user = self.user.saturating_sub(before.user);
        let system = self.system.saturating_sub(before.system);
        Self {
            user,
            system,
            voluntary_switches: self.voluntary_switches - before.voluntary_switches,
            involuntary_switches: self.involuntary_switches - before.involuntary_switches,
            max_thread_utilization: (user + system).as_secs_f64()
                / wall.as_secs_f64().max(f64::MIN_POSITIVE),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.user += other.user;
        self.system += other.system;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.max_thread_utilization = self.max_thread_utilization.max(other.max_thread_utilization);
    }

    /// Returns the CPU time in user and kernel mode.
    pub fn total(&self) -> Duration {
        self.user + self.system
    }

    /// Returns true if a thread was saturated, so the client may have limited the throughput.
    pub fn is_saturated(&self) -> bool {
        self.max_thread_utilization > SATURATION_THRESHOLD
    }
}

impl From<Usage> for ClientCpu {
    fn from(usage: Usage) -> Self {
        Self {
            user: duration(usage.user_time()),
            system: duration(usage.system_time()),
            voluntary_switches: usage.voluntary_context_switches().max(0) as u64,
            involuntary_switches: usage.involuntary_context_switches().max(0) as u64,
            max_thread_utilization: 0.0,
        }
    }
}

fn duration(time: TimeVal) -> Duration {
    Duration::new(time.tv_sec().max(0) as u64, time.tv_usec().max(0) as u32 * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utilization_is_cpu_time_per_wall_clock_time() {
        let before = ClientCpu::of_current_thread().unwrap();
        // Loops until the kernel has accounted the time, on a slow machine as well.
        let used = loop {
            let used =
                ClientCpu::of_current_thread().unwrap().since(before, Duration::from_secs(1));
            if used.total() >= Duration::from_millis(20) {
                break used;
            }
        };
        assert!((used.max_thread_utilization - used.total().as_secs_f64()).abs() < 1e-9);
    }

    #[test]
    fn one_saturated_thread_saturates_the_client() {
        let used = |milliseconds| ClientCpu {
            user: Duration::from_millis(milliseconds),
            ..ClientCpu::default()
        };
        let second = Duration::from_secs(1);
        let mut cpu = used(970).since(used(0), second);
        assert!(!cpu.is_saturated());
        cpu.add(&used(975).since(used(0), second));
        assert!(cpu.is_saturated());
        assert_eq!(cpu.total(), Duration::from_millis(1945));
    }
}
