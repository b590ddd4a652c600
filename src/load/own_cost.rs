//! What the client itself uses, so that nobody takes its limit for the server's.

use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;
use rustix::io::Errno;

/// A thread that uses more than this share of a processor has nothing left to offer.
pub const SATURATED: f64 = 0.97;

/// CPU time and context switches of the client's threads while it was measuring.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnCost {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel: on loopback, a good part of the server's networking as well.
    pub system: Duration,
    /// Context switches because there was nothing to do.
    pub voluntary_switches: u64,
    /// Context switches because somebody else was let run.
    pub involuntary_switches: u64,
    /// The share of one processor that the busiest thread used.
    pub busiest: f64,
}

impl OwnCost {
    /// What the calling thread has used since it began.
    pub(super) fn of_this_thread() -> Result<Self, Errno> {
        let usage = getrusage(UsageWho::RUSAGE_THREAD)
            .map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
        Ok(Self::from(usage))
    }

    /// What was used since `before`, `wall` ago.
    pub(super) fn since(self, before: Self, wall: Duration) -> Self {
        let user = self.user.saturating_sub(before.user);
        let system = self.system.saturating_sub(before.system);
        Self {
            user,
            system,
            voluntary_switches: self.voluntary_switches - before.voluntary_switches,
            involuntary_switches: self.involuntary_switches - before.involuntary_switches,
            busiest: (user + system).as_secs_f64() / wall.as_secs_f64().max(f64::MIN_POSITIVE),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.user += other.user;
        self.system += other.system;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.busiest = self.busiest.max(other.busiest);
    }

    /// All CPU time.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }

    /// Whether a thread had nothing left to offer: then throughput is the client's limit.
    pub fn is_saturated(&self) -> bool {
        self.busiest > SATURATED
    }
}

impl From<Usage> for OwnCost {
    fn from(usage: Usage) -> Self {
        Self {
            user: duration(usage.user_time()),
            system: duration(usage.system_time()),
            voluntary_switches: usage.voluntary_context_switches().max(0) as u64,
            involuntary_switches: usage.involuntary_context_switches().max(0) as u64,
            busiest: 0.0,
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
    fn a_thread_that_works_is_told_from_one_that_does_not() {
        let before = OwnCost::of_this_thread().unwrap();
        // Until the kernel has seen it, however slow the machine is.
        let cost = loop {
            let cost = OwnCost::of_this_thread().unwrap().since(before, Duration::from_secs(1));
            if cost.cpu() >= Duration::from_millis(20) {
                break cost;
            }
        };
        assert!((cost.busiest - cost.cpu().as_secs_f64()).abs() < 1e-9);
    }

    #[test]
    fn the_busiest_thread_says_whether_the_client_is_saturated() {
        let used = |milliseconds| OwnCost {
            user: Duration::from_millis(milliseconds),
            ..OwnCost::default()
        };
        let second = Duration::from_secs(1);
        let mut cost = used(970).since(used(0), second);
        assert!(!cost.is_saturated());
        cost.add(&used(975).since(used(0), second));
        assert!(cost.is_saturated());
        assert_eq!(cost.cpu(), Duration::from_millis(1945));
    }
}
